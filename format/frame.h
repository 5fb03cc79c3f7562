/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.h - the head of a shard and the frames of its body.
 * Bytes: docs/shard-format.md, "Head" and "Frames".
 */
#ifndef MRI_FRAME_H
#define MRI_FRAME_H

#include <millrace/base.h>

enum {
    MRI_HEAD_BYTES = 64,
    MRI_HEAD_FEATURES = 12, /* where they stand in it */
    MRI_FRAME_HEAD = 32,
    MRI_ALIGN = 64 /* frames begin at multiples of it */
};

typedef enum mri_frame_kind {
    MRI_FRAME_SCHEMA = 1,
    MRI_FRAME_CHUNK = 2,
    MRI_FRAME_JPEG = 3,
    MRI_FRAME_BYTES = 4,
    MRI_FRAME_META = 5
} mri_frame_kind;

typedef enum mri_codec {
    MRI_CODEC_RAW = 0,
    MRI_CODEC_LZ4 = 1,    /* one block */
    MRI_CODEC_ZSTD = 2,   /* one frame */
    MRI_CODEC_BITPACK = 3 /* bitpack.h; no filter goes with it */
} mri_codec;
typedef enum mri_filter {
    MRI_FILTER_NONE = 0,
    MRI_FILTER_SHUFFLE = 1, /* byte k of every element together */
    MRI_FILTER_DELTA = 2    /* differences of neighbours, then that */
} mri_filter;

typedef struct mri_frame {
    uint8_t kind, codec, filter;
    uint8_t element; /* bytes of one, for the filter */
    uint32_t stored_len, raw_len;
    uint64_t ordinal; /* of the frame in its shard */
    uint32_t crc;
} mri_frame;

void mri_head_put(uint8_t head[MRI_HEAD_BYTES], const uint8_t plan_tag[16]);
/*
 * errors  MR_EFORMAT   no shard's magic (or damaged by a text-mode copy)
 *         MR_ECORRUPT  the head fails its checksum
 *         MR_EVERSION  another version, or a feature that we do not
 *                      know
 */
MR_USE_RESULT mr_err mri_head_get(const uint8_t *head, size_t bytes,
                                  uint8_t plan_tag[16], mr_diag *diag);

/* Fill frame->crc over plan_tag, header and payload, and write the header. */
void mri_frame_put(uint8_t to[MRI_FRAME_HEAD], mri_frame *frame,
                   const uint8_t plan_tag[16], const void *payload);
/*
 * Read a header and check it with its payload, `left` bytes being there from
 * the header on. `at` is its offset, for the error.
 * errors  MR_ECORRUPT
 */
MR_USE_RESULT mr_err mri_frame_get(mri_frame *frame, const uint8_t *from,
                                   uint64_t left, uint64_t at,
                                   const uint8_t plan_tag[16], mr_diag *diag);

#endif
