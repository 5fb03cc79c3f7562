/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_run.h - the state of one view while its acts are carried out, shared by
 * exec.c and exec_near.c.
 */
#ifndef MRI_STREAM_EXEC_RUN_H
#define MRI_STREAM_EXEC_RUN_H

#include "exec.h"
#include "kernels.h"

typedef struct mri_run {
    mri_exec *x;
    const mri_kernels *k;
    mr_diag *diag;
    const mri_exec_out *out;
    mri_pixels now;
    uint64_t *places; /* now.at */
    int plane;        /* of x->planes that holds `now`, or -1 */
    bool dense;       /* now is f32 [channels][z][y][x], whole */
    /* What waits: result i is element first + i of `now`, or backwards. */
    uint64_t first[3], size[3];
    bool flip[3];
    const mri_act *points[MRI_ACTS_MAX];
    unsigned n_points;
} mri_run;

/* One pass: a box of what `now` is after all that waits. */
typedef struct mri_move {
    uint64_t first[3]; /* of the box; below 0 wraps around: see padded */
    uint64_t size[3];
    uint64_t low[3], high[3]; /* results that are not padding */
    float pad;
    bool rows_join; /* rows follow one another in `now` and in the result */
} mri_move;

mr_err mri_run_no_memory(mri_run *r);
/* Nothing waits: `now` is what the acts have made so far. */
bool mri_run_idle(const mri_run *r);
/* A plane that `now` is not in; NULL: no memory. */
float *mri_run_plane(mri_run *r, const uint64_t size[3], int *which);
/* Nothing waits any more: `now` is `data`, dense f32 of the size given. */
void mri_run_becomes(mri_run *r, const void *data, const uint64_t size[3]);
/* Carry out what waits, into a plane; m says how much of it, and is used up. */
mr_err mri_run_settle(mri_run *r, mri_move *m);
mr_err mri_run_settle_all(mri_run *r);

/* Acts that look at neighbours; `end` is behind the last act. */
mr_err mri_run_resample(mri_run *r, mri_act *act, mri_act *end);
mr_err mri_run_blur(mri_run *r, const mri_act *act, const mri_act *end);

#endif
