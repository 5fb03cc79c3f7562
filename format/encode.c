/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encode.c - the heavy half of writing: chunks, filters, compression, hashes
 * and statistics of one sample. Runs on any thread; knows no file.
 */
#include "encode.h"

#include "chunk.h"
#include "meta.h"
#include "survey.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <string.h>

bool
mri_uid_of(uint8_t uid[MR_UID_BYTES], const char *key, const uint8_t *sha256,
           uint32_t count)
{
    static const char label[] = "millrace-uid-1"; /* its zero byte counts */
    mri_sha256 *s = mri_sha256_begin();
    uint8_t digest[32];

    if (s == NULL) {
        return false;
    }
    mri_sha256_add(s, label, sizeof label);
    mri_sha256_u64(s, strlen(key));
    mri_sha256_add(s, key, strlen(key));
    mri_sha256_u64(s, count);
    mri_sha256_add(s, sha256, (size_t)count * 32);
    mri_sha256_end(s, digest);
    mri_sha256_free(s);
    memcpy(uid, digest, MR_UID_BYTES);
    return true;
}

uint64_t
mri_group_hash(const char *group)
{
    uint8_t digest[32];

    if (group[0] == '\0') {
        return 0;
    }
    mri_sha256_of(digest, group, strlen(group));
    return mri_get64(digest);
}

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static bool
grow(void *list, uint32_t count, size_t size)
{
    void **at = list;
    void *p;

    /* Doubling at powers of two: counts are small or grow one by one. */
    if (count != 0 && (count & (count - 1)) != 0) {
        return true;
    }
    p = mri_resize(*at, count == 0 ? 1 : (size_t)count * 2, size);
    if (p == NULL) {
        return false;
    }
    *at = p;
    return true;
}

uint8_t *
mri_frame_room(mri_encoded *e, size_t bytes)
{
    return mri_bytes_reserve(&e->frames, MRI_FRAME_HEAD + bytes + MRI_ALIGN)
               ? e->frames.data + e->frames.len + MRI_FRAME_HEAD
               : NULL;
}

bool
mri_frame_add(mri_encoded *e, mri_piece *p, const uint8_t *payload)
{
    uint8_t *to = mri_frame_room(e, p->stored_len);
    size_t end;

    if (to == NULL) {
        return false;
    }
    p->at = e->frames.len + MRI_FRAME_HEAD;
    if (to != payload && p->stored_len != 0) {
        memcpy(to, payload, p->stored_len);
    }
    end = (size_t)mri_round_up(p->at + p->stored_len, MRI_ALIGN);
    memset(to + p->stored_len, 0, end - p->at - p->stored_len);
    e->frames.len = end;
    e->stored_bytes += p->stored_len;
    return true;
}

static bool
add_piece(mri_encoded *e, const mri_piece *piece, const uint8_t *payload)
{
    mri_piece p = *piece;

    if (!grow(&e->pieces, e->piece_count, sizeof *e->pieces) ||
        !mri_frame_add(e, &p, payload)) {
        return false;
    }
    e->pieces[e->piece_count++] = p;
    return true;
}

/* What is at hand while a field is cut into chunks. */
typedef struct cutting {
    const mri_grid_row *g;
    const uint8_t *pixels;
    mri_coding coding;
    mri_survey survey;
    mri_bytes chunk, packed; /* working memory */
    mri_bytes labels;        /* in the order of the file */
} cutting;

/* Statistics of a chunk that is in the cache now. */
static bool
survey_chunk(mri_encoded *e, cutting *c, uint32_t at, const mr_box *box,
             const uint8_t *raw)
{
    mri_stat_row *row = &e->stats[at];
    uint64_t first = c->labels.len / sizeof(mri_label_row);

    if (!mri_survey_add(&c->survey, box, raw) ||
        !mri_survey_stat(&c->survey, box, raw, row, &c->labels)) {
        return false;
    }
    row->first_label = first;
    return true;
}

