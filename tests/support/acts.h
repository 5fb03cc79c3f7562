/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acts.h - what makes a generation, in one call each, for tests that do it
 * under bad conditions and look at what is left.
 */
#ifndef MR_ACTS_H
#define MR_ACTS_H

#include <mri/generation.h>

#include <stdio.h>

static inline mr_err
act_withdraw(const char *dir, mri_names keys, mri_names groups, mr_diag *diag)
{
    const mri_withdraw_options o = {
        .dataset = dir, .keys = keys, .groups = groups};
    mri_withdraw_report report;
    mr_err err = mri_dataset_withdraw(&o, &report, diag);

    mri_withdraw_report_release(&report);
    return err;
}

static inline mr_err
act_withdraw_group(const char *dir, const char *group, mr_diag *diag)
{
    return act_withdraw(dir, (mri_names){0}, (mri_names){&group, 1}, diag);
}

static inline mr_err
act_rollback(const char *dir, unsigned generation, mr_diag *diag)
{
    char thing[1024];
    const mri_rollback_options o = {.thing = thing};
    mri_rollback_report report;

    (void)snprintf(thing, sizeof thing, "%s@%u", dir, generation);
    return mri_dataset_rollback(&o, &report, diag);
}

static inline mr_err
act_relabel(const char *dir, const char *key, const char *class_name,
            mr_diag *diag)
{
    const mri_relabel_row row = {.key = key, .class_name = class_name};
    const mri_relabel_options o = {.dataset = dir, .rows = &row, .count = 1};
    mri_relabel_report report;
    mr_err err = mri_dataset_relabel(&o, &report, diag);

    mri_relabel_report_release(&report);
    return err;
}

static inline mr_err
act_compact(const char *dir, bool purge, mr_diag *diag)
{
    const mri_compact_options o = {
        .dataset = dir, .purge = purge, .workers = 1};
    mri_compact_report report;

    return mri_dataset_compact(&o, &report, diag);
}

#endif
