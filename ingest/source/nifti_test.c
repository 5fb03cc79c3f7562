/* SPDX-License-Identifier: Apache-2.0 */
#include "nifti_make.h"

#include <math.h>

static void
every_rank_has_its_axes(void **state)
{
    static const char *const axes[] = {"X",     "YX",     "ZYX",    "TZYX",
                                       "UTZYX", "VUTZYX", "WVUTZYX"};

    (void)state;
    for (int rank = 1; rank <= 7; rank++) {
        maker m = plain;
        mri_bytes b;
        mri_image image;
        size_t bytes = 1;

        m.dim[0] = rank;
        for (int i = 1; i <= 7; i++) {
            m.dim[i] = i <= rank ? i % 3 + 1 : 0;
            bytes *= i <= rank ? (size_t)m.dim[i] : 1;
        }
        b = file_of(&m, bytes);
        must_read(b.data, b.len, NULL, &image);
        assert_string_equal(image.axes, axes[rank - 1]);
        for (int i = 0; i < rank; i++) {
            assert_int_equal(image.shape[i], m.dim[rank - i]);
        }
        mri_image_release(&image);
        mri_bytes_release(&b);
    }
}

/* Golden values: nibabel 5.4.2, header.get_best_affine(), the float's bits. */
static void
affines_are_those_of_nibabel_to_the_last_bit(void **state)
{
    static const struct {
        bool v2;
        double quatern[3], qfac;
        int code;
        double want[12];
    } golden[] = {
        {false,
         {0.1, -0.25, 0.5},
         1,
         1,
         {0x1.5999990000000p-2, -0x1.ebbb6c0725f59p-1, -0x1.6ee230babd7fbp-1,
          -0x1.4333340000000p+3, 0x1.643f0ad124cb6p-1, 0x1.0e5604753f7cfp-1,
          -0x1.e841e6350435ep-1, 0x1.4333340000000p+4, 0x1.d7723dedf1982p-2,
          -0x1.80af43c147250p-4, 0x1.f76c8a8e978d5p+0, 0x1.e4cccc0000000p+4}},
        {false,
         {0.6, 0.8, 0},
         0,
         2,
         {-0x1.020c47e5c91e3p-2, 0x1.0e56049a6b50ap+0, 0, -0x1.4333340000000p+3,
          0x1.ba5e34ae7d562p-1, 0x1.3b6458ded288cp-2, 0, 0x1.4333340000000p+4,
          0, 0, -0x1.2666660000000p+1, 0x1.e4cccc0000000p+4}},
        {false,
         {1, 1e-8, 0},
         -1,
         1,
         {0x1.cccccbffffffep-1, 0x1.79f506563d2bfp-26, 0, -0x1.4333340000000p+3,
          0x1.353cd5a9c2d3fp-26, -0x1.199999fffffffp+0, 0, 0x1.4333340000000p+4,
          0, 0, 0x1.2666660000000p+1, 0x1.e4cccc0000000p+4}},
        {true,
         {0.1, -0.25, 0.5},
         -1,
         3,
         {0x1.599999999999ap-2, -0x1.ebbb6b4f01d80p-1, 0x1.6ee23159948bap-1,
          -0x1.4333333333333p+3, 0x1.643f0b76a28e4p-1, 0x1.0e5604189374cp-1,
          0x1.e841e6af189a2p-1, 0x1.4333333333333p+4, 0x1.d7723ea9d5c18p-2,
          -0x1.80af43ec15a05p-4, -0x1.f76c8b4395810p+0, 0x1.e4ccccccccccdp+4}},
        {true,
         {1, 1e-8, 0},
         -1,
         5,
         {0x1.ccccccccccccbp-1, 0x1.79f505f35670cp-26, 0, -0x1.4333333333333p+3,
          0x1.353cd652bb167p-26, -0x1.1999999999999p+0, 0, 0x1.4333333333333p+4,
          0, 0, 0x1.2666666666666p+1, 0x1.e4ccccccccccdp+4}},
    };

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(golden); k++) {
        maker m = plain;
        mri_bytes b;
        mri_image image;

        m.v2 = golden[k].v2;
        m.vox_offset = m.v2 ? 544 : 352;
        m.qform = golden[k].code;
        memcpy(m.quatern, golden[k].quatern, sizeof m.quatern);
        memcpy(m.qoffset, (double[]){-10.1, 20.2, 30.3}, sizeof m.qoffset);
        memcpy(m.pixdim, (double[]){golden[k].qfac, 0.9, -1.1, 2.3},
               4 * sizeof(double));
        b = file_of(&m, 60);
        must_read(b.data, b.len, NULL, &image);
        for (int i = 0; i < 12; i++) {
            assert_true(image.geometry.affine[i] == golden[k].want[i]);
        }
        mri_image_release(&image);
        mri_bytes_release(&b);
    }
}

