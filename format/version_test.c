/* SPDX-License-Identifier: Apache-2.0 */
/* version_test.c - files of other versions: refused as such, never as damage. */
#include "version.h"

#include "frame.h"
#include "index.h"
#include "manifest.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/crc32c.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/generation.h>
#include <mri/hash.h>
#include <mri/salvage.h>

#include <test_set.h>

enum { MAJOR = 8, MINOR = 10, INDEX_FEATURES = 36 };

static set made;
static char *shard_file, *manifest_file, *index_file;

static void
load(const char *path, mri_bytes *b)
{
    mr_diag d = {0};

    *b = (mri_bytes){0};
    assert_ok(mri_file_load(path, 1u << 30, b, &d), &d);
}

static void
save(const char *path, const mri_bytes *b)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(b->data, 1, b->len, f), b->len);
    assert_int_equal(fclose(f), 0);
}

/* The sum that a manifest keeps of itself, right again. */
static void
seal_manifest(mri_bytes *b)
{
    mri_xxh3_state *s = mri_xxh3_begin();

    mri_xxh3_add(s, b->data, 24);
    mri_xxh3_add(s, b->data + 32, b->len - 32);
    mri_put64(b->data + 24, mri_xxh3_end(s));
    mri_xxh3_free(s);
}

static void
seal_head(mri_bytes *b)
{
    mri_put32(b->data + 60, mri_crc32c(0, b->data, 60));
}

typedef void seal_fn(mri_bytes *b);

/* Change a number in a file's head, as a writer of that version would have
 * written it. The caller brings back `was`. */
static void
rewrite(const char *path, size_t at, uint16_t value, seal_fn *seal,
        mri_bytes *was)
{
    mri_bytes b;

    load(path, was);
    load(path, &b);
    mri_put16(b.data + at, value);
    seal(&b);
    save(path, &b);
    mri_bytes_release(&b);
}

static void
bring_back(const char *path, mri_bytes *was)
{
    save(path, was);
    mri_bytes_release(was);
}

static int
make(void **state)
{
    mr_dataset *ds;
    mri_shard_ref ref;
    mr_diag d = {0};

    (void)state;
    set_make(&made, SET_CELLS, 5);
    assert_ok(mr_dataset_open(&ds, made.dir, &d), &d);
    mri_dataset_shard(ds, 0, &ref);
    mr_dataset_close(ds);
    shard_file = mri_shard_path(made.dir, ref.id);
    manifest_file = mri_manifest_path(made.dir, 1);
    index_file = mri_index_path(made.dir, 1);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    scratch_remove(made.dir);
    mri_free(shard_file);
    mri_free(manifest_file);
    mri_free(index_file);
    return 0;
}

typedef struct told {
    unsigned count, code;
} told;

static void
tell(void *user, const char *sample, const mr_diag *diag)
{
    told *t = user;

    (void)sample;
    t->count++;
    t->code = diag->code;
}

static void
whole_dataset_opens(void)
{
    mr_dataset *ds;
    mr_diag d = {0};

    assert_ok(mr_dataset_open(&ds, made.dir, &d), &d);
    mr_dataset_close(ds);
}

static void
each_way_refuses_the_dataset(unsigned code)
{
    const char *const key[] = {"sample1"};
    mri_withdraw_options withdraw = {.dataset = made.dir, .keys = {key, 1}};
    mri_withdraw_report report;
    mri_salvage_options salvage = {.source = made.dir, .output = "never.mr"};
    mri_dataset_verified v;
    mri_salvaged s;
    mr_dataset *ds;
    told t = {0};
    mr_diag d = {0};

    assert_fails(mr_dataset_open(&ds, made.dir, &d), MR_EVERSION);
    assert_int_equal(d.code, code);
    d = (mr_diag){0};
    assert_fails(mri_dataset_withdraw(&withdraw, &report, &d), MR_EVERSION);
    assert_int_equal(d.code, code);
    mri_withdraw_report_release(&report);
    d = (mr_diag){0};
    assert_ok(mri_dataset_verify(made.dir, 1, tell, &t, NULL, &v, &d), &d);
    assert_int_equal(t.code, code);
    assert_int_equal(v.damages, t.count);
    assert_fails(mri_salvage(&salvage, &s, &d), MR_EVERSION);
    assert_int_equal(d.code, code);
}

