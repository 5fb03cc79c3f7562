/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <zlib.h>

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

typedef struct recipe {
    uint32_t width, height;
    uint8_t depth, colour;
    bool interlaced;
} recipe;

static const recipe small_rgb = {9, 7, 8, RGB, false};

static unsigned
channels_of(const recipe *r)
{
    return r->colour == RGB          ? 3
           : r->colour == GREY_ALPHA ? 2
           : r->colour == RGB_ALPHA  ? 4
                                     : 1;
}

/* The sample at x, y, channel c: anything that fits. */
static unsigned
sample(const recipe *r, uint32_t x, uint32_t y, unsigned c)
{
    unsigned v = 7 * x + 29 * y + 101 * c + x * y * 3 + (x * 977 + y * 61) * 5;

    return v & ((1u << r->depth) - 1);
}

static void
put_chunk(mri_bytes *out, const char *type, const void *body, size_t len)
{
    uint8_t word[4] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16),
                       (uint8_t)(len >> 8), (uint8_t)len};
    size_t from;
    uLong crc;

    assert_true(mri_bytes_add(out, word, 4));
    from = out->len;
    assert_true(mri_bytes_add(out, type, 4));
    assert_true(mri_bytes_add(out, body, len));
    crc = crc32(0, out->data + from, (uInt)(out->len - from));
    for (int i = 0; i < 4; i++) {
        uint8_t byte = (uint8_t)(crc >> (24 - 8 * i));

        assert_true(mri_bytes_add(out, &byte, 1));
    }
}

/* Rows of one pass of Adam7 (or of the image), each with filter type 0. */
static void
put_pass(mri_bytes *raw, const recipe *r, const uint32_t from[2],
         const uint32_t step[2])
{
    if (from[0] >= r->width) {
        return;
    }
    for (uint32_t y = from[1]; y < r->height; y += step[1]) {
        unsigned held = 0, have = 0;

        assert_true(mri_bytes_zero(raw, 1));
        for (uint32_t x = from[0]; x < r->width; x += step[0]) {
            for (unsigned c = 0; c < channels_of(r); c++) {
                held = held << r->depth | sample(r, x, y, c);
                have += r->depth;
                for (; have >= 8; have -= 8) {
                    uint8_t byte = (uint8_t)(held >> (have - 8));

                    assert_true(mri_bytes_add(raw, &byte, 1));
                }
            }
        }
        if (have != 0) {
            uint8_t byte = (uint8_t)(held << (8 - have));

            assert_true(mri_bytes_add(raw, &byte, 1));
        }
    }
}

static mri_bytes
image_data(const recipe *r)
{
    static const uint32_t from[7][2] = {{0, 0}, {4, 0}, {0, 4}, {2, 0},
                                        {0, 2}, {1, 0}, {0, 1}};
    static const uint32_t step[7][2] = {{8, 8}, {8, 8}, {4, 8}, {4, 4},
                                        {2, 4}, {2, 2}, {1, 2}};
    static const uint32_t none[2] = {0, 0}, one[2] = {1, 1};
    mri_bytes raw = {0}, packed = {0};
    uLongf len;

    for (int pass = 0; r->interlaced && pass < 7; pass++) {
        put_pass(&raw, r, from[pass], step[pass]);
    }
    if (!r->interlaced) {
        put_pass(&raw, r, none, one);
    }
    len = compressBound((uLong)raw.len);
    assert_true(mri_bytes_reserve(&packed, len));
    assert_int_equal(compress(packed.data, &len, raw.data, (uLong)raw.len),
                     Z_OK);
    packed.len = len;
    mri_bytes_release(&raw);
    return packed;
}

static void
begin(mri_bytes *png, const recipe *r)
{
    uint8_t head[13] = {(uint8_t)(r->width >> 24),
                        (uint8_t)(r->width >> 16),
                        (uint8_t)(r->width >> 8),
                        (uint8_t)r->width,
                        (uint8_t)(r->height >> 24),
                        (uint8_t)(r->height >> 16),
                        (uint8_t)(r->height >> 8),
                        (uint8_t)r->height,
                        r->depth,
                        r->colour,
                        0,
                        0,
                        r->interlaced};

    assert_true(mri_bytes_add(png, "\x89PNG\r\n\x1a\n", 8));
    put_chunk(png, "IHDR", head, sizeof head);
}

static void
finish(mri_bytes *png, const recipe *r)
{
    mri_bytes data = image_data(r);

    put_chunk(png, "IDAT", data.data, data.len);
    put_chunk(png, "IEND", "", 0);
    mri_bytes_release(&data);
}

