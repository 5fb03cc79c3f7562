/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/fmath.h>

#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <string.h>

#define TRIALS 200000

static double
uniform(uint64_t *seed, double low, double high)
{
    return low +
           (high - low) * ((double)(scratch_random(seed) >> 11) * 0x1p-53);
}

/* Distance in units in the last place of `want`. */
static double
ulps(double got, long double want)
{
    double w = (double)want;
    double unit = nextafter(fabs(w), INFINITY) - fabs(w);

    if (got == w) {
        return 0;
    }
    return (double)(fabsl((long double)got - want) / (long double)unit);
}

static uint64_t
fold(uint64_t h, double x)
{
    uint64_t u;

    memcpy(&u, &x, sizeof u);
    return (h ^ u) * 0x100000001B3u;
}

static void
each_is_within_two_units_of_the_exact_value(void **state)
{
    uint64_t seed = 1;
    double worst[4] = {0};

    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        double x = uniform(&seed, -700, 700);
        double y = mri_exp(uniform(&seed, -700, 700));
        double a = uniform(&seed, -1000, 1000), s, c;

        worst[0] = fmax(worst[0], ulps(mri_exp(x), expl((long double)x)));
        worst[1] = fmax(worst[1], ulps(mri_log(y), logl((long double)y)));
        mri_sincos(a, &s, &c);
        worst[2] = fmax(worst[2], ulps(s, sinl((long double)a)));
        worst[3] = fmax(worst[3], ulps(c, cosl((long double)a)));
    }
    for (int i = 0; i < 4; i++) {
        assert_true(worst[i] <= 2.0);
    }
}

static void
small_powers_are_close(void **state)
{
    uint64_t seed = 2;

    (void)state;
    for (int i = 0; i < TRIALS; i++) {
        double x = uniform(&seed, 0.001, 10), y = uniform(&seed, -4, 4);
        double want = (double)powl((long double)x, (long double)y);

        /* the error of log is multiplied by |y log x| <= 28 */
        assert_true(fabs(mri_pow(x, y) - want) <= 64 * 0x1p-52 * want);
    }
}

static void
edges_are_what_they_should_be(void **state)
{
    double s, c;

    (void)state;
    assert_true(mri_exp(0) == 1);
    assert_true(isinf(mri_exp(710)));
    assert_true(mri_exp(-746) == 0);
    assert_true(mri_exp(-744) > 0 && mri_exp(-744) < 0x1p-1000);
    assert_true(isfinite(mri_exp(709.7)));
    assert_true(isnan(mri_exp(NAN)));
    assert_true(mri_log(1) == 0);
    assert_true(isinf(mri_log(0)) && mri_log(0) < 0);
    assert_true(isnan(mri_log(-1)));
    assert_true(fabs(mri_log(0x1p-1074) + 744.4400719213812) < 1e-12);
    assert_true(mri_pow(0, 2) == 0 && mri_pow(5, 0) == 1);
    mri_sincos(0, &s, &c);
    assert_true(s == 0 && c == 1);
}

/* Golden bits: another compiler, level or CPU must give these. */
static void
the_bits_are_the_golden_ones(void **state)
{
    uint64_t seed = 3, h = 0xCBF29CE484222325u;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        double s, c, x, y;

        h = fold(h, mri_exp(uniform(&seed, -50, 50)));
        h = fold(h, mri_log(uniform(&seed, 0, 1000)));
        mri_sincos(uniform(&seed, -100, 100), &s, &c);
        h = fold(fold(h, s), c);
        x = uniform(&seed, 0, 4); /* arguments have no order of their own */
        y = uniform(&seed, -3, 3);
        h = fold(h, mri_pow(x, y));
    }
    assert_int_equal(h, 0x187159435930ee35);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_within_two_units_of_the_exact_value),
        cmocka_unit_test(small_powers_are_close),
        cmocka_unit_test(edges_are_what_they_should_be),
        cmocka_unit_test(the_bits_are_the_golden_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
