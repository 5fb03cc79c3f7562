/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contact.h - pictures of samples: a contact sheet of a dataset.
 */
#ifndef MRI_CONTACT_H
#define MRI_CONTACT_H

#include <millrace/dataset.h>

/*
 * Draw evenly spaced samples into a PNG: up to three channels as red, green
 * and blue, volumes by their middle slice, each stretched to its own range.
 * errors  MR_EIO, MR_ECORRUPT, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_contact_sheet(const mr_dataset *ds, const char *path,
                                       mr_diag *diag);

#endif
