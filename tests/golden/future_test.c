/* SPDX-License-Identifier: Apache-2.0 */
/*
 * future_test.c - a dataset of version 1.7 that make_future.py wrote: what is
 * new in it is passed over or refused by itself, all else can be read.
 *
 *     future_test FUTURE.mr
 */
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/salvage.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <string.h>

enum { HALF = 32 };

static const char *path;
static mr_dataset *ds;

static int
open_it(void **state)
{
    mr_diag d = {0};

    (void)state;
    assert_ok(mr_dataset_open(&ds, path, &d), &d);
    return 0;
}

static int
close_it(void **state)
{
    (void)state;
    mr_dataset_close(ds);
    return 0;
}

static uint64_t
rank_of(const char *key)
{
    uint64_t rank;
    mr_diag d = {0};

    assert_ok(mri_dataset_find_key(ds, key, &rank, &d), &d);
    return rank;
}

/* Values 0, 1, 2, ... of a field, or of one half of its rows. */
static mr_err
read_half(const char *key, uint32_t field, unsigned half, mr_diag *d)
{
    uint8_t got[HALF];
    const uint64_t shape[] = {4, 8};
    const mr_box box = {.first = {4 * half}, .size = {4, 8}};
    const mr_tensor out = mr_tensor_of(got, MR_U8, 2, shape);
    mr_err err = mr_dataset_read(ds, rank_of(key), field, &box, &out, NULL, d);

    for (unsigned i = 0; err == MR_OK && i < HALF; i++) {
        assert_int_equal(got[i], i);
    }
    return err;
}

static void
a_higher_minor_version_can_be_read(void **state)
{
    mri_dataset_facts facts;
    mr_diag d = {0};

    (void)state;
    mri_dataset_facts_of(ds, &facts);
    assert_int_equal(facts.version.major, 1);
    assert_int_equal(facts.version.minor, 7);
    assert_int_equal(facts.samples, 7);
    assert_ok(read_half("plain", 0, 0, &d), &d);
}

static void
a_kind_of_field_that_is_not_known_is_listed(void **state)
{
    (void)state;
    assert_int_equal(mr_dataset_fields(ds), 3);
    assert_string_equal(mr_dataset_field_name(ds, 2), "spectrum");
    assert_int_equal((int)mri_dataset_field_kind(ds, 2), 9);
}

static void
only_a_chunk_with_an_unknown_codec_filter_or_flag_is_refused(void **state)
{
    static const char *const keys[] = {"codec", "filter", "chunk.flag"};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(keys); i++) {
        mr_diag d = {0};

        assert_ok(read_half(keys[i], 0, 0, &d), &d);
        assert_fails(read_half(keys[i], 0, 1, &d), MR_EVERSION);
        assert_int_equal(d.code, MRI_E_CODEC);
    }
}

static void
only_a_field_with_an_unknown_dtype_encoding_or_flag_is_refused(void **state)
{
    mr_field f;
    mr_diag d = {0};

    (void)state;
    assert_fails(mr_dataset_field(ds, rank_of("dtype"), 0, &f, &d),
                 MR_EVERSION);
    assert_int_equal(d.code, MRI_E_CODEC);
    assert_ok(read_half("dtype", 1, 0, &d), &d);
    assert_fails(mr_dataset_field(ds, rank_of("grid.flag"), 0, &f, &d),
                 MR_EVERSION);
    assert_int_equal(d.code, MRI_E_CODEC);
    assert_fails(mr_dataset_field(ds, rank_of("encoding"), 0, &f, &d),
                 MR_EVERSION);
    assert_int_equal(d.code, MRI_E_CODEC);
    assert_ok(mr_dataset_field(ds, rank_of("encoding"), 1, &f, &d), &d);
    assert_int_equal(f.name, 2);
}

typedef struct told {
    unsigned other, unknown;
} told;

static void
tell(void *user, const char *sample, const mr_diag *diag)
{
    told *t = user;

    (void)sample;
    t->unknown += diag->code == MRI_E_CODEC;
    t->other += diag->code != MRI_E_CODEC;
}

static void
verify_calls_none_of_it_damage(void **state)
{
    mri_dataset_verified v;
    told t = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_dataset_verify(path, 1, tell, &t, NULL, &v, &d), &d);
    assert_int_equal(t.unknown, 6);
    assert_int_equal(t.other, 0);
}

static void
count_lost(void *user, const mri_lost *lost)
{
    tell(user, NULL, lost->why);
}

static void
salvage_says_what_it_does_not_know(void **state)
{
    char *dir = scratch_make();
    mri_salvage_options o = {.source = path, .tell = count_lost};
    told t = {0};
    mri_salvaged s;
    mr_diag d = {0};

    (void)state;
    o.output = scratch_path(dir, "new.mr");
    o.user = &t;
    assert_ok(mri_salvage(&o, &s, &d), &d);
    assert_int_equal(s.saved, 1);
    assert_int_equal(t.unknown, 6);
    assert_int_equal(t.other, 0);
    scratch_remove(dir);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_higher_minor_version_can_be_read),
        cmocka_unit_test(a_kind_of_field_that_is_not_known_is_listed),
        cmocka_unit_test(
            only_a_chunk_with_an_unknown_codec_filter_or_flag_is_refused),
        cmocka_unit_test(
            only_a_field_with_an_unknown_dtype_encoding_or_flag_is_refused),
        cmocka_unit_test(verify_calls_none_of_it_damage),
        cmocka_unit_test(salvage_says_what_it_does_not_know),
    };

    if (argc != 2) {
        (void)fprintf(stderr, "usage: future_test FUTURE.mr\n");
        return 2;
    }
    path = argv[1];
    return cmocka_run_group_tests(tests, open_it, close_it);
}
