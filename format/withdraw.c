/* SPDX-License-Identifier: Apache-2.0 */
/*
 * withdraw.c - a new generation without some samples.
 *
 * Rows hold hashes of keys and groups, so one pass over them finds what is
 * meant; the names in meta frames are read only where a hash agrees. Every
 * name must be known before anything is written.
 */
#include "writer.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/generation.h>
#include <mri/hash.h>
#include <mri/opt.h>
#include <mri/record.h>

#include <stdlib.h>
#include <string.h>

/* A key or a group that was given. */
typedef struct wish {
    const char *name;
    uint64_t hash;
    bool met;
} wish;

typedef struct wish_list {
    wish *at;
    size_t count;
    bool groups; /* else keys */
} wish_list;

typedef struct choice {
    const mri_withdraw_options *o;
    const mr_dataset *ds;
    mri_withdraw_report *report;
    wish_list keys, groups;
    bool *goes; /* [samples] */
} choice;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static int
by_hash(const void *a, const void *b)
{
    const wish *x = a, *y = b;

    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static mr_err
make_wishes(wish_list *list, const mri_names *names, mr_diag *diag)
{
    size_t n = 0;

    list->at = mri_alloc(names->count, sizeof *list->at);
    if (list->at == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->at[i];

        if (name[0] == '\0') {
            return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                            "an empty name: expected a %s",
                            list->groups ? "group" : "key");
        }
        list->at[i] = (wish){name,
                             list->groups ? mri_group_hash(name)
                                          : mri_xxh3(name, strlen(name)),
                             false};
    }
    if (names->count != 0) {
        qsort(list->at, names->count, sizeof *list->at, by_hash);
    }
    for (size_t i = 0; i < names->count; i++) { /* each name once */
        if (n == 0 || by_hash(&list->at[n - 1], &list->at[i]) != 0) {
            list->at[n++] = list->at[i];
        }
    }
    list->count = n;
    return MR_OK;
}

static int
hash_order(const void *hash, const void *one)
{
    uint64_t x = *(const uint64_t *)hash, y = ((const wish *)one)->hash;

    return x < y ? -1 : x > y;
}

static wish *
wish_of(const wish_list *list, uint64_t hash)
{
    return bsearch(&hash, list->at, list->count, sizeof *list->at, hash_order);
}

/* A hash agrees: does the name? */
static mr_err
meet(choice *c, wish *w, bool group, uint64_t rank, mr_diag *diag)
{
    mri_meta *meta;
    mr_err err = mri_dataset_meta(c->ds, rank, &meta, diag);

    if (err != MR_OK) {
        return err;
    }
    if (strcmp(group ? meta->group : meta->key, w->name) == 0) {
        w->met = true;
        c->goes[rank] = true;
    }
    mri_meta_free(meta);
    return MR_OK;
}

static bool
stopped(const mr_watch *w)
{
    return w != NULL && w->stop != NULL && w->stop(w->user);
}

static mr_err
choose_by_name(choice *c, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint64_t rank = 0; err == MR_OK && rank < c->ds->index.count; rank++) {
        const mri_shard *s;
        mri_index_entry at;
        mri_sample_row row;
        wish *w;

        err = mri_dataset_locate(c->ds, rank, &s, &at, &row, diag);
        if (err == MR_OK && (w = wish_of(&c->keys, row.key)) != NULL) {
            err = meet(c, w, false, rank, diag);
        }
        if (err == MR_OK && (w = wish_of(&c->groups, row.group)) != NULL) {
            err = meet(c, w, true, rank, diag);
        }
        if (err == MR_OK && rank % 4096 == 0 && stopped(c->o->watch)) {
            err = mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
        }
    }
    return err;
}

/* Only on the way to a refusal: every name is read. */
char *
mri_nearest_name(const mr_dataset *ds, const char *name, bool group,
                 const mr_watch *watch)
{
    char *best = NULL;

    for (uint64_t rank = 0; rank < ds->index.count && !stopped(watch); rank++) {
        mri_meta *meta;

        if (mri_dataset_meta(ds, rank, &meta, NULL) != MR_OK) {
            break;
        }
        /* "" is near to nothing; the first of equals stays */
        const char *pair[2] = {best != NULL ? best : "",
                               group ? meta->group : meta->key};

        if (mri_nearest(name, pair, 2) == pair[1]) {
            mri_free(best);
            best = mri_strdup(pair[1]);
        }
        mri_meta_free(meta);
    }
    return best;
}

static mr_err
refuse(const choice *c, const wish *w, bool group, mr_diag *diag)
{
    char *near = mri_nearest_name(c->ds, w->name, group, c->o->watch);
    mr_err err =
        mri_fail(diag, group ? MRI_E_NO_GROUP : MRI_E_NO_SAMPLE, MR_NOWHERE,
                 "no %s '%.200s'%s%.200s%s", group ? "group" : "sample",
                 w->name, near != NULL ? "; did you mean '" : "",
                 near != NULL ? near : "", near != NULL ? "'?" : "");

    mri_diag_in(diag, c->ds->dir);
    mri_free(near);
    return err;
}

/* What was not met must have been withdrawn before. */
static mr_err
check_wishes(choice *c, const wish_list *list, mr_diag *diag)
{
    mri_dataset_facts facts;

    mri_dataset_facts_of(c->ds, &facts);
    for (size_t i = 0; i < list->count; i++) {
        const wish *w = &list->at[i];
        bool before = false;

        for (uint64_t k = 0; !w->met && !before && k < facts.withdrawn; k++) {
            mri_withdrawn one;

            mri_dataset_withdrawn(c->ds, k, &one);
            before = (list->groups ? one.group : one.key) == w->hash;
        }
        if (!w->met && !before) {
            return refuse(c, w, list->groups, diag);
        }
        c->report->already += before;
    }
    return MR_OK;
}

