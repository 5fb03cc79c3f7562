/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels_simd.c - compiled once a level.
 *
 * Simple loops are left to the compiler's vectoriser; sums over neighbours
 * use vectors of the level's width by name, so that they stay in registers.
 * Multiplications and additions are never fused (settled rule 7).
 */
#include "kernels.h"

#include <mri/cpu.h>
#include <mri/half.h>

#include <string.h>

#define LANES_scalar 1
#define LANES_sse2 4
#define LANES_avx2 8
#define LANES_avx512 16
#define LANES MRI_PASTE(LANES, MRI_LEVEL)

typedef float vec __attribute__((vector_size(4 * LANES)));

static inline vec
get(const float *p)
{
    vec v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline void
put(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

/* Not finite: 0. By bits, so that no comparison depends on the compiler. */
static void
make_finite(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t u;

        memcpy(&u, &x[i], sizeof u);
        u = (u & 0x7F800000u) == 0x7F800000u ? 0 : u;
        memcpy(&x[i], &u, sizeof u);
    }
}

/* The step is a constant in the two cases that matter, so that the compiler
 * sees whole vectors. `wide` holds every value of the type, or rounds it once
 * on the way to f32. */
#define EACH(step_, value)                                                     \
    for (size_t i = 0; i < n; i++) {                                           \
        out[i] = (float)(value(p[(int64_t)i * (step_)]));                      \
    }
#define STEPS(value)                                                           \
    if (how->step == 1) {                                                      \
        EACH(1, value)                                                         \
    } else if (how->step == -1) {                                              \
        EACH(-1, value)                                                        \
    } else {                                                                   \
        EACH(how->step, value)                                                 \
    }
#define SCALED(v) ((double)(v)*slope + inter)
#define LOAD(type, wide)                                                       \
    static void load_##type(float *restrict out, const mri_load *how,          \
                            size_t n)                                          \
    {                                                                          \
        const type *restrict p = how->from;                                    \
        double slope = how->slope, inter = how->inter;                         \
                                                                               \
        if (how->scaled) {                                                     \
            STEPS(SCALED)                                                      \
        } else {                                                               \
            STEPS((wide))                                                      \
        }                                                                      \
    }
LOAD(uint8_t, int32_t)
LOAD(int8_t, int32_t)
LOAD(uint16_t, int32_t)
LOAD(int16_t, int32_t)
LOAD(uint32_t, double)
LOAD(int32_t, double)
LOAD(uint64_t, double)
LOAD(int64_t, double)
LOAD(float, float)
LOAD(double, double)

static void
load_short_float(float *restrict out, const mri_load *how, size_t n)
{
    const uint16_t *restrict p = how->from;

    for (size_t i = 0; i < n; i++) {
        uint16_t v = p[(int64_t)i * how->step];
        float f = how->dtype == MR_F16 ? mri_f16_to_f32(v) : mri_bf16_to_f32(v);

        out[i] = how->scaled ? (float)((double)f * how->slope + how->inter) : f;
    }
}

static void
load(float *out, const mri_load *how, size_t n)
{
    switch (how->dtype) {
    case MR_U8:
        load_uint8_t(out, how, n);
        break;
    case MR_I8:
        load_int8_t(out, how, n);
        break;
    case MR_U16:
        load_uint16_t(out, how, n);
        break;
    case MR_I16:
        load_int16_t(out, how, n);
        break;
    case MR_U32:
        load_uint32_t(out, how, n);
        break;
    case MR_I32:
        load_int32_t(out, how, n);
        break;
    case MR_U64:
        load_uint64_t(out, how, n);
        break;
    case MR_I64:
        load_int64_t(out, how, n);
        break;
    case MR_F16:
    case MR_BF16:
        load_short_float(out, how, n);
        break;
    case MR_F32:
        load_float(out, how, n);
        break;
    case MR_F64:
        load_double(out, how, n);
        break;
    case MR_NONE:
        memset(out, 0, n * sizeof *out);
        break;
    }
    if (how->scaled || how->dtype >= MR_F16) {
        make_finite(out, n);
    }
}

