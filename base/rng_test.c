/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/rng.h>

#include <math.h>
#include <mr_test.h>

/* Known answers of Random123 (kat_vectors, philox4x32 10). */
static void
the_published_vectors_hold(void **state)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0},
         {0, 0},
         {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        uint32_t out[4];

        mri_philox(out, cases[i].counter, cases[i].key);
        assert_memory_equal(out, cases[i].want, sizeof out);
    }
}

static void
a_draw_depends_on_every_part_of_its_name(void **state)
{
    mri_draws a = mri_draws_of(1, 2, 3);
    mri_draws others[] = {mri_draws_of(2, 2, 3), mri_draws_of(1, 3, 3),
                          mri_draws_of(1, 2, 4),
                          mri_draws_of(1ull << 32 | 1, 2, 3)};
    uint32_t first = mri_draw_u32(&a);

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(others); i++) {
        assert_int_not_equal(mri_draw_u32(&others[i]), first);
    }
    assert_int_not_equal(mri_draw_u32(&a), first);
}

static void
words_run_through_the_blocks_in_order(void **state)
{
    mri_draws d = mri_draws_of(0x0123456789abcdefu, 7, 9);
    uint32_t key[2] = {0x89abcdef, 0x01234567};

    (void)state;
    for (uint32_t block = 0; block < 3; block++) {
        uint32_t counter[4] = {block, 7, 9, 0}, want[4];

        mri_philox(want, counter, key);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(mri_draw_u32(&d), want[i]);
        }
    }
}

static void
moments_are_those_of_the_distributions(void **state)
{
    mri_draws d = mri_draws_of(11, 0, 0);
    double sum = 0, square = 0, normal = 0, spread = 0;
    const int n = 200000;
    unsigned counts[5] = {0};

    (void)state;
    for (int i = 0; i < n; i++) {
        double u = (double)mri_draw_unit(&d), z = mri_draw_normal(&d);

        assert_true(u >= 0 && u < 1);
        sum += u;
        square += u * u;
        normal += z;
        spread += z * z;
        counts[mri_draw_below(&d, 5)]++;
    }
    /* five standard errors */
    assert_true(fabs(sum / n - 0.5) < 5 * 0.2887 / sqrt(n));
    assert_true(fabs(square / n - 1.0 / 3) < 5 * 0.2981 / sqrt(n));
    assert_true(fabs(normal / n) < 5 / sqrt(n));
    assert_true(fabs(spread / n - 1) < 5 * 1.4142 / sqrt(n));
    for (int i = 0; i < 5; i++) {
        assert_true(fabs(counts[i] - n / 5.0) < 5 * sqrt(n * 0.16));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_vectors_hold),
        cmocka_unit_test(a_draw_depends_on_every_part_of_its_name),
        cmocka_unit_test(words_run_through_the_blocks_in_order),
        cmocka_unit_test(moments_are_those_of_the_distributions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
