/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c_fold.h - many bytes to few of the same CRC, by carry-less products.
 *
 * source  V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using
 *         PCLMULQDQ Instruction", Intel white paper 323102, 2009
 */
#ifndef MRI_CRC32C_FOLD_H
#define MRI_CRC32C_FOLD_H

#include <stddef.h>
#include <stdint.h>

enum {
    MRI_FOLD_LANES = 4, /* vectors at once: the product takes 4 to 8 cycles */
    MRI_FOLD_REST = 64, /* the longest vector */
    MRI_FOLD_LEAST = MRI_FOLD_LANES * MRI_FOLD_REST
};

/* What 16 bytes are multiplied by when they move that many bytes on: their
 * first and their last 8. */
typedef struct mri_fold_keys {
    uint64_t by_32[2], by_64[2], by_128[2], by_256[2];
} mri_fold_keys;

/*
 * Fold whole vectors from `p`, `bytes` >= MRI_FOLD_LEAST being there, into one:
 * `rest`, whose CRC from 0 on is that of all of them from `crc` on (registers,
 * not inverted). Returns how many bytes were folded; the rest's length is that
 * of the vector, 32 or 64.
 */
typedef size_t mri_fold_fn(uint8_t rest[MRI_FOLD_REST],
                           const mri_fold_keys *keys, uint32_t crc,
                           const uint8_t *p, size_t bytes);
mri_fold_fn mri_fold_avx2;   /* with AVX2 and VPCLMULQDQ */
mri_fold_fn mri_fold_avx512; /* with AVX-512F and VPCLMULQDQ */

#endif
