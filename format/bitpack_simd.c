/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bitpack_simd.c - compiled once a level: numbers into as many bits as they
 * need, and back.
 *
 * A block lies as rows of 16 bytes, so that a vector does to each lane what a
 * loop would do to one number. The width is a constant in each of the loops
 * that `switch` chooses from: every shift is known, nothing branches.
 */
#include "bitpack_simd.h"

#include <mri/cpu.h>

#include <string.h>

#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define LANES 16 /* bytes of a row */
#define LINE 64  /* of the cache */

typedef uint8_t vec_8 __attribute__((vector_size(LANES)));
typedef uint16_t vec_16 __attribute__((vector_size(LANES)));

/* Lines of what comes next for each block, so that all have been asked for at
 * the end; at most as many as of a block that did not shrink. */
INLINE size_t
fetch_share(const mri_blocks *b)
{
    size_t lines = (b->ahead.bytes + LINE - 1) / LINE, most = 4, each;

    each = b->count != 0 ? (lines + b->count - 1) / b->count : 0;
    return (each < most ? each : most) * LINE;
}

INLINE void
fetch(uintptr_t next, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += LINE) {
        __builtin_prefetch((const void *)(next + i));
    }
}

#define NUMBER uint8_t
#define NUMBER_BITS 8
#define SIGNED int8_t
#define VECTOR vec_8
#define NAME(x) x##_8
#include "bitpack_lanes.h"

#define NUMBER uint16_t
#define NUMBER_BITS 16
#define SIGNED int16_t
#define VECTOR vec_16
#define NAME(x) x##_16
#include "bitpack_lanes.h"

void
MRI_AT_LEVEL(mri_blocks_scan)(const mri_blocks *b)
{
    if (b->size == 1) {
        scan_all_8(b);
    } else {
        scan_all_16(b);
    }
}

void
MRI_AT_LEVEL(mri_blocks_pack)(const mri_blocks *b)
{
    if (b->size == 1) {
        pack_all_8(b);
    } else {
        pack_all_16(b);
    }
}

void
MRI_AT_LEVEL(mri_blocks_unpack)(const mri_blocks *b)
{
    if (b->size == 1) {
        unpack_all_8(b);
    } else {
        unpack_all_16(b);
    }
}

#if defined(__AVX512BW__)
/* 32 numbers at a time: the table is eight registers, and a permute chooses
 * from two of them. */
static size_t
look_up_32(uint8_t *to, const uint8_t *from, size_t n, const uint16_t *table)
{
    __m512i t[8];
    size_t i = 0;

    for (unsigned k = 0; k < 8; k++) {
        t[k] = _mm512_loadu_si512(table + 32 * k);
    }
    for (; i + 32 <= n; i += 32) {
        const void *p = from + i;
        __m512i at = _mm512_cvtepu8_epi16(_mm256_loadu_si256(p));
        __mmask32 odd = _mm512_test_epi16_mask(at, _mm512_set1_epi16(64));
        __mmask32 high = _mm512_test_epi16_mask(at, _mm512_set1_epi16(128));
        __m512i a = _mm512_permutex2var_epi16(t[0], at, t[1]);
        __m512i b = _mm512_permutex2var_epi16(t[2], at, t[3]);
        __m512i c = _mm512_permutex2var_epi16(t[4], at, t[5]);
        __m512i d = _mm512_permutex2var_epi16(t[6], at, t[7]);

        a = _mm512_mask_blend_epi16(odd, a, b);
        c = _mm512_mask_blend_epi16(odd, c, d);
        _mm512_storeu_si512(to + 2 * i, _mm512_mask_blend_epi16(high, a, c));
    }
    return i;
}
#else
static size_t
look_up_32(uint8_t *to, const uint8_t *from, size_t n, const uint16_t *table)
{
    size_t i = 0;

    for (; i + 4 <= n; i += 4) { /* one store for four */
        uint64_t four = table[from[i]] | (uint64_t)table[from[i + 1]] << 16 |
                        (uint64_t)table[from[i + 2]] << 32 |
                        (uint64_t)table[from[i + 3]] << 48;

        memcpy(to + 2 * i, &four, sizeof four);
    }
    return i;
}
#endif

void
MRI_AT_LEVEL(mri_look_up)(uint8_t *to, const uint8_t *from, size_t n,
                          const uint16_t *table)
{
    for (size_t i = look_up_32(to, from, n, table); i < n; i++) {
        memcpy(to + 2 * i, &table[from[i]], sizeof *table);
    }
}
