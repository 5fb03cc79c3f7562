/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sweep.c - remove what no generation of a dataset needs any more.
 *
 * The latest manifest says from which generation on they are kept. So what is
 * to go needs no list of its own: a writer that was killed while it removed
 * files, or that had to leave some to a reader, leaves the rest to the next.
 * A manifest goes first and its shards last, and in between the folder is
 * brought to the disk: a power cut leaves no manifest whose shards are gone.
 */
#include "manifest.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sweep {
    mri_store store;
    uint64_t *generations; /* whose manifest is there, in no order */
    size_t count;
    uint64_t oldest;      /* that is kept */
    uint8_t (*named)[16]; /* shards that stay; sorted before they are used */
    size_t named_count;
    bool blind;      /* a manifest cannot be read: nobody knows what it names */
    char folder[16]; /* of shards, the one at hand */
    size_t left, gone; /* of its files; of indexes */
    mri_swept *out;
} sweep;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
add_generation(void *user, const char *name, mr_diag *diag)
{
    sweep *s = user;
    uint64_t generation = mri_generation_of_name(name), *grown;

    if (generation == 0) {
        return MR_OK;
    }
    grown = mri_resize(s->generations, s->count + 1, sizeof *grown);
    if (grown == NULL) {
        return no_memory(diag);
    }
    s->generations = grown;
    grown[s->count++] = generation;
    return MR_OK;
}

static bool
is_there(const sweep *s, uint64_t generation)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->generations[i] == generation) {
            return true;
        }
    }
    return false;
}

static mr_err
add_named(sweep *s, const Mri__PbManifest *m, mr_diag *diag)
{
    void *grown =
        mri_resize(s->named, s->named_count + m->n_shards, sizeof *s->named);

    if (grown == NULL) {
        return no_memory(diag);
    }
    s->named = grown;
    for (size_t i = 0; i < m->n_shards; i++) {
        memcpy(s->named[s->named_count++], m->shards[i]->id.data, 16);
    }
    return MR_OK;
}

/* The shards of a generation that stays. One whose manifest is damaged may
 * need any of them, so then all stay. */
static mr_err
keep_generation(sweep *s, uint64_t generation, mr_diag *diag)
{
    Mri__PbManifest *m;
    mr_err err = mri_manifest_load(&m, &s->store, generation, diag);

    if (err == MR_OK) {
        err = add_named(s, m, diag);
        mri_manifest_free(m);
    } else if (err != MR_ENOMEM) {
        mri_diag_clear(diag);
        s->blind = true;
        err = MR_OK;
    }
    return err;
}

static mr_err
remove_generation(sweep *s, uint64_t generation, mr_diag *diag)
{
    bool ended = mri_store_end(&s->store, mri_manifest_name(generation).at);

    s->out->generations += ended;
    s->out->held += !ended;
    return ended ? MR_OK : keep_generation(s, generation, diag);
}

/* Each of the generations; the number of one that goes becomes 0. */
static mr_err
sort_out(sweep *s, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < s->count; i++) {
        uint64_t ended = s->out->generations;

        if (s->generations[i] >= s->oldest) {
            err = keep_generation(s, s->generations[i], diag);
            continue;
        }
        err = remove_generation(s, s->generations[i], diag);
        if (s->out->generations != ended) {
            s->generations[i] = 0;
        }
    }
    return err;
}

/* An index without a manifest: of a generation that went, or never came. */
static mr_err
remove_index(void *user, const char *name, mr_diag *diag)
{
    sweep *s = user;
    uint64_t generation = 0;
    int end = 0;

    if (sscanf(name, "index.%" SCNu64 ".mri%n", &generation, &end) != 1 ||
        end == 0 || name[end] != '\0' || is_there(s, generation)) {
        return MR_OK;
    }
    s->gone++;
    return mri_store_remove(&s->store, name, diag);
}