static bool
was_withdrawn(const mr_dataset *ds, const uint8_t uid[MR_UID_BYTES])
{
    const ProtobufCBinaryData *list = &ds->manifest->withdrawn;

    for (size_t at = 0; at < list->len; at += MRI_WITHDRAWN_BYTES) {
        if (memcmp(list->data + at, uid, MR_UID_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static mr_err
choose_by_uid(choice *c, mr_diag *diag)
{
    for (size_t i = 0; i < c->o->uids.count; i++) {
        const char *text = c->o->uids.at[i];
        uint8_t uid[MR_UID_BYTES];
        uint64_t rank;

        if (!mri_unhex(uid, sizeof uid, text)) {
            return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                            "'%.80s' is no uid: expected 32 hex digits", text);
        }
        if (was_withdrawn(c->ds, uid)) {
            c->report->already++;
            continue;
        }
        mr_err err = mr_dataset_find(c->ds, uid, &rank, diag);

        if (err != MR_OK) {
            mri_diag_in(diag, c->ds->dir);
            return err;
        }
        c->goes[rank] = true;
    }
    return MR_OK;
}

static mr_err
list_ranks(choice *c, mr_diag *diag)
{
    mri_withdraw_report *r = c->report;
    uint64_t n = c->ds->index.count, count = 0;

    for (uint64_t i = 0; i < n; i++) {
        count += c->goes[i];
    }
    r->ranks = mri_alloc((size_t)count, sizeof *r->ranks);
    if (r->ranks == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < n; i++) {
        if (c->goes[i]) {
            r->ranks[r->count++] = i;
        }
    }
    if (count == n) {
        mr_err err = mri_fail(diag, MRI_E_WITHDRAW_ALL, MR_NOWHERE,
                              "these are all of its %llu samples",
                              (unsigned long long)n);
        mri_diag_in(diag, c->ds->dir);
        return err;
    }
    return MR_OK;
}

static mr_err
choose(choice *c, mr_diag *diag)
{
    mr_err err = make_wishes(&c->keys, &c->o->keys, diag);

    c->goes = mri_alloc((size_t)c->ds->index.count, sizeof *c->goes);
    if (err == MR_OK) {
        err = make_wishes(&c->groups, &c->o->groups, diag);
    }
    if (err == MR_OK && c->goes == NULL) {
        err = no_memory(diag);
    }
    if (err == MR_OK) {
        err = choose_by_uid(c, diag);
    }
    if (err == MR_OK && c->keys.count + c->groups.count != 0) {
        err = choose_by_name(c, diag);
    }
    if (err == MR_OK) {
        err = check_wishes(c, &c->keys, diag);
    }
    if (err == MR_OK) {
        err = check_wishes(c, &c->groups, diag);
    }
    return err == MR_OK ? list_ranks(c, diag) : err;
}

/* Ranks ascend by uid, and so does the list. */
static mr_err
describe(const choice *c, mri_withdrawn *list, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint64_t i = 0; err == MR_OK && i < c->report->count; i++) {
        const mri_shard *s;
        mri_index_entry at;
        mri_sample_row row;

        err =
            mri_dataset_locate(c->ds, c->report->ranks[i], &s, &at, &row, diag);
        if (err == MR_OK) {
            memcpy(list[i].uid, row.uid, MR_UID_BYTES);
            list[i].key = row.key;
            list[i].group = row.group;
        }
    }
    return err;
}

static mr_err
commit(const choice *c, const mri_writer *w, mr_diag *diag)
{
    mri_withdraw_report *r = c->report;
    mri_withdrawn *list = mri_alloc((size_t)r->count, sizeof *list);
    const mri_derive how = {.like = w->now,
                            .withdrawn = list,
                            .count = r->count,
                            .watch = c->o->watch};
    mri_json j = {0};
    mr_err err = list != NULL ? describe(c, list, diag) : no_memory(diag);

    if (err == MR_OK) {
        err = mri_writer_commit(w, &how, &r->generation, diag);
    }
    mri_free(list);
    if (err == MR_OK) {
        mri_history_begin(&j, "withdraw", r->generation, c->o->command);
        mri_json_put_u64(&j, "withdrawn", r->count);
        mri_json_put_text(&j, "reason", c->o->reason);
        err = mri_history_end(&j, w->now->dir, diag);
    }
    return err;
}

mr_err
mri_dataset_withdraw(const mri_withdraw_options *o, mri_withdraw_report *r,
                     mr_diag *diag)
{
    choice c = {.o = o, .report = r, .groups = {.groups = true}};
    mri_writer w;
    mr_err err = mri_writer_open(&w, o->dataset, !o->dry_run, diag);

    *r = (mri_withdraw_report){0};
    if (err == MR_OK) {
        c.ds = w.now;
        r->before = mr_dataset_generation(w.now);
        err = choose(&c, diag);
    }
    if (err == MR_OK && !o->dry_run && r->count != 0) {
        err = commit(&c, &w, diag);
    }
    mri_writer_close(&w);
    mri_free(c.keys.at);
    mri_free(c.groups.at);
    mri_free(c.goes);
    return err;
}

void
mri_withdraw_report_release(mri_withdraw_report *report)
{
    mri_free(report->ranks);
    *report = (mri_withdraw_report){0};
}
