/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jpeg_fuzz.c - any bytes: a JPEG is refused or read, and its stored form reads
 * to the same pixels and to itself.
 */
#include "fuzzing.h"

static void
stored_form_is_sound(const mri_image *image)
{
    mri_source_options o = fuzz_options(false);
    mri_source_bytes file = {image->jpeg.data, image->jpeg.bytes, NULL};
    mri_source *s = NULL;
    mri_image again;

    if (image->jpeg.data == NULL) {
        return;
    }
    hold(image->repaired == 0);
    o.keep_text = true;
    hold(mri_source_open(&s, &file, NULL, &o, NULL) == MR_OK);
    hold(mri_source_read(s, 0, &again, NULL) == MR_OK);
    hold(again.jpeg.bytes == image->jpeg.bytes);
    hold(memcmp(again.jpeg.data, image->jpeg.data, again.jpeg.bytes) == 0);
    hold(memcmp(again.pixels, image->pixels, image->bytes) == 0);
    mri_image_release(&again);
    mri_source_close(s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_source(data, size, MRI_SOURCE_JPEG, stored_form_is_sound);
}
