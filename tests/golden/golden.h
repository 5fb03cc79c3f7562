/* SPDX-License-Identifier: Apache-2.0 */
/*
 * golden.h - set.txt: what the golden datasets hold, and which values. The
 * generator writes by it and the reader judges by it; nothing of it comes out
 * of a golden file.
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <mri/record.h>

enum { GOLDEN_FIELDS = 4, GOLDEN_SHARDS = 16 };

typedef struct golden_field {
    uint16_t name; /* in golden_schema */
    mr_encoding encoding;
    mr_dtype dtype;
    char pattern[32];
    char axes[MR_MAX_RANK + 1];
    uint32_t ndim, dims[MR_MAX_RANK];
    bool scaled;
    double slope, inter;
} golden_field;

typedef enum golden_kind {
    GOLDEN_DATASET,
    GOLDEN_SHARD,
    GOLDEN_SAMPLE,
    GOLDEN_COMMIT,
    GOLDEN_WITHDRAW,
    GOLDEN_ROLLBACK,
    GOLDEN_RELABEL,
    GOLDEN_COMPACT
} golden_kind;

/* A line of the table, with the fields of a sample. */
typedef struct golden_step {
    golden_kind kind;
    char name[64];       /* of a dataset; a key */
    char group[32];      /* "" if none */
    char class_name[32]; /* "" if none */
    mri_coding coding;   /* of a shard */
    unsigned number;     /* of a generation; shards that are left */
    golden_field fields[GOLDEN_FIELDS];
    uint32_t field_count;
} golden_step;

typedef struct golden_set {
    golden_step *steps;
    size_t count;
} golden_set;

/* Both end the program with a message if something is wrong. */
void golden_load(golden_set *set, const char *path);
void golden_release(golden_set *set);

/* One for all: levels, a label, a field of no kind; three classes. */
extern const mri_schema golden_schema;
uint32_t golden_class(const char *name); /* MR_NO_CLASS for "" */

uint64_t golden_count(const golden_field *f); /* elements */
/* The bytes of an array field, little-endian; malloc. */
uint8_t *golden_values(const golden_step *sample, const golden_field *f);
/* What all scaled fields have: slope and inter are the field's, the rest is a
 * formula. Free with golden_geometry_release. */
void golden_geometry(mri_geometry *g, const golden_field *f);
void golden_geometry_release(mri_geometry *g);
/* SHA-256 of the bytes of all image fields, in order: the sources. */
uint32_t golden_sources(const golden_step *sample, const char *pictures,
                        uint8_t sha256[GOLDEN_FIELDS][32]);
/* A file of the pictures' folder, or the text of a bytes field; malloc. */
uint8_t *golden_verbatim(const golden_field *f, const char *pictures,
                         size_t *bytes);

#endif
