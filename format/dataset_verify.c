/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dataset_verify.c - prove a whole dataset folder.
 *
 * Manifests and their chain, each generation's index, every shard that any
 * manifest names, the lines of history and quarantine, and that nothing else
 * lies in the folder.
 */
#include "dataset_read.h"
#include "prove.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/hash.h>
#include <mri/thread.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct verify {
    mri_store store;
    mri_damage_fn *tell;
    void *user;
    const mr_watch *watch;
    mri_dataset_verified *out;
    mri_shard_ref *refs; /* of all generations, by id, each once */
    size_t ref_count;
    uint64_t total_bytes, done_bytes;
    uint64_t only;        /* this generation, as it was named; 0: all */
    uint64_t oldest;      /* generation that is kept */
    bool starved;         /* memory ran out: not all is proven */
    bool unread;          /* a manifest: which shards it names is not known */
    pthread_mutex_t lock; /* around tell, watch and out */
} verify;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static void
report(verify *v, const char *sample, const mr_diag *diag)
{
    pthread_mutex_lock(&v->lock);
    if (diag->err == MR_ENOMEM) {
        v->starved = true;
    } else {
        v->out->damages++;
        v->tell(v->user, sample, diag);
    }
    pthread_mutex_unlock(&v->lock);
}

static void
tell_shard(void *user, const char *sample, const mr_diag *diag)
{
    report(user, sample, diag);
}

static int
by_id(const void *a, const void *b)
{
    return memcmp(((const mri_shard_ref *)a)->id,
                  ((const mri_shard_ref *)b)->id, 16);
}

static bool
add_ref(verify *v, const mri_shard_ref *ref)
{
    mri_shard_ref *grown;

    for (size_t i = 0; i < v->ref_count; i++) {
        if (memcmp(v->refs[i].id, ref->id, 16) == 0) {
            return true;
        }
    }
    grown = mri_resize(v->refs, v->ref_count + 1, sizeof *grown);
    if (grown == NULL) {
        return false;
    }
    v->refs = grown;
    v->refs[v->ref_count++] = *ref;
    v->total_bytes += ref->bytes;
    return true;
}

/* Manifest and index of one generation; `parent` is the hash of the manifest
 * before and becomes that of this one. */
static mr_err
check_generation(verify *v, uint64_t generation, uint8_t parent[32],
                 bool *chained, mr_diag *diag)
{
    mri_object_name manifest = mri_manifest_name(generation);
    char *path = mri_store_path(&v->store, manifest.at);
    char name[512];
    mri_bytes b = {0};
    mr_dataset *ds = NULL;
    mr_diag why = {0};
    mr_err err;

    (void)snprintf(name, sizeof name, "%s@%llu", v->store.root,
                   (unsigned long long)generation);
    err = path != NULL ? mri_store_load(&v->store, manifest.at,
                                        MRI_MANIFEST_LIMIT, &b, &why)
                       : no_memory(&why);
    if (err == MR_OK) {
        err = mr_dataset_open(&ds, name, &why);
    }
    if (err == MR_OK) {
        const Mri__PbManifest *m = ds->manifest;

        if (*chained && generation > 1 &&
            (m->parent.len != 32 || memcmp(m->parent.data, parent, 32) != 0)) {
            (void)mri_fail(&why, MRI_E_CHAIN, MRI_MANIFEST_HEAD,
                           "does not follow from generation %llu",
                           (unsigned long long)generation - 1);
            err = MR_ECORRUPT;
        }
        for (size_t i = 0; i < m->n_shards; i++) {
            mri_shard_ref ref;

            mri_dataset_shard_ref(m, i, &ref);
            if (!add_ref(v, &ref)) {
                err = no_memory(&why);
            }
        }
        if (err == MR_OK) {
            err = mri_index_check_all(&ds->index, &why);
        }
    }
    *chained = b.data != NULL;
    v->unread = v->unread || ds == NULL;
    if (b.data != NULL) {
        mri_sha256_of(parent, b.data, b.len);
    }
    mr_dataset_close(ds);
    mri_bytes_release(&b);
    if (err == MR_ENOMEM && diag != NULL) {
        *diag = why;
    } else if (err != MR_OK) {
        mri_diag_in(&why, path);
        report(v, NULL, &why);
        err = MR_OK;
    }
    mri_free(path);
    return err;
}

