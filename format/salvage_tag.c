/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage_tag.c - the plan tag of a shard whose head is lost.
 *
 * A frame's checksum is a CRC over tag, header and payload. A CRC is linear:
 * what stands in front of n bytes is multiplied by x^(8 n), and that can be
 * undone. So every intact frame tells the CRC of the tag alone, and any 16
 * bytes with that CRC prove the frames of the shard as well as the true tag.
 */
#include "salvage_body.h"

#include "frame.h"

#include <mri/crc32c.h>

#include <string.h>

#define POLY 0x82F63B78u /* as in crc32c.c */
enum { VOTES = 64, ENOUGH = 2 };

/* The register before so many zero bytes went through it. */
static uint32_t
back(uint32_t crc, uint64_t bytes)
{
    for (uint64_t bit = 0; bit < bytes * 8; bit++) {
        crc = (crc & 0x80000000u) != 0 ? (crc ^ POLY) << 1 | 1 : crc << 1;
    }
    return crc;
}

/* The CRC of the tag, if the frame at `p` is intact. */
static uint32_t
implied(const uint8_t *p, uint32_t len)
{
    uint32_t crc = mri_crc32c(0, p, MRI_FRAME_HEAD - 4);

    crc = mri_crc32c(crc, p + MRI_FRAME_HEAD, len);
    return back(crc ^ mri_get32(p + MRI_FRAME_HEAD - 4),
                (uint64_t)MRI_FRAME_HEAD - 4 + len);
}

/* Twelve zeros and the four bytes that lead to `crc`. */
static void
tag_with(uint8_t tag[16], uint32_t crc)
{
    memset(tag, 0, 16);
    mri_put32(tag + 12, ~mri_crc32c(0, tag, 12) ^ back(~crc, 4));
}

bool
mri_tag_from_frames(uint8_t tag[16], const uint8_t *p, uint64_t bytes)
{
    uint32_t crc[VOTES];
    unsigned n = 0;

    for (uint64_t at = MRI_HEAD_BYTES;
         at + MRI_FRAME_HEAD <= bytes && n < VOTES; at += MRI_ALIGN) {
        uint32_t len = mri_get32(p + at + 8);
        unsigned same = 1;

        if (memcmp(p + at, "MRMF", 4) != 0 ||
            len > bytes - at - MRI_FRAME_HEAD) {
            continue;
        }
        crc[n] = implied(p + at, len);
        for (unsigned i = 0; i < n; i++) {
            same += crc[i] == crc[n];
        }
        if (same >= ENOUGH) {
            tag_with(tag, crc[n]);
            return true;
        }
        n++;
    }
    return false;
}
