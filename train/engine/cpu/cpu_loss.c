/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_loss.c - DINO's loss and center.
 *
 * First the log-sum-exp of every row; then the columns in chunks, in which
 * the teacher's probabilities are made once for all pairs that they enter.
 */
#include "cpu/cpu.h"

#include <string.h>

#define CHUNK 2048 /* columns in one task: a few rows of it fit the cache */

/* Both passes share the shape of the problem. */
typedef struct loss_job {
    const cpu_exec *e;
    const float *student, *teacher, *center;
    float heat, student_heat; /* 1 / temperature */
    const float *student_lse, *teacher_lse;
    size_t batch, local, k;
    double *parts; /* [batch, chunks] */
    float *teacher_sum, *dstudent;
    float scale;
} loss_job;

static size_t
student_row(const loss_job *j, size_t b, size_t v)
{
    return v < 2 ? b * 2 + v : j->batch * 2 + b * j->local + v - 2;
}

/* --------------------------------------------------------- log-sum-exp */

typedef struct lse_job {
    const loss_job *j;
    float *student_lse, *teacher_lse;
} lse_job;

static void
lse_task(void *arg, size_t task, unsigned worker)
{
    const lse_job *l = arg;
    const loss_job *j = l->j;
    size_t rows = (2 + j->local) * j->batch, t = task - rows;

    (void)worker;
    if (task < rows) {
        l->student_lse[task] = j->e->k.exp.log_sum_exp(
            j->student + task * j->k, NULL, j->student_heat, j->k);
    } else {
        l->teacher_lse[t] = j->e->k.exp.log_sum_exp(j->teacher + t * j->k,
                                                    j->center, j->heat, j->k);
    }
}

/* --------------------------------------------------------------- forward */

/* Columns of a task. */
typedef struct chunk {
    size_t first, count;
} chunk;

static chunk
chunk_at(const loss_job *j, size_t task)
{
    size_t first = task * CHUNK;

    return (chunk){first, j->k - first < CHUNK ? j->k - first : CHUNK};
}

/* The probabilities of teacher view i of sample b, in these columns, added
 * to what is in `to`. */
static void
add_teacher(const loss_job *j, size_t b, size_t i, chunk c, float *to)
{
    size_t row = b * 2 + i;

    j->e->k.exp.add_exp(to, j->teacher + row * j->k + c.first,
                        j->center + c.first, j->heat, j->teacher_lse[row],
                        c.count);
}

static double
sample_loss(const loss_job *j, size_t b, chunk c, float *t)
{
    double sum = 0;

    for (size_t i = 0; i < 2; i++) {
        memset(t, 0, c.count * sizeof *t);
        add_teacher(j, b, i, c, t);
        for (size_t v = 0; v < 2 + j->local; v++) {
            size_t s = student_row(j, b, v);

            if (v != i) {
                sum += j->e->k.exp.cross(t, j->student + s * j->k + c.first,
                                         j->student_heat, j->student_lse[s],
                                         c.count);
            }
        }
    }
    return sum;
}

static void
loss_task(void *arg, size_t task, unsigned worker)
{
    const loss_job *j = arg;
    chunk c = chunk_at(j, task);
    float *sum = j->teacher_sum + c.first;

    memcpy(sum, j->teacher + c.first, c.count * sizeof *sum);
    for (size_t row = 1; row < 2 * j->batch; row++) {
        j->e->k.norm.add(sum, sum, j->teacher + row * j->k + c.first, c.count);
    }
    for (size_t b = 0; b < j->batch; b++) {
        j->parts[b * cpu_parts(j->k, CHUNK) + task] =
            sample_loss(j, b, c, j->e->own[worker]);
    }
}

