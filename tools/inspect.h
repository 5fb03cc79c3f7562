/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect.h - what `millrace inspect` shows of each kind of thing.
 */
#ifndef MRI_INSPECT_H
#define MRI_INSPECT_H

#include "cli.h"

#include <mri/dataset.h>

typedef struct mri_inspect {
    mri_cli *cli;
    const char *thing;
    bool samples, stats, splits, quarantine;
    bool diff, all;     /* compare two; list all that differ */
    const char *sample; /* a key, or NULL */
    const char *png;    /* a contact sheet, or NULL */
} mri_inspect;

mr_err mri_inspect_dataset(const mri_inspect *in, mr_diag *diag);
/* Moments, percentiles and measures; j NULL: as tables. */
mr_err mri_inspect_stats(const mr_dataset *ds, mri_json *j, mr_diag *diag);
/* What differs between two datasets or generations. */
mr_err mri_inspect_diff(const mri_inspect *in, const char *a, const char *b,
                        mr_diag *diag);
/* inspect_format.c: under "format", or without an end of line. */
typedef const char *mri_feature_name_fn(unsigned bit);
void mri_inspect_version_json(mri_json *j, const mri_version *v,
                              mri_feature_name_fn *name);
void mri_inspect_version_text(const mri_version *v, mri_feature_name_fn *name);
const char *mri_inspect_kind(mri_field_kind kind);
void mri_inspect_field_json(mri_json *j, const mr_dataset *ds, uint32_t field);
void mri_inspect_field_text(const mr_dataset *ds, uint32_t field);
/* A shard, a safetensors file, or a foreign image. */
mr_err mri_inspect_file(const mri_inspect *in, mr_diag *diag);

#endif
