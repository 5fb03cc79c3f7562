/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/error.h>
#include <mri/log.h>

#include <mr_test.h>
#include <string.h>

static void
numbers_ascend_and_every_row_says_something(void **state)
{
    size_t n;
    const mri_error_info *t = mri_error_table(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || t[i - 1].number < t[i].number);
        assert_true(strlen(t[i].cause) > 10);
        assert_true(strlen(t[i].help) > 10);
        assert_true(strlen(t[i].id) > 2);
        for (size_t k = 0; k < i; k++) {
            assert_true(strcmp(t[i].cause, t[k].cause) != 0);
        }
    }
}

static void
the_line_names_file_offset_and_code(void **state)
{
    mr_diag d = {0};
    char line[256];

    (void)state;
    assert_fails(mri_fail(&d, MRI_E_SHORT, 42, "ends %d early", 7),
                 MR_ECORRUPT);
    mri_diag_in(&d, "a/b.mrs");
    mri_diag_in(&d, "not this one");
    (void)mri_diag_line(&d, line, sizeof line);
    assert_string_equal(line, "error[E0204]: a/b.mrs@42: ends 7 early");
    assert_true(strlen(mr_code_help(d.code)) > 0);
    assert_string_equal(mr_code_help(9999), "");
}

static void
a_name_cannot_break_the_line(void **state)
{
    mr_diag d = {0};
    char line[256];

    (void)state;
    assert_fails(mri_fail(&d, MRI_E_OPEN, MR_NOWHERE, "no '\x1b[2J'"), MR_EIO);
    mri_diag_in(&d, "two\nlines\x7f.mr");
    (void)mri_diag_line(&d, line, sizeof line);
    assert_string_equal(line, "error[E0201]: two?lines?.mr: no '?[2J'");
    (void)mri_diag_line(&d, line, 1);
    assert_string_equal(line, "");
}

static void
a_long_path_keeps_its_end(void **state)
{
    mr_diag d = {0};
    char path[400];

    (void)state;
    memset(path, 'x', sizeof path);
    memcpy(path + 390, "/tail.mrs", 10);
    mri_diag_in(&d, path);
    assert_memory_equal(d.path, "...", 3);
    assert_string_equal(d.path + strlen(d.path) - 9, "/tail.mrs");
    assert_int_equal(strlen(d.path), sizeof d.path - 1);
}

static void
a_missing_diag_is_no_trouble(void **state)
{
    (void)state;
    assert_fails(mri_fail(NULL, MRI_E_USAGE, 0, "x"), MR_EARG);
    mri_diag_in(NULL, "x");
}

static void
exits_are_those_of_the_manual(void **state)
{
    (void)state;
    assert_int_equal(mr_err_exit(MR_OK), 0);
    assert_int_equal(mr_err_exit(MR_EBUSY), 1);
    assert_int_equal(mr_err_exit(MR_EARG), 2);
    assert_int_equal(mr_err_exit(MR_ECORRUPT), 3);
    assert_int_equal(mr_err_exit(MR_EFORMAT), 3);
    assert_int_equal(mr_err_exit(MR_ELIMIT), 4);
    assert_int_equal(mr_err_exit(MR_EIO), 5);
    assert_int_equal(mr_err_exit(MR_ECLOSED), 6);
    assert_int_equal(mr_err_exit(MR_ETIME), 6);
    assert_int_equal(mr_err_exit(MR_EAUTH), 7);
    assert_int_equal(mr_err_exit(MR_EDEVICE), 8);
    assert_int_equal(mr_err_exit(MR_ENOMEM), 8);
    assert_int_equal(mr_err_exit(MR_EVERSION), 9);
    assert_int_equal(mr_err_exit(MR_ESTOP), 75);
}

static int heard;
static void
hear(void *user, mr_log_level level, const char *id, const char *text)
{
    (void)user;
    assert_int_equal(level, MR_LOG_WARN);
    assert_string_equal(id, "T-ID");
    assert_string_equal(text, "n=5");
    heard++;
}

static void
a_log_reaches_the_sink_up_to_its_level_and_nobody_without_one(void **state)
{
    (void)state;
    mri_say(MR_LOG_ERROR, "T-ID", "n=%d", 5);
    mr_log_set(hear, NULL, MR_LOG_WARN);
    mri_say(MR_LOG_WARN, "T-ID", "n=%d", 5);
    mri_say(MR_LOG_DEBUG, "T-ID", "n=%d", 5);
    mr_log_set(NULL, NULL, MR_LOG_DEBUG);
    mri_say(MR_LOG_WARN, "T-ID", "n=%d", 5);
    assert_int_equal(heard, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_ascend_and_every_row_says_something),
        cmocka_unit_test(the_line_names_file_offset_and_code),
        cmocka_unit_test(a_name_cannot_break_the_line),
        cmocka_unit_test(a_long_path_keeps_its_end),
        cmocka_unit_test(a_missing_diag_is_no_trouble),
        cmocka_unit_test(exits_are_those_of_the_manual),
        cmocka_unit_test(
            a_log_reaches_the_sink_up_to_its_level_and_nobody_without_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
