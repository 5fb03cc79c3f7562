/* SPDX-License-Identifier: Apache-2.0 */
/* lane.c - a graph's operations as a flat array of calls. */
#include <mri/lane.h>

#include "graph.h"

#include <mri/alloc.h>
#include <mri/clock.h>

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One call, and the node that it is. */
typedef struct step {
    mr_err (*run)(const mri_ops *ops, mri_exec *exec, const void *args);
    void *args; /* the node's, with memory behind the tensors */
    uint64_t runs, ns;
} step;

struct mri_lane {
    const mri_graph *g;
    const mri_params *store;
    mri_exec *exec;
    char *arena;
    void *grads; /* what the arguments point at by now */
    bool clock;
    uint64_t *params; /* [values]: address of a parameter */
    step *steps;
    char *args; /* all of the steps' arguments */
};

static mr_err
moved(const mri_exec *exec, mr_err err, mr_diag *diag)
{
    if (err != MR_OK && diag != NULL) {
        *diag = exec->diag;
    }
    return err;
}

/* --------------------------------------------------------------- binding */

static void *
address_of(const mri_lane *l, uint32_t id)
{
    const value *v = &l->g->values[id];

    switch (v->kind) {
    case VALUE_PARAM:
        return (void *)(uintptr_t)l->params[id];
    case VALUE_GRAD:
    case VALUE_SUM:
        return l->grads != NULL ? (char *)l->grads + v->offset : NULL;
    case VALUE_ACTIVATION:
    case VALUE_INPUT:
    case VALUE_CONST:
        return l->arena + v->offset;
    case VALUE_NONE:
        break;
    }
    return NULL;
}

/* Put memory behind every tensor of every step. */
static void
bind(mri_lane *l, void *grads)
{
    l->grads = grads;
    for (uint32_t n = 0; n < l->g->node_count; n++) {
        const node *it = &l->g->nodes[n];

        for (uint32_t u = 0; u < it->count; u++) {
            void *data = address_of(l, it->uses[u].value);
            size_t at = it->uses[u].at + offsetof(mr_tensor, data);

            memcpy((char *)l->steps[n].args + at, &data, sizeof data);
        }
    }
}

static mr_err
find_params(mri_lane *l, mr_diag *diag)
{
    for (uint32_t i = 1; i < l->g->value_count; i++) {
        const value *v = &l->g->values[i];
        size_t at;
        mr_tensor t;

        if (v->kind != VALUE_PARAM) {
            continue;
        }
        at = mri_params_find(l->store, v->name);
        if (at == SIZE_MAX) {
            return mri_fail(diag, MRI_E_GRAPH_NAME, MR_NOWHERE,
                            "there is no parameter %s", v->name);
        }
        t = mri_params_tensor(l->store, at);
        if (t.rank != v->shape.rank || t.dtype != v->shape.dtype ||
            memcmp(t.shape, v->shape.shape, sizeof t.shape) != 0) {
            return mri_fail(diag, MRI_E_GRAPH_SHAPE, MR_NOWHERE,
                            "parameter %s has another shape or type", v->name);
        }
        l->params[i] = (uintptr_t)t.data;
    }
    return MR_OK;
}

/* The table's entry at this offset is NULL. */
static bool
lacks(const mri_ops *ops, size_t entry)
{
    mri_linear_fn *fn;

    memcpy(&fn, (const char *)ops + entry, sizeof fn);
    return fn == NULL;
}

static mr_err
check_backend(const mri_graph *g, const mri_backend *b, mr_diag *diag)
{
    if (!b->computes(g->dtype)) {
        return mri_fail(diag, MRI_E_GRAPH_DTYPE, MR_NOWHERE,
                        "back end %s does not compute in %s", b->name,
                        mr_dtype_name(g->dtype));
    }
    for (uint32_t n = 0; n < g->node_count; n++) {
        if (lacks(b->ops, g->nodes[n].kind->entry)) {
            return mri_fail(diag, MRI_E_BACKEND_OP, MR_NOWHERE,
                            "back end %s has no %s, which %s needs", b->name,
                            g->nodes[n].kind->name, g->nodes[n].name);
        }
    }
    return MR_OK;
}

/* The steps, with copies of the nodes' arguments in one block. */
static mr_err
make_steps(mri_lane *l, mr_diag *diag)
{
    const mri_graph *g = l->g;
    size_t bytes = 0;

    for (uint32_t n = 0; n < g->node_count; n++) {
        bytes += g->nodes[n].kind->args_bytes;
    }
    l->steps = mri_alloc(g->node_count, sizeof *l->steps);
    l->params = mri_alloc(g->value_count, sizeof *l->params);
    l->args = mri_alloc(bytes, 1);
    if (l->steps == NULL || l->params == NULL || l->args == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for a lane");
    }
    bytes = 0;
    for (uint32_t n = 0; n < g->node_count; n++) {
        const op_kind *kind = g->nodes[n].kind;

        l->steps[n] = (step){.run = kind->run, .args = l->args + bytes};
        memcpy(l->steps[n].args, g->nodes[n].args, kind->args_bytes);
        bytes += kind->args_bytes;
    }
    return MR_OK;
}

