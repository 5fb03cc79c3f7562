/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - a field of a sample as pixels: which axis is which, how much of it
 * is read, JPEGs decoded.
 */
#ifndef MRI_STREAM_LOAD_H
#define MRI_STREAM_LOAD_H

#include "jpeg.h"
#include "op.h"
#include "pixels.h"

/* Where z, y, x and the channels are among a field's axes. */
typedef struct mri_axes {
    int of[3];         /* place of Z, Y, X; -1: there is none */
    uint32_t channels; /* the product of all others */
    unsigned others;   /* how many there are */
    int channel;       /* the place of the only other, or -1 */
} mri_axes;

/*
 * errors  MR_EARG  the field is no picture: no axes Y and X, or bytes
 */
MR_USE_RESULT mr_err mri_axes_of(mri_axes *out, const mr_field *f,
                                 mr_diag *diag);
mri_form mri_form_of(const mri_axes *axes, const mr_field *f);

/* A field of a sample, and what is wanted of it. */
typedef struct mri_load_want {
    const mr_dataset *ds;
    uint64_t rank;
    uint32_t field;
    const mr_field *f;
    const mri_axes *axes;
    unsigned shrink;            /* JPEG only */
    uint64_t first[3], need[3]; /* z y x, in what is decoded */
    uint32_t channel_low, channel_end;
} mri_load_want;

typedef struct mri_loader {
    mr_scratch *scratch;
    mri_jpeg *jpeg;
    mri_room raw, places;
    uint64_t read_ns, decode_ns;
} mri_loader;

MR_USE_RESULT bool mri_loader_init(mri_loader *l);
void mri_loader_release(mri_loader *l);

/* The pixels live in the loader until its next use. */
MR_USE_RESULT mr_err mri_loader_read(mri_loader *l, const mri_load_want *want,
                                     mri_pixels *out, mr_diag *diag);
/* A JPEG field, whole, dense, into `to`. */
MR_USE_RESULT mr_err mri_loader_jpeg(mri_loader *l, const mri_load_want *want,
                                     uint8_t *to, mr_diag *diag);

#endif
