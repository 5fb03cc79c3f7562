/* SPDX-License-Identifier: Apache-2.0 */
#include "tiff_make.h"

static const recipe base = {
    .width = 45,
    .height = 37,
    .samples = 1,
    .bits = 8,
    .format = SAMPLEFORMAT_UINT,
    .compression = COMPRESSION_NONE,
    .photometric = PHOTOMETRIC_MINISBLACK,
    .rows = 7,
};

static const char *const modes[] = {"wl", "wb", "wl8", "wb8"};

/* Whole bytes a sample: the file's pixels come back as they went in. */
static void
check_round(const char *mode, const recipe *r, mr_dtype dtype, const char *axes)
{
    uint8_t *pixels = noise(page_bytes(r));
    mri_bytes tiff = make_tiff(mode, r, 1, pixels);
    mri_image image;

    must_read(tiff.data, tiff.len, NULL, &image);
    assert_int_equal(image.dtype, dtype);
    assert_string_equal(image.axes, axes);
    assert_int_equal(image.bytes, page_bytes(r));
    assert_memory_equal(image.pixels, pixels, image.bytes);
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

static const struct {
    uint16_t bits, format;
    mr_dtype dtype;
    bool complex;
} types[] = {
    {8, SAMPLEFORMAT_UINT, MR_U8, false},
    {16, SAMPLEFORMAT_UINT, MR_U16, false},
    {32, SAMPLEFORMAT_UINT, MR_U32, false},
    {64, SAMPLEFORMAT_UINT, MR_U64, false},
    {8, SAMPLEFORMAT_INT, MR_I8, false},
    {16, SAMPLEFORMAT_INT, MR_I16, false},
    {32, SAMPLEFORMAT_INT, MR_I32, false},
    {64, SAMPLEFORMAT_INT, MR_I64, false},
    {16, SAMPLEFORMAT_IEEEFP, MR_F16, false},
    {32, SAMPLEFORMAT_IEEEFP, MR_F32, false},
    {64, SAMPLEFORMAT_IEEEFP, MR_F64, false},
    {16, SAMPLEFORMAT_VOID, MR_U16, false},
    {64, SAMPLEFORMAT_COMPLEXIEEEFP, MR_F32, true},
    {128, SAMPLEFORMAT_COMPLEXIEEEFP, MR_F64, true},
};

static const uint16_t codecs[] = {
    COMPRESSION_NONE,    COMPRESSION_LZW,           COMPRESSION_PACKBITS,
    COMPRESSION_DEFLATE, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_ZSTD,
};

static void
every_type_codec_and_byte_order_comes_back(void **state)
{
    (void)state;
    for (size_t t = 0; t < MRI_COUNT(types); t++) {
        for (size_t c = 0; c < MRI_COUNT(codecs); c++) {
            for (size_t m = 0; m < MRI_COUNT(modes); m++) {
                recipe r = base;

                r.bits = types[t].bits;
                r.format = types[t].format;
                r.compression = codecs[c];
                check_round(modes[m], &r, types[t].dtype,
                            types[t].complex ? "YXR" : "YX");
            }
        }
    }
}

static void
every_arrangement_of_pixels_comes_back(void **state)
{
    static const struct {
        uint16_t samples;
        bool planar;
        const char *axes;
    } kinds[] = {{3, false, "YXC"},
                 {5, false, "YXC"},
                 {3, true, "CYX"},
                 {2, true, "CYX"}};
    static const uint32_t rows[] = {0, 1, 7, 37, 100};

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(kinds); k++) {
        for (size_t c = 0; c < MRI_COUNT(codecs); c++) {
            for (size_t i = 0; i < 2 * MRI_COUNT(rows); i++) {
                recipe r = base;

                r.samples = kinds[k].samples;
                r.planar = kinds[k].planar;
                r.compression = codecs[c];
                r.rows = rows[i / 2];
                r.bits = 16;
                check_round(i % 2 == 0 ? "wl" : "wb8", &r, MR_U16,
                            kinds[k].axes);
            }
        }
    }
}