static void
a_manifest_of_another_version_is_refused_as_such(void **state)
{
    mri_bytes was;

    (void)state;
    rewrite(manifest_file, MAJOR, 0, seal_manifest, &was);
    each_way_refuses_the_dataset(MRI_E_OLD);
    bring_back(manifest_file, &was);
    rewrite(manifest_file, MAJOR, 2, seal_manifest, &was);
    each_way_refuses_the_dataset(MRI_E_VERSION);
    bring_back(manifest_file, &was);
    whole_dataset_opens();
}

static void
the_refusal_names_both_versions(void **state)
{
    uint8_t head[MRI_HEAD_BYTES] = {0}, tag[16] = {0};
    mr_diag d = {0};

    (void)state;
    mri_head_put(head, tag);
    mri_put16(head + MAJOR, 3);
    mri_put16(head + MINOR, 4);
    assert_fails(mri_version_check(head, 12, 0, "shard", &d), MR_EVERSION);
    assert_string_equal(d.text, "shard of format version 3.4 is too new; this "
                                "millrace reads versions up to 1.0");
    mri_put16(head + MAJOR, 0);
    assert_fails(mri_version_check(head, 12, 0, "shard", &d), MR_EVERSION);
    assert_string_equal(d.text, "shard of format version 0.4, from before the "
                                "format was frozen; this millrace reads "
                                "version 1");
}

static void
shard_is(unsigned code)
{
    mri_salvage_options salvage = {.source = shard_file, .output = "never.mr"};
    mri_verified v;
    mri_salvaged s;
    mri_shard *shard;
    told t = {0};
    mr_diag d = {0};

    assert_fails(mri_shard_open(&shard, shard_file, NULL, &d), MR_EVERSION);
    assert_int_equal(d.code, code);
    assert_ok(mri_shard_verify(shard_file, NULL, tell, &t, &v, &d), &d);
    assert_int_equal(t.code, code);
    assert_int_equal(t.count, 1);
    assert_fails(mri_salvage(&salvage, &s, &d), MR_EVERSION);
    assert_int_equal(d.code, code);
}

static void
a_shard_of_another_version_is_refused_as_such(void **state)
{
    mri_bytes was;

    (void)state;
    rewrite(shard_file, MAJOR, 0, seal_head, &was);
    shard_is(MRI_E_OLD);
    bring_back(shard_file, &was);
    rewrite(shard_file, MAJOR, 2, seal_head, &was);
    shard_is(MRI_E_VERSION);
    bring_back(shard_file, &was);
}

static unsigned
index_opens(void)
{
    static const uint8_t hash[16];
    char *dir = mri_path_dir(index_file);
    mri_store store;
    mri_index x = {0};
    mr_diag d = {0};
    mr_err err;

    assert_ok(mri_store_open(&store, dir, &d), &d);
    err = mri_index_open(&x, &store, mri_path_name(index_file), hash, true, &d);
    assert_int_not_equal(err, MR_OK); /* no index has that hash */
    mri_index_close(&x);
    mri_store_close(&store);
    mri_free(dir);
    return d.code;
}

static void
an_index_of_another_version_is_refused_as_such(void **state)
{
    mri_bytes was;

    (void)state;
    rewrite(index_file, MAJOR, 0, seal_head, &was);
    assert_int_equal(index_opens(), MRI_E_OLD);
    bring_back(index_file, &was);
    rewrite(index_file, MAJOR, 2, seal_head, &was);
    assert_int_equal(index_opens(), MRI_E_VERSION);
    bring_back(index_file, &was);
    assert_int_equal(index_opens(), MRI_E_INDEX);
}

static void
a_bit_that_flipped_in_the_version_is_damage(void **state)
{
    mri_bytes was;
    mri_shard *s;
    mr_dataset *ds;

    (void)state;
    for (unsigned at = MAJOR; at < 16; at++) {
        load(shard_file, &was);
        was.data[at] ^= 2;
        save(shard_file, &was);
        assert_fails(mri_shard_open(&s, shard_file, NULL, NULL), MR_ECORRUPT);
        was.data[at] ^= 2;
        bring_back(shard_file, &was);
        load(manifest_file, &was);
        was.data[at] ^= 2;
        save(manifest_file, &was);
        assert_fails(mr_dataset_open(&ds, made.dir, NULL), MR_ECORRUPT);
        was.data[at] ^= 2;
        bring_back(manifest_file, &was);
    }
    whole_dataset_opens();
}

