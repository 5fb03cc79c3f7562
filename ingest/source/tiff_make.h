/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiff_make.h - TIFFs for tests: good ones by libtiff, bad ones by hand.
 */
#ifndef SOURCE_TIFF_MAKE_H
#define SOURCE_TIFF_MAKE_H

#include "testing.h"

#include <stdarg.h>
#include <stdio.h>
#include <tiffio.h>

/* A file in memory that libtiff writes. */
typedef struct sink {
    mri_bytes bytes;
    uint64_t at;
} sink;

static inline tmsize_t
sink_read(thandle_t user, void *p, tmsize_t n)
{
    sink *s = user;
    size_t left = s->at < s->bytes.len ? s->bytes.len - s->at : 0;
    size_t take = (size_t)n < left ? (size_t)n : left;

    if (take != 0) {
        memcpy(p, s->bytes.data + s->at, take);
    }
    s->at += take;
    return (tmsize_t)take;
}

static inline tmsize_t
sink_write(thandle_t user, void *p, tmsize_t n)
{
    sink *s = user;

    if (s->at + (size_t)n > s->bytes.len) {
        assert_true(
            mri_bytes_zero(&s->bytes, s->at + (size_t)n - s->bytes.len));
    }
    memcpy(s->bytes.data + s->at, p, (size_t)n);
    s->at += (size_t)n;
    return n;
}

static inline toff_t
sink_seek(thandle_t user, toff_t offset, int whence)
{
    sink *s = user;

    s->at = offset + (whence == SEEK_CUR   ? s->at
                      : whence == SEEK_END ? s->bytes.len
                                           : 0);
    return s->at;
}

static inline int
sink_close(thandle_t user)
{
    (void)user;
    return 0;
}

static inline toff_t
sink_size(thandle_t user)
{
    return ((sink *)user)->bytes.len;
}

/* One page. */
typedef struct recipe {
    uint32_t width, height;
    uint16_t samples, bits, format;
    uint16_t compression, photometric;
    bool planar;
    uint32_t rows; /* per strip; 0: tiles */
    uint16_t predictor;
    const char *description;
    const uint16_t *palette; /* 3 << bits */
    uint16_t orientation, fill_order;
    uint32_t subfile;
    double resolution;
} recipe;

/* Bytes of a row of one plane, packed. */
static inline size_t
row_bytes(const recipe *r, uint32_t width)
{
    return ((size_t)width * (r->planar ? 1 : r->samples) * r->bits + 7) / 8;
}

static inline size_t
page_bytes(const recipe *r)
{
    return row_bytes(r, r->width) * r->height * (r->planar ? r->samples : 1);
}

