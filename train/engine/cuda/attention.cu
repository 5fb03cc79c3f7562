/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention.cu - self-attention of packed sequences, and its reverse.
 *
 * A block takes a tile of questions (or of keys) of one head of one sequence
 * and goes through the other side tile by tile, in order: the scores are never
 * stored. The softmax is made on the way: when a larger score comes, what was
 * summed so far is scaled down. The reverse makes the scores anew from their
 * log-sum-exp, twice: once for the gradients of the questions, once for those
 * of keys and values, so that nothing is added by two blocks. Bound by
 * arithmetic in f32: 4 (forward), 6 and 8 n^2 w operations a head.
 *
 * A thread holds ROWS x EACH scores and ROWS x COLUMNS results: threads are 16
 * across and a tile's rows / ROWS down, so that the 16 threads of a row are
 * half a warp. Rows in shared memory are padded to an odd number of 16 bytes,
 * so that 8 rows read side by side lie in different banks.
 */
#include "kernel.h"

#include <math.h>
#include <string.h>

#define ACROSS 16u /* threads that share a row */
#define ROWS 4u    /* of a thread */

/* Constants of a kernel: COLUMNS = head width / 16, rounded up to a power of
 * two; a tile has ACROSS x EACH rows. Wide heads take smaller tiles. */
#define TILE(each) (ACROSS * (each))
#define STRIDE(columns) (ACROSS * (columns) + 4)
#define THREADS(each) (ACROSS * TILE(each) / ROWS)
#define TILE_FLOATS(columns, each) (TILE(each) * STRIDE(columns))
#define SCORE_STRIDE(each) (TILE(each) + 4)
#define SCORE_FLOATS(each) (TILE(each) * SCORE_STRIDE(each))
#define EACH_MOST 2u
#define COLUMNS_MOST 16u

typedef struct attention_job {
    const float *qkv, *in_o, *dO, *in_lse; /* the last three: reverse */
    float *o, *lse, *delta, *dqkv;
    mri_seqs seqs;
    uint32_t heads, width, first;
    float scale;
    uint64_t d, jobs;
} attention_job;

/* One tile of one head of one sequence. */
typedef struct piece {
    uint64_t row, out; /* first row of the sequence in qkv, and in o */
    uint32_t tokens, questions, head, begin;
} piece;

/* Jobs are heads of tiles of sequences of groups. */
DEVICE piece
piece_at(const attention_job *a, uint64_t job, uint32_t tile, bool by_keys)
{
    uint64_t unit = job / a->heads;
    piece p = {0, 0, 0, 0, (uint32_t)(job % a->heads), 0};

    for (uint32_t g = 0; g < MRI_GROUPS && g < a->seqs.groups; g++) {
        uint32_t n = a->seqs.tokens[g], asks = a->first ? 1 : n;
        uint32_t tiles = ((by_keys ? n : asks) + tile - 1) / tile;
        uint64_t all = (uint64_t)a->seqs.count[g] * tiles;

        if (unit < all) {
            p.row += unit / tiles * n;
            p.out += unit / tiles * asks;
            p.tokens = n;
            p.questions = asks;
            p.begin = (uint32_t)(unit % tiles) * tile;
            break;
        }
        unit -= all;
        p.row += (uint64_t)a->seqs.count[g] * n;
        p.out += (uint64_t)a->seqs.count[g] * asks;
    }
    return p;
}

/* Rows of `from`, `step` apart, to a tile; what is not there is zero. */
DEVICE void
load_tile(float *to, const float *from, uint64_t step, uint32_t rows,
          uint32_t width, uint32_t tile, uint32_t stride)
{
    uint32_t warps = blockDim.x / WARP;

    for (uint32_t r = threadIdx.x / WARP; r < tile; r += warps) {
        for (uint32_t c = threadIdx.x % WARP; c < stride; c += WARP) {
            to[r * stride + c] = r < rows && c < width ? from[r * step + c] : 0;
        }
    }
}

/* Rows of part 0 q, 1 k, 2 v of a head, from `begin`. */
DEVICE const float *
part_at(const attention_job *a, const piece *p, uint32_t part, uint32_t begin)
{
    return a->qkv + (p->row + begin) * 3 * a->d + part * a->d +
           (uint64_t)p->head * a->width;
}

