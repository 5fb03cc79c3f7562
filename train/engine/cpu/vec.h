/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vec.h - f32 vectors as wide as the level that a file is compiled for.
 *
 * The compiler's own vector types: + - * / work on them, and a * b + c becomes
 * one instruction where there is one. So the same text is SSE2, AVX2, AVX-512
 * and NEON; only parts of vectors, which have masks of their own at each
 * level, are intrinsics.
 */
#ifndef CPU_VEC_H
#define CPU_VEC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

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

/* The larger, the smaller; b if either is NaN. */
static inline vf
vf_max(vf a, vf b)
{
#if VL == 16
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif VL == 8
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return vf_pick(a > b, a, b);
#endif
}

static inline vf
vf_min(vf a, vf b)
{
#if VL == 16
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif VL == 8
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return vf_pick(a < b, a, b);
#endif
}

/* ------------------------------------------------------ parts of vectors */

#if VL == 16

/* The first n < VL elements; the rest is `fill`. */
static inline vf
vf_load_part(const float *p, size_t n, float fill)
{
    return (vf)_mm512_mask_loadu_ps((__m512)vf_set(fill),
                                    (__mmask16)((1u << n) - 1), p);
}

static inline void
vf_store_part(float *p, vf v, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
}

#elif VL == 8

static inline vi
vi_first(size_t n)
{
    static const int32_t edge[2 * VL] = {-1, -1, -1, -1, -1, -1, -1, -1};
    vi mask;

    memcpy(&mask, edge + VL - n, sizeof mask);
    return mask;
}

static inline vf
vf_load_part(const float *p, size_t n, float fill)
{
    vi mask = vi_first(n);

    return vf_pick(mask, (vf)_mm256_maskload_ps(p, (__m256i)mask),
                   vf_set(fill));
}

static inline void
vf_store_part(float *p, vf v, size_t n)
{
    _mm256_maskstore_ps(p, (__m256i)vi_first(n), (__m256)v);
}

#else

static inline vf
vf_load_part(const float *p, size_t n, float fill)
{
    vf v = vf_set(fill);

    memcpy(&v, p, n * sizeof *p);
    return v;
}

static inline void
vf_store_part(float *p, vf v, size_t n)
{
    memcpy(p, &v, n * sizeof *p);
}

#endif

/* ------------------------------------------- over the elements of a vector */

typedef float v4 __attribute__((vector_size(16)));

/* Both by halves, so that the order is fixed and short. */
#if VL == 16
#define VF_FOLD(v, op)                                                         \
    v4_fold_##op(                                                              \
        v4_##op(v4_##op(__builtin_shufflevector(v, v, 0, 1, 2, 3),             \
                        __builtin_shufflevector(v, v, 8, 9, 10, 11)),          \
                v4_##op(__builtin_shufflevector(v, v, 4, 5, 6, 7),             \
                        __builtin_shufflevector(v, v, 12, 13, 14, 15))))
#elif VL == 8
#define VF_FOLD(v, op)                                                         \
    v4_fold_##op(v4_##op(__builtin_shufflevector(v, v, 0, 1, 2, 3),            \
                         __builtin_shufflevector(v, v, 4, 5, 6, 7)))
#else
#define VF_FOLD(v, op) v4_fold_##op(v)
#endif

static inline v4
v4_add(v4 a, v4 b)
{
    return a + b;
}

static inline v4
v4_max(v4 a, v4 b)
{
    typedef int32_t i4 __attribute__((vector_size(16)));
    i4 mask = a > b;

    return (v4)(((i4)a & mask) | ((i4)b & ~mask));
}

static inline float
v4_fold_add(v4 v)
{
    v = v + __builtin_shufflevector(v, v, 2, 3, 0, 1);
    return v[0] + v[1];
}

static inline float
v4_fold_max(v4 v)
{
    v = v4_max(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
    return v[0] > v[1] ? v[0] : v[1];
}

static inline float
vf_sum(vf v)
{
    return VF_FOLD(v, add);
}

static inline float
vf_top(vf v)
{
    return VF_FOLD(v, max);
}

#endif
