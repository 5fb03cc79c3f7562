/* SPDX-License-Identifier: Apache-2.0 */
/* dataset_read.c - samples of an open generation. */
#include "dataset_read.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Samples between two looks at one that is coming: long enough for a miss. */
#define FORESEEN_STEP 3u

uint64_t
mr_dataset_count(const mr_dataset *ds)
{
    return ds->index.count;
}

uint64_t
mr_dataset_generation(const mr_dataset *ds)
{
    return ds->manifest->generation;
}

const uint8_t *
mr_dataset_content_id(const mr_dataset *ds)
{
    return ds->manifest->content_id.data;
}

const uint8_t *
mr_dataset_id(const mr_dataset *ds)
{
    return ds->id;
}

uint32_t
mr_dataset_classes(const mr_dataset *ds)
{
    return (uint32_t)ds->manifest->schema->n_classes;
}

const char *
mr_dataset_class_name(const mr_dataset *ds, uint32_t i)
{
    return i < mr_dataset_classes(ds) ? ds->manifest->schema->classes[i] : "";
}

uint32_t
mr_dataset_fields(const mr_dataset *ds)
{
    return (uint32_t)ds->manifest->schema->n_fields;
}

const char *
mr_dataset_field_name(const mr_dataset *ds, uint32_t i)
{
    return i < mr_dataset_fields(ds) ? ds->manifest->schema->fields[i]->name
                                     : "";
}

uint32_t
mr_dataset_splits(const mr_dataset *ds)
{
    return (uint32_t)ds->manifest->n_splits;
}

const char *
mr_dataset_split_name(const mr_dataset *ds, uint32_t i)
{
    return i < mr_dataset_splits(ds) ? ds->manifest->splits[i]->name : "all";
}

mr_err
mr_dataset_split_find(const mr_dataset *ds, const char *name, uint32_t *split,
                      mr_diag *diag)
{
    char known[200] = "all";
    size_t n = strlen(known);

    if (strcmp(name, "all") == 0) {
        *split = MR_ALL_SAMPLES;
        return MR_OK;
    }
    for (uint32_t i = 0; i < mr_dataset_splits(ds); i++) {
        if (strcmp(mr_dataset_split_name(ds, i), name) == 0) {
            *split = i;
            return MR_OK;
        }
        if (n < sizeof known) {
            n += (size_t)snprintf(known + n, sizeof known - n, ", %s",
                                  mr_dataset_split_name(ds, i));
        }
    }
    mr_err err = mri_fail(diag, MRI_E_SPLIT, MR_NOWHERE,
                          "no split '%.80s'; there are: %s", name, known);
    mri_diag_in(diag, ds->dir);
    return err;
}

uint64_t
mr_dataset_split_count(const mr_dataset *ds, uint32_t split)
{
    if (split == MR_ALL_SAMPLES) {
        return ds->index.count;
    }
    return split < ds->index.splits ? ds->index.split_counts[split] : 0;
}

mr_err
mr_dataset_split_at(const mr_dataset *ds, uint32_t split, uint64_t i,
                    uint64_t *rank, mr_diag *diag)
{
    if (split == MR_ALL_SAMPLES && i < ds->index.count) {
        *rank = i;
        return MR_OK;
    }
    return mri_index_rank(&ds->index, split, i, rank, diag);
}

mr_err
mr_dataset_find(const mr_dataset *ds, const uint8_t uid[MR_UID_BYTES],
                uint64_t *rank, mr_diag *diag)
{
    return mri_index_find(&ds->index, uid, rank, diag);
}

void
mri_dataset_shard_ref(const Mri__PbManifest *m, size_t i, mri_shard_ref *ref)
{
    const Mri__PbShard *pb = m->shards[i];

    memcpy(ref->id, pb->id.data, 16);
    memcpy(ref->plan_tag, pb->plan_tag.data, 16);
    ref->bytes = pb->bytes;
    ref->foot_hash = pb->foot_hash;
    ref->samples = pb->samples;
    ref->raw_bytes = pb->raw_bytes;
}

