/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shuffle_simd.h - what shuffle_simd.c exports at each level.
 */
#ifndef MRI_SHUFFLE_SIMD_H
#define MRI_SHUFFLE_SIMD_H

#include "shuffle.h"

typedef void mri_shuffle_fn(uint8_t *out, const uint8_t *in, size_t n,
                            unsigned element);
mri_shuffle_fn mri_shuffle_at_scalar, mri_shuffle_at_sse2, mri_shuffle_at_avx2,
    mri_shuffle_at_avx512;
typedef void mri_unshuffle_fn(const mri_plane_rows *rows, unsigned element);
mri_unshuffle_fn mri_unshuffle_at_scalar, mri_unshuffle_at_sse2,
    mri_unshuffle_at_avx2, mri_unshuffle_at_avx512;

#endif
