/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include "decoder.h"

#include <stdio.h>

#include <jpeglib.h>

typedef struct recipe {
    unsigned width, height;
    int channels; /* 1 or 3 */
    int h, v;     /* sampling of the first component */
    bool progressive;
    unsigned restart;
} recipe;

static const recipe small_colour = {41, 29, 3, 2, 2, false, 0};

/* A JPEG of smooth noise by libjpeg itself. */
static mri_bytes
make(recipe r)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr e;
    unsigned char *out = NULL;
    unsigned long len = 0;
    mri_bytes made = {0};
    uint8_t row[3 * 512];

    c.err = jpeg_std_error(&e);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &len);
    c.image_width = r.width;
    c.image_height = r.height;
    c.input_components = r.channels;
    c.in_color_space = r.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&c);
    c.comp_info[0].h_samp_factor = r.h;
    c.comp_info[0].v_samp_factor = r.v;
    c.restart_interval = r.restart;
    if (r.progressive) {
        jpeg_simple_progression(&c);
    }
    jpeg_start_compress(&c, TRUE);
    for (unsigned y = 0; y < r.height; y++) {
        JSAMPROW rows[1] = {row};

        for (unsigned i = 0; i < r.width * (unsigned)r.channels; i++) {
            row[i] = (uint8_t)(5 * i + 3 * y + (i * y) % 31);
        }
        (void)jpeg_write_scanlines(&c, rows, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    assert_true(mri_bytes_add(&made, out, len));
    free(out);
    return made;
}

/* As everybody else decodes it. */
static uint8_t *
decode_plainly(const uint8_t *p, size_t len, uint64_t bytes)
{
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr e;
    uint8_t *pixels = malloc(bytes);
    size_t at = 0;

    assert_non_null(pixels);
    d.err = jpeg_std_error(&e);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, p, len);
    (void)jpeg_read_header(&d, TRUE);
    (void)jpeg_start_decompress(&d);
    while (d.output_scanline < d.output_height) {
        JSAMPROW rows[1] = {pixels + at};

        at += (size_t)d.output_width * (size_t)d.output_components;
        assert_true(at <= bytes);
        (void)jpeg_read_scanlines(&d, rows, 1);
    }
    assert_int_equal(at, bytes);
    (void)jpeg_finish_decompress(&d);
    jpeg_destroy_decompress(&d);
    return pixels;
}

/* Put a marker with a body behind SOI. */
static void
insert(mri_bytes *jpeg, uint8_t marker, const void *body, size_t len)
{
    mri_bytes out = {0};
    uint8_t head[4] = {0xff, marker, (uint8_t)((len + 2) >> 8),
                       (uint8_t)(len + 2)};

    assert_true(mri_bytes_add(&out, jpeg->data, 2));
    assert_true(mri_bytes_add(&out, head, 4));
    assert_true(mri_bytes_add(&out, body, len));
    assert_true(mri_bytes_add(&out, jpeg->data + 2, jpeg->len - 2));
    mri_bytes_release(jpeg);
    *jpeg = out;
}

static size_t
find(const mri_bytes *jpeg, uint8_t marker)
{
    for (size_t i = 0; i + 1 < jpeg->len; i++) {
        if (jpeg->data[i] == 0xff && jpeg->data[i + 1] == marker) {
            return i;
        }
    }
    fail();
    return 0;
}

