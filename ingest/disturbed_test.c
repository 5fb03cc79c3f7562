/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disturbed_test.c - what makes a generation, with the n-th call to the system
 * coming back short, refused, or the process killed there, for every n. Short
 * ones are of no matter; after the others the same command goes on. In the end
 * every file but the history is that of a run that was left alone.
 */
#include <mri/bytes.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/hash.h>
#include <mri/ingest.h>

#include <acts.h>
#include <dirent.h>
#include <errno.h>
#include <faulty_file.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *dir;
static char first[600], second[600], x[600]; /* two sources, the dataset */
static char near[600], far[600];             /* datasets that it takes in */

/* ---- what is done ---- */

static mr_err
ingest_into(const char *output, const char *source, mr_diag *diag)
{
    mri_ingest_options o = mri_ingest_defaults();
    mri_ingest_report report;
    mr_err err;

    o.sources = &source;
    o.source_count = 1;
    o.output = output;
    o.group = "{group}_*";
    o.workers = 1;
    o.shard_bytes = 2000;
    err = mri_ingest(&o, &report, diag);
    mri_ingest_report_release(&report);
    return err;
}

static mr_err
ingest(const char *source, mr_diag *diag)
{
    return ingest_into(x, source, diag);
}

static mr_err
ingest_first(mr_diag *diag)
{
    return ingest(first, diag);
}

static mr_err
ingest_second(mr_diag *diag)
{
    return ingest(second, diag);
}

static mr_err
withdraw(mr_diag *diag)
{
    return act_withdraw_group(x, "donor1", diag);
}

static mr_err
withdraw_another(mr_diag *diag)
{
    return act_withdraw_group(x, "donor2", diag);
}

static mr_err
compact(mr_diag *diag)
{
    return act_compact(x, false, diag);
}

static mr_err
purge(mr_diag *diag)
{
    return act_compact(x, true, diag);
}

static mr_err
roll_back(mr_diag *diag)
{
    return act_rollback(x, 2, diag);
}

static mr_err
merge_near(mr_diag *diag)
{
    return ingest(near, diag);
}

/* On a file system without hard links: shards are copied, and a manifest's
 * name is taken in another way. */
static mr_err
merge_far(mr_diag *diag)
{
    return ingest(far, diag);
}

/* Each out of the dataset that the one before it left. */
static const struct {
    const char *name;
    mr_err (*act)(mr_diag *diag);
} acts[] = {
    {"ingest", ingest_first},
    {"ingest of more", ingest_second},
    {"withdraw", withdraw},
    {"rollback", roll_back},
    {"withdraw after rollback", withdraw},
    {"compact", compact},
    {"withdraw after compact", withdraw_another},
    {"purge", purge},
    {"merge", merge_near},
    {"merge by copying", merge_far},
};
enum { ACTS = sizeof acts / sizeof *acts };

static void
part_file_systems(size_t i)
{
    if (acts[i].act == merge_far) {
        faulty_no_links("/", EPERM);
    }
}

/* ---- how it is disturbed ---- */

static const struct {
    const char *name;
    unsigned calls;
    int error; /* 0: one byte is transferred */
    bool stays;
} disturbances[] = {
    {"a short write", FAULTY_WRITE, 0, false},
    {"short writes", FAULTY_WRITE, 0, true},
    {"a short read", FAULTY_READ, 0, false},
    {"an interrupted call", FAULTY_READ | FAULTY_WRITE | FAULTY_OPEN, EINTR,
     false},
    {"no descriptor", FAULTY_OPEN, EMFILE, false},
    {"no more descriptors", FAULTY_OPEN, EMFILE, true},
    {"a full disk",
     FAULTY_WRITE | FAULTY_SYNC | FAULTY_LINK | FAULTY_RENAME | FAULTY_MKDIR,
     ENOSPC, true},
    {"a bad disk", FAULTY_ANY & ~FAULTY_CLOSE, EIO, false},
    {"a kill", FAULTY_ANY, FAULTY_DIES, false},
};

/* ---- folders ---- */

typedef void each_file(void *user, const char *name, const mri_bytes *content);

