/* SPDX-License-Identifier: Apache-2.0 */
/* picture.c - what the model will see: a batch as a PNG. */
#include "picture.h"

#include "value.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/error.h>
#include <mri/file.h>

#include <cairo.h>
#include <math.h>
#include <string.h>

enum { ROWS = 16, GAP = 4, WIDEST = 8192 };

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* One tensor as pictures: [rows, (views,) channels, (depth,) height, width],
 * or a stored field as [rows, height, width(, channels)]. */
typedef struct strip {
    const mr_tensor *t;
    uint64_t views, channels, depth, height, width;
    bool channels_last;
} strip;

/* False if it is no picture: labels, uids. */
static bool
strip_of(strip *s, const char *name, const mr_tensor *t)
{
    bool views = strcmp(name, "global") == 0 || strcmp(name, "local") == 0;
    uint32_t first = views ? 2 : 1, left = t->rank - first;
    const uint64_t *d = t->shape + first;

    if (t->rank < first + 2 || strcmp(name, "uid") == 0) {
        return false;
    }
    *s = (strip){
        .t = t, .views = views ? t->shape[1] : 1, .channels = 1, .depth = 1};
    if (left == 2) {
        s->height = d[0];
        s->width = d[1];
    } else if (left == 3 && d[2] <= 4 && d[0] > 4) {
        s->channels_last = true;
        s->height = d[0];
        s->width = d[1];
        s->channels = d[2];
    } else if (left == 3) {
        s->channels = d[0];
        s->height = d[1];
        s->width = d[2];
    } else {
        s->channels = d[0];
        s->depth = d[1];
        s->height = d[left - 2];
        s->width = d[left - 1];
    }
    return s->height <= WIDEST && s->width <= WIDEST;
}

static float
at(const mr_tensor *t, uint64_t i)
{
    return (float)mri_value_at(t->dtype, t->data, i);
}

static uint64_t
element(const strip *s, uint64_t picture, uint64_t c, uint64_t y, uint64_t x)
{
    uint64_t plane = s->height * s->width;

    if (s->channels_last) {
        return ((picture * s->height + y) * s->width + x) * s->channels + c;
    }
    return (picture * s->channels + c) * s->depth * plane +
           s->depth / 2 * plane + y * s->width + x;
}

static void
range_of(const strip *s, uint64_t picture, uint64_t c, float range[2])
{
    range[0] = INFINITY;
    range[1] = -INFINITY;
    for (uint64_t y = 0; y < s->height; y++) {
        for (uint64_t x = 0; x < s->width; x++) {
            float v = at(s->t, element(s, picture, c, y, x));

            if (isfinite(v)) {
                range[0] = v < range[0] ? v : range[0];
                range[1] = v > range[1] ? v : range[1];
            }
        }
    }
}

/* Draw one picture with its upper left corner at (left, top) of the sheet. */
static void
draw(uint8_t *sheet, int stride, const strip *s, uint64_t picture,
     const int place[2])
{
    float range[3][2];
    uint64_t colors = s->channels >= 3 ? 3 : 1;

    for (uint64_t c = 0; c < colors; c++) {
        range_of(s, picture, c, range[c]);
    }
    for (uint64_t y = 0; y < s->height; y++) {
        uint8_t *row = sheet + (size_t)(place[1] + (int)y) * (size_t)stride +
                       4 * (size_t)place[0];

        for (uint64_t x = 0; x < s->width; x++) {
            uint32_t rgb = 0;

            for (uint64_t k = 0; k < 3; k++) {
                uint64_t c = colors == 3 ? k : 0;
                float v = at(s->t, element(s, picture, c, y, x));
                float span = range[c][1] - range[c][0];

                v = span > 0 && isfinite(v) ? (v - range[c][0]) / span : 0;
                rgb = rgb << 8 | (uint32_t)(v * 255.0f + 0.5f);
            }
            memcpy(row + 4 * x, &rgb, 4);
        }
    }
}

typedef struct sheet {
    strip strips[8];
    int count, rows, width, line; /* line: height of a row of the batch */
} sheet;

static bool
lay_out(sheet *sh, const mr_batch *batch)
{
    uint64_t rows = mr_batch_rows(batch);

    for (size_t i = 0; i < mr_batch_tensors(batch) && sh->count < 8; i++) {
        strip *s = &sh->strips[sh->count];

        if (strip_of(s, mr_batch_name_at(batch, i),
                     mr_batch_tensor_at(batch, i))) {
            sh->count++;
            sh->width += (int)(s->views * (s->width + GAP));
            sh->line = (int)s->height + GAP > sh->line ? (int)s->height + GAP
                                                       : sh->line;
        }
    }
    sh->rows = rows < ROWS ? (int)rows : ROWS;
    while (sh->rows > 1 && sh->rows * sh->line > WIDEST) {
        sh->rows--;
    }
    return sh->count != 0 && sh->width <= 4 * WIDEST;
}

static cairo_status_t
add_bytes(void *closure, const unsigned char *data, unsigned length)
{
    return mri_bytes_add(closure, data, length) ? CAIRO_STATUS_SUCCESS
                                                : CAIRO_STATUS_NO_MEMORY;
}

mr_err
mri_batch_picture(const mr_batch *batch, const char *path, mr_diag *diag)
{
    sheet sh = {.width = GAP};
    cairo_surface_t *surface;
    mri_bytes png = {0};
    uint8_t *data;
    mr_err err;

    if (!lay_out(&sh, batch)) {
        return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                        "the batch has no tensors that are pictures");
    }
    surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, sh.width,
                                         GAP + sh.rows * sh.line);
    data = cairo_image_surface_get_data(surface);
    if (data == NULL) {
        cairo_surface_destroy(surface);
        return no_memory(diag);
    }
    cairo_surface_flush(surface);
    for (int row = 0; row < sh.rows; row++) {
        int left = GAP;

        for (int i = 0; i < sh.count; i++) {
            const strip *s = &sh.strips[i];

            for (uint64_t v = 0; v < s->views; v++) {
                draw(data, cairo_image_surface_get_stride(surface), s,
                     (uint64_t)row * s->views + v,
                     (int[]){left, GAP + row * sh.line});
                left += (int)s->width + GAP;
            }
        }
    }
    cairo_surface_mark_dirty(surface);
    err = cairo_surface_write_to_png_stream(surface, add_bytes, &png) ==
                  CAIRO_STATUS_SUCCESS
              ? mri_file_put(path, png.data, png.len, MRI_PUT_REPLACE, diag)
              : no_memory(diag);
    mri_bytes_release(&png);
    cairo_surface_destroy(surface);
    return err;
}
