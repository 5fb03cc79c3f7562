/* SPDX-License-Identifier: Apache-2.0 */
#include "histogram.h"

#include <float.h>
#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

static float
float_of(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

static void
bins_of_numbers_ascend_and_hold_what_they_promise(void **state)
{
    mri_bins b = mri_bins_brain();
    uint64_t seed = 1;
    double before = -INFINITY;

    (void)state;
    for (uint32_t i = 0; i < b.count; i++) { /* without those of NaN */
        double v = mri_bin_value(&b, i);

        if (v == v && i >= 0x80 && i < 0xFF80) {
            assert_true(v > before || (v == 0 && before == 0));
            before = v;
        }
    }
    for (int i = 0; i < 1000000; i++) {
        float f = float_of((uint32_t)scratch_random(&seed));
        uint32_t bin;

        if (isfinite(f)) {
            double v = (double)f, got;

            bin = mri_bin_of(v);
            got = mri_bin_value(&b, bin);
            assert_true(fabs(got - v) <= fabs(v) * 0x1p-8 || fabsf(f) < 1e-37f);
        }
    }
    assert_int_equal(mri_bin_of(0.0), MRI_BIN_OF_ZERO);
    assert_int_equal(mri_bin_of(-0.0), MRI_BIN_OF_ZERO);
    assert_int_equal(mri_bin_of(1e300), mri_bin_of((double)FLT_MAX));
    assert_int_equal(mri_bin_of(-1e300), mri_bin_of(-(double)FLT_MAX));
}

static int
by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* inverted_cdf: the least value that at least q of all do not exceed. */
static double
by_definition(const double *sorted, size_t n, double percent)
{
    for (size_t i = 0; i < n; i++) {
        if ((double)(i + 1) >= (double)n * (percent / 100)) {
            return sorted[i];
        }
    }
    return sorted[n - 1];
}

static mr_moments
range_of(const double *sorted, size_t n)
{
    return (mr_moments){.count = n,
                        .min = n != 0 ? sorted[0] : 0,
                        .max = n != 0 ? sorted[n - 1] : 0};
}

static void
percentiles_are_those_of_the_sorted_values(void **state)
{
    enum { MOST = 3000 };
    uint64_t seed = 9, *count = calloc(MRI_BINS_STORED_COUNT, sizeof *count);
    uint32_t *bins = calloc(MRI_BINS_STORED_COUNT, sizeof *bins);
    int16_t pixels[MOST];
    double v[MOST], nonzero[MOST], got[MR_PERCENTILES];

    (void)state;
    for (size_t n = 1; n < MOST; n = n * 5 / 4 + 1) {
        mri_bins b = mri_bins_stored(0.25, -3);
        mri_bin_run run = {.dtype = MR_I16,
                           .pixels = (const uint8_t *)pixels,
                           .lanes = {0, 1, n, 1, 0}};
        mr_moments range;
        size_t m = 0;

        for (size_t i = 0; i < n; i++) {
            pixels[i] = (int16_t)((int)(scratch_random(&seed) % 60) - 30);
            v[i] = pixels[i] * 0.25 - 3;
            if (v[i] != 0) {
                nonzero[m++] = v[i];
            }
        }
        qsort(v, n, sizeof *v, by_number);
        qsort(nonzero, m, sizeof *v, by_number);
        memset(bins, 0, MRI_BINS_STORED_COUNT * sizeof *bins);
        mri_bins_count(&b, bins, &run);
        for (uint32_t i = 0; i < b.count; i++) {
            count[i] = bins[i];
        }
        range = range_of(v, n);
        mri_percentiles(got, &b, count, 0, &range);
        for (unsigned k = 0; k < MR_PERCENTILES; k++) {
            assert_true(got[k] == by_definition(v, n, mr_percent(k)));
        }
        range = range_of(nonzero, m);
        mri_percentiles(got, &b, count, n - m, &range);
        for (unsigned k = 0; m != 0 && k < MR_PERCENTILES; k++) {
            assert_true(got[k] == by_definition(nonzero, m, mr_percent(k)));
        }
    }
    memset(count, 0, MRI_BINS_STORED_COUNT * sizeof *count);
    mri_percentiles(got, &(mri_bins){.kind = MRI_BINS_STORED, .count = 9},
                    count, 0, &(mr_moments){0});
    assert_true(isnan(got[0]) && isnan(got[6])); /* of nothing */
    free(count);
    free(bins);
}

static void
what_is_packed_adds_up(void **state)
{
    mri_bins b = mri_bins_brain();
    uint64_t *count = calloc(b.count, sizeof *count),
             *twice = calloc(b.count, sizeof *twice), seed = 4;
    mri_bytes packed = {0};

    (void)state;
    count[0] = 1;
    count[b.count - 1] = UINT64_MAX / 2;
    for (int i = 0; i < 500; i++) {
        count[scratch_random(&seed) % b.count] =
            scratch_random(&seed) >> (1 + scratch_random(&seed) % 63);
    }
    assert_true(mri_bins_pack(&packed, &b, count));
    for (int i = 0; i < 2; i++) {
        assert_true(mri_bins_unpack(&b, twice, packed.data, packed.len));
    }
    for (uint32_t i = 0; i < b.count; i++) {
        assert_int_equal(twice[i], 2 * count[i]);
    }
    assert_false(mri_bins_unpack(&b, twice, packed.data, packed.len - 1));
    mri_bytes_release(&packed);
    free(count);
    free(twice);
}

static void
packed_bytes_that_leave_the_bins_are_refused(void **state)
{
    static const uint8_t far[] = {0x80, 0x80, 0x04, 1}; /* bin 65536 */
    static const uint8_t second[] = {0xFF, 0xFF, 0x03, 1, 0, 1};
    static const uint8_t endless[] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1};
    mri_bins b = mri_bins_brain();
    uint64_t *count = calloc(b.count, sizeof *count);

    (void)state;
    assert_false(mri_bins_unpack(&b, count, far, sizeof far));
    assert_true(mri_bins_unpack(&b, count, second, 4)); /* bin 65535 */
    assert_false(mri_bins_unpack(&b, count, second, sizeof second));
    assert_false(mri_bins_unpack(&b, count, endless, sizeof endless));
    assert_false(mri_bins_unpack(&b, count, far, 3)); /* no count */
    free(count);
}

static void
stored_values_have_their_place_among_numbers(void **state)
{
    mri_bins from = mri_bins_stored(0.5, 1), to = mri_bins_brain();
    uint64_t *a = calloc(from.count, sizeof *a),
             *b = calloc(to.count, sizeof *b);

    (void)state;
    a[MRI_BIN_OF_ZERO + 100] = 3; /* 51 */
    a[MRI_BIN_OF_ZERO - 2] = 5;   /* 0 */
    mri_bins_convert(&to, b, &from, a);
    assert_int_equal(b[mri_bin_of(51)], 3);
    assert_int_equal(b[MRI_BIN_OF_ZERO], 5);
    free(a);
    free(b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bins_of_numbers_ascend_and_hold_what_they_promise),
        cmocka_unit_test(percentiles_are_those_of_the_sorted_values),
        cmocka_unit_test(what_is_packed_adds_up),
        cmocka_unit_test(packed_bytes_that_leave_the_bins_are_refused),
        cmocka_unit_test(stored_values_have_their_place_among_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
