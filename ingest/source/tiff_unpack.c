/* SPDX-License-Identifier: Apache-2.0 */
/* tiff_unpack.c - samples of odd widths, first one in the highest bits. */
#include "tiff_read.h"

/* 1, 2 and 4 bits: a byte holds whole samples. */
static void
unpack_even(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t bits)
{
    uint32_t per = 8 / bits, mask = (1u << bits) - 1;
    uint64_t whole = count / per;

    for (uint64_t i = 0; i < whole; i++) {
        for (uint32_t k = 0; k < per; k++) {
            *to++ = (uint8_t)(from[i] >> (8 - bits * (k + 1)) & mask);
        }
    }
    for (uint64_t k = 0; k < count % per; k++) {
        *to++ = (uint8_t)(from[whole] >> (8 - bits * (k + 1)) & mask);
    }
}

void
tiff_unpack8(uint8_t *to, const uint8_t *from, uint64_t count, uint32_t bits)
{
    uint32_t mask = (1u << bits) - 1, held = 0, have = 0;

    if (8 % bits == 0) {
        unpack_even(to, from, count, bits);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (have < bits) {
            held = held << 8 | *from++;
            have += 8;
        }
        have -= bits;
        to[i] = (uint8_t)(held >> have & mask);
    }
}

void
tiff_unpack16(uint16_t *to, const uint8_t *from, uint64_t count, uint32_t bits)
{
    uint32_t mask = (1u << bits) - 1, held = 0, have = 0;

    for (uint64_t i = 0; i < count; i++) {
        while (have < bits) {
            held = held << 8 | *from++;
            have += 8;
        }
        have -= bits;
        to[i] = (uint16_t)(held >> have & mask);
    }
}
