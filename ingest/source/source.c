/* SPDX-License-Identifier: Apache-2.0 */
/* source.c - which decoder reads a file, and the limits that all of them keep. */
#include "decoder.h"

#include <mri/alloc.h>

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static const decoder *const decoders[] = {
    &decoder_jpeg,
    &decoder_png,
    &decoder_tiff,
    &decoder_nifti,
};

#define ROW(member, unit, value, what)                                         \
    {                                                                          \
#member, unit, value, offsetof(mri_limits, member), what               \
    }

static const mri_limit limit_rows[] = {
    ROW(file_bytes, "bytes", UINT64_C(64) << 30,
        "one file as it lies on the disk"),
    ROW(decoded_bytes, "bytes", UINT64_C(4) << 30, "one sample, decoded"),
    ROW(total_bytes, "bytes", UINT64_C(64) << 30,
        "all samples of one file, decoded"),
    ROW(ratio, "", 10000, "decoded bytes for each byte of the file"),
    ROW(ratio_floor, "bytes", 4096,
        "smaller files count as this many for the ratio"),
    ROW(side, "pixels", 65500, "width and height of a JPEG or PNG"),
    ROW(pixels, "pixels", UINT64_C(1) << 30,
        "width times height of a JPEG or PNG"),
    ROW(jpeg_scans, "", 500, "scans of a progressive JPEG"),
    ROW(png_chunk_bytes, "bytes", UINT64_C(16) << 20,
        "one chunk of a PNG, image data apart"),
    ROW(tiff_pages, "", 100000, "image file directories of a TIFF"),
    ROW(samples_per_pixel, "", 256, "samples per pixel of a TIFF"),
    ROW(text_bytes, "bytes", UINT64_C(16) << 20,
        "a description that is parsed or kept"),
};

const mri_limit *
mri_limits_table(size_t *count)
{
    *count = MRI_COUNT(limit_rows);
    return limit_rows;
}

mri_source_options
mri_source_defaults(void)
{
    mri_source_options options = {0};

    static_assert(sizeof(mri_limits) ==
                      MRI_COUNT(limit_rows) * sizeof(uint64_t),
                  "every limit has a row");
    for (size_t i = 0; i < MRI_COUNT(limit_rows); i++) {
        memcpy((char *)&options.limits + limit_rows[i].at, &limit_rows[i].value,
               sizeof(uint64_t));
    }
    return options;
}

const char *
mri_source_kind_name(mri_source_kind kind)
{
    for (size_t i = 0; i < MRI_COUNT(decoders); i++) {
        if (decoders[i]->kind == kind) {
            return decoders[i]->name;
        }
    }
    return "unknown";
}

static const decoder *
decoder_of(const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < MRI_COUNT(decoders); i++) {
        if (decoders[i]->recognise(data, len)) {
            return decoders[i];
        }
    }
    return NULL;
}

mr_err
mri_source_recognise(mri_source_kind *kind, bool *pair, const uint8_t *data,
                     size_t len, mr_diag *diag)
{
    const decoder *d = decoder_of(data, len);

    if (d == NULL) {
        return sniff_refuse(data, len, diag);
    }
    *kind = d->kind;
    if (pair != NULL) {
        *pair = d->kind == MRI_SOURCE_NIFTI && nifti_is_pair(data, len);
    }
    return MR_OK;
}

/* The errors that opening and reading share: name the file they are in. */
static mr_err
in_file(const mri_source *s, mr_err err, mr_diag *diag)
{
    if (err != MR_OK) {
        mri_diag_in(diag, s->file.name);
    }
    return err;
}

static mr_err
check_size(const mri_source_bytes *file, const mri_limits *limits,
           mr_diag *diag)
{
    if (file->len <= limits->file_bytes) {
        return MR_OK;
    }
    (void)mri_fail(diag, MRI_E_SOURCE_LIMIT, MR_NOWHERE,
                   "%zu bytes, more than the limit file_bytes of %" PRIu64,
                   file->len, limits->file_bytes);
    mri_diag_in(diag, file->name);
    return MR_ELIMIT;
}

static mr_err
open_checked(mri_source *s, mr_diag *diag)
{
    mr_err err = check_size(&s->file, &s->options.limits, diag);

    if (err == MR_OK && s->has_pair) {
        err = check_size(&s->pair, &s->options.limits, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    s->decoder = decoder_of(s->file.data, s->file.len);
    if (s->decoder == NULL) {
        return sniff_refuse(s->file.data, s->file.len, diag);
    }
    return s->decoder->open(s, diag);
}

mr_err
mri_source_open(mri_source **out, const mri_source_bytes *file,
                const mri_source_bytes *pair, const mri_source_options *options,
                mr_diag *diag)
{
    mri_source *s = mri_alloc(1, sizeof *s);
    mr_err err;

    *out = NULL;
    if (s == NULL) {
        return source_no_memory(diag);
    }
    s->file = *file;
    s->has_pair = pair != NULL;
    s->pair = s->has_pair ? *pair : (mri_source_bytes){0};
    s->options = options != NULL ? *options : mri_source_defaults();
    err = in_file(s, open_checked(s, diag), diag);
    if (err != MR_OK) {
        mri_free(s);
        return err;
    }
    *out = s;
    return MR_OK;
}

void
mri_source_close(mri_source *source)
{
    if (source != NULL) {
        source->decoder->close(source->state);
        mri_free(source);
    }
}

mri_source_kind
mri_source_kind_of(const mri_source *source)
{
    return source->decoder->kind;
}

uint64_t
mri_source_count(const mri_source *source)
{
    return source->count;
}

static mr_err
get(const mri_source *s, uint64_t i, bool look, mri_image *image, mr_diag *diag)
{
    mri_image got = {0};
    mr_err err;

    assert(i < s->count);
    *image = (mri_image){0};
    mri_geometry_init(&got.geometry);
    err = in_file(s, s->decoder->read(s, i, look, &got, diag), diag);
    if (err != MR_OK) {
        mri_image_release(&got);
        return err;
    }
    *image = got;
    return MR_OK;
}

mr_err
mri_source_look(const mri_source *source, uint64_t i, mri_image *image,
                mr_diag *diag)
{
    return get(source, i, true, image, diag);
}

mr_err
mri_source_read(const mri_source *source, uint64_t i, mri_image *image,
                mr_diag *diag)
{
    return get(source, i, false, image, diag);
}