static void
predictors_are_undone(void **state)
{
    static const uint16_t packers[] = {COMPRESSION_LZW, COMPRESSION_DEFLATE,
                                       COMPRESSION_ZSTD};

    (void)state;
    for (size_t t = 0; t < 11; t++) {
        for (size_t c = 0; c < MRI_COUNT(packers); c++) {
            for (size_t i = 0; i < 8; i++) {
                recipe r = base;
                bool real = types[t].format == SAMPLEFORMAT_IEEEFP;

                r.bits = types[t].bits;
                r.format = types[t].format;
                r.compression = packers[c];
                r.predictor = real ? 3 : 2;
                r.rows = i % 2 == 0 ? 7 : 0;
                r.samples = i / 2 % 2 == 0 ? 1 : 3;
                /* libtiff 4.5 writes big-endian floats wrongly; those of
                 * tifffile are compared in tests/parity/sources.py. */
                check_round(i / 4 == 0 || real ? "wl" : "wb", &r,
                            types[t].dtype, r.samples == 1 ? "YX" : "YXC");
            }
        }
    }
}

/* Sample i of rows that are packed, first sample highest. */
static unsigned
bits_at(const uint8_t *row, size_t i, unsigned bits)
{
    unsigned v = 0;

    for (size_t b = i * bits; b < (i + 1) * bits; b++) {
        v = v << 1 | ((unsigned)row[b / 8] >> (7 - b % 8) & 1u);
    }
    return v;
}

static void
odd_widths_of_samples_are_unpacked(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 16 * 6; k++) {
        recipe r = base;
        uint8_t *pixels;
        mri_bytes tiff;
        mri_image image;
        size_t row;

        r.bits = (uint16_t)(k / 6 + 1);
        r.samples = k % 2 == 0 ? 1 : 3;
        r.compression = k % 3 == 0   ? COMPRESSION_NONE
                        : k % 3 == 1 ? COMPRESSION_LZW
                                     : COMPRESSION_PACKBITS;
        r.rows = r.samples == 1 && 32 * r.bits % 8 == 0 && k % 4 == 0 ? 0 : 7;
        if (r.bits % 8 == 0) {
            continue;
        }
        pixels = noise(page_bytes(&r));
        tiff = make_tiff(k % 5 == 0 ? "wb" : "wl", &r, 1, pixels);
        must_read(tiff.data, tiff.len, NULL, &image);
        assert_int_equal(image.dtype, r.bits < 8 ? MR_U8 : MR_U16);
        row = row_bytes(&r, r.width);
        for (size_t i = 0; i < (size_t)r.width * r.height * r.samples; i++) {
            size_t in = (size_t)r.width * r.samples;
            unsigned want = bits_at(pixels + i / in * row, i % in, r.bits);

            assert_int_equal(r.bits < 8 ? ((uint8_t *)image.pixels)[i]
                                        : ((uint16_t *)image.pixels)[i],
                             want);
        }
        mri_image_release(&image);
        mri_bytes_release(&tiff);
        free(pixels);
    }
}

static void
white_is_zero_is_not_turned_round(void **state)
{
    recipe r = base;

    (void)state;
    r.photometric = PHOTOMETRIC_MINISWHITE;
    check_round("wl", &r, MR_U8, "YX");
}

