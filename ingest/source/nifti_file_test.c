/* SPDX-License-Identifier: Apache-2.0 */
#include "nifti_make.h"

static mr_err
read_pair(const mri_bytes *hdr, const mri_bytes *img, mri_image *image,
          mr_diag *diag)
{
    mri_source_bytes file = {hdr->data, hdr->len, "it.hdr"};
    mri_source_bytes pair = {img->data, img->len, "it.img"};
    mri_source *s = NULL;
    mr_err err = mri_source_open(&s, &file, &pair, NULL, diag);

    *image = (mri_image){0};
    if (err == MR_OK) {
        err = mri_source_read(s, 0, image, diag);
    }
    mri_source_close(s);
    return err;
}

static const struct {
    int code, bits;
    mr_dtype dtype;
    char part;
    unsigned parts;
} types[] = {
    {2, 8, MR_U8, 0, 1},         {4, 16, MR_I16, 0, 1},
    {8, 32, MR_I32, 0, 1},       {16, 32, MR_F32, 0, 1},
    {32, 64, MR_F32, 'R', 2},    {64, 64, MR_F64, 0, 1},
    {128, 24, MR_U8, 'C', 3},    {256, 8, MR_I8, 0, 1},
    {512, 16, MR_U16, 0, 1},     {768, 32, MR_U32, 0, 1},
    {1024, 64, MR_I64, 0, 1},    {1280, 64, MR_U64, 0, 1},
    {1792, 128, MR_F64, 'R', 2}, {2304, 32, MR_U8, 'C', 4},
};

static void
check_voxels(const mri_image *image, const maker *m)
{
    size_t size = mr_dtype_bytes(image->dtype);
    const uint8_t *got = image->pixels;

    for (size_t i = 0; i < image->bytes; i++) {
        size_t in = m->swapped ? i / size * size + (size - 1 - i % size) : i;

        assert_int_equal(got[i], voxel_byte(in));
    }
    assert_int_equal((uintptr_t)got % 64, 0);
}

/* One file of the maker in all four packings. */
static void
check_packings(const maker *m, size_t bytes, const char *axes, mr_dtype dtype)
{
    maker two = *m;
    mri_bytes raw = file_of(m, bytes), packed = gzipped(&raw), hdr, img = {0};
    mri_bytes packed_img, packed_hdr;
    mri_image image;
    mr_diag diag = {0};

    two.pair = true;
    two.vox_offset = 0;
    hdr = head_of(&two);
    put_voxels(&img, bytes);
    packed_hdr = gzipped(&hdr);
    packed_img = gzipped(&img);
    for (int k = 0; k < 5; k++) {
        if (k < 2) {
            const mri_bytes *b = k == 0 ? &raw : &packed;

            must_read(b->data, b->len, NULL, &image);
        } else {
            assert_ok(read_pair(k == 4 ? &packed_hdr : &hdr,
                                k >= 3 ? &packed_img : &img, &image, &diag),
                      &diag);
        }
        assert_int_equal(image.dtype, dtype);
        assert_string_equal(image.axes, axes);
        assert_int_equal(image.bytes, bytes);
        check_voxels(&image, m);
        assert_int_equal(image.geometry.nifti_bytes, m->v2 ? 540 : 348);
        mri_image_release(&image);
    }
    mri_bytes_release(&raw);
    mri_bytes_release(&packed);
    mri_bytes_release(&hdr);
    mri_bytes_release(&img);
    mri_bytes_release(&packed_hdr);
    mri_bytes_release(&packed_img);
}

static void
every_type_order_version_and_packing_reads(void **state)
{
    (void)state;
    for (size_t t = 0; t < MRI_COUNT(types); t++) {
        for (int k = 0; k < 4; k++) {
            maker m = plain;
            char axes[9] = "ZYX";

            m.datatype = types[t].code;
            m.bitpix = types[t].bits;
            m.swapped = k % 2 == 1;
            m.v2 = k >= 2;
            m.vox_offset = m.v2 ? 544 : 352;
            axes[3] = types[t].part;
            check_packings(&m, 60 * (size_t)types[t].bits / 8, axes,
                           types[t].dtype);
        }
    }
}

