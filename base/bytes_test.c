/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/bytes.h>

#include <mri/alloc.h>

#include <mr_test.h>

static void
fields_are_little_endian(void **state)
{
    uint8_t raw[8];

    (void)state;
    mri_put32(raw, 0x01020304);
    assert_int_equal(raw[0], 4);
    assert_int_equal(raw[3], 1);
    mri_put64(raw, 0x0102030405060708u);
    assert_int_equal(raw[0], 8);
    assert_int_equal(mri_get64(raw), 0x0102030405060708u);
    assert_int_equal(mri_get16(raw), 0x0708);
}

static void
a_buffer_keeps_what_was_added(void **state)
{
    mri_bytes b = {0};

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(mri_bytes_u32(&b, i));
    }
    assert_true(mri_bytes_text(&b, "%s-%d", "abc", 5));
    assert_int_equal(b.len, 4005);
    assert_int_equal(mri_get32(b.data + 4 * 777), 777);
    assert_memory_equal(b.data + 4000, "abc-5", 6);
    mri_bytes_release(&b);
    assert_null(b.data);
}

static void
a_buffer_that_cannot_grow_is_unchanged(void **state)
{
    mri_bytes b = {0};

    (void)state;
    assert_true(mri_bytes_u32(&b, 9));
    (void)mri_alloc_fail_at(0);
    assert_false(mri_bytes_zero(&b, 100000));
    (void)mri_alloc_fail_at(-1);
    assert_int_equal(b.len, 4);
    assert_false(mri_bytes_reserve(&b, SIZE_MAX - 2));
    mri_bytes_release(&b);
    assert_true(mri_bytes_reserve(&b, 0));
    assert_non_null(b.data); /* as a place of no bytes */
    mri_bytes_release(&b);
}

static void
hex_goes_both_ways_and_refuses_the_rest(void **state)
{
    uint8_t raw[3];
    char text[7];

    (void)state;
    assert_true(mri_unhex(raw, 3, "00fFa5"));
    assert_string_equal(mri_hex(text, raw, 3), "00ffa5");
    assert_false(mri_unhex(raw, 3, "00ff"));
    assert_false(mri_unhex(raw, 3, "00ffa5a"));
    assert_false(mri_unhex(raw, 3, "00fg00"));
}

static void
zeros_are_told_from_almost_zeros(void **state)
{
    uint8_t raw[100] = {0};

    (void)state;
    assert_true(mri_all_zero(raw, 0));
    assert_true(mri_all_zero(raw, 100));
    for (size_t i = 0; i < 100; i++) {
        raw[i] = 1;
        assert_false(mri_all_zero(raw, 100));
        raw[i] = 0;
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_little_endian),
        cmocka_unit_test(a_buffer_keeps_what_was_added),
        cmocka_unit_test(a_buffer_that_cannot_grow_is_unchanged),
        cmocka_unit_test(hex_goes_both_ways_and_refuses_the_rest),
        cmocka_unit_test(zeros_are_told_from_almost_zeros),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
