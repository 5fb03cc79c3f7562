/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_stats.h - the rows of statistics of a shard that is open.
 */
#ifndef MRI_SHARD_STATS_H
#define MRI_SHARD_STATS_H

#include "shard_read.h"
#include "survey.h"

/*
 * The row of a chunk, 0 .. mri_grid_chunks - 1; its labels are in the table.
 * errors  MR_ECORRUPT  a page, or labels that leave their table
 */
MR_USE_RESULT mr_err mri_shard_stat(const mri_shard *s, const mri_grid_row *g,
                                    uint64_t chunk, mri_stat_row *out,
                                    mr_diag *diag);
/* Label `i` of such a row. */
MR_USE_RESULT mr_err mri_shard_label(const mri_shard *s,
                                     const mri_stat_row *row, uint32_t i,
                                     mri_label_row *out, mr_diag *diag);
/* slope and intercept of field `i`, from the meta frame if they are there. */
MR_USE_RESULT mr_err mri_shard_scale(const mri_shard *s,
                                     const mri_sample_row *sample, uint32_t i,
                                     double scale[2], mr_diag *diag);

/* Working memory of the proof of statistics; zeroed, then released. */
typedef struct mri_stat_proof {
    mri_bytes chunk, labels, cover;
    mri_grid_row cover_grid;
    bool has_cover;
} mri_stat_proof;

/*
 * Decode the label that lies over a field, if the sample has one: then
 * has_cover, cover_grid and cover say what it is.
 * errors  MR_ECORRUPT, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_shard_load_cover(const mri_shard *s,
                                          const mri_sample_row *sample,
                                          const mri_grid_row *g,
                                          mri_stat_proof *p,
                                          mr_scratch *scratch, mr_diag *diag);
/*
 * Compute the statistics of field `i`, an array decoded at `pixels`, once
 * more: rows of chunks and counts must be equal, sums as near as another order
 * of summing can bring them.
 * errors  MR_ECORRUPT  they tell something else; MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_shard_prove_stats(const mri_shard *s,
                                           const mri_sample_row *sample,
                                           uint32_t i, const uint8_t *pixels,
                                           mri_stat_proof *p,
                                           mr_scratch *scratch, mr_diag *diag);
void mri_stat_proof_release(mri_stat_proof *p);

#endif
