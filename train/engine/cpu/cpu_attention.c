/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_attention.c - self-attention; a task is one head of one sequence.
 *
 * A task's keys and values stay in the second cache. Questions are taken in
 * blocks, so that a block's scores stay in the first: they are made, turned
 * into probabilities, used, and never written to memory. The reverse makes
 * them again from the kept log-sum-exp.
 */
#include "cpu/cpu.h"

#include <math.h>
#include <string.h>

#define BLOCK 48 /* questions at a time */

/* One head of one sequence. */
typedef struct head {
    size_t tokens, width, d;  /* d: of the model */
    size_t questions;         /* tokens, or 1 */
    size_t padded;            /* tokens rounded up to whole vectors */
    const float *q, *k, *v;   /* rows are 3 d apart */
    size_t out;               /* first element of o, dO */
    size_t out_row, lse_step; /* first row there; heads */
    size_t number;            /* of the head */
} head;

static head
head_at(const mri_seqs *seqs, const mr_tensor *qkv, uint32_t heads, bool first,
        size_t task)
{
    size_t s = task / heads, n = task % heads;
    mri_seq seq = mri_seqs_at(seqs, s);
    size_t d = qkv->shape[1] / 3, width = d / heads;
    const float *row = cpu_f32(qkv) + seq.row * 3 * d + n * width;
    size_t out_row = first ? s : seq.row;

    return (head){.tokens = seq.tokens,
                  .width = width,
                  .d = d,
                  .questions = first ? 1 : seq.tokens,
                  .padded = cpu_parts(seq.tokens, 16) * 16,
                  .q = row,
                  .k = row + d,
                  .v = row + 2 * d,
                  .out = out_row * d + n * width,
                  .out_row = out_row,
                  .lse_step = heads,
                  .number = n};
}

/* scores [rows, padded] = a (rows of width, a_row apart) turned [width,
 * padded] */
static void
scores_of(const cpu_exec *e, const head *h, const float *a, size_t a_row,
          size_t rows, const float *turned, float *scores)
{
    cpu_product p = {.m = rows,
                     .n = h->padded,
                     .k = h->width,
                     .a = a,
                     .a_row = a_row,
                     .a_column = 1,
                     .b = turned,
                     .b_row = h->padded,
                     .c = scores,
                     .c_row = h->padded};

    e->k.gemm.product(&p);
}

/* Keys or values as [width, padded], with zeros at the end of each row. */
static void
turn(const cpu_exec *e, const head *h, const float *rows, float *to)
{
    size_t spare = h->padded - h->tokens;

    e->k.gemm.transpose(to, h->padded, rows, 3 * h->d, h->tokens, h->width);
    for (size_t i = 0; i < h->width; i++) {
        memset(to + i * h->padded + h->tokens, 0, spare * sizeof *to);
    }
}

static size_t
longest(const mri_seqs *seqs)
{
    size_t most = 0;

    for (uint32_t g = 0; g < seqs->groups; g++) {
        most = seqs->tokens[g] > most ? seqs->tokens[g] : most;
    }
    return cpu_parts(most, 16) * 16;
}

/* --------------------------------------------------------------- forward */

typedef struct att_job {
    const cpu_exec *e;
    const mri_attention_args *a;
} att_job;

static void
answer_block(const att_job *j, const head *h, size_t first, size_t rows,
             const float *turned, float *scores)
{
    const cpu_exec *e = j->e;
    float scale = 1.0f / sqrtf((float)h->width);
    float *lse = cpu_f32(&j->a->lse) + (h->out_row + first) * h->lse_step;
    cpu_product pv = {.m = rows,
                      .n = h->width,
                      .k = h->tokens,
                      .a = scores,
                      .a_row = h->padded,
                      .a_column = 1,
                      .b = h->v,
                      .b_row = 3 * h->d,
                      .c = cpu_f32(&j->a->o) + h->out + first * h->d,
                      .c_row = h->d};

    scores_of(e, h, h->q + first * 3 * h->d, 3 * h->d, rows, turned, scores);
    for (size_t i = 0; i < rows; i++) {
        lse[i * h->lse_step + h->number] =
            e->k.exp.softmax(scores + i * h->padded, scale, h->tokens);
    }
    e->k.gemm.product(&pv);
}

static void
att_task(void *arg, size_t task, unsigned worker)
{
    const att_job *j = arg;
    head h = head_at(&j->a->seqs, &j->a->qkv, j->a->heads, j->a->first, task);
    float *turned = j->e->own[worker];
    float *scores = turned + h.width * h.padded;

    turn(j->e, &h, h.k, turned);
    for (size_t q = 0; q < h.questions; q += BLOCK) {
        size_t rows = h.questions - q < BLOCK ? h.questions - q : BLOCK;

        answer_block(j, &h, q, rows, turned, scores);
    }
}

