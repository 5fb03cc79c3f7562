/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jpeg.h - decode a region of a JPEG, at a fraction of its size.
 *
 * A decoder is kept from one picture to the next; one thread at a time.
 */
#ifndef MRI_STREAM_JPEG_H
#define MRI_STREAM_JPEG_H

#include "room.h"

typedef struct mri_jpeg mri_jpeg;

/* NULL: no memory. close accepts NULL. */
mri_jpeg *mri_jpeg_open(void);
void mri_jpeg_close(mri_jpeg *j);

/* What is wanted of a picture: [first, first + size) of it at 1 / shrink. */
typedef struct mri_jpeg_want {
    const uint8_t *data;
    size_t bytes;
    uint64_t height, width;     /* of the picture, as the dataset says */
    uint32_t channels;          /* 1 or 3 */
    unsigned shrink;            /* 1, 2, 4, 8 */
    uint64_t first[2], size[2]; /* y, x; size 0: all of it */
} mri_jpeg_want;

/* Values of a row stand side by side, channels together. */
typedef struct mri_jpeg_got {
    const uint8_t *pixels;  /* of first; in `room` */
    uint64_t row_bytes;     /* from one row to the next */
    uint64_t height, width; /* of the whole at 1 / shrink */
} mri_jpeg_got;

/*
 * The region equals the same region of the whole picture decoded, bit for
 * bit.
 *
 * errors  MR_ECORRUPT  no such JPEG: libjpeg's error, or what it would warn
 *                      of; diag->at is the offset in the JPEG
 *         MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_jpeg_decode(mri_jpeg *j, const mri_jpeg_want *want,
                                     mri_room *room, mri_jpeg_got *got,
                                     mr_diag *diag);

/* Rows and columns of the whole at 1 / shrink. */
static inline uint64_t
mri_shrunk(uint64_t n, unsigned shrink)
{
    return (n + shrink - 1) / shrink;
}

#endif
