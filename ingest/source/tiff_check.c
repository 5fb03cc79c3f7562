/* SPDX-License-Identifier: Apache-2.0 */
/* tiff_check.c - whether the numbers of a TIFF directory make an image. */
#include "tiff_walk.h"

#include "decoder.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <tiff.h> /* numbers only */

static mr_err
variant(const tiff_page *page, mr_diag *diag, const char *what, uint32_t number)
{
    return mri_fail(diag, MRI_E_TIFF_VARIANT, page->at,
                    "a TIFF with %s (%" PRIu32 "), which is not read", what,
                    number);
}

static mr_err
impossible(const tiff_page *page, mr_diag *diag, const char *what)
{
    return mri_fail(diag, MRI_E_TIFF_DAMAGED, page->at, "%s", what);
}

static mr_err
check_compression(const tiff_page *page, mr_diag *diag)
{
    static const struct {
        uint32_t number;
        const char *name;
    } refused[] = {
        {COMPRESSION_CCITTRLE, "CCITT run length coding"},
        {COMPRESSION_CCITTRLEW, "CCITT run length coding"},
        {COMPRESSION_CCITTFAX3, "CCITT fax group 3"},
        {COMPRESSION_CCITTFAX4, "CCITT fax group 4"},
        {COMPRESSION_OJPEG, "old-style JPEG"},
        {COMPRESSION_NEXT, "NeXT coding"},
        {COMPRESSION_THUNDERSCAN, "ThunderScan coding"},
        {COMPRESSION_PIXARFILM, "PixarFilm coding"},
        {COMPRESSION_PIXARLOG, "PixarLog coding"},
        {COMPRESSION_SGILOG, "LogLuv coding"},
        {COMPRESSION_SGILOG24, "LogLuv 24 coding"},
        {COMPRESSION_JBIG, "JBIG"},
        {COMPRESSION_JP2000, "JPEG 2000"},
        {33003, "Aperio JPEG 2000"},
        {33005, "Aperio JPEG 2000"},
        {COMPRESSION_LERC, "LERC"},
        {COMPRESSION_LZMA, "LZMA"},
        {COMPRESSION_WEBP, "WebP"},
        {COMPRESSION_JXL, "JPEG XL"},
    };

    switch (page->compression) {
    case COMPRESSION_NONE:
    case COMPRESSION_LZW:
    case COMPRESSION_JPEG:
    case COMPRESSION_ADOBE_DEFLATE:
    case COMPRESSION_DEFLATE:
    case COMPRESSION_PACKBITS:
    case COMPRESSION_ZSTD:
        return MR_OK;
    default:
        break;
    }
    for (size_t i = 0; i < MRI_COUNT(refused); i++) {
        if (refused[i].number == page->compression) {
            return variant(page, diag, refused[i].name, page->compression);
        }
    }
    return variant(page, diag, "an unknown compression", page->compression);
}

static mr_err
check_photometric(const tiff_page *page, mr_diag *diag)
{
    switch (page->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_RGB:
    case PHOTOMETRIC_PALETTE:
    case PHOTOMETRIC_MASK:
    case PHOTOMETRIC_SEPARATED:
        return MR_OK;
    case PHOTOMETRIC_YCBCR:
        if (page->compression == COMPRESSION_JPEG && page->samples == 3 &&
            page->planar == PLANARCONFIG_CONTIG) {
            return MR_OK;
        }
        return variant(page, diag, "YCbCr colour that is no JPEG",
                       page->photometric);
    case PHOTOMETRIC_CIELAB:
    case PHOTOMETRIC_ICCLAB:
    case PHOTOMETRIC_ITULAB:
        return variant(page, diag, "Lab colour", page->photometric);
    case PHOTOMETRIC_CFA:
        return variant(page, diag, "a camera's raw mosaic (CFA)",
                       page->photometric);
    case PHOTOMETRIC_LOGL:
    case PHOTOMETRIC_LOGLUV:
        return variant(page, diag, "LogLuv colour", page->photometric);
    default:
        return variant(page, diag, "an unknown kind of colour",
                       page->photometric);
    }
}

/* The type of a sample; MR_NONE if there is none for it. */
static mr_dtype
sample_type(const tiff_page *page)
{
    uint32_t bits = page->bits;

    switch (page->format) {
    case SAMPLEFORMAT_UINT:
    case SAMPLEFORMAT_VOID:
        return bits == 64   ? MR_U64
               : bits == 32 ? MR_U32
               : bits > 16  ? MR_NONE
               : bits > 8   ? MR_U16
               : bits > 0   ? MR_U8
                            : MR_NONE;
    case SAMPLEFORMAT_INT:
        return bits == 8    ? MR_I8
               : bits == 16 ? MR_I16
               : bits == 32 ? MR_I32
               : bits == 64 ? MR_I64
                            : MR_NONE;
    case SAMPLEFORMAT_IEEEFP:
        return bits == 16   ? MR_F16
               : bits == 32 ? MR_F32
               : bits == 64 ? MR_F64
                            : MR_NONE;
    case SAMPLEFORMAT_COMPLEXIEEEFP:
        return bits == 64 ? MR_F32 : bits == 128 ? MR_F64 : MR_NONE;
    default:
        return MR_NONE;
    }
}

