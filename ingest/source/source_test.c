/* SPDX-License-Identifier: Apache-2.0 */
#include "tiff_make.h"

#include <mri/thread.h>

static void
expect_name(const void *p, size_t len, const char *name)
{
    mri_source_kind kind = MRI_SOURCE_JPEG;
    mr_diag diag = {0};

    assert_fails(mri_source_recognise(&kind, NULL, p, len, &diag), MR_EFORMAT);
    assert_int_equal(diag.code, MRI_E_SOURCE_FOREIGN);
    if (strstr(diag.text, name) == NULL) {
        print_error("%s\n", diag.text);
    }
    assert_non_null(strstr(diag.text, name));
    assert_non_null(strstr(diag.text, "millrace does not read"));
}

static void
foreign_kinds_are_named_with_a_remedy(void **state)
{
    uint8_t block[512] = "anything";

    (void)state;
    expect_name("\x89HDF\r\n\x1a\n", 8, "HDF5");
    expect_name("PK\x03\x04....", 8, "ZIP");
    expect_name("BM......", 8, "BMP");
    expect_name("GIF89a", 6, "GIF");
    expect_name("RIFF\0\0\0\0WEBPVP8 ", 16, "WebP");
    expect_name("\x93NUMPY\1", 7, "NumPy");
    expect_name("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 8, "compound");
    expect_name("version https://git-lfs.github.com/spec/v1", 42, "Git LFS");
    expect_name("\x89PNG\n\x1a\n\0", 8, "text mode");
    expect_name("\x1f\x8b\x08\0\0\0\0\0\0\0", 10, "gzip");
    expect_name("\0\0\0\0\0\0\0\0\0\0\0\0\0", 13, "zeros");
    expect_name("\0\0\0\x1c"
                "ftypavif",
                12, "AVIF");
    memcpy(block + 128, "DICM", 4);
    expect_name(block, sizeof block, "DICOM");
    memset(block, 0, sizeof block);
    memcpy(block + 128, "DICM", 4); /* its preamble is zeros */
    expect_name(block, sizeof block, "DICOM");
    memset(block, 1, sizeof block);
    mri_put32(block, 348);
    expect_name(block, sizeof block, "ANALYZE");
    memcpy(block + 257, "ustar", 5);
    expect_name(block, sizeof block, "tar");
}

static void
what_nobody_knows_is_shown_by_its_first_bytes(void **state)
{
    mri_source_kind kind;
    mr_diag diag = {0};

    (void)state;
    assert_fails(
        mri_source_recognise(&kind, NULL, (const uint8_t *)"hello", 5, &diag),
        MR_EFORMAT);
    assert_int_equal(diag.code, MRI_E_SOURCE_UNKNOWN);
    assert_non_null(strstr(diag.text, "68656c6c6f"));
    assert_fails(
        mri_source_recognise(&kind, NULL, (const uint8_t *)"", 0, &diag),
        MR_ECORRUPT);
    assert_int_equal(diag.code, MRI_E_SOURCE_EMPTY);
}

static void
kinds_are_told_by_content(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        mri_source_kind kind;
        const char *name;
    } files[] = {
        {"\xff\xd8\xff\xe0", 4, MRI_SOURCE_JPEG, "jpeg"},
        {"\x89PNG\r\n\x1a\n", 8, MRI_SOURCE_PNG, "png"},
        {"II\x2a\0", 4, MRI_SOURCE_TIFF, "tiff"},
        {"MM\0\x2a", 4, MRI_SOURCE_TIFF, "tiff"},
        {"II\x2b\0", 4, MRI_SOURCE_TIFF, "tiff"},
        {"MM\0\x2b", 4, MRI_SOURCE_TIFF, "tiff"},
        {"\x1c\2\0\0ni2\0\r\n\x1a\n", 12, MRI_SOURCE_NIFTI, "nifti"},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(files); i++) {
        mri_source_kind kind = MRI_SOURCE_UNKNOWN;
        bool pair = i != 6;
        mr_diag diag = {0};

        assert_ok(mri_source_recognise(&kind, &pair,
                                       (const uint8_t *)files[i].bytes,
                                       files[i].len, &diag),
                  &diag);
        assert_int_equal(kind, files[i].kind);
        assert_int_equal(pair, i == 6);
        assert_string_equal(mri_source_kind_name(kind), files[i].name);
    }
    assert_string_equal(mri_source_kind_name(MRI_SOURCE_UNKNOWN), "unknown");
}