static mr_err
check_shard(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    verify *v = arg;
    const mri_shard_ref *ref = &v->refs[task];
    mri_verified got = {0};
    mr_diag why = {0};
    mr_err err;

    (void)worker;
    if (v->watch != NULL && v->watch->stop != NULL &&
        v->watch->stop(v->watch->user)) {
        return mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
    }
    err = mri_shard_verify_in(&v->store, ref, tell_shard, v, &got, &why);
    if (err == MR_EIO) { /* gone or unreadable is damage as well */
        report(v, NULL, &why);
        err = MR_OK;
    } else if (err != MR_OK && diag != NULL) {
        *diag = why;
    }
    pthread_mutex_lock(&v->lock);
    v->out->shards.bytes += got.bytes;
    v->out->shards.frames += got.frames;
    v->out->shards.samples += got.samples;
    v->done_bytes += ref->bytes;
    if (v->watch != NULL && v->watch->progress != NULL) {
        mr_progress now = {.unit = "bytes",
                           .done = v->done_bytes,
                           .total = v->total_bytes,
                           .bad = v->out->damages,
                           .bytes = v->done_bytes};

        v->watch->progress(v->watch->user, &now);
    }
    pthread_mutex_unlock(&v->lock);
    return err;
}

/* The offset of the first line that fails its checksum, or MR_NOWHERE. */
static uint64_t
first_bad_line(mri_bytes *b)
{
    char *line = (char *)b->data, *end = line + b->len;

    while (line < end) {
        char *newline = memchr(line, '\n', (size_t)(end - line));

        if (newline == NULL ||
            memchr(line, '\0', (size_t)(newline - line)) != NULL) {
            return (uint64_t)(line - (char *)b->data);
        }
        if (mri_crc_line_check(line) == NULL) {
            return (uint64_t)(line - (char *)b->data);
        }
        line = newline + 1;
    }
    return MR_NOWHERE;
}

/* Every line of a file of ours must give its checksum. */
static void
check_lines(verify *v, const char *name)
{
    char *path = mri_store_path(&v->store, name);
    mri_bytes b = {0};
    mr_diag why = {0};
    uint64_t at;
    mr_err err = mri_store_load(&v->store, name, (uint64_t)1 << 32, &b, &why);

    if (err == MR_OK) {
        at = first_bad_line(&b);
        if (at != MR_NOWHERE) {
            err = mri_fail(&why, MRI_E_LINE, at, "a line fails its checksum");
            mri_diag_in(&why, path != NULL ? path : name);
        }
    }
    if (err != MR_OK) {
        report(v, NULL, &why);
    }
    mri_bytes_release(&b);
    mri_free(path);
}

static void
unknown_file(verify *v, const char *name)
{
    char *path = mri_store_path(&v->store, name);
    mr_diag why = {0};

    (void)mri_fail(&why, MRI_E_UNKNOWN_FILE, MR_NOWHERE,
                   "this does not belong to the dataset");
    mri_diag_in(&why, path != NULL ? path : name);
    mri_free(path);
    report(v, NULL, &why);
}

/* ---- the folder itself ---- */

/* `name` is of the store, `last` its last part. */
typedef mr_err each_fn(verify *v, const char *name, const char *last,
                       mr_diag *diag);

typedef struct listing {
    verify *v;
    const char *folder;
    each_fn *fn;
} listing;

