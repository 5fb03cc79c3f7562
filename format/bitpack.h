/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bitpack.h - numbers of 8 or 16 bits in as few bits as blocks of them need:
 * what sensors give, whose noise LZ4 finds nothing in. It decodes at the speed
 * of memory. Bytes: docs/shard-format.md, "Bit packing".
 *
 * source  frame of reference and lanes side by side: Lemire and Boytsov,
 *         "Decoding billions of integers per second", 2015
 */
#ifndef MRI_BITPACK_H
#define MRI_BITPACK_H

#include <millrace/base.h>

/* Elements of a chunk, row-major. */
typedef struct mri_bitpack_in {
    const uint8_t *raw;
    size_t n;          /* elements */
    unsigned element;  /* bytes, 1 or 2 */
    size_t row, plane; /* elements of its last axis, and of its last two */
} mri_bitpack_in;

/* Bytes that will be read next: unpacking leaves the memory time to bring them,
 * while whoever sums them first would wait. Nothing need be there. */
typedef struct mri_ahead {
    const uint8_t *at;
    size_t bytes;
} mri_ahead;

/* One block of numbers for each MRI_BLOCK_LEN, all that is known of them. */
typedef struct mri_blocks {
    uint8_t *numbers; /* 1 or 2 bytes each */
    uint8_t *widths;  /* [count] */
    uint8_t *bases;   /* [count], a number each */
    uint8_t *packed;
    size_t count;    /* of blocks */
    size_t distance; /* from a number to that which predicts it */
    unsigned size;   /* of a number */
    mri_ahead ahead; /* to be fetched while they are unpacked */
} mri_blocks;

/* How a chunk will be packed. */
typedef struct mri_bitpack_plan {
    size_t bytes; /* of the result */
    size_t n;
    unsigned entries; /* of the palette, or 0 */
    uint16_t palette[256];
    mri_blocks blocks;
} mri_bitpack_plan;

/* Bytes of memory that planning n elements needs. */
size_t mri_bitpack_work(size_t n);
/* Look for the shortest way; the plan points into `in` and `work`. */
void mri_bitpack_look(mri_bitpack_plan *plan, const mri_bitpack_in *in,
                      uint8_t *work);
/* Write plan->bytes bytes. */
void mri_bitpack_write(uint8_t *to, mri_bitpack_plan *plan);

/* What was packed, and where it goes. */
typedef struct mri_bitpack_out {
    uint8_t *raw;   /* room for all n elements */
    size_t n, upto; /* elements from `upto` on may be left out */
    unsigned element;
    const uint8_t *packed;
    size_t packed_len;
    uint8_t *work; /* n bytes */
    mri_ahead ahead;
} mri_bitpack_out;

/* False: not what could be made of n elements. */
MR_USE_RESULT bool mri_bitunpack(const mri_bitpack_out *out);

#endif
