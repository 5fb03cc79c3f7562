/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.h - foreign image files, as bytes in memory, to values: JPEG, PNG,
 * TIFF and NIfTI.
 *
 * Files are recognised by content, never by name. What is not exactly
 * understood is refused by name, with the byte offset, before anything of the
 * size that the file claims is allocated.
 *
 * A palette that maps every index to itself as a grey, as cameras and ImageJ
 * write it, is none: the image is grey.
 *
 * Values are those that tifffile's asarray() gives, Pillow's raw samples, and
 * the stored type of a NIfTI; never inverted, scaled or rotated:
 *
 *   JPEG   grey "YX", colour "YXC" (RGB), u8; the file itself is kept beside
 *   PNG    grey "YX" u8 or u16 (1, 2 and 4 bits: 0..1, 0..3, 0..15); "YXC"
 *          with 2 (grey, alpha), 3 or 4 channels; a palette becomes RGB, or
 *          RGBA if it has transparency, its indices in a label field; a single
 *          transparent colour (tRNS of grey and RGB) is not applied
 *   TIFF   "YX", "YXC", or "CYX" for separate planes; pages in front, slowest
 *          first, e.g. "ZYX", "TZCYX"; samples are "S" where C is taken; 1 to
 *          7 bits as u8, 9 to 15 as u16; complex: last axis "R"; a palette
 *          becomes RGB (u8, or u16 if it needs that), its indices in a label
 *          field; page axes of length 1 are left out
 *   NIfTI  the file runs x fastest, so axes are its dimensions reversed: "ZYX",
 *          "TZYX", then "UTZYX" and so on; equal to numpy.asanyarray(
 *          img.dataobj.get_unscaled()).T; RGB24 and RGBA32: last axis "C";
 *          complex: last axis "R"
 *
 * Threads: everything here may be called from any number of threads; a source
 * is not changed after it was opened, so many may read from one at once.
 */
#ifndef MRI_SOURCE_H
#define MRI_SOURCE_H

#include <millrace/tensor.h>
#include <mri/door.h>
#include <mri/geometry.h>

MRI_BEGIN

typedef enum mri_source_kind {
    MRI_SOURCE_UNKNOWN = 0,
    MRI_SOURCE_JPEG,
    MRI_SOURCE_PNG,
    MRI_SOURCE_TIFF,
    MRI_SOURCE_NIFTI /* .nii, .hdr with .img; each also as .gz */
} mri_source_kind;

/* "jpeg", "png", "tiff", "nifti"; "unknown". */
const char *mri_source_kind_name(mri_source_kind kind);

/* What no file may make us do. Defaults: the table below. */
typedef struct mri_limits {
    uint64_t file_bytes;    /* one file as it lies on the disk */
    uint64_t decoded_bytes; /* one sample, decoded */
    uint64_t total_bytes;   /* all samples of one file, decoded */
    uint64_t ratio;         /* decoded bytes for each byte of the file ... */
    uint64_t ratio_floor;   /* ... which counts as at least so many bytes */
    uint64_t side;          /* width, height of a JPEG or PNG */
    uint64_t pixels;        /* width * height of a JPEG or PNG */
    uint64_t jpeg_scans;
    uint64_t png_chunk_bytes;   /* one chunk, image data apart */
    uint64_t tiff_pages;        /* image file directories */
    uint64_t samples_per_pixel; /* of a TIFF */
    uint64_t text_bytes;        /* a description that is parsed or kept */
} mri_limits;

/* One row: for `millrace limits`, for config keys, and for the defaults. */
typedef struct mri_limit {
    const char *name; /* "png_chunk_bytes" */
    const char *unit; /* "bytes", "pixels", ... */
    uint64_t value;   /* the default */
    size_t at;        /* offset in mri_limits */
    const char *what; /* a sentence */
} mri_limit;

const mri_limit *mri_limits_table(size_t *count);

/* What the pages of a TIFF are. */
typedef enum mri_pages {
    MRI_PAGES_AUTO,    /* as its OME, ImageJ or tifffile text says, else Z */
    MRI_PAGES_DEPTH,   /* one sample, axis Z */
    MRI_PAGES_CHANNEL, /* one sample, axis C */
    MRI_PAGES_SAMPLE   /* one sample each */
} mri_pages;

typedef struct mri_source_options {
    mri_pages pages;
    bool label;     /* the field holds labels: a palette's indices stay */
    bool keep_text; /* comments, EXIF, extensions: see mri_image */
    /* Take what can be decoded of a damaged JPEG (as pixels: its bytes are not
     * kept then), TIFF or NIfTI (the rest is 0); a damaged PNG is refused. */
    bool lenient;
    mri_limits limits;
} mri_source_options;

mri_source_options mri_source_defaults(void);

