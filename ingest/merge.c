/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge.c - datasets as sources: their shards by reference.
 *
 * A shard belongs to nobody: its name is a hash of what it holds. So merging
 * is linking files and one commit. What it must see to is that a name means
 * one sample: a uid or a key that stands for two refuses all of it.
 */
#include "merge.h"

#include "folder.h"
#include "folds.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>
#include <mri/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A sample of one of the datasets; 0 is the output itself. */
typedef struct entry {
    uint8_t uid[MR_UID_BYTES];
    uint64_t key, content, rank;
    uint32_t from, shard, split;
    bool withdrawn, known;
} entry;

typedef struct merge {
    const mri_ingest_options *o;
    mri_ingest_report *r;
    mri_folder folder;
    mri_journal journal;
    const char *const *names; /* [count]; the first is the output */
    mr_dataset **sets;        /* [count]; the first is NULL if there is none */
    size_t count;
    entry *entries;
    size_t entry_count;
    mri_shard_ref *refs; /* of the new generation */
    uint32_t ref_count, old_refs;
    mri_withdrawn *withdrawn; /* new ones */
    uint64_t withdrawn_count;
    const char **fields, **classes;
    mri_field_kind *kinds;
    mri_field_level *levels;
    uint32_t field_count, class_count;
    mri_fold_names splits; /* that all of them have */
} merge;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* That a folder cannot be opened for now does not make it one of images. */
static mr_err
is_there(const char *source, bool *there, mr_diag *diag)
{
    uint64_t generation;
    char *dir;
    mri_root is = MRI_ROOT_NONE;
    mri_store store = {0};
    mr_err err = mri_generation_split(source, &dir, &generation, diag);

    if (err == MR_OK) {
        err = mri_store_open(&store, dir, diag);
    }
    if (err == MR_OK) {
        err = mri_store_root(&store, &is, diag);
    }
    *there = is != MRI_ROOT_NONE;
    mri_store_close(&store);
    mri_free(dir);
    return err;
}

mr_err
mri_merge_is_dataset(const char *source, bool *out, mr_diag *diag)
{
    mr_dataset *ds;
    bool there = true;
    mr_diag why = {0};
    mr_err err = mr_dataset_open(&ds, source, &why);

    *out = err == MR_OK;
    if (err == MR_OK) {
        mr_dataset_close(ds);
        return MR_OK;
    }
    if (why.code == MRI_E_NOT_DATASET || why.code == MRI_E_UNFINISHED) {
        return MR_OK;
    }
    if (why.code == MRI_E_OPEN) {
        mr_err looked = is_there(source, &there, diag);

        if (looked != MR_OK || !there) { /* who reads files says so */
            return looked;
        }
    }
    if (diag != NULL) {
        *diag = why;
    }
    return err;
}

/* ---- who there is ---- */

static mr_err
add_entry(merge *m, const entry *e, mr_diag *diag)
{
    entry *grown = m->entries;

    if ((m->entry_count & (m->entry_count + 1)) == 0) { /* doubles */
        grown = mri_resize(m->entries, 2 * m->entry_count + 2, sizeof *grown);
    }
    if (grown == NULL) {
        return no_memory(diag);
    }
    m->entries = grown;
    grown[m->entry_count++] = *e;
    return MR_OK;
}

static mr_err
add_samples(merge *m, uint32_t from, mr_diag *diag)
{
    const mr_dataset *ds = m->sets[from];
    mr_err err = MR_OK;

    for (uint64_t i = 0; err == MR_OK && i < mr_dataset_count(ds); i++) {
        entry e = {.from = from, .rank = i};
        mr_sample s;

        err = mr_dataset_sample(ds, i, &s, diag);
        if (err == MR_OK) {
            err = mri_dataset_key_hash(ds, i, &e.key, diag);
        }
        if (err == MR_OK) {
            err = mri_dataset_split_of(ds, i, &e.split, diag);
        }
        if (err == MR_OK) {
            memcpy(e.uid, s.uid, sizeof e.uid);
            e.content = s.content;
            e.shard = s.shard;
            err = add_entry(m, &e, diag);
        }
    }
    return err;
}

static mr_err
add_withdrawn(merge *m, uint32_t from, mr_diag *diag)
{
    mri_dataset_facts facts;
    mr_err err = MR_OK;

    mri_dataset_facts_of(m->sets[from], &facts);
    for (uint64_t i = 0; err == MR_OK && i < facts.withdrawn; i++) {
        entry e = {.from = from, .withdrawn = true, .rank = i};
        mri_withdrawn one;

        mri_dataset_withdrawn(m->sets[from], i, &one);
        memcpy(e.uid, one.uid, sizeof e.uid);
        e.key = one.key;
        err = add_entry(m, &e, diag);
    }
    return err;
}

