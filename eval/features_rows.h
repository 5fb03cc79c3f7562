/* SPDX-License-Identifier: Apache-2.0 */
/* features_rows.h - the columns of a table while it is being made. */
#ifndef EVAL_FEATURES_ROWS_H
#define EVAL_FEATURES_ROWS_H

#include "features_own.h"

#include <mri/selection.h>

typedef struct features_rows {
    mri_features *f; /* owns the columns */
    const mr_dataset *ds;
    const mri_selection *split;
    uint32_t dim;
    uint64_t rows, done;
    float *features;
    uint8_t *uid, *split_of;
    int32_t *label;
    uint64_t *group, *key_at;
    mri_bytes keys;
    mri_bytes group_texts; /* of each row, each with its zero */
    uint64_t *group_at;    /* [rows] in group_texts */
} features_rows;

/* Columns for all samples of a split, which must outlive r. Release it in any case. */
MR_USE_RESULT mr_err features_rows_open(features_rows *r, mri_features *f,
                                        const mri_selection *split,
                                        uint32_t dim, mr_diag *diag);
void features_rows_release(features_rows *r);

/*
 * What the dataset says of rows first .. first + count - 1, which follow those
 * before. uid: of the samples that were streamed, which must be the same.
 */
MR_USE_RESULT mr_err features_rows_fill(features_rows *r, uint64_t first,
                                        uint64_t count, const uint8_t *uid,
                                        mr_diag *diag);

/* All rows are there: names of classes, splits and groups; the table is
 * whole but for its origin. */
MR_USE_RESULT mr_err features_rows_end(features_rows *r, mr_diag *diag);

#endif
