/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delta_simd.c - compiled once a level: sums of folded differences.
 *
 * Each element waits for the one before it, so a plain loop does one at a time.
 * Within a vector, sums of 2, 4, 8 .. neighbours take a shift and an addition
 * each; the sum of all vectors before is added last, and is the only thing that
 * one vector waits for. Sums are modulo 2^k, so their order does not matter.
 */
#include "delta_simd.h"

#include <mri/cpu.h>

#include <string.h>

#define LEVEL_scalar 0
#define LEVEL_sse2 1
#define LEVEL_avx2 2
#define LEVEL_avx512 2
#define LEVEL MRI_PASTE(LEVEL, MRI_LEVEL)

/* From element i on, `last` stands before it. */
#define PLAIN(type)                                                            \
    static void plain_##type(uint8_t *data, size_t i, size_t n, type last)     \
    {                                                                          \
        for (; i < n; i++) {                                                   \
            type d;                                                            \
                                                                               \
            memcpy(&d, data + i * sizeof d, sizeof d);                         \
            last = (type)(last + ((d >> 1) ^ (type)(0 - (d & 1))));            \
            memcpy(data + i * sizeof d, &last, sizeof d);                      \
        }                                                                      \
    }
PLAIN(uint8_t)
PLAIN(uint16_t)
PLAIN(uint32_t)
PLAIN(uint64_t)

#if LEVEL == 0

#define UNDELTA(type)                                                          \
    static void undelta_##type(uint8_t *data, size_t n)                        \
    {                                                                          \
        plain_##type(data, 0, n, 0);                                           \
    }

#else

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* A vector is one lane of 16 bytes or two. SLIDE moves each lane's bytes up by
 * a constant; `ends` gives each lane its last element throughout. Of these,
 * `first` and `second` are those of one lane in both, `carried` what the second
 * lane has to add: that of the first. */
#if LEVEL == 1
typedef __m128i lanes;
#define SLIDE(v, bytes) _mm_slli_si128((__m128i)(v), bytes)

INLINE lanes
ends(lanes v, size_t size)
{
    if (size == 1) {
        v = _mm_unpackhi_epi8(v, v); /* then the last is one of two bytes */
    }
    if (size <= 2) {
        v = _mm_shufflehi_epi16(v, 0xFF);
    }
    return size == 8 ? _mm_unpackhi_epi64(v, v) : _mm_shuffle_epi32(v, 0xFF);
}

INLINE lanes
first(lanes end)
{
    return end;
}

INLINE lanes
second(lanes end)
{
    (void)end;
    return _mm_setzero_si128();
}

INLINE lanes
carried(lanes end)
{
    (void)end;
    return _mm_setzero_si128();
}
#else
typedef __m256i lanes;
#define SLIDE(v, bytes) _mm256_slli_si256((__m256i)(v), bytes)

INLINE lanes
ends(lanes v, size_t size)
{
    const __m128i from = size == 1   ? _mm_set1_epi8(0x0F)
                         : size == 2 ? _mm_set1_epi16(0x0F0E)
                         : size == 4 ? _mm_set1_epi32(0x0F0E0D0C)
                                     : _mm_set1_epi64x(0x0F0E0D0C0B0A0908);

    return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(from));
}

INLINE lanes
first(lanes end)
{
    return _mm256_permute2x128_si256(end, end, 0x00);
}

INLINE lanes
second(lanes end)
{
    return _mm256_permute2x128_si256(end, end, 0x11);
}

INLINE lanes
carried(lanes end)
{
    return _mm256_permute2x128_si256(end, end, 0x08);
}
#endif

#define UNDELTA(type)                                                          \
    typedef type vec_##type __attribute__((vector_size(sizeof(lanes))));       \
    static void undelta_##type(uint8_t *data, size_t n)                        \
    {                                                                          \
        const size_t size = sizeof(type), count = sizeof(lanes) / size;        \
        vec_##type v, before = {0};                                            \
        size_t i = 0;                                                          \
                                                                               \
        for (; i + count <= n; i += count) {                                   \
            lanes end;                                                         \
                                                                               \
            memcpy(&v, data + i * size, sizeof v);                             \
            v = (v >> 1) ^ (0 - (v & 1));                                      \
            if (size < 2) {                                                    \
                v += (vec_##type)SLIDE(v, 1);                                  \
            }                                                                  \
            if (size < 4) {                                                    \
                v += (vec_##type)SLIDE(v, 2);                                  \
            }                                                                  \
            if (size < 8) {                                                    \
                v += (vec_##type)SLIDE(v, 4);                                  \
            }                                                                  \
            v += (vec_##type)SLIDE(v, 8);                                      \
            end = ends((lanes)v, size);                                        \
            v += before + (vec_##type)carried(end);                            \
            before += (vec_##type)first(end) + (vec_##type)second(end);        \
            memcpy(data + i * size, &v, sizeof v);                             \
        }                                                                      \
        plain_##type(data, i, n, before[0]);                                   \
    }

#endif

UNDELTA(uint8_t)
UNDELTA(uint16_t)
UNDELTA(uint32_t)
UNDELTA(uint64_t)

void
MRI_AT_LEVEL(mri_undelta_at)(uint8_t *data, size_t n, unsigned element)
{
    switch (element) {
    case 1:
        undelta_uint8_t(data, n);
        break;
    case 2:
        undelta_uint16_t(data, n);
        break;
    case 4:
        undelta_uint32_t(data, n);
        break;
    default:
        undelta_uint64_t(data, n);
        break;
    }
}