static void
sform_goes_before_qform_and_sizes_come_last(void **state)
{
    static const double middle[12] = {-2, 0, 0, 2, 0, 1, 0, -1.5, 0, 0, 3, -6};
    maker m = plain;
    mri_bytes b;
    mri_image image;

    (void)state;
    memcpy(m.pixdim, (double[]){1, 2, 0, -3}, 4 * sizeof(double));
    b = file_of(&m, 60);
    must_read(b.data, b.len, NULL, &image);
    assert_memory_equal(image.geometry.affine, middle, sizeof middle);
    assert_true(image.geometry.spacing[0] == 3);
    assert_true(image.geometry.spacing[1] == 0);
    assert_true(image.geometry.spacing[2] == 2);
    mri_image_release(&image);
    mri_bytes_release(&b);

    m.sform = 1;
    m.qform = 1;
    for (int i = 0; i < 12; i++) {
        m.srow[i] = i + 0.5;
    }
    b = file_of(&m, 60);
    must_read(b.data, b.len, NULL, &image);
    assert_memory_equal(image.geometry.affine, m.srow, sizeof m.srow);
    mri_image_release(&image);
    mri_bytes_release(&b);

    m.sform = 77; /* unknown: as if it were 0 */
    m.qform = 0;
    b = file_of(&m, 60);
    must_read(b.data, b.len, NULL, &image);
    assert_memory_equal(image.geometry.affine, middle, sizeof middle);
    mri_image_release(&image);
    mri_bytes_release(&b);
}

static void
an_affine_that_cannot_be_is_refused(void **state)
{
    maker m = plain;
    mri_bytes b;

    (void)state;
    m.qform = 1;
    memcpy(m.quatern, (double[]){0.9, 0.9, 0}, sizeof m.quatern);
    b = file_of(&m, 60);
    must_refuse_at(b.data, b.len, NULL, MRI_E_NIFTI_AFFINE, 256);
    mri_bytes_release(&b);
    m.sform = 1;
    m.srow[5] = NAN;
    b = file_of(&m, 60);
    must_refuse(b.data, b.len, NULL, MRI_E_NIFTI_AFFINE);
    mri_bytes_release(&b);
}

static void
units_become_millimetres_and_seconds(void **state)
{
    static const struct {
        int units;
        double space, time;
    } cases[] = {{0, 2, 5},
                 {2 | 8, 2, 5},
                 {1 | 16, 2000, 0.005},
                 {3 | 24, 0.002, 0.000005},
                 {2 | 32, 2, 0}};

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(cases); k++) {
        maker m = plain;
        mri_bytes b;
        mri_image image;

        m.dim[0] = 4;
        m.dim[4] = 2;
        m.units = cases[k].units;
        memcpy(m.pixdim, (double[]){1, 2, 2, 2, 5}, 5 * sizeof(double));
        b = file_of(&m, 120);
        must_read(b.data, b.len, NULL, &image);
        assert_true(image.geometry.spacing[3] == cases[k].space);
        assert_true(image.geometry.spacing[0] == cases[k].time);
        mri_image_release(&image);
        mri_bytes_release(&b);
    }
}

