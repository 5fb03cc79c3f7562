/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite.c - samples of a generation into a new shard, as they are stored. */
#include "rewrite.h"

#include "frame.h"
#include "salvage_body.h"
#include "salvage_names.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

mr_err
mri_row_set_none(mri_row_set *rows, const mr_dataset *ds, mr_diag *diag)
{
    const Mri__PbManifest *m = ds->manifest;

    *rows = (mri_row_set){.shards = (uint32_t)m->n_shards};
    rows->row = mri_alloc(m->n_shards, sizeof *rows->row);
    rows->count = mri_alloc(m->n_shards, sizeof *rows->count);
    for (uint32_t i = 0; rows->row != NULL && i < rows->shards; i++) {
        rows->row[i] = mri_alloc((size_t)m->shards[i]->samples, 1);
        if (rows->row[i] == NULL) {
            return no_memory(diag);
        }
    }
    return rows->row != NULL && rows->count != NULL ? MR_OK : no_memory(diag);
}

mr_err
mri_row_set_live(mri_row_set *rows, const mr_dataset *ds, mr_diag *diag)
{
    mr_err err = mri_row_set_none(rows, ds, diag);

    for (uint64_t rank = 0; err == MR_OK && rank < ds->index.count; rank++) {
        mri_index_entry e;

        err = mri_index_at(&ds->index, rank, &e, diag);
        if (err == MR_OK && (e.shard >= rows->shards ||
                             e.row >= ds->manifest->shards[e.shard]->samples)) {
            err = mri_fail(diag, MRI_E_INDEX, MR_NOWHERE,
                           "the index names row %u of shard %u, which has "
                           "none",
                           e.row, e.shard);
        }
        if (err == MR_OK) {
            rows->row[e.shard][e.row] = 1;
            rows->count[e.shard]++;
        }
    }
    return err;
}

void
mri_row_set_release(mri_row_set *rows)
{
    for (uint32_t i = 0; rows->row != NULL && i < rows->shards; i++) {
        mri_free(rows->row[i]);
    }
    mri_free(rows->row);
    mri_free(rows->count);
    *rows = (mri_row_set){0};
}

typedef struct work {
    const mri_rewrite *r;
    uint32_t shard; /* at hand, if the body is */
    mri_body body;
    mri_rescue rescue;
    mri_sha256 *tag;
    mri_shard_writer *writer;
    uint64_t seen; /* samples of this shard that were asked for */
} work;

static mr_err
open_body(work *w, uint32_t shard, mr_diag *diag)
{
    const mr_dataset *ds = w->r->ds;
    mri_shard_ref ref;
    mr_err err;

    w->seen = 0;
    if (w->body.file.path != NULL && w->shard == shard) {
        return MR_OK;
    }
    mri_body_close(&w->body);
    mri_dataset_shard_ref(ds->manifest, shard, &ref);
    w->shard = shard;
    err =
        mri_body_load(&w->body, &ds->store, mri_shard_name(ref.id).name, diag);
    if (err == MR_OK) {
        err = mri_body_scan(&w->body, &ref, ds->manifest->schema, diag);
    }
    w->rescue.all = (mri_inflation){.file_bytes = w->body.file.size};
    return err;
}

typedef mr_err sample_fn(work *w, const mri_body_meta *at,
                         const Mri__PbMeta *pb, const mri_label *label,
                         mr_diag *diag);

/* What a sample is to be called. */
static mri_label
label_of(const work *w, const Mri__PbMeta *pb)
{
    return w->r->label != NULL
               ? *w->r->label(w->r->user, w->shard, (uint32_t)pb->row)
               : (mri_label){pb->class_name, pb->group};
}

static mr_err
each_sample(work *w, sample_fn *fn, mr_diag *diag)
{
    const mri_row_set *rows = w->r->rows;
    uint64_t samples = w->r->ds->manifest->shards[w->shard]->samples;
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < w->body.meta_count; i++) {
        const mri_body_meta *at = &w->body.metas[i];
        Mri__PbMeta *pb;

        err = mri_meta_unpack(&pb, w->body.file.map + at->at + MRI_FRAME_HEAD,
                              at->len, at->at, diag);
        if (err != MR_OK) {
            break;
        }
        if (pb->row < samples && rows->row[w->shard][pb->row]) {
            mri_label label = label_of(w, pb);

            w->seen++;
            err = fn(w, at, pb, &label, diag);
        }
        mri_meta_unpacked_free(pb);
    }
    if (err == MR_OK && w->seen != rows->count[w->shard]) {
        err = mri_fail(diag, MRI_E_SALVAGE_LOST, MR_NOWHERE,
                       "%llu of %llu samples are not intact",
                       (unsigned long long)(rows->count[w->shard] - w->seen),
                       (unsigned long long)rows->count[w->shard]);
    }
    return err;
}

/* In all shards of the run. */
static mr_err
each_shard(work *w, uint32_t first, uint32_t end, sample_fn *fn, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint32_t i = first; err == MR_OK && i < end; i++) {
        if (w->r->rows->count[i] == 0) {
            continue;
        }
        err = open_body(w, i, diag);
        if (err == MR_OK) {
            err = each_sample(w, fn, diag);
        }
        mri_diag_in(err != MR_OK && err != MR_ENOMEM ? diag : NULL,
                    w->body.file.path);
    }
    return err;
}

