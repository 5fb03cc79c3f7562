/* SPDX-License-Identifier: Apache-2.0 */
/* shard_box.c - boxes of an array field, out of the chunks they touch. */
#include "chunk_part.h"
#include "shard_read.h"
#include "widen.h"

#include <mri/alloc.h>
#include <mri/error.h>

/* What is to be read, and where to. */
typedef struct reading {
    const mri_shard *s;
    const mri_grid_row *g;
    const mr_box *box;
    const mr_tensor *out;
    const mri_scale *scale; /* out is f32; NULL: of the field's own type */
    mr_scratch *scratch;
    mr_diag *diag;
} reading;

/* The box and the tensor that receives it fit each other and the field. */
static mr_err
check_box(const reading *r)
{
    const mri_grid_row *g = r->g;
    const mr_tensor *out = r->out;
    const mr_box *box = r->box;
    mr_dtype dtype = r->scale != NULL ? MR_F32 : (mr_dtype)g->dtype;

    if (out->rank != g->ndim || out->dtype != dtype ||
        (g->ndim > 0 && out->stride[g->ndim - 1] != 1)) {
        return mri_fail(r->diag, MRI_E_NO_BOX, MR_NOWHERE,
                        "the memory given has another type or rank than the "
                        "field");
    }
    for (unsigned i = 0; i < g->ndim; i++) {
        if (box->size[i] == 0 || box->size[i] > g->dims[i] ||
            box->first[i] > g->dims[i] - box->size[i] ||
            out->shape[i] != box->size[i]) {
            return mri_fail(r->diag, MRI_E_NO_BOX, MR_NOWHERE,
                            "a box of %llu from %llu along axis %c, whose "
                            "length is %u",
                            (unsigned long long)box->size[i],
                            (unsigned long long)box->first[i], g->axes[i],
                            g->dims[i]);
        }
    }
    return MR_OK;
}

/* What box and chunk have in common, and where it lies in `out`. */
static mri_chunk_part
part_of(const mr_box *chunk, const mr_box *box, const mr_tensor *out)
{
    int64_t element = (int64_t)mr_dtype_bytes(out->dtype);
    mri_chunk_part p = {.ndim = out->rank, .to = out->data};

    for (unsigned i = 0; i < p.ndim; i++) {
        uint64_t first =
            chunk->first[i] > box->first[i] ? chunk->first[i] : box->first[i];
        uint64_t chunk_end = chunk->first[i] + chunk->size[i];
        uint64_t box_end = box->first[i] + box->size[i];

        p.dims[i] = chunk->size[i];
        p.first[i] = first - chunk->first[i];
        p.size[i] = (chunk_end < box_end ? chunk_end : box_end) - first;
        p.stride[i] = out->stride[i] * element;
        p.to += (int64_t)(first - box->first[i]) * p.stride[i];
    }
    return p;
}

/* The part is decoded densely into memory that stays in the cache, and from
 * there row by row into floats. */
