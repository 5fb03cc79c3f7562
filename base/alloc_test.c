/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/alloc.h>

#include <mr_test.h>

static void
a_product_that_overflows_is_refused(void **state)
{
    (void)state;
    assert_null(mri_alloc(SIZE_MAX / 2, 3));
    assert_null(mri_alloc_pixels(SIZE_MAX / 2, 3));
    assert_null(mri_alloc_pixels(SIZE_MAX, 1));
    assert_null(mri_resize(NULL, SIZE_MAX / 2, 3));
}

static void
checked_sums_leave_the_result_alone_on_overflow(void **state)
{
    uint64_t v = 7;

    (void)state;
    assert_false(mri_mul(UINT64_MAX, 2, &v));
    assert_false(mri_add(UINT64_MAX, 1, &v));
    assert_int_equal(v, 7);
    assert_true(mri_mul(1u << 31, 4, &v));
    assert_int_equal(v, 1ull << 33);
}

static void
the_nth_allocation_fails_and_all_later_ones_or_none(void **state)
{
    void *a, *b, *c;

    (void)state;
    (void)mri_alloc_fail_at(1);
    a = mri_alloc(1, 1);
    b = mri_alloc(1, 1);
    c = mri_alloc_pixels(1, 1);
    assert_int_equal(mri_alloc_fail_at(-1), 3);
    assert_non_null(a);
    assert_null(b);
    assert_null(c);
    mri_free(a);
    (void)mri_alloc_fail_once(0);
    a = mri_alloc(1, 1);
    b = mri_alloc(1, 1);
    assert_int_equal(mri_alloc_fail_at(-1), 2);
    assert_null(a);
    assert_non_null(b);
    mri_free(b);
}

static void
bytes_held_are_counted_and_limited(void **state)
{
    int64_t most;
    void *a, *b;

    (void)state;
    mri_alloc_limit(4096);
    a = mri_alloc(1000, 1);
    b = mri_alloc(4000, 1);
    assert_non_null(a);
    assert_null(b);
    a = mri_resize(a, 3000, 1);
    assert_non_null(a);
    mri_free(a);
    assert_int_equal(mri_alloc_held(&most), 0);
    assert_in_range(most, 3000, 4095);
    mri_alloc_limit(-1);
    b = mri_alloc(4000, 1);
    assert_non_null(b);
    mri_free(b);
}

static void
nothing_still_gives_a_block(void **state)
{
    void *p = mri_alloc(0, 8);

    (void)state;
    assert_non_null(p);
    mri_free(p);
    mri_free(NULL);
    assert_null(mri_strdup(NULL));
}

static void
pixels_are_aligned(void **state)
{
    (void)state;
    for (size_t n = 1; n < 300; n += 37) {
        void *p = mri_alloc_pixels(n, 2);

        assert_int_equal((uintptr_t)p % 64, 0);
        mri_free(p);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_that_overflows_is_refused),
        cmocka_unit_test(checked_sums_leave_the_result_alone_on_overflow),
        cmocka_unit_test(the_nth_allocation_fails_and_all_later_ones_or_none),
        cmocka_unit_test(bytes_held_are_counted_and_limited),
        cmocka_unit_test(nothing_still_gives_a_block),
        cmocka_unit_test(pixels_are_aligned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
