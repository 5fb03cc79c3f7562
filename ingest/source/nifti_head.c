/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nifti_head.c - the header of a NIfTI file: every field is checked before use.
 *
 * Offsets are those of nifti1.h and nifti2.h (nifti.nimh.nih.gov).
 */
#include "nifti_head.h"

#include "decoder.h"

#include <mri/bytes.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Fields of a header in its own byte order. */
typedef struct fields {
    const uint8_t *p;
    bool swapped;
} fields;

static int64_t
get_i16(const fields *f, size_t at)
{
    uint16_t v;

    memcpy(&v, f->p + at, sizeof v);
    return (int16_t)(f->swapped ? __builtin_bswap16(v) : v);
}

static int64_t
get_i32(const fields *f, size_t at)
{
    uint32_t v;

    memcpy(&v, f->p + at, sizeof v);
    return (int32_t)(f->swapped ? __builtin_bswap32(v) : v);
}

static int64_t
get_i64(const fields *f, size_t at)
{
    uint64_t v;

    memcpy(&v, f->p + at, sizeof v);
    return (int64_t)(f->swapped ? __builtin_bswap64(v) : v);
}

static double
get_f32(const fields *f, size_t at)
{
    uint32_t v = (uint32_t)get_i32(f, at);
    float x;

    memcpy(&x, &v, sizeof x);
    return (double)x;
}

static double
get_f64(const fields *f, size_t at)
{
    uint64_t v = (uint64_t)get_i64(f, at);
    double x;

    memcpy(&x, &v, sizeof x);
    return x;
}

static const char magic1[4] = "n+1", magic1_pair[4] = "ni1";
static const char magic2[4] = "n+2", magic2_pair[4] = "ni2";
static const char line_ends[4] = "\r\n\x1a\n"; /* behind magic2 */

static bool
has(const uint8_t *p, size_t len, size_t at, const char magic[4])
{
    return len >= at + 4 && memcmp(p + at, magic, 4) == 0;
}

static bool
is_v2(const uint8_t *p, size_t len)
{
    return has(p, len, 4, magic2) || has(p, len, 4, magic2_pair);
}

bool
nifti_says_pair(const uint8_t *p, size_t len)
{
    return is_v2(p, len) ? has(p, len, 4, magic2_pair)
                         : has(p, len, 344, magic1_pair);
}

bool
nifti_like(const uint8_t *p, size_t len)
{
    if (is_v2(p, len) || has(p, len, 344, magic1) ||
        has(p, len, 344, magic1_pair)) {
        return true;
    }
    /* Cut off before the magic. */
    return len >= 4 && len < NIFTI1_BYTES &&
           (mri_get32(p) == NIFTI1_BYTES ||
            __builtin_bswap32(mri_get32(p)) == NIFTI1_BYTES);
}

/* The kind of header, its byte order and where the voxels are. */
static mr_err
read_kind(nifti_head *head, const uint8_t *p, size_t len, mr_diag *diag)
{
    bool v2 = is_v2(p, len);
    uint32_t size;

    head->header_bytes = v2 ? NIFTI2_BYTES : NIFTI1_BYTES;
    if (len < head->header_bytes) {
        return mri_fail(diag, MRI_E_NIFTI_SHORT, len,
                        "the header ends here, after %zu of %" PRIu32 " bytes",
                        len, head->header_bytes);
    }
    memcpy(&size, p, sizeof size);
    head->swapped = __builtin_bswap32(size) == head->header_bytes;
    if (!head->swapped && size != head->header_bytes) {
        return mri_fail(diag, MRI_E_NIFTI_HEADER, 0,
                        "sizeof_hdr is %" PRIu32
                        " where a NIfTI-%d has %" PRIu32,
                        size, v2 ? 2 : 1, head->header_bytes);
    }
    if (v2 && !has(p, len, 8, line_ends)) {
        return mri_fail(diag, MRI_E_NIFTI_HEADER, 8,
                        "the magic's line ends were changed: a transfer in "
                        "text mode");
    }
    head->pair = nifti_says_pair(p, len);
    return MR_OK;
}

