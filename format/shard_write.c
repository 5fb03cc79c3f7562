/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_write.c - the light half of writing: give encoded samples their place,
 * then foot and tails. One thread, in the order of the plan.
 */
#include "encode.h"
#include "foot.h"
#include "frame.h"
#include "meta.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/store.h>

#include <stdio.h>
#include <string.h>

/* Bytes that are written at once, from multiples of as many: few calls, whole
 * pages, and what was just summed is copied to the system out of the cache. */
#define RUN (256u << 10)

struct mri_shard_writer {
    mri_store store;
    mri_upload file;
    uint8_t plan_tag[16];
    mri_bytes pending; /* not yet written */
    uint64_t ordinal;  /* of the next frame */
    uint64_t raw_bytes;
    mri_bytes samples, grids, chunks, moments, schema, stats, labels;
};

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static uint64_t
position(const mri_shard_writer *w)
{
    return w->file.size + w->pending.len;
}

static mr_err
flush(mri_shard_writer *w, mr_diag *diag)
{
    mr_err err =
        mri_upload_add(&w->file, w->pending.data, w->pending.len, diag);

    if (err == MR_OK) {
        w->pending.len = 0;
    }
    return err;
}

/* Whole runs of what is large are not copied. */
static mr_err
append(mri_shard_writer *w, const void *p, size_t bytes, mr_diag *diag)
{
    const uint8_t *from = p;
    mr_err err = MR_OK;

    while (err == MR_OK && bytes != 0) {
        size_t n = RUN - (size_t)(position(w) % RUN);

        if (w->pending.len == 0 && n == RUN && bytes >= RUN) {
            n = bytes - bytes % RUN;
            err = mri_upload_add(&w->file, from, n, diag);
        } else {
            n = n < bytes ? n : bytes;
            if (!mri_bytes_add(&w->pending, from, n)) {
                return no_memory(diag);
            }
            err = position(w) % RUN == 0 ? flush(w, diag) : MR_OK;
        }
        from += n;
        bytes -= n;
    }
    return err;
}

static mr_err
pad_to(mri_shard_writer *w, uint64_t multiple, mr_diag *diag)
{
    static const uint8_t zeros[MRI_FILE_ALIGN];
    uint64_t at = position(w);

    return append(w, zeros, (size_t)(mri_round_up(at, multiple) - at), diag);
}

/* Header, payload, pad. Where the frame begins comes back in *off. */
static mr_err
write_frame(mri_shard_writer *w, mri_frame *frame, const void *payload,
            uint64_t *off, mr_diag *diag)
{
    uint8_t header[MRI_FRAME_HEAD];
    mr_err err;

    frame->ordinal = w->ordinal++;
    *off = position(w);
    mri_frame_put(header, frame, w->plan_tag, payload);
    err = append(w, header, sizeof header, diag);
    if (err == MR_OK) {
        err = append(w, payload, frame->stored_len, diag);
    }
    return err == MR_OK ? pad_to(w, MRI_ALIGN, diag) : err;
}

mr_err
mri_shard_begin(mri_shard_writer **out, const char *dir,
                const uint8_t plan_tag[16], const mri_schema *schema,
                mr_diag *diag)
{
    mri_shard_writer *w = mri_alloc(1, sizeof *w);
    uint8_t head[MRI_HEAD_BYTES];
    uint64_t off;
    mr_err err;

    *out = NULL;
    if (w == NULL) {
        return no_memory(diag);
    }
    memcpy(w->plan_tag, plan_tag, 16);
    err = mri_store_open(&w->store, dir, diag);
    if (err == MR_OK) {
        err = mri_upload_begin(&w->file, &w->store, "shard", diag);
    }
    if (err == MR_OK && !mri_schema_pack(&w->schema, schema)) {
        err = no_memory(diag);
    }
    if (err == MR_OK) {
        mri_head_put(head, plan_tag);
        err = append(w, head, sizeof head, diag);
    }
    if (err == MR_OK) {
        mri_frame f = {.kind = MRI_FRAME_SCHEMA,
                       .element = 1,
                       .stored_len = (uint32_t)w->schema.len,
                       .raw_len = (uint32_t)w->schema.len};

        err = write_frame(w, &f, w->schema.data, &off, diag);
    }
    if (err != MR_OK) {
        mri_shard_close_writer(w);
        return err;
    }
    *out = w;
    return MR_OK;
}

