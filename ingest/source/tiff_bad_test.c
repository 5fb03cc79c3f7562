/* SPDX-License-Identifier: Apache-2.0 */
#include "tiff_make.h"

static void
refuse_hand(hand *h, mri_code code)
{
    must_refuse(h->bytes.data, h->bytes.len, NULL, code);
    mri_bytes_release(&h->bytes);
}

static void
a_file_by_hand_reads(void **state)
{
    hand h = hand_grey();
    mri_image image;

    (void)state;
    hand_next(&h, 0);
    hand_pixels(&h);
    must_read(h.bytes.data, h.bytes.len, NULL, &image);
    assert_memory_equal(image.pixels, h.bytes.data + 200, 16);
    mri_image_release(&image);
    mri_bytes_release(&h.bytes);
}

static void
headers_and_directories_that_cannot_be_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        mri_code code;
    } files[] = {
        {"II\x2a\0", 4, MRI_E_TIFF_SHORT},
        {"II\x2a\0\0\0\0\0", 8, MRI_E_TIFF_DAMAGED}, /* no directory */
        {"II\x2a\0\x08\0\0\0", 8, MRI_E_TIFF_SHORT}, /* it is outside */
        {"II\x2a\0\x08\0\0\0\0\0\0\0\0\0", 14, MRI_E_TIFF_DAMAGED}, /* empty */
        {"II\x2a\0\x08\0\0\0\xff\xff\0\0\0\0", 14, MRI_E_TIFF_SHORT},
        {"II\x2b\0\x08\0\0\0\x10\0\0", 11, MRI_E_TIFF_SHORT},
        {"II\x2b\0\x04\0\0\0\x10\0\0\0\0\0\0\0", 16, MRI_E_TIFF_DAMAGED},
        {"II\x2b\0\x08\0\0\0\xf0\xff\xff\xff\xff\xff\xff\xff", 16,
         MRI_E_TIFF_SHORT},
        {"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\x0f",
         24, MRI_E_TIFF_SHORT},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(files); i++) {
        must_refuse(files[i].bytes, files[i].len, NULL, files[i].code);
    }
}

static void
a_loop_of_directories_is_found_with_its_place(void **state)
{
    mri_source_options lenient = with_lenient();
    mri_image image;
    hand h = hand_grey();
    size_t pointer = h.bytes.len;

    (void)state;
    hand_next(&h, 8); /* back to itself */
    hand_pixels(&h);
    must_refuse_at(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_LOOP, pointer);
    must_read(h.bytes.data, h.bytes.len, &lenient, &image);
    assert_string_equal(image.axes, "YX");
    mri_image_release(&image);
    mri_bytes_release(&h.bytes);
}

/* Copies of the same directory, one behind the other, the last one leading
 * back to any of them. */
static void
loops_of_every_length_are_found(void **state)
{
    enum { PAGES = 9 };
    mri_source_options lenient = with_lenient();

    (void)state;
    for (uint32_t to = 0; to < PAGES; to++) {
        hand first = hand_grey();
        size_t size = first.bytes.len - 8 + 4;
        mri_bytes b = {0};
        mr_diag diag = {0};
        mri_image image;

        hand_next(&first, 0);
        assert_true(mri_bytes_add(&b, first.bytes.data, 8));
        for (size_t i = 0; i < PAGES; i++) {
            uint32_t next = (uint32_t)(8 + (i + 1) * size);
            uint32_t back = (uint32_t)(8 + to * size);

            assert_true(mri_bytes_add(&b, first.bytes.data + 8, size - 4));
            assert_true(mri_bytes_u32(&b, i + 1 == PAGES ? back : next));
        }
        assert_true(mri_bytes_zero(&b, 400));
        must_refuse_at(b.data, b.len, NULL, MRI_E_TIFF_LOOP,
                       8 + PAGES * size - 4);
        assert_ok(read_one(b.data, b.len, &lenient, 0, &image, &diag), &diag);
        assert_int_equal(image.shape[0], PAGES);
        mri_image_release(&image);
        mri_bytes_release(&b);
        mri_bytes_release(&first.bytes);
    }
}

