/* SPDX-License-Identifier: Apache-2.0 */
/* png.c - PNG by libspng, which is shown the picture's own chunks only. */
#include "decoder.h"
#include "png_walk.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <spng.h>
#include <string.h>

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

typedef struct png_head {
    uint32_t width, height;
    uint8_t depth, colour;
    bool trns;
    bool ramp; /* a palette that maps every index to itself as a grey */
    uint8_t orientation;
} png_head;

static const uint8_t signature[PNG_SIGNATURE] = {0x89, 'P',  'N',  'G',
                                                 '\r', '\n', 0x1a, '\n'};

static bool
recognise(const uint8_t *data, size_t len)
{
    return len >= PNG_SIGNATURE && memcmp(data, signature, PNG_SIGNATURE) == 0;
}

static png_walk
walk_of(const mri_source *s, bool check)
{
    return (png_walk){
        .p = s->file.data,
        .len = s->file.len,
        .chunk_bytes = s->options.limits.png_chunk_bytes,
        .check = check,
    };
}

/* Bits and colour types that go together (PNG, table 11.1). */
static bool
depth_fits(uint8_t depth, uint8_t colour)
{
    switch (colour) {
    case GREY:
        return depth == 1 || depth == 2 || depth == 4 || depth == 8 ||
               depth == 16;
    case PALETTE:
        return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case RGB:
    case GREY_ALPHA:
    case RGB_ALPHA:
        return depth == 8 || depth == 16;
    default:
        return false;
    }
}

static mr_err
read_ihdr(png_head *head, const png_chunk *chunk, const mri_limits *l,
          mr_diag *diag)
{
    const uint8_t *b = chunk->body;

    if (chunk->type != PNG_IHDR || chunk->body_bytes != 13) {
        return mri_fail(diag, MRI_E_PNG_DAMAGED, chunk->at,
                        "a PNG that does not begin with its header (IHDR)");
    }
    head->width = png_get32(b);
    head->height = png_get32(b + 4);
    head->depth = b[8];
    head->colour = b[9];
    if (head->width == 0 || head->height == 0 ||
        !depth_fits(head->depth, head->colour) || b[10] != 0 || b[11] != 0 ||
        b[12] > 1) {
        return mri_fail(diag, MRI_E_PNG_DAMAGED, chunk->at,
                        "a header (IHDR) that no PNG has: %" PRIu32
                        " x %" PRIu32
                        ", %u bits, colour type %u, methods %u %u %u",
                        head->width, head->height, head->depth, head->colour,
                        b[10], b[11], b[12]);
    }
    if (head->width > l->side || head->height > l->side ||
        (uint64_t)head->width * head->height > l->pixels) {
        return mri_fail(diag, MRI_E_SOURCE_LIMIT, chunk->at,
                        "%" PRIu32 " x %" PRIu32 " pixels, more than the limit "
                        "side of %" PRIu64 " or pixels of %" PRIu64,
                        head->width, head->height, l->side, l->pixels);
    }
    return MR_OK;
}

static bool
is_grey_ramp(const png_head *head, const png_chunk *palette)
{
    uint32_t n = palette->body_bytes / 3;

    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *rgb = palette->body + 3 * (size_t)i;

        if (rgb[0] != i || rgb[1] != i || rgb[2] != i) {
            return false;
        }
    }
    return head->depth == 8 && n != 0;
}

/* Everything before the image data: its checksums are checked at once. */
static mr_err
read_head(const mri_source *s, png_head *head, mr_diag *diag)
{
    png_walk w = walk_of(s, true);
    png_chunk chunk = {0};
    mr_err err = png_next(&w, &chunk, diag);

    if (err == MR_OK) {
        err = read_ihdr(head, &chunk, &s->options.limits, diag);
    }
    while (err == MR_OK && chunk.type != PNG_IDAT) {
        err = png_next(&w, &chunk, diag);
        if (err == MR_OK && chunk.type == PNG_IEND) {
            err = mri_fail(diag, MRI_E_PNG_DAMAGED, chunk.at,
                           "a PNG without image data (IDAT)");
        }
        if (err == MR_OK && chunk.type == PNG_PLTE) {
            head->ramp = is_grey_ramp(head, &chunk);
        }
        if (err == MR_OK && chunk.type == PNG_TRNS) {
            head->trns = true;
        }
        if (err == MR_OK && chunk.type == PNG_EXIF) {
            head->orientation = exif_orientation(chunk.body, chunk.body_bytes);
        }
    }
    return err;
}

static mr_err
open_png(mri_source *s, mr_diag *diag)
{
    png_head *head = mri_alloc(1, sizeof *head);
    mr_err err;

    if (head == NULL) {
        return source_no_memory(diag);
    }
    err = read_head(s, head, diag);
    if (err != MR_OK) {
        mri_free(head);
        return err;
    }
    s->state = head;
    s->count = 1;
    return MR_OK;
}

