/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cell_file.c - the bytes of a cell's file: an OME-TIFF, a page a channel.
 *
 * The few tags are written here rather than by a library, so that the bytes
 * do not depend on its version. Little-endian, not compressed: head, pages,
 * description, pixels.
 */
#include "cell_file.h"

#include <mri/bytes.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define TAGS 10 /* of a page; the first has the description besides */
#define PAGE_BYTES(tags) (2 + (tags)*12 + 4)
#define PAGES_AT 8
#define TEXT_AT                                                                \
    (PAGES_AT + PAGE_BYTES(TAGS + 1) +                                         \
     (MRI_CELL_CHANNELS - 1) * PAGE_BYTES(TAGS))
#define PIXELS_AT (TEXT_AT + TEXT_BYTES)
#define TEXT_BYTES 1024 /* with zeros behind it */
#define STRIP (MRI_CELL_SIDE * MRI_CELL_SIDE * 2)

_Static_assert(PIXELS_AT + MRI_CELL_CHANNELS * STRIP == MRI_CELL_FILE,
               "the parts of a file make a file");

typedef enum tag_type { ASCII = 2, SHORT = 3, LONG = 4 } tag_type;

static uint8_t *
put_tag(uint8_t *p, uint16_t tag, tag_type type, uint32_t count, uint32_t v)
{
    mri_put16(p, tag);
    mri_put16(p + 2, (uint16_t)type);
    mri_put32(p + 4, count);
    mri_put32(p + 8, v); /* a SHORT stands in the lower half */
    return p + 12;
}

/* One page; returns where the next one goes. */
static uint8_t *
put_page(uint8_t *file, uint8_t *p, uint32_t channel, uint32_t text_len)
{
    uint16_t tags = channel == 0 ? TAGS + 1 : TAGS;
    uint8_t *next = p + PAGE_BYTES(tags);
    bool last = channel + 1 == MRI_CELL_CHANNELS;

    mri_put16(p, tags);
    p = put_tag(p + 2, 256, SHORT, 1, MRI_CELL_SIDE); /* width */
    p = put_tag(p, 257, SHORT, 1, MRI_CELL_SIDE);     /* height */
    p = put_tag(p, 258, SHORT, 1, 16);                /* bits */
    p = put_tag(p, 259, SHORT, 1, 1);                 /* not compressed */
    p = put_tag(p, 262, SHORT, 1, 1);                 /* 0 is black */
    if (channel == 0) {
        p = put_tag(p, 270, ASCII, text_len + 1, TEXT_AT);
    }
    p = put_tag(p, 273, LONG, 1, PIXELS_AT + channel * STRIP);
    p = put_tag(p, 277, SHORT, 1, 1);             /* samples a pixel */
    p = put_tag(p, 278, SHORT, 1, MRI_CELL_SIDE); /* rows a strip */
    p = put_tag(p, 279, LONG, 1, STRIP);
    p = put_tag(p, 339, SHORT, 1, 1); /* unsigned */
    mri_put32(p, last ? 0 : (uint32_t)(next - file));
    return next;
}

/* What OME-XML needs to know, which is not much. Returns its length. */
static uint32_t
put_text(char text[TEXT_BYTES])
{
    int n = snprintf(
        text, TEXT_BYTES,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
        "<OME xmlns=\"http://www.openmicroscopy.org/Schemas/OME/2016-06\">"
        "<Image ID=\"Image:0\"><Pixels ID=\"Pixels:0\" "
        "DimensionOrder=\"XYCZT\" Type=\"uint16\" BigEndian=\"false\" "
        "SizeX=\"%d\" SizeY=\"%d\" SizeC=\"%d\" SizeZ=\"1\" SizeT=\"1\">",
        MRI_CELL_SIDE, MRI_CELL_SIDE, MRI_CELL_CHANNELS);

    for (uint32_t c = 0; c < MRI_CELL_CHANNELS; c++) {
        n += snprintf(text + n, TEXT_BYTES - (size_t)n,
                      "<Channel ID=\"Channel:0:%u\" Name=\"%s\" "
                      "SamplesPerPixel=\"1\"/>",
                      c, mri_cell_channel_name(c));
    }
    n += snprintf(text + n, TEXT_BYTES - (size_t)n,
                  "<TiffData IFD=\"0\" PlaneCount=\"%d\"/></Pixels></Image>"
                  "</OME>",
                  MRI_CELL_CHANNELS);
    assert(n < TEXT_BYTES);
    return (uint32_t)n;
}

void
cell_file(uint8_t out[MRI_CELL_FILE], const uint16_t pixels[MRI_CELL_VALUES])
{
    uint32_t text_len;
    uint8_t *page = out + PAGES_AT;

    memset(out, 0, PIXELS_AT);
    memcpy(out, "II*", 4);
    mri_put32(out + 4, PAGES_AT);
    text_len = put_text((char *)out + TEXT_AT);
    for (uint32_t c = 0; c < MRI_CELL_CHANNELS; c++) {
        page = put_page(out, page, c, text_len);
    }
    for (uint32_t i = 0; i < MRI_CELL_VALUES; i++) {
        mri_put16(out + PIXELS_AT + 2 * i, pixels[i]);
    }
}
