/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token.cu - patches, tokens, positions, picking, drop-path draws.
 *
 * All move bytes and do next to nothing else: 8 bytes per element, 12 where a
 * position is added. Rows go to warps, so that where a row lies is found out
 * once a row.
 */
#include "kernel.h"

#include <string.h>

#define THREADS 256u
#define ROWS (THREADS / WARP) /* that a block works at */

/* ---------------------------------------------------------------- patches */

typedef struct patchify_job {
    const float *image[MRI_GROUPS];
    uint32_t height[MRI_GROUPS], width[MRI_GROUPS];
    float *y;
    mri_seqs seqs;
    uint64_t rows;
    uint32_t channels, patch;
} patchify_job;

/* A block a patch: its row is c, then y, then x. Reads come in runs of one
 * patch's width. */
KERNEL(patchify_kernel, THREADS, patchify_job)
{
    uint32_t p = a.patch, in = a.channels * p * p;

    for (uint64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
        row_place at = row_at(&a.seqs, r);
        uint64_t h = a.height[at.group], w = a.width[at.group];
        uint32_t wide = (uint32_t)w / p;
        const float *from = a.image[at.group] +
                            at.in_group * a.channels * h * w +
                            (uint64_t)(at.token / wide) * p * w +
                            (uint64_t)(at.token % wide) * p;

        for (uint32_t i = threadIdx.x; i < in; i += THREADS) {
            uint32_t x = i % p, y = i / p % p, c = i / (p * p);

            a.y[r * in + i] = from[c * h * w + y * w + x];
        }
    }
}

mr_err
cuda_patchify(mri_exec *exec, const mri_patchify_args *a)
{
    cuda_exec *e = cuda_of(exec);
    patchify_job j;

    memset(&j, 0, sizeof j);
    for (uint32_t g = 0; g < a->seqs.groups; g++) {
        j.image[g] = cuda_f32(&a->image[g]);
        j.channels = (uint32_t)a->image[g].shape[1];
        j.height[g] = (uint32_t)a->image[g].shape[2];
        j.width[g] = (uint32_t)a->image[g].shape[3];
    }
    j.y = cuda_f32(&a->y);
    j.seqs = a->seqs;
    j.rows = mri_seqs_rows(&a->seqs);
    j.patch = a->patch;
    return LAUNCH(e, patchify_kernel, cuda_grid(e, j.rows, 1), THREADS, 0, j);
}

/* ----------------------------------------------------------------- tokens */

typedef struct tokens_job {
    const float *x, *cls, *pos[MRI_GROUPS];
    float *y;
    mri_seqs seqs;
    uint64_t rows, d;
} tokens_job;

/* y holds one row more a sequence than x: sequence s begins s rows later. */
KERNEL(tokens_kernel, THREADS, tokens_job)
{
    for (uint64_t r = warp_first(); r < a.rows; r += warp_step()) {
        row_place at = row_at(&a.seqs, r);
        const float *from =
            at.token == 0 ? a.cls : a.x + (r - at.sequence - 1) * a.d;
        const float *pos = a.pos[at.group] + at.token * a.d;

        for (uint64_t i = threadIdx.x % WARP; i < a.d; i += WARP) {
            a.y[r * a.d + i] = from[i] + pos[i];
        }
    }
}

mr_err
cuda_tokens(mri_exec *exec, const mri_tokens_args *a)
{
    cuda_exec *e = cuda_of(exec);
    tokens_job j;

    memset(&j, 0, sizeof j);
    j.x = cuda_f32(&a->x);
    j.cls = cuda_f32(&a->cls);
    for (uint32_t g = 0; g < a->seqs.groups; g++) {
        j.pos[g] = cuda_f32(&a->pos[g]);
    }
    j.y = cuda_f32(&a->y);
    j.seqs = a->seqs;
    j.rows = mri_seqs_rows(&a->seqs);
    j.d = a->y.shape[1];
    return LAUNCH(e, tokens_kernel, cuda_grid(e, j.rows, ROWS), THREADS, 0, j);
}

typedef struct tokens_back_job {
    const float *dy;
    float *dx;
    mri_seqs seqs;
    uint64_t rows, d;
} tokens_back_job;

KERNEL(tokens_back_kernel, THREADS, tokens_back_job)
{
    for (uint64_t r = warp_first(); r < a.rows; r += warp_step()) {
        row_place at = row_at(&a.seqs, r);
        uint64_t to = (r - at.sequence - 1) * a.d;

        for (uint64_t i = threadIdx.x % WARP; at.token != 0 && i < a.d;
             i += WARP) {
            a.dx[to + i] = a.dy[r * a.d + i];
        }
    }
}

typedef struct positions_job {
    const float *dy; /* the first row of the group */
    float *dpos;
    uint64_t count, len; /* sequences; elements of one */
    bool add;
} positions_job;

/* Thread by thread over the sequences of a group, in their order. */
KERNEL(positions_kernel, THREADS, positions_job)
{
    for (uint64_t i = thread_first(); i < a.len; i += thread_step()) {
        float sum = a.add ? a.dpos[i] : 0;

        for (uint64_t s = 0; s < a.count; s++) {
            sum += a.dy[s * a.len + i];
        }
        a.dpos[i] = sum;
    }
}

