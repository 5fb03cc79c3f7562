/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage_sample.c - one sample from its closing frame: tables as a foot
 * would hold them, proof of every field, and the stored bytes for a writer.
 */
#include "salvage_body.h"

#include "foot.h"
#include "frame.h"
#include "moments.h"
#include "prove.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <stdlib.h>
#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
contradicts(uint64_t at, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_SHARD_DAMAGED, at,
                    "the closing frame of the sample contradicts itself");
}

/* A chunk row can belong to a field of that encoding. */
static bool
kind_fits(const mri_chunk_row *row, uint8_t encoding)
{
    static const uint8_t kinds[] = {[MR_ENC_CHUNKS] = MRI_FRAME_CHUNK,
                                    [MR_ENC_JPEG] = MRI_FRAME_JPEG,
                                    [MR_ENC_BYTES] = MRI_FRAME_BYTES};

    return row->kind == kinds[encoding] &&
           (encoding == MR_ENC_CHUNKS ||
            (row->flags & MRI_CHUNK_CONSTANT) == 0);
}

/* Its rows, numbered within the sample from 0 on. */
static bool
read_grids(mri_encoded *e, const Mri__PbMeta *pb)
{
    uint64_t first = 0, chunks = 0;

    for (uint32_t i = 0; i < e->grid_count; i++) {
        mri_grid_row *g = &e->grids[i];

        mri_grid_row_get(g, pb->grid_rows.data + (size_t)i * MRI_GRID_ROW);
        first = i == 0 ? g->first_chunk : first;
        if (!mri_grid_sound(g) || g->first_chunk - first != chunks ||
            !mri_add(chunks, mri_grid_chunks(g), &chunks) ||
            chunks > e->chunk_count ||
            !mri_add(e->raw_bytes, mri_grid_bytes(g), &e->raw_bytes)) {
            return false;
        }
        g->first_chunk -= first;
        for (uint64_t k = g->first_chunk; k < chunks; k++) {
            if (!kind_fits(&e->chunks[k], g->encoding)) {
                return false;
            }
        }
    }
    return chunks == e->chunk_count;
}

/* The moment rows fit if the sample's first grid has the number `base`: a row
 * for each channel of a field, or none. `strict`: none for bytes only. */
static bool
moments_fit(const mri_encoded *e, uint32_t base, bool strict)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < e->grid_count; i++) {
        const mri_grid_row *g = &e->grids[i];
        uint32_t channels = 0;

        while (k < e->moment_count && e->moments[k].grid == base + i &&
               e->moments[k].channel == channels) {
            channels++;
            k++;
        }
        if (channels != mri_channels_of(g) &&
            (channels != 0 || g->encoding == MR_ENC_CHUNKS ||
             (strict && g->encoding != MR_ENC_BYTES))) {
            return false;
        }
        if (strict && channels != 0 && g->encoding == MR_ENC_BYTES) {
            return false;
        }
    }
    return k == e->moment_count;
}

/* Moment rows name grids by their number in the shard, which the closing
 * frame does not say: it is the one that they fit. */
static bool
read_moments(mri_encoded *e, const Mri__PbMeta *pb)
{
    for (uint32_t i = 0; i < e->moment_count; i++) {
        mri_moment_row_get(&e->moments[i],
                           pb->moment_rows.data + (size_t)i * MRI_MOMENT_ROW);
    }
    for (int strict = 1; strict >= 0; strict--) {
        for (uint32_t k = 0; k < e->grid_count; k++) {
            uint32_t base = e->moment_count != 0 ? e->moments[0].grid - k : 0;

            if (moments_fit(e, base, strict == 1)) {
                for (uint32_t i = 0; i < e->moment_count; i++) {
                    e->moments[i].grid -= base;
                }
                return true;
            }
        }
    }
    return false;
}

/* What its chunks hold; labels are numbered within the sample. */
static bool
read_stats(mri_encoded *e, const Mri__PbMeta *pb)
{
    size_t labels = pb->label_rows.len / MRI_LABEL_ROW, next = 0;
    mri_label_row label;
    uint64_t first = 0;

    if (pb->stat_rows.len != (size_t)e->chunk_count * MRI_STAT_ROW ||
        pb->label_rows.len % MRI_LABEL_ROW != 0) {
        return false;
    }
    for (uint32_t i = 0; i < e->chunk_count; i++) {
        mri_stat_row *row = &e->stats[i];

        mri_stat_row_get(row, pb->stat_rows.data + (size_t)i * MRI_STAT_ROW);
        first = i == 0 ? row->first_label : first;
        row->first_label -= first;
        if (row->first_label != next || row->labels > labels - next) {
            return false;
        }
        next += row->labels;
    }
    for (size_t i = 0; i < labels; i++) {
        mri_label_row_get(&label, pb->label_rows.data + i * MRI_LABEL_ROW);
        if (!mri_bytes_add(&e->labels, &label, sizeof label)) {
            return false;
        }
    }
    return next == labels;
}

