/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/mapping.h>

#include <fcntl.h>
#include <mr_test.h>
#include <scratch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 8, PAGE = 4096 };

static char *dir;

/* A file of PAGES pages of ones, open. */
static int
make(const char *name)
{
    static uint8_t ones[PAGES * PAGE];
    const char *path = scratch_path(dir, name);
    int fd;

    memset(ones, 1, sizeof ones);
    scratch_write(path, ones, sizeof ones);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    return fd;
}

static uint8_t
look(const mri_mapping *m, size_t at)
{
    return *(const volatile uint8_t *)(m->at + at);
}

static void
pages_of_a_file_that_was_cut_read_as_zeros_and_are_known(void **state)
{
    uint64_t at = 0;
    mri_mapping m, other;
    int fd = make("cut"), whole = make("whole");

    (void)state;
    assert_true(mri_mapping_open(&m, fd, PAGES * PAGE));
    assert_true(mri_mapping_open(&other, whole, PAGES * PAGE));
    assert_false(mri_mapping_lost(&m, &at));
    assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
    assert_int_equal(look(&m, PAGE), 1);
    assert_int_equal(look(&m, 3 * PAGE + 5), 0);
    assert_true(mri_mapping_lost(&m, &at));
    assert_int_equal(at, 3 * PAGE);
    assert_int_equal(look(&m, 3 * PAGE + 6), 0); /* no second fault */
    assert_int_equal(look(&other, 3 * PAGE), 1);
    assert_false(mri_mapping_lost(&other, &at));
    mri_mapping_close(&m);
    mri_mapping_close(&other);
    (void)close(fd);
    (void)close(whole);
}

/* Zeros up to the end of the page are no fault. */
static void
a_cut_within_the_last_page_is_known_too(void **state)
{
    uint64_t at;
    mri_mapping m;
    int fd = make("late");

    (void)state;
    assert_true(mri_mapping_open(&m, fd, PAGES * PAGE));
    assert_int_equal(ftruncate(fd, PAGES * PAGE - 20), 0);
    assert_int_equal(look(&m, PAGES * PAGE - 10), 0);
    assert_true(mri_mapping_lost(&m, &at));
    mri_mapping_close(&m);
    (void)close(fd);
}

static void
a_cut_that_nobody_has_met_is_known(void **state)
{
    uint64_t at;
    mri_mapping m;
    int fd = make("unmet");

    (void)state;
    assert_true(mri_mapping_open(&m, fd, PAGES * PAGE));
    assert_int_equal(ftruncate(fd, PAGE), 0);
    assert_true(mri_mapping_lost(&m, &at));
    mri_mapping_close(&m);
    (void)close(fd);
}

static sigjmp_buf jump;
static volatile sig_atomic_t caught;

static void
catch_it(int number)
{
    caught = number;
    siglongjmp(jump, 1);
}

static void
a_fault_elsewhere_goes_to_the_handler_before(void **state)
{
    struct sigaction theirs = {.sa_handler = catch_it}, old, now;
    mri_mapping m;
    int ours = make("ours"), fd = make("theirs");
    volatile uint8_t *map;

    (void)state;
    assert_int_equal(sigaction(SIGBUS, &theirs, &old), 0);
    assert_true(mri_mapping_open(&m, ours, PAGES * PAGE));
    map = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(ftruncate(fd, PAGE), 0);
    caught = 0;
    if (sigsetjmp(jump, 1) == 0) {
        (void)map[3 * PAGE];
        fail_msg("no fault");
    }
    assert_int_equal(caught, SIGBUS);
    mri_mapping_close(&m);
    assert_int_equal(sigaction(SIGBUS, NULL, &now), 0);
    assert_true(now.sa_handler == catch_it); /* as it was before */
    assert_int_equal(sigaction(SIGBUS, &old, NULL), 0);
    (void)munmap((void *)(uintptr_t)map, PAGES * PAGE);
    (void)close(ours);
    (void)close(fd);
}

/* Sent by another process, it ends this one as it would without us. */
static void
a_signal_that_was_sent_still_ends_the_process(void **state)
{
    mri_mapping m;
    int fd = make("sent"), status = 0;
    pid_t child;

    (void)state;
    child = fork();
    if (child == 0) {
        (void)signal(SIGBUS, SIG_DFL);
        if (mri_mapping_open(&m, fd, PAGES * PAGE)) {
            (void)raise(SIGBUS);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGBUS);
    (void)close(fd);
}

static void
what_is_wanted_beyond_the_end_is_no_error(void **state)
{
    uint64_t at;
    mri_mapping m, none = {0};
    int fd = make("want");

    (void)state;
    assert_true(mri_mapping_open(&m, fd, PAGES * PAGE));
    mri_mapping_want(&m, 5, 3 * PAGE);
    mri_mapping_want(&m, PAGES * PAGE, 1);
    mri_mapping_want(&m, 1, UINT64_MAX);
    mri_mapping_want(&none, 0, 1);
    assert_false(mri_mapping_lost(&none, &at));
    mri_mapping_close(&m);
    mri_mapping_close(&m);
    (void)close(fd);
}

static int
make_dir(void **state)
{
    (void)state;
    dir = scratch_make();
    return 0;
}

static int
remove_dir(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            pages_of_a_file_that_was_cut_read_as_zeros_and_are_known),
        cmocka_unit_test(a_cut_within_the_last_page_is_known_too),
        cmocka_unit_test(a_cut_that_nobody_has_met_is_known),
        cmocka_unit_test(a_fault_elsewhere_goes_to_the_handler_before),
        cmocka_unit_test(a_signal_that_was_sent_still_ends_the_process),
        cmocka_unit_test(what_is_wanted_beyond_the_end_is_no_error),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
