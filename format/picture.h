/* SPDX-License-Identifier: Apache-2.0 */
/*
 * picture.h - the pixels of a JPEG that is kept as a file, some rows at a time,
 * so that no size of picture needs much memory.
 */
#ifndef MRI_PICTURE_H
#define MRI_PICTURE_H

#include "rows.h"

#include <mri/bytes.h>

/* Rows [first, first + count) at `rows`, dense: u8 [count][width][channels]. */
typedef void mri_rows_fn(void *user, const uint8_t *rows, uint32_t first,
                         uint32_t count);

typedef struct mri_picture {
    const mri_grid_row *g; /* of encoding MR_ENC_JPEG: what it should be */
    const uint8_t *jpeg;
    size_t bytes;
    mri_rows_fn *take;
    void *user;
} mri_picture;

/*
 * Decode as libjpeg-turbo does by default, to grey or RGB; `room` is for rows.
 * errors  MR_ECORRUPT  damaged, or not what the row says: some rows may have
 *                      been given; MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_picture_read(const mri_picture *p, mri_bytes *room,
                                      mr_diag *diag);

#endif
