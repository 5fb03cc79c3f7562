/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pixels.h - a window of a sample's field in memory, in any layout.
 */
#ifndef MRI_STREAM_PIXELS_H
#define MRI_STREAM_PIXELS_H

#include "act.h"

/*
 * Element (c, z, y, x) stands at
 *   data[at[c] + (z - first[0]) * step[0] + (y - first[1]) * step[1]
 *        + (x - first[2]) * step[2]]
 * for first <= (z, y, x) < first + have; the whole has `size`.
 */
typedef struct mri_pixels {
    const void *data;
    mr_dtype dtype;
    bool clean;  /* f32 that went through `load` already: all finite */
    bool scaled; /* the value is v * slope + inter */
    double slope, inter;
    uint32_t channels;
    const uint64_t *at;
    uint64_t size[3];
    uint64_t first[3], have[3];
    uint64_t step[3];
    /* The whole was decoded at 1 / shrink: size is that of the original,
     * everything else that of what was decoded. */
    unsigned shrink;
} mri_pixels;

static inline const uint8_t *
mri_pixels_at(const mri_pixels *p, uint32_t c, uint64_t z, uint64_t y,
              uint64_t x)
{
    uint64_t i = p->at[c] + (z - p->first[0]) * p->step[0] +
                 (y - p->first[1]) * p->step[1] +
                 (x - p->first[2]) * p->step[2];

    return (const uint8_t *)p->data + i * mr_dtype_bytes(p->dtype);
}

#endif
