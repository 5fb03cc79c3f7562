/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moments.h - one pass over a field: count, range, sum, sum of squares.
 */
#ifndef MRI_MOMENTS_H
#define MRI_MOMENTS_H

#include "rows.h"

/*
 * Moments of `channel` of a row-major field, over physical values; elements
 * that are NaN or infinite are counted apart. Integers are summed exactly.
 *
 * bound   |mean - exact| <= 1e-6 (|mean| + std) and the same for std, any
 *         field (settled rule 21a; moments_test.c)
 */
void mri_moments_of(mri_moment_row *out, const mri_grid_row *g,
                    const void *pixels, uint32_t channel, double slope,
                    double inter);

/* Channels: the length of axis C, or 1. */
uint32_t mri_channels_of(const mri_grid_row *g);

void mri_moments_merge(mr_moments *to, const mr_moments *from);
/* What `m` becomes when (x - m.min) / (m.max - m.min) is applied; a constant
 * becomes zeros. */
mr_moments mri_moments_unit(const mr_moments *m);

#endif
