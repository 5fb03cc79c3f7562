/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_token.c - from pictures to sequences of tokens, and what picks them. */
#include "cpu/cpu.h"

#include <string.h>

#define ROWS 8 /* of a mix, in one task */
#define COLUMNS 64

typedef struct token_job {
    const cpu_exec *e;
    const void *a;
} token_job;

/* -------------------------------------------------------------- patches */

/* A line of a picture is a line of each of its patches in turn. */
static void
patchify_task(void *arg, size_t task, unsigned worker)
{
    const token_job *j = arg;
    const mri_patchify_args *a = j->a;
    mri_seq seq = mri_seqs_at(&a->seqs, task);
    const mr_tensor *image = &a->image[seq.group];
    size_t c = image->shape[1], h = image->shape[2], w = image->shape[3];
    size_t p = a->patch, wide = w / p, row = c * p * p;
    const float *from = cpu_f32(image) + seq.in_group * c * h * w;
    float *to = cpu_f32(&a->y) + seq.row * row;

    (void)worker;
    for (size_t line = 0; line < c * h; line++) {
        size_t ch = line / h, y = line % h;
        float *at = to + y / p * wide * row + (ch * p + y % p) * p;

        for (size_t x = 0; x < wide; x++) {
            memcpy(at + x * row, from + line * w + x * p, p * sizeof *at);
        }
    }
}

mr_err
cpu_patchify(mri_exec *exec, const mri_patchify_args *a)
{
    token_job j = {cpu_of(exec), a};

    team_run(j.e->team, mri_seqs_count(&a->seqs), patchify_task, &j);
    return MR_OK;
}

/* --------------------------------------------------------------- tokens */

/* One sequence. y has one row more than x, so s rows lie before it. */
static void
tokens_task(void *arg, size_t task, unsigned worker)
{
    const token_job *j = arg;
    const mri_tokens_args *a = j->a;
    mri_seq seq = mri_seqs_at(&a->seqs, task);
    size_t d = a->y.shape[1], patches = (size_t)(seq.tokens - 1) * d;
    const float *pos = cpu_f32(&a->pos[seq.group]);
    const float *x = cpu_f32(&a->x) + (seq.row - task) * d;
    float *y = cpu_f32(&a->y) + seq.row * d;

    (void)worker;
    j->e->k.norm.add(y, cpu_f32(&a->cls), pos, d);
    j->e->k.norm.add(y + d, x, pos + d, patches);
}

mr_err
cpu_tokens(mri_exec *exec, const mri_tokens_args *a)
{
    token_job j = {cpu_of(exec), a};

    team_run(j.e->team, mri_seqs_count(&a->seqs), tokens_task, &j);
    return MR_OK;
}

static void
tokens_dx_task(void *arg, size_t task, unsigned worker)
{
    const token_job *j = arg;
    const mri_tokens_back_args *a = j->a;
    mri_seq seq = mri_seqs_at(&a->seqs, task);
    size_t d = a->dy.shape[1];

    (void)worker;
    memcpy(cpu_f32(&a->dx) + (seq.row - task) * d,
           cpu_f32(&a->dy) + (seq.row + 1) * d,
           (seq.tokens - 1) * d * sizeof(float));
}

/* Token t of group g, summed over the group's sequences in their order. */
static void
sum_token(const token_job *j, uint32_t g, size_t t, float *to, bool add)
{
    const mri_tokens_back_args *a = j->a;
    size_t d = a->dy.shape[1];
    uint64_t row = t;

    for (uint32_t i = 0; i < g; i++) {
        row += (uint64_t)a->seqs.count[i] * a->seqs.tokens[i];
    }
    for (uint32_t s = 0; s < a->seqs.count[g]; s++) {
        const float *dy = cpu_f32(&a->dy) + row * d;

        if (s == 0 && !add) {
            memcpy(to, dy, d * sizeof *to);
        } else {
            j->e->k.norm.add(to, to, dy, d);
        }
        row += a->seqs.tokens[g];
    }
}

