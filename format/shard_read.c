/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_read.c - rows and boxes of an open shard.
 *
 * Nothing that comes out was believed: rows lie in pages whose hash held, a
 * row must make sense before it is used, and a chunk's bytes must give the
 * checksum that its row holds.
 */
#include "shard_read.h"

#include "chunk_part.h"
#include "frame.h"
#include "moments.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <assert.h>
#include <string.h>

#define SEEN_BYTES 65536u    /* between two looks at how often a thread waits */
#define WANTED_CHUNKS 8u     /* a field of more asks when it is read */
#define FORESEEN_BYTES 4096u /* of a frame; then the CPU follows by itself */

mr_scratch *
mr_scratch_open(void)
{
    return mri_alloc(1, sizeof(mr_scratch));
}

void
mr_scratch_close(mr_scratch *scratch)
{
    if (scratch != NULL) {
        mri_bytes_release(&scratch->stored);
        mri_bytes_release(&scratch->shuffle);
        mri_free(scratch);
    }
}

/* How every reading ends: with the file's name in an error, and without belief
 * in bytes that the file no longer has. */
static mr_err
named(const mri_shard *s, mr_err err, mr_diag *diag)
{
    mr_err lost = mri_object_whole(&s->file, diag);

    if (lost != MR_OK) {
        return lost;
    }
    if (err != MR_OK) {
        mri_diag_in(diag, s->file.path);
    }
    return err;
}

/* Grid and chunk rows are named by the row before them, so reading a small
 * record is a chain of cache misses. Where all samples have as many rows, as
 * they mostly do, the first of this one is known at once. NULL: there is none;
 * a guess that fails is a row of another sample. */
static const uint8_t *
likely_row(const mri_foot *foot, mri_table table, uint32_t sample)
{
    uint64_t rows = foot->tables[table].rows;
    uint64_t samples = foot->tables[MRI_TABLE_SAMPLES].rows;

    if (sample >= samples || rows < samples) {
        return NULL;
    }
    return foot->base + foot->tables[table].off +
           sample * (rows / samples) * foot->tables[table].row_bytes;
}

/* A load whose value nobody waits for. CPUs drop a prefetch that misses the
 * TLB, and at random nearly all do; a load looks the page up. */
static void
touch(const uint8_t *p)
{
    (void)*(const volatile uint8_t *)p;
}

static void
foresee_row(const mri_foot *foot, mri_table table, uint32_t sample)
{
    const uint8_t *p = likely_row(foot, table, sample);

    if (p != NULL) { /* ends in another line than it begins, mostly */
        touch(p);
        touch(p + foot->tables[table].row_bytes - 1);
    }
}

/* A small frame's lines all at once, before its head is looked at. */
static void
foresee_frame(const uint8_t *p, uint64_t bytes)
{
    uint64_t n = bytes < FORESEEN_BYTES ? bytes : FORESEEN_BYTES;

    touch(p);
    touch(p + n - 1);
    for (uint64_t i = 0; i < n; i += MRI_ALIGN) {
        __builtin_prefetch(p + i);
    }
}

void
mri_shard_foresee_rows(const mri_shard *s, uint32_t sample)
{
    foresee_row(&s->foot, MRI_TABLE_SAMPLES, sample);
    foresee_row(&s->foot, MRI_TABLE_GRIDS, sample);
    foresee_row(&s->foot, MRI_TABLE_CHUNKS, sample);
}

void
mri_shard_foresee_frame(const mri_shard *s, uint32_t sample)
{
    const uint8_t *p = likely_row(&s->foot, MRI_TABLE_CHUNKS, sample);
    mri_chunk_row row;
    uint64_t bytes;

    if (p == NULL || s->file.map == NULL) {
        return;
    }
    mri_chunk_row_get(&row, p); /* not proven: good enough for a guess */
    bytes = (uint64_t)MRI_FRAME_HEAD + row.stored_len;
    if (row.file_off < s->file.size && bytes < s->file.size - row.file_off) {
        foresee_frame(s->file.map + row.file_off, bytes);
    }
}

mr_err
mri_shard_sample(const mri_shard *s, uint32_t row, mri_sample_row *out,
                 mr_diag *diag)
{
    const uint8_t *p;
    mr_err err;

    mri_shard_foresee_rows(s, row);
    err = mri_foot_row(&s->foot, MRI_TABLE_SAMPLES, row, &p, diag);
    if (err == MR_OK) {
        mri_sample_row_get(out, p);
    }
    return named(s, err, diag);
}

