/* SPDX-License-Identifier: Apache-2.0 */
/* jpeg.c - JPEG: kept as it is, without people in it, and proven by a decode. */
#include "decoder.h"
#include "jpeg_walk.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <string.h>

static bool
recognise(const uint8_t *data, size_t len)
{
    return len >= 2 && data[0] == 0xff && data[1] == JPEG_SOI;
}

static mr_err
check_head(const mri_source *s, const jpeg_head *head, mr_diag *diag)
{
    const mri_limits *l = &s->options.limits;

    if (head->width > l->side || head->height > l->side ||
        (uint64_t)head->width * head->height > l->pixels) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, MR_NOWHERE,
                        "%" PRIu32 " x %" PRIu32 " pixels, more than the limit "
                        "side of %" PRIu64 " or pixels of %" PRIu64,
                        head->width, head->height, l->side, l->pixels);
    }
    return MR_OK;
}

static mr_err
open_jpeg(mri_source *s, mr_diag *diag)
{
    jpeg_head *head = mri_alloc(1, sizeof *head);
    mr_err err;

    if (head == NULL) {
        return source_no_memory(diag);
    }
    err = jpeg_read_head(head, s->file.data, s->file.len, diag);
    if (err == MR_OK) {
        err = check_head(s, head, diag);
    }
    if (err != MR_OK) {
        mri_free(head);
        return err;
    }
    s->state = head;
    s->count = 1;
    return MR_OK;
}

static mr_err
describe(const mri_source *s, mri_image *image, mr_diag *diag)
{
    const jpeg_head *head = s->state;

    image->dtype = MR_U8;
    (void)image_axis(image, 'Y', head->height);
    (void)image_axis(image, 'X', head->width);
    if (head->components != 1) {
        (void)image_axis(image, 'C', head->components);
    }
    image->geometry.orientation = head->orientation;
    image->jpeg.width = head->width;
    image->jpeg.height = head->height;
    image->jpeg.components = head->components;
    image->jpeg.subsampling = head->subsampling;
    image->jpeg.restart_interval = head->restart_interval;
    image->jpeg.progressive = head->progressive;
    return image_measure(image, &s->options.limits, s->file.len, diag);
}

/* A progressive JPEG keeps all its coefficients (16 bits a sample) while it
 * is decoded, and every scan walks over all of them. */
static mr_err
check_scans(const mri_source *s, const mri_image *image, uint32_t scans,
            mr_diag *diag)
{
    const mri_limits *l = &s->options.limits;
    uint64_t work;
    mr_err err;

    if (scans > l->jpeg_scans) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, MR_NOWHERE,
                        "%" PRIu32 " scans, more than the limit jpeg_scans of "
                        "%" PRIu64,
                        scans, l->jpeg_scans);
    }
    if (scans <= 1 && !image->jpeg.progressive) {
        return MR_OK;
    }
    err = source_fits(l, 3 * image->bytes, s->file.len, diag);
    if (err == MR_OK) {
        work = image->bytes * scans; /* both are bounded by now */
        err = source_work(l, work, s->file.len, diag);
    }
    return err;
}

/* Strip the file and decode what is left: that is what will be stored. */
static mr_err
read_sound(const mri_source *s, mri_image *image, mr_diag *diag)
{
    bool keep = s->options.keep_text;
    jpeg_clean clean = {.data = mri_alloc_pixels(s->file.len, 1)};
    jpeg_decode_args args = {.head = s->state};
    mr_err err;

    if (clean.data == NULL) {
        return source_no_memory(diag);
    }
    image->jpeg.data = clean.data;
    err = jpeg_strip(&clean, s->file.data, s->file.len, keep, diag);
    if (err == MR_OK) {
        err = check_scans(s, image, clean.scans, diag);
    }
    if (err == MR_OK) {
        err = image_room(image, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    image->jpeg.bytes = clean.bytes;
    memcpy(image->dropped, clean.dropped, sizeof clean.dropped);
    args.p = clean.data;
    args.len = clean.bytes;
    args.pixels = image->pixels;
    err = jpeg_decode(&args, diag);
    if (err != MR_OK && diag != NULL) {
        diag->at = jpeg_origin(s->file.data, s->file.len, keep, args.at);
    }
    return err;
}

/* Scans in a file whose markers cannot be followed: at most so many. */
static uint32_t
count_scans(const uint8_t *p, size_t len)
{
    uint32_t n = 0;

    for (size_t i = 0; i + 1 < len && n < UINT32_MAX; i++) {
        n += p[i] == 0xff && p[i + 1] == JPEG_SOS;
    }
    return n;
}

/* A damaged JPEG is stored as the pixels that it still gives: whoever reads
 * the records later shall not meet the damage again. */
static mr_err
read_damaged(const mri_source *s, mri_image *image, mr_diag *diag)
{
    jpeg_decode_args args = {
        .p = s->file.data,
        .len = s->file.len,
        .head = s->state,
        .damage = &image->repaired,
    };
    mr_err err = check_scans(s, image, count_scans(args.p, args.len), diag);

    mri_free(image->jpeg.data);
    image->jpeg.data = NULL;
    image->jpeg.bytes = 0;
    if (err == MR_OK && image->pixels == NULL) {
        err = image_room(image, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    memset(image->pixels, 0, image->bytes);
    args.pixels = image->pixels;
    return jpeg_decode(&args, diag);
}

static mr_err
read_jpeg(const mri_source *s, uint64_t i, bool look, mri_image *image,
          mr_diag *diag)
{
    mr_err err = describe(s, image, diag);

    (void)i;
    if (err != MR_OK || look) {
        return err;
    }
    err = read_sound(s, image, diag);
    if (err == MR_ECORRUPT && s->options.lenient) {
        mri_diag_clear(diag);
        err = read_damaged(s, image, diag);
        image->repaired += err == MR_OK && image->repaired == 0;
    }
    return err;
}

const decoder decoder_jpeg = {
    .kind = MRI_SOURCE_JPEG,
    .name = "jpeg",
    .recognise = recognise,
    .open = open_jpeg,
    .read = read_jpeg,
    .close = mri_free,
};