static void
every_sampling_decodes_as_libjpeg_decodes_it(void **state)
{
    static const recipe recipes[] = {
        {41, 29, 1, 1, 1, false, 0}, {41, 29, 3, 1, 1, false, 0},
        {41, 29, 3, 2, 1, false, 2}, {41, 29, 3, 2, 2, false, 0},
        {41, 29, 3, 2, 2, true, 0},  {1, 1, 3, 1, 2, false, 0},
        {500, 17, 1, 1, 1, true, 5},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(recipes); i++) {
        const recipe *r = &recipes[i];
        mri_bytes jpeg = make(*r);
        mri_image image;
        uint8_t *want;

        must_read(jpeg.data, jpeg.len, NULL, &image);
        want = decode_plainly(jpeg.data, jpeg.len, image.bytes);
        assert_memory_equal(image.pixels, want, image.bytes);
        assert_string_equal(image.axes, r->channels == 1 ? "YX" : "YXC");
        assert_int_equal(image.shape[0], r->height);
        assert_int_equal(image.shape[1], r->width);
        assert_int_equal(image.jpeg.restart_interval, r->restart);
        assert_int_equal(image.jpeg.progressive, r->progressive);
        assert_int_equal(image.jpeg.subsampling & 255,
                         r->channels == 1 ? 0x11 : r->h << 4 | r->v);
        assert_int_equal(image.jpeg.bytes, jpeg.len);
        assert_memory_equal(image.jpeg.data, jpeg.data, jpeg.len);
        free(want);
        mri_image_release(&image);
        mri_bytes_release(&jpeg);
    }
}

static const char exif[] = "Exif\0\0II*\0\x08\0\0\0\x02\0"
                           "\x0e\x01\x02\0\x04\0\0\0Bob\0"
                           "\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";

static void
what_names_people_is_left_out_and_the_rest_is_byte_for_byte(void **state)
{
    mri_bytes jpeg = make(small_colour), plain = make(small_colour);
    mri_source_options keep = mri_source_defaults();
    mri_image image;
    char dropped[128];

    (void)state;
    insert(&jpeg, 0xfe, "somebody", 8);
    insert(&jpeg, 0xe2, "ICC_PROFILE\0\1\1abc", 17);
    insert(&plain, 0xe2, "ICC_PROFILE\0\1\1abc", 17);
    insert(&jpeg, 0xe1, "http://ns.adobe.com/xap/1.0/\0x", 30);
    insert(&jpeg, 0xe1, exif, sizeof exif - 1);
    insert(&jpeg, 0xed, "Photoshop 3.0", 13);
    assert_true(mri_bytes_add(&jpeg, "tail", 4));

    must_read(jpeg.data, jpeg.len, NULL, &image);
    assert_int_equal(image.jpeg.bytes, plain.len);
    assert_memory_equal(image.jpeg.data, plain.data, plain.len);
    assert_int_equal(image.geometry.orientation, 6);
    (void)mri_image_dropped(&image, dropped, sizeof dropped);
    assert_string_equal(dropped, "text:12 exif:48 xmp:34 app:17 trailing:4");
    mri_image_release(&image);

    keep.keep_text = true;
    must_read(jpeg.data, jpeg.len, &keep, &image);
    assert_int_equal(image.jpeg.bytes, jpeg.len - 4);
    assert_memory_equal(image.jpeg.data, jpeg.data, jpeg.len - 4);
    mri_image_release(&image);
    mri_bytes_release(&jpeg);
    mri_bytes_release(&plain);
}

static void
damaged_exif_does_not_cost_the_picture(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < sizeof exif - 1; cut++) {
        mri_bytes jpeg = make(small_colour);
        mri_image image;

        insert(&jpeg, 0xe1, exif, cut);
        must_read(jpeg.data, jpeg.len, NULL, &image);
        assert_true(image.geometry.orientation == 0 ||
                    image.geometry.orientation == 6);
        mri_image_release(&image);
        mri_bytes_release(&jpeg);
    }
}

/* By itself, in memory of its own size: nothing is read beyond it. */
static void
exif_is_read_within_its_bounds(void **state)
{
    size_t len = sizeof exif - 1 - 6;

    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        uint8_t *copy = exact_copy(exif + 6, cut);

        assert_int_equal(exif_orientation(copy, cut), cut < 34 ? 0 : 6);
        for (size_t i = 0; i < cut; i++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                copy[i] ^= (uint8_t)(1u << bit);
                assert_true(exif_orientation(copy, cut) <= 8);
                copy[i] ^= (uint8_t)(1u << bit);
            }
        }
        free(copy);
    }
}