mr_err
mri_shard_grid(const mri_shard *s, const mri_sample_row *sample, uint32_t i,
               mri_grid_row *out, mr_diag *diag)
{
    const uint8_t *p;
    uint64_t end;
    mr_err err = mri_foot_row(&s->foot, MRI_TABLE_GRIDS,
                              (uint64_t)sample->first_grid + i, &p, diag);

    if (err != MR_OK) {
        return named(s, err, diag);
    }
    mri_grid_row_get(out, p);
    if (!mri_grid_known(out)) { /* its page holds: it was written like this */
        err = mri_fail(diag, MRI_E_CODEC, s->tail.foot_off,
                       "field %u of a sample has encoding %u and dtype %u, "
                       "which this millrace does not know",
                       i, out->encoding, out->dtype);
    } else if (!mri_grid_sound(out) || out->field >= s->schema->n_fields ||
               !mri_add(out->first_chunk, mri_grid_chunks(out), &end) ||
               end > mri_foot_rows(&s->foot, MRI_TABLE_CHUNKS)) {
        err =
            mri_fail(diag, MRI_E_SHARD_DAMAGED, s->tail.foot_off,
                     "grid row %u contradicts itself", sample->first_grid + i);
    }
    return named(s, err, diag);
}

/* Moment rows are sorted by grid and channel: find the first of a grid. */
mr_err
mri_shard_moments(const mri_shard *s, const mri_sample_row *sample, uint32_t i,
                  uint32_t channel, mri_moment_row *out, mr_diag *diag)
{
    uint64_t low = 0, high = mri_foot_rows(&s->foot, MRI_TABLE_MOMENTS);
    uint64_t want = ((uint64_t)sample->first_grid + i) << 32 | channel;
    const uint8_t *p;
    mr_err err;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        err = mri_foot_row(&s->foot, MRI_TABLE_MOMENTS, middle, &p, diag);
        if (err != MR_OK) {
            return named(s, err, diag);
        }
        mri_moment_row_get(out, p);
        if (((uint64_t)out->grid << 32 | out->channel) == want) {
            return MR_OK;
        }
        if (((uint64_t)out->grid << 32 | out->channel) < want) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return named(s,
                 mri_fail(diag, MRI_E_NO_BOX, MR_NOWHERE,
                          "no statistics of channel %u", channel),
                 diag);
}

static mr_err
chunk_row(const mri_shard *s, uint64_t i, mri_chunk_row *out, mr_diag *diag)
{
    const uint8_t *p;
    mr_err err = mri_foot_row(&s->foot, MRI_TABLE_CHUNKS, i, &p, diag);

    if (err == MR_OK) {
        mri_chunk_row_get(out, p);
    }
    return err;
}