static mr_err
check_samples(const tiff_file *f, tiff_page *page, mr_diag *diag)
{
    if (page->samples == 0) {
        return impossible(page, diag, "SamplesPerPixel is 0");
    }
    if (page->samples > f->limits->samples_per_pixel) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, page->at,
                        "%" PRIu32 " samples per pixel, more than the limit "
                        "samples_per_pixel of %" PRIu64,
                        page->samples, f->limits->samples_per_pixel);
    }
    page->dtype = sample_type(page);
    page->complex = page->format == SAMPLEFORMAT_COMPLEXIEEEFP;
    if (page->dtype == MR_NONE) {
        return mri_fail(diag, MRI_E_TIFF_VARIANT, page->at,
                        "a TIFF with samples of %" PRIu32
                        " bits in format %" PRIu32 "%s, which are not read",
                        page->bits, page->format,
                        page->format == SAMPLEFORMAT_COMPLEXINT
                            ? " (complex integers)"
                            : "");
    }
    if (page->compression == COMPRESSION_JPEG && page->dtype != MR_U8) {
        return variant(page, diag, "JPEG of other than 8 bits", page->bits);
    }
    /* libtiff picks how to swap bytes by the order in which it meets these. */
    if (page->complex && page->unsorted) {
        return variant(page, diag, "complex samples and unsorted tags",
                       page->format);
    }
    if (page->depth > 1 || page->planes_tag.count > 1) {
        return variant(page, diag, "several planes in one directory",
                       page->depth);
    }
    return MR_OK;
}

/* A palette that maps every index to itself as a grey is none: cameras write
 * it beside ordinary grey images. */
static bool
is_grey_ramp(const tiff_file *f, const tiff_page *page)
{
    bool wide = true, narrow = true;

    for (uint64_t i = 0; i < 768 && (wide || narrow); i++) {
        uint64_t v = tiff_value(f, &page->colour_map, i), grey = i % 256;
        uint64_t low = v & 255;

        wide = wide && v >> 8 == grey && (low == 0 || low == grey);
        narrow = narrow && v == grey;
    }
    return wide || narrow;
}

static mr_err
check_palette(const tiff_file *f, tiff_page *page, mr_diag *diag)
{
    if (page->photometric != PHOTOMETRIC_PALETTE) {
        return MR_OK;
    }
    if (page->samples != 1 || page->bits > 16 ||
        page->format != SAMPLEFORMAT_UINT) {
        return variant(page, diag,
                       "a palette, but several samples or more than 16 bits",
                       page->bits);
    }
    if (page->colour_map.type != TIFF_SHORT ||
        page->colour_map.count < UINT64_C(3) << page->bits) {
        return impossible(page, diag, "a palette image without its ColorMap");
    }
    if (page->bits == 8 && is_grey_ramp(f, page)) {
        page->photometric = PHOTOMETRIC_MINISBLACK;
    }
    return MR_OK;
}

/* Strips and tiles alike: how large, how many, and where their table is. */
static mr_err
lay_out(tiff_page *page, mr_diag *diag)
{
    page->tiled = page->tile_offsets.count != 0;
    if (page->tiled) {
        page->piece_width = page->tile_width;
        page->piece_height = page->tile_height;
        page->offsets = page->tile_offsets;
        page->counts = page->tile_counts;
    } else {
        page->piece_width = page->width;
        page->piece_height = page->rows_per_strip < page->height
                                 ? page->rows_per_strip
                                 : page->height;
        page->offsets = page->strip_offsets;
        page->counts = page->strip_counts;
    }
    if (page->piece_width == 0 || page->piece_height == 0) {
        return impossible(page, diag, "strips or tiles of no size");
    }
    page->across = (page->width - 1) / page->piece_width + 1;
    page->down = (page->height - 1) / page->piece_height + 1;
    page->planes = page->planar == PLANARCONFIG_SEPARATE ? page->samples : 1;
    return MR_OK;
}

static bool
is_offset_type(const tiff_tag *tag)
{
    return tag->type == TIFF_SHORT || tag->type == TIFF_LONG ||
           tag->type == TIFF_LONG8 || tag->type == TIFF_IFD ||
           tag->type == TIFF_IFD8;
}

/* Bytes of one piece and of all of them must stay within the limits. Only
 * here may the products overflow. */
