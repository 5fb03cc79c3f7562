/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame_fuzz.c - any bytes as a head and frames: a walk from frame to frame
 * that ends, and a frame that is written again is the same.
 */
#include "fuzz_shard.h"

static void
visit(const mri_frame *f, const uint8_t *p, const uint8_t tag[16])
{
    uint8_t again[MRI_FRAME_HEAD];
    mri_frame copy = *f;

    fuzz_touch(p + MRI_FRAME_HEAD, f->stored_len);
    mri_frame_put(again, &copy, tag, p + MRI_FRAME_HEAD);
    hold(memcmp(again, p, 24) == 0); /* and 4 bytes that are kept free */
    hold(copy.crc == f->crc || mri_get32(p + 24) != 0);
}

static void
walk(const uint8_t *p, size_t size)
{
    uint8_t tag[16] = {0}, head[MRI_HEAD_BYTES];
    mr_diag diag = {0};
    size_t at = MRI_HEAD_BYTES;
    mri_frame f;

    if (fuzz_ok(mri_head_get(p, size, tag, &diag), &diag)) {
        mri_head_put(head, tag);
        hold(memcmp(head, p, 10) == 0 && memcmp(head + 20, p + 20, 16) == 0);
    }
    while (at < size) {
        if (!fuzz_ok(mri_frame_get(&f, p + at, size - at, at, tag, &diag),
                     &diag)) {
            at += MRI_ALIGN;
            continue;
        }
        hold(f.stored_len <= size - at - MRI_FRAME_HEAD);
        visit(&f, p + at, tag);
        at =
            (size_t)mri_round_up(at + MRI_FRAME_HEAD + f.stored_len, MRI_ALIGN);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *p;

    if (size < 1) {
        return 0;
    }
    p = fuzz_exact(data + 1, size - 1);
    if ((data[0] & FUZZ_MEND) != 0 && size - 1 >= MRI_HEAD_BYTES) {
        mri_put32(p + 60, mri_crc32c(0, p, 60));
        fuzz_mend_frames(p, size - 1, p + 20);
    }
    fuzz_begin();
    walk(p, size - 1);
    fuzz_end(0);
    free(p);
    return 0;
}
