/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage_source.h - which shards there are to take from, and what manifest
 * and index, where they are intact, say should be in them.
 */
#ifndef MRI_SALVAGE_SOURCE_H
#define MRI_SALVAGE_SOURCE_H

#include "dataset_read.h"

#include <mri/dataset.h>
#include <mri/salvage.h>

/* A sample that the index names. */
typedef struct mri_live {
    uint8_t uid[MR_UID_BYTES];
    uint32_t shard, row;
    uint32_t split; /* MRI_SPLIT_BY_HASH: in none */
} mri_live;

typedef struct mri_salvage_shard {
    char *name;   /* in the store */
    char *path;   /* for messages */
    bool has_ref; /* a manifest names it */
    mri_shard_ref ref;
} mri_salvage_shard;

typedef struct mri_salvage_source {
    mri_store store; /* the dataset, or the folder of a lone shard */
    mri_salvage_shard *shards;
    size_t count;
    uint64_t bytes; /* of all, as far as known */
    bool folder;
    bool older;                /* the newest manifest cannot be read */
    Mri__PbManifest *manifest; /* the newest that can, or NULL */
    bool has_index;            /* of that manifest, with nothing after it */
    mri_live *live;            /* by shard and row, with has_index */
    size_t live_count;
    mri_withdrawn *withdrawn; /* by uid; with a manifest */
    size_t withdrawn_count;
} mri_salvage_source;

/*
 * errors  MR_EFORMAT   neither a file nor a dataset folder
 *         MR_EVERSION, MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_salvage_source_open(mri_salvage_source *s,
                                             const char *path, mr_diag *diag);
void mri_salvage_source_close(mri_salvage_source *s);

/* The manifest says that this one is not to come back. */
bool mri_salvage_withdrawn(const mri_salvage_source *s,
                           const uint8_t uid[MR_UID_BYTES]);
/* The first sample of `shard` whose row is not below `row`. */
size_t mri_salvage_live_from(const mri_salvage_source *s, uint32_t shard,
                             uint64_t row);

#endif
