/* SPDX-License-Identifier: Apache-2.0 */
/* salvage_source.c - a shard, or all shards of a folder that may be hurt. */
#include "salvage_source.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* 0 if it cannot be opened, which is told when it is to be read. */
static uint64_t
size_of(const mri_store *store, const char *name)
{
    mri_object o = {.fd = -1};
    uint64_t size = 0;

    if (mri_store_object(store, name, false, &o, NULL) == MR_OK) {
        size = o.size;
        mri_object_close(&o);
    }
    return size;
}

static mr_err
add_shard(mri_salvage_source *s, const char *name, const mri_shard_ref *ref,
          mr_diag *diag)
{
    mri_salvage_shard one = {.name = mri_strdup(name),
                             .path = mri_store_path(&s->store, name)};
    mri_salvage_shard *grown =
        one.name != NULL && one.path != NULL
            ? mri_resize(s->shards, s->count + 1, sizeof *grown)
            : NULL;

    if (grown == NULL) {
        mri_free(one.name);
        mri_free(one.path);
        return no_memory(diag);
    }
    if (ref != NULL) {
        one.has_ref = true;
        one.ref = *ref;
    }
    s->shards = grown;
    grown[s->count++] = one;
    s->bytes += size_of(&s->store, name);
    return MR_OK;
}

static bool
listed(const mri_salvage_source *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->shards[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The one that was named; it must be there, but need not be intact. */
static mr_err
check_named(const mri_salvage_source *s, uint64_t generation, mr_diag *diag)
{
    bool there = false;
    mr_err err = mri_store_has(&s->store, mri_manifest_name(generation).at,
                               &there, diag);

    if (err == MR_OK && !there) {
        err = mri_fail(diag, MRI_E_GENERATION, MR_NOWHERE,
                       "generation %llu is not there",
                       (unsigned long long)generation);
        mri_diag_in(diag, s->store.root);
    }
    return err;
}

/* Of `named`, or of the latest generation; else of one before. */
static mr_err
find_manifest(mri_salvage_source *s, uint64_t named, mr_diag *diag)
{
    uint64_t latest = named;
    mr_err err = named == 0 ? mri_generation_latest(&s->store, &latest, diag)
                            : check_named(s, named, diag);

    for (uint64_t g = latest; err == MR_OK && g > 0 && s->manifest == NULL;
         g--) {
        char *path = mri_manifest_path(s->store.root, g);
        mri_bytes b = {0};
        mr_err got = mri_store_load(&s->store, mri_manifest_name(g).at,
                                    MRI_MANIFEST_LIMIT, &b, diag);

        if (got == MR_OK) {
            got = mri_manifest_parse(&s->manifest, b.data, b.len, diag);
        }
        mri_diag_in(got != MR_OK ? diag : NULL, path);
        mri_bytes_release(&b);
        mri_free(path);
        err = got == MR_ENOMEM || got == MR_EVERSION ? got : MR_OK;
        s->older = s->older || got != MR_OK;
        if (latest - g > 999) {
            break; /* a name like manifest.99999999.pb is nobody's */
        }
    }
    if (err == MR_OK) {
        mri_diag_clear(diag);
    }
    return err;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const mri_salvage_shard *)a)->name,
                  ((const mri_salvage_shard *)b)->name);
}

/* Of shards/ab: every NAME.mrs that is not listed yet. */
typedef struct walk {
    mri_salvage_source *source;
    char folder[280];
} walk;

static mr_err
walk_folder(void *user, const char *last, mr_diag *diag)
{
    const walk *w = user;
    mri_salvage_source *s = w->source;
    size_t n = strlen(last);
    char *name;
    mr_err err = MR_OK;

    if (last[0] == '.' || n <= 4 || strcmp(last + n - 4, ".mrs") != 0) {
        return MR_OK;
    }
    name = mri_path_join(w->folder, last);
    if (name == NULL) {
        return no_memory(diag);
    }
    if (!listed(s, name)) {
        err = add_shard(s, name, NULL, diag);
    }
    mri_free(name);
    return err;
}

