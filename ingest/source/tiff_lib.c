/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiff_lib.c - libtiff over memory: it sees one checked directory, and says its
 * mind to nobody but us.
 *
 * One directory, because libtiff walks the whole chain of them when it is sent
 * to one: a stack of compressed pages, each a sample, would take a time that
 * grows with the square of their number. So the header that it reads points to
 * the page at hand, and it opens the file anew for each.
 */
#include "tiff_read.h"

#include "decoder.h"

#include <mri/bytes.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <tiffio.h>

/* The header's pointer to the first directory, where bytes [from, from + len)
 * of the file hold a part of it. */
static void
point_to_page(const tiff_reader *r, uint8_t *out, uint64_t from, uint64_t len)
{
    uint64_t word = r->f->big_tiff ? 8 : 4, value = r->page->at;
    uint8_t raw[8];

    if (r->f->big_endian) {
        value = __builtin_bswap64(value << (64 - 8 * word));
    }
    mri_put64(raw, value);
    for (uint64_t i = 0; i < word; i++) {
        if (word + i >= from && word + i - from < len) {
            out[word + i - from] = raw[i];
        }
    }
}

static tmsize_t
lib_read(thandle_t user, void *out, tmsize_t bytes)
{
    tiff_reader *r = user;
    uint64_t left = r->position < r->f->len ? r->f->len - r->position : 0;
    uint64_t n = bytes > 0 ? (uint64_t)bytes : 0;

    n = n < left ? n : left;
    if (n != 0) {
        memcpy(out, r->f->p + r->position, n);
        point_to_page(r, out, r->position, n);
        r->position += n;
    }
    return (tmsize_t)n;
}

static tmsize_t
lib_write(thandle_t user, void *p, tmsize_t bytes)
{
    (void)user;
    (void)p;
    (void)bytes;
    return -1;
}

static toff_t
lib_seek(thandle_t user, toff_t offset, int whence)
{
    tiff_reader *r = user;

    if (whence == SEEK_CUR) {
        offset += r->position;
    } else if (whence == SEEK_END) {
        offset += r->f->len;
    }
    r->position = offset;
    return offset;
}

static int
lib_close(thandle_t user)
{
    (void)user;
    return 0;
}

static toff_t
lib_size(thandle_t user)
{
    const tiff_reader *r = user;

    return r->f->len;
}

/* Keep the first complaint; 1 tells libtiff that it has been dealt with. */
static int MRI_PRINTF(4, 0) on_error(TIFF *tif, void *user, const char *module,
                                     const char *fmt, va_list args)
{
    tiff_reader *r = user;

    (void)tif;
    (void)module;
    if (!r->complained) {
        (void)vsnprintf(r->text, sizeof r->text, fmt, args);
        r->complained = true;
    }
    return 1;
}

/* Most warnings are about tags that nobody here reads; one from the JPEG
 * decoder means that it has filled a gap. */
static int MRI_PRINTF(4, 0)
    on_warning(TIFF *tif, void *user, const char *module, const char *fmt,
               va_list args)
{
    const tiff_reader *r = user;

    if (r->decoding && module != NULL && strncmp(module, "JPEG", 4) == 0) {
        return on_error(tif, user, module, fmt, args);
    }
    return 1;
}

static TIFF *
open_handle(tiff_reader *r)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    uint64_t most = r->f->limits->decoded_bytes;
    TIFF *tif;

    if (options == NULL) {
        return NULL;
    }
    TIFFOpenOptionsSetMaxSingleMemAlloc(
        options, most < INT64_MAX ? (tmsize_t)most : INT64_MAX);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, r);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, r);
    /* m: do not map, lib_read has its reasons; c: do not cut strips up. */
    tif = TIFFClientOpenExt("", "rmc", r, lib_read, lib_write, lib_seek,
                            lib_close, lib_size, NULL, NULL, options);
    TIFFOpenOptionsFree(options);
    return tif;
}

