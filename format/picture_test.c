/* SPDX-License-Identifier: Apache-2.0 */
#include "picture.h"

#include <mri/error.h>

#include <jpeg_make.h>
#include <mr_test.h>
#include <stdio.h> /* jpeglib.h wants it */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

typedef struct whole {
    uint8_t *pixels;
    size_t row_bytes;
    uint32_t next;
} whole;

static void
keep_rows(void *user, const uint8_t *rows, uint32_t first, uint32_t count)
{
    whole *w = user;

    assert_int_equal(first, w->next);
    memcpy(w->pixels + first * w->row_bytes, rows, count * w->row_bytes);
    w->next += count;
}

static mri_grid_row
row_of(const jpeg_made *how)
{
    mri_grid_row g = {.encoding = MR_ENC_JPEG,
                      .dtype = MR_U8,
                      .ndim = how->channels == 1 ? 2 : 3,
                      .axes = {'Y', 'X', how->channels == 1 ? '\0' : 'C'},
                      .dims = {how->height, how->width}};

    g.dims[2] = how->channels == 1 ? 0 : how->channels;
    return g;
}

/* libjpeg without anything around it. */
static uint8_t *
decoded(const uint8_t *jpeg, size_t bytes, size_t row_bytes)
{
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr e;
    uint8_t *out;

    d.err = jpeg_std_error(&e);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, jpeg, (unsigned long)bytes);
    (void)jpeg_read_header(&d, TRUE);
    (void)jpeg_start_decompress(&d);
    out = malloc(d.output_height * row_bytes);
    while (d.output_scanline < d.output_height) {
        JSAMPROW row = out + d.output_scanline * row_bytes;

        (void)jpeg_read_scanlines(&d, &row, 1);
    }
    (void)jpeg_finish_decompress(&d);
    jpeg_destroy_decompress(&d);
    return out;
}

static const jpeg_made kinds[] = {
    {1, 1, 1, 90, 1, 1, false},   {70, 50, 1, 80, 1, 1, false},
    {61, 83, 3, 90, 2, 2, false}, {64, 48, 3, 60, 1, 1, true},
    {33, 129, 3, 75, 2, 1, true},
};

static void
rows_are_those_of_libjpeg(void **state)
{
    mri_bytes room = {0};
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const jpeg_made *k = &kinds[i];
        mri_grid_row g = row_of(k);
        whole got = {.row_bytes = (size_t)k->width * k->channels};
        mri_picture p = {.g = &g, .take = keep_rows, .user = &got};
        uint8_t *jpeg = jpeg_make(k, i, &p.bytes), *want;

        p.jpeg = jpeg;
        got.pixels = malloc(got.row_bytes * k->height);
        want = decoded(jpeg, p.bytes, got.row_bytes);
        assert_ok(mri_picture_read(&p, &room, &d), &d);
        assert_int_equal(got.next, k->height);
        assert_memory_equal(got.pixels, want, got.row_bytes * k->height);
        free(got.pixels);
        free(want);
        free(jpeg);
    }
    mri_bytes_release(&room);
}

static void
a_row_of_another_size_is_refused(void **state)
{
    mri_bytes room = {0};
    mri_grid_row good = row_of(&kinds[2]), bad;
    whole got = {0};
    mri_picture p = {.g = &bad, .take = keep_rows, .user = &got};
    uint8_t *jpeg = jpeg_make(&kinds[2], 2, &p.bytes);
    mr_diag d = {0};

    (void)state;
    p.jpeg = jpeg;
    for (int i = 0; i < 3; i++) {
        bad = good;
        bad.dims[i]++;
        assert_int_equal(mri_picture_read(&p, &room, &d), MR_ECORRUPT);
        assert_int_equal(d.code, MRI_E_ROW_DECODE);
    }
    bad = good;
    bad.ndim = 2;
    assert_int_equal(mri_picture_read(&p, &room, &d), MR_ECORRUPT);
    assert_int_equal(got.next, 0);
    mri_bytes_release(&room);
    free(jpeg);
}

static void
every_end_and_every_wrong_byte_come_back(void **state)
{
    jpeg_made how = {24, 17, 3, 70, 2, 2, false};
    mri_bytes room = {0};
    size_t row_bytes = 72;
    uint8_t *pixels = malloc(17 * row_bytes);

    (void)state;
    for (int progressive = 0; progressive < 2; progressive++) {
        mri_grid_row g = row_of(&how);
        size_t bytes;
        uint8_t *jpeg;

        how.progressive = progressive != 0;
        jpeg = jpeg_make(&how, 3, &bytes);
        for (size_t i = 0; i < 2 * bytes; i++) {
            whole got = {.pixels = pixels, .row_bytes = row_bytes};
            /* exact, so that ASan sees what is read beyond it */
            size_t n = i < bytes ? i : bytes;
            uint8_t *cut = malloc(n != 0 ? n : 1);
            mri_picture p = {.g = &g,
                             .jpeg = cut,
                             .bytes = n,
                             .take = keep_rows,
                             .user = &got};
            mr_diag d = {0};
            mr_err err;

            memcpy(cut, jpeg, n);
            if (i >= bytes) {
                cut[i - bytes] ^= 0x55;
            }
            err = mri_picture_read(&p, &room, &d);
            assert_true(err == MR_OK ? got.next == 17 : err == MR_ECORRUPT);
            assert_true(i >= bytes / 2 || err == MR_ECORRUPT);
            free(cut);
        }
        free(jpeg);
    }
    mri_bytes_release(&room);
    free(pixels);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_libjpeg),
        cmocka_unit_test(a_row_of_another_size_is_refused),
        cmocka_unit_test(every_end_and_every_wrong_byte_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
