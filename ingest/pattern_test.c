/* SPDX-License-Identifier: Apache-2.0 */
#include "pattern.h"

#include <mr_test.h>
#include <string.h>

static void
expect(const char *pattern, const char *path, const char *part)
{
    size_t first, bytes;
    bool found = mri_pattern_match(pattern, path, &first, &bytes);

    if (found != (part != NULL) ||
        (found &&
         (bytes != strlen(part) || strncmp(path + first, part, bytes) != 0))) {
        fail_msg("'%s' on '%s' gave '%.*s'", pattern, path,
                 found ? (int)bytes : 4, found ? path + first : "none");
    }
}

static void
parts_are_the_shortest_that_fit(void **state)
{
    (void)state;
    expect("{group}_*", "donor3_cell42.tif", "donor3");
    expect("{group}_*", "a/b/donor3_cell_42.tif", "donor3");
    expect("{group}_*", "donor3", NULL);
    expect("{group}_*", "_x", NULL);
    expect("*_{channel}.*", "01_POS002_D.TIF", "D");
    expect("*f00d{channel}.tif", "AS_09125_D03f00d2.tif", "2");
    expect("{group}", "all", "all");
    expect("*", "x", "");
    expect("slide{group}.tif", "slide7.tif", "7");
    expect("slide{group}.tif", "slide7.tiff", NULL);
    expect("*{group}", "abc", "c");
}

static void
a_slash_makes_it_the_whole_path(void **state)
{
    (void)state;
    expect("{group}/*", "p01/scan.nii", "p01");
    expect("*/{group}/*", "site/p01/scan.nii", "p01");
    expect("{group}/*", "site/p01/scan.nii", NULL); /* '*' stays in a name */
    expect("*/{group}_*", "site/p01_x.nii", "p01");
}

static void
nasty_patterns_end(void **state)
{
    char path[256];
    size_t first, bytes;

    (void)state;
    memset(path, 'a', 255);
    path[255] = '\0';
    (void)mri_pattern_match("*a*a*a*a*a*a*a*a*a*{group}b", path, &first,
                            &bytes);
}

static void
a_pattern_must_name_its_part_once(void **state)
{
    mr_diag d = {0};

    (void)state;
    assert_int_equal(mri_pattern_check("{group}_*", "group", "group", &d),
                     MR_OK);
    assert_fails(mri_pattern_check("*", "group", "group", &d), MR_EARG);
    assert_fails(mri_pattern_check("{group", "group", "group", &d), MR_EARG);
    assert_fails(mri_pattern_check("{donor}_*", "group", "group", &d), MR_EARG);
    assert_non_null(strstr(d.text, "must read {group}"));
    assert_fails(mri_pattern_check("{group}{group}", "group", "group", &d),
                 MR_EARG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_the_shortest_that_fit),
        cmocka_unit_test(a_slash_makes_it_the_whole_path),
        cmocka_unit_test(nasty_patterns_end),
        cmocka_unit_test(a_pattern_must_name_its_part_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
