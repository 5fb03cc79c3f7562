/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff.c - what differs between two datasets, or two generations of one.
 *
 * Both indexes ascend by uid, so one walk over the two finds what they share.
 * What only one of them has is remembered with the hash of its key: the same
 * key on both sides is a sample whose files have changed.
 */
#include "dataset_read.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/generation.h>

#include <stdlib.h>
#include <string.h>

#define NOT_THERE UINT64_MAX

/* A sample that the other side does not have under that uid. */
typedef struct lone {
    uint64_t key, rank;
    uint64_t partner; /* rank of its key on the other side, or NOT_THERE */
} lone;

typedef struct lone_list {
    lone *at;
    size_t count, room;
} lone_list;

typedef struct diff {
    const mr_dataset *a, *b;
    mri_difference_fn *tell;
    void *user;
    const mr_watch *watch;
    lone_list gone, come;
} diff;

static mr_err
add_lone(lone_list *list, const mr_dataset *ds, uint64_t rank, mr_diag *diag)
{
    lone one = {.rank = rank, .partner = NOT_THERE};
    mr_err err = mri_dataset_key_hash(ds, rank, &one.key, diag);

    if (err != MR_OK) {
        return err;
    }
    if (list->count == list->room) {
        size_t room = list->room != 0 ? list->room * 2 : 64;
        lone *grown = mri_resize(list->at, room, sizeof *grown);

        if (grown == NULL) {
            return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        }
        list->at = grown;
        list->room = room;
    }
    list->at[list->count++] = one;
    return MR_OK;
}

static bool
same_text(const char *x, const char *y)
{
    return strcmp(x, y) == 0;
}

static const char *
class_of(const mr_dataset *ds, const mr_sample *s)
{
    return s->class_index != MR_NO_CLASS
               ? mr_dataset_class_name(ds, s->class_index)
               : "";
}

/* The fields of a sample hold the same values on both sides. */
static mr_err
same_values(const diff *d, const mri_difference *at, uint32_t fields_a,
            uint32_t fields_b, bool *same, mr_diag *diag)
{
    mr_err err = MR_OK;

    *same = fields_a == fields_b;
    for (uint32_t i = 0; err == MR_OK && *same && i < fields_a; i++) {
        mr_field x, y;

        err = mr_dataset_field(d->a, at->rank_a, i, &x, diag);
        if (err == MR_OK) {
            err = mr_dataset_field(d->b, at->rank_b, i, &y, diag);
        }
        *same = err == MR_OK && x.content == y.content &&
                same_text(mr_dataset_field_name(d->a, x.name),
                          mr_dataset_field_name(d->b, y.name));
    }
    return err;
}

