/* SPDX-License-Identifier: Apache-2.0 */
/* simd_arena.c - passes over whole arenas: bound by memory, nothing else. */
#include "cpu/kernels.h"
#include "cpu/vec.h"

#define BLOCK 1024 /* terms that are summed in f32 */

static double
sumsq(const float *x, size_t n)
{
    double sum = 0;

    for (size_t first = 0; first < n; first += BLOCK) {
        size_t end = n - first < BLOCK ? n : first + BLOCK, i = first;
        vf part[4] = {{0}};

        for (; i + 4 * VL <= end; i += 4 * VL) {
            for (size_t v = 0; v < 4; v++) {
                vf e = vf_load(x + i + v * VL);

                part[v] += e * e;
            }
        }
        for (; i < end; i++) {
            sum += (double)x[i] * (double)x[i];
        }
        sum += (double)vf_sum((part[0] + part[1]) + (part[2] + part[3]));
    }
    return sum;
}

static void
average(float *restrict ema, const float *restrict p, float keep, float rest,
        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ema[i] = keep * ema[i] + rest * p[i];
    }
}

/* A plain loop: the compiler makes vectors of it, roots included. */
static void
update(float *restrict p, float *restrict m, float *restrict v,
       const float *restrict g, const cpu_adamw *a, size_t n)
{
    const float lr = a->rates[0] * a->rates[2], fix2 = a->rates[3];
    const float left = 1.0f - a->rates[1], eps = a->eps, clip = a->clip;
    const float b1 = a->beta1, b2 = a->beta2;
    const float c1 = a->rest1, c2 = a->rest2;

    for (size_t i = 0; i < n; i++) {
        float grad = g[i] * clip;
        float mean = b1 * m[i] + c1 * grad;
        float square = b2 * v[i] + c2 * (grad * grad);

        m[i] = mean;
        v[i] = square;
        p[i] = left * p[i] - lr * mean / (sqrtf(square) * fix2 + eps);
    }
}

/* In pieces that stay in the first cache between the two loops. */
static void
adamw(const cpu_adamw *a, size_t first, size_t n)
{
    const size_t piece = 512;

    for (size_t end = first + n; first < end; first += piece) {
        size_t some = end - first < piece ? end - first : piece;

        if (a->rates[2] != 0) {
            update(a->p + first, a->m + first, a->v + first, a->g + first, a,
                   some);
        }
        if (a->ema != NULL) {
            average(a->ema + first, a->p + first, a->keep, a->rest, some);
        }
    }
}

const cpu_arena_kernels MRI_AT_LEVEL(cpu_arena) = {.sumsq = sumsq,
                                                   .adamw = adamw};
