/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - a field of a sample as pixels. */
#include "load.h"

#include <mri/clock.h>

#include <string.h>

mr_err
mri_axes_of(mri_axes *out, const mr_field *f, mr_diag *diag)
{
    static const char names[] = "ZYX";

    *out = (mri_axes){.of = {-1, -1, -1}, .channels = 1, .channel = -1};
    for (uint32_t i = 0; i < f->rank; i++) {
        const char *known = strchr(names, f->axes[i]);

        if (known != NULL && out->of[known - names] < 0) {
            out->of[known - names] = (int)i;
            continue;
        }
        out->channels *= (uint32_t)f->shape[i];
        out->channel = out->others++ == 0 ? (int)i : -1;
    }
    if (f->encoding == MR_ENC_BYTES || out->of[1] < 0 || out->of[2] < 0) {
        return mri_fail(diag, MRI_E_STREAM_FIELD, MR_NOWHERE,
                        "a pipeline needs pictures or volumes; this field has "
                        "the axes '%s'",
                        f->axes);
    }
    return MR_OK;
}

mri_form
mri_form_of(const mri_axes *axes, const mr_field *f)
{
    mri_form form = {.channels = axes->channels,
                     .volume = axes->of[0] >= 0,
                     .dtype = MR_F32};

    for (unsigned k = 0; k < 3; k++) {
        form.size[k] = axes->of[k] >= 0 ? f->shape[axes->of[k]] : 1;
    }
    return form;
}

bool
mri_loader_init(mri_loader *l)
{
    *l = (mri_loader){.scratch = mr_scratch_open(), .jpeg = mri_jpeg_open()};
    return l->scratch != NULL && l->jpeg != NULL;
}

void
mri_loader_release(mri_loader *l)
{
    mr_scratch_close(l->scratch);
    mri_jpeg_close(l->jpeg);
    mri_room_release(&l->raw);
    mri_room_release(&l->places);
}

static mr_err
no_memory(const mri_load_want *w, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                    "no memory for a field of %llu bytes",
                    (unsigned long long)w->f->bytes);
}

/* A field that is one chunk is decoded whole in any case: a box of it would
 * only be copied once more. */
static bool
one_chunk(const mr_field *f)
{
    for (uint32_t i = 0; i < f->rank; i++) {
        if (f->chunk[i] < f->shape[i]) {
            return false;
        }
    }
    return true;
}

/* The box in the field's own axes that holds what is wanted. */
static void
stored_box(const mri_load_want *w, mr_box *box)
{
    bool whole = one_chunk(w->f);

    for (uint32_t i = 0; i < w->f->rank; i++) {
        box->first[i] = 0;
        box->size[i] = w->f->shape[i];
    }
    for (unsigned k = 0; !whole && k < 3; k++) {
        if (w->axes->of[k] >= 0) {
            box->first[w->axes->of[k]] = w->first[k];
            box->size[w->axes->of[k]] = w->need[k];
        }
    }
    if (!whole && w->axes->channel >= 0) {
        box->first[w->axes->channel] = w->channel_low;
        box->size[w->axes->channel] = w->channel_end - w->channel_low;
    }
}

/* Offsets of channels in a dense box: all other axes, slowest first. */
static void
place_channels(const mri_load_want *w, const mr_box *box,
               const uint64_t *stride, uint64_t *at)
{
    for (uint32_t c = 0; c < w->axes->channels; c++) {
        uint64_t rest = c;

        at[c] = 0;
        for (uint32_t i = w->f->rank; i-- > 0;) {
            uint64_t place;

            if ((int)i == w->axes->of[0] || (int)i == w->axes->of[1] ||
                (int)i == w->axes->of[2]) {
                continue;
            }
            place = rest % w->f->shape[i];
            rest /= w->f->shape[i];
            if (place >= box->first[i] &&
                place < box->first[i] + box->size[i]) {
                at[c] += (place - box->first[i]) * stride[i];
            }
        }
    }
}

