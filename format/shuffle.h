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

/* Rows of n elements each, evenly apart on either side. */
typedef struct mri_plane_rows {
    uint8_t *to;
    const uint8_t *from;
    ptrdiff_t to_step, from_step; /* bytes from a row to the next */
    size_t rows, n;
    size_t plane; /* from byte k of an element to its byte k + 1 */
} mri_plane_rows;

/* Row by row: to[i * element + k] = from[k * plane + i]. */
void mri_unshuffle_rows(const mri_plane_rows *rows, unsigned element);

#endif