static mr_err
positions_back(cuda_exec *e, const mri_tokens_back_args *a)
{
    const float *dy = cuda_f32(&a->dy);
    mr_err err = MR_OK;

    for (uint32_t g = 0; err == MR_OK && g < a->seqs.groups; g++) {
        positions_job j = {dy, cuda_f32(&a->dpos[g]), a->seqs.count[g],
                           a->seqs.tokens[g] * a->dy.shape[1], a->add_pos[g]};

        if (j.dpos != NULL) {
            err = LAUNCH(e, positions_kernel, cuda_grid(e, j.len, THREADS),
                         THREADS, 0, j);
        }
        dy += j.count * j.len;
    }
    return err;
}

mr_err
cuda_tokens_back(mri_exec *exec, const mri_tokens_back_args *a)
{
    cuda_exec *e = cuda_of(exec);
    tokens_back_job j = {cuda_f32(&a->dy), cuda_f32(&a->dx), a->seqs,
                         mri_seqs_rows(&a->seqs), a->dy.shape[1]};
    cuda_columns c;
    mr_err err = LAUNCH(e, tokens_back_kernel, cuda_grid(e, j.rows, ROWS),
                        THREADS, 0, j);

    if (err == MR_OK) {
        err = positions_back(e, a);
    }
    if (err != MR_OK || !mri_there(&a->dcls)) {
        return err;
    }
    memset(&c, 0, sizeof c);
    c.x = j.dy;
    c.out = cuda_f32(&a->dcls);
    c.rows = mri_seqs_count(&a->seqs);
    c.n = j.d;
    c.seqs = a->seqs;
    c.pick = true;
    c.add = a->add;
    return cuda_sum_columns(e, &c);
}

/* ---------------------------------------------------------------- picking */

typedef struct pick_job {
    const float *x;
    float *y;
    mri_seqs seqs;
    uint64_t rows, d;
} pick_job;

KERNEL(pick_kernel, THREADS, pick_job)
{
    for (uint64_t s = warp_first(); s < a.rows; s += warp_step()) {
        const float *from = a.x + seq_at(&a.seqs, s).row * a.d;

        for (uint64_t i = threadIdx.x % WARP; i < a.d; i += WARP) {
            a.y[s * a.d + i] = from[i];
        }
    }
}

mr_err
cuda_pick(mri_exec *exec, const mri_pick_args *a)
{
    cuda_exec *e = cuda_of(exec);
    pick_job j = {cuda_f32(&a->x), cuda_f32(&a->y), a->seqs,
                  mri_seqs_count(&a->seqs), a->x.shape[1]};

    return LAUNCH(e, pick_kernel, cuda_grid(e, j.rows, ROWS), THREADS, 0, j);
}

/* Zeros where nothing was picked. */
KERNEL(pick_back_kernel, THREADS, pick_job)
{
    for (uint64_t r = warp_first(); r < a.rows; r += warp_step()) {
        row_place at = row_at(&a.seqs, r);

        for (uint64_t i = threadIdx.x % WARP; i < a.d; i += WARP) {
            a.y[r * a.d + i] = at.token == 0 ? a.x[at.sequence * a.d + i] : 0;
        }
    }
}

mr_err
cuda_pick_back(mri_exec *exec, const mri_pick_back_args *a)
{
    cuda_exec *e = cuda_of(exec);
    pick_job j = {cuda_f32(&a->dy), cuda_f32(&a->dx), a->seqs,
                  mri_seqs_rows(&a->seqs), a->dx.shape[1]};

    return LAUNCH(e, pick_back_kernel, cuda_grid(e, j.rows, ROWS), THREADS, 0,
                  j);
}

/* -------------------------------------------------------------- drop-path */

typedef struct drop_job {
    const uint32_t *clock;
    float *y;
    mri_seqs seqs;
    uint64_t count;
    uint32_t key;
    double keep; /* probability */
    float factor;
} drop_job;

/* The first word of Philox4x32-10 (base/rng.c has the house's own). */
DEVICE uint32_t
philox_word(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
            uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c0;
}

/* A thread a sequence. Units are multiples of 2^-24, so the comparison with
 * the probability in f64 has no rounding. */
KERNEL(drop_kernel, THREADS, drop_job)
{
    for (uint64_t s = thread_first(); s < a.count; s += thread_step()) {
        seq_place at = seq_at(&a.seqs, s);
        uint32_t view = 0, views = a.seqs.views[at.group], word;

        for (uint32_t g = 0; g < at.group; g++) {
            view += a.seqs.views[g];
        }
        word = philox_word(
            a.clock[2], a.clock[3] + (uint32_t)(at.in_group / views), a.key,
            view + (uint32_t)(at.in_group % views), a.clock[0], a.clock[1]);
        a.y[s] =
            (double)(word >> 8) * (1.0 / 16777216.0) < a.keep ? a.factor : 0.0f;
    }
}

mr_err
cuda_drop(mri_exec *exec, const mri_drop_args *a)
{
    cuda_exec *e = cuda_of(exec);
    drop_job j = {
        (const uint32_t *)a->clock.data, cuda_f32(&a->y), a->seqs,
        mri_seqs_count(&a->seqs),        a->key,          1.0 - a->rate,
        (float)(1.0 / (1.0 - a->rate))};

    return LAUNCH(e, drop_kernel, cuda_grid(e, j.count, THREADS), THREADS, 0,
                  j);
}
