/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delta.h - each element's difference from the one before, small ones as small
 * numbers whatever their sign: what zstd likes of smooth data.
 */
#ifndef MRI_DELTA_H
#define MRI_DELTA_H

#include <stddef.h>
#include <stdint.h>

/* With d = in[i] - in[i - 1] (the first: - 0), as the element's own width
 * counts: out[i] = 2 d, or -2 d - 1 where d < 0. element 1, 2, 4 or 8. */
void mri_delta(uint8_t *out, const uint8_t *in, size_t n, unsigned element);
/* The reverse, in place. */
void mri_undelta(uint8_t *data, size_t n, unsigned element);

#endif
