/* SPDX-License-Identifier: Apache-2.0 */
/* frame.c - the head of a shard and the frames of its body. */
#include "frame.h"

#include "version.h"

#include <mri/bytes.h>
#include <mri/crc32c.h>
#include <mri/error.h>

#include <string.h>

/* As PNG's: a byte over 127, a CR LF, a ^Z and a LF show a copy in text mode
 * or through a channel of 7 bits. */
static const uint8_t head_magic[8] = {0x89, 'M',  'R',  'S',
                                      '\r', '\n', 0x1A, '\n'};
#define FRAME_MAGIC 0x464D524Du /* "MRMF" */
#define KNOWN_INCOMPATIBLE 0u

void
mri_head_put(uint8_t head[MRI_HEAD_BYTES], const uint8_t plan_tag[16])
{
    memset(head, 0, MRI_HEAD_BYTES);
    memcpy(head, head_magic, 8);
    mri_version_put(head + 8);
    memcpy(head + 20, plan_tag, 16);
    mri_put32(head + 60, mri_crc32c(0, head, 60));
}

mr_err
mri_head_get(const uint8_t *head, size_t bytes, uint8_t plan_tag[16],
             mr_diag *diag)
{
    mr_err err;

    if (bytes < MRI_HEAD_BYTES) {
        return mri_fail(diag, MRI_E_SHARD_SHORT, 0,
                        "%zu bytes are too few for a shard", bytes);
    }
    if (memcmp(head, head_magic, 8) != 0) {
        return mri_fail(diag, MRI_E_NOT_SHARD, 0,
                        memcmp(head + 1, "MRS", 3) == 0
                            ? "the magic is damaged, as by a copy in text mode"
                            : "this is no shard: the magic is missing");
    }
    /* The checksum first, so that a flipped bit in the version asks nobody to
     * upgrade. */
    if (mri_get32(head + 60) != mri_crc32c(0, head, 60)) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, 0,
                        "the head fails its checksum");
    }
    err = mri_version_check(head, MRI_HEAD_FEATURES, KNOWN_INCOMPATIBLE,
                            "shard", diag);
    if (err == MR_OK) {
        memcpy(plan_tag, head + 20, 16);
    }
    return err;
}

static uint32_t
sum_of(const uint8_t *header, const uint8_t plan_tag[16], const void *payload,
       uint32_t bytes)
{
    uint32_t crc = mri_crc32c(0, plan_tag, 16);

    crc = mri_crc32c(crc, header, MRI_FRAME_HEAD - 4);
    return mri_crc32c(crc, payload, bytes);
}

void
mri_frame_put(uint8_t to[MRI_FRAME_HEAD], mri_frame *frame,
              const uint8_t plan_tag[16], const void *payload)
{
    memset(to, 0, MRI_FRAME_HEAD);
    mri_put32(to, FRAME_MAGIC);
    to[4] = frame->kind;
    to[5] = frame->codec;
    to[6] = frame->filter;
    to[7] = frame->element;
    mri_put32(to + 8, frame->stored_len);
    mri_put32(to + 12, frame->raw_len);
    mri_put64(to + 16, frame->ordinal);
    frame->crc = sum_of(to, plan_tag, payload, frame->stored_len);
    mri_put32(to + 28, frame->crc);
}

mr_err
mri_frame_get(mri_frame *frame, const uint8_t *from, uint64_t left, uint64_t at,
              const uint8_t plan_tag[16], mr_diag *diag)
{
    mri_frame f;
    uint32_t crc;

    if (left < MRI_FRAME_HEAD || mri_get32(from) != FRAME_MAGIC) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, at, "no frame begins here");
    }
    f.kind = from[4];
    f.codec = from[5];
    f.filter = from[6];
    f.element = from[7];
    f.stored_len = mri_get32(from + 8);
    f.raw_len = mri_get32(from + 12);
    f.ordinal = mri_get64(from + 16);
    f.crc = mri_get32(from + 28);
    if (f.stored_len > left - MRI_FRAME_HEAD) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, at + 8,
                        "a frame of %u bytes, but only %llu are left",
                        f.stored_len,
                        (unsigned long long)(left - MRI_FRAME_HEAD));
    }
    crc = sum_of(from, plan_tag, from + MRI_FRAME_HEAD, f.stored_len);
    if (crc != f.crc) {
        return mri_fail(diag, MRI_E_CHECKSUM, at,
                        "frame %llu fails its checksum (stored %08x, computed "
                        "%08x)",
                        (unsigned long long)f.ordinal, f.crc, crc);
    }
    *frame = f;
    return MR_OK;
}
