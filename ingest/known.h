/* SPDX-License-Identifier: Apache-2.0 */
/*
 * known.h - what a dataset has already, so that a second ingest adds only what
 * is new.
 */
#ifndef MRI_KNOWN_H
#define MRI_KNOWN_H

#include "plan.h"

/* Items that are not ingested again. */
typedef struct mri_known {
    uint64_t known;     /* the dataset has them */
    uint64_t changed;   /* of these, files of another size than then */
    uint64_t withdrawn; /* it had them: they stay out, whatever they hold */
} mri_known;

/*
 * Drop the items whose key the dataset has or had: what has changed since is
 * left as it is.
 */
MR_USE_RESULT mr_err mri_known_filter(mri_plan *plan, const mr_dataset *ds,
                                      mri_known *seen, mr_diag *diag);
/* True if the plan has an item of that key (or the file of 'key#k'). */
bool mri_plan_has(const mri_plan *plan, const char *key);

#endif