/* A folder that cannot be read holds nothing that could be saved. */
static mr_err
walk_shards(void *user, const char *last, mr_diag *diag)
{
    walk w = {.source = user};
    int n = snprintf(w.folder, sizeof w.folder, "shards/%s", last);
    mr_err err = MR_OK;

    if (last[0] != '.' && n > 0 && (size_t)n < sizeof w.folder) {
        err = mri_store_list(&w.source->store, w.folder, walk_folder, &w, diag);
    }
    return err == MR_EIO ? MR_OK : err;
}

static mr_err
list_shards(mri_salvage_source *s, mr_diag *diag)
{
    size_t named;
    mr_err err = MR_OK;

    for (size_t i = 0;
         err == MR_OK && s->manifest != NULL && i < s->manifest->n_shards;
         i++) {
        mri_shard_ref ref;

        mri_dataset_shard_ref(s->manifest, i, &ref);
        err = add_shard(s, mri_shard_name(ref.id).name, &ref, diag);
    }
    named = s->count;
    if (err == MR_OK && (s->manifest == NULL || s->older)) {
        err = mri_store_list(&s->store, "shards", walk_shards, s, diag);
        err = err == MR_EIO ? MR_OK : err;
    }
    if (s->count > named) {
        qsort(s->shards + named, s->count - named, sizeof *s->shards, by_name);
    }
    return err;
}

