/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <errno.h>
#include <faulty_file.h>
#include <fcntl.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *dir;

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

static void
expect_content(const char *path, const char *text)
{
    mri_bytes b = {0};
    mr_diag d = {0};

    assert_ok(mri_file_load(path, 1 << 20, &b, &d), &d);
    assert_int_equal(b.len, strlen(text));
    assert_memory_equal(b.data, text, b.len);
    mri_bytes_release(&b);
}

static void
what_was_put_is_there(void **state)
{
    const char *path = scratch_path(dir, "a");
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_file_put(path, "old", 3, MRI_PUT_NEW, &d), &d);
    expect_content(path, "old");
    assert_fails(mri_file_put(path, "new", 3, MRI_PUT_NEW, &d), MR_EBUSY);
    expect_content(path, "old");
    assert_ok(mri_file_put(path, "new!", 4, MRI_PUT_REPLACE, &d), &d);
    expect_content(path, "new!");
    assert_int_equal(scratch_entries(dir), 1);
}

/* Neither waits for somebody who writes, nor is taken for an empty file. */
static void
a_folder_and_a_pipe_are_no_files(void **state)
{
    const char *path = scratch_path(dir, "pipe");
    mri_bytes b = {0};
    mr_diag d = {0}, e = {0};

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(mri_file_load(path, 1 << 20, &b, &d), MR_EIO);
    assert_string_equal(d.text, "a pipe, not a file");
    assert_int_equal(remove(path), 0);
    assert_fails(mri_file_load(dir, 1 << 20, &b, &e), MR_EIO);
    assert_int_equal(e.code, MRI_E_OPEN);
}

/* As on exFAT: nothing can be linked. */
static void
a_name_is_exclusive_also_where_a_file_has_only_one(void **state)
{
    static const int errors[] = {EPERM, EOPNOTSUPP, ENOSYS, EMLINK};
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(errors); i++) {
        const char *path = scratch_path(dir, i % 2 == 0 ? "a" : "b");

        faulty_arm(FAULTY_LINK, 0, errors[i], true);
        if (i < 2) {
            assert_ok(mri_file_put(path, "old", 3, MRI_PUT_NEW, &d), &d);
        }
        assert_fails(mri_file_put(path, "new", 3, MRI_PUT_NEW, &d), MR_EBUSY);
        assert_int_equal(faulty_disarm(), i < 2 ? 2 : 1);
        expect_content(path, "old");
    }
    faulty_arm(FAULTY_LINK | FAULTY_RENAME, 0, EPERM, true);
    assert_fails(mri_file_put(scratch_path(dir, "c"), "x", 1, MRI_PUT_NEW, &d),
                 MR_EIO);
    assert_int_equal(faulty_disarm(), 2);
    faulty_arm(FAULTY_LINK, 0, EIO, true); /* that is no reason to go on */
    assert_fails(mri_file_put(scratch_path(dir, "c"), "x", 1, MRI_PUT_NEW, &d),
                 MR_EIO);
    (void)faulty_disarm();
    assert_int_equal(scratch_entries(dir), 2);
}

/* Whatever call fails, the name shows the old bytes or the new ones, and no
 * dot-file is left. */
static void
a_put_that_fails_anywhere_leaves_the_old_and_no_litter(void **state)
{
    const char *path = scratch_path(dir, "a");
    unsigned failures = 0;

    (void)state;
    for (uint64_t n = 0;; n++) {
        mr_diag d = {0};
        mri_bytes b = {0};
        mr_err err;
        uint64_t made;

        assert_ok(mri_file_put(path, "old", 3, MRI_PUT_REPLACE, &d), &d);
        faulty_arm(FAULTY_ANY & ~FAULTY_UNLINK, n, EIO, false);
        err = mri_file_put(path, "new", 3, MRI_PUT_REPLACE, &d);
        made = faulty_disarm();
        if (made <= n) {
            assert_int_equal(err, MR_OK);
            break;
        }
        failures += err != MR_OK;
        assert_int_equal(scratch_entries(dir), 1);
        assert_ok(mri_file_load(path, 100, &b, &d), &d);
        assert_true(memcmp(b.data, "old", 3) == 0 ||
                    memcmp(b.data, "new", 3) == 0);
        mri_bytes_release(&b);
    }
    assert_true(failures >= 5); /* open, write, sync, close, rename, sync */
}