/* The format that libspng decodes to, and its channels. */
static int
decoded_as(const mri_source *s, uint32_t *channels)
{
    const png_head *head = s->state;

    *channels = 1;
    switch (head->colour) {
    case GREY_ALPHA:
        *channels = 2;
        return SPNG_FMT_PNG;
    case RGB:
        *channels = 3;
        return SPNG_FMT_PNG;
    case RGB_ALPHA:
        *channels = 4;
        return SPNG_FMT_PNG;
    case PALETTE:
        if (s->options.label || (head->ramp && !head->trns)) {
            return SPNG_FMT_PNG;
        }
        *channels = head->trns ? 4 : 3;
        return head->trns ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8;
    default:
        return SPNG_FMT_PNG;
    }
}

/* The stream that libspng sees: signature, IHDR, PLTE, tRNS, IDAT, IEND. What
 * is malformed in the rest is nobody's pixel, and never reaches its parsers. */
typedef struct feed {
    png_walk walk;
    const uint8_t *p;
    size_t left;
    bool done;
} feed;

static bool
essential(uint32_t type)
{
    return type == PNG_IHDR || type == PNG_PLTE || type == PNG_TRNS ||
           type == PNG_IDAT || type == PNG_IEND;
}

static int
feed_some(spng_ctx *ctx, void *user, void *to, size_t bytes)
{
    feed *f = user;
    uint8_t *out = to;

    (void)ctx;
    while (bytes != 0) {
        size_t n = bytes < f->left ? bytes : f->left;
        png_chunk chunk;

        memcpy(out, f->p, n);
        out += n;
        bytes -= n;
        f->p += n;
        f->left -= n;
        if (bytes == 0) {
            break;
        }
        if (f->done || png_next(&f->walk, &chunk, NULL) != MR_OK) {
            return SPNG_IO_EOF;
        }
        f->done = chunk.type == PNG_IEND;
        if (essential(chunk.type)) {
            f->p = f->walk.p + chunk.at;
            f->left = chunk.bytes;
        }
    }
    return 0;
}

static void *
alloc_bytes(size_t bytes)
{
    return mri_resize(NULL, bytes, 1);
}

static void *
resize_bytes(void *p, size_t bytes)
{
    return mri_resize(p, bytes, 1);
}

/* Decode into `out`; an error of libspng, or 0. */
static int
decode(feed *f, void *out, size_t bytes, int format, int flags)
{
    struct spng_alloc alloc = {alloc_bytes, resize_bytes, mri_alloc, mri_free};
    int mode = 0, err;
    spng_ctx *ctx;

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    mode = SPNG_CTX_IGNORE_ADLER32;
#endif
    ctx = spng_ctx_new2(&alloc, mode);
    if (ctx == NULL) {
        return SPNG_EMEM;
    }
    /* All checksums were compared before. */
    err = spng_set_crc_action(ctx, SPNG_CRC_USE, SPNG_CRC_USE);
    if (err == 0) {
        err = spng_set_png_stream(ctx, feed_some, f);
    }
    if (err == 0) {
        err = spng_decode_image(ctx, out, bytes, format, flags);
    }
    if (err == 0) {
        err = spng_decode_chunks(ctx);
    }
    spng_ctx_free(ctx);
    return err;
}

/* Rows of 1, 2 or 4 bits a sample, first sample highest, to bytes. */
static void
unpack(uint8_t *to, const uint8_t *from, uint32_t width, uint32_t height,
       uint8_t depth)
{
    size_t row_bytes = ((size_t)width * depth + 7) / 8;
    unsigned per = 8u / depth, mask = (1u << depth) - 1;

    for (uint32_t y = 0; y < height; y++, from += row_bytes) {
        for (uint32_t x = 0; x < width; x++) {
            unsigned shift = 8 - depth * (x % per + 1);

            *to++ = (uint8_t)(from[x / per] >> shift & mask);
        }
    }
}

