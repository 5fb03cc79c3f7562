/* SPDX-License-Identifier: Apache-2.0 */
/* contact.c - a contact sheet of a dataset. */
#include "contact.h"

#include "value.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/source.h>

#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 8, ROWS = 5, CELL = 128, GAP = 8, CAPTION = 16 };

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* A plane of floats for each of at most three colours. */
typedef struct plane {
    uint32_t width, height, colors;
    float *values; /* [colors][height][width] */
} plane;

/* Take the middle along every axis but Y, X and C. */
static bool
cut_plane(plane *out, const char *axes, const uint64_t *shape, uint32_t rank,
          mr_dtype dtype, const void *pixels)
{
    uint64_t stride = 1, base = 0, sy = 0, sx = 0, sc = 0, h = 1, w = 1, c = 1;

    for (uint32_t i = rank; i-- > 0;) {
        if (axes[i] == 'Y') {
            sy = stride;
            h = shape[i];
        } else if (axes[i] == 'X') {
            sx = stride;
            w = shape[i];
        } else if (axes[i] == 'C') {
            sc = stride;
            c = shape[i];
        } else {
            base += shape[i] / 2 * stride;
        }
        stride *= shape[i];
    }
    *out = (plane){(uint32_t)w, (uint32_t)h, c >= 3 ? 3 : 1, NULL};
    out->values = mri_alloc((size_t)(w * h) * out->colors, sizeof(float));
    for (uint32_t k = 0; out->values != NULL && k < out->colors; k++) {
        for (uint64_t y = 0; y < h; y++) {
            for (uint64_t x = 0; x < w; x++) {
                out->values[(k * h + y) * w + x] = (float)mri_value_at(
                    dtype, pixels, base + y * sy + x * sx + k * sc);
            }
        }
    }
    return out->values != NULL;
}

static void
stretch(plane *p)
{
    size_t n = (size_t)p->width * p->height;

    for (uint32_t k = 0; k < p->colors; k++) {
        float *v = p->values + k * n, low = INFINITY, high = -INFINITY;

        for (size_t i = 0; i < n; i++) {
            if (isfinite(v[i])) {
                low = v[i] < low ? v[i] : low;
                high = v[i] > high ? v[i] : high;
            }
        }
        for (size_t i = 0; i < n; i++) {
            v[i] = high > low && isfinite(v[i])
                       ? (v[i] - low) / (high - low) * 255.0f
                       : 0;
        }
    }
}

static mr_err
read_jpeg(const mr_dataset *ds, uint64_t rank, plane *out, mr_diag *diag)
{
    mr_scratch *scratch = mr_scratch_open();
    mri_source_bytes file = {0};
    mri_source *source = NULL;
    mri_image image = {0};
    mr_err err = scratch != NULL ? mr_dataset_bytes(ds, rank, 0, &file.data,
                                                    &file.len, scratch, diag)
                                 : no_memory(diag);

    if (err == MR_OK) {
        err = mri_source_open(&source, &file, NULL, NULL, diag);
    }
    if (err == MR_OK) {
        err = mri_source_read(source, 0, &image, diag);
    }
    if (err == MR_OK && !cut_plane(out, image.axes, image.shape, image.rank,
                                   image.dtype, image.pixels)) {
        err = no_memory(diag);
    }
    mri_image_release(&image);
    mri_source_close(source);
    mr_scratch_close(scratch);
    return err;
}

/* Of a large volume only the middle slice is read. */
static mr_err
read_array(const mr_dataset *ds, uint64_t rank, const mr_field *f, plane *out,
           mr_diag *diag)
{
    mr_box box = {{0}, {0}};
    mr_tensor t;
    void *pixels;
    mr_err err;

    for (uint32_t i = 0; i < f->rank; i++) {
        bool kept = strchr("YXC", f->axes[i]) != NULL;

        box.first[i] = kept ? 0 : f->shape[i] / 2;
        box.size[i] = kept ? f->shape[i] : 1;
    }
    t = mr_tensor_of(NULL, f->dtype, f->rank, box.size);
    pixels = mri_alloc_pixels((size_t)mr_tensor_bytes(&t), 1);
    if (pixels == NULL) {
        return no_memory(diag);
    }
    t.data = pixels;
    err = mr_dataset_read(ds, rank, 0, &box, &t, NULL, diag);
    if (err == MR_OK &&
        !cut_plane(out, f->axes, box.size, f->rank, f->dtype, pixels)) {
        err = no_memory(diag);
    }
    mri_free(pixels);
    return err;
}

