/* SPDX-License-Identifier: Apache-2.0 */
/*
 * product.cu - a product of matrices for the shapes that cuBLASLt refuses.
 *
 * Tiles of 32 x 32 in shared memory; four elements a thread. Bound by shared
 * memory at about a tenth of what the device can: it is for a strange shape
 * now and then.
 */
#include "kernel.h"

#define TILE 32u
#define THREADS 256u
#define EACH (TILE * TILE / THREADS) /* elements of a thread */

typedef struct product_job {
    const float *a, *b, *bias;
    float *c;
    uint64_t m, n, k, across; /* across: tiles side by side */
    uint64_t tiles;
    uint64_t a_row, a_column, b_row, b_column; /* steps */
    bool add;
} product_job;

/* Element (row, column) of the tile at (r, c) of a matrix [rows, columns]. */
typedef struct product_side {
    const float *x;
    uint64_t r, c, rows, columns, row_step, column_step;
} product_side;

/* Neighbours in memory are read by neighbouring threads. */
DEVICE void
load_tile(float *to, const product_side *s)
{
    for (unsigned i = threadIdx.x; i < TILE * TILE; i += THREADS) {
        bool along = s->column_step == 1;
        unsigned row = along ? i / TILE : i % TILE;
        unsigned column = along ? i % TILE : i / TILE;
        bool in = s->r + row < s->rows && s->c + column < s->columns;

        to[row * (TILE + 1) + column] =
            in ? s->x[(s->r + row) * s->row_step +
                      (s->c + column) * s->column_step]
               : 0;
    }
}

DEVICE void
write_tile(const product_job *a, const float *sum, uint64_t r, uint64_t c)
{
    for (unsigned i = 0; i < EACH; i++) {
        uint64_t row = r + threadIdx.x / TILE + i * (THREADS / TILE);
        uint64_t column = c + threadIdx.x % TILE;

        if (row < a->m && column < a->n) {
            float *to = a->c + row * a->n + column;
            float v = sum[i] + (a->bias != NULL ? a->bias[column] : 0);

            *to = a->add ? *to + v : v;
        }
    }
}

KERNEL(product_kernel, THREADS, product_job)
{
    __shared__ float left[TILE * (TILE + 1)], right[TILE * (TILE + 1)];
    unsigned row = threadIdx.x / TILE, column = threadIdx.x % TILE;

    for (uint64_t t = blockIdx.x; t < a.tiles; t += gridDim.x) {
        product_side p = {a.a,     t / a.across * TILE, 0, a.m, a.k,
                          a.a_row, a.a_column};
        product_side q = {a.b, 0,       t % a.across * TILE, a.k,
                          a.n, a.b_row, a.b_column};
        float sum[EACH] = {0};

        for (uint64_t l = 0; l < a.k; l += TILE) {
            p.c = l;
            q.r = l;
            load_tile(left, &p);
            load_tile(right, &q);
            __syncthreads();
            for (unsigned x = 0; x < TILE; x++) {
                for (unsigned i = 0; i < EACH; i++) {
                    sum[i] +=
                        left[(row + i * (THREADS / TILE)) * (TILE + 1) + x] *
                        right[x * (TILE + 1) + column];
                }
            }
            __syncthreads();
        }
        write_tile(&a, sum, p.r, q.c);
    }
}

mr_err
cuda_multiply_own(cuda_exec *e, const cuda_product *p)
{
    product_job j = {p->a,
                     p->b,
                     p->bias,
                     p->c,
                     p->m,
                     p->n,
                     p->k,
                     cuda_parts(p->n, TILE),
                     cuda_parts(p->m, TILE) * cuda_parts(p->n, TILE),
                     p->turn_a ? 1 : p->k,
                     p->turn_a ? p->m : 1,
                     p->turn_b ? 1 : p->n,
                     p->turn_b ? p->k : 1,
                     p->add};

    return LAUNCH(e, product_kernel, cuda_grid(e, j.tiles, 1), THREADS, 0, j);
}

/* ---------------------------------------------------- is there code at all */

mr_err
cuda_probe(cuda_exec *e)
{
#ifndef MRI_EMU
    struct cudaFuncAttributes attributes;
    cudaError_t err =
        cudaFuncGetAttributes(&attributes, (const void *)product_kernel);

    if (err != cudaSuccess) {
        (void)cudaGetLastError();
        return cuda_fail(e, MRI_E_DEVICE_ABSENT,
                         "%s: the CUDA module has no code for it, or the "
                         "driver is too old for this CUDA: %s",
                         e->info.name, cudaGetErrorString(err));
    }
#endif
    (void)e;
    return MR_OK;
}
