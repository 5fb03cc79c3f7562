/* SPDX-License-Identifier: Apache-2.0 */
/* folds.h - the splits that an ingest gives its samples. */
#ifndef MRI_INGEST_FOLDS_H
#define MRI_INGEST_FOLDS_H

#include "plan.h"

typedef struct mri_fold_names {
    const char *const *names;
    const double *shares;
    uint32_t count;
    char room[MRI_FOLDS_MAX][8];
    const char *at[MRI_FOLDS_MAX];
    double equal[MRI_FOLDS_MAX];
} mri_fold_names;

/* train, val and test for 0 folds. The pointers are into *out. */
void mri_folds_name(mri_fold_names *out, uint32_t folds);
/* Into how many folds a dataset is split; 0: its splits are no folds. */
uint32_t mri_folds_of(const mr_dataset *ds);

/*
 * Into how many this ingest splits: those of the dataset, else those that are
 * asked for.
 *
 * ds      NULL: there is none yet
 * errors  MR_EARG  neither 0 nor 2 .. MRI_FOLDS_MAX; the dataset is split in
 *                  another way; the SOURCE has splits of its own
 */
MR_USE_RESULT mr_err mri_folds_choose(uint32_t *folds, const mri_plan *plan,
                                      const mr_dataset *ds, mr_diag *diag);

#endif