/* The head of a frame that lies where it will be written from. */
static void
give_head(mri_shard_writer *w, mri_encoded *e, const mri_piece *p,
          mri_chunk_row *row)
{
    uint8_t *payload = e->frames.data + p->at;
    mri_frame f = {.kind = p->kind,
                   .codec = p->codec,
                   .filter = p->filter,
                   .element = p->element,
                   .stored_len = p->stored_len,
                   .raw_len = p->raw_len,
                   .ordinal = w->ordinal++};

    mri_frame_put(payload - MRI_FRAME_HEAD, &f, w->plan_tag, payload);
    row->crc = f.crc;
}

/* The chunks of a sample; `rows` are its chunk rows, completed on the way. */
static mr_err
write_pieces(mri_shard_writer *w, mri_encoded *e, mri_chunk_row *rows,
             mr_diag *diag)
{
    uint64_t first = position(w), done = first;
    mr_err err = MR_OK;

    for (uint32_t i = 0; err == MR_OK && i < e->piece_count; i++) {
        const mri_piece *p = &e->pieces[i];
        uint64_t end = first + mri_round_up(p->at + p->stored_len, MRI_ALIGN);

        give_head(w, e, p, &rows[p->chunk]);
        rows[p->chunk].file_off = first + p->at - MRI_FRAME_HEAD;
        if (i + 1 < e->piece_count) {
            end -= end % RUN;
        }
        if (end > done) {
            err = append(w, e->frames.data + (done - first),
                         (size_t)(end - done), diag);
            done = end;
        }
    }
    return err;
}

static bool
add_stats(mri_shard_writer *w, const mri_encoded *e)
{
    uint64_t first_label = w->labels.len / MRI_LABEL_ROW;
    uint8_t raw[MRI_STAT_ROW];
    bool ok = true;

    for (uint32_t i = 0; ok && i < e->chunk_count; i++) {
        mri_stat_row s = e->stats[i];

        s.first_label += first_label;
        mri_stat_row_put(raw, &s);
        ok = mri_bytes_add(&w->stats, raw, MRI_STAT_ROW);
    }
    for (size_t i = 0; ok && i < mri_label_rows(e); i++) {
        const mri_label_row *label = (const void *)e->labels.data;

        mri_label_row_put(raw, &label[i]);
        ok = mri_bytes_add(&w->labels, raw, MRI_LABEL_ROW);
    }
    return ok;
}

/* The sample's rows as they will stand in the foot, at the tables' ends. */
static bool
add_rows(mri_shard_writer *w, const mri_encoded *e, const mri_chunk_row *chunks)
{
    uint64_t first_chunk = w->chunks.len / MRI_CHUNK_ROW;
    uint64_t first_grid = w->grids.len / MRI_GRID_ROW;
    uint8_t raw[MRI_MOMENT_ROW];
    bool ok = true;

    for (uint32_t i = 0; ok && i < e->grid_count; i++) {
        mri_grid_row g = e->grids[i];

        g.first_chunk += first_chunk;
        mri_grid_row_put(raw, &g);
        ok = mri_bytes_add(&w->grids, raw, MRI_GRID_ROW);
    }
    for (uint32_t i = 0; ok && i < e->chunk_count; i++) {
        mri_chunk_row_put(raw, &chunks[i]);
        ok = mri_bytes_add(&w->chunks, raw, MRI_CHUNK_ROW);
    }
    for (uint32_t i = 0; ok && i < e->moment_count; i++) {
        mri_moment_row m = e->moments[i];

        m.grid += (uint32_t)first_grid;
        mri_moment_row_put(raw, &m);
        ok = mri_bytes_add(&w->moments, raw, MRI_MOMENT_ROW);
    }
    return ok && add_stats(w, e);
}

