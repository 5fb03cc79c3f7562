/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - the keys of a recipe: one table for files, --set, the resolved
 * config.yaml, the checkpoint's memory of them, and the list for people.
 */
#ifndef MRI_RUN_CONFIG_H
#define MRI_RUN_CONFIG_H

#include <mri/bytes.h>
#include <mri/conf.h>
#include <mri/opt.h>

#define RUN_UNSET UINT64_MAX /* a whole number that nobody gave */

typedef enum run_damage { RUN_STOP, RUN_MASK } run_damage;

typedef struct run_config {
    uint64_t seed;

    const char *arch;
    uint64_t patch, dim, depth, heads; /* 0: those of arch */
    double drop_path;
    uint64_t head_hidden, bottleneck, out_dim;
    bool norm_last_layer;

    const char *split;
    mri_texts channels;
    const char *pipeline; /* canonical JSON once it is loaded; NULL: built in */
    uint64_t global_size, local_size, local_count;
    mri_texts global_scale, local_scale;
    int on_damage; /* run_damage */
    uint64_t stream_threads;

    uint64_t epochs, steps, batch_size;
    double lr, min_lr, weight_decay, weight_decay_end;
    double warmup_epochs, freeze_epochs;
    uint64_t warmup_steps, freeze_steps;
    double momentum, center_momentum;
    double student_temperature, teacher_temperature, teacher_temperature_begin;
    uint64_t teacher_temperature_epochs;
    double clip, beta1, beta2;
    uint64_t checkpoint_every, keep;
    const char *device, *precision;
    uint64_t threads, virtual_workers;
    bool deterministic;

    mri_opt *keys;    /* the table, pointing into this struct */
    mri_texts owned;  /* texts that were made */
    mri_conf *recipe; /* the file that was read, or NULL */
    char *pipeline_text;
} run_config;

/*
 * Defaults, then the recipe, then --set.
 *
 * owner   in any case: run_config_release
 * errors  MR_EARG  a key or a value: file, line and column, or the --set
 */
MR_USE_RESULT mr_err run_config_load(run_config *c, const char *recipe,
                                     const char *const *set, size_t count,
                                     mr_diag *diag);
void run_config_release(run_config *c);

/* The value as one text, numbers in the shortest form that reads back. */
bool run_config_text(const mri_opt *key, mri_bytes *out);
/* What the run is, apart from where and how it is computed: these may not
 * change at a resume. */
bool run_config_defines(const char *name);
/* The whole as YAML that is a recipe again. */
bool run_config_yaml(const run_config *c, mri_bytes *out);

#endif
