/* SPDX-License-Identifier: Apache-2.0 */
#include "dataset_read.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/generation.h>

#include <errno.h>
#include <faulty_file.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAMPLES 140u

static char *dir;
static const char *const field_names[] = {"image"};
static const char *const class_names[] = {"ring", "spot", "star"};
static mri_field_kind kinds[] = {MRI_FIELD_IMAGE};
static const mri_schema schema = {
    .field_count = 1,
    .field_names = (const char **)(uintptr_t)field_names,
    .field_kinds = kinds,
    .class_count = 3,
    .classes = (const char **)(uintptr_t)class_names,
    .config = "{}",
};
static const char *const split_names[] = {"train", "val", "test"};
static const double shares[] = {0.8, 0.1, 0.1};

/* How the world of a dataset departs from that of its number alone. */
typedef struct world {
    unsigned first, count;
    unsigned tag;      /* of the shard */
    int other_label;   /* this sample has another class and group */
    int other_file;    /* this one is of another file: another uid */
    int other_values;  /* same file, converted to other values */
    unsigned left_out; /* + 1: this one is not there */
} world;

static mr_err
add_sample(mri_shard_writer *w, const world *is, unsigned i, mr_diag *diag)
{
    uint64_t seed = i + ((int)i == is->other_values ? 1000 : 0);
    bool other = (int)i == is->other_label;
    uint16_t pixels[60];
    char key[32], group[32];
    mri_provenance source = {"f", {(uint8_t)i}, 120, NULL};
    mri_field_in f = {.encoding = MR_ENC_CHUNKS,
                      .dtype = MR_U16,
                      .ndim = 3,
                      .axes = {'Y', 'X', 'C'},
                      .dims = {6, 5, 2},
                      .pixels = pixels,
                      .sources = &source,
                      .source_count = 1};
    mri_sample_in s = {.key = key,
                       .group = group,
                       .class_name = class_names[(i + other) % 3],
                       .class_index = (i + other) % 3,
                       .fields = &f,
                       .field_count = 1};
    mri_encoded *e = NULL;
    mr_err err;

    for (int k = 0; k < 60; k++) {
        pixels[k] = (uint16_t)(scratch_random(&seed) % 4000);
    }
    source.sha256[1] = (int)i == is->other_file;
    (void)snprintf(key, sizeof key, "cell%u.tif", i);
    (void)snprintf(group, sizeof group, "donor%u", (i + 10 * other) / 10);
    mri_uid_of(s.uid, s.key, source.sha256, 1);
    err = mri_encode(&e, &s, diag);
    if (err == MR_OK) {
        err = mri_shard_add(w, e, diag);
    }
    mri_encoded_free(e);
    return err;
}

static void
write_shard(const char *into, const world *is, mri_shard_ref *ref)
{
    uint8_t tag[16] = {(uint8_t)is->first, (uint8_t)is->tag, 7};
    mri_shard_writer *w;
    mr_diag d = {0};

    assert_ok(mri_shard_begin(&w, into, tag, &schema, &d), &d);
    for (unsigned i = is->first; i < is->first + is->count; i++) {
        if (i + 1 != is->left_out) {
            assert_ok(add_sample(w, is, i, &d), &d);
        }
    }
    assert_ok(mri_shard_finish(w, into, ref, &d), &d);
    mri_shard_close_writer(w);
}

static mr_dataset *
open_at(const char *base, const char *suffix)
{
    char path[600];
    mr_dataset *ds;
    mr_diag d = {0};

    (void)snprintf(path, sizeof path, "%s%s", base, suffix);
    assert_ok(mr_dataset_open(&ds, path, &d), &d);
    return ds;
}

static mr_err
commit(const char *into, const mr_dataset *parent, const mri_shard_ref *refs,
       uint32_t count, mr_diag *diag)
{
    const mri_commit c = {.dir = into,
                          .parent = parent,
                          .shards = refs,
                          .shard_count = count,
                          .schema = &schema,
                          .layout = "folder",
                          .quarantined = 2,
                          .split_names = split_names,
                          .split_shares = shares,
                          .split_count = 3};
    uint64_t generation;

    return mri_dataset_commit(&c, &generation, diag);
}

static const world plain = {
    .count = SAMPLES, .other_label = -1, .other_file = -1, .other_values = -1};

static char *
make_dataset(const world *is)
{
    char *into = scratch_make();
    mri_shard_ref ref;
    mr_diag d = {0};

    write_shard(into, is, &ref);
    assert_ok(commit(into, NULL, &ref, 1, &d), &d);
    return into;
}

