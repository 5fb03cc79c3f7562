/* SPDX-License-Identifier: Apache-2.0 */
/*
 * features_make.c - every sample of a dataset through a network, once.
 */
#include "eval_pipeline.h"
#include "features_own.h"
#include "features_rows.h"

#include <mri/alloc.h>
#include <mri/endpoint.h>
#include <mri/error.h>
#include <mri/opt.h>
#include <mri/weights.h>

#include <string.h>

#define RANDOM "random:"

typedef struct maker {
    const mri_features_options *o;
    mri_weights *weights; /* that say which network */
    bool random;
    uint64_t seed; /* if random */
    mr_dataset *ds;
    mri_selection split;
    char *source; /* the generation that was opened, by number */
    char *pipeline;
    mr_stream *stream;
    uint32_t side;
    mri_encoder *encoder;
    features_rows rows;
    mri_features *f;
} maker;

mri_features_options
mri_features_defaults(void)
{
    return (mri_features_options){
        .branch = "teacher", .split = "all", .batch = 32};
}

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* ------------------------------------------------------------ what is asked */

/* "random:7", and of which network: that of `like`. */
static mr_err
open_weights(maker *m, mr_diag *diag)
{
    const mri_features_options *o = m->o;
    const char *path = o->weights;

    if (strncmp(o->weights, RANDOM, strlen(RANDOM)) == 0) {
        m->random = true;
        path = o->like;
        if (!mri_parse_u64(o->weights + strlen(RANDOM), &m->seed)) {
            return mri_fail(diag, MRI_E_EVAL_WEIGHTS, MR_NOWHERE,
                            "'%.80s' is no random:SEED with a whole number",
                            o->weights);
        }
    }
    if (m->random == (o->like == NULL)) {
        return mri_fail(diag, MRI_E_EVAL_WEIGHTS, MR_NOWHERE,
                        m->random ? "'%.80s' does not say of which network"
                                  : "'%.80s' is a checkpoint, and says itself "
                                    "which network it is",
                        o->weights);
    }
    return mri_weights_open(&m->weights, path, diag);
}