/*
 * A file in memory.
 *
 * owner   data stays the caller's and must outlive the source
 * name    names the file in errors; may be NULL
 */
typedef struct mri_source_bytes {
    const uint8_t *data;
    size_t len;
    const char *name;
} mri_source_bytes;

/* Something of the source that was not taken over: free text, mostly. */
typedef enum mri_drop {
    MRI_DROP_TEXT,      /* comments, descriptions, names, dates */
    MRI_DROP_EXIF,      /* EXIF and GPS, the orientation apart */
    MRI_DROP_XMP,       /* XMP, IPTC */
    MRI_DROP_PROFILE,   /* colour: ICC profile, gamma, primaries */
    MRI_DROP_APP,       /* blocks of a maker or an application */
    MRI_DROP_EXTENSION, /* NIfTI extensions */
    MRI_DROP_FRAMES,    /* further frames of an animated PNG */
    MRI_DROP_KEY,       /* a transparent colour that was not applied */
    MRI_DROP_TRAILING,  /* bytes after the end of the image */
    MRI_DROP_REDUCED, /* count, not bytes: thumbnails, masks, pyramid levels */
    MRI_DROPS
} mri_drop;

/* A JPEG as it is stored: byte for byte, but without people in it. */
typedef struct mri_jpeg {
    uint8_t *data; /* NULL: pixels only */
    uint64_t bytes;
    uint32_t width, height;
    uint32_t components;  /* 1 or 3 */
    uint32_t subsampling; /* a byte a component, first lowest: h << 4 | v */
    uint32_t restart_interval; /* in MCUs; 0: none */
    bool progressive;
} mri_jpeg;

/*
 * One sample's image.
 *
 * shape   [rank], row-major, a letter of `axes` each
 * owner   release it with mri_image_release
 */
typedef struct mri_image {
    mr_dtype dtype;
    uint32_t rank;
    char axes[MR_MAX_RANK + 1];
    uint64_t shape[MR_MAX_RANK];
    uint64_t bytes;
    void *pixels; /* [bytes], native byte order; NULL from mri_source_look */
    mri_jpeg jpeg;
    mri_geometry geometry;
    uint64_t dropped[MRI_DROPS]; /* bytes that were left behind */
    uint64_t repaired; /* pieces that were damaged; 0 unless `lenient` */
    char *text;        /* with keep_text: free texts of a PNG or TIFF, UTF-8 */
    void *block;       /* private: what `pixels` lies in */
} mri_image;

/* Zeroed memory and what a failure left behind are accepted. */
void mri_image_release(mri_image *image);

/*
 * What was dropped as stable words, "exif:1234 text:80 trailing:5"; "" if
 * nothing was. Returns what snprintf would.
 */
int mri_image_dropped(const mri_image *image, char *out, size_t bytes);

/*
 * What a file is, by its first bytes (the first 4 KiB are enough).
 *
 * pair    out, may be NULL: a NIfTI header whose voxels are in another file
 * errors  MR_EFORMAT  none of ours; the text names what it is, if known
 *         MR_ECORRUPT the file is empty
 */
MR_USE_RESULT mr_err mri_source_recognise(mri_source_kind *kind, bool *pair,
                                          const uint8_t *data, size_t len,
                                          mr_diag *diag);

/*
 * Open a file: its headers are read and checked, its pixels are not.
 *
 * pair    the .img of a NIfTI .hdr, else NULL
 * options NULL: the defaults
 * errors  MR_EFORMAT   not a file of ours, or a variant that is not read
 *         MR_ECORRUPT  damaged; diag->at is the place in the file
 *         MR_ELIMIT    over a limit
 *         MR_ENOMEM
 */
typedef struct mri_source mri_source;
MR_USE_RESULT mr_err mri_source_open(mri_source **out,
                                     const mri_source_bytes *file,
                                     const mri_source_bytes *pair,
                                     const mri_source_options *options,
                                     mr_diag *diag);
void mri_source_close(mri_source *source);

mri_source_kind mri_source_kind_of(const mri_source *source);
/* Samples in it, at least 1. */
uint64_t mri_source_count(const mri_source *source);

/*
 * Type, shape and geometry of sample `i` without its pixels. What can only be
 * counted while decoding (trailing bytes) is not in `dropped`.
 */
MR_USE_RESULT mr_err mri_source_look(const mri_source *source, uint64_t i,
                                     mri_image *image, mr_diag *diag);

/*
 * Sample `i`, decoded from its first byte to its last: what is returned was
 * proven sound (checksums, lengths), unless `lenient` and repaired != 0.
 *
 * errors  as mri_source_open; then `image` is zeroed
 */
MR_USE_RESULT mr_err mri_source_read(const mri_source *source, uint64_t i,
                                     mri_image *image, mr_diag *diag);

MRI_END

#endif
