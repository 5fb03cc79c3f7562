/* SPDX-License-Identifier: Apache-2.0 */
/*
 * known.h - what a dataset has already, so that a second ingest adds only what
 * is new.
 */
#ifndef MRI_KNOWN_H
#define MRI_KNOWN_H

#include "plan.h"

/*
 * Drop the items whose key the dataset has. `changed` counts those of them
 * whose files have another size than then: they are left as they are.
 */
MR_USE_RESULT mr_err mri_known_filter(mri_plan *plan, const mr_dataset *ds,
                                      uint64_t *known, uint64_t *changed,
                                      mr_diag *diag);
/* True if the plan has an item of that key (or the file of 'key#k'). */
bool mri_plan_has(const mri_plan *plan, const char *key);

#endif