static void
tag_text(work *w, const char *text)
{
    mri_sha256_u64(w->tag, strlen(text));
    mri_sha256_add(w->tag, text, strlen(text));
}

/* As an ingest names its inputs: key and bytes of the files; and the label,
 * where it is not the source's. */
static mr_err
tag_sample(work *w, const mri_body_meta *at, const Mri__PbMeta *pb,
           const mri_label *label, mr_diag *diag)
{
    uint64_t bytes = 0;

    (void)at;
    (void)diag;
    for (size_t i = 0; i < pb->n_fields; i++) {
        for (size_t k = 0; k < pb->fields[i]->n_sources; k++) {
            bytes += pb->fields[i]->sources[k]->bytes;
        }
    }
    tag_text(w, pb->key);
    mri_sha256_u64(w->tag, bytes);
    if (w->r->label != NULL) {
        tag_text(w, label->class_name);
        tag_text(w, label->group);
    }
    return MR_OK;
}

/* A sample with another label: its closing frame, its row. */
static mr_err
put_label(const work *w, mri_encoded *e, const Mri__PbMeta *pb,
          const mri_label *label, mr_diag *diag)
{
    Mri__PbMeta cut = *pb;

    cut.class_name = (char *)(uintptr_t)label->class_name;
    cut.group = (char *)(uintptr_t)label->group;
    cut.grid_rows = cut.chunk_rows = cut.moment_rows = cut.stat_rows =
        cut.label_rows = (ProtobufCBinaryData){0, NULL};
    cut.row = 0;
    e->meta.len = 0;
    e->row.group = mri_group_hash(label->group);
    e->row.class_index = MR_NO_CLASS;
    for (uint32_t i = 0; i < w->r->class_count; i++) {
        if (strcmp(w->r->classes[i], label->class_name) == 0) {
            e->row.class_index = i;
        }
    }
    return mri_content_take(e, label->class_name) &&
                   mri_pb_pack(&e->meta, &cut.base)
               ? MR_OK
               : no_memory(diag);
}

static mr_err
write_sample(work *w, const mri_body_meta *at, const Mri__PbMeta *pb,
             const mri_label *label, mr_diag *diag)
{
    Mri__PbMeta *again;
    mri_encoded *e;
    mr_err err = mri_body_sample(&w->body, at, &w->rescue, &again, &e, diag);

    (void)pb;
    if (err == MR_OK && w->r->label != NULL) {
        err = put_label(w, e, again, label, diag);
    }
    if (err == MR_OK) {
        err = mri_shard_add(w->writer, e, diag);
    }
    mri_encoded_free(e);
    mri_meta_unpacked_free(again);
    return err;
}

/* The schema of the first shard is that of the new one. */
static mr_err
open_schema(const work *w, uint32_t first, mri_shard **s, mri_schema *schema,
            mr_diag *diag)
{
    mri_shard_ref ref;
    mr_err err;

    mri_dataset_shard_ref(w->r->ds->manifest, first, &ref);
    err = mri_shard_open_in(s, &w->r->ds->store, &ref, true, diag);
    if (err == MR_OK && !mri_schema_of_pb(schema, (*s)->schema)) {
        mri_shard_close(*s);
        err = no_memory(diag);
    }
    return err;
}

static mr_err
begin(work *w, const mri_schema *schema, const uint8_t tag[16], mr_diag *diag)
{
    mri_schema named = *schema;

    if (w->r->label != NULL) {
        named.classes = (const char **)(uintptr_t)w->r->classes;
        named.class_count = w->r->class_count;
    }
    return mri_shard_begin(&w->writer, w->r->ds->dir, tag, &named, diag);
}

static mr_err
find_tag(work *w, const char *config, uint32_t first, uint32_t end,
         uint8_t tag[16], mr_diag *diag)
{
    const char *label =
        w->r->label != NULL ? "millrace-relabel-1" : "millrace-plan-1";
    uint8_t digest[32];
    mr_err err;

    w->tag = mri_sha256_begin();
    if (w->tag == NULL) {
        return no_memory(diag);
    }
    mri_sha256_add(w->tag, label, strlen(label));
    tag_text(w, config);
    err = each_shard(w, first, end, tag_sample, diag);
    if (err == MR_OK) {
        mri_sha256_end(w->tag, digest);
        memcpy(tag, digest, 16);
    }
    mri_sha256_free(w->tag);
    return err;
}

mr_err
mri_rewrite_shards(const mri_rewrite *r, uint32_t first, uint32_t end,
                   mri_shard_ref *out, mr_diag *diag)
{
    work w = {.r = r, .body = {.file = {.fd = -1}}};
    mri_schema schema;
    mri_shard *s;
    uint8_t tag[16];
    mr_err err = open_schema(&w, first, &s, &schema, diag);

    if (err != MR_OK) {
        return err;
    }
    err = find_tag(&w, schema.config, first, end, tag, diag);
    if (err == MR_OK) {
        err = begin(&w, &schema, tag, diag);
    }
    if (err == MR_OK) {
        err = each_shard(&w, first, end, write_sample, diag);
    }
    if (err == MR_OK) {
        err = mri_shard_finish(w.writer, out, diag);
    }
    mri_shard_close_writer(w.writer);
    mri_body_close(&w.body);
    mri_rescue_release(&w.rescue);
    mri_schema_view_release(&schema);
    mri_shard_close(s);
    return err;
}