/* A task is one token of one group; the class tokens come last. */
static void
tokens_sum_task(void *arg, size_t task, unsigned worker)
{
    const token_job *j = arg;
    const mri_tokens_back_args *a = j->a;
    size_t d = a->dy.shape[1], t = task;
    uint32_t g = 0;

    (void)worker;
    while (g < a->seqs.groups && t >= a->seqs.tokens[g]) {
        t -= a->seqs.tokens[g++];
    }
    if (g < a->seqs.groups) {
        if (mri_there(&a->dpos[g])) {
            sum_token(j, g, t, cpu_f32(&a->dpos[g]) + t * d, a->add_pos[g]);
        }
        return;
    }
    for (g = 0; mri_there(&a->dcls) && g < a->seqs.groups; g++) {
        sum_token(j, g, 0, cpu_f32(&a->dcls), a->add || g != 0);
    }
}

mr_err
cpu_tokens_back(mri_exec *exec, const mri_tokens_back_args *a)
{
    token_job j = {cpu_of(exec), a};
    size_t sums = 1;

    for (uint32_t g = 0; g < a->seqs.groups; g++) {
        sums += a->seqs.tokens[g];
    }
    team_run(j.e->team, mri_seqs_count(&a->seqs), tokens_dx_task, &j);
    team_run(j.e->team, sums, tokens_sum_task, &j);
    return MR_OK;
}

/* ------------------------------------------------------------ positions */

static void
mix_task(void *arg, size_t task, unsigned worker)
{
    const token_job *j = arg;
    const mri_mix_args *a = j->a;
    size_t rows = a->y.shape[0], d = a->y.shape[1], inner = a->x.shape[0];
    size_t across = cpu_parts(d, COLUMNS);
    size_t r = task / across * ROWS, c = task % across * COLUMNS;
    size_t row = a->transposed ? 1 : inner, column = a->transposed ? rows : 1;
    cpu_product p = {.m = rows - r < ROWS ? rows - r : ROWS,
                     .n = d - c < COLUMNS ? d - c : COLUMNS,
                     .k = inner,
                     .a = cpu_f32(&a->m) + r * row,
                     .a_row = row,
                     .a_column = column,
                     .b = cpu_f32(&a->x) + c,
                     .b_row = d,
                     .c = cpu_f32(&a->y) + r * d + c,
                     .c_row = d,
                     .add = a->add};

    (void)worker;
    j->e->k.gemm.product(&p);
}

mr_err
cpu_mix(mri_exec *exec, const mri_mix_args *a)
{
    token_job j = {cpu_of(exec), a};
    size_t down = cpu_parts(a->y.shape[0], ROWS);

    team_run(j.e->team, down * cpu_parts(a->y.shape[1], COLUMNS), mix_task, &j);
    return MR_OK;
}

/* -------------------------------------------------------------- picking */

mr_err
cpu_pick(mri_exec *exec, const mri_pick_args *a)
{
    size_t d = a->x.shape[1];

    (void)exec;
    for (uint64_t s = 0; s < a->y.shape[0]; s++) {
        memcpy(cpu_f32(&a->y) + s * d,
               cpu_f32(&a->x) + mri_seqs_at(&a->seqs, s).row * d,
               d * sizeof(float));
    }
    return MR_OK;
}

static void
pick_back_task(void *arg, size_t task, unsigned worker)
{
    const token_job *j = arg;
    const mri_pick_back_args *a = j->a;
    mri_seq seq = mri_seqs_at(&a->seqs, task);
    size_t d = a->dx.shape[1];
    float *dx = cpu_f32(&a->dx) + seq.row * d;

    (void)worker;
    memcpy(dx, cpu_f32(&a->dy) + task * d, d * sizeof *dx);
    memset(dx + d, 0, (seq.tokens - 1) * d * sizeof *dx);
}

mr_err
cpu_pick_back(mri_exec *exec, const mri_pick_back_args *a)
{
    token_job j = {cpu_of(exec), a};

    team_run(j.e->team, mri_seqs_count(&a->seqs), pick_back_task, &j);
    return MR_OK;
}
