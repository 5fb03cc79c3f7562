/* SPDX-License-Identifier: Apache-2.0 */
/* known.c - what a dataset has already. */
#include "known.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    uint64_t key;
    uint64_t rank;
} entry;

static int
by_key(const void *a, const void *b)
{
    const entry *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

/* Keys of the dataset, and behind them those that were withdrawn. */
#define WITHDRAWN UINT64_MAX

typedef struct key_list {
    entry *at;
    uint64_t count;
} key_list;

static mr_err
list_keys(const mr_dataset *ds, key_list *out, mr_diag *diag)
{
    uint64_t n = mr_dataset_count(ds);
    mri_dataset_facts facts;
    mr_err err = MR_OK;

    mri_dataset_facts_of(ds, &facts);
    out->at = mri_alloc((size_t)(n + facts.withdrawn), sizeof *out->at);
    if (out->at == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    for (uint64_t i = 0; err == MR_OK && i < n; i++) {
        out->at[i].rank = i;
        err = mri_dataset_key_hash(ds, i, &out->at[i].key, diag);
    }
    for (uint64_t i = 0; i < facts.withdrawn; i++) {
        mri_withdrawn one;

        mri_dataset_withdrawn(ds, i, &one);
        out->at[n + i] = (entry){one.key, WITHDRAWN};
    }
    out->count = n + facts.withdrawn;
    if (err == MR_OK) {
        qsort(out->at, (size_t)out->count, sizeof *out->at, by_key);
    }
    return err;
}

/* A file of several samples goes by the first of them. */
static const entry *
find(const key_list *list, const char *key)
{
    entry want = {mri_xxh3(key, strlen(key)), 0};
    const entry *got =
        bsearch(&want, list->at, (size_t)list->count, sizeof *list->at, by_key);
    char first[4096];

    if (got != NULL) {
        return got;
    }
    (void)snprintf(first, sizeof first, "%s#0", key);
    want.key = mri_xxh3(first, strlen(first));
    return bsearch(&want, list->at, (size_t)list->count, sizeof *list->at,
                   by_key);
}

static mr_err
has_changed(const mr_dataset *ds, uint64_t rank, const mri_plan_item *item,
            bool *out, mr_diag *diag)
{
    uint64_t bytes = 0;
    mri_meta *meta;
    mr_err err = mri_dataset_meta(ds, rank, &meta, diag);

    if (err != MR_OK) {
        return err;
    }
    for (uint32_t i = 0; meta->field_count != 0 && i < meta->source_count[0];
         i++) {
        bytes += meta->sources[0][i].bytes;
    }
    *out = bytes != item->bytes;
    mri_meta_free(meta);
    return MR_OK;
}

mr_err
mri_known_filter(mri_plan *plan, const mr_dataset *ds, mri_known *seen,
                 mr_diag *diag)
{
    bool *keep = mri_alloc((size_t)plan->count, sizeof *keep);
    key_list list = {0};
    mr_err err = keep != NULL
                     ? list_keys(ds, &list, diag)
                     : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");

    for (uint64_t i = 0; err == MR_OK && i < plan->count; i++) {
        const mri_plan_item *item = &plan->items[i];
        const entry *got = find(&list, item->key);
        bool other = false;

        keep[i] = got == NULL;
        if (got != NULL && got->rank == WITHDRAWN) {
            seen->withdrawn++;
        } else if (got != NULL) {
            err = has_changed(ds, got->rank, item, &other, diag);
            seen->known++;
            seen->changed += other;
        }
    }
    if (err == MR_OK) {
        mri_plan_filter(plan, keep);
    }
    mri_free(list.at);
    mri_free(keep);
    return err;
}

static int
item_by_key(const void *key, const void *item)
{
    return strcmp(key, ((const mri_plan_item *)item)->key);
}

bool
mri_plan_has(const mri_plan *plan, const char *key)
{
    const char *page = strrchr(key, '#');
    char file[4096];

    if (plan->count == 0) {
        return false;
    }
    if (bsearch(key, plan->items, (size_t)plan->count, sizeof *plan->items,
                item_by_key) != NULL) {
        return true;
    }
    if (page == NULL || (size_t)(page - key) >= sizeof file) {
        return false;
    }
    memcpy(file, key, (size_t)(page - key));
    file[page - key] = '\0';
    return bsearch(file, plan->items, (size_t)plan->count, sizeof *plan->items,
                   item_by_key) != NULL;
}