static void
every_cut_is_refused(void **state)
{
    mri_bytes raw = file_of(&plain, 60), packed = gzipped(&raw);

    (void)state;
    assert_int_equal(sweep_cuts(raw.data, raw.len, NULL), 0);
    assert_int_equal(sweep_cuts(packed.data, packed.len, NULL), 0);
    must_refuse_at(raw.data, raw.len - 1, NULL, MRI_E_NIFTI_SHORT, raw.len - 1);
    must_refuse_at(raw.data, 200, NULL, MRI_E_NIFTI_SHORT, 200);
    must_refuse_at(packed.data, packed.len - 1, NULL, MRI_E_GZIP_SHORT,
                   packed.len - 1);
    mri_bytes_release(&raw);
    mri_bytes_release(&packed);
}

static void
a_broken_gzip_tail_is_named(void **state)
{
    mri_bytes raw = file_of(&plain, 60), packed = gzipped(&raw);
    mr_diag diag = {0};
    mri_image image;

    (void)state;
    packed.data[packed.len - 6] ^= 1; /* CRC-32 */
    must_refuse(packed.data, packed.len, NULL, MRI_E_GZIP_DAMAGED);
    (void)read_one(packed.data, packed.len, NULL, 0, &image, &diag);
    assert_non_null(strstr(diag.text, "incorrect data check"));
    packed.data[packed.len - 6] ^= 1;
    packed.data[packed.len - 3] ^= 1; /* length */
    must_refuse(packed.data, packed.len, NULL, MRI_E_GZIP_DAMAGED);
    packed.data[packed.len - 3] ^= 1;
    must_read(packed.data, packed.len, NULL, &image);
    mri_image_release(&image);
    mri_bytes_release(&raw);
    mri_bytes_release(&packed);
}

