/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - one decoded sample: shape, room, and what was left behind. */
#include "decoder.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <stdio.h>

static const char *const drop_names[MRI_DROPS] = {
    [MRI_DROP_TEXT] = "text",         [MRI_DROP_EXIF] = "exif",
    [MRI_DROP_XMP] = "xmp",           [MRI_DROP_PROFILE] = "profile",
    [MRI_DROP_APP] = "app",           [MRI_DROP_EXTENSION] = "extension",
    [MRI_DROP_FRAMES] = "frames",     [MRI_DROP_KEY] = "key",
    [MRI_DROP_TRAILING] = "trailing", [MRI_DROP_REDUCED] = "reduced",
};

void
mri_image_release(mri_image *image)
{
    mri_free(image->block);
    mri_free(image->jpeg.data);
    mri_free(image->text);
    mri_geometry_release(&image->geometry);
    *image = (mri_image){0};
    mri_geometry_init(&image->geometry);
}

int
mri_image_dropped(const mri_image *image, char *out, size_t bytes)
{
    int len = 0;

    if (bytes != 0) {
        out[0] = '\0';
    }
    for (int i = 0; i < MRI_DROPS; i++) {
        size_t used = (size_t)len < bytes ? (size_t)len : bytes;

        if (image->dropped[i] != 0) {
            len +=
                snprintf(out + used, bytes - used, "%s%s:%" PRIu64,
                         len != 0 ? " " : "", drop_names[i], image->dropped[i]);
        }
    }
    return len;
}

bool
image_axis(mri_image *image, char letter, uint64_t length)
{
    if (image->rank == MR_MAX_RANK) {
        return false;
    }
    image->axes[image->rank] = letter;
    image->shape[image->rank] = length;
    image->rank++;
    image->axes[image->rank] = '\0';
    return true;
}

mr_err
source_no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* What so many encoded bytes may become at most. */
static uint64_t
most(const mri_limits *limits, uint64_t encoded)
{
    uint64_t bytes = encoded;

    if (bytes < limits->ratio_floor) {
        bytes = limits->ratio_floor;
    }
    return mri_mul(bytes, limits->ratio, &bytes) ? bytes : UINT64_MAX;
}

mr_err
source_fits(const mri_limits *limits, uint64_t decoded, uint64_t encoded,
            mr_diag *diag)
{
    if (decoded > limits->decoded_bytes) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, MR_NOWHERE,
                        "decodes to %" PRIu64 " bytes, more than the limit "
                        "decoded_bytes of %" PRIu64,
                        decoded, limits->decoded_bytes);
    }
    if (decoded > most(limits, encoded)) {
        return mri_fail(diag, MRI_E_SOURCE_RATIO, MR_NOWHERE,
                        "%" PRIu64 " bytes claim to decode to %" PRIu64
                        ", more than the limit ratio of %" PRIu64 " to one",
                        encoded, decoded, limits->ratio);
    }
    return MR_OK;
}

mr_err
source_work(const mri_limits *limits, uint64_t work, uint64_t encoded,
            mr_diag *diag)
{
    if (work > most(limits, encoded)) {
        return mri_fail(diag, MRI_E_SOURCE_RATIO, MR_NOWHERE,
                        "%" PRIu64 " bytes ask for work on %" PRIu64
                        ", more than the limit ratio of %" PRIu64 " to one",
                        encoded, work, limits->ratio);
    }
    return MR_OK;
}

mr_err
image_measure(mri_image *image, const mri_limits *limits, uint64_t encoded,
              mr_diag *diag)
{
    uint64_t bytes = mr_dtype_bytes(image->dtype);

    for (uint32_t i = 0; i < image->rank; i++) {
        if (!mri_mul(bytes, image->shape[i], &bytes)) {
            return mri_fail(diag, MRI_E_SOURCE_LIMIT, MR_NOWHERE,
                            "the size of the image does not fit 64 bits");
        }
    }
    image->bytes = bytes;
    return source_fits(limits, bytes, encoded, diag);
}

mr_err
image_room(mri_image *image, mr_diag *diag)
{
    image->block = mri_alloc_pixels(image->bytes, 1);
    if (image->block == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for %" PRIu64 " bytes of pixels",
                        image->bytes);
    }
    image->pixels = image->block;
    return MR_OK;
}
