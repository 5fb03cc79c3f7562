/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.h - the fixed rows of a shard's foot, and how they are read and
 * written. Bytes: docs/shard-format.md, "Tables".
 */
#ifndef MRI_ROWS_H
#define MRI_ROWS_H

#include <millrace/dataset.h>
#include <millrace/tensor.h>

enum {
    MRI_SAMPLE_ROW = 64,
    MRI_GRID_ROW = 96,
    MRI_CHUNK_ROW = 24,
    MRI_MOMENT_ROW = 144,
    MRI_STAT_ROW = 40,
    MRI_LABEL_ROW = 16
};

typedef enum mri_table {
    MRI_TABLE_SAMPLES = 1,
    MRI_TABLE_GRIDS = 2,
    MRI_TABLE_CHUNKS = 3,
    MRI_TABLE_MOMENTS = 4,
    MRI_TABLE_SCHEMA = 5,
    MRI_TABLE_STATS = 6, /* a row for each of MRI_TABLE_CHUNKS */
    MRI_TABLE_LABELS = 7
} mri_table;

typedef struct mri_sample_row {
    uint8_t uid[16];
    uint64_t meta_off;
    uint32_t meta_len; /* payload of the meta frame */
    uint32_t first_grid;
    uint16_t n_grid;
    uint16_t flags;
    uint32_t class_index; /* in the shard's schema, or MR_NO_CLASS */
    uint64_t group;       /* 8 B of SHA-256(group) */
    uint64_t content;     /* XXH3-64 over the fields' hashes and the class */
    uint64_t key;         /* XXH3-64 of the key */
} mri_sample_row;

enum {
    MRI_GRID_SCALED = 1, /* slope, inter are not 1, 0: see the meta */
    MRI_GRID_LABEL = 2   /* a label field, not an image */
};

typedef struct mri_grid_row {
    uint16_t field; /* in the schema */
    uint8_t encoding;
    uint8_t dtype;
    uint8_t ndim;
    char axes[8];
    uint8_t flags;
    uint32_t dims[8];
    uint32_t chunk[8]; /* jpeg: components, sampling, restart interval */
    uint64_t first_chunk;
    uint64_t content; /* XXH3-64 of the decoded field */
} mri_grid_row;

enum { MRI_CHUNK_CONSTANT = 1 };

typedef struct mri_chunk_row {
    uint64_t file_off; /* of the frame; a constant chunk: the value itself */
    uint32_t stored_len, raw_len;
    uint32_t crc;
    uint8_t codec, filter, kind, flags;
} mri_chunk_row;

typedef struct mri_moment_row {
    uint32_t grid;    /* in the grid table */
    uint32_t channel; /* along the axis C, else 0 */
    uint64_t non_finite;
    mr_moments all, nonzero, foreground;
} mri_moment_row;

enum {
    MRI_STAT_MANY = 1,     /* too many values: none is counted */
    MRI_LABELS_MAX = 4096, /* that a chunk's row counts */
};

/* What a chunk holds, as it is stored: no slope, no intercept. */
typedef struct mri_stat_row {
    uint64_t min, max;    /* integers: two's complement; else bits of an f64 */
    uint64_t first_label; /* in the label table */
    uint32_t nonzero;     /* NaN is not zero */
    uint32_t nan;
    uint32_t labels; /* distinct values, ascending; 0 if they are not counted */
    uint32_t flags;
} mri_stat_row;

typedef struct mri_label_row {
    uint64_t value; /* as min and max */
    uint64_t count;
} mri_label_row;

void mri_sample_row_put(uint8_t *to, const mri_sample_row *row);
void mri_sample_row_get(mri_sample_row *row, const uint8_t *from);
void mri_grid_row_put(uint8_t *to, const mri_grid_row *row);
void mri_grid_row_get(mri_grid_row *row, const uint8_t *from);
void mri_chunk_row_put(uint8_t *to, const mri_chunk_row *row);
void mri_chunk_row_get(mri_chunk_row *row, const uint8_t *from);
void mri_moment_row_put(uint8_t *to, const mri_moment_row *row);
void mri_moment_row_get(mri_moment_row *row, const uint8_t *from);
void mri_stat_row_put(uint8_t *to, const mri_stat_row *row);
void mri_stat_row_get(mri_stat_row *row, const uint8_t *from);
void mri_label_row_put(uint8_t *to, const mri_label_row *row);
void mri_label_row_get(mri_label_row *row, const uint8_t *from);

/* Chunks of a grid; 0 if dims or chunk cannot be (then it is damaged). */
uint64_t mri_grid_chunks(const mri_grid_row *g);
/* Bytes of the decoded field; 0 if that does not fit in 64 bits. */
uint64_t mri_grid_bytes(const mri_grid_row *g);
/* errors  MR_EVERSION  flags that a later version brought */
MR_USE_RESULT mr_err mri_chunk_known(const mri_chunk_row *row, mr_diag *diag);
/* Encoding, dtype and flags are ours; a later version may bring others. */
bool mri_grid_known(const mri_grid_row *g);
/* Nothing in the row contradicts itself or the limits of the format. */
bool mri_grid_sound(const mri_grid_row *g);

#endif
