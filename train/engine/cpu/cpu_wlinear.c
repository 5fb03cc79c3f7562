/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_wlinear.c - the weight-normalised linear layer: the prototypes of DINO.
 *
 * v is the largest tensor of the network (65,536 rows) and meets few rows of
 * x, so memory bounds it: each direction reads v once. A task takes a block of
 * rows of v, and does with it all that there is to do while it is in cache.
 */
#include "cpu/cpu.h"
#include "cpu/gemm.h"

#include <math.h>
#include <stdatomic.h>

#define BLOCK 512 /* rows of v in one product */
#define GROUPS 16 /* partial sums of dx that are alive */

typedef struct block_code {
    gemm *whole, *rest; /* of BLOCK rows of v, of the last ones */
} block_code;

/* The code for blocks of n rows: `shape` has the number of rows of v, n or m
 * or k of the product, where `rows` points. */
static mr_err
get_blocks(block_code *out, cpu_exec *e, gemm_shape *shape, int64_t *rows,
           size_t n)
{
    mr_err err = MR_OK;

    *out = (block_code){NULL, NULL};
    if (n >= BLOCK) {
        *rows = BLOCK;
        err = gemm_get(&out->whole, e->gemms, shape, &e->head.diag);
    }
    if (err == MR_OK && n % BLOCK != 0) {
        *rows = (int64_t)(n % BLOCK);
        err = gemm_get(&out->rest, e->gemms, shape, &e->head.diag);
    }
    return err;
}

static size_t
block_scratch(const block_code *c)
{
    size_t a = c->whole != NULL ? gemm_scratch(c->whole) : 0;
    size_t b = c->rest != NULL ? gemm_scratch(c->rest) : 0;

    return cpu_parts(a > b ? a : b, 64) * 16;
}

static const gemm *
block_of(const block_code *c, size_t rows)
{
    return rows == BLOCK ? c->whole : c->rest;
}

static mr_err
verdict(cpu_exec *e, atomic_bool *failed)
{
    return atomic_load(failed)
               ? mri_exec_fail(&e->head, MRI_E_DEVICE,
                               "%s failed while it computed", gemm_library())
               : MR_OK;
}

/* --------------------------------------------------------------- forward */

typedef struct wlinear_job {
    cpu_exec *e;
    const mri_wlinear_args *a;
    size_t m, k, n;
    block_code code;
    size_t result; /* floats of scratch before the result */
    atomic_bool failed;
} wlinear_job;

/* y' = v x', so that v is read as it lies; x' is in shared scratch 0. */
static void
wlinear_task(void *arg, size_t task, unsigned worker)
{
    wlinear_job *j = arg;
    const cpu_kernels *k = &j->e->k;
    size_t first = task * BLOCK;
    size_t rows = j->n - first < BLOCK ? j->n - first : BLOCK;
    const float *v = cpu_f32(&j->a->v) + first * j->k;
    const float *g = cpu_f32(&j->a->g) + first;
    float *inv = cpu_f32(&j->a->inv) + first;
    float *own = j->e->own[worker], *result = own + j->result;

    for (size_t i = 0; i < rows; i++) {
        const float *row = v + i * j->k;

        inv[i] = 1.0f / sqrtf(k->gemm.dot(row, row, j->k));
    }
    if (!gemm_run(block_of(&j->code, rows), worker, v, j->e->shared[0], NULL,
                  result, own)) {
        atomic_store(&j->failed, true);
        return;
    }
    for (size_t i = 0; i < rows; i++) {
        float *line = result + i * j->m;

        k->norm.scale(line, line, inv[i] * g[i], j->m);
    }
    k->gemm.transpose(cpu_f32(&j->a->y) + first, j->n, result, j->m, rows,
                      j->m);
}

