/* SPDX-License-Identifier: Apache-2.0 */
/*
 * folds.c - train, val and test, or folds of equal shares.
 *
 * Folds are splits like any others: their names say what they are, so nothing
 * beside the names has to be kept from one ingest to the next.
 */
#include "folds.h"

#include <mri/error.h>

#include <stdio.h>
#include <string.h>

void
mri_folds_name(mri_fold_names *out, uint32_t folds)
{
    static const char *const names[] = {"train", "val", "test"};
    static const double shares[] = {0.8, 0.1, 0.1};

    out->names = folds != 0 ? out->at : names;
    out->shares = folds != 0 ? out->equal : shares;
    out->count = folds != 0 ? folds : (uint32_t)MRI_COUNT(names);
    for (uint32_t i = 0; i < folds; i++) {
        (void)snprintf(out->room[i], sizeof out->room[i], "fold%u", i % 1000);
        out->at[i] = out->room[i];
        out->equal[i] = 1 / (double)folds;
    }
}

uint32_t
mri_folds_of(const mr_dataset *ds)
{
    uint32_t n = mr_dataset_splits(ds);

    if (n < 2 || n > MRI_FOLDS_MAX) {
        return 0;
    }
    for (uint32_t i = 0; i < n; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "fold%u", i);
        if (strcmp(mr_dataset_split_name(ds, i), name) != 0) {
            return 0;
        }
    }
    return n;
}

static mr_err
check_dataset(uint32_t asked, uint32_t has, const mr_dataset *ds, mr_diag *diag)
{
    if (asked == 0 || ds == NULL || asked == has) {
        return MR_OK;
    }
    if (has != 0) {
        return mri_fail(diag, MRI_E_FOLDS, MR_NOWHERE,
                        "the dataset has %u folds, not %u", has, asked);
    }
    return mri_fail(diag, MRI_E_FOLDS, MR_NOWHERE,
                    "the dataset has the splits %.60s, %.60s, ... and no folds",
                    mr_dataset_split_name(ds, 0), mr_dataset_split_name(ds, 1));
}

mr_err
mri_folds_choose(uint32_t *folds, const mri_plan *plan, const mr_dataset *ds,
                 mr_diag *diag)
{
    uint32_t asked = plan->options->folds;
    uint32_t has = ds != NULL ? mri_folds_of(ds) : 0;
    mr_err err = MR_OK;

    if (asked == 1 || asked > MRI_FOLDS_MAX) {
        return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                        "%u folds: expected 2 to %u", asked, MRI_FOLDS_MAX);
    }
    err = check_dataset(asked, has, ds, diag);
    if (err != MR_OK) {
        mri_diag_in(diag, plan->options->output);
        return err;
    }
    *folds = ds != NULL ? has : asked;
    if (*folds != 0 && plan->layout == MRI_LAYOUT_SPLIT) {
        return mri_fail(diag, MRI_E_FOLDS, MR_NOWHERE,
                        "the source has splits of its own (folders train, val, "
                        "test), which %u folds would tear",
                        *folds);
    }
    return MR_OK;
}
