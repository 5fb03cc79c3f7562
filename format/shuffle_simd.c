/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shuffle_simd.c - compiled once a level; the loops are written so that the
 * compiler's vectoriser sees whole elements and k independent planes.
 */
#include "shuffle_simd.h"

#include <mri/cpu.h>

#include <string.h>

#define shuffle_at MRI_AT_LEVEL(mri_shuffle_at)
#define unshuffle_at MRI_AT_LEVEL(mri_unshuffle_at)

#define PLANES(type, k)                                                        \
    static void split_##type(uint8_t *restrict out, const type *restrict in,   \
                             size_t n)                                         \
    {                                                                          \
        for (unsigned b = 0; b < (k); b++) {                                   \
            uint8_t *restrict plane = out + b * n;                             \
            for (size_t i = 0; i < n; i++) {                                   \
                plane[i] = (uint8_t)(in[i] >> 8 * b);                          \
            }                                                                  \
        }                                                                      \
    }
PLANES(uint16_t, 2)
PLANES(uint32_t, 4)
PLANES(uint64_t, 8)

static void
join_uint16_t(uint16_t *restrict out, const uint8_t *restrict in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (uint16_t)(in[i] | in[n + i] << 8);
    }
}

static void
join_uint32_t(uint32_t *restrict out, const uint8_t *restrict in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = in[i] | (uint32_t)in[n + i] << 8 |
                 (uint32_t)in[2 * n + i] << 16 | (uint32_t)in[3 * n + i] << 24;
    }
}

static void
join_uint64_t(uint64_t *restrict out, const uint8_t *restrict in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t v = 0;

        for (unsigned b = 0; b < 8; b++) {
            v |= (uint64_t)in[b * n + i] << 8 * b;
        }
        out[i] = v;
    }
}

/* Chunks come from aligned buffers, but nothing promises it: odd addresses
 * take the plain loop. */
static int
aligned(const void *p, unsigned element)
{
    return (uintptr_t)p % element == 0;
}

void
shuffle_at(uint8_t *out, const uint8_t *in, size_t n, unsigned element)
{
    const void *p = in;

    if (element == 2 && aligned(in, 2)) {
        split_uint16_t(out, p, n);
    } else if (element == 4 && aligned(in, 4)) {
        split_uint32_t(out, p, n);
    } else if (element == 8 && aligned(in, 8)) {
        split_uint64_t(out, p, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            for (unsigned b = 0; b < element; b++) {
                out[b * n + i] = in[i * element + b];
            }
        }
    }
}

void
unshuffle_at(uint8_t *out, const uint8_t *in, size_t n, unsigned element)
{
    void *p = out;

    if (element == 2 && aligned(out, 2)) {
        join_uint16_t(p, in, n);
    } else if (element == 4 && aligned(out, 4)) {
        join_uint32_t(p, in, n);
    } else if (element == 8 && aligned(out, 8)) {
        join_uint64_t(p, in, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            for (unsigned b = 0; b < element; b++) {
                out[i * element + b] = in[b * n + i];
            }
        }
    }
}