/* Entry i is (3 i + 1, 5 i + 2, 7 i + 3). */
static void
put_palette(mri_bytes *png, unsigned entries)
{
    uint8_t map[768];

    for (unsigned i = 0; i < entries; i++) {
        map[3 * i] = (uint8_t)(3 * i + 1);
        map[3 * i + 1] = (uint8_t)(5 * i + 2);
        map[3 * i + 2] = (uint8_t)(7 * i + 3);
    }
    put_chunk(png, "PLTE", map, 3 * (size_t)entries);
}

static mri_bytes
make(const recipe *r)
{
    mri_bytes png = {0};

    begin(&png, r);
    if (r->colour == PALETTE) {
        put_palette(&png, 1u << r->depth);
    }
    finish(&png, r);
    return png;
}

static unsigned
got(const mri_image *image, uint64_t i)
{
    return image->dtype == MR_U16 ? ((const uint16_t *)image->pixels)[i]
                                  : ((const uint8_t *)image->pixels)[i];
}

static void
check_samples(const recipe *r, const mri_image *image)
{
    unsigned n = channels_of(r);

    assert_int_equal(image->dtype, r->depth == 16 ? MR_U16 : MR_U8);
    assert_string_equal(image->axes, n == 1 ? "YX" : "YXC");
    assert_int_equal(image->shape[0], r->height);
    assert_int_equal(image->shape[1], r->width);
    for (uint32_t y = 0; y < r->height; y++) {
        for (uint32_t x = 0; x < r->width; x++) {
            for (unsigned c = 0; c < n; c++) {
                uint64_t i = ((uint64_t)y * r->width + x) * n + c;

                assert_int_equal(got(image, i), sample(r, x, y, c));
            }
        }
    }
}

static void
every_depth_and_colour_gives_its_raw_samples(void **state)
{
    static const uint8_t kinds[][2] = {
        {1, GREY},        {2, GREY},      {4, GREY},      {8, GREY},
        {16, GREY},       {8, RGB},       {16, RGB},      {8, GREY_ALPHA},
        {16, GREY_ALPHA}, {8, RGB_ALPHA}, {16, RGB_ALPHA}};
    static const uint32_t sizes[][2] = {{1, 1}, {9, 7}, {3, 30}, {33, 2}};

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(kinds); k++) {
        for (size_t s = 0; s < 2 * MRI_COUNT(sizes); s++) {
            recipe r = {sizes[s / 2][0], sizes[s / 2][1], kinds[k][0],
                        kinds[k][1], s % 2 == 1};
            mri_bytes png = make(&r);
            mri_image image;

            must_read(png.data, png.len, NULL, &image);
            check_samples(&r, &image);
            mri_image_release(&image);
            mri_bytes_release(&png);
        }
    }
}

static void
a_palette_is_painted_in_an_image_and_kept_in_a_label(void **state)
{
    mri_source_options label = mri_source_defaults();

    (void)state;
    label.label = true;
    for (unsigned k = 0; k < 8; k++) {
        recipe r = {9, 7, (uint8_t)(1u << k % 4), PALETTE, k >= 4};
        mri_bytes png = make(&r);
        mri_image image;

        must_read(png.data, png.len, NULL, &image);
        assert_string_equal(image.axes, "YXC");
        assert_int_equal(image.shape[2], 3);
        for (uint32_t i = 0; i < 63; i++) {
            unsigned v = sample(&r, i % 9, i / 9, 0);

            assert_int_equal(got(&image, 3 * i), (3 * v + 1) & 255);
            assert_int_equal(got(&image, 3 * i + 1), (5 * v + 2) & 255);
            assert_int_equal(got(&image, 3 * i + 2), (7 * v + 3) & 255);
        }
        mri_image_release(&image);
        must_read(png.data, png.len, &label, &image);
        check_samples(&r, &image);
        mri_image_release(&image);
        mri_bytes_release(&png);
    }
}

static void
a_palette_with_transparency_becomes_rgba(void **state)
{
    recipe r = {9, 7, 2, PALETTE, false};
    mri_bytes png = {0};
    mri_image image;

    (void)state;
    begin(&png, &r);
    put_palette(&png, 4);
    put_chunk(&png, "tRNS", "\x10\x20", 2);
    finish(&png, &r);
    must_read(png.data, png.len, NULL, &image);
    assert_int_equal(image.shape[2], 4);
    for (uint32_t i = 0; i < 63; i++) {
        static const unsigned alpha[] = {0x10, 0x20, 255, 255};

        assert_int_equal(got(&image, 4 * i + 3),
                         alpha[sample(&r, i % 9, i / 9, 0)]);
    }
    mri_image_release(&image);
    mri_bytes_release(&png);
}

