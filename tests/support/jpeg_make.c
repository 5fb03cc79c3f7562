/* SPDX-License-Identifier: Apache-2.0 */
/* jpeg_make.c - JPEGs for tests. */
#include "jpeg_make.h"

#include "scratch.h"

#include <stdio.h> /* jpeglib.h wants it */
#include <stdlib.h>

#include <jpeglib.h>

uint8_t *
jpeg_picture(const jpeg_made *how, uint64_t seed)
{
    size_t n = (size_t)how->width * how->height * how->channels, i = 0;
    uint8_t *p = malloc(n);
    unsigned shift = (unsigned)(scratch_random(&seed) % 64);

    if (p == NULL) {
        abort();
    }
    for (uint32_t y = 0; y < how->height; y++) {
        for (uint32_t x = 0; x < how->width; x++) {
            for (uint32_t c = 0; c < how->channels; c++) {
                unsigned ramp = (x * (3 + c) + y * (5 - c) + shift) / 4;
                unsigned edge = (x / 11 + y / 7 + c) % 2 * 60;
                unsigned noise = (unsigned)(scratch_random(&seed) % 16);

                p[i++] = (uint8_t)((ramp % 180 + edge + noise) % 256);
            }
        }
    }
    return p;
}

uint8_t *
jpeg_make(const jpeg_made *how, uint64_t seed, size_t *bytes)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    uint8_t *pixels = jpeg_picture(how, seed), *out = NULL;
    unsigned long out_bytes = 0;

    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &out, &out_bytes);
    jpeg.image_width = how->width;
    jpeg.image_height = how->height;
    jpeg.input_components = (int)how->channels;
    jpeg.in_color_space = how->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, how->quality, TRUE);
    jpeg.comp_info[0].h_samp_factor = how->h;
    jpeg.comp_info[0].v_samp_factor = how->v;
    if (how->progressive) {
        jpeg_simple_progression(&jpeg);
    }
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row =
            pixels + (size_t)jpeg.next_scanline * how->width * how->channels;

        (void)jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(pixels);
    *bytes = out_bytes;
    return out;
}
