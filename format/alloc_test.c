/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc_test.c - the n-th allocation fails, alone or with all later ones, for
 * n after n: each call of this room says so, gives all memory back, leaves a
 * dataset that is the old one or the new one, and works when there is memory.
 */
#include "dataset_read.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/salvage.h>

#include <acts.h>
#include <fuzz_set.h>
#include <mr_test.h>
#include <scratch.h>
#include <sys/stat.h>
#include <warm.h>

/* One call. A new one is one more row below. */
typedef struct row {
    const char *name;
    mr_err (*call)(mr_diag *diag);
    /* What was left behind, `before` being the generation then; NULL: the call
     * changes nothing, and one dataset serves for every n. */
    void (*expect)(uint64_t before, mr_err err);
    bool withdrawn; /* of a dataset from which samples were withdrawn */
    bool slow;
} row;

static char *dir;
static mri_shard_ref ref;

static mr_err
call_open(mr_diag *diag)
{
    mr_dataset *ds;
    mr_err err = mr_dataset_open(&ds, dir, diag);

    mr_dataset_close(ds);
    return err;
}

static mr_err
open_shard(bool use_map, mr_diag *diag)
{
    char *path = mri_shard_path(dir, ref.id);
    mri_shard *s = NULL;
    mr_err err = path != NULL
                     ? mri_shard_open_with(&s, path, &ref, use_map, diag)
                     : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");

    mri_free(path);
    mri_shard_close(s);
    return err;
}

static mr_err
call_shard_mapped(mr_diag *diag)
{
    return open_shard(true, diag);
}

static mr_err
call_shard_read(mr_diag *diag)
{
    return open_shard(false, diag);
}

/* All fields of a sample, without working memory and with. */
static mr_err
read_fields(const mr_dataset *ds, uint64_t rank, mr_scratch *scratch,
            mr_diag *diag)
{
    static uint8_t pixels[4096];
    mr_err err = MR_OK;
    mr_moments moments;
    mr_sample sample;
    double slope, inter;

    err = mr_dataset_sample(ds, rank, &sample, diag);
    for (uint32_t i = 0; err == MR_OK && i < sample.fields; i++) {
        mr_field f;
        mr_tensor t;
        const uint8_t *p;
        size_t bytes;

        err = mr_dataset_field(ds, rank, i, &f, diag);
        if (err == MR_OK && f.encoding == MR_ENC_CHUNKS) {
            t = mr_tensor_of(pixels, f.dtype, f.rank, f.shape);
            err = mr_dataset_read(ds, rank, i, NULL, &t, scratch, diag);
        } else if (err == MR_OK && scratch != NULL) {
            err = mr_dataset_bytes(ds, rank, i, &p, &bytes, scratch, diag);
        }
        if (err == MR_OK && f.encoding == MR_ENC_CHUNKS) {
            err = mr_dataset_moments(ds, rank, i, 0, &moments, diag);
        }
        if (err == MR_OK) {
            err = mr_dataset_scale(ds, rank, i, &slope, &inter, diag);
        }
    }
    return err;
}

static mr_err
call_read(mr_diag *diag)
{
    mr_scratch *scratch = mr_scratch_open();
    mr_dataset *ds = NULL;
    mr_err err = scratch != NULL
                     ? mr_dataset_open(&ds, dir, diag)
                     : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");

    for (uint64_t i = 0; err == MR_OK && i < 2; i++) {
        err = read_fields(ds, i, i == 0 ? NULL : scratch, diag);
    }
    mr_scratch_close(scratch);
    mr_dataset_close(ds);
    return err;
}

static mr_err
call_read_unmapped(mr_diag *diag)
{
    mr_err err;

    (void)setenv("MILLRACE_NO_MMAP", "1", 1);
    err = call_read(diag);
    (void)unsetenv("MILLRACE_NO_MMAP");
    return err;
}

static mr_err
call_meta(mr_diag *diag)
{
    mr_dataset *ds;
    mri_meta *meta = NULL;
    mr_err err = mr_dataset_open(&ds, dir, diag);

    if (err == MR_OK) {
        err = mri_dataset_meta(ds, 1, &meta, diag);
        mri_meta_free(meta);
    }
    mr_dataset_close(ds);
    return err;
}

