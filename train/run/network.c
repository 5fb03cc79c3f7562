/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network.c - from keys to a stream, and from what the stream gives to a
 * network and its schedule.
 */
#include "run.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/json.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the built-in pipeline: scDINO's, with tensor crops ---- */

static void
put_crops(mri_json *j, const char *name, uint64_t count, uint64_t size,
          const double scale[2])
{
    mri_json_key(j, name);
    mri_json_object(j);
    mri_json_put_u64(j, "count", count);
    mri_json_put_u64(j, "size", size);
    mri_json_key(j, "scale");
    mri_json_array(j);
    mri_json_f64(j, scale[0]);
    mri_json_f64(j, scale[1]);
    mri_json_end(j);
    mri_json_end(j);
}

static void
put_op(mri_json *j, const char *json)
{
    mri_json_raw(j, json);
}

/* Chances by view: the second global crop differs from the first. */
static void
put_augmentation(mri_json *j, bool locals)
{
    put_op(j, "{\"flip\":{\"horizontal\":0.5,\"vertical\":0.5}}");
    put_op(j, "{\"brightness\":{\"p\":0.8}}");
    put_op(j, locals ? "{\"blur\":{\"p\":{\"global\":[1.0,0.1],\"local\":0.5}}}"
                     : "{\"blur\":{\"p\":{\"global\":[1.0,0.1],\"local\":0}}}");
    put_op(j, "{\"solarize\":{\"p\":{\"global\":[0,0.2],\"local\":0}}}");
}

/* By train's mean and deviation, or by those of the splits that are named. */
static void
put_normalize(mri_json *j, const char *split)
{
    mri_json_object(j);
    mri_json_key(j, "normalize");
    mri_json_object(j);
    mri_json_put_text(j, "from", "dataset");
    if (split != NULL) {
        mri_json_put_text(j, "split", split);
    }
    mri_json_end(j);
    mri_json_end(j);
}

static mr_err
read_scale(const run_config *c, const char *name, const mri_texts *list,
           double out[2], mr_diag *diag)
{
    (void)c;
    if (list->count == 0) {
        return MR_OK; /* the default */
    }
    if (list->count != 2 || !mri_parse_f64(list->at[0], &out[0]) ||
        !mri_parse_f64(list->at[1], &out[1])) {
        return mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                        "%s: expected two numbers: low,high", name);
    }
    return MR_OK;
}

