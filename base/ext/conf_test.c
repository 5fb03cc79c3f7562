/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/conf.h>

#include <mri/alloc.h>

#include <mr_test.h>
#include <stdio.h>
#include <string.h>

static mri_conf *
parse(const char *text)
{
    mri_conf *c;
    mr_diag d = {0};

    assert_ok(mri_conf_parse(&c, text, strlen(text), &d), &d);
    return c;
}

static void
a_tree_comes_out_as_written(void **state)
{
    mri_conf *c = parse("a: 5\nb: [x, 'y', 2.5, ~]\nc: {d: {e: no}}\n"
                        "f: !!python/tuple [1, 2]\n");
    uint64_t u;
    double f;
    const char *text;
    bool flag;

    (void)state;
    assert_int_equal(mri_conf_u64(mri_conf_get(c, "a"), "a", &u, NULL), MR_OK);
    assert_int_equal(u, 5);
    assert_int_equal(mri_conf_get(c, "b")->count, 4);
    assert_int_equal(mri_conf_get(c, "b")->items[3].kind, MRI_CONF_NULL);
    assert_int_equal(
        mri_conf_f64(&mri_conf_get(c, "b")->items[2], "b", &f, NULL), MR_OK);
    assert_true(f == 2.5);
    assert_int_equal(mri_conf_text(mri_conf_path(c, "c.d.e"), "e", &text, NULL),
                     MR_OK);
    assert_string_equal(text, "no");
    assert_fails(mri_conf_bool(mri_conf_path(c, "c.d.e"), "e", &flag, NULL),
                 MR_EARG);
    assert_int_equal(mri_conf_get(c, "f")->kind, MRI_CONF_LIST);
    assert_int_equal(mri_conf_get(c, "f")->line, 4);
    assert_null(mri_conf_path(c, "c.x"));
    mri_conf_free(c);
}

static void
quoted_numbers_are_texts(void **state)
{
    mri_conf *c = parse("\"5\"");
    uint64_t u;

    (void)state;
    assert_fails(mri_conf_u64(c, "k", &u, NULL), MR_EARG);
    mri_conf_free(c);
}

static void
nothing_is_a_null_node(void **state)
{
    mri_conf *c = parse("# only a comment\n");

    (void)state;
    assert_int_equal(c->kind, MRI_CONF_NULL);
    mri_conf_free(c);
}

static void
what_a_config_may_not_say_is_refused_with_line_and_column(void **state)
{
    static const char *const cases[][2] = {
        {"a: 1\na: 2\n", "line 2, column 1: key given twice: a"},
        {"a: [1\nb: 2", "line 2"},
        {"x: !!python/object/apply:os.system ['echo']", "tag not allowed"},
        {"a: 1\n---\nb: 2\n", "second document"},
        {"? [1, 2]\n: 3\n", "a key must be"},
        {"a: *nobody\n", "no such anchor: nobody"},
        {"\xff\xfe\xff", ""},
        {"a: \"x\\0y\"", "zero byte"},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        mri_conf *c;
        mr_diag d = {0};

        assert_fails(mri_conf_parse(&c, cases[i][0], strlen(cases[i][0]), &d),
                     MR_EARG);
        assert_null(c);
        if (strstr(d.text, cases[i][1]) == NULL) {
            fail_msg("case %zu gave '%s'", i, d.text);
        }
    }
}

static void
aliases_are_copied_but_not_without_end(void **state)
{
    mri_conf *c = parse("a: &x {k: [1, 2]}\nb: *x\n");
    char bomb[2000] = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n";
    mr_diag d = {0};

    (void)state;
    assert_int_equal(mri_conf_path(c, "b.k")->count, 2);
    mri_conf_free(c);
    for (int i = 1; i < 12; i++) {
        char line[100];

        (void)snprintf(line, sizeof line,
                       "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
                       i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        strcat(bomb, line);
    }
    assert_fails(mri_conf_parse(&c, bomb, strlen(bomb), &d), MR_EARG);
    assert_non_null(strstr(d.text, "too many nodes"));
}

static void
depth_is_bounded(void **state)
{
    char deep[400];
    mri_conf *c;
    mr_diag d = {0};

    (void)state;
    memset(deep, '[', sizeof deep);
    assert_fails(mri_conf_parse(&c, deep, sizeof deep, &d), MR_EARG);
}

static void
an_unknown_key_gets_the_nearest_known_one(void **state)
{
    static const char *const known[] = {"size", "scale", "count"};
    mri_conf *c = parse("size: 3\nscail: 2\n");
    mr_diag d = {0};

    (void)state;
    assert_fails(mri_conf_known(c, known, 3, &d), MR_EARG);
    assert_string_equal(d.text,
                        "line 2: unknown key 'scail'; did you mean 'scale'?");
    mri_conf_free(c);
}

static void
running_out_of_memory_anywhere_is_said_and_leaks_nothing(void **state)
{
    static const char text[] = "a: &x {k: [1, 2]}\nb: *x\nc: [u, v, {w: *x}]\n";

    (void)state;
    for (int64_t n = 0;; n++) {
        mri_conf *c;
        mr_err err;
        int64_t made;

        (void)mri_alloc_fail_at(n);
        err = mri_conf_parse(&c, text, sizeof text - 1, NULL);
        made = mri_alloc_fail_at(-1);
        if (err == MR_OK) {
            assert_true(made <= n);
            mri_conf_free(c);
            break;
        }
        assert_int_equal(err, MR_ENOMEM);
    }
}

static void
json_of_a_tree_reads_back_as_the_same_tree(void **state)
{
    static const char text[] = "a: [1, -2.5e-3, 1/255, '7', yes, ~, true]\n"
                               "b: {c d: \"x: y\", e: [], f: 1-2}\n";
    static const char want[] =
        "{\"a\":[1,-2.5e-3,1/255,\"7\",\"yes\",null,true],"
        "\"b\":{\"c d\":\"x: y\",\"e\":[],\"f\":1-2}}";
    mri_json first = {0}, second = {0};
    mri_conf *root, *again;

    (void)state;
    assert_int_equal(mri_conf_parse(&root, text, strlen(text), NULL), MR_OK);
    mri_conf_json(root, &first);
    assert_string_equal(mri_json_done(&first), want);
    assert_int_equal(mri_conf_parse(&again, want, strlen(want), NULL), MR_OK);
    mri_conf_json(again, &second);
    assert_string_equal(mri_json_done(&second), want);
    mri_json_release(&first);
    mri_json_release(&second);
    mri_conf_free(root);
    mri_conf_free(again);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_comes_out_as_written),
        cmocka_unit_test(quoted_numbers_are_texts),
        cmocka_unit_test(nothing_is_a_null_node),
        cmocka_unit_test(
            what_a_config_may_not_say_is_refused_with_line_and_column),
        cmocka_unit_test(aliases_are_copied_but_not_without_end),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(an_unknown_key_gets_the_nearest_known_one),
        cmocka_unit_test(
            running_out_of_memory_anywhere_is_said_and_leaks_nothing),
        cmocka_unit_test(json_of_a_tree_reads_back_as_the_same_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
