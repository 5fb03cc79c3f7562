/* SPDX-License-Identifier: Apache-2.0 */
/* ref_linear.c - linear layers as three loops. */
#include "ref/ref.h"

/* Row i of a times row j of b, both [., k]. */
static double
dot(const mr_tensor *a, uint64_t i, const mr_tensor *b, uint64_t j, uint64_t k)
{
    double sum = 0;

    for (uint64_t l = 0; l < k; l++) {
        sum += ref_get(a, i * k + l) * ref_get(b, j * k + l);
    }
    return sum;
}

mr_err
mri_ref_linear(mri_exec *exec, const mri_linear_args *a)
{
    uint64_t m = a->x.shape[0], k = a->x.shape[1], n = a->w.shape[0];

    (void)exec;
    for (uint64_t i = 0; i < m; i++) {
        for (uint64_t j = 0; j < n; j++) {
            double h = dot(&a->x, i, &a->w, j, k);

            if (mri_there(&a->b)) {
                h += ref_get(&a->b, j);
            }
            if (mri_there(&a->h)) {
                ref_set(&a->h, i * n + j, h);
            }
            ref_set(&a->y, i * n + j, a->act == MRI_ACT_GELU ? ref_gelu(h) : h);
        }
    }
    return MR_OK;
}

mr_err
mri_ref_linear_dx(mri_exec *exec, const mri_linear_dx_args *a)
{
    uint64_t m = a->dy.shape[0], n = a->dy.shape[1], k = a->w.shape[1];

    (void)exec;
    for (uint64_t i = 0; i < m; i++) {
        for (uint64_t l = 0; l < k; l++) {
            uint64_t at = i * k + l;
            double sum = 0;

            for (uint64_t j = 0; j < n; j++) {
                sum += ref_get(&a->dy, i * n + j) * ref_get(&a->w, j * k + l);
            }
            if (mri_there(&a->h)) {
                sum *= ref_gelu_slope(ref_get(&a->h, at));
                ref_set(&a->a, at, ref_gelu(ref_get(&a->h, at)));
            }
            ref_set(&a->dx, at, sum);
        }
    }
    return MR_OK;
}

mr_err
mri_ref_linear_dw(mri_exec *exec, const mri_linear_dw_args *a)
{
    uint64_t m = a->dy.shape[0], n = a->dy.shape[1], k = a->x.shape[1];

    (void)exec;
    for (uint64_t j = 0; j < n; j++) {
        double bias = 0;

        for (uint64_t l = 0; l < k; l++) {
            double sum = 0;

            for (uint64_t i = 0; i < m; i++) {
                sum += ref_get(&a->dy, i * n + j) * ref_get(&a->x, i * k + l);
            }
            ref_give(&a->dw, j * k + l, sum, a->add);
        }
        for (uint64_t i = 0; i < m; i++) {
            bias += ref_get(&a->dy, i * n + j);
        }
        if (mri_there(&a->db)) {
            ref_give(&a->db, j, bias, a->add);
        }
    }
    return MR_OK;
}

mr_err
mri_ref_wlinear(mri_exec *exec, const mri_wlinear_args *a)
{
    uint64_t m = a->x.shape[0], k = a->x.shape[1], n = a->v.shape[0];

    (void)exec;
    for (uint64_t j = 0; j < n; j++) {
        double inv = 1.0 / sqrt(dot(&a->v, j, &a->v, j, k));

        ref_set(&a->inv, j, inv);
        for (uint64_t i = 0; i < m; i++) {
            ref_set(&a->y, i * n + j,
                    dot(&a->x, i, &a->v, j, k) * inv * ref_get(&a->g, j));
        }
    }
    return MR_OK;
}

/*
 * With s = g inv the row is w = s v, so dx = dy w; and with dw = dy' x:
 * dg = inv (dw . v), dv = s (dw - v (dw . v) inv^2).
 */
static void
wlinear_row_back(const mri_wlinear_back_args *a, uint64_t j)
{
    uint64_t m = a->dy.shape[0], n = a->dy.shape[1], k = a->v.shape[1];
    double inv = ref_get(&a->inv, j), s = inv * ref_get(&a->g, j);
    double along = 0;

    for (uint64_t pass = 0; pass < 2; pass++) {
        for (uint64_t l = 0; l < k; l++) {
            double v = ref_get(&a->v, j * k + l), dw = 0;

            for (uint64_t i = 0; i < m; i++) {
                dw += ref_get(&a->dy, i * n + j) * ref_get(&a->x, i * k + l);
            }
            if (pass == 0) {
                along += dw * v;
            } else if (mri_there(&a->dv)) {
                ref_give(&a->dv, j * k + l, s * (dw - v * along * inv * inv),
                         a->add);
            }
        }
    }
    if (mri_there(&a->dg)) {
        ref_give(&a->dg, j, along * inv, a->add);
    }
}

mr_err
mri_ref_wlinear_back(mri_exec *exec, const mri_wlinear_back_args *a)
{
    uint64_t m = a->dy.shape[0], n = a->dy.shape[1], k = a->v.shape[1];

    (void)exec;
    for (uint64_t i = 0; mri_there(&a->dx) && i < m; i++) {
        for (uint64_t l = 0; l < k; l++) {
            double sum = 0;

            for (uint64_t j = 0; j < n; j++) {
                sum += ref_get(&a->dy, i * n + j) * ref_get(&a->inv, j) *
                       ref_get(&a->g, j) * ref_get(&a->v, j * k + l);
            }
            ref_set(&a->dx, i * k + l, sum);
        }
    }
    for (uint64_t j = 0; j < n; j++) {
        wlinear_row_back(a, j);
    }
    return MR_OK;
}