DEVICE uint32_t
left_of(uint32_t all, uint32_t begin, uint32_t tile)
{
    return all - begin < tile ? all - begin : tile;
}

/* s[i][j] = row (4 ty + i) of x times row (tx + 16 j) of y */
DEVICE void
all_dots(float s[ROWS][EACH_MOST], const float *x, const float *y,
         uint32_t width, uint32_t each, uint32_t stride)
{
    uint32_t tx = threadIdx.x % ACROSS, ty = threadIdx.x / ACROSS;
    float l[ROWS][4], r[EACH_MOST][4];

    UNROLL
    for (uint32_t i = 0; i < ROWS; i++) {
        UNROLL
        for (uint32_t j = 0; j < each; j++) {
            s[i][j] = 0;
        }
    }
    for (uint32_t c = 0; c < width; c += 4) { /* padded with zeros */
        UNROLL
        for (uint32_t i = 0; i < ROWS; i++) {
            load4(l[i], x + (ty * ROWS + i) * stride + c);
        }
        UNROLL
        for (uint32_t j = 0; j < each; j++) {
            load4(r[j], y + (tx + ACROSS * j) * stride + c);
        }
        UNROLL
        for (uint32_t i = 0; i < ROWS; i++) {
            UNROLL
            for (uint32_t j = 0; j < each; j++) {
                UNROLL
                for (uint32_t k = 0; k < 4; k++) {
                    s[i][j] += l[i][k] * r[j][k];
                }
            }
        }
    }
}

/* sum[i][c] += scores (row 4 ty + i) times column (tx + 16 c) of y */
DEVICE void
add_products(float sum[ROWS][COLUMNS_MOST], const float *scores, const float *y,
             uint32_t columns, uint32_t each)
{
    uint32_t tx = threadIdx.x % ACROSS, ty = threadIdx.x / ACROSS;
    float p[ROWS][4];

    for (uint32_t k = 0; k < TILE(each); k += 4) {
        UNROLL
        for (uint32_t i = 0; i < ROWS; i++) {
            load4(p[i], scores + (ty * ROWS + i) * SCORE_STRIDE(each) + k);
        }
        UNROLL
        for (uint32_t l = 0; l < 4; l++) {
            UNROLL
            for (uint32_t c = 0; c < columns; c++) {
                float v = y[(k + l) * STRIDE(columns) + tx + ACROSS * c];

                UNROLL
                for (uint32_t i = 0; i < ROWS; i++) {
                    sum[i][c] += p[i][l] * v;
                }
            }
        }
    }
}

DEVICE void
clear_sums(float sum[ROWS][COLUMNS_MOST], uint32_t columns)
{
    UNROLL
    for (uint32_t i = 0; i < ROWS; i++) {
        UNROLL
        for (uint32_t c = 0; c < columns; c++) {
            sum[i][c] = 0;
        }
    }
}

/* Thread's rows of results times factor[i], to rows `step` apart. */
DEVICE void
store_rows(float *to, uint64_t step, uint32_t rows, uint32_t width,
           float sum[ROWS][COLUMNS_MOST], const float *factor, uint32_t columns)
{
    uint32_t tx = threadIdx.x % ACROSS, ty = threadIdx.x / ACROSS;

    UNROLL
    for (uint32_t i = 0; i < ROWS; i++) {
        UNROLL
        for (uint32_t c = 0; c < columns; c++) {
            uint32_t r = ty * ROWS + i, at = tx + ACROSS * c;

            if (r < rows && at < width) {
                to[r * step + at] = sum[i][c] * factor[i];
            }
        }
    }
}

/* ---------------------------------------------------------------- forward */

/* The softmax of this thread's rows so far: largest score, sum of exp. */
typedef struct running {
    float top[ROWS], sum[ROWS];
} running;