static int
by_uid(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int order = memcmp(x->uid, y->uid, MR_UID_BYTES);

    if (order == 0 && x->from != y->from) {
        order = x->from < y->from ? -1 : 1;
    }
    return order;
}

static int
by_key(const void *a, const void *b)
{
    const entry *x = a, *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return by_uid(a, b);
}

/* The key of a sample for a message; one that is withdrawn has none left. */
static void
put_key(const merge *m, const entry *e, char *out, size_t bytes)
{
    mri_meta *meta;
    char hex[33];

    if (!e->withdrawn &&
        mri_dataset_meta(m->sets[e->from], e->rank, &meta, NULL) == MR_OK) {
        (void)snprintf(out, bytes, "%.150s", meta->key);
        mri_meta_free(meta);
        return;
    }
    (void)snprintf(out, bytes, "%s", mri_hex(hex, e->uid, MR_UID_BYTES));
}

static mr_err
clash(const merge *m, const entry *a, const entry *b, const char *what,
      mr_diag *diag)
{
    char x[160], y[160];

    put_key(m, a, x, sizeof x);
    put_key(m, b, y, sizeof y);
    return mri_fail(diag, MRI_E_MERGE, MR_NOWHERE,
                    "%s: '%s' of %.100s and '%s' of %.100s", what, x,
                    m->names[a->from], y, m->names[b->from]);
}

/* The very same row of the very same shard. */
static bool
same_shard(const merge *m, const entry *a, const entry *b)
{
    mri_shard_ref x, y;

    mri_dataset_shard(m->sets[a->from], a->shard, &x);
    mri_dataset_shard(m->sets[b->from], b->shard, &y);
    return memcmp(x.id, y.id, 16) == 0;
}

/* Two with one uid, a from an earlier dataset than b: is b known by a? */
static mr_err
meet(const merge *m, const entry *a, entry *b, mr_diag *diag)
{
    if (a->withdrawn) {
        b->known = true;
        return a->from == 0 || b->withdrawn
                   ? MR_OK
                   : clash(m, a, b, "withdrawn here and alive there", diag);
    }
    if (b->withdrawn) {
        return clash(m, b, a, "withdrawn here and alive there", diag);
    }
    b->known =
        same_shard(m, a, b) || (a->from == 0 && a->content == b->content);
    return b->known ? MR_OK : clash(m, a, b, "two samples with one uid", diag);
}

static mr_err
find_clashes(merge *m, mr_diag *diag)
{
    entry *e = m->entries;
    mr_err err = MR_OK;

    if (m->entry_count == 0) {
        return MR_OK;
    }
    qsort(e, m->entry_count, sizeof *e, by_uid);
    for (size_t i = 1, first = 0; err == MR_OK && i < m->entry_count; i++) {
        if (memcmp(e[first].uid, e[i].uid, MR_UID_BYTES) == 0) {
            err = meet(m, &e[first], &e[i], diag);
        } else {
            first = i;
        }
    }
    qsort(e, m->entry_count, sizeof *e, by_key);
    for (size_t i = 1; err == MR_OK && i < m->entry_count; i++) {
        if (e[i - 1].key == e[i].key && !e[i].withdrawn &&
            !e[i - 1].withdrawn &&
            memcmp(e[i - 1].uid, e[i].uid, MR_UID_BYTES) != 0) {
            err = clash(m, &e[i - 1], &e[i], "two samples with one key", diag);
        }
    }
    return err;
}

/* ---- what they are made of ---- */

static mr_err
add_class(merge *m, const char *name, mr_diag *diag)
{
    const char **grown;

    for (uint32_t i = 0; i < m->class_count; i++) {
        if (strcmp(m->classes[i], name) == 0) {
            return MR_OK;
        }
    }
    grown = mri_resize((void *)m->classes, (size_t)m->class_count + 1,
                       sizeof *grown);
    if (grown == NULL) {
        return no_memory(diag);
    }
    m->classes = grown;
    grown[m->class_count++] = name;
    return MR_OK;
}

