/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scale.h - from stored values to physical ones.
 */
#ifndef MRI_SCALE_H
#define MRI_SCALE_H

/* The physical value of a stored v is v * slope + inter. */
typedef struct mri_scale {
    double slope, inter; /* 1 and 0: the values as they are */
} mri_scale;

#endif
