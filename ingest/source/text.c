/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - texts of foreign files, which may be in any encoding, as UTF-8. */
#include "decoder.h"

#include <mri/alloc.h>

#include <string.h>

/* Length of the UTF-8 sequence at p, 0 if it is none. */
static size_t
utf8_len(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80                   ? 1
               : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
               : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
               : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                             : 0;

    if (n > left || p[0] == 0) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) {
        return 0;
    }
    return n;
}

bool
text_is_utf8(const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len((const uint8_t *)text + i, len - i);

        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

bool
text_add_latin1(mri_bytes *out, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t c = p[i];
        uint8_t two[2] = {(uint8_t)(0xc0 | c >> 6), (uint8_t)(0x80 | (c & 63))};

        if (c < 0x80 ? !mri_bytes_add(out, &c, 1)
                     : !mri_bytes_add(out, two, 2)) {
            return false;
        }
    }
    return true;
}

char *
text_utf8(const char *text, size_t len)
{
    const char *zero = len != 0 ? memchr(text, 0, len) : NULL;
    mri_bytes out = {0};
    bool ok;

    len = zero != NULL ? (size_t)(zero - text) : len;
    ok = text_is_utf8(text, len)
             ? mri_bytes_add(&out, text, len)
             : text_add_latin1(&out, (const uint8_t *)text, len);
    if (!ok || !mri_bytes_zero(&out, 1)) {
        mri_bytes_release(&out);
    }
    return (char *)out.data;
}
