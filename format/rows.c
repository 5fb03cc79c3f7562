/* SPDX-License-Identifier: Apache-2.0 */
/* rows.c - the fixed rows of a shard's foot. */
#include "rows.h"

#include <mri/alloc.h>
#include <mri/bytes.h>

#include <mri/error.h>

#include <string.h>

static void
put_f64(uint8_t *to, double v)
{
    uint64_t u;

    memcpy(&u, &v, sizeof u);
    mri_put64(to, u);
}

static double
get_f64(const uint8_t *from)
{
    uint64_t u = mri_get64(from);
    double v;

    memcpy(&v, &u, sizeof v);
    return v;
}

void
mri_sample_row_put(uint8_t *to, const mri_sample_row *row)
{
    memcpy(to, row->uid, 16);
    mri_put64(to + 16, row->meta_off);
    mri_put32(to + 24, row->meta_len);
    mri_put32(to + 28, row->first_grid);
    mri_put16(to + 32, row->n_grid);
    mri_put16(to + 34, row->flags);
    mri_put32(to + 36, row->class_index);
    mri_put64(to + 40, row->group);
    mri_put64(to + 48, row->content);
    mri_put64(to + 56, row->key);
}

void
mri_sample_row_get(mri_sample_row *row, const uint8_t *from)
{
    memcpy(row->uid, from, 16);
    row->meta_off = mri_get64(from + 16);
    row->meta_len = mri_get32(from + 24);
    row->first_grid = mri_get32(from + 28);
    row->n_grid = mri_get16(from + 32);
    row->flags = mri_get16(from + 34);
    row->class_index = mri_get32(from + 36);
    row->group = mri_get64(from + 40);
    row->content = mri_get64(from + 48);
    row->key = mri_get64(from + 56);
}

void
mri_grid_row_put(uint8_t *to, const mri_grid_row *row)
{
    memset(to, 0, MRI_GRID_ROW);
    mri_put16(to, row->field);
    to[2] = row->encoding;
    to[3] = row->dtype;
    to[4] = row->ndim;
    memcpy(to + 5, row->axes, 8);
    to[13] = row->flags;
    for (size_t i = 0; i < 8; i++) {
        mri_put32(to + 16 + 4 * i, row->dims[i]);
        mri_put32(to + 48 + 4 * i, row->chunk[i]);
    }
    mri_put64(to + 80, row->first_chunk);
    mri_put64(to + 88, row->content);
}

void
mri_grid_row_get(mri_grid_row *row, const uint8_t *from)
{
    row->field = mri_get16(from);
    row->encoding = from[2];
    row->dtype = from[3];
    row->ndim = from[4];
    memcpy(row->axes, from + 5, 8);
    row->flags = from[13];
    for (size_t i = 0; i < 8; i++) {
        row->dims[i] = mri_get32(from + 16 + 4 * i);
        row->chunk[i] = mri_get32(from + 48 + 4 * i);
    }
    row->first_chunk = mri_get64(from + 80);
    row->content = mri_get64(from + 88);
}

void
mri_chunk_row_put(uint8_t *to, const mri_chunk_row *row)
{
    mri_put64(to, row->file_off);
    mri_put32(to + 8, row->stored_len);
    mri_put32(to + 12, row->raw_len);
    mri_put32(to + 16, row->crc);
    to[20] = row->codec;
    to[21] = row->filter;
    to[22] = row->kind;
    to[23] = row->flags;
}

void
mri_chunk_row_get(mri_chunk_row *row, const uint8_t *from)
{
    row->file_off = mri_get64(from);
    row->stored_len = mri_get32(from + 8);
    row->raw_len = mri_get32(from + 12);
    row->crc = mri_get32(from + 16);
    row->codec = from[20];
    row->filter = from[21];
    row->kind = from[22];
    row->flags = from[23];
}

static void
moments_put(uint8_t *to, const mr_moments *m)
{
    mri_put64(to, m->count);
    put_f64(to + 8, m->min);
    put_f64(to + 16, m->max);
    put_f64(to + 24, m->sum);
    put_f64(to + 32, m->sum_squares);
}

static void
moments_get(mr_moments *m, const uint8_t *from)
{
    m->count = mri_get64(from);
    m->min = get_f64(from + 8);
    m->max = get_f64(from + 16);
    m->sum = get_f64(from + 24);
    m->sum_squares = get_f64(from + 32);
}