static mr_err
add_field(merge *m, uint32_t from, uint32_t field, mr_diag *diag)
{
    const char *name = mr_dataset_field_name(m->sets[from], field);
    mri_field_kind kind = mri_dataset_field_kind(m->sets[from], field);
    const char **fields;
    mri_field_kind *kinds;
    mri_field_level *levels;

    for (uint32_t i = 0; i < m->field_count; i++) {
        if (strcmp(m->fields[i], name) == 0) {
            return m->kinds[i] == kind
                       ? MR_OK
                       : mri_fail(diag, MRI_E_MERGE, MR_NOWHERE,
                                  "field '%.80s' of %.200s is of another kind",
                                  name, m->names[from]);
        }
    }
    fields = mri_resize((void *)m->fields, (size_t)m->field_count + 1,
                        sizeof *fields);
    m->fields = fields != NULL ? fields : m->fields;
    kinds = mri_resize(m->kinds, (size_t)m->field_count + 1, sizeof *m->kinds);
    m->kinds = kinds != NULL ? kinds : m->kinds;
    levels =
        mri_resize(m->levels, (size_t)m->field_count + 1, sizeof *m->levels);
    m->levels = levels != NULL ? levels : m->levels;
    if (fields == NULL || kinds == NULL || levels == NULL) {
        return no_memory(diag);
    }
    mri_dataset_field_level(m->sets[from], field, &levels[m->field_count]);
    m->fields[m->field_count] = name;
    m->kinds[m->field_count++] = kind;
    return MR_OK;
}

/* Levels name fields by their place, and that may be another here. */
static void
place_levels(merge *m, uint32_t from, uint32_t first)
{
    for (uint32_t i = first; i < m->field_count; i++) {
        mri_field_level *level = &m->levels[i];
        uint32_t k = 0;

        if (level->of == MRI_NO_FIELD) {
            continue;
        }
        while (strcmp(m->fields[k],
                      mr_dataset_field_name(m->sets[from], level->of)) != 0) {
            k++; /* all fields of the dataset are there */
        }
        level->of = k;
    }
}

static mr_err
check_splits(const merge *m, uint32_t from, mr_diag *diag)
{
    const mri_fold_names *want = &m->splits;
    const mr_dataset *ds = m->sets[from];
    bool same = mr_dataset_splits(ds) == want->count;

    for (uint32_t i = 0; same && i < want->count; i++) {
        same = strcmp(mr_dataset_split_name(ds, i), want->names[i]) == 0;
    }
    return same ? MR_OK
                : mri_fail(diag, MRI_E_MERGE_SPLITS, MR_NOWHERE,
                           "%.200s has other splits than %s to %s",
                           m->names[from], want->names[0],
                           want->names[want->count - 1]);
}

static mr_err
add_names(merge *m, uint32_t from, mr_diag *diag)
{
    const mr_dataset *ds = m->sets[from];
    uint32_t first = m->field_count;
    mr_err err = check_splits(m, from, diag);

    for (uint32_t i = 0; err == MR_OK && i < mr_dataset_fields(ds); i++) {
        err = add_field(m, from, i, diag);
    }
    if (err == MR_OK) {
        place_levels(m, from, first);
    }
    for (uint32_t i = 0; err == MR_OK && i < mr_dataset_classes(ds); i++) {
        err = add_class(m, mr_dataset_class_name(ds, i), diag);
    }
    return err;
}

static bool
has_ref(const merge *m, const mri_shard_ref *ref)
{
    for (uint32_t i = 0; i < m->ref_count; i++) {
        if (memcmp(m->refs[i].id, ref->id, 16) == 0) {
            return true;
        }
    }
    return false;
}

static mr_err
add_ref(merge *m, const mri_shard_ref *ref, mr_diag *diag)
{
    mri_shard_ref *grown =
        mri_resize(m->refs, (size_t)m->ref_count + 1, sizeof *grown);

    if (grown == NULL) {
        return no_memory(diag);
    }
    m->refs = grown;
    grown[m->ref_count++] = *ref;
    return MR_OK;
}

/* Which shards of a source hold anything new. Old labels in them could come
 * to count again if their new ones are here already, further in front. */
