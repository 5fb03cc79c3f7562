/* SPDX-License-Identifier: Apache-2.0 */
/*
 * norm.cu - layer norm with its residual sum, rows of length one, plain sums.
 *
 * A warp a row: what it reads a second time is still in the first cache. All
 * are bound by memory; the bytes per element stand at each kernel.
 */
#include "kernel.h"

#include <string.h>

#define THREADS 256u
#define ROWS (THREADS / WARP) /* that a block works at */

/* ------------------------------------------------------------- layer norm */

typedef struct norm_job {
    const float *x, *z, *drop, *gamma, *beta;
    float *sum, *y, *mean, *rstd;
    mri_seqs seqs;
    uint64_t rows, d;
    float eps;
} norm_job;

/* The drop-path factor of row r's sequence. */
DEVICE float
factor_at(const float *drop, const mri_seqs *seqs, uint64_t r)
{
    return drop != NULL ? drop[row_at(seqs, r).sequence] : 1.0f;
}

/* 8 bytes per element, 16 with a residual sum. A lane reads again only what
 * it wrote itself. */
KERNEL(norm_kernel, THREADS, norm_job)
{
    unsigned lane = threadIdx.x % WARP;

    for (uint64_t r = warp_first(); r < a.rows; r += warp_step()) {
        const float *x = a.x + r * a.d, *in = a.z != NULL ? a.sum + r * a.d : x;
        float factor = factor_at(a.drop, &a.seqs, r);
        float mean = 0, var = 0, rstd;

        for (uint64_t i = lane; i < a.d; i += WARP) {
            float v = x[i];

            if (a.z != NULL) {
                v += factor * a.z[r * a.d + i];
                a.sum[r * a.d + i] = v;
            }
            mean += v;
        }
        mean = warp_sum(mean) / (float)a.d;
        for (uint64_t i = lane; i < a.d; i += WARP) {
            var += (in[i] - mean) * (in[i] - mean);
        }
        rstd = 1.0f / sqrtf(warp_sum(var) / (float)a.d + a.eps);
        for (uint64_t i = lane; i < a.d; i += WARP) {
            a.y[r * a.d + i] = (in[i] - mean) * rstd * a.gamma[i] + a.beta[i];
        }
        if (lane == 0) {
            a.mean[r] = mean;
            a.rstd[r] = rstd;
        }
    }
}

mr_err
cuda_norm(mri_exec *exec, const mri_norm_args *a)
{
    cuda_exec *e = cuda_of(exec);
    norm_job j = {cuda_f32(&a->x),    cuda_f32(&a->z),
                  cuda_f32(&a->drop), cuda_f32(&a->gamma),
                  cuda_f32(&a->beta), cuda_f32(&a->sum),
                  cuda_f32(&a->y),    cuda_f32(&a->mean),
                  cuda_f32(&a->rstd), a->seqs,
                  a->x.shape[0],      a->x.shape[1],
                  (float)a->eps};

    return LAUNCH(e, norm_kernel, cuda_grid(e, j.rows, ROWS), THREADS, 0, j);
}

typedef struct norm_back_job {
    const float *dy, *dsum, *sum, *mean, *rstd, *gamma, *drop;
    float *dx, *dz;
    mri_seqs seqs;
    uint64_t rows, d;
} norm_back_job;

/* For e = dy gamma: dx = dsum + rstd (e - mean(e) - hat mean(e hat)). 12 to 20
 * bytes per element. */
KERNEL(norm_back_kernel, THREADS, norm_back_job)
{
    unsigned lane = threadIdx.x % WARP;

    for (uint64_t r = warp_first(); r < a.rows; r += warp_step()) {
        const float *dy = a.dy + r * a.d, *sum = a.sum + r * a.d;
        float mean = a.mean[r], rstd = a.rstd[r];
        float factor = factor_at(a.drop, &a.seqs, r);
        float of_e = 0, of_eh = 0;

        for (uint64_t i = lane; i < a.d; i += WARP) {
            float v = dy[i] * a.gamma[i];

            of_e += v;
            of_eh += v * ((sum[i] - mean) * rstd);
        }
        of_e = warp_sum(of_e) / (float)a.d;
        of_eh = warp_sum(of_eh) / (float)a.d;
        for (uint64_t i = lane; i < a.d; i += WARP) {
            float hat = (sum[i] - mean) * rstd;
            float dx = rstd * (dy[i] * a.gamma[i] - of_e - hat * of_eh);

            if (a.dsum != NULL) {
                dx += a.dsum[r * a.d + i];
            }
            a.dx[r * a.d + i] = dx;
            if (a.dz != NULL) {
                a.dz[r * a.d + i] = dx * factor;
            }
        }
    }
}

