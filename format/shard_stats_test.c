/* SPDX-License-Identifier: Apache-2.0 */
#include "chunk.h"
#include "encode.h"
#include "shard_stats.h"

#include <mr_test.h>
#include <mri/alloc.h>
#include <mri/error.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 70, N = SIDE * SIDE * SIDE };

static const uint8_t plan_tag[16] = {4, 2};
static const char *names[] = {"image", "label"};
static mri_field_kind kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_LABEL};
static const mri_schema schema = {.field_count = 2,
                                  .field_names = names,
                                  .field_kinds = kinds,
                                  .config = "{}"};
static int16_t image[N];
static uint8_t label[N];
static char *dir;

/* A sample with slope and intercept, and 117 labels in it. */
static mri_encoded *
encode_one(void)
{
    static const mri_provenance source = {"a.nii", {9}, 1234, NULL};
    mri_field_in f[2] = {{.sources = &source, .source_count = 1}};
    mri_sample_in s = {.key = "a.nii",
                       .group = "",
                       .class_index = MR_NO_CLASS,
                       .fields = f,
                       .field_count = 2};
    mri_geometry geometry;
    mri_encoded *e;
    mr_diag d = {0};

    mri_geometry_init(&geometry);
    geometry.slope = 0.5;
    geometry.inter = -1024;
    f[1] = f[0];
    for (int k = 0; k < 2; k++) {
        f[k].name = (uint16_t)k;
        f[k].label = k == 1;
        f[k].encoding = MR_ENC_CHUNKS;
        f[k].dtype = k == 0 ? MR_I16 : MR_U8;
        f[k].ndim = 3;
        memcpy(f[k].axes, "ZYX", 3);
        memcpy(f[k].dims, (uint32_t[]){SIDE, SIDE, SIDE}, 12);
        f[k].pixels = k == 0 ? (void *)image : (void *)label;
    }
    f[0].geometry = &geometry;
    mri_uid_of(s.uid, s.key, source.sha256, 1);
    assert_ok(mri_encode(&e, &s, &d), &d);
    return e;
}

/* A shard of that sample, with what was made of its rows meanwhile. */
static char *
write_one(mri_encoded *e)
{
    mri_shard_writer *w;
    mri_shard_ref ref;
    mr_diag d = {0};

    assert_ok(mri_shard_begin(&w, dir, plan_tag, &schema, &d), &d);
    assert_ok(mri_shard_add(w, e, &d), &d);
    assert_ok(mri_shard_finish(w, &ref, &d), &d);
    mri_shard_close_writer(w);
    mri_encoded_free(e);
    return mri_shard_path(dir, ref.id);
}

typedef struct heard {
    unsigned count;
    uint16_t code;
} heard;

static void
hear(void *user, const char *sample, const mr_diag *diag)
{
    heard *h = user;

    h->count++;
    h->code = diag->code;
    assert_string_equal(sample, "a.nii");
}

static heard
verify(char *path)
{
    mri_verified v;
    heard h = {0};
    mr_diag d = {0};

    assert_ok(mri_shard_verify(path, NULL, hear, &h, &v, &d), &d);
    mri_free(path);
    return h;
}

static int
setup(void **state)
{
    uint64_t seed = 14;

    (void)state;
    dir = scratch_make();
    for (int i = 0; i < N; i++) {
        int z = i / (SIDE * SIDE), y = i / SIDE % SIDE;

        image[i] = (int16_t)(scratch_random(&seed) % 4096);
        label[i] = (uint8_t)((z / 10 * 7 + y / 10) % 117);
    }
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static void
true_statistics_pass(void **state)
{
    (void)state;
    assert_int_equal(verify(write_one(encode_one())).count, 0);
}

/* Each in turn, under checksums that hold: only the values can tell. */
static void
a_row_that_lies_is_found(void **state)
{
    enum { LIES = 9 };

    (void)state;
    for (int i = 0; i < LIES; i++) {
        mri_encoded *e = encode_one();
        mri_label_row *counted = (void *)e->labels.data;
        mri_stat_row *last = &e->stats[e->chunk_count - 1];
        heard h;

        switch (i) {
        case 0:
            e->stats[0].min++;
            break;
        case 1:
            e->stats[2].max--;
            break;
        case 2:
            e->stats[1].nonzero++;
            break;
        case 3:
            counted[3].value++;
            break;
        case 4:
            counted[0].count--;
            break;
        case 5:
            last->labels--; /* its last label falls under the table */
            break;
        case 6:
            e->moments[0].foreground.count++;
            break;
        case 7:
            e->moments[1].all.sum *= 1 + 1e-8;
            break;
        default:
            e->labels.len -= last->labels * sizeof *counted;
            last->labels = 0;
            last->flags = MRI_STAT_MANY;
            break;
        }
        h = verify(write_one(e));
        assert_int_equal(h.count, 1);
        assert_int_equal(h.code, MRI_E_STATISTICS);
    }
}

static void
labels_that_leave_their_table_are_refused(void **state)
{
    mri_encoded *e = encode_one();
    heard h;

    (void)state;
    e->stats[e->chunk_count - 1].labels++;
    h = verify(write_one(e));
    assert_int_equal(h.count, 1);
    assert_int_equal(h.code, MRI_E_SHARD_DAMAGED);
}

static void
rows_are_those_of_their_chunks(void **state)
{
    mri_encoded *e = encode_one();
    uint32_t image_chunks = (uint32_t)mri_grid_chunks(&e->grids[0]);
    char *path = write_one(e);
    mri_sample_row sample;
    mri_grid_row g;
    mri_stat_row row;
    mri_label_row l;
    mri_shard *s;
    mr_diag d = {0};
    uint64_t total = 0;

    (void)state;
    assert_ok(mri_shard_open(&s, path, NULL, &d), &d);
    assert_ok(mri_shard_sample(s, 0, &sample, &d), &d);
    assert_ok(mri_shard_grid(s, &sample, 0, &g, &d), &d);
    assert_true(image_chunks > 8);
    for (uint32_t i = 0; i < image_chunks; i++) {
        mr_box box;
        int16_t low = INT16_MAX;

        mri_chunk_box(&g, i, &box);
        for (uint64_t z = 0; z < box.size[0]; z++) {
            for (uint64_t k = 0; k < box.size[1] * box.size[2]; k++) {
                uint64_t y = box.first[1] + k / box.size[2],
                         x = box.first[2] + k % box.size[2];
                int16_t v = image[((box.first[0] + z) * SIDE + y) * SIDE + x];

                low = v < low ? v : low;
            }
        }
        assert_ok(mri_shard_stat(s, &g, i, &row, &d), &d);
        assert_int_equal((int64_t)row.min, low);
        assert_int_equal(row.labels, 0);
    }
    assert_ok(mri_shard_grid(s, &sample, 1, &g, &d), &d);
    for (uint64_t i = 0; i < mri_grid_chunks(&g); i++) {
        assert_ok(mri_shard_stat(s, &g, i, &row, &d), &d);
        for (uint32_t k = 0; k < row.labels; k++) {
            assert_ok(mri_shard_label(s, &row, k, &l, &d), &d);
            total += l.count;
        }
    }
    assert_int_equal(total, N);
    mri_shard_close(s);
    mri_free(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(true_statistics_pass),
        cmocka_unit_test(a_row_that_lies_is_found),
        cmocka_unit_test(labels_that_leave_their_table_are_refused),
        cmocka_unit_test(rows_are_those_of_their_chunks),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
