/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jpeg_make.h - JPEGs for tests, written with libjpeg.
 */
#ifndef MR_JPEG_MAKE_H
#define MR_JPEG_MAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct jpeg_made {
    uint32_t width, height;
    uint32_t channels; /* 1 or 3 */
    int quality;
    int h, v; /* luma sampling: 2, 2 is 4:2:0 */
    bool progressive;
} jpeg_made;

/* A smooth picture with edges and some noise, from a seed: [h][w][channels],
 * malloc. */
uint8_t *jpeg_picture(const jpeg_made *how, uint64_t seed);
/* That picture as a JPEG; malloc. Aborts if it cannot. */
uint8_t *jpeg_make(const jpeg_made *how, uint64_t seed, size_t *bytes);

#endif
