/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dataset_read.h - an open generation, as this room sees it.
 */
#ifndef MRI_DATASET_READ_H
#define MRI_DATASET_READ_H

#include "index.h"
#include "manifest.h"
#include "shard_read.h"

#include <pthread.h>

/* A shard, opened when it is first needed and kept. */
typedef struct mri_shard_slot {
    mri_shard *_Atomic shard;
    uint32_t *_Atomic class_map; /* of the shard's schema to the dataset's */
    uint16_t *_Atomic field_map;
} mri_shard_slot;

typedef struct mri_split_stats {
    uint32_t field, channels;
    mr_channel_stats *channel;
    uint32_t measures;
    mr_measure *measure;
} mri_split_stats;

struct mr_dataset {
    mri_store store;
    const char *dir; /* the store's address, as it was given */
    bool use_map;
    Mri__PbManifest *manifest;
    mri_version version;
    uint8_t id[16];
    mri_index index;
    mri_shard_slot *slots;  /* [manifest->n_shards] */
    pthread_mutex_t lock;   /* to open a shard once */
    mri_split_stats *stats; /* [manifest->n_statistics] */
    mri_hold hold;          /* the manifest, for as long as it is read */
};

/* The shard and row of a rank. */
MR_USE_RESULT mr_err mri_dataset_locate(const mr_dataset *ds, uint64_t rank,
                                        const mri_shard **shard,
                                        mri_index_entry *at,
                                        mri_sample_row *row, mr_diag *diag);
/* Shard and grid row of field `i` of a sample; the row's field is numbered as
 * the dataset's are. */
MR_USE_RESULT mr_err mri_dataset_grid(const mr_dataset *ds, uint64_t rank,
                                      uint32_t i, const mri_shard **shard,
                                      mri_grid_row *g, mr_diag *diag);
/* What the manifest says of shard `i`. */
void mri_dataset_shard_ref(const Mri__PbManifest *m, size_t i,
                           mri_shard_ref *ref);

#endif
