/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm.h - products of matrices by oneDNN, one thread at a time.
 *
 * oneDNN makes code for a shape; making it costs milliseconds, so it is kept.
 * Its own threads are never used: the tiles of a product are our tasks. This
 * and gemm.c are all that the house knows of oneDNN, versions 2 and 3.
 */
#ifndef CPU_GEMM_H
#define CPU_GEMM_H

#include <mri/backend.h>

typedef struct gemm_cache gemm_cache;
typedef struct gemm gemm; /* one shape, ready to run */

/*
 * c [m,n] = a [m,k] b [k,n], plus bias [n] if there is one, plus what c held
 * if `add`. Rows of a and c lie a_row and c_row elements apart; b's elements
 * b_row and b_column, one of which is 1.
 */
typedef struct gemm_shape {
    int64_t m, n, k;
    int64_t a_row, b_row, b_column, c_row;
    bool add, bias;
} gemm_shape;

/* For `workers` threads. errors  MR_EDEVICE, MR_ENOMEM */
MR_USE_RESULT mr_err gemm_cache_open(gemm_cache **out, unsigned workers,
                                     mr_diag *diag);
void gemm_cache_close(gemm_cache *cache);

/* The code for this shape, found or made. Not from inside a task. */
MR_USE_RESULT mr_err gemm_get(gemm **out, gemm_cache *cache,
                              const gemm_shape *shape, mr_diag *diag);
/* Bytes that a run needs as scratch, 64-byte aligned. */
size_t gemm_scratch(const gemm *g);

/* Run on the calling thread, which is worker number `worker`. Different
 * workers may run one gemm at once. False if oneDNN refuses. */
bool gemm_run(const gemm *g, unsigned worker, const float *a, const float *b,
              const float *bias, float *c, void *scratch);

/* "oneDNN 2.6.3" */
const char *gemm_library(void);

#endif