static int
by_place(const void *a, const void *b)
{
    const mri_live *x = a, *y = b;

    if (x->shard != y->shard) {
        return x->shard < y->shard ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

/* All samples of the generation with their splits. */
static mr_err
read_index(mri_salvage_source *s, const mr_dataset *ds, mr_diag *diag)
{
    uint64_t n = mr_dataset_count(ds), rank;
    mr_err err = mri_index_check_all(&ds->index, diag);

    if (err != MR_OK) {
        return err;
    }
    s->live = mri_alloc((size_t)n, sizeof *s->live);
    if (s->live == NULL) {
        return no_memory(diag);
    }
    s->live_count = (size_t)n;
    for (uint64_t i = 0; err == MR_OK && i < n; i++) {
        mri_index_entry e;

        err = mri_index_at(&ds->index, i, &e, diag);
        if (err == MR_OK) {
            memcpy(s->live[i].uid, e.uid, MR_UID_BYTES);
            s->live[i].shard = e.shard;
            s->live[i].row = e.row;
            s->live[i].split = UINT32_MAX;
        }
    }
    for (uint32_t k = 0; err == MR_OK && k < mr_dataset_splits(ds); k++) {
        for (uint64_t i = 0; err == MR_OK && i < mr_dataset_split_count(ds, k);
             i++) {
            err = mr_dataset_split_at(ds, k, i, &rank, diag);
            if (err == MR_OK && rank < n) {
                s->live[rank].split = k;
            }
        }
    }
    if (err == MR_OK && n != 0) {
        qsort(s->live, (size_t)n, sizeof *s->live, by_place);
    }
    s->has_index = err == MR_OK;
    return err;
}

/* Of the manifest found; not having it costs names, so no error. */
static mr_err
find_index(mri_salvage_source *s, const char *dir, mr_diag *diag)
{
    mr_dataset *ds = NULL;
    mri_bytes name = {0};
    mr_err err;

    if (!mri_bytes_text(&name, "%s@%llu", dir,
                        (unsigned long long)s->manifest->generation)) {
        return no_memory(diag);
    }
    err = mr_dataset_open(&ds, (const char *)name.data, diag);
    if (err == MR_OK) {
        err = read_index(s, ds, diag);
    }
    mr_dataset_close(ds);
    mri_bytes_release(&name);
    if (err != MR_OK && err != MR_ENOMEM) {
        mri_free(s->live);
        s->live = NULL;
        s->live_count = 0;
        mri_diag_clear(diag);
        err = MR_OK;
    }
    return err;
}

static mr_err
list_withdrawn(mri_salvage_source *s, mr_diag *diag)
{
    const ProtobufCBinaryData *list = &s->manifest->withdrawn;

    s->withdrawn_count = list->len / MRI_WITHDRAWN_BYTES;
    s->withdrawn = mri_alloc(s->withdrawn_count, sizeof *s->withdrawn);
    if (s->withdrawn == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; i < s->withdrawn_count; i++) {
        const uint8_t *p = list->data + i * MRI_WITHDRAWN_BYTES;

        memcpy(s->withdrawn[i].uid, p, MR_UID_BYTES);
        s->withdrawn[i].key = mri_get64(p + MR_UID_BYTES);
        s->withdrawn[i].group = mri_get64(p + MR_UID_BYTES + 8);
    }
    return MR_OK;
}

static mr_err
open_folder(mri_salvage_source *s, uint64_t named, mr_diag *diag)
{
    mr_err err = find_manifest(s, named, diag);

    s->folder = true;
    if (err == MR_OK) {
        err = list_shards(s, diag);
    }
    if (err == MR_OK && s->count == 0) {
        err = mri_fail(diag, MRI_E_NOT_DATASET, MR_NOWHERE,
                       "no dataset: there is no shard in it");
        mri_diag_in(diag, s->store.root);
    }
    if (err == MR_OK && s->manifest != NULL) {
        err = list_withdrawn(s, diag);
    }
    if (err == MR_OK && s->manifest != NULL && !s->older) {
        err = find_index(s, s->store.root, diag);
    }
    return err;
}

static mr_err
open_lone(mri_salvage_source *s, const char *address, mr_diag *diag)
{
    const char *name;
    mr_err err;

    mri_store_close(&s->store);
    err = mri_store_open_at(&s->store, &name, address, diag);
    return err == MR_OK ? add_shard(s, name, NULL, diag) : err;
}

/* What is at that address; MRI_ROOT_NONE, and no error, if nothing is. */
static mr_err
open_there(mri_salvage_source *s, const char *address, uint64_t named,
           mri_root *is, mr_diag *diag)
{
    mr_err err;

    mri_store_close(&s->store);
    err = mri_store_open(&s->store, address, diag);
    if (err == MR_OK) {
        err = mri_store_root(&s->store, is, diag);
    }
    if (err != MR_OK || *is == MRI_ROOT_NONE) {
        return err;
    }
    if (*is == MRI_ROOT_FOLDER) {
        return open_folder(s, named, diag);
    }
    if (*is == MRI_ROOT_OBJECT) {
        return open_lone(s, address, diag);
    }
    err = mri_fail(diag, MRI_E_NOT_DATASET, MR_NOWHERE,
                   "this is neither a file nor a folder");
    mri_diag_in(diag, address);
    return err;
}

mr_err
mri_salvage_source_open(mri_salvage_source *s, const char *path, mr_diag *diag)
{
    uint64_t named = 0;
    char *dir = NULL;
    mri_root is = MRI_ROOT_NONE;
    mr_err err;

    *s = (mri_salvage_source){0};
    err = open_there(s, path, 0, &is, diag); /* a shard may have any name */
    if (err == MR_OK && is == MRI_ROOT_NONE) {
        err = mri_generation_split(path, &dir, &named, diag);
    }
    if (err == MR_OK && is == MRI_ROOT_NONE) {
        err = open_there(s, dir, named, &is, diag);
    }
    if (err == MR_OK && is == MRI_ROOT_NONE) {
        err = mri_fail(diag, MRI_E_OPEN, MR_NOWHERE,
                       "cannot open: No such file or directory");
        mri_diag_in(diag, dir);
    }
    mri_free(dir);
    return err;
}

void
mri_salvage_source_close(mri_salvage_source *s)
{
    for (size_t i = 0; i < s->count; i++) {
        mri_free(s->shards[i].name);
        mri_free(s->shards[i].path);
    }
    mri_free(s->shards);
    mri_free(s->live);
    mri_free(s->withdrawn);
    mri_manifest_free(s->manifest);
    mri_store_close(&s->store);
    *s = (mri_salvage_source){0};
}

static int
withdrawn_order(const void *uid, const void *one)
{
    return memcmp(uid, ((const mri_withdrawn *)one)->uid, MR_UID_BYTES);
}

bool
mri_salvage_withdrawn(const mri_salvage_source *s,
                      const uint8_t uid[MR_UID_BYTES])
{
    return s->withdrawn_count != 0 &&
           bsearch(uid, s->withdrawn, s->withdrawn_count, sizeof *s->withdrawn,
                   withdrawn_order) != NULL;
}

size_t
mri_salvage_live_from(const mri_salvage_source *s, uint32_t shard, uint64_t row)
{
    size_t low = 0, high = s->live_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const mri_live *l = &s->live[middle];

        if (l->shard < shard || (l->shard == shard && l->row < row)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
