/* SPDX-License-Identifier: Apache-2.0 */
/* dataset_open.c - find a generation, check its manifest and index. */
#include "dataset_read.h"
#include "histogram.h"
#include "measure.h"

#include "version.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>
#include <mri/opt.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How often the latest generation may vanish before it is held: each time
 * another one has come. */
enum { TRIES = 100 };

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static bool
is_folder(const char *address)
{
    mri_store s;
    mri_root is = MRI_ROOT_NONE;
    mr_err err = mri_store_open(&s, address, NULL);

    if (err == MR_OK) {
        err = mri_store_root(&s, &is, NULL);
    }
    mri_store_close(&s);
    return err == MR_OK && is == MRI_ROOT_FOLDER;
}

/* "x.mr@42" is generation 42 of x.mr, unless a folder has that very name. */
mr_err
mri_generation_split(const char *path, char **dir, uint64_t *generation,
                     mr_diag *diag)
{
    const char *at = strrchr(path, '@');

    *generation = 0;
    *dir = mri_strdup(path);
    if (*dir == NULL) {
        return no_memory(diag);
    }
    if (at != NULL && !is_folder(path) && mri_parse_u64(at + 1, generation)) {
        (*dir)[at - path] = '\0';
    }
    return MR_OK;
}

/* No manifest: say what the folder is instead. */
static mr_err
not_a_dataset(const mri_store *store, mr_diag *diag)
{
    bool begun = false;
    mr_err err = mri_store_has(store, "journal", &begun, NULL);

    if (err == MR_OK && begun) {
        err = mri_fail(diag, MRI_E_UNFINISHED, MR_NOWHERE,
                       "the ingest into it is not finished");
    } else {
        err = mri_fail(diag, MRI_E_NOT_DATASET, MR_NOWHERE,
                       "no dataset: there is no manifest in it");
    }
    mri_diag_in(diag, store->root);
    return err;
}

static mr_err
check_root(const mri_store *store, mr_diag *diag)
{
    mri_root is;
    mr_err err = mri_store_root(store, &is, diag);

    if (err != MR_OK || is == MRI_ROOT_FOLDER) {
        return err;
    }
    if (is == MRI_ROOT_NONE) {
        err = mri_fail(diag, MRI_E_OPEN, MR_NOWHERE,
                       "cannot open: No such file or directory");
    } else {
        err = mri_fail(diag, MRI_E_NOT_DATASET, MR_NOWHERE,
                       "this is a file, not a dataset folder");
    }
    mri_diag_in(diag, store->root);
    return err;
}

