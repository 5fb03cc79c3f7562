/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linear.cu - linear layers: products, and what comes after them.
 *
 * cuBLASLt has a GELU of its own, but it is the one by tanh; ours is a pass
 * over the result.
 */
#include "kernel.h"

#include <string.h>

#define THREADS 256u

/* ------------------------------------------------------------------ GELU */

/* Phi(x): by erfc, so that small probabilities keep their last places. */
DEVICE float
normal(float x)
{
    return 0.5f * erfcf(x * -0.70710678f);
}

typedef struct gelu_job {
    const float *h;
    float *y;
    uint64_t len;
} gelu_job;

/* y may be h. Bound by memory: 8 bytes per element. */
KERNEL(gelu_kernel, THREADS, gelu_job)
{
    for (uint64_t i = thread_first(); i < a.len; i += thread_step()) {
        float x = a.h[i];

        a.y[i] = x * normal(x);
    }
}

typedef struct gelu_back_job {
    const float *h;
    float *dx, *y;
    uint64_t len;
} gelu_back_job;

/* dx *= gelu'(h), y = gelu(h); gelu' = Phi + x phi. 16 bytes per element. */
KERNEL(gelu_back_kernel, THREADS, gelu_back_job)
{
    for (uint64_t i = thread_first(); i < a.len; i += thread_step()) {
        float x = a.h[i], p = normal(x);
        float bell = 0.39894228f * expf(-0.5f * x * x);

        a.dx[i] *= p + x * bell;
        a.y[i] = x * p;
    }
}

/* --------------------------------------------------------------- linear */

mr_err
cuda_linear(mri_exec *exec, const mri_linear_args *a)
{
    cuda_exec *e = cuda_of(exec);
    float *to = cuda_f32(mri_there(&a->h) ? &a->h : &a->y);
    cuda_product p = {a->x.shape[0],
                      a->w.shape[0],
                      a->x.shape[1],
                      cuda_f32(&a->x),
                      cuda_f32(&a->w),
                      cuda_f32(&a->b),
                      to,
                      false,
                      true,
                      false};
    gelu_job j = {to, cuda_f32(&a->y), p.m * p.n};
    mr_err err = cuda_multiply(e, &p);

    if (err != MR_OK) {
        return err;
    }
    if (a->act == MRI_ACT_GELU) {
        return LAUNCH(e, gelu_kernel, cuda_grid(e, j.len, THREADS), THREADS, 0,
                      j);
    }
    if (to == j.y) {
        return MR_OK;
    }
    return cuda_check(e,
                      cudaMemcpyAsync(j.y, to, j.len * sizeof *to,
                                      cudaMemcpyDeviceToDevice, e->stream),
                      "linear");
}

mr_err
cuda_linear_dx(mri_exec *exec, const mri_linear_dx_args *a)
{
    cuda_exec *e = cuda_of(exec);
    cuda_product p = {
        a->dy.shape[0],  a->w.shape[1], a->dy.shape[1],   cuda_f32(&a->dy),
        cuda_f32(&a->w), NULL,          cuda_f32(&a->dx), false,
        false,           false};
    gelu_back_job j = {cuda_f32(&a->h), p.c, cuda_f32(&a->a), p.m * p.n};
    mr_err err = cuda_multiply(e, &p);

    if (err != MR_OK || j.h == NULL) {
        return err;
    }
    return LAUNCH(e, gelu_back_kernel, cuda_grid(e, j.len, THREADS), THREADS, 0,
                  j);
}

mr_err
cuda_linear_dw(mri_exec *exec, const mri_linear_dw_args *a)
{
    cuda_exec *e = cuda_of(exec);
    cuda_product p = {
        a->dy.shape[1],  a->x.shape[1], a->dy.shape[0],   cuda_f32(&a->dy),
        cuda_f32(&a->x), NULL,          cuda_f32(&a->dw), true,
        false,           a->add};
    mr_err err = cuda_multiply(e, &p);
    cuda_columns c;

    if (err != MR_OK || !mri_there(&a->db)) {
        return err;
    }
    memset(&c, 0, sizeof c);
    c.x = p.a;
    c.out = cuda_f32(&a->db);
    c.rows = p.k;
    c.n = p.m;
    c.add = a->add;
    return cuda_sum_columns(e, &c);
}

mr_err
cuda_mix(mri_exec *exec, const mri_mix_args *a)
{
    cuda_product p = {a->y.shape[0],   a->y.shape[1],   a->x.shape[0],
                      cuda_f32(&a->m), cuda_f32(&a->x), NULL,
                      cuda_f32(&a->y), a->transposed,   false,
                      a->add};

    return cuda_multiply(cuda_of(exec), &p);
}

/* ------------------------------------------- weight-normalised linear */

typedef struct lengths_job {
    const float *v;
    float *inv;
    uint64_t n, k;
} lengths_job;

/* inv[j] = 1 / |v[j]|: a warp a row. 4 bytes per element of v. */
KERNEL(lengths_kernel, THREADS, lengths_job)
{
    for (uint64_t j = warp_first(); j < a.n; j += warp_step()) {
        float sum = 0;

        for (uint64_t l = threadIdx.x % WARP; l < a.k; l += WARP) {
            sum += a.v[j * a.k + l] * a.v[j * a.k + l];
        }
        sum = warp_sum(sum);
        if (threadIdx.x % WARP == 0) {
            a.inv[j] = 1.0f / sqrtf(sum);
        }
    }
}

typedef struct scale_job {
    const float *x, *inv, *g;
    float *y;
    uint64_t m, n, across;
} scale_job;