static void
a_slope_of_nothing_is_no_scaling(void **state)
{
    static const double slopes[] = {0, NAN, INFINITY, 2};
    maker m = plain;
    mri_bytes b;

    (void)state;
    m.inter = 7;
    for (size_t k = 0; k < MRI_COUNT(slopes); k++) {
        mri_image image;

        m.slope = slopes[k];
        b = file_of(&m, 60);
        must_read(b.data, b.len, NULL, &image);
        assert_true(image.geometry.slope == (k == 3 ? 2 : 1));
        assert_true(image.geometry.inter == (k == 3 ? 7 : 0));
        mri_image_release(&image);
        mri_bytes_release(&b);
    }
    m.inter = NAN;
    b = file_of(&m, 60);
    must_refuse_at(b.data, b.len, NULL, MRI_E_NIFTI_HEADER, 116);
    mri_bytes_release(&b);
}

static void
refuse_maker(const maker *m, mri_code code, uint64_t at)
{
    mri_bytes b = head_of(m);

    put_voxels(&b, 60);
    must_refuse_at(b.data, b.len, NULL, code, at);
    mri_bytes_release(&b);
}

static void
fields_that_cannot_be_are_refused_with_their_offset(void **state)
{
    static const int64_t ranks[] = {0, -1, 8, 0x300};
    static const double offsets[] = {0, 351, 352.5, -352, NAN, INFINITY};
    static const int refused[] = {1, 1536, 2048, 0, 3, 255};
    maker m = plain;

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(ranks); i++) {
        m.dim[0] = ranks[i];
        refuse_maker(&m, MRI_E_NIFTI_HEADER, 40);
    }
    m = plain;
    m.dim[2] = 0;
    refuse_maker(&m, MRI_E_NIFTI_HEADER, 44);
    m.dim[2] = -5;
    refuse_maker(&m, MRI_E_NIFTI_HEADER, 44);
    m = plain;
    m.bitpix = 16;
    refuse_maker(&m, MRI_E_NIFTI_HEADER, 72);
    for (size_t i = 0; i < MRI_COUNT(offsets); i++) {
        m = plain;
        m.vox_offset = offsets[i];
        refuse_maker(&m, MRI_E_NIFTI_HEADER, 108);
    }
    for (size_t i = 0; i < MRI_COUNT(refused); i++) {
        m = plain;
        m.datatype = refused[i];
        refuse_maker(&m, MRI_E_NIFTI_VARIANT, 70);
    }
    m = plain;
    m.v2 = true;
    m.vox_offset = 544;
    m.dim[0] = INT64_MIN;
    refuse_maker(&m, MRI_E_NIFTI_HEADER, 16);
    m.dim[0] = 3;
    m.vox_offset = 0x1p62;
    refuse_maker(&m, MRI_E_NIFTI_HEADER, 168);
    m.vox_offset = 544;
    memset(m.dim, 0x7f, sizeof m.dim); /* their product does not fit */
    m.dim[0] = 7;
    refuse_maker(&m, MRI_E_SOURCE_LIMIT, MR_NOWHERE);
}

static void
a_claim_of_many_voxels_costs_nothing(void **state)
{
    maker m = plain;
    mri_bytes b, packed;

    (void)state;
    memcpy(m.dim, (int64_t[]){3, 2000, 1000, 1000}, 4 * sizeof(int64_t));
    b = head_of(&m);
    packed = gzipped(&b);
    must_refuse(b.data, b.len, NULL, MRI_E_SOURCE_RATIO);
    must_refuse(packed.data, packed.len, NULL, MRI_E_SOURCE_RATIO);
    mri_bytes_release(&b);
    mri_bytes_release(&packed);
    m.dim[3] = 3000;
    refuse_maker(&m, MRI_E_SOURCE_LIMIT, MR_NOWHERE);
}