static mr_err
open_source(maker *m, mr_diag *diag)
{
    mri_dataset_facts facts;
    mri_bytes text = {0};
    mr_err err;

    if (mri_is_endpoint(m->o->source)) {
        return mri_fail(diag, MRI_E_EVAL_SOURCE, MR_NOWHERE,
                        "'%.120s' is a server: keys and groups stay with the "
                        "dataset",
                        m->o->source);
    }
    err = mr_dataset_open(&m->ds, m->o->source, diag);
    if (err == MR_OK) {
        err = mri_selection_open(&m->split, m->ds, m->o->split, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    /* What is streamed is what was opened, whatever is committed now. */
    mri_dataset_facts_of(m->ds, &facts);
    if (!mri_bytes_text(&text, "%s@%llu", facts.dir,
                        (unsigned long long)mr_dataset_generation(m->ds))) {
        mri_bytes_release(&text);
        return no_memory(diag);
    }
    m->source = (char *)text.data;
    return MR_OK;
}

static mr_err
choose_pipeline(maker *m, mr_diag *diag)
{
    const mri_weights_info *info = mri_weights_info_of(m->weights);

    if (m->o->pipeline != NULL) {
        return MR_OK;
    }
    if (info->pipeline == NULL) {
        return mri_fail(diag, MRI_E_EVAL_PIPELINE, MR_NOWHERE,
                        "the checkpoint does not say what its network was "
                        "shown");
    }
    return mri_eval_pipeline(&m->pipeline, info->pipeline, info->vit.image,
                             diag);
}

/* ------------------------------------------------------------- does it fit */

static mr_err
check_channels(const maker *m, mr_diag *diag)
{
    const mri_weights_info *info = mri_weights_info_of(m->weights);
    uint32_t n = mr_stream_channels(m->stream);

    for (uint32_t i = 0; info->channels != NULL && i < n; i++) {
        const char *name = mr_stream_channel_name(m->stream, i);

        if (i < info->vit.channels && strcmp(name, info->channels[i]) != 0) {
            return mri_fail(diag, MRI_E_EVAL_FIT, MR_NOWHERE,
                            "channel %u is '%.60s', the network was trained "
                            "with '%.60s' there",
                            i, name, info->channels[i]);
        }
    }
    return MR_OK;
}

static mr_err
check_pictures(maker *m, mr_diag *diag)
{
    const mri_vit *v = &mri_weights_info_of(m->weights)->vit;
    const mr_stream_tensor *t = NULL;

    for (size_t i = 0; i < mr_stream_tensors(m->stream); i++) {
        const mr_stream_tensor *x = mr_stream_tensor_at(m->stream, i);

        t = strcmp(x->name, "image") == 0 ? x : t;
    }
    if (t == NULL || t->rank != 3 || t->dtype != MR_F32 ||
        t->shape[1] != t->shape[2]) {
        return mri_fail(diag, MRI_E_EVAL_FIT, MR_NOWHERE,
                        "the pipeline does not give square pictures of f32 "
                        "called image");
    }
    if (t->shape[0] != v->channels) {
        return mri_fail(diag, MRI_E_EVAL_FIT, MR_NOWHERE,
                        "the pictures have %llu channels, the network takes "
                        "%u",
                        (unsigned long long)t->shape[0], v->channels);
    }
    if (t->shape[1] % v->patch != 0 || t->shape[1] / v->patch > 256) {
        return mri_fail(diag, MRI_E_EVAL_FIT, MR_NOWHERE,
                        "pictures of %llu pixels are not 1 to 256 patches of "
                        "%u",
                        (unsigned long long)t->shape[1], v->patch);
    }
    m->side = (uint32_t)t->shape[1];
    return check_channels(m, diag);
}

/* ---------------------------------------------------------------- opening */

static mr_err
open_stream(maker *m, mr_diag *diag)
{
    mr_stream_options o = mr_stream_defaults();
    char *in_force;
    mr_err err;

    o.source = m->source;
    o.split = m->o->split;
    o.pipeline = m->pipeline != NULL ? m->pipeline : m->o->pipeline;
    o.pipeline_bytes = m->pipeline != NULL ? 0 : m->o->pipeline_bytes;
    o.batch_size = m->o->batch;
    o.order = MR_ORDER_UID;
    o.threads = m->o->threads;
    o.watch = m->o->watch;
    err = mr_stream_open(&m->stream, &o, diag);
    if (err == MR_OK) {
        err = eval_pipeline_in_force(&in_force, m->stream, diag);
    }
    if (err == MR_OK) {
        m->f->t.from.pipeline = features_keep(m->f, in_force);
        err = check_pictures(m, diag);
    }
    return err;
}

static mr_err
open_encoder(maker *m, mr_diag *diag)
{
    const mri_crew_options o = {.backend = m->o->backend,
                                .threads = m->o->threads,
                                .device = m->o->device,
                                .parts = 1};
    mr_err err =
        mri_encoder_open(&m->encoder, &mri_weights_info_of(m->weights)->vit,
                         m->side, m->o->batch, &o, diag);

    if (err != MR_OK) {
        return err;
    }
    return m->random
               ? mri_params_draw(mri_encoder_store(m->encoder), m->seed, diag)
               : mri_weights_load(m->weights, mri_encoder_store(m->encoder),
                                  m->o->branch, diag);
}

static mr_err
open_all(maker *m, mr_diag *diag)
{
    mr_err err = open_weights(m, diag);

    if (err == MR_OK) {
        err = open_source(m, diag);
    }
    if (err == MR_OK) {
        err = choose_pipeline(m, diag);
    }
    if (err == MR_OK) {
        err = open_stream(m, diag);
    }
    if (err == MR_OK) {
        err = open_encoder(m, diag);
    }
    if (err == MR_OK) {
        err =
            features_rows_open(&m->rows, m->f, &m->split,
                               mri_weights_info_of(m->weights)->vit.dim, diag);
    }
    return err;
}

static void
release(maker *m)
{
    features_rows_release(&m->rows);
    mri_selection_release(&m->split);
    mri_encoder_close(m->encoder);
    mr_stream_close(m->stream);
    mr_dataset_close(m->ds);
    mri_weights_close(m->weights);
    mri_free(m->pipeline);
    mri_free(m->source);
}

/* ------------------------------------------------------------------ the run */

static bool
told(const maker *m, uint64_t done)
{
    const mr_watch *watch = m->o->watch;
    mr_progress now = {
        .unit = "images", .done = done, .total = mr_stream_samples(m->stream)};

    if (watch == NULL) {
        return true;
    }
    if (watch->progress != NULL) {
        watch->progress(watch->user, &now);
    }
    return watch->stop == NULL || !watch->stop(watch->user);
}

static mr_err
run_batch(maker *m, const mr_batch *b, mr_diag *diag)
{
    uint64_t first = mr_batch_index(b) * m->o->batch;
    uint64_t rows = mr_batch_valid_rows(b);
    const mr_tensor *image = mr_batch_tensor(b, "image");
    const mr_tensor *uid = mr_batch_tensor(b, "uid");
    mr_err err = mri_encoder_run(m->encoder, image->data, rows,
                                 m->rows.features + first * m->rows.dim, diag);

    return err == MR_OK
               ? features_rows_fill(&m->rows, first, rows, uid->data, diag)
               : err;
}

static mr_err
run_all(maker *m, mr_diag *diag)
{
    uint64_t batches = mr_stream_batches(m->stream);
    mr_err err = MR_OK;

    for (uint64_t i = 0; err == MR_OK && i < batches; i++) {
        mr_batch *b;

        err = mr_stream_next(m->stream, &b, diag);
        if (err == MR_OK) {
            err = run_batch(m, b, diag);
            mr_batch_unref(b);
        }
        if (err == MR_OK && !told(m, m->rows.done)) {
            err = mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
        }
    }
    return err;
}

static mr_err
set_origin(maker *m, mr_diag *diag)
{
    const mri_weights_info *info = mri_weights_info_of(m->weights);
    mri_feature_origin *from = &m->f->t.from;

    from->random = m->random;
    from->hash = features_keep(m->f, mri_strdup(mri_weights_hash(m->weights)));
    from->arch = features_keep(m->f, mri_strdup(info->arch));
    from->branch = features_keep(m->f, mri_strdup(m->o->branch));
    from->split = features_keep(m->f, mri_strdup(m->split.name));
    from->seed = m->random ? m->seed : info->seed;
    from->step = m->random ? 0 : info->step;
    from->generation = mr_dataset_generation(m->ds);
    memcpy(from->content_id, mr_dataset_content_id(m->ds), 16);
    return from->hash != NULL && from->arch != NULL && from->branch != NULL &&
                   from->split != NULL
               ? MR_OK
               : no_memory(diag);
}

mr_err
mri_features_make(mri_features **out, const mri_features_options *o,
                  mr_diag *diag)
{
    maker m = {.o = o, .f = features_new()};
    mr_err err = m.f != NULL ? MR_OK : no_memory(diag);

    *out = NULL;
    if (err == MR_OK && strcmp(o->branch, "teacher") != 0 &&
        strcmp(o->branch, "student") != 0) {
        err = mri_fail(diag, MRI_E_EVAL_WEIGHTS, MR_NOWHERE,
                       "a checkpoint has a teacher and a student, no '%.40s'",
                       o->branch);
    }
    if (err == MR_OK) {
        err = open_all(&m, diag);
    }
    if (err == MR_OK) {
        err = run_all(&m, diag);
    }
    if (err == MR_OK) {
        err = features_rows_end(&m.rows, diag);
    }
    if (err == MR_OK) {
        err = set_origin(&m, diag);
    }
    if (err == MR_OK) {
        err = features_check(&m.f->t, diag);
    }
    release(&m);
    if (err != MR_OK) {
        mri_features_close(m.f);
        return err;
    }
    *out = m.f;
    return MR_OK;
}