static mr_err
decode_into(const mri_source *s, mri_image *image, int format, mr_diag *diag)
{
    const png_head *head = s->state;
    feed f = {walk_of(s, false), signature, PNG_SIGNATURE, false};
    bool packed = format == SPNG_FMT_PNG && head->depth < 8;
    int flags = format == SPNG_FMT_RGBA8 ? SPNG_DECODE_TRNS : 0;
    size_t bytes = image->bytes;
    void *out = image->pixels;
    int err;

    if (packed) {
        bytes = ((size_t)head->width * head->depth + 7) / 8 * head->height;
        out = mri_alloc_pixels(bytes, 1);
        if (out == NULL) {
            return source_no_memory(diag);
        }
    }
    err = decode(&f, out, bytes, format, flags);
    if (packed) {
        if (err == 0) {
            unpack(image->pixels, out, head->width, head->height, head->depth);
        }
        mri_free(out);
    }
    if (err == SPNG_EMEM) {
        return source_no_memory(diag);
    }
    if (err != 0) {
        return mri_fail(diag, MRI_E_PNG_DAMAGED, f.walk.at, "libspng says: %s",
                        spng_strerror(err));
    }
    return MR_OK;
}

/* What a chunk that is not the picture counts as; MRI_DROPS: nothing. */
static mri_drop
drop_of(const png_chunk *chunk, uint8_t colour)
{
    switch (chunk->type) {
    case PNG_TEXT:
    case PNG_ZTXT:
    case PNG_TIME:
        return MRI_DROP_TEXT;
    case PNG_ITXT:
        return chunk->body_bytes > 17 &&
                       memcmp(chunk->body, "XML:com.adobe.xmp", 17) == 0
                   ? MRI_DROP_XMP
                   : MRI_DROP_TEXT;
    case PNG_EXIF:
        return MRI_DROP_EXIF;
    case PNG_ICCP:
    case PNG_GAMA:
    case PNG_CHRM:
    case PNG_SRGB:
        return MRI_DROP_PROFILE;
    case PNG_ACTL:
    case PNG_FCTL:
    case PNG_FDAT:
        return MRI_DROP_FRAMES;
    case PNG_TRNS:
        return colour != PALETTE ? MRI_DROP_KEY : MRI_DROPS;
    default:
        return essential(chunk->type) ? MRI_DROPS : MRI_DROP_APP;
    }
}

/* Prove every chunk, count what is left behind, collect texts. */
static mr_err
check_chunks(const mri_source *s, mri_image *image, mri_bytes *text,
             mr_diag *diag)
{
    const png_head *head = s->state;
    png_walk w = walk_of(s, true);
    png_chunk chunk = {0};

    while (chunk.type != PNG_IEND) {
        mr_err err = png_next(&w, &chunk, diag);
        mri_drop drop;

        if (err != MR_OK) {
            return err;
        }
        drop = drop_of(&chunk, head->colour);
        if (drop == MRI_DROP_APP && (chunk.type & 0x20000000) == 0) {
            return mri_fail(diag, MRI_E_PNG_VARIANT, chunk.at,
                            "a PNG with an unknown critical chunk %.4s",
                            (const char *)s->file.data + chunk.at + 4);
        }
        if (drop == MRI_DROP_TEXT && s->options.keep_text &&
            chunk.type != PNG_TIME) {
            if (!png_text_line(text, &chunk, s->options.limits.text_bytes)) {
                return source_no_memory(diag);
            }
        } else if (drop != MRI_DROPS) {
            image->dropped[drop] += chunk.bytes;
        }
    }
    image->dropped[MRI_DROP_TRAILING] += s->file.len - w.at;
    return MR_OK;
}

static mr_err
read_pixels(const mri_source *s, mri_image *image, int format, mr_diag *diag)
{
    mri_bytes text = {0};
    mr_err err = check_chunks(s, image, &text, diag);

    if (err == MR_OK && text.len != 0) {
        image->text = mri_bytes_zero(&text, 1) ? (char *)text.data : NULL;
        err = image->text == NULL ? source_no_memory(diag) : MR_OK;
    }
    if (image->text == NULL) {
        mri_bytes_release(&text);
    }
    if (err == MR_OK) {
        err = image_room(image, diag);
    }
    if (err == MR_OK) {
        err = decode_into(s, image, format, diag);
    }
    return err;
}

static mr_err
read_png(const mri_source *s, uint64_t i, bool look, mri_image *image,
         mr_diag *diag)
{
    const png_head *head = s->state;
    uint32_t channels;
    int format = decoded_as(s, &channels);
    mr_err err;

    (void)i;
    image->dtype = head->depth == 16 ? MR_U16 : MR_U8;
    (void)image_axis(image, 'Y', head->height);
    (void)image_axis(image, 'X', head->width);
    if (channels != 1) {
        (void)image_axis(image, 'C', channels);
    }
    image->geometry.orientation = head->orientation;
    err = image_measure(image, &s->options.limits, s->file.len, diag);
    if (err != MR_OK || look) {
        return err;
    }
    return read_pixels(s, image, format, diag);
}

const decoder decoder_png = {
    .kind = MRI_SOURCE_PNG,
    .name = "png",
    .recognise = recognise,
    .open = open_png,
    .read = read_png,
    .close = mri_free,
};