/* Fill in how two samples differ, apart from their splits. */
static mr_err
compare_samples(const diff *d, mri_difference *at, bool *values, mr_diag *diag)
{
    mr_sample x, y;
    mr_err err = mr_dataset_sample(d->a, at->rank_a, &x, diag);

    if (err == MR_OK) {
        err = mr_dataset_sample(d->b, at->rank_b, &y, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    at->class_differs = !same_text(class_of(d->a, &x), class_of(d->b, &y));
    at->group_differs = x.group != y.group;
    if (x.content == y.content) { /* of values and class name together */
        *values = true;
        return MR_OK;
    }
    return same_values(d, at, x.fields, y.fields, values, diag);
}

static mr_err
find_splits(const diff *d, mri_difference *at, mr_diag *diag)
{
    mr_err err = MR_OK;

    at->split_a = at->split_b = MR_ALL_SAMPLES;
    if (at->rank_a != NOT_THERE) {
        err = mri_dataset_split_of(d->a, at->rank_a, &at->split_a, diag);
    }
    if (err == MR_OK && at->rank_b != NOT_THERE) {
        err = mri_dataset_split_of(d->b, at->rank_b, &at->split_b, diag);
    }
    return err;
}

/* A sample never changes within a shard: its place says all but the split. */
static bool
same_place(const diff *d, const mri_index_entry *x, const mri_index_entry *y)
{
    const Mri__PbManifest *m = d->a->manifest, *n = d->b->manifest;

    return x->row == y->row && x->shard < m->n_shards &&
           y->shard < n->n_shards &&
           memcmp(m->shards[x->shard]->id.data, n->shards[y->shard]->id.data,
                  16) == 0;
}

static mr_err
compare_shared(diff *d, const mri_index_entry *x, uint64_t rank_a,
               const mri_index_entry *y, uint64_t rank_b, mr_diag *diag)
{
    mri_difference at = {
        .change = MRI_CHANGE_LABEL, .rank_a = rank_a, .rank_b = rank_b};
    bool values = true, split;
    mr_err err = find_splits(d, &at, diag);

    if (err == MR_OK && !same_place(d, x, y)) {
        err = compare_samples(d, &at, &values, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    split = !same_text(mr_dataset_split_name(d->a, at.split_a),
                       mr_dataset_split_name(d->b, at.split_b));
    if (!values) {
        at.change = MRI_CHANGE_CONTENT;
    }
    return values && !split && !at.class_differs && !at.group_differs
               ? MR_OK
               : d->tell(d->user, &at, diag);
}

static bool
stopped(const diff *d)
{
    return d->watch != NULL && d->watch->stop != NULL &&
           d->watch->stop(d->watch->user);
}

static mr_err
walk_both(diff *d, mr_diag *diag)
{
    uint64_t i = 0, k = 0;
    mr_err err = MR_OK;

    while (err == MR_OK && (i < d->a->index.count || k < d->b->index.count)) {
        mri_index_entry x = {0}, y = {0};
        int order = 0;

        if (i < d->a->index.count) {
            err = mri_index_at(&d->a->index, i, &x, diag);
        } else {
            order = 1;
        }
        if (err == MR_OK && k < d->b->index.count) {
            err = mri_index_at(&d->b->index, k, &y, diag);
        } else {
            order = -1;
        }
        if (err != MR_OK) {
            return err;
        }
        order = order != 0 ? order : memcmp(x.uid, y.uid, MR_UID_BYTES);
        if (order == 0) {
            err = compare_shared(d, &x, i++, &y, k++, diag);
        } else if (order < 0) {
            err = add_lone(&d->gone, d->a, i++, diag);
        } else {
            err = add_lone(&d->come, d->b, k++, diag);
        }
        if (err == MR_OK && (i + k) % 4096 == 0 && stopped(d)) {
            err = mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
        }
    }
    return err;
}

static int
by_key(const void *a, const void *b)
{
    const lone *x = a, *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int
by_rank(const void *a, const void *b)
{
    const lone *x = a, *y = b;

    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

static void
sort(lone_list *list, int (*order)(const void *, const void *))
{
    if (list->count != 0) {
        qsort(list->at, list->count, sizeof *list->at, order);
    }
}

/* Join what left and what came under the same key. */
static void
match_keys(diff *d)
{
    size_t i = 0, k = 0;

    sort(&d->gone, by_key);
    sort(&d->come, by_key);
    while (i < d->gone.count && k < d->come.count) {
        lone *x = &d->gone.at[i], *y = &d->come.at[k];

        if (x->key == y->key) {
            x->partner = y->rank;
            y->partner = x->rank;
        }
        i += x->key <= y->key;
        k += y->key <= x->key;
    }
    sort(&d->gone, by_rank);
    sort(&d->come, by_rank);
}

static mr_err
tell_lone(diff *d, const lone *one, bool in_a, mr_diag *diag)
{
    mri_difference at = {.rank_a = in_a ? one->rank : one->partner,
                         .rank_b = in_a ? one->partner : one->rank};
    bool values;
    mr_err err = find_splits(d, &at, diag);

    at.change = in_a ? MRI_CHANGE_GONE : MRI_CHANGE_ADDED;
    if (err == MR_OK && one->partner != NOT_THERE) {
        at.change = MRI_CHANGE_CONTENT;
        err = compare_samples(d, &at, &values, diag);
    }
    return err == MR_OK ? d->tell(d->user, &at, diag) : err;
}

static mr_err
tell_lones(diff *d, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < d->gone.count; i++) {
        err = tell_lone(d, &d->gone.at[i], true, diag);
    }
    for (size_t i = 0; err == MR_OK && i < d->come.count; i++) {
        if (d->come.at[i].partner == NOT_THERE) { /* else it was told */
            err = tell_lone(d, &d->come.at[i], false, diag);
        }
    }
    return err;
}

mr_err
mri_dataset_diff(const mr_dataset *a, const mr_dataset *b,
                 mri_difference_fn *tell, void *user, const mr_watch *watch,
                 mr_diag *diag)
{
    diff d = {.a = a, .b = b, .tell = tell, .user = user, .watch = watch};
    mr_err err = walk_both(&d, diag);

    if (err == MR_OK) {
        match_keys(&d);
        err = tell_lones(&d, diag);
    }
    mri_free(d.gone.at);
    mri_free(d.come.at);
    return err;
}
