/* SPDX-License-Identifier: Apache-2.0 */
/* reading_test.c - one dataset, read in every way there is. */
#include "dataset_read.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <mr_test.h>
#include <pthread.h>
#include <scratch.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIDE = 72, VOXELS = SIDE * SIDE * SIDE, SAMPLES = 12, CELL = 600 };

static char *dir;
static const char *const field_names[] = {"cell", "volume", "bytes"};
static mri_field_kind kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_IMAGE,
                                 MRI_FIELD_IMAGE};
static const mri_schema schema = {
    .field_count = 3,
    .field_names = (const char **)(uintptr_t)field_names,
    .field_kinds = kinds,
    .config = "{}",
};
static const char *const split_names[] = {"train", "val"};
static const double shares[] = {0.5, 0.5};
static int16_t volume[VOXELS];
static uint16_t cell[CELL];
static uint8_t bytes[5000];

static void
fill(unsigned i)
{
    uint64_t seed = i + 1;

    for (size_t k = 0; k < VOXELS; k++) {
        volume[k] = (int16_t)(k / SIDE % 300 + scratch_random(&seed) % 16);
    }
    for (size_t k = 0; k < CELL; k++) {
        cell[k] = (uint16_t)(scratch_random(&seed) % 5000);
    }
    for (size_t k = 0; k < sizeof bytes; k++) {
        bytes[k] = (uint8_t)scratch_random(&seed);
    }
}

static void
add_sample(mri_shard_writer *w, unsigned i)
{
    char key[32], group[32];
    mri_geometry geometry;
    mri_provenance source = {"f", {(uint8_t)i}, 120, NULL};
    mri_field_in f[3] = {{.encoding = MR_ENC_CHUNKS,
                          .dtype = MR_U16,
                          .ndim = 2,
                          .axes = {'Y', 'X'},
                          .dims = {20, CELL / 20},
                          .pixels = cell},
                         {.name = 1,
                          .encoding = MR_ENC_CHUNKS,
                          .dtype = MR_I16,
                          .ndim = 3,
                          .axes = {'Z', 'Y', 'X'},
                          .dims = {SIDE, SIDE, SIDE},
                          .pixels = volume,
                          .geometry = &geometry},
                         {.name = 2,
                          .encoding = MR_ENC_BYTES,
                          .dtype = MR_U8,
                          .ndim = 1,
                          .axes = {'X'},
                          .dims = {sizeof bytes},
                          .verbatim = bytes,
                          .verbatim_bytes = sizeof bytes}};
    mri_sample_in s = {.key = key,
                       .group = group,
                       .class_index = MR_NO_CLASS,
                       .fields = f,
                       .field_count = 3};
    mri_encoded *e = NULL;
    mr_diag d = {0};

    mri_geometry_init(&geometry);
    geometry.slope = 0.5;
    for (int k = 0; k < 3; k++) {
        f[k].sources = &source;
        f[k].source_count = 1;
    }
    fill(i);
    (void)snprintf(key, sizeof key, "s%u", i);
    (void)snprintf(group, sizeof group, "g%u", i);
    mri_uid_of(s.uid, s.key, source.sha256, 1);
    assert_ok(mri_encode(&e, &s, &d), &d);
    assert_ok(mri_shard_add(w, e, &d), &d);
    mri_encoded_free(e);
}

static mri_shard_ref refs[3];

static void
write_shard(unsigned number)
{
    uint8_t tag[16] = {(uint8_t)number, 7};
    mri_shard_writer *w;
    mr_diag d = {0};

    assert_ok(mri_shard_begin(&w, dir, tag, &schema, &d), &d);
    for (unsigned i = 0; i < SAMPLES / 2; i++) {
        add_sample(w, number * SAMPLES / 2 + i);
    }
    assert_ok(mri_shard_finish(w, &refs[number], &d), &d);
    mri_shard_close_writer(w);
}

static void
commit(const mr_dataset *parent, uint32_t shards)
{
    const mri_commit c = {.dir = dir,
                          .parent = parent,
                          .shards = refs,
                          .shard_count = shards,
                          .schema = &schema,
                          .layout = "folder",
                          .split_names = split_names,
                          .split_shares = shares,
                          .split_count = 2};
    uint64_t generation;
    mr_diag d = {0};

    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
}