static void
a_cut_anywhere_is_refused_with_its_place(void **state)
{
    mri_bytes jpeg = make(small_colour);
    mri_bytes progressive = make((recipe){41, 29, 3, 2, 2, true, 0});

    (void)state;
    assert_int_equal(sweep_cuts(jpeg.data, jpeg.len, NULL), 0);
    assert_int_equal(sweep_cuts(progressive.data, progressive.len, NULL), 0);
    must_refuse_at(jpeg.data, jpeg.len - 2, NULL, MRI_E_JPEG_DAMAGED,
                   jpeg.len - 2);
    mri_bytes_release(&jpeg);
    mri_bytes_release(&progressive);
}

static void
random_damage_ends_in_order(void **state)
{
    mri_bytes jpeg = make(small_colour);
    mri_bytes progressive = make((recipe){41, 29, 3, 2, 2, true, 3});
    mri_source_options lenient = with_lenient();

    (void)state;
    sweep_damage(jpeg.data, jpeg.len, NULL, 2000);
    sweep_damage(progressive.data, progressive.len, NULL, 2000);
    sweep_damage(jpeg.data, jpeg.len, &lenient, 2000);
    sweep_damage(progressive.data, progressive.len, &lenient, 2000);
    mri_bytes_release(&jpeg);
    mri_bytes_release(&progressive);
}

/* libjpeg fills gaps and warns. To us a warning is damage. */
static void
a_warning_is_an_error_unless_lenient(void **state)
{
    mri_bytes jpeg = make(small_colour);
    mri_source_options lenient = with_lenient();
    size_t scan = find(&jpeg, 0xda) + 14;
    mri_image image;

    (void)state;
    for (size_t i = 0; i < 30; i++) { /* ones for ever: no Huffman code */
        jpeg.data[scan + 40 + 2 * i] = 0xff;
        jpeg.data[scan + 41 + 2 * i] = 0;
    }
    must_refuse(jpeg.data, jpeg.len, NULL, MRI_E_JPEG_DAMAGED);
    must_read(jpeg.data, jpeg.len, &lenient, &image);
    assert_true(image.repaired > 0);
    assert_null(image.jpeg.data); /* nobody shall meet the damage again */
    assert_int_equal(image.bytes, 41 * 29 * 3);
    mri_image_release(&image);
    must_read(jpeg.data, jpeg.len - 50, &lenient, &image);
    assert_true(image.repaired > 0);
    mri_image_release(&image);
    mri_bytes_release(&jpeg);
}

/* libjpeg works on the stripped file; the offset is that of the whole one. */
static void
the_place_of_damage_is_that_in_the_file(void **state)
{
    mri_bytes jpeg = make((recipe){41, 29, 1, 1, 1, false, 2});
    char text[4000] = "somebody";
    mr_diag diag = {0};
    size_t scan, rst;
    mri_image image;

    (void)state;
    insert(&jpeg, 0xfe, text, sizeof text);
    scan = find(&jpeg, 0xda);
    rst = find(&jpeg, 0xd3);
    jpeg.data[rst + 1] = 0xd6;
    assert_fails(read_one(jpeg.data, jpeg.len, NULL, 0, &image, &diag),
                 MR_ECORRUPT);
    assert_true(diag.at > scan && diag.at <= jpeg.len);
    assert_true(diag.at + 64 > rst && diag.at < rst + 64);
    mri_bytes_release(&jpeg);
}