/* y[i,j] = x[i,j] inv[j] g[j]; y may be x. 8 bytes per element. */
KERNEL(scale_kernel, THREADS, scale_job)
{
    for (uint64_t t = blockIdx.x; t < a.m * a.across; t += gridDim.x) {
        uint64_t j = t % a.across * THREADS + threadIdx.x;
        uint64_t i = t / a.across * a.n + j;

        if (j < a.n) {
            a.y[i] = a.x[i] * (a.inv[j] * a.g[j]);
        }
    }
}

static mr_err
scale_columns(cuda_exec *e, const scale_job *s)
{
    scale_job j = *s;

    j.across = cuda_parts(j.n, THREADS);
    return LAUNCH(e, scale_kernel, cuda_grid(e, j.m * j.across, 1), THREADS, 0,
                  j);
}

mr_err
cuda_wlinear(mri_exec *exec, const mri_wlinear_args *a)
{
    cuda_exec *e = cuda_of(exec);
    cuda_product p = {a->x.shape[0],
                      a->v.shape[0],
                      a->x.shape[1],
                      cuda_f32(&a->x),
                      cuda_f32(&a->v),
                      NULL,
                      cuda_f32(&a->y),
                      false,
                      true,
                      false};
    lengths_job l = {p.b, cuda_f32(&a->inv), p.n, p.k};
    scale_job s = {p.c, l.inv, cuda_f32(&a->g), p.c, p.m, p.n, 0};
    mr_err err = LAUNCH(e, lengths_kernel, cuda_grid(e, l.n, THREADS / WARP),
                        THREADS, 0, l);

    if (err == MR_OK) {
        err = cuda_multiply(e, &p);
    }
    return err == MR_OK ? scale_columns(e, &s) : err;
}

typedef struct wrows_job {
    const float *dw, *v, *g, *inv;
    float *dv, *dg; /* each may be NULL */
    uint64_t n, k;
    bool add;
} wrows_job;

/*
 * With s = g inv and dw the gradient of the row w = s v: dg = inv (dw . v),
 * dv = s (dw - v (dw . v) inv^2). A warp a row, which it reads twice (the
 * second time from the cache). 12 bytes per element. dv may be dw.
 */
KERNEL(wrows_kernel, THREADS, wrows_job)
{
    for (uint64_t j = warp_first(); j < a.n; j += warp_step()) {
        const float *dw = a.dw + j * a.k, *v = a.v + j * a.k;
        float inv = a.inv[j], s = inv * a.g[j], along = 0, back;

        for (uint64_t l = threadIdx.x % WARP; l < a.k; l += WARP) {
            along += dw[l] * v[l];
        }
        along = warp_sum(along);
        if (a.dg != NULL && threadIdx.x % WARP == 0) {
            a.dg[j] = (a.add ? a.dg[j] : 0) + along * inv;
        }
        back = along * inv * inv;
        for (uint64_t l = threadIdx.x % WARP; a.dv != NULL && l < a.k;
             l += WARP) {
            float d = s * (dw[l] - v[l] * back);
            float *to = a.dv + j * a.k + l;

            *to = a.add ? *to + d : d;
        }
    }
}

/* dx = (dy s) v; scratch 0 holds dy s. */
static mr_err
wlinear_dx(cuda_exec *e, const mri_wlinear_back_args *a)
{
    uint64_t m = a->dy.shape[0], n = a->dy.shape[1];
    scale_job s = {
        cuda_f32(&a->dy), cuda_f32(&a->inv), cuda_f32(&a->g), NULL, m, n, 0};
    cuda_product p = {m,    a->v.shape[1],    n,     NULL,  cuda_f32(&a->v),
                      NULL, cuda_f32(&a->dx), false, false, false};
    mr_err err = cuda_scratch(e, 0, m * n * sizeof(float), &s.y);

    p.a = s.y;
    if (err == MR_OK) {
        err = scale_columns(e, &s);
    }
    return err == MR_OK ? cuda_multiply(e, &p) : err;
}

/* dw is made where dv is to be, unless that holds something already. */
static mr_err
wlinear_rows(cuda_exec *e, const mri_wlinear_back_args *a)
{
    uint64_t m = a->dy.shape[0], n = a->dy.shape[1], k = a->v.shape[1];
    cuda_product p = {
        n,    k,     m,    cuda_f32(&a->dy), cuda_f32(&a->x), NULL, NULL,
        true, false, false};
    wrows_job j = {NULL,
                   cuda_f32(&a->v),
                   cuda_f32(&a->g),
                   cuda_f32(&a->inv),
                   cuda_f32(&a->dv),
                   cuda_f32(&a->dg),
                   n,
                   k,
                   a->add};
    mr_err err = MR_OK;

    p.c = j.dv;
    if (j.dv == NULL || a->add) {
        err = cuda_scratch(e, 0, n * k * sizeof(float), &p.c);
    }
    if (err == MR_OK) {
        err = cuda_multiply(e, &p);
    }
    if (err != MR_OK) {
        return err;
    }
    j.dw = p.c;
    return LAUNCH(e, wrows_kernel, cuda_grid(e, n, THREADS / WARP), THREADS, 0,
                  j);
}

mr_err
cuda_wlinear_back(mri_exec *exec, const mri_wlinear_back_args *a)
{
    cuda_exec *e = cuda_of(exec);
    mr_err err = MR_OK;

    if (mri_there(&a->dx)) {
        err = wlinear_dx(e, a);
    }
    if (err == MR_OK && (mri_there(&a->dv) || mri_there(&a->dg))) {
        err = wlinear_rows(e, a);
    }
    return err;
}
