/* SPDX-License-Identifier: Apache-2.0 */
/* ref_loss.c - DINO's loss and its center. */
#include "ref/ref.h"

/* Teacher view i and student view v of sample b: their rows. */
static uint64_t
teacher_row(uint32_t b, uint32_t i)
{
    return (uint64_t)b * 2 + i;
}

static uint64_t
student_row(uint32_t batch, uint32_t local, uint32_t b, uint32_t v)
{
    return v < 2 ? (uint64_t)b * 2 + v
                 : (uint64_t)batch * 2 + (uint64_t)b * local + v - 2;
}

/* Log of the sum of exp((row - center) / temperature); center may be none. */
static double
log_sum_exp(const mr_tensor *x, uint64_t row, const mr_tensor *center,
            double temperature)
{
    uint64_t k = x->shape[1];
    double top = -INFINITY, sum = 0;

    for (uint64_t pass = 0; pass < 2; pass++) {
        for (uint64_t j = 0; j < k; j++) {
            double v = ref_get(x, row * k + j);

            v = (center != NULL ? v - ref_get(center, j) : v) / temperature;
            if (pass == 0) {
                top = fmax(top, v);
            } else {
                sum += exp(v - top);
            }
        }
    }
    return top + log(sum);
}

/* - sum over k of t log s, for one pair of rows. */
static double
cross_entropy(const mri_dino_loss_args *a, uint64_t t, uint64_t s)
{
    uint64_t k = a->teacher.shape[1];
    double heat = ref_get(&a->temperature, 0), sum = 0;
    double t_lse = log_sum_exp(&a->teacher, t, &a->center, heat);
    double s_lse = log_sum_exp(&a->student, s, NULL, a->student_temperature);

    ref_set(&a->teacher_lse, t, t_lse);
    ref_set(&a->student_lse, s, s_lse);
    for (uint64_t j = 0; j < k; j++) {
        double p = exp(
            (ref_get(&a->teacher, t * k + j) - ref_get(&a->center, j)) / heat -
            t_lse);

        sum += p * (s_lse -
                    ref_get(&a->student, s * k + j) / a->student_temperature);
    }
    return sum;
}

mr_err
mri_ref_dino_loss(mri_exec *exec, const mri_dino_loss_args *a)
{
    uint64_t k = a->teacher.shape[1];
    uint32_t views = 2 + a->local, pairs = 2 * views - 2;
    double loss = 0;

    (void)exec;
    for (uint32_t b = 0; b < a->batch; b++) {
        for (uint32_t i = 0; i < 2; i++) {
            for (uint32_t v = 0; v < views; v++) {
                if (v != i) {
                    loss +=
                        cross_entropy(a, teacher_row(b, i),
                                      student_row(a->batch, a->local, b, v));
                }
            }
        }
    }
    ref_set(&a->loss, 0, loss / pairs / a->total);
    for (uint64_t j = 0; j < k; j++) {
        double sum = 0;

        for (uint64_t t = 0; t < 2 * (uint64_t)a->batch; t++) {
            sum += ref_get(&a->teacher, t * k + j);
        }
        ref_set(&a->teacher_sum, j, sum);
    }
    return MR_OK;
}

/* The sum over the teacher's views i != v of softmax(s) - t, element j. */
static double
slope(const mri_dino_loss_back_args *a, uint32_t b, uint32_t v, uint64_t j)
{
    uint64_t k = a->teacher.shape[1];
    uint64_t s = student_row(a->batch, a->local, b, v);
    double p = exp(ref_get(&a->student, s * k + j) / a->student_temperature -
                   ref_get(&a->student_lse, s));
    double sum = 0;

    for (uint32_t i = 0; i < 2; i++) {
        uint64_t t = teacher_row(b, i);

        if (i != v) {
            sum +=
                p -
                exp((ref_get(&a->teacher, t * k + j) - ref_get(&a->center, j)) /
                        ref_get(&a->temperature, 0) -
                    ref_get(&a->teacher_lse, t));
        }
    }
    return sum;
}

mr_err
mri_ref_dino_loss_back(mri_exec *exec, const mri_dino_loss_back_args *a)
{
    uint64_t k = a->teacher.shape[1];
    uint32_t views = 2 + a->local, pairs = 2 * views - 2;

    (void)exec;
    for (uint32_t b = 0; b < a->batch; b++) {
        for (uint32_t v = 0; v < views; v++) {
            uint64_t s = student_row(a->batch, a->local, b, v);

            for (uint64_t j = 0; j < k; j++) {
                ref_set(&a->dstudent, s * k + j,
                        slope(a, b, v, j) / a->student_temperature / pairs /
                            a->total);
            }
        }
    }
    return MR_OK;
}

mr_err
mri_ref_center(mri_exec *exec, const mri_center_args *a)
{
    (void)exec;
    for (uint64_t j = 0; j < mr_tensor_len(&a->center); j++) {
        ref_set(&a->center, j,
                a->keep * ref_get(&a->center, j) +
                    (1.0 - a->keep) * ref_get(&a->sum, j) / (double)a->rows);
    }
    return MR_OK;
}