static void
read_v1(nifti_head *h, const fields *f, int64_t dim[8])
{
    for (size_t i = 0; i < 8; i++) {
        dim[i] = get_i16(f, 40 + 2 * i);
        h->pixdim[i] = get_f32(f, 76 + 4 * i);
    }
    h->datatype = get_i16(f, 70);
    h->bitpix = get_i16(f, 72);
    h->vox_offset_stored = get_f32(f, 108);
    h->slope = get_f32(f, 112);
    h->inter = get_f32(f, 116);
    h->units = f->p[123];
    h->qform = get_i16(f, 252);
    h->sform = get_i16(f, 254);
    for (size_t i = 0; i < 3; i++) {
        h->quatern[i] = get_f32(f, 256 + 4 * i);
        h->qoffset[i] = get_f32(f, 268 + 4 * i);
    }
    for (size_t i = 0; i < 12; i++) {
        h->srow[i] = get_f32(f, 280 + 4 * i);
    }
}

static void
read_v2(nifti_head *h, const fields *f, int64_t dim[8])
{
    for (size_t i = 0; i < 8; i++) {
        dim[i] = get_i64(f, 16 + 8 * i);
        h->pixdim[i] = get_f64(f, 104 + 8 * i);
    }
    h->datatype = get_i16(f, 12);
    h->bitpix = get_i16(f, 14);
    h->vox_offset_stored = (double)get_i64(f, 168);
    h->slope = get_f64(f, 176);
    h->inter = get_f64(f, 184);
    h->units = get_i32(f, 500);
    h->qform = get_i32(f, 344);
    h->sform = get_i32(f, 348);
    for (size_t i = 0; i < 3; i++) {
        h->quatern[i] = get_f64(f, 352 + 8 * i);
        h->qoffset[i] = get_f64(f, 376 + 8 * i);
    }
    for (size_t i = 0; i < 12; i++) {
        h->srow[i] = get_f64(f, 400 + 8 * i);
    }
}

static mr_err
check_dim(nifti_head *h, const int64_t dim[8], mr_diag *diag)
{
    size_t base = h->header_bytes == NIFTI1_BYTES ? 40 : 16;
    size_t step = h->header_bytes == NIFTI1_BYTES ? 2 : 8;

    if (dim[0] < 1 || dim[0] > NIFTI_RANK) {
        return mri_fail(diag, MRI_E_NIFTI_HEADER, base,
                        "dim[0] says %" PRId64 " dimensions; 1 to 7 can be",
                        dim[0]);
    }
    h->rank = (uint32_t)dim[0];
    for (size_t i = 0; i < h->rank; i++) {
        if (dim[i + 1] < 1) {
            return mri_fail(diag, MRI_E_NIFTI_HEADER, base + step * (i + 1),
                            "dim[%zu] is %" PRId64, i + 1, dim[i + 1]);
        }
        h->dim[i] = (uint64_t)dim[i + 1];
    }
    return MR_OK;
}

static const struct {
    int64_t code, bits;
    mr_dtype dtype;
    char part;
    uint32_t parts;
    const char *refused;
} types[] = {
    {2, 8, MR_U8, 0, 1, NULL},
    {4, 16, MR_I16, 0, 1, NULL},
    {8, 32, MR_I32, 0, 1, NULL},
    {16, 32, MR_F32, 0, 1, NULL},
    {32, 64, MR_F32, 'R', 2, NULL},
    {64, 64, MR_F64, 0, 1, NULL},
    {128, 24, MR_U8, 'C', 3, NULL},
    {256, 8, MR_I8, 0, 1, NULL},
    {512, 16, MR_U16, 0, 1, NULL},
    {768, 32, MR_U32, 0, 1, NULL},
    {1024, 64, MR_I64, 0, 1, NULL},
    {1280, 64, MR_U64, 0, 1, NULL},
    {1792, 128, MR_F64, 'R', 2, NULL},
    {2304, 32, MR_U8, 'C', 4, NULL},
    {1, 1, MR_NONE, 0, 0, "binary (1 bit)"},
    {1536, 128, MR_NONE, 0, 0, "float128"},
    {2048, 256, MR_NONE, 0, 0, "complex256"},
};

static mr_err
check_type(nifti_head *h, bool lenient, mr_diag *diag)
{
    size_t at = h->header_bytes == NIFTI1_BYTES ? 70 : 12;

    for (size_t i = 0; i < MRI_COUNT(types); i++) {
        if (types[i].code != h->datatype) {
            continue;
        }
        if (types[i].refused != NULL) {
            return mri_fail(diag, MRI_E_NIFTI_VARIANT, at,
                            "voxels of type %s, which is not read",
                            types[i].refused);
        }
        if (types[i].bits != h->bitpix && !lenient) {
            return mri_fail(diag, MRI_E_NIFTI_HEADER, at + 2,
                            "bitpix is %" PRId64 " where datatype %" PRId64
                            " has %" PRId64,
                            h->bitpix, h->datatype, types[i].bits);
        }
        h->dtype = types[i].dtype;
        h->part = types[i].part;
        h->parts = types[i].parts;
        return MR_OK;
    }
    return mri_fail(diag, MRI_E_NIFTI_VARIANT, at,
                    "datatype %" PRId64 ", which NIfTI does not know",
                    h->datatype);
}

