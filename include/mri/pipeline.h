/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline.h - what may be asked about operations without a dataset.
 */
#ifndef MRI_PIPELINE_H
#define MRI_PIPELINE_H

#include <mri/bytes.h>

MRI_BEGIN

/* docs/operations.md, made from the table of operations. False: no memory. */
bool mri_operations_doc(mri_bytes *out);

/*
 * Check a pipeline's text as far as that is possible without a dataset, and
 * give its text with every default filled in (JSON).
 *
 * owner   *canonical is the caller's: mri_free; may be NULL
 * errors  MR_EARG, MR_EVERSION: line, column, what is wrong, nearest name
 */
MR_USE_RESULT mr_err mri_pipeline_check(const char *text, size_t bytes,
                                        char **canonical, mr_diag *diag);

MRI_END

#endif
