/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - what a run writes for people and programs as it goes: log.txt,
 * and metrics.jsonl with one object a step.
 */
#ifndef MRI_RUN_RECORD_H
#define MRI_RUN_RECORD_H

#include <mri/bytes.h>
#include <mri/dino.h>

typedef struct run_record {
    char *log_path, *metrics_path;
    int log, metrics;            /* descriptors */
    uint64_t log_at, metrics_at; /* where they end */
} run_record;

/*
 * Open both in a run's folder. Of metrics.jsonl what lies behind `step` is
 * cut off: a run that was killed wrote of steps that will be made again.
 *
 * errors  MR_EIO, MR_ENOMEM; run_record_close in any case
 */
MR_USE_RESULT mr_err run_record_open(run_record *r, const char *dir,
                                     uint64_t step, mr_diag *diag);
void run_record_close(run_record *r);

/* A line with the time before it. Trouble with the log is no reason to stop:
 * it is said once through mri_say. Never a key of a sample. */
void run_log(run_record *r, const char *fmt, ...) MRI_PRINTF(2, 3);

typedef struct run_metrics {
    uint64_t step, epoch;
    double loss;
    mri_dino_rates rates;
    double grad_norm;   /* of all gradients, before clipping */
    uint64_t clipped;   /* tensors whose gradient was clipped */
    uint64_t batch;     /* samples */
    double wait, total; /* seconds: for data, in all */
    /* Rows that nobody could read and another took the place of. */
    const char *damaged; /* JSON array of uids, or NULL */
} run_metrics;

/* errors  MR_EIO  the disk is full: the run must stop */
MR_USE_RESULT mr_err run_record_step(run_record *r, const run_metrics *m,
                                     mr_diag *diag);

#endif
