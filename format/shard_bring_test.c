/* SPDX-License-Identifier: Apache-2.0 */
/* shard_bring_test.c - a shard in a second store: one file, or a proven copy. */
#include "prove.h"

#include <mri/error.h>
#include <mri/hash.h>
#include <mri/store.h>

#include <errno.h>
#include <faulty_file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <test_set.h>
#include <unistd.h>

enum { SAMPLES = 1500 }; /* small ones: it is the foot that takes room */

static char *room;
static set made; /* what there is */
static mri_store from, to;
static mri_shard_ref ref;
static uint64_t foot_off, foot_len;
static uint64_t whole; /* hash of the file */

static const char *
name(void)
{
    static mri_shard_file file;

    file = mri_shard_name(ref.id);
    return file.name;
}

static uint64_t
hash_of(const mri_store *s)
{
    mri_bytes b = {0};
    uint64_t hash;
    mr_diag d = {0};

    assert_ok(mri_store_load(s, name(), UINT64_MAX, &b, &d), &d);
    hash = mri_xxh3(b.data, b.len);
    mri_bytes_release(&b);
    return hash;
}

static bool
arrived(void)
{
    bool there;
    mr_diag d = {0};

    assert_ok(mri_store_has(&to, name(), &there, &d), &d);
    return there;
}

static int
setup(void **state)
{
    mri_shard *s;
    bool fresh;
    mr_diag d = {0};

    (void)state;
    room = scratch_make();
    made = (set){.height = 2, .width = 2};
    set_make(&made, SET_CELLS, SAMPLES);
    assert_ok(mri_store_open(&from, made.dir, &d), &d);
    assert_ok(mri_store_open(&to, scratch_path(room, "to"), &d), &d);
    assert_ok(mri_store_make(&to, &fresh, &d), &d);
    {
        mr_dataset *ds;

        assert_ok(mr_dataset_open(&ds, made.dir, &d), &d);
        mri_dataset_shard(ds, 0, &ref);
        mr_dataset_close(ds);
    }
    assert_ok(mri_shard_open_in(&s, &from, &ref, true, &d), &d);
    foot_off = s->tail.foot_off;
    foot_len = s->tail.foot_len;
    mri_shard_close(s);
    assert_true(foot_len > 3 * MRI_FOOT_PAGE);
    whole = hash_of(&from);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    mri_store_close(&from);
    mri_store_close(&to);
    scratch_remove(made.dir);
    scratch_remove(room);
    return 0;
}

static void
hear(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    print_error("%s: %s\n", diag->path, diag->text);
}

/* It is there, byte for byte, under so many names. */
static void
assert_arrived(nlink_t names)
{
    mri_verified v;
    struct stat st;
    mr_diag d = {0};

    assert_int_equal(hash_of(&to), whole);
    assert_ok(mri_shard_verify_in(&to, &ref, hear, NULL, &v, &d), &d);
    assert_int_equal(v.damages, 0);
    assert_int_equal(stat(scratch_path(to.root, name()), &st), 0);
    assert_int_equal(st.st_nlink, names);
}

static void
one_file_gets_a_second_name(void **state)
{
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_shard_bring(&to, &from, &ref, &d), &d);
    assert_arrived(2);
    assert_ok(mri_shard_bring(&to, &from, &ref, &d), &d); /* is there */
    assert_arrived(2);
}

static void
what_cannot_be_linked_is_copied(void **state)
{
    static const int errors[] = {EXDEV,  EPERM,  EMLINK,
                                 EACCES, ENOSYS, EOPNOTSUPP};
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(errors); i++) {
        faulty_no_links("/shards/", errors[i]);
        assert_ok(mri_shard_bring(&to, &from, &ref, &d), &d);
        (void)faulty_disarm();
        assert_arrived(1);
        assert_ok(mri_store_remove(&to, name(), &d), &d);
    }
}

/* These a copy would meet as well, or they say that something is wrong. */
static void
other_reasons_not_to_link_are_errors(void **state)
{
    static const int errors[] = {EIO, ENOSPC, EROFS, ENOENT, EDQUOT};
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(errors); i++) {
        faulty_no_links("/shards/", errors[i]);
        assert_fails(mri_shard_bring(&to, &from, &ref, &d), MR_EIO);
        (void)faulty_disarm();
        assert_int_equal(d.code, MRI_E_WRITE);
        assert_non_null(strstr(d.path, name()));
        assert_false(arrived());
    }
}

