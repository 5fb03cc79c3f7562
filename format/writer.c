/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c - hold a dataset's lock, and make a generation of those it has. */
#include "writer.h"

#include "level.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <jansson.h>
#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* Nobody else can make a generation any more: is it the latest that is open? */
static mr_err
check_latest(const mri_writer *w, const char *name, mr_diag *diag)
{
    uint64_t latest;
    mr_err err = mri_generation_latest(&w->now->store, &latest, diag);

    if (err == MR_OK && latest != mr_dataset_generation(w->now)) {
        err = mri_fail(diag, MRI_E_OLD_GENERATION, MR_NOWHERE,
                       "this is generation %llu, and %llu is in force",
                       (unsigned long long)mr_dataset_generation(w->now),
                       (unsigned long long)latest);
        mri_diag_in(diag, name);
    }
    return err;
}

/* With the lock in hand: what is in force now, and what others have left. */
static mr_err
look_again(mri_writer *w, const char *name, mr_diag *diag)
{
    mri_swept swept;
    mr_err err;

    mr_dataset_close(w->now);
    err = mr_dataset_open(&w->now, name, diag);
    if (err == MR_OK) {
        err = check_latest(w, name, diag);
    }
    if (err == MR_OK) {
        err = mri_dataset_sweep(w->now->dir, NULL, 0, &swept, diag);
    }
    return err;
}

mr_err
mri_writer_open(mri_writer *w, const char *name, bool lock, mr_diag *diag)
{
    mr_err err;

    *w = (mri_writer){.lock = {.fd = -1}};
    err = mr_dataset_open(&w->now, name, diag);
    if (err == MR_OK && !lock) {
        return check_latest(w, name, diag);
    }
    if (err == MR_OK) {
        err = mri_store_open(&w->store, w->now->dir, diag);
    }
    if (err == MR_OK) {
        err = mri_store_lock(&w->store, &w->lock, diag);
    }
    return err == MR_OK ? look_again(w, name, diag) : err;
}

void
mri_writer_close(mri_writer *w)
{
    mri_store_unlock(&w->store, &w->lock);
    mri_store_close(&w->store);
    mr_dataset_close(w->now);
    *w = (mri_writer){.lock = {.fd = -1}};
}

/* The lists that a commit wants, of a generation that there is. */
typedef struct lists {
    mri_shard_ref *shards;
    const char **fields, **splits;
    mri_field_kind *kinds;
    mri_field_level *levels;
    double *shares;
} lists;

/* What each split was to get; only a sample of a new group asks. */
static void
read_shares(lists *l, const Mri__PbManifest *m)
{
    json_t *recipe = json_loads(m->split_recipe, 0, NULL);
    const json_t *shares = json_object_get(recipe, "shares");

    for (size_t i = 0;
         json_array_size(shares) == m->n_splits && i < m->n_splits; i++) {
        l->shares[i] = json_number_value(json_array_get(shares, i));
    }
    json_decref(recipe);
}

static bool
make_lists(lists *l, const mr_dataset *ds)
{
    const Mri__PbManifest *m = ds->manifest;
    const Mri__PbSchema *s = m->schema;

    l->shards = mri_alloc(m->n_shards, sizeof *l->shards);
    l->fields = mri_alloc(s->n_fields, sizeof *l->fields);
    l->kinds = mri_alloc(s->n_fields, sizeof *l->kinds);
    l->levels = mri_alloc(s->n_fields, sizeof *l->levels);
    l->splits = mri_alloc(m->n_splits, sizeof *l->splits);
    l->shares = mri_alloc(m->n_splits, sizeof *l->shares);
    if (l->shards == NULL || l->fields == NULL || l->kinds == NULL ||
        l->levels == NULL || l->splits == NULL || l->shares == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->n_shards; i++) {
        mri_dataset_shard_ref(m, i, &l->shards[i]);
    }
    for (size_t i = 0; i < s->n_fields; i++) {
        l->fields[i] = s->fields[i]->name;
        l->kinds[i] = (mri_field_kind)s->fields[i]->kind;
        mri_level_of_pb(&l->levels[i], s->fields[i]);
    }
    for (size_t i = 0; i < m->n_splits; i++) {
        l->splits[i] = m->splits[i]->name;
        l->shares[i] = 1 / (double)m->n_splits;
    }
    read_shares(l, m);
    return true;
}

static mr_err
commit_lists(const mri_writer *w, const mri_derive *how, const lists *l,
             uint64_t *generation, mr_diag *diag)
{
    const Mri__PbManifest *m = how->like->manifest;
    const Mri__PbSchema *s = m->schema;
    const mri_schema schema = {
        .field_count = (uint32_t)s->n_fields,
        .field_names = l->fields,
        .field_kinds = l->kinds,
        .field_levels = l->levels,
        .class_count =
            how->other_labels ? how->class_count : (uint32_t)s->n_classes,
        .classes = (const char **)(uintptr_t)(how->other_labels ? how->classes
                                                                : s->classes),
        .config = s->config};
    const mri_commit c = {
        .dir = w->now->dir,
        .parent = w->now,
        .like = how->like,
        .withdrawn = how->withdrawn,
        .withdrawn_count = how->count,
        .other_labels = how->other_labels,
        .forget_withdrawn = how->forget_withdrawn,
        .oldest = how->oldest,
        .shards = how->shards != NULL ? how->shards : l->shards,
        .shard_count =
            how->shards != NULL ? how->shard_count : (uint32_t)m->n_shards,
        .schema = &schema,
        .layout = m->layout,
        /* the quarantine is of the folder, not of `like` */
        .quarantined = w->now->manifest->quarantined,
        .split_names = l->splits,
        .split_shares = l->shares,
        .split_count = (uint32_t)m->n_splits,
        .watch = how->watch};

    return mri_dataset_commit(&c, generation, diag);
}

mr_err
mri_writer_commit(const mri_writer *w, const mri_derive *how,
                  uint64_t *generation, mr_diag *diag)
{
    lists l = {0};
    mr_err err = make_lists(&l, how->like)
                     ? commit_lists(w, how, &l, generation, diag)
                     : no_memory(diag);

    mri_free(l.shards);
    mri_free(l.fields);
    mri_free(l.kinds);
    mri_free(l.levels);
    mri_free(l.splits);
    mri_free(l.shares);
    return err;
}
