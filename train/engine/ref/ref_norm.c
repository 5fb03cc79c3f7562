/* SPDX-License-Identifier: Apache-2.0 */
/* ref_norm.c - layer norm with its residual sum, rows of length one, sums. */
#include "ref/ref.h"

/* The drop-path factor of the sequence that row r lies in. */
static double
drop_of(const mr_tensor *drop, const mri_seqs *seqs, uint64_t r)
{
    uint64_t first = 0;

    if (!mri_there(drop)) {
        return 1;
    }
    for (uint32_t g = 0; g < seqs->groups; g++) {
        uint64_t rows = (uint64_t)seqs->count[g] * seqs->tokens[g];

        if (r < rows) {
            first += r / seqs->tokens[g];
            break;
        }
        r -= rows;
        first += seqs->count[g];
    }
    return ref_get(drop, first);
}

static void
norm_row(const mri_norm_args *a, uint64_t r, uint64_t d)
{
    const mr_tensor *sum = mri_there(&a->z) ? &a->sum : &a->x;
    double mean = 0, var = 0, rstd;

    for (uint64_t i = r * d; mri_there(&a->z) && i < r * d + d; i++) {
        ref_set(&a->sum, i,
                ref_get(&a->x, i) +
                    drop_of(&a->drop, &a->seqs, r) * ref_get(&a->z, i));
    }
    for (uint64_t i = r * d; i < r * d + d; i++) {
        mean += ref_get(sum, i) / (double)d;
    }
    for (uint64_t i = r * d; i < r * d + d; i++) {
        var += (ref_get(sum, i) - mean) * (ref_get(sum, i) - mean) / (double)d;
    }
    rstd = 1.0 / sqrt(var + a->eps);
    for (uint64_t j = 0; j < d; j++) {
        ref_set(&a->y, r * d + j,
                (ref_get(sum, r * d + j) - mean) * rstd *
                        ref_get(&a->gamma, j) +
                    ref_get(&a->beta, j));
    }
    ref_set(&a->mean, r, mean);
    ref_set(&a->rstd, r, rstd);
}

mr_err
mri_ref_norm(mri_exec *exec, const mri_norm_args *a)
{
    (void)exec;
    for (uint64_t r = 0; r < a->x.shape[0]; r++) {
        norm_row(a, r, a->x.shape[1]);
    }
    return MR_OK;
}

/* The normalised element, from what the forward pass kept. */
static double
hat(const mri_norm_back_args *a, uint64_t r, uint64_t j, uint64_t d)
{
    return (ref_get(&a->sum, r * d + j) - ref_get(&a->mean, r)) *
           ref_get(&a->rstd, r);
}

/*
 * y = hat gamma + beta with hat = (x - mean(x)) rstd(x): for e = dy gamma,
 * dx = rstd (e - mean(e) - hat mean(e hat)).
 */
static void
norm_row_back(const mri_norm_back_args *a, uint64_t r, uint64_t d)
{
    double mean_e = 0, mean_eh = 0;

    for (uint64_t j = 0; j < d; j++) {
        double e = ref_get(&a->dy, r * d + j) * ref_get(&a->gamma, j);

        mean_e += e / (double)d;
        mean_eh += e * hat(a, r, j, d) / (double)d;
    }
    for (uint64_t j = 0; j < d; j++) {
        uint64_t i = r * d + j;
        double e = ref_get(&a->dy, i) * ref_get(&a->gamma, j);
        double dx =
            ref_get(&a->rstd, r) * (e - mean_e - hat(a, r, j, d) * mean_eh);

        if (mri_there(&a->dsum)) {
            dx += ref_get(&a->dsum, i);
        }
        ref_set(&a->dx, i, dx);
        if (mri_there(&a->dz)) {
            ref_set(&a->dz, i, dx * drop_of(&a->drop, &a->seqs, r));
        }
    }
}

mr_err
mri_ref_norm_back(mri_exec *exec, const mri_norm_back_args *a)
{
    uint64_t rows = a->dy.shape[0], d = a->dy.shape[1];

    (void)exec;
    for (uint64_t r = 0; r < rows; r++) {
        norm_row_back(a, r, d);
    }
    for (uint64_t j = 0; mri_there(&a->dgamma) && j < d; j++) {
        double gamma = 0, beta = 0;

        for (uint64_t r = 0; r < rows; r++) {
            gamma += ref_get(&a->dy, r * d + j) * hat(a, r, j, d);
            beta += ref_get(&a->dy, r * d + j);
        }
        ref_give(&a->dgamma, j, gamma, a->add);
        ref_give(&a->dbeta, j, beta, a->add);
    }
    return MR_OK;
}

mr_err
mri_ref_l2norm(mri_exec *exec, const mri_l2norm_args *a)
{
    uint64_t d = a->x.shape[1];

    (void)exec;
    for (uint64_t r = 0; r < a->x.shape[0]; r++) {
        double sum = 0, inv;

        for (uint64_t i = r * d; i < r * d + d; i++) {
            sum += ref_get(&a->x, i) * ref_get(&a->x, i);
        }
        inv = 1.0 / fmax(sqrt(sum), 1e-12);
        ref_set(&a->inv, r, inv);
        for (uint64_t i = r * d; i < r * d + d; i++) {
            ref_set(&a->y, i, ref_get(&a->x, i) * inv);
        }
    }
    return MR_OK;
}

/* dx = inv (dy - y (dy . y)) */
mr_err
mri_ref_l2norm_back(mri_exec *exec, const mri_l2norm_back_args *a)
{
    uint64_t d = a->dy.shape[1];

    (void)exec;
    for (uint64_t r = 0; r < a->dy.shape[0]; r++) {
        double along = 0;

        for (uint64_t i = r * d; i < r * d + d; i++) {
            along += ref_get(&a->dy, i) * ref_get(&a->y, i);
        }
        for (uint64_t i = r * d; i < r * d + d; i++) {
            ref_set(&a->dx, i,
                    ref_get(&a->inv, r) *
                        (ref_get(&a->dy, i) - ref_get(&a->y, i) * along));
        }
    }
    return MR_OK;
}

mr_err
mri_ref_add(mri_exec *exec, const mri_add_args *a)
{
    (void)exec;
    for (uint64_t i = 0; i < mr_tensor_len(&a->y); i++) {
        ref_set(&a->y, i, ref_get(&a->a, i) + ref_get(&a->b, i));
    }
    return MR_OK;
}
