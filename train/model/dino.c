/* SPDX-License-Identifier: Apache-2.0 */
/* dino.c - one training step, and the state between steps. */
#include "dino_inner.h"
#include "encode.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define LAST "last_layer" /* in the names of what is frozen at first */

/* Where a tensor of the state comes from. */
typedef enum home { HOME_STORE, HOME_MEAN, HOME_SQUARE } home;

typedef struct entry {
    char *name;
    home home;
    size_t at; /* in the store, or of the trained ones */
} entry;

struct mri_dino {
    mri_dino_config config;
    uint32_t parts, total;
    mri_graph *graph;
    mri_crew *crew;
    mri_params *store;
    mri_optim *optim;
    features features;
    mr_tensor center;
    uint64_t loss_at, sum_at; /* bytes, in the gradients */
    uint32_t *clocks;         /* [parts, 4] */
    const char *grads;        /* of the last step, on the device */
    entry *entries;
    size_t count;
};

/* ------------------------------------------------------------ opening */

static mr_err
add_entry(mri_dino *d, const char *prefix, const char *name, home from,
          size_t at)
{
    size_t bytes = strlen(prefix) + strlen(name) + 1;
    char *full = mri_alloc(bytes, 1);

    if (full == NULL) {
        return MR_ENOMEM;
    }
    (void)snprintf(full, bytes, "%s%s", prefix, name);
    d->entries[d->count++] = (entry){full, from, at};
    return MR_OK;
}

/* "backbone.x" of "student.backbone.x" */
static const char *
after_dot(const char *name)
{
    const char *dot = strchr(name, '.');

    return dot != NULL ? dot + 1 : name;
}

/* Student, teacher and center as the store has them, then the optimiser's;
 * of what is never trained there is no optimiser state. */
static mr_err
list_state(mri_dino *d, mr_diag *diag)
{
    size_t all = mri_params_count(d->store),
           trained = mri_optim_count(d->optim);
    mr_err err = MR_OK;

    d->entries = mri_alloc(all + 2 * trained, sizeof *d->entries);
    if (d->entries == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for names");
    }
    for (size_t i = 0; err == MR_OK && i < all; i++) {
        err =
            add_entry(d, "", mri_params_slot(d->store, i)->name, HOME_STORE, i);
    }
    for (int which = 0; which < 2; which++) {
        for (size_t i = 0; err == MR_OK && i < trained; i++) {
            const mri_slot *slot =
                mri_params_slot(d->store, mri_optim_at(d->optim, i));

            if (!slot->fixed) {
                err = add_entry(d, which == 0 ? "adam_m." : "adam_v.",
                                after_dot(slot->name),
                                which == 0 ? HOME_MEAN : HOME_SQUARE, i);
            }
        }
    }
    return err == MR_OK ? MR_OK
                        : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                                   "no memory for names");
}

/* The graph of one part, and what is found in it by name. */
static mr_err
build_graph(mri_dino *d, mr_diag *diag)
{
    mri_dino_config part = d->config;
    mr_err err = mri_graph_open(&d->graph, MR_F32, diag);

    part.batch /= d->parts;
    if (err == MR_OK) {
        err = dino_build_part(d->graph, &part, d->total, diag);
    }
    if (err == MR_OK) {
        d->loss_at = mri_graph_sum_at(d->graph, "loss");
        d->sum_at = mri_graph_sum_at(d->graph, "teacher_sum");
    }
    return err;
}

static mr_err
open_parts(mri_dino *d, const mri_crew_options *options, mr_diag *diag)
{
    mr_err err = mri_crew_open(&d->crew, options, diag);
    mri_exec *exec = err == MR_OK ? mri_crew_exec(d->crew) : NULL;

    if (err == MR_OK) {
        err = build_graph(d, diag);
    }
    if (err == MR_OK) {
        err = mri_params_open(&d->store, d->graph, exec, diag);
    }
    if (err == MR_OK) {
        err = mri_optim_open(&d->optim, d->store, exec, &d->config.adamw, diag);
    }
    if (err == MR_OK) {
        err = mri_crew_load(d->crew, d->graph, d->store, diag);
    }
    if (err == MR_OK) {
        err = list_state(d, diag);
    }
    if (err == MR_OK) {
        d->center =
            mri_params_tensor(d->store, mri_params_find(d->store, "center"));
    }
    return err;
}

