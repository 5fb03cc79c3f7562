/* SPDX-License-Identifier: Apache-2.0 */
#include "inflation.h"

#include "chunk.h"
#include "encode.h"
#include "shard_read.h"

#include <mr_test.h>
#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/salvage.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE = 2048,      /* 8 x 8 chunks of u8 */
    HUGE_SIDE = 65535 /* of a chunk that is said to be there: 4 GiB */
};

static const uint8_t plan_tag[16] = {4, 2};
static const char *names[] = {"image"};
static mri_field_kind kinds[] = {MRI_FIELD_IMAGE};
static const mri_schema schema = {.field_count = 1,
                                  .field_names = names,
                                  .field_kinds = kinds,
                                  .config = "{}"};
static char *dir;

static mri_encoded *
zeros(const char *key)
{
    static const mri_provenance source = {"a.tif", {9}, 1234, NULL};
    mri_geometry geometry;
    mri_field_in f = {.sources = &source,
                      .source_count = 1,
                      .encoding = MR_ENC_CHUNKS,
                      .dtype = MR_U8,
                      .ndim = 2,
                      .axes = {'Y', 'X'},
                      .dims = {SIDE, SIDE},
                      .geometry = &geometry};
    mri_sample_in s = {.key = key,
                       .group = "",
                       .class_index = MR_NO_CLASS,
                       .fields = &f,
                       .field_count = 1};
    mri_encoded *e;
    mr_diag d = {0};

    mri_geometry_init(&geometry);
    f.pixels = calloc(SIDE, SIDE);
    assert_non_null(f.pixels);
    mri_uid_of(s.uid, s.key, source.sha256, 1);
    assert_ok(mri_encode(&e, &s, &d), &d);
    free((void *)(uintptr_t)f.pixels);
    assert_int_equal(e->chunk_count, 64);
    assert_int_equal(e->piece_count, 0);
    return e;
}

/* 64 chunks without a byte that say they are 4 GiB each. */
static void
boast(mri_encoded *e)
{
    for (int i = 0; i < 2; i++) {
        e->grids[0].dims[i] = 8 * HUGE_SIDE;
        e->grids[0].chunk[i] = HUGE_SIDE;
    }
    for (uint32_t i = 0; i < e->chunk_count; i++) {
        e->chunks[i].raw_len = (uint32_t)HUGE_SIDE * HUGE_SIDE;
    }
}

/* A shard of one honest sample, then one that boasts. */
static mri_shard_ref
write_two(void)
{
    static const char *const keys[] = {"honest.tif", "huge.tif"};
    mri_shard_writer *w;
    mri_shard_ref ref;
    mr_diag d = {0};

    assert_ok(mri_shard_begin(&w, dir, plan_tag, &schema, &d), &d);
    for (int i = 0; i < 2; i++) {
        mri_encoded *e = zeros(keys[i]);

        if (i == 1) {
            boast(e);
        }
        assert_ok(mri_shard_add(w, e, &d), &d);
        mri_encoded_free(e);
    }
    assert_ok(mri_shard_finish(w, &ref, &d), &d);
    mri_shard_close_writer(w);
    return ref;
}

static int
setup(void **state)
{
    (void)state;
    dir = scratch_make();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

typedef struct heard {
    unsigned count;
    uint16_t code;
    char key[32];
} heard;

static void
hear(void *user, const char *sample, const mr_diag *diag)
{
    heard *h = user;

    h->count++;
    h->code = diag->code;
    (void)snprintf(h->key, sizeof h->key, "%s", sample);
}

static void
verify_tells_a_shard_that_boasts(void **state)
{
    mri_shard_ref ref = write_two();
    char *path = mri_shard_path(dir, ref.id);
    mri_verified v;
    heard h = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_shard_verify(path, NULL, hear, &h, &v, &d), &d);
    assert_true(v.bytes < 64 << 10);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.code, MRI_E_INFLATED);
    assert_string_equal(h.key, "huge.tif");
    mri_free(path);
}