static mr_err
read_rows(mri_encoded *e, const Mri__PbMeta *pb, uint64_t at, mr_diag *diag)
{
    size_t grids = pb->grid_rows.len / MRI_GRID_ROW;
    size_t chunks = pb->chunk_rows.len / MRI_CHUNK_ROW;
    size_t moments = pb->moment_rows.len / MRI_MOMENT_ROW;

    if (grids == 0 || grids > UINT16_MAX || pb->n_fields != grids ||
        pb->grid_rows.len % MRI_GRID_ROW != 0 ||
        pb->chunk_rows.len % MRI_CHUNK_ROW != 0 ||
        pb->moment_rows.len % MRI_MOMENT_ROW != 0) {
        return contradicts(at, diag);
    }
    e->grids = mri_alloc(grids, sizeof *e->grids);
    e->chunks = mri_alloc(chunks, sizeof *e->chunks);
    e->moments = mri_alloc(moments, sizeof *e->moments);
    e->stats = mri_alloc(chunks, sizeof *e->stats);
    if (e->grids == NULL || e->chunks == NULL || e->moments == NULL ||
        e->stats == NULL ||
        !mri_bytes_reserve(&e->labels, pb->label_rows.len)) {
        return no_memory(diag);
    }
    e->grid_count = (uint32_t)grids;
    e->chunk_count = (uint32_t)chunks;
    e->moment_count = (uint32_t)moments;
    for (size_t i = 0; i < chunks; i++) {
        mri_chunk_row_get(&e->chunks[i],
                          pb->chunk_rows.data + i * MRI_CHUNK_ROW);
        if (mri_chunk_known(&e->chunks[i], diag) != MR_OK) {
            return MR_EVERSION;
        }
    }
    for (size_t i = 0; i < grids; i++) {
        mri_grid_row_get(&e->grids[i], pb->grid_rows.data + i * MRI_GRID_ROW);
        if (!mri_grid_known(&e->grids[i])) {
            return mri_fail(diag, MRI_E_CODEC, at,
                            "field %zu has encoding %u, dtype %u and flags "
                            "0x%x, which this millrace does not know",
                            i, e->grids[i].encoding, e->grids[i].dtype,
                            e->grids[i].flags);
        }
    }
    return read_grids(e, pb) && read_moments(e, pb) && read_stats(e, pb)
               ? MR_OK
               : contradicts(at, diag);
}

/* The sample as the only one of a shard, so that the ordinary reader with all
 * its checks can read it. */
static mr_err
open_alone(mri_shard *s, mri_bytes *foot, const mri_body *b,
           const mri_encoded *e, const Mri__PbMeta *pb, mr_diag *diag)
{
    mri_bytes grids = {0};
    uint8_t raw[MRI_GRID_ROW], sample[MRI_SAMPLE_ROW];
    bool ok = true;
    mr_err err = MR_OK;

    *s = (mri_shard){.file = b->file, .schema = b->schema};
    memcpy(s->plan_tag, b->plan_tag, 16);
    mri_sample_row_put(sample, &e->row);
    for (uint32_t i = 0; ok && i < e->grid_count; i++) {
        mri_grid_row_put(raw, &e->grids[i]);
        ok = mri_bytes_add(&grids, raw, sizeof raw);
    }
    const mri_table_in tables[] = {
        {MRI_TABLE_SAMPLES, MRI_SAMPLE_ROW, 1, sample},
        {MRI_TABLE_GRIDS, MRI_GRID_ROW, e->grid_count, grids.data},
        {MRI_TABLE_CHUNKS, MRI_CHUNK_ROW, e->chunk_count, pb->chunk_rows.data},
        {MRI_TABLE_MOMENTS, MRI_MOMENT_ROW, 0, NULL},
        {MRI_TABLE_SCHEMA, 1, 0, NULL},
        {MRI_TABLE_STATS, MRI_STAT_ROW, 0, NULL},
        {MRI_TABLE_LABELS, MRI_LABEL_ROW, 0, NULL},
    };
    ok = ok && mri_foot_build(foot, &s->tail, b->file.size, tables,
                              MRI_COUNT(tables));
    mri_bytes_release(&grids);
    s->tail.samples = 1;
    if (!ok) {
        return no_memory(diag);
    }
    err = mri_foot_open(&s->foot, &s->tail, foot->data, diag);
    return err;
}

