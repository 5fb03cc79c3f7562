/* SPDX-License-Identifier: Apache-2.0 */
/* cpu_norm.c - layer norm and other work on rows. */
#include "cpu/cpu.h"

#include <math.h>
#include <string.h>

#define ROWS 32      /* in one task */
#define COLUMNS 128  /* of the sums over partial sums */
#define STRIDE 16384 /* elements of a plain sum in one task */

/* The drop-path factor of row r's sequence. Rows of a task lie side by side,
 * so the sequence is looked up once and then followed. */
typedef struct drop_at {
    const float *drop; /* NULL: there is none */
    const mri_seqs *seqs;
    uint32_t group, left; /* rows left in this sequence */
    uint64_t sequence;
    uint32_t in_group;
} drop_at;

static drop_at
drop_begin(const mr_tensor *drop, const mri_seqs *seqs, uint64_t row)
{
    drop_at d = {.seqs = seqs};
    uint32_t g = 0;

    if (!mri_there(drop)) {
        return d;
    }
    while (row >= (uint64_t)seqs->count[g] * seqs->tokens[g]) {
        row -= (uint64_t)seqs->count[g] * seqs->tokens[g];
        d.sequence += seqs->count[g];
        g++;
    }
    d.drop = cpu_f32(drop);
    d.group = g;
    d.in_group = (uint32_t)(row / seqs->tokens[g]);
    d.sequence += d.in_group;
    d.left = seqs->tokens[g] - (uint32_t)(row % seqs->tokens[g]);
    return d;
}

static float
drop_next(drop_at *d)
{
    float factor;

    if (d->drop == NULL) {
        return 1;
    }
    factor = d->drop[d->sequence];
    if (--d->left == 0) {
        d->sequence++;
        if (++d->in_group == d->seqs->count[d->group]) {
            d->group++;
            d->in_group = 0;
        }
        d->left = d->group < d->seqs->groups ? d->seqs->tokens[d->group] : 1;
    }
    return factor;
}

/* ------------------------------------------------------------- layer norm */

typedef struct norm_job {
    const cpu_exec *e;
    const mri_norm_args *a;
} norm_job;

static void
norm_task(void *arg, size_t task, unsigned worker)
{
    const norm_job *j = arg;
    const mri_norm_args *a = j->a;
    size_t rows = a->x.shape[0], d = a->x.shape[1], r = task * ROWS;
    size_t end = rows - r < ROWS ? rows : r + ROWS;
    drop_at drop = drop_begin(&a->drop, &a->seqs, r);

    (void)worker;
    for (; r < end; r++) {
        cpu_norm_row row = {
            .x = cpu_f32(&a->x) + r * d,
            .z = mri_there(&a->z) ? cpu_f32(&a->z) + r * d : NULL,
            .drop = drop_next(&drop),
            .sum = mri_there(&a->z) ? cpu_f32(&a->sum) + r * d : NULL,
            .gamma = cpu_f32(&a->gamma),
            .beta = cpu_f32(&a->beta),
            .y = cpu_f32(&a->y) + r * d,
            .eps = (float)a->eps};

        j->e->k.norm.row(&row, d);
        cpu_f32(&a->mean)[r] = row.mean;
        cpu_f32(&a->rstd)[r] = row.rstd;
    }
}

mr_err
cpu_norm(mri_exec *exec, const mri_norm_args *a)
{
    norm_job j = {cpu_of(exec), a};

    team_run(j.e->team, cpu_parts(a->x.shape[0], ROWS), norm_task, &j);
    return MR_OK;
}

/* Each task keeps its rows' share of dgamma and dbeta; they are added up
 * afterwards, in the order of the tasks. */
typedef struct norm_back_job {
    cpu_exec *e;
    const mri_norm_back_args *a;
    size_t tasks;
} norm_back_job;

static float *
share_of(const norm_back_job *j, size_t task)
{
    return mri_there(&j->a->dgamma)
               ? j->e->shared[0] + task * 2 * j->a->dy.shape[1]
               : NULL;
}

