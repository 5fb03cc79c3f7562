/* SPDX-License-Identifier: Apache-2.0 */
#include "testing.h"

#include <math.h>
#include <zlib.h>

/* A header as the test wants it, before it is written in either version and
 * either byte order. */
typedef struct maker {
    bool v2, swapped, pair;
    int datatype, bitpix;
    int64_t dim[8];
    double pixdim[8], vox_offset, slope, inter;
    int qform, sform, units;
    double quatern[3], qoffset[3], srow[12];
} maker;

static const maker plain = {
    .datatype = 2,
    .bitpix = 8,
    .dim = {3, 3, 4, 5},
    .pixdim = {1, 0.9, 1.1, 2.3},
    .vox_offset = 352,
    .slope = 1,
};

static void
put(mri_bytes *b, size_t at, const void *p, size_t len, bool swapped)
{
    for (size_t i = 0; i < len; i++) {
        b->data[at + i] = ((const uint8_t *)p)[swapped ? len - 1 - i : i];
    }
}

static void
put_i16(mri_bytes *b, size_t at, int64_t v, bool swapped)
{
    int16_t x = (int16_t)v;

    put(b, at, &x, sizeof x, swapped);
}

static void
put_i32(mri_bytes *b, size_t at, int64_t v, bool swapped)
{
    int32_t x = (int32_t)v;

    put(b, at, &x, sizeof x, swapped);
}

static void
put_i64(mri_bytes *b, size_t at, int64_t v, bool swapped)
{
    put(b, at, &v, sizeof v, swapped);
}

/* A float of this version. */
static void
put_real(mri_bytes *b, const maker *m, size_t at, double v)
{
    float x = (float)v;

    if (m->v2) {
        put(b, at, &v, sizeof v, m->swapped);
    } else {
        put(b, at, &x, sizeof x, m->swapped);
    }
}

static void
put_head1(mri_bytes *b, const maker *m)
{
    bool s = m->swapped;

    put_i32(b, 0, 348, s);
    for (size_t i = 0; i < 8; i++) {
        put_i16(b, 40 + 2 * i, m->dim[i], s);
        put_real(b, m, 76 + 4 * i, m->pixdim[i]);
    }
    put_i16(b, 70, m->datatype, s);
    put_i16(b, 72, m->bitpix, s);
    put_real(b, m, 108, m->vox_offset);
    put_real(b, m, 112, m->slope);
    put_real(b, m, 116, m->inter);
    b->data[123] = (uint8_t)m->units;
    put_i16(b, 252, m->qform, s);
    put_i16(b, 254, m->sform, s);
    for (size_t i = 0; i < 3; i++) {
        put_real(b, m, 256 + 4 * i, m->quatern[i]);
        put_real(b, m, 268 + 4 * i, m->qoffset[i]);
    }
    for (size_t i = 0; i < 12; i++) {
        put_real(b, m, 280 + 4 * i, m->srow[i]);
    }
    memcpy(b->data + 344, m->pair ? "ni1" : "n+1", 4);
}

static void
put_head2(mri_bytes *b, const maker *m)
{
    bool s = m->swapped;

    put_i32(b, 0, 540, s);
    memcpy(b->data + 4, m->pair ? "ni2\0\r\n\x1a\n" : "n+2\0\r\n\x1a\n", 8);
    put_i16(b, 12, m->datatype, s);
    put_i16(b, 14, m->bitpix, s);
    for (size_t i = 0; i < 8; i++) {
        put_i64(b, 16 + 8 * i, m->dim[i], s);
        put_real(b, m, 104 + 8 * i, m->pixdim[i]);
    }
    put_i64(b, 168, (int64_t)m->vox_offset, s);
    put_real(b, m, 176, m->slope);
    put_real(b, m, 184, m->inter);
    put_i32(b, 344, m->qform, s);
    put_i32(b, 348, m->sform, s);
    for (size_t i = 0; i < 3; i++) {
        put_real(b, m, 352 + 8 * i, m->quatern[i]);
        put_real(b, m, 376 + 8 * i, m->qoffset[i]);
    }
    for (size_t i = 0; i < 12; i++) {
        put_real(b, m, 400 + 8 * i, m->srow[i]);
    }
    put_i32(b, 500, m->units, s);
}

static mri_bytes
head_of(const maker *m)
{
    mri_bytes b = {0};

    assert_true(mri_bytes_zero(&b, m->v2 ? 544 : 352));
    if (m->v2) {
        put_head2(&b, m);
    } else {
        put_head1(&b, m);
    }
    return b;
}

/* Any bytes will do for voxels. */
static uint8_t
voxel_byte(size_t i)
{
    return (uint8_t)(i * 37 + i / 251 * 11 + 5);
}

static void
put_voxels(mri_bytes *b, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t v = voxel_byte(i);

        assert_true(mri_bytes_add(b, &v, 1));
    }
}

static mri_bytes
file_of(const maker *m, size_t voxel_bytes)
{
    mri_bytes b = head_of(m);

    while (b.len < (size_t)m->vox_offset) {
        assert_true(mri_bytes_zero(&b, 1));
    }
    put_voxels(&b, voxel_bytes);
    return b;
}

static mri_bytes
gzipped(const mri_bytes *raw)
{
    z_stream z = {0};
    mri_bytes out = {0};

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, 0), Z_OK);
    assert_true(mri_bytes_reserve(&out, raw->len + 1000));
    z.next_in = raw->data;
    z.avail_in = (uInt)raw->len;
    z.next_out = out.data;
    z.avail_out = (uInt)(raw->len + 1000);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.len = z.total_out;
    (void)deflateEnd(&z);
    return out;
}

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
    mri_bytes_release(&hdr);
    mri_bytes_release(&img);
}

static void
lenient_fills_what_is_missing_with_zeros(void **state)
{
    mri_source_options lenient = with_lenient();
    mri_bytes raw = file_of(&plain, 60), packed = gzipped(&raw);
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
        cmocka_unit_test(every_rank_has_its_axes),
        cmocka_unit_test(affines_are_those_of_nibabel_to_the_last_bit),
        cmocka_unit_test(sform_goes_before_qform_and_sizes_come_last),
        cmocka_unit_test(an_affine_that_cannot_be_is_refused),
        cmocka_unit_test(units_become_millimetres_and_seconds),
        cmocka_unit_test(a_slope_of_nothing_is_no_scaling),
        cmocka_unit_test(fields_that_cannot_be_are_refused_with_their_offset),
        cmocka_unit_test(a_claim_of_many_voxels_costs_nothing),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(a_broken_gzip_tail_is_named),
        cmocka_unit_test(every_flipped_bit_of_a_gzip_is_refused_or_harmless),
        cmocka_unit_test(members_and_trailing_bytes_are_understood),
        cmocka_unit_test(texts_and_extensions_are_left_out_unless_asked_for),
        cmocka_unit_test(the_texts_of_version_2_are_left_out_too),
        cmocka_unit_test(a_pair_needs_both_files),
        cmocka_unit_test(lenient_fills_what_is_missing_with_zeros),
        cmocka_unit_test(headers_that_are_almost_nifti_are_named),
        cmocka_unit_test(random_damage_ends_in_order),
        cmocka_unit_test(memory_may_fail_at_any_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