static mr_err
call_find(mr_diag *diag)
{
    mr_dataset *ds;
    mr_sample sample;
    uint64_t rank;
    uint32_t split;
    mr_err err = mr_dataset_open(&ds, dir, diag);

    if (err == MR_OK) {
        err = mri_dataset_find_key(ds, "sample3", &rank, diag);
    }
    if (err == MR_OK) {
        err = mr_dataset_sample(ds, rank, &sample, diag);
    }
    if (err == MR_OK) {
        err = mr_dataset_find(ds, sample.uid, &rank, diag);
    }
    if (err == MR_OK) {
        err = mri_dataset_split_of(ds, rank, &split, diag);
    }
    mr_dataset_close(ds);
    return err;
}

static void
no_damage(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    fail_msg("%s: %s", sample != NULL ? sample : "?", diag->text);
}

static mr_err
call_verify(mr_diag *diag)
{
    mri_dataset_verified out;

    return mri_dataset_verify(dir, 1, no_damage, NULL, NULL, &out, diag);
}

static mr_err
hear(void *user, const mri_difference *d, mr_diag *diag)
{
    (void)user;
    (void)d;
    (void)diag;
    return MR_OK;
}

static mr_err
call_diff(mr_diag *diag)
{
    mr_dataset *a = NULL, *b = NULL;
    mr_err err = mr_dataset_open(&a, dir, diag);

    if (err == MR_OK) {
        err = mr_dataset_open(&b, dir, diag);
    }
    if (err == MR_OK) {
        err = mri_dataset_diff(a, b, hear, NULL, NULL, diag);
    }
    mr_dataset_close(a);
    mr_dataset_close(b);
    return err;
}

static mr_err
call_encode(mr_diag *diag)
{
    static const uint16_t pixels[600] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    mri_provenance from = {"a.tif", {1}, 120, NULL};
    mri_field_in f = {.encoding = MR_ENC_CHUNKS,
                      .dtype = MR_U16,
                      .ndim = 2,
                      .axes = {'Y', 'X'},
                      .dims = {20, 30},
                      .pixels = pixels,
                      .sources = &from,
                      .source_count = 1};
    mri_sample_in in = {.key = "a",
                        .group = "g",
                        .class_name = "spot",
                        .class_index = 1,
                        .fields = &f,
                        .field_count = 1};
    mri_encoded *e = NULL;
    mr_err err = mri_encode(&e, &in, diag);

    mri_encoded_free(e);
    return err;
}

/* Encode, write, commit: a whole dataset in a folder of its own, and the same
 * one as ever if nothing was said. */
static mr_err
call_write(mr_diag *diag)
{
    char *into = scratch_make();
    mri_shard_ref mine;
    mr_err err = fuzz_set_write(into, &mine, diag);

    if (err == MR_OK) {
        assert_memory_equal(mine.id, ref.id, sizeof ref.id);
    }
    scratch_remove(into);
    return err;
}

static mr_err
call_salvage(mr_diag *diag)
{
    char into[600];
    const mri_salvage_options o = {.source = dir, .output = into};
    mri_salvaged out;

    (void)snprintf(into, sizeof into, "%s-salvaged", dir);
    return mri_salvage(&o, &out, diag);
}

/* Not there, or whole: then only a line of its history may be missing. */
static void
expect_salvaged(uint64_t before, mr_err err)
{
    char into[600];
    struct stat st;
    mr_dataset *ds;
    mr_diag d = {0};

    (void)before;
    (void)snprintf(into, sizeof into, "%s-salvaged", dir);
    assert_true(err != MR_OK || stat(into, &st) == 0);
    if (stat(into, &st) == 0) {
        assert_ok(mr_dataset_open(&ds, into, &d), &d);
        assert_int_equal(mr_dataset_count(ds), FUZZ_SET_SAMPLES);
        mr_dataset_close(ds);
        scratch_remove(strdup(into));
    }
}

static const char *const names[] = {"sample1", "sample3"};

static mr_err
call_withdraw(mr_diag *diag)
{
    return act_withdraw(dir, (mri_names){names, 2}, (mri_names){0}, diag);
}

static mr_err
call_rollback(mr_diag *diag)
{
    return act_rollback(dir, 1, diag);
}

static mr_err
call_compact(mr_diag *diag)
{
    return act_compact(dir, false, diag);
}

static mr_err
call_purge(mr_diag *diag)
{
    return act_compact(dir, true, diag);
}

/* As `withdraw` does it, without a history. */
static mr_err
call_commit(mr_diag *diag)
{
    mr_dataset *parent;
    mr_err err = mr_dataset_open(&parent, dir, diag);

    if (err == MR_OK) {
        err = fuzz_set_commit(dir, parent, &ref, diag);
    }
    mr_dataset_close(parent);
    return err;
}

