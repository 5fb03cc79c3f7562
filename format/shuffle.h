/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shuffle.h - byte k of every element together: what LZ4 likes of numbers.
 */
#ifndef MRI_SHUFFLE_H
#define MRI_SHUFFLE_H

#include <stddef.h>
#include <stdint.h>

/* out[k * n + i] = in[i * element + k]; element 1, 2, 4 or 8; no overlap */
void mri_shuffle(uint8_t *out, const uint8_t *in, size_t n, unsigned element);
void mri_unshuffle(uint8_t *out, const uint8_t *in, size_t n, unsigned element);

#endif
