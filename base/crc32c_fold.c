/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c_fold.c - folding with VPCLMULQDQ, 128 or 256 bytes at a time.
 *
 * A CRC is what is left of a polynomial after division. 16 bytes that stand D
 * bits before others may be added to them once multiplied by x^D mod P, their
 * two halves apart, since x^D is nowhere needed above 64 bits: two products and
 * two additions for 16 bytes, 32 or 64 of them by one instruction. Four vectors
 * go side by side, or each would wait for its own product.
 */
#include "crc32c_fold.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,vpclmulqdq,pclmul")))
#define AVX512 __attribute__((target("avx512f,vpclmulqdq,pclmul")))

AVX2 static inline __m256i
load256(const uint8_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

AVX2 static inline __m256i
keys256(const uint64_t by[2])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)by));
}

/* `a` moved on, and what stands there added. */
AVX2 static inline __m256i
fold256(__m256i a, __m256i by, __m256i there)
{
    __m256i first = _mm256_clmulepi64_epi128(a, by, 0x00);
    __m256i last = _mm256_clmulepi64_epi128(a, by, 0x11);

    return _mm256_xor_si256(_mm256_xor_si256(first, last), there);
}

AVX2 size_t
mri_fold_avx2(uint8_t rest[MRI_FOLD_REST], const mri_fold_keys *keys,
              uint32_t crc, const uint8_t *p, size_t bytes)
{
    enum { VECTOR = 32, STEP = MRI_FOLD_LANES * VECTOR };
    const __m256i all = keys256(keys->by_128), one = keys256(keys->by_32);
    const uint8_t *begin = p, *end = p + bytes;
    __m256i a = _mm256_xor_si256(
        load256(p), _mm256_set_epi32(0, 0, 0, 0, 0, 0, 0, (int)crc));
    __m256i b = load256(p + VECTOR), c = load256(p + 2 * VECTOR),
            d = load256(p + 3 * VECTOR);

    for (p += STEP; end - p >= STEP; p += STEP) {
        a = fold256(a, all, load256(p));
        b = fold256(b, all, load256(p + VECTOR));
        c = fold256(c, all, load256(p + 2 * VECTOR));
        d = fold256(d, all, load256(p + 3 * VECTOR));
    }
    d = fold256(fold256(fold256(a, one, b), one, c), one, d);
    for (; end - p >= VECTOR; p += VECTOR) {
        d = fold256(d, one, load256(p));
    }
    _mm256_storeu_si256((void *)rest, d);
    return (size_t)(p - begin);
}

AVX512 static inline __m512i
load512(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

AVX512 static inline __m512i
keys512(const uint64_t by[2])
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)by));
}

AVX512 static inline __m512i
fold512(__m512i a, __m512i by, __m512i there)
{
    enum { XOR3 = 0x96 };
    __m512i first = _mm512_clmulepi64_epi128(a, by, 0x00);
    __m512i last = _mm512_clmulepi64_epi128(a, by, 0x11);

    return _mm512_ternarylogic_epi64(first, last, there, XOR3);
}

AVX512 size_t
mri_fold_avx512(uint8_t rest[MRI_FOLD_REST], const mri_fold_keys *keys,
                uint32_t crc, const uint8_t *p, size_t bytes)
{
    enum { VECTOR = 64, STEP = MRI_FOLD_LANES * VECTOR };
    const __m512i all = keys512(keys->by_256), one = keys512(keys->by_64);
    const uint8_t *begin = p, *end = p + bytes;
    __m512i a = _mm512_xor_si512(
        load512(p), _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
    __m512i b = load512(p + VECTOR), c = load512(p + 2 * VECTOR),
            d = load512(p + 3 * VECTOR);

    for (p += STEP; end - p >= STEP; p += STEP) {
        a = fold512(a, all, load512(p));
        b = fold512(b, all, load512(p + VECTOR));
        c = fold512(c, all, load512(p + 2 * VECTOR));
        d = fold512(d, all, load512(p + 3 * VECTOR));
    }
    d = fold512(fold512(fold512(a, one, b), one, c), one, d);
    for (; end - p >= VECTOR; p += VECTOR) {
        d = fold512(d, one, load512(p));
    }
    _mm512_storeu_si512((void *)rest, d);
    return (size_t)(p - begin);
}
#endif
