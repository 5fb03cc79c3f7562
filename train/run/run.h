/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.h - one training in progress: what its parts share.
 *
 * train.c opens everything and turns the wheel; network.c makes network,
 * schedule and stream out of keys; checkpoint.c saves and loads; record.c
 * writes metrics.jsonl and log.txt; plan.c says what it will cost.
 */
#ifndef MRI_RUN_RUN_H
#define MRI_RUN_RUN_H

#include "config.h"
#include "record.h"

#include <millrace/train.h>

#include <mri/dataset.h>
#include <mri/dino.h>
#include <mri/weights.h>

typedef struct run {
    const mr_train_options *options;
    run_config config;
    mri_lock lock;
    run_record record;

    mr_stream *stream;
    const mri_backend *backend;
    mri_dino_config net;
    mri_dino_schedule schedule;
    mri_dino *dino;
    unsigned parts;
    bool decreed; /* parts are apart: train.deterministic */

    uint64_t step; /* that were made */
    /* Which checkpoint is best: the mean loss since the last one, if that
     * lies after the warm-up. */
    double best, sum;
    uint64_t summed;

    uint64_t damaged; /* rows that were replaced */
    float *norms;     /* [mri_dino_trained] */
} run;

/* ---- network.c ---- */

/* Open the stream that the keys ask for. */
MR_USE_RESULT mr_err run_open_stream(run *r, mr_diag *diag);
/* Network, schedule and back end, for what the stream gives. */
MR_USE_RESULT mr_err run_shape_network(run *r, mr_diag *diag);
MR_USE_RESULT mr_err run_open_network(run *r, mr_diag *diag);

/* ---- checkpoint.c ---- */

/*
 * At a step where one is due: write step-N, make `last`, and if it is the best
 * so far `best`, that file too, and let the oldest step-N go. In between (a
 * stop): write `last` alone, so that the next call goes on as if nothing had
 * been.
 *
 * errors  MR_EIO, MR_ENOMEM, MR_EDEVICE; then the earlier ones stand
 */
MR_USE_RESULT mr_err run_save(run *r, bool due, mr_train_report *report,
                              mr_diag *diag);
/*
 * Go on from `last`, if there is one; else draw the first weights.
 *
 * errors  MR_EARG      another configuration or another stream: named
 *         MR_ECORRUPT  the file is damaged
 */
MR_USE_RESULT mr_err run_load(run *r, mr_train_report *report, mr_diag *diag);

/* ---- plan.c ---- */

/* errors  MR_ENOMEM  it cannot fit into this machine */
MR_USE_RESULT mr_err run_check_memory(const run *r, mr_diag *diag);
/* Measure, estimate, and tell. */
MR_USE_RESULT mr_err run_plan(run *r, mr_diag *diag);

#endif
