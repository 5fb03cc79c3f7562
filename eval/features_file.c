/* SPDX-License-Identifier: Apache-2.0 */
/* features_file.c - feature tables to files and back. */
#include "features_own.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <stdio.h>
#include <string.h>

/* Columns in the order in which they lie: the widest first, so that each is
 * where its type wants it. */
enum { GROUP, KEY_AT, FEATURES, LABEL, UID, SPLIT, KEYS, COLUMNS };

static const struct {
    const char *name;
    mr_dtype dtype;
} columns[COLUMNS] = {
    [GROUP] = {"group", MR_U64},
    [KEY_AT] = {"key_offsets", MR_U64},
    [FEATURES] = {"features", MR_F32},
    [LABEL] = {"label", MR_I32},
    [UID] = {"uid", MR_U8},
    [SPLIT] = {"split", MR_U8},
    [KEYS] = {"key_bytes", MR_U8},
};

/* Shapes follow from rows and width, but for the length of all keys. */
static void
shape_of(const mri_feature_table *t, uint64_t key_bytes, int column,
         uint32_t *rank, uint64_t shape[2])
{
    *rank = 1;
    shape[0] = t->rows;
    shape[1] = 0;
    if (column == FEATURES || column == UID) {
        *rank = 2;
        shape[1] = column == UID ? MR_UID_BYTES : t->dim;
    } else if (column == KEY_AT) {
        shape[0] = t->rows + 1;
    } else if (column == KEYS) {
        shape[0] = key_bytes;
    }
}

mr_err
mri_features_write(const char *path, const mri_feature_table *t, mr_diag *diag)
{
    const void *data[COLUMNS] = {
        [GROUP] = t->group, [KEY_AT] = t->key_at, [FEATURES] = t->features,
        [LABEL] = t->label, [UID] = t->uid,       [SPLIT] = t->split,
        [KEYS] = t->keys,
    };
    mri_st_item items[COLUMNS];
    mri_json j = {0};
    mri_st_meta meta = {FEATURES_KEY, NULL};
    mr_err err;

    for (int i = 0; i < COLUMNS; i++) {
        items[i] = (mri_st_item){.name = columns[i].name,
                                 .dtype = columns[i].dtype,
                                 .data = data[i]};
        shape_of(t, t->key_at[t->rows], i, &items[i].rank, items[i].shape);
    }
    features_put_meta(&j, t);
    meta.value = mri_json_done(&j);
    err = meta.value == NULL
              ? mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for names")
              : mri_st_write(path, items, COLUMNS, &meta, 1, diag);
    mri_json_release(&j);
    return err;
}

/* -------------------------------------------------------------------- read */

/* A column where its type wants it: as it lies, or a copy. */
static mr_err
place(mri_features *f, const mri_st_item *it, const void **out, mr_diag *diag)
{
    size_t bytes = mr_dtype_bytes(it->dtype);
    void *copy;

    *out = it->data;
    if ((uintptr_t)it->data % bytes == 0) {
        return MR_OK;
    }
    for (uint32_t i = 0; i < it->rank; i++) {
        bytes *= (size_t)it->shape[i]; /* it lies within the file */
    }
    copy = features_room(f, bytes, 1);
    if (copy == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for column %s", it->name);
    }
    memcpy(copy, it->data, bytes);
    *out = copy;
    return MR_OK;
}

static mr_err
get_column(mri_features *f, int column, uint64_t key_bytes, const void **out,
           mr_diag *diag)
{
    const mri_st_item *it = mri_st_find(f->st, columns[column].name);
    uint64_t shape[2];
    uint32_t rank;

    shape_of(&f->t, key_bytes, column, &rank, shape);
    if (it == NULL || it->dtype != columns[column].dtype || it->rank != rank ||
        memcmp(it->shape, shape, rank * sizeof *shape) != 0) {
        return mri_fail(diag, MRI_E_FEATURES, MR_NOWHERE,
                        "column '%s' is missing, or not %s of %llu rows",
                        columns[column].name,
                        mr_dtype_name(columns[column].dtype),
                        (unsigned long long)shape[0]);
    }
    return place(f, it, out, diag);
}

/* Rows and width are those of the features; all else must agree. */
static mr_err
get_size(mri_features *f, uint64_t *key_bytes, mr_diag *diag)
{
    const mri_st_item *it = mri_st_find(f->st, "features");
    const mri_st_item *keys = mri_st_find(f->st, "key_bytes");

    if (it == NULL || it->rank != 2 || it->shape[1] == 0 ||
        it->shape[1] > MRI_DIM_LIMIT || it->shape[0] >= UINT32_MAX) {
        return mri_fail(diag, MRI_E_FEATURES, MR_NOWHERE,
                        "column 'features' is missing, or not rows of 1 to %u "
                        "numbers",
                        MRI_DIM_LIMIT);
    }
    f->t.rows = it->shape[0];
    f->t.dim = (uint32_t)it->shape[1];
    *key_bytes = keys != NULL && keys->rank == 1 ? keys->shape[0] : 0;
    return MR_OK;
}

static mr_err
get_columns(mri_features *f, mr_diag *diag)
{
    const void *data[COLUMNS] = {0};
    uint64_t key_bytes = 0;
    mr_err err = get_size(f, &key_bytes, diag);

    for (int i = 0; err == MR_OK && i < COLUMNS; i++) {
        err = get_column(f, i, key_bytes, &data[i], diag);
    }
    if (err != MR_OK) {
        return err;
    }
    f->t.group = data[GROUP];
    f->t.key_at = data[KEY_AT];
    f->t.features = data[FEATURES];
    f->t.label = data[LABEL];
    f->t.uid = data[UID];
    f->t.split = data[SPLIT];
    f->t.keys = data[KEYS];
    if (f->t.key_at[0] != 0 || f->t.key_at[f->t.rows] != key_bytes) {
        return mri_fail(diag, MRI_E_FEATURES, MR_NOWHERE,
                        "key_offsets do not go from 0 to the end of "
                        "key_bytes");
    }
    return features_check(&f->t, diag);
}

mr_err
features_read(mri_features *f, mr_diag *diag)
{
    const char *text = mri_st_meta_get(f->st, FEATURES_KEY);
    mr_err err;

    if (text == NULL) {
        return mri_fail(diag, MRI_E_NOT_FEATURES, MR_NOWHERE,
                        "holds tensors, but no " FEATURES_KEY
                        " that says what they are");
    }
    err = features_get_meta(f, text, diag);
    return err == MR_OK ? get_columns(f, diag) : err;
}

mr_err
features_take(mri_features **out, mri_st *st, mr_diag *diag)
{
    mri_features *f = features_new();
    mr_err err;

    *out = NULL;
    if (f == NULL) {
        mri_st_close(st);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a table");
    }
    f->st = st;
    err = features_read(f, diag);
    if (err == MR_OK && !mri_st_checked(st)) {
        err = mri_fail(diag, MRI_E_FEATURES, MR_NOWHERE,
                       "has lost its checksums");
    }
    if (err != MR_OK) {
        mri_features_close(f);
        return err;
    }
    *out = f;
    return MR_OK;
}

mr_err
mri_features_open(mri_features **out, const char *path, mr_diag *diag)
{
    mri_st *st;
    mr_err err = mri_st_open(&st, path, diag);

    *out = NULL;
    if (err == MR_OK) {
        err = features_take(out, st, diag);
    }
    mri_diag_in(err != MR_OK ? diag : NULL, path);
    return err;
}