static mr_err
check_pieces(const tiff_file *f, const tiff_page *page, mr_diag *diag)
{
    uint64_t row = (uint64_t)page->piece_width * tiff_piece_samples(page);
    uint64_t pieces = (uint64_t)page->across * page->down;
    uint64_t bytes;
    mr_err err;

    if (!mri_mul(row, page->bits, &bytes) || !mri_add(bytes, 7, &bytes) ||
        !mri_mul(bytes / 8, page->piece_height, &bytes) ||
        !mri_mul(pieces, page->planes, &pieces)) {
        return impossible(page, diag, "an image of more than 2^64 bytes");
    }
    if (page->offsets.count < pieces || page->counts.count < pieces ||
        !is_offset_type(&page->offsets) || !is_offset_type(&page->counts)) {
        return mri_fail(diag, MRI_E_TIFF_DAMAGED, page->at,
                        "%" PRIu64 " offsets and %" PRIu64
                        " byte counts for %" PRIu64 " %s",
                        page->offsets.count, page->counts.count, pieces,
                        page->tiled ? "tiles" : "strips");
    }
    err = source_fits(f->limits, bytes, f->len, diag);
    if (err == MR_OK && !mri_mul(bytes, pieces, &bytes)) {
        bytes = UINT64_MAX;
    }
    return err == MR_OK ? source_work(f->limits, bytes, f->len, diag) : err;
}

mr_err
tiff_check_page(const tiff_file *f, tiff_page *page, mr_diag *diag)
{
    mr_err err;

    if (page->width == 0 || page->height == 0) {
        return impossible(page, diag, "a directory without an image's size");
    }
    err = check_compression(page, diag);
    if (err == MR_OK) {
        err = check_photometric(page, diag);
    }
    if (err == MR_OK) {
        err = check_samples(f, page, diag);
    }
    if (err == MR_OK) {
        err = check_palette(f, page, diag);
    }
    if (err == MR_OK) {
        err = lay_out(page, diag);
    }
    return err == MR_OK ? check_pieces(f, page, diag) : err;
}

uint32_t
tiff_piece_samples(const tiff_page *page)
{
    return page->planar == PLANARCONFIG_SEPARATE ? 1 : page->samples;
}

uint64_t
tiff_piece_bytes(const tiff_page *page, uint32_t rows)
{
    uint64_t row = (uint64_t)page->piece_width * tiff_piece_samples(page);

    return (row * page->bits + 7) / 8 * rows;
}

uint32_t
tiff_piece_rows(const tiff_page *page, uint32_t y)
{
    uint32_t left = page->height - y * page->piece_height;

    return page->tiled || left > page->piece_height ? page->piece_height : left;
}

uint64_t
tiff_page_bytes(const tiff_page *page)
{
    return (uint64_t)page->width * page->height * page->samples *
           mr_dtype_bytes(page->dtype) * (page->complex ? 2 : 1);
}

uint64_t
tiff_pieces(const tiff_page *page)
{
    return (uint64_t)page->across * page->down * page->planes;
}

bool
tiff_piece_sound(const tiff_file *f, const tiff_page *page, uint64_t i)
{
    uint64_t at = tiff_value(f, &page->offsets, i);
    uint64_t bytes = tiff_value(f, &page->counts, i);
    uint32_t y = (uint32_t)(i / page->across % page->down);

    if (bytes == 0 || at > f->len || bytes > f->len - at) {
        return false;
    }
    return page->compression != COMPRESSION_NONE ||
           bytes >= tiff_piece_bytes(page, tiff_piece_rows(page, y));
}

static mr_err
unsound(const tiff_file *f, const tiff_page *page, uint64_t i, mr_diag *diag)
{
    uint64_t at = tiff_value(f, &page->offsets, i);
    uint64_t bytes = tiff_value(f, &page->counts, i);
    const char *what = page->tiled ? "tile" : "strip";

    if (at > f->len || bytes > f->len - at) {
        return mri_fail(diag, MRI_E_TIFF_SHORT, f->len,
                        "the TIFF ends here, before the end of %s %" PRIu64
                        " (%" PRIu64 " bytes at %" PRIu64 ")",
                        what, i, bytes, at);
    }
    return mri_fail(diag, MRI_E_TIFF_SHORT, at,
                    "%s %" PRIu64 " has %" PRIu64 " bytes, too few for its "
                    "rows",
                    what, i, bytes);
}

mr_err
tiff_check_pieces(const tiff_file *f, const tiff_page *page, uint64_t *damage,
                  mr_diag *diag)
{
    uint64_t n = tiff_pieces(page);

    for (uint64_t i = 0; i < n; i++) {
        if (tiff_piece_sound(f, page, i)) {
            continue;
        }
        if (damage == NULL) {
            return unsound(f, page, i, diag);
        }
        ++*damage;
    }
    return MR_OK;
}