mr_err
mri_dino_open(mri_dino **out, const mri_dino_config *c,
              const mri_crew_options *options, mr_diag *diag)
{
    uint32_t parts = options->parts != 0 ? options->parts : 1;
    mr_err err = mri_dino_check(c, diag);
    mri_dino *d;

    *out = NULL;
    if (err == MR_OK && c->batch % parts != 0) {
        err = mri_fail(diag, MRI_E_MODEL, MR_NOWHERE,
                       "a batch of %u cannot be cut into %u equal parts",
                       c->batch, parts);
    }
    if (err != MR_OK) {
        return err;
    }
    d = mri_alloc(1, sizeof *d);
    if (d == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for DINO");
    }
    d->config = *c;
    d->parts = parts;
    d->total = c->total != 0 ? c->total : c->batch;
    d->clocks = mri_alloc(parts, 4 * sizeof *d->clocks);
    err = d->clocks == NULL
              ? mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for DINO")
              : open_parts(d, options, diag);
    if (err != MR_OK) {
        mri_dino_close(d);
        return err;
    }
    *out = d;
    return MR_OK;
}

void
mri_dino_close(mri_dino *d)
{
    if (d == NULL) {
        return;
    }
    features_release(&d->features);
    mri_optim_close(d->optim);
    mri_params_close(d->store);
    mri_crew_close(d->crew);
    mri_graph_close(d->graph);
    for (size_t i = 0; i < d->count; i++) {
        mri_free(d->entries[i].name);
    }
    mri_free(d->entries);
    mri_free(d->clocks);
    mri_free(d);
}

mr_err
mri_dino_init(mri_dino *d, uint64_t seed, mr_diag *diag)
{
    return mri_params_draw(d->store, seed, diag);
}

/* ------------------------------------------------------------------ steps */

#define FEEDS 4

/* What each part gets: its samples, its clock, the temperature. */
static size_t
list_feeds(mri_dino *d, const mri_dino_batch *b, const float *temperature,
           mri_feed feeds[FEEDS])
{
    const mri_dino_config *c = &d->config;
    uint32_t part = c->batch / d->parts;
    uint64_t pixels = (uint64_t)c->vit.channels * sizeof(float);
    uint64_t big = 2 * pixels * c->vit.image * c->vit.image * part;
    uint64_t small =
        c->local_count * pixels * c->local_size * c->local_size * part;
    size_t n = 0;

    for (uint32_t i = 0; i < d->parts; i++) {
        uint32_t *clock = d->clocks + 4 * (size_t)i;

        clock[0] = (uint32_t)b->seed;
        clock[1] = (uint32_t)(b->seed >> 32);
        clock[2] = (uint32_t)b->step;
        clock[3] = b->first + i * part;
    }
    feeds[n++] = (mri_feed){"global", b->global, big, big};
    if (c->local_count != 0) {
        feeds[n++] = (mri_feed){"local", b->local, small, small};
    }
    feeds[n++] = (mri_feed){"clock", d->clocks, 4 * sizeof(uint32_t),
                            4 * sizeof(uint32_t)};
    feeds[n++] = (mri_feed){"temperature", temperature, sizeof(float), 0};
    return n;
}

static mr_err
moved(const mri_exec *exec, mr_err err, mr_diag *diag)
{
    if (err != MR_OK && diag != NULL) {
        *diag = exec->diag;
    }
    return err;
}