static int
setup(void **state)
{
    (void)state;
    dir = scratch_make();
    write_shard(0);
    write_shard(1);
    commit(NULL, 2);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static mr_dataset *
open_dataset(bool no_mmap)
{
    const mr_dataset_options o = {.no_mmap = no_mmap};
    mr_dataset *ds;
    mr_diag d = {0};

    assert_ok(mr_dataset_open_with(&ds, dir, &o, &d), &d);
    return ds;
}

/* A reader with memory of its own. */
typedef struct reader {
    mr_dataset *ds;
    mr_scratch *scratch;
    uint64_t seed;
    int16_t voxels[VOXELS];
} reader;

static reader *
open_reader(mr_dataset *ds)
{
    reader *r = mri_alloc(1, sizeof *r);

    assert_non_null(r);
    r->ds = ds;
    r->scratch = mr_scratch_open();
    assert_non_null(r->scratch);
    return r;
}

static void
close_reader(reader *r)
{
    mr_scratch_close(r->scratch);
    mri_free(r);
}

/* Field `i` whole, against the hash that was taken when it was written. */
static mr_err
read_field(reader *r, uint64_t rank, uint32_t i, bool *same, mr_diag *diag)
{
    mr_field f;
    mr_tensor t;
    mr_err err = mr_dataset_field(r->ds, rank, i, &f, diag);

    *same = true;
    if (err == MR_OK) {
        t = mr_tensor_of(r->voxels, f.dtype, f.rank, f.shape);
        err = mr_dataset_read(r->ds, rank, i, NULL, &t, r->scratch, diag);
    }
    if (err == MR_OK) {
        *same = mri_xxh3(r->voxels, (size_t)f.bytes) == f.content;
    }
    return err;
}

static mr_err
read_bytes(reader *r, uint64_t rank, bool *same, mr_diag *diag)
{
    const uint8_t *p;
    size_t n;
    mr_field f;
    mr_err err = mr_dataset_field(r->ds, rank, 2, &f, diag);

    *same = true;
    if (err == MR_OK) {
        err = mr_dataset_bytes(r->ds, rank, 2, &p, &n, r->scratch, diag);
    }
    if (err == MR_OK) {
        *same = n == sizeof bytes && mri_xxh3(p, n) == f.content;
    }
    return err;
}

static mr_err
read_box(reader *r, uint64_t rank, mr_box *box, mr_diag *diag)
{
    mr_tensor t;

    for (int k = 0; k < 3; k++) {
        box->size[k] = 1 + scratch_random(&r->seed) % (SIDE - 8);
        box->first[k] = scratch_random(&r->seed) % (SIDE - box->size[k]);
    }
    t = mr_tensor_of(r->voxels, MR_I16, 3, box->size);
    return mr_dataset_read(r->ds, rank, 1, box, &t, r->scratch, diag);
}

static mr_err
read_floats(reader *r, uint64_t rank, mr_diag *diag)
{
    const mr_box box = {.first = {1, 2}, .size = {9, CELL / 20 - 2}};
    float got[9 * CELL / 20];
    mr_tensor t = mr_tensor_of(got, MR_F32, 2, box.size);

    return mr_dataset_read_f32(r->ds, rank, 0, &box, &t, r->scratch, diag);
}

/* All that a sample has, once. */
static mr_err
read_sample(reader *r, uint64_t rank, mr_diag *diag)
{
    mr_err err = MR_OK;
    bool same = true;
    mr_box box = {{0}, {0}};

    for (uint32_t i = 0; err == MR_OK && same && i < 2; i++) {
        err = read_field(r, rank, i, &same, diag);
    }
    if (err == MR_OK && same) {
        err = read_bytes(r, rank, &same, diag);
    }
    if (err == MR_OK && same) {
        err = read_box(r, rank, &box, diag);
    }
    if (err == MR_OK && same) {
        err = read_floats(r, rank, diag);
    }
    assert_true(same); /* an error may be; other bytes may not */
    return err;
}

static void
mapped_or_not_the_bytes_are_the_same(void **state)
{
    reader *a = open_reader(open_dataset(false));
    reader *b = open_reader(open_dataset(true));
    mr_diag d = {0};

    (void)state;
    for (int turn = 0; turn < 60; turn++) {
        uint64_t rank = (uint64_t)turn % SAMPLES;
        mr_box one, other;
        size_t n = 2;

        assert_ok(read_sample(a, rank, &d), &d);
        assert_ok(read_sample(b, rank, &d), &d);
        assert_ok(read_box(a, rank, &one, &d), &d);
        assert_ok(read_box(b, rank, &other, &d), &d);
        assert_memory_equal(one.size, other.size, 3 * sizeof *one.size);
        for (int k = 0; k < 3; k++) {
            n *= (size_t)one.size[k];
        }
        assert_memory_equal(a->voxels, b->voxels, n);
    }
    mr_dataset_close(a->ds);
    mr_dataset_close(b->ds);
    close_reader(a);
    close_reader(b);
}

/* Against the same box as stored, scaled here. */
static void
a_box_as_f32_is_the_scaled_box(void **state)
{
    mr_dataset *ds = open_dataset(false);
    reader *r = open_reader(ds);
    float *got = mri_alloc(VOXELS, sizeof *got);
    mr_diag d = {0};

    (void)state;
    for (int turn = 0; turn < 40; turn++) {
        uint64_t rank = (uint64_t)turn / 4 % SAMPLES;
        mr_tensor t;
        mr_box box;
        size_t n = 1;

        assert_ok(read_box(r, rank, &box, &d), &d);
        t = mr_tensor_of(got, MR_F32, 3, box.size);
        assert_ok(mr_dataset_read_f32(ds, rank, 1, &box, &t,
                                      turn % 3 != 0 ? r->scratch : NULL, &d),
                  &d);
        for (int k = 0; k < 3; k++) {
            n *= (size_t)box.size[k];
        }
        for (size_t k = 0; k < n; k++) {
            if (got[k] != 0.5f * (float)r->voxels[k]) {
                fail_msg("value %zu of box %d differs", k, turn);
            }
        }
    }
    {
        const uint64_t shape[] = {20, CELL / 20};
        mr_tensor t = mr_tensor_of(got, MR_F32, 2, shape);

        assert_ok(mr_dataset_read_f32(ds, 0, 0, NULL, &t, r->scratch, &d), &d);
        t = mr_tensor_of(r->voxels, MR_U16, 2, shape);
        assert_ok(mr_dataset_read(ds, 0, 0, NULL, &t, r->scratch, &d), &d);
        for (size_t k = 0; k < CELL; k++) {
            assert_true(got[k] == (float)(uint16_t)r->voxels[k]);
        }
        assert_fails(mr_dataset_read_f32(ds, 0, 0, NULL, &t, r->scratch, &d),
                     MR_EARG);
    }
    mri_free(got);
    mr_dataset_close(ds);
    close_reader(r);
}

static void
a_read_allocates_nothing(void **state)
{
    (void)state;
    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
        reader *r = open_reader(open_dataset(no_mmap != 0));
        mr_diag d = {0};

        for (int round = 0; round < 2; round++) { /* the first grows scratch */
            (void)mri_alloc_fail_at(INT64_MAX);
            for (uint64_t rank = 0; rank < SAMPLES; rank++) {
                assert_ok(read_sample(r, rank, &d), &d);
            }
            assert_true((mri_alloc_fail_at(-1) == 0) == (round == 1));
        }
        mr_dataset_close(r->ds);
        close_reader(r);
    }
}