/* The same bits written in the other direction (FillOrder 2). */
static void
reversed_bits_are_turned_back(void **state)
{
    recipe r = base;
    uint8_t *pixels = noise(page_bytes(&r));
    mri_bytes tiff;
    mri_image image;

    (void)state;
    r.bits = 1;
    r.width = 44;
    r.fill_order = FILLORDER_LSB2MSB;
    tiff = make_tiff("wl", &r, 1, pixels);
    must_read(tiff.data, tiff.len, NULL, &image);
    for (size_t i = 0; i < image.bytes; i++) {
        assert_int_equal(
            ((uint8_t *)image.pixels)[i],
            bits_at(pixels + i / 44 * row_bytes(&r, 44), i % 44, 1));
    }
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
jpeg_in_a_tiff_becomes_rgb(void **state)
{
    static const uint32_t rows[] = {16, 0};

    (void)state;
    for (size_t k = 0; k < 4; k++) {
        recipe r = base;
        uint8_t *pixels;
        mri_bytes tiff;
        mri_image image;
        uint64_t off = 0;

        r.width = 64;
        r.height = 32;
        r.samples = 3;
        r.compression = COMPRESSION_JPEG;
        r.photometric = k < 2 ? PHOTOMETRIC_YCBCR : PHOTOMETRIC_RGB;
        r.rows = rows[k % 2];
        pixels = malloc(page_bytes(&r));
        for (size_t i = 0; i < page_bytes(&r); i++) {
            size_t x = i / 3 % 64, y = i / 192;

            pixels[i] = (uint8_t)(i % 3 == 0 ? 2 * x + 40 : 3 * y + x + 20);
        }
        tiff = make_tiff("wl", &r, 1, pixels);
        must_read(tiff.data, tiff.len, NULL, &image);
        assert_string_equal(image.axes, "YXC");
        for (size_t i = 0; i < image.bytes; i++) {
            off += (uint64_t)labs((long)pixels[i] -
                                  ((const uint8_t *)image.pixels)[i]);
        }
        assert_true(off < 8 * image.bytes); /* it is lossy, but the picture */
        mri_image_release(&image);
        mri_bytes_release(&tiff);
        free(pixels);
    }
}

/* libjpeg would fill the gap and warn: in a TIFF too that is damage. */
static void
a_damaged_jpeg_in_a_tiff_is_refused(void **state)
{
    mri_source_options lenient = with_lenient();
    recipe r = base;
    uint8_t *pixels = noise(page_bytes(&r));
    mri_bytes tiff;
    mri_image image;
    uint8_t *scan;

    (void)state;
    r.compression = COMPRESSION_JPEG;
    r.rows = 40;
    tiff = make_tiff("wl", &r, 1, pixels);
    scan = memmem(tiff.data, tiff.len, "\xff\xda", 2);
    assert_non_null(scan);
    for (size_t i = 0; i < 30; i++) { /* ones for ever: no Huffman code */
        scan[40 + 2 * i] = 0xff;
        scan[41 + 2 * i] = 0;
    }
    must_refuse_at(tiff.data, tiff.len, NULL, MRI_E_TIFF_DAMAGED, 8);
    must_read(tiff.data, tiff.len, &lenient, &image);
    assert_int_equal(image.repaired, 1);
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

/* Compressed pages by the hundred, each a sample: one handle sees one page. */
static void
many_compressed_pages_are_many_samples(void **state)
{
    enum { PAGES = 500 };
    static recipe pages[PAGES];
    mri_source_options o = mri_source_defaults();
    uint8_t *pixels = noise(PAGES * page_bytes(&base));
    mr_diag diag = {0};
    mri_bytes tiff;
    mri_image image;

    (void)state;
    for (size_t i = 0; i < PAGES; i++) {
        pages[i] = base;
        pages[i].compression = COMPRESSION_PACKBITS;
    }
    o.pages = MRI_PAGES_SAMPLE;
    for (size_t m = 0; m < MRI_COUNT(modes); m++) {
        tiff = make_tiff(modes[m], pages, PAGES, pixels);
        for (size_t i = 0; i < PAGES; i += 99) {
            assert_ok(read_one(tiff.data, tiff.len, &o, i, &image, &diag),
                      &diag);
            assert_memory_equal(image.pixels, pixels + i * image.bytes,
                                image.bytes);
            mri_image_release(&image);
        }
        mri_bytes_release(&tiff);
    }
    free(pixels);
}

static void
a_palette_is_painted_in_an_image_and_kept_in_a_label(void **state)
{
    /* times 257 and 256, as it is, and 16 bits: factor, then shift */
    static const unsigned ways[4][2] = {{257, 8}, {256, 8}, {1, 0}, {251, 0}};
    mri_source_options label = mri_source_defaults();

    (void)state;
    label.label = true;
    for (unsigned k = 0; k < 4 * 4; k++) {
        static uint16_t map[3 << 8];
        recipe r = base;
        uint8_t *pixels = noise(page_bytes(&r));
        mri_bytes tiff;
        mri_image image;

        r.bits = (uint16_t)(1u << k % 4);
        r.photometric = PHOTOMETRIC_PALETTE;
        r.palette = map;
        for (unsigned i = 0; i < 3u << r.bits; i++) {
            map[i] = (uint16_t)((i * 91 + 7) % 256 * ways[k / 4][0]);
        }
        tiff = make_tiff("wb", &r, 1, pixels);
        must_read(tiff.data, tiff.len, NULL, &image);
        assert_string_equal(image.axes, "YXC");
        assert_int_equal(image.dtype, k / 4 == 3 ? MR_U16 : MR_U8);
        for (size_t i = 0; i < (size_t)r.width * r.height * 3; i++) {
            size_t at = i / 3;
            unsigned v = bits_at(pixels + at / r.width * row_bytes(&r, r.width),
                                 at % r.width, r.bits);
            unsigned want = map[(i % 3 << r.bits) + v];

            want >>= ways[k / 4][1];
            assert_int_equal(image.dtype == MR_U8
                                 ? ((uint8_t *)image.pixels)[i]
                                 : ((uint16_t *)image.pixels)[i],
                             want);
        }
        mri_image_release(&image);
        must_read(tiff.data, tiff.len, &label, &image);
        assert_string_equal(image.axes, "YX");
        assert_int_equal(((uint8_t *)image.pixels)[1],
                         bits_at(pixels, 1, r.bits));
        mri_image_release(&image);
        mri_bytes_release(&tiff);
        free(pixels);
    }
}

static void
a_palette_of_16_bits_is_for_labels_only(void **state)
{
    static uint16_t map[3 << 16];
    mri_source_options label = mri_source_defaults();
    recipe r = base;
    uint8_t *pixels;
    mri_bytes tiff;
    mri_image image;

    (void)state;
    r.bits = 16;
    r.photometric = PHOTOMETRIC_PALETTE;
    r.palette = map;
    pixels = noise(page_bytes(&r));
    tiff = make_tiff("wl", &r, 1, pixels);
    must_refuse(tiff.data, tiff.len, NULL, MRI_E_TIFF_VARIANT);
    label.label = true;
    must_read(tiff.data, tiff.len, &label, &image);
    assert_memory_equal(image.pixels, pixels, image.bytes);
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
a_palette_of_greys_in_order_is_none(void **state)
{
    static const unsigned steps[] = {257, 256, 1};

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(steps); k++) {
        uint16_t map[768];
        recipe r = base;

        for (unsigned i = 0; i < 768; i++) {
            map[i] = (uint16_t)(i % 256 * steps[k]);
        }
        r.photometric = PHOTOMETRIC_PALETTE;
        r.palette = map;
        check_round("wl", &r, MR_U8, "YX");
    }
}

static void
look_tells_the_shape_without_the_pixels(void **state)
{
    recipe r = base;
    uint8_t *pixels = noise(page_bytes(&r));
    mri_bytes tiff;
    mri_source_bytes file = {0};
    mri_source *s = NULL;
    mri_image image;
    mr_diag diag = {0};

    (void)state;
    r.orientation = 6;
    tiff = make_tiff("wl", &r, 1, pixels);
    file.data = tiff.data;
    file.len = tiff.len;
    assert_ok(mri_source_open(&s, &file, NULL, NULL, &diag), &diag);
    assert_int_equal(mri_source_kind_of(s), MRI_SOURCE_TIFF);
    assert_int_equal(mri_source_count(s), 1);
    assert_ok(mri_source_look(s, 0, &image, &diag), &diag);
    assert_null(image.pixels);
    assert_int_equal(image.bytes, 45 * 37);
    assert_int_equal(image.geometry.orientation, 6);
    mri_image_release(&image);
    mri_source_close(s);
    mri_bytes_release(&tiff);
    free(pixels);
}

/* Cut anywhere, strips of every codec are refused, or nothing was missing. */
static void
every_cut_is_refused_or_harmless(void **state)
{
    (void)state;
    for (size_t c = 0; c < MRI_COUNT(codecs); c++) {
        recipe r = base;
        uint8_t *pixels = noise(page_bytes(&r));
        mri_bytes tiff;
        size_t harmless;

        r.compression = codecs[c];
        r.height = 20;
        tiff = make_tiff("wl", &r, 1, pixels);
        harmless = sweep_cuts(tiff.data, tiff.len, NULL);
        assert_true(harmless <= 4);
        must_refuse(tiff.data, tiff.len / 2, NULL, MRI_E_TIFF_SHORT);
        mri_bytes_release(&tiff);
        free(pixels);
    }
}

static void
random_damage_ends_in_order(void **state)
{
    mri_source_options lenient = with_lenient();
    static const uint16_t all[] = {COMPRESSION_NONE,     COMPRESSION_LZW,
                                   COMPRESSION_PACKBITS, COMPRESSION_DEFLATE,
                                   COMPRESSION_ZSTD,     COMPRESSION_JPEG};

    (void)state;
    for (size_t c = 0; c < MRI_COUNT(all); c++) {
        recipe r[2] = {base, base};
        uint8_t *pixels;
        mri_bytes tiff;

        r[0].compression = r[1].compression = all[c];
        r[0].rows = all[c] == COMPRESSION_JPEG ? 8 : 7;
        r[1].rows = 0;
        r[0].height = r[1].height = 20;
        pixels = noise(2 * page_bytes(r));
        tiff = make_tiff(c % 2 == 0 ? "wl" : "wb8", r, 2, pixels);
        sweep_damage(tiff.data, tiff.len, NULL, 1500);
        sweep_damage(tiff.data, tiff.len, &lenient, 1500);
        mri_bytes_release(&tiff);
        free(pixels);
    }
}

static void
lenient_leaves_damaged_pieces_black(void **state)
{
    mri_source_options lenient = with_lenient();
    recipe r = base;
    uint8_t *pixels = noise(page_bytes(&r));
    mri_bytes tiff;
    mri_image image;
    const uint8_t *got;

    (void)state;
    r.compression = COMPRESSION_DEFLATE;
    tiff = make_tiff("wl", &r, 1, pixels);
    tiff.data[8] ^= 0xff; /* the first strip's zlib header */
    must_refuse_at(tiff.data, tiff.len, NULL, MRI_E_TIFF_DAMAGED, 8);
    must_read(tiff.data, tiff.len, &lenient, &image);
    got = image.pixels;
    assert_int_equal(image.repaired, 1);
    assert_true(mri_all_zero(got, 45 * 7));
    assert_memory_equal(got + 45 * 7, pixels + 45 * 7, 45 * 30);
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
memory_may_fail_at_any_call(void **state)
{
    uint16_t map[3 << 4] = {1, 2, 3};
    recipe r = base;
    uint8_t *pixels = noise(page_bytes(&r));
    mri_bytes tiff;

    (void)state;
    r.bits = 4;
    r.photometric = PHOTOMETRIC_PALETTE;
    r.palette = map;
    r.compression = COMPRESSION_LZW;
    tiff = make_tiff("wl", &r, 1, pixels);
    sweep_memory(tiff.data, tiff.len, NULL);
    mri_bytes_release(&tiff);
    free(pixels);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_codec_and_byte_order_comes_back),
        cmocka_unit_test(every_arrangement_of_pixels_comes_back),
        cmocka_unit_test(predictors_are_undone),
        cmocka_unit_test(odd_widths_of_samples_are_unpacked),
        cmocka_unit_test(white_is_zero_is_not_turned_round),
        cmocka_unit_test(reversed_bits_are_turned_back),
        cmocka_unit_test(jpeg_in_a_tiff_becomes_rgb),
        cmocka_unit_test(a_damaged_jpeg_in_a_tiff_is_refused),
        cmocka_unit_test(many_compressed_pages_are_many_samples),
        cmocka_unit_test(a_palette_is_painted_in_an_image_and_kept_in_a_label),
        cmocka_unit_test(a_palette_of_16_bits_is_for_labels_only),
        cmocka_unit_test(a_palette_of_greys_in_order_is_none),
        cmocka_unit_test(look_tells_the_shape_without_the_pixels),
        cmocka_unit_test(every_cut_is_refused_or_harmless),
        cmocka_unit_test(random_damage_ends_in_order),
        cmocka_unit_test(lenient_leaves_damaged_pieces_black),
        cmocka_unit_test(memory_may_fail_at_any_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