static mr_err
check_offset(nifti_head *h, mr_diag *diag)
{
    size_t at = h->header_bytes == NIFTI1_BYTES ? 108 : 168;
    double v = h->vox_offset_stored;
    double least = h->pair ? 0 : h->header_bytes + NIFTI_EXTENDER;

    if (!(v >= least) || v > 0x1p53 || v != floor(v)) {
        return mri_fail(diag, MRI_E_NIFTI_HEADER, at,
                        "vox_offset is %g; it must be a whole number from %g",
                        v, least);
    }
    h->vox_offset = (uint64_t)v;
    return MR_OK;
}

/* As nibabel: a slope of 0 or not finite means that there is no scaling. */
static mr_err
check_slope(nifti_head *h, mr_diag *diag)
{
    size_t at = h->header_bytes == NIFTI1_BYTES ? 116 : 184;

    if (h->slope == 0 || !isfinite(h->slope)) {
        h->slope = 1;
        h->inter = 0;
    }
    if (!isfinite(h->inter)) {
        return mri_fail(diag, MRI_E_NIFTI_HEADER, at,
                        "scl_inter is not a finite number");
    }
    return MR_OK;
}

mr_err
nifti_read_head(nifti_head *head, const uint8_t *p, size_t len, bool lenient,
                mr_diag *diag)
{
    int64_t dim[8];
    fields f = {.p = p};
    mr_err err;

    *head = (nifti_head){0};
    err = read_kind(head, p, len, diag);
    if (err != MR_OK) {
        return err;
    }
    f.swapped = head->swapped;
    if (head->header_bytes == NIFTI1_BYTES) {
        read_v1(head, &f, dim);
    } else {
        read_v2(head, &f, dim);
    }
    err = check_dim(head, dim, diag);
    if (err == MR_OK) {
        err = check_type(head, lenient, diag);
    }
    if (err == MR_OK) {
        err = check_offset(head, diag);
    }
    if (err == MR_OK) {
        err = check_slope(head, diag);
    }
    return err == MR_OK ? nifti_affine(head, diag) : err;
}

mr_err
nifti_extensions(const nifti_head *head, const uint8_t *p, uint64_t bytes,
                 uint64_t *total, mr_diag *diag)
{
    fields f = {p, head->swapped};
    uint64_t at = head->header_bytes + NIFTI_EXTENDER;

    *total = 0;
    if (bytes < at || p[head->header_bytes] == 0) {
        return MR_OK;
    }
    while (bytes - at >= 8) {
        int64_t size = get_i32(&f, at);

        if (size == 0 && mri_all_zero(p + at, bytes - at)) {
            break; /* padding up to the voxels */
        }
        if (size < 16 || size % 16 != 0 || (uint64_t)size > bytes - at) {
            return mri_fail(diag, MRI_E_NIFTI_HEADER, at,
                            "an extension of %" PRId64 " bytes with %" PRIu64
                            " left before the voxels",
                            size, bytes - at);
        }
        at += (uint64_t)size;
        *total += (uint64_t)size;
    }
    return MR_OK;
}

uint64_t
nifti_anonymise(const nifti_head *head, uint8_t *p)
{
    static const struct {
        uint32_t header_bytes;
        size_t at, len;
    } texts[] = {
        {NIFTI1_BYTES, 4, 10},   /* data_type */
        {NIFTI1_BYTES, 14, 18},  /* db_name */
        {NIFTI1_BYTES, 148, 80}, /* descrip */
        {NIFTI1_BYTES, 228, 24}, /* aux_file */
        {NIFTI1_BYTES, 328, 16}, /* intent_name */
        {NIFTI2_BYTES, 240, 80}, /* descrip */
        {NIFTI2_BYTES, 320, 24}, /* aux_file */
        {NIFTI2_BYTES, 508, 16}, /* intent_name */
        {NIFTI2_BYTES, 525, 15}, /* unused_str */
    };
    uint64_t n = 0;

    for (size_t i = 0; i < MRI_COUNT(texts); i++) {
        if (texts[i].header_bytes != head->header_bytes) {
            continue;
        }
        for (size_t k = texts[i].at; k < texts[i].at + texts[i].len; k++) {
            n += p[k] != 0;
            p[k] = 0;
        }
    }
    return n;
}