static mr_err
upload_const(mri_lane *l, const value *v, mr_diag *diag)
{
    uint64_t len = mr_tensor_len(&v->shape), bytes = mr_tensor_bytes(&v->shape);
    float *narrow = NULL;
    const void *from = v->fixed_values;
    mr_err err;

    if (v->shape.dtype == MR_F32) {
        narrow = mri_alloc((size_t)len, sizeof *narrow);
        if (narrow == NULL) {
            return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                            "no memory for constant %s", v->name);
        }
        for (uint64_t i = 0; i < len; i++) {
            narrow[i] = (float)v->fixed_values[i];
        }
        from = narrow;
    }
    err = l->exec->backend->put(l->exec, l->arena + v->offset, from, bytes);
    mri_free(narrow);
    return moved(l->exec, err, diag);
}

static mr_err
make_arena(mri_lane *l, mr_diag *diag)
{
    const mri_backend *b = l->exec->backend;
    void *arena = NULL;
    mr_err err = b->alloc(l->exec, &arena, l->g->arena);

    l->arena = arena;
    if (err == MR_OK) {
        err = b->fill(l->exec, arena, 0, l->g->arena);
    }
    if (err != MR_OK) {
        return mri_fail(diag, MRI_E_BUDGET, MR_NOWHERE,
                        "no room for activations of %" PRIu64 " MiB on %s",
                        l->g->arena >> 20, b->name);
    }
    for (uint32_t i = 1; err == MR_OK && i < l->g->value_count; i++) {
        if (l->g->values[i].kind == VALUE_CONST) {
            err = upload_const(l, &l->g->values[i], diag);
        }
    }
    return err;
}

mr_err
mri_lane_open(mri_lane **out, const mri_graph *g, const mri_params *store,
              mri_exec *exec, mr_diag *diag)
{
    mri_lane *l = mri_alloc(1, sizeof *l);
    mr_err err;

    *out = NULL;
    if (l == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for a lane");
    }
    *l = (mri_lane){.g = g, .store = store, .exec = exec};
    err = check_backend(g, exec->backend, diag);
    if (err == MR_OK) {
        err = make_steps(l, diag);
    }
    if (err == MR_OK) {
        err = find_params(l, diag);
    }
    if (err == MR_OK) {
        err = make_arena(l, diag);
    }
    if (err != MR_OK) {
        mri_lane_close(l);
        return err;
    }
    bind(l, NULL);
    *out = l;
    return MR_OK;
}

void
mri_lane_close(mri_lane *l)
{
    if (l == NULL) {
        return;
    }
    if (l->arena != NULL) {
        l->exec->backend->free(l->exec, l->arena);
    }
    mri_free(l->steps);
    mri_free(l->params);
    mri_free(l->args);
    mri_free(l);
}

/* -------------------------------------------------------- in, run, out */

static const value *
find_value(const mri_graph *g, const char *name, value_kind kind)
{
    for (uint32_t i = 1; i < g->value_count; i++) {
        const value *v = &g->values[i];

        if (v->kind == kind && v->name != NULL && strcmp(v->name, name) == 0) {
            return v;
        }
    }
    return NULL;
}

static mr_err
check_size(const value *v, const char *what, const char *name, uint64_t bytes,
           mr_diag *diag)
{
    if (v == NULL) {
        return mri_fail(diag, MRI_E_GRAPH_NAME, MR_NOWHERE,
                        "the graph has no %s '%s'", what, name);
    }
    if (mr_tensor_bytes(&v->shape) != bytes) {
        return mri_fail(diag, MRI_E_GRAPH_SHAPE, MR_NOWHERE,
                        "%s '%s' has %" PRIu64 " bytes, not %" PRIu64, what,
                        name, mr_tensor_bytes(&v->shape), bytes);
    }
    return MR_OK;
}

mr_err
mri_lane_put(mri_lane *l, const char *name, const void *host, uint64_t bytes,
             mr_diag *diag)
{
    const value *v = find_value(l->g, name, VALUE_INPUT);
    mr_err err = check_size(v, "input", name, bytes, diag);

    if (err != MR_OK) {
        return err;
    }
    err = l->exec->backend->put(l->exec, l->arena + v->offset, host, bytes);
    return moved(l->exec, err, diag);
}

mr_err
mri_lane_get(mri_lane *l, const char *name, void *host, uint64_t bytes,
             mr_diag *diag)
{
    const value *v = find_value(l->g, name, VALUE_ACTIVATION);
    mr_err err = check_size(v, "result", name, bytes, diag);

    if (err != MR_OK) {
        return err;
    }
    err = l->exec->backend->get(l->exec, host, l->arena + v->offset, bytes);
    return moved(l->exec, err, diag);
}

