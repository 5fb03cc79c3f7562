/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage_body.c - find what is intact in a shard file.
 *
 * Frames begin at multiples of 64, carry a magic, and prove themselves by a
 * checksum; so after any damage the walk goes on at the next that does.
 */
#include "salvage_body.h"

#include "frame.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE = 1 << 20, /* bytes read at once */
    SECTOR = 4096,   /* and where a piece failed */
    PATIENCE = 64,   /* times its size that false frames of a file may cost */
    SMALL_FRAME = 4096, /* still tried after that */
    FOOT_TRIES = 64
};

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* Read a piece into `to`; what cannot be read becomes zeros. */
static void
read_piece(mri_body *b, uint8_t *to, uint64_t at, size_t bytes)
{
    if (mri_object_read(&b->file, at, bytes, to, NULL) == MR_OK) {
        return;
    }
    for (size_t done = 0; done < bytes; done += SECTOR) {
        size_t n = bytes - done < SECTOR ? bytes - done : SECTOR;

        if (mri_object_read(&b->file, at + done, n, to + done, NULL) != MR_OK) {
            memset(to + done, 0, n);
            b->unread += n;
        }
    }
}

/* A page of a mapping that the disk cannot give ends the process, so all of
 * it is read once in the ordinary way. */
static mr_err
probe(mri_body *b, bool *sound, mr_diag *diag)
{
    uint8_t *room = mri_alloc_pixels(PIECE, 1);

    *sound = true;
    if (room == NULL) {
        return no_memory(diag);
    }
    for (uint64_t at = 0; *sound && at < b->file.size; at += PIECE) {
        uint64_t left = b->file.size - at;

        *sound =
            mri_object_read(&b->file, at, left < PIECE ? (size_t)left : PIECE,
                            room, NULL) == MR_OK;
    }
    mri_free(room);
    return MR_OK;
}

mr_err
mri_body_load(mri_body *b, const mri_store *store, const char *name,
              mr_diag *diag)
{
    bool sound = false;
    mr_err err;

    *b = (mri_body){.file = {.fd = -1}};
    err = mri_store_object(store, name, false, &b->file, diag);
    if (err == MR_OK) {
        err = probe(b, &sound, diag);
    }
    if (err == MR_OK && sound) {
        mri_object_close(&b->file);
        err = mri_store_object(store, name, true, &b->file, diag);
    }
    if (err != MR_OK || b->file.map != NULL) {
        return err;
    }
    b->heap = mri_alloc_pixels((size_t)b->file.size + 1, 1);
    if (b->heap == NULL) {
        return no_memory(diag);
    }
    for (uint64_t at = 0; at < b->file.size; at += PIECE) {
        uint64_t left = b->file.size - at;

        read_piece(b, b->heap + at, at, left < PIECE ? (size_t)left : PIECE);
    }
    b->file.map = b->heap;
    return MR_OK;
}

void
mri_body_close(mri_body *b)
{
    if (b->heap != NULL) {
        b->file.map = NULL; /* it is no mapping */
    }
    mri_object_close(&b->file);
    mri_free(b->heap);
    mri_free(b->metas);
    mri_foot_release(&b->foot);
    mri_schema_unpacked_free(b->schema);
    *b = (mri_body){.file = {.fd = -1}};
}

static bool
open_foot(mri_body *b, const mri_tail *tail)
{
    if (tail->foot_off > b->file.size ||
        tail->foot_len > b->file.size - tail->foot_off ||
        mri_foot_open(&b->foot, tail, b->file.map + tail->foot_off, NULL) !=
            MR_OK) {
        return false;
    }
    b->tail = *tail;
    b->has_foot = true;
    return true;
}

static void
foot_by_tail(mri_body *b)
{
    static const uint64_t places[] = {MRI_TAIL_BYTES, MRI_TAIL_SPAN};
    mri_tail tail;

    for (size_t i = 0; i < MRI_COUNT(places) && !b->has_foot; i++) {
        uint64_t at = b->file.size - places[i];

        if (b->file.size >= places[i] &&
            mri_tail_get(&tail, b->file.map + at, at, NULL) == MR_OK) {
            (void)open_foot(b, &tail);
        }
    }
}

/* Without tails the foot may still be there, somewhere after the frames. */
static void
foot_by_search(mri_body *b)
{
    static const uint8_t first[8] = {MRI_TABLE_SAMPLES, 0, 0, 0,
                                     MRI_SAMPLE_ROW,    0, 0, 0};
    unsigned tries = 0;
    mri_tail tail;

    for (uint64_t at = mri_round_up(b->last, MRI_ALIGN);
         at + MRI_FRAME_HEAD <= b->file.size && tries < FOOT_TRIES;
         at += MRI_ALIGN) {
        const uint8_t *p = b->file.map + at;

        if (memcmp(p, first, sizeof first) != 0) {
            continue;
        }
        tries++;
        if (mri_foot_find(&tail, p, b->file.size - at, at) &&
            open_foot(b, &tail)) {
            return;
        }
    }
}

