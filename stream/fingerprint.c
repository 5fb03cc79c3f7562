/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fingerprint.c - what this build decodes and computes, in 16 bytes: two that
 * agree on them may serve one stream.
 */
#include "jpeg.h"
#include "op.h"
#include "pictures.h"

#include <mri/hash.h>
#include <mri/rows.h>

#include <stdio.h>
#include <string.h>

static void
add_operations(mri_sha256 *sum)
{
    size_t count;
    const mri_op_def *table = mri_op_table(&count);

    for (size_t i = 0; i < count; i++) {
        char text[80];
        int n = snprintf(text, sizeof text, "%s@%u\n", table[i].name,
                         table[i].version);

        mri_sha256_add(sum, text, (size_t)n);
    }
}

static mr_err
add_picture(mri_sha256 *sum, mri_jpeg *decoder, mri_room *room, size_t i,
            unsigned shrink, mr_diag *diag)
{
    mri_jpeg_want want = {.data = pictures[i].data,
                          .bytes = pictures[i].bytes,
                          .height = pictures[i].height,
                          .width = pictures[i].width,
                          .channels = pictures[i].channels,
                          .shrink = shrink};
    mri_jpeg_got got;
    mr_err err = mri_jpeg_decode(decoder, &want, room, &got, diag);

    for (uint64_t y = 0; err == MR_OK && y < got.height; y++) {
        mri_sha256_add(sum, got.pixels + y * got.row_bytes,
                       got.width * want.channels);
    }
    return err;
}

mr_err
mri_decoder_fingerprint(uint8_t out[16], mr_diag *diag)
{
    mri_sha256 *sum = mri_sha256_begin();
    mri_jpeg *decoder = mri_jpeg_open();
    mri_room room = {0};
    uint8_t whole[32];
    mr_err err = MR_OK;

    if (sum == NULL || decoder == NULL) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    } else {
        add_operations(sum);
    }
    for (size_t i = 0; err == MR_OK && i < MRI_COUNT(pictures); i++) {
        for (unsigned shrink = 1; err == MR_OK && shrink <= 8; shrink *= 2) {
            err = add_picture(sum, decoder, &room, i, shrink, diag);
        }
    }
    if (err == MR_OK) {
        mri_sha256_end(sum, whole);
        memcpy(out, whole, 16);
    }
    mri_sha256_free(sum);
    mri_jpeg_close(decoder);
    mri_room_release(&room);
    return err;
}