/* Scores of `keys` keys to probabilities in p; what was before is scaled. */
DEVICE void
soften(running *run, float s[ROWS][EACH_MOST], float sum[ROWS][COLUMNS_MOST],
       float *p, const attention_job *a, uint32_t keys, uint32_t columns,
       uint32_t each)
{
    uint32_t tx = threadIdx.x % ACROSS, ty = threadIdx.x / ACROSS;

    UNROLL
    for (uint32_t i = 0; i < ROWS; i++) {
        float top = run->top[i], part = 0, old;

        UNROLL
        for (uint32_t j = 0; j < each; j++) {
            s[i][j] = tx + ACROSS * j < keys ? s[i][j] * a->scale : -INFINITY;
            top = fmaxf(top, s[i][j]);
        }
        top = lanes_max(top, ACROSS); /* finite: there is a key */
        old = expf(run->top[i] - top);
        UNROLL
        for (uint32_t j = 0; j < each; j++) {
            float e = expf(s[i][j] - top);

            part += e;
            p[(ty * ROWS + i) * SCORE_STRIDE(each) + tx + ACROSS * j] = e;
        }
        run->sum[i] = run->sum[i] * old + lanes_sum(part, ACROSS);
        run->top[i] = top;
        UNROLL
        for (uint32_t c = 0; c < columns; c++) {
            sum[i][c] *= old;
        }
    }
}

/* Divide by the sums, and write: rows that ask, columns that are. */
DEVICE void
write_answers(const attention_job *a, const piece *p, const running *run,
              float sum[ROWS][COLUMNS_MOST], uint32_t columns, uint32_t each)
{
    uint32_t rows = left_of(p->questions, p->begin, TILE(each));
    uint64_t out = p->out + p->begin;
    float share[ROWS];

    UNROLL
    for (uint32_t i = 0; i < ROWS; i++) {
        uint32_t r = threadIdx.x / ACROSS * ROWS + i;

        share[i] = 1.0f / run->sum[i];
        if (threadIdx.x % ACROSS == 0 && r < rows) {
            a->lse[(out + r) * a->heads + p->head] =
                run->top[i] + logf(run->sum[i]);
        }
    }
    store_rows(a->o + out * a->d + (uint64_t)p->head * a->width, a->d, rows,
               a->width, sum, share, columns);
}

DEVICE void
forward(const attention_job *a, float *shared, uint32_t columns, uint32_t each)
{
    float *q = shared, *k = q + TILE_FLOATS(columns, each);
    float *v = k + TILE_FLOATS(columns, each);
    float *scores = v + TILE_FLOATS(columns, each);
    uint32_t tile = TILE(each), stride = STRIDE(columns);

    for (uint64_t job = blockIdx.x; job < a->jobs; job += gridDim.x) {
        piece p = piece_at(a, job, tile, false);
        /* rows of a warp either ask, some of them, or all do not */
        bool asks = p.begin + threadIdx.x / WARP * (2 * ROWS) < p.questions;
        float sum[ROWS][COLUMNS_MOST], s[ROWS][EACH_MOST];
        running run;

        clear_sums(sum, columns);
        UNROLL
        for (uint32_t i = 0; i < ROWS; i++) {
            run.top[i] = -INFINITY;
            run.sum[i] = 0;
        }
        load_tile(q, part_at(a, &p, 0, p.begin), 3 * a->d,
                  left_of(p.questions, p.begin, tile), a->width, tile, stride);
        for (uint32_t key = 0; key < p.tokens; key += tile) {
            uint32_t keys = left_of(p.tokens, key, tile);

            load_tile(k, part_at(a, &p, 1, key), 3 * a->d, keys, a->width, tile,
                      stride);
            load_tile(v, part_at(a, &p, 2, key), 3 * a->d, keys, a->width, tile,
                      stride);
            __syncthreads();
            if (asks) {
                all_dots(s, q, k, a->width, each, stride);
                soften(&run, s, sum, scores, a, keys, columns, each);
                __syncwarp(); /* its rows of scores are its own */
                add_products(sum, scores, v, columns, each);
            }
            __syncthreads();
        }
        if (asks) {
            write_answers(a, &p, &run, sum, columns, each);
        }
    }
}

/* ---------------------------------------------------------------- reverse */

#define DELTA_THREADS 256u

/* delta = dO . o of each head of each row that asked: a warp each. */
KERNEL(attention_delta, DELTA_THREADS, attention_job)
{
    for (uint64_t t = warp_first(); t < a.jobs; t += warp_step()) {
        uint64_t at = t / a.heads * a.d + t % a.heads * a.width;
        float sum = 0;

        for (uint32_t i = threadIdx.x % WARP; i < a.width; i += WARP) {
            sum += a.dO[at + i] * a.in_o[at + i];
        }
        sum = warp_sum(sum);
        if (threadIdx.x % WARP == 0) {
            a.delta[t] = sum;
        }
    }
}