static void
walk(const char *root, const char *below, each_file *fn, void *user)
{
    char folder[1200];
    struct dirent *e;
    DIR *d;

    (void)snprintf(folder, sizeof folder, "%s/%s", root, below);
    d = opendir(folder);
    while (d != NULL && (e = readdir(d)) != NULL) {
        char name[600], path[1800];
        mri_bytes b = {0};
        struct stat st;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        (void)snprintf(name, sizeof name, "%.300s%s%.255s", below,
                       below[0] != '\0' ? "/" : "", e->d_name);
        (void)snprintf(path, sizeof path, "%s/%s", root, name);
        assert_int_equal(stat(path, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            fn(user, name, NULL);
            walk(root, name, fn, user);
        } else {
            assert_int_equal(mri_file_load(path, UINT64_MAX, &b, NULL), MR_OK);
            fn(user, name, &b);
            mri_bytes_release(&b);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

static void
copy_one(void *user, const char *name, const mri_bytes *content)
{
    const char *to = scratch_path(user, name);

    if (content == NULL) {
        (void)mkdir(to, 0755);
    } else {
        scratch_write(to, content->data, content->len);
    }
}

/* The dataset as it was before act `i`. */
static void
bring_back(size_t i)
{
    char kept[700];

    scratch_remove(strdup(x));
    (void)snprintf(kept, sizeof kept, "%s/kept%zu", dir, i);
    if (i > 0) {
        assert_int_equal(mkdir(x, 0755), 0);
        walk(kept, "", copy_one, x);
    }
}

/* A sum over all files, so that their order is of no matter. */
static void
add_one(void *user, const char *name, const mri_bytes *content)
{
    uint64_t *sum = user;

    if (content != NULL && strcmp(name, "history.jsonl") != 0) {
        *sum += mri_xxh3_seeded(content->data, content->len,
                                mri_xxh3(name, strlen(name)));
    }
}

static uint64_t
sum_of(const char *dataset)
{
    uint64_t sum = 0;

    walk(dataset, "", add_one, &sum);
    return sum;
}

/* A NIfTI-1 of side^3 i16 voxels that follow from `seed`. */
static void
write_cell(const char *folder, unsigned i)
{
    unsigned side = 4 + i % 3;
    size_t voxels = (size_t)side * side * side;
    uint8_t *raw = calloc(1, 352 + voxels * 2);
    uint64_t seed = i;
    char name[64];

    mri_put32(raw, 348);
    for (int k = 0; k <= 7; k++) {
        mri_put16(raw + 40 + 2 * k, k == 0 ? 3 : k <= 3 ? (uint16_t)side : 1);
        mri_put32(raw + 76 + 4 * k, 0x3F800000); /* pixdim 1.0f */
    }
    mri_put16(raw + 70, 4); /* i16 */
    mri_put16(raw + 72, 16);
    mri_put32(raw + 108, 0x43B00000); /* vox_offset 352.0f */
    memcpy(raw + 344, "n+1", 4);
    for (size_t k = 0; k < voxels; k++) {
        mri_put16(raw + 352 + 2 * k, (uint16_t)(scratch_random(&seed) % 999));
    }
    (void)snprintf(name, sizeof name, "spot/donor%u_cell%03u.nii", i % 3, i);
    scratch_write(scratch_path(folder, name), raw, 352 + voxels * 2);
    free(raw);
}

/* Samples that no other source has. */
static void
make_other(const char *name, unsigned from, char *dataset)
{
    char source[700], folder[720];
    mr_diag d = {0};

    (void)snprintf(source, sizeof source, "%s/%s", dir, name);
    (void)snprintf(folder, sizeof folder, "%s/spot", source);
    (void)snprintf(dataset, 600, "%s/%s.mr", dir, name);
    assert_int_equal(mkdir(source, 0755), 0);
    assert_int_equal(mkdir(folder, 0755), 0);
    for (unsigned i = from; i < from + 4; i++) {
        write_cell(source, i);
    }
    assert_ok(ingest_into(dataset, source, &d), &d);
}

/* One of the acts, as it is meant. */
static mr_err
do_act(size_t i, mr_diag *diag)
{
    mr_err err;

    part_file_systems(i);
    err = acts[i].act(diag);
    (void)faulty_disarm();
    return err;
}

static int
setup(void **state)
{
    mr_diag d = {0};
    struct stat st;

    (void)state;
    if (stat("/dev/shm", &st) == 0) { /* nothing here needs a disk */
        (void)setenv("TMPDIR", "/dev/shm", 0);
    }
    dir = scratch_make();
    (void)snprintf(first, sizeof first, "%s/first", dir);
    (void)snprintf(second, sizeof second, "%s/second", dir);
    (void)snprintf(x, sizeof x, "%s/x.mr", dir);
    assert_int_equal(mkdir(first, 0755), 0);
    assert_int_equal(mkdir(second, 0755), 0);
    assert_int_equal(mkdir(scratch_path(first, "spot"), 0755), 0);
    assert_int_equal(mkdir(scratch_path(second, "spot"), 0755), 0);
    for (unsigned i = 0; i < 9; i++) {
        write_cell(second, i);
        if (i < 6) {
            write_cell(first, i);
        }
    }
    make_other("near", 100, near);
    make_other("far", 200, far);
    for (size_t i = 0; i < ACTS; i++) {
        char kept[700];

        assert_ok(do_act(i, &d), &d);
        (void)snprintf(kept, sizeof kept, "%s/kept%zu", dir, i + 1);
        assert_int_equal(mkdir(kept, 0755), 0);
        walk(x, "", copy_one, kept);
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

/* ---- the trial ---- */

/* How many calls there were that could have gone wrong; *err: what came. */
static uint64_t
arm_and_act(size_t act, size_t how, uint64_t n, mr_err *err, mr_diag *diag)
{
    faulty_arm(disturbances[how].calls, n, disturbances[how].error,
               disturbances[how].stays);
    part_file_systems(act);
    *err = acts[act].act(diag);
    return faulty_disarm();
}

/* In a process of its own. True: it was killed before it came to its end. */
static bool
kill_at(size_t act, size_t how, uint64_t n)
{
    mr_diag d = {0};
    mr_err err;
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        (void)arm_and_act(act, how, n, &err, &d);
        _exit(err == MR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) || status == 0);
    return WIFSIGNALED(status);
}

static void
hear(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    print_error("%s: %s\n", diag->path, diag->text);
}

/* What a command that failed leaves: whole generations, or no dataset yet. */
static void
assert_whole(void)
{
    mri_dataset_verified v;
    uint64_t generation = 0;
    struct stat st;
    mr_diag d = {0};

    if (stat(x, &st) == 0) {
        assert_ok(mri_generation_of(x, &generation, &d), &d);
    }
    if (generation != 0) {
        assert_ok(mri_dataset_verify(x, 1, hear, NULL, NULL, &v, &d), &d);
        assert_int_equal(v.damages, 0);
    }
}

/* The n-th call goes wrong; false if there were not so many. */
static bool
disturb(size_t act, size_t how, uint64_t n, uint64_t want)
{
    bool short_of = disturbances[how].error == 0, met;
    mr_diag d = {0};
    mr_err err = MR_OK;

    bring_back(act);
    if (disturbances[how].error == FAULTY_DIES) {
        met = kill_at(act, how, n);
    } else {
        met = arm_and_act(act, how, n, &err, &d) > n;
    }
    if (err != MR_OK && short_of) {
        print_error("%s: %s %llu: %s\n", acts[act].name, disturbances[how].name,
                    (unsigned long long)n, d.text);
    }
    assert_true(err == MR_OK || !short_of);
    if (!short_of) { /* also if only sweeping failed */
        assert_true(err == MR_OK || d.text[0] != '\0');
        if (acts[act].act == merge_near || acts[act].act == merge_far) {
            assert_whole();
        }
        mri_diag_clear(&d);
        assert_ok(do_act(act, &d), &d);
    }
    if (sum_of(x) != want) {
        print_error("%s: %s %llu: another dataset\n", acts[act].name,
                    disturbances[how].name, (unsigned long long)n);
    }
    assert_int_equal(sum_of(x), want);
    return met;
}

/* A process for each n is dear, and most acts have a campaign that kills them
 * at each call; it takes no copying merge. */
static uint64_t
step_of(size_t act, size_t how)
{
    return disturbances[how].error == FAULTY_DIES && acts[act].act != merge_far
               ? 5
               : 1;
}

static void
the_dataset_is_that_of_a_calm_run(void **state)
{
    size_t how = (size_t)(uintptr_t)*state;

    for (size_t act = 0; act < ACTS; act++) {
        char kept[700];
        uint64_t want;

        (void)snprintf(kept, sizeof kept, "%s/kept%zu", dir, act + 1);
        want = sum_of(kept);
        for (uint64_t n = 0; disturb(act, how, n, want);) {
            n += step_of(act, how);
        }
    }
}

int
main(void)
{
    struct CMUnitTest tests[sizeof disturbances / sizeof *disturbances];

    for (size_t i = 0; i < sizeof disturbances / sizeof *disturbances; i++) {
        tests[i] =
            (struct CMUnitTest){.name = disturbances[i].name,
                                .test_func = the_dataset_is_that_of_a_calm_run,
                                .initial_state = (void *)(uintptr_t)i};
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
