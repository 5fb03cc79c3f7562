/* SPDX-License-Identifier: Apache-2.0 */
/* chunk_part.c - decode a chunk and put a part of it into a larger array. */
#include "chunk_part.h"

#include "shuffle.h"

#include <string.h>

/* Join axes that are one run in memory on both sides, so that what is left to
 * walk are few and long rows; at least one axis is left. */
static mri_chunk_part
joined(const mri_chunk_part *part, unsigned element)
{
    mri_chunk_part p = *part;

    if (p.ndim == 0) {
        p.ndim = 1;
        p.dims[0] = p.size[0] = 1;
        p.first[0] = 0;
        p.stride[0] = element;
    }
    for (unsigned i = p.ndim - 1; i-- > 0;) {
        unsigned in = i + 1;

        if (p.size[in] != p.dims[in] ||
            p.stride[i] != p.stride[in] * (int64_t)p.size[in]) {
            continue;
        }
        p.first[i] *= p.dims[in]; /* first[in] is 0 */
        p.size[i] *= p.dims[in];
        p.dims[i] *= p.dims[in];
        p.stride[i] = p.stride[in];
        p.ndim--;
        for (unsigned k = in; k < p.ndim; k++) {
            p.first[k] = p.first[k + 1];
            p.size[k] = p.size[k + 1];
            p.dims[k] = p.dims[k + 1];
            p.stride[k] = p.stride[k + 1];
        }
    }
    return p;
}

/* A constant's first row is where it belongs already. */
static void
copy_rows(const mri_plane_rows *r, unsigned element)
{
    const uint8_t *from = r->from;
    uint8_t *to = r->to;

    for (size_t i = 0; i < r->rows; i++) {
        if (to != from) {
            memcpy(to, from, r->n * element);
        }
        to += r->to_step;
        from += r->from_step;
    }
}

/* Rows of 32 bytes and more: the last copy may overlap the one before it, so
 * that all are of a length that the compiler knows. */
static void
copy_blocks(const mri_plane_rows *r, unsigned element)
{
    size_t last = r->n * element - 32;
    const uint8_t *from = r->from;
    uint8_t *to = r->to;

    for (size_t i = 0; i < r->rows; i++) {
        for (size_t at = 0; at < last; at += 32) {
            memcpy(to + at, from + at, 32);
        }
        memcpy(to + last, from + last, 32);
        to += r->to_step;
        from += r->from_step;
    }
}

/*
 * Walk the rows of a part. `unit` is how far two neighbours are apart in
 * `from`, and `plane` two bytes of an element (0: they are neighbours).
 */
static void
put(const mri_chunk_part *p, const uint8_t *from, size_t unit, size_t plane,
    unsigned element)
{
    unsigned last = p->ndim - 1, outer = last > 0 ? last - 1 : 0, i;
    uint64_t at[MR_MAX_RANK] = {0};
    int64_t step[MR_MAX_RANK];
    mri_plane_rows r = {
        .to = p->to, .plane = plane, .n = (size_t)p->size[last]};
    size_t apart = unit;

    for (i = p->ndim; i-- > 0;) {
        step[i] = (int64_t)apart;
        from += p->first[i] * apart;
        apart *= (size_t)p->dims[i];
    }
    r.from = from;
    r.rows = last > 0 ? (size_t)p->size[outer] : 1;
    r.from_step = (ptrdiff_t)step[outer];
    r.to_step = (ptrdiff_t)p->stride[outer];
    do {
        if (plane != 0) {
            mri_unshuffle_rows(&r, element);
        } else if (r.n * element >= 32 && r.n * element <= 512 &&
                   r.from_step != 0) {
            copy_blocks(&r, element);
        } else {
            copy_rows(&r, element);
        }
        for (i = outer; i-- > 0;) {
            r.to += p->stride[i];
            r.from += step[i];
            if (++at[i] < p->size[i]) {
                break;
            }
            r.to -= p->stride[i] * (int64_t)p->size[i];
            r.from -= step[i] * (int64_t)p->size[i];
            at[i] = 0;
        }
    } while (i != UINT32_MAX);
}

/* One more than the number of the last element that is wanted. */
static uint64_t
end_of(const mri_chunk_part *p)
{
    uint64_t last = 0;

    for (unsigned i = 0; i < p->ndim; i++) {
        last = last * p->dims[i] + p->first[i] + p->size[i] - 1;
    }
    return last + 1;
}

mr_err
mri_chunk_unpack_part(const mri_chunk_part *part, const mri_chunk_row *row,
                      const uint8_t *stored, unsigned element, mri_bytes *work,
                      mr_diag *diag)
{
    mri_chunk_part p = joined(part, element);
    const mri_stored from = {row, stored, element, part->ahead};
    uint64_t run = p.size[p.ndim - 1];
    mri_plain plain;
    mr_err err;

    if (row->flags & MRI_CHUNK_CONSTANT) {
        mri_chunk_fill(p.to, run * element, row->file_off, element);
        put(&p, p.to, 0, 0, element);
        return MR_OK;
    }
    /* All of it in one run, no shuffle to be undone on the way: in place. */
    if (row->filter != MRI_FILTER_SHUFFLE && run * element == row->raw_len) {
        return mri_chunk_unpack_from(p.to, &from, work, diag);
    }
    err = mri_chunk_decode(&plain, &from, end_of(&p), work, diag);
    if (err == MR_OK) {
        put(&p, plain.at, plain.plane != 0 ? 1 : element, plain.plane, element);
    }
    return err;
}
