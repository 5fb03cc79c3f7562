/* SPDX-License-Identifier: Apache-2.0 */
/* nifti.c - NIfTI-1 and -2: one file or two, gzip or not. */
#include "decoder.h"
#include "gzip.h"
#include "nifti_head.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define HEAD_ROOM (NIFTI2_BYTES + NIFTI_EXTENDER)
#define ALIGN 64 /* of the pixels, as mri_alloc_pixels gives it */

/* The first bytes, through gzip if need be; returns how many there are. */
static size_t
peek(const uint8_t *data, size_t len, uint8_t head[HEAD_ROOM])
{
    size_t n = len < HEAD_ROOM ? len : HEAD_ROOM;

    if (gzip_is(data, len)) {
        return gzip_peek(data, len, head, HEAD_ROOM);
    }
    if (n != 0) {
        memcpy(head, data, n);
    }
    return n;
}

static bool
recognise(const uint8_t *data, size_t len)
{
    uint8_t head[HEAD_ROOM];

    return nifti_like(head, peek(data, len, head));
}

bool
nifti_is_pair(const uint8_t *data, size_t len)
{
    uint8_t head[HEAD_ROOM];

    return nifti_says_pair(head, peek(data, len, head));
}

/* The file that the voxels are in. */
static const mri_source_bytes *
voxel_file(const mri_source *s)
{
    const nifti_head *head = s->state;

    return head->pair ? &s->pair : &s->file;
}

static mr_err
in_voxel_file(const mri_source *s, mr_err err, mr_diag *diag)
{
    if (err != MR_OK) {
        mri_diag_in(diag, voxel_file(s)->name);
    }
    return err;
}

static mr_err
check_pair(const mri_source *s, const nifti_head *head, mr_diag *diag)
{
    if (head->pair && !s->has_pair) {
        return mri_fail(diag, MRI_E_NIFTI_PAIR, MR_NOWHERE,
                        "a header whose voxels are in an .img beside it, and "
                        "there is none");
    }
    return MR_OK;
}

static mr_err
open_nifti(mri_source *s, mr_diag *diag)
{
    uint8_t raw[HEAD_ROOM];
    nifti_head *head = mri_alloc(1, sizeof *head);
    size_t got = peek(s->file.data, s->file.len, raw);
    mr_err err;

    if (head == NULL) {
        return source_no_memory(diag);
    }
    err = nifti_read_head(head, raw, got, s->options.lenient, diag);
    if (err == MR_OK) {
        err = check_pair(s, head, diag);
    }
    if (err != MR_OK) {
        mri_free(head);
        return err;
    }
    s->state = head;
    s->count = 1;
    return MR_OK;
}

/* mm and seconds for each axis; 0 where the header says nothing of use. */
static double
spacing_of(const nifti_head *head, uint32_t i)
{
    double v = fabs(head->pixdim[i + 1]);

    if (!isfinite(v) || i > 3) {
        return 0;
    }
    if (i < 3) {
        int64_t unit = head->units & 7;

        return unit == 1 ? v * 1000 : unit == 3 ? v / 1000 : v;
    }
    switch (head->units & 0x38) {
    case 0:
    case 8:
        return v;
    case 16:
        return v / 1000;
    case 24:
        return v / 1000000;
    default:
        return 0; /* Hz, ppm, rad/s: no time */
    }
}

static mr_err
describe(const mri_source *s, mri_image *image, mr_diag *diag)
{
    static const char letters[NIFTI_RANK + 1] = "XYZTUVW";
    const nifti_head *head = s->state;

    image->dtype = head->dtype;
    for (uint32_t i = head->rank; i-- > 0;) {
        image->geometry.spacing[image->rank] = spacing_of(head, i);
        (void)image_axis(image, letters[i], head->dim[i]);
    }
    if (head->part != 0) {
        (void)image_axis(image, head->part, head->parts);
    }
    image->geometry.slope = head->slope;
    image->geometry.inter = head->inter;
    image->geometry.has_affine = true;
    memcpy(image->geometry.affine, head->affine, sizeof head->affine);
    return image_measure(image, &s->options.limits, voxel_file(s)->len, diag);
}

/* Keep the header, and with keep_text the extensions behind it. */
static mr_err
keep_header(const mri_source *s, mri_image *image, const uint8_t *p,
            uint64_t bytes, mr_diag *diag)
{
    const nifti_head *head = s->state;
    bool keep = s->options.keep_text;
    uint64_t extensions, stored = head->header_bytes;
    mr_err err = nifti_extensions(head, p, bytes, &extensions, diag);

    if (err != MR_OK) {
        return err;
    }
    if (keep && extensions != 0) {
        stored += NIFTI_EXTENDER + extensions;
    }
    if (stored > s->options.limits.text_bytes) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, head->header_bytes,
                        "extensions of %" PRIu64 " bytes, more than the limit "
                        "text_bytes of %" PRIu64,
                        extensions, s->options.limits.text_bytes);
    }
    image->geometry.nifti = mri_alloc(stored, 1);
    if (image->geometry.nifti == NULL) {
        return source_no_memory(diag);
    }
    memcpy(image->geometry.nifti, p, stored);
    image->geometry.nifti_bytes = (uint32_t)stored;
    if (!keep) {
        image->dropped[MRI_DROP_TEXT] =
            nifti_anonymise(head, image->geometry.nifti);
        image->dropped[MRI_DROP_EXTENSION] = extensions;
    }
    return MR_OK;
}