static int
by_id(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

/* A file with the name of a shard, and not one that stays. */
static bool
unneeded(const sweep *s, const char *name)
{
    uint8_t id[16];
    char hex[33];

    if (strlen(name) != 36 || strcmp(name + 32, ".mrs") != 0) {
        return false;
    }
    memcpy(hex, name, 32);
    hex[32] = '\0';
    return mri_unhex(id, 16, hex) &&
           (s->named_count == 0 || bsearch(id, s->named, s->named_count,
                                           sizeof *s->named, by_id) == NULL);
}

static mr_err
remove_shard(void *user, const char *name, mr_diag *diag)
{
    sweep *s = user;
    char path[64];
    mr_err err;

    if (!unneeded(s, name)) {
        s->left++;
        return MR_OK;
    }
    (void)snprintf(path, sizeof path, "%s/%s", s->folder, name);
    err = mri_store_remove(&s->store, path, diag);
    s->out->shards += err == MR_OK;
    s->gone += err == MR_OK;
    return err;
}

static mr_err
in_shards(void *user, const char *name, mr_diag *diag)
{
    sweep *s = user;
    mr_err err;

    if (strlen(name) != 2 || name[0] == '.') {
        return MR_OK;
    }
    (void)snprintf(s->folder, sizeof s->folder, "shards/%s", name);
    s->left = s->gone = 0;
    err = mri_store_list(&s->store, s->folder, remove_shard, s, diag);
    /* Or a power cut brings back what a purge took away. An empty folder is
     * one that a killed writer has emptied. */
    if (err == MR_OK && (s->gone != 0 || s->left == 0)) {
        err = mri_store_sync(&s->store, s->folder, diag);
    }
    mri_store_prune(&s->store, s->folder);
    return err;
}

static mr_err
sweep_shards(sweep *s, const uint8_t (*keep)[16], size_t count, mr_diag *diag)
{
    void *grown =
        mri_resize(s->named, s->named_count + count + 1, sizeof *s->named);

    if (grown == NULL) {
        return no_memory(diag);
    }
    s->named = grown;
    for (size_t i = 0; i < count; i++) {
        memcpy(s->named[s->named_count++], keep[i], 16);
    }
    if (s->named_count != 0) {
        qsort(s->named, s->named_count, sizeof *s->named, by_id);
    }
    return mri_store_list(&s->store, "shards", in_shards, s, diag);
}

/* Generations, indexes; what they named stays until that is on the disk. */
static mr_err
sweep_generations(sweep *s, mr_diag *diag)
{
    uint64_t latest;
    Mri__PbManifest *m;
    mr_err err = mri_generation_latest(&s->store, &latest, diag);

    if (err == MR_OK && latest != 0) {
        err = mri_manifest_load(&m, &s->store, latest, diag);
        if (err == MR_OK) {
            s->oldest = m->oldest;
            mri_manifest_free(m);
        }
    }
    if (err == MR_OK) {
        err = mri_store_list(&s->store, "", add_generation, s, diag);
    }
    if (err == MR_OK) {
        err = sort_out(s, diag);
    }
    if (err == MR_OK) {
        err = mri_store_list(&s->store, "", remove_index, s, diag);
    }
    if (err == MR_OK && (s->out->generations != 0 || s->gone != 0)) {
        err = mri_store_sync(&s->store, "", diag);
    }
    return err;
}

mr_err
mri_dataset_sweep(const char *dir, const uint8_t (*keep)[16], size_t count,
                  mri_swept *out, mr_diag *diag)
{
    sweep s = {.out = out};
    bool unfinished = false;
    mr_err err = mri_store_open(&s.store, dir, diag);

    *out = (mri_swept){0};
    if (err == MR_OK) {
        mri_store_sweep(&s.store);
        err = sweep_generations(&s, diag);
    }
    /* An ingest that was interrupted has noted its shards, in lines that are
     * another room's. */
    if (err == MR_OK && keep == NULL) {
        err =
            mri_store_has(&s.store, "journal/shards.jsonl", &unfinished, diag);
    }
    if (err == MR_OK && !s.blind && !unfinished) {
        err = sweep_shards(&s, keep, count, diag);
    }
    mri_store_close(&s.store);
    mri_free(s.named);
    mri_free(s.generations);
    return err;
}
