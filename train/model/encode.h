/* SPDX-License-Identifier: Apache-2.0 */
/* encode.h - a backbone's graph for features, and how batches go through. */
#ifndef MODEL_ENCODE_H
#define MODEL_ENCODE_H

#include <mri/vit.h>

typedef struct features {
    mri_graph *graph;
    mri_lane *lane; /* set by whoever has the store */
    char *room;     /* one batch of pictures, then of rows */
    uint64_t batch, picture_bytes, row_bytes;
} features;

/* A graph with parameters teacher.backbone.*, ended. */
MR_USE_RESULT mr_err features_build(mri_graph **out, const mri_vit *v,
                                    uint32_t side, uint32_t batch,
                                    mr_diag *diag);
/* Graph and room; lane is still NULL. After an error, release it. */
MR_USE_RESULT mr_err features_open(features *f, const mri_vit *v, uint32_t side,
                                   uint32_t batch, mr_diag *diag);
void features_release(features *f);
MR_USE_RESULT mr_err features_run(features *f, const float *images,
                                  uint64_t count, float *out, mr_diag *diag);

#endif