/* What a question keeps of its softmax; r counts from the piece's first. */
DEVICE void
question_at(const attention_job *a, const piece *p, uint32_t r, float *lse,
            float *delta)
{
    uint64_t at = (p->out + r) * a->heads + p->head;
    bool asks = r < p->questions;

    *lse = asks ? a->in_lse[at] : 0;
    *delta = asks ? a->delta[at] : 0;
}

DEVICE const float *
gradient_at(const attention_job *a, const piece *p, uint32_t begin)
{
    return a->dO + (p->out + begin) * a->d + (uint64_t)p->head * a->width;
}

/* dq of a tile of questions: the sum over the keys of ds k. */
DEVICE void
questions_back(const attention_job *a, float *shared, uint32_t columns,
               uint32_t each)
{
    const float one[ROWS] = {1, 1, 1, 1};
    float *q = shared, *g = q + TILE_FLOATS(columns, each);
    float *k = g + TILE_FLOATS(columns, each);
    float *v = k + TILE_FLOATS(columns, each);
    float *scores = v + TILE_FLOATS(columns, each);
    uint32_t tile = TILE(each), stride = STRIDE(columns);
    uint32_t tx = threadIdx.x % ACROSS, ty = threadIdx.x / ACROSS;

    for (uint64_t job = blockIdx.x; job < a->jobs; job += gridDim.x) {
        piece p = piece_at(a, job, tile, false);
        uint32_t rows = left_of(p.questions, p.begin, tile);
        bool asks = p.begin + threadIdx.x / WARP * (2 * ROWS) < p.questions;
        float sum[ROWS][COLUMNS_MOST], s[ROWS][EACH_MOST], dp[ROWS][EACH_MOST];
        float lse[ROWS], delta[ROWS];

        clear_sums(sum, columns);
        UNROLL
        for (uint32_t i = 0; i < ROWS; i++) {
            question_at(a, &p, p.begin + ty * ROWS + i, &lse[i], &delta[i]);
        }
        load_tile(q, part_at(a, &p, 0, p.begin), 3 * a->d, rows, a->width, tile,
                  stride);
        load_tile(g, gradient_at(a, &p, p.begin), a->d, rows, a->width, tile,
                  stride);
        for (uint32_t key = 0; key < p.tokens; key += tile) {
            uint32_t keys = left_of(p.tokens, key, tile);

            load_tile(k, part_at(a, &p, 1, key), 3 * a->d, keys, a->width, tile,
                      stride);
            load_tile(v, part_at(a, &p, 2, key), 3 * a->d, keys, a->width, tile,
                      stride);
            __syncthreads();
            if (asks) {
                all_dots(s, q, k, a->width, each, stride);
                all_dots(dp, g, v, a->width, each, stride);
                UNROLL
                for (uint32_t i = 0; i < ROWS; i++) {
                    UNROLL
                    for (uint32_t j = 0; j < each; j++) {
                        float e = tx + ACROSS * j < keys
                                      ? expf(s[i][j] * a->scale - lse[i])
                                      : 0;

                        scores[(ty * ROWS + i) * SCORE_STRIDE(each) + tx +
                               ACROSS * j] =
                            e * (dp[i][j] - delta[i]) * a->scale;
                    }
                }
                __syncwarp();
                add_products(sum, scores, k, columns, each);
            }
            __syncthreads();
        }
        store_rows(a->dqkv + (p.row + p.begin) * 3 * a->d +
                       (uint64_t)p.head * a->width,
                   3 * a->d, rows, a->width, sum, one, columns);
    }
}

/* Probabilities and gradients of the scores of a thread's keys (rows) for
 * questions (columns) from `begin`, to shared memory. */
DEVICE void
scores_of_keys(const attention_job *a, const piece *p, uint32_t begin,
               float s[ROWS][EACH_MOST], float dp[ROWS][EACH_MOST],
               float *scores, float *slopes, uint32_t each)
{
    uint32_t tx = threadIdx.x % ACROSS, ty = threadIdx.x / ACROSS;

    UNROLL
    for (uint32_t j = 0; j < each; j++) {
        uint32_t r = begin + tx + ACROSS * j;
        float lse, delta;

        question_at(a, p, r, &lse, &delta);
        UNROLL
        for (uint32_t i = 0; i < ROWS; i++) {
            uint32_t at =
                (ty * ROWS + i) * SCORE_STRIDE(each) + tx + ACROSS * j;
            float e = r < p->questions ? expf(s[i][j] * a->scale - lse) : 0;

            scores[at] = e;
            slopes[at] = e * (dp[i][j] - delta) * a->scale;
        }
    }
}