static mr_err
find_generation(const mri_store *store, uint64_t *generation, mr_diag *diag)
{
    uint64_t latest, wanted = *generation;
    mr_err err = check_root(store, diag);

    if (err == MR_OK) {
        err = mri_generation_latest(store, &latest, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    if (latest == 0) {
        return not_a_dataset(store, diag);
    }
    if (wanted > latest) {
        err = mri_fail(diag, MRI_E_GENERATION, MR_NOWHERE,
                       "generation %llu does not exist; the latest is %llu",
                       (unsigned long long)wanted, (unsigned long long)latest);
        mri_diag_in(diag, store->root);
        return err;
    }
    *generation = wanted != 0 ? wanted : latest;
    return MR_OK;
}

/* Hold the generation, so that no writer takes its files away. One that is
 * named and gone stays gone; of those that are not named the latest is meant,
 * and that one may only just have come to be. */
static mr_err
find_and_hold(mr_dataset *ds, uint64_t *generation, mr_diag *diag)
{
    uint64_t wanted = *generation;
    int tries = wanted != 0 ? 1 : TRIES;
    bool held = false;
    mr_err err = MR_OK;

    for (int i = 0; err == MR_OK && !held && i < tries; i++) {
        *generation = wanted;
        err = find_generation(&ds->store, generation, diag);
        if (err == MR_OK) {
            err =
                mri_store_hold(&ds->hold, &ds->store,
                               mri_manifest_name(*generation).at, &held, diag);
        }
    }
    if (err == MR_OK && !held) {
        err = mri_fail(diag, MRI_E_GENERATION, MR_NOWHERE,
                       "generation %llu is not kept any more: 'compact' has "
                       "removed it",
                       (unsigned long long)*generation);
        mri_diag_in(diag, ds->dir);
    }
    return err;
}

static mr_err
load_manifest(mr_dataset *ds, uint64_t generation, mr_diag *diag)
{
    mri_object_name name = mri_manifest_name(generation);
    char *path = mri_store_path(&ds->store, name.at);
    mri_bytes b = {0};
    uint8_t digest[32];
    mr_err err = path != NULL ? MR_OK : no_memory(diag);

    if (err == MR_OK) {
        err = mri_store_load(&ds->store, name.at, MRI_MANIFEST_LIMIT, &b, diag);
    }
    if (err == MR_OK) {
        err = mri_manifest_parse(&ds->manifest, b.data, b.len, diag);
        mri_diag_in(err != MR_OK ? diag : NULL, path);
    }
    if (err == MR_OK) {
        ds->version = mri_version_of(b.data, MRI_MANIFEST_FEATURES);
    }
    if (err == MR_OK && ds->manifest->generation != generation) {
        err = mri_fail(diag, MRI_E_MANIFEST, MRI_MANIFEST_HEAD,
                       "a manifest of generation %llu under another name",
                       (unsigned long long)ds->manifest->generation);
        mri_diag_in(diag, path);
    }
    if (err == MR_OK && ds->manifest->dataset_id.len == 16) {
        memcpy(ds->id, ds->manifest->dataset_id.data, 16);
    } else if (err == MR_OK) { /* the first names all that follow */
        mri_sha256_of(digest, b.data, b.len);
        memcpy(ds->id, digest, 16);
    }
    mri_bytes_release(&b);
    mri_free(path);
    return err;
}

static mr_err
open_index(mr_dataset *ds, mr_diag *diag)
{
    const Mri__PbManifest *m = ds->manifest;
    mr_err err =
        mri_index_open(&ds->index, &ds->store, mri_index_name(m->generation).at,
                       m->index_hash.data, ds->use_map, diag);

    if (err != MR_OK) {
        return err;
    }
    if (ds->index.count != m->samples || ds->index.splits != m->n_splits) {
        return mri_fail(diag, MRI_E_INDEX, 16,
                        "manifest and index count differently");
    }
    for (uint32_t i = 0; i < ds->index.splits; i++) {
        if (ds->index.split_counts[i] != m->splits[i]->count) {
            return mri_fail(diag, MRI_E_INDEX, MRI_INDEX_HEAD,
                            "manifest and index count split %s differently",
                            m->splits[i]->name);
        }
    }
    return MR_OK;
}

static mr_moments
moments_of(const Mri__PbMoments *pb)
{
    if (pb == NULL) {
        return (mr_moments){0};
    }
    return (mr_moments){pb->count, pb->min, pb->max, pb->sum, pb->sum_squares};
}

static void
take_percentiles(double to[MR_PERCENTILES], const double *from, size_t n)
{
    for (size_t i = 0; i < MR_PERCENTILES; i++) {
        to[i] = n == MR_PERCENTILES ? from[i] : (double)NAN;
    }
}

static void
load_percentiles(mr_channel_stats *to, const Mri__PbChannel *from, bool decoded)
{
    take_percentiles(
        to->percentile, decoded ? from->decoded_percentiles : from->percentiles,
        decoded ? from->n_decoded_percentiles : from->n_percentiles);
    take_percentiles(to->foreground_percentile, from->foreground_percentiles,
                     from->n_foreground_percentiles);
    take_percentiles(to->nonzero_percentile,
                     decoded ? from->decoded_nonzero_percentiles
                             : from->nonzero_percentiles,
                     decoded ? from->n_decoded_nonzero_percentiles
                             : from->n_nonzero_percentiles);
}

static bool
load_measures(mri_split_stats *s, const Mri__PbStatistics *pb)
{
    s->measure = mri_alloc(pb->n_measures, sizeof *s->measure);
    if (s->measure == NULL) {
        return false;
    }
    for (size_t i = 0; i < pb->n_measures; i++) {
        if (mri_measure_known(pb->measures[i])) {
            s->measure[s->measures++] = mri_measure_of_pb(pb->measures[i]);
        }
    }
    return true;
}

static mr_err
load_stats(mr_dataset *ds, mr_diag *diag)
{
    const Mri__PbManifest *m = ds->manifest;

    ds->stats = mri_alloc(m->n_statistics, sizeof *ds->stats);
    if (ds->stats == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; i < m->n_statistics; i++) {
        const Mri__PbStatistics *pb = m->statistics[i];
        mri_split_stats *s = &ds->stats[i];

        s->channel = mri_alloc(pb->n_channels, sizeof *s->channel);
        if (s->channel == NULL || !load_measures(s, pb)) {
            return no_memory(diag);
        }
        s->channels = (uint32_t)pb->n_channels;
        s->field = UINT32_MAX;
        for (uint32_t f = 0; f < m->schema->n_fields; f++) {
            if (strcmp(m->schema->fields[f]->name, pb->field) == 0) {
                s->field = f;
            }
        }
        for (uint32_t c = 0; c < s->channels; c++) {
            s->channel[c].all = moments_of(pb->channels[c]->all);
            s->channel[c].nonzero = moments_of(pb->channels[c]->nonzero);
            s->channel[c].unit = moments_of(pb->channels[c]->unit);
            s->channel[c].foreground = moments_of(pb->channels[c]->foreground);
            s->channel[c].non_finite = pb->channels[c]->non_finite;
            s->channel[c].exact = pb->bins == MRI_BINS_STORED ||
                                  pb->decoded_bins == MRI_BINS_STORED;
            load_percentiles(&s->channel[c], pb->channels[c],
                             pb->decoded_bins != MRI_BINS_NONE);
        }
    }
    return MR_OK;
}

mr_dataset_options
mr_dataset_defaults(void)
{
    return (mr_dataset_options){.no_mmap = false};
}

mr_err
mr_dataset_open(mr_dataset **out, const char *path, mr_diag *diag)
{
    const mr_dataset_options o = mr_dataset_defaults();

    return mr_dataset_open_with(out, path, &o, diag);
}

mr_err
mr_dataset_open_with(mr_dataset **out, const char *path,
                     const mr_dataset_options *options, mr_diag *diag)
{
    mr_dataset *ds = mri_alloc(1, sizeof *ds);
    uint64_t generation;
    char *dir = NULL;
    mr_err err;

    *out = NULL;
    if (ds == NULL) {
        return no_memory(diag);
    }
    ds->use_map = !options->no_mmap;
    ds->index.file.fd = -1;
    pthread_mutex_init(&ds->lock, NULL);
    err = mri_generation_split(path, &dir, &generation, diag);
    if (err == MR_OK) {
        err = mri_store_open(&ds->store, dir, diag);
        ds->dir = ds->store.root;
    }
    mri_free(dir);
    if (err == MR_OK) {
        err = find_and_hold(ds, &generation, diag);
    }
    if (err == MR_OK) {
        err = load_manifest(ds, generation, diag);
    }
    if (err == MR_OK) {
        err = open_index(ds, diag);
    }
    if (err == MR_OK) {
        err = load_stats(ds, diag);
    }
    if (err == MR_OK) {
        ds->slots = mri_alloc(ds->manifest->n_shards, sizeof *ds->slots);
        err = ds->slots != NULL ? MR_OK : no_memory(diag);
    }
    if (err != MR_OK) {
        mri_diag_in(diag, path);
        mr_dataset_close(ds);
        return err;
    }
    *out = ds;
    return MR_OK;
}

void
mr_dataset_close(mr_dataset *ds)
{
    if (ds == NULL) {
        return;
    }
    for (size_t i = 0; ds->slots != NULL && i < ds->manifest->n_shards; i++) {
        mri_shard_close(ds->slots[i].shard);
        mri_free(ds->slots[i].class_map);
        mri_free(ds->slots[i].field_map);
    }
    for (size_t i = 0; ds->stats != NULL && i < ds->manifest->n_statistics;
         i++) {
        mri_free(ds->stats[i].channel);
        mri_free(ds->stats[i].measure);
    }
    mri_free(ds->stats);
    mri_free(ds->slots);
    mri_index_close(&ds->index);
    mri_manifest_free(ds->manifest);
    mri_store_let_go(&ds->hold);
    pthread_mutex_destroy(&ds->lock);
    mri_store_close(&ds->store);
    mri_free(ds);
}
