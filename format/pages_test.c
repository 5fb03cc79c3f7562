/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages_test.c - threads that share a handle and all need the same page of a
 * foot or of an index, which nobody has looked at, at the same moment. To be
 * run under ThreadSanitizer too.
 */
#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/generation.h>

#include <mr_test.h>
#include <pthread.h>
#include <scratch.h>
#include <stdio.h>
#include <string.h>

enum {
    SAMPLES = 12000, /* 4 MiB of foot and 320 KiB of index: 68 and 6 pages */
    THREADS = 8,
    STEPS = 120, /* samples that all threads read, together */
    OPENINGS = 16
};

static const char *const field_names[] = {"image"};
static mri_field_kind field_kinds[] = {MRI_FIELD_IMAGE};
static const mri_schema schema = {.field_count = 1,
                                  .field_names =
                                      (const char **)(uintptr_t)field_names,
                                  .field_kinds = field_kinds,
                                  .config = "{}"};
static char *dir;

/* Four bytes that tell which sample it is. */
static void
add_one(mri_shard_writer *w, uint32_t i)
{
    static const mri_provenance source = {"a", {7}, 4, NULL};
    const uint8_t pixels[4] = {(uint8_t)i, (uint8_t)(i >> 8), 1, 2};
    mri_geometry geometry;
    const mri_field_in f = {.encoding = MR_ENC_CHUNKS,
                            .dtype = MR_U8,
                            .ndim = 2,
                            .axes = {'Y', 'X'},
                            .dims = {2, 2},
                            .pixels = pixels,
                            .geometry = &geometry,
                            .sources = &source,
                            .source_count = 1};
    char key[16];
    mri_sample_in in = {.key = key,
                        .group = "",
                        .class_index = MR_NO_CLASS,
                        .fields = &f,
                        .field_count = 1};
    mri_encoded *e;
    mr_diag d = {0};

    mri_geometry_init(&geometry);
    (void)snprintf(key, sizeof key, "%u", i);
    mri_uid_of(in.uid, key, source.sha256, 1);
    assert_ok(mri_encode(&e, &in, &d), &d);
    assert_ok(mri_shard_add(w, e, &d), &d);
    mri_encoded_free(e);
}

static int
setup(void **state)
{
    static const char *const splits[] = {"train", "val"};
    static const double shares[] = {0.5, 0.5};
    const uint8_t tag[16] = {1};
    mri_shard_writer *w;
    mri_shard_ref ref;
    mri_commit c = {.shards = &ref,
                    .shard_count = 1,
                    .schema = &schema,
                    .layout = "folder",
                    .split_names = splits,
                    .split_shares = shares,
                    .split_count = 2};
    uint64_t generation;
    mr_diag d = {0};

    (void)state;
    dir = scratch_make();
    c.dir = dir;
    assert_ok(mri_shard_begin(&w, dir, tag, &schema, &d), &d);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        add_one(w, i);
    }
    assert_ok(mri_shard_finish(w, &ref, &d), &d);
    mri_shard_close_writer(w);
    assert_true(ref.bytes > 20 * 65536); /* most of it is the foot */
    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

typedef struct reading {
    mr_dataset *ds;
    pthread_barrier_t together;
} reading;

/* By what it says of itself, its key is the number that its values are. */
static bool
read_one(const mr_dataset *ds, uint64_t i, mr_scratch *scratch)
{
    uint8_t pixels[4] = {0};
    mr_tensor t = mr_tensor_of(pixels, MR_U8, 2, (uint64_t[]){2, 2});
    uint64_t rank, found;
    mr_moments moments;
    mr_sample sample;
    mri_meta *meta;
    char key[16];
    bool same;

    if (mr_dataset_split_at(ds, (uint32_t)(i % 2), i / 2, &rank, NULL) !=
            MR_OK ||
        mr_dataset_sample(ds, rank, &sample, NULL) != MR_OK ||
        mr_dataset_find(ds, sample.uid, &found, NULL) != MR_OK ||
        mr_dataset_moments(ds, rank, 0, 0, &moments, NULL) != MR_OK ||
        mr_dataset_read(ds, rank, 0, NULL, &t, scratch, NULL) != MR_OK ||
        mri_dataset_meta(ds, rank, &meta, NULL) != MR_OK) {
        return false;
    }
    (void)snprintf(key, sizeof key, "%u", pixels[0] | pixels[1] << 8);
    same = found == rank && strcmp(meta->key, key) == 0 &&
           moments.sum == pixels[0] + pixels[1] + 3;
    mri_meta_free(meta);
    return same;
}

/* NULL if all was right. */
static void *
read_together(void *arg)
{
    reading *r = arg;
    mr_scratch *scratch = mr_scratch_open();
    void *bad = scratch != NULL ? NULL : r;

    for (uint64_t i = 0; i < STEPS; i++) {
        (void)pthread_barrier_wait(&r->together);
        if (bad == NULL &&
            !read_one(r->ds, i * (SAMPLES / 2 / STEPS), scratch)) {
            bad = r;
        }
    }
    mr_scratch_close(scratch);
    return bad;
}

static void
open_and_read(bool no_mmap)
{
    mr_dataset_options o = {.no_mmap = no_mmap};
    pthread_t threads[THREADS];
    reading r;
    void *bad;
    mr_diag d = {0};

    assert_ok(mr_dataset_open_with(&r.ds, dir, &o, &d), &d);
    pthread_barrier_init(&r.together, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_together, &r),
                         0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], &bad), 0);
        assert_null(bad);
    }
    pthread_barrier_destroy(&r.together);
    mr_dataset_close(r.ds);
}

static void
threads_meet_at_pages_that_are_read(void **state)
{
    (void)state;
    for (int i = 0; i < OPENINGS; i++) {
        open_and_read(true);
    }
}

static void
threads_meet_at_pages_that_are_mapped(void **state)
{
    (void)state;
    for (int i = 0; i < OPENINGS; i++) {
        open_and_read(false);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_meet_at_pages_that_are_read),
        cmocka_unit_test(threads_meet_at_pages_that_are_mapped),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