static void
unit(float *x, size_t n, float a, float b)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (x[i] - a) / b;
    }
}

static void
scale(float *x, size_t n, float a)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = x[i] * a;
    }
}

static void
gain(float *x, size_t n, float a, float low, float high)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * a;

        v = v < low ? low : v;
        x[i] = v > high ? high : v;
    }
}

static void
solar(float *x, size_t n, float threshold)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = x[i] > threshold ? 1.0f - x[i] : x[i];
    }
}

static void
norm(float *x, size_t n, float a, float b)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = (x[i] - a) * b;
    }
}

/* Adding 2^23 leaves no room for a fraction: the sum is rounded to even, as
 * every f32 sum is, and rint() with it, but without a call. */
static void
round_to(float *x, size_t n, float a, float high)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * a;

        v = v > 0 ? v : 0;
        v = v > high ? high : v;
        x[i] = (v + 0x1p23f) - 0x1p23f;
    }
}

static void
point(float *x, const mri_act *act, uint32_t c, size_t n)
{
    switch (act->point) {
    case MRI_POINT_UNIT:
        unit(x, n, act->a[c], act->b[c]);
        break;
    case MRI_POINT_SCALE:
        scale(x, n, act->a[c]);
        break;
    case MRI_POINT_GAIN:
        gain(x, n, act->a[c], act->low, act->high);
        break;
    case MRI_POINT_SOLAR:
        solar(x, n, act->low);
        break;
    case MRI_POINT_NORM:
        norm(x, n, act->a[c], act->b[c]);
        break;
    case MRI_POINT_ROUND:
        round_to(x, n, act->a[c], act->high);
        break;
    }
}

static void
to_u8(uint8_t *restrict out, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint8_t)(int32_t)x[i];
    }
}

static void
to_u16(uint16_t *restrict out, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint16_t)(int32_t)x[i];
    }
}

/* One vector of sums. */
static inline void
sum_one(float *out, const float *const *rows, size_t i, const float *weight,
        unsigned count)
{
    vec s = get(rows[0] + i) * weight[0];

    for (unsigned k = 1; k < count; k++) {
        s += get(rows[k] + i) * weight[k];
    }
    put(out + i, s);
}

static void
sum_rows(float *restrict out, size_t n, const float *const *rows,
         const float *weight, unsigned count)
{
    size_t i = 0;

    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        const float *p = rows[0] + i;
        vec s0 = get(p) * weight[0], s1 = get(p + LANES) * weight[0],
            s2 = get(p + 2 * LANES) * weight[0],
            s3 = get(p + 3 * LANES) * weight[0];

        for (unsigned k = 1; k < count; k++) {
            p = rows[k] + i;
            s0 += get(p) * weight[k];
            s1 += get(p + LANES) * weight[k];
            s2 += get(p + 2 * LANES) * weight[k];
            s3 += get(p + 3 * LANES) * weight[k];
        }
        put(out + i, s0);
        put(out + i + LANES, s1);
        put(out + i + 2 * LANES, s2);
        put(out + i + 3 * LANES, s3);
    }
    for (; i + LANES <= n; i += LANES) {
        sum_one(out, rows, i, weight, count);
    }
    if (i < n && n >= LANES) { /* the last ones again, with a few before */
        sum_one(out, rows, n - LANES, weight, count);
        return;
    }
    for (; i < n; i++) {
        float s = rows[0][i] * weight[0];

        for (unsigned k = 1; k < count; k++) {
            s += rows[k][i] * weight[k];
        }
        out[i] = s;
    }
}

/* Blocks of 4 x 4 change sides in registers; scalar goes one by one. */
#define BLOCK (LANES > 1 ? 4 : 0)
typedef float four __attribute__((vector_size(16)));