static mr_err
prove(const mri_body *b, const mri_encoded *e, const Mri__PbMeta *pb,
      mri_rescue *r, mr_diag *diag)
{
    mri_bytes foot = {0};
    mri_shard s;
    mr_err err = open_alone(&s, &foot, b, e, pb, diag);

    for (uint32_t i = 0; err == MR_OK && i < e->grid_count; i++) {
        mri_grid_row g;

        err = mri_shard_grid(&s, &e->row, i, &g, diag);
        if (err == MR_OK) {
            err = mri_inflation_add(&r->all, &g, diag);
        }
        if (err == MR_OK) {
            err = mri_shard_prove(&s, &g, &r->pixels, r->scratch, diag);
        }
    }
    mri_foot_release(&s.foot);
    mri_bytes_release(&foot);
    return err;
}

static int
by_place(const void *a, const void *b)
{
    const mri_piece *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* The stored bytes of its chunks, in the order of the file. */
static mr_err
take_pieces(const mri_body *b, mri_encoded *e, mr_diag *diag)
{
    e->pieces = mri_alloc(e->chunk_count, sizeof *e->pieces);
    if (e->pieces == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < e->chunk_count; i++) {
        const mri_chunk_row *row = &e->chunks[i];

        if ((row->flags & MRI_CHUNK_CONSTANT) == 0) {
            e->pieces[e->piece_count++] =
                (mri_piece){.at = row->file_off,
                            .stored_len = row->stored_len,
                            .raw_len = row->raw_len,
                            .chunk = i,
                            .kind = row->kind,
                            .codec = row->codec,
                            .filter = row->filter,
                            .element = b->file.map[row->file_off + 7]};
        }
    }
    if (e->piece_count != 0) {
        qsort(e->pieces, e->piece_count, sizeof *e->pieces, by_place);
    }
    for (uint32_t i = 0; i < e->piece_count; i++) {
        mri_piece *p = &e->pieces[i];

        if (!mri_frame_add(e, p, b->file.map + p->at + MRI_FRAME_HEAD)) {
            return no_memory(diag);
        }
    }
    return MR_OK;
}

/* The closing frame without its rows: the writer adds them again. */
static bool
take_meta(mri_encoded *e, const Mri__PbMeta *pb)
{
    Mri__PbMeta cut = *pb;

    cut.grid_rows = cut.chunk_rows = cut.moment_rows = cut.stat_rows =
        cut.label_rows = (ProtobufCBinaryData){0, NULL};
    cut.row = 0;
    return mri_pb_pack(&e->meta, &cut.base);
}

static mr_err
fill_row(const mri_body *b, mri_encoded *e, const Mri__PbMeta *pb, uint64_t at,
         mr_diag *diag)
{
    memcpy(e->row.uid, pb->uid.data, MR_UID_BYTES);
    e->row.n_grid = (uint16_t)e->grid_count;
    e->row.group = mri_group_hash(pb->group);
    e->row.key = mri_xxh3(pb->key, strlen(pb->key));
    if (!mri_content_take(e, pb->class_name)) {
        return no_memory(diag);
    }
    e->row.class_index = MR_NO_CLASS;
    for (uint32_t i = 0; i < b->schema->n_classes; i++) {
        if (strcmp(b->schema->classes[i], pb->class_name) == 0 &&
            pb->class_name[0] != '\0') {
            e->row.class_index = i;
        }
    }
    if (pb->class_name[0] != '\0' && e->row.class_index == MR_NO_CLASS) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, at,
                        "class '%.80s' does not stand in the schema",
                        pb->class_name);
    }
    return MR_OK;
}

mr_err
mri_body_sample(const mri_body *b, const mri_body_meta *meta, mri_rescue *r,
                Mri__PbMeta **pb, mri_encoded **out, mr_diag *diag)
{
    mri_encoded *e = mri_alloc(1, sizeof *e);
    mr_err err;

    *pb = NULL;
    *out = NULL;
    if (r->scratch == NULL) {
        r->scratch = mr_scratch_open();
    }
    if (e == NULL || r->scratch == NULL) {
        mri_free(e);
        return no_memory(diag);
    }
    err = mri_meta_unpack(pb, b->file.map + meta->at + MRI_FRAME_HEAD,
                          meta->len, meta->at, diag);
    if (err == MR_OK) {
        err = read_rows(e, *pb, meta->at, diag);
    }
    if (err == MR_OK) {
        err = fill_row(b, e, *pb, meta->at, diag);
    }
    if (err == MR_OK) {
        err = prove(b, e, *pb, r, diag);
    }
    if (err == MR_OK) {
        err = take_pieces(b, e, diag);
    }
    if (err == MR_OK && !take_meta(e, *pb)) {
        err = no_memory(diag);
    }
    if (err != MR_OK) {
        mri_encoded_free(e);
        return err;
    }
    *out = e;
    return MR_OK;
}

void
mri_rescue_release(mri_rescue *r)
{
    mr_scratch_close(r->scratch);
    mri_bytes_release(&r->pixels);
    *r = (mri_rescue){0};
}
