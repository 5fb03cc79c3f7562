/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/opt.h>

#include <mri/alloc.h>

#include <mr_test.h>
#include <stdio.h>
#include <string.h>

static bool quiet;
static uint64_t count, limit;
static double rate;
static const char *out_path, *hash;
static mri_texts sets;
static int color;

static mri_opt opts[] = {
    {MRI_OPT_FLAG, 'q', "quiet", &quiet, NULL, "say less", false},
    {MRI_OPT_U64, 'n', "count", &count, "N", "how many", false},
    {MRI_OPT_F64, 0, "rate", &rate, "R", "how fast", false},
    {MRI_OPT_BYTES, 0, "memory", &limit, "BYTES", "at most", false},
    {MRI_OPT_TEXT, 'o', "output", &out_path, "PATH", "where to", false},
    {MRI_OPT_TEXT, 0, "hash", &hash, "[=rows]", "hashes", false},
    {MRI_OPT_LIST, 0, "set", &sets, "KEY=VALUE", "override", false},
    {MRI_OPT_CHOICE, 0, "color", &color, "auto|always|never", "colours", false},
    {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
};

static mr_err
parse(const char *line, mri_texts *rest, mr_diag *diag)
{
    static char text[512];
    char *argv[32];
    int argc = 0;

    quiet = false;
    count = limit = 0;
    rate = 0;
    out_path = hash = NULL;
    color = 0;
    mri_texts_release(&sets);
    (void)snprintf(text, sizeof text, "cmd %s", line);
    for (char *p = strtok(text, " "); p != NULL; p = strtok(NULL, " ")) {
        argv[argc++] = p;
    }
    return mri_opt_parse(argc, argv, opts, rest, diag);
}

static void
options_and_arguments_may_stand_in_any_order(void **state)
{
    mri_texts rest = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(parse("a -qn5 b --rate=2.5 --memory 1.5G -o x --set a=1 "
                    "--set b=2 --color never --hash c -- --quiet",
                    &rest, &d),
              &d);
    assert_true(quiet);
    assert_int_equal(count, 5);
    assert_true(rate == 2.5);
    assert_int_equal(limit, 3ull << 29);
    assert_string_equal(out_path, "x");
    assert_string_equal(hash, "");
    assert_int_equal(sets.count, 2);
    assert_string_equal(sets.at[1], "b=2");
    assert_int_equal(color, 2);
    assert_int_equal(rest.count, 4);
    assert_string_equal(rest.at[3], "--quiet");
    mri_texts_release(&rest);
    assert_ok(parse("--hash=rows", &rest, &d), &d);
    assert_string_equal(hash, "rows");
    mri_texts_release(&sets);
}

static void
wrong_lines_are_refused_with_a_reason(void **state)
{
    static const char *const cases[][2] = {
        {"--coun 3", "did you mean '--count'"},
        {"--xyzzyx", "unknown option '--xyzzyx'"},
        {"-z", "unknown option '-z'"},
        {"-qz", "unknown option '-z' in '-qz'"},
        {"--count", "needs a value (N)"},
        {"-n", "needs a value (N)"},
        {"--count -3", "expected a whole number"},
        {"--count 3x", "expected a whole number"},
        {"--count 99999999999999999999", "expected a whole number"},
        {"--rate nan", "expected a number"},
        {"--memory 5Q", "expected bytes"},
        {"--quiet=yes", "expected true or false"},
        {"--color red", "auto|always|never"},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        mri_texts rest = {0};
        mr_diag d = {0};

        assert_fails(parse(cases[i][0], &rest, &d), MR_EARG);
        if (strstr(d.text, cases[i][1]) == NULL) {
            fail_msg("'%s' gave '%s'", cases[i][0], d.text);
        }
        mri_texts_release(&rest);
    }
}

static void
one_letter_alone_is_named_once(void **state)
{
    mri_texts rest = {0};
    mr_diag d = {0};

    (void)state;
    assert_fails(parse("-z", &rest, &d), MR_EARG);
    assert_string_equal(d.text, "unknown option '-z'");
    mri_texts_release(&rest);
}

static void
help_and_man_page_name_every_option(void **state)
{
    const mri_cmd_doc doc = {.name = "verb kind",
                             .args = "SOURCE",
                             .summary = "does a thing",
                             .details = "More.\n",
                             .examples = "  millrace verb kind x\n"};
    mri_bytes help = {0}, roff = {0};

    (void)state;
    assert_true(mri_opt_help(&help, &doc, opts));
    assert_true(mri_opt_roff(&roff, &doc, opts, "2026-11-21"));
    for (const mri_opt *o = opts; o->kind != MRI_OPT_END; o++) {
        assert_non_null(strstr((char *)help.data, o->long_name));
        assert_non_null(strstr((char *)roff.data, o->long_name));
    }
    assert_non_null(strstr((char *)roff.data, ".TH MILLRACE-VERB-KIND 1"));
    assert_non_null(strstr((char *)roff.data, "\nmillrace\\-verb\\-kind "));
    mri_bytes_release(&help);
    mri_bytes_release(&roff);
}

static void
the_nearest_word_is_found_or_none(void **state)
{
    static const char *const words[] = {"ingest", "inspect", "verify"};

    (void)state;
    assert_string_equal(mri_nearest("inspekt", words, 3), "inspect");
    assert_string_equal(mri_nearest("verfiy", words, 3), "verify");
    assert_null(mri_nearest("xyz", words, 3));
    assert_null(mri_nearest("", words, 3));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_arguments_may_stand_in_any_order),
        cmocka_unit_test(wrong_lines_are_refused_with_a_reason),
        cmocka_unit_test(one_letter_alone_is_named_once),
        cmocka_unit_test(help_and_man_page_name_every_option),
        cmocka_unit_test(the_nearest_word_is_found_or_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
