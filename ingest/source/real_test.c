/* SPDX-License-Identifier: Apache-2.0 */
/*
 * real_test.c - files that nobody here made (MILLRACE_REAL_DATA, or
 * ../shared/data beside the tree): what each of them is read as, or why it is
 * refused. Skipped where they are not.
 */
#include "testing.h"

#include <mri/file.h>

#include <stdio.h>
#include <sys/stat.h>

typedef struct expected {
    const char *name;
    mri_code refused; /* 0: it is read ... */
    mr_dtype dtype;   /* ... as this */
    const char *axes;
    uint64_t shape[4];
} expected;

#define READ(name, dtype, axes, ...)                                           \
    {                                                                          \
        name, 0, dtype, axes,                                                  \
        {                                                                      \
            __VA_ARGS__                                                        \
        }                                                                      \
    }
#define REFUSED(name, code)                                                    \
    {                                                                          \
        name, MRI_E_##code, MR_NONE, "",                                       \
        {                                                                      \
            0                                                                  \
        }                                                                      \
    }
#define T "tiff/libtiff/"
#define N "nifti/"

static const expected files[] = {
    READ("cells/fly/01_POS002_D.TIF", MR_U8, "YX", 1006, 1000),
    READ("cells/fly/01_POS218_R.TIF", MR_U8, "YX", 1006, 1000),
    READ("cells/human/AS_09125_050116030001_D03f00d0.tif", MR_U8, "YX", 512,
         512),
    READ("cells/human/AS_09125_050116030001_D03f00d2.tif", MR_U8, "YX", 512,
         512),
    READ("deepliif/train/Bladder1.png", MR_U8, "YXC", 512, 3072, 3),
    READ("deepliif/test/groundtruth/6_2.png", MR_U8, "YXC", 512, 512, 3),
    REFUSED("deepliif/val/metrics.json", SOURCE_UNKNOWN),
    READ("images/ihc.png", MR_U8, "YXC", 512, 512, 3),
    READ("images/retina.jpg", MR_U8, "YXC", 1411, 1411, 3),
    READ(N "mni152/t1.nii.gz", MR_U8, "ZYX", 189, 233, 197),
    READ(N "mni152/gm.nii.gz", MR_U8, "ZYX", 189, 233, 197),
    READ(N "mni152/wm.nii.gz", MR_U8, "ZYX", 189, 233, 197),
    READ(N "nibabel/anatomical.nii", MR_I16, "ZYX", 25, 41, 33),
    READ(N "nibabel/example4d.nii.gz", MR_I16, "TZYX", 2, 24, 96, 128),
    READ(N "nibabel/example_nifti2.nii.gz", MR_I16, "TZYX", 2, 12, 20, 32),
    READ(N "nibabel/functional.nii", MR_I16, "TZYX", 20, 3, 21, 17),
    READ(N "nibabel/reoriented_anat_moved.nii", MR_F32, "ZYX", 22, 26, 21),
    READ(N "nibabel/someones_anatomy.nii.gz", MR_U8, "ZYX", 56, 67, 57),
    READ(N "nibabel/standard.nii.gz", MR_U8, "ZYX", 7, 5, 4),
    READ(N "niivue/chris_t1.nii.gz", MR_U8, "ZYX", 190, 256, 188),
    READ(N "niivue/pcasl.nii.gz", MR_F32, "TZYX", 10, 20, 68, 52),
    READ(T "32bpp-None-jpeg.tiff", MR_U8, "YXC", 20, 162, 3),
    READ(T "32bpp-None.tiff", MR_U8, "YXC", 20, 162, 4),
    READ(T "custom_dir_EXIF_GPS.tiff", MR_U8, "YXC", 1, 1, 3),
    READ(T "deflate-last-strip-extra-data.tiff", MR_U8, "YX", 500, 500),
    REFUSED(T "logluv-3c-16b.tiff", TIFF_VARIANT),
    READ(T "lzw-single-strip.tiff", MR_U8, "YX", 3122, 7795),
    READ(T "minisblack-1c-16b.tiff", MR_U16, "YX", 151, 157),
    READ(T "minisblack-1c-8b.tiff", MR_U8, "YX", 151, 157),
    READ(T "minisblack-2c-8b-alpha.tiff", MR_U8, "CYX", 2, 64, 64),
    READ(T "miniswhite-1c-1b.tiff", MR_U8, "YX", 151, 157),
    REFUSED(T "ojpeg_chewey_subsamp21_multi_strip.tiff", TIFF_VARIANT),
    REFUSED(T "ojpeg_single_strip_no_rowsperstrip.tiff", TIFF_VARIANT),
    REFUSED(T "ojpeg_zackthecat_subsamp22_single_strip.tiff", TIFF_VARIANT),
    READ(T "palette-1c-1b.tiff", MR_U8, "YXC", 151, 157, 3),
    READ(T "palette-1c-4b.tiff", MR_U16, "YXC", 151, 157, 3),
    READ(T "palette-1c-8b.tiff", MR_U16, "YXC", 151, 157, 3),
    READ(T "quad-lzw-compat.tiff", MR_U8, "YXC", 384, 512, 3),
    READ(T "quad-tile.jpg.tiff", MR_U8, "YXC", 384, 512, 3),
    READ(T "rgb-3c-16b.tiff", MR_U16, "YXC", 151, 157, 3),
    READ(T "rgb-3c-8b.tiff", MR_U8, "YXC", 151, 157, 3),
    READ(T "test_float64_predictor2_be_lzw.tif", MR_F64, "YX", 20, 20),
    READ(T "test_float64_predictor2_le_lzw.tif", MR_F64, "YX", 20, 20),
    REFUSED(T "test_ifd_loop_subifd.tif", TIFF_LOOP),
    REFUSED(T "test_ifd_loop_to_first.tif", TIFF_LOOP),
    REFUSED(T "test_ifd_loop_to_self.tif", TIFF_LOOP),
    READ(T "test_two_ifds.tif", MR_U8, "ZYX", 2, 1, 1),
    REFUSED(T "testfax3_bug54_1dnoEOL.tif", TIFF_VARIANT),
    REFUSED(T "testfax3_bug_513.tiff", TIFF_VARIANT),
    REFUSED(T "testfax4.tiff", TIFF_VARIANT),
    READ(T "tiff_with_subifd_chain.tif", MR_U8, "ZYX", 2, 512, 1024),
    REFUSED(T "webp_lossless_rgba_alpha_fully_opaque.tif", TIFF_VARIANT),
    READ("tiff/skimage/chessboard_GRAY_U16.tif", MR_U16, "YX", 200, 200),
    READ("tiff/skimage/chessboard_GRAY_U16B.tif", MR_U16, "YX", 200, 200),
    READ("yogo/img_of_blood.png", MR_U8, "YX", 772, 1032),
    REFUSED("yogo/tests/fake-data/data/images1/img_1.png", SOURCE_EMPTY),
    REFUSED("README.md", SOURCE_UNKNOWN),
};

