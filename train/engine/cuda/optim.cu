/* SPDX-License-Identifier: Apache-2.0 */
/*
 * optim.cu - norms of gradients; clipping, AdamW and the moving average in one
 * pass over the arenas.
 *
 * Where the tensors lie is known to the device alone. Each is cut into at most
 * PARTS parts by its length, and block (p + t SPREAD) mod PARTS takes part p
 * of tensor t, so that small tensors do not all meet in one block. PARTS is a
 * constant, so sums do not depend on the device.
 */
#include "kernel.h"

#include <math.h>
#include <string.h>

#define THREADS 256u
#define PART_LEAST 2048u /* elements, where a tensor has them */
#define SPREAD 389u      /* prime to PARTS */
#ifdef MRI_EMU
#define PARTS 16u /* every thread costs a stack there */
#else
#define PARTS 1024u
#endif

typedef struct part {
    uint64_t first, end; /* elements of the arena */
    uint32_t number;     /* of the tensor's parts */
} part;

DEVICE uint32_t
parts_of(uint64_t len)
{
    uint64_t parts = (len + PART_LEAST - 1) / PART_LEAST;

    return (uint32_t)(parts < PARTS ? parts : PARTS);
}

/* What this block does of tensor t, if anything. */
DEVICE bool
part_for(part *out, const uint64_t *spans, uint64_t t)
{
    uint64_t len = spans[2 * t + 1];
    uint32_t parts = parts_of(len);
    uint32_t number =
        (blockIdx.x + PARTS - (uint32_t)(t * SPREAD % PARTS)) % PARTS;
    uint64_t each, from;

    if (number >= parts) {
        return false;
    }
    each = (len + parts - 1) / parts;
    from = number * each < len ? number * each : len;
    out->first = spans[2 * t] + from;
    out->end = out->first + (len - from < each ? len - from : each);
    out->number = number;
    return true;
}

/* --------------------------------------------------------- sum of squares */

typedef struct sumsq_job {
    const float *x;
    const uint64_t *spans;
    float *parts; /* [tensors, PARTS] */
    float *y;
    uint64_t tensors;
} sumsq_job;

/* 4 bytes per element. */
KERNEL(sumsq_parts, THREADS, sumsq_job)
{
    __shared__ float share[THREADS / WARP];
    part p;

    for (uint64_t t = 0; t < a.tensors; t++) {
        float sum = 0;

        if (!part_for(&p, a.spans, t)) {
            continue; /* the whole block */
        }
        for (uint64_t i = p.first + threadIdx.x; i < p.end; i += THREADS) {
            sum += a.x[i] * a.x[i];
        }
        sum = block_sum(sum, share);
        if (threadIdx.x == 0) {
            a.parts[t * PARTS + p.number] = sum;
        }
    }
}

/* A block a tensor. */
KERNEL(sumsq_add, THREADS, sumsq_job)
{
    __shared__ float share[THREADS / WARP];

    for (uint64_t t = blockIdx.x; t < a.tensors; t += gridDim.x) {
        float sum = 0;

        for (uint32_t i = threadIdx.x; i < parts_of(a.spans[2 * t + 1]);
             i += THREADS) {
            sum += a.parts[t * PARTS + i];
        }
        sum = block_sum(sum, share);
        if (threadIdx.x == 0) {
            a.y[t] = sum;
        }
    }
}

mr_err
cuda_sumsq(mri_exec *exec, const mri_sumsq_args *a)
{
    cuda_exec *e = cuda_of(exec);
    sumsq_job j = {cuda_f32(&a->x), (const uint64_t *)a->spans.data, NULL,
                   cuda_f32(&a->y), a->spans.shape[0]};
    mr_err err =
        cuda_scratch(e, 0, j.tensors * PARTS * sizeof(float), &j.parts);

    if (err != MR_OK || j.tensors == 0) {
        return err;
    }
    err = LAUNCH(e, sumsq_parts, PARTS, THREADS, 0, j);
    if (err == MR_OK) {
        err = LAUNCH(e, sumsq_add, cuda_grid(e, j.tensors, 1), THREADS, 0, j);
    }
    return err;
}

/* ------------------------------------------------------------------ AdamW */

typedef struct adamw_job {
    float *p, *m, *v, *ema; /* ema may be NULL */
    const float *g, *sumsq, *rates, *keep;
    const uint64_t *spans;
    uint64_t tensors;
    float beta1, rest1, beta2, rest2, eps, clip; /* rest: 1 - beta */
} adamw_job;

/* Element i, whose gradient is scaled by `clip`; rates as in op.h. */
DEVICE float
adamw_one(const adamw_job *a, uint64_t i, const float *rates, float clip)
{
    float g = a->g[i] * clip;
    float m = a->beta1 * a->m[i] + a->rest1 * g;
    float v = a->beta2 * a->v[i] + a->rest2 * (g * g);
    float p = a->p[i] * (1.0f - rates[1]) -
              rates[0] * rates[2] * m / (sqrtf(v) * rates[3] + a->eps);

    a->m[i] = m;
    a->v[i] = v;
    a->p[i] = p;
    return p;
}

/* 28 bytes per element, 36 with the moving average. */
KERNEL(adamw_kernel, THREADS, adamw_job)
{
    float keep = a.ema != NULL ? a.keep[0] : 0;
    float rest = a.ema != NULL ? a.keep[1] : 0;
    part p;

    for (uint64_t t = 0; t < a.tensors; t++) {
        const float rates[4] = {a.rates[4 * t], a.rates[4 * t + 1],
                                a.rates[4 * t + 2], a.rates[4 * t + 3]};
        bool still = rates[2] == 0; /* frozen: only the average follows */
        float clip = 1;

        if (!part_for(&p, a.spans, t)) {
            continue;
        }
        if (a.clip > 0) {
            clip = fminf(1.0f, a.clip / (sqrtf(a.sumsq[t]) + 1e-6f));
        }
        for (uint64_t i = p.first + threadIdx.x; i < p.end; i += THREADS) {
            float now = still ? a.p[i] : adamw_one(&a, i, rates, clip);

            if (a.ema != NULL) {
                a.ema[i] = keep * a.ema[i] + rest * now;
            }
        }
    }
}

mr_err
cuda_adamw(mri_exec *exec, const mri_adamw_args *a)
{
    cuda_exec *e = cuda_of(exec);
    adamw_job j;

    memset(&j, 0, sizeof j);
    j.p = cuda_f32(&a->p);
    j.m = cuda_f32(&a->m);
    j.v = cuda_f32(&a->v);
    j.ema = cuda_f32(&a->ema);
    j.g = cuda_f32(&a->g);
    j.sumsq = cuda_f32(&a->sumsq);
    j.rates = cuda_f32(&a->rates);
    j.keep = cuda_f32(&a->keep);
    j.spans = (const uint64_t *)a->spans.data;
    j.tensors = a->spans.shape[0];
    j.beta1 = (float)a->beta1;
    j.rest1 = (float)(1.0 - a->beta1);
    j.beta2 = (float)a->beta2;
    j.rest2 = (float)(1.0 - a->beta2);
    j.eps = (float)a->eps;
    j.clip = (float)a->clip;
    return LAUNCH(e, adamw_kernel, PARTS, THREADS, 0, j);
}