/* dk and dv of a tile of keys: sums over the questions; and no dq for those
 * tokens that do not ask. */
DEVICE void
keys_back(const attention_job *a, float *shared, uint32_t columns,
          uint32_t each)
{
    const float one[ROWS] = {1, 1, 1, 1};
    float *k = shared, *v = k + TILE_FLOATS(columns, each);
    float *q = v + TILE_FLOATS(columns, each);
    float *g = q + TILE_FLOATS(columns, each);
    float *scores = g + TILE_FLOATS(columns, each);
    float *slopes = scores + SCORE_FLOATS(each);
    uint32_t tile = TILE(each), stride = STRIDE(columns);

    for (uint64_t job = blockIdx.x; job < a->jobs; job += gridDim.x) {
        piece p = piece_at(a, job, tile, true);
        uint32_t rows = left_of(p.tokens, p.begin, tile);
        bool asked = p.begin + threadIdx.x / WARP * (2 * ROWS) < p.tokens;
        float dk[ROWS][COLUMNS_MOST], dv[ROWS][COLUMNS_MOST];
        float s[ROWS][EACH_MOST], dp[ROWS][EACH_MOST];
        float *to = a->dqkv + (p.row + p.begin) * 3 * a->d +
                    (uint64_t)p.head * a->width;

        clear_sums(dk, columns);
        clear_sums(dv, columns);
        load_tile(k, part_at(a, &p, 1, p.begin), 3 * a->d, rows, a->width, tile,
                  stride);
        load_tile(v, part_at(a, &p, 2, p.begin), 3 * a->d, rows, a->width, tile,
                  stride);
        for (uint32_t r = 0; r < p.questions; r += tile) {
            uint32_t asks = left_of(p.questions, r, tile);

            load_tile(q, part_at(a, &p, 0, r), 3 * a->d, asks, a->width, tile,
                      stride);
            load_tile(g, gradient_at(a, &p, r), a->d, asks, a->width, tile,
                      stride);
            __syncthreads();
            if (asked) {
                all_dots(s, k, q, a->width, each, stride);
                all_dots(dp, v, g, a->width, each, stride);
                scores_of_keys(a, &p, r, s, dp, scores, slopes, each);
                __syncwarp();
                add_products(dv, scores, g, columns, each);
                add_products(dk, slopes, q, columns, each);
            }
            __syncthreads();
        }
        store_rows(to + a->d, 3 * a->d, rows, a->width, dk, one, columns);
        store_rows(to + 2 * a->d, 3 * a->d, rows, a->width, dv, one, columns);
        for (uint32_t t = threadIdx.x / ACROSS; t < rows;
             t += blockDim.x / ACROSS) {
            for (uint32_t c = threadIdx.x % ACROSS;
                 p.begin + t >= p.questions && c < a->width; c += ACROSS) {
                to[t * 3 * a->d + c] = 0;
            }
        }
    }
}

/* ---------------------------------------------------------------- kernels */