/* Forward and reverse; the gradients are in d->grads. */
static mr_err
run_crew(mri_dino *d, const mri_dino_batch *b, double temperature, double *loss,
         mr_diag *diag)
{
    mri_exec *exec = mri_crew_exec(d->crew);
    float heat = (float)temperature, value;
    mri_feed feeds[FEEDS];
    size_t count = list_feeds(d, b, &heat, feeds);
    void *grads = NULL;
    mr_err err = mri_crew_run(d->crew, feeds, count, &grads, diag);

    d->grads = grads;
    if (err != MR_OK) {
        return err;
    }
    err = exec->backend->get(exec, &value, d->grads + d->loss_at, sizeof value);
    if (err != MR_OK) {
        return moved(exec, err, diag);
    }
    if (!isfinite(value)) {
        err = mri_crew_hunt(d->crew, feeds, count, diag);
        return err != MR_OK ? err
                            : mri_fail(diag, MRI_E_NOT_FINITE, MR_NOWHERE,
                                       "step %" PRIu64 ": the loss is not "
                                       "finite, though every part of it is",
                                       b->step);
    }
    *loss = (double)value;
    return MR_OK;
}

static mr_err
move_center(mri_dino *d, mr_diag *diag)
{
    mri_exec *exec = mri_crew_exec(d->crew);
    mri_center_args a = {.center = d->center,
                         .sum = d->center,
                         .keep = d->config.center_keep,
                         .rows = 2 * (uint64_t)d->total};

    /* a view has no const of its own; the sum is only read */
    a.sum.data = (void *)(uintptr_t)(d->grads + d->sum_at);
    return moved(exec, exec->backend->ops->center(exec, &a), diag);
}

mr_err
mri_dino_step(mri_dino *d, const mri_dino_batch *b, const mri_dino_rates *r,
              double *loss, float *norms, mr_diag *diag)
{
    const mri_step_rates rates = {.lr = r->lr,
                                  .decay = r->decay,
                                  .keep = r->momentum,
                                  .frozen = r->freeze ? LAST : NULL};
    mr_err err = run_crew(d, b, r->temperature, loss, diag);

    if (err == MR_OK) {
        err = mri_optim_step(d->optim, d->grads, &rates, diag);
    }
    if (err == MR_OK) {
        err = move_center(d, diag);
    }
    if (err == MR_OK && norms != NULL) {
        err = mri_optim_norms(d->optim, norms, diag);
    }
    return err;
}

mr_err
mri_dino_loss(mri_dino *d, const mri_dino_batch *b, double temperature,
              double *loss, mr_diag *diag)
{
    return run_crew(d, b, temperature, loss, diag);
}

mr_err
mri_dino_features(mri_dino *d, const float *images, uint64_t count, float *out,
                  mr_diag *diag)
{
    const mri_vit *v = &d->config.vit;
    mr_err err = MR_OK;

    if (d->features.lane == NULL) {
        features_release(&d->features);
        err = features_open(&d->features, v, v->image, d->config.batch, diag);
        if (err == MR_OK) {
            err = mri_lane_open(&d->features.lane, d->features.graph, d->store,
                                mri_crew_exec(d->crew), diag);
        }
    }
    return err == MR_OK ? features_run(&d->features, images, count, out, diag)
                        : err;
}

/* ------------------------------------------------------------------ state */

size_t
mri_dino_tensors(const mri_dino *d)
{
    return d->count;
}

static mr_tensor
view_of(const mri_dino *d, size_t i)
{
    const entry *e = &d->entries[i];

    switch (e->home) {
    case HOME_MEAN:
        return mri_optim_mean(d->optim, e->at);
    case HOME_SQUARE:
        return mri_optim_square(d->optim, e->at);
    case HOME_STORE:
        break;
    }
    return mri_params_tensor(d->store, e->at);
}