static void
flip_in_source(uint64_t at)
{
    FILE *f = fopen(scratch_path(from.root, name()), "r+b");
    int c;

    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    c = fgetc(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    assert_int_not_equal(fputc(c ^ 8, f), EOF);
    assert_int_equal(fclose(f), 0);
}

/* Whichever page it is in, of which opening looks at some only. */
static void
a_foot_that_is_damaged_gets_no_name(void **state)
{
    mr_diag d = {0};

    (void)state;
    for (uint64_t at = 40; at < foot_len; at += MRI_FOOT_PAGE / 2) {
        flip_in_source(foot_off + at);
        faulty_no_links("/shards/", EXDEV);
        assert_fails(mri_shard_bring(&to, &from, &ref, &d), MR_ECORRUPT);
        (void)faulty_disarm();
        assert_false(arrived());
        assert_int_equal(scratch_entries(to.root), 1); /* shards */
        flip_in_source(foot_off + at);
    }
    faulty_no_links("/shards/", EXDEV);
    assert_ok(mri_shard_bring(&to, &from, &ref, &d), &d);
    (void)faulty_disarm();
    assert_arrived(1);
}

static void
another_shard_under_its_name_is_refused(void **state)
{
    mri_shard_ref other = ref;
    mr_diag d = {0};

    (void)state;
    other.foot_hash ^= 1;
    faulty_no_links("/shards/", EXDEV);
    assert_fails(mri_shard_bring(&to, &from, &other, &d), MR_ECORRUPT);
    other = ref;
    other.bytes += 4096;
    assert_fails(mri_shard_bring(&to, &from, &other, &d), MR_ECORRUPT);
    (void)faulty_disarm();
    assert_false(arrived());
    assert_int_equal(scratch_entries(to.root), 1);
}

/* ---- interrupted ---- */

static mr_err
bring_with(unsigned calls, uint64_t n, int error, bool stays, uint64_t *made_of)
{
    mr_diag d = {0};
    mr_err err;

    faulty_arm(calls, n, error, stays);
    faulty_no_links("/shards/", EXDEV);
    err = mri_shard_bring(&to, &from, &ref, &d);
    *made_of = faulty_disarm();
    assert_true(err == MR_OK || d.text[0] != '\0');
    return err;
}

/* Nothing of it, or all; and then all of it comes. */
static void
assert_goes_on(void)
{
    mr_diag d = {0};

    if (arrived()) {
        assert_int_equal(hash_of(&to), whole);
    }
    mri_store_sweep(&to); /* where it was killed */
    faulty_no_links("/shards/", EXDEV);
    assert_ok(mri_shard_bring(&to, &from, &ref, &d), &d);
    (void)faulty_disarm();
    assert_int_equal(hash_of(&to), whole);
    assert_int_equal(scratch_entries(to.root), 1); /* shards */
    assert_ok(mri_store_remove(&to, name(), &d), &d);
}

static void
a_copy_that_fails_leaves_nothing(void **state)
{
    static const struct {
        unsigned calls;
        int error;
        bool stays, borne;
    } how[] = {
        {FAULTY_WRITE | FAULTY_SYNC | FAULTY_RENAME, ENOSPC, true, false},
        {FAULTY_READ, EIO, false, false},
        {FAULTY_WRITE, EIO, false, false},
        {FAULTY_OPEN, EMFILE, false, false},
        {FAULTY_WRITE, 0, false, true}, /* one byte is written */
    };

    (void)state;
    assert_goes_on(); /* its folders are there */
    for (size_t i = 0; i < MRI_COUNT(how); i++) {
        uint64_t calls = 1;

        for (uint64_t n = 0; n < calls; n++) {
            mr_err err =
                bring_with(how[i].calls, n, how[i].error, how[i].stays, &calls);

            if (n < calls) {
                assert_int_equal(err, how[i].borne ? MR_OK : MR_EIO);
            }
            assert_int_equal(scratch_entries(to.root), 1);
            assert_goes_on();
        }
        assert_true(calls > 0);
    }
}

static void
a_copy_that_is_killed_leaves_nothing_after_the_next_writer(void **state)
{
    int status = 0;

    (void)state;
    assert_goes_on();
    for (uint64_t n = 0; n == 0 || WIFSIGNALED(status); n++) {
        uint64_t calls;
        pid_t pid = fork();

        if (pid == 0) {
            _exit(bring_with(FAULTY_ANY, n, FAULTY_DIES, false, &calls) == MR_OK
                      ? 0
                      : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_goes_on();
        assert_true(n < 1000);
    }
    assert_int_equal(status, 0); /* the last one was not met any more */
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(one_file_gets_a_second_name),
        T(what_cannot_be_linked_is_copied),
        T(other_reasons_not_to_link_are_errors),
        T(a_foot_that_is_damaged_gets_no_name),
        T(another_shard_under_its_name_is_refused),
        T(a_copy_that_fails_leaves_nothing),
        T(a_copy_that_is_killed_leaves_nothing_after_the_next_writer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