static mr_err
widen_part(const reading *r, const mri_chunk_part *part,
           const mri_chunk_row *row, const uint8_t *stored)
{
    unsigned element = (unsigned)mr_dtype_bytes((mr_dtype)r->g->dtype), i;
    unsigned last = part->ndim > 0 ? part->ndim - 1 : 0;
    unsigned outer = last > 0 ? last - 1 : 0;
    uint64_t at[MR_MAX_RANK] = {0};
    mri_chunk_part dense = *part;
    int64_t run = element;
    mri_plane_rows rows = {.to = part->to, .rows = 1, .n = 1};
    mr_err err;

    for (i = part->ndim; i-- > 0;) {
        dense.stride[i] = run;
        run *= (int64_t)part->size[i];
    }
    r->scratch->piece.len = 0;
    if (!mri_bytes_reserve(&r->scratch->piece, (size_t)run)) {
        return mri_fail(r->diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    dense.to = r->scratch->piece.data;
    err = mri_chunk_unpack_part(&dense, row, stored, element,
                                &r->scratch->shuffle, r->diag);
    if (err != MR_OK) {
        return err;
    }
    rows.from = dense.to;
    if (part->ndim > 0) {
        rows.n = (size_t)part->size[last];
        rows.rows = last > 0 ? (size_t)part->size[outer] : 1;
        rows.from_step = (ptrdiff_t)dense.stride[outer];
        rows.to_step = (ptrdiff_t)part->stride[outer];
    }
    do {
        mri_widen_rows(&rows, (mr_dtype)r->g->dtype, r->scale);
        for (i = outer; i-- > 0;) {
            rows.to += part->stride[i];
            rows.from += dense.stride[i];
            if (++at[i] < part->size[i]) {
                break;
            }
            rows.to -= part->stride[i] * (int64_t)part->size[i];
            rows.from -= dense.stride[i] * (int64_t)part->size[i];
            at[i] = 0;
        }
    } while (i != UINT32_MAX);
    return MR_OK;
}

/* One chunk's share of the box, and what comes after it. */
static mr_err
read_chunk(const reading *r, uint64_t index, mri_ahead ahead)
{
    const mri_grid_row *g = r->g;
    unsigned element = (unsigned)mr_dtype_bytes((mr_dtype)g->dtype);
    const uint8_t *stored = NULL;
    mri_chunk_part part;
    mri_chunk_row row;
    mr_box chunk;
    mr_err err = mri_shard_chunk(r->s, g->first_chunk + index, &row, r->diag);

    if (err != MR_OK) {
        return err;
    }
    mri_chunk_box(g, index, &chunk);
    if (row.raw_len != mri_box_len(&chunk, g->ndim) * element) {
        return mri_fail(r->diag, MRI_E_SHARD_DAMAGED, row.file_off,
                        "a chunk of another size than its place");
    }
    if ((row.flags & MRI_CHUNK_CONSTANT) == 0) {
        err =
            mri_shard_stored(r->s, &row, &r->scratch->stored, &stored, r->diag);
    }
    if (err != MR_OK) {
        return err;
    }
    part = part_of(&chunk, r->box, r->out);
    part.ahead = ahead;
    return r->scale != NULL
               ? widen_part(r, &part, &row, stored)
               : mri_chunk_unpack_part(&part, &row, stored, element,
                                       &r->scratch->shuffle, r->diag);
}

/* The chunks that a box touches, in row-major order of the grid. */
typedef struct walk {
    const mri_grid_row *g;
    uint64_t first[MR_MAX_RANK], last[MR_MAX_RANK], at[MR_MAX_RANK];
    bool done;
} walk;

static void
walk_begin(walk *w, const mri_grid_row *g, const mr_box *box)
{
    w->g = g;
    w->done = false;
    for (unsigned i = 0; i < g->ndim; i++) {
        w->first[i] = w->at[i] = box->first[i] / g->chunk[i];
        w->last[i] = (box->first[i] + box->size[i] - 1) / g->chunk[i];
    }
}

/* The chunk that it stands at; then it stands at the next. */
static uint64_t
walk_on(walk *w)
{
    const mri_grid_row *g = w->g;
    uint64_t index = 0;
    unsigned i;

    for (i = 0; i < g->ndim; i++) {
        uint64_t along = ((uint64_t)g->dims[i] + g->chunk[i] - 1) / g->chunk[i];

        index = index * along + w->at[i];
    }
    for (i = g->ndim; i-- > 0;) {
        if (++w->at[i] <= w->last[i]) {
            return index;
        }
        w->at[i] = w->first[i];
    }
    w->done = true;
    return index;
}

/* Ask for the frames of the next chunks, as many as are planned at once. What
 * is wrong with a row is found when its turn comes. */
static void
ask_ahead(const mri_shard *s, const walk *from, mri_extents *ahead)
{
    walk w = *from;
    mri_chunk_row row;

    for (unsigned n = 0; !w.done && n < MRI_EXTENTS; n++) {
        uint64_t i = w.g->first_chunk + walk_on(&w);

        if (mri_shard_chunk(s, i, &row, NULL) == MR_OK) {
            mri_shard_add_frame(s, &row, ahead);
        }
    }
    mri_extents_ask(ahead, &s->file);
}

/* Where the frame lies that comes next, if it lies in memory: the checksum,
 * which touches it first, shall not wait for it. Nothing is believed of it. */
static mri_ahead
next_frame(const mri_shard *s, const walk *from)
{
    walk w = *from;
    mri_chunk_row row;
    uint64_t bytes, left;

    if (w.done || s->file.map == NULL ||
        mri_shard_chunk(s, w.g->first_chunk + walk_on(&w), &row, NULL) !=
            MR_OK ||
        (row.flags & MRI_CHUNK_CONSTANT) != 0 || row.file_off >= s->file.size) {
        return (mri_ahead){NULL, 0};
    }
    bytes = (uint64_t)MRI_FRAME_HEAD + row.stored_len;
    left = s->file.size - row.file_off;
    return (mri_ahead){s->file.map + row.file_off,
                       (size_t)(bytes < left ? bytes : left)};
}

static mr_err
read_box(const reading *r)
{
    mr_err err = MR_OK;
    walk w;

    walk_begin(&w, r->g, r->box);
    while (err == MR_OK && !w.done) {
        if (mri_scratch_asks(r->scratch)) {
            ask_ahead(r->s, &w, &r->scratch->ahead);
        }
        for (unsigned n = 0; err == MR_OK && !w.done && n < MRI_EXTENTS; n++) {
            uint64_t index = walk_on(&w);

            err = read_chunk(r, index, next_frame(r->s, &w));
        }
    }
    mri_scratch_note(r->scratch, mri_box_len(r->box, r->g->ndim) *
                                     mr_dtype_bytes((mr_dtype)r->g->dtype));
    return err;
}

/* What the caller left open is filled in: all of the field, scratch. */
static mr_err
read_any(reading *r)
{
    mr_scratch *mine = NULL;
    mr_box whole = {{0}, {0}};
    mr_err err;

    if (r->g->encoding != MR_ENC_CHUNKS) {
        return mri_fail(r->diag, MRI_E_NOT_ARRAY, MR_NOWHERE,
                        "the field is kept as a file, not as an array");
    }
    if (r->box == NULL) {
        for (unsigned i = 0; i < r->g->ndim; i++) {
            whole.size[i] = r->g->dims[i];
        }
        r->box = &whole;
    }
    err = check_box(r);
    if (err != MR_OK) {
        return err;
    }
    if (r->scratch == NULL) {
        r->scratch = mine = mr_scratch_open();
    }
    err = r->scratch != NULL
              ? read_box(r)
              : mri_fail(r->diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    mr_scratch_close(mine);
    return mri_shard_named(r->s, err, r->diag);
}

mr_err
mri_shard_read_box(const mri_shard *s, const mri_grid_row *g, const mr_box *box,
                   const mr_tensor *out, mr_scratch *scratch, mr_diag *diag)
{
    reading r = {.s = s,
                 .g = g,
                 .box = box,
                 .out = out,
                 .scratch = scratch,
                 .diag = diag};

    return read_any(&r);
}

mr_err
mri_shard_read_f32(const mri_shard *s, const mri_grid_row *g, const mr_box *box,
                   const mri_to_f32 *to, mr_scratch *scratch, mr_diag *diag)
{
    reading r = {.s = s,
                 .g = g,
                 .box = box,
                 .out = to->out,
                 .scale = &to->scale,
                 .scratch = scratch,
                 .diag = diag};

    return read_any(&r);
}