static void
codings_that_are_not_read_are_named(void **state)
{
    static const struct {
        uint8_t sof;
        const char *name;
    } kinds[] = {{0xc3, "lossless"},     {0xc5, "hierarchical"},
                 {0xc9, "arithmetic"},   {0xca, "arithmetic"},
                 {0xcb, "lossless ari"}, {0xcd, "hierarchical"}};
    mri_bytes jpeg = make(small_colour);
    size_t at = find(&jpeg, 0xc0);
    mr_diag diag = {0};
    mri_image image;

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(kinds); i++) {
        jpeg.data[at + 1] = kinds[i].sof;
        must_refuse_at(jpeg.data, jpeg.len, NULL, MRI_E_JPEG_VARIANT, at);
        (void)read_one(jpeg.data, jpeg.len, NULL, 0, &image, &diag);
        assert_non_null(strstr(diag.text, kinds[i].name));
    }
    jpeg.data[at + 1] = 0xc0;
    jpeg.data[at + 4] = 12;
    must_refuse_at(jpeg.data, jpeg.len, NULL, MRI_E_JPEG_VARIANT, at);
    jpeg.data[at + 4] = 8;
    jpeg.data[at + 5] = jpeg.data[at + 6] = 0; /* height by DNL */
    must_refuse_at(jpeg.data, jpeg.len, NULL, MRI_E_JPEG_VARIANT, at);
    jpeg.data[at + 6] = 29;
    must_refuse_at(jpeg.data + 1, jpeg.len - 1, NULL, MRI_E_SOURCE_UNKNOWN, 0);
    insert(&jpeg, 0xcc, "\0\0", 2);
    must_refuse_at(jpeg.data, jpeg.len, NULL, MRI_E_JPEG_VARIANT, 2);
    mri_bytes_release(&jpeg);
}

static void
four_components_are_refused(void **state)
{
    static const uint8_t cmyk[] = {
        0xff, 0xd8, 0xff, 0xc0, 0, 20,   8, 0, 8,    0, 8,    4,    1, 0x11,
        0,    2,    0x11, 0,    3, 0x11, 0, 4, 0x11, 0, 0xff, 0xda, 0, 2};

    (void)state;
    must_refuse_at(cmyk, sizeof cmyk, NULL, MRI_E_JPEG_VARIANT, 2);
}

static void
markers_in_the_wrong_place_are_refused(void **state)
{
    mri_bytes jpeg = make(small_colour);
    size_t sof = find(&jpeg, 0xc0), sos = find(&jpeg, 0xda);
    static const uint8_t empty[] = {0xff, 0xd8, 0xff, 0xd9};
    static const uint8_t twice[] = {0xff, 0xd8, 0xff, 0xd8, 0xff, 0xd9};

    (void)state;
    must_refuse_at(empty, sizeof empty, NULL, MRI_E_JPEG_DAMAGED, 2);
    must_refuse_at(twice, sizeof twice, NULL, MRI_E_JPEG_DAMAGED, 2);
    jpeg.data[sof + 1] = 0xef; /* no frame header before the scan */
    must_refuse_at(jpeg.data, jpeg.len, NULL, MRI_E_JPEG_DAMAGED, sos);
    jpeg.data[sof + 1] = 0xc0;
    jpeg.data[sof + 3]++; /* its length is wrong */
    must_refuse(jpeg.data, jpeg.len, NULL, MRI_E_JPEG_DAMAGED);
    jpeg.data[sof + 3]--;
    jpeg.data[sof + 11] = 0x50; /* sampling of 5 x 0 */
    must_refuse_at(jpeg.data, jpeg.len, NULL, MRI_E_JPEG_DAMAGED, sof);
    jpeg.data[sof + 11] = 0x22;
    jpeg.data[sof] = 0; /* no marker where one is due */
    must_refuse_at(jpeg.data, jpeg.len, NULL, MRI_E_JPEG_DAMAGED, sof);
    mri_bytes_release(&jpeg);
}