/* It opens, and is the generation before the call or the one after. */
static void
expect_whole(uint64_t before, mr_err err)
{
    mr_dataset *ds;
    mr_diag d = {0};
    mr_sample sample;
    uint64_t now;

    assert_ok(mr_dataset_open(&ds, dir, &d), &d);
    now = mr_dataset_generation(ds);
    assert_true(now == before || now == before + 1);
    assert_true(err != MR_OK || now == before + 1);
    for (uint64_t i = 0; i < mr_dataset_count(ds); i++) {
        assert_ok(mr_dataset_sample(ds, i, &sample, &d), &d);
    }
    mr_dataset_close(ds);
}

static const row rows[] = {
    {"a dataset is opened", call_open, NULL, false, false},
    {"a shard is opened, mapped", call_shard_mapped, NULL, false, false},
    {"a shard is opened, by pread", call_shard_read, NULL, false, false},
    {"samples are read, mapped", call_read, NULL, false, false},
    {"samples are read, by pread", call_read_unmapped, NULL, false, false},
    {"the human side of a sample is read", call_meta, NULL, false, false},
    {"a key and a uid are found", call_find, NULL, false, false},
    {"a dataset is verified", call_verify, NULL, false, false},
    {"two generations are compared", call_diff, NULL, false, false},
    {"a sample is encoded", call_encode, NULL, false, false},
    {"a dataset is written", call_write, NULL, false, true},
    {"a dataset is salvaged", call_salvage, expect_salvaged, false, true},
    {"a generation is committed", call_commit, expect_whole, false, true},
    {"samples are withdrawn", call_withdraw, expect_whole, false, true},
    {"a generation is rolled back", call_rollback, expect_whole, true, true},
    {"a dataset is compacted", call_compact, expect_whole, true, true},
    {"a dataset is purged", call_purge, expect_whole, true, true},
};

static int
setup(void **state)
{
    mr_diag d = {0};

    (void)state;
    (void)mri_alloc_fail_at(-1); /* a test before this one may have failed */
    dir = scratch_make();
    assert_ok(fuzz_set_write(dir, &ref, &d), &d);
    return 0;
}

static int
setup_changed(void **state)
{
    mr_diag d = {0};

    (void)setup(state);
    if (((const row *)*state)->withdrawn) {
        assert_ok(call_withdraw(&d), &d);
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

/* True if memory did not run out any more. */
static bool
try_with(const row *r, int64_t n, bool once)
{
    int64_t made, left, most;
    uint64_t before = 0;
    mr_diag d = {0};
    mr_err err;

    assert_int_equal(mri_generation_of(dir, &before, NULL), MR_OK);
    mri_alloc_limit(INT64_MAX);
    (void)(once ? mri_alloc_fail_once(n) : mri_alloc_fail_at(n));
    err = r->call(&d);
    made = mri_alloc_fail_at(-1);
    left = mri_alloc_held(&most);
    mri_alloc_limit(-1);
    if (left != 0 || (err != MR_OK && err != MR_ENOMEM)) {
        print_error("allocation %lld: %s: %s, %lld bytes left\n", (long long)n,
                    mr_err_name(err), d.text, (long long)left);
    }
    assert_int_equal(left, 0);
    assert_true(err == MR_OK || (err == MR_ENOMEM && d.err == MR_ENOMEM));
    if (r->expect != NULL) {
        r->expect(before, err);
    }
    assert_true(made > n || err == MR_OK);
    return made <= n;
}

static void
each_allocation_fails_in_turn(void **state)
{
    const row *r = *state;

    for (int once = 0; once < 2; once++) {
        bool done = false;

        /* What commits makes thousands, each slow: the first twenty one by
         * one, then steps of a twentieth. */
        for (int64_t n = 0; !done; n += r->slow ? 1 + n / 20 : 1) {
            if (r->expect != NULL) {
                (void)teardown(state);
                (void)setup_changed(state);
            }
            done = try_with(r, n, once != 0);
        }
    }
}

int
main(void)
{
    struct CMUnitTest tests[sizeof rows / sizeof *rows];
    struct stat st;

    warm_mappings();
    /* Nothing here needs a disk, and syncing one takes most of the time. */
    if (stat("/dev/shm", &st) == 0) {
        (void)setenv("TMPDIR", "/dev/shm", 0);
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tests[i] =
            (struct CMUnitTest){.name = rows[i].name,
                                .test_func = each_allocation_fails_in_turn,
                                .setup_func = setup_changed,
                                .teardown_func = teardown,
                                .initial_state = (void *)(uintptr_t)&rows[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
