/* SPDX-License-Identifier: Apache-2.0 */
/* tiff_walk.c - the directories of a TIFF: what they say, and whether it can be. */
#include "tiff_walk.h"

#include "decoder.h"

#include <mri/alloc.h>
#include <mri/bytes.h>

#include <inttypes.h>
#include <string.h>
#include <tiff.h> /* numbers only */

static uint16_t
get16(const tiff_file *f, uint64_t at)
{
    uint16_t v = mri_get16(f->p + at);

    return f->big_endian ? __builtin_bswap16(v) : v;
}

static uint32_t
get32(const tiff_file *f, uint64_t at)
{
    uint32_t v = mri_get32(f->p + at);

    return f->big_endian ? __builtin_bswap32(v) : v;
}

static uint64_t
get64(const tiff_file *f, uint64_t at)
{
    uint64_t v = mri_get64(f->p + at);

    return f->big_endian ? __builtin_bswap64(v) : v;
}

/* An offset or a count: 32 bits, in a BigTIFF 64. */
static uint64_t
get_word(const tiff_file *f, uint64_t at)
{
    return f->big_tiff ? get64(f, at) : get32(f, at);
}

static bool
inside(const tiff_file *f, uint64_t at, uint64_t bytes)
{
    return at <= f->len && bytes <= f->len - at;
}

static mr_err
damaged(mr_diag *diag, uint64_t at, const char *what)
{
    return mri_fail(diag, MRI_E_TIFF_DAMAGED, at, "%s", what);
}

static mr_err
ends(const tiff_file *f, const char *what, uint64_t at, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_TIFF_SHORT, f->len,
                    "the TIFF ends here, before %s at %" PRIu64, what, at);
}

mr_err
tiff_begin(tiff_file *f, uint64_t *first, mr_diag *diag)
{
    uint16_t version;

    if (f->len < 8) {
        return ends(f, "its header", 0, diag);
    }
    f->big_endian = f->p[0] == 'M';
    version = get16(f, 2);
    f->big_tiff = version == 43;
    if (!f->big_tiff) {
        *first = get32(f, 4);
    } else if (f->len < 16) {
        return ends(f, "its header", 0, diag);
    } else if (get16(f, 4) != 8 || get16(f, 6) != 0) {
        return damaged(diag, 4, "a BigTIFF with offsets of other than 8 bytes");
    } else {
        *first = get64(f, 8);
    }
    if (*first == 0) {
        return damaged(diag, 4, "a TIFF without any directory");
    }
    return MR_OK;
}

static uint64_t
type_bytes(uint16_t type)
{
    static const uint8_t bytes[] = {
        [TIFF_BYTE] = 1,      [TIFF_ASCII] = 1,    [TIFF_SHORT] = 2,
        [TIFF_LONG] = 4,      [TIFF_RATIONAL] = 8, [TIFF_SBYTE] = 1,
        [TIFF_UNDEFINED] = 1, [TIFF_SSHORT] = 2,   [TIFF_SLONG] = 4,
        [TIFF_SRATIONAL] = 8, [TIFF_FLOAT] = 4,    [TIFF_DOUBLE] = 8,
        [TIFF_IFD] = 4,       [TIFF_LONG8] = 8,    [TIFF_SLONG8] = 8,
        [TIFF_IFD8] = 8,
    };

    return type < sizeof bytes ? bytes[type] : 0;
}

uint64_t
tiff_value(const tiff_file *f, const tiff_tag *tag, uint64_t i)
{
    switch (tag->type) {
    case TIFF_BYTE:
        return f->p[tag->at + i];
    case TIFF_SHORT:
        return get16(f, tag->at + 2 * i);
    case TIFF_LONG:
    case TIFF_IFD:
        return get32(f, tag->at + 4 * i);
    case TIFF_LONG8:
    case TIFF_IFD8:
        return get64(f, tag->at + 8 * i);
    default:
        return 0;
    }
}

double
tiff_rational(const tiff_file *f, const tiff_tag *tag)
{
    uint32_t over, under;

    if (tag->type != TIFF_RATIONAL || tag->count == 0) {
        return 0;
    }
    over = get32(f, tag->at);
    under = get32(f, tag->at + 4);
    return under != 0 ? (double)over / under : 0;
}

const char *
tiff_text(const tiff_file *f, const tiff_tag *tag, size_t *len)
{
    const char *text = (const char *)f->p + tag->at;

    *len = 0;
    if (tag->type != TIFF_ASCII && tag->type != TIFF_BYTE) {
        return "";
    }
    *len = tag->count;
    while (*len != 0 && text[*len - 1] == '\0') {
        --*len;
    }
    return text;
}

/* The tags that decide about pixels or axes. `most` is the largest value that
 * makes sense; 0 marks a list, which is kept by its place. */
