/* SPDX-License-Identifier: Apache-2.0 */
/*
 * train.h - train a network from a stream, in a folder that holds all of it.
 *
 * A run's folder: config.yaml (every key as it was resolved), metrics.jsonl
 * (an object a step), log.txt, checkpoints/ (last, best, step-N; each one
 * safetensors file). The same call goes on where an earlier one was stopped
 * or killed; the weights at the end are those of a run that was left alone,
 * bit for bit, if the number of threads is the same or train.deterministic is
 * set. Keys: mr_train_keys.
 *
 *     mr_train_options o = mr_train_defaults();
 *     o.recipe = "dino";
 *     o.source = "cells.mr";
 *     o.out = "run1";
 *     mr_train_run(&o, &report, &diag);
 */
#ifndef MILLRACE_TRAIN_H
#define MILLRACE_TRAIN_H

#include <millrace/stream.h>

MR_BEGIN

/* What a step will cost; told of once, before the first. */
typedef struct mr_train_plan {
    const char *arch;
    uint32_t channels, patch;
    uint64_t params; /* of the student */
    uint64_t samples, batch_size, steps, steps_in_epoch;
    uint64_t done;   /* steps of an earlier call */
    uint64_t memory; /* bytes: weights, optimiser, gradients, activations */
    double flops;    /* of a step */
    double rate;     /* flop/s of a matrix product on this device now */
    double seconds;  /* about, for the steps that are left */
    const char *device;
    unsigned threads, parts;
    bool deterministic;
} mr_train_plan;

typedef struct mr_train_options {
    const char *recipe;     /* "dino", or a YAML file */
    const char *source;     /* as in mr_stream_options */
    const char *out;        /* the run's folder; its parent must exist */
    const char *const *set; /* [set_count] "train.lr=0.001" */
    size_t set_count;
    /* Folder of the modules of back ends: the build's or the prefix's
     * lib/millrace. NULL: only `cpu` can be had. */
    const char *lib;
    uint32_t connect_ms;   /* until a server answers; 0: 5,000 */
    const mr_watch *watch; /* a stop saves first: MR_ESTOP */
    void (*plan)(void *user, const mr_train_plan *plan); /* may be NULL */
    void *user;
} mr_train_options;

MR_API mr_train_options mr_train_defaults(void);

typedef struct mr_train_report {
    uint64_t steps, done;         /* of the run; of them before this call */
    uint64_t images;              /* samples trained on in this call */
    uint64_t damaged;             /* rows that were replaced */
    double first_loss, last_loss; /* means over up to 20 steps each */
    double seconds, wait_seconds; /* of this call; of them without data */
    char checkpoint[256];         /* the last one */
    char hash[17];                /* XXH3-64 of its tensors, hex */
} mr_train_report;

/*
 * owner   report holds what was done also when the call fails
 * errors  MR_EARG      a key, a value, a stream that does not fit the network
 *         MR_EBUSY     another process trains in that folder
 *         MR_ESTOP     watch->stop said so; everything is saved
 *         MR_ECORRUPT  the loss is no number, or a checkpoint is damaged
 *         MR_ENOMEM, MR_EDEVICE, MR_EIO, and those of mr_stream_open, _next
 */
MR_API MR_USE_RESULT mr_err mr_train_run(const mr_train_options *options,
                                         mr_train_report *report,
                                         mr_diag *diag);

/* The i-th key that a recipe may have; false beyond the last. */
typedef struct mr_train_key {
    const char *name, *arg, *initial, *help;
} mr_train_key;
MR_API bool mr_train_key_at(size_t i, mr_train_key *out);

MR_END

#endif
