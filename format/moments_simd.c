/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moments_simd.c - compiled once a level; plain loops without a branch, so
 * that the compiler's vectoriser takes them.
 */
#include "moments_simd.h"

#include <mri/cpu.h>
#include <mri/half.h>

#include <math.h>
#include <string.h>

#define physical_at MRI_AT_LEVEL(mri_physical_at)
#define sums_at MRI_AT_LEVEL(mri_sums_at)
#define range_at MRI_AT_LEVEL(mri_range_at)

enum { LANES = 8 };

#define AS_IT_IS(x) ((double)(x))
#define OF_F16(x) ((double)mri_f16_to_f32(x))
#define OF_BF16(x) ((double)mri_bf16_to_f32(x))
#define PHYSICAL(name, type, convert)                                          \
    static void name##_physical(double *restrict out, const mri_run *run)      \
    {                                                                          \
        const type *restrict p = run->from;                                    \
        const double slope = run->slope, inter = run->inter;                   \
        const size_t n = run->n, step = run->step;                             \
        if (step == 1) {                                                       \
            for (size_t i = 0; i < n; i++) {                                   \
                out[i] = convert(p[i]) * slope + inter;                        \
            }                                                                  \
        } else {                                                               \
            for (size_t i = 0; i < n; i++) {                                   \
                out[i] = convert(p[i * step]) * slope + inter;                 \
            }                                                                  \
        }                                                                      \
    }
PHYSICAL(u8, uint8_t, AS_IT_IS)
PHYSICAL(i8, int8_t, AS_IT_IS)
PHYSICAL(u16, uint16_t, AS_IT_IS)
PHYSICAL(i16, int16_t, AS_IT_IS)
PHYSICAL(u32, uint32_t, AS_IT_IS)
PHYSICAL(i32, int32_t, AS_IT_IS)
PHYSICAL(u64, uint64_t, AS_IT_IS)
PHYSICAL(i64, int64_t, AS_IT_IS)
PHYSICAL(f16, uint16_t, OF_F16)
PHYSICAL(bf16, uint16_t, OF_BF16)
PHYSICAL(f32, float, AS_IT_IS)
PHYSICAL(f64, double, AS_IT_IS)

void
physical_at(double *out, const mri_run *run, mr_dtype dtype)
{
    typedef void one_fn(double *restrict out, const mri_run *run);
    static one_fn *const by_dtype[] = {
        [MR_U8] = u8_physical,   [MR_I8] = i8_physical,
        [MR_U16] = u16_physical, [MR_I16] = i16_physical,
        [MR_U32] = u32_physical, [MR_I32] = i32_physical,
        [MR_U64] = u64_physical, [MR_I64] = i64_physical,
        [MR_F16] = f16_physical, [MR_BF16] = bf16_physical,
        [MR_F32] = f32_physical, [MR_F64] = f64_physical};

    by_dtype[dtype](out, run);
}

/* Counts are kept as numbers too: all lanes are of one width then, and each
 * line below is one vector instruction or two. */
typedef struct lanes {
    double sum[LANES], squares[LANES], low[LANES], high[LANES];
    double finite[LANES], nonzero[LANES];
} lanes;

static inline void
add_lanes(lanes *restrict l, const double *restrict v)
{
    for (int k = 0; k < LANES; k++) {
        double x = v[k], zero = x - x; /* NaN, if x is not finite */
        double y = zero == 0 ? x : 0;
        double low = y != 0 ? y : INFINITY, high = y != 0 ? y : -INFINITY;

        l->sum[k] += y;
        l->squares[k] += y * y;
        l->low[k] = low < l->low[k] ? low : l->low[k];
        l->high[k] = high > l->high[k] ? high : l->high[k];
        l->finite[k] += zero == 0 ? 1.0 : 0.0;
        l->nonzero[k] += y != 0 ? 1.0 : 0.0;
    }
}

