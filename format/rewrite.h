/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite.h - samples of a generation into a new shard, as they are stored.
 *
 * The stored bytes are copied, not made anew; each is proven on the way, down
 * to the hash of the decoded field, so that damage is not carried on.
 */
#ifndef MRI_REWRITE_H
#define MRI_REWRITE_H

#include "dataset_read.h"

#include <mri/dataset.h>

/* Which rows of each shard are meant. */
typedef struct mri_row_set {
    uint32_t shards;
    uint8_t **row;   /* [shards][samples of the shard]: 1 or 0 */
    uint64_t *count; /* [shards] of them 1 */
} mri_row_set;

/* The rows that the index names; all others are dead.
 * owner   mri_row_set_release, in any case */
MR_USE_RESULT mr_err mri_row_set_live(mri_row_set *rows, const mr_dataset *ds,
                                      mr_diag *diag);
/* None of the rows yet. */
MR_USE_RESULT mr_err mri_row_set_none(mri_row_set *rows, const mr_dataset *ds,
                                      mr_diag *diag);
void mri_row_set_release(mri_row_set *rows);

/* What a sample is called from now on. */
typedef struct mri_label {
    const char *class_name, *group; /* "": none */
} mri_label;

typedef struct mri_rewrite {
    const mr_dataset *ds;
    const mri_row_set *rows;
    /* With `label`, samples get other labels, and the new shard has these
     * classes; without, each stays as it is. */
    const mri_label *(*label)(void *user, uint32_t shard, uint32_t row);
    void *user;
    char **classes;
    uint32_t class_count;
} mri_rewrite;

/*
 * Those rows of shards first .. end - 1, in order, into one new shard with
 * the fields and the config of shard `first`, which all must have. The plan
 * tag, hence every byte, is a function of what is written. Any thread.
 *
 * errors  MR_ECORRUPT  a sample or its shard is damaged
 *         MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_rewrite_shards(const mri_rewrite *r, uint32_t first,
                                        uint32_t end, mri_shard_ref *out,
                                        mr_diag *diag);

#endif