static void
norm_back_task(void *arg, size_t task, unsigned worker)
{
    const norm_back_job *j = arg;
    const mri_norm_back_args *a = j->a;
    size_t rows = a->dy.shape[0], d = a->dy.shape[1], r = task * ROWS;
    size_t end = rows - r < ROWS ? rows : r + ROWS;
    drop_at drop = drop_begin(&a->drop, &a->seqs, r);
    float *share = share_of(j, task);

    (void)worker;
    if (share != NULL) {
        memset(share, 0, 2 * d * sizeof *share);
    }
    for (; r < end; r++) {
        cpu_norm_row_back row = {
            .dy = cpu_f32(&a->dy) + r * d,
            .dsum = mri_there(&a->dsum) ? cpu_f32(&a->dsum) + r * d : NULL,
            .sum = cpu_f32(&a->sum) + r * d,
            .mean = cpu_f32(&a->mean)[r],
            .rstd = cpu_f32(&a->rstd)[r],
            .drop = drop_next(&drop),
            .gamma = cpu_f32(&a->gamma),
            .dx = cpu_f32(&a->dx) + r * d,
            .dz = mri_there(&a->dz) ? cpu_f32(&a->dz) + r * d : NULL,
            .dgamma = share,
            .dbeta = share != NULL ? share + d : NULL};

        j->e->k.norm.row_back(&row, d);
    }
}

/* Columns of dgamma and dbeta, which lie one after the other in a share. */
static void
norm_sum_task(void *arg, size_t task, unsigned worker)
{
    const norm_back_job *j = arg;
    size_t d = j->a->dy.shape[1], first = task * COLUMNS;
    size_t end = 2 * d - first < COLUMNS ? 2 * d : first + COLUMNS;

    (void)worker;
    for (size_t i = first; i < end; i++) {
        float *to = i < d ? cpu_f32(&j->a->dgamma) + i
                          : cpu_f32(&j->a->dbeta) + (i - d);
        float sum = j->a->add ? *to : 0;

        for (size_t t = 0; t < j->tasks; t++) {
            sum += share_of(j, t)[i];
        }
        *to = sum;
    }
}

mr_err
cpu_norm_back(mri_exec *exec, const mri_norm_back_args *a)
{
    size_t d = a->dy.shape[1];
    norm_back_job j = {cpu_of(exec), a, cpu_parts(a->dy.shape[0], ROWS)};
    mr_err err = cpu_share(j.e, 0, j.tasks * 2 * d);

    if (err != MR_OK) {
        return err;
    }
    team_run(j.e->team, j.tasks, norm_back_task, &j);
    if (mri_there(&a->dgamma)) {
        team_run(j.e->team, cpu_parts(2 * d, COLUMNS), norm_sum_task, &j);
    }
    return MR_OK;
}

/* ----------------------------------------------------- rows of length one */

/* So few rows, and short ones, that one thread is done before two begin. */
mr_err
cpu_l2norm(mri_exec *exec, const mri_l2norm_args *a)
{
    const cpu_kernels *k = &cpu_of(exec)->k;
    size_t d = a->x.shape[1];

    for (size_t r = 0; r < a->x.shape[0]; r++) {
        const float *x = cpu_f32(&a->x) + r * d;
        float length = sqrtf(k->gemm.dot(x, x, d));
        float inv = 1.0f / (length > 1e-12f ? length : 1e-12f);

        cpu_f32(&a->inv)[r] = inv;
        k->norm.scale(cpu_f32(&a->y) + r * d, x, inv, d);
    }
    return MR_OK;
}

mr_err
cpu_l2norm_back(mri_exec *exec, const mri_l2norm_back_args *a)
{
    const cpu_kernels *k = &cpu_of(exec)->k;
    size_t d = a->dy.shape[1];

    for (size_t r = 0; r < a->dy.shape[0]; r++) {
        const float *dy = cpu_f32(&a->dy) + r * d;
        const float *y = cpu_f32(&a->y) + r * d;
        float inv = cpu_f32(&a->inv)[r], along = k->gemm.dot(dy, y, d);
        float *dx = cpu_f32(&a->dx) + r * d;

        k->norm.scale(dx, dy, inv, d);
        k->norm.axpy(dx, y, -inv * along, d);
    }
    return MR_OK;
}

/* ------------------------------------------------------------ plain sums */

typedef struct add_job {
    const cpu_exec *e;
    const mri_add_args *a;
} add_job;

static void
add_task(void *arg, size_t task, unsigned worker)
{
    const add_job *j = arg;
    size_t len = mr_tensor_len(&j->a->y), first = task * STRIDE;
    size_t count = len - first < STRIDE ? len - first : STRIDE;

    (void)worker;
    j->e->k.norm.add(cpu_f32(&j->a->y) + first, cpu_f32(&j->a->a) + first,
                     cpu_f32(&j->a->b) + first, count);
}

mr_err
cpu_add(mri_exec *exec, const mri_add_args *a)
{
    add_job j = {cpu_of(exec), a};

    team_run(j.e->team, cpu_parts(mr_tensor_len(&a->y), STRIDE), add_task, &j);
    return MR_OK;
}