/* The elements in a box, in c->chunk if they are but a part of the field. */
static bool
cut_chunk(mri_chunk_in *in, cutting *c, const mr_box *box)
{
    const mri_grid_row *g = c->g;
    unsigned last = g->ndim;
    uint64_t bytes;

    *in = (mri_chunk_in){.raw = c->pixels,
                         .element = (unsigned)mr_dtype_bytes(g->dtype),
                         .real = g->dtype >= MR_F16,
                         .coding = c->coding};
    in->row = last > 0 ? box->size[last - 1] : 1;
    in->plane = last > 1 ? in->row * box->size[last - 2] : in->row;
    bytes = mri_box_len(box, g->ndim) * in->element;
    in->raw_len = (uint32_t)bytes;
    if (bytes == mri_grid_bytes(g)) {
        return true;
    }
    c->chunk.len = 0;
    if (!mri_bytes_reserve(&c->chunk, (size_t)bytes)) {
        return false;
    }
    mri_chunk_gather(c->chunk.data, c->pixels, g, box);
    in->raw = c->chunk.data;
    return true;
}

/* Pack chunk `index` of a grid, to where it will be written from. */
static bool
encode_chunk(mri_encoded *e, cutting *c, uint64_t index)
{
    uint32_t at = (uint32_t)(c->g->first_chunk + index);
    mri_chunk_row *row = &e->chunks[at];
    mri_chunk_in in;
    mri_packed packed;
    mr_box box;

    mri_chunk_box(c->g, index, &box);
    if (!cut_chunk(&in, c, &box) || !survey_chunk(e, c, at, &box, in.raw)) {
        return false;
    }
    in.room = mri_frame_room(e, in.raw_len);
    if (in.room == NULL || !mri_chunk_pack(&packed, &in, &c->packed)) {
        return false;
    }
    *row = (mri_chunk_row){.file_off = packed.value,
                           .stored_len = packed.stored_len,
                           .raw_len = packed.raw_len,
                           .codec = packed.codec,
                           .filter = packed.filter,
                           .kind = MRI_FRAME_CHUNK,
                           .flags = packed.flags};
    if (packed.flags & MRI_CHUNK_CONSTANT) {
        return true;
    }
    return add_piece(e,
                     &(mri_piece){.stored_len = packed.stored_len,
                                  .raw_len = packed.raw_len,
                                  .chunk = at,
                                  .kind = MRI_FRAME_CHUNK,
                                  .codec = packed.codec,
                                  .filter = packed.filter,
                                  .element = (uint8_t)in.element},
                     packed.stored);
}

/* The labels of the chunks, now in the order of their rows. */
static bool
settle_labels(mri_encoded *e, const cutting *c)
{
    const mri_label_row *from = (const void *)c->labels.data;
    uint64_t n = mri_grid_chunks(c->g);
    bool ok = true;

    for (uint64_t i = 0; ok && i < n; i++) {
        mri_stat_row *row = &e->stats[c->g->first_chunk + i];
        const mri_label_row *mine =
            row->labels != 0 ? from + row->first_label : NULL;

        row->first_label = mri_label_rows(e);
        ok = mri_bytes_add(&e->labels, mine, row->labels * sizeof *mine);
    }
    return ok;
}

static bool
encode_array(mri_encoded *e, cutting *c)
{
    uint64_t n = mri_grid_chunks(c->g);
    uint64_t *order;
    bool ok = mri_chunk_morton(c->g, &order);

    for (uint64_t i = 0; ok && i < n; i++) {
        ok = encode_chunk(e, c, order[i]);
    }
    mri_free(order);
    return ok && settle_labels(e, c);
}

static mr_err
encode_verbatim(mri_encoded *e, const mri_grid_row *g,
                const mri_field_in *field, mr_diag *diag)
{
    uint8_t kind =
        field->encoding == MR_ENC_JPEG ? MRI_FRAME_JPEG : MRI_FRAME_BYTES;
    uint32_t at = (uint32_t)g->first_chunk;

    if (field->verbatim_bytes > UINT32_MAX) {
        return mri_fail(diag, MRI_E_TOO_LARGE, MR_NOWHERE,
                        "a file of %llu bytes; at most 4 GiB can be kept "
                        "verbatim",
                        (unsigned long long)field->verbatim_bytes);
    }
    e->stats[at].first_label = mri_label_rows(e);
    e->chunks[at] =
        (mri_chunk_row){.stored_len = (uint32_t)field->verbatim_bytes,
                        .raw_len = (uint32_t)field->verbatim_bytes,
                        .kind = kind};
    return add_piece(e,
                     &(mri_piece){.stored_len = (uint32_t)field->verbatim_bytes,
                                  .raw_len = (uint32_t)field->verbatim_bytes,
                                  .chunk = at,
                                  .kind = kind,
                                  .element = 1},
                     field->verbatim)
               ? MR_OK
               : no_memory(diag);
}