static mr_err
each_entry(void *user, const char *last, mr_diag *diag)
{
    const listing *l = user;
    char *name = l->folder[0] != '\0' ? mri_path_join(l->folder, last)
                                      : mri_strdup(last);
    mr_err err = name != NULL ? l->fn(l->v, name, last, diag) : no_memory(diag);

    mri_free(name);
    return err;
}

static mr_err
each(verify *v, const char *folder, each_fn *fn, mr_diag *diag)
{
    listing l = {v, folder, fn};
    mr_diag why = {0};
    mr_err err = mri_store_list(&v->store, folder, each_entry, &l, &why);

    if (err == MR_EIO) { /* a file where a folder should be, for one */
        report(v, NULL, &why);
        err = MR_OK;
    } else if (err != MR_OK && diag != NULL) {
        *diag = why;
    }
    return err;
}

static mr_err
in_shards(verify *v, const char *name, const char *last, mr_diag *diag)
{
    mri_shard_ref key;
    char copy[33];

    (void)diag;
    if (strlen(last) != 36 || strcmp(last + 32, ".mrs") != 0) {
        unknown_file(v, name);
        return MR_OK;
    }
    memcpy(copy, last, 32);
    copy[32] = '\0';
    if (!mri_unhex(key.id, 16, copy)) {
        unknown_file(v, name);
    } else if (!v->unread &&
               (v->ref_count == 0 || bsearch(&key, v->refs, v->ref_count,
                                             sizeof key, by_id) == NULL)) {
        v->out->orphans++; /* left by a commit that was cut off */
    }
    return MR_OK;
}

static mr_err
in_shards_folder(verify *v, const char *name, const char *last, mr_diag *diag)
{
    if (strlen(last) != 2) {
        unknown_file(v, name);
        return MR_OK;
    }
    return each(v, name, in_shards, diag);
}

static mr_err
in_quarantine(verify *v, const char *name, const char *last, mr_diag *diag)
{
    (void)diag;
    if (strlen(last) < 6 || strcmp(last + strlen(last) - 6, ".jsonl") != 0) {
        unknown_file(v, name);
    } else {
        check_lines(v, name);
    }
    return MR_OK;
}

/* Of a generation that is not kept, left to somebody who still reads it. */
static bool
not_kept(const verify *v, const char *name)
{
    uint64_t generation = mri_generation_of_name(name);
    int end = 0;

    if (generation == 0 &&
        (sscanf(name, "index.%" SCNu64 ".mri%n", &generation, &end) != 1 ||
         end == 0 || name[end] != '\0')) {
        return false;
    }
    return generation < v->oldest;
}

static mr_err
in_dataset(verify *v, const char *name, const char *last, mr_diag *diag)
{
    unsigned long long generation;
    int end = 0;

    if (strcmp(last, "shards") == 0) {
        return each(v, name, in_shards_folder, diag);
    }
    if (strcmp(last, "quarantine") == 0) {
        return each(v, name, in_quarantine, diag);
    }
    if (strcmp(last, "history.jsonl") == 0) {
        check_lines(v, name);
    } else if (strncmp(last, ".part-", 6) == 0 || not_kept(v, last)) {
        v->out->orphans++; /* or of a writer that was killed */
    } else if (strcmp(last, "journal") != 0 &&
               mri_generation_of_name(last) == 0 &&
               (sscanf(last, "index.%llu.mri%n", &generation, &end) != 1 ||
                end == 0 || last[end] != '\0')) {
        unknown_file(v, name);
    }
    return MR_OK;
}

/* From which generation on they must be there. If the latest cannot say so,
 * the first that is there. */
static mr_err
find_oldest(verify *v, uint64_t latest, mr_diag *diag)
{
    char name[512];
    mr_dataset *ds;
    mr_err err;

    (void)snprintf(name, sizeof name, "%s@%llu", v->store.root,
                   (unsigned long long)latest);
    err = mr_dataset_open(&ds, name, NULL);
    if (err == MR_ENOMEM) {
        return no_memory(diag);
    }
    if (err != MR_OK) {
        return mri_generation_first(&v->store, &v->oldest, diag);
    }
    v->oldest = ds->manifest->oldest != 0 ? ds->manifest->oldest : 1;
    mr_dataset_close(ds);
    return MR_OK;
}

