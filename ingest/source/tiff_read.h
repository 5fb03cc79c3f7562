/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiff_read.h - the pixels of a TIFF's pages.
 *
 * Uncompressed strips and tiles are copied from where our own walk found them;
 * compressed ones go through libtiff, a handle a page.
 */
#ifndef SOURCE_TIFF_READ_H
#define SOURCE_TIFF_READ_H

#include "tiff_walk.h"

struct tiff;

typedef struct tiff_reader {
    const tiff_file *f;
    bool label;
    uint64_t *damage;      /* NULL: strict; else counts what was left zero */
    struct tiff *tif;      /* libtiff's handle, and ... */
    const tiff_page *page; /* ... the only page that it sees */
    uint8_t *piece;        /* one decoded strip or tile */
    uint64_t piece_room;
    uint8_t *indices; /* a palette image before its palette */
    uint64_t indices_room;
    uint64_t position; /* of libtiff in its view of the file */
    bool decoding;     /* warnings of a JPEG are errors now */
    bool complained;
    char text[200]; /* its first complaint */
} tiff_reader;

void tiff_reader_init(tiff_reader *r, const tiff_file *f, bool label,
                      uint64_t *damage);
void tiff_reader_release(tiff_reader *r);

/*
 * Decode a page: planes one after the other, rows of samples in them, as
 * `dtype` (the page's own, or that of its palette).
 *
 * out     tiff_page_bytes(page), or three values a pixel for a palette
 * errors  MR_ECORRUPT  a strip or tile is damaged or short, unless lenient
 */
MR_USE_RESULT mr_err tiff_read_into(tiff_reader *r, const tiff_page *page,
                                    mr_dtype dtype, uint8_t *out,
                                    mr_diag *diag);

/* `images` uncompressed images behind each other (tiff_contiguous holds). */
void tiff_read_run(const tiff_reader *r, const tiff_page *page, uint64_t images,
                   uint8_t *out);

/* MR_U8 if 8 bits hold the palette's colours, else MR_U16. */
mr_dtype tiff_palette_type(const tiff_file *f, const tiff_page *page);

/* Samples of 1 to 15 bits, first one highest, to one u8 or u16 each. */
void tiff_unpack8(uint8_t *to, const uint8_t *from, uint64_t count,
                  uint32_t bits);
void tiff_unpack16(uint16_t *to, const uint8_t *from, uint64_t count,
                   uint32_t bits);

/* libtiff (tiff_lib.c): turn to a page, decode its piece i into `out`, exactly
 * `bytes` of it. */
MR_USE_RESULT mr_err tiff_lib_open(tiff_reader *r, const tiff_page *page,
                                   mr_diag *diag);
/* False: damaged, r->text says how. */
bool tiff_lib_piece(tiff_reader *r, const tiff_page *page, uint64_t i,
                    uint8_t *out, uint64_t bytes);
void tiff_lib_close(tiff_reader *r);

#endif