static void
short_transfers_are_gone_on_with(void **state)
{
    const char *path = scratch_path(dir, "a");
    mr_diag d = {0};

    (void)state;
    faulty_arm(FAULTY_WRITE, 0, 0, false);
    assert_ok(mri_file_put(path, "whole", 5, MRI_PUT_REPLACE, &d), &d);
    (void)faulty_disarm();
    faulty_arm(FAULTY_READ, 0, 0, true);
    expect_content(path, "whole");
    (void)faulty_disarm();
    faulty_arm(FAULTY_READ | FAULTY_WRITE, 0, EINTR, false);
    assert_ok(mri_file_put(path, "again", 5, MRI_PUT_REPLACE, &d), &d);
    (void)faulty_disarm();
    expect_content(path, "again");
}

static void
a_full_disk_is_named_with_file_and_offset(void **state)
{
    const char *path = scratch_path(dir, "a");
    mr_diag d = {0};

    (void)state;
    faulty_arm(FAULTY_WRITE, 0, ENOSPC, true);
    assert_fails(mri_file_put(path, "x", 1, MRI_PUT_REPLACE, &d), MR_EIO);
    (void)faulty_disarm();
    assert_string_equal(d.path, path);
    assert_non_null(strstr(d.text, "No space left"));
    assert_int_equal(scratch_entries(dir), 0);
}

static void
a_file_that_ends_early_says_where(void **state)
{
    const char *path = scratch_path(dir, "a");
    mr_diag d = {0};
    char raw[8];
    int fd;

    (void)state;
    scratch_write(path, "12345", 5);
    assert_ok(mri_file_open(&fd, path, O_RDONLY, 0, &d), &d);
    assert_fails(mri_file_read(fd, path, raw, 8, 0, &d), MR_ECORRUPT);
    assert_int_equal(d.at, 5);
    mri_file_drop(&fd);
    assert_int_equal(fd, -1);
}

static void
a_missing_folder_is_named_as_the_user_wrote_it(void **state)
{
    const char *path = scratch_path(dir, "no/such/file");
    mr_diag d = {0};

    (void)state;
    assert_fails(mri_file_put(path, "x", 1, MRI_PUT_NEW, &d), MR_EIO);
    assert_string_equal(d.path, path);
}

static void
a_sweep_takes_what_is_half_written_and_nothing_else(void **state)
{
    (void)state;
    scratch_write(scratch_path(dir, ".part-12-data"), "x", 1);
    scratch_write(scratch_path(dir, ".partial"), "x", 1);
    scratch_write(scratch_path(dir, "data"), "x", 1);
    mri_dir_sweep(dir);
    assert_int_equal(scratch_entries(dir), 2);
    mri_dir_sweep("no/such/folder"); /* is nothing to complain of */
}

static void
a_large_file_is_refused_before_it_is_read(void **state)
{
    const char *path = scratch_path(dir, "a");
    mri_bytes b = {0};
    mr_diag d = {0};

    (void)state;
    scratch_write(path, "12345", 5);
    assert_fails(mri_file_load(path, 4, &b, &d), MR_ELIMIT);
    assert_null(b.data);
}

static void
paths_come_apart_and_together(void **state)
{
    const char *const cases[][2] = {
        {"a/b", "a"}, {"b", "."}, {"/b", "/"}, {"a//b", "a"}, {"a/b/", "a/b"}};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        char *got = mri_path_dir(cases[i][0]);

        assert_string_equal(got, cases[i][1]);
        mri_free(got);
    }
    assert_string_equal(mri_path_name("x/y.z"), "y.z");
    assert_string_equal(mri_path_name("y.z"), "y.z");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_put_is_there),
        T(a_folder_and_a_pipe_are_no_files),
        T(a_name_is_exclusive_also_where_a_file_has_only_one),
        T(a_put_that_fails_anywhere_leaves_the_old_and_no_litter),
        T(short_transfers_are_gone_on_with),
        T(a_full_disk_is_named_with_file_and_offset),
        T(a_file_that_ends_early_says_where),
        T(a_missing_folder_is_named_as_the_user_wrote_it),
        T(a_sweep_takes_what_is_half_written_and_nothing_else),
        T(a_large_file_is_refused_before_it_is_read),
        T(paths_come_apart_and_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
