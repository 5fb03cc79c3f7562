/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunk_part.h - decode a chunk and put a part of it into a larger array.
 */
#ifndef MRI_CHUNK_PART_H
#define MRI_CHUNK_PART_H

#include "chunk.h"

/* A box within a chunk, and where its elements go. */
typedef struct mri_chunk_part {
    unsigned ndim;
    uint64_t dims[MR_MAX_RANK]; /* of the chunk, clipped */
    uint64_t first[MR_MAX_RANK], size[MR_MAX_RANK];
    uint8_t *to;                 /* the box's first element */
    int64_t stride[MR_MAX_RANK]; /* bytes; of the last axis: an element */
    mri_ahead ahead;             /* what will be read next */
} mri_chunk_part;

/*
 * Decode the chunk `row`, whose raw_len is that of dims, and put the part in
 * its place: the filter is undone on the way, of no more than is wanted.
 *
 * owner   work is used where bytes must be held between codec and filter
 * errors  as mri_chunk_unpack
 */
MR_USE_RESULT mr_err mri_chunk_unpack_part(const mri_chunk_part *part,
                                           const mri_chunk_row *row,
                                           const uint8_t *stored,
                                           unsigned element, mri_bytes *work,
                                           mr_diag *diag);

#endif
