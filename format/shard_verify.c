/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_verify.c - read every byte of a shard and prove it.
 *
 * First the body as it lies there: frame after frame, with the pads between
 * them. Then the foot: every page, both tails, the id. Then each sample by its
 * rows: the meta frame must repeat them, every chunk must decode, and every
 * array must give the hash that was taken when it was written.
 */
#include "chunk.h"
#include "frame.h"
#include "inflation.h"
#include "prove.h"
#include "shard_read.h"
#include "shard_stats.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <stdlib.h>
#include <string.h>

typedef struct verifier {
    mri_object file;
    mri_shard *shard; /* NULL if the file cannot be opened as a shard */
    uint8_t plan_tag[16];
    mri_damage_fn *tell;
    void *user;
    mri_verified *out;
    uint64_t *bad; /* offsets of damage in the body, ascending */
    size_t bad_count;
    mr_scratch *scratch;
    mri_bytes pixels;
    mri_stat_proof stats;
    mri_inflation all;
    bool starved; /* memory ran out: what was not read is not proven */
} verifier;

/* Which sample owns an offset of the body: the first whose meta frame does not
 * lie before it. Its key, or NULL. The caller frees. */
static char *
owner_of(const verifier *v, uint64_t at)
{
    uint32_t low = 0, high = v->shard != NULL ? mri_shard_samples(v->shard) : 0;
    mri_sample_row row;
    mri_meta *meta;
    char *key = NULL;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (mri_shard_sample(v->shard, middle, &row, NULL) != MR_OK) {
            return NULL;
        }
        if (row.meta_off < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (v->shard != NULL && low < mri_shard_samples(v->shard) &&
        mri_shard_meta(v->shard, low, &meta, NULL) == MR_OK) {
        key = mri_strdup(meta->key);
        mri_meta_free(meta);
    }
    return key;
}

/* Memory that ran out is nothing that the file could help. */
static void
report(verifier *v, const char *sample, mr_diag *diag)
{
    if (diag->err == MR_ENOMEM) {
        v->starved = true;
        return;
    }
    mri_diag_in(diag, v->file.path);
    v->out->damages++;
    v->tell(v->user, sample, diag);
}

static void
report_body(verifier *v, uint64_t at, mr_diag *diag)
{
    uint64_t *bad = mri_resize(v->bad, v->bad_count + 1, sizeof *bad);
    char *key = owner_of(v, at);

    if (bad != NULL) {
        v->bad = bad;
        bad[v->bad_count++] = at;
    } else {
        v->starved = true;
    }
    report(v, key, diag);
    mri_free(key);
}

static void
report_text(verifier *v, uint64_t at, const char *text)
{
    mr_diag diag = {0};

    (void)mri_fail(&diag, MRI_E_SHARD_DAMAGED, at, "%s", text);
    report(v, NULL, &diag);
}

/* The next offset from `at` on where a whole frame stands; else the end. */
static uint64_t
next_frame(const verifier *v, uint64_t at, uint64_t end)
{
    mri_frame f;

    for (; at + MRI_FRAME_HEAD <= end; at += MRI_ALIGN) {
        if (mri_frame_get(&f, v->file.map + at, end - at, at, v->plan_tag,
                          NULL) == MR_OK) {
            return at;
        }
    }
    return end;
}

static void
check_body(verifier *v, uint64_t end)
{
    uint64_t at = MRI_HEAD_BYTES, ordinal = 0;

    while (at < end) {
        mr_diag diag = {0};
        mri_frame f;
        uint64_t after;

        if (mri_frame_get(&f, v->file.map + at, end - at, at, v->plan_tag,
                          &diag) != MR_OK) {
            report_body(v, at, &diag);
            at = next_frame(v, at + MRI_ALIGN, end);
            continue;
        }
        if (f.ordinal < ordinal) {
            (void)mri_fail(&diag, MRI_E_SHARD_DAMAGED, at,
                           "frame %llu stands where %llu was due",
                           (unsigned long long)f.ordinal,
                           (unsigned long long)ordinal);
            report_body(v, at, &diag);
        }
        ordinal = f.ordinal + 1;
        v->out->frames++;
        after = at + MRI_FRAME_HEAD + f.stored_len;
        at = mri_round_up(after, MRI_ALIGN);
        at = at < end ? at : end;
        if (!mri_all_zero(v->file.map + after, (size_t)(at - after))) {
            (void)mri_fail(&diag, MRI_E_SHARD_DAMAGED, after,
                           "the pad after a frame is not zero");
            report_body(v, after, &diag);
        }
    }
}

/* Both tails, and nothing but zeros around them. */
static void
check_end(verifier *v)
{
    const mri_tail *tail = &v->shard->tail;
    uint64_t end = tail->foot_off + tail->foot_len, size = v->file.size;
    uint64_t places[2] = {size - MRI_TAIL_SPAN, size - MRI_TAIL_BYTES};
    uint8_t want[MRI_TAIL_BYTES];

    mri_tail_put(want, tail);
    for (int i = 0; i < 2; i++) {
        if (memcmp(v->file.map + places[i], want, sizeof want) != 0) {
            report_text(v, places[i],
                        "one of the two tails is damaged (the other one "
                        "stands in for it)");
        }
    }
    if (!mri_all_zero(v->file.map + end, (size_t)(places[0] - end)) ||
        !mri_all_zero(v->file.map + places[0] + MRI_TAIL_BYTES,
                      MRI_TAIL_SPAN - 2 * MRI_TAIL_BYTES)) {
        report_text(v, end, "the pad after the foot is not zero");
    }
}

static void
check_foot(verifier *v)
{
    const mri_tail *tail = &v->shard->tail;
    uint8_t digest[32];
    mr_diag diag = {0};

    if (mri_foot_check_all(&v->shard->foot, &diag) != MR_OK) {
        report(v, NULL, &diag);
        return;
    }
    mri_sha256_of(digest, v->file.map + tail->foot_off, (size_t)tail->foot_len);
    if (memcmp(digest, tail->shard_id, 16) != 0) {
        report_text(v, tail->foot_off, "the foot does not give the shard's id");
    }
}

/* The rows of the foot from `first` on equal those that a meta frame holds. */
static bool
rows_agree(const verifier *v, mri_table table, uint64_t first,
           const ProtobufCBinaryData *rows, size_t row_bytes)
{
    uint64_t n = rows->len / row_bytes;

    if (rows->len % row_bytes != 0) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *p;

        if (mri_foot_row(&v->shard->foot, table, first + i, &p, NULL) !=
                MR_OK ||
            memcmp(p, rows->data + i * row_bytes, row_bytes) != 0) {
            return false;
        }
    }
    return true;
}