static mr_err
read_array(mri_loader *l, const mri_load_want *w, mri_pixels *out,
           mr_diag *diag)
{
    uint64_t start = mri_now_ns(), stride[MR_MAX_RANK], n = 1;
    uint64_t *at = mri_room_take(&l->places, w->axes->channels, sizeof *at);
    mr_tensor t;
    mr_box box;
    void *raw;
    mr_err err;

    stored_box(w, &box);
    for (uint32_t i = w->f->rank; i-- > 0;) {
        stride[i] = n;
        n *= box.size[i];
    }
    raw = mri_room_take(&l->raw, n, mr_dtype_bytes(w->f->dtype));
    if (raw == NULL || at == NULL) {
        return no_memory(w, diag);
    }
    t = mr_tensor_of(raw, w->f->dtype, w->f->rank, box.size);
    err = mr_dataset_read(w->ds, w->rank, w->field, &box, &t, l->scratch, diag);
    l->read_ns += mri_now_ns() - start;
    if (err != MR_OK) {
        return err;
    }
    place_channels(w, &box, stride, at);
    *out = (mri_pixels){.data = raw,
                        .dtype = w->f->dtype,
                        .channels = w->axes->channels,
                        .at = at,
                        .shrink = 1};
    for (unsigned k = 0; k < 3; k++) {
        int axis = w->axes->of[k];

        out->size[k] = axis >= 0 ? w->f->shape[axis] : 1;
        out->first[k] = axis >= 0 ? box.first[axis] : 0;
        out->have[k] = axis >= 0 ? box.size[axis] : 1;
        out->step[k] = axis >= 0 ? stride[axis] : n;
    }
    return MR_OK;
}

/* The JPEG's bytes, and what is wanted of it as the decoder puts it. */
static mr_err
jpeg_want(mri_loader *l, const mri_load_want *w, mri_jpeg_want *out,
          mr_diag *diag)
{
    uint64_t start = mri_now_ns();
    mr_err err;

    *out = (mri_jpeg_want){.height = w->f->shape[0],
                           .width = w->f->shape[1],
                           .channels = w->axes->channels,
                           .shrink = w->shrink};
    err = mr_dataset_bytes(w->ds, w->rank, w->field, &out->data, &out->bytes,
                           l->scratch, diag);
    l->read_ns += mri_now_ns() - start;
    return err;
}

static mr_err
read_jpeg(mri_loader *l, const mri_load_want *w, mri_pixels *out, mr_diag *diag)
{
    uint64_t *at = mri_room_take(&l->places, w->axes->channels, sizeof *at);
    mri_jpeg_want want;
    mri_jpeg_got got;
    uint64_t start;
    mr_err err;

    if (at == NULL) {
        return no_memory(w, diag);
    }
    err = jpeg_want(l, w, &want, diag);
    start = mri_now_ns();
    if (err == MR_OK) {
        memcpy(want.first, w->first + 1, sizeof want.first);
        memcpy(want.size, w->need + 1, sizeof want.size);
        err = mri_jpeg_decode(l->jpeg, &want, &l->raw, &got, diag);
    }
    l->decode_ns += mri_now_ns() - start;
    if (err != MR_OK) {
        return err;
    }
    for (uint32_t c = 0; c < w->axes->channels; c++) {
        at[c] = c;
    }
    *out = (mri_pixels){.data = got.pixels,
                        .dtype = MR_U8,
                        .channels = w->axes->channels,
                        .at = at,
                        .size = {1, got.height, got.width},
                        .first = {0, w->first[1], w->first[2]},
                        .have = {1, w->need[1], w->need[2]},
                        .step = {0, got.row_bytes, w->axes->channels},
                        .shrink = w->shrink};
    return MR_OK;
}

mr_err
mri_loader_read(mri_loader *l, const mri_load_want *w, mri_pixels *out,
                mr_diag *diag)
{
    mr_err err = w->f->encoding == MR_ENC_JPEG ? read_jpeg(l, w, out, diag)
                                               : read_array(l, w, out, diag);

    if (err == MR_OK && w->f->scaled) {
        out->scaled = true;
        err = mr_dataset_scale(w->ds, w->rank, w->field, &out->slope,
                               &out->inter, diag);
    }
    return err;
}

mr_err
mri_loader_jpeg(mri_loader *l, const mri_load_want *w, uint8_t *to,
                mr_diag *diag)
{
    mri_jpeg_want want;
    mri_jpeg_got got;
    mr_err err = jpeg_want(l, w, &want, diag);
    uint64_t start = mri_now_ns(), row;

    if (err == MR_OK) {
        err = mri_jpeg_decode(l->jpeg, &want, &l->raw, &got, diag);
    }
    row = want.width * want.channels;
    for (uint64_t y = 0; err == MR_OK && y < got.height; y++) {
        memcpy(to + y * row, got.pixels + y * got.row_bytes, row);
    }
    l->decode_ns += mri_now_ns() - start;
    return err;
}