static uint32_t
field16(TIFF *tif, uint32_t tag)
{
    uint16_t v = 0;

    return TIFFGetFieldDefaulted(tif, tag, &v) == 1 ? v : 0;
}

static uint32_t
field32(TIFF *tif, uint32_t tag)
{
    uint32_t v = 0;

    return TIFFGetFieldDefaulted(tif, tag, &v) == 1 ? v : 0;
}

/* libtiff has parsed the directory for itself. Where it comes to other
 * numbers, its buffers are not ours: refuse. */
static bool
agrees(TIFF *tif, const tiff_page *page)
{
    uint64_t bytes = tiff_piece_bytes(page, page->piece_height);
    uint64_t theirs = page->tiled ? TIFFTileSize64(tif) : TIFFStripSize64(tif);
    uint32_t planar =
        page->planes > 1 ? PLANARCONFIG_SEPARATE : PLANARCONFIG_CONTIG;
    uint32_t pieces =
        page->tiled ? TIFFNumberOfTiles(tif) : TIFFNumberOfStrips(tif);

    return field32(tif, TIFFTAG_IMAGEWIDTH) == page->width &&
           field32(tif, TIFFTAG_IMAGELENGTH) == page->height &&
           field16(tif, TIFFTAG_BITSPERSAMPLE) == page->bits &&
           field16(tif, TIFFTAG_SAMPLESPERPIXEL) == page->samples &&
           field16(tif, TIFFTAG_COMPRESSION) == page->compression &&
           (page->samples == 1 ||
            field16(tif, TIFFTAG_PLANARCONFIG) == planar) &&
           (TIFFIsTiled(tif) != 0) == page->tiled && theirs == bytes &&
           pieces == tiff_pieces(page);
}

static mr_err
refuse(const tiff_reader *r, const tiff_page *page, const char *what,
       mr_diag *diag)
{
    return mri_fail(diag, MRI_E_TIFF_DAMAGED, page->at, "libtiff %s%s%s", what,
                    r->complained ? ": " : "", r->complained ? r->text : "");
}

mr_err
tiff_lib_open(tiff_reader *r, const tiff_page *page, mr_diag *diag)
{
    if (!TIFFIsCODECConfigured((uint16_t)page->compression)) {
        return mri_fail(diag, MRI_E_TIFF_VARIANT, page->at,
                        "compression %" PRIu32
                        " is not in the libtiff of this machine",
                        page->compression);
    }
    tiff_lib_close(r);
    r->complained = false;
    r->decoding = false;
    r->position = 0;
    r->page = page;
    r->tif = open_handle(r);
    if (r->tif == NULL) {
        return r->complained
                   ? refuse(r, page, "cannot read the directory", diag)
                   : source_no_memory(diag);
    }
    if (page->photometric == PHOTOMETRIC_YCBCR) {
        (void)TIFFSetField(r->tif, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    }
    if (!agrees(r->tif, page)) {
        return refuse(r, page, "reads the directory in another way", diag);
    }
    return MR_OK;
}

bool
tiff_lib_piece(tiff_reader *r, const tiff_page *page, uint64_t i, uint8_t *out,
               uint64_t bytes)
{
    tmsize_t got;

    r->complained = false;
    r->decoding = true;
    if (page->tiled) {
        got = TIFFReadEncodedTile(r->tif, (uint32_t)i, out, (tmsize_t)bytes);
    } else {
        got = TIFFReadEncodedStrip(r->tif, (uint32_t)i, out, (tmsize_t)bytes);
    }
    r->decoding = false;
    if (got != (tmsize_t)bytes && !r->complained) {
        (void)snprintf(r->text, sizeof r->text,
                       "%" PRId64 " of %" PRIu64 " bytes", (int64_t)got, bytes);
        r->complained = true;
    }
    return !r->complained;
}

void
tiff_lib_close(tiff_reader *r)
{
    if (r->tif != NULL) {
        TIFFClose(r->tif);
        r->tif = NULL;
    }
}