/* The same for the rows of its chunks and for the labels that they count. */
static bool
stats_agree(const verifier *v, uint64_t first_chunk, const Mri__PbMeta *pb)
{
    mri_stat_row first = {0};

    if (pb->stat_rows.len / MRI_STAT_ROW !=
        pb->chunk_rows.len / MRI_CHUNK_ROW) {
        return false;
    }
    if (pb->stat_rows.len >= MRI_STAT_ROW) {
        mri_stat_row_get(&first, pb->stat_rows.data);
    }
    return rows_agree(v, MRI_TABLE_STATS, first_chunk, &pb->stat_rows,
                      MRI_STAT_ROW) &&
           rows_agree(v, MRI_TABLE_LABELS, first.first_label, &pb->label_rows,
                      MRI_LABEL_ROW);
}

/* The first moment row of a grid; rows are sorted, a missing one is the end. */
static uint64_t
first_moment(const verifier *v, uint32_t grid)
{
    uint64_t low = 0, high = mri_foot_rows(&v->shard->foot, MRI_TABLE_MOMENTS);

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const uint8_t *p;

        if (mri_foot_row(&v->shard->foot, MRI_TABLE_MOMENTS, middle, &p,
                         NULL) != MR_OK) {
            return high;
        }
        if (mri_get32(p) < grid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static mr_err
check_meta(verifier *v, uint32_t row, const mri_sample_row *sample,
           mr_diag *diag)
{
    Mri__PbMeta *pb;
    mri_grid_row g = {0};
    mr_err err = mri_shard_meta_pb(v->shard, sample, &pb, diag);

    if (err == MR_OK && sample->n_grid != 0) {
        err = mri_shard_grid(v->shard, sample, 0, &g, diag);
    }
    if (err != MR_OK) {
        mri_meta_unpacked_free(pb);
        return err;
    }
    if (pb->row != row ||
        pb->grid_rows.len != (size_t)sample->n_grid * MRI_GRID_ROW ||
        !rows_agree(v, MRI_TABLE_GRIDS, sample->first_grid, &pb->grid_rows,
                    MRI_GRID_ROW) ||
        !rows_agree(v, MRI_TABLE_CHUNKS, g.first_chunk, &pb->chunk_rows,
                    MRI_CHUNK_ROW) ||
        !rows_agree(v, MRI_TABLE_MOMENTS, first_moment(v, sample->first_grid),
                    &pb->moment_rows, MRI_MOMENT_ROW) ||
        !stats_agree(v, g.first_chunk, pb) ||
        mri_xxh3(pb->key, strlen(pb->key)) != sample->key ||
        mri_group_hash(pb->group) != sample->group) {
        err = mri_fail(diag, MRI_E_SHARD_DAMAGED, sample->meta_off,
                       "the meta frame and the foot tell different things");
    }
    mri_meta_unpacked_free(pb);
    return err;
}

static mr_err
prove_array(const mri_shard *s, const mri_grid_row *g, mri_bytes *pixels,
            mr_scratch *scratch, mr_diag *diag)
{
    uint64_t shape[MR_MAX_RANK], bytes = mri_grid_bytes(g);
    mr_tensor t;
    mr_err err;

    pixels->len = 0;
    if (!mri_bytes_reserve(pixels, (size_t)bytes)) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a field of %llu bytes",
                        (unsigned long long)bytes);
    }
    for (unsigned i = 0; i < MR_MAX_RANK; i++) {
        shape[i] = g->dims[i];
    }
    t = mr_tensor_of(pixels->data, (mr_dtype)g->dtype, g->ndim, shape);
    err = mri_shard_read_box(s, g, NULL, &t, scratch, diag);
    if (err == MR_OK && mri_xxh3(pixels->data, (size_t)bytes) != g->content) {
        err = mri_fail(diag, MRI_E_CHECKSUM, MR_NOWHERE,
                       "a field does not decode to the values that were "
                       "written");
    }
    return err;
}