static char folder[4096];

/* The tree's root is three folders up from this file. */
static bool
find_folder(void)
{
    const char *set = getenv("MILLRACE_REAL_DATA");
    char root[sizeof folder - 64] = __FILE__;
    struct stat st;

    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(root, '/');

        if (slash != NULL) {
            *slash = '\0';
        }
    }
    if (set != NULL) {
        (void)snprintf(folder, sizeof folder, "%s", set);
    } else {
        (void)snprintf(folder, sizeof folder, "%s/../shared/data", root);
    }
    return stat(folder, &st) == 0 && S_ISDIR(st.st_mode);
}

static mri_bytes
load(const char *name)
{
    char path[sizeof folder + 256];
    mri_bytes bytes = {0};
    mr_diag diag = {0};

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_ok(mri_file_load(path, 1u << 30, &bytes, &diag), &diag);
    return bytes;
}

static void
every_file_is_read_or_refused_as_listed(void **state)
{
    (void)state;
    for (size_t i = 0; i < MRI_COUNT(files); i++) {
        const expected *e = &files[i];
        mri_bytes b = load(e->name);
        mri_image image;
        mr_diag diag = {0};
        mr_err err = read_one(b.data, b.len, NULL, 0, &image, &diag);

        print_message("  %-52s %s\n", e->name,
                      err == MR_OK ? image.axes : diag.text);
        assert_int_equal(diag.code, e->refused);
        assert_int_equal(image.dtype, e->dtype);
        assert_string_equal(err == MR_OK ? image.axes : "", e->axes);
        for (size_t k = 0; k < strlen(e->axes); k++) {
            assert_int_equal(image.shape[k], e->shape[k]);
        }
        mri_image_release(&image);
        mri_bytes_release(&b);
    }
}

static void
both_byte_orders_of_one_picture_are_equal(void **state)
{
    mri_bytes a = load("tiff/skimage/chessboard_GRAY_U16.tif");
    mri_bytes b = load("tiff/skimage/chessboard_GRAY_U16B.tif");
    mri_image x, y;

    (void)state;
    must_read(a.data, a.len, NULL, &x);
    must_read(b.data, b.len, NULL, &y);
    assert_true(same_image(&x, &y));
    mri_image_release(&x);
    mri_image_release(&y);
    mri_bytes_release(&a);
    mri_bytes_release(&b);
}

/* Cut at a hundred places: refused, or nothing that a pixel needs was lost. */
static void
cut_files_are_refused_or_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < MRI_COUNT(files); i++) {
        mri_bytes b = load(files[i].name);
        mri_image whole;

        if (files[i].refused == 0 && b.len < 300000) {
            must_read(b.data, b.len, NULL, &whole);
            for (size_t k = 0; k < 100; k++) {
                mri_image image;

                if (read_one(b.data, b.len * k / 100, NULL, 0, &image, NULL) ==
                    MR_OK) {
                    assert_true(same_image(&image, &whole));
                }
                mri_image_release(&image);
            }
            mri_image_release(&whole);
        }
        mri_bytes_release(&b);
    }
}

static void
damaged_files_end_in_order(void **state)
{
    mri_source_options lenient = with_lenient();

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(files); i++) {
        mri_bytes b = load(files[i].name);

        if (b.len > 8 && b.len < 100000) {
            sweep_damage(b.data, b.len, NULL, 100);
            sweep_damage(b.data, b.len, &lenient, 100);
        }
        mri_bytes_release(&b);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_read_or_refused_as_listed),
        cmocka_unit_test(both_byte_orders_of_one_picture_are_equal),
        cmocka_unit_test(cut_files_are_refused_or_whole),
        cmocka_unit_test(damaged_files_end_in_order),
    };

    if (!find_folder()) {
        print_message("skipped: no real data (MILLRACE_REAL_DATA)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