mr_err
cpu_wlinear(mri_exec *exec, const mri_wlinear_args *a)
{
    cpu_exec *e = cpu_of(exec);
    wlinear_job j = {.e = e,
                     .a = a,
                     .m = a->x.shape[0],
                     .k = a->x.shape[1],
                     .n = a->v.shape[0]};
    gemm_shape shape = {.n = (int64_t)j.m,
                        .k = (int64_t)j.k,
                        .a_row = (int64_t)j.k,
                        .b_row = (int64_t)j.m,
                        .b_column = 1,
                        .c_row = (int64_t)j.m};
    mr_err err = get_blocks(&j.code, e, &shape, &shape.m, j.n);

    if (err == MR_OK) {
        j.result = block_scratch(&j.code);
        err = cpu_own(e, j.result + (j.n < BLOCK ? j.n : BLOCK) * j.m);
    }
    if (err == MR_OK) {
        err = cpu_share(e, 0, j.m * j.k);
    }
    if (err != MR_OK) {
        return err;
    }
    e->k.gemm.transpose(e->shared[0], j.m, cpu_f32(&a->x), j.k, j.m, j.k);
    team_run(e->team, cpu_parts(j.n, BLOCK), wlinear_task, &j);
    return verdict(e, &j.failed);
}

/* --------------------------------------------------------------- reverse */

typedef struct back_job {
    cpu_exec *e;
    const mri_wlinear_back_args *a;
    size_t m, k, n;
    size_t groups;       /* of blocks: each has a partial sum of dx */
    block_code set, add; /* dx = ds v, dx += ds v */
    block_code dw;       /* dw = dy' x */
    size_t turned, scaled, product; /* where these begin in a thread's own */
    atomic_bool failed;
} back_job;

/*
 * With s = g inv: dv = s (dw - v (dw . v) inv^2), dg = inv (dw . v), where dw
 * = dy' x is in scratch.
 */
static void
finish_row(const back_job *j, size_t row, const float *dw)
{
    const mri_wlinear_back_args *a = j->a;
    const cpu_kernels *k = &j->e->k;
    const float *v = cpu_f32(&a->v) + row * j->k;
    float inv = cpu_f32(&a->inv)[row], s = inv * cpu_f32(&a->g)[row];
    float along = k->gemm.dot(dw, v, j->k);

    if (mri_there(&a->dv)) {
        float *dv = cpu_f32(&a->dv) + row * j->k;

        if (a->add) {
            k->norm.axpy(dv, dw, s, j->k);
        } else {
            k->norm.scale(dv, dw, s, j->k);
        }
        k->norm.axpy(dv, v, -s * along * inv * inv, j->k);
    }
    if (mri_there(&a->dg)) {
        float *dg = cpu_f32(&a->dg) + row;

        *dg = a->add ? *dg + inv * along : inv * along;
    }
}

/* dw of one block: the columns of dy turned round, times x. */
static bool
weights_of(const back_job *j, size_t first, size_t rows, unsigned worker)
{
    float *own = j->e->own[worker];
    float *turned = own + j->turned, *dw = own + j->product;

    j->e->k.gemm.transpose(turned, j->m, cpu_f32(&j->a->dy) + first, j->n, j->m,
                           rows);
    if (!gemm_run(block_of(&j->dw, rows), worker, turned, cpu_f32(&j->a->x),
                  NULL, dw, own)) {
        return false;
    }
    for (size_t i = 0; i < rows; i++) {
        finish_row(j, first + i, dw + i * j->k);
    }
    return true;
}

/* This block's share of dx: (dy s) v, into the group's partial sum. */
static bool
input_of(const back_job *j, size_t first, size_t rows, float *dx, bool add,
         unsigned worker)
{
    float *own = j->e->own[worker], *scaled = own + j->scaled;
    const float *inv = cpu_f32(&j->a->inv) + first;
    const float *g = cpu_f32(&j->a->g) + first;

    for (size_t r = 0; r < j->m; r++) {
        const float *dy = cpu_f32(&j->a->dy) + r * j->n + first;

        for (size_t i = 0; i < rows; i++) {
            scaled[r * rows + i] = dy[i] * inv[i] * g[i];
        }
    }
    return gemm_run(block_of(add ? &j->add : &j->set, rows), worker, scaled,
                    cpu_f32(&j->a->v) + first * j->k, NULL, dx, own);
}