static void
a_higher_minor_version_is_read(void **state)
{
    mri_bytes was;
    mri_shard *s;
    mr_diag d = {0};

    (void)state;
    rewrite(shard_file, MINOR, 7, seal_head, &was);
    assert_ok(mri_shard_open(&s, shard_file, NULL, &d), &d);
    mri_shard_close(s);
    bring_back(shard_file, &was);
    rewrite(manifest_file, MINOR, 7, seal_manifest, &was);
    whole_dataset_opens();
    bring_back(manifest_file, &was);
    rewrite(index_file, MINOR, 7, seal_head, &was);
    assert_int_equal(index_opens(), MRI_E_INDEX); /* another hash, no more */
    bring_back(index_file, &was);
}

static void
a_feature_that_is_not_known_is_refused(void **state)
{
    mri_bytes was;

    (void)state;
    rewrite(shard_file, 12, 0x8000, seal_head, &was);
    shard_is(MRI_E_VERSION);
    bring_back(shard_file, &was);
    rewrite(manifest_file, MRI_MANIFEST_FEATURES, 0x8000, seal_manifest, &was);
    each_way_refuses_the_dataset(MRI_E_VERSION);
    bring_back(manifest_file, &was);
    rewrite(index_file, INDEX_FEATURES, 0x8000, seal_head, &was);
    assert_int_equal(index_opens(), MRI_E_VERSION);
    bring_back(index_file, &was);
}

/* Compatible features, and reserved bytes, are nobody's business. */
static void
what_is_reserved_is_ignored(void **state)
{
    mri_bytes was;
    mri_shard *s;
    mr_diag d = {0};

    (void)state;
    rewrite(shard_file, 16, 0xFFFF, seal_head, &was);
    assert_ok(mri_shard_open(&s, shard_file, NULL, &d), &d);
    mri_shard_close(s);
    bring_back(shard_file, &was);
    rewrite(shard_file, 40, 0xFFFF, seal_head, &was);
    assert_ok(mri_shard_open(&s, shard_file, NULL, &d), &d);
    mri_shard_close(s);
    bring_back(shard_file, &was);
}

/* One says what a reader must understand, the other holds it: a manifest
 * with only one of them was never written. */
static void
the_list_of_the_withdrawn_comes_with_its_feature(void **state)
{
    const char *const key[] = {"sample1"};
    mri_withdraw_options withdraw = {.dataset = made.dir, .keys = {key, 1}};
    mri_withdraw_report report;
    char *second = mri_manifest_path(made.dir, 2), first[4096];
    mri_bytes was;
    mr_dataset *ds;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_dataset_withdraw(&withdraw, &report, &d), &d);
    mri_withdraw_report_release(&report);
    load(second, &was);
    assert_int_equal(mri_get32(was.data + MRI_MANIFEST_FEATURES),
                     MRI_MANIFEST_WITHDRAWN);
    mri_bytes_release(&was);
    rewrite(second, MRI_MANIFEST_FEATURES, 0, seal_manifest, &was);
    assert_fails(mr_dataset_open(&ds, made.dir, NULL), MR_ECORRUPT);
    bring_back(second, &was);
    whole_dataset_opens();
    mri_free(second);
    load(manifest_file, &was);
    assert_int_equal(mri_get32(was.data + MRI_MANIFEST_FEATURES), 0);
    mri_bytes_release(&was);
    rewrite(manifest_file, MRI_MANIFEST_FEATURES, MRI_MANIFEST_WITHDRAWN,
            seal_manifest, &was);
    (void)snprintf(first, sizeof first, "%s@1", made.dir);
    assert_fails(mr_dataset_open(&ds, first, NULL), MR_ECORRUPT);
    bring_back(manifest_file, &was);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_of_another_version_is_refused_as_such),
        cmocka_unit_test(the_refusal_names_both_versions),
        cmocka_unit_test(a_shard_of_another_version_is_refused_as_such),
        cmocka_unit_test(an_index_of_another_version_is_refused_as_such),
        cmocka_unit_test(a_bit_that_flipped_in_the_version_is_damage),
        cmocka_unit_test(a_higher_minor_version_is_read),
        cmocka_unit_test(a_feature_that_is_not_known_is_refused),
        cmocka_unit_test(what_is_reserved_is_ignored),
        cmocka_unit_test(the_list_of_the_withdrawn_comes_with_its_feature),
    };

    return cmocka_run_group_tests(tests, make, end);
}