mri_dino_tensor
mri_dino_tensor_at(const mri_dino *d, size_t i)
{
    mr_tensor t = view_of(d, i);
    mri_dino_tensor out = {.name = d->entries[i].name,
                           .rank = t.rank,
                           .bytes = mr_tensor_bytes(&t)};

    memcpy(out.shape, t.shape, sizeof out.shape);
    return out;
}

mr_err
mri_dino_get(const mri_dino *d, size_t i, void *host, mr_diag *diag)
{
    mri_exec *exec = mri_crew_exec(d->crew);
    mr_tensor t = view_of(d, i);

    return moved(exec,
                 exec->backend->get(exec, host, t.data, mr_tensor_bytes(&t)),
                 diag);
}

mr_err
mri_dino_put(mri_dino *d, size_t i, const void *host, mr_diag *diag)
{
    mri_exec *exec = mri_crew_exec(d->crew);
    mr_tensor t = view_of(d, i);

    return moved(exec,
                 exec->backend->put(exec, t.data, host, mr_tensor_bytes(&t)),
                 diag);
}

mri_dino_counts
mri_dino_counts_get(const mri_dino *d)
{
    mri_dino_counts c = {0, 0};

    for (size_t i = 0; i < mri_optim_count(d->optim); i++) {
        const mri_slot *slot =
            mri_params_slot(d->store, mri_optim_at(d->optim, i));

        if (slot->fixed) {
            continue;
        }
        if (strstr(slot->name, LAST) != NULL) {
            c.last_layer = mri_optim_steps(d->optim, i);
        } else {
            c.steps = mri_optim_steps(d->optim, i);
        }
    }
    return c;
}

void
mri_dino_counts_set(mri_dino *d, mri_dino_counts c)
{
    for (size_t i = 0; i < mri_optim_count(d->optim); i++) {
        const char *name = mri_dino_trained_name(d, i);
        bool last = strstr(name, LAST) != NULL;

        mri_optim_set_steps(d->optim, i, last ? c.last_layer : c.steps);
    }
}

size_t
mri_dino_trained(const mri_dino *d)
{
    return mri_optim_count(d->optim);
}

const char *
mri_dino_trained_name(const mri_dino *d, size_t i)
{
    return mri_params_slot(d->store, mri_optim_at(d->optim, i))->name;
}

mr_err
mri_dino_grad(const mri_dino *d, size_t i, void *host, uint64_t bytes,
              mr_diag *diag)
{
    mri_exec *exec = mri_crew_exec(d->crew);
    const mri_slot *slot = mri_params_slot(d->store, mri_optim_at(d->optim, i));

    if (d->grads == NULL || bytes != slot->len * sizeof(float)) {
        return mri_fail(diag, MRI_E_GRAPH_SHAPE, MR_NOWHERE,
                        "%s has no gradient of %" PRIu64 " bytes", slot->name,
                        bytes);
    }
    return moved(exec,
                 exec->backend->get(
                     exec, host, d->grads + slot->first * sizeof(float), bytes),
                 diag);
}

mri_dino_costs
mri_dino_costs_of(const mri_dino *d)
{
    mri_costs g = mri_graph_costs(d->graph);
    unsigned lanes = mri_crew_lanes(d->crew);
    mri_dino_costs c = {.weights = g.sets[MRI_SET_TRAINED] +
                                   g.sets[MRI_SET_SHADOW] +
                                   g.sets[MRI_SET_STATE],
                        .optimiser = mri_optim_bytes(d->optim),
                        .gradients = g.grads * (lanes > 1      ? lanes + 1
                                                : d->parts > 1 ? 2
                                                               : 1),
                        .activations = g.activations * lanes,
                        .flops = (g.forward + g.reverse) * d->parts};

    for (size_t i = 0; i < mri_params_count(d->store); i++) {
        const mri_slot *slot = mri_params_slot(d->store, i);

        c.params += slot->set == MRI_SET_TRAINED ? slot->len : 0;
    }
    return c;
}

mri_crew *
mri_dino_crew(mri_dino *d)
{
    return d->crew;
}
