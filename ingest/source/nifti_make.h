/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nifti_make.h - NIfTI files for tests, field by field.
 */
#ifndef SOURCE_NIFTI_MAKE_H
#define SOURCE_NIFTI_MAKE_H

#include "testing.h"

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

static inline void
put(mri_bytes *b, size_t at, const void *p, size_t len, bool swapped)
{
    for (size_t i = 0; i < len; i++) {
        b->data[at + i] = ((const uint8_t *)p)[swapped ? len - 1 - i : i];
    }
}

static inline void
put_i16(mri_bytes *b, size_t at, int64_t v, bool swapped)
{
    int16_t x = (int16_t)v;

    put(b, at, &x, sizeof x, swapped);
}

static inline void
put_i32(mri_bytes *b, size_t at, int64_t v, bool swapped)
{
    int32_t x = (int32_t)v;

    put(b, at, &x, sizeof x, swapped);
}

static inline void
put_i64(mri_bytes *b, size_t at, int64_t v, bool swapped)
{
    put(b, at, &v, sizeof v, swapped);
}

/* A float of this version. */
static inline void
put_real(mri_bytes *b, const maker *m, size_t at, double v)
{
    float x = (float)v;

    if (m->v2) {
        put(b, at, &v, sizeof v, m->swapped);
    } else {
        put(b, at, &x, sizeof x, m->swapped);
    }
}

static inline void
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

static inline void
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

static inline mri_bytes
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
static inline uint8_t
voxel_byte(size_t i)
{
    return (uint8_t)(i * 37 + i / 251 * 11 + 5);
}

static inline void
put_voxels(mri_bytes *b, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t v = voxel_byte(i);

        assert_true(mri_bytes_add(b, &v, 1));
    }
}

static inline mri_bytes
file_of(const maker *m, size_t voxel_bytes)
{
    mri_bytes b = head_of(m);

    while (b.len < (size_t)m->vox_offset) {
        assert_true(mri_bytes_zero(&b, 1));
    }
    put_voxels(&b, voxel_bytes);
    return b;
}

static inline mri_bytes
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

#endif
