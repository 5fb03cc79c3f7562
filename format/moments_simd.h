/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moments_simd.h - the loops of statistics, as moments_simd.c exports them at
 * each level.
 */
#ifndef MRI_MOMENTS_SIMD_H
#define MRI_MOMENTS_SIMD_H

#include <millrace/tensor.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `n` elements, `step` apart, as physical values. */
typedef struct mri_run {
    const void *from;
    size_t n, step;
    double slope, inter;
} mri_run;
typedef void mri_physical_fn(double *out, const mri_run *run, mr_dtype dtype);
mri_physical_fn mri_physical_at_scalar, mri_physical_at_sse2,
    mri_physical_at_avx2, mri_physical_at_avx512;

/* Of the finite values among `n`; low and high are those of the nonzero ones.
 * The sums are taken in eight lanes at every level, so they are the same. */
typedef struct mri_sums {
    uint64_t finite, nonzero;
    double low, high, sum, squares;
} mri_sums;
typedef void mri_sums_fn(mri_sums *out, const double *v, size_t n);
mri_sums_fn mri_sums_at_scalar, mri_sums_at_sse2, mri_sums_at_avx2,
    mri_sums_at_avx512;

/* Of stored values, as a mri_stat_row holds them. */
typedef struct mri_range {
    uint64_t min, max;
    uint32_t nonzero, nan;
} mri_range;
typedef void mri_range_fn(mri_range *out, const void *p, size_t n,
                          mr_dtype dtype);
mri_range_fn mri_range_at_scalar, mri_range_at_sse2, mri_range_at_avx2,
    mri_range_at_avx512;

#endif