static void
back_task(void *arg, size_t task, unsigned worker)
{
    back_job *j = arg;
    size_t blocks = cpu_parts(j->n, BLOCK);
    size_t b = blocks * task / j->groups;
    size_t end = blocks * (task + 1) / j->groups;
    bool ok = true, add = false;

    for (; ok && b < end; b++) {
        size_t first = b * BLOCK;
        size_t rows = j->n - first < BLOCK ? j->n - first : BLOCK;

        if (mri_there(&j->a->dx)) {
            float *dx = j->e->shared[0] + task * j->m * j->k;

            ok = input_of(j, first, rows, dx, add, worker);
        }
        if (ok && (mri_there(&j->a->dv) || mri_there(&j->a->dg))) {
            ok = weights_of(j, first, rows, worker);
        }
        add = true;
    }
    if (!ok) {
        atomic_store(&j->failed, true);
    }
}

static mr_err
back_codes(back_job *j)
{
    gemm_shape dx = {.m = (int64_t)j->m,
                     .n = (int64_t)j->k,
                     .b_row = (int64_t)j->k,
                     .b_column = 1,
                     .c_row = (int64_t)j->k};
    gemm_shape dw = {.n = (int64_t)j->k,
                     .k = (int64_t)j->m,
                     .a_row = (int64_t)j->m,
                     .b_row = (int64_t)j->k,
                     .b_column = 1,
                     .c_row = (int64_t)j->k};
    size_t rest = j->n % BLOCK;
    mr_err err = MR_OK;

    for (int add = 0; err == MR_OK && add < 2; add++) {
        block_code *to = add ? &j->add : &j->set;

        dx.add = add != 0;
        if (j->n >= BLOCK) {
            dx.k = dx.a_row = BLOCK;
            err = gemm_get(&to->whole, j->e->gemms, &dx, &j->e->head.diag);
        }
        if (err == MR_OK && rest != 0) {
            dx.k = dx.a_row = (int64_t)rest;
            err = gemm_get(&to->rest, j->e->gemms, &dx, &j->e->head.diag);
        }
    }
    return err == MR_OK ? get_blocks(&j->dw, j->e, &dw, &dw.m, j->n) : err;
}

/* A thread's own scratch: oneDNN's, then turned, scaled, dw. */
static mr_err
back_scratch(back_job *j)
{
    size_t lib = block_scratch(&j->set), rows = j->n < BLOCK ? j->n : BLOCK;
    size_t more = block_scratch(&j->add), dw = block_scratch(&j->dw);
    mr_err err;

    lib = more > lib ? more : lib;
    j->turned = dw > lib ? dw : lib;
    j->scaled = j->turned + cpu_parts(rows * j->m, 16) * 16;
    j->product = j->scaled + cpu_parts(rows * j->m, 16) * 16;
    err = cpu_own(j->e, j->product + rows * j->k);
    if (err == MR_OK && mri_there(&j->a->dx)) {
        err = cpu_share(j->e, 0, j->groups * j->m * j->k);
    }
    return err;
}

mr_err
cpu_wlinear_back(mri_exec *exec, const mri_wlinear_back_args *a)
{
    back_job j = {.e = cpu_of(exec),
                  .a = a,
                  .m = a->dy.shape[0],
                  .k = a->v.shape[1],
                  .n = a->v.shape[0]};
    size_t blocks = cpu_parts(j.n, BLOCK), each = j.m * j.k;
    mr_err err = back_codes(&j);

    j.groups = blocks < GROUPS ? blocks : GROUPS;
    if (err == MR_OK) {
        err = back_scratch(&j);
    }
    if (err != MR_OK) {
        return err;
    }
    team_run(j.e->team, j.groups, back_task, &j);
    for (size_t g = 1; mri_there(&a->dx) && g < j.groups; g++) {
        j.e->k.norm.axpy(j.e->shared[0], j.e->shared[0] + g * each, 1, each);
    }
    if (mri_there(&a->dx)) {
        j.e->k.norm.scale(cpu_f32(&a->dx), j.e->shared[0], 1, each);
    }
    return verdict(j.e, &j.failed);
}