static void
what_is_not_in_the_file_is_refused_with_its_place(void **state)
{
    hand h = hand_grey();

    (void)state;
    hand_next(&h, 0);
    hand_pixels(&h);
    must_refuse_at(h.bytes.data, 215, NULL, MRI_E_TIFF_SHORT, 215);
    hand_set(&h, TIFFTAG_STRIPBYTECOUNTS, 15);
    must_refuse_at(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_SHORT, 200);
    hand_set(&h, TIFFTAG_STRIPBYTECOUNTS, 17);
    must_refuse_at(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_SHORT, 216);
    hand_set(&h, TIFFTAG_STRIPBYTECOUNTS, 0xffffffff);
    must_refuse_at(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_SHORT, 216);
    hand_set(&h, TIFFTAG_STRIPBYTECOUNTS, 0);
    must_refuse_at(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_SHORT, 200);
    hand_set(&h, TIFFTAG_STRIPBYTECOUNTS, 16);
    hand_set(&h, TIFFTAG_STRIPOFFSETS, 0xfffffff8);
    must_refuse_at(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_SHORT, 216);
    hand_set(&h, TIFFTAG_STRIPOFFSETS, 200);
    hand_set(&h, TIFFTAG_ROWSPERSTRIP, 2); /* two strips, one offset */
    must_refuse_at(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_DAMAGED, 8);
    mri_bytes_release(&h.bytes);
}

static void
sizes_that_cannot_be_are_refused(void **state)
{
    static const struct {
        uint32_t tag, value;
        mri_code code;
    } cases[] = {
        {TIFFTAG_IMAGEWIDTH, 0, MRI_E_TIFF_DAMAGED},
        {TIFFTAG_IMAGELENGTH, 0, MRI_E_TIFF_DAMAGED},
        {TIFFTAG_ROWSPERSTRIP, 0, MRI_E_TIFF_DAMAGED},
        {TIFFTAG_SAMPLESPERPIXEL, 0, MRI_E_TIFF_DAMAGED},
        {TIFFTAG_SAMPLESPERPIXEL, 300, MRI_E_SOURCE_LIMIT},
        {TIFFTAG_BITSPERSAMPLE, 0, MRI_E_TIFF_VARIANT},
        {TIFFTAG_BITSPERSAMPLE, 24, MRI_E_TIFF_VARIANT},
        {TIFFTAG_BITSPERSAMPLE, 200, MRI_E_TIFF_DAMAGED},
        {TIFFTAG_IMAGEWIDTH, 60000, MRI_E_TIFF_SHORT},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        hand h = hand_grey();

        hand_next(&h, 0);
        hand_pixels(&h);
        hand_set(&h, cases[i].tag, cases[i].value);
        refuse_hand(&h, cases[i].code);
    }
}

/* A page of 2^31 x 2^31 pixels of 256 samples of 128 bits. */
static void
products_that_overflow_are_refused(void **state)
{
    hand h = hand_begin();

    (void)state;
    hand_tag(&h, TIFFTAG_IMAGEWIDTH, 4, 1, INT32_MAX);
    hand_tag(&h, TIFFTAG_IMAGELENGTH, 4, 1, INT32_MAX);
    hand_tag(&h, TIFFTAG_BITSPERSAMPLE, 3, 1, 128);
    hand_tag(&h, TIFFTAG_STRIPOFFSETS, 4, 1, 200);
    hand_tag(&h, TIFFTAG_SAMPLESPERPIXEL, 3, 1, 256);
    hand_tag(&h, TIFFTAG_STRIPBYTECOUNTS, 4, 1, 16);
    hand_tag(&h, TIFFTAG_SAMPLEFORMAT, 3, 1, 6);
    hand_next(&h, 0);
    hand_pixels(&h);
    refuse_hand(&h, MRI_E_TIFF_DAMAGED);
}