/* One of each for every width of heads. */
#define KERNELS(KERNEL, columns, each)                                         \
    KERNEL(attention_##columns, THREADS(each), attention_job)                  \
    {                                                                          \
        DYNAMIC_SHARED(shared);                                                \
        forward(&a, shared, columns, each);                                    \
    }                                                                          \
    KERNEL(questions_back_##columns, THREADS(each), attention_job)             \
    {                                                                          \
        DYNAMIC_SHARED(shared);                                                \
        questions_back(&a, shared, columns, each);                             \
    }                                                                          \
    KERNEL(keys_back_##columns, THREADS(each), attention_job)                  \
    {                                                                          \
        DYNAMIC_SHARED(shared);                                                \
        keys_back(&a, shared, columns, each);                                  \
    }
KERNELS(KERNEL, 1, 2)
KERNELS(KERNEL, 2, 2)
KERNELS(KERNEL, 4, 2)
KERNELS(KERNEL_WIDE, 8, 2)
KERNELS(KERNEL_WIDE, 16, 1)

#define LAUNCH_WIDTH(kernel, tiles, marks, columns, each)                      \
    case columns:                                                              \
        return LAUNCH(e, kernel##_##columns, grid, THREADS(each),              \
                      (tiles * TILE_FLOATS(columns, each) +                    \
                       marks * SCORE_FLOATS(each)) *                           \
                          sizeof(float),                                       \
                      *j);
#define LAUNCH_WIDTHS(kernel, tiles, marks)                                    \
    switch (columns_for(j->width)) {                                           \
        LAUNCH_WIDTH(kernel, tiles, marks, 1, 2)                               \
        LAUNCH_WIDTH(kernel, tiles, marks, 2, 2)                               \
        LAUNCH_WIDTH(kernel, tiles, marks, 4, 2)                               \
        LAUNCH_WIDTH(kernel, tiles, marks, 8, 2)                               \
        LAUNCH_WIDTH(kernel, tiles, marks, 16, 1)                              \
    }                                                                          \
    return cuda_fail(e, MRI_E_DEVICE, "heads of %u are too wide", j->width);

static uint32_t
columns_for(uint32_t width)
{
    uint32_t columns = 1;

    while (columns * ACROSS < width) {
        columns *= 2;
    }
    return columns;
}

/* Tiles of all sequences, once a head. */
static uint64_t
jobs_of(const attention_job *j, bool by_keys)
{
    uint32_t tile = columns_for(j->width) == 16 ? TILE(1) : TILE(2);
    uint64_t jobs = 0;

    for (uint32_t g = 0; g < j->seqs.groups; g++) {
        uint32_t n = by_keys || !j->first ? j->seqs.tokens[g] : 1;

        jobs += (uint64_t)j->seqs.count[g] * cuda_parts(n, tile);
    }
    return jobs * j->heads;
}

static mr_err
run_forward(cuda_exec *e, const attention_job *j, unsigned grid)
{
    LAUNCH_WIDTHS(attention, 3, 1)
}

static mr_err
run_questions_back(cuda_exec *e, const attention_job *j, unsigned grid)
{
    LAUNCH_WIDTHS(questions_back, 4, 1)
}

static mr_err
run_keys_back(cuda_exec *e, const attention_job *j, unsigned grid)
{
    LAUNCH_WIDTHS(keys_back, 4, 2)
}

static attention_job
job_of(const mri_seqs *seqs, uint32_t heads, bool first, uint64_t d)
{
    attention_job j;

    memset(&j, 0, sizeof j);
    j.seqs = *seqs;
    j.heads = heads;
    j.first = first;
    j.d = d;
    j.width = (uint32_t)(d / heads);
    j.scale = (float)(1.0 / sqrt((double)j.width));
    return j;
}

mr_err
cuda_attention(mri_exec *exec, const mri_attention_args *a)
{
    cuda_exec *e = cuda_of(exec);
    attention_job j = job_of(&a->seqs, a->heads, a->first, a->o.shape[1]);

    j.qkv = cuda_f32(&a->qkv);
    j.o = cuda_f32(&a->o);
    j.lse = cuda_f32(&a->lse);
    j.jobs = jobs_of(&j, false);
    return run_forward(e, &j, cuda_grid(e, j.jobs, 1));
}

mr_err
cuda_attention_back(mri_exec *exec, const mri_attention_back_args *a)
{
    cuda_exec *e = cuda_of(exec);
    attention_job j = job_of(&a->seqs, a->heads, a->first, a->o.shape[1]);
    uint64_t answers = a->o.shape[0] * a->heads;
    mr_err err = cuda_scratch(e, 0, answers * sizeof(float), &j.delta);

    j.qkv = cuda_f32(&a->qkv);
    j.in_o = cuda_f32(&a->o);
    j.in_lse = cuda_f32(&a->lse);
    j.dO = cuda_f32(&a->dO);
    j.dqkv = cuda_f32(&a->dqkv);
    j.jobs = answers;
    if (err == MR_OK) {
        err = LAUNCH(e, attention_delta,
                     cuda_grid(e, answers, DELTA_THREADS / WARP), DELTA_THREADS,
                     0, j);
    }
    j.jobs = jobs_of(&j, false);
    if (err == MR_OK) {
        err = run_questions_back(e, &j, cuda_grid(e, j.jobs, 1));
    }
    j.jobs = jobs_of(&j, true);
    return err == MR_OK ? run_keys_back(e, &j, cuda_grid(e, j.jobs, 1)) : err;
}