/* The header file of a pair, all of it. */
static mr_err
keep_header_file(const mri_source *s, mri_image *image, mr_diag *diag)
{
    gzip_job job = {.p = s->file.data, .len = s->file.len};
    uint64_t room = s->options.limits.text_bytes;
    mr_err err;

    if (!gzip_is(job.p, job.len)) {
        return keep_header(s, image, job.p, job.len, diag);
    }
    if (room / s->options.limits.ratio > job.len) {
        room = job.len * s->options.limits.ratio;
    }
    job.room = room;
    job.most = room;
    job.out = mri_alloc_pixels(room, 1);
    if (job.out == NULL) {
        return source_no_memory(diag);
    }
    err = gzip_decode(&job, diag);
    if (err == MR_OK) {
        err = keep_header(s, image, job.out, job.got, diag);
    }
    mri_free(job.out);
    return err;
}

static mr_err
voxels_end(uint64_t at, uint64_t have, uint64_t want, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_NIFTI_SHORT, at,
                    "the voxels end here, after %" PRIu64 " of %" PRIu64
                    " bytes",
                    have, want);
}

/* `have` of the image's bytes are there. */
static mr_err
check_all_there(const mri_source *s, mri_image *image, uint64_t have,
                mr_diag *diag)
{
    if (have >= image->bytes) {
        return MR_OK;
    }
    if (!s->options.lenient) {
        return voxels_end(voxel_file(s)->len, have, image->bytes, diag);
    }
    memset((uint8_t *)image->pixels + have, 0, image->bytes - have);
    image->repaired++;
    return MR_OK;
}

static mr_err
read_plain(const mri_source *s, mri_image *image, mr_diag *diag)
{
    const nifti_head *head = s->state;
    const mri_source_bytes *file = voxel_file(s);
    uint64_t have = 0;
    mr_err err;

    if (file->len > head->vox_offset) {
        have = file->len - head->vox_offset;
    }
    if (have < image->bytes && !s->options.lenient) {
        return voxels_end(file->len, have, image->bytes, diag);
    }
    err = image_room(image, diag);
    if (err != MR_OK) {
        return err;
    }
    if (have > image->bytes) {
        image->dropped[MRI_DROP_TRAILING] += have - image->bytes;
        have = image->bytes;
    }
    if (have != 0) {
        memcpy(image->pixels, file->data + head->vox_offset, have);
    }
    return check_all_there(s, image, have, diag);
}

/* Header and voxels come out of gzip in one piece; the room is shifted so that
 * the voxels, not the header, lie on an aligned address. */
static mr_err
read_gzip(const mri_source *s, mri_image *image, mr_diag *diag)
{
    const nifti_head *head = s->state;
    const mri_source_bytes *file = voxel_file(s);
    const mri_limits *l = &s->options.limits;
    uint64_t pad = (ALIGN - head->vox_offset % ALIGN) % ALIGN;
    gzip_job job = {.p = file->data, .len = file->len};
    uint64_t have = 0;
    mr_err err;

    job.room = head->vox_offset + image->bytes; /* both below 2^54 */
    job.most = l->decoded_bytes;
    err = source_fits(l, job.room, file->len, diag);
    if (err != MR_OK) {
        return err;
    }
    image->block = mri_alloc_pixels(pad + job.room, 1);
    if (image->block == NULL) {
        return source_no_memory(diag);
    }
    job.out = (uint8_t *)image->block + pad;
    image->pixels = job.out + head->vox_offset;
    err = gzip_decode(&job, diag);
    if (err == MR_ECORRUPT && s->options.lenient &&
        (head->pair || job.got >= head->vox_offset)) {
        mri_diag_clear(diag);
        image->repaired++;
        err = MR_OK;
    }
    if (err != MR_OK) {
        return err;
    }
    image->dropped[MRI_DROP_TRAILING] += job.extra + job.rest;
    if (job.got > head->vox_offset) {
        have = job.got - head->vox_offset;
    }
    err = check_all_there(s, image, have, diag);
    if (err == MR_OK && !head->pair) {
        err = keep_header(s, image, job.out, head->vox_offset, diag);
    }
    return err;
}

static mr_err
read_voxels(const mri_source *s, mri_image *image, mr_diag *diag)
{
    const nifti_head *head = s->state;
    const mri_source_bytes *file = voxel_file(s);
    mr_err err;

    if (gzip_is(file->data, file->len)) {
        err = read_gzip(s, image, diag);
    } else {
        err = read_plain(s, image, diag);
    }
    if (err == MR_OK && head->swapped) {
        size_t size = mr_dtype_bytes(head->dtype);

        swap_bytes(image->pixels, image->bytes / size, size);
    }
    return err;
}

static mr_err
read_nifti(const mri_source *s, uint64_t i, bool look, mri_image *image,
           mr_diag *diag)
{
    const nifti_head *head = s->state;
    mr_err err = describe(s, image, diag);

    (void)i;
    if (err != MR_OK || look) {
        return err;
    }
    if (head->pair) {
        err = keep_header_file(s, image, diag);
    } else if (!gzip_is(s->file.data, s->file.len)) {
        uint64_t room = head->vox_offset;

        room = room < s->file.len ? room : s->file.len;
        err = keep_header(s, image, s->file.data, room, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    return in_voxel_file(s, read_voxels(s, image, diag), diag);
}

const decoder decoder_nifti = {
    .kind = MRI_SOURCE_NIFTI,
    .name = "nifti",
    .recognise = recognise,
    .open = open_nifti,
    .read = read_nifti,
    .close = mri_free,
};