static int
setup(void **state)
{
    (void)state;
    dir = make_dataset(&plain);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

/* ---- differences ---- */

typedef struct heard {
    mri_difference at[300];
    unsigned count, of[MRI_CHANGES];
    mr_err answer;
} heard;

static mr_err
hear(void *user, const mri_difference *d, mr_diag *diag)
{
    heard *h = user;

    (void)diag;
    assert_true(h->count < 300);
    h->at[h->count++] = *d;
    h->of[d->change]++;
    return h->answer;
}

static void
compare(const mr_dataset *a, const mr_dataset *b, heard *h)
{
    mr_diag d = {0};

    *h = (heard){0};
    assert_ok(mri_dataset_diff(a, b, hear, h, NULL, &d), &d);
}

static void
assert_key(const mr_dataset *ds, uint64_t rank, const char *key)
{
    mri_meta *meta;
    mr_diag d = {0};

    assert_ok(mri_dataset_meta(ds, rank, &meta, &d), &d);
    assert_string_equal(meta->key, key);
    mri_meta_free(meta);
}

static void
a_dataset_does_not_differ_from_itself(void **state)
{
    mr_dataset *a = open_at(dir, ""), *b = open_at(dir, "@1");
    heard h;

    (void)state;
    compare(a, b, &h);
    assert_int_equal(h.count, 0);
    mr_dataset_close(a);
    mr_dataset_close(b);
}

/* One of each kind, and shards cut elsewhere, which is no difference. */
static void
each_kind_of_difference_is_told_once(void **state)
{
    world other = plain;
    mr_dataset *a = open_at(dir, ""), *b;
    char *second;
    heard h;
    unsigned labels = 0;

    (void)state;
    other.tag = 1;
    other.count++; /* cell140 is new */
    other.left_out = 12 + 1;
    other.other_file = 33;
    other.other_values = 44;
    other.other_label = 57;
    second = make_dataset(&other);
    b = open_at(second, "");
    compare(a, b, &h);
    assert_int_equal(h.of[MRI_CHANGE_ADDED], 1);
    assert_int_equal(h.of[MRI_CHANGE_GONE], 1);
    assert_int_equal(h.of[MRI_CHANGE_CONTENT], 2);
    for (unsigned i = 0; i < h.count; i++) {
        const mri_difference *d = &h.at[i];

        if (d->change == MRI_CHANGE_ADDED) {
            assert_key(b, d->rank_b, "cell140.tif");
            assert_int_equal(d->split_a, MR_ALL_SAMPLES);
        } else if (d->change == MRI_CHANGE_GONE) {
            assert_key(a, d->rank_a, "cell12.tif");
            assert_int_equal(d->split_b, MR_ALL_SAMPLES);
        } else if (d->class_differs) {
            assert_int_equal(d->change, MRI_CHANGE_LABEL);
            assert_true(d->group_differs);
            assert_key(a, d->rank_a, "cell57.tif");
            assert_key(b, d->rank_b, "cell57.tif");
            labels++;
        } else if (d->change == MRI_CHANGE_LABEL) {
            assert_true(d->split_a != d->split_b);
        }
    }
    assert_int_equal(labels, 1);
    /* the other way round: what came has left */
    compare(b, a, &h);
    assert_int_equal(h.of[MRI_CHANGE_ADDED], 1);
    assert_int_equal(h.of[MRI_CHANGE_GONE], 1);
    assert_int_equal(h.of[MRI_CHANGE_CONTENT], 2);
    h = (heard){.answer = MR_EARG};
    assert_fails(mri_dataset_diff(a, b, hear, &h, NULL, NULL), MR_EARG);
    assert_int_equal(h.count, 1);
    mr_dataset_close(a);
    mr_dataset_close(b);
    scratch_remove(second);
}

static void
memory_that_runs_out_ends_a_comparison(void **state)
{
    world other = plain;
    char *second;
    mr_dataset *a = open_at(dir, ""), *b;

    (void)state;
    other.other_file = 3;
    second = make_dataset(&other);
    b = open_at(second, "");
    for (int64_t n = 0;; n++) {
        heard h = {0};
        mr_err err;

        (void)mri_alloc_fail_at(n);
        err = mri_dataset_diff(a, b, hear, &h, NULL, NULL);
        if (mri_alloc_fail_at(-1) <= n) {
            assert_int_equal(err, MR_OK);
            break;
        }
        assert_int_equal(err, MR_ENOMEM);
    }
    mr_dataset_close(a);
    mr_dataset_close(b);
    scratch_remove(second);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_dataset_does_not_differ_from_itself),
        T(each_kind_of_difference_is_told_once),
        T(memory_that_runs_out_ends_a_comparison),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
