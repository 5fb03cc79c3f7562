/* SPDX-License-Identifier: Apache-2.0 */
/* jpeg_walk.c - the markers of a JPEG, and which of them are the picture. */
#include "jpeg_walk.h"

#include "decoder.h"

#include <inttypes.h>
#include <string.h>

#define BLOCK 8 /* a DCT block is 8 x 8 */

static mr_err
ends(const jpeg_walk *w, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_JPEG_DAMAGED, w->len,
                    "the JPEG ends here, before its closing marker (EOI)");
}

static bool
is_bare(uint8_t marker)
{
    return marker == 0x01 || (marker >= JPEG_RST0 && marker <= JPEG_EOI);
}

mr_err
jpeg_next(jpeg_walk *w, jpeg_piece *piece, mr_diag *diag)
{
    size_t at = w->at, body;

    while (at + 1 < w->len && w->p[at] == 0xff && w->p[at + 1] == 0xff) {
        at++; /* any number of fill bytes may stand before a marker */
    }
    if (at + 1 >= w->len) {
        return ends(w, diag);
    }
    if (w->p[at] != 0xff || w->p[at + 1] == 0) {
        return mri_fail(diag, MRI_E_JPEG_DAMAGED, at,
                        "bytes %02x %02x where a marker is due", w->p[at],
                        w->p[at + 1]);
    }
    *piece = (jpeg_piece){.marker = w->p[at + 1], .at = at, .bytes = 2};
    if (!is_bare(piece->marker)) {
        if (w->len - at < 4) {
            return ends(w, diag);
        }
        body = (size_t)(w->p[at + 2] << 8 | w->p[at + 3]);
        if (body < 2) {
            return mri_fail(diag, MRI_E_JPEG_DAMAGED, at + 2,
                            "marker %02x says it is %zu bytes long",
                            piece->marker, body);
        }
        if (body > w->len - at - 2) {
            return ends(w, diag);
        }
        piece->bytes = 2 + body;
        piece->body = w->p + at + 4;
        piece->body_bytes = body - 2;
    }
    if ((piece->marker == JPEG_SOI) != (at == 0)) {
        return mri_fail(diag, MRI_E_JPEG_DAMAGED, at,
                        "marker %02x where %s is due", piece->marker,
                        at == 0 ? "SOI" : "another");
    }
    w->at = at + piece->bytes;
    return MR_OK;
}

mr_err
jpeg_entropy(jpeg_walk *w, size_t *bytes, mr_diag *diag)
{
    size_t at = w->at;

    for (;;) {
        const uint8_t *ff =
            at < w->len ? memchr(w->p + at, 0xff, w->len - at) : NULL;
        size_t next;

        if (ff == NULL) {
            return ends(w, diag);
        }
        at = (size_t)(ff - w->p);
        next = at + 1;
        while (next < w->len && w->p[next] == 0xff) {
            next++;
        }
        if (next == w->len) {
            return ends(w, diag);
        }
        if (w->p[next] != 0 &&
            (w->p[next] < JPEG_RST0 || w->p[next] > JPEG_RST7)) {
            break;
        }
        at = next + 1; /* a stuffed 0xff or a restart marker */
    }
    *bytes = at - w->at;
    w->at = at;
    return MR_OK;
}

static bool
is_frame(uint8_t marker)
{
    return marker >= JPEG_SOF0 && marker <= JPEG_SOF15 && marker != JPEG_DHT &&
           marker != 0xc8 && marker != JPEG_DAC;
}

/* Why a frame of this kind is not read, or NULL. */
static const char *
foreign_frame(uint8_t marker)
{
    switch (marker) {
    case 0xc0:
    case 0xc1:
    case 0xc2:
        return NULL;
    case 0xc3:
        return "lossless coding";
    case 0xc9:
    case 0xca:
        return "arithmetic coding";
    case 0xcb:
        return "lossless arithmetic coding";
    default:
        return "hierarchical coding";
    }
}

static mr_err
variant(mr_diag *diag, size_t at, const char *what)
{
    return mri_fail(diag, MRI_E_JPEG_VARIANT, at,
                    "a JPEG with %s, which is not read", what);
}

/* The sampling factors of all components, a byte each. */
static mr_err
read_sampling(jpeg_head *head, const jpeg_piece *piece, mr_diag *diag)
{
    for (uint32_t c = 0; c < head->components; c++) {
        uint8_t hv = piece->body[6 + 3 * c + 1];

        if (hv >> 4 < 1 || hv >> 4 > 4 || (hv & 15) < 1 || (hv & 15) > 4) {
            return mri_fail(diag, MRI_E_JPEG_DAMAGED, piece->at,
                            "component %u has sampling factors %ux%u", c,
                            hv >> 4, hv & 15);
        }
        head->subsampling |= (uint32_t)hv << (8 * c);
    }
    return MR_OK;
}

