/* SPDX-License-Identifier: Apache-2.0 */
/* eigen.h - the leading eigenvectors of a symmetric matrix. */
#ifndef EVAL_EIGEN_H
#define EVAL_EIGEN_H

#include <millrace/base.h>

/*
 * The two greatest eigenvalues of a positive semidefinite matrix, and their
 * vectors, of length one, the number of greatest size positive. A value that
 * the matrix does not have (n 1, rank 1) is 0 and its vector zeros.
 *
 * shape   a [n, n]; vector [2, n]; value [2], the greatest first
 * errors  MR_ENOMEM
 * bound   |a v - value v| <= 1e-9 value[0], unless the values crowd so that
 *         it is not reached in 2,000 rounds; then v is still in the span of
 *         the crowd
 */
MR_USE_RESULT mr_err eigen_leading(const double *a, size_t n, double *vector,
                                   double value[2], mr_diag *diag);

/*
 * All eigenvalues of a small symmetric matrix, descending, by Jacobi's
 * rotations.
 *
 * shape   a [p, p], destroyed; vector [p, p]: row i belongs to value[i]
 */
void eigen_small(double *a, size_t p, double *vector, double *value);

#endif