/* The closing frame repeats the rows that were just added to the tables. */
static mr_err
write_meta(mri_shard_writer *w, const mri_encoded *e, mri_sample_row *row,
           mr_diag *diag)
{
    size_t grids = (size_t)e->grid_count * MRI_GRID_ROW;
    size_t chunks = (size_t)e->chunk_count * MRI_CHUNK_ROW;
    size_t moments = (size_t)e->moment_count * MRI_MOMENT_ROW;
    size_t stats = (size_t)e->chunk_count * MRI_STAT_ROW;
    size_t labels = mri_label_rows(e) * MRI_LABEL_ROW;
    mri_meta_rows rows = {
        .grids = w->grids.data + w->grids.len - grids,
        .chunks = w->chunks.data + w->chunks.len - chunks,
        .moments = w->moments.data + w->moments.len - moments,
        .stats = w->stats.data + w->stats.len - stats,
        .labels = labels != 0 ? w->labels.data + w->labels.len - labels : NULL,
        .stat_bytes = stats,
        .label_bytes = labels,
        .grid_bytes = grids,
        .chunk_bytes = chunks,
        .moment_bytes = moments,
        .row = w->samples.len / MRI_SAMPLE_ROW};
    mri_bytes meta = {0};
    mr_err err = MR_OK;

    if (!mri_bytes_add(&meta, e->meta.data, e->meta.len) ||
        !mri_meta_pack_rows(&meta, &rows)) {
        err = no_memory(diag);
    }
    if (err == MR_OK && meta.len > UINT32_MAX) {
        err = mri_fail(diag, MRI_E_TOO_LARGE, MR_NOWHERE,
                       "the description of a sample is over 4 GiB");
    }
    if (err == MR_OK) {
        mri_frame f = {.kind = MRI_FRAME_META,
                       .element = 1,
                       .stored_len = (uint32_t)meta.len,
                       .raw_len = (uint32_t)meta.len};

        row->meta_len = f.stored_len;
        err = write_frame(w, &f, meta.data, &row->meta_off, diag);
    }
    mri_bytes_release(&meta);
    return err;
}

