/* SPDX-License-Identifier: Apache-2.0 */
/* features_rows.c - what a dataset says of each row of a feature table. */
#include "features_rows.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <stdlib.h>
#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for a table");
}

mr_err
features_rows_open(features_rows *r, mri_features *f,
                   const mri_selection *split, uint32_t dim, mr_diag *diag)
{
    uint64_t n = split->count, values;

    *r = (features_rows){
        .f = f, .ds = split->ds, .split = split, .dim = dim, .rows = n};
    if (n >= UINT32_MAX || !mri_mul(n, dim, &values)) {
        return mri_fail(diag, MRI_E_TOO_LARGE, MR_NOWHERE,
                        "%llu samples are more than a table can hold",
                        (unsigned long long)n);
    }
    r->features =
        features_keep(f, mri_alloc_pixels((size_t)values, sizeof *r->features));
    r->uid = features_room(f, n, MR_UID_BYTES);
    r->label = features_room(f, n, sizeof *r->label);
    r->group = features_room(f, n, sizeof *r->group);
    r->split_of = features_room(f, n, sizeof *r->split_of);
    r->key_at = features_room(f, n + 1, sizeof *r->key_at);
    r->group_at = mri_alloc((size_t)n, sizeof *r->group_at);
    return r->features != NULL && r->uid != NULL && r->label != NULL &&
                   r->group != NULL && r->split_of != NULL &&
                   r->key_at != NULL && r->group_at != NULL
               ? MR_OK
               : no_memory(diag);
}

void
features_rows_release(features_rows *r)
{
    mri_bytes_release(&r->keys);
    mri_bytes_release(&r->group_texts);
    mri_free(r->group_at);
    *r = (features_rows){0};
}

static mr_err
fill_texts(features_rows *r, uint64_t row, uint64_t rank, mr_diag *diag)
{
    mri_meta *meta;
    mr_err err = mri_dataset_meta(r->ds, rank, &meta, diag);

    if (err != MR_OK) {
        return err;
    }
    r->group_at[row] = r->group_texts.len;
    if (!mri_bytes_add(&r->keys, meta->key, strlen(meta->key)) ||
        !mri_bytes_add(&r->group_texts, meta->group, strlen(meta->group) + 1)) {
        err = no_memory(diag);
    }
    r->key_at[row + 1] = r->keys.len;
    mri_meta_free(meta);
    return err;
}

static mr_err
fill_row(features_rows *r, uint64_t row, const uint8_t *uid, mr_diag *diag)
{
    uint32_t split = MR_ALL_SAMPLES;
    uint64_t rank;
    mr_sample s;
    mr_err err = mri_selection_at(r->split, row, &rank, diag);

    if (err == MR_OK) {
        err = mr_dataset_sample(r->ds, rank, &s, diag);
    }
    if (err == MR_OK) {
        err = mri_dataset_split_of(r->ds, rank, &split, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    if (memcmp(s.uid, uid, MR_UID_BYTES) != 0) {
        return mri_fail(diag, MRI_E_INTERNAL, MR_NOWHERE,
                        "row %llu of the stream is not sample %llu",
                        (unsigned long long)row, (unsigned long long)rank);
    }
    memcpy(r->uid + row * MR_UID_BYTES, uid, MR_UID_BYTES);
    r->label[row] = s.class_index == MR_NO_CLASS ? -1 : (int32_t)s.class_index;
    r->group[row] = s.group;
    r->split_of[row] =
        split < MRI_NO_SPLIT ? (uint8_t)split : (uint8_t)MRI_NO_SPLIT;
    return fill_texts(r, row, rank, diag);
}

mr_err
features_rows_fill(features_rows *r, uint64_t first, uint64_t count,
                   const uint8_t *uid, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint64_t i = 0; err == MR_OK && i < count; i++) {
        err = fill_row(r, first + i, uid + i * MR_UID_BYTES, diag);
        r->done += err == MR_OK;
    }
    return err;
}

/* ----------------------------------------------------------------- the end */

typedef const char *name_fn(const mr_dataset *ds, uint32_t i);

/* Copies of names, in one block, and a list of them. */
static mr_err
keep_names(mri_features *f, const mr_dataset *ds, name_fn *name, uint32_t count,
           const char *const **out, mr_diag *diag)
{
    const char **list = features_room(f, count, sizeof *list);
    size_t bytes = 0;
    char *text;

    for (uint32_t i = 0; i < count; i++) {
        bytes += strlen(name(ds, i)) + 1;
    }
    text = features_room(f, bytes, 1);
    if (list == NULL || text == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < count; i++) {
        size_t len = strlen(name(ds, i)) + 1;

        memcpy(text, name(ds, i), len);
        list[i] = text;
        text += len;
    }
    *out = list;
    return MR_OK;
}

static int
by_group(const void *a, const void *b)
{
    const mri_group_name *x = a, *y = b;

    return x->group < y->group ? -1 : x->group > y->group;
}

/* One name for each group that occurs, ascending. */
static mr_err
keep_groups(features_rows *r, mr_diag *diag)
{
    mri_features *f = r->f;
    mri_group_name *list = features_room(f, r->rows, sizeof *list);
    const char *texts = (const char *)r->group_texts.data;
    uint32_t n = 0;

    if (list == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < r->rows; i++) {
        if (r->group[i] != 0) {
            list[n++] = (mri_group_name){r->group[i], texts + r->group_at[i]};
        }
    }
    qsort(list, n, sizeof *list, by_group);
    f->t.groups = list;
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || list[i].group != list[i - 1].group) {
            list[f->t.group_count++] = list[i];
        }
    }
    return MR_OK;
}

mr_err
features_rows_end(features_rows *r, mr_diag *diag)
{
    mri_feature_table *t = &r->f->t;
    mr_err err;

    t->rows = r->rows;
    t->dim = r->dim;
    t->features = r->features;
    t->uid = r->uid;
    t->label = r->label;
    t->group = r->group;
    t->split = r->split_of;
    t->key_at = r->key_at;
    t->class_count = mr_dataset_classes(r->ds);
    t->split_count = mr_dataset_splits(r->ds);
    err = keep_names(r->f, r->ds, mr_dataset_class_name, t->class_count,
                     &t->classes, diag);
    if (err == MR_OK) {
        err = keep_names(r->f, r->ds, mr_dataset_split_name, t->split_count,
                         &t->splits, diag);
    }
    if (err == MR_OK) {
        err = keep_groups(r, diag);
    }
    /* The texts are the table's from here on. */
    t->keys = features_keep(r->f, r->keys.data);
    (void)features_keep(r->f, r->group_texts.data);
    r->keys = r->group_texts = (mri_bytes){0};
    return err;
}
