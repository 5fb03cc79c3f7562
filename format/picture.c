/* SPDX-License-Identifier: Apache-2.0 */
/* picture.c - libjpeg-turbo, row after row, with errors that are values. */
#include "picture.h"

#include <mri/error.h>

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h wants it */

#include <jerror.h>
#include <jpeglib.h>

#define ROWS 16               /* asked for at once */
#define LIMIT ((long)1 << 30) /* what a progressive one may take */

/* Everything that lives on both sides of longjmp. */
typedef struct session {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf out;
    const mri_picture *p;
    mri_bytes *room;
    uint64_t at; /* in the JPEG, when it went wrong */
    char text[JMSG_LENGTH_MAX];
} session;

static _Noreturn void
leave(j_common_ptr jpeg)
{
    session *s = jpeg->client_data;

    s->errors.format_message(jpeg, s->text);
    if (s->jpeg.src != NULL) {
        s->at = s->p->bytes - s->jpeg.src->bytes_in_buffer;
    }
    longjmp(s->out, 1);
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
as_its_row_says(const session *s)
{
    const mri_grid_row *g = s->p->g;
    uint32_t channels = g->ndim == 3 ? g->dims[2] : 1;

    return (g->ndim == 2 || g->ndim == 3) && g->dtype == MR_U8 &&
           s->jpeg.output_height == g->dims[0] &&
           s->jpeg.output_width == g->dims[1] &&
           (uint32_t)s->jpeg.output_components == channels;
}

static bool
start(session *s)
{
    struct jpeg_decompress_struct *jpeg = &s->jpeg;

    jpeg_create_decompress(jpeg);
    jpeg->mem->max_memory_to_use = LIMIT;
    jpeg_mem_src(jpeg, s->p->jpeg, (unsigned long)s->p->bytes);
    (void)jpeg_read_header(jpeg, TRUE);
    jpeg->out_color_space = jpeg->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_calc_output_dimensions(jpeg);
    return as_its_row_says(s);
}

static void
give_rows(session *s)
{
    struct jpeg_decompress_struct *jpeg = &s->jpeg;
    size_t row_bytes =
        (size_t)jpeg->output_width * (unsigned)jpeg->output_components;

    while (jpeg->output_scanline < jpeg->output_height) {
        uint32_t first = jpeg->output_scanline, n = 0;
        uint32_t left = jpeg->output_height - first;

        left = left < ROWS ? left : ROWS;
        while (n < left) {
            JSAMPROW row = s->room->data + n * row_bytes;

            n += jpeg_read_scanlines(jpeg, &row, 1);
        }
        s->p->take(s->p->user, s->room->data, first, n);
    }
}

/* The library's part; some rows may be out when it fails. */
static mr_err
decode(session *s, mr_diag *diag)
{
    size_t row_bytes;

    if (!start(s)) {
        return mri_fail(diag, MRI_E_ROW_DECODE, 0,
                        "the JPEG is not of the size that its row says");
    }
    row_bytes =
        (size_t)s->jpeg.output_width * (unsigned)s->jpeg.output_components;
    s->room->len = 0;
    if (!mri_bytes_reserve(s->room, ROWS * row_bytes)) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for the rows of a JPEG");
    }
    (void)jpeg_start_decompress(&s->jpeg);
    give_rows(s);
    return MR_OK;
}

/* Apart from its caller, whose session then survives the longjmp intact. */
static mr_err
guarded(session *s, mr_diag *diag)
{
    if (setjmp(s->out) != 0) {
        return s->errors.msg_code == JERR_OUT_OF_MEMORY
                   ? mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                              "no memory for a decoded JPEG")
                   : mri_fail(diag, MRI_E_ROW_DECODE, s->at, "libjpeg says: %s",
                              s->text);
    }
    return decode(s, diag);
}

mr_err
mri_picture_read(const mri_picture *p, mri_bytes *room, mr_diag *diag)
{
    session s = {.p = p, .room = room};
    mr_err err;

    s.jpeg.err = jpeg_std_error(&s.errors);
    s.errors.error_exit = leave;
    s.errors.emit_message = on_message;
    s.errors.output_message = say_nothing;
    s.jpeg.client_data = &s;
    err = guarded(&s, diag);
    jpeg_destroy_decompress(&s.jpeg);
    return err;
}
