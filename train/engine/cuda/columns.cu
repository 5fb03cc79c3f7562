/* SPDX-License-Identifier: Apache-2.0 */
/*
 * columns.cu - sums over rows: gradients of biases, gains and class tokens.
 *
 * The rows are cut into chunks by their number alone; each chunk's sums are
 * kept, and added in the order of the chunks. Bound by memory: 4 bytes read
 * per element, 8 with hats.
 */
#include "kernel.h"

#define THREADS 256u
#define WIDE 32u              /* columns of a block */
#define DEEP (THREADS / WIDE) /* rows that it reads at once */
#define CHUNK_ROWS 64u        /* at least */
#define CHUNKS 256u           /* at most */

typedef struct columns_job {
    const float *x, *sum, *mean, *rstd;
    float *part; /* [chunks, n], then as many for the hats */
    uint64_t rows, n, chunk, chunks, across;
    mri_seqs seqs;
    bool pick;
} columns_job;

KERNEL(columns_parts, THREADS, columns_job)
{
    __shared__ float plain[DEEP][WIDE + 1], hats[DEEP][WIDE + 1];
    unsigned tx = threadIdx.x % WIDE, ty = threadIdx.x / WIDE;

    for (uint64_t t = blockIdx.x; t < a.chunks * a.across; t += gridDim.x) {
        uint64_t first = t / a.across * a.chunk, j = t % a.across * WIDE + tx;
        uint64_t end = a.rows - first < a.chunk ? a.rows : first + a.chunk;
        float sum = 0, hat = 0;

        for (uint64_t i = first + ty; j < a.n && i < end; i += DEEP) {
            uint64_t r = a.pick ? seq_at(&a.seqs, i).row : i;
            float v = a.x[r * a.n + j];

            sum += v;
            if (a.sum != NULL) {
                hat += v * ((a.sum[r * a.n + j] - a.mean[r]) * a.rstd[r]);
            }
        }
        plain[ty][tx] = sum;
        hats[ty][tx] = hat;
        __syncthreads();
        if (ty == 0 && j < a.n) {
            for (unsigned d = 1; d < DEEP; d++) {
                sum += plain[d][tx];
                hat += hats[d][tx];
            }
            a.part[t / a.across * a.n + j] = sum;
            if (a.sum != NULL) {
                a.part[(a.chunks + t / a.across) * a.n + j] = hat;
            }
        }
        __syncthreads();
    }
}

typedef struct columns_end {
    const float *part;
    float *out;
    uint64_t chunks, n;
    bool add;
} columns_end;

KERNEL(columns_add, THREADS, columns_end)
{
    for (uint64_t j = thread_first(); j < a.n; j += thread_step()) {
        float sum = a.add ? a.out[j] : 0;

        for (uint64_t c = 0; c < a.chunks; c++) {
            sum += a.part[c * a.n + j];
        }
        a.out[j] = sum;
    }
}

static mr_err
add_parts(cuda_exec *e, const float *part, float *out, const columns_job *j,
          bool add)
{
    columns_end end = {part, out, j->chunks, j->n, add};

    return LAUNCH(e, columns_add, cuda_grid(e, end.n, THREADS), THREADS, 0,
                  end);
}

mr_err
cuda_sum_columns(cuda_exec *e, const cuda_columns *c)
{
    columns_job j = {c->x, c->sum, c->mean, c->rstd, NULL,    c->rows,
                     c->n, 0,      0,       0,       c->seqs, c->pick};
    float *part;
    mr_err err;

    j.chunk = cuda_parts(c->rows, CHUNKS);
    j.chunk = j.chunk > CHUNK_ROWS ? j.chunk : CHUNK_ROWS;
    j.chunks = cuda_parts(c->rows, j.chunk);
    j.across = cuda_parts(c->n, WIDE);
    err = cuda_scratch(e, 0, 2 * j.chunks * c->n * sizeof(float), &part);
    j.part = part;
    if (err == MR_OK) {
        err = LAUNCH(e, columns_parts, cuda_grid(e, j.chunks * j.across, 1),
                     THREADS, 0, j);
    }
    if (err == MR_OK && c->out != NULL) {
        err = add_parts(e, part, c->out, &j, c->add);
    }
    if (err == MR_OK && c->hat_out != NULL) {
        err = add_parts(e, part + j.chunks * c->n, c->hat_out, &j, c->add);
    }
    return err;
}
