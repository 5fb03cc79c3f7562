/* SPDX-License-Identifier: Apache-2.0 */
/*
 * half.h - floats of 16 bits, as f32. Both are exact; NaN stays NaN with its
 * bits. Plain enough for a compiler to make vectors of a loop over them.
 */
#ifndef MRI_HALF_H
#define MRI_HALF_H

#include <stdint.h>
#include <string.h>

/* IEEE 754 binary16. */
static inline float
mri_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31,
             m = h & 1023, u;
    float f;

    if (e == 0) { /* zero, or too small for a leading one */
        f = (float)m * 0x1p-24f;
        return sign != 0 ? -f : f;
    }
    u = e == 31 ? sign | 0x7F800000u | m << 13
                : sign | (e + 112) << 23 | m << 13;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* bfloat16: the upper half of an f32. */
static inline float
mri_bf16_to_f32(uint16_t b)
{
    uint32_t u = (uint32_t)b << 16;
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

#endif
