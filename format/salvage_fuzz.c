/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage_fuzz.c - any bytes as a shard: what comes out of it is a sample that
 * can be encoded, and nothing crashes. Checksums would stop every change, so
 * with the first byte odd they are made right before.
 */
#include "salvage_body.h"

#include "frame.h"

#include <mri/alloc.h>
#include <mri/crc32c.h>

#include <stdlib.h>
#include <string.h>

static volatile uint64_t sink; /* so that every byte is read */

/* Give every frame at a multiple of 64 the checksum that it should have. */
static void
mend(uint8_t *p, size_t size)
{
    static const uint8_t tag[16];
    size_t at = MRI_HEAD_BYTES;

    while (at + MRI_FRAME_HEAD <= size) {
        uint32_t len = mri_get32(p + at + 8);
        uint32_t crc = mri_crc32c(0, tag, sizeof tag);

        if (memcmp(p + at, "MRMF", 4) != 0 ||
            len > size - at - MRI_FRAME_HEAD) {
            at += MRI_ALIGN;
            continue;
        }
        crc = mri_crc32c(crc, p + at, MRI_FRAME_HEAD - 4);
        crc = mri_crc32c(crc, p + at + MRI_FRAME_HEAD, len);
        mri_put32(p + at + MRI_FRAME_HEAD - 4, crc);
        at = (size_t)mri_round_up(at + MRI_FRAME_HEAD + len, MRI_ALIGN);
    }
}

static void
touch(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        sink += p[i];
    }
}

static void
visit(const mri_body *b, mri_rescue *rescue)
{
    for (size_t i = 0; i < b->meta_count; i++) {
        Mri__PbMeta *pb;
        mri_encoded *e;

        if (mri_body_sample(b, &b->metas[i], rescue, &pb, &e, NULL) == MR_OK) {
            if (pb == NULL || e->grid_count == 0 ||
                e->piece_count > e->chunk_count) {
                abort();
            }
            for (uint32_t k = 0; k < e->piece_count; k++) {
                touch(e->frames.data + e->pieces[k].at,
                      e->pieces[k].stored_len);
            }
        }
        mri_encoded_free(e);
        mri_meta_unpacked_free(pb);
    }
    for (uint32_t i = 0; b->has_foot && i < b->tail.samples; i++) {
        const uint8_t *row;

        if (mri_foot_row(&b->foot, MRI_TABLE_SAMPLES, i, &row, NULL) != MR_OK) {
            break;
        }
        sink += row[0] + row[MRI_SAMPLE_ROW - 1];
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = size > 1 ? malloc(size - 1) : NULL;
    mri_body b = {.file = {.fd = -1}};
    mri_rescue rescue = {.all = {16, 0}};

    if (exact == NULL) {
        return 0;
    }
    memcpy(exact, data + 1, size - 1); /* exact size: ASan sees any overread */
    if (data[0] & 1) {
        mend(exact, size - 1);
    }
    b.file.map = exact;
    b.file.size = size - 1;
    if (mri_body_scan(&b, NULL, NULL, NULL) == MR_OK) {
        visit(&b, &rescue);
    }
    mri_rescue_release(&rescue);
    b.file = (mri_object){.fd = -1};
    mri_body_close(&b);
    free(exact);
    return 0;
}