mr_err
cpu_dino_loss(mri_exec *exec, const mri_dino_loss_args *a)
{
    cpu_exec *e = cpu_of(exec);
    size_t k = a->student.shape[1], chunks = cpu_parts(k, CHUNK);
    loss_job j = {.e = e,
                  .student = cpu_f32(&a->student),
                  .teacher = cpu_f32(&a->teacher),
                  .center = cpu_f32(&a->center),
                  .heat = 1.0f / cpu_f32(&a->temperature)[0],
                  .student_heat = (float)(1.0 / a->student_temperature),
                  .student_lse = cpu_f32(&a->student_lse),
                  .teacher_lse = cpu_f32(&a->teacher_lse),
                  .batch = a->batch,
                  .local = a->local,
                  .k = k,
                  .teacher_sum = cpu_f32(&a->teacher_sum)};
    lse_job l = {&j, cpu_f32(&a->student_lse), cpu_f32(&a->teacher_lse)};
    size_t rows = (4 + j.local) * j.batch, pairs = 2 * (2 + j.local) - 2;
    mr_err err = cpu_own(e, CHUNK);
    double sum = 0;

    if (err == MR_OK) {
        err = cpu_share(e, 0, 2 * j.batch * chunks);
    }
    if (err != MR_OK) {
        return err;
    }
    j.parts = (double *)(void *)e->shared[0];
    team_run(e->team, rows, lse_task, &l);
    team_run(e->team, chunks, loss_task, &j);
    for (size_t i = 0; i < j.batch * chunks; i++) {
        sum += j.parts[i];
    }
    cpu_f32(&a->loss)[0] = (float)(sum / (double)(pairs * a->total));
    return MR_OK;
}

/* --------------------------------------------------------------- reverse */

/*
 * d student = (pairs of this view) p - sum of the teachers it is paired with,
 * times the scale: a global view has one pair, a local one two.
 */
static void
sample_back(const loss_job *j, size_t b, chunk c, float *own)
{
    float *t[2] = {own, own + CHUNK}, *both = own + 2 * CHUNK;

    memset(own, 0, 3 * CHUNK * sizeof *own);
    add_teacher(j, b, 0, c, t[0]);
    add_teacher(j, b, 1, c, t[1]);
    j->e->k.norm.add(both, t[0], t[1], c.count);
    for (size_t v = 0; v < 2 + j->local; v++) {
        size_t s = student_row(j, b, v);
        float *d = j->dstudent + s * j->k + c.first;
        const float *target = v < 2 ? t[1 - v] : both;

        memset(d, 0, c.count * sizeof *d);
        j->e->k.exp.add_exp(d, j->student + s * j->k + c.first, NULL,
                            j->student_heat, j->student_lse[s], c.count);
        j->e->k.norm.scale(d, d, v < 2 ? j->scale : 2 * j->scale, c.count);
        j->e->k.norm.axpy(d, target, -j->scale, c.count);
    }
}

static void
back_task(void *arg, size_t task, unsigned worker)
{
    const loss_job *j = arg;
    chunk c = chunk_at(j, task);

    for (size_t b = 0; b < j->batch; b++) {
        sample_back(j, b, c, j->e->own[worker]);
    }
}

mr_err
cpu_dino_loss_back(mri_exec *exec, const mri_dino_loss_back_args *a)
{
    cpu_exec *e = cpu_of(exec);
    double pairs = 2.0 * (2 + a->local) - 2;
    loss_job j = {.e = e,
                  .student = cpu_f32(&a->student),
                  .teacher = cpu_f32(&a->teacher),
                  .center = cpu_f32(&a->center),
                  .heat = 1.0f / cpu_f32(&a->temperature)[0],
                  .student_heat = (float)(1.0 / a->student_temperature),
                  .student_lse = cpu_f32(&a->student_lse),
                  .teacher_lse = cpu_f32(&a->teacher_lse),
                  .batch = a->batch,
                  .local = a->local,
                  .k = a->student.shape[1],
                  .dstudent = cpu_f32(&a->dstudent)};
    mr_err err = cpu_own(e, 3 * CHUNK);

    j.scale = (float)(1.0 / (a->student_temperature * pairs * a->total));
    if (err == MR_OK) {
        team_run(e->team, cpu_parts(j.k, CHUNK), back_task, &j);
    }
    return err;
}

mr_err
cpu_center(mri_exec *exec, const mri_center_args *a)
{
    const cpu_kernels *k = &cpu_of(exec)->k;
    size_t len = mr_tensor_len(&a->center);
    float *center = cpu_f32(&a->center);

    k->norm.scale(center, center, (float)a->keep, len);
    k->norm.axpy(center, cpu_f32(&a->sum),
                 (float)((1.0 - a->keep) / (double)a->rows), len);
    return MR_OK;
}
