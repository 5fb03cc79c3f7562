/* SPDX-License-Identifier: Apache-2.0 */
/* exif.c - one number out of a block of EXIF: which way is up. */
#include "decoder.h"

#include <mri/bytes.h>

#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT 3

static uint16_t
get16(const uint8_t *p, bool big)
{
    uint16_t v = mri_get16(p);

    return big ? __builtin_bswap16(v) : v;
}

static uint32_t
get32(const uint8_t *p, bool big)
{
    return big ? __builtin_bswap32(mri_get32(p)) : mri_get32(p);
}

uint8_t
exif_orientation(const uint8_t *p, size_t len)
{
    bool big;
    uint32_t at;
    uint16_t entries;

    if (len < 8 || p[0] != p[1] || (p[0] != 'I' && p[0] != 'M')) {
        return 0;
    }
    big = p[0] == 'M';
    at = get32(p + 4, big);
    if (get16(p + 2, big) != 42 || at > len - 2) {
        return 0;
    }
    entries = get16(p + at, big);
    at += 2;
    for (uint16_t i = 0; i < entries && len - at >= 12; i++, at += 12) {
        if (get16(p + at, big) == TAG_ORIENTATION) {
            uint16_t v = get16(p + at + 8, big);

            return get16(p + at + 2, big) == TYPE_SHORT && v >= 1 && v <= 8
                       ? (uint8_t)v
                       : 0;
        }
    }
    return 0;
}
