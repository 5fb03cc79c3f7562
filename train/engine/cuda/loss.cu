/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loss.cu - DINO's loss and center.
 *
 * First the log-sum-exp of every row, a block each; then a thread a column,
 * which makes the teacher's probabilities once for all the pairs that they
 * enter. Bound by memory: each row is read three times forward, the rows of
 * one step fit the second cache.
 */
#include "kernel.h"

#include <math.h>
#include <string.h>

#define THREADS 256u
#define WARPS (THREADS / WARP)

typedef struct loss_job {
    const float *student, *teacher, *center, *temperature;
    float *student_lse, *teacher_lse;
    float *parts;       /* [batch, across]; forward */
    float *teacher_sum; /* forward */
    float *loss, *dstudent;
    uint64_t k, rows, across;
    uint32_t batch, local;
    float student_heat; /* 1 / temperature */
    double scale;       /* of the loss, or of its gradient */
} loss_job;

DEVICE uint64_t
student_row(const loss_job *a, uint64_t b, uint32_t v)
{
    return v < 2 ? b * 2 + v : (uint64_t)a->batch * 2 + b * a->local + v - 2;
}

/* ------------------------------------------------------------ log-sum-exp */

/* What enters the softmax; center may be NULL. */
DEVICE float
argument(const float *x, const float *center, float heat, uint64_t j)
{
    return (center != NULL ? x[j] - center[j] : x[j]) * heat;
}

/* A block a row: the student's, then the teacher's. */
KERNEL(lse_kernel, THREADS, loss_job)
{
    __shared__ float part[WARPS];

    for (uint64_t r = blockIdx.x; r < a.rows + 2 * (uint64_t)a.batch;
         r += gridDim.x) {
        bool student = r < a.rows;
        uint64_t t = student ? 0 : r - a.rows;
        const float *x = student ? a.student + r * a.k : a.teacher + t * a.k;
        const float *center = student ? NULL : a.center;
        float heat = student ? a.student_heat : 1.0f / a.temperature[0];
        float top = -INFINITY, sum = 0;

        for (uint64_t j = threadIdx.x; j < a.k; j += THREADS) {
            top = fmaxf(top, argument(x, center, heat, j));
        }
        top = block_max(top, part);
        for (uint64_t j = threadIdx.x; j < a.k; j += THREADS) {
            sum += expf(argument(x, center, heat, j) - top);
        }
        sum = block_sum(sum, part);
        if (threadIdx.x == 0) {
            float *to = student ? a.student_lse + r : a.teacher_lse + t;

            *to = top + logf(sum);
        }
    }
}

/* The probability of teacher view i of sample b for column j. */
DEVICE float
target(const loss_job *a, uint64_t b, uint32_t i, float heat, uint64_t j)
{
    uint64_t row = b * 2 + i;

    return expf(argument(a->teacher + row * a->k, a->center, heat, j) -
                a->teacher_lse[row]);
}

/* ---------------------------------------------------------------- forward */

/* The sum over the pairs of one sample of - t log s, for one column. */
DEVICE float
column_loss(const loss_job *a, uint64_t b, uint64_t j)
{
    float heat = 1.0f / a->temperature[0];
    float t0 = target(a, b, 0, heat, j), t1 = target(a, b, 1, heat, j);
    float sum = 0;

    for (uint32_t v = 0; v < 2 + a->local; v++) {
        uint64_t s = student_row(a, b, v);
        float minus_log =
            a->student_lse[s] - a->student[s * a->k + j] * a->student_heat;

        sum += (v == 0 ? t1 : v == 1 ? t0 : t0 + t1) * minus_log;
    }
    return sum;
}

/* A block a sample and THREADS columns. */
KERNEL(loss_kernel, THREADS, loss_job)
{
    __shared__ float part[WARPS];

    for (uint64_t t = blockIdx.x; t < a.batch * a.across; t += gridDim.x) {
        uint64_t j = t % a.across * THREADS + threadIdx.x;
        float sum =
            block_sum(j < a.k ? column_loss(&a, t / a.across, j) : 0, part);

        if (threadIdx.x == 0) {
            a.parts[t] = sum;
        }
    }
}

/* One block: the parts in a fixed order, in f64 for there may be many. */
KERNEL(loss_add, THREADS, loss_job)
{
    __shared__ double part[THREADS];
    double sum = 0;

    for (uint64_t i = threadIdx.x; i < a.batch * a.across; i += THREADS) {
        sum += (double)a.parts[i];
    }
    part[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned i = 1; i < THREADS; i++) {
            sum += part[i];
        }
        a.loss[0] = (float)(sum * a.scale);
    }
}

KERNEL(teacher_sum_kernel, THREADS, loss_job)
{
    for (uint64_t j = thread_first(); j < a.k; j += thread_step()) {
        float sum = 0;

        for (uint64_t t = 0; t < 2 * (uint64_t)a.batch; t++) {
            sum += a.teacher[t * a.k + j];
        }
        a.teacher_sum[j] = sum;
    }
}