/* Where a name of the shard's stands in the dataset's list. */
static uint32_t
place_of(const char *name, char **list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], name) == 0) {
            return (uint32_t)i;
        }
    }
    return UINT32_MAX;
}

static mr_err
map_names(mri_shard_slot *slot, const mri_shard *s, const Mri__PbSchema *to,
          mr_diag *diag)
{
    const Mri__PbSchema *from = s->schema;
    uint32_t *classes = mri_alloc(from->n_classes, sizeof *classes);
    uint16_t *fields = mri_alloc(from->n_fields, sizeof *fields);
    bool known = true;

    if (classes == NULL || fields == NULL) {
        mri_free(classes);
        mri_free(fields);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    for (size_t i = 0; i < from->n_classes; i++) {
        classes[i] = place_of(from->classes[i], to->classes, to->n_classes);
        known = known && classes[i] != UINT32_MAX;
    }
    for (size_t i = 0; i < from->n_fields; i++) {
        uint16_t k = 0;

        while (k < to->n_fields &&
               strcmp(to->fields[k]->name, from->fields[i]->name) != 0) {
            k++;
        }
        fields[i] = k;
        known = known && k < to->n_fields;
    }
    if (!known) {
        mri_free(classes);
        mri_free(fields);
        return mri_fail(diag, MRI_E_MANIFEST, MR_NOWHERE,
                        "a shard has a class or field that the manifest does "
                        "not name");
    }
    atomic_store(&slot->class_map, classes);
    atomic_store(&slot->field_map, fields);
    return MR_OK;
}

static mr_err
open_slot(mr_dataset *ds, uint32_t i, mri_shard **out, mr_diag *diag)
{
    mri_shard_slot *slot = &ds->slots[i];
    mri_shard *opened = NULL;
    mri_shard_ref ref;
    bool there;
    mr_err err;

    mri_dataset_shard_ref(ds->manifest, i, &ref);
    err = mri_store_has(&ds->store, mri_shard_name(ref.id).name, &there, diag);
    if (err == MR_OK && !there) {
        char *path = mri_shard_path(ds->dir, ref.id);

        err = mri_fail(diag, MRI_E_SHARD_GONE, MR_NOWHERE,
                       "the manifest of generation %llu names this shard, but "
                       "it is not there",
                       (unsigned long long)ds->manifest->generation);
        mri_diag_in(diag, path != NULL ? path : ds->dir);
        mri_free(path);
    }
    if (err == MR_OK) {
        err = mri_shard_open_in(&opened, &ds->store, &ref, ds->use_map, diag);
    }
    if (err == MR_OK) {
        err = map_names(slot, opened, ds->manifest->schema, diag);
    }
    if (err != MR_OK) {
        mri_shard_close(opened);
        return err;
    }
    *out = opened;
    atomic_store_explicit(&slot->shard, opened, memory_order_release);
    return MR_OK;
}

static mr_err
shard_at(const mr_dataset *ds, uint32_t i, const mri_shard **out, mr_diag *diag)
{
    /* Opening a shard on first use changes nothing that a caller can see. */
    mr_dataset *mutable_ds = (mr_dataset *)(uintptr_t)ds;
    mri_shard *s;
    mr_err err = MR_OK;

    if (i >= ds->manifest->n_shards) {
        return mri_fail(diag, MRI_E_INDEX, MR_NOWHERE,
                        "the index names shard %u of %zu", i,
                        ds->manifest->n_shards);
    }
    s = atomic_load_explicit(&ds->slots[i].shard, memory_order_acquire);
    if (s == NULL) {
        pthread_mutex_lock(&mutable_ds->lock);
        s = atomic_load_explicit(&ds->slots[i].shard, memory_order_acquire);
        if (s == NULL) {
            err = open_slot(mutable_ds, i, &s, diag);
        }
        pthread_mutex_unlock(&mutable_ds->lock);
    }
    *out = s;
    return err;
}

mr_err
mri_dataset_locate(const mr_dataset *ds, uint64_t rank, const mri_shard **shard,
                   mri_index_entry *at, mri_sample_row *row, mr_diag *diag)
{
    mr_err err = mri_index_at(&ds->index, rank, at, diag);

    if (err == MR_OK) {
        err = shard_at(ds, at->shard, shard, diag);
    }
    if (err == MR_OK) {
        err = mri_shard_sample(*shard, at->row, row, diag);
    }
    if (err == MR_OK && memcmp(row->uid, at->uid, MR_UID_BYTES) != 0) {
        err = mri_fail(diag, MRI_E_INDEX, MR_NOWHERE,
                       "index and shard disagree about sample %llu",
                       (unsigned long long)rank);
    }
    mri_diag_in(err != MR_OK ? diag : NULL, ds->dir);
    return err;
}

mr_err
mr_dataset_sample(const mr_dataset *ds, uint64_t rank, mr_sample *out,
                  mr_diag *diag)
{
    const mri_shard *s;
    mri_index_entry e;
    mri_sample_row row;
    mr_err err = mri_dataset_locate(ds, rank, &s, &e, &row, diag);

    if (err != MR_OK) {
        return err;
    }
    *out = (mr_sample){.class_index = MR_NO_CLASS,
                       .group = row.group,
                       .content = row.content,
                       .fields = row.n_grid,
                       .shard = e.shard,
                       .row = e.row};
    memcpy(out->uid, row.uid, MR_UID_BYTES);
    if (row.class_index < s->schema->n_classes) {
        out->class_index = ds->slots[e.shard].class_map[row.class_index];
    }
    return MR_OK;
}

mr_err
mri_dataset_grid(const mr_dataset *ds, uint64_t rank, uint32_t i,
                 const mri_shard **shard, mri_grid_row *g, mr_diag *diag)
{
    mri_sample_row row;
    mri_index_entry at;
    mr_err err = mri_dataset_locate(ds, rank, shard, &at, &row, diag);

    if (err == MR_OK && i >= row.n_grid) {
        err = mri_fail(diag, MRI_E_NO_BOX, MR_NOWHERE,
                       "field %u of a sample of %u", i, row.n_grid);
    }
    if (err == MR_OK) {
        err = mri_shard_grid(*shard, &row, i, g, diag);
    }
    if (err == MR_OK) {
        g->field = ds->slots[at.shard].field_map[g->field];
    }
    return err;
}

mr_err
mr_dataset_field(const mr_dataset *ds, uint64_t rank, uint32_t i, mr_field *out,
                 mr_diag *diag)
{
    const mri_shard *s;
    mri_grid_row g;
    mr_err err = mri_dataset_grid(ds, rank, i, &s, &g, diag);

    if (err != MR_OK) {
        return err;
    }
    *out = (mr_field){.name = g.field,
                      .encoding = (mr_encoding)g.encoding,
                      .dtype = (mr_dtype)g.dtype,
                      .rank = g.ndim,
                      .bytes = mri_grid_bytes(&g),
                      .content = g.content,
                      .channels = 1,
                      .scaled = (g.flags & MRI_GRID_SCALED) != 0};
    for (unsigned k = 0; k < g.ndim; k++) {
        out->axes[k] = g.axes[k];
        out->shape[k] = g.dims[k];
        out->channels = g.axes[k] == 'C' ? g.dims[k] : out->channels;
        if (out->encoding == MR_ENC_CHUNKS) {
            out->chunk[k] = g.chunk[k];
        }
    }
    if (out->encoding == MR_ENC_JPEG) {
        out->jpeg_sampling = g.chunk[1];
    }
    return MR_OK;
}

mr_err
mr_dataset_moments(const mr_dataset *ds, uint64_t rank, uint32_t i,
                   uint32_t channel, mr_moments *out, mr_diag *diag)
{
    const mri_shard *s;
    mri_sample_row row;
    mri_moment_row m;
    mri_index_entry at;
    mr_err err = mri_dataset_locate(ds, rank, &s, &at, &row, diag);

    if (err == MR_OK) {
        err = mri_shard_moments(s, &row, i, channel, &m, diag);
    }
    if (err == MR_OK) {
        *out = m.all;
    }
    return err;
}

mr_err
mr_dataset_read(const mr_dataset *ds, uint64_t rank, uint32_t i,
                const mr_box *box, const mr_tensor *out, mr_scratch *scratch,
                mr_diag *diag)
{
    const mri_shard *s;
    mri_grid_row g;
    mr_err err = mri_dataset_grid(ds, rank, i, &s, &g, diag);

    return err == MR_OK ? mri_shard_read_box(s, &g, box, out, scratch, diag)
                        : err;
}

/* Slope and intercept, remembered by scratch: patches of one volume come one
 * after the other, and its meta frame would be unpacked for each. */
static mr_err
scale_of(const mr_dataset *ds, uint64_t rank, uint32_t i, const mri_shard *s,
         const mri_grid_row *g, mr_scratch *scratch, mri_scale *out,
         mr_diag *diag)
{
    mr_err err;

    *out = (mri_scale){1, 0};
    if ((g->flags & MRI_GRID_SCALED) == 0) {
        return MR_OK;
    }
    if (scratch != NULL && scratch->last.known &&
        scratch->last.first_chunk == g->first_chunk &&
        memcmp(scratch->last.shard, s->tail.shard_id, 16) == 0) {
        *out = scratch->last.scale;
        return MR_OK;
    }
    err = mr_dataset_scale(ds, rank, i, &out->slope, &out->inter, diag);
    if (err == MR_OK && scratch != NULL) {
        scratch->last.known = true;
        scratch->last.first_chunk = g->first_chunk;
        scratch->last.scale = *out;
        memcpy(scratch->last.shard, s->tail.shard_id, 16);
    }
    return err;
}

mr_err
mr_dataset_read_f32(const mr_dataset *ds, uint64_t rank, uint32_t i,
                    const mr_box *box, const mr_tensor *out,
                    mr_scratch *scratch, mr_diag *diag)
{
    const mri_shard *s;
    mri_grid_row g;
    mri_to_f32 to = {.out = out};
    mr_err err = mri_dataset_grid(ds, rank, i, &s, &g, diag);

    if (err == MR_OK) {
        err = scale_of(ds, rank, i, s, &g, scratch, &to.scale, diag);
    }
    return err == MR_OK ? mri_shard_read_f32(s, &g, box, &to, scratch, diag)
                        : err;
}

/* The shard of a rank if it is open, by an entry that is not proven. */
static const mri_shard *
likely_shard(const mr_dataset *ds, uint64_t rank, uint32_t *row)
{
    const uint8_t *p = mri_index_peek(&ds->index, rank);
    uint32_t shard;

    if (p == NULL) {
        return NULL;
    }
    shard = mri_get32(p + 16);
    *row = mri_get32(p + 20);
    return shard < ds->manifest->n_shards
               ? atomic_load_explicit(&ds->slots[shard].shard,
                                      memory_order_acquire)
               : NULL;
}

void
mri_dataset_foresee(const mr_dataset *ds, const uint64_t *ranks, size_t left)
{
    const mri_shard *s;
    const uint8_t *entry;
    uint32_t row;

    if (left > 3 * FORESEEN_STEP) {
        entry = mri_index_peek(&ds->index, ranks[3 * FORESEEN_STEP]);
        if (entry != NULL) {
            (void)*(const volatile uint8_t *)entry; /* loads find pages */
        }
    }
    if (left > 2 * FORESEEN_STEP) {
        s = likely_shard(ds, ranks[2 * FORESEEN_STEP], &row);
        if (s != NULL) {
            mri_shard_foresee_rows(s, row);
        }
    }
    if (left > FORESEEN_STEP) {
        s = likely_shard(ds, ranks[FORESEEN_STEP], &row);
        if (s != NULL) {
            mri_shard_foresee_frame(s, row);
        }
    }
}

/* A sample is found by its entry, its rows and its frames, each of which says
 * where the next one is: so all entries first, then all rows, then all frames.
 */
void
mri_dataset_want(const mr_dataset *ds, const uint64_t *ranks, size_t n,
                 mr_scratch *scratch)
{
    const mri_shard *s;
    mri_index_entry at;

    mri_scratch_settle(scratch);
    if (!mri_scratch_asks(scratch)) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        mri_index_want(&ds->index, ranks[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (mri_index_at(&ds->index, ranks[i], &at, NULL) == MR_OK &&
            shard_at(ds, at.shard, &s, NULL) == MR_OK) {
            mri_shard_want_rows(s, at.row);
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (mri_index_at(&ds->index, ranks[i], &at, NULL) == MR_OK &&
            shard_at(ds, at.shard, &s, NULL) == MR_OK) {
            mri_shard_want(s, at.row, &scratch->ahead);
        }
    }
    mri_scratch_settle(scratch);
}

mr_err
mr_dataset_bytes(const mr_dataset *ds, uint64_t rank, uint32_t i,
                 const uint8_t **p, size_t *bytes, mr_scratch *scratch,
                 mr_diag *diag)
{
    const mri_shard *s;
    mri_grid_row g;
    mr_err err = mri_dataset_grid(ds, rank, i, &s, &g, diag);

    return err == MR_OK
               ? mri_shard_read_verbatim(s, &g, p, bytes, scratch, diag)
               : err;
}

mr_err
mr_dataset_scale(const mr_dataset *ds, uint64_t rank, uint32_t i, double *slope,
                 double *inter, mr_diag *diag)
{
    const mri_shard *s;
    mri_sample_row row;
    mri_grid_row g;
    Mri__PbMeta *pb;
    mri_index_entry at;
    mr_err err = mri_dataset_grid(ds, rank, i, &s, &g, diag);

    *slope = 1;
    *inter = 0;
    if (err != MR_OK || (g.flags & MRI_GRID_SCALED) == 0) {
        return err;
    }
    err = mri_dataset_locate(ds, rank, &s, &at, &row, diag);
    if (err == MR_OK) {
        err = mri_shard_meta_pb(s, &row, &pb, diag);
    }
    if (err == MR_OK) {
        if (i < pb->n_fields && pb->fields[i]->geometry != NULL) {
            *slope = pb->fields[i]->geometry->slope;
            *inter = pb->fields[i]->geometry->inter;
        }
        mri_meta_unpacked_free(pb);
    }
    return err;
}

static const mri_split_stats *
stats_of(const mr_dataset *ds, uint32_t split, uint32_t field)
{
    const char *name =
        split == MR_ALL_SAMPLES ? "" : mr_dataset_split_name(ds, split);

    for (size_t i = 0; i < ds->manifest->n_statistics; i++) {
        if (ds->stats[i].field == field &&
            strcmp(ds->manifest->statistics[i]->split, name) == 0) {
            return &ds->stats[i];
        }
    }
    return NULL;
}

uint32_t
mr_dataset_stats_channels(const mr_dataset *ds, uint32_t split, uint32_t field)
{
    const mri_split_stats *s = stats_of(ds, split, field);

    return s != NULL ? s->channels : 0;
}

uint32_t
mr_dataset_measures(const mr_dataset *ds, uint32_t split, uint32_t field)
{
    const mri_split_stats *s = stats_of(ds, split, field);

    return s != NULL ? s->measures : 0;
}

const mr_measure *
mr_dataset_measure(const mr_dataset *ds, uint32_t split, uint32_t field,
                   uint32_t i)
{
    const mri_split_stats *s = stats_of(ds, split, field);

    return s != NULL && i < s->measures ? &s->measure[i] : NULL;
}

const mr_channel_stats *
mr_dataset_stats(const mr_dataset *ds, uint32_t split, uint32_t field,
                 uint32_t channel)
{
    const mri_split_stats *s = stats_of(ds, split, field);

    return s != NULL && channel < s->channels ? &s->channel[channel] : NULL;
}
