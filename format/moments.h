/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moments.h - count, range, sum and sum of squares of numbers that pass by.
 */
#ifndef MRI_MOMENTS_H
#define MRI_MOMENTS_H

#include "rows.h"

/*
 * Numbers so far. Sums are held in two parts, the second being what rounding
 * took from the first, so that the order in which chunks come does not show.
 */
typedef struct mri_tally {
    uint64_t count, nonzero, non_finite;
    double low, high; /* of the nonzero ones */
    double sum[2], squares[2];
} mri_tally;

void mri_tally_init(mri_tally *t);
void mri_tally_add(mri_tally *t, const double *v, size_t n);
/* Of the finite numbers, and of those that are not zero. */
void mri_tally_end(const mri_tally *t, mr_moments *all, mr_moments *nonzero);

/* Elements of one channel of a row-major array: `runs` runs of `length`
 * elements, `step` apart within a run, `jump` from run to run. */
typedef struct mri_lanes {
    uint64_t first, runs, length, step, jump;
} mri_lanes;
/* `channel` counts along C of these dims; without C there is channel 0. */
mri_lanes mri_lanes_of(const char *axes, unsigned ndim, const uint64_t *dims,
                       uint32_t channel);

/* Channels: the length of axis C, or 1. */
uint32_t mri_channels_of(const mri_grid_row *g);

void mri_moments_merge(mr_moments *to, const mr_moments *from);
/* Of the same numbers, though summed in another order. */
bool mri_moments_agree(const mr_moments *a, const mr_moments *b);
/* What `m` becomes when (x - m.min) / (m.max - m.min) is applied; a constant
 * becomes zeros. */
mr_moments mri_moments_unit(const mr_moments *m);

#endif