static bool
add_meta(mri_body *b, uint64_t at, uint32_t len)
{
    if ((b->meta_count & (b->meta_count - 1)) == 0) {
        size_t room = b->meta_count == 0 ? 1 : b->meta_count * 2;
        mri_body_meta *grown = mri_resize(b->metas, room, sizeof *grown);

        if (grown == NULL) {
            return false;
        }
        b->metas = grown;
    }
    b->metas[b->meta_count++] = (mri_body_meta){at, len};
    return true;
}

/* A frame that holds begins at `at`. Each false one costs its length, so what
 * they may cost together is bounded. */
static bool
frame_at(const mri_body *b, uint64_t at, uint64_t *patience, mri_frame *f)
{
    const uint8_t *p = b->file.map + at;
    uint64_t left = b->file.size - at;
    uint32_t len = mri_get32(p + 8);

    if (memcmp(p, "MRMF", 4) != 0 || (*patience < len && len > SMALL_FRAME)) {
        return false;
    }
    if (mri_frame_get(f, p, left, at, b->plan_tag, NULL) == MR_OK) {
        return true;
    }
    if (len <= left) {
        *patience -= *patience < len ? *patience : len;
    }
    return false;
}

static mr_err
find_frames(mri_body *b, mr_diag *diag)
{
    uint64_t at = MRI_HEAD_BYTES, patience = b->file.size * PATIENCE;
    mri_frame f;

    b->frames = b->meta_count = 0;
    b->schema_at = 0;
    b->last = MRI_HEAD_BYTES;
    while (at + MRI_FRAME_HEAD <= b->file.size) {
        if (!frame_at(b, at, &patience, &f)) {
            at += MRI_ALIGN;
            continue;
        }
        b->frames++;
        if (f.kind == MRI_FRAME_META && !add_meta(b, at, f.stored_len)) {
            return no_memory(diag);
        }
        if (f.kind == MRI_FRAME_SCHEMA && b->schema_at == 0) {
            b->schema_at = at;
        }
        b->last = at + MRI_FRAME_HEAD + f.stored_len;
        at = mri_round_up(b->last, MRI_ALIGN);
    }
    return MR_OK;
}

/* The head's tag, the manifest's, what stands in a damaged head, and at last
 * what the frames themselves imply: the first that proves a frame. */
