/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - what a sample is made of, on its way into a shard.
 */
#ifndef MRI_RECORD_H
#define MRI_RECORD_H

#include <millrace/dataset.h>
#include <mri/geometry.h>

MRI_BEGIN

typedef enum mri_field_kind {
    MRI_FIELD_OTHER = 0, /* neither: text, tables, anything */
    MRI_FIELD_IMAGE = 1,
    MRI_FIELD_LABEL = 2
} mri_field_kind;

/* A file that a field was made from. */
typedef struct mri_provenance {
    const char *name; /* relative to its SOURCE */
    uint8_t sha256[32];
    uint64_t bytes;
    const char *dropped; /* what was left out of a verbatim copy, or NULL */
} mri_provenance;

/* How the chunks of a field are to be stored. Each that does not shrink by 5 %
 * is raw all the same, and one of equal values takes no bytes. */
typedef enum mri_coding {
    MRI_CODING_AUTO = 0, /* bit packing or LZ4, what is shorter */
    MRI_CODING_LZ4,      /* byte shuffle and LZ4 */
    MRI_CODING_LZ4HC,    /* the same, searched for long */
    MRI_CODING_BITPACK,  /* elements over 2 bytes: as auto */
    MRI_CODING_ZSTD,     /* delta (floats: only the shuffle) and zstd */
    MRI_CODING_RAW
} mri_coding;

/* "auto", "lz4", ... as users write it. */
const char *mri_coding_name(mri_coding coding);

/* One field, decoded (or verbatim), still in the caller's memory. */
typedef struct mri_field_in {
    uint16_t name; /* index in the schema's fields */
    bool label;    /* of that kind there: its values are counted */
    mr_encoding encoding;
    mr_dtype dtype; /* JPEG and bytes: MR_U8 */
    uint8_t ndim;
    char axes[MR_MAX_RANK];
    uint32_t dims[MR_MAX_RANK]; /* JPEG: of the picture as decoded */
    const void *pixels;         /* row-major; JPEG: decoded, for statistics */
    const uint8_t *verbatim;    /* JPEG, bytes: what is stored */
    uint64_t verbatim_bytes;
    uint32_t jpeg[3]; /* components; sampling, a byte a component, first
                         lowest: h << 4 | v; restart interval */
    mri_coding coding;
    const mri_geometry *geometry;
    const mri_provenance *sources; /* in channel order */
    uint32_t source_count;
} mri_field_in;

typedef struct mri_sample_in {
    uint8_t uid[MR_UID_BYTES];
    const char *key;
    const char *group;      /* "" if there is none */
    const char *class_name; /* NULL if there is none */
    uint32_t class_index;   /* in the schema, or MR_NO_CLASS */
    const mri_field_in *fields;
    uint32_t field_count;
} mri_sample_in;

#define MRI_NO_FIELD UINT32_MAX

/* A field may be a coarser level of another, as in a pyramid: a sample's
 * elements of it stand for so many of the other's along each axis. */
typedef struct mri_field_level {
    uint32_t of; /* index in the schema's fields, or MRI_NO_FIELD */
    uint32_t rank;
    uint32_t downsample[MR_MAX_RANK]; /* [rank], >= 1 */
} mri_field_level;

typedef struct mri_schema {
    uint32_t field_count;
    const char **field_names;
    mri_field_kind *field_kinds;   /* or a number that only a later version
                                    knows: such a field is kept, and left to
                                    who knows it */
    mri_field_level *field_levels; /* NULL: none is a level */
    uint32_t class_count;
    const char **classes; /* sorted */
    const char *config;   /* canonical conversion config, JSON */
    const char *writer;   /* NULL: this millrace and its version */
} mri_schema;

/* uid of a sample: settled by its key and the SHA-256 of its image sources,
 * count * 32 bytes, in field and channel order. False: no memory. */
bool mri_uid_of(uint8_t uid[MR_UID_BYTES], const char *key,
                const uint8_t *sha256, uint32_t count);
/* The hash under which a group's name stands in rows; 0 for "". */
uint64_t mri_group_hash(const char *group);

MRI_END

#endif
