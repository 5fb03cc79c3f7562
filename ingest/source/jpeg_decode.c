/* SPDX-License-Identifier: Apache-2.0 */
/* jpeg_decode.c - libjpeg-turbo with errors that come back as values. */
#include "jpeg_walk.h"

#include "decoder.h"

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h wants it */

#include <jpeglib.h>

#define ROWS 16 /* handed over at once: one row of MCUs at most */

/* Everything that lives on both sides of longjmp. */
typedef struct session {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf out;
    jpeg_decode_args *args;
    char text[JMSG_LENGTH_MAX];
} session;

/* Take down what happened and where, and leave the library. */
static _Noreturn void
leave(j_common_ptr jpeg)
{
    session *s = jpeg->client_data;

    s->errors.format_message(jpeg, s->text);
    if (s->jpeg.src != NULL) {
        s->args->at = s->args->len - s->jpeg.src->bytes_in_buffer;
    }
    longjmp(s->out, 1);
}

/* Negative levels are warnings: the data are damaged, and libjpeg has filled
 * the gap with something. */
static void
on_message(j_common_ptr jpeg, int level)
{
    session *s = jpeg->client_data;

    if (level >= 0) {
        return;
    }
    if (s->args->damage == NULL) {
        leave(jpeg);
    }
    ++*s->args->damage;
}

static void
say_nothing(j_common_ptr jpeg)
{
    (void)jpeg;
}

static void
begin(session *s)
{
    s->jpeg.err = jpeg_std_error(&s->errors);
    s->errors.error_exit = leave;
    s->errors.emit_message = on_message;
    s->errors.output_message = say_nothing;
    s->jpeg.client_data = s;
}

static void
read_rows(session *s)
{
    const jpeg_head *head = s->args->head;
    size_t row_bytes = (size_t)head->width * head->components;

    while (s->jpeg.output_scanline < s->jpeg.output_height) {
        JSAMPROW rows[ROWS];
        uint32_t at = s->jpeg.output_scanline;
        uint32_t n = s->jpeg.output_height - at;

        n = n < ROWS ? n : ROWS;
        for (uint32_t i = 0; i < n; i++) {
            rows[i] = s->args->pixels + (at + i) * row_bytes;
        }
        (void)jpeg_read_scanlines(&s->jpeg, rows, n);
    }
}

/* The library's part; false if its header says other than ours. */
static bool
decode(session *s)
{
    const jpeg_head *head = s->args->head;

    jpeg_create_decompress(&s->jpeg);
    jpeg_mem_src(&s->jpeg, s->args->p, s->args->len);
    (void)jpeg_read_header(&s->jpeg, TRUE);
    s->jpeg.out_color_space = head->components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    (void)jpeg_start_decompress(&s->jpeg);
    if (s->jpeg.output_width != head->width ||
        s->jpeg.output_height != head->height ||
        s->jpeg.output_components != (int)head->components) {
        return false;
    }
    read_rows(s);
    /* Reads on to EOI, so that damage behind the last row is seen too. */
    (void)jpeg_finish_decompress(&s->jpeg);
    return true;
}

/* Apart from its caller, whose session then survives the longjmp intact. */
static bool
guarded(session *s, bool *same)
{
    if (setjmp(s->out) != 0) {
        return false;
    }
    *same = decode(s);
    return true;
}

mr_err
jpeg_decode(jpeg_decode_args *args, mr_diag *diag)
{
    session s = {.args = args};
    bool same = false, done;

    begin(&s);
    done = guarded(&s, &same);
    jpeg_destroy_decompress(&s.jpeg);
    if (!done) {
        return mri_fail(diag, MRI_E_JPEG_DAMAGED, args->at, "libjpeg says: %s",
                        s.text);
    }
    if (!same) {
        return mri_fail(diag, MRI_E_JPEG_DAMAGED, 0,
                        "libjpeg reads another size in the header");
    }
    return MR_OK;
}