static void
cut(const char *path, off_t to)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, to >= 0 ? to : st.st_size + to), 0);
}

static void
a_shard_that_is_cut_while_it_is_open_is_an_error(void **state)
{
    char *path = mri_shard_path(dir, refs[0].id);

    (void)state;
    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
        reader *r = open_reader(open_dataset(no_mmap != 0));
        unsigned failed = 0;
        mr_diag d = {0};

        for (uint64_t rank = 0; rank < SAMPLES; rank++) {
            assert_ok(read_sample(r, rank, &d), &d);
        }
        cut(path, (off_t)refs[0].bytes / 3);
        for (uint64_t rank = 0; rank < SAMPLES; rank++) {
            d = (mr_diag){0};
            if (read_sample(r, rank, &d) != MR_OK) {
                assert_int_equal(d.err, MR_ECORRUPT);
                assert_string_equal(d.path, path);
                failed++;
            }
        }
        assert_in_range(failed, 2, SAMPLES / 2);
        mr_dataset_close(r->ds);
        close_reader(r);
        assert_int_equal(unlink(path), 0);
        write_shard(0); /* the same again */
    }
    mri_free(path);
}

static void
an_index_that_is_cut_while_it_is_open_is_an_error(void **state)
{
    mr_dataset *ds = open_dataset(false);
    uint64_t rank;
    mr_sample sample;
    mr_diag d = {0};
    char path[600];

    (void)state;
    assert_ok(mr_dataset_sample(ds, 0, &sample, &d), &d);
    (void)snprintf(path, sizeof path, "%s/index.000001.mri", dir);
    cut(path, -30); /* within the page: no fault */
    assert_fails(mr_dataset_sample(ds, 0, &sample, &d), MR_ECORRUPT);
    assert_string_equal(d.path, path);
    assert_fails(mr_dataset_split_at(ds, 0, 0, &rank, &d), MR_ECORRUPT);
    assert_fails(mr_dataset_find(ds, sample.uid, &rank, &d), MR_ECORRUPT);
    cut(path, 0);
    assert_fails(mr_dataset_find(ds, sample.uid, &rank, &d), MR_ECORRUPT);
    mr_dataset_close(ds);
}

