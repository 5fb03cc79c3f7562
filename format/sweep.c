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
#include "lease.h"
#include "manifest.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct sweep {
    const char *dir;
    uint64_t *generations; /* whose manifest is there, in no order */
    size_t count;
    uint64_t oldest;      /* that is kept */
    uint8_t (*named)[16]; /* shards that stay; sorted before they are used */
    size_t named_count;
    bool blind; /* a manifest cannot be read: nobody knows what it names */
    mri_swept *out;
} sweep;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
remove_file(const char *path, mr_diag *diag)
{
    mr_err err = MR_OK;

    if (mri_file_now()->unlink(path) != 0 && errno != ENOENT) {
        err = mri_fail(diag, MRI_E_WRITE, MR_NOWHERE, "cannot remove: %s",
                       strerror(errno));
        mri_diag_in(diag, path);
    }
    return err;
}

static mr_err
list_generations(sweep *s, mr_diag *diag)
{
    DIR *d = opendir(s->dir);
    struct dirent *e;
    mr_err err = MR_OK;

    while (err == MR_OK && d != NULL && (e = readdir(d)) != NULL) {
        uint64_t generation = mri_generation_of_name(e->d_name), *grown;

        if (generation == 0) {
            continue;
        }
        grown = mri_resize(s->generations, s->count + 1, sizeof *grown);
        if (grown == NULL) {
            err = no_memory(diag);
        } else {
            s->generations = grown;
            grown[s->count++] = generation;
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return err;
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
load(const sweep *s, uint64_t generation, Mri__PbManifest **out, mr_diag *diag)
{
    char *path = mri_manifest_path(s->dir, generation);
    mri_bytes b = {0};
    mr_err err = path != NULL
                     ? mri_file_load(path, MRI_MANIFEST_LIMIT, &b, diag)
                     : no_memory(diag);

    *out = NULL;
    if (err == MR_OK) {
        err = mri_manifest_parse(out, b.data, b.len, diag);
        mri_diag_in(err != MR_OK ? diag : NULL, path);
    }
    mri_bytes_release(&b);
    mri_free(path);
    return err;
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
    mr_err err = load(s, generation, &m, diag);

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
    char *path = mri_manifest_path(s->dir, generation);
    bool ended;

    if (path == NULL) {
        return no_memory(diag);
    }
    ended = mri_lease_end(path);
    mri_free(path);
    s->out->generations += ended;
    s->out->held += !ended;
    return ended ? MR_OK : keep_generation(s, generation, diag);
}

/* Each of the generations, and the place of its manifest in the list becomes
 * 0 if it is gone. */
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
remove_indexes(const sweep *s, mr_diag *diag)
{
    DIR *d = opendir(s->dir);
    struct dirent *e;
    mr_err err = MR_OK;

    while (err == MR_OK && d != NULL && (e = readdir(d)) != NULL) {
        uint64_t generation = 0;
        int end = 0;
        char *path;

        if (sscanf(e->d_name, "index.%" SCNu64 ".mri%n", &generation, &end) !=
                1 ||
            end == 0 || e->d_name[end] != '\0' || is_there(s, generation)) {
            continue;
        }
        path = mri_path_join(s->dir, e->d_name);
        err = path != NULL ? remove_file(path, diag) : no_memory(diag);
        mri_free(path);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return err;
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
remove_shard(sweep *s, const char *path, mr_diag *diag)
{
    struct stat st;
    uint64_t bytes = stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
    mr_err err = remove_file(path, diag);

    s->out->shards += err == MR_OK;
    s->out->bytes += err == MR_OK ? bytes : 0;
    return err;
}

static mr_err
remove_shards(sweep *s, const char *dir, unsigned depth, mr_diag *diag)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    mr_err err = MR_OK;

    while (err == MR_OK && d != NULL && (e = readdir(d)) != NULL) {
        char *path;

        if (e->d_name[0] == '.' || (depth == 1 && !unneeded(s, e->d_name))) {
            continue;
        }
        path = mri_path_join(dir, e->d_name);
        if (path == NULL) {
            err = no_memory(diag);
        } else if (depth == 0) {
            err = remove_shards(s, path, 1, diag);
            (void)mri_file_now()->rmdir(path); /* if it is empty */
        } else {
            err = remove_shard(s, path, diag);
        }
        mri_free(path);
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return err;
}

/* An ingest that was interrupted has noted its shards, in lines that are
 * another room's. */
static bool
unfinished_ingest(const char *dir)
{
    char *path = mri_path_join(dir, "journal/shards.jsonl");
    bool there = path == NULL || access(path, F_OK) == 0;

    mri_free(path);
    return there;
}

static mr_err
sweep_shards(sweep *s, const uint8_t (*keep)[16], size_t count, mr_diag *diag)
{
    char *shards = mri_path_join(s->dir, "shards");
    void *grown =
        mri_resize(s->named, s->named_count + count + 1, sizeof *s->named);
    mr_err err;

    if (shards == NULL || grown == NULL) {
        mri_free(shards);
        return no_memory(diag);
    }
    s->named = grown;
    for (size_t i = 0; i < count; i++) {
        memcpy(s->named[s->named_count++], keep[i], 16);
    }
    if (s->named_count != 0) {
        qsort(s->named, s->named_count, sizeof *s->named, by_id);
    }
    err = remove_shards(s, shards, 0, diag);
    mri_free(shards);
    return err;
}

/* Generations, indexes; what they named stays until that is on the disk. */
static mr_err
sweep_generations(sweep *s, mr_diag *diag)
{
    uint64_t latest;
    Mri__PbManifest *m;
    mr_err err = mri_generation_latest(s->dir, &latest, diag);

    if (err == MR_OK && latest != 0) {
        err = load(s, latest, &m, diag);
        if (err == MR_OK) {
            s->oldest = m->oldest;
            mri_manifest_free(m);
        }
    }
    if (err == MR_OK) {
        err = list_generations(s, diag);
    }
    if (err == MR_OK) {
        err = sort_out(s, diag);
    }
    if (err == MR_OK) {
        err = remove_indexes(s, diag);
    }
    if (err == MR_OK && s->out->generations != 0) {
        err = mri_dir_sync(s->dir, diag);
    }
    return err;
}

mr_err
mri_dataset_sweep(const char *dir, const uint8_t (*keep)[16], size_t count,
                  mri_swept *out, mr_diag *diag)
{
    sweep s = {.dir = dir, .out = out};
    mr_err err;

    *out = (mri_swept){0};
    mri_dir_sweep(dir);
    err = sweep_generations(&s, diag);
    if (err == MR_OK && !s.blind && (keep != NULL || !unfinished_ingest(dir))) {
        err = sweep_shards(&s, keep, count, diag);
    }
    mri_free(s.named);
    mri_free(s.generations);
    return err;
}