/* The stored bytes of a chunk, proven to be those of its row. */
static mr_err
stored_bytes(const mri_shard *s, const mri_chunk_row *row, mri_bytes *room,
             const uint8_t **payload, mr_diag *diag)
{
    uint64_t bytes = (uint64_t)MRI_FRAME_HEAD + row->stored_len;
    const uint8_t *p;
    mri_frame f;
    mr_err err;

    if (row->file_off > s->tail.foot_off) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, row->file_off,
                        "a chunk beyond the body");
    }
    err = mri_object_view(&s->file, row->file_off, bytes, room, &p, diag);
    if (err == MR_OK) {
        foresee_frame(p, bytes);
        err = mri_frame_get(&f, p, bytes, row->file_off, s->plan_tag, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    if (f.crc != row->crc || f.kind != row->kind ||
        f.stored_len != row->stored_len || f.raw_len != row->raw_len ||
        f.codec != row->codec || f.filter != row->filter) {
        return mri_fail(diag, MRI_E_CHECKSUM, row->file_off,
                        "another frame than its row names (stored %08x, "
                        "found %08x)",
                        row->crc, f.crc);
    }
    *payload = p + MRI_FRAME_HEAD;
    return MR_OK;
}

/* The box and the tensor that receives it fit each other and the field. */
static mr_err
check_box(const mri_grid_row *g, const mr_box *box, const mr_tensor *out,
          mr_diag *diag)
{
    if (out->rank != g->ndim || out->dtype != (mr_dtype)g->dtype ||
        (g->ndim > 0 && out->stride[g->ndim - 1] != 1)) {
        return mri_fail(diag, MRI_E_NO_BOX, MR_NOWHERE,
                        "the memory given has another type or rank than the "
                        "field");
    }
    for (unsigned i = 0; i < g->ndim; i++) {
        if (box->size[i] == 0 || box->size[i] > g->dims[i] ||
            box->first[i] > g->dims[i] - box->size[i] ||
            out->shape[i] != box->size[i]) {
            return mri_fail(diag, MRI_E_NO_BOX, MR_NOWHERE,
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

/* One chunk's share of the box. */
static mr_err
read_chunk(const mri_shard *s, const mri_grid_row *g, uint64_t index,
           const mr_box *box, const mr_tensor *out, mr_scratch *scratch,
           mr_diag *diag)
{
    unsigned element = (unsigned)mr_dtype_bytes((mr_dtype)g->dtype);
    const uint8_t *stored = NULL;
    mri_chunk_part part;
    mri_chunk_row row;
    mr_box chunk;
    mr_err err = chunk_row(s, g->first_chunk + index, &row, diag);

    if (err != MR_OK) {
        return err;
    }
    mri_chunk_box(g, index, &chunk);
    if (row.raw_len != mri_box_len(&chunk, g->ndim) * element) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, row.file_off,
                        "a chunk of another size than its place");
    }
    if ((row.flags & MRI_CHUNK_CONSTANT) == 0) {
        err = stored_bytes(s, &row, &scratch->stored, &stored, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    part = part_of(&chunk, box, out);
    return mri_chunk_unpack_part(&part, &row, stored, element,
                                 &scratch->shuffle, diag);
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

static void
add_frame(const mri_shard *s, const mri_chunk_row *row, mri_extents *ahead)
{
    if ((row->flags & MRI_CHUNK_CONSTANT) == 0 &&
        row->file_off < s->tail.foot_off) {
        mri_extents_add(ahead, row->file_off,
                        (uint64_t)MRI_FRAME_HEAD + row->stored_len);
    }
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

        if (chunk_row(s, i, &row, NULL) == MR_OK) {
            add_frame(s, &row, ahead);
        }
    }
    mri_extents_ask(ahead, &s->file);
}

/* Asking costs time that is lost when all is in memory already, so it is done
 * only while reads make the thread wait. */
static void
note_waits(mr_scratch *scratch, uint64_t bytes)
{
    uint64_t waits;

    scratch->unseen += bytes;
    if (scratch->unseen < SEEN_BYTES) {
        return;
    }
    waits = mri_thread_waits();
    /* Reads that were asked for in time do not wait either: a few calm looks
     * more, before that is taken for memory. */
    if (waits != scratch->waits || waits == UINT64_MAX) {
        scratch->calm = 0;
    } else if (scratch->calm < MRI_CALM) {
        scratch->calm++;
    }
    scratch->waits = waits;
    scratch->unseen = 0;
}

void
mri_scratch_settle(mr_scratch *scratch)
{
    scratch->waits = mri_thread_waits();
    scratch->unseen = 0;
}

/* The frames of a field's chunks. */
static void
want_field(const mri_shard *s, const mri_grid_row *g, mri_extents *ahead)
{
    uint64_t n = mri_grid_chunks(g);

    for (uint64_t i = 0; n <= WANTED_CHUNKS && i < n; i++) {
        mri_chunk_row row;

        if (chunk_row(s, g->first_chunk + i, &row, NULL) == MR_OK) {
            add_frame(s, &row, ahead);
        }
    }
}

void
mri_shard_want(const mri_shard *s, uint32_t sample, mri_extents *ahead)
{
    mri_sample_row row;
    mri_grid_row g;

    if (mri_shard_sample(s, sample, &row, NULL) != MR_OK) {
        return; /* who reads it will say why */
    }
    for (uint32_t i = 0; i < row.n_grid; i++) {
        if (mri_shard_grid(s, &row, i, &g, NULL) == MR_OK) {
            want_field(s, &g, ahead);
        }
    }
    mri_extents_ask(ahead, &s->file);
}

static mr_err
read_box(const mri_shard *s, const mri_grid_row *g, const mr_box *box,
         const mr_tensor *out, mr_scratch *scratch, mr_diag *diag)
{
    mr_err err = MR_OK;
    walk w;

    walk_begin(&w, g, box);
    while (err == MR_OK && !w.done) {
        if (mri_scratch_asks(scratch)) {
            ask_ahead(s, &w, &scratch->ahead);
        }
        for (unsigned n = 0; err == MR_OK && !w.done && n < MRI_EXTENTS; n++) {
            err = read_chunk(s, g, walk_on(&w), box, out, scratch, diag);
        }
    }
    note_waits(scratch,
               mri_box_len(box, g->ndim) * mr_dtype_bytes((mr_dtype)g->dtype));
    return err;
}

mr_err
mri_shard_read_box(const mri_shard *s, const mri_grid_row *g, const mr_box *box,
                   const mr_tensor *out, mr_scratch *scratch, mr_diag *diag)
{
    mr_scratch *mine = NULL;
    mr_box whole = {{0}, {0}};
    mr_err err;

    if (g->encoding != MR_ENC_CHUNKS) {
        return mri_fail(diag, MRI_E_NOT_ARRAY, MR_NOWHERE,
                        "the field is kept as a file, not as an array");
    }
    if (box == NULL) {
        for (unsigned i = 0; i < g->ndim; i++) {
            whole.size[i] = g->dims[i];
        }
        box = &whole;
    }
    err = check_box(g, box, out, diag);
    if (err != MR_OK) {
        return err;
    }
    if (scratch == NULL) {
        scratch = mine = mr_scratch_open();
    }
    err = scratch != NULL
              ? read_box(s, g, box, out, scratch, diag)
              : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    mr_scratch_close(mine);
    return named(s, err, diag);
}

mr_err
mri_shard_read_verbatim(const mri_shard *s, const mri_grid_row *g,
                        const uint8_t **p, size_t *bytes, mr_scratch *scratch,
                        mr_diag *diag)
{
    mri_chunk_row row;
    mr_err err;

    if (g->encoding == MR_ENC_CHUNKS) {
        return mri_fail(diag, MRI_E_NOT_ARRAY, MR_NOWHERE,
                        "the field is an array, not a file");
    }
    err = chunk_row(s, g->first_chunk, &row, diag);
    if (err == MR_OK && mri_scratch_asks(scratch)) {
        add_frame(s, &row, &scratch->ahead);
        mri_extents_ask(&scratch->ahead, &s->file);
    }
    if (err == MR_OK) {
        err = stored_bytes(s, &row, &scratch->stored, p, diag);
    }
    if (err == MR_OK) {
        *bytes = row.stored_len;
        note_waits(scratch, row.stored_len);
    }
    return named(s, err, diag);
}

mr_err
mri_shard_meta_pb(const mri_shard *s, const mri_sample_row *sample,
                  Mri__PbMeta **out, mr_diag *diag)
{
    mri_bytes room = {0};
    uint64_t bytes = (uint64_t)MRI_FRAME_HEAD + sample->meta_len;
    const uint8_t *p;
    mri_frame f;
    mr_err err =
        mri_object_view(&s->file, sample->meta_off, bytes, &room, &p, diag);

    *out = NULL;
    if (err == MR_OK) {
        err = mri_frame_get(&f, p, bytes, sample->meta_off, s->plan_tag, diag);
    }
    if (err == MR_OK &&
        (f.kind != MRI_FRAME_META || f.stored_len != sample->meta_len)) {
        err = mri_fail(diag, MRI_E_SHARD_DAMAGED, sample->meta_off,
                       "no meta frame stands here");
    }
    if (err == MR_OK) {
        err = mri_meta_unpack(out, p + MRI_FRAME_HEAD, f.stored_len,
                              sample->meta_off, diag);
    }
    if (err == MR_OK &&
        memcmp((*out)->uid.data, sample->uid, MR_UID_BYTES) != 0) {
        mri_meta_unpacked_free(*out);
        *out = NULL;
        err = mri_fail(diag, MRI_E_SHARD_DAMAGED, sample->meta_off,
                       "the meta frame of another sample");
    }
    mri_bytes_release(&room);
    return named(s, err, diag);
}

mr_err
mri_shard_meta(const mri_shard *s, uint32_t row, mri_meta **out, mr_diag *diag)
{
    mri_sample_row sample;
    Mri__PbMeta *pb;
    mr_err err = mri_shard_sample(s, row, &sample, diag);

    *out = NULL;
    if (err == MR_OK) {
        err = mri_shard_meta_pb(s, &sample, &pb, diag);
    }
    if (err == MR_OK) {
        err = mri_meta_of(out, pb, diag);
        mri_meta_unpacked_free(pb);
    }
    return err;
}
