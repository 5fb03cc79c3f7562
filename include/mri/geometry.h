/* SPDX-License-Identifier: Apache-2.0 */
/*
 * geometry.h - where the voxels of a field are, and what their numbers mean.
 *
 * Kept beside the stored values and applied by whoever uses them: a stored
 * value v stands for the physical value v * slope + inter.
 */
#ifndef MRI_GEOMETRY_H
#define MRI_GEOMETRY_H

#include <millrace/tensor.h>
#include <mri/door.h>

MRI_BEGIN

typedef struct mri_geometry {
    double slope, inter; /* 1 and 0 if the source says nothing */
    /* Voxel index (i, j, k: the file's own order of axes) to mm in RAS+;
     * three rows of four, the last row is 0 0 0 1. */
    bool has_affine;
    double affine[12];
    /* Size of an element along each stored axis, in the unit of that axis
     * (mm; seconds for T); 0 where the source says nothing. */
    double spacing[MR_MAX_RANK];
    uint8_t orientation; /* EXIF 1..8, 0 if the source says nothing */
    /* The NIfTI header, 348 or 540 bytes, texts about people zeroed; where
     * texts are kept, the extensions follow as they do in a .nii. */
    uint8_t *nifti;
    uint32_t nifti_bytes;
    /* Names of the channels, channel_count NUL-terminated texts. */
    char **channels;
    uint32_t channel_count;
} mri_geometry;

/* slope 1, the rest zero. */
void mri_geometry_init(mri_geometry *g);
/* Deep copy into initialised memory; MR_ENOMEM leaves `to` initialised. */
MR_USE_RESULT mr_err mri_geometry_copy(mri_geometry *to,
                                       const mri_geometry *from, mr_diag *diag);
void mri_geometry_release(mri_geometry *g);

MRI_END

#endif
