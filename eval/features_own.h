/* SPDX-License-Identifier: Apache-2.0 */
/* features_own.h - a feature table that owns its memory, from inside. */
#ifndef EVAL_FEATURES_OWN_H
#define EVAL_FEATURES_OWN_H

#include <mri/features.h>
#include <mri/json.h>
#include <mri/safetensors.h>

#define OWNED 32

struct mri_features {
    mri_feature_table t;
    mri_st *st; /* what columns point into, if it was read */
    void *json; /* what names point into, if it was read */
    void *own[OWNED];
    size_t owned;
};

/* NULL: no memory */
mri_features *features_new(void);
/* The table frees `p` with the rest; returns p. */
void *features_keep(mri_features *f, void *p);
/* count * size zeroed bytes of the table's own; NULL: no memory */
void *features_room(mri_features *f, uint64_t count, size_t size);

/* What millrace.features says. */
#define FEATURES_KEY "millrace.features"
void features_put_meta(mri_json *j, const mri_feature_table *t);
/* errors  MR_ECORRUPT naming the member; MR_EVERSION, MR_ENOMEM */
MR_USE_RESULT mr_err features_get_meta(mri_features *f, const char *text,
                                       mr_diag *diag);

/* Everything from f->st, whether it carries checksums or not. */
MR_USE_RESULT mr_err features_read(mri_features *f, mr_diag *diag);
/* The table in a file that is open. owner  st is taken in any case */
MR_USE_RESULT mr_err features_take(mri_features **out, mri_st *st,
                                   mr_diag *diag);

/* Columns fit the names; every feature is finite.
 * errors  MR_ECORRUPT naming the row by its key */
MR_USE_RESULT mr_err features_check(const mri_feature_table *t, mr_diag *diag);

#endif
