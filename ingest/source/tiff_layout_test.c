/* SPDX-License-Identifier: Apache-2.0 */
#include "tiff_make.h"

static const recipe base = {
    .width = 6,
    .height = 5,
    .samples = 1,
    .bits = 8,
    .format = SAMPLEFORMAT_UINT,
    .compression = COMPRESSION_NONE,
    .photometric = PHOTOMETRIC_MINISBLACK,
    .rows = 5,
};

/* A stack of `count` equal pages, the first with a description. */
static mri_bytes
stack_of(size_t count, const char *description, uint8_t **pixels)
{
    recipe pages[32];

    assert_true(count <= MRI_COUNT(pages));
    for (size_t i = 0; i < count; i++) {
        pages[i] = base;
    }
    pages[0].description = description;
    *pixels = noise(count * page_bytes(&base));
    return make_tiff("wl", pages, count, *pixels);
}

static void
check_shape(const mri_image *image, const char *axes, const uint64_t *shape)
{
    assert_string_equal(image->axes, axes);
    for (size_t i = 0; i < strlen(axes); i++) {
        assert_int_equal(image->shape[i], shape[i]);
    }
}

/* The whole stack in the file's order, under these axes. */
static void
check_stack(size_t count, const char *text, const char *axes,
            const uint64_t *shape)
{
    uint8_t *pixels;
    mri_bytes tiff = stack_of(count, text, &pixels);
    mri_image image;

    must_read(tiff.data, tiff.len, NULL, &image);
    check_shape(&image, axes, shape);
    assert_int_equal(image.bytes, count * page_bytes(&base));
    assert_memory_equal(image.pixels, pixels, image.bytes);
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

#define SHAPE(...) ((const uint64_t[]){__VA_ARGS__})

static void
equal_pages_are_depth_if_nothing_is_said(void **state)
{
    (void)state;
    check_stack(7, NULL, "ZYX", SHAPE(7, 5, 6));
    check_stack(1, NULL, "YX", SHAPE(5, 6));
    check_stack(3, "a text about nothing", "ZYX", SHAPE(3, 5, 6));
}

static void
pages_are_what_the_user_says(void **state)
{
    static const char text[] = "ImageJ=1.53t\nimages=6\nslices=6\n";
    uint8_t *pixels;
    mri_bytes tiff = stack_of(6, text, &pixels);
    mri_source_options o = mri_source_defaults();
    mr_diag diag = {0};
    mri_image image;

    (void)state;
    o.pages = MRI_PAGES_CHANNEL;
    must_read(tiff.data, tiff.len, &o, &image);
    check_shape(&image, "CYX", SHAPE(6, 5, 6));
    mri_image_release(&image);
    o.pages = MRI_PAGES_DEPTH;
    must_read(tiff.data, tiff.len, &o, &image);
    check_shape(&image, "ZYX", SHAPE(6, 5, 6));
    mri_image_release(&image);
    o.pages = MRI_PAGES_SAMPLE;
    assert_ok(read_one(tiff.data, tiff.len, &o, 5, &image, &diag), &diag);
    check_shape(&image, "YX", SHAPE(5, 6));
    assert_memory_equal(image.pixels, pixels + 5 * 30, 30);
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
unequal_pages_are_a_sample_each(void **state)
{
    recipe pages[3] = {base, base, base};
    uint8_t *pixels = noise(500);
    mri_source_bytes file = {0};
    mri_source *s = NULL;
    mr_diag diag = {0};
    mri_image image;
    mri_bytes tiff;

    (void)state;
    pages[1].width = 9;
    pages[2].bits = 16;
    tiff = make_tiff("wl", pages, 3, pixels);
    file.data = tiff.data;
    file.len = tiff.len;
    assert_ok(mri_source_open(&s, &file, NULL, NULL, &diag), &diag);
    assert_int_equal(mri_source_count(s), 3);
    assert_ok(mri_source_read(s, 1, &image, &diag), &diag);
    check_shape(&image, "YX", SHAPE(5, 9));
    assert_memory_equal(image.pixels, pixels + 30, 45);
    mri_image_release(&image);
    assert_ok(mri_source_read(s, 2, &image, &diag), &diag);
    assert_int_equal(image.dtype, MR_U16);
    mri_image_release(&image);
    mri_source_close(s);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
thumbnails_and_masks_are_no_pages(void **state)
{
    recipe pages[4] = {base, base, base, base};
    uint8_t *pixels = noise(500);
    mri_image image;
    mri_bytes tiff;

    (void)state;
    pages[1].subfile = FILETYPE_REDUCEDIMAGE;
    pages[1].width = 3;
    pages[2].subfile = FILETYPE_MASK;
    tiff = make_tiff("wl", pages, 4, pixels);
    must_read(tiff.data, tiff.len, NULL, &image);
    check_shape(&image, "ZYX", SHAPE(2, 5, 6));
    assert_int_equal(image.dropped[MRI_DROP_REDUCED], 2);
    assert_memory_equal((uint8_t *)image.pixels + 30, pixels + 30 + 15 + 30,
                        30);
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    for (int i = 0; i < 4; i++) { /* nothing else: then they are */
        pages[i] = base;
        pages[i].subfile = FILETYPE_REDUCEDIMAGE;
    }
    tiff = make_tiff("wl", pages, 4, pixels);
    must_read(tiff.data, tiff.len, NULL, &image);
    check_shape(&image, "ZYX", SHAPE(4, 5, 6));
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
imagej_names_the_axes(void **state)
{
    (void)state;
    check_stack(12,
                "ImageJ=1.53t\nimages=12\nchannels=2\nslices=3\nframes=2\n"
                "hyperstack=true\n",
                "TZCYX", SHAPE(2, 3, 2, 5, 6));
    check_stack(6, "ImageJ=1.53t\r\nimages=6\r\nchannels=6\r\n", "CYX",
                SHAPE(6, 5, 6));
    check_stack(6, "ImageJ=1.53t\nimages=6\n", "ZYX", SHAPE(6, 5, 6));
    check_stack(4, "ImageJ=1.53t\nframes=4\nxslices=9\n", "TYX",
                SHAPE(4, 5, 6));
    /* numbers that do not fit the pages are not followed */
    check_stack(5, "ImageJ=1.53t\nchannels=2\nslices=3\n", "ZYX",
                SHAPE(5, 5, 6));
    check_stack(5, "ImageJ=1.53t\nslices=99999999999999999999\n", "ZYX",
                SHAPE(5, 5, 6));
    check_stack(2,
                "ImageJ=\nchannels=999999999999999999\nslices=999999999999\n",
                "ZYX", SHAPE(2, 5, 6));
}

static void
imagej_tells_the_size_of_pixels(void **state)
{
    recipe pages[3] = {base, base, base};
    uint8_t *pixels = noise(500);
    mri_image image;
    mri_bytes tiff;

    (void)state;
    pages[0].description = "ImageJ=1.53t\nimages=3\nslices=3\nunit=micron\n"
                           "spacing=2.5\n";
    pages[0].resolution = 4;
    tiff = make_tiff("wl", pages, 3, pixels);
    must_read(tiff.data, tiff.len, NULL, &image);
    assert_true(image.geometry.spacing[0] == 0.0025);
    assert_true(image.geometry.spacing[1] == 0.125 / 1000);
    assert_true(image.geometry.spacing[2] == 0.25 / 1000);
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

/* ImageJ writes large stacks as one directory with all images behind it. */
static void
one_directory_may_stand_for_all_images(void **state)
{
    static const char text[] = "ImageJ=1.53t\nimages=4\nslices=4\n";
    mri_source_options o = mri_source_defaults();
    hand h = hand_grey();
    mri_image image;

    (void)state;
    hand_tag(&h, TIFFTAG_IMAGEDESCRIPTION, 2, sizeof text, 150);
    hand_next(&h, 0);
    hand_pixels(&h);
    memcpy(h.bytes.data + 150, text, sizeof text);
    must_refuse_at(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_SHORT, 8);
    o.pages = MRI_PAGES_SAMPLE; /* as the directories say */
    assert_int_equal(read_all(h.bytes.data, h.bytes.len, &o), MR_OK);
    assert_true(mri_bytes_zero(&h.bytes, 47));
    must_refuse(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_SHORT);
    assert_true(mri_bytes_zero(&h.bytes, 1));
    memset(h.bytes.data + 230, 7, 20);
    must_read(h.bytes.data, h.bytes.len, NULL, &image);
    check_shape(&image, "ZYX", SHAPE(4, 4, 4));
    assert_memory_equal(image.pixels, h.bytes.data + 200, 64);
    mri_image_release(&image);
    hand_set(&h, TIFFTAG_STRIPOFFSETS, 4); /* over the directory itself */
    must_refuse(h.bytes.data, h.bytes.len, NULL, MRI_E_TIFF_SHORT);
    mri_bytes_release(&h.bytes);
}

static void
tifffile_names_the_axes(void **state)
{
    (void)state;
    check_stack(6, "{\"shape\": [2, 3, 5, 6], \"axes\": \"TCYX\"}", "TCYX",
                SHAPE(2, 3, 5, 6));
    check_stack(6, "{\"shape\": [2, 3, 5, 6]}", "QZYX", SHAPE(2, 3, 5, 6));
    check_stack(6, "{\"shape\": [6, 5, 6]}", "ZYX", SHAPE(6, 5, 6));
    check_stack(6, "{\"shape\": [6, 5, 6], \"axes\": \"YYX\"}", "ZYX",
                SHAPE(6, 5, 6));
    check_stack(6, "{\"shape\": [6, 5, 6], \"axes\": \"CYX", "ZYX",
                SHAPE(6, 5, 6));
    check_stack(6, "{\"shape\": [7, 5, 6], \"axes\": \"CYX\"}", "ZYX",
                SHAPE(6, 5, 6));
    check_stack(6, "{\"shape\": [6, 6, 5], \"axes\": \"CYX\"}", "ZYX",
                SHAPE(6, 5, 6));
    check_stack(6, "{\"shape\": [6, 5,", "ZYX", SHAPE(6, 5, 6));
    check_stack(6, "{\"shape\": [6, -5, 6]}", "ZYX", SHAPE(6, 5, 6));
    check_stack(6, "{\"shape\": [", "ZYX", SHAPE(6, 5, 6));
    check_stack(2, "{\"shape\": [2,1,1,1,1,1,1,1,1,1,5,6]}", "ZYX",
                SHAPE(2, 5, 6));
}

#define OME(order, c, z, t, inner)                                             \
    "<?xml version=\"1.0\"?><!-- <Pixels> --><OME><Image ID=\"Image:0\">"      \
    "<Pixels DimensionOrder=\"" order "\" SizeX=\"6\" SizeY=\"5\" SizeC=\"" c  \
    "\" SizeZ=\"" z "\" SizeT=\"" t "\">" inner "</Pixels></Image></OME>"

static void
ome_names_the_axes(void **state)
{
    (void)state;
    check_stack(12, OME("XYCZT", "2", "3", "2", "<TiffData/>"), "TZCYX",
                SHAPE(2, 3, 2, 5, 6));
    check_stack(12, OME("XYZTC", "2", "3", "2", "<TiffData/>"), "CTZYX",
                SHAPE(2, 2, 3, 5, 6));
    check_stack(3, OME("XYZCT", "1", "3", "1", ""), "ZYX", SHAPE(3, 5, 6));
    check_stack(1, OME("XYZCT", "1", "1", "1", ""), "YX", SHAPE(5, 6));
    check_stack(3,
                "<ome:OME xmlns:ome='x'><ome:Image><ome:Pixels SizeC='3' "
                "SizeZ='1' SizeT='1' DimensionOrder='XYCZT'/></ome:Image>",
                "CYX", SHAPE(3, 5, 6));
}

/* Texts that do not fit the pages, or are no XML, are not followed. */
static void
ome_that_does_not_fit_is_not_followed(void **state)
{
    static const char *const texts[] = {
        OME("XYCZT", "2", "3", "1", "<TiffData/>"),
        OME("XYCZT", "0", "3", "1", "<TiffData/>"),
        OME("XYABC", "5", "1", "1", "<TiffData/>"),
        OME("YXCZT", "5", "1", "1", "<TiffData/>"),
        OME("XYCZT", "5", "1", "1", "<TiffData IFD=\"4\" PlaneCount=\"5\"/>"),
        OME("XYCZT", "5", "1", "1", "<TiffData IFD=\"5\"/>"),
        OME("XYCZT", "5", "1", "1", "<TiffData IFD=\"0\"/>"),
        OME("XYCZT", "5", "1", "1", "<TiffData FirstC=\"5\"/>"),
        OME("XYCZT", "99999999999", "99999999999", "9", ""),
        OME("XYCZT", "18446744073709551617", "1", "1", ""),
        "<OME><Pixels",
        "<OME><Pixels DimensionOrder=\"XYCZT",
        "<OME><",
        "<OME",
        "<OME><!--",
        "<OME><Pixels DimensionOrder='XYCZT' SizeC='5'></Pixels>",
        "<OME><Pixels = = '' a=' b=\"></Pixels>",
        "<notOME/>",
        /* a set of files: the page stands for planes of other files too */
        OME("XYCZT", "5", "1", "1",
            "<TiffData IFD=\"0\"><UUID FileName=\"a\"/></TiffData>"
            "<TiffData IFD=\"0\" FirstC=\"1\"><UUID FileName=\"b\"/>"
            "</TiffData>"),
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(texts); i++) {
        check_stack(5, texts[i], "ZYX", SHAPE(5, 5, 6));
    }
    check_stack(2,
                OME("XYCZT", "2", "1", "1",
                    "<TiffData IFD=\"0\"><UUID FileName=\"a\"/></TiffData>"
                    "<TiffData IFD=\"0\" FirstC=\"1\"><UUID FileName=\"b\"/>"
                    "</TiffData>"),
                "ZYX", SHAPE(2, 5, 6));
}

static void
ome_orders_pages_and_names_channels(void **state)
{
    static const char text[] =
        OME("XYCZT\" PhysicalSizeX=\"0.25\" PhysicalSizeY=\"500\" "
            "PhysicalSizeYUnit=\"nm\" TimeIncrement=\"1.5",
            "2", "1", "2",
            "<Channel Name=\"DAPI &amp; more\"/><Channel Name='G&lt;FP'/>"
            "<TiffData IFD=\"3\" FirstT=\"0\" FirstC=\"0\"/>"
            "<TiffData IFD=\"1\" FirstT=\"0\" FirstC=\"1\"/>"
            "<TiffData IFD=\"2\" FirstT=\"1\" FirstC=\"0\"/>"
            "<TiffData IFD=\"0\" FirstT=\"1\" FirstC=\"1\"/>");
    static const size_t order[] = {3, 1, 2, 0};
    uint8_t *pixels, *name;
    mri_bytes tiff = stack_of(4, text, &pixels);
    mri_image image;

    (void)state;
    must_read(tiff.data, tiff.len, NULL, &image);
    check_shape(&image, "TCYX", SHAPE(2, 2, 5, 6));
    for (size_t i = 0; i < 4; i++) {
        assert_memory_equal((uint8_t *)image.pixels + 30 * i,
                            pixels + 30 * order[i], 30);
    }
    assert_int_equal(image.geometry.channel_count, 2);
    assert_string_equal(image.geometry.channels[0], "DAPI & more");
    assert_string_equal(image.geometry.channels[1], "G<FP");
    assert_true(image.geometry.spacing[0] == 1.5);
    assert_true(image.geometry.spacing[2] == 0.0005);
    assert_true(image.geometry.spacing[3] == 0.00025);
    mri_image_release(&image);
    name = memmem(tiff.data, tiff.len, "DAPI", 4);
    name[0] = 0xff; /* not UTF-8: no name rather than a broken one */
    must_read(tiff.data, tiff.len, NULL, &image);
    assert_string_equal(image.geometry.channels[0], "");
    assert_string_equal(image.geometry.channels[1], "G<FP");
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
every_image_of_an_ome_text_is_a_sample(void **state)
{
    static const char text[] =
        "<OME><Image><Pixels DimensionOrder='XYZCT' SizeC='1' SizeZ='2' "
        "SizeT='1'><Channel/><TiffData IFD='0' PlaneCount='2'/></Pixels>"
        "</Image><Image><Pixels DimensionOrder='XYZCT' SizeC='3' SizeZ='1' "
        "SizeT='1'><Channel/><Channel/><Channel/><TiffData IFD='2' "
        "PlaneCount='3'/></Pixels></Image></OME>";
    uint8_t *pixels;
    mri_bytes tiff = stack_of(5, text, &pixels);
    mr_diag diag = {0};
    mri_image image;

    (void)state;
    must_read(tiff.data, tiff.len, NULL, &image);
    check_shape(&image, "ZYX", SHAPE(2, 5, 6));
    mri_image_release(&image);
    assert_ok(read_one(tiff.data, tiff.len, NULL, 1, &image, &diag), &diag);
    check_shape(&image, "CYX", SHAPE(3, 5, 6));
    assert_memory_equal(image.pixels, pixels + 60, 90);
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
samples_are_called_s_where_c_is_taken(void **state)
{
    recipe pages[2] = {base, base};
    uint8_t *pixels;
    mri_source_options o = mri_source_defaults();
    mri_image image;
    mri_bytes tiff;

    (void)state;
    pages[0].samples = pages[1].samples = 3;
    pages[0].photometric = pages[1].photometric = PHOTOMETRIC_RGB;
    pixels = noise(2 * page_bytes(pages));
    tiff = make_tiff("wl", pages, 2, pixels);
    o.pages = MRI_PAGES_CHANNEL;
    must_read(tiff.data, tiff.len, &o, &image);
    check_shape(&image, "CYXS", SHAPE(2, 5, 6, 3));
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    pages[0].planar = pages[1].planar = true;
    tiff = make_tiff("wl", pages, 2, pixels);
    must_read(tiff.data, tiff.len, NULL, &image);
    check_shape(&image, "ZCYX", SHAPE(2, 3, 5, 6));
    mri_image_release(&image);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
a_text_is_kept_on_request_and_bounded(void **state)
{
    static const char text[] = "made by somebody";
    uint8_t *pixels;
    mri_bytes tiff = stack_of(1, text, &pixels);
    mri_source_options o = mri_source_defaults();
    mri_image image;
    uint8_t *at;

    (void)state;
    must_read(tiff.data, tiff.len, NULL, &image);
    assert_null(image.text);
    assert_int_equal(image.dropped[MRI_DROP_TEXT], sizeof text);
    mri_image_release(&image);
    o.keep_text = true;
    must_read(tiff.data, tiff.len, &o, &image);
    assert_string_equal(image.text, text);
    mri_image_release(&image);
    at = memmem(tiff.data, tiff.len, "somebody", 8);
    at[1] = 0xf6; /* Latin-1 */
    must_read(tiff.data, tiff.len, &o, &image);
    assert_string_equal(image.text, "made by s\xc3\xb6"
                                    "mebody");
    mri_image_release(&image);
    o.limits.text_bytes = sizeof text - 2;
    must_refuse(tiff.data, tiff.len, &o, MRI_E_SOURCE_LIMIT);
    mri_bytes_release(&tiff);
    free(pixels);
}

static void
damaged_texts_end_in_order(void **state)
{
    static const char text[] =
        OME("XYCZT", "2", "1", "2",
            "<Channel Name=\"DAPI\"/><Channel Name='GFP'/><TiffData IFD=\"3\"/>"
            "<TiffData IFD=\"1\" FirstC=\"1\" PlaneCount=\"2\"/>");
    uint8_t *pixels;
    mri_bytes tiff = stack_of(4, text, &pixels);

    (void)state;
    sweep_damage(tiff.data, tiff.len, NULL, 20000);
    sweep_memory(tiff.data, tiff.len, NULL);
    mri_bytes_release(&tiff);
    free(pixels);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_pages_are_depth_if_nothing_is_said),
        cmocka_unit_test(pages_are_what_the_user_says),
        cmocka_unit_test(unequal_pages_are_a_sample_each),
        cmocka_unit_test(thumbnails_and_masks_are_no_pages),
        cmocka_unit_test(imagej_names_the_axes),
        cmocka_unit_test(imagej_tells_the_size_of_pixels),
        cmocka_unit_test(one_directory_may_stand_for_all_images),
        cmocka_unit_test(tifffile_names_the_axes),
        cmocka_unit_test(ome_names_the_axes),
        cmocka_unit_test(ome_that_does_not_fit_is_not_followed),
        cmocka_unit_test(ome_orders_pages_and_names_channels),
        cmocka_unit_test(every_image_of_an_ome_text_is_a_sample),
        cmocka_unit_test(samples_are_called_s_where_c_is_taken),
        cmocka_unit_test(a_text_is_kept_on_request_and_bounded),
        cmocka_unit_test(damaged_texts_end_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