static mr_err
add_shards(merge *m, uint32_t from, mr_diag *diag)
{
    mri_dataset_facts facts;
    bool *needed, old_label = false;
    mr_err err = MR_OK;

    mri_dataset_facts_of(m->sets[from], &facts);
    needed = mri_alloc(facts.shards, sizeof *needed);
    if (needed == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; i < m->entry_count; i++) {
        const entry *e = &m->entries[i];

        if (e->from == from && !e->withdrawn && !e->known) {
            needed[e->shard] = true;
        }
        old_label = old_label || (e->from == from && !e->withdrawn && e->known);
    }
    for (uint32_t i = 0; err == MR_OK && i < facts.shards; i++) {
        mri_shard_ref ref;

        mri_dataset_shard(m->sets[from], i, &ref);
        if (!needed[i] || has_ref(m, &ref)) {
            continue;
        }
        if (old_label && facts.superseded != 0) {
            err = mri_fail(diag, MRI_E_MERGE, MR_NOWHERE,
                           "%.200s is here in part, and has relabelled samples "
                           "since: compact it first",
                           m->names[from]);
        } else {
            err = add_ref(m, &ref, diag);
        }
    }
    mri_free(needed);
    return err;
}

static int
withdrawn_by_uid(const void *a, const void *b)
{
    return memcmp(((const mri_withdrawn *)a)->uid,
                  ((const mri_withdrawn *)b)->uid, MR_UID_BYTES);
}

/* What the sources have withdrawn stays out here as well. */
static mr_err
list_withdrawn(merge *m, mr_diag *diag)
{
    m->withdrawn = mri_alloc(m->entry_count, sizeof *m->withdrawn);
    if (m->withdrawn == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; i < m->entry_count; i++) {
        const entry *e = &m->entries[i];

        if (e->withdrawn && !e->known && e->from != 0) {
            mri_dataset_withdrawn(m->sets[e->from], e->rank,
                                  &m->withdrawn[m->withdrawn_count++]);
        }
    }
    if (m->withdrawn_count != 0) {
        qsort(m->withdrawn, (size_t)m->withdrawn_count, sizeof *m->withdrawn,
              withdrawn_by_uid);
    }
    return MR_OK;
}

static mr_err
gather(merge *m, mr_diag *diag)
{
    uint32_t first = m->sets[0] != NULL ? 0 : 1;
    mr_err err = MR_OK;

    for (uint32_t i = first; err == MR_OK && i < m->count; i++) {
        err = add_names(m, i, diag);
        if (err == MR_OK) {
            err = add_samples(m, i, diag);
        }
        if (err == MR_OK) {
            err = add_withdrawn(m, i, diag);
        }
    }
    if (err == MR_OK) {
        err = find_clashes(m, diag);
    }
    for (uint32_t i = 0; err == MR_OK && first == 0; i++) {
        mri_dataset_facts facts;
        mri_shard_ref ref;

        mri_dataset_facts_of(m->sets[0], &facts);
        m->old_refs = facts.shards;
        if (i == facts.shards) {
            break;
        }
        mri_dataset_shard(m->sets[0], i, &ref);
        err = add_ref(m, &ref, diag);
    }
    for (uint32_t i = 1; err == MR_OK && i < m->count; i++) {
        err = add_shards(m, i, diag);
    }
    return err == MR_OK ? list_withdrawn(m, diag) : err;
}

/* ---- the files ---- */

/* Which source has it; 0: none. */
static size_t
source_of(const merge *m, const mri_shard_ref *ref)
{
    for (size_t i = 1; i < m->count; i++) {
        mri_dataset_facts facts;

        mri_dataset_facts_of(m->sets[i], &facts);
        for (uint32_t k = 0; k < facts.shards; k++) {
            mri_shard_ref there;

            mri_dataset_shard(m->sets[i], k, &there);
            if (memcmp(there.id, ref->id, sizeof ref->id) == 0) {
                return i;
            }
        }
    }
    return 0;
}

static mr_err
bring_shard(merge *m, const mri_shard_ref *ref, mr_diag *diag)
{
    size_t i = source_of(m, ref); /* it was found there before */
    mri_dataset_facts facts;
    mri_store from;
    mr_err err;

    mri_dataset_facts_of(m->sets[i], &facts);
    err = mri_store_open(&from, facts.dir, diag);
    if (err == MR_OK) {
        err = mri_shard_bring(&m->folder.store, &from, ref, diag);
    }
    mri_store_close(&from);
    return err;
}

/* ---- commit ---- */

static int
order_of_key(const void *key, const void *e)
{
    uint64_t x = *(const uint64_t *)key, y = ((const entry *)e)->key;

    return x < y ? -1 : x > y;
}

static uint32_t
given_split(void *user, uint64_t key)
{
    const merge *m = user;
    const entry *end = m->entries + m->entry_count;
    const entry *e = bsearch(&key, m->entries, m->entry_count,
                             sizeof *m->entries, order_of_key);

    while (e != NULL && e > m->entries && e[-1].key == key) {
        e--;
    }
    for (; e != NULL && e < end && e->key == key; e++) { /* whoever is first */
        if (!e->withdrawn && !e->known && e->split < m->splits.count) {
            return e->split;
        }
    }
    return MRI_SPLIT_BY_HASH;
}

