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
    uint8_t orientation;
    bool ramp;        /* a palette that maps every index to itself as a grey */
    uint32_t entries; /* of the palette */
    uint8_t palette[256][4];
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

static mr_err
read_palette(png_head *head, const png_chunk *chunk, mr_diag *diag)
{
    uint32_t n = chunk->body_bytes / 3;

    if (n == 0 || n > 256 || chunk->body_bytes % 3 != 0 || head->trns) {
        return mri_fail(diag, MRI_E_PNG_DAMAGED, chunk->at,
                        "a palette (PLTE) of %" PRIu32 " bytes",
                        chunk->body_bytes);
    }
    head->ramp = head->depth == 8;
    head->entries = n;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *rgb = chunk->body + 3 * (size_t)i;

        memcpy(head->palette[i], rgb, 3);
        head->palette[i][3] = 255;
        head->ramp = head->ramp && rgb[0] == i && rgb[1] == i && rgb[2] == i;
    }
    return MR_OK;
}

static mr_err
read_trns(png_head *head, const png_chunk *chunk, mr_diag *diag)
{
    if (head->colour == PALETTE && chunk->body_bytes > head->entries) {
        return mri_fail(diag, MRI_E_PNG_DAMAGED, chunk->at,
                        "transparency (tRNS) of %" PRIu32
                        " colours for a palette of %" PRIu32,
                        chunk->body_bytes, head->entries);
    }
    for (uint32_t i = 0; head->colour == PALETTE && i < chunk->body_bytes;
         i++) {
        head->palette[i][3] = chunk->body[i];
    }
    head->trns = true;
    return MR_OK;
}

static mr_err
read_before_data(png_head *head, const png_chunk *chunk, mr_diag *diag)
{
    switch (chunk->type) {
    case PNG_PLTE: /* to RGB it is a suggestion */
        return head->colour == PALETTE ? read_palette(head, chunk, diag)
                                       : MR_OK;
    case PNG_TRNS:
        return read_trns(head, chunk, diag);
    case PNG_EXIF:
        head->orientation = exif_orientation(chunk->body, chunk->body_bytes);
        return MR_OK;
    case PNG_IDAT:
        if (head->colour == PALETTE && head->entries == 0) {
            return mri_fail(diag, MRI_E_PNG_DAMAGED, chunk->at,
                            "a palette image without its palette (PLTE)");
        }
        return MR_OK;
    case PNG_IEND:
        return mri_fail(diag, MRI_E_PNG_DAMAGED, chunk->at,
                        "a PNG without image data (IDAT)");
    default:
        return MR_OK;
    }
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
        if (err == MR_OK) {
            err = read_before_data(head, &chunk, diag);
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

/* Its palette is applied: there is one, and the field is no label. */
static bool
painted(const mri_source *s)
{
    const png_head *head = s->state;

    return head->colour == PALETTE && !s->options.label &&
           !(head->ramp && !head->trns);
}

static uint32_t
channels_of(const mri_source *s)
{
    const png_head *head = s->state;

    switch (head->colour) {
    case GREY_ALPHA:
        return 2;
    case RGB:
        return 3;
    case RGB_ALPHA:
        return 4;
    case PALETTE:
        return !painted(s) ? 1 : head->trns ? 4 : 3;
    default:
        return 1;
    }
}

/* The stream that libspng sees: signature, IHDR, PLTE, IDAT, IEND. What is
 * malformed in the rest is nobody's pixel, and never reaches its parsers. */
typedef struct feed {
    png_walk walk;
    const uint8_t *p;
    size_t left;
    uint8_t colour;
    bool done;
} feed;

static bool
essential(uint32_t type, uint8_t colour)
{
    return type == PNG_IHDR || type == PNG_IDAT || type == PNG_IEND ||
           (type == PNG_PLTE && colour == PALETTE);
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
        if (essential(chunk.type, f->colour)) {
            f->p = f->walk.p + chunk.at;
            f->left = chunk.bytes;
        }
    }
    return 0;
}

/* zlib inside of libspng loses the reason when there is no memory. */
static _Thread_local bool memory_was_out;

static void *
remember(void *p)
{
    memory_was_out = memory_was_out || p == NULL;
    return p;
}

static void *
alloc_bytes(size_t bytes)
{
    return remember(mri_resize(NULL, bytes, 1));
}

static void *
alloc_zeros(size_t count, size_t bytes)
{
    return remember(mri_alloc(count, bytes));
}

static void *
resize_bytes(void *p, size_t bytes)
{
    return remember(mri_resize(p, bytes, 1));
}

/* Decode into `out` as the file stores samples; an error of libspng, or 0. */
static int
run_spng(spng_ctx *ctx, feed *f, void *out, size_t bytes)
{
    /* All checksums were compared before. */
    int err = spng_set_crc_action(ctx, SPNG_CRC_USE, SPNG_CRC_USE);

    if (err == 0) {
        err = spng_set_png_stream(ctx, feed_some, f);
    }
    if (err == 0) {
        err = spng_decode_image(ctx, out, bytes, SPNG_FMT_PNG, 0);
    }
    return err == 0 ? spng_decode_chunks(ctx) : err;
}

static mr_err
decode(const mri_source *s, void *out, size_t bytes, mr_diag *diag)
{
    struct spng_alloc alloc = {alloc_bytes, resize_bytes, alloc_zeros,
                               mri_free};
    const png_head *head = s->state;
    feed f = {.walk = walk_of(s, false),
              .p = signature,
              .left = PNG_SIGNATURE,
              .colour = head->colour};
    int mode = 0, err;
    spng_ctx *ctx;

#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
    mode = SPNG_CTX_IGNORE_ADLER32;
#endif
    memory_was_out = false;
    ctx = spng_ctx_new2(&alloc, mode);
    err = ctx != NULL ? run_spng(ctx, &f, out, bytes) : SPNG_EMEM;
    spng_ctx_free(ctx);
    if (err != 0 && memory_was_out) {
        return source_no_memory(diag);
    }
    if (err != 0) {
        return mri_fail(diag, MRI_E_PNG_DAMAGED, f.walk.at, "libspng says: %s",
                        spng_strerror(err));
    }
    return MR_OK;
}

/* Rows of 1, 2 or 4 bits a sample, first sample highest, to bytes. */
static void
unpack(uint8_t *to, const uint8_t *from, const png_head *head)
{
    size_t row_bytes = ((size_t)head->width * head->depth + 7) / 8;
    unsigned per = 8u / head->depth, mask = (1u << head->depth) - 1;

    for (uint32_t y = 0; y < head->height; y++, from += row_bytes) {
        for (uint32_t x = 0; x < head->width; x++) {
            unsigned byte = from[x / per];
            unsigned shift = 8 - head->depth * (x % per + 1);

            *to++ = (uint8_t)(byte >> shift & mask);
        }
    }
}

static mr_err
decode_packed(const mri_source *s, uint8_t *out, mr_diag *diag)
{
    const png_head *head = s->state;
    size_t bytes = ((size_t)head->width * head->depth + 7) / 8 * head->height;
    /* Zeroed: libspng only sets bits when it puts interlaced rows together. */
    uint8_t *packed = mri_alloc(bytes, 1);
    mr_err err = packed != NULL ? decode(s, packed, bytes, diag)
                                : source_no_memory(diag);

    if (err == MR_OK) {
        unpack(out, packed, head);
    }
    mri_free(packed);
    return err;
}

static mr_err
decode_samples(const mri_source *s, uint8_t *out, size_t bytes, mr_diag *diag)
{
    const png_head *head = s->state;

    return head->depth < 8 ? decode_packed(s, out, diag)
                           : decode(s, out, bytes, diag);
}

/* Indices to colours; where one is not in the palette, or n. */
static size_t
paint(const png_head *head, uint8_t *out, const uint8_t *index, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *rgba = head->palette[index[i]];

        if (index[i] >= head->entries) {
            return i;
        }
        *out++ = rgba[0];
        *out++ = rgba[1];
        *out++ = rgba[2];
        if (head->trns) {
            *out++ = rgba[3];
        }
    }
    return n;
}

