/* SPDX-License-Identifier: Apache-2.0 */
#include "contact.h"
#include "picture.h"

#include <mr_test.h>
#include <mri/bytes.h>
#include <mri/dataset.h>
#include <mri/file.h>
#include <mri/source.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    SIDE = 128, /* a cell of the sheet: drawn without scaling */
    STEPS = 86, /* values 0 to 85 are stretched to 0, 3, .. 255 */
    PLANE = SIDE * SIDE,
    N = 3 * PLANE,
    ODD = 2 * SIDE + 5 /* where real types have what is no number */
};

static char *dir;

static unsigned
value(unsigned i)
{
    unsigned c = i / PLANE, y = i / SIDE % SIDE, x = i % SIDE;

    return (c * 29 + y * 13 + x * 7) % STEPS;
}

/* The bits of a small number, by the definition of the types. */
static uint16_t
half_bits(unsigned v, unsigned mantissa, unsigned bias)
{
    unsigned e = 0;

    if (v == 0) {
        return 0;
    }
    while (v >> (e + 1) != 0) {
        e++;
    }
    return (uint16_t)((e + bias) << mantissa |
                      ((v << mantissa >> e) & ((1u << mantissa) - 1)));
}

static void
put(void *pixels, mr_dtype dtype, unsigned i, unsigned v)
{
    uint64_t raw = v; /* little-endian: its first bytes are the element */
    float f = (float)v;
    double d = v;
    bool odd = i % PLANE == ODD;

    if (dtype == MR_F16) {
        raw = odd ? 0x7E00 : half_bits(v, 10, 15);
    } else if (dtype == MR_BF16) {
        raw = odd ? 0xFF80 : half_bits(v, 7, 127);
    } else if (dtype == MR_F32) {
        memcpy(&raw, &f, 4);
        raw = odd ? 0x7FC00000 : raw;
    } else if (dtype == MR_F64) {
        memcpy(&raw, &d, 8);
        raw = odd ? 0x7FF0000000000000u : raw;
    }
    memcpy((uint8_t *)pixels + i * mr_dtype_bytes(dtype), &raw,
           mr_dtype_bytes(dtype));
}

/* A dataset of one such picture. */
static void
make(const char *path, mr_dtype dtype)
{
    static const char *const fields[] = {"image"}, *const splits[] = {"train"};
    static const double shares[] = {1};
    static mri_field_kind kinds[] = {MRI_FIELD_IMAGE};
    const mri_schema schema = {.field_count = 1,
                               .field_names = (const char **)(uintptr_t)fields,
                               .field_kinds = kinds,
                               .config = "{}"};
    const uint8_t tag[16] = {(uint8_t)dtype};
    const mri_provenance source = {"a", {(uint8_t)dtype}, 1, NULL};
    mri_geometry geometry;
    void *pixels = malloc((size_t)N * mr_dtype_bytes(dtype));
    mri_field_in f = {.encoding = MR_ENC_CHUNKS,
                      .dtype = dtype,
                      .ndim = 3,
                      .axes = {'C', 'Y', 'X'},
                      .dims = {3, SIDE, SIDE},
                      .pixels = pixels,
                      .geometry = &geometry,
                      .sources = &source,
                      .source_count = 1};
    const mri_sample_in in = {.key = "a",
                              .group = "",
                              .class_index = MR_NO_CLASS,
                              .fields = &f,
                              .field_count = 1};
    mri_shard_writer *w;
    mri_shard_ref ref;
    mri_encoded *e;
    const mri_commit c = {.dir = path,
                          .shards = &ref,
                          .shard_count = 1,
                          .schema = &schema,
                          .layout = "folder",
                          .split_names = splits,
                          .split_shares = shares,
                          .split_count = 1};
    uint64_t generation;
    mr_diag d = {0};

    assert_non_null(pixels);
    mri_geometry_init(&geometry);
    for (unsigned i = 0; i < N; i++) {
        put(pixels, dtype, i, value(i));
    }
    assert_ok(mri_encode(&e, &in, &d), &d);
    assert_ok(mri_shard_begin(&w, path, tag, &schema, &d), &d);
    assert_ok(mri_shard_add(w, e, &d), &d);
    assert_ok(mri_shard_finish(w, &ref, &d), &d);
    mri_shard_close_writer(w);
    mri_encoded_free(e);
    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
    free(pixels);
}

/* The picture stands in the PNG with its corner at (at, at). */
static void
check(const char *path, uint64_t at, mr_dtype dtype)
{
    mri_bytes png = {0};
    mri_source *source;
    mri_image image;
    mr_diag d = {0};

    assert_ok(mri_file_load(path, UINT64_MAX, &png, &d), &d);
    assert_ok(mri_source_open(&source,
                              &(mri_source_bytes){png.data, png.len, "png"},
                              NULL, NULL, &d),
              &d);
    assert_ok(mri_source_read(source, 0, &image, &d), &d);
    assert_string_equal(image.axes, "YXC");
    assert_int_equal(image.shape[2], 3);
    assert_true(image.shape[0] >= at + SIDE && image.shape[1] >= at + SIDE);
    for (unsigned i = 0; i < N; i++) {
        uint64_t y = at + i / SIDE % SIDE, x = at + i % SIDE;
        bool odd = dtype >= MR_F16 && i % PLANE == ODD;

        if (((uint8_t *)
                 image.pixels)[(y * image.shape[1] + x) * 3 + i / PLANE] !=
            (odd ? 0 : 3 * value(i))) {
            fail_msg("%s: element %u of dtype %d", path, i, (int)dtype);
        }
    }
    mri_image_release(&image);
    mri_source_close(source);
    mri_bytes_release(&png);
}

static void
draw_sheet(const char *dataset, const char *png)
{
    mr_dataset *ds;
    mr_diag d = {0};

    assert_ok(mr_dataset_open(&ds, dataset, &d), &d);
    assert_ok(mri_contact_sheet(ds, png, &d), &d);
    mr_dataset_close(ds);
}

static void
draw_batch(const char *dataset, const char *png)
{
    mr_stream_options o = mr_stream_defaults();
    mr_stream *s;
    mr_batch *b;
    mr_diag d = {0};

    o.source = dataset;
    o.split = "all";
    o.batch_size = 1;
    o.threads = 1;
    assert_ok(mr_stream_open(&s, &o, &d), &d);
    assert_ok(mr_stream_next(s, &b, &d), &d);
    assert_ok(mri_batch_picture(b, png, &d), &d);
    mr_batch_unref(b);
    mr_stream_close(s);
}

static void
every_type_gives_the_same_picture(void **state)
{
    (void)state;
    for (int dtype = MR_U8; dtype <= MR_F64; dtype++) {
        char name[16];
        char *dataset, *png;

        (void)snprintf(name, sizeof name, "%d.mr", dtype);
        dataset = mri_path_join(dir, name);
        (void)snprintf(name, sizeof name, "%d.png", dtype);
        png = mri_path_join(dir, name);
        assert_int_equal(mkdir(dataset, 0777), 0);
        make(dataset, (mr_dtype)dtype);
        draw_sheet(dataset, png);
        check(png, 8, (mr_dtype)dtype);
        draw_batch(dataset, png);
        check(png, 4, (mr_dtype)dtype);
        free(dataset);
        free(png);
    }
}

static int
setup(void **state)
{
    (void)state;
    dir = scratch_make();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_gives_the_same_picture),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