void
mri_moment_row_put(uint8_t *to, const mri_moment_row *row)
{
    memset(to, 0, MRI_MOMENT_ROW);
    mri_put32(to, row->grid);
    mri_put32(to + 4, row->channel);
    mri_put64(to + 8, row->non_finite);
    moments_put(to + 16, &row->all);
    moments_put(to + 56, &row->nonzero);
    moments_put(to + 96, &row->foreground);
}

void
mri_moment_row_get(mri_moment_row *row, const uint8_t *from)
{
    row->grid = mri_get32(from);
    row->channel = mri_get32(from + 4);
    row->non_finite = mri_get64(from + 8);
    moments_get(&row->all, from + 16);
    moments_get(&row->nonzero, from + 56);
    moments_get(&row->foreground, from + 96);
}

void
mri_stat_row_put(uint8_t *to, const mri_stat_row *row)
{
    mri_put64(to, row->min);
    mri_put64(to + 8, row->max);
    mri_put64(to + 16, row->first_label);
    mri_put32(to + 24, row->nonzero);
    mri_put32(to + 28, row->nan);
    mri_put32(to + 32, row->labels);
    mri_put32(to + 36, row->flags);
}

void
mri_stat_row_get(mri_stat_row *row, const uint8_t *from)
{
    row->min = mri_get64(from);
    row->max = mri_get64(from + 8);
    row->first_label = mri_get64(from + 16);
    row->nonzero = mri_get32(from + 24);
    row->nan = mri_get32(from + 28);
    row->labels = mri_get32(from + 32);
    row->flags = mri_get32(from + 36);
}

void
mri_label_row_put(uint8_t *to, const mri_label_row *row)
{
    mri_put64(to, row->value);
    mri_put64(to + 8, row->count);
}

void
mri_label_row_get(mri_label_row *row, const uint8_t *from)
{
    row->value = mri_get64(from);
    row->count = mri_get64(from + 8);
}

uint64_t
mri_grid_chunks(const mri_grid_row *g)
{
    uint64_t n = 1;

    if (g->encoding != MR_ENC_CHUNKS) {
        return 1;
    }
    for (unsigned i = 0; i < g->ndim; i++) {
        uint64_t along;

        if (g->chunk[i] == 0 || g->dims[i] == 0) {
            return 0;
        }
        along = ((uint64_t)g->dims[i] + g->chunk[i] - 1) / g->chunk[i];
        if (!mri_mul(n, along, &n)) {
            return 0;
        }
    }
    return n;
}

uint64_t
mri_grid_bytes(const mri_grid_row *g)
{
    uint64_t n = mr_dtype_bytes((mr_dtype)g->dtype);

    for (unsigned i = 0; i < g->ndim && i < 8; i++) {
        if (!mri_mul(n, g->dims[i], &n)) {
            return 0;
        }
    }
    return n;
}

/* A chunk's bytes must fit the u32 of its row. */
static bool
chunk_fits(const mri_grid_row *g)
{
    uint64_t n = mr_dtype_bytes((mr_dtype)g->dtype);

    for (unsigned i = 0; i < g->ndim; i++) {
        uint32_t along = g->chunk[i] < g->dims[i] ? g->chunk[i] : g->dims[i];

        if (!mri_mul(n, along, &n)) {
            return false;
        }
    }
    return n <= UINT32_MAX;
}

mr_err
mri_chunk_known(const mri_chunk_row *row, mr_diag *diag)
{
    return (row->flags & ~MRI_CHUNK_CONSTANT) == 0
               ? MR_OK
               : mri_fail(diag, MRI_E_CODEC, row->file_off,
                          "chunk with flags 0x%x, which this millrace does not "
                          "know",
                          row->flags);
}

bool
mri_grid_known(const mri_grid_row *g)
{
    return g->encoding >= MR_ENC_CHUNKS && g->encoding <= MR_ENC_BYTES &&
           mr_dtype_bytes((mr_dtype)g->dtype) != 0 &&
           (g->flags & ~(MRI_GRID_SCALED | MRI_GRID_LABEL)) == 0;
}

bool
mri_grid_sound(const mri_grid_row *g)
{
    if (!mri_grid_known(g) || g->ndim > 8) {
        return false;
    }
    for (unsigned i = 0; i < 8; i++) {
        bool used = i < g->ndim;

        if (used != (g->axes[i] != '\0') || (used && g->dims[i] == 0) ||
            (!used && g->dims[i] != 0)) {
            return false;
        }
    }
    if (mri_grid_bytes(g) == 0) {
        return false;
    }
    return g->encoding != MR_ENC_CHUNKS ||
           (mri_grid_chunks(g) != 0 && chunk_fits(g));
}
