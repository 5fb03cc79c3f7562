/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit.h - a generation in the making.
 */
#ifndef MRI_COMMIT_H
#define MRI_COMMIT_H

#include "histogram.h"
#include "measure.h"
#include "shard_read.h"
#include "split.h"

#define MRI_SPLIT_SALT "millrace-split-1"

enum { MRI_VARIANTS = 256 };

typedef struct mri_stats {
    uint32_t channels;
    mr_channel_stats *channel;
    mri_bins bins;
    /* [2 * channels], packed: of all, then of the foreground. NULL: not kept */
    mri_bytes *histogram;
} mri_stats;

typedef struct mri_making {
    const mri_commit *in;
    mri_store store; /* of in->dir */
    mri_shard **shards;
    const mr_dataset *base;   /* whose splits and withdrawn samples stay */
    mri_withdrawn *withdrawn; /* all of them, ascending by uid */
    uint64_t withdrawn_count;
    uint64_t oldest;     /* for the manifest */
    uint64_t superseded; /* rows that stand again in a later shard */
    mri_unit *units;     /* ascending by uid */
    uint64_t count;
    uint32_t **ranks; /* [splits] */
    uint64_t *split_counts;
    uint64_t *class_counts;
    mri_stats *stats; /* [(splits + 1) * fields]; the last split is "all" */
    mri_variant *variants; /* [MRI_VARIANTS], most frequent first */
    uint32_t variant_count;
    mri_measures measures;
    bool uncovered; /* percentiles of the foreground are not asked for */
    bool undecoded; /* pictures are not looked into: no percentiles of them */
    mri_split_result split_result;
    uint8_t content_id[16];
    uint8_t index_hash[16];
    uint64_t index_bytes;
} mri_making;

/* Somebody asked for an end. */
bool mri_making_stopped(const mri_making *c);
/* Fill stats and variants. */
MR_USE_RESULT mr_err mri_making_stats(mri_making *c, mr_diag *diag);
/*
 * Percentiles and histograms, once the moments are there: those of the
 * generation before, with what has come since and without what has gone; of
 * all samples if there are none. It does not show in them which it was.
 */
MR_USE_RESULT mr_err mri_making_histograms(mri_making *c, mr_diag *diag);
/* Lengths and spacings, in the same way: those of the generation before, and
 * what has come and gone. None if a sample cannot be read. */
MR_USE_RESULT mr_err mri_making_measures(mri_making *c, mr_diag *diag);
/* The number of a field in the schema of the generation. */
uint32_t mri_making_field(const mri_making *c, const char *name);
/* Threads for so many tasks. */
unsigned mri_making_workers(const mri_making *c, size_t tasks);
/* Free stats, variants and measures. */
void mri_making_stats_release(mri_making *c);
/* Pack the manifest and create it exclusively: this is the commit. */
MR_USE_RESULT mr_err mri_manifest_write(const mri_making *m,
                                        uint64_t generation, mr_diag *diag);

#endif