mr_err
mri_shard_prove(const mri_shard *s, const mri_grid_row *g, mri_bytes *pixels,
                mr_scratch *scratch, mr_diag *diag)
{
    const uint8_t *p;
    size_t bytes;
    mr_err err;

    if (g->encoding == MR_ENC_CHUNKS) {
        return prove_array(s, g, pixels, scratch, diag);
    }
    err = mri_shard_read_verbatim(s, g, &p, &bytes, scratch, diag);
    /* What a JPEG decodes to is the decoder's affair; plain bytes are not. */
    if (err == MR_OK && g->encoding == MR_ENC_BYTES &&
        mri_xxh3(p, bytes) != g->content) {
        err = mri_fail(diag, MRI_E_CHECKSUM, MR_NOWHERE,
                       "a field of bytes has another hash than was written");
    }
    return err;
}

/* Damage between the last meta frame and this one was told already. */
static bool
told(const verifier *v, uint64_t from, uint64_t to)
{
    for (size_t i = 0; i < v->bad_count; i++) {
        if (v->bad[i] >= from && v->bad[i] <= to) {
            return true;
        }
    }
    return false;
}

/* Its values, then what is said of them. */
static mr_err
check_field(verifier *v, const mri_sample_row *sample, uint32_t i,
            mr_diag *diag)
{
    mri_grid_row g;
    mr_err err = mri_shard_grid(v->shard, sample, i, &g, diag);

    if (err == MR_OK) {
        err = mri_inflation_add(&v->all, &g, diag);
    }
    if (err == MR_OK) {
        err = mri_shard_prove(v->shard, &g, &v->pixels, v->scratch, diag);
    }
    if (err == MR_OK && g.encoding == MR_ENC_CHUNKS) {
        err = mri_shard_prove_stats(v->shard, sample, i, v->pixels.data,
                                    &v->stats, v->scratch, diag);
    }
    return err;
}

