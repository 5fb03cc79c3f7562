/* SPDX-License-Identifier: Apache-2.0 */
/* png_text.c - the free texts of a PNG, for those who ask to keep them. */
#include "png_walk.h"

#include "decoder.h"

#include <mri/alloc.h>

#include <libdeflate.h>
#include <string.h>

static bool
add_text(mri_bytes *out, const uint8_t *p, size_t len, bool utf8)
{
    return utf8 ? mri_bytes_add(out, p, len) : text_add_latin1(out, p, len);
}

/* As add_text, from a zlib stream. deflate cannot do better than 1,032 to 1,
 * which bounds the room before anything is inflated; that room is spent whether
 * or not the stream is sound, so that many broken ones cost no more. */
static bool
add_packed(mri_bytes *out, const uint8_t *p, size_t len, bool utf8,
           uint64_t *left)
{
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    uint64_t room = (uint64_t)len * 1032 + 64;
    uint8_t *raw;
    size_t got = 0;
    bool ok = false;

    room = room < *left ? room : *left;
    *left -= room;
    raw = mri_alloc_pixels(room, 1);
    if (d != NULL && raw != NULL) {
        ok = libdeflate_zlib_decompress(d, p, len, raw, room, &got) !=
                 LIBDEFLATE_SUCCESS ||
             add_text(out, raw, got, utf8);
    }
    mri_free(raw);
    libdeflate_free_decompressor(d);
    return ok;
}

/* Bytes up to and with the next zero; false if there is none. */
static bool
skip_word(const uint8_t **p, size_t *len)
{
    const uint8_t *zero = memchr(*p, 0, *len);

    if (zero == NULL) {
        return false;
    }
    *len -= (size_t)(zero + 1 - *p);
    *p = zero + 1;
    return true;
}

bool
png_text_line(mri_bytes *out, const png_chunk *chunk, uint64_t *left)
{
    const uint8_t *p = chunk->body;
    size_t len = chunk->body_bytes;
    bool utf8 = chunk->type == PNG_ITXT, packed = chunk->type == PNG_ZTXT;
    bool ok;

    if (!skip_word(&p, &len) || chunk->body_bytes > *left) {
        return true;
    }
    *left -= chunk->body_bytes;
    ok = text_add_latin1(out, chunk->body, (size_t)(p - chunk->body) - 1) &&
         mri_bytes_add(out, ": ", 2);
    if (utf8 && len >= 2) { /* flag, method, language, translated keyword */
        packed = p[0] != 0;
        p += 2;
        len -= 2;
        if (!skip_word(&p, &len) || !skip_word(&p, &len)) {
            len = 0;
        }
    } else if (packed && len >= 1) { /* method */
        p++;
        len--;
    }
    if (ok && packed) {
        ok = add_packed(out, p, len, utf8, left);
    } else if (ok) {
        ok = add_text(out, p, len, utf8);
    }
    return ok && mri_bytes_add(out, "\n", 1);
}
