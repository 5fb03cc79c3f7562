/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decoder.h - what a decoder of one format is, and what they share.
 *
 * To add a format: a file with one of these tables, and its row in source.c.
 */
#ifndef SOURCE_DECODER_H
#define SOURCE_DECODER_H

#include <mri/source.h>

#include <mri/bytes.h>
#include <mri/error.h>

typedef struct decoder decoder;

struct mri_source {
    const decoder *decoder;
    mri_source_bytes file, pair;
    bool has_pair;
    mri_source_options options;
    uint64_t count; /* samples, set by open */
    void *state;    /* the decoder's own, set by open */
};

struct decoder {
    mri_source_kind kind;
    const char *name;
    /* Do these bytes begin such a file? Any length. */
    bool (*recognise)(const uint8_t *data, size_t len);
    /* Check the headers, set count and state. On error close is not called. */
    mr_err (*open)(mri_source *s, mr_diag *diag);
    /* Sample i < count into a zeroed image with initialised geometry; without
     * its pixels if `look`. On error the caller releases the image. */
    mr_err (*read)(const mri_source *s, uint64_t i, bool look, mri_image *image,
                   mr_diag *diag);
    void (*close)(void *state);
};

extern const decoder decoder_jpeg, decoder_png, decoder_tiff, decoder_nifti;

/*
 * Check that `decoded` bytes may come out of the file's `encoded` ones.
 * Everything of a claimed size is allocated only after this.
 */
MR_USE_RESULT mr_err source_fits(const mri_limits *limits, uint64_t decoded,
                                 uint64_t encoded, mr_diag *diag);

/* Work that costs time in place of memory, in bytes touched: ratio only. */
MR_USE_RESULT mr_err source_work(const mri_limits *limits, uint64_t work,
                                 uint64_t encoded, mr_diag *diag);

/* Append an axis; false if there are MR_MAX_RANK already. */
bool image_axis(mri_image *image, char letter, uint64_t length);
/* image->bytes from shape and dtype, within the limits. */
MR_USE_RESULT mr_err image_measure(mri_image *image, const mri_limits *limits,
                                   uint64_t encoded, mr_diag *diag);
/* Room for image->bytes, not zeroed. */
MR_USE_RESULT mr_err image_room(mri_image *image, mr_diag *diag);

/* MRI_E_MEMORY, in one voice. */
mr_err source_no_memory(mr_diag *diag);

/* Why a file that no decoder knows is refused (sniff.c). Never MR_OK. */
mr_err sniff_refuse(const uint8_t *data, size_t len, mr_diag *diag);

/* Does a NIfTI header (or its gzip) say that the voxels are elsewhere? */
bool nifti_is_pair(const uint8_t *data, size_t len);

/* The orientation 1..8 of a block of EXIF (a TIFF header and its first
 * directory), or 0: damaged EXIF is no reason to refuse an image. */
uint8_t exif_orientation(const uint8_t *p, size_t len);

/* No zero, and every sequence as it must be. */
bool text_is_utf8(const char *text, size_t len);
/* False: no memory. */
bool text_add_latin1(mri_bytes *out, const uint8_t *p, size_t len);
/* Up to the first zero as UTF-8: as it is, or taken for Latin-1. mri_free;
 * NULL: no memory. */
char *text_utf8(const char *text, size_t len);

/* Reverse the bytes of each of `count` elements of `size` 1, 2, 4 or 8. */
void swap_bytes(void *p, uint64_t count, size_t size);

#endif
