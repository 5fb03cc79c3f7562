/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relabel.c - other classes and groups for samples that stay who they are.
 *
 * A label stands in the shard, beside the pixels. So a sample that gets
 * another one is written anew into a new shard, from its stored bytes, and of
 * a uid that stands in several shards the last one counts. Whoever reads goes
 * by the index and need not know of it; compacting takes the old rows away.
 */
#include "rewrite.h"
#include "writer.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/generation.h>
#include <mri/hash.h>

#include <stdlib.h>
#include <string.h>

#define SHARD_BYTES ((uint64_t)256 << 20) /* decoded, of a new shard, about */

/* A wish, and the sample that it was found to mean. */
typedef struct target {
    const mri_relabel_row *wish;
    uint64_t hash; /* of the key */
    bool met, changes;
    uint64_t rank;
    uint32_t shard, row;
    char *class_name, *group; /* as they will be */
    mri_label label;
} target;

typedef struct relabel {
    const mri_relabel_options *o;
    mri_relabel_report *r;
    mri_writer w;
    target *targets; /* by hash; then by shard and row */
    size_t count;
    mri_row_set rows; /* that change */
    char **classes;
    uint32_t class_count;
    mri_shard_ref *refs;
    uint32_t ref_count;
} relabel;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static const char *
name_of(const mri_relabel_row *wish)
{
    return wish->key != NULL ? wish->key : wish->uid;
}

static int
by_hash(const void *a, const void *b)
{
    const target *x = a, *y = b;

    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static int
by_place(const void *a, const void *b)
{
    const target *x = a, *y = b;

    if (x->shard != y->shard) {
        return x->shard < y->shard ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

/* ---- who is meant ---- */

static char *
text_or(const char *wished, const char *old)
{
    return mri_strdup(wished != NULL ? wished : old);
}

static mr_err
take(relabel *l, target *t, uint64_t rank, const mri_meta *meta, mr_diag *diag)
{
    mri_index_entry at;
    mr_err err = mri_index_at(&l->w.now->index, rank, &at, diag);

    if (err != MR_OK) {
        return err;
    }
    t->met = true;
    t->rank = rank;
    t->shard = at.shard;
    t->row = at.row;
    t->class_name = text_or(t->wish->class_name, meta->class_name);
    t->group = text_or(t->wish->group, meta->group);
    if (t->class_name == NULL || t->group == NULL) {
        return no_memory(diag);
    }
    t->label = (mri_label){t->class_name, t->group};
    t->changes = strcmp(t->class_name, meta->class_name) != 0 ||
                 strcmp(t->group, meta->group) != 0;
    l->r->regrouped += strcmp(t->group, meta->group) != 0;
    l->r->same += !t->changes;
    return MR_OK;
}

/* All targets with the hash of the sample's key. */
static mr_err
meet(relabel *l, uint64_t rank, uint64_t hash, mr_diag *diag)
{
    const target want = {.hash = hash};
    target *t =
        bsearch(&want, l->targets, l->count, sizeof *l->targets, by_hash);
    mri_meta *meta;
    mr_err err;

    if (t == NULL) {
        return MR_OK;
    }
    while (t > l->targets && t[-1].hash == hash) {
        t--;
    }
    err = mri_dataset_meta(l->w.now, rank, &meta, diag);
    if (err != MR_OK) {
        return err;
    }
    for (; err == MR_OK && t < l->targets + l->count && t->hash == hash; t++) {
        if (t->wish->key != NULL && strcmp(t->wish->key, meta->key) == 0) {
            err = take(l, t, rank, meta, diag);
        }
    }
    mri_meta_free(meta);
    return err;
}

static mr_err
find_keys(relabel *l, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint64_t i = 0; err == MR_OK && i < l->w.now->index.count; i++) {
        uint64_t hash;

        err = mri_dataset_key_hash(l->w.now, i, &hash, diag);
        if (err == MR_OK) {
            err = meet(l, i, hash, diag);
        }
    }
    return err;
}

static mr_err
find_uid(relabel *l, target *t, mr_diag *diag)
{
    uint8_t uid[MR_UID_BYTES];
    uint64_t rank;
    mri_meta *meta;
    mr_err err;

    if (!mri_unhex(uid, sizeof uid, t->wish->uid)) {
        return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                        "'%.80s' is no uid: expected 32 hex digits",
                        t->wish->uid);
    }
    err = mr_dataset_find(l->w.now, uid, &rank, diag);
    if (err == MR_OK) {
        err = mri_dataset_meta(l->w.now, rank, &meta, diag);
    }
    if (err == MR_OK) {
        err = take(l, t, rank, meta, diag);
        mri_meta_free(meta);
    }
    return err;
}

static mr_err
unknown(const relabel *l, const target *t, mr_diag *diag)
{
    char *near = mri_nearest_name(l->w.now, t->wish->key, false, l->o->watch);
    mr_err err = mri_fail(diag, MRI_E_NO_SAMPLE, MR_NOWHERE,
                          "no sample '%.200s'%s%.200s%s", t->wish->key,
                          near != NULL ? "; did you mean '" : "",
                          near != NULL ? near : "", near != NULL ? "'?" : "");

    mri_diag_in(diag, l->w.now->dir);
    mri_free(near);
    return err;
}

/* Every wish must mean a sample, and no two of them the same one. */
static mr_err
check_targets(relabel *l, mr_diag *diag)
{
    for (size_t i = 0; i < l->count; i++) {
        if (!l->targets[i].met) {
            return unknown(l, &l->targets[i], diag);
        }
    }
    if (l->count != 0) {
        qsort(l->targets, l->count, sizeof *l->targets, by_place);
    }
    for (size_t i = 1; i < l->count; i++) {
        if (by_place(&l->targets[i - 1], &l->targets[i]) == 0) {
            return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                            "two labels for one sample: '%.200s', '%.200s'",
                            name_of(l->targets[i - 1].wish),
                            name_of(l->targets[i].wish));
        }
    }
    return MR_OK;
}

