/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunk.h - cut an n-d field into chunks, and turn one chunk into bytes.
 */
#ifndef MRI_CHUNK_H
#define MRI_CHUNK_H

#include "bitpack.h"
#include "frame.h"
#include "rows.h"

#include <mri/bytes.h>
#include <mri/record.h>

/*
 * Choose the chunk shape of a field: all of it up to 256 KiB; else 1 along C
 * and T (all of C if it is last and at most 4), 2^15 elements in the shape of
 * a cube of equal physical sides along Z Y X, 256 x 256 where there is no Z.
 *
 * units   spacing: any, one an axis; 0 or NULL is "as the others"
 */
void mri_chunk_shape(mri_grid_row *g, const double *spacing);

/* Where chunk `index` (row-major over the grid) lies: first element and size,
 * clipped at the edges. */
void mri_chunk_box(const mri_grid_row *g, uint64_t index, mr_box *box);
uint64_t mri_box_len(const mr_box *box, unsigned ndim);

/* Copy the box of a row-major field into a dense chunk, or back. */
void mri_chunk_gather(uint8_t *chunk, const uint8_t *field,
                      const mri_grid_row *g, const mr_box *box);

/* One chunk before it is stored. */
typedef struct mri_chunk_in {
    const uint8_t *raw;
    uint32_t raw_len;
    unsigned element;    /* bytes of one */
    bool real;           /* a floating-point number */
    uint64_t row, plane; /* elements of its last axis, and of its last two */
    mri_coding coding;
    uint8_t *room; /* raw_len bytes for what comes out, or NULL: in `work` */
} mri_chunk_in;

/* One chunk as it will be stored. */
typedef struct mri_packed {
    uint8_t codec, filter, flags;
    uint32_t stored_len, raw_len;
    uint64_t value; /* MRI_CHUNK_CONSTANT */
    const uint8_t *stored;
} mri_packed;

/*
 * Filter and compress. The result points to in->room or into `work`, where it
 * holds until work is used again, or is in->raw itself. What does not shrink by 5 % is stored
 * as it is, whatever in->coding says. False: no memory.
 */
bool mri_chunk_pack(mri_packed *out, const mri_chunk_in *in, mri_bytes *work);

/*
 * The reverse: raw_len bytes into `raw`. `work` holds what is between codec
 * and filter.
 * errors  MR_ECORRUPT  the stored bytes do not decode to raw_len (a checksum
 *                      that held was made over damaged bytes)
 *         MR_EVERSION  a codec or filter that this millrace does not know
 */
MR_USE_RESULT mr_err mri_chunk_unpack(uint8_t *raw, const mri_chunk_row *row,
                                      const uint8_t *stored, unsigned element,
                                      mri_bytes *work, mr_diag *diag);

/* A chunk as it is stored, and what will be read after it. */
typedef struct mri_stored {
    const mri_chunk_row *row;
    const uint8_t *bytes;
    unsigned element;
    mri_ahead ahead;
} mri_stored;

/* The same, by a reader who knows where it goes on. */
MR_USE_RESULT mr_err mri_chunk_unpack_from(uint8_t *raw, const mri_stored *from,
                                           mri_bytes *work, mr_diag *diag);

/* A decoded chunk, in `work` or in the stored bytes themselves. */
typedef struct mri_plain {
    const uint8_t *at;
    size_t plane; /* 0: whole elements; else from a byte of one to the next */
} mri_plain;

/*
 * Decode for a reader that takes elements out of it one row at a time, and
 * none from number `upto` on: a byte shuffle is left for it to undo.
 * errors  as mri_chunk_unpack
 */
MR_USE_RESULT mr_err mri_chunk_decode(mri_plain *out, const mri_stored *from,
                                      uint64_t upto, mri_bytes *work,
                                      mr_diag *diag);
/* raw_len bytes, all of them the element `value`. */
void mri_chunk_fill(uint8_t *raw, uint64_t raw_len, uint64_t value,
                    unsigned element);

/*
 * Morton order over a grid: `order[k]` is the row-major index of the k-th
 * chunk in the file, so that a box of the field is a few extents.
 * False: no memory. The caller frees with mri_free.
 */
bool mri_chunk_morton(const mri_grid_row *g, uint64_t **order);

#endif