static mr_err
commit(merge *m, mr_diag *diag)
{
    mri_dataset_facts facts;
    mri_schema schema = {.field_count = m->field_count,
                         .field_names = m->fields,
                         .field_kinds = m->kinds,
                         .field_levels = m->levels,
                         .class_count = m->class_count,
                         .classes = m->classes};
    mri_commit c = {.dir = m->o->output,
                    .parent = m->sets[0],
                    .withdrawn = m->withdrawn,
                    .withdrawn_count = m->withdrawn_count,
                    .shards = m->refs,
                    .shard_count = m->ref_count,
                    .schema = &schema,
                    .split_names = m->splits.names,
                    .split_shares = m->splits.shares,
                    .split_count = m->splits.count,
                    .given_split = given_split,
                    .user = m,
                    .watch = m->o->watch};
    mri_json j = {0};
    mr_err err;

    mri_dataset_facts_of(m->sets[m->sets[0] != NULL ? 0 : 1], &facts);
    schema.config = facts.config;
    c.layout = m->sets[0] != NULL ? facts.layout : "merged";
    c.quarantined = m->sets[0] != NULL ? facts.quarantined : 0;
    err = mri_dataset_commit(&c, &m->r->generation, diag);
    if (err == MR_OK) {
        mri_history_begin(&j, "merge", m->r->generation, m->o->command);
        mri_json_put_u64(&j, "added", m->r->added);
        err = mri_history_end(&j, m->o->output, diag);
    }
    return err;
}

static void
count_samples(merge *m)
{
    for (size_t i = 0; i < m->entry_count; i++) {
        const entry *e = &m->entries[i];

        m->r->added += e->from != 0 && !e->withdrawn && !e->known;
        m->r->known += e->from != 0 && !e->withdrawn && e->known;
    }
    m->r->inputs = m->r->merged = m->r->added;
}

static mr_err
work(merge *m, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 1; err == MR_OK && i < m->count; i++) {
        err = mr_dataset_open(&m->sets[i], m->names[i], diag);
    }
    if (err == MR_OK) {
        err = mri_folder_open(&m->folder, m->o->output, diag);
    }
    if (err == MR_OK && m->folder.generation != 0) {
        err = mr_dataset_open(&m->sets[0], m->o->output, diag);
    }
    if (err == MR_OK) {
        err = mri_journal_open(&m->journal, &m->folder.store, diag);
    }
    if (err == MR_OK) {
        err = mri_folder_sweep(&m->folder, &m->journal, diag);
    }
    if (err == MR_OK) {
        mri_folds_name(&m->splits, mri_folds_of(m->sets[m->sets[0] == NULL]));
        err = gather(m, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    count_samples(m);
    if (m->r->added == 0) {
        return MR_OK;
    }
    for (uint32_t i = m->old_refs; err == MR_OK && i < m->ref_count; i++) {
        err = bring_shard(m, &m->refs[i], diag);
    }
    return err == MR_OK ? commit(m, diag) : err;
}

mr_err
mri_merge(const char *const *sources, size_t count,
          const mri_ingest_options *options, mri_ingest_report *report,
          mr_diag *diag)
{
    merge m = {.o = options, .r = report, .count = count + 1};
    const char **names = mri_alloc(count + 1, sizeof *names);
    mr_err err;

    m.folder.lock.fd = m.journal.log.fd = -1;
    m.sets = mri_alloc(count + 1, sizeof *m.sets);
    m.names = names;
    if (names == NULL || m.sets == NULL) {
        err = no_memory(diag);
    } else {
        names[0] = options->output;
        memcpy((void *)(names + 1), sources, count * sizeof *names);
        err = work(&m, diag);
    }
    for (size_t i = 0; m.sets != NULL && i < m.count; i++) {
        mr_dataset_close(m.sets[i]);
    }
    mri_folder_close(&m.folder, &m.journal,
                     err == MR_OK && m.journal.count == 0);
    mri_free((void *)names);
    mri_free((void *)m.sets);
    mri_free(m.entries);
    mri_free(m.refs);
    mri_free(m.withdrawn);
    mri_free((void *)m.fields);
    mri_free((void *)m.classes);
    mri_free(m.kinds);
    mri_free(m.levels);
    return err;
}
