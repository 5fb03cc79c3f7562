/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode.h - a sample as it will be stored, before it has a place.
 */
#ifndef MRI_ENCODE_H
#define MRI_ENCODE_H

#include "rows.h"

#include <mri/bytes.h>
#include <mri/shard.h>

/* One frame to be: its payload lies at `at` of mri_encoded.frames. */
typedef struct mri_piece {
    uint64_t at;
    uint32_t stored_len, raw_len;
    uint32_t chunk; /* which chunk of the sample, row-major over its grids */
    uint8_t kind, codec, filter, element;
} mri_piece;

struct mri_encoded {
    mri_sample_row row; /* place fields still zero */
    mri_grid_row *grids;
    uint32_t grid_count;
    mri_chunk_row *chunks; /* constant ones complete, others without place */
    uint32_t chunk_count;
    mri_moment_row *moments; /* .grid counts within the sample */
    uint32_t moment_count;
    mri_stat_row *stats; /* [chunk_count] .first_label within the sample */
    mri_bytes labels;    /* mri_label_row, in the order of the chunks */
    mri_piece *pieces;   /* in the order of the file */
    uint32_t piece_count;
    mri_bytes frames; /* as they will stand in the body, heads still to come */
    mri_bytes meta;   /* PbMeta without its rows */
    uint64_t stored_bytes; /* of all payloads */
    uint64_t raw_bytes;
};

/* Where the payload of the next frame belongs, with room for `bytes`.
 * NULL: no memory. */
uint8_t *mri_frame_room(mri_encoded *e, size_t bytes);
/* Put a frame behind the others, room for its head and its pad with it; where
 * comes back in p->at. A payload that is in its place already is not copied.
 * False: no memory. */
bool mri_frame_add(mri_encoded *e, mri_piece *p, const uint8_t *payload);
/* Rows in labels. */
size_t mri_label_rows(const mri_encoded *e);
/* Fill the content hash of its row; class_name may be NULL. False: no memory. */
bool mri_content_take(mri_encoded *e, const char *class_name);

#endif
