/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prove.h - that a field decodes to the values that were written.
 */
#ifndef MRI_PROVE_H
#define MRI_PROVE_H

#include "shard_read.h"

/*
 * Read all of a field and compare its hash. Of a JPEG only the bytes are
 * checked: what it decodes to is the decoder's affair.
 * errors  MR_ECORRUPT, MR_EVERSION, MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_shard_prove(const mri_shard *s, const mri_grid_row *g,
                                     mri_bytes *pixels, mr_scratch *scratch,
                                     mr_diag *diag);

/* mri_shard_verify of the shard of a dataset that its manifest names. */
MR_USE_RESULT mr_err mri_shard_verify_in(const mri_store *store,
                                         const mri_shard_ref *ref,
                                         mri_damage_fn *tell, void *user,
                                         mri_verified *out, mr_diag *diag);

/*
 * Compute the statistics of a generation again, values counted and all, and
 * compare them with what its manifest says. Sums may differ by the order of
 * summing, counts and percentiles may not.
 * errors  MR_ECORRUPT  they do not follow from the samples
 *         MR_ESTOP, MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_dataset_prove_stats(const char *dir, unsigned workers,
                                             const mr_watch *watch,
                                             mr_diag *diag);

#endif