static void
bombs_are_refused_before_they_are_lit(void **state)
{
    hand h = hand_grey();

    (void)state;
    hand_next(&h, 0);
    hand_pixels(&h);
    for (size_t i = 0; i < 2; i++) { /* sizes as 32 bits */
        mri_put16(h.bytes.data + 10 + 12 * i + 2, 4);
    }
    hand_set(&h, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
    hand_set(&h, TIFFTAG_IMAGEWIDTH, 30000);
    hand_set(&h, TIFFTAG_IMAGELENGTH, 30000);
    hand_set(&h, TIFFTAG_ROWSPERSTRIP, 30000);
    must_refuse(h.bytes.data, h.bytes.len, NULL, MRI_E_SOURCE_RATIO);
    hand_set(&h, TIFFTAG_IMAGEWIDTH, 300000);
    refuse_hand(&h, MRI_E_SOURCE_LIMIT);
}

/* Many directories that name the same strip: small each, too much together. */
static void
a_thousand_names_for_one_strip_are_a_bomb_too(void **state)
{
    hand first = hand_grey();
    size_t size = first.bytes.len - 8 + 4;
    mri_source_options o = mri_source_defaults();
    mri_bytes b = {0};

    (void)state;
    hand_next(&first, 0);
    assert_true(mri_bytes_add(&b, first.bytes.data, 8));
    for (size_t i = 0; i < 1000; i++) {
        assert_true(mri_bytes_add(&b, first.bytes.data + 8, size - 4));
        assert_true(mri_bytes_u32(
            &b, i + 1 == 1000 ? 0 : (uint32_t)(8 + (i + 1) * size)));
    }
    o.limits.ratio_floor = 1;
    o.limits.ratio = 1;
    assert_int_equal(read_all(b.data, b.len, &o), MR_OK);
    mri_put32(b.data + 8 + 2 + 12 + 8, 4);
    o.limits.tiff_pages = 999;
    must_refuse(b.data, b.len, &o, MRI_E_SOURCE_LIMIT);
    o.limits.tiff_pages = 1000;
    for (size_t i = 0; i < 1000; i++) { /* 400 x 4 pixels each */
        uint8_t *p = b.data + 8 + i * size + 2;

        mri_put32(p + 8, 400);           /* width */
        mri_put32(p + 8 * 12 + 8, 1600); /* byte count */
    }
    must_refuse(b.data, b.len, &o, MRI_E_SOURCE_RATIO);
    o.pages = MRI_PAGES_SAMPLE;
    must_refuse(b.data, b.len, &o, MRI_E_SOURCE_RATIO);
    o.limits.ratio = 1000;
    o.limits.total_bytes = 1600 * 1000;
    assert_int_equal(read_all(b.data, b.len, &o), MR_OK);
    o.limits.total_bytes--;
    must_refuse(b.data, b.len, &o, MRI_E_SOURCE_LIMIT);
    mri_bytes_release(&b);
    mri_bytes_release(&first.bytes);
}

/* What a tag says once it need not say a million times, in every page. */
static void
a_number_has_few_values(void **state)
{
    hand h = hand_grey();

    (void)state;
    hand_tag(&h, TIFFTAG_SAMPLEFORMAT, 3, 257, 200);
    hand_next(&h, 0);
    hand_pixels(&h);
    assert_true(mri_bytes_zero(&h.bytes, 1000));
    refuse_hand(&h, MRI_E_SOURCE_LIMIT);
}

static void
compressions_and_colours_that_are_not_read_are_named(void **state)
{
    static const struct {
        uint32_t tag, value;
        const char *name;
    } cases[] = {
        {TIFFTAG_COMPRESSION, 2, "CCITT"},
        {TIFFTAG_COMPRESSION, 3, "group 3"},
        {TIFFTAG_COMPRESSION, 4, "group 4"},
        {TIFFTAG_COMPRESSION, 6, "old-style JPEG"},
        {TIFFTAG_COMPRESSION, 32766, "NeXT"},
        {TIFFTAG_COMPRESSION, 32809, "ThunderScan"},
        {TIFFTAG_COMPRESSION, 32909, "PixarLog"},
        {TIFFTAG_COMPRESSION, 34676, "LogLuv"},
        {TIFFTAG_COMPRESSION, 34677, "LogLuv 24"},
        {TIFFTAG_COMPRESSION, 34712, "JPEG 2000"},
        {TIFFTAG_COMPRESSION, 34925, "LZMA"},
        {TIFFTAG_COMPRESSION, 50001, "WebP"},
        {TIFFTAG_COMPRESSION, 12345, "unknown compression"},
        {TIFFTAG_PHOTOMETRIC, 6, "YCbCr"},
        {TIFFTAG_PHOTOMETRIC, 8, "Lab"},
        {TIFFTAG_PHOTOMETRIC, 32803, "mosaic"},
        {TIFFTAG_PHOTOMETRIC, 32845, "LogLuv"},
        {TIFFTAG_PHOTOMETRIC, 99, "unknown kind of colour"},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        hand h = hand_grey();
        mr_diag diag = {0};
        mri_image image;

        hand_next(&h, 0);
        hand_pixels(&h);
        hand_set(&h, cases[i].tag, cases[i].value);
        must_refuse_at(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_VARIANT, 8);
        (void)read_one(h.bytes.data, h.bytes.len, NULL, 0, &image, &diag);
        assert_non_null(strstr(diag.text, cases[i].name));
        mri_bytes_release(&h.bytes);
    }
}

static void
arrangements_that_are_not_read_are_named(void **state)
{
    static const struct {
        uint32_t tag, type, count, value;
    } extras[] = {
        {TIFFTAG_SAMPLEFORMAT, 3, 1, 5}, /* complex integers */
        {TIFFTAG_SAMPLEFORMAT, 3, 1, 3}, /* floats of 8 bits */
        {TIFFTAG_SAMPLEFORMAT, 3, 1, 9},
        {TIFFTAG_IMAGEDEPTH, 4, 1, 5},
        {33629, 5, 7, 8}, /* MetaMorph: 7 planes */
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(extras); i++) {
        hand h = hand_grey();

        hand_tag(&h, extras[i].tag, extras[i].type, extras[i].count,
                 extras[i].value);
        hand_next(&h, 0);
        hand_pixels(&h);
        refuse_hand(&h, MRI_E_TIFF_VARIANT);
    }
}

/* libtiff would swap them by the wrong width. */
static void
complex_samples_behind_unsorted_tags_are_refused(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        hand h = hand_grey();

        hand_tag(&h, k == 0 ? 40000 : TIFFTAG_SUBFILETYPE, 4, 1, 0);
        hand_tag(&h, k == 0 ? 40001 : TIFFTAG_SAMPLEFORMAT, 3, 1,
                 k == 0 ? 0 : 6);
        hand_next(&h, 0);
        hand_pixels(&h);
        if (k == 1) {
            hand_set(&h, TIFFTAG_BITSPERSAMPLE, 64);
            refuse_hand(&h, MRI_E_TIFF_VARIANT);
        } else {
            assert_int_equal(read_all(h.bytes.data, h.bytes.len, NULL), MR_OK);
            mri_bytes_release(&h.bytes);
        }
    }
}

