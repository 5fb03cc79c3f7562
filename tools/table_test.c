/* SPDX-License-Identifier: Apache-2.0 */
#include "table.h"

#include <mr_test.h>
#include <stdio.h>
#include <string.h>

static void
printed(const mri_table *t, char *out, size_t bytes)
{
    FILE *f = tmpfile();

    assert_non_null(f);
    assert_true(mri_table_print(t, f));
    rewind(f);
    out[fread(out, 1, bytes - 1, f)] = '\0';
    (void)fclose(f);
}

static void
row(mri_table *t, const char *name, const char *value, const char *last)
{
    mri_table_cell(t, "%s", name);
    mri_table_cell(t, "%s", value);
    mri_table_cell(t, "%s", last);
    mri_table_end_row(t);
}

static void
numbers_stand_right_and_words_left(void **state)
{
    mri_table t = {0};
    char got[256];

    (void)state;
    row(&t, "field", "mean", "of");
    row(&t, "image", "-1.5", "a");
    row(&t, "g\xC3\xB6", "~1024", "all");
    row(&t, "x", "-", "b");
    printed(&t, got, sizeof got);
    assert_string_equal(got, "field   mean  of\n"
                             "image   -1.5  a\n"
                             "g\xC3\xB6     ~1024  all\n"
                             "x          -  b\n");
    mri_table_release(&t);
}

static void
a_head_alone_and_nothing_at_all(void **state)
{
    mri_table t = {0};
    char got[64];

    (void)state;
    printed(&t, got, sizeof got);
    assert_string_equal(got, "");
    row(&t, "a", "b", "c");
    printed(&t, got, sizeof got);
    assert_string_equal(got, "a  b  c\n");
    mri_table_release(&t);
}

static void
a_long_cell_is_cut(void **state)
{
    char word[600], got[600];
    mri_table t = {0};

    (void)state;
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    mri_table_cell(&t, "%s", word);
    mri_table_end_row(&t);
    printed(&t, got, sizeof got);
    assert_int_equal(strlen(got), 256); /* and the end of the line */
    mri_table_release(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_stand_right_and_words_left),
        cmocka_unit_test(a_head_alone_and_nothing_at_all),
        cmocka_unit_test(a_long_cell_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