static void
texts_and_extensions_are_left_out_unless_asked_for(void **state)
{
    mri_source_options keep = mri_source_defaults();
    maker m = plain;
    mri_bytes b;
    mri_image image;
    char dropped[64];

    (void)state;
    keep.keep_text = true;
    m.vox_offset = 352 + 32 + 16;
    b = file_of(&m, 60);
    memcpy(b.data + 4, "data_type!", 10);
    memcpy(b.data + 14, "db_name", 7);
    memcpy(b.data + 148, "descrip: Bob", 12);
    memcpy(b.data + 228, "aux", 3);
    memcpy(b.data + 328, "intent", 6);
    b.data[348] = 1;
    put_i32(&b, 352, 32, false);
    put_i32(&b, 356, 6, false);
    memcpy(b.data + 360, "a comment", 9);
    must_read(b.data, b.len, NULL, &image);
    (void)mri_image_dropped(&image, dropped, sizeof dropped);
    assert_string_equal(dropped, "text:38 extension:32");
    assert_int_equal(image.geometry.nifti_bytes, 348);
    assert_null(memmem(image.geometry.nifti, 348, "Bob", 3));
    assert_true(mri_all_zero(image.geometry.nifti + 4, 28));
    assert_memory_equal(image.geometry.nifti + 344, "n+1", 4);
    mri_image_release(&image);
    must_read(b.data, b.len, &keep, &image);
    assert_int_equal(image.geometry.nifti_bytes, 352 + 32);
    assert_memory_equal(image.geometry.nifti, b.data, 352 + 32);
    mri_image_release(&image);

    put_i32(&b, 352, 24, false); /* no multiple of 16 */
    must_refuse_at(b.data, b.len, NULL, MRI_E_NIFTI_HEADER, 352);
    put_i32(&b, 352, 64, false); /* into the voxels */
    must_refuse_at(b.data, b.len, NULL, MRI_E_NIFTI_HEADER, 352);
    put_i32(&b, 352, -16, false);
    must_refuse_at(b.data, b.len, NULL, MRI_E_NIFTI_HEADER, 352);
    mri_bytes_release(&b);
}

static void
the_texts_of_version_2_are_left_out_too(void **state)
{
    maker m = plain;
    mri_bytes b;
    mri_image image;

    (void)state;
    m.v2 = true;
    m.vox_offset = 544;
    b = file_of(&m, 60);
    memset(b.data + 240, 'a', 80 + 24);
    memset(b.data + 508, 'b', 16);
    memset(b.data + 525, 'c', 15);
    must_read(b.data, b.len, NULL, &image);
    assert_int_equal(image.dropped[MRI_DROP_TEXT], 135);
    assert_true(mri_all_zero(image.geometry.nifti + 240, 104));
    mri_image_release(&image);
    b.data[8] = '\n'; /* a carriage return was taken for a line's end */
    must_refuse_at(b.data, b.len, NULL, MRI_E_NIFTI_HEADER, 8);
    mri_bytes_release(&b);
}

static void
headers_that_are_almost_nifti_are_named(void **state)
{
    mri_bytes b = file_of(&plain, 60);

    (void)state;
    put_i32(&b, 0, 349, false);
    must_refuse_at(b.data, b.len, NULL, MRI_E_NIFTI_HEADER, 0);
    put_i32(&b, 0, 348, false);
    memset(b.data + 344, 0, 4);
    must_refuse(b.data, b.len, NULL, MRI_E_SOURCE_FOREIGN); /* ANALYZE */
    mri_bytes_release(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_has_its_axes),
        cmocka_unit_test(affines_are_those_of_nibabel_to_the_last_bit),
        cmocka_unit_test(sform_goes_before_qform_and_sizes_come_last),
        cmocka_unit_test(an_affine_that_cannot_be_is_refused),
        cmocka_unit_test(units_become_millimetres_and_seconds),
        cmocka_unit_test(a_slope_of_nothing_is_no_scaling),
        cmocka_unit_test(fields_that_cannot_be_are_refused_with_their_offset),
        cmocka_unit_test(a_claim_of_many_voxels_costs_nothing),
        cmocka_unit_test(texts_and_extensions_are_left_out_unless_asked_for),
        cmocka_unit_test(the_texts_of_version_2_are_left_out_too),
        cmocka_unit_test(headers_that_are_almost_nifti_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
