/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.h - the loops of evaluation, once for each set of instructions.
 *
 * Two kinds. The screen is fast and rounds as it likes: who uses it knows a
 * bound of its error. The exact ones compute in f64, never fuse a product
 * with a sum, and add in an order that is written down: their bits are equal
 * at every level.
 */
#ifndef EVAL_KERNELS_H
#define EVAL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Products of a block of rows with a panel of columns.
 *
 * shape   a [k, rows], b [k, columns], least [rows], scores [rows, columns]
 * returns a bit for each row with a score >= least[row]; of those alone
 *         the scores are written
 * bound   each is within k 2^-24 / (1 - k 2^-24) of the sum of |a b|
 */
typedef struct screen_kernel {
    unsigned rows, columns;
    uint32_t (*block)(float *scores, const float *a, const float *b, size_t k,
                      const float *least);
} screen_kernel;

#define SCREEN_ROWS 14    /* at most */
#define SCREEN_COLUMNS 32 /* at most */
#define TILE 64

typedef struct exact_kernel {
    /* Sum of products in f64, which are exact: 16 sums of every sixteenth,
     * added by halves. */
    double (*dot)(const float *a, const float *b, size_t n);
    /*
     * tile += x' y, row after row.
     *
     * shape   x, y [rows, TILE]; tile [TILE, TILE]
     */
    void (*outer)(double *tile, const double *x, const double *y, size_t rows);
} exact_kernel;

const screen_kernel *screen_kernel_now(void);
const exact_kernel *exact_kernel_now(void);

extern const screen_kernel eval_screen_scalar, eval_screen_sse2,
    eval_screen_avx2, eval_screen_avx512;
extern const exact_kernel eval_exact_scalar, eval_exact_sse2, eval_exact_avx2,
    eval_exact_avx512;

#endif