static mr_err
built_in_pipeline(const run_config *c, const char *split, mri_json *j,
                  mr_diag *diag)
{
    double global[2] = {0.4, 1}, local[2] = {0.05, 0.4};
    mr_err err =
        read_scale(c, "data.global_scale", &c->global_scale, global, diag);

    if (err == MR_OK) {
        err = read_scale(c, "data.local_scale", &c->local_scale, local, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    mri_json_array(j);
    if (c->channels.count != 0) {
        mri_json_object(j);
        mri_json_key(j, "select");
        mri_json_object(j);
        mri_json_key(j, "channels");
        mri_json_array(j);
        for (size_t i = 0; i < c->channels.count; i++) {
            mri_json_text(j, c->channels.at[i]);
        }
        mri_json_end(j);
        mri_json_end(j);
        mri_json_end(j);
    }
    put_op(j, "{\"minmax\":{\"per\":\"channel\"}}");
    mri_json_object(j);
    mri_json_key(j, "multi_crop");
    mri_json_object(j);
    put_crops(j, "global", 2, c->global_size, global);
    put_crops(j, "local", c->local_count, c->local_size, local);
    mri_json_put_bool(j, "antialias", false);
    mri_json_end(j);
    mri_json_end(j);
    put_augmentation(j, c->local_count != 0);
    put_normalize(j, split);
    mri_json_end(j);
    return MR_OK;
}

/* Lines and columns of a text that the user never saw mean nothing: neither
 * of the built-in one nor of a recipe's, which comes here as one line. */
static void
blame(mr_diag *diag, const char *pipeline)
{
    char text[sizeof diag->text];

    if (diag->code >= MRI_E_PIPE_OP && diag->code <= MRI_E_STREAM_SHAPES) {
        const char *what = strstr(diag->text, ": ");

        what = strncmp(diag->text, "line ", 5) == 0 && what != NULL
                   ? what + 2
                   : diag->text;
        (void)snprintf(text, sizeof text, "%s: %.480s", pipeline, what);
        memcpy(diag->text, text, sizeof text);
    }
}

static mr_err
open_built_in(run *r, mr_stream_options *o, const char *split, mr_diag *diag)
{
    mri_json j = {0};
    mr_err err = built_in_pipeline(&r->config, split, &j, diag);

    o->pipeline = err == MR_OK ? mri_json_done(&j) : NULL;
    if (err == MR_OK && o->pipeline == NULL) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    if (err == MR_OK) {
        err = mr_stream_open(&r->stream, o, diag);
    }
    mri_json_release(&j);
    return err;
}

mr_err
run_open_stream(run *r, mr_diag *diag)
{
    const run_config *c = &r->config;
    mr_stream_options o = mr_stream_defaults();
    mr_diag why = {0};
    mr_err err;

    o.pipeline = c->pipeline;
    o.source = r->options->source;
    o.split = c->split;
    o.seed = c->seed;
    o.batch_size = (uint32_t)c->batch_size;
    o.tail = MR_TAIL_DROP; /* every step has a whole batch */
    o.threads = (uint32_t)c->stream_threads;
    o.on_damage = c->on_damage == RUN_MASK ? MR_DAMAGE_MASK : MR_DAMAGE_STOP;
    o.connect_ms = r->options->connect_ms;
    o.patience_ms = UINT32_MAX; /* servers that are away come back */
    o.watch = r->options->watch;
    err = c->pipeline != NULL ? mr_stream_open(&r->stream, &o, &why)
                              : open_built_in(r, &o, NULL, &why);
    if (err != MR_OK && c->pipeline == NULL &&
        why.code == MRI_E_PIPE_STATISTICS) {
        /* No split 'train', as in a dataset of folds: by what it trains on. */
        mri_diag_clear(&why);
        err = open_built_in(r, &o, c->split, &why);
    }
    if (err != MR_OK) {
        blame(&why,
              c->pipeline != NULL ? "data.pipeline" : "the built-in pipeline");
        if (diag != NULL) {
            *diag = why;
        }
    }
    return err;
}

/* ---- the network ---- */

static const mr_stream_tensor *
find_tensor(const mr_stream *s, const char *name)
{
    for (size_t i = 0; i < mr_stream_tensors(s); i++) {
        if (strcmp(mr_stream_tensor_at(s, i)->name, name) == 0) {
            return mr_stream_tensor_at(s, i);
        }
    }
    return NULL;
}

static bool
is_square(const mr_stream_tensor *t)
{
    return t->dtype == MR_F32 && t->rank == 4 && t->shape[2] == t->shape[3] &&
           t->shape[3] <= UINT32_MAX;
}

/* Sizes of crops and number of channels are what the stream says. */
static mr_err
take_crops(run *r, mr_diag *diag)
{
    const mr_stream_tensor *global = find_tensor(r->stream, "global");
    const mr_stream_tensor *local = find_tensor(r->stream, "local");

    if (global == NULL) {
        return mri_fail(diag, MRI_E_RUN_STREAM, MR_NOWHERE,
                        "the pipeline has no multi_crop, so there are no "
                        "crops to compare");
    }
    if (!is_square(global) || global->shape[0] != 2) {
        return mri_fail(diag, MRI_E_RUN_STREAM, MR_NOWHERE,
                        "the global crops are %llu of %s, %llu x %llu pixels: "
                        "dino takes 2, square, f32",
                        (unsigned long long)global->shape[0],
                        mr_dtype_name(global->dtype),
                        (unsigned long long)global->shape[global->rank - 2],
                        (unsigned long long)global->shape[global->rank - 1]);
    }
    if (local != NULL && !is_square(local)) {
        return mri_fail(diag, MRI_E_RUN_STREAM, MR_NOWHERE,
                        "the local crops are no square pictures of f32");
    }
    r->net.vit.channels = (uint32_t)global->shape[1];
    r->net.vit.image = (uint32_t)global->shape[3];
    r->net.local_count = local != NULL ? (uint32_t)local->shape[0] : 0;
    r->net.local_size = local != NULL ? (uint32_t)local->shape[3] : 0;
    return MR_OK;
}

static void
take_over(uint32_t *to, uint64_t from)
{
    if (from != 0) {
        *to = from < UINT32_MAX ? (uint32_t)from : UINT32_MAX;
    }
}

static mr_err
take_model(run *r, mr_diag *diag)
{
    const run_config *c = &r->config;
    mri_dino_config *n = &r->net;

    if (!mri_vit_named(&n->vit, c->arch)) {
        return mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                        "model.arch cannot be '%.40s': expected vit_tiny, "
                        "vit_small or vit_base",
                        c->arch);
    }
    take_over(&n->vit.patch, c->patch);
    take_over(&n->vit.dim, c->dim);
    take_over(&n->vit.depth, c->depth);
    take_over(&n->vit.heads, c->heads);
    n->vit.drop_path = c->drop_path;
    n->head_hidden = (uint32_t)c->head_hidden;
    n->bottleneck = (uint32_t)c->bottleneck;
    n->out_dim = (uint32_t)c->out_dim;
    n->norm_last_layer = c->norm_last_layer;
    n->batch = n->total = (uint32_t)c->batch_size;
    n->student_temperature = c->student_temperature;
    n->center_keep = c->center_momentum;
    n->adamw.clip = c->clip;
    n->adamw.beta1 = c->beta1;
    n->adamw.beta2 = c->beta2;
    return MR_OK;
}

static uint64_t
in_steps(uint64_t steps, double epochs, uint64_t epoch)
{
    return steps != RUN_UNSET ? steps : (uint64_t)rint(epochs * (double)epoch);
}

static mr_err
take_schedule(run *r, mr_diag *diag)
{
    const run_config *c = &r->config;
    uint64_t epoch = mr_stream_batches(r->stream);
    mri_dino_schedule *s = &r->schedule;

    *s = mri_dino_schedule_defaults(epoch, (uint32_t)c->batch_size);
    s->steps = c->steps;
    if (c->steps == 0 && !mri_mul(c->epochs, epoch, &s->steps)) {
        return mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                        "train.epochs: %llu of %llu steps are too many",
                        (unsigned long long)c->epochs,
                        (unsigned long long)epoch);
    }
    s->lr = c->lr;
    s->min_lr = c->min_lr;
    s->decay = c->weight_decay;
    s->decay_end = c->weight_decay_end;
    s->momentum = c->momentum;
    s->temperature = c->teacher_temperature;
    s->temperature_begin = c->teacher_temperature_begin;
    s->temperature_warmup = c->teacher_temperature_epochs;
    s->warmup = in_steps(c->warmup_steps, c->warmup_epochs, epoch);
    s->freeze = in_steps(c->freeze_steps, c->freeze_epochs, epoch);
    return MR_OK;
}

