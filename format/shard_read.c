/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_read.c - rows of an open shard, and what stands at them.
 *
 * Nothing that comes out was believed: rows lie in pages whose hash held, a
 * row must make sense before it is used, and a chunk's bytes must give the
 * checksum that its row holds.
 */
#include "shard_read.h"

#include "frame.h"
#include "moments.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

#define WANTED_CHUNKS 8u     /* a field of more asks when it is read */
#define FORESEEN_BYTES 4096u /* of a frame; then the CPU follows by itself */

mr_err
mri_shard_named(const mri_shard *s, mr_err err, mr_diag *diag)
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
 * they mostly do, the first of this one is known at once. False: there is none;
 * a guess that fails is a row of another sample. */
static bool
likely(const mri_foot *foot, mri_table table, uint32_t sample, uint64_t *row)
{
    uint64_t rows = foot->tables[table].rows;
    uint64_t samples = foot->tables[MRI_TABLE_SAMPLES].rows;

    if (sample >= samples || rows < samples) {
        return false;
    }
    *row = sample * (rows / samples);
    return true;
}

static const uint8_t *
likely_row(const mri_foot *foot, mri_table table, uint32_t sample)
{
    uint64_t row;

    return likely(foot, table, sample, &row)
               ? foot->base + foot->tables[table].off +
                     row * foot->tables[table].row_bytes
               : NULL;
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
    if (s->file.map == NULL) {
        return; /* a page may just be read into its place */
    }
    foresee_row(&s->foot, MRI_TABLE_SAMPLES, sample);
    foresee_row(&s->foot, MRI_TABLE_GRIDS, sample);
    foresee_row(&s->foot, MRI_TABLE_CHUNKS, sample);
}

void
mri_shard_want_rows(const mri_shard *s, uint32_t sample)
{
    static const mri_table tables[] = {MRI_TABLE_SAMPLES, MRI_TABLE_GRIDS,
                                       MRI_TABLE_CHUNKS};
    uint64_t row;

    for (size_t i = 0; i < MRI_COUNT(tables); i++) {
        if (likely(&s->foot, tables[i], sample, &row)) {
            mri_foot_want(&s->foot, tables[i], row);
        }
    }
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
    return mri_shard_named(s, err, diag);
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
        return mri_shard_named(s, err, diag);
    }
    mri_grid_row_get(out, p);
    if (!mri_grid_known(out)) { /* its page holds: it was written like this */
        err = mri_fail(diag, MRI_E_CODEC, s->tail.foot_off,
                       "field %u of a sample has encoding %u, dtype %u and "
                       "flags 0x%x, which this millrace does not know",
                       i, out->encoding, out->dtype, out->flags);
    } else if (!mri_grid_sound(out) || out->field >= s->schema->n_fields ||
               !mri_add(out->first_chunk, mri_grid_chunks(out), &end) ||
               end > mri_foot_rows(&s->foot, MRI_TABLE_CHUNKS)) {
        err =
            mri_fail(diag, MRI_E_SHARD_DAMAGED, s->tail.foot_off,
                     "grid row %u contradicts itself", sample->first_grid + i);
    }
    return mri_shard_named(s, err, diag);
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
            return mri_shard_named(s, err, diag);
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
    return mri_shard_named(s,
                           mri_fail(diag, MRI_E_NO_BOX, MR_NOWHERE,
                                    "no statistics of channel %u", channel),
                           diag);
}

mr_err
mri_shard_chunk(const mri_shard *s, uint64_t i, mri_chunk_row *out,
                mr_diag *diag)
{
    const uint8_t *p;
    mr_err err = mri_foot_row(&s->foot, MRI_TABLE_CHUNKS, i, &p, diag);

    if (err == MR_OK) {
        mri_chunk_row_get(out, p);
        err = mri_chunk_known(out, diag);
    }
    return err;
}

mr_err
mri_shard_stored(const mri_shard *s, const mri_chunk_row *row, mri_bytes *room,
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

void
mri_shard_add_frame(const mri_shard *s, const mri_chunk_row *row,
                    mri_extents *ahead)
{
    if ((row->flags & MRI_CHUNK_CONSTANT) == 0 &&
        row->file_off < s->tail.foot_off) {
        mri_extents_add(ahead, row->file_off,
                        (uint64_t)MRI_FRAME_HEAD + row->stored_len);
    }
}

/* The frames of a field's chunks. */
static void
want_field(const mri_shard *s, const mri_grid_row *g, mri_extents *ahead)
{
    uint64_t n = mri_grid_chunks(g);

    for (uint64_t i = 0; n <= WANTED_CHUNKS && i < n; i++) {
        mri_chunk_row row;

        if (mri_shard_chunk(s, g->first_chunk + i, &row, NULL) == MR_OK) {
            mri_shard_add_frame(s, &row, ahead);
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
    err = mri_shard_chunk(s, g->first_chunk, &row, diag);
    if (err == MR_OK && mri_scratch_asks(scratch)) {
        mri_shard_add_frame(s, &row, &scratch->ahead);
        mri_extents_ask(&scratch->ahead, &s->file);
    }
    if (err == MR_OK) {
        err = mri_shard_stored(s, &row, &scratch->stored, p, diag);
    }
    if (err == MR_OK) {
        *bytes = row.stored_len;
        mri_scratch_note(scratch, row.stored_len);
    }
    return mri_shard_named(s, err, diag);
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
    return mri_shard_named(s, err, diag);
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