#define NUMBER(tag, member, most)                                              \
    {                                                                          \
        TIFFTAG_##tag, offsetof(tiff_page, member), most, #tag                 \
    }
#define LIST(tag, member) NUMBER(tag, member, 0)
#define TIFFTAG_UIC2 33629 /* MetaMorph: one directory, many planes */

static const struct known {
    uint16_t tag;
    size_t at;
    uint32_t most;
    const char *name;
} known[] = {
    NUMBER(SUBFILETYPE, subfile, UINT32_MAX),
    NUMBER(IMAGEWIDTH, width, INT32_MAX),
    NUMBER(IMAGELENGTH, height, INT32_MAX),
    NUMBER(BITSPERSAMPLE, bits, 128),
    NUMBER(COMPRESSION, compression, UINT16_MAX),
    NUMBER(PHOTOMETRIC, photometric, UINT16_MAX),
    NUMBER(FILLORDER, fill_order, 2),
    LIST(IMAGEDESCRIPTION, description),
    LIST(STRIPOFFSETS, strip_offsets),
    NUMBER(ORIENTATION, orientation, UINT16_MAX),
    NUMBER(SAMPLESPERPIXEL, samples, UINT16_MAX),
    NUMBER(ROWSPERSTRIP, rows_per_strip, UINT32_MAX),
    LIST(STRIPBYTECOUNTS, strip_counts),
    LIST(XRESOLUTION, x_resolution),
    LIST(YRESOLUTION, y_resolution),
    NUMBER(PLANARCONFIG, planar, 2),
    NUMBER(PREDICTOR, predictor, UINT16_MAX),
    LIST(COLORMAP, colour_map),
    NUMBER(TILEWIDTH, tile_width, INT32_MAX),
    NUMBER(TILELENGTH, tile_height, INT32_MAX),
    LIST(TILEOFFSETS, tile_offsets),
    LIST(TILEBYTECOUNTS, tile_counts),
    NUMBER(SAMPLEFORMAT, format, UINT16_MAX),
    LIST(JPEGTABLES, jpeg_tables),
    NUMBER(IMAGEDEPTH, depth, UINT32_MAX),
    LIST(UIC2, planes_tag),
};

static const struct known *
find_known(uint16_t tag)
{
    for (size_t i = 0; i < MRI_COUNT(known); i++) {
        if (known[i].tag == tag) {
            return &known[i];
        }
    }
    return NULL;
}

/* What an entry of no use to us counts as when it is left behind. */
static mri_drop
drop_of(uint16_t tag)
{
    switch (tag) {
    case TIFFTAG_DOCUMENTNAME:
    case TIFFTAG_IMAGEDESCRIPTION:
    case TIFFTAG_MAKE:
    case TIFFTAG_MODEL:
    case TIFFTAG_PAGENAME:
    case TIFFTAG_SOFTWARE:
    case TIFFTAG_DATETIME:
    case TIFFTAG_ARTIST:
    case TIFFTAG_HOSTCOMPUTER:
    case TIFFTAG_COPYRIGHT:
        return MRI_DROP_TEXT;
    case TIFFTAG_EXIFIFD:
    case TIFFTAG_GPSIFD:
        return MRI_DROP_EXIF;
    case TIFFTAG_XMLPACKET:
    case TIFFTAG_RICHTIFFIPTC:
    case TIFFTAG_PHOTOSHOP:
        return MRI_DROP_XMP;
    case TIFFTAG_ICCPROFILE:
        return MRI_DROP_PROFILE;
    case TIFFTAG_SUBIFD:
        return MRI_DROP_REDUCED;
    default: /* from 32768 on they are private */
        return tag >= 32768 && find_known(tag) == NULL ? MRI_DROP_APP
                                                       : MRI_DROPS;
    }
}

static mr_err
take_number(const tiff_file *f, tiff_page *page, const struct known *k,
            const tiff_tag *tag, mr_diag *diag)
{
    uint64_t v = tiff_value(f, tag, 0);
    uint32_t v32 = (uint32_t)v;

    if (tag->count > f->limits->samples_per_pixel) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, tag->at,
                        "%s has %" PRIu64 " values, more than the limit "
                        "samples_per_pixel of %" PRIu64,
                        k->name, tag->count, f->limits->samples_per_pixel);
    }
    for (uint64_t i = 1; i < tag->count; i++) {
        if (tiff_value(f, tag, i) != v) {
            return mri_fail(diag, MRI_E_TIFF_VARIANT, tag->at,
                            "a TIFF whose samples differ in %s", k->name);
        }
    }
    if (v > k->most) {
        return mri_fail(diag, MRI_E_TIFF_DAMAGED, tag->at, "%s is %" PRIu64,
                        k->name, v);
    }
    memcpy((char *)page + k->at, &v32, sizeof v32);
    return MR_OK;
}