mr_err
cpu_attention(mri_exec *exec, const mri_attention_args *a)
{
    att_job j = {cpu_of(exec), a};
    size_t width = a->o.shape[1] / a->heads, most = longest(&a->seqs);
    mr_err err = cpu_own(cpu_of(exec), (width + BLOCK) * most);

    if (err != MR_OK) {
        return err;
    }
    team_run(j.e->team, mri_seqs_count(&a->seqs) * a->heads, att_task, &j);
    return MR_OK;
}

/* --------------------------------------------------------------- reverse */

typedef struct back_job {
    const cpu_exec *e;
    const mri_attention_back_args *a;
} back_job;

/* What a task works with: keys and values turned, p and dp of a block. */
typedef struct back_room {
    float *keys, *values, *p, *dp;
} back_room;

/* p (dp - dO . o) / sqrt(width), in the place of dp; p stays. */
static void
scores_back(const back_job *j, const head *h, size_t first, size_t rows,
            const back_room *room)
{
    float scale = 1.0f / sqrtf((float)h->width);

    for (size_t i = 0; i < rows; i++) {
        size_t at = h->out + (first + i) * h->d;
        size_t lse = (h->out_row + first + i) * h->lse_step + h->number;
        float *p = room->p + i * h->padded, *dp = room->dp + i * h->padded;
        float mean = j->e->k.gemm.dot(cpu_f32(&j->a->dO) + at,
                                      cpu_f32(&j->a->o) + at, h->width);

        j->e->k.exp.exp_of(p, scale, cpu_f32(&j->a->lse)[lse], h->tokens);
        for (size_t t = 0; t < h->tokens; t++) {
            dp[t] = p[t] * (dp[t] - mean) * scale;
        }
    }
}

/* dq of the block, and its share of dk and dv. */
static void
block_back(const back_job *j, const head *h, size_t first, size_t rows,
           const back_room *room)
{
    const cpu_exec *e = j->e;
    const float *dO = cpu_f32(&j->a->dO) + h->out + first * h->d;
    const float *q = h->q + first * 3 * h->d;
    float *dqkv = cpu_f32(&j->a->dqkv) + (h->q - cpu_f32(&j->a->qkv));
    cpu_product dq = {.m = rows,
                      .n = h->width,
                      .k = h->tokens,
                      .a = room->dp,
                      .a_row = h->padded,
                      .a_column = 1,
                      .b = h->k,
                      .b_row = 3 * h->d,
                      .c = dqkv + first * 3 * h->d,
                      .c_row = 3 * h->d};
    cpu_product dk = {.m = h->tokens,
                      .n = h->width,
                      .k = rows,
                      .a = room->dp,
                      .a_row = 1,
                      .a_column = h->padded,
                      .b = q,
                      .b_row = 3 * h->d,
                      .c = dqkv + h->d,
                      .c_row = 3 * h->d,
                      .add = first != 0};
    cpu_product dv = dk;

    dv.a = room->p;
    dv.b = dO;
    dv.b_row = h->d;
    dv.c = dqkv + 2 * h->d;
    scores_of(e, h, q, 3 * h->d, rows, room->keys, room->p);
    scores_of(e, h, dO, h->d, rows, room->values, room->dp);
    scores_back(j, h, first, rows, room);
    e->k.gemm.product(&dq);
    e->k.gemm.product(&dk);
    e->k.gemm.product(&dv);
}

/* Tokens that do not ask have no dq. */
static void
clear_questions(const back_job *j, const head *h)
{
    float *dq = cpu_f32(&j->a->dqkv) + (h->q - cpu_f32(&j->a->qkv));

    for (size_t t = h->questions; t < h->tokens; t++) {
        memset(dq + t * 3 * h->d, 0, h->width * sizeof *dq);
    }
}

static void
back_task(void *arg, size_t task, unsigned worker)
{
    const back_job *j = arg;
    head h = head_at(&j->a->seqs, &j->a->qkv, j->a->heads, j->a->first, task);
    float *own = j->e->own[worker];
    back_room room = {.keys = own,
                      .values = own + h.width * h.padded,
                      .p = own + 2 * h.width * h.padded,
                      .dp = own + (2 * h.width + BLOCK) * h.padded};

    turn(j->e, &h, h.k, room.keys);
    turn(j->e, &h, h.v, room.values);
    for (size_t q = 0; q < h.questions; q += BLOCK) {
        size_t rows = h.questions - q < BLOCK ? h.questions - q : BLOCK;

        block_back(j, &h, q, rows, &room);
    }
    clear_questions(j, &h);
}

mr_err
cpu_attention_back(mri_exec *exec, const mri_attention_back_args *a)
{
    back_job j = {cpu_of(exec), a};
    size_t width = a->o.shape[1] / a->heads, most = longest(&a->seqs);
    mr_err err = cpu_own(cpu_of(exec), 2 * (width + BLOCK) * most);

    if (err != MR_OK) {
        return err;
    }
    team_run(j.e->team, mri_seqs_count(&a->seqs) * a->heads, back_task, &j);
    return MR_OK;
}
