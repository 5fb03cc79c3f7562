/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shuffle_simd.c - compiled once a level; the loops are written so that the
 * compiler's vectoriser sees whole elements and k independent planes.
 */
#include "shuffle_simd.h"

#include <mri/cpu.h>

#include <stdbool.h>
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

static inline uint16_t
take_uint16_t(const uint8_t *in, size_t plane)
{
    return (uint16_t)(in[0] | in[plane] << 8);
}

static inline uint32_t
take_uint32_t(const uint8_t *in, size_t plane)
{
    return in[0] | (uint32_t)in[plane] << 8 | (uint32_t)in[2 * plane] << 16 |
           (uint32_t)in[3 * plane] << 24;
}

static inline uint64_t
take_uint64_t(const uint8_t *in, size_t plane)
{
    return take_uint32_t(in, plane) |
           (uint64_t)take_uint32_t(in + 4 * plane, plane) << 32;
}

/* Rows are often shorter than 32 and all of one length, so the block is chosen
 * once, and a row's last block may overlap the one before: no tail. */
#define JOIN(type)                                                             \
    static inline void block_##type(type *restrict out,                        \
                                    const uint8_t *restrict in, size_t plane,  \
                                    size_t block)                              \
    {                                                                          \
        for (size_t k = 0; k < block; k++) {                                   \
            out[k] = take_##type(in + k, plane);                               \
        }                                                                      \
    }                                                                          \
    static inline __attribute__((always_inline)) void blocks_##type(           \
        const mri_plane_rows *r, size_t block)                                 \
    {                                                                          \
        size_t rows = r->rows, plane = r->plane, last = r->n - block;          \
        ptrdiff_t from_step = r->from_step, to_step = r->to_step;              \
        const uint8_t *in = r->from;                                           \
        uint8_t *out = r->to;                                                  \
                                                                               \
        for (; rows > 0; rows--) {                                             \
            for (size_t i = 0; i < last; i += block) {                         \
                block_##type((type *)(void *)out + i, in + i, plane, block);   \
            }                                                                  \
            block_##type((type *)(void *)out + last, in + last, plane, block); \
            out += to_step;                                                    \
            in += from_step;                                                   \
        }                                                                      \
    }                                                                          \
    static void join_##type(const mri_plane_rows *r)                           \
    {                                                                          \
        if (r->n >= 32) {                                                      \
            blocks_##type(r, 32);                                              \
        } else if (r->n >= 16) {                                               \
            blocks_##type(r, 16);                                              \
        } else if (r->n >= 8) {                                                \
            blocks_##type(r, 8);                                               \
        } else if (r->n > 0) {                                                 \
            blocks_##type(r, 1);                                               \
        }                                                                      \
    }
JOIN(uint16_t)
JOIN(uint32_t)
JOIN(uint64_t)

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

static void
join_bytes(const mri_plane_rows *r, unsigned element)
{
    const uint8_t *in = r->from;
    uint8_t *out = r->to;

    for (size_t row = 0; row < r->rows; row++) {
        for (size_t i = 0; i < r->n; i++) {
            for (unsigned b = 0; b < element; b++) {
                out[i * element + b] = in[b * r->plane + i];
            }
        }
        out += r->to_step;
        in += r->from_step;
    }
}

void
unshuffle_at(const mri_plane_rows *r, unsigned element)
{
    bool even = aligned(r->to, element) && r->to_step % (int)element == 0;

    if (element == 2 && even) {
        join_uint16_t(r);
    } else if (element == 4 && even) {
        join_uint32_t(r);
    } else if (element == 8 && even) {
        join_uint64_t(r);
    } else {
        join_bytes(r, element);
    }
}