static mr_err
find_targets(relabel *l, mr_diag *diag)
{
    const mri_relabel_options *o = l->o;
    bool keys = false;
    mr_err err = MR_OK;

    l->targets = mri_alloc(o->count, sizeof *l->targets);
    if (l->targets == NULL) {
        return no_memory(diag);
    }
    l->count = o->count;
    for (size_t i = 0; i < o->count; i++) {
        const mri_relabel_row *wish = &o->rows[i];
        const char *name = name_of(wish);

        l->targets[i] = (target){.wish = wish};
        l->targets[i].hash = mri_xxh3(name, strlen(name));
        keys = keys || wish->key != NULL;
    }
    if (l->count != 0) {
        qsort(l->targets, l->count, sizeof *l->targets, by_hash);
    }
    for (size_t i = 0; err == MR_OK && i < l->count; i++) {
        if (l->targets[i].wish->key == NULL) {
            err = find_uid(l, &l->targets[i], diag);
        }
    }
    if (err == MR_OK && keys) {
        err = find_keys(l, diag);
    }
    return err == MR_OK ? check_targets(l, diag) : err;
}

/* ---- what they are to be called ---- */

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool
has_class(const relabel *l, const char *name)
{
    for (uint32_t i = 0; i < l->class_count; i++) {
        if (strcmp(l->classes[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* Those of the dataset keep their numbers; new ones follow by name. */
static mr_err
list_classes(relabel *l, mr_diag *diag)
{
    const Mri__PbSchema *s = l->w.now->manifest->schema;
    uint32_t old = (uint32_t)s->n_classes;

    l->classes = mri_alloc(s->n_classes + l->count, sizeof *l->classes);
    if (l->classes == NULL) {
        return no_memory(diag);
    }
    for (; l->class_count < old; l->class_count++) {
        l->classes[l->class_count] = s->classes[l->class_count];
    }
    for (size_t i = 0; i < l->count; i++) {
        char *name = l->targets[i].class_name;

        if (name[0] != '\0' && !has_class(l, name)) {
            l->classes[l->class_count++] = name;
        }
    }
    l->r->new_classes = l->class_count - old;
    if (l->r->new_classes != 0) {
        qsort(l->classes + old, l->r->new_classes, sizeof *l->classes, by_text);
    }
    return MR_OK;
}

static mr_err
mark_rows(relabel *l, mr_diag *diag)
{
    mr_err err = mri_row_set_none(&l->rows, l->w.now, diag);

    l->r->ranks = mri_alloc(l->count, sizeof *l->r->ranks);
    if (err == MR_OK && l->r->ranks == NULL) {
        err = no_memory(diag);
    }
    for (size_t i = 0; err == MR_OK && i < l->count; i++) {
        const target *t = &l->targets[i];

        if (t->changes) {
            l->rows.row[t->shard][t->row] = 1;
            l->rows.count[t->shard]++;
            l->r->ranks[l->r->count++] = t->rank;
        }
    }
    return err;
}

static const mri_label *
label_at(void *user, uint32_t shard, uint32_t row)
{
    const relabel *l = user;
    const target want = {.shard = shard, .row = row};
    const target *t =
        bsearch(&want, l->targets, l->count, sizeof *l->targets, by_place);

    return &t->label; /* every marked row is one of theirs */
}

/* ---- the new shards ---- */

static mr_err
schema_at(const relabel *l, uint32_t shard, mri_shard **s, mr_diag *diag)
{
    mri_shard_ref ref;

    mri_dataset_shard_ref(l->w.now->manifest, shard, &ref);
    return mri_shard_open_in(s, &l->w.now->store, &ref, true, diag);
}

/* Samples of both can stand in one shard. */
static bool
alike(const Mri__PbSchema *a, const Mri__PbSchema *b)
{
    bool same = a->n_fields == b->n_fields && strcmp(a->config, b->config) == 0;

    for (size_t i = 0; same && i < a->n_fields; i++) {
        same = strcmp(a->fields[i]->name, b->fields[i]->name) == 0 &&
               a->fields[i]->kind == b->fields[i]->kind;
    }
    return same;
}

/* From `first` on, how far one new shard goes. */
static mr_err
find_end(const relabel *l, uint32_t first, uint32_t *end, mr_diag *diag)
{
    const Mri__PbManifest *m = l->w.now->manifest;
    mri_shard *a, *b;
    uint64_t bytes = 0;
    bool go = true;
    mr_err err = schema_at(l, first, &a, diag);

    *end = first + 1;
    if (err != MR_OK) {
        return err;
    }
    for (uint32_t i = first; err == MR_OK && go && i < l->rows.shards; i++) {
        if (l->rows.count[i] == 0) {
            continue;
        }
        err = schema_at(l, i, &b, diag);
        go = err == MR_OK && bytes < SHARD_BYTES && alike(a->schema, b->schema);
        if (err == MR_OK) {
            mri_shard_close(b);
        }
        bytes +=
            m->shards[i]->raw_bytes / m->shards[i]->samples * l->rows.count[i];
        *end = go ? i + 1 : *end;
    }
    mri_shard_close(a);
    return err;
}

/* If the same samples had these very labels before, the shard is there
 * already: it moves to the end, where it counts. */
static void
add_ref(relabel *l, const mri_shard_ref *ref)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < l->ref_count; i++) {
        if (memcmp(l->refs[i].id, ref->id, 16) != 0) {
            l->refs[n++] = l->refs[i];
        }
    }
    l->refs[n++] = *ref;
    l->ref_count = n;
}

static mr_err
write_shards(relabel *l, mr_diag *diag)
{
    const Mri__PbManifest *m = l->w.now->manifest;
    const mri_rewrite how = {.ds = l->w.now,
                             .rows = &l->rows,
                             .label = label_at,
                             .user = l,
                             .classes = l->classes,
                             .class_count = l->class_count};
    mr_err err = MR_OK;

    l->refs = mri_alloc(2 * m->n_shards, sizeof *l->refs);
    if (l->refs == NULL) {
        return no_memory(diag);
    }
    for (; l->ref_count < m->n_shards; l->ref_count++) {
        mri_dataset_shard_ref(m, l->ref_count, &l->refs[l->ref_count]);
    }
    for (uint32_t i = 0, end; err == MR_OK && i < l->rows.shards; i = end) {
        mri_shard_ref ref;

        end = i + 1;
        if (l->rows.count[i] == 0) {
            continue;
        }
        err = find_end(l, i, &end, diag);
        if (err == MR_OK) {
            err = mri_rewrite_shards(&how, i, end, &ref, diag);
        }
        if (err == MR_OK) {
            add_ref(l, &ref);
        }
    }
    return err;
}

static mr_err
commit(relabel *l, mr_diag *diag)
{
    const mri_derive how = {.like = l->w.now,
                            .shards = l->refs,
                            .shard_count = l->ref_count,
                            .other_labels = true,
                            .classes = l->classes,
                            .class_count = l->class_count,
                            .watch = l->o->watch};
    mri_json j = {0};
    mr_err err = mri_writer_commit(&l->w, &how, &l->r->generation, diag);

    if (err == MR_OK) {
        mri_history_begin(&j, "relabel", l->r->generation, l->o->command);
        mri_json_put_u64(&j, "relabelled", l->r->count);
        mri_json_put_text(&j, "reason", l->o->reason);
        err = mri_history_end(&j, l->w.now->dir, diag);
    }
    return err;
}

static mr_err
work(relabel *l, mr_diag *diag)
{
    mr_err err = find_targets(l, diag);

    if (err == MR_OK) {
        err = list_classes(l, diag);
    }
    if (err == MR_OK) {
        err = mark_rows(l, diag);
    }
    if (err != MR_OK || l->o->dry_run || l->r->count == 0) {
        return err;
    }
    err = write_shards(l, diag);
    return err == MR_OK ? commit(l, diag) : err;
}

mr_err
mri_dataset_relabel(const mri_relabel_options *o, mri_relabel_report *r,
                    mr_diag *diag)
{
    relabel l = {.o = o, .r = r};
    mr_err err;

    *r = (mri_relabel_report){0};
    err = mri_writer_open(&l.w, o->dataset, !o->dry_run, diag);
    if (err == MR_OK) {
        r->before = mr_dataset_generation(l.w.now);
        err = work(&l, diag);
    }
    mri_writer_close(&l.w);
    for (size_t i = 0; i < l.count; i++) {
        mri_free(l.targets[i].class_name);
        mri_free(l.targets[i].group);
    }
    mri_free(l.targets);
    mri_free(l.classes);
    mri_free(l.refs);
    mri_row_set_release(&l.rows);
    return err;
}

void
mri_relabel_report_release(mri_relabel_report *report)
{
    mri_free(report->ranks);
    *report = (mri_relabel_report){0};
}