static inline void
set_tags(TIFF *t, const recipe *r)
{
    static const uint16_t unspecified[8] = {0};
    uint16_t base =
        r->photometric == PHOTOMETRIC_RGB || r->photometric == PHOTOMETRIC_YCBCR
            ? 3
            : 1;

    TIFFSetField(t, TIFFTAG_IMAGEWIDTH, r->width);
    TIFFSetField(t, TIFFTAG_IMAGELENGTH, r->height);
    TIFFSetField(t, TIFFTAG_SAMPLESPERPIXEL, r->samples);
    TIFFSetField(t, TIFFTAG_BITSPERSAMPLE, r->bits);
    TIFFSetField(t, TIFFTAG_SAMPLEFORMAT, r->format);
    TIFFSetField(t, TIFFTAG_COMPRESSION, r->compression);
    TIFFSetField(t, TIFFTAG_PHOTOMETRIC, r->photometric);
    TIFFSetField(t, TIFFTAG_PLANARCONFIG, r->planar ? 2 : 1);
    if (r->samples > base) {
        TIFFSetField(t, TIFFTAG_EXTRASAMPLES, r->samples - base, unspecified);
    }
    if (r->predictor != 0) {
        TIFFSetField(t, TIFFTAG_PREDICTOR, r->predictor);
    }
    if (r->rows == 0) {
        TIFFSetField(t, TIFFTAG_TILEWIDTH, 32);
        TIFFSetField(t, TIFFTAG_TILELENGTH, 16);
    } else {
        TIFFSetField(t, TIFFTAG_ROWSPERSTRIP, r->rows);
    }
    if (r->description != NULL) {
        TIFFSetField(t, TIFFTAG_IMAGEDESCRIPTION, r->description);
    }
    if (r->palette != NULL) {
        TIFFSetField(t, TIFFTAG_COLORMAP, r->palette,
                     r->palette + ((size_t)1 << r->bits),
                     r->palette + ((size_t)2 << r->bits));
    }
    if (r->orientation != 0) {
        TIFFSetField(t, TIFFTAG_ORIENTATION, r->orientation);
    }
    if (r->fill_order != 0) {
        TIFFSetField(t, TIFFTAG_FILLORDER, r->fill_order);
    }
    if (r->subfile != 0) {
        TIFFSetField(t, TIFFTAG_SUBFILETYPE, r->subfile);
    }
    if (r->resolution > 0) {
        TIFFSetField(t, TIFFTAG_XRESOLUTION, r->resolution);
        TIFFSetField(t, TIFFTAG_YRESOLUTION, r->resolution * 2);
        TIFFSetField(t, TIFFTAG_RESOLUTIONUNIT, RESUNIT_NONE);
    }
    if (r->photometric == PHOTOMETRIC_YCBCR) {
        TIFFSetField(t, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    }
}

/* One plane in strips or tiles. */
static inline void
write_plane(TIFF *t, const recipe *r, const uint8_t *pixels, uint32_t plane)
{
    size_t row = row_bytes(r, r->width), tile_row = row_bytes(r, 32);
    uint32_t n = 0;

    if (r->rows != 0) {
        uint32_t strips = (r->height + r->rows - 1) / r->rows;

        for (uint32_t y = 0; y < r->height; y += r->rows, n++) {
            uint32_t rows = r->height - y < r->rows ? r->height - y : r->rows;
            uint8_t *strip = exact_copy(pixels + y * row, rows * row);

            assert_true(TIFFWriteEncodedStrip(t, plane * strips + n, strip,
                                              (tmsize_t)(rows * row)) >= 0);
            free(strip);
        }
        return;
    }
    for (uint32_t y = 0; y < r->height; y += 16) {
        for (uint32_t x = 0; x < r->width; x += 32, n++) {
            uint8_t *tile = calloc(16, tile_row);
            size_t from = row_bytes(r, x), left = row - from;

            assert_non_null(tile);
            for (uint32_t k = 0; k < 16 && y + k < r->height; k++) {
                memcpy(tile + k * tile_row, pixels + (y + k) * row + from,
                       left < tile_row ? left : tile_row);
            }
            assert_true(TIFFWriteTile(t, tile, x, y, 0, (uint16_t)plane) >= 0);
            free(tile);
        }
    }
}

/*
 * A TIFF of `count` pages, each with page_bytes(r) of pixels behind those of
 * the page before. mode: "w" with l or b (byte order) and 8 (BigTIFF).
 */
static inline mri_bytes
make_tiff(const char *mode, const recipe *pages, size_t count,
          const uint8_t *pixels)
{
    sink s = {0};
    TIFFErrorHandler said = TIFFSetWarningHandler(NULL); /* while writing */
    TIFF *t = TIFFClientOpen("made", mode, &s, sink_read, sink_write, sink_seek,
                             sink_close, sink_size, NULL, NULL);

    assert_non_null(t);
    for (size_t i = 0; i < count; i++) {
        const recipe *r = &pages[i];

        set_tags(t, r);
        for (uint16_t p = 0; p < (r->planar ? r->samples : 1); p++) {
            write_plane(t, r, pixels, p);
            pixels += row_bytes(r, r->width) * r->height;
        }
        assert_int_equal(TIFFWriteDirectory(t), 1);
    }
    TIFFClose(t);
    (void)TIFFSetWarningHandler(said);
    return s.bytes;
}

/* Noise that is smooth enough for a predictor to do something. */
static inline uint8_t *
noise(size_t len)
{
    uint8_t *p = malloc(len + 1);
    uint64_t state = len;

    assert_non_null(p);
    for (size_t i = 0; i < len; i++) {
        p[i] = (uint8_t)(i * 3 + (scratch_random(&state) & 7));
    }
    return p;
}

/* A classic little-endian TIFF by hand: entries as they are asked for. */
typedef struct hand {
    mri_bytes bytes;
    size_t count_at; /* of the directory */
} hand;

static inline void
hand_put16(mri_bytes *b, uint32_t v)
{
    uint8_t raw[2];

    mri_put16(raw, (uint16_t)v);
    assert_true(mri_bytes_add(b, raw, 2));
}

static inline hand
hand_begin(void)
{
    hand h = {0};

    assert_true(mri_bytes_add(&h.bytes, "II\x2a\0\x08\0\0\0", 8));
    h.count_at = 8;
    hand_put16(&h.bytes, 0);
    return h;
}

static inline void
hand_tag(hand *h, uint32_t tag, uint32_t type, uint32_t count, uint32_t value)
{
    uint8_t *n;

    hand_put16(&h->bytes, tag);
    hand_put16(&h->bytes, type);
    assert_true(mri_bytes_u32(&h->bytes, count));
    assert_true(mri_bytes_u32(&h->bytes, value));
    n = h->bytes.data + h->count_at;
    mri_put16(n, (uint16_t)(mri_get16(n) + 1));
}

/* The pointer to the next directory. */
static inline void
hand_next(hand *h, uint32_t next)
{
    assert_true(mri_bytes_u32(&h->bytes, next));
}

/* An 8-bit grey image of 4 x 4 in one strip, at an offset behind all. */
static inline hand
hand_grey(void)
{
    hand h = hand_begin();

    hand_tag(&h, TIFFTAG_IMAGEWIDTH, 3, 1, 4);
    hand_tag(&h, TIFFTAG_IMAGELENGTH, 3, 1, 4);
    hand_tag(&h, TIFFTAG_BITSPERSAMPLE, 3, 1, 8);
    hand_tag(&h, TIFFTAG_COMPRESSION, 3, 1, 1);
    hand_tag(&h, TIFFTAG_PHOTOMETRIC, 3, 1, 1);
    hand_tag(&h, TIFFTAG_STRIPOFFSETS, 4, 1, 200);
    hand_tag(&h, TIFFTAG_SAMPLESPERPIXEL, 3, 1, 1);
    hand_tag(&h, TIFFTAG_ROWSPERSTRIP, 3, 1, 4);
    hand_tag(&h, TIFFTAG_STRIPBYTECOUNTS, 4, 1, 16);
    return h;
}

/* Zeros up to 200, then 16 pixels 1 .. 16. */
static inline void
hand_pixels(hand *h)
{
    assert_true(mri_bytes_zero(&h->bytes, 200 - h->bytes.len));
    for (uint8_t i = 1; i <= 16; i++) {
        assert_true(mri_bytes_add(&h->bytes, &i, 1));
    }
}

/* Change the value of a tag in the first directory of a hand-made file. */
static inline void
hand_set(hand *h, uint32_t tag, uint32_t value)
{
    uint8_t *p = h->bytes.data + 10;

    for (int i = 0; i < mri_get16(h->bytes.data + 8); i++, p += 12) {
        if (mri_get16(p) == tag) {
            mri_put32(p + 8, value);
            return;
        }
    }
    fail();
}

#endif
