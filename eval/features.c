/* SPDX-License-Identifier: Apache-2.0 */
/* features.c - feature tables in memory. */
#include "features_own.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/selection.h>

#include <assert.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

mri_features *
features_new(void)
{
    return mri_alloc(1, sizeof(mri_features));
}

void *
features_keep(mri_features *f, void *p)
{
    assert(f->owned < OWNED);
    f->own[f->owned++] = p;
    return p;
}

void *
features_room(mri_features *f, uint64_t count, size_t size)
{
    return features_keep(f, mri_alloc((size_t)count, size));
}

void
mri_features_close(mri_features *f)
{
    if (f == NULL) {
        return;
    }
    for (size_t i = 0; i < f->owned; i++) {
        mri_free(f->own[i]);
    }
    mri_st_close(f->st);
    json_decref(f->json);
    mri_free(f);
}

const mri_feature_table *
mri_features_table(const mri_features *f)
{
    return &f->t;
}

static int
by_group(const void *a, const void *b)
{
    const mri_group_name *x = a, *y = b;

    return x->group < y->group ? -1 : x->group > y->group;
}

const char *
mri_group_name_of(const mri_feature_table *t, uint64_t group)
{
    const mri_group_name key = {group, NULL};
    const mri_group_name *found =
        t->group_count == 0
            ? NULL
            : bsearch(&key, t->groups, t->group_count, sizeof key, by_group);

    return found != NULL ? found->name : NULL;
}

mr_err
mri_feature_splits(const mri_feature_table *t, const char *name,
                   bool chosen[MRI_NO_SPLIT + 1], mr_diag *diag)
{
    bool all = strcmp(name, "all") == 0;

    for (unsigned i = 0; i <= MRI_NO_SPLIT; i++) {
        chosen[i] = all;
    }
    return all ? MR_OK
               : mri_splits_named(name, t->splits, t->split_count, chosen,
                                  diag);
}

/* ------------------------------------------------------------------ checks */

static mr_err
bad_row(const mri_feature_table *t, uint64_t row, mri_code code,
        const char *what, mr_diag *diag)
{
    uint64_t len = t->key_at[row + 1] - t->key_at[row];

    return mri_fail(diag, code, MR_NOWHERE, "row %llu, %.*s: %s",
                    (unsigned long long)row, len < 200 ? (int)len : 200,
                    t->keys + t->key_at[row], what);
}

static mr_err
check_keys(const mri_feature_table *t, mr_diag *diag)
{
    for (uint64_t i = 0; i < t->rows; i++) {
        /* 128 MB for one key: no path is so long, and %.*s can count it */
        if (t->key_at[i] > t->key_at[i + 1] ||
            t->key_at[i + 1] - t->key_at[i] > 1u << 27) {
            return mri_fail(diag, MRI_E_FEATURES, MR_NOWHERE,
                            "row %llu: key_offsets do not ascend",
                            (unsigned long long)i);
        }
    }
    return MR_OK;
}

/* Sums of what is finite times 0 are 0: one test for many numbers. */
static bool
all_finite(const float *x, uint64_t n)
{
    float sum = 0;

    for (uint64_t i = 0; i < n; i++) {
        sum += x[i] * 0.0f;
    }
    return sum == 0;
}

mr_err
features_check(const mri_feature_table *t, mr_diag *diag)
{
    mr_err err = check_keys(t, diag);

    for (uint64_t i = 0; err == MR_OK && i < t->rows; i++) {
        if (t->label[i] < -1 || t->label[i] >= (int64_t)t->class_count) {
            err = bad_row(t, i, MRI_E_FEATURES, "its label is no class", diag);
        } else if (t->split[i] != MRI_NO_SPLIT &&
                   t->split[i] >= t->split_count) {
            err = bad_row(t, i, MRI_E_FEATURES, "its split has no name", diag);
        } else if (!all_finite(t->features + i * t->dim, t->dim)) {
            err = bad_row(t, i, MRI_E_FEATURE_NAN,
                          "a feature is no finite number", diag);
        }
    }
    return err;
}
