/* SPDX-License-Identifier: Apache-2.0 */
/*
 * widen_simd.h - what widen_simd.c exports at each level.
 */
#ifndef MRI_WIDEN_SIMD_H
#define MRI_WIDEN_SIMD_H

#include "widen.h"

typedef void mri_widen_fn(const mri_plane_rows *rows, mr_dtype dtype,
                          const mri_scale *scale);
mri_widen_fn mri_widen_at_scalar, mri_widen_at_sse2, mri_widen_at_avx2,
    mri_widen_at_avx512;

#endif