static inline four
get4(const float *p)
{
    four v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline void
turn4(four v[4])
{
    four a = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
    four b = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    four c = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    four d = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);

    v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    v[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    v[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

static void
turn(float *restrict turned, const float *restrict lines, size_t stride,
     size_t n)
{
    size_t i = 0;

    for (; BLOCK != 0 && i + 4 <= n; i += 4) {
        for (size_t r = 0; r < MRI_LINES; r += 4) {
            four v[4];

            for (size_t k = 0; k < 4; k++) {
                v[k] = get4(lines + (r + k) * stride + i);
            }
            turn4(v);
            for (size_t k = 0; k < 4; k++) {
                memcpy(turned + (i + k) * MRI_LINES + r, &v[k], sizeof v[k]);
            }
        }
    }
    for (; i < n; i++) {
        for (size_t r = 0; r < MRI_LINES; r++) {
            turned[i * MRI_LINES + r] = lines[r * stride + i];
        }
    }
}

/* Values first .. n of lines first_line .. count, one by one. */
static void
turn_back_rest(float *restrict lines, size_t stride,
               const float *restrict turned, const size_t n[2],
               const unsigned count[2], bool backwards)
{
    for (size_t r = count[0]; r < count[1]; r++) {
        for (size_t i = n[0]; i < n[1]; i++) {
            lines[r * stride + (backwards ? n[1] - 1 - i : i)] =
                turned[i * MRI_LINES + r];
        }
    }
}

static void
turn_back(float *restrict lines, size_t stride, const float *restrict turned,
          size_t n, unsigned count, bool backwards)
{
    unsigned whole = BLOCK != 0 ? count / 4 * 4 : 0;
    size_t columns = BLOCK != 0 ? n / 4 * 4 : 0;

    for (size_t i = 0; i < columns; i += 4) {
        for (size_t r = 0; r < whole; r += 4) {
            float *to = lines + r * stride + (backwards ? n - 4 - i : i);
            four v[4];

            for (size_t k = 0; k < 4; k++) {
                v[k] = get4(turned + (i + k) * MRI_LINES + r);
            }
            turn4(v);
            for (size_t k = 0; k < 4; k++) {
                if (backwards) {
                    v[k] = __builtin_shufflevector(v[k], v[k], 3, 2, 1, 0);
                }
                memcpy(to + k * stride, &v[k], sizeof v[k]);
            }
        }
    }
    turn_back_rest(lines, stride, turned, (size_t[]){columns, n},
                   (unsigned[]){0, whole}, backwards);
    turn_back_rest(lines, stride, turned, (size_t[]){0, n},
                   (unsigned[]){whole, count}, backwards);
}

#define VECS (MRI_LINES / LANES)

static void
sum_turned(float *restrict out, const float *restrict turned, size_t step,
           const float *weight, unsigned count)
{
    vec s[VECS];

    for (unsigned v = 0; v < VECS; v++) {
        s[v] = get(turned + v * LANES) * weight[0];
    }
    for (unsigned k = 1; k < count; k++) {
        const float *p = turned + k * step;

        for (unsigned v = 0; v < VECS; v++) {
            s[v] += get(p + v * LANES) * weight[k];
        }
    }
    for (unsigned v = 0; v < VECS; v++) {
        put(out + v * LANES, s[v]);
    }
}

static void
range(const float *x, size_t n, float *low, float *high)
{
    float l = *low, h = *high;

    for (size_t i = 0; i < n; i++) {
        l = x[i] < l ? x[i] : l;
        h = x[i] > h ? x[i] : h;
    }
    *low = l;
    *high = h;
}

const mri_kernels MRI_AT_LEVEL(mri_kernels) = {
    .load = load,
    .point = point,
    .to_u8 = to_u8,
    .to_u16 = to_u16,
    .sum_rows = sum_rows,
    .turn = turn,
    .turn_back = turn_back,
    .sum_turned = sum_turned,
    .range = range,
};
