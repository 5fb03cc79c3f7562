/* SPDX-License-Identifier: Apache-2.0 */
#include "order.h"

#include <mri/alloc.h>
#include <mri/hash.h>
#include <mri/rng.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <string.h>

static mri_order order;

static void
every_order_is_a_permutation(void **state)
{
    const uint64_t sizes[] = {1,    2,    3,    5,     64,    4095,
                              4096, 4097, 5000, 16384, 16385, 100003};

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(sizes); k++) {
        uint8_t *seen = mri_alloc(sizes[k], 1);

        assert_non_null(seen);
        mri_order_init(&order, sizes[k], 7, 3, "train", false);
        for (uint64_t i = 0; i < sizes[k]; i++) {
            uint64_t at = mri_order_at(&order, i);

            assert_true(at < sizes[k]);
            assert_int_equal(seen[at]++, 0);
        }
        mri_free(seen);
    }
}

static void
the_order_by_uid_is_the_identity(void **state)
{
    (void)state;
    mri_order_init(&order, 100003, 7, 3, "test", true);
    for (uint64_t i = 0; i < 100003; i += 1013) {
        assert_int_equal(mri_order_at(&order, i), i);
    }
}

static unsigned
equal_places(uint64_t n, uint64_t seed, uint64_t epoch, const char *split)
{
    static mri_order other;
    unsigned equal = 0;

    mri_order_init(&order, n, 7, 3, "train", false);
    mri_order_init(&other, n, seed, epoch, split, false);
    for (uint64_t i = 0; i < n; i++) {
        equal += mri_order_at(&order, i) == mri_order_at(&other, i);
    }
    return equal;
}

/* Two random permutations agree in one place on average. */
static void
seed_epoch_and_split_each_make_another_order(void **state)
{
    const uint64_t sizes[] = {1000, 20000};

    (void)state;
    for (int k = 0; k < 2; k++) {
        assert_int_equal(equal_places(sizes[k], 7, 3, "train"), sizes[k]);
        assert_true(equal_places(sizes[k], 8, 3, "train") < 8);
        assert_true(equal_places(sizes[k], 7, 4, "train") < 8);
        assert_true(equal_places(sizes[k], 7, 3, "val") < 8);
    }
}

/* Chi-squared over a 16 x 16 grid of (position, sample): 225 degrees of
 * freedom, standard deviation 21. */
static void
samples_are_spread_evenly_over_positions(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 4; seed++) {
        const uint64_t n = 64000;
        unsigned cell[256] = {0};
        double chi = 0;

        mri_order_init(&order, n, seed, 0, "train", false);
        for (uint64_t i = 0; i < n; i++) {
            cell[i * 16 / n * 16 + mri_order_at(&order, i) * 16 / n]++;
        }
        for (int i = 0; i < 256; i++) {
            chi += (cell[i] - 250.0) * (cell[i] - 250.0) / 250.0;
        }
        assert_true(chi > 225 - 5 * 21 && chi < 225 + 5 * 21);
    }
}

/* The vectors of docs/stream-order.md, which tests/parity/order.py computes
 * on its own. */
static void
the_documented_vectors_hold(void **state)
{
    static const uint64_t small[8] = {0, 2, 3, 5, 9, 4, 6, 8};
    static const uint64_t large[8] = {432905, 639475, 516816, 668653,
                                      725680, 971224, 215582, 363554};
    uint8_t uid[16];
    mri_draws d;

    (void)state;
    mri_order_init(&order, 10, 42, 0, "train", false);
    for (uint64_t i = 0; i < 8; i++) {
        assert_int_equal(mri_order_at(&order, i), small[i]);
    }
    mri_order_init(&order, 1000000, 42, 1, "train", false);
    for (uint64_t i = 0; i < 8; i++) {
        assert_int_equal(mri_order_at(&order, i), large[i]);
    }
    for (int i = 0; i < 16; i++) {
        uid[i] = (uint8_t)i;
    }
    assert_int_equal(mri_draw_key(42, 1, uid, 0), 0xb52a8adcb7a75b84);
    assert_int_equal(mri_draw_op("flip", 0), 0xc6f64adf);
    d = mri_draws_of(mri_draw_key(42, 1, uid, 0), 2, mri_draw_op("flip", 0));
    assert_int_equal(mri_draw_u32(&d), 0x9672dce9);
    assert_int_equal(mri_draw_u32(&d), 0x6dcea357);
}

/* A union of many folds has a long name, and the end of it counts too. */
static void
a_long_name_counts_to_its_end(void **state)
{
    char name[512] = "fold0", next[32];

    (void)state;
    for (int i = 1; i < 64; i++) {
        (void)snprintf(next, sizeof next, "+fold%d", i);
        strcat(name, next);
    }
    assert_int_equal(strlen(name), 437);
    mri_order_init(&order, 10, 42, 0, name, false);
    assert_int_equal(order.key, 0xc58e5cbf0a7079c6);
    name[436] = '4';
    mri_order_init(&order, 10, 42, 0, name, false);
    assert_int_not_equal(order.key, 0xc58e5cbf0a7079c6);
    for (size_t n = 255; n < 258; n++) { /* one rule on both sides of 256 */
        uint8_t raw[16 + 300] = {42};

        memset(name, 'x', sizeof name);
        name[n] = '\0';
        memcpy(raw + 16, name, n);
        mri_order_init(&order, 10, 42, 0, name, false);
        assert_int_equal(order.key, mri_xxh3(raw, 16 + n));
    }
}

static void
consumers_share_a_batch_without_rest(void **state)
{
    (void)state;
    for (uint64_t rows = 1; rows < 70; rows++) {
        for (uint32_t of = 1; of < 9; of++) {
            uint64_t next = 0, first, end;

            for (uint32_t r = 0; r < of; r++) {
                mri_order_share(rows, r, of, &first, &end);
                assert_int_equal(first, next);
                next = end;
            }
            assert_int_equal(next, rows);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_is_a_permutation),
        cmocka_unit_test(the_order_by_uid_is_the_identity),
        cmocka_unit_test(seed_epoch_and_split_each_make_another_order),
        cmocka_unit_test(samples_are_spread_evenly_over_positions),
        cmocka_unit_test(the_documented_vectors_hold),
        cmocka_unit_test(a_long_name_counts_to_its_end),
        cmocka_unit_test(consumers_share_a_batch_without_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