mr_err
cuda_norm_back(mri_exec *exec, const mri_norm_back_args *a)
{
    cuda_exec *e = cuda_of(exec);
    norm_back_job j = {cuda_f32(&a->dy),   cuda_f32(&a->dsum),
                       cuda_f32(&a->sum),  cuda_f32(&a->mean),
                       cuda_f32(&a->rstd), cuda_f32(&a->gamma),
                       cuda_f32(&a->drop), cuda_f32(&a->dx),
                       cuda_f32(&a->dz),   a->seqs,
                       a->dy.shape[0],     a->dy.shape[1]};
    cuda_columns c;
    mr_err err;

    if (mri_there(&a->dgamma)) {
        memset(&c, 0, sizeof c);
        c.x = j.dy;
        c.sum = j.sum;
        c.mean = j.mean;
        c.rstd = j.rstd;
        c.out = cuda_f32(&a->dbeta);
        c.hat_out = cuda_f32(&a->dgamma);
        c.rows = j.rows;
        c.n = j.d;
        c.add = a->add;
        err = cuda_sum_columns(e, &c);
        if (err != MR_OK) {
            return err;
        }
    }
    return LAUNCH(e, norm_back_kernel, cuda_grid(e, j.rows, ROWS), THREADS, 0,
                  j);
}

/* ----------------------------------------------------- rows of length one */

typedef struct l2norm_job {
    const float *x;
    float *y, *inv;
    uint64_t rows, d;
} l2norm_job;

/* 8 bytes per element. */
KERNEL(l2norm_kernel, THREADS, l2norm_job)
{
    for (uint64_t r = warp_first(); r < a.rows; r += warp_step()) {
        const float *x = a.x + r * a.d;
        float sum = 0, inv;

        for (uint64_t i = threadIdx.x % WARP; i < a.d; i += WARP) {
            sum += x[i] * x[i];
        }
        inv = 1.0f / fmaxf(sqrtf(warp_sum(sum)), 1e-12f);
        for (uint64_t i = threadIdx.x % WARP; i < a.d; i += WARP) {
            a.y[r * a.d + i] = x[i] * inv;
        }
        if (threadIdx.x % WARP == 0) {
            a.inv[r] = inv;
        }
    }
}

mr_err
cuda_l2norm(mri_exec *exec, const mri_l2norm_args *a)
{
    cuda_exec *e = cuda_of(exec);
    l2norm_job j = {cuda_f32(&a->x), cuda_f32(&a->y), cuda_f32(&a->inv),
                    a->x.shape[0], a->x.shape[1]};

    return LAUNCH(e, l2norm_kernel, cuda_grid(e, j.rows, ROWS), THREADS, 0, j);
}

typedef struct l2norm_back_job {
    const float *dy, *y, *inv;
    float *dx;
    uint64_t rows, d;
} l2norm_back_job;

/* dx = inv (dy - y (dy . y)). 12 bytes per element. */
KERNEL(l2norm_back_kernel, THREADS, l2norm_back_job)
{
    for (uint64_t r = warp_first(); r < a.rows; r += warp_step()) {
        const float *dy = a.dy + r * a.d, *y = a.y + r * a.d;
        float along = 0;

        for (uint64_t i = threadIdx.x % WARP; i < a.d; i += WARP) {
            along += dy[i] * y[i];
        }
        along = warp_sum(along);
        for (uint64_t i = threadIdx.x % WARP; i < a.d; i += WARP) {
            a.dx[r * a.d + i] = a.inv[r] * (dy[i] - y[i] * along);
        }
    }
}

mr_err
cuda_l2norm_back(mri_exec *exec, const mri_l2norm_back_args *a)
{
    cuda_exec *e = cuda_of(exec);
    l2norm_back_job j = {cuda_f32(&a->dy), cuda_f32(&a->y), cuda_f32(&a->inv),
                         cuda_f32(&a->dx), a->dy.shape[0],  a->dy.shape[1]};

    return LAUNCH(e, l2norm_back_kernel, cuda_grid(e, j.rows, ROWS), THREADS, 0,
                  j);
}

/* ------------------------------------------------------------ plain sums */

typedef struct add_job {
    const float *a, *b;
    float *y;
    uint64_t len;
} add_job;

#define AT_ONCE 4u /* loads on their way before the first is used */

/* y may be a or b. 12 bytes per element. */
KERNEL(add_kernel, THREADS, add_job)
{
    uint64_t step = thread_step(), i = thread_first();
    float v[AT_ONCE];

    for (; i + (AT_ONCE - 1) * step < a.len; i += AT_ONCE * step) {
        for (unsigned k = 0; k < AT_ONCE; k++) {
            v[k] = a.a[i + k * step] + a.b[i + k * step];
        }
        for (unsigned k = 0; k < AT_ONCE; k++) {
            a.y[i + k * step] = v[k];
        }
    }
    for (; i < a.len; i += step) {
        a.y[i] = a.a[i] + a.b[i];
    }
}

mr_err
cuda_add(mri_exec *exec, const mri_add_args *a)
{
    cuda_exec *e = cuda_of(exec);
    add_job j = {cuda_f32(&a->a), cuda_f32(&a->b), cuda_f32(&a->y),
                 cuda_len(&a->y)};

    return LAUNCH(e, add_kernel, cuda_grid(e, j.len, THREADS * AT_ONCE),
                  THREADS, 0, j);
}