/* Take one entry, whose values are known to lie in the file. */
static mr_err
take(const tiff_file *f, tiff_page *page, const struct known *k,
     const tiff_tag *tag, mr_diag *diag)
{
    if (k->most == 0) {
        memcpy((char *)page + k->at, tag, sizeof *tag);
        return MR_OK;
    }
    if (tag->type == TIFF_BYTE || tag->type == TIFF_SHORT ||
        tag->type == TIFF_LONG || tag->type == TIFF_LONG8) {
        return take_number(f, page, k, tag, diag);
    }
    return mri_fail(diag, MRI_E_TIFF_DAMAGED, tag->at,
                    "%s is of type %u, which holds no number", k->name,
                    tag->type);
}

static mr_err
read_entry(const tiff_file *f, uint64_t at, tiff_page *page, mr_diag *diag)
{
    uint16_t number = get16(f, at);
    uint32_t word = f->big_tiff ? 8 : 4;
    const struct known *k = find_known(number);
    mri_drop drop = drop_of(number);
    tiff_tag tag = {.type = get16(f, at + 2), .count = get_word(f, at + 4)};
    uint64_t bytes = type_bytes(tag.type);
    bool sound =
        bytes != 0 && tag.count != 0 && mri_mul(bytes, tag.count, &bytes);

    tag.at = at + 4 + word;
    if (sound && bytes > word) {
        tag.at = get_word(f, tag.at);
        sound = inside(f, tag.at, bytes);
    }
    if (sound && drop != MRI_DROPS) {
        page->dropped[drop] += drop == MRI_DROP_REDUCED ? tag.count : bytes;
    }
    if (k == NULL || (!sound && (k->tag == TIFFTAG_IMAGEDESCRIPTION ||
                                 k->tag == TIFFTAG_XRESOLUTION ||
                                 k->tag == TIFFTAG_YRESOLUTION))) {
        return MR_OK; /* no pixel depends on it */
    }
    if (!sound) {
        return mri_fail(diag, MRI_E_TIFF_DAMAGED, at,
                        "%s: %" PRIu64 " values of type %u at %" PRIu64
                        " are not in this file of %" PRIu64 " bytes",
                        k->name, tag.count, tag.type, tag.at, f->len);
    }
    return take(f, page, k, &tag, diag);
}

/* Numbers as they are if no tag says otherwise (TIFF 6.0). */
static void
set_defaults(tiff_page *page, uint64_t at)
{
    *page = (tiff_page){
        .at = at,
        .depth = 1,
        .bits = 1,
        .samples = 1,
        .format = SAMPLEFORMAT_UINT,
        .compression = COMPRESSION_NONE,
        .photometric = PHOTOMETRIC_MINISBLACK,
        .planar = PLANARCONFIG_CONTIG,
        .predictor = 1,
        .fill_order = FILLORDER_MSB2LSB,
        .rows_per_strip = UINT32_MAX,
    };
}

static mr_err
read_entries(const tiff_file *f, tiff_page *page, uint64_t *next, mr_diag *diag)
{
    uint32_t head = f->big_tiff ? 8 : 2, entry = f->big_tiff ? 20 : 12;
    uint32_t word = f->big_tiff ? 8 : 4;
    uint64_t at = page->at, n, bytes;
    bool seen[MRI_COUNT(known)] = {false};
    uint16_t last = 0;

    if (!inside(f, at, head)) {
        return ends(f, "a directory", at, diag);
    }
    n = f->big_tiff ? get64(f, at) : get16(f, at);
    at += head;
    if (n == 0) {
        return damaged(diag, page->at, "a directory without entries");
    }
    if (!mri_mul(n, entry, &bytes) || !mri_add(bytes, word, &bytes) ||
        !inside(f, at, bytes)) {
        return ends(f, "the end of the directory", page->at, diag);
    }
    for (uint64_t i = 0; i < n; i++, at += entry) {
        uint16_t number = get16(f, at);
        const struct known *k = find_known(number);
        mr_err err;

        page->unsorted = page->unsorted || number < last;
        last = number;
        if (k != NULL && seen[k - known]) {
            continue; /* as libtiff: the first one counts */
        }
        if (k != NULL) {
            seen[k - known] = true;
        }
        err = read_entry(f, at, page, diag);
        if (err != MR_OK) {
            return err;
        }
    }
    page->next_at = at;
    *next = get_word(f, at);
    return MR_OK;
}

mr_err
tiff_read_page(const tiff_file *f, uint64_t at, tiff_page *page, uint64_t *next,
               mr_diag *diag)
{
    mr_err err;

    set_defaults(page, at);
    err = read_entries(f, page, next, diag);
    return err == MR_OK ? tiff_check_page(f, page, diag) : err;
}
