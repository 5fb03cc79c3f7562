/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_shard.h - any bytes as a shard file, small enough to fuzz: pads, page
 * hashes and tails are not in the input but made from it.
 *
 * Input: a byte of FUZZ_* flags, the number of tables, the foot's place in
 * units of 64 (u16), the number of samples (u32), and then head, body and foot
 * as they lie in the file. Without FUZZ_MEND it is the whole file instead.
 */
#ifndef MRI_FUZZ_SHARD_H
#define MRI_FUZZ_SHARD_H

#include "foot.h"
#include "frame.h"

#include <mri/crc32c.h>
#include <mri/hash.h>

#include <fuzz_bytes.h>

enum { FUZZ_SHARD_HEAD = 8 };

/* Give every frame at a multiple of 64 the checksum that it should have. */
static inline void
fuzz_mend_frames(uint8_t *p, size_t size, const uint8_t tag[16])
{
    size_t at = MRI_HEAD_BYTES;

    while (at + MRI_FRAME_HEAD <= size) {
        uint32_t len = mri_get32(p + at + 8);
        uint32_t crc = mri_crc32c(0, tag, 16);

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

/* A row of the table of contents, if it stays in `len` bytes of foot. */
static inline uint8_t *
fuzz_table(uint8_t *foot, size_t len, size_t i, uint32_t *id, uint64_t *rows,
           uint32_t *row_bytes)
{
    const uint8_t *toc = foot + i * MRI_TOC_ROW;
    uint64_t bytes, off;

    if ((i + 1) * MRI_TOC_ROW > len) {
        return NULL;
    }
    *id = mri_get32(toc);
    *row_bytes = mri_get32(toc + 4);
    off = mri_get64(toc + 8);
    *rows = mri_get64(toc + 16);
    return mri_mul(*rows, *row_bytes, &bytes) && off <= len &&
                   bytes <= len - off
               ? foot + off
               : NULL;
}

/* Let the chunk rows name the frames that stand where they point to. */
static inline void
fuzz_mend_chunks(uint8_t *p, size_t body, uint8_t *rows, uint64_t count,
                 bool agree)
{
    for (uint64_t i = 0; i < count; i++) {
        uint8_t *row = rows + i * MRI_CHUNK_ROW;
        uint64_t at = mri_get64(row);
        mri_chunk_row c;

        if (at > body || body - at < MRI_FRAME_HEAD) {
            continue;
        }
        mri_chunk_row_get(&c, row);
        if ((c.flags & MRI_CHUNK_CONSTANT) == 0) {
            c.crc = mri_get32(p + at + MRI_FRAME_HEAD - 4);
            if (agree) {
                c.kind = p[at + 4];
                c.codec = p[at + 5];
                c.filter = p[at + 6];
                c.stored_len = mri_get32(p + at + 8);
                c.raw_len = mri_get32(p + at + 12);
            }
            mri_chunk_row_put(row, &c);
        }
    }
}

/* Page hashes, pad and tails after a foot that begins at `at` of `out`. */
static inline void
fuzz_close_shard(mri_bytes *out, size_t at, mri_tail *tail)
{
    size_t len = out->len - at;
    mri_xxh3_state *sum = mri_xxh3_begin();
    uint8_t digest[32], raw[MRI_TAIL_BYTES];
    size_t toc = (size_t)tail->toc_rows * MRI_TOC_ROW;
    uint64_t size;

    tail->foot_off = at;
    tail->pages = (uint32_t)((len + MRI_FOOT_PAGE - 1) / MRI_FOOT_PAGE);
    for (size_t i = 0; i < tail->pages; i++) {
        size_t left = len - i * MRI_FOOT_PAGE;

        hold(mri_bytes_u64(
            out,
            mri_xxh3(out->data + at + i * MRI_FOOT_PAGE,
                     left < MRI_FOOT_PAGE ? left : (size_t)MRI_FOOT_PAGE)));
    }
    tail->foot_len = out->len - at;
    mri_xxh3_add(sum, out->data + at, toc < len ? toc : len);
    mri_xxh3_add(sum, out->data + at + len, (size_t)tail->pages * 8);
    tail->hash = mri_xxh3_end(sum);
    mri_xxh3_free(sum);
    mri_sha256_of(digest, out->data + at, out->len - at);
    memcpy(tail->shard_id, digest, 16);
    mri_tail_put(raw, tail);
    size = mri_shard_file_size(out->len);
    hold(mri_bytes_zero(out, (size_t)size - out->len));
    memcpy(out->data + size - MRI_TAIL_SPAN, raw, sizeof raw);
    memcpy(out->data + size - MRI_TAIL_BYTES, raw, sizeof raw);
}

/* The file that an input stands for. False: it stands for none. */
static inline bool
fuzz_shard(mri_bytes *out, const uint8_t *data, size_t size)
{
    mri_tail tail = {0};
    bool agree;
    size_t at, len;

    out->len = 0;
    if (size < FUZZ_SHARD_HEAD) {
        return false;
    }
    len = size - FUZZ_SHARD_HEAD;
    if ((data[0] & FUZZ_MEND) == 0) {
        return mri_bytes_add(out, data + FUZZ_SHARD_HEAD, len);
    }
    agree = (data[0] & FUZZ_AGREE) != 0;
    tail.toc_rows = data[1];
    at = (size_t)mri_get16(data + 2) * MRI_ALIGN;
    tail.samples = mri_get32(data + 4);
    hold(mri_bytes_add(out, data + FUZZ_SHARD_HEAD, len) &&
         mri_bytes_zero(out, (size_t)(mri_round_up(len, MRI_ALIGN) - len)));
    at = at < out->len ? at : out->len;
    if (at < MRI_HEAD_BYTES) {
        return false;
    }
    mri_put32(out->data + 60, mri_crc32c(0, out->data, 60));
    fuzz_mend_frames(out->data, at, out->data + 20);
    for (size_t i = 0; i < tail.toc_rows; i++) {
        uint32_t id, row_bytes;
        uint64_t rows;
        uint8_t *p = fuzz_table(out->data + at, out->len - at, i, &id, &rows,
                                &row_bytes);

        if (p != NULL && id == MRI_TABLE_CHUNKS && row_bytes == MRI_CHUNK_ROW) {
            fuzz_mend_chunks(out->data, at, p, rows, agree);
        }
        if (p != NULL && id == MRI_TABLE_SAMPLES && agree) {
            tail.samples = (uint32_t)rows;
        }
    }
    fuzz_close_shard(out, at, &tail);
    return true;
}

#endif
