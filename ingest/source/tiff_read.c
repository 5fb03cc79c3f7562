/* SPDX-License-Identifier: Apache-2.0 */
/* tiff_read.c - strips and tiles to pixels. */
#include "tiff_read.h"

#include "decoder.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <string.h>
#include <tiff.h> /* numbers only */

void
tiff_reader_init(tiff_reader *r, const tiff_file *f, bool label,
                 uint64_t *damage)
{
    *r = (tiff_reader){.f = f, .label = label, .damage = damage};
}

void
tiff_reader_release(tiff_reader *r)
{
    tiff_lib_close(r);
    mri_free(r->piece);
    mri_free(r->indices);
    *r = (tiff_reader){0};
}

/* At least `bytes` of room; false: no memory. */
static bool
make_room(uint8_t **p, uint64_t *room, uint64_t bytes)
{
    if (*room >= bytes && *p != NULL) {
        return true;
    }
    mri_free(*p);
    *room = 0;
    *p = mri_alloc_pixels(bytes, 1);
    if (*p != NULL) {
        *room = bytes;
    }
    return *p != NULL;
}

static bool
whole_bytes(const tiff_page *page)
{
    return page->bits % 8 == 0;
}

/* The file's byte order is not this machine's. */
static bool
foreign(const tiff_file *f)
{
    return f->big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

/* Bytes of one unpacked pixel within a plane. */
static uint64_t
pixel_bytes(const tiff_page *page)
{
    return (uint64_t)tiff_piece_samples(page) * mr_dtype_bytes(page->dtype) *
           (page->complex ? 2 : 1);
}

/* Where piece i goes. */
typedef struct place {
    uint64_t plane, x, y;
    uint32_t width, rows; /* of it inside the image */
    uint8_t *out;         /* its first pixel */
    uint64_t step;        /* bytes from row to row */
} place;

static place
place_of(const tiff_page *page, uint64_t i, uint8_t *out)
{
    uint64_t per_plane = (uint64_t)page->across * page->down;
    uint64_t pixel = pixel_bytes(page);
    place p = {
        .plane = i / per_plane,
        .x = i % page->across * page->piece_width,
        .y = i % per_plane / page->across * page->piece_height,
        .step = page->width * pixel,
    };
    uint64_t right = page->width - p.x, below = page->height - p.y;

    p.width = right < page->piece_width ? (uint32_t)right : page->piece_width;
    p.rows = below < page->piece_height ? (uint32_t)below : page->piece_height;
    p.out = out + (p.plane * page->height + p.y) * p.step + p.x * pixel;
    return p;
}

/* Rows of a decoded piece to their place, unpacked if they must be. */
static void
put_rows(const tiff_page *page, const place *p, const uint8_t *from)
{
    uint64_t row = tiff_piece_bytes(page, 1);
    uint64_t samples = (uint64_t)p->width * tiff_piece_samples(page);
    uint8_t *to = p->out;

    for (uint32_t y = 0; y < p->rows; y++, from += row, to += p->step) {
        if (whole_bytes(page)) {
            memcpy(to, from, p->width * pixel_bytes(page));
        } else if (page->dtype == MR_U8) {
            tiff_unpack8(to, from, samples, page->bits);
        } else {
            /* rows of u16 in memory that came aligned */
            tiff_unpack16((uint16_t *)(void *)to, from, samples, page->bits);
        }
    }
}

static void
put_zeros(const tiff_page *page, const place *p)
{
    uint8_t *to = p->out;

    for (uint32_t y = 0; y < p->rows; y++, to += p->step) {
        memset(to, 0, p->width * pixel_bytes(page));
    }
}

/* Bytes as they lie in the file need no library. */
static bool
is_plain(const tiff_page *page)
{
    return page->compression == COMPRESSION_NONE &&
           page->fill_order == FILLORDER_MSB2LSB;
}

static mr_err
damaged(const tiff_reader *r, const tiff_page *page, uint64_t i, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_TIFF_DAMAGED,
                    tiff_value(r->f, &page->offsets, i),
                    "%s %" PRIu64 " is damaged; libtiff says: %s",
                    page->tiled ? "tile" : "strip", i, r->text);
}

static mr_err
read_piece(tiff_reader *r, const tiff_page *page, uint64_t i, uint8_t *out,
           mr_diag *diag)
{
    place p = place_of(page, i, out);
    uint32_t rows = page->tiled ? page->piece_height : p.rows;
    uint64_t bytes = tiff_piece_bytes(page, rows);
    bool direct = !page->tiled && whole_bytes(page);

    if (r->damage != NULL && !tiff_piece_sound(r->f, page, i)) {
        put_zeros(page, &p); /* counted by tiff_check_pieces */
        return MR_OK;
    }
    if (is_plain(page)) {
        put_rows(page, &p, r->f->p + tiff_value(r->f, &page->offsets, i));
        return MR_OK;
    }
    if (!direct && !make_room(&r->piece, &r->piece_room, bytes)) {
        return source_no_memory(diag);
    }
    if (r->damage != NULL) { /* what is not decoded shall be zero */
        memset(direct ? p.out : r->piece, 0, bytes);
    }
    if (!tiff_lib_piece(r, page, i, direct ? p.out : r->piece, bytes)) {
        if (r->damage == NULL) {
            return damaged(r, page, i, diag);
        }
        ++*r->damage;
    }
    if (!direct) {
        put_rows(page, &p, r->piece);
    }
    return MR_OK;
}

