/* SPDX-License-Identifier: Apache-2.0 */
/*
 * line.h - the production line: many threads make samples, one places them.
 *
 * Items are taken and placed in the order of the plan; between the two at most
 * a window of them is in flight, and no more memory than was allowed.
 */
#ifndef MRI_LINE_H
#define MRI_LINE_H

#include "work.h"

typedef struct mri_line mri_line;

/*
 * `todo` are the numbers of the items to make, ascending; it and the plan must
 * outlive the line.
 */
MR_USE_RESULT mr_err mri_line_open(mri_line **out, const mri_plan *plan,
                                   const uint64_t *todo, uint64_t count,
                                   mr_diag *diag);
/*
 * What came of the next item; it is the caller's then (mri_made_release).
 * errors  MR_ESTOP    watch->stop said so
 *         MR_ENOMEM   ours
 *         MR_FINISHED after the last
 */
MR_USE_RESULT mr_err mri_line_next(mri_line *line, mri_made *out,
                                   mr_diag *diag);
/* Waits for the threads. NULL is accepted. */
void mri_line_close(mri_line *line);

#endif
