/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inflation.h - what the samples of a shard may decode to, all in all.
 *
 * A chunk of equal elements has no bytes, so a few KiB can claim to be hours
 * of reading. A writer of version 1 makes chunks of at most 4 MiB, and each
 * stands in two tables with 64 bytes a time: that is 32,768 times its share of
 * the file, which nothing that was ever written passes, zeros of any size
 * included. Twice that is refused by what reads all of a shard.
 */
#ifndef MRI_INFLATION_H
#define MRI_INFLATION_H

#include "rows.h"

#define MRI_INFLATION_MAX 65536u

/* Of one pass over a shard; begins with the size of its file. */
typedef struct mri_inflation {
    uint64_t file_bytes, decoded;
} mri_inflation;

/*
 * A field is about to be decoded.
 * errors  MR_ELIMIT  it and those before are too many for such a file
 */
MR_USE_RESULT mr_err mri_inflation_add(mri_inflation *i, const mri_grid_row *g,
                                       mr_diag *diag);

#endif
