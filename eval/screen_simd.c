/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen_simd.c - products of many rows with many rows, of which only those
 * that matter are ever written: compiled once a level, products fused with
 * sums where the level can.
 *
 * The products of a block of rows and a panel of columns stay in registers
 * until they are whole. There they are compared with the least that each row
 * still cares for; hardly any passes, and so the matrix of products, which
 * would be many times larger than its factors, is never made.
 */
#include "kernels.h"

#include <mri/cpu.h>

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define LANES_scalar 1
#define LANES_sse2 4
#define LANES_avx2 8
#define LANES_avx512 16
#define LANES MRI_PASTE(LANES, MRI_LEVEL)

/* A block fills the registers: 32 with AVX-512, else 16. */
#if defined(__AVX512F__)
#define ROWS SCREEN_ROWS
#else
#define ROWS 6
#endif
#define VECTORS 2
#define COLUMNS (VECTORS * LANES)

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));

static inline vec
get(const float *p)
{
    vec v;

    memcpy(&v, p, sizeof v);
    return v;
}

static inline int
any(mask m)
{
#if defined(__AVX512F__)
    return _mm512_movepi32_mask((__m512i)m) != 0;
#elif defined(__AVX2__)
    return _mm256_movemask_ps((__m256)m) != 0;
#else
    int32_t lane[LANES], all = 0;

    memcpy(lane, &m, sizeof m);
    for (size_t i = 0; i < LANES; i++) {
        all |= lane[i];
    }
    return all != 0;
#endif
}

static uint32_t
block(float *scores, const float *a, const float *b, size_t k,
      const float *least)
{
    vec sum[ROWS][VECTORS] = {{{0}}};
    uint32_t rows = 0;

    for (size_t i = 0; i < k; i++) {
        vec line[VECTORS];

        for (size_t v = 0; v < VECTORS; v++) {
            line[v] = get(b + i * COLUMNS + v * LANES);
        }
        for (size_t r = 0; r < ROWS; r++) {
            for (size_t v = 0; v < VECTORS; v++) {
                sum[r][v] += a[i * ROWS + r] * line[v];
            }
        }
    }
    for (size_t r = 0; r < ROWS; r++) {
        if (any((sum[r][0] >= least[r]) | (sum[r][1] >= least[r]))) {
            memcpy(scores + r * COLUMNS, sum[r], sizeof sum[r]);
            rows |= 1u << r;
        }
    }
    return rows;
}

const screen_kernel MRI_AT_LEVEL(eval_screen) = {ROWS, COLUMNS, block};