static void
a_palette_of_greys_in_order_is_none(void **state)
{
    recipe r = {9, 7, 8, PALETTE, false};
    uint8_t ramp[768];
    mri_bytes png = {0};
    mri_image image;

    (void)state;
    for (unsigned i = 0; i < sizeof ramp; i++) {
        ramp[i] = (uint8_t)(i / 3);
    }
    begin(&png, &r);
    put_chunk(&png, "PLTE", ramp, sizeof ramp);
    finish(&png, &r);
    must_read(png.data, png.len, NULL, &image);
    check_samples(&r, &image);
    mri_image_release(&image);
    mri_bytes_release(&png);
}

static void
an_index_outside_of_the_palette_is_damage(void **state)
{
    recipe r = {9, 7, 8, PALETTE, false};
    mri_bytes png = {0}, bare = {0};

    (void)state;
    begin(&png, &r);
    put_palette(&png, 3);
    finish(&png, &r);
    must_refuse(png.data, png.len, NULL, MRI_E_PNG_DAMAGED);
    begin(&bare, &r);
    finish(&bare, &r);
    must_refuse(bare.data, bare.len, NULL, MRI_E_PNG_DAMAGED);
    mri_bytes_release(&png);
    mri_bytes_release(&bare);
}

static void
a_transparent_colour_is_not_applied_but_counted(void **state)
{
    recipe r = {9, 7, 8, GREY, false};
    mri_bytes png = {0};
    mri_image image;

    (void)state;
    begin(&png, &r);
    put_chunk(&png, "tRNS", "\0\x05", 2);
    finish(&png, &r);
    must_read(png.data, png.len, NULL, &image);
    check_samples(&r, &image);
    assert_int_equal(image.dropped[MRI_DROP_KEY], 14);
    mri_image_release(&image);
    mri_bytes_release(&png);
}

static void
every_flipped_bit_and_every_cut_is_refused(void **state)
{
    mri_bytes png = make(&small_rgb);

    (void)state;
    for (size_t bit = 0; bit < 8 * png.len; bit++) {
        png.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(read_all(png.data, png.len, NULL) != MR_OK);
        png.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(sweep_cuts(png.data, png.len, NULL), 0);
    must_refuse_at(png.data, png.len - 1, NULL, MRI_E_PNG_DAMAGED, png.len - 1);
    png.data[45] ^= 1; /* in the image data, the chunk at 33 */
    must_refuse_at(png.data, png.len, NULL, MRI_E_PNG_DAMAGED, 33);
    mri_bytes_release(&png);
}

static void
random_damage_ends_in_order(void **state)
{
    recipe r = {9, 7, 2, PALETTE, true};
    mri_bytes png = make(&small_rgb), packed = make(&r);

    (void)state;
    sweep_damage(png.data, png.len, NULL, 3000);
    sweep_damage(packed.data, packed.len, NULL, 3000);
    mri_bytes_release(&png);
    mri_bytes_release(&packed);
}

/* What no pixel needs may be as malformed as it likes. */
static void
malformed_extras_do_not_cost_the_picture(void **state)
{
    mri_bytes png = {0};
    mri_image image;
    char dropped[128];

    (void)state;
    begin(&png, &small_rgb);
    put_chunk(&png, "gAMA", "\0", 1);
    put_chunk(&png, "gAMA", "\0\0", 2);
    put_chunk(&png, "iCCP", "x", 1);
    put_chunk(&png, "tEXt", "", 0);
    put_chunk(&png, "tIME", "abc", 3);
    put_chunk(&png, "eXIf", "MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x08\0\0",
              22);
    put_chunk(&png, "acTL", "\0\0\0\2\0\0\0\0", 8);
    put_chunk(&png, "veNd", "abc", 3);
    finish(&png, &small_rgb);
    assert_true(mri_bytes_add(&png, "tail", 4));
    must_read(png.data, png.len, NULL, &image);
    check_samples(&small_rgb, &image);
    assert_int_equal(image.geometry.orientation, 8);
    (void)mri_image_dropped(&image, dropped, sizeof dropped);
    assert_string_equal(
        dropped, "text:27 exif:34 profile:40 app:15 frames:20 trailing:4");
    mri_image_release(&image);
    mri_bytes_release(&png);
}

static void
texts_are_kept_on_request(void **state)
{
    mri_source_options keep = mri_source_defaults();
    uint8_t packed[64] = "Zip\0", *body = packed + 5;
    uLongf len = sizeof packed - 5;
    mri_bytes png = {0};
    mri_image image;

    (void)state;
    keep.keep_text = true;
    assert_int_equal(compress(body, &len, (const Bytef *)"inflated", 8), Z_OK);
    begin(&png, &small_rgb);
    put_chunk(&png, "tEXt", "Author\0J\xf6rg", 11);
    put_chunk(&png, "zTXt", packed, len + 5);
    put_chunk(&png, "iTXt", "T\0\0\0de\0\0gr\xc3\xbc\xc3\x9f", 14);
    put_chunk(&png, "zTXt", "Bad\0\0junk", 9);
    finish(&png, &small_rgb);
    must_read(png.data, png.len, &keep, &image);
    assert_string_equal(image.text, "Author: J\xc3\xb6rg\nZip: inflated\n"
                                    "T: gr\xc3\xbc\xc3\x9f\nBad: \n");
    assert_int_equal(image.dropped[MRI_DROP_TEXT], 0);
    mri_image_release(&image);
    must_read(png.data, png.len, NULL, &image);
    assert_null(image.text);
    mri_image_release(&image);
    mri_bytes_release(&png);
}

static void
headers_that_cannot_be_are_refused(void **state)
{
    static const recipe bad[] = {
        {0, 7, 8, RGB, false},      {9, 0, 8, RGB, false},
        {9, 7, 3, GREY, false},     {9, 7, 4, RGB, false},
        {9, 7, 16, PALETTE, false}, {9, 7, 8, 5, false},
        {9, 7, 32, GREY, false}};
    mri_bytes png = {0};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(bad); i++) {
        png.len = 0;
        begin(&png, &bad[i]);
        put_chunk(&png, "IDAT", "", 0);
        put_chunk(&png, "IEND", "", 0);
        must_refuse_at(png.data, png.len, NULL, MRI_E_PNG_DAMAGED, 8);
    }
    png.len = 0;
    begin(&png, &small_rgb);
    put_chunk(&png, "IEND", "", 0);
    must_refuse_at(png.data, png.len, NULL, MRI_E_PNG_DAMAGED, 33);
    png.len = 0;
    begin(&png, &small_rgb);
    put_chunk(&png, "NEWC", "", 0);
    finish(&png, &small_rgb);
    must_refuse_at(png.data, png.len, NULL, MRI_E_PNG_VARIANT, 33);
    mri_bytes_release(&png);
}