static mr_err
read_frame(jpeg_head *head, const jpeg_piece *piece, mr_diag *diag)
{
    const uint8_t *b = piece->body;
    const char *foreign = foreign_frame(piece->marker);

    if (foreign != NULL) {
        return variant(diag, piece->at, foreign);
    }
    if (head->components != 0) {
        return mri_fail(diag, MRI_E_JPEG_DAMAGED, piece->at,
                        "a second frame header (SOF)");
    }
    if (piece->body_bytes < 6 || piece->body_bytes != 6u + 3u * b[5]) {
        return mri_fail(diag, MRI_E_JPEG_DAMAGED, piece->at,
                        "a frame header (SOF) of the wrong length");
    }
    if (b[0] != 8) {
        return mri_fail(diag, MRI_E_JPEG_VARIANT, piece->at,
                        "a JPEG of %u bits per sample; only 8 are read", b[0]);
    }
    head->height = (uint32_t)(b[1] << 8 | b[2]);
    head->width = (uint32_t)(b[3] << 8 | b[4]);
    head->components = b[5];
    head->progressive = piece->marker == JPEG_SOF2;
    if (head->height == 0) {
        return variant(diag, piece->at, "its height after the data (DNL)");
    }
    if (head->width == 0) {
        return mri_fail(diag, MRI_E_JPEG_DAMAGED, piece->at, "a width of 0");
    }
    if (head->components != 1 && head->components != 3) {
        return mri_fail(diag, MRI_E_JPEG_VARIANT, piece->at,
                        "a JPEG of %" PRIu32 " components%s; 1 and 3 are read",
                        head->components,
                        head->components == 4 ? " (CMYK)" : "");
    }
    return read_sampling(head, piece, diag);
}

static bool
tagged(const jpeg_piece *piece, uint8_t marker, const char *tag, size_t len)
{
    return piece->marker == marker && piece->body_bytes >= len &&
           memcmp(piece->body, tag, len) == 0;
}

#define IS(piece, marker, tag) tagged(piece, marker, tag, sizeof(tag) - 1)

mr_err
jpeg_read_head(jpeg_head *head, const uint8_t *p, size_t len, mr_diag *diag)
{
    jpeg_walk w = {.p = p, .len = len};
    jpeg_piece piece = {0};
    mr_err err = MR_OK;

    *head = (jpeg_head){0};
    while (err == MR_OK && piece.marker != JPEG_SOS) {
        err = jpeg_next(&w, &piece, diag);
        if (err != MR_OK) {
            return err;
        }
        if (is_frame(piece.marker)) {
            err = read_frame(head, &piece, diag);
        } else if (piece.marker == JPEG_DAC) {
            err = variant(diag, piece.at, "arithmetic coding");
        } else if (piece.marker == JPEG_DRI && piece.body_bytes == 2) {
            head->restart_interval =
                (uint32_t)(piece.body[0] << 8 | piece.body[1]);
        } else if (IS(&piece, JPEG_APP1, "Exif\0") && piece.body_bytes > 6 &&
                   head->orientation == 0) {
            head->orientation =
                exif_orientation(piece.body + 6, piece.body_bytes - 6);
        } else if (piece.marker == JPEG_EOI) {
            err = mri_fail(diag, MRI_E_JPEG_DAMAGED, piece.at,
                           "a JPEG without a picture in it");
        }
    }
    if (err == MR_OK && head->components == 0) {
        err = mri_fail(diag, MRI_E_JPEG_DAMAGED, piece.at,
                       "a scan (SOS) before any frame header (SOF)");
    }
    return err;
}

/* What kind of thing that is not the picture; MRI_DROPS if it belongs to it. */
static mri_drop
drop_of(const jpeg_piece *piece)
{
    if (piece->marker == JPEG_COM) {
        return MRI_DROP_TEXT;
    }
    if (piece->marker < JPEG_APP0 || piece->marker > JPEG_APP15 ||
        IS(piece, JPEG_APP0, "JFIF\0") ||
        IS(piece, JPEG_APP2, "ICC_PROFILE\0") ||
        IS(piece, JPEG_APP14, "Adobe")) {
        return MRI_DROPS;
    }
    if (IS(piece, JPEG_APP1, "Exif\0")) {
        return MRI_DROP_EXIF;
    }
    if (IS(piece, JPEG_APP1, "http://ns.adobe.com/")) {
        return MRI_DROP_XMP;
    }
    return MRI_DROP_APP;
}

/* One kept or dropped run of bytes: a marker, and the data after SOS. */
static mr_err
next_run(jpeg_walk *w, bool keep_text, jpeg_piece *piece, mri_drop *drop,
         mr_diag *diag)
{
    size_t entropy = 0;
    mr_err err = jpeg_next(w, piece, diag);

    if (err != MR_OK) {
        return err;
    }
    if (piece->marker == JPEG_SOS) {
        err = jpeg_entropy(w, &entropy, diag);
        piece->bytes += entropy;
    }
    *drop = keep_text ? MRI_DROPS : drop_of(piece);
    return err;
}

mr_err
jpeg_strip(jpeg_clean *clean, const uint8_t *p, size_t len, bool keep_text,
           mr_diag *diag)
{
    jpeg_walk w = {.p = p, .len = len};
    jpeg_piece piece = {0};

    clean->bytes = 0;
    while (piece.marker != JPEG_EOI) {
        mri_drop drop;
        mr_err err = next_run(&w, keep_text, &piece, &drop, diag);

        if (err != MR_OK) {
            return err;
        }
        clean->scans += piece.marker == JPEG_SOS;
        if (drop != MRI_DROPS) {
            clean->dropped[drop] += piece.bytes;
            continue;
        }
        memcpy(clean->data + clean->bytes, p + piece.at, piece.bytes);
        clean->bytes += piece.bytes;
    }
    clean->dropped[MRI_DROP_TRAILING] += len - w.at;
    return MR_OK;
}

size_t
jpeg_origin(const uint8_t *p, size_t len, bool keep_text, size_t at)
{
    jpeg_walk w = {.p = p, .len = len};
    jpeg_piece piece = {0};
    mri_drop drop;

    while (piece.marker != JPEG_EOI &&
           next_run(&w, keep_text, &piece, &drop, NULL) == MR_OK) {
        if (drop != MRI_DROPS) {
            continue;
        }
        if (at < piece.bytes) {
            return piece.at + at;
        }
        at -= piece.bytes;
    }
    return w.at;
}
