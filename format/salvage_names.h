/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage_names.h - what the new dataset is to know beyond its shards: fields,
 * classes, splits; and which samples it has already.
 */
#ifndef MRI_SALVAGE_NAMES_H
#define MRI_SALVAGE_NAMES_H

#include <format.pb-c.h>

#include "rows.h"

#include <mri/dataset.h>

typedef struct mri_given {
    uint64_t key; /* its hash */
    uint32_t split;
} mri_given;

typedef struct mri_salvage_names {
    char **fields, **classes; /* in the order in which they came */
    mri_field_kind *kinds;
    mri_field_level *levels;
    uint32_t field_count, class_count;
    char *config;
    uint8_t (*uids)[MR_UID_BYTES]; /* a hash table with linear probing */
    uint64_t *labels; /* of each uid: what stands for content and group */
    bool *used;
    size_t uid_count, uid_room;
    mri_given *given;
    size_t given_count;
    bool sorted;
    const char **split_names;
    double *split_shares;
} mri_salvage_names;

/* False in all of these: no memory. */

/* Fields and classes that are not known yet; the first config stays. */
bool mri_salvage_names_add(mri_salvage_names *n, const Mri__PbSchema *schema);
mri_schema mri_salvage_names_schema(const mri_salvage_names *n);
/* Enter the uid of a row; *known: it was there already, and *other: with
 * another class or group. */
bool mri_salvage_names_new(mri_salvage_names *n, const mri_sample_row *row,
                           bool *known, bool *other);
/* The split of the sample with that hash of its key. */
bool mri_salvage_names_split(mri_salvage_names *n, uint64_t key,
                             uint32_t split);
/* For mri_commit.given_split; `user` is the names. */
uint32_t mri_salvage_names_given(void *user, uint64_t key_hash);
/*
 * Fill names and shares of the splits: the manifest's, or ours.
 * owner   they stay the names'
 */
MR_USE_RESULT mr_err mri_salvage_splits(mri_salvage_names *n,
                                        const Mri__PbManifest *m, mri_commit *c,
                                        mr_diag *diag);
void mri_salvage_names_release(mri_salvage_names *n);

/* A schema as the writer wants it; its texts stay the message's. */
bool mri_schema_of_pb(mri_schema *out, const Mri__PbSchema *pb);
void mri_schema_view_release(mri_schema *view);

#endif
