/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiff_walk.h - the directories of a TIFF, read and checked by ourselves.
 *
 * libtiff decodes strips and tiles, but what it may touch is decided here:
 * every offset and count is proven to lie in the file before libtiff sees it.
 */
#ifndef SOURCE_TIFF_WALK_H
#define SOURCE_TIFF_WALK_H

#include <mri/source.h>

typedef struct tiff_file {
    const uint8_t *p;
    uint64_t len;
    bool big_endian;
    bool big_tiff; /* offsets of 64 bits */
    const mri_limits *limits;
} tiff_file;

/* A tag's values; count 0 if the directory has no such tag. */
typedef struct tiff_tag {
    uint16_t type;
    uint64_t count;
    uint64_t at; /* of the first value: all of them lie in the file */
} tiff_tag;

/* One image file directory. */
typedef struct tiff_page {
    uint64_t at;      /* of the directory */
    uint64_t next_at; /* where the offset of the next one stands */
    /* As the tags say, or their defaults; SampleFormat and the like are
     * numbers of tiff.h. */
    uint32_t width, height, depth;
    uint32_t bits, samples, format;
    uint32_t compression, photometric, planar, predictor, fill_order;
    uint32_t orientation;
    uint32_t subfile; /* bits: 1 reduced, 2 page, 4 mask */
    uint32_t rows_per_strip, tile_width, tile_height;
    tiff_tag strip_offsets, strip_counts, tile_offsets, tile_counts;
    tiff_tag colour_map, jpeg_tables, planes_tag;
    tiff_tag description, x_resolution, y_resolution;
    /* What follows from them: strips and tiles are pieces. */
    mr_dtype dtype;
    bool tiled;
    bool complex;
    bool unsorted; /* its tags do not ascend */
    uint32_t piece_width, piece_height;
    uint32_t across, down; /* pieces of one plane */
    uint32_t planes;       /* samples if they lie apart, else 1 */
    tiff_tag offsets, counts;
    uint64_t dropped[MRI_DROPS];
} tiff_page;

/*
 * Read the file's first bytes.
 *
 * first   out: offset of the first directory
 * errors  MR_ECORRUPT
 */
MR_USE_RESULT mr_err tiff_begin(tiff_file *f, uint64_t *first, mr_diag *diag);

/*
 * Read and check the directory at `at`.
 *
 * next    out: offset of the next one, 0 after the last
 * errors  MR_ECORRUPT  a value or a piece outside of the file, and the like
 *         MR_EFORMAT   a variant that is not read, named
 *         MR_ELIMIT
 */
MR_USE_RESULT mr_err tiff_read_page(const tiff_file *f, uint64_t at,
                                    tiff_page *page, uint64_t *next,
                                    mr_diag *diag);

/* The second half of it: what follows from the numbers (tiff_check.c). */
MR_USE_RESULT mr_err tiff_check_page(const tiff_file *f, tiff_page *page,
                                     mr_diag *diag);

/* Value i < count of an integer tag. */
uint64_t tiff_value(const tiff_file *f, const tiff_tag *tag, uint64_t i);
/* Value 0 of a RATIONAL tag; 0 if it is none or its denominator is 0. */
double tiff_rational(const tiff_file *f, const tiff_tag *tag);
/* An ASCII tag's bytes in the file, without closing zeros. */
const char *tiff_text(const tiff_file *f, const tiff_tag *tag, size_t *len);

/* Bytes of a page's samples, unpacked, its palette not applied. */
uint64_t tiff_page_bytes(const tiff_page *page);
/* Samples of one pixel in a piece. */
uint32_t tiff_piece_samples(const tiff_page *page);
/* Bytes of `rows` rows of a piece; never overflows on a checked page. */
uint64_t tiff_piece_bytes(const tiff_page *page, uint32_t rows);
/* Rows of a piece in row `y` of pieces: the last strip may be shorter. */
uint32_t tiff_piece_rows(const tiff_page *page, uint32_t y);

/*
 * Check that every piece lies in the file, and that uncompressed ones are long
 * enough.
 *
 * damage  NULL: the first that does not is an error; else it counts them
 */
MR_USE_RESULT mr_err tiff_check_pieces(const tiff_file *f,
                                       const tiff_page *page, uint64_t *damage,
                                       mr_diag *diag);
/* Does piece i lie in the file, and is it long enough? */
bool tiff_piece_sound(const tiff_file *f, const tiff_page *page, uint64_t i);
/* Number of pieces. */
uint64_t tiff_pieces(const tiff_page *page);

#endif