static void
fill_bytes_before_a_marker_are_taken(void **state)
{
    mri_bytes jpeg = make(small_colour), filled = {0};
    size_t sof = find(&jpeg, 0xc0);
    mri_image a, b;

    (void)state;
    assert_true(mri_bytes_add(&filled, jpeg.data, sof));
    assert_true(mri_bytes_add(&filled, "\xff\xff\xff", 3));
    assert_true(mri_bytes_add(&filled, jpeg.data + sof, jpeg.len - sof));
    must_read(jpeg.data, jpeg.len, NULL, &a);
    must_read(filled.data, filled.len, NULL, &b);
    assert_true(same_image(&a, &b));
    assert_int_equal(b.jpeg.bytes, jpeg.len);
    mri_image_release(&a);
    mri_image_release(&b);
    mri_bytes_release(&jpeg);
    mri_bytes_release(&filled);
}

static void
limits_hold_before_anything_is_allocated(void **state)
{
    mri_bytes jpeg = make(small_colour);
    mri_bytes progressive = make((recipe){41, 29, 3, 2, 2, true, 0});
    mri_source_options o = mri_source_defaults();
    size_t sof = find(&jpeg, 0xc0);

    (void)state;
    o.limits.side = 40;
    must_refuse(jpeg.data, jpeg.len, &o, MRI_E_SOURCE_LIMIT);
    o = mri_source_defaults();
    o.limits.pixels = 41 * 29 - 1;
    must_refuse(jpeg.data, jpeg.len, &o, MRI_E_SOURCE_LIMIT);
    o = mri_source_defaults();
    o.limits.decoded_bytes = 41 * 29 * 3 - 1;
    must_refuse(jpeg.data, jpeg.len, &o, MRI_E_SOURCE_LIMIT);
    o = mri_source_defaults();
    o.limits.file_bytes = jpeg.len - 1;
    must_refuse(jpeg.data, jpeg.len, &o, MRI_E_SOURCE_LIMIT);
    o = mri_source_defaults();
    o.limits.jpeg_scans = 9;
    must_refuse(progressive.data, progressive.len, &o, MRI_E_SOURCE_LIMIT);
    o.limits.jpeg_scans = 10;
    assert_int_equal(read_all(progressive.data, progressive.len, &o), MR_OK);
    memset(jpeg.data + sof + 5, 0x7f, 4); /* 32,639 x 32,639 pixels */
    must_refuse(jpeg.data, jpeg.len, NULL, MRI_E_SOURCE_RATIO);
    memset(jpeg.data + sof + 5, 0xff, 4);
    must_refuse(jpeg.data, jpeg.len, NULL, MRI_E_SOURCE_LIMIT);
    mri_bytes_release(&jpeg);
    mri_bytes_release(&progressive);
}

static void
memory_may_fail_at_any_call(void **state)
{
    mri_bytes jpeg = make(small_colour);

    (void)state;
    sweep_memory(jpeg.data, jpeg.len, NULL);
    mri_bytes_release(&jpeg);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_sampling_decodes_as_libjpeg_decodes_it),
        cmocka_unit_test(
            what_names_people_is_left_out_and_the_rest_is_byte_for_byte),
        cmocka_unit_test(damaged_exif_does_not_cost_the_picture),
        cmocka_unit_test(exif_is_read_within_its_bounds),
        cmocka_unit_test(a_cut_anywhere_is_refused_with_its_place),
        cmocka_unit_test(random_damage_ends_in_order),
        cmocka_unit_test(a_warning_is_an_error_unless_lenient),
        cmocka_unit_test(the_place_of_damage_is_that_in_the_file),
        cmocka_unit_test(codings_that_are_not_read_are_named),
        cmocka_unit_test(four_components_are_refused),
        cmocka_unit_test(markers_in_the_wrong_place_are_refused),
        cmocka_unit_test(fill_bytes_before_a_marker_are_taken),
        cmocka_unit_test(limits_hold_before_anything_is_allocated),
        cmocka_unit_test(memory_may_fail_at_any_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
