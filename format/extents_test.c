/* SPDX-License-Identifier: Apache-2.0 */
#include "extents.h"

#include <mr_test.h>

static mri_extents x;

static void
near_ones_are_joined_and_far_ones_are_not(void **state)
{
    (void)state;
    x.count = 0;
    mri_extents_add(&x, 300000, 100);
    mri_extents_add(&x, 0, 1000);
    mri_extents_add(&x, 1000 + MRI_EXTENT_GAP - 1, 10);
    mri_extents_add(&x, 300050, 10); /* within one that is there */
    mri_extents_join(&x);
    assert_int_equal(x.count, 2);
    assert_int_equal(x.of[0].at, 0);
    assert_int_equal(x.of[0].end, 1000 + MRI_EXTENT_GAP + 9);
    assert_int_equal(x.of[1].at, 300000);
    assert_int_equal(x.of[1].end, 300100);
}

static void
a_gap_of_just_that_size_is_left_out(void **state)
{
    (void)state;
    x.count = 0;
    mri_extents_add(&x, 0, 10);
    mri_extents_add(&x, 10 + MRI_EXTENT_GAP, 10);
    mri_extents_join(&x);
    assert_int_equal(x.count, 2);
}

static void
more_than_are_planned_at_once_are_not_noted(void **state)
{
    (void)state;
    x.count = 0;
    mri_extents_join(&x);
    assert_int_equal(x.count, 0);
    for (unsigned i = 0; i < MRI_EXTENTS + 5; i++) {
        mri_extents_add(&x, (MRI_EXTENTS - (uint64_t)i % 7) << 20, 1 + i);
    }
    assert_int_equal(x.count, MRI_EXTENTS);
    mri_extents_join(&x);
    assert_int_equal(x.count, 7);
    mri_extents_add(&x, 5, 0);
    assert_int_equal(x.count, 7);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_ones_are_joined_and_far_ones_are_not),
        cmocka_unit_test(a_gap_of_just_that_size_is_left_out),
        cmocka_unit_test(more_than_are_planned_at_once_are_not_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
