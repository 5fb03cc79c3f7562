/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delta_simd.h - what delta_simd.c exports at each level.
 */
#ifndef MRI_DELTA_SIMD_H
#define MRI_DELTA_SIMD_H

#include <stddef.h>
#include <stdint.h>

typedef void mri_undelta_fn(uint8_t *data, size_t n, unsigned element);
mri_undelta_fn mri_undelta_at_scalar, mri_undelta_at_sse2, mri_undelta_at_avx2,
    mri_undelta_at_avx512;

#endif