static void
fill_grid(mri_grid_row *g, const mri_field_in *field)
{
    *g = (mri_grid_row){.field = field->name,
                        .encoding = (uint8_t)field->encoding,
                        .dtype = (uint8_t)field->dtype,
                        .ndim = field->ndim};
    memcpy(g->axes, field->axes, sizeof g->axes);
    memcpy(g->dims, field->dims, sizeof g->dims);
    if (field->geometry != NULL &&
        (field->geometry->slope != 1 || field->geometry->inter != 0)) {
        g->flags = MRI_GRID_SCALED;
    }
    if (field->label && field->encoding == MR_ENC_CHUNKS) {
        g->flags |= MRI_GRID_LABEL;
    }
    if (field->encoding == MR_ENC_CHUNKS) {
        mri_chunk_shape(g, field->geometry != NULL ? field->geometry->spacing
                                                   : NULL);
    } else {
        memcpy(g->chunk, field->jpeg, sizeof field->jpeg);
    }
}

/* The first label field that lies over field `i`. */
static mri_cover
cover_of(const mri_encoded *e, const mri_sample_in *sample, uint32_t i)
{
    for (uint32_t k = 0; k < e->grid_count; k++) {
        if (mri_cover_fits(&e->grids[k], &e->grids[i])) {
            return (mri_cover){&e->grids[k], sample->fields[k].pixels};
        }
    }
    return (mri_cover){0};
}

/* A picture that is kept as a file is looked at as one chunk. */
static bool
survey_picture(cutting *c)
{
    mr_box whole = {{0}, {0}};

    for (unsigned i = 0; i < c->g->ndim; i++) {
        whole.size[i] = c->g->dims[i];
    }
    return mri_survey_add(&c->survey, &whole, c->pixels);
}

static bool
add_moments(mri_encoded *e, uint32_t grid, const mri_survey *s)
{
    size_t n = (size_t)e->moment_count + s->channels;
    mri_moment_row *grown = mri_resize(e->moments, n, sizeof *grown);

    if (grown == NULL) {
        return false;
    }
    e->moments = grown;
    mri_survey_end(s, grown + e->moment_count);
    for (; e->moment_count < n; e->moment_count++) {
        grown[e->moment_count].grid = grid;
    }
    return true;
}

static bool
encode_pixels(mri_encoded *e, uint32_t i, const mri_sample_in *sample)
{
    const mri_field_in *field = &sample->fields[i];
    const mri_geometry *geometry = field->geometry;
    mri_cover cover = cover_of(e, sample, i);
    cutting c = {
        .g = &e->grids[i], .pixels = field->pixels, .coding = field->coding};
    bool ok =
        mri_survey_begin(&c.survey, c.g, geometry != NULL ? geometry->slope : 1,
                         geometry != NULL ? geometry->inter : 0, &cover);

    if (ok) {
        ok = field->encoding == MR_ENC_CHUNKS ? encode_array(e, &c)
                                              : survey_picture(&c);
    }
    ok = ok && add_moments(e, i, &c.survey);
    mri_survey_release(&c.survey);
    mri_bytes_release(&c.chunk);
    mri_bytes_release(&c.packed);
    mri_bytes_release(&c.labels);
    return ok;
}

static mr_err
encode_field(mri_encoded *e, uint32_t i, const mri_sample_in *sample,
             mr_diag *diag)
{
    const mri_field_in *field = &sample->fields[i];
    mri_grid_row *g = &e->grids[i];
    const void *hashed =
        field->pixels != NULL ? field->pixels : (const void *)field->verbatim;
    uint64_t bytes = mri_grid_bytes(g);

    g->content = mri_xxh3(
        hashed,
        (size_t)(field->pixels != NULL ? bytes : field->verbatim_bytes));
    e->raw_bytes += bytes;
    if (field->pixels != NULL && !encode_pixels(e, i, sample)) {
        return no_memory(diag);
    }
    return field->encoding == MR_ENC_CHUNKS
               ? MR_OK
               : encode_verbatim(e, g, field, diag);
}

