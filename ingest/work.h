/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.h - one item of the plan to encoded samples: read, hash, decode,
 * encode. Runs on any thread.
 */
#ifndef MRI_WORK_H
#define MRI_WORK_H

#include "plan.h"

#include <mri/shard.h>

/* What came of an item: samples in order, and what had to be left out. */
typedef struct mri_made {
    mri_encoded **samples;
    uint64_t sample_count;
    mri_bad *bad;
    uint64_t bad_count;
    uint64_t bytes; /* stored, of all samples */
} mri_made;

/*
 * Never fails for what is in the files: that becomes a mri_bad.
 * errors  MR_ENOMEM  ours, not the file's: the ingest has to end
 */
MR_USE_RESULT mr_err mri_make(mri_made *out, const mri_plan *plan,
                              const mri_plan_item *item, mr_diag *diag);
void mri_made_release(mri_made *made);

#endif