/* Parts that a step is cut into. */
static mr_err
take_parts(run *r, mr_diag *diag)
{
    const run_config *c = &r->config;
    uint64_t most = c->deterministic ? 8 : 1;

    r->decreed = c->deterministic;
    if (c->virtual_workers == 0) { /* the most that divides the batch */
        while (c->batch_size % most != 0) {
            most--;
        }
        r->parts = (unsigned)most;
        return MR_OK;
    }
    if (c->batch_size % c->virtual_workers != 0) {
        return mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                        "train.virtual_workers: %llu do not divide a batch of "
                        "%llu",
                        (unsigned long long)c->virtual_workers,
                        (unsigned long long)c->batch_size);
    }
    r->parts = (unsigned)c->virtual_workers;
    return MR_OK;
}

/* "cpu", "cuda:1" */
static mr_err
find_device(run *r, unsigned *device, mr_diag *diag)
{
    const char *text = r->config.device;
    size_t n = strcspn(text, ":");
    uint64_t number = 0;
    char name[16];

    if (n >= sizeof name ||
        (text[n] == ':' && (!mri_parse_u64(text + n + 1, &number) ||
                            number > 1023 || strncmp(text, "cuda", n) != 0))) {
        return mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                        "train.device cannot be '%.40s': expected cpu, cuda or "
                        "cuda:N",
                        text);
    }
    memcpy(name, text, n);
    name[n] = '\0';
    *device = (unsigned)number;
    return mri_backend_find(&r->backend, name, r->options->lib, diag);
}

mr_err
run_shape_network(run *r, mr_diag *diag)
{
    mr_err err;

    r->net = mri_dino_defaults();
    err = take_model(r, diag);
    if (err == MR_OK) {
        err = take_crops(r, diag);
    }
    if (err == MR_OK) {
        err = mri_dino_check(&r->net, diag);
    }
    if (err == MR_OK) {
        err = take_schedule(r, diag);
    }
    return err == MR_OK ? take_parts(r, diag) : err;
}

mr_err
run_open_network(run *r, mr_diag *diag)
{
    mri_crew_options o = {.threads = (unsigned)r->config.threads,
                          .parts = r->parts,
                          .apart = r->decreed};
    mr_err err = find_device(r, &o.device, diag);

    o.backend = r->backend;
    if (err == MR_OK) {
        err = mri_dino_open(&r->dino, &r->net, &o, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    r->norms = mri_alloc(mri_dino_trained(r->dino), sizeof *r->norms);
    return r->norms != NULL
               ? MR_OK
               : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}