static void
no_generation_takes_it_in(void **state)
{
    mri_shard_ref ref = write_two();
    static const char *const splits[] = {"train"};
    static const double shares[] = {1};
    const mri_commit c = {.dir = dir,
                          .shards = &ref,
                          .shard_count = 1,
                          .schema = &schema,
                          .layout = "folder",
                          .split_names = splits,
                          .split_shares = shares,
                          .split_count = 1};
    uint64_t generation;
    mr_diag d = {0};

    (void)state;
    assert_int_equal(mri_dataset_commit(&c, &generation, &d), MR_ELIMIT);
    assert_int_equal(d.code, MRI_E_INFLATED);
    assert_non_null(strstr(d.path, ".mrs"));
}

static void
hear_lost(void *user, const mri_lost *lost)
{
    heard *h = user;

    h->count++;
    h->code = lost->why->code;
    (void)snprintf(h->key, sizeof h->key, "%s", lost->key);
}

static void
salvage_takes_out_the_samples_before(void **state)
{
    mri_shard_ref ref = write_two();
    char *path = mri_shard_path(dir, ref.id);
    char *out = mri_path_join(dir, "s.mr");
    heard h = {0};
    mri_salvaged got;
    mri_salvage_options o = {
        .source = path, .output = out, .tell = hear_lost, .user = &h};
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_salvage(&o, &got, &d), &d);
    assert_int_equal(got.saved, 1);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.code, MRI_E_INFLATED);
    assert_string_equal(h.key, "huge.tif");
    mri_free(path);
    mri_free(out);
}

/* What a field of nothing but zeros takes in a file is at least this. */
static uint64_t
least_bytes(const mri_grid_row *g)
{
    return mri_grid_chunks(g) * 2 * (MRI_CHUNK_ROW + MRI_STAT_ROW);
}

static void
zeros_of_any_size_and_shape_are_within_it(void **state)
{
    static const char *const axes[] = {"ZYX", "YX",   "YXC", "ZYXC", "CZYX",
                                       "X",   "TZYX", "ZX",  "YXR",  "ZYXR",
                                       "SYX", "Z",    "ZY",  "UVYX", "YXRC"};
    uint64_t seed = 7;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        const char *a = axes[scratch_random(&seed) % MRI_COUNT(axes)];
        mri_grid_row g = {.encoding = MR_ENC_CHUNKS,
                          .dtype = (uint8_t)(scratch_random(&seed) % 12 + 1),
                          .ndim = (uint8_t)strlen(a)};
        double spacing[8];
        mri_inflation all = {0};

        for (unsigned k = 0; k < g.ndim; k++) {
            bool few = a[k] == 'C' || a[k] == 'R' || a[k] == 'T';

            g.axes[k] = a[k];
            g.dims[k] =
                (uint32_t)(scratch_random(&seed) % (few ? 5 : 4096) + 1);
            g.dims[k] = a[k] == 'R' ? 2 : g.dims[k];
            spacing[k] = (double)(scratch_random(&seed) % 1000 + 1) / 100;
        }
        mri_chunk_shape(&g, spacing);
        all.file_bytes = least_bytes(&g);
        assert_int_equal(mri_inflation_add(&all, &g, NULL), MR_OK);
        assert_true(all.decoded / MRI_INFLATION_MAX * 2 <= all.file_bytes);
    }
}

static void
what_cannot_be_counted_is_too_much(void **state)
{
    mri_grid_row g = {.encoding = MR_ENC_CHUNKS,
                      .dtype = MR_F64,
                      .ndim = 2,
                      .axes = {'Y', 'X'},
                      .dims = {1u << 31, 1u << 29},
                      .chunk = {1, 1}};
    mri_inflation all = {.file_bytes = (uint64_t)1 << 47};

    (void)state;
    assert_int_equal(mri_inflation_add(&all, &g, NULL), MR_OK);
    assert_int_equal(mri_inflation_add(&all, &g, NULL), MR_ELIMIT);
    assert_int_equal(mri_inflation_add(&all, &g, NULL), MR_ELIMIT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verify_tells_a_shard_that_boasts),
        cmocka_unit_test(no_generation_takes_it_in),
        cmocka_unit_test(salvage_takes_out_the_samples_before),
        cmocka_unit_test(zeros_of_any_size_and_shape_are_within_it),
        cmocka_unit_test(what_cannot_be_counted_is_too_much),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
