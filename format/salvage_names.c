/* SPDX-License-Identifier: Apache-2.0 */
/* salvage_names.c - fields, classes, splits and uids of a new dataset. */
#include "salvage_names.h"

#include "level.h"

#include <mri/alloc.h>
#include <mri/conf.h>
#include <mri/error.h>
#include <mri/hash.h>
#include <mri/opt.h>

#include <stdlib.h>
#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static bool
has(char *const *list, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(list[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool
add_text(char ***list, uint32_t *count, const char *name)
{
    char **grown = mri_resize(*list, (size_t)*count + 1, sizeof *grown);

    if (grown == NULL) {
        return false;
    }
    *list = grown;
    grown[*count] = mri_strdup(name);
    if (grown[*count] == NULL) {
        return false;
    }
    (*count)++;
    return true;
}

static bool
add_field(mri_salvage_names *n, const Mri__PbField *field)
{
    mri_field_kind *kinds;
    mri_field_level *levels;

    if (has(n->fields, n->field_count, field->name)) {
        return true;
    }
    kinds = mri_resize(n->kinds, (size_t)n->field_count + 1, sizeof *kinds);
    if (kinds == NULL) {
        return false;
    }
    n->kinds = kinds;
    kinds[n->field_count] = (mri_field_kind)field->kind;
    levels = mri_resize(n->levels, (size_t)n->field_count + 1, sizeof *levels);
    if (levels == NULL) {
        return false;
    }
    n->levels = levels;
    mri_level_of_pb(&levels[n->field_count], field);
    return add_text(&n->fields, &n->field_count, field->name);
}

/* Levels name fields by their place, and that may be another here. */
static void
place_level(mri_salvage_names *n, const Mri__PbSchema *schema, uint32_t field)
{
    mri_field_level *level = &n->levels[field];
    const char *name;

    if (level->of == MRI_NO_FIELD) {
        return;
    }
    name = schema->fields[level->of]->name;
    for (uint32_t i = 0; i < n->field_count; i++) {
        if (strcmp(n->fields[i], name) == 0) {
            level->of = i;
            return;
        }
    }
}

bool
mri_salvage_names_add(mri_salvage_names *n, const Mri__PbSchema *schema)
{
    uint32_t before = n->field_count;
    bool ok = true;

    for (size_t i = 0; ok && i < schema->n_fields; i++) {
        ok = add_field(n, schema->fields[i]);
    }
    for (uint32_t i = before; ok && i < n->field_count; i++) {
        place_level(n, schema, i);
    }
    for (size_t i = 0; ok && i < schema->n_classes; i++) {
        ok = has(n->classes, n->class_count, schema->classes[i]) ||
             add_text(&n->classes, &n->class_count, schema->classes[i]);
    }
    if (ok && n->config == NULL) {
        n->config = mri_strdup(schema->config);
        ok = n->config != NULL;
    }
    return ok;
}

mri_schema
mri_salvage_names_schema(const mri_salvage_names *n)
{
    return (mri_schema){.field_count = n->field_count,
                        .field_names = (const char **)(uintptr_t)n->fields,
                        .field_kinds = n->kinds,
                        .field_levels = n->levels,
                        .class_count = n->class_count,
                        .classes = (const char **)(uintptr_t)n->classes,
                        .config = n->config};
}

/* The place of a uid, or where it is to go. */
static size_t
place_of(const mri_salvage_names *n, const uint8_t uid[MR_UID_BYTES])
{
    size_t at = (size_t)mri_xxh3(uid, MR_UID_BYTES) & (n->uid_room - 1);

    while (n->used[at] && memcmp(n->uids[at], uid, MR_UID_BYTES) != 0) {
        at = (at + 1) & (n->uid_room - 1);
    }
    return at;
}

static void
enter(mri_salvage_names *n, const uint8_t uid[MR_UID_BYTES], uint64_t label)
{
    size_t at = place_of(n, uid);

    memcpy(n->uids[at], uid, MR_UID_BYTES);
    n->labels[at] = label;
    n->used[at] = true;
}

static bool
grow_uids(mri_salvage_names *n)
{
    mri_salvage_names old = *n;

    n->uid_room = old.uid_room == 0 ? 64 : old.uid_room * 2;
    n->uids = mri_alloc(n->uid_room, sizeof *n->uids);
    n->used = mri_alloc(n->uid_room, sizeof *n->used);
    n->labels = mri_alloc(n->uid_room, sizeof *n->labels);
    if (n->uids == NULL || n->used == NULL || n->labels == NULL) {
        mri_free(n->uids);
        mri_free(n->used);
        mri_free(n->labels);
        *n = old;
        return false;
    }
    for (size_t i = 0; i < old.uid_room; i++) {
        if (old.used[i]) {
            enter(n, old.uids[i], old.labels[i]);
        }
    }
    mri_free(old.uids);
    mri_free(old.used);
    mri_free(old.labels);
    return true;
}

bool
mri_salvage_names_new(mri_salvage_names *n, const mri_sample_row *row,
                      bool *known, bool *other)
{
    uint64_t label = row->content * 31 + row->group;
    size_t at;

    if (n->uid_count * 2 >= n->uid_room && !grow_uids(n)) {
        return false;
    }
    at = place_of(n, row->uid);
    *known = n->used[at];
    *other = *known && n->labels[at] != label;
    if (!*known) {
        enter(n, row->uid, label);
        n->uid_count++;
    }
    return true;
}

bool
mri_salvage_names_split(mri_salvage_names *n, uint64_t key, uint32_t split)
{
    if ((n->given_count & (n->given_count - 1)) == 0) {
        size_t room = n->given_count == 0 ? 1 : n->given_count * 2;
        mri_given *grown = mri_resize(n->given, room, sizeof *grown);

        if (grown == NULL) {
            return false;
        }
        n->given = grown;
    }
    n->given[n->given_count++] = (mri_given){key, split};
    n->sorted = false;
    return true;
}

static int
by_key(const void *a, const void *b)
{
    const mri_given *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

uint32_t
mri_salvage_names_given(void *user, uint64_t key_hash)
{
    mri_salvage_names *n = user;
    const mri_given want = {key_hash, 0};
    const mri_given *at = NULL;

    if (!n->sorted && n->given_count != 0) {
        qsort(n->given, n->given_count, sizeof *n->given, by_key);
    }
    n->sorted = true;
    if (n->given_count != 0) {
        at = bsearch(&want, n->given, n->given_count, sizeof *n->given, by_key);
    }
    return at != NULL ? at->split : MRI_SPLIT_BY_HASH;
}

/* The shares of a manifest's recipe; false if they cannot be read. */
static bool
read_shares(const Mri__PbManifest *m, double *shares)
{
    mri_conf *root = NULL;
    const mri_conf *list;
    double sum = 0;
    bool ok = mri_conf_parse(&root, m->split_recipe, strlen(m->split_recipe),
                             NULL) == MR_OK;

    list = ok ? mri_conf_get(root, "shares") : NULL;
    ok = list != NULL && list->kind == MRI_CONF_LIST &&
         list->count == m->n_splits;
    for (size_t i = 0; ok && i < m->n_splits; i++) {
        ok = list->items[i].kind == MRI_CONF_TEXT &&
             mri_parse_f64(list->items[i].text, &shares[i]) && shares[i] >= 0;
        sum += ok ? shares[i] : 0;
    }
    mri_conf_free(root);
    return ok && sum > 0.999 && sum < 1.001;
}

mr_err
mri_salvage_splits(mri_salvage_names *n, const Mri__PbManifest *m,
                   mri_commit *c, mr_diag *diag)
{
    static const char *const names[] = {"train", "val", "test"};
    static const double shares[] = {0.8, 0.1, 0.1};
    size_t count = m != NULL ? m->n_splits : 0;

    n->split_names = mri_alloc(count, sizeof *n->split_names);
    n->split_shares = mri_alloc(count, sizeof *n->split_shares);
    if (n->split_names == NULL || n->split_shares == NULL) {
        return no_memory(diag);
    }
    c->split_names = names;
    c->split_shares = shares;
    c->split_count = MRI_COUNT(names);
    if (count == 0) {
        return MR_OK;
    }
    for (size_t i = 0; i < count; i++) {
        n->split_names[i] = m->splits[i]->name;
    }
    if (!read_shares(m, n->split_shares)) {
        for (size_t i = 0; i < count; i++) {
            n->split_shares[i] = 1.0 / (double)count;
        }
    }
    c->split_names = n->split_names;
    c->split_shares = n->split_shares;
    c->split_count = (uint32_t)count;
    return MR_OK;
}

void
mri_salvage_names_release(mri_salvage_names *n)
{
    for (uint32_t i = 0; i < n->field_count; i++) {
        mri_free(n->fields[i]);
    }
    for (uint32_t i = 0; i < n->class_count; i++) {
        mri_free(n->classes[i]);
    }
    mri_free(n->fields);
    mri_free(n->classes);
    mri_free(n->kinds);
    mri_free(n->levels);
    mri_free(n->config);
    mri_free(n->uids);
    mri_free(n->used);
    mri_free(n->labels);
    mri_free(n->given);
    mri_free(n->split_names);
    mri_free(n->split_shares);
    *n = (mri_salvage_names){0};
}

bool
mri_schema_of_pb(mri_schema *out, const Mri__PbSchema *pb)
{
    *out = (mri_schema){.field_count = (uint32_t)pb->n_fields,
                        .class_count = (uint32_t)pb->n_classes,
                        .classes = (const char **)(uintptr_t)pb->classes,
                        .config = pb->config};
    out->field_names = mri_alloc(pb->n_fields, sizeof *out->field_names);
    out->field_kinds = mri_alloc(pb->n_fields, sizeof *out->field_kinds);
    out->field_levels = mri_alloc(pb->n_fields, sizeof *out->field_levels);
    if (out->field_names == NULL || out->field_kinds == NULL ||
        out->field_levels == NULL) {
        mri_schema_view_release(out);
        return false;
    }
    for (size_t i = 0; i < pb->n_fields; i++) {
        out->field_names[i] = pb->fields[i]->name;
        out->field_kinds[i] = (mri_field_kind)pb->fields[i]->kind;
        mri_level_of_pb(&out->field_levels[i], pb->fields[i]);
    }
    return true;
}

void
mri_schema_view_release(mri_schema *view)
{
    mri_free(view->field_names);
    mri_free(view->field_kinds);
    mri_free(view->field_levels);
    view->field_names = NULL;
    view->field_kinds = NULL;
    view->field_levels = NULL;
}
