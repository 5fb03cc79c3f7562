/* SPDX-License-Identifier: Apache-2.0 */
/* swap.c - the other byte order; compiled with -O3, so that it vectorises. */
#include "decoder.h"

static void
swap16(uint16_t *restrict p, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        p[i] = (uint16_t)(p[i] << 8 | p[i] >> 8);
    }
}

static void
swap32(uint32_t *restrict p, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        p[i] = __builtin_bswap32(p[i]);
    }
}

static void
swap64(uint64_t *restrict p, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        p[i] = __builtin_bswap64(p[i]);
    }
}

void
swap_bytes(void *p, uint64_t count, size_t size)
{
    switch (size) {
    case 2:
        swap16(p, count);
        break;
    case 4:
        swap32(p, count);
        break;
    case 8:
        swap64(p, count);
        break;
    default:
        break;
    }
}