static void
every_flipped_bit_of_a_gzip_is_refused_or_harmless(void **state)
{
    mri_bytes raw = file_of(&plain, 60), packed = gzipped(&raw);
    mri_image whole;
    size_t harmless = 0;

    (void)state;
    must_read(packed.data, packed.len, NULL, &whole);
    for (size_t bit = 0; bit < 8 * packed.len; bit++) {
        mri_image image;

        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (read_one(packed.data, packed.len, NULL, 0, &image, NULL) == MR_OK) {
            /* The time in gzip's header, bits that pad its last block. */
            assert_true(same_image(&whole, &image));
            harmless++;
        }
        mri_image_release(&image);
        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(harmless < 8 * 10);
    mri_image_release(&whole);
    mri_bytes_release(&raw);
    mri_bytes_release(&packed);
}

static void
members_and_trailing_bytes_are_understood(void **state)
{
    mri_bytes raw = file_of(&plain, 60), front = {0}, back = {0}, both = {0};
    mri_bytes a, b;
    mri_image image;

    (void)state;
    assert_true(mri_bytes_add(&front, raw.data, 370));
    assert_true(mri_bytes_add(&back, raw.data + 370, raw.len - 370));
    a = gzipped(&front);
    b = gzipped(&back);
    assert_true(mri_bytes_add(&both, a.data, a.len));
    assert_true(mri_bytes_add(&both, b.data, b.len));
    must_read(both.data, both.len, NULL, &image);
    check_voxels(&image, &plain);
    assert_int_equal(image.dropped[MRI_DROP_TRAILING], 0);
    mri_image_release(&image);

    assert_true(mri_bytes_zero(&both, 7)); /* after the last member */
    must_read(both.data, both.len, NULL, &image);
    assert_int_equal(image.dropped[MRI_DROP_TRAILING], 7);
    mri_image_release(&image);

    mri_bytes_release(&b);
    assert_true(mri_bytes_zero(&back, 5000)); /* more than there is room for */
    b = gzipped(&back);
    both.len = a.len;
    assert_true(mri_bytes_add(&both, b.data, b.len));
    must_read(both.data, both.len, NULL, &image);
    check_voxels(&image, &plain);
    assert_int_equal(image.dropped[MRI_DROP_TRAILING], 5000);
    mri_image_release(&image);

    mri_bytes_release(&b);
    assert_true(mri_bytes_zero(&raw, 100000)); /* after the last voxel */
    b = gzipped(&raw);
    must_read(b.data, b.len, NULL, &image);
    check_voxels(&image, &plain);
    assert_int_equal(image.dropped[MRI_DROP_TRAILING], 100000);
    mri_image_release(&image);
    must_read(raw.data, raw.len, NULL, &image);
    assert_int_equal(image.dropped[MRI_DROP_TRAILING], 100000);
    mri_image_release(&image);
    mri_bytes_release(&raw);
    mri_bytes_release(&front);
    mri_bytes_release(&back);
    mri_bytes_release(&both);
    mri_bytes_release(&a);
    mri_bytes_release(&b);
}

static void
a_pair_needs_both_files(void **state)
{
    maker m = plain;
    mri_bytes hdr, img = {0};
    mri_source_kind kind;
    bool pair = false;
    mr_diag diag = {0};
    mri_image image;

    (void)state;
    m.pair = true;
    m.vox_offset = 16;
    hdr = head_of(&m);
    must_refuse(hdr.data, hdr.len, NULL, MRI_E_NIFTI_PAIR);
    assert_ok(mri_source_recognise(&kind, &pair, hdr.data, hdr.len, &diag),
              &diag);
    assert_int_equal(kind, MRI_SOURCE_NIFTI);
    assert_true(pair);
    put_voxels(&img, 75);
    assert_fails(read_pair(&hdr, &img, &image, &diag), MR_ECORRUPT);
    assert_int_equal(diag.code, MRI_E_NIFTI_SHORT);
    assert_string_equal(diag.path, "it.img");
    assert_int_equal(diag.at, 75);
    mri_bytes_release(&img); /* an empty .img is there, but short */
    mri_diag_clear(&diag);
    assert_fails(read_pair(&hdr, &img, &image, &diag), MR_ECORRUPT);
    assert_int_equal(diag.code, MRI_E_NIFTI_SHORT);
    mri_bytes_release(&hdr);
    mri_bytes_release(&img);
}

static void
lenient_fills_what_is_missing_with_zeros(void **state)
{
    mri_source_options lenient = with_lenient();
    mri_bytes raw = file_of(&plain, 60), packed = gzipped(&raw);
    maker far = plain;
    mri_image image;

    (void)state;
    must_read(raw.data, raw.len - 10, &lenient, &image);
    assert_int_equal(image.repaired, 1);
    assert_memory_equal(image.pixels, raw.data + 352, 50);
    assert_true(mri_all_zero((uint8_t *)image.pixels + 50, 10));
    mri_image_release(&image);
    must_read(packed.data, packed.len - 3, &lenient, &image);
    assert_true(image.repaired > 0);
    assert_memory_equal(image.pixels, raw.data + 352, 60);
    mri_image_release(&image);
    mri_bytes_release(&raw);
    mri_bytes_release(&packed);

    far.vox_offset = 40000; /* the damage is before the first voxel */
    raw = file_of(&far, 60);
    packed = gzipped(&raw);
    must_refuse(packed.data, packed.len - 90, &lenient, MRI_E_GZIP_SHORT);
    mri_bytes_release(&raw);
    mri_bytes_release(&packed);
}

static void
random_damage_ends_in_order(void **state)
{
    mri_source_options lenient = with_lenient();
    mri_bytes raw = file_of(&plain, 60), packed = gzipped(&raw);

    (void)state;
    sweep_damage(raw.data, raw.len, NULL, 10000);
    sweep_damage(packed.data, packed.len, NULL, 5000);
    sweep_damage(packed.data, packed.len, &lenient, 5000);
    mri_bytes_release(&raw);
    mri_bytes_release(&packed);
}

static void
memory_may_fail_at_any_call(void **state)
{
    mri_bytes raw = file_of(&plain, 60), packed = gzipped(&raw);

    (void)state;
    sweep_memory(raw.data, raw.len, NULL);
    assert_true(mri_bytes_zero(&packed, 5)); /* so that zlib is tried */
    sweep_memory(packed.data, packed.len, NULL);
    mri_bytes_release(&raw);
    mri_bytes_release(&packed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_order_version_and_packing_reads),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(a_broken_gzip_tail_is_named),
        cmocka_unit_test(every_flipped_bit_of_a_gzip_is_refused_or_harmless),
        cmocka_unit_test(members_and_trailing_bytes_are_understood),
        cmocka_unit_test(a_pair_needs_both_files),
        cmocka_unit_test(lenient_fills_what_is_missing_with_zeros),
        cmocka_unit_test(random_damage_ends_in_order),
        cmocka_unit_test(memory_may_fail_at_any_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