static void
samples_of_different_widths_are_refused(void **state)
{
    hand h = hand_begin();

    (void)state;
    hand_tag(&h, TIFFTAG_IMAGEWIDTH, 3, 1, 4);
    hand_tag(&h, TIFFTAG_IMAGELENGTH, 3, 1, 4);
    hand_tag(&h, TIFFTAG_BITSPERSAMPLE, 3, 2, 5 | 6 << 16);
    hand_next(&h, 0);
    hand_pixels(&h);
    refuse_hand(&h, MRI_E_TIFF_VARIANT);
}

static void
a_palette_must_be_there_and_long_enough(void **state)
{
    hand h = hand_grey(), s = hand_grey();

    (void)state;
    hand_next(&h, 0);
    hand_pixels(&h);
    hand_set(&h, TIFFTAG_PHOTOMETRIC, 3);
    refuse_hand(&h, MRI_E_TIFF_DAMAGED);
    hand_set(&s, TIFFTAG_PHOTOMETRIC, 3);
    hand_tag(&s, TIFFTAG_COLORMAP, 3, 10, 150);
    hand_next(&s, 0);
    hand_pixels(&s);
    refuse_hand(&s, MRI_E_TIFF_DAMAGED);
}

/* Texts and resolutions may point anywhere: no pixel depends on them. What
 * decides about pixels may not. */
