/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit_pieces.h - which samples must be counted for the histograms of a
 * field, given those of the generation before.
 */
#ifndef MRI_COMMIT_PIECES_H
#define MRI_COMMIT_PIECES_H

#include "commit.h"

/* A sample that comes into a split, or goes from it. */
typedef struct mri_piece_of {
    const mri_shard *shard;
    uint32_t row;
    uint32_t split;
    bool minus;
} mri_piece_of;

typedef struct mri_pieces {
    mri_piece_of *at; /* by split; those that come first; then as they
                         stand in the shards */
    size_t count;
    const Mri__PbStatistics **counted; /* [splits], or NULL: from nothing */
    uint32_t splits;
} mri_pieces;

/* Which bins a field gets: none if it is no image, or kept as a file in any
 * sample, unless that is a JPEG. */
MR_USE_RESULT mr_err mri_bins_choose(mri_bins *out, const mri_making *c,
                                     uint32_t field, mr_diag *diag);
/* The bins of stored histograms; count 0 if there are none. */
mri_bins mri_bins_of_pb(const Mri__PbStatistics *pb);
const ProtobufCBinaryData *mri_histogram_of_pb(const Mri__PbStatistics *pb,
                                               size_t channel);

/* What differs from the generation before, or all samples if that is less
 * work. owner: mri_pieces_release in any case */
MR_USE_RESULT mr_err mri_pieces_find(mri_pieces *p, const mri_making *c,
                                     uint32_t field, const mri_bins *bins,
                                     mr_diag *diag);
/* The same for what is not of a field: *all says which it is. */
MR_USE_RESULT mr_err mri_pieces_changes(mri_pieces *p, const mri_making *c,
                                        bool *all, mr_diag *diag);
MR_USE_RESULT mr_err mri_pieces_all(mri_pieces *p, const mri_making *c,
                                    mr_diag *diag);
/* What was counted of a split before; NULL: nothing. */
const Mri__PbStatistics *mri_pieces_counted(const mri_pieces *p,
                                            uint32_t split);
void mri_pieces_release(mri_pieces *p);

#endif
