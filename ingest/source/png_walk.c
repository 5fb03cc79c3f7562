/* SPDX-License-Identifier: Apache-2.0 */
/* png_walk.c - the chunks of a PNG, each proven by its checksum. */
#include "png_walk.h"

#include "decoder.h"

#include <inttypes.h>
#include <libdeflate.h>

static mr_err
ends(const png_walk *w, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_PNG_DAMAGED, w->len,
                    "the PNG ends here, before its closing chunk (IEND)");
}

static bool
is_letter(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool
is_type(const uint8_t *p)
{
    return is_letter(p[0]) && is_letter(p[1]) && is_letter(p[2]) &&
           is_letter(p[3]);
}

static mr_err
check_crc(const png_walk *w, const png_chunk *chunk, mr_diag *diag)
{
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    const uint8_t *type = w->p + chunk->at + 4;
    uint32_t want = png_get32(chunk->body + chunk->body_bytes);
    uint32_t got = libdeflate_crc32(0, type, chunk->body_bytes + 4u);

    if (w->check && want != got) {
        return mri_fail(diag, MRI_E_PNG_DAMAGED, chunk->at,
                        "chunk %.4s fails its checksum (stored %08" PRIx32
                        ", computed %08" PRIx32 ")",
                        (const char *)type, want, got);
    }
#else
    (void)w;
    (void)chunk;
    (void)diag;
#endif
    return MR_OK;
}

mr_err
png_next(png_walk *w, png_chunk *chunk, mr_diag *diag)
{
    size_t at = w->at != 0 ? w->at : PNG_SIGNATURE;
    const uint8_t *p = w->p + at;
    uint32_t body;

    if (w->len < at || w->len - at < PNG_FRAME) {
        return ends(w, diag);
    }
    body = png_get32(p);
    if (!is_type(p + 4) || body > INT32_MAX) {
        return mri_fail(diag, MRI_E_PNG_DAMAGED, at,
                        "no chunk where one is due");
    }
    if (body > w->len - at - PNG_FRAME) {
        return ends(w, diag);
    }
    *chunk = (png_chunk){
        .type = png_get32(p + 4),
        .at = at,
        .bytes = (size_t)body + PNG_FRAME,
        .body = p + 8,
        .body_bytes = body,
    };
    /* Image data are decoded piece by piece: their length costs nothing. */
    if (chunk->type != PNG_IDAT && body > w->chunk_bytes) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, at,
                        "chunk %.4s of %" PRIu32 " bytes, more than the limit "
                        "png_chunk_bytes of %" PRIu64,
                        (const char *)p + 4, body, w->chunk_bytes);
    }
    w->at = at + chunk->bytes;
    return check_crc(w, chunk, diag);
}