/* Plain bytes to this machine's order; libtiff does it for the others. */
static void
mend_order(const tiff_reader *r, const tiff_page *page, uint8_t *out)
{
    size_t size = mr_dtype_bytes(page->dtype);

    if (is_plain(page) && whole_bytes(page) && foreign(r->f)) {
        swap_bytes(out, tiff_page_bytes(page) / size, size);
    }
}

static mr_err
read_samples(tiff_reader *r, const tiff_page *page, uint8_t *out, mr_diag *diag)
{
    uint64_t n = tiff_pieces(page);
    mr_err err = tiff_check_pieces(r->f, page, r->damage, diag);

    if (err == MR_OK && !is_plain(page)) {
        err = tiff_lib_open(r, page, diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < n; i++) {
        err = read_piece(r, page, i, out, diag);
    }
    if (err == MR_OK) {
        mend_order(r, page, out);
    }
    return err;
}

void
tiff_read_run(const tiff_reader *r, const tiff_page *page, uint64_t images,
              uint8_t *out)
{
    uint64_t bytes = tiff_page_bytes(page) * images;
    size_t size = mr_dtype_bytes(page->dtype);

    memcpy(out, r->f->p + tiff_value(r->f, &page->offsets, 0), bytes);
    if (foreign(r->f)) {
        swap_bytes(out, bytes / size, size);
    }
}

/* Colours of 8 bits are written into 16 in three ways: times 257, times 256,
 * and, wrongly but often, as they are. */
mr_dtype
tiff_palette_type(const tiff_file *f, const tiff_page *page)
{
    bool small = true, eight = true;

    for (uint64_t i = 0; i < UINT64_C(3) << page->bits; i++) {
        uint64_t v = tiff_value(f, &page->colour_map, i);

        small = small && v < 256;
        eight = eight && ((v & 255) == 0 || (v & 255) == v >> 8);
    }
    return small || eight ? MR_U8 : MR_U16;
}

/* The palette's three tables, in the type of the image. */
static uint16_t *
load_palette(const tiff_file *f, const tiff_page *page, mr_dtype dtype)
{
    uint64_t n = UINT64_C(3) << page->bits;
    uint16_t *map = mri_alloc(n, sizeof *map);
    uint16_t most = 0;

    for (uint64_t i = 0; map != NULL && i < n; i++) {
        map[i] = (uint16_t)tiff_value(f, &page->colour_map, i);
        most = map[i] > most ? map[i] : most;
    }
    for (uint64_t i = 0; dtype == MR_U8 && most >= 256 && i < n; i++) {
        map[i] >>= 8;
    }
    return map;
}

static void
paint8(uint8_t *out, const uint8_t *index, uint64_t pixels, const uint16_t *map,
       uint64_t table)
{
    for (uint64_t i = 0; i < pixels; i++, out += 3) {
        out[0] = (uint8_t)map[index[i]];
        out[1] = (uint8_t)map[table + index[i]];
        out[2] = (uint8_t)map[2 * table + index[i]];
    }
}

static void
paint16(uint16_t *out, const uint8_t *index, uint64_t pixels,
        const uint16_t *map, uint64_t table)
{
    for (uint64_t i = 0; i < pixels; i++, out += 3) {
        out[0] = map[index[i]];
        out[1] = map[table + index[i]];
        out[2] = map[2 * table + index[i]];
    }
}

/* Indices of at most 8 bits to colours. */
static mr_err
apply_palette(const tiff_reader *r, const tiff_page *page, mr_dtype dtype,
              uint8_t *out, mr_diag *diag)
{
    uint64_t pixels = (uint64_t)page->width * page->height;
    uint64_t table = UINT64_C(1) << page->bits;
    uint16_t *map = load_palette(r->f, page, dtype);

    if (map == NULL) {
        return source_no_memory(diag);
    }
    if (dtype == MR_U8) {
        paint8(out, r->indices, pixels, map, table);
    } else {
        paint16((uint16_t *)(void *)out, r->indices, pixels, map, table);
    }
    mri_free(map);
    return MR_OK;
}

mr_err
tiff_read_into(tiff_reader *r, const tiff_page *page, mr_dtype dtype,
               uint8_t *out, mr_diag *diag)
{
    mr_err err;

    if (page->photometric != PHOTOMETRIC_PALETTE || r->label) {
        return read_samples(r, page, out, diag);
    }
    if (!make_room(&r->indices, &r->indices_room, tiff_page_bytes(page))) {
        return source_no_memory(diag);
    }
    err = read_samples(r, page, r->indices, diag);
    return err == MR_OK ? apply_palette(r, page, dtype, out, diag) : err;
}