void
sums_at(mri_sums *out, const double *v, size_t n)
{
    lanes l = {.sum = {0}};
    double rest[LANES];
    size_t i = 0;

    for (int k = 0; k < LANES; k++) {
        l.low[k] = INFINITY;
        l.high[k] = -INFINITY;
        rest[k] = NAN;
    }
    for (; i + LANES <= n; i += LANES) {
        add_lanes(&l, v + i);
    }
    memcpy(rest, v + i, (n - i) * sizeof *v);
    add_lanes(&l, rest);
    *out = (mri_sums){.low = INFINITY, .high = -INFINITY};
    for (int k = 0; k < LANES; k++) {
        out->sum += l.sum[k];
        out->squares += l.squares[k];
        out->low = l.low[k] < out->low ? l.low[k] : out->low;
        out->high = l.high[k] > out->high ? l.high[k] : out->high;
        out->finite += (uint64_t)l.finite[k];
        out->nonzero += (uint64_t)l.nonzero[k];
    }
}

#define INTEGERS(name, type, wide)                                             \
    static void name##_range(mri_range *out, const void *from, size_t n)       \
    {                                                                          \
        const type *p = from;                                                  \
        type low = p[0], high = p[0];                                          \
        uint32_t nonzero = 0;                                                  \
        for (size_t i = 0; i < n; i++) {                                       \
            low = p[i] < low ? p[i] : low;                                     \
            high = p[i] > high ? p[i] : high;                                  \
            nonzero += p[i] != 0;                                              \
        }                                                                      \
        *out = (mri_range){(uint64_t)(wide)low, (uint64_t)(wide)high, nonzero, \
                           0};                                                 \
    }
INTEGERS(u8, uint8_t, uint64_t)
INTEGERS(i8, int8_t, int64_t)
INTEGERS(u16, uint16_t, uint64_t)
INTEGERS(i16, int16_t, int64_t)
INTEGERS(u32, uint32_t, uint64_t)
INTEGERS(i32, int32_t, int64_t)
INTEGERS(u64, uint64_t, uint64_t)
INTEGERS(i64, int64_t, int64_t)

/* A zero is the one without a sign; of nothing but NaN, NaN. */
static void
put_numbers(mri_range *out, double low, double high, size_t n)
{
    uint64_t bits = 0x7FF8000000000000u;

    low += 0.0;
    high += 0.0;
    if (out->nan == n) {
        out->min = out->max = bits;
        return;
    }
    memcpy(&out->min, &low, sizeof low);
    memcpy(&out->max, &high, sizeof high);
}

#define NUMBERS(name, type, wide, convert)                                     \
    static void name##_range(mri_range *out, const void *from, size_t n)       \
    {                                                                          \
        const type *p = from;                                                  \
        wide low = (wide)INFINITY, high = (wide)-INFINITY;                     \
        uint32_t nonzero = 0, nan = 0;                                         \
        for (size_t i = 0; i < n; i++) {                                       \
            wide x = (wide)convert(p[i]);                                      \
            low = x < low ? x : low;                                           \
            high = x > high ? x : high;                                        \
            nonzero += x != 0;                                                 \
            nan += x != x;                                                     \
        }                                                                      \
        *out = (mri_range){.nonzero = nonzero, .nan = nan};                    \
        put_numbers(out, (double)low, (double)high, n);                        \
    }
#define SAME(x) (x)
NUMBERS(f16, uint16_t, double, OF_F16)
NUMBERS(bf16, uint16_t, double, OF_BF16)
NUMBERS(f32, float, float, SAME)
NUMBERS(f64, double, double, SAME)

void
range_at(mri_range *out, const void *p, size_t n, mr_dtype dtype)
{
    typedef void one_fn(mri_range * out, const void *from, size_t n);
    static one_fn *const by_dtype[] = {
        [MR_U8] = u8_range,     [MR_I8] = i8_range,   [MR_U16] = u16_range,
        [MR_I16] = i16_range,   [MR_U32] = u32_range, [MR_I32] = i32_range,
        [MR_U64] = u64_range,   [MR_I64] = i64_range, [MR_F16] = f16_range,
        [MR_BF16] = bf16_range, [MR_F32] = f32_range, [MR_F64] = f64_range};

    by_dtype[dtype](out, p, n);
}
