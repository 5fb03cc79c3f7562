/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nearest.h - the candidates of one row for being among its k nearest.
 *
 * A candidate comes with a screened product, which may be off by `bound`; it
 * is computed exactly only if it could still be among the k. The list is cut
 * when it is full, and then says which product a new one must have at least.
 */
#ifndef EVAL_NEAREST_H
#define EVAL_NEAREST_H

#include "kernels.h"

#include <mri/knn.h>

typedef struct candidate {
    double value; /* screened or exact */
    uint32_t index;
    bool exact;
} candidate;

/* What the lists of all rows share. */
typedef struct nearest_rule {
    const exact_kernel *kernel;
    mri_vectors train;
    const double *inverse; /* 1 / length of each of train */
    uint32_t dim, k;
    uint32_t room; /* of a list, more than k */
    double bound;
} nearest_rule;

typedef struct nearest {
    candidate *list; /* [room] */
    uint32_t count;
    float least; /* a screened product below it need not be given */
    const float *row;
    double inverse;
} nearest;

/* Begin with an empty list. */
void nearest_begin(nearest *q, candidate *list, const float *row,
                   double inverse);
/* values: room for nearest_rule.room of them. */
void nearest_add(nearest *q, const nearest_rule *rule, uint32_t index,
                 float product, double *values);
/* The k nearest of what was added; at least k were. */
void nearest_end(nearest *q, const nearest_rule *rule, double *values,
                 uint32_t *index, double *cosine);

/* The k-th largest of n values, which are put into another order. 1 <= k <=
 * n. */
double kth_largest(double *values, size_t n, size_t k);

/* Row i of some vectors. */
static inline const float *
vectors_at(const mri_vectors *v, uint64_t i, uint32_t dim)
{
    return v->at + (v->rows != NULL ? v->rows[i] : i) * dim;
}

#endif
