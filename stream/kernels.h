/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.h - the loops over pixels, once for each set of instructions.
 *
 * Every result is computed by itself, by the same operations in the same
 * order: so it does not matter how many are computed at once.
 */
#ifndef MRI_STREAM_KERNELS_H
#define MRI_STREAM_KERNELS_H

#include "act.h"

#define MRI_LINES 16 /* rows that are resampled together */

/* What `load` reads. step: elements from one value to the next. */
typedef struct mri_load {
    const void *from;
    mr_dtype dtype;
    int64_t step;
    bool scaled;
    double slope, inter;
} mri_load;

typedef struct mri_kernels {
    /* To f32: v, or v * slope + inter in f64; what is not finite becomes 0. */
    void (*load)(float *out, const mri_load *how, size_t n);
    /* act->point over values of channel c, in place */
    void (*point)(float *x, const mri_act *act, uint32_t c, size_t n);
    /* values 0 .. 255 or 0 .. 65535, whole already */
    void (*to_u8)(uint8_t *out, const float *x, size_t n);
    void (*to_u16)(uint16_t *out, const float *x, size_t n);
    /* out[i] = sum over k of rows[k][i] * weight[k], from the first on */
    void (*sum_rows)(float *out, size_t n, const float *const *rows,
                     const float *weight, unsigned count);
    /* turned[i][r] = lines[r][i] for MRI_LINES lines, `stride` apart */
    void (*turn)(float *turned, const float *lines, size_t stride, size_t n);
    /* lines[r][i] = turned[i][r], r < count; backwards: i from the end */
    void (*turn_back)(float *lines, size_t stride, const float *turned,
                      size_t n, unsigned count, bool backwards);
    /* out[r] = sum over k of turned[k * step + r] * weight[k], all lines */
    void (*sum_turned)(float *out, const float *turned, size_t step,
                       const float *weight, unsigned count);
    /* widen [*low, *high] to the values */
    void (*range)(const float *x, size_t n, float *low, float *high);
} mri_kernels;

const mri_kernels *mri_kernels_now(void);

extern const mri_kernels mri_kernels_scalar, mri_kernels_sse2, mri_kernels_avx2,
    mri_kernels_avx512;

#endif
