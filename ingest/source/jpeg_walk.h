/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jpeg_walk.h - the markers of a JPEG, one after the other, by their offsets.
 */
#ifndef SOURCE_JPEG_WALK_H
#define SOURCE_JPEG_WALK_H

#include <mri/source.h>

#define JPEG_COMPONENTS 4

enum {
    JPEG_SOF0 = 0xc0,
    JPEG_SOF2 = 0xc2,
    JPEG_DHT = 0xc4,
    JPEG_DAC = 0xcc,
    JPEG_SOF15 = 0xcf,
    JPEG_RST0 = 0xd0,
    JPEG_RST7 = 0xd7,
    JPEG_SOI = 0xd8,
    JPEG_EOI = 0xd9,
    JPEG_SOS = 0xda,
    JPEG_DRI = 0xdd,
    JPEG_APP0 = 0xe0,
    JPEG_APP1 = 0xe1,
    JPEG_APP2 = 0xe2,
    JPEG_APP14 = 0xee,
    JPEG_APP15 = 0xef,
    JPEG_COM = 0xfe
};

typedef struct jpeg_walk {
    const uint8_t *p;
    size_t len;
    size_t at; /* of the next marker, or the byte where one is due */
} jpeg_walk;

/* A marker with its parameters; SOS without the entropy-coded data. */
typedef struct jpeg_piece {
    uint8_t marker;
    size_t at;    /* of its 0xff */
    size_t bytes; /* marker, length and body */
    const uint8_t *body;
    size_t body_bytes;
} jpeg_piece;

/*
 * The next marker. The first must be SOI; after EOI nothing may be asked.
 *
 * errors  MR_ECORRUPT  no marker where one is due, or the file ends
 */
MR_USE_RESULT mr_err jpeg_next(jpeg_walk *w, jpeg_piece *piece, mr_diag *diag);

/* After SOS: step over the entropy-coded data, restart markers included. */
MR_USE_RESULT mr_err jpeg_entropy(jpeg_walk *w, size_t *bytes, mr_diag *diag);

/* What the markers before the first scan say. */
typedef struct jpeg_head {
    uint32_t width, height, components;
    uint32_t subsampling; /* as in mri_jpeg */
    uint32_t restart_interval;
    bool progressive;
    uint8_t orientation;
} jpeg_head;

/*
 * Read up to and with the header of the first scan.
 *
 * errors  MR_EFORMAT   arithmetic, lossless, hierarchical, 12 bits, CMYK
 *         MR_ECORRUPT  damaged
 */
MR_USE_RESULT mr_err jpeg_read_head(jpeg_head *head, const uint8_t *p,
                                    size_t len, mr_diag *diag);

/* The stored form of a file: what it becomes, and what was left out. */
typedef struct jpeg_clean {
    uint8_t *data; /* room for the whole file, from the caller */
    size_t bytes;
    uint32_t scans;
    uint64_t dropped[MRI_DROPS];
} jpeg_clean;

/*
 * Copy what belongs to the picture; all markers if keep_text.
 *
 * errors  MR_ECORRUPT  damaged, or no EOI
 */
MR_USE_RESULT mr_err jpeg_strip(jpeg_clean *clean, const uint8_t *p, size_t len,
                                bool keep_text, mr_diag *diag);

/* The offset in the file of byte `at` of its stripped form. */
size_t jpeg_origin(const uint8_t *p, size_t len, bool keep_text, size_t at);

/*
 * Decode a whole file into u8 pixels, rows of width * components.
 *
 * bytes     where in p it stopped on an error (out)
 * damage    NULL: the first warning of the decoder is an error; else their
 *           number is added to it, and what could be decoded is there
 */
typedef struct jpeg_decode_args {
    const uint8_t *p;
    size_t len;
    const jpeg_head *head;
    uint8_t *pixels;
    size_t at;
    uint64_t *damage;
} jpeg_decode_args;

MR_USE_RESULT mr_err jpeg_decode(jpeg_decode_args *args, mr_diag *diag);

#endif
