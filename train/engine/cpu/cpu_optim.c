/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_optim.c - clipping, AdamW and the moving average, over whole arenas.
 *
 * Both passes go through the tensors in pieces of one size, which are the
 * tasks; a sum of squares is the sum of its pieces' in their order.
 */
#include "cpu/cpu.h"

#include <math.h>
#include <string.h>

#define PIECE 32768

typedef struct piece {
    size_t tensor, first, count; /* first: element of the arena */
} piece;

static size_t
count_pieces(const mr_tensor *spans)
{
    const uint64_t *s = spans->data;
    size_t n = 0;

    for (size_t t = 0; t < spans->shape[0]; t++) {
        n += cpu_parts(s[2 * t + 1], PIECE);
    }
    return n;
}

/* The i-th piece of all. A few hundred tensors: a walk is nothing beside the
 * piece. */
static piece
piece_at(const mr_tensor *spans, size_t i)
{
    const uint64_t *s = spans->data;
    size_t t = 0, at;

    while (i >= cpu_parts(s[2 * t + 1], PIECE)) {
        i -= cpu_parts(s[2 * t + 1], PIECE);
        t++;
    }
    at = i * PIECE;
    return (piece){t, s[2 * t] + at,
                   s[2 * t + 1] - at < PIECE ? s[2 * t + 1] - at : PIECE};
}

/* -------------------------------------------------------- sums of squares */

typedef struct sumsq_job {
    const cpu_exec *e;
    const mri_sumsq_args *a;
    double *parts; /* [pieces] */
} sumsq_job;

static void
sumsq_task(void *arg, size_t task, unsigned worker)
{
    const sumsq_job *j = arg;
    piece p = piece_at(&j->a->spans, task);

    (void)worker;
    j->parts[task] = j->e->k.arena.sumsq(cpu_f32(&j->a->x) + p.first, p.count);
}

mr_err
cpu_sumsq(mri_exec *exec, const mri_sumsq_args *a)
{
    cpu_exec *e = cpu_of(exec);
    size_t pieces = count_pieces(&a->spans), at = 0;
    const uint64_t *span = a->spans.data;
    mr_err err = cpu_share(e, 0, 2 * pieces);
    sumsq_job j = {e, a, (double *)(void *)e->shared[0]};

    if (err != MR_OK) {
        return err;
    }
    team_run(e->team, pieces, sumsq_task, &j);
    for (size_t t = 0; t < a->spans.shape[0]; t++) {
        double sum = 0;

        for (size_t i = cpu_parts(span[2 * t + 1], PIECE); i > 0; i--) {
            sum += j.parts[at++];
        }
        cpu_f32(&a->y)[t] = (float)sum;
    }
    return MR_OK;
}

/* ----------------------------------------------------------------- AdamW */

typedef struct adamw_job {
    const cpu_exec *e;
    const mri_adamw_args *a;
} adamw_job;

static void
adamw_task(void *arg, size_t task, unsigned worker)
{
    const adamw_job *j = arg;
    const mri_adamw_args *a = j->a;
    piece p = piece_at(&a->spans, task);
    double norm = sqrt((double)cpu_f32(&a->sumsq)[p.tensor]);
    bool ema = mri_there(&a->ema);
    cpu_adamw k = {.p = cpu_f32(&a->p),
                   .m = cpu_f32(&a->m),
                   .v = cpu_f32(&a->v),
                   .ema = ema ? cpu_f32(&a->ema) : NULL,
                   .g = cpu_f32(&a->g),
                   .clip = 1,
                   .beta1 = (float)a->beta1,
                   .rest1 = (float)(1 - a->beta1),
                   .beta2 = (float)a->beta2,
                   .rest2 = (float)(1 - a->beta2),
                   .eps = (float)a->eps,
                   .keep = ema ? cpu_f32(&a->keep)[0] : 0,
                   .rest = ema ? cpu_f32(&a->keep)[1] : 0};

    (void)worker;
    if (a->clip > 0) {
        k.clip = (float)fmin(1, a->clip / (norm + 1e-6));
    }
    memcpy(k.rates, cpu_f32(&a->rates) + 4 * p.tensor, sizeof k.rates);
    j->e->k.arena.adamw(&k, p.first, p.count);
}

mr_err
cpu_adamw_step(mri_exec *exec, const mri_adamw_args *a)
{
    adamw_job j = {cpu_of(exec), a};

    team_run(j.e->team, count_pieces(&a->spans), adamw_task, &j);
    return MR_OK;
}