static atomic_bool stop;

/* Everything that can be asked of a handle. */
static mr_err
ask_all(reader *r, uint64_t rank, mr_diag *diag)
{
    mr_sample sample;
    mr_moments moments;
    mri_meta *meta;
    uint64_t found;
    double slope, inter;
    mr_err err = mr_dataset_sample(r->ds, rank, &sample, diag);

    if (err == MR_OK) {
        err = mr_dataset_find(r->ds, sample.uid, &found, diag);
    }
    if (err == MR_OK) {
        assert_int_equal(found, rank);
        err = mr_dataset_moments(r->ds, rank, 1, 0, &moments, diag);
    }
    if (err == MR_OK) {
        assert_int_equal(moments.count, VOXELS);
        err = mr_dataset_scale(r->ds, rank, 1, &slope, &inter, diag);
    }
    if (err == MR_OK) {
        assert_true(slope == 0.5);
        err = mri_dataset_meta(r->ds, rank, &meta, diag);
    }
    if (err == MR_OK) {
        mri_meta_free(meta);
        assert_non_null(mr_dataset_stats(r->ds, 0, 1, 0));
        mri_dataset_foresee(r->ds, &rank, 1);
    }
    return err;
}

static void *
read_on(void *arg)
{
    reader *r = arg;
    mr_diag d = {0};

    for (int round = 0; round < 2 || !atomic_load(&stop); round++) {
        for (uint64_t i = 0; i < SAMPLES; i++) {
            uint64_t rank = scratch_random(&r->seed) % SAMPLES;

            if (read_sample(r, rank, &d) != MR_OK ||
                ask_all(r, rank, &d) != MR_OK) {
                return r;
            }
        }
    }
    return NULL;
}

/* And a writer makes new generations meanwhile, which they do not see. */
static void
eight_threads_read_one_handle(void **state)
{
    (void)state;
    for (int no_mmap = 0; no_mmap < 2; no_mmap++) {
        mr_dataset *ds = open_dataset(no_mmap != 0);
        mr_dataset *parent = open_dataset(false);
        reader *readers[8];
        pthread_t threads[8];
        void *bad;

        atomic_store(&stop, false);
        for (uint64_t i = 0; i < 8; i++) {
            readers[i] = open_reader(ds);
            readers[i]->seed = i;
            pthread_create(&threads[i], NULL, read_on, readers[i]);
        }
        if (no_mmap == 0) {
            write_shard(2);
        }
        commit(parent, no_mmap == 0 ? 3 : 2);
        atomic_store(&stop, true);
        for (int i = 0; i < 8; i++) {
            pthread_join(threads[i], &bad);
            assert_null(bad);
            close_reader(readers[i]);
        }
        assert_int_equal(mr_dataset_count(ds),
                         no_mmap == 0 ? SAMPLES : SAMPLES * 3 / 2);
        mr_dataset_close(parent);
        mr_dataset_close(ds);
    }
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(mapped_or_not_the_bytes_are_the_same),
        T(a_box_as_f32_is_the_scaled_box),
        T(a_read_allocates_nothing),
        T(a_shard_that_is_cut_while_it_is_open_is_an_error),
        T(an_index_that_is_cut_while_it_is_open_is_an_error),
        T(eight_threads_read_one_handle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