static mr_err
read_plane(const mr_dataset *ds, uint64_t rank, plane *out, mr_diag *diag)
{
    mr_field f;
    mr_err err = mr_dataset_field(ds, rank, 0, &f, diag);

    *out = (plane){0};
    if (err == MR_OK) {
        err = f.encoding == MR_ENC_JPEG ? read_jpeg(ds, rank, out, diag)
                                        : read_array(ds, rank, &f, out, diag);
    }
    if (err == MR_OK) {
        stretch(out);
    }
    return err;
}

static cairo_surface_t *
surface_of(const plane *p)
{
    cairo_surface_t *s = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, (int)p->width, (int)p->height);
    size_t n = (size_t)p->width * p->height;
    uint8_t *data;
    int stride;

    if (cairo_surface_status(s) != CAIRO_STATUS_SUCCESS) {
        return s;
    }
    cairo_surface_flush(s);
    data = cairo_image_surface_get_data(s);
    stride = cairo_image_surface_get_stride(s);
    for (uint32_t y = 0; y < p->height; y++) {
        for (uint32_t x = 0; x < p->width; x++) {
            size_t i = (size_t)y * p->width + x;
            uint32_t rgb = 0;

            for (uint32_t k = 0; k < 3; k++) {
                float v = p->values[(p->colors == 3 ? k : 0) * n + i];

                rgb = rgb << 8 | (uint32_t)(v + 0.5f);
            }
            memcpy(data + (size_t)y * (size_t)stride + 4 * (size_t)x, &rgb, 4);
        }
    }
    cairo_surface_mark_dirty(s);
    return s;
}

static mr_err
draw_sample(cairo_t *cr, const mr_dataset *ds, uint64_t rank, int place,
            mr_diag *diag)
{
    double left = GAP + place % COLUMNS * (CELL + GAP);
    double top = GAP + place / COLUMNS * (double)(CELL + CAPTION + GAP);
    cairo_surface_t *picture;
    mr_sample sample;
    double scale;
    plane p;
    mr_err err = mr_dataset_sample(ds, rank, &sample, diag);

    if (err == MR_OK) {
        err = read_plane(ds, rank, &p, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    picture = surface_of(&p);
    scale = (double)CELL / (p.width > p.height ? p.width : p.height);
    cairo_save(cr);
    cairo_translate(cr, left + (CELL - p.width * scale) / 2,
                    top + (CELL - p.height * scale) / 2);
    cairo_scale(cr, scale, scale);
    cairo_set_source_surface(cr, picture, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_BILINEAR);
    cairo_paint(cr);
    cairo_restore(cr);
    cairo_set_source_rgb(cr, 0.2, 0.2, 0.2);
    cairo_move_to(cr, left, top + CELL + CAPTION - 4);
    if (sample.class_index != MR_NO_CLASS) {
        cairo_show_text(cr, mr_dataset_class_name(ds, sample.class_index));
    }
    cairo_surface_destroy(picture);
    mri_free(p.values);
    return MR_OK;
}

static cairo_status_t
add_bytes(void *closure, const unsigned char *data, unsigned length)
{
    return mri_bytes_add(closure, data, length) ? CAIRO_STATUS_SUCCESS
                                                : CAIRO_STATUS_NO_MEMORY;
}

mr_err
mri_contact_sheet(const mr_dataset *ds, const char *path, mr_diag *diag)
{
    uint64_t count = mr_dataset_count(ds);
    int places = count < COLUMNS * ROWS ? (int)count : COLUMNS * ROWS;
    int rows = (places + COLUMNS - 1) / COLUMNS;
    cairo_surface_t *sheet = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, GAP + COLUMNS * (CELL + GAP),
        GAP + rows * (CELL + CAPTION + GAP));
    cairo_t *cr = cairo_create(sheet);
    mri_bytes png = {0};
    mr_err err = MR_OK;

    cairo_set_source_rgb(cr, 1, 1, 1);
    cairo_paint(cr);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, 11);
    for (int i = 0; err == MR_OK && i < places; i++) {
        err = draw_sample(cr, ds, (uint64_t)i * count / (uint64_t)places, i,
                          diag);
    }
    if (err == MR_OK && (cairo_status(cr) != CAIRO_STATUS_SUCCESS ||
                         cairo_surface_write_to_png_stream(
                             sheet, add_bytes, &png) != CAIRO_STATUS_SUCCESS)) {
        err = no_memory(diag);
    }
    if (err == MR_OK) {
        err = mri_file_put(path, png.data, png.len, MRI_PUT_REPLACE, diag);
    }
    mri_bytes_release(&png);
    cairo_destroy(cr);
    cairo_surface_destroy(sheet);
    return err;
}
