/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_keys.c - the table of keys, and their defaults: the published run's
 * (docs/training.md says whose).
 */
#include "keys.h"

#include <mri/alloc.h>

#include <stdio.h>
#include <string.h>

void
run_config_defaults(run_config *c)
{
    *c = (run_config){.arch = "vit_small",
                      .drop_path = 0.1,
                      .head_hidden = 2048,
                      .bottleneck = 256,
                      .out_dim = 65536,
                      .norm_last_layer = true,
                      .split = "train",
                      .global_size = 224,
                      .local_size = 96,
                      .local_count = 8,
                      .epochs = 101,
                      .batch_size = 30,
                      .lr = 5e-4,
                      .min_lr = 1e-6,
                      .weight_decay = 0.04,
                      .weight_decay_end = 0.4,
                      .warmup_epochs = 10,
                      .freeze_epochs = 1,
                      .warmup_steps = RUN_UNSET,
                      .freeze_steps = RUN_UNSET,
                      .momentum = 0.996,
                      .center_momentum = 0.9,
                      .student_temperature = 0.1,
                      .teacher_temperature = 0.04,
                      .teacher_temperature_begin = 0.04,
                      .clip = 3,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .keep = 3,
                      .device = "cpu",
                      .precision = "f32"};
}

/* The order is that of config.yaml. */
mri_opt *
run_config_table(run_config *c)
{
    const mri_opt keys[] = {
        {MRI_OPT_U64, 0, "seed", &c->seed, "N",
         "order, crops, first weights: everything random", false},
        {MRI_OPT_TEXT, 0, "model.arch", &c->arch, "NAME",
         "vit_tiny, vit_small or vit_base", false},
        {MRI_OPT_U64, 0, "model.patch", &c->patch, "PIXELS",
         "side of a patch (0: 16)", false},
        {MRI_OPT_U64, 0, "model.dim", &c->dim, "N",
         "width, in place of the arch's", false},
        {MRI_OPT_U64, 0, "model.depth", &c->depth, "N",
         "blocks, in place of the arch's", false},
        {MRI_OPT_U64, 0, "model.heads", &c->heads, "N",
         "attention heads, in place of the arch's", false},
        {MRI_OPT_F64, 0, "model.drop_path", &c->drop_path, "P",
         "chance that the student's last block is left out", false},
        {MRI_OPT_U64, 0, "model.head_hidden", &c->head_hidden, "N",
         "width of the head's hidden layers", false},
        {MRI_OPT_U64, 0, "model.bottleneck", &c->bottleneck, "N",
         "width of the head's last hidden layer", false},
        {MRI_OPT_U64, 0, "model.out_dim", &c->out_dim, "N",
         "outputs of the head", false},
        {MRI_OPT_FLAG, 0, "model.norm_last_layer", &c->norm_last_layer,
         "true|false", "keep the gain of the head's last layer at 1", false},
        {MRI_OPT_TEXT, 0, "data.split", &c->split, "NAME",
         "samples to train on; fold0+fold1, '!fold2'; all: every one", false},
        {MRI_OPT_LIST, 0, "data.channels", &c->channels, "NAMES",
         "channels of the built-in pipeline, by name or number (all)", false},
        {MRI_OPT_TEXT, 0, "data.pipeline", &c->pipeline, "FILE|LIST",
         "your own augmentation in place of the built-in one", false},
        {MRI_OPT_U64, 0, "data.global_size", &c->global_size, "PIXELS",
         "side of the two global crops of the built-in pipeline", false},
        {MRI_OPT_LIST, 0, "data.global_scale", &c->global_scale, "LOW,HIGH",
         "their area as a share of the picture (0.4,1)", false},
        {MRI_OPT_U64, 0, "data.local_size", &c->local_size, "PIXELS",
         "side of its local crops", false},
        {MRI_OPT_U64, 0, "data.local_count", &c->local_count, "N",
         "how many there are", false},
        {MRI_OPT_LIST, 0, "data.local_scale", &c->local_scale, "LOW,HIGH",
         "their area as a share of the picture (0.05,0.4)", false},
        {MRI_OPT_CHOICE, 0, "data.on_damage", &c->on_damage, "stop|mask",
         "a record nobody can read: stop, or take another row twice", false},
        {MRI_OPT_U64, 0, "data.threads", &c->stream_threads, "N",
         "threads that decode and augment (0: one a CPU)", false},
        {MRI_OPT_U64, 0, "train.epochs", &c->epochs, "N",
         "how often every sample is seen", false},
        {MRI_OPT_U64, 0, "train.steps", &c->steps, "N",
         "length in steps, in place of epochs", false},
        {MRI_OPT_U64, 0, "train.batch_size", &c->batch_size, "N",
         "samples of a step", false},
        {MRI_OPT_F64, 0, "train.lr", &c->lr, "RATE",
         "peak learning rate for 256 samples a step; scaled by batch_size",
         false},
        {MRI_OPT_F64, 0, "train.min_lr", &c->min_lr, "RATE",
         "where the cosine ends", false},
        {MRI_OPT_F64, 0, "train.weight_decay", &c->weight_decay, "W",
         "at the beginning", false},
        {MRI_OPT_F64, 0, "train.weight_decay_end", &c->weight_decay_end, "W",
         "at the end, by a cosine", false},
        {MRI_OPT_F64, 0, "train.warmup_epochs", &c->warmup_epochs, "N",
         "the learning rate rises from 0", false},
        {MRI_OPT_U64, 0, "train.warmup_steps", &c->warmup_steps, "N",
         "the same in steps", false},
        {MRI_OPT_F64, 0, "train.freeze_epochs", &c->freeze_epochs, "N",
         "the head's last layer is not trained at first", false},
        {MRI_OPT_U64, 0, "train.freeze_steps", &c->freeze_steps, "N",
         "the same in steps", false},
        {MRI_OPT_F64, 0, "train.momentum", &c->momentum, "M",
         "of the teacher at the beginning; a cosine takes it to 1", false},
        {MRI_OPT_F64, 0, "train.center_momentum", &c->center_momentum, "M",
         "of the center of the teacher's outputs", false},
        {MRI_OPT_F64, 0, "train.student_temperature", &c->student_temperature,
         "T", "divides the student's outputs", false},
        {MRI_OPT_F64, 0, "train.teacher_temperature", &c->teacher_temperature,
         "T", "divides the teacher's outputs, after the warm-up", false},
        {MRI_OPT_F64, 0, "train.teacher_temperature_begin",
         &c->teacher_temperature_begin, "T", "before it", false},
        {MRI_OPT_U64, 0, "train.teacher_temperature_epochs",
         &c->teacher_temperature_epochs, "N", "length of that warm-up", false},
        {MRI_OPT_F64, 0, "train.clip", &c->clip, "NORM",
         "largest gradient of a tensor; 0: any", false},
        {MRI_OPT_F64, 0, "train.beta1", &c->beta1, "B", "of AdamW", false},
        {MRI_OPT_F64, 0, "train.beta2", &c->beta2, "B", "of AdamW", false},
        {MRI_OPT_U64, 0, "train.checkpoint_every", &c->checkpoint_every,
         "STEPS", "0: once an epoch", false},
        {MRI_OPT_U64, 0, "train.keep", &c->keep, "N",
         "step-N checkpoints that stay; last and best stay besides", false},
        {MRI_OPT_TEXT, 0, "train.device", &c->device, "NAME",
         "cpu, cuda:0, ...; ref computes slowly, in float64", false},
        {MRI_OPT_U64, 0, "train.threads", &c->threads, "N",
         "threads that compute (0: one a CPU)", false},
        {MRI_OPT_TEXT, 0, "train.precision", &c->precision, "f32",
         "of weights and activations", false},
        {MRI_OPT_FLAG, 0, "train.deterministic", &c->deterministic,
         "true|false", "weights do not depend on the number of threads", false},
        {MRI_OPT_U64, 0, "train.virtual_workers", &c->virtual_workers, "N",
         "parts that a step is cut into: less memory (0: 1, deterministic 8)",
         false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_opt *table = mri_alloc(MRI_COUNT(keys), sizeof *table);

    if (table != NULL) {
        memcpy(table, keys, sizeof keys);
    }
    return table;
}

/* Where and how a run is computed may change from one call to the next. */
bool
run_config_defines(const char *name)
{
    static const char *const free_ones[] = {
        "data.on_damage", "data.threads", "train.checkpoint_every",
        "train.keep",     "train.device", "train.threads",
    };

    for (size_t i = 0; i < MRI_COUNT(free_ones); i++) {
        if (strcmp(name, free_ones[i]) == 0) {
            return false;
        }
    }
    return true;
}

bool
mr_train_key_at(size_t i, mr_train_key *out)
{
    static _Thread_local char initial[64];
    run_config c;
    mri_bytes text = {0};
    bool ok;

    run_config_defaults(&c);
    c.keys = run_config_table(&c);
    for (size_t k = 0; c.keys != NULL && k < i; k++) {
        if (c.keys[k].kind == MRI_OPT_END) {
            i = k;
        }
    }
    ok = c.keys != NULL && c.keys[i].kind != MRI_OPT_END &&
         run_config_text(&c.keys[i], &text) && mri_bytes_add(&text, "", 1);
    if (ok) {
        (void)snprintf(initial, sizeof initial, "%s", (char *)text.data);
        *out = (mr_train_key){c.keys[i].long_name, c.keys[i].arg, initial,
                              c.keys[i].help};
    }
    mri_bytes_release(&text);
    mri_free(c.keys);
    return ok;
}
