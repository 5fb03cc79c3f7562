/* SPDX-License-Identifier: Apache-2.0 */
/*
 * picture.h - what the model will see: a batch as a PNG.
 */
#ifndef MRI_PICTURE_H
#define MRI_PICTURE_H

#include <millrace/stream.h>

/*
 * A line a row of the batch: every image tensor, its views side by side, up to
 * three channels as red, green, blue (more: the first three), volumes by their
 * middle slice; each picture stretched to its own range.
 * errors  MR_EIO, MR_ENOMEM, MR_EARG if the batch has no pictures
 */
MR_USE_RESULT mr_err mri_batch_picture(const mr_batch *batch, const char *path,
                                       mr_diag *diag);

#endif
