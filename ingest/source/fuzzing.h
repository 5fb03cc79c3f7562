/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzzing.h - what holds for every decoder and every input, strict or lenient:
 * it ends; a refusal has a code and leaves nothing behind; what is accepted has
 * the size that its shape says, and looks before as it looks after.
 */
#ifndef SOURCE_FUZZING_H
#define SOURCE_FUZZING_H

#include <mri/source.h>

#include <mri/alloc.h>
#include <mri/error.h>

#include <stdlib.h>
#include <string.h>

#define FUZZ_SAMPLES 16 /* read of one file; the rest is more of the same */

static inline void
hold(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* Small limits, so that a run is short. */
static inline mri_source_options
fuzz_options(bool lenient)
{
    mri_source_options o = mri_source_defaults();

    o.lenient = lenient;
    o.label = lenient;
    o.keep_text = lenient;
    o.limits.decoded_bytes = 4u << 20;
    o.limits.ratio = 1000;
    o.limits.tiff_pages = 200;
    o.limits.text_bytes = 1u << 16;
    return o;
}

static inline void
check_image(const mri_image *image)
{
    uint64_t bytes = mr_dtype_bytes(image->dtype);
    volatile uint8_t sum = 0;

    hold(bytes != 0 && image->rank >= 1 && image->rank <= MR_MAX_RANK);
    hold(strlen(image->axes) == image->rank);
    for (uint32_t i = 0; i < image->rank; i++) {
        hold(image->shape[i] != 0);
        bytes *= image->shape[i];
    }
    hold(bytes == image->bytes);
    for (uint64_t i = 0; image->pixels != NULL && i < bytes; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)image->pixels)[i]);
    }
}

/* What a decoder's own target checks besides. */
typedef void fuzz_check(const mri_image *image);

static inline void
fuzz_sample(const mri_source *s, uint64_t i, fuzz_check *check)
{
    mri_image look, image;
    mr_diag diag = {0};
    mr_err err = mri_source_look(s, i, &look, &diag);

    if (err == MR_OK) {
        check_image(&look);
        hold(look.pixels == NULL);
        err = mri_source_read(s, i, &image, &diag);
        if (err == MR_OK) {
            check_image(&image);
            hold(image.dtype == look.dtype && image.bytes == look.bytes &&
                 strcmp(image.axes, look.axes) == 0);
            if (check != NULL) {
                check(&image);
            }
        }
        mri_image_release(&image);
    }
    hold(err == MR_OK || (diag.code >= 200 && diag.text[0] != '\0'));
    mri_image_release(&look);
}

/* Read a file of exactly these bytes in one mode. */
static inline void
fuzz_file(const mri_source_bytes *file, const mri_source_bytes *pair,
          bool lenient, fuzz_check *check)
{
    mri_source_options o = fuzz_options(lenient);
    mri_source *s = NULL;
    mr_diag diag = {0};
    mr_err err = mri_source_open(&s, file, pair, &o, &diag);

    hold(err == MR_OK ||
         (s == NULL && diag.code >= 200 && diag.text[0] != '\0'));
    for (uint64_t i = 0;
         s != NULL && i < mri_source_count(s) && i < FUZZ_SAMPLES; i++) {
        fuzz_sample(s, i, check);
    }
    mri_source_close(s);
}

/* Both modes over a copy of exactly `size` bytes, if it is of this kind. */
static inline int
fuzz_source(const uint8_t *data, size_t size, mri_source_kind kind,
            fuzz_check *check)
{
    mri_source_kind is = MRI_SOURCE_UNKNOWN;
    mri_source_bytes file = {.len = size};
    uint8_t *exact;

    if (mri_source_recognise(&is, NULL, data, size, NULL) != MR_OK ||
        is != kind) {
        return 0;
    }
    exact = malloc(size);
    if (exact != NULL) {
        memcpy(exact, data, size);
        file.data = exact;
        fuzz_file(&file, NULL, false, check);
        fuzz_file(&file, NULL, true, check);
    }
    free(exact);
    return 0;
}

#endif
