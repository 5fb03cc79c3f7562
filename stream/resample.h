/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resample.h - which values of a line give each value of another, and with
 * what weight.
 *
 * source  with antialias the filters of Pillow (Keys' cubic a = -0.5; the
 *         triangle), widened by the scale when shrinking; without, those of
 *         torch's interpolate (a = -0.75), align_corners false
 */
#ifndef MRI_STREAM_RESAMPLE_H
#define MRI_STREAM_RESAMPLE_H

#include "act.h"
#include "room.h"

typedef struct mri_taps {
    uint64_t n;      /* results */
    uint32_t stride; /* weights a result has room for */
    uint64_t *first; /* [n] place in the line */
    uint32_t *count; /* [n] */
    float *weight;   /* [n][stride] */
    mri_room room, raw;
} mri_taps;

/*
 * The real interval [start, start + length) of a line becomes n values. Only
 * the line's places [low, high) are used; what a filter takes beyond them is
 * left out (antialias) or taken from the nearest place.
 */
typedef struct mri_span {
    double start, length;
    uint64_t low, high;
    uint64_t n;
} mri_span;

MR_USE_RESULT mr_err mri_taps_make(mri_taps *taps, const mri_span *span,
                                   mri_filter filter, bool antialias,
                                   mr_diag *diag);
void mri_taps_release(mri_taps *taps);

#endif