/* Of a dataset in which all values hold: do the statistics in force follow? */
static mr_err
check_stats(verify *v, unsigned workers, mr_diag *diag)
{
    mr_diag why = {0};
    mr_err err =
        mri_dataset_prove_stats(v->store.root, workers, v->watch, &why);

    if (err == MR_ECORRUPT) {
        report(v, NULL, &why);
        return MR_OK;
    }
    if (err != MR_OK && diag != NULL) {
        *diag = why;
    }
    return err;
}

/* A generation that is not there is no damage, but a wrong name. */
static mr_err
find_named(verify *v, uint64_t latest, mr_diag *diag)
{
    bool there = false;
    mr_err err =
        mri_store_has(&v->store, mri_manifest_name(v->only).at, &there, diag);

    if (err == MR_OK && !there) {
        err = mri_fail(diag, MRI_E_GENERATION, MR_NOWHERE,
                       "generation %llu is not there; the latest is %llu",
                       (unsigned long long)v->only, (unsigned long long)latest);
        mri_diag_in(diag, v->store.root);
    }
    return err;
}

static mr_err
verify_all(verify *v, unsigned workers, mr_diag *diag)
{
    uint64_t latest;
    uint8_t parent[32] = {0};
    bool chained = false; /* the first has nothing to follow from */
    mri_pool *pool;
    mr_err err = mri_generation_latest(&v->store, &latest, diag);

    if (err == MR_OK && latest == 0) {
        mr_dataset *none;

        err = mr_dataset_open(&none, v->store.root,
                              diag); /* it says what is wrong */
        return err == MR_OK ? MR_EFORMAT : err;
    }
    if (err == MR_OK && v->only == 0) {
        err = find_oldest(v, latest, diag);
    } else if (err == MR_OK) {
        err = find_named(v, latest, diag);
        latest = v->oldest = v->only;
    }
    for (uint64_t g = v->oldest; err == MR_OK && g <= latest; g++) {
        err = check_generation(v, g, parent, &chained, diag);
        v->out->generations++;
    }
    if (err == MR_OK) {
        err = mri_pool_open(&pool, workers, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    if (v->ref_count != 0) {
        qsort(v->refs, v->ref_count, sizeof *v->refs, by_id);
    }
    v->out->shard_count = (uint32_t)v->ref_count;
    err = mri_pool_run(pool, v->ref_count, check_shard, v, diag);
    mri_pool_close(pool);
    if (v->only != 0) { /* what else is there is another's matter */
        return err;
    }
    if (err == MR_OK) {
        err = each(v, "", in_dataset, diag);
    }
    if (err == MR_OK && v->starved) {
        err = no_memory(diag);
    }
    return err == MR_OK && v->out->damages == 0 ? check_stats(v, workers, diag)
                                                : err;
}

mr_err
mri_dataset_verify(const char *dir, unsigned workers, mri_damage_fn *tell,
                   void *user, const mr_watch *watch, mri_dataset_verified *out,
                   mr_diag *diag)
{
    verify v = {.tell = tell, .user = user, .watch = watch, .out = out};
    char *folder = NULL;
    mr_err err = mri_generation_split(dir, &folder, &v.only, diag);

    *out = (mri_dataset_verified){0};
    pthread_mutex_init(&v.lock, NULL);
    if (err == MR_OK) {
        err = mri_store_open(&v.store, folder, diag);
    }
    if (err == MR_OK) {
        err = verify_all(&v, workers, diag);
    }
    out->shards.damages = out->damages;
    pthread_mutex_destroy(&v.lock);
    mri_store_close(&v.store);
    mri_free(folder);
    mri_free(v.refs);
    return err;
}
