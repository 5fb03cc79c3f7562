/* SPDX-License-Identifier: Apache-2.0 */
/*
 * png_walk.h - the chunks of a PNG, one after the other, by their offsets.
 */
#ifndef SOURCE_PNG_WALK_H
#define SOURCE_PNG_WALK_H

#include <mri/bytes.h>
#include <mri/source.h>

#define PNG_SIGNATURE 8
#define PNG_FRAME 12 /* length, type and CRC around the body */

/* A chunk's type as one number: PNG_TYPE('I', 'D', 'A', 'T'). */
#define PNG_TYPE(a, b, c, d)                                                   \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 |          \
     (uint32_t)(d))

enum {
    PNG_IHDR = PNG_TYPE('I', 'H', 'D', 'R'),
    PNG_PLTE = PNG_TYPE('P', 'L', 'T', 'E'),
    PNG_IDAT = PNG_TYPE('I', 'D', 'A', 'T'),
    PNG_IEND = PNG_TYPE('I', 'E', 'N', 'D'),
    PNG_TRNS = PNG_TYPE('t', 'R', 'N', 'S'),
    PNG_TEXT = PNG_TYPE('t', 'E', 'X', 't'),
    PNG_ZTXT = PNG_TYPE('z', 'T', 'X', 't'),
    PNG_ITXT = PNG_TYPE('i', 'T', 'X', 't'),
    PNG_TIME = PNG_TYPE('t', 'I', 'M', 'E'),
    PNG_EXIF = PNG_TYPE('e', 'X', 'I', 'f'),
    PNG_ICCP = PNG_TYPE('i', 'C', 'C', 'P'),
    PNG_GAMA = PNG_TYPE('g', 'A', 'M', 'A'),
    PNG_CHRM = PNG_TYPE('c', 'H', 'R', 'M'),
    PNG_SRGB = PNG_TYPE('s', 'R', 'G', 'B'),
    PNG_ACTL = PNG_TYPE('a', 'c', 'T', 'L'),
    PNG_FCTL = PNG_TYPE('f', 'c', 'T', 'L'),
    PNG_FDAT = PNG_TYPE('f', 'd', 'A', 'T')
};

static inline uint32_t
png_get32(const uint8_t *p)
{
    return PNG_TYPE(p[0], p[1], p[2], p[3]);
}

typedef struct png_walk {
    const uint8_t *p;
    size_t len;
    size_t at;            /* of the next chunk; 0 to begin */
    uint64_t chunk_bytes; /* limit for all but IDAT */
    bool check;           /* CRCs too */
} png_walk;

typedef struct png_chunk {
    uint32_t type;
    size_t at;    /* of its length field */
    size_t bytes; /* with length, type and CRC */
    const uint8_t *body;
    uint32_t body_bytes;
} png_chunk;

/*
 * The next chunk; after IEND nothing may be asked.
 *
 * errors  MR_ECORRUPT  the file ends, a CRC differs, no chunk
 *         MR_ELIMIT    longer than the limit
 */
MR_USE_RESULT mr_err png_next(png_walk *w, png_chunk *chunk, mr_diag *diag);

/* The text of a tEXt, zTXt or iTXt chunk as a line of UTF-8, "keyword: text".
 * A damaged one, or one too long for the bytes that are left, adds nothing.
 * False: no memory. */
bool png_text_line(mri_bytes *out, const png_chunk *chunk, uint64_t *left);

#endif
