/* SPDX-License-Identifier: Apache-2.0 */
#include "chunk.h"
#include "survey.h"

#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

/* The obvious way, in long double. */
static void
naive(const double *v, size_t n, mr_moments *all, mr_moments *nonzero)
{
    long double sum = 0, squares = 0;

    *all = *nonzero = (mr_moments){0};
    for (size_t i = 0; i < n; i++) {
        mr_moments *both[2] = {all, nonzero};

        sum += (long double)v[i];
        squares += (long double)v[i] * (long double)v[i];
        for (int k = 0; k < 2; k++) {
            if (k == 1 && v[i] == 0) {
                continue;
            }
            both[k]->min =
                both[k]->count == 0 ? v[i] : fmin(both[k]->min, v[i]);
            both[k]->max =
                both[k]->count == 0 ? v[i] : fmax(both[k]->max, v[i]);
            both[k]->count++;
        }
    }
    all->sum = nonzero->sum = (double)sum;
    all->sum_squares = nonzero->sum_squares = (double)squares;
}

static void
near(const mr_moments *a, const mr_moments *b)
{
    double mean = mr_moments_mean(b), std = mr_moments_std(b);
    double bound = 1e-6 * (fabs(mean) + std) + 1e-300;

    assert_int_equal(a->count, b->count);
    assert_true(a->min == b->min && a->max == b->max);
    assert_true(fabs(mr_moments_mean(a) - mean) <= bound);
    assert_true(fabs(mr_moments_std(a) - std) <= bound);
}

static mri_grid_row
grid(mr_dtype dtype, const char *axes, const uint32_t *dims)
{
    mri_grid_row g = {.encoding = MR_ENC_CHUNKS, .dtype = (uint8_t)dtype};

    for (; axes[g.ndim] != '\0'; g.ndim++) {
        g.axes[g.ndim] = axes[g.ndim];
        g.dims[g.ndim] = g.chunk[g.ndim] = dims[g.ndim];
    }
    return g;
}

/* The moments of one channel, the field being one chunk. */
static void
moments_of(mri_moment_row *out, const mri_grid_row *g, const void *pixels,
           uint32_t channel, double slope, double inter)
{
    mri_moment_row rows[16];
    mri_survey s;
    mr_box box;

    mri_chunk_box(g, 0, &box);
    assert_true(mri_survey_begin(&s, g, slope, inter, NULL));
    assert_true(mri_survey_add(&s, &box, pixels));
    assert_true(s.channels <= 16);
    mri_survey_end(&s, rows);
    *out = rows[channel];
    mri_survey_release(&s);
}

/* Element i of a type: some small x, spread over the range of the type. The
 * number that was stored. */
static double
put(uint8_t *raw, size_t i, mr_dtype dtype, int x)
{
    switch (dtype) {
    case MR_U8:
        return raw[i] = (uint8_t)(x + 125);
    case MR_I8:
        return ((int8_t *)raw)[i] = (int8_t)x;
    case MR_U16:
        return ((uint16_t *)raw)[i] = (uint16_t)(x * 200 + 26000);
    case MR_I16:
        return ((int16_t *)raw)[i] = (int16_t)(x * 250);
    case MR_U32:
        return ((uint32_t *)raw)[i] = (uint32_t)(x + 125) * 10000000u;
    case MR_I32:
        return ((int32_t *)raw)[i] = x * 10000000;
    case MR_I64:
        ((int64_t *)raw)[i] = x;
        return x;
    case MR_U64:
        ((uint64_t *)raw)[i] = (uint64_t)(x + 125);
        return x + 125;
    case MR_F32:
        return (double)(((float *)raw)[i] = (float)x * 0.25f);
    default:
        return ((double *)raw)[i] = x / 7.0;
    }
}

/* The values of one channel, taken one by one; how many. */
static size_t
channel_of(double *out, const mri_grid_row *g, const double *v, uint32_t c)
{
    const char *at = memchr(g->axes, 'C', g->ndim);
    size_t inner = 1, m = 0;
    size_t n = (size_t)(mri_grid_bytes(g) / mr_dtype_bytes(g->dtype));

    for (int i = at != NULL ? (int)(at - g->axes) + 1 : g->ndim; i < g->ndim;
         i++) {
        inner *= g->dims[i];
    }
    for (size_t i = 0; i < n; i++) {
        if (at == NULL || i / inner % mri_channels_of(g) == c) {
            out[m++] = v[i];
        }
    }
    return m;
}

static void
check_channels(const mri_grid_row *g, uint64_t *seed)
{
    mr_dtype dtype = (mr_dtype)g->dtype;
    size_t n = (size_t)(mri_grid_bytes(g) / mr_dtype_bytes(dtype));
    uint8_t *raw = malloc(n * mr_dtype_bytes(dtype));
    double *v = malloc(n * sizeof *v), *mine = malloc(n * sizeof *mine);

    for (size_t i = 0; i < n; i++) {
        int x = (int)(scratch_random(seed) % 251) - 125;

        v[i] = put(raw, i, dtype, scratch_random(seed) % 5 == 0 ? 0 : x);
    }
    for (uint32_t c = 0; c < mri_channels_of(g); c++) {
        mri_moment_row got;
        mr_moments all, nonzero;

        naive(mine, channel_of(mine, g, v, c), &all, &nonzero);
        moments_of(&got, g, raw, c, 1, 0);
        near(&got.all, &all);
        near(&got.nonzero, &nonzero);
    }
    free(raw);
    free(v);
    free(mine);
}

