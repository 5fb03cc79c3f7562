/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dino_file.h - what tests/parity/dino.py writes about a run of DINO into the
 * metadata of its files: the configuration and the schedule.
 */
#ifndef MR_DINO_FILE_H
#define MR_DINO_FILE_H

#include <mri/dino.h>
#include <mri/opt.h>
#include <mri/safetensors.h>

#include <stdio.h>
#include <stdlib.h>

static inline double
dino_file_number(const mri_st *st, const char *key)
{
    const char *text = mri_st_meta_get(st, key);
    double v;

    if (text == NULL || !mri_parse_f64(text, &v)) {
        (void)fprintf(stderr, "no number '%s'\n", key);
        exit(1);
    }
    return v;
}

static inline uint32_t
dino_file_whole(const mri_st *st, const char *key)
{
    return (uint32_t)dino_file_number(st, key);
}

static inline mri_dino_config
dino_file_config(const mri_st *st)
{
    mri_dino_config c = mri_dino_defaults();

    c.vit = (mri_vit){.channels = dino_file_whole(st, "channels"),
                      .patch = dino_file_whole(st, "patch"),
                      .dim = dino_file_whole(st, "dim"),
                      .depth = dino_file_whole(st, "depth"),
                      .heads = dino_file_whole(st, "heads"),
                      .image = dino_file_whole(st, "global_size"),
                      .drop_path = dino_file_number(st, "drop_path")};
    c.head_hidden = dino_file_whole(st, "head_hidden");
    c.bottleneck = dino_file_whole(st, "bottleneck");
    c.out_dim = dino_file_whole(st, "out_dim");
    c.norm_last_layer = dino_file_whole(st, "norm_last_layer") != 0;
    c.local_size = dino_file_whole(st, "local_size");
    c.local_count = dino_file_whole(st, "local_count");
    c.batch = dino_file_whole(st, "batch");
    return c;
}

static inline mri_dino_schedule
dino_file_schedule(const mri_st *st)
{
    mri_dino_schedule s =
        mri_dino_schedule_defaults(1, dino_file_whole(st, "batch"));

    s.lr = dino_file_number(st, "lr");
    s.steps = dino_file_whole(st, "steps");
    s.warmup = dino_file_whole(st, "warmup");
    s.momentum = dino_file_number(st, "momentum");
    s.freeze = dino_file_whole(st, "freeze");
    s.temperature = dino_file_number(st, "temperature");
    s.temperature_begin = dino_file_number(st, "temperature_begin");
    s.temperature_warmup = dino_file_whole(st, "temperature_warmup");
    return s;
}

#endif