static mr_err
decode_painted(const mri_source *s, mri_image *image, mr_diag *diag)
{
    const png_head *head = s->state;
    size_t n = (size_t)head->width * head->height, at;
    uint8_t *index = mri_alloc_pixels(n, 1);
    mr_err err = index != NULL ? decode_samples(s, index, n, diag)
                               : source_no_memory(diag);

    if (err == MR_OK) {
        at = paint(head, image->pixels, index, n);
        if (at != n) {
            err = mri_fail(diag, MRI_E_PNG_DAMAGED, MR_NOWHERE,
                           "pixel %zu has colour %u of a palette of %" PRIu32,
                           at, index[at], head->entries);
        }
    }
    mri_free(index);
    return err;
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
    case PNG_PLTE:
        return colour != PALETTE ? MRI_DROP_PROFILE : MRI_DROPS;
    default:
        return essential(chunk->type, colour) ? MRI_DROPS : MRI_DROP_APP;
    }
}

/* Prove every chunk, count what is left behind, collect texts. */
static mr_err
check_chunks(const mri_source *s, mri_image *image, mri_bytes *text,
             mr_diag *diag)
{
    const png_head *head = s->state;
    png_walk w = walk_of(s, true);
    uint64_t text_left = s->options.limits.text_bytes;
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
            if (!png_text_line(text, &chunk, &text_left)) {
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
read_pixels(const mri_source *s, mri_image *image, mr_diag *diag)
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
    if (err != MR_OK) {
        return err;
    }
    return painted(s) ? decode_painted(s, image, diag)
                      : decode_samples(s, image->pixels, image->bytes, diag);
}

static mr_err
read_png(const mri_source *s, uint64_t i, bool look, mri_image *image,
         mr_diag *diag)
{
    const png_head *head = s->state;
    uint32_t channels = channels_of(s);
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
    return read_pixels(s, image, diag);
}

const decoder decoder_png = {
    .kind = MRI_SOURCE_PNG,
    .name = "png",
    .recognise = recognise,
    .open = open_png,
    .read = read_png,
    .close = mri_free,
};