/* Every integer type and layout, against plain f64 over the same elements. */
static void
each_channel_gets_the_moments_of_its_own_elements(void **state)
{
    static const struct {
        const char *axes;
        uint32_t dims[4];
    } shapes[] = {{"YX", {37, 53}},
                  {"YXC", {31, 17, 5}},
                  {"CYX", {3, 29, 41}},
                  {"ZCYX", {7, 2, 19, 23}},
                  {"C", {11}}};
    static const mr_dtype types[] = {MR_U8,  MR_I8,  MR_U16, MR_I16, MR_U32,
                                     MR_I32, MR_F32, MR_F64, MR_I64, MR_U64};
    uint64_t seed = 21;

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            mri_grid_row g = grid(types[t], shapes[s].axes, shapes[s].dims);

            check_channels(&g, &seed);
        }
    }
}

static void
slope_and_intercept_are_applied(void **state)
{
    const uint32_t dims[] = {4};
    const int16_t raw[] = {-2, 0, 3, 4};
    const double physical[] = {-3, 1, 7, 9};
    mri_grid_row g = grid(MR_I16, "X", dims);
    mri_moment_row got;
    mr_moments all, nonzero;

    (void)state;
    naive(physical, 4, &all, &nonzero);
    moments_of(&got, &g, raw, 0, 2, 1);
    near(&got.all, &all);
    near(&got.nonzero, &nonzero);
}

static void
what_is_not_finite_is_counted_apart(void **state)
{
    const uint32_t dims[] = {6};
    const float raw[] = {1, NAN, 3, INFINITY, -INFINITY, 0};
    const double finite[] = {1, 3, 0};
    mri_grid_row g = grid(MR_F32, "X", dims);
    mri_moment_row got;
    mr_moments all, nonzero;

    (void)state;
    naive(finite, 3, &all, &nonzero);
    moments_of(&got, &g, raw, 0, 1, 0);
    assert_int_equal(got.non_finite, 3);
    near(&got.all, &all);
    near(&got.nonzero, &nonzero);
}

static void
halves_are_read_as_numbers(void **state)
{
    const uint32_t dims[] = {5};
    /* 1, -2, 65504, 2^-24 (subnormal), 0.333251953125 */
    const uint16_t half[] = {0x3C00, 0xC000, 0x7BFF, 0x0001, 0x3555};
    const uint16_t brain[] = {0x3F80, 0xC000, 0x4780, 0x3380, 0x0000};
    mri_grid_row g = grid(MR_F16, "X", dims);
    mri_moment_row got;

    (void)state;
    moments_of(&got, &g, half, 0, 1, 0);
    assert_true(got.all.min == -2 && got.all.max == 65504);
    assert_true(got.all.sum == 65503 + 0x1p-24 + 0.333251953125);
    g.dtype = MR_BF16;
    moments_of(&got, &g, brain, 0, 1, 0);
    assert_true(got.all.min == -2 && got.all.max == 65536);
    assert_int_equal(got.nonzero.count, 4);
}

static void
large_offsets_keep_the_promised_precision(void **state)
{
    enum { N = 3000000 };
    const uint32_t dims[] = {N};
    float *raw = malloc(N * sizeof *raw);
    double *v = malloc(N * sizeof *v);
    mri_grid_row g = grid(MR_F32, "X", dims);
    mri_moment_row got;
    mr_moments all, nonzero;
    uint64_t seed = 3;

    (void)state;
    for (int i = 0; i < N; i++) {
        raw[i] = 30000.0f + (float)(scratch_random(&seed) % 4096) / 64.0f;
        v[i] = (double)raw[i];
    }
    naive(v, N, &all, &nonzero);
    moments_of(&got, &g, raw, 0, 1, 0);
    near(&got.all, &all);
    free(raw);
    free(v);
}

static void
after_min_max_the_moments_are_those_of_the_mapped_values(void **state)
{
    enum { N = 5000 };
    const uint32_t dims[] = {N};
    uint16_t raw[N];
    double v[N];
    mri_grid_row g = grid(MR_U16, "X", dims);
    mri_moment_row got;
    mr_moments all, nonzero, unit;
    uint64_t seed = 8;

    (void)state;
    for (int i = 0; i < N; i++) {
        raw[i] = (uint16_t)(300 + scratch_random(&seed) % 9000);
    }
    moments_of(&got, &g, raw, 0, 1, 0);
    for (int i = 0; i < N; i++) {
        v[i] = (raw[i] - got.all.min) / (got.all.max - got.all.min);
    }
    naive(v, N, &all, &nonzero);
    unit = mri_moments_unit(&got.all);
    assert_true(fabs(mr_moments_mean(&unit) - mr_moments_mean(&all)) < 1e-9);
    assert_true(fabs(mr_moments_std(&unit) - mr_moments_std(&all)) < 1e-9);
    got.all.min = got.all.max;
    unit = mri_moments_unit(&got.all); /* constant: zeros */
    assert_true(unit.max == 0 && unit.sum == 0 && unit.count == N);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_channel_gets_the_moments_of_its_own_elements),
        cmocka_unit_test(slope_and_intercept_are_applied),
        cmocka_unit_test(what_is_not_finite_is_counted_apart),
        cmocka_unit_test(halves_are_read_as_numbers),
        cmocka_unit_test(large_offsets_keep_the_promised_precision),
        cmocka_unit_test(
            after_min_max_the_moments_are_those_of_the_mapped_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