/* Grid rows and the number of chunks, before any pixel is touched. */
static mr_err
lay_out(mri_encoded *e, const mri_sample_in *sample, mr_diag *diag)
{
    uint64_t chunks = 0;

    e->grids = mri_alloc(sample->field_count, sizeof *e->grids);
    if (e->grids == NULL) {
        return no_memory(diag);
    }
    e->grid_count = sample->field_count;
    for (uint32_t i = 0; i < e->grid_count; i++) {
        fill_grid(&e->grids[i], &sample->fields[i]);
        if (!mri_grid_sound(&e->grids[i])) {
            return mri_fail(diag, MRI_E_TOO_LARGE, MR_NOWHERE,
                            "the shape of field %u cannot be stored", i);
        }
        e->grids[i].first_chunk = chunks;
        chunks += mri_grid_chunks(&e->grids[i]);
    }
    if (chunks > UINT32_MAX / MRI_CHUNK_ROW) {
        return mri_fail(diag, MRI_E_TOO_LARGE, MR_NOWHERE,
                        "%llu chunks in one sample",
                        (unsigned long long)chunks);
    }
    e->chunk_count = (uint32_t)chunks;
    e->chunks = mri_alloc(e->chunk_count, sizeof *e->chunks);
    e->stats = mri_alloc(e->chunk_count, sizeof *e->stats);
    return e->chunks != NULL && e->stats != NULL ? MR_OK : no_memory(diag);
}

size_t
mri_label_rows(const mri_encoded *e)
{
    return e->labels.len / sizeof(mri_label_row);
}

/* What the sample looks like to a stream: its fields' hashes and its class. */
bool
mri_content_take(mri_encoded *e, const char *class_name)
{
    mri_xxh3_state *s = mri_xxh3_begin();

    if (s == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < e->grid_count; i++) {
        uint8_t raw[10];

        mri_put16(raw, e->grids[i].field);
        mri_put64(raw + 2, e->grids[i].content);
        mri_xxh3_add(s, raw, sizeof raw);
    }
    mri_xxh3_add(s, class_name != NULL ? class_name : "",
                 class_name != NULL ? strlen(class_name) : 0);
    e->row.content = mri_xxh3_end(s);
    mri_xxh3_free(s);
    return true;
}

mr_err
mri_encode(mri_encoded **out, const mri_sample_in *sample, mr_diag *diag)
{
    mri_encoded *e = mri_alloc(1, sizeof *e);
    mr_err err;

    *out = NULL;
    if (e == NULL) {
        return no_memory(diag);
    }
    err = lay_out(e, sample, diag);
    for (uint32_t i = 0; err == MR_OK && i < e->grid_count; i++) {
        err = encode_field(e, i, sample, diag);
    }
    if (err == MR_OK && (!mri_meta_pack_fields(&e->meta, sample) ||
                         !mri_content_take(e, sample->class_name))) {
        err = no_memory(diag);
    }
    if (err != MR_OK) {
        mri_encoded_free(e);
        return err;
    }
    memcpy(e->row.uid, sample->uid, MR_UID_BYTES);
    e->row.n_grid = (uint16_t)e->grid_count;
    e->row.class_index = sample->class_index;
    e->row.group = mri_group_hash(sample->group);
    e->row.key = mri_xxh3(sample->key, strlen(sample->key));
    *out = e;
    return MR_OK;
}

void
mri_encoded_free(mri_encoded *e)
{
    if (e == NULL) {
        return;
    }
    mri_free(e->grids);
    mri_free(e->chunks);
    mri_free(e->moments);
    mri_free(e->stats);
    mri_free(e->pieces);
    mri_bytes_release(&e->labels);
    mri_bytes_release(&e->frames);
    mri_bytes_release(&e->meta);
    mri_free(e);
}

uint64_t
mri_encoded_bytes(const mri_encoded *e)
{
    return e->stored_bytes;
}

uint64_t
mri_encoded_raw_bytes(const mri_encoded *e)
{
    return e->raw_bytes;
}