static mr_err
find_frames_by_tag(mri_body *b, const uint8_t *head,
                   const mri_shard_ref *expect, mr_diag *diag)
{
    const uint8_t *tags[] = {head, expect != NULL ? expect->plan_tag : NULL,
                             b->file.size >= MRI_HEAD_BYTES ? b->file.map + 20
                                                            : NULL};
    uint8_t implied[16];
    mr_err err = MR_OK;

    for (size_t i = 0; i < MRI_COUNT(tags); i++) {
        if (err == MR_OK && b->frames == 0 && tags[i] != NULL) {
            memcpy(b->plan_tag, tags[i], 16);
            err = find_frames(b, diag);
        }
    }
    if (err == MR_OK && b->frames == 0 &&
        mri_tag_from_frames(implied, b->file.map, b->file.size)) {
        memcpy(b->plan_tag, implied, 16);
        err = find_frames(b, diag);
    }
    return err;
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Classes as the samples name them; how many fields a sample has at most. */
typedef struct guess {
    const char **classes;
    Mri__PbMeta **metas;
    size_t count, fields;
} guess;

static mr_err
gather_guess(const mri_body *b, guess *g, mr_diag *diag)
{
    size_t kept = 0;

    g->classes = mri_alloc(b->meta_count, sizeof *g->classes);
    g->metas = mri_alloc(b->meta_count, sizeof *g->metas);
    if (g->classes == NULL || g->metas == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; i < b->meta_count; i++) {
        const mri_body_meta *m = &b->metas[i];
        mr_err err =
            mri_meta_unpack(&g->metas[i], b->file.map + m->at + MRI_FRAME_HEAD,
                            m->len, m->at, NULL);

        if (err == MR_ENOMEM) {
            return no_memory(diag);
        }
        if (err != MR_OK) {
            continue;
        }
        for (size_t k = 0; k + MRI_GRID_ROW <= g->metas[i]->grid_rows.len;
             k += MRI_GRID_ROW) {
            size_t field = mri_get16(g->metas[i]->grid_rows.data + k);

            g->fields = field >= g->fields ? field + 1 : g->fields;
        }
        if (g->metas[i]->class_name[0] != '\0') {
            g->classes[g->count++] = g->metas[i]->class_name;
        }
    }
    if (g->count != 0) {
        qsort(g->classes, g->count, sizeof *g->classes, by_text);
    }
    for (size_t i = 0; i < g->count; i++) {
        if (kept == 0 || strcmp(g->classes[i], g->classes[kept - 1]) != 0) {
            g->classes[kept++] = g->classes[i];
        }
    }
    g->count = kept;
    return MR_OK;
}

/* No copy of the schema is left: field0, field1, and the classes that the
 * samples name. */
static mr_err
make_up_schema(mri_body *b, mri_bytes *packed, mr_diag *diag)
{
    guess g = {0};
    mr_err err = gather_guess(b, &g, diag);
    char(*names)[32] = mri_alloc(g.fields, sizeof *names);
    const char **fields = mri_alloc(g.fields, sizeof *fields);
    mri_field_kind *kinds = mri_alloc(g.fields, sizeof *kinds);

    if (err == MR_OK && (names == NULL || fields == NULL || kinds == NULL)) {
        err = no_memory(diag);
    }
    for (size_t i = 0; err == MR_OK && i < g.fields; i++) {
        (void)snprintf(names[i], sizeof names[i], "field%zu", i);
        fields[i] = names[i];
        kinds[i] = MRI_FIELD_IMAGE;
    }
    if (err == MR_OK &&
        !mri_schema_pack(packed,
                         &(mri_schema){.field_count = (uint32_t)g.fields,
                                       .field_names = fields,
                                       .field_kinds = kinds,
                                       .class_count = (uint32_t)g.count,
                                       .classes = g.classes,
                                       .config = "{}"})) {
        err = no_memory(diag);
    }
    for (size_t i = 0; g.metas != NULL && i < b->meta_count; i++) {
        mri_meta_unpacked_free(g.metas[i]);
    }
    mri_free(g.metas);
    mri_free(g.classes);
    mri_free(names);
    mri_free(fields);
    mri_free(kinds);
    b->names_lost = true;
    return err;
}

/* True if `p` is a schema: then the body has it. */
static bool
take_schema(mri_body *b, const uint8_t *p, uint64_t bytes, mr_err *err)
{
    *err = mri_schema_unpack(&b->schema, p, (size_t)bytes, MR_NOWHERE, NULL);
    return *err == MR_OK;
}

static mr_err
find_schema(mri_body *b, const Mri__PbSchema *fallback, mr_diag *diag)
{
    const uint8_t *p;
    uint64_t bytes;
    mri_bytes packed = {0};
    mr_err err = MR_OK;

    if (b->schema_at != 0) {
        p = b->file.map + b->schema_at;
        if (take_schema(b, p + MRI_FRAME_HEAD, mri_get32(p + 8), &err)) {
            return MR_OK;
        }
    }
    if (b->has_foot &&
        mri_foot_table(&b->foot, MRI_TABLE_SCHEMA, &p, &bytes, NULL) == MR_OK) {
        if (take_schema(b, p, bytes, &err)) {
            return MR_OK;
        }
    }
    if (err == MR_ENOMEM) {
        return no_memory(diag);
    }
    if (fallback != NULL) {
        err = mri_pb_pack(&packed, &fallback->base) ? MR_OK : no_memory(diag);
    } else {
        err = make_up_schema(b, &packed, diag);
    }
    if (err == MR_OK && !take_schema(b, packed.data, packed.len, &err)) {
        err = no_memory(diag);
    }
    mri_bytes_release(&packed);
    return err;
}

/* The head that would say the version is gone, but the samples of version 0
 * have chunks of which no statistics are told. Where they do; 0: not so. */
static uint64_t
before_version_1(const mri_body *b)
{
    for (size_t i = 0; i < b->meta_count; i++) {
        const mri_body_meta *m = &b->metas[i];
        Mri__PbMeta *pb;
        bool whole, old;

        if (mri_meta_unpack(&pb, b->file.map + m->at + MRI_FRAME_HEAD, m->len,
                            m->at, NULL) != MR_OK) {
            continue;
        }
        whole = pb->chunk_rows.len != 0;
        old = pb->stat_rows.len == 0;
        mri_meta_unpacked_free(pb);
        if (whole) {
            return old ? m->at : 0;
        }
    }
    return 0;
}

static mr_err
refuse_old(const mri_body *b, mr_diag *diag)
{
    uint64_t at = before_version_1(b);
    mr_err err = MR_OK;

    if (at != 0) {
        err = mri_fail(diag, MRI_E_OLD, at,
                       "a shard without a head whose samples are of format "
                       "version 0, from before the format was frozen; this "
                       "millrace reads version 1");
        mri_diag_in(diag, b->file.path);
    }
    return err;
}

mr_err
mri_body_scan(mri_body *b, const mri_shard_ref *expect,
              const Mri__PbSchema *schema, mr_diag *diag)
{
    uint8_t head[16];
    bool has_head = false;
    mr_err err = MR_ECORRUPT;

    if (b->file.size >= MRI_HEAD_BYTES) {
        err = mri_head_get(b->file.map, MRI_HEAD_BYTES, head, diag);
        has_head = err == MR_OK;
    }
    if (err == MR_EVERSION) {
        mri_diag_in(diag, b->file.path);
        return err;
    }
    mri_diag_clear(diag);
    foot_by_tail(b);
    b->worn = !has_head || !b->has_foot || b->unread != 0;
    err = find_frames_by_tag(b, has_head ? head : NULL, expect, diag);
    if (err == MR_OK && !has_head) {
        err = refuse_old(b, diag);
    }
    if (err == MR_OK && !b->has_foot) {
        foot_by_search(b);
    }
    b->worn = b->worn || b->schema_at == 0;
    return err == MR_OK ? find_schema(b, schema, diag) : err;
}
