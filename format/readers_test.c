/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readers_test.c - readers that decode without a pause while another process
 * withdraws, compacts and rolls back, as long as they do. A reader keeps the
 * generation that it opened, and each value it gets is right.
 */
#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/generation.h>

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <test_set.h>
#include <unistd.h>

enum {
    SAMPLES = 48,
    SHARD = 6, /* samples of one */
    VALUES = 40 * 44 * 5,
    THREADS = 4, /* that share a handle */
    PASSES = 6,  /* of each reader over all samples, at least */
    ROUNDS = 6   /* of the writer, at least */
};

static set made;
static uint16_t *values[SAMPLES]; /* in the order that they were written */
static uint8_t uids[SAMPLES][MR_UID_BYTES];

/* What the two processes know of each other. */
typedef struct shared {
    atomic_uint rounds; /* that the writer has done */
    atomic_bool stop;   /* after this one */
} shared;
static shared *both;

/* ---- the dataset ---- */

/* Values and uids as set_add makes them. */
static void
remember(unsigned i)
{
    const uint8_t sha256[32] = {(uint8_t)i, (uint8_t)(i >> 8), SET_CELLS};
    mri_field_in f = {0};
    size_t none;
    char key[32];

    (void)snprintf(key, sizeof key, "sample%u", i);
    mri_uid_of(uids[i], key, sha256, 1);
    values[i] = set_pixels(&made, i, &f, &none);
}

static int
setup(void **state)
{
    mri_shard_ref refs[SAMPLES / SHARD];
    mri_commit c;
    uint64_t generation;
    mr_diag d = {0};

    (void)state;
    made = (set){.dir = scratch_make(), .kind = SET_CELLS, .count = SAMPLES};
    for (unsigned i = 0; i < SAMPLES / SHARD; i++) {
        const uint8_t tag[16] = {(uint8_t)(i * SHARD), 5};

        refs[i] = set_write(&made, tag, i * SHARD, SHARD, -1);
    }
    for (unsigned i = 0; i < SAMPLES; i++) {
        remember(i);
    }
    c = set_commit(made.dir, refs, SAMPLES / SHARD);
    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
    both = mmap(NULL, sizeof *both, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(both != MAP_FAILED);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SAMPLES; i++) {
        free(values[i]);
    }
    (void)munmap(both, sizeof *both);
    scratch_remove(made.dir);
    return 0;
}

/* ---- the writer, a process of its own ---- */

static mr_err
withdraw(unsigned donor, mr_diag *diag)
{
    char name[32];
    const char *group = name;
    const mri_withdraw_options o = {.dataset = made.dir, .groups = {&group, 1}};
    mri_withdraw_report r;
    mr_err err;

    (void)snprintf(name, sizeof name, "donor%u", donor);
    err = mri_dataset_withdraw(&o, &r, diag);
    mri_withdraw_report_release(&r);
    return err;
}

static mr_err
compact(mr_diag *diag)
{
    const mri_compact_options o = {.dataset = made.dir, .workers = 2};
    mri_compact_report r;

    return mri_dataset_compact(&o, &r, diag);
}

static mr_err
roll_back(uint64_t to, mr_diag *diag)
{
    char thing[600];
    const mri_rollback_options o = {.thing = thing};
    mri_rollback_report r;

    (void)snprintf(thing, sizeof thing, "%s@%llu", made.dir,
                   (unsigned long long)to);
    return mri_dataset_rollback(&o, &r, diag);
}

/* Back to the first generation, which is there because it is read; twice: out
 * of one with dead rows, and out of one whose shards are other ones. */
static mr_err
one_round(unsigned round, mr_diag *diag)
{
    unsigned donor = round % (SAMPLES / 4);
    mr_err err = withdraw(donor, diag);

    if (err == MR_OK) {
        err = roll_back(1, diag);
    }
    if (err == MR_OK) {
        err = withdraw((donor + 1) % (SAMPLES / 4), diag);
    }
    if (err == MR_OK) {
        err = compact(diag);
    }
    return err == MR_OK ? roll_back(1, diag) : err;
}

static void
write_on(void)
{
    mr_diag d = {0};
    mr_err err = MR_OK;

    for (unsigned i = 0; err == MR_OK && !atomic_load(&both->stop); i++) {
        err = one_round(i, &d);
        if (err == MR_OK) {
            atomic_fetch_add(&both->rounds, 1);
        }
    }
    if (err != MR_OK) {
        print_error("writer: %s: %s\n", d.path, d.text);
    }
    _exit(err == MR_OK ? 0 : 1);
}

/* ---- readers ---- */

typedef struct reader {
    mr_dataset *ds; /* NULL: opens the latest anew for each pass */
    atomic_bool *end;
    atomic_uint passes, errors;
    uint64_t wrong;
    mr_diag why; /* the first error */
} reader;

static unsigned
number_of(const uint8_t uid[MR_UID_BYTES])
{
    unsigned i = 0;

    while (i < SAMPLES && memcmp(uids[i], uid, MR_UID_BYTES) != 0) {
        i++;
    }
    return i;
}