static void
tags_outside_of_the_file_count_if_they_matter(void **state)
{
    static const struct {
        uint32_t tag, type, count;
        bool matters;
    } tags[] = {
        {TIFFTAG_IMAGEDESCRIPTION, 2, 1000, false},
        {TIFFTAG_XRESOLUTION, 5, 1, false},
        {TIFFTAG_SOFTWARE, 2, 1u << 31, false},
        {40000, 12, 1u << 31, false},
        {TIFFTAG_COLORMAP, 3, 768, true},
        {TIFFTAG_JPEGTABLES, 7, 1000, true},
        {TIFFTAG_SAMPLEFORMAT, 3, 3, true},
        {TIFFTAG_PREDICTOR, 77, 1, true}, /* a type that there is not */
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(tags); i++) {
        hand h = hand_grey();
        mr_err err;

        hand_tag(&h, tags[i].tag, tags[i].type, tags[i].count, 0x7ffffff0);
        hand_next(&h, 0);
        hand_pixels(&h);
        err = read_all(h.bytes.data, h.bytes.len, NULL);
        assert_int_equal(err, tags[i].matters ? MR_ECORRUPT : MR_OK);
        mri_bytes_release(&h.bytes);
    }
}

static void
the_first_of_two_equal_tags_counts(void **state)
{
    hand h = hand_grey();
    mri_image image;

    (void)state;
    hand_tag(&h, TIFFTAG_IMAGEWIDTH, 3, 1, 999);
    hand_next(&h, 0);
    hand_pixels(&h);
    must_read(h.bytes.data, h.bytes.len, NULL, &image);
    assert_int_equal(image.shape[1], 4);
    mri_image_release(&image);
    mri_bytes_release(&h.bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_by_hand_reads),
        cmocka_unit_test(headers_and_directories_that_cannot_be_are_refused),
        cmocka_unit_test(a_loop_of_directories_is_found_with_its_place),
        cmocka_unit_test(loops_of_every_length_are_found),
        cmocka_unit_test(what_is_not_in_the_file_is_refused_with_its_place),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(products_that_overflow_are_refused),
        cmocka_unit_test(bombs_are_refused_before_they_are_lit),
        cmocka_unit_test(a_thousand_names_for_one_strip_are_a_bomb_too),
        cmocka_unit_test(a_number_has_few_values),
        cmocka_unit_test(compressions_and_colours_that_are_not_read_are_named),
        cmocka_unit_test(arrangements_that_are_not_read_are_named),
        cmocka_unit_test(complex_samples_behind_unsorted_tags_are_refused),
        cmocka_unit_test(samples_of_different_widths_are_refused),
        cmocka_unit_test(a_palette_must_be_there_and_long_enough),
        cmocka_unit_test(tags_outside_of_the_file_count_if_they_matter),
        cmocka_unit_test(the_first_of_two_equal_tags_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