mr_err
cuda_dino_loss(mri_exec *exec, const mri_dino_loss_args *a)
{
    cuda_exec *e = cuda_of(exec);
    double pairs = 2.0 * (2 + a->local) - 2;
    loss_job j;
    mr_err err;

    memset(&j, 0, sizeof j);
    j.student = cuda_f32(&a->student);
    j.teacher = cuda_f32(&a->teacher);
    j.center = cuda_f32(&a->center);
    j.temperature = cuda_f32(&a->temperature);
    j.student_lse = cuda_f32(&a->student_lse);
    j.teacher_lse = cuda_f32(&a->teacher_lse);
    j.teacher_sum = cuda_f32(&a->teacher_sum);
    j.loss = cuda_f32(&a->loss);
    j.k = a->student.shape[1];
    j.rows = a->student.shape[0];
    j.across = cuda_parts(j.k, THREADS);
    j.batch = a->batch;
    j.local = a->local;
    j.student_heat = (float)(1.0 / a->student_temperature);
    j.scale = 1.0 / (pairs * a->total);
    err = cuda_scratch(e, 0, j.batch * j.across * sizeof(float), &j.parts);
    if (err == MR_OK) {
        err = LAUNCH(e, lse_kernel,
                     cuda_grid(e, j.rows + 2 * (uint64_t)j.batch, 1), THREADS,
                     0, j);
    }
    if (err == MR_OK) {
        err = LAUNCH(e, loss_kernel, cuda_grid(e, j.batch * j.across, 1),
                     THREADS, 0, j);
    }
    if (err == MR_OK) {
        err = LAUNCH(e, loss_add, 1, THREADS, 0, j);
    }
    if (err == MR_OK) {
        err = LAUNCH(e, teacher_sum_kernel, cuda_grid(e, j.k, THREADS), THREADS,
                     0, j);
    }
    return err;
}

/* ---------------------------------------------------------------- reverse */

/* A global view has one pair, a local one two: d student = scale (pairs p -
 * the teachers it is paired with). */
KERNEL(loss_back_kernel, THREADS, loss_job)
{
    float heat = 1.0f / a.temperature[0], scale = (float)a.scale;

    for (uint64_t t = blockIdx.x; t < a.batch * a.across; t += gridDim.x) {
        uint64_t b = t / a.across;
        uint64_t j = t % a.across * THREADS + threadIdx.x;

        if (j < a.k) {
            float t0 = target(&a, b, 0, heat, j);
            float t1 = target(&a, b, 1, heat, j);

            for (uint32_t v = 0; v < 2 + a.local; v++) {
                uint64_t s = student_row(&a, b, v);
                float p = expf(a.student[s * a.k + j] * a.student_heat -
                               a.student_lse[s]);
                float d = v == 0   ? p - t1
                          : v == 1 ? p - t0
                                   : (p - t0) + (p - t1);

                a.dstudent[s * a.k + j] = scale * d;
            }
        }
    }
}

mr_err
cuda_dino_loss_back(mri_exec *exec, const mri_dino_loss_back_args *a)
{
    cuda_exec *e = cuda_of(exec);
    double pairs = 2.0 * (2 + a->local) - 2;
    loss_job j;

    memset(&j, 0, sizeof j);
    j.student = cuda_f32(&a->student);
    j.teacher = cuda_f32(&a->teacher);
    j.center = cuda_f32(&a->center);
    j.temperature = cuda_f32(&a->temperature);
    j.student_lse = cuda_f32(&a->student_lse);
    j.teacher_lse = cuda_f32(&a->teacher_lse);
    j.dstudent = cuda_f32(&a->dstudent);
    j.k = a->student.shape[1];
    j.across = cuda_parts(j.k, THREADS);
    j.batch = a->batch;
    j.local = a->local;
    j.student_heat = (float)(1.0 / a->student_temperature);
    j.scale = 1.0 / (a->student_temperature * pairs * a->total);
    return LAUNCH(e, loss_back_kernel, cuda_grid(e, j.batch * j.across, 1),
                  THREADS, 0, j);
}

/* ----------------------------------------------------------------- center */

typedef struct center_job {
    const float *sum;
    float *center;
    uint64_t len;
    float keep, share;
} center_job;

KERNEL(center_kernel, THREADS, center_job)
{
    for (uint64_t i = thread_first(); i < a.len; i += thread_step()) {
        a.center[i] = a.keep * a.center[i] + a.share * a.sum[i];
    }
}

mr_err
cuda_center(mri_exec *exec, const mri_center_args *a)
{
    cuda_exec *e = cuda_of(exec);
    center_job j = {cuda_f32(&a->sum), cuda_f32(&a->center),
                    cuda_len(&a->center), (float)a->keep,
                    (float)((1.0 - a->keep) / (double)a->rows)};

    return LAUNCH(e, center_kernel, cuda_grid(e, j.len, THREADS), THREADS, 0,
                  j);
}
