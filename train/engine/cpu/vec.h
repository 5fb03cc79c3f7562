/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vec.h - f32 vectors as wide as the level that a file is compiled for.
 *
 * The compiler's own vector types: + - * / work on them, and a * b + c becomes
 * one instruction where there is one. No intrinsics, so the same text is SSE2,
 * AVX2, AVX-512 and NEON.
 */
#ifndef CPU_VEC_H
#define CPU_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define VL 16
#elif defined(__AVX2__)
#define VL 8
#else
#define VL 4
#endif

typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));

static inline vf
vf_load(const float *p)
{
    vf v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline void
vf_store(float *p, vf v)
{
    memcpy(p, &v, sizeof v);
}

/* The first n < VL elements; the rest is `fill`. */
static inline vf
vf_load_part(const float *p, size_t n, float fill)
{
    float all[VL];

    for (size_t i = 0; i < VL; i++) {
        all[i] = fill;
    }
    memcpy(all, p, n * sizeof *p);
    return vf_load(all);
}

static inline void
vf_store_part(float *p, vf v, size_t n)
{
    float all[VL];

    vf_store(all, v);
    memcpy(p, all, n * sizeof *p);
}

static inline vf
vf_set(float x)
{
    return (vf){0} + x;
}

/* a where the mask is set, else b; masks come from comparisons. */
static inline vf
vf_pick(vi mask, vf a, vf b)
{
    return (vf)(((vi)a & mask) | ((vi)b & ~mask));
}

static inline vf
vf_max(vf a, vf b)
{
    return vf_pick(a > b, a, b);
}

/* By halves, so that the order is fixed and short. */
static inline float
vf_sum(vf v)
{
    float x[VL];

    vf_store(x, v);
    for (size_t half = VL / 2; half > 0; half /= 2) {
        for (size_t i = 0; i < half; i++) {
            x[i] += x[i + half];
        }
    }
    return x[0];
}

static inline float
vf_top(vf v)
{
    float x[VL], top;

    vf_store(x, v);
    top = x[0];
    for (size_t i = 1; i < VL; i++) {
        top = x[i] > top ? x[i] : top;
    }
    return top;
}

#endif
