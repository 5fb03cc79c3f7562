/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.h - little-endian fields, and a buffer that grows.
 */
#ifndef MRI_BYTES_H
#define MRI_BYTES_H

#include <mri/door.h>

#include <string.h>

MRI_BEGIN

static inline uint16_t
mri_get16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap16(v);
#endif
    return v;
}

static inline uint32_t
mri_get32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}

static inline uint64_t
mri_get64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

static inline void
mri_put16(void *p, uint16_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap16(v);
#endif
    memcpy(p, &v, sizeof v);
}

static inline void
mri_put32(void *p, uint32_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    memcpy(p, &v, sizeof v);
}

static inline void
mri_put64(void *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(p, &v, sizeof v);
}

/* Round up to a multiple of `to`, a power of two. */
static inline uint64_t
mri_round_up(uint64_t v, uint64_t to)
{
    return (v + to - 1) & ~(to - 1);
}

/* True if all of them are zero. */
bool mri_all_zero(const void *p, size_t bytes);

/* Bytes to lower-case hex; out holds 2 * bytes + 1. Returns out. */
char *mri_hex(char *out, const void *p, size_t bytes);
/* The reverse; false unless exactly 2 * bytes hex digits and the end. */
bool mri_unhex(void *out, size_t bytes, const char *hex);

/* A buffer that grows. Zero it to start; release when done. */
typedef struct mri_bytes {
    uint8_t *data;
    size_t len, room;
} mri_bytes;

/* False when memory is out; then nothing was added. */
bool mri_bytes_add(mri_bytes *b, const void *p, size_t bytes);
bool mri_bytes_zero(mri_bytes *b, size_t bytes); /* append zeros */
bool mri_bytes_u32(mri_bytes *b, uint32_t v);
bool mri_bytes_u64(mri_bytes *b, uint64_t v);
bool mri_bytes_text(mri_bytes *b, const char *fmt, ...) MRI_PRINTF(2, 3);
/* Room for so many more; then `data` points somewhere, also for none. */
bool mri_bytes_reserve(mri_bytes *b, size_t more);
void mri_bytes_release(mri_bytes *b);

MRI_END

#endif