static void
limits_hold_before_anything_is_allocated(void **state)
{
    static const recipe huge = {65500, 16000, 8, RGB, false};
    mri_source_options o = mri_source_defaults();
    mri_bytes png = {0};
    char text[300] = "Comment";

    (void)state;
    begin(&png, &huge);
    put_chunk(&png, "IDAT", "x", 1);
    must_refuse(png.data, png.len, NULL, MRI_E_SOURCE_RATIO);
    png.len = 0;
    begin(&png, &small_rgb);
    put_chunk(&png, "tEXt", text, sizeof text);
    finish(&png, &small_rgb);
    o.limits.png_chunk_bytes = sizeof text - 1;
    must_refuse_at(png.data, png.len, &o, MRI_E_SOURCE_LIMIT, 33);
    o.limits.png_chunk_bytes = sizeof text;
    assert_int_equal(read_all(png.data, png.len, &o), MR_OK);
    o.limits.side = 8;
    must_refuse(png.data, png.len, &o, MRI_E_SOURCE_LIMIT);
    o = mri_source_defaults();
    o.limits.pixels = 62;
    must_refuse(png.data, png.len, &o, MRI_E_SOURCE_LIMIT);
    mri_bytes_release(&png);
}

/* Some writers put a whole image into one chunk: that is no attack. */
static void
one_chunk_of_image_data_may_be_long(void **state)
{
    mri_source_options o = mri_source_defaults();
    mri_bytes png = make(&small_rgb);

    (void)state;
    o.limits.png_chunk_bytes = 20;
    assert_int_equal(read_all(png.data, png.len, &o), MR_OK);
    mri_bytes_release(&png);
}

static void
memory_may_fail_at_any_call(void **state)
{
    recipe r = {9, 7, 2, PALETTE, true};
    mri_bytes png = make(&r);

    (void)state;
    sweep_memory(png.data, png.len, NULL);
    mri_bytes_release(&png);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_depth_and_colour_gives_its_raw_samples),
        cmocka_unit_test(a_palette_is_painted_in_an_image_and_kept_in_a_label),
        cmocka_unit_test(a_palette_with_transparency_becomes_rgba),
        cmocka_unit_test(a_palette_of_greys_in_order_is_none),
        cmocka_unit_test(an_index_outside_of_the_palette_is_damage),
        cmocka_unit_test(a_transparent_colour_is_not_applied_but_counted),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_refused),
        cmocka_unit_test(random_damage_ends_in_order),
        cmocka_unit_test(malformed_extras_do_not_cost_the_picture),
        cmocka_unit_test(texts_are_kept_on_request),
        cmocka_unit_test(headers_that_cannot_be_are_refused),
        cmocka_unit_test(limits_hold_before_anything_is_allocated),
        cmocka_unit_test(one_chunk_of_image_data_may_be_long),
        cmocka_unit_test(memory_may_fail_at_any_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