static void
defaults_are_those_of_the_table(void **state)
{
    mri_source_options o = mri_source_defaults();
    size_t n;
    const mri_limit *rows = mri_limits_table(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        uint64_t v;

        memcpy(&v, (const char *)&o.limits + rows[i].at, sizeof v);
        assert_true(v == rows[i].value && v != 0);
        for (size_t k = 0; k < i; k++) {
            assert_true(rows[k].at != rows[i].at);
            assert_true(strcmp(rows[k].name, rows[i].name) != 0);
        }
    }
    assert_true(o.limits.decoded_bytes == UINT64_C(4) << 30);
    assert_true(o.limits.side == 65500);
    assert_false(o.lenient || o.label || o.keep_text);
}

static void
what_was_dropped_is_told_in_a_fixed_order(void **state)
{
    mri_image image = {0};
    char text[64], small[8];

    (void)state;
    assert_int_equal(mri_image_dropped(&image, text, sizeof text), 0);
    assert_string_equal(text, "");
    image.dropped[MRI_DROP_TRAILING] = 3;
    image.dropped[MRI_DROP_TEXT] = 12345;
    assert_int_equal(mri_image_dropped(&image, text, sizeof text), 21);
    assert_string_equal(text, "text:12345 trailing:3");
    assert_int_equal(mri_image_dropped(&image, small, sizeof small), 21);
    assert_string_equal(small, "text:12");
    mri_image_release(&image);
    mri_image_release(&image);
}

typedef struct shared {
    const mri_source *source;
    const uint8_t *pixels;
} shared;

static mr_err
read_task(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    const shared *s = arg;
    mri_image image;
    mr_err err = mri_source_read(s->source, task % 4, &image, diag);

    (void)worker;
    if (err == MR_OK) {
        assert_memory_equal(image.pixels, s->pixels + task % 4 * image.bytes,
                            image.bytes);
    }
    mri_image_release(&image);
    return err;
}

static void
many_threads_may_read_one_source(void **state)
{
    recipe pages[4];
    mri_source_options o = mri_source_defaults();
    mri_source_bytes file = {0};
    uint8_t *pixels;
    shared s = {0};
    mri_source *source = NULL;
    mri_pool *pool = NULL;
    mr_diag diag = {0};
    mri_bytes tiff;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        pages[i] = (recipe){.width = 60,
                            .height = 50,
                            .samples = 1,
                            .bits = 16,
                            .format = SAMPLEFORMAT_UINT,
                            .compression = COMPRESSION_LZW,
                            .photometric = PHOTOMETRIC_MINISBLACK,
                            .rows = 9};
    }
    pixels = noise(4 * page_bytes(pages));
    tiff = make_tiff("wb", pages, 4, pixels);
    file.data = tiff.data;
    file.len = tiff.len;
    o.pages = MRI_PAGES_SAMPLE;
    assert_ok(mri_source_open(&source, &file, NULL, &o, &diag), &diag);
    s.source = source;
    s.pixels = pixels;
    assert_ok(mri_pool_open(&pool, 4, &diag), &diag);
    assert_ok(mri_pool_run(pool, 200, read_task, &s, &diag), &diag);
    mri_pool_close(pool);
    mri_source_close(source);
    mri_bytes_release(&tiff);
    free(pixels);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(foreign_kinds_are_named_with_a_remedy),
        cmocka_unit_test(what_nobody_knows_is_shown_by_its_first_bytes),
        cmocka_unit_test(kinds_are_told_by_content),
        cmocka_unit_test(defaults_are_those_of_the_table),
        cmocka_unit_test(what_was_dropped_is_told_in_a_fixed_order),
        cmocka_unit_test(many_threads_may_read_one_source),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
