/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exact_simd.c - sums in f64 with equal bits at every level: compiled once a
 * level, but with vectors of one length, which the compiler cuts into the
 * registers that there are. Products are never fused with sums.
 */
#include "kernels.h"

#include <mri/cpu.h>

#include <string.h>

#define LANES 8
#define WAYS 2 /* sums that run side by side */

typedef float vec32 __attribute__((vector_size(4 * LANES)));
typedef double vec64 __attribute__((vector_size(8 * LANES)));

/* Through pointers: vectors longer than a register have no settled way to be
 * returned. */
static inline void
widen(vec64 *out, const float *p)
{
    vec32 v;

    memcpy(&v, p, sizeof v);
    *out = __builtin_convertvector(v, vec64);
}

static double
dot(const float *a, const float *b, size_t n)
{
    vec64 sum[WAYS] = {{0}};
    double lane[WAYS * LANES];
    size_t i = 0;

    for (; i + WAYS * LANES <= n; i += WAYS * LANES) {
        for (size_t w = 0; w < WAYS; w++) {
            vec64 x, y;

            widen(&x, a + i + w * LANES);
            widen(&y, b + i + w * LANES);
            sum[w] += x * y;
        }
    }
    memcpy(lane, sum, sizeof lane);
    for (size_t l = 0; i < n; i++, l++) {
        lane[l] += (double)a[i] * (double)b[i];
    }
    for (size_t half = WAYS * LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) {
            lane[l] += lane[l + half];
        }
    }
    return lane[0];
}

/* Eight rows of the tile and eight columns at a time stay in registers while
 * all rows of x and y go by. */
static void
outer(double *tile, const double *x, const double *y, size_t rows)
{
    for (size_t i = 0; i < TILE; i += LANES) {
        for (size_t j = 0; j < TILE; j += LANES) {
            vec64 sum[LANES];

            for (size_t r = 0; r < LANES; r++) {
                memcpy(&sum[r], tile + (i + r) * TILE + j, sizeof sum[r]);
            }
            for (size_t k = 0; k < rows; k++) {
                vec64 line;

                memcpy(&line, y + k * TILE + j, sizeof line);
                for (size_t r = 0; r < LANES; r++) {
                    sum[r] += x[k * TILE + i + r] * line;
                }
            }
            for (size_t r = 0; r < LANES; r++) {
                memcpy(tile + (i + r) * TILE + j, &sum[r], sizeof sum[r]);
            }
        }
    }
}

const exact_kernel MRI_AT_LEVEL(eval_exact) = {dot, outer};