static void
check_samples(verifier *v)
{
    uint64_t from = 0;

    mr_err err = MR_OK;

    v->all = (mri_inflation){.file_bytes = v->file.size};
    for (uint32_t row = 0;
         err != MR_ELIMIT && row < mri_shard_samples(v->shard); row++) {
        mri_sample_row sample;
        mr_diag diag = {0};

        err = mri_shard_sample(v->shard, row, &sample, &diag);
        if (err == MR_OK && !told(v, from, sample.meta_off)) {
            err = check_meta(v, row, &sample, &diag);
            for (uint32_t i = 0; err == MR_OK && i < sample.n_grid; i++) {
                err = check_field(v, &sample, i, &diag);
            }
        }
        if (err != MR_OK) {
            char *key = owner_of(v, sample.meta_off);

            report(v, key, &diag);
            mri_free(key);
        } else {
            from = sample.meta_off;
        }
        v->out->samples++;
    }
}

static mr_err
verify(verifier *v, const mri_store *store, const mri_shard_ref *expect,
       mr_diag *diag)
{
    mr_diag why = {0};
    mr_err err = store != NULL
                     ? mri_shard_open_in(&v->shard, store, expect, true, &why)
                     : mri_shard_open(&v->shard, v->file.path, expect, &why);

    if (err == MR_ENOMEM) {
        if (diag != NULL) {
            *diag = why;
        }
        return err;
    }
    if (err != MR_OK) {
        report(v, NULL, &why);
    }
    if (v->file.map == NULL || v->file.size < MRI_HEAD_BYTES ||
        mri_head_get(v->file.map, MRI_HEAD_BYTES, v->plan_tag, NULL) != MR_OK) {
        return MR_OK; /* told above; without a head no frame can be proven */
    }
    check_body(v, v->shard != NULL ? v->shard->tail.foot_off : v->file.size);
    if (v->shard != NULL) {
        check_end(v);
        check_foot(v);
        check_samples(v);
    }
    if (mri_object_whole(&v->file, &why) != MR_OK) {
        report(v, NULL, &why);
    }
    return MR_OK;
}

/* Its file is open. */
static mr_err
verify_open(verifier *v, const mri_store *store, const mri_shard_ref *expect,
            mr_diag *diag)
{
    mr_err err = mri_object_load(&v->file, diag);

    v->out->bytes = v->file.size;
    v->scratch = mr_scratch_open();
    v->starved = v->scratch == NULL;
    if (err == MR_OK && !v->starved) {
        err = verify(v, store, expect, diag);
    }
    if (err == MR_OK && v->starved) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                       "no memory to prove all of the shard");
        mri_diag_in(diag, v->file.path);
    }
    mr_scratch_close(v->scratch);
    mri_bytes_release(&v->pixels);
    mri_stat_proof_release(&v->stats);
    mri_free(v->bad);
    mri_shard_close(v->shard);
    mri_object_close(&v->file);
    return err;
}

mr_err
mri_shard_verify(const char *path, const mri_shard_ref *expect,
                 mri_damage_fn *tell, void *user, mri_verified *out,
                 mr_diag *diag)
{
    verifier v = {.tell = tell, .user = user, .out = out};
    mri_store store;
    const char *name;
    mr_err err = mri_store_open_at(&store, &name, path, diag);

    if (err == MR_OK) {
        err = mri_store_object(&store, name, true, &v.file, diag);
    }
    mri_store_close(&store);
    *out = (mri_verified){0};
    return err == MR_OK ? verify_open(&v, NULL, expect, diag) : err;
}

mr_err
mri_shard_verify_in(const mri_store *store, const mri_shard_ref *ref,
                    mri_damage_fn *tell, void *user, mri_verified *out,
                    mr_diag *diag)
{
    verifier v = {.tell = tell, .user = user, .out = out};
    mr_err err = mri_store_object(store, mri_shard_name(ref->id).name, true,
                                  &v.file, diag);

    *out = (mri_verified){0};
    return err == MR_OK ? verify_open(&v, store, ref, diag) : err;
}
