/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jpeg.c - libjpeg-turbo with errors that come back as values, and regions
 * that equal the whole.
 *
 * libjpeg's own region decode differs from the whole in its first and last
 * columns, where upsampling wants a neighbour that was not decoded. So one
 * iMCU more is decoded on each side, and thrown away.
 */
#include "jpeg.h"

#include <mri/alloc.h>

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h wants it */

#include <jpeglib.h>

#define MARGIN 16 /* pixels: the largest iMCU of ordinary files */
#define ROWS 16   /* asked for at once */

struct mri_jpeg {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf out;
    char text[JMSG_LENGTH_MAX];
    uint64_t at; /* in the JPEG, when it went wrong */
    size_t bytes;
    bool other;     /* the header says another size than the dataset */
    bool no_memory; /* ours, not libjpeg's */
};

static _Noreturn void
leave(j_common_ptr jpeg)
{
    mri_jpeg *j = jpeg->client_data;

    j->errors.format_message(jpeg, j->text);
    if (j->jpeg.src != NULL) {
        j->at = j->bytes - j->jpeg.src->bytes_in_buffer;
    }
    longjmp(j->out, 1);
}

/* Below 0 is a warning: a part of the picture would be made up. */
static void
on_message(j_common_ptr jpeg, int level)
{
    if (level < 0) {
        leave(jpeg);
    }
}

static void
say_nothing(j_common_ptr jpeg)
{
    (void)jpeg;
}

static bool
create(mri_jpeg *j)
{
    if (setjmp(j->out) != 0) {
        return false;
    }
    jpeg_create_decompress(&j->jpeg);
    return true;
}

mri_jpeg *
mri_jpeg_open(void)
{
    mri_jpeg *j = mri_alloc(1, sizeof *j);

    if (j == NULL) {
        return NULL;
    }
    j->jpeg.err = jpeg_std_error(&j->errors);
    j->errors.error_exit = leave;
    j->errors.emit_message = on_message;
    j->errors.output_message = say_nothing;
    j->jpeg.client_data = j;
    if (!create(j)) {
        mri_free(j);
        return NULL;
    }
    return j;
}

void
mri_jpeg_close(mri_jpeg *j)
{
    if (j != NULL) {
        jpeg_destroy_decompress(&j->jpeg);
        mri_free(j);
    }
}

static bool
start(mri_jpeg *j, const mri_jpeg_want *want)
{
    struct jpeg_decompress_struct *jpeg = &j->jpeg;

    jpeg_mem_src(jpeg, want->data, want->bytes);
    (void)jpeg_read_header(jpeg, TRUE);
    if (jpeg->image_width != want->width ||
        jpeg->image_height != want->height ||
        jpeg->num_components != (int)want->channels) {
        j->other = true;
        return false;
    }
    jpeg->out_color_space = want->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->scale_num = 1;
    jpeg->scale_denom = want->shrink;
    (void)jpeg_start_decompress(jpeg);
    return true;
}

/* Columns that are decoded for [first, first + size): with a margin, and then
 * from one iMCU to another. */
static JDIMENSION
crop_columns(mri_jpeg *j, uint64_t first, uint64_t size)
{
    struct jpeg_decompress_struct *jpeg = &j->jpeg;
    uint64_t whole = jpeg->output_width, margin = MARGIN, end;
    JDIMENSION from, width;

    if ((uint64_t)jpeg->max_h_samp_factor * DCTSIZE > margin) {
        margin = (uint64_t)jpeg->max_h_samp_factor * DCTSIZE;
    }
    from = (JDIMENSION)(first > margin ? first - margin : 0);
    end = first + size + margin < whole ? first + size + margin : whole;
    if (from == 0 && end == whole) {
        return 0;
    }
    width = (JDIMENSION)end - from;
    jpeg_crop_scanline(jpeg, &from, &width);
    return from;
}

static void
read_rows(mri_jpeg *j, uint8_t *pixels, uint64_t row_bytes, uint64_t count)
{
    uint64_t done = 0;

    while (done < count) {
        JSAMPROW rows[ROWS];
        uint64_t n = count - done < ROWS ? count - done : ROWS;

        for (uint64_t i = 0; i < n; i++) {
            rows[i] = pixels + (done + i) * row_bytes;
        }
        done += jpeg_read_scanlines(&j->jpeg, rows, (JDIMENSION)n);
    }
}

/* libjpeg's part; what must survive a longjmp is reached through pointers. */
static bool
decode(mri_jpeg *j, const mri_jpeg_want *want, mri_room *room,
       mri_jpeg_got *got)
{
    uint64_t first[2] = {want->first[0], want->first[1]}, above, row_bytes;
    uint64_t size[2] = {want->size[0], want->size[1]};
    JDIMENSION left;
    uint8_t *pixels;

    if (!start(j, want)) {
        return false;
    }
    got->height = j->jpeg.output_height;
    got->width = j->jpeg.output_width;
    if (size[0] == 0) {
        first[0] = first[1] = 0;
        size[0] = got->height;
        size[1] = got->width;
    }
    left = crop_columns(j, first[1], size[1]);
    above = first[0] < MARGIN ? first[0] : MARGIN;
    row_bytes = (uint64_t)j->jpeg.output_width * want->channels;
    pixels = mri_room_take(room, above + size[0], row_bytes);
    if (pixels == NULL) {
        j->no_memory = true;
        return false;
    }
    if (first[0] > above) {
        (void)jpeg_skip_scanlines(&j->jpeg, (JDIMENSION)(first[0] - above));
    }
    read_rows(j, pixels, row_bytes, above + size[0]);
    got->pixels =
        pixels + above * row_bytes + (first[1] - left) * want->channels;
    got->row_bytes = row_bytes;
    return true;
}

static bool
guarded(mri_jpeg *j, const mri_jpeg_want *want, mri_room *room,
        mri_jpeg_got *got)
{
    if (setjmp(j->out) != 0) {
        return false;
    }
    return decode(j, want, room, got);
}

mr_err
mri_jpeg_decode(mri_jpeg *j, const mri_jpeg_want *want, mri_room *room,
                mri_jpeg_got *got, mr_diag *diag)
{
    bool done;

    j->text[0] = '\0';
    j->at = 0;
    j->bytes = want->bytes;
    j->other = j->no_memory = false;
    done = guarded(j, want, room, got);
    jpeg_abort_decompress(&j->jpeg); /* ready for the next one */
    if (done) {
        return MR_OK;
    }
    if (j->no_memory) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a decoded JPEG");
    }
    if (j->other) {
        return mri_fail(diag, MRI_E_ROW_DECODE, 0,
                        "the JPEG is not of the size that its row says");
    }
    return mri_fail(diag, MRI_E_ROW_DECODE, j->at, "libjpeg says: %s", j->text);
}
