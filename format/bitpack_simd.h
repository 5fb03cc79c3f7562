/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bitpack_simd.h - what bitpack_simd.c exports at each level.
 */
#ifndef MRI_BITPACK_SIMD_H
#define MRI_BITPACK_SIMD_H

#include "bitpack.h"

enum {
    MRI_BLOCK_LEN = 128,        /* numbers that share a width and a base */
    MRI_BLOCK_BIT = 16,         /* bytes of a block for each bit of width */
    MRI_BLOCK_PREDICTED = 0x80, /* of a width: differences were packed */
    MRI_BLOCK_WIDTH = 0x1F      /* the width itself */
};

/*
 * Width and base of every block, as it stands (distance 0) or predicted; the
 * first `distance` numbers have no predecessor: their blocks are not touched.
 */
typedef void mri_blocks_fn(const mri_blocks *b);
mri_blocks_fn mri_blocks_scan_scalar, mri_blocks_scan_sse2,
    mri_blocks_scan_avx2, mri_blocks_scan_avx512;
/* Pack the numbers by widths and bases that a scan found. */
mri_blocks_fn mri_blocks_pack_scalar, mri_blocks_pack_sse2,
    mri_blocks_pack_avx2, mri_blocks_pack_avx512;
/* The reverse; every width at most 8 * size. */
mri_blocks_fn mri_blocks_unpack_scalar, mri_blocks_unpack_sse2,
    mri_blocks_unpack_avx2, mri_blocks_unpack_avx512;

/* to[i] = table[from[i]]; 256 numbers in the table. */
typedef void mri_look_up_fn(uint8_t *to, const uint8_t *from, size_t n,
                            const uint16_t *table);
mri_look_up_fn mri_look_up_scalar, mri_look_up_sse2, mri_look_up_avx2,
    mri_look_up_avx512;

#endif