uint64_t
mri_graph_sum_at(const mri_graph *g, const char *name)
{
    const value *v = find_value(g, name, VALUE_SUM);

    return v != NULL ? v->offset : UINT64_MAX;
}

static mr_err
node_failed(const mri_lane *l, uint32_t n, mr_err err, mr_diag *diag)
{
    const node *it = &l->g->nodes[n];
    mr_diag why = l->exec->diag;

    if (diag != NULL) {
        *diag = why;
        (void)snprintf(diag->text, sizeof diag->text, "%.150s: %s: %.300s",
                       it->name, it->kind->name, why.text);
    }
    return err;
}

static mr_err
run_step(mri_lane *l, uint32_t n, mr_diag *diag)
{
    step *s = &l->steps[n];
    uint64_t begin = l->clock ? mri_now_ns() : 0;
    mr_err err = s->run(l->exec->backend->ops, l->exec, s->args);

    if (err == MR_OK && l->clock) {
        err = l->exec->backend->sync(l->exec);
        s->ns += mri_now_ns() - begin;
        s->runs++;
    }
    return err == MR_OK ? MR_OK : node_failed(l, n, err, diag);
}

mr_err
mri_lane_run(mri_lane *l, void *grads, mr_diag *diag)
{
    mr_err err = MR_OK;

    assert(grads != NULL || (l->g->forward_nodes == 0 &&
                             l->g->grads == l->g->sets[MRI_SET_TRAINED]));
    if (grads != l->grads) {
        bind(l, grads);
    }
    for (uint32_t n = 0; err == MR_OK && n < l->g->node_count; n++) {
        err = run_step(l, n, diag);
    }
    return err;
}

/* ------------------------------------------------------------- the hunt */

static bool
all_finite(const void *p, mr_dtype dtype, uint64_t len)
{
    for (uint64_t i = 0; i < len; i++) {
        double v = dtype == MR_F64   ? ((const double *)p)[i]
                   : dtype == MR_F32 ? (double)((const float *)p)[i]
                                     : 0;

        if (!isfinite(v)) {
            return false;
        }
    }
    return true;
}

/* Fetch value `id` and look at it. */
static mr_err
look_at(mri_lane *l, uint32_t id, const char *where, const char *op,
        mr_diag *diag)
{
    const value *v = &l->g->values[id];
    uint64_t bytes = mr_tensor_bytes(&v->shape);
    void *host = mri_alloc_pixels((size_t)bytes, 1);
    mr_err err;

    if (host == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory to look");
    }
    err = moved(l->exec,
                l->exec->backend->get(l->exec, host, address_of(l, id), bytes),
                diag);
    if (err == MR_OK &&
        !all_finite(host, v->shape.dtype, mr_tensor_len(&v->shape))) {
        err = mri_fail(diag, MRI_E_NOT_FINITE, MR_NOWHERE,
                       "%s: %s makes a value that is not finite", where, op);
    }
    mri_free(host);
    return err;
}

mr_err
mri_lane_hunt(mri_lane *l, void *grads, mr_diag *diag)
{
    mr_err err = MR_OK;

    bind(l, grads);
    for (uint32_t i = 1; err == MR_OK && i < l->g->value_count; i++) {
        const value *v = &l->g->values[i];

        if (v->kind == VALUE_INPUT || v->kind == VALUE_PARAM) {
            err = look_at(
                l, i, v->name,
                v->kind == VALUE_INPUT ? "the input" : "the parameter", diag);
        }
    }
    for (uint32_t n = 0; err == MR_OK && n < l->g->node_count; n++) {
        const node *it = &l->g->nodes[n];

        err = run_step(l, n, diag);
        for (uint32_t u = 0; err == MR_OK && u < it->count; u++) {
            if (it->uses[u].writes) {
                err = look_at(l, it->uses[u].value, it->name, it->kind->name,
                              diag);
            }
        }
    }
    return err;
}

/* ----------------------------------------------------------------- times */

mr_err
mri_lane_clock(mri_lane *l, bool on, mr_diag *diag)
{
    l->clock = on;
    for (uint32_t n = 0; on && n < l->g->node_count; n++) {
        l->steps[n].runs = l->steps[n].ns = 0;
    }
    return moved(l->exec, l->exec->backend->sync(l->exec), diag);
}

size_t
mri_lane_nodes(const mri_lane *l)
{
    return l->g->node_count;
}

mri_node_time
mri_lane_time(const mri_lane *l, size_t i)
{
    const node *n = &l->g->nodes[i];

    return (mri_node_time){n->name,  n->kind->name,    n->reverse,
                           n->flops, l->steps[i].runs, l->steps[i].ns};
}