static void
read_one(reader *r, const mr_dataset *ds, uint64_t rank, mr_scratch *scratch)
{
    static _Thread_local uint16_t room[VALUES];
    const mr_box box = {.size = {40, 44, 5}};
    const mr_tensor t = {.data = room,
                         .dtype = MR_U16,
                         .rank = 3,
                         .shape = {40, 44, 5},
                         .stride = {44 * 5, 5, 1}};
    mr_sample s;
    mr_err err = mr_dataset_sample(ds, rank, &s, &r->why);
    unsigned i = err == MR_OK ? number_of(s.uid) : SAMPLES;

    if (err == MR_OK) {
        memset(room, 0xEE, sizeof room);
        err = mr_dataset_read(ds, rank, 0, &box, &t, scratch, &r->why);
    }
    r->errors += err != MR_OK;
    r->wrong += err == MR_OK &&
                (i == SAMPLES || memcmp(room, values[i], sizeof room) != 0);
}

static void
read_all(reader *r, const mr_dataset *ds)
{
    mr_scratch *scratch = mr_scratch_open();

    for (uint64_t i = 0; i < mr_dataset_count(ds) && r->errors == 0; i++) {
        read_one(r, ds, i, scratch);
    }
    mr_scratch_close(scratch);
}

static void *
read_on(void *arg)
{
    reader *r = arg;

    while (r->errors == 0 && !atomic_load(r->end)) {
        mr_dataset *ds = r->ds;

        if (ds == NULL && mr_dataset_open(&ds, made.dir, &r->why) != MR_OK) {
            r->errors++;
            break;
        }
        read_all(r, ds);
        if (r->ds == NULL) { /* none, one or two donors are out */
            r->wrong += mr_dataset_count(ds) < SAMPLES - 8;
            mr_dataset_close(ds);
        }
        atomic_fetch_add(&r->passes, 1);
    }
    return NULL;
}

static mr_dataset *
open_first(bool no_mmap)
{
    mr_dataset_options o = mr_dataset_defaults();
    char thing[600];
    mr_dataset *ds;
    mr_diag d = {0};

    o.no_mmap = no_mmap;
    (void)snprintf(thing, sizeof thing, "%s@1", made.dir);
    assert_ok(mr_dataset_open_with(&ds, thing, &o, &d), &d);
    return ds;
}

static bool
enough(reader *readers, size_t count)
{
    bool all = atomic_load(&both->rounds) >= ROUNDS;

    for (size_t i = 0; i < count; i++) {
        all = all && atomic_load(&readers[i].passes) >= PASSES;
        if (readers[i].errors != 0) {
            return true;
        }
    }
    return all;
}

static void
assert_well(const reader *r)
{
    if (r->errors != 0) {
        print_error("reader: %s: %s\n", r->why.path, r->why.text);
    }
    assert_int_equal(r->errors, 0);
    assert_int_equal(r->wrong, 0);
}

/* The generation of the handle, and all that it says of itself. */
static void
assert_first(const mr_dataset *ds, const uint8_t content[16])
{
    assert_int_equal(mr_dataset_generation(ds), 1);
    assert_int_equal(mr_dataset_count(ds), SAMPLES);
    assert_memory_equal(mr_dataset_content_id(ds), content, 16);
}

/* Readers of one mapped handle, one by pread, one that always opens what is
 * in force, and a handle whose shards nobody opens before all is over. */
static void
readers_read_on_while_generations_come_and_go(void **state)
{
    mr_dataset *mapped = open_first(false), *read = open_first(true);
    mr_dataset *late = open_first(false);
    reader readers[THREADS + 2] = {0}, after = {.ds = late};
    pthread_t threads[THREADS + 2];
    atomic_bool end = false;
    uint8_t content[16];
    int status = 0;
    pid_t writer = fork(); /* while there is one thread */

    (void)state;
    if (writer == 0) {
        write_on();
    }
    memcpy(content, mr_dataset_content_id(mapped), 16);
    for (size_t i = 0; i < MRI_COUNT(readers); i++) {
        readers[i].ds = i < THREADS ? mapped : i == THREADS ? read : NULL;
        readers[i].end = &end;
        assert_int_equal(
            pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
    }
    while (!enough(readers, MRI_COUNT(readers)) &&
           waitpid(writer, &status, WNOHANG) == 0) {
        (void)usleep(1000);
    }
    atomic_store(&both->stop, true);
    (void)waitpid(writer, &status, 0); /* ended before: as it was found */
    atomic_store(&end, true);
    for (size_t i = 0; i < MRI_COUNT(readers); i++) {
        (void)pthread_join(threads[i], NULL);
        assert_well(&readers[i]);
    }
    assert_int_equal(status, 0);
    assert_true(atomic_load(&both->rounds) >= ROUNDS);
    read_all(&after, late);
    assert_well(&after);
    assert_first(mapped, content);
    assert_first(read, content);
    assert_first(late, content);
    mr_dataset_close(mapped);
    mr_dataset_close(read);
    mr_dataset_close(late);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            readers_read_on_while_generations_come_and_go, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