mr_err
mri_shard_add(mri_shard_writer *w, mri_encoded *e, mr_diag *diag)
{
    uint64_t grids = w->grids.len / MRI_GRID_ROW;
    mri_sample_row row = e->row;
    mri_chunk_row *chunks;
    uint8_t raw[MRI_SAMPLE_ROW];
    mr_err err;

    if (grids + e->grid_count > UINT32_MAX ||
        w->samples.len / MRI_SAMPLE_ROW >= UINT32_MAX) {
        return mri_fail(diag, MRI_E_TOO_LARGE, MR_NOWHERE,
                        "too many samples in one shard");
    }
    chunks = mri_alloc(e->chunk_count, sizeof *chunks);
    if (chunks == NULL) {
        return no_memory(diag);
    }
    memcpy(chunks, e->chunks, e->chunk_count * sizeof *chunks);
    row.first_grid = (uint32_t)grids;
    err = write_pieces(w, e, chunks, diag);
    if (err == MR_OK && !add_rows(w, e, chunks)) {
        err = no_memory(diag);
    }
    mri_free(chunks);
    if (err == MR_OK) {
        err = write_meta(w, e, &row, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    mri_sample_row_put(raw, &row);
    w->raw_bytes += e->raw_bytes;
    return mri_bytes_add(&w->samples, raw, sizeof raw) ? MR_OK
                                                       : no_memory(diag);
}

/* Foot, pads and both tails: everything after the body. */
static mr_err
write_foot(mri_shard_writer *w, mri_tail *tail, mr_diag *diag)
{
    const mri_table_in tables[] = {
        {MRI_TABLE_SAMPLES, MRI_SAMPLE_ROW, w->samples.len / MRI_SAMPLE_ROW,
         w->samples.data},
        {MRI_TABLE_GRIDS, MRI_GRID_ROW, w->grids.len / MRI_GRID_ROW,
         w->grids.data},
        {MRI_TABLE_CHUNKS, MRI_CHUNK_ROW, w->chunks.len / MRI_CHUNK_ROW,
         w->chunks.data},
        {MRI_TABLE_MOMENTS, MRI_MOMENT_ROW, w->moments.len / MRI_MOMENT_ROW,
         w->moments.data},
        {MRI_TABLE_SCHEMA, 1, w->schema.len, w->schema.data},
        {MRI_TABLE_STATS, MRI_STAT_ROW, w->stats.len / MRI_STAT_ROW,
         w->stats.data},
        {MRI_TABLE_LABELS, MRI_LABEL_ROW, w->labels.len / MRI_LABEL_ROW,
         w->labels.data},
    };
    mri_bytes foot = {0};
    uint8_t raw[MRI_TAIL_BYTES];
    uint8_t last[MRI_TAIL_SPAN] = {0};
    mr_err err;

    if (!mri_foot_build(&foot, tail, position(w), tables, MRI_COUNT(tables))) {
        mri_bytes_release(&foot);
        return no_memory(diag);
    }
    tail->samples = (uint32_t)(w->samples.len / MRI_SAMPLE_ROW);
    mri_tail_put(raw, tail);
    memcpy(last, raw, sizeof raw);
    memcpy(last + sizeof last - sizeof raw, raw, sizeof raw);
    err = append(w, foot.data, foot.len, diag);
    mri_bytes_release(&foot);
    if (err == MR_OK) {
        err = pad_to(w, MRI_FILE_ALIGN, diag);
    }
    if (err == MR_OK) {
        err = append(w, last, sizeof last, diag);
    }
    return err == MR_OK ? flush(w, diag) : err;
}

mri_shard_file
mri_shard_name(const uint8_t id[16])
{
    mri_shard_file file;
    char hex[33];

    mri_hex(hex, id, 16);
    (void)snprintf(file.name, sizeof file.name, "shards/%.2s/%s.mrs", hex, hex);
    return file;
}

char *
mri_shard_path(const char *dir, const uint8_t id[16])
{
    return mri_path_join(dir, mri_shard_name(id).name);
}

mr_err
mri_shard_finish(mri_shard_writer *w, mri_shard_ref *ref, mr_diag *diag)
{
    mri_tail tail;
    mr_err err;

    *ref = (mri_shard_ref){0};
    if (w->samples.len == 0) {
        return MR_OK;
    }
    err = write_foot(w, &tail, diag);
    if (err == MR_OK) {
        /* Replacing is harmless: the name is a hash of the content. */
        err = mri_upload_commit(&w->file, mri_shard_name(tail.shard_id).name,
                                MRI_PUT_REPLACE, diag);
    }
    if (err == MR_OK) {
        memcpy(ref->id, tail.shard_id, 16);
        memcpy(ref->plan_tag, w->plan_tag, 16);
        ref->bytes = w->file.size;
        ref->foot_hash = tail.hash;
        ref->samples = tail.samples;
        ref->raw_bytes = w->raw_bytes;
    }
    return err;
}

void
mri_shard_close_writer(mri_shard_writer *w)
{
    if (w == NULL) {
        return;
    }
    mri_upload_cancel(&w->file);
    mri_store_close(&w->store);
    mri_bytes_release(&w->pending);
    mri_bytes_release(&w->samples);
    mri_bytes_release(&w->grids);
    mri_bytes_release(&w->chunks);
    mri_bytes_release(&w->moments);
    mri_bytes_release(&w->schema);
    mri_bytes_release(&w->stats);
    mri_bytes_release(&w->labels);
    mri_free(w);
}
