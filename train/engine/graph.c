/* SPDX-License-Identifier: Apache-2.0 */
/* graph.c - values and nodes of a graph, and the first error. */
#include "graph.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Where the arguments of nodes go that are no longer built. */
static _Alignas(64) char dummy[8192];

mr_err
mri_graph_open(mri_graph **out, mr_dtype dtype, mr_diag *diag)
{
    mri_graph *g = mri_alloc(1, sizeof *g);

    *out = NULL;
    if (dtype != MR_F32 && dtype != MR_F64) {
        mri_free(g);
        return mri_fail(diag, MRI_E_GRAPH_DTYPE, MR_NOWHERE,
                        "a graph computes in f32 or f64, not in %s",
                        mr_dtype_name(dtype));
    }
    if (g != NULL) {
        g->values = mri_alloc(64, sizeof *g->values);
        g->nodes = mri_alloc(64, sizeof *g->nodes);
    }
    if (g == NULL || g->values == NULL || g->nodes == NULL) {
        mri_graph_close(g);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a graph");
    }
    g->dtype = dtype;
    g->value_room = g->node_room = 64;
    g->value_count = 1; /* value 0 is none */
    *out = g;
    return MR_OK;
}

void
mri_graph_close(mri_graph *g)
{
    if (g == NULL) {
        return;
    }
    for (uint32_t i = 0; i < g->value_count; i++) {
        mri_free(g->values[i].name);
        mri_free(g->values[i].fixed_values);
    }
    for (uint32_t i = 0; i < g->node_count; i++) {
        mri_free(g->nodes[i].name);
        mri_free(g->nodes[i].args);
    }
    mri_free(g->values);
    mri_free(g->nodes);
    mri_free(g);
}

void
graph_fail(mri_graph *g, mri_code code, const char *fmt, ...)
{
    char text[400];
    va_list args;

    if (g->failed) {
        return;
    }
    g->failed = true;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)mri_fail(&g->diag, code, MR_NOWHERE, "%s%s%s", g->scope,
                   g->scope[0] != '\0' ? ": " : "", text);
}

void
mri_g_fail(mri_graph *g, mri_code code, const char *text)
{
    graph_fail(g, code, "%s", text);
}

void
graph_refuse(mri_graph *g, const char *wants, const mri_val *got, size_t count)
{
    char text[300];
    size_t n = 0;

    for (size_t i = 0; i < count && n < sizeof text - 32; i++) {
        const mr_tensor *t = &graph_value(g, got[i])->shape;

        if (!mri_there(t)) {
            n += (size_t)snprintf(text + n, sizeof text - n, " none");
            continue;
        }
        n += (size_t)snprintf(text + n, sizeof text - n, " %s",
                              mr_dtype_name(t->dtype));
        for (uint32_t a = 0; a < t->rank && n < sizeof text - 32; a++) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%" PRIu64,
                                  a == 0 ? "[" : ",", t->shape[a]);
        }
        n += (size_t)snprintf(text + n, sizeof text - n, "]");
    }
    graph_fail(g, MRI_E_GRAPH_SHAPE, "%s; got%s", wants, text);
}

/* ---------------------------------------------------------------- names */

void
mri_g_enter(mri_graph *g, const char *fmt, ...)
{
    size_t n = strlen(g->scope);
    va_list args;
    int more;

    if (g->depth == MRI_COUNT(g->marks)) {
        graph_fail(g, MRI_E_GRAPH_NAME, "too many scopes");
        return;
    }
    g->marks[g->depth++] = n;
    if (n != 0 && n + 1 < sizeof g->scope) {
        g->scope[n++] = '.';
        g->scope[n] = '\0';
    }
    va_start(args, fmt);
    more = vsnprintf(g->scope + n, sizeof g->scope - n, fmt, args);
    va_end(args);
    if (more < 0 || (size_t)more >= sizeof g->scope - n) {
        graph_fail(g, MRI_E_GRAPH_NAME, "the names are too long");
    }
}

void
mri_g_leave(mri_graph *g)
{
    if (g->depth != 0) {
        g->scope[g->marks[--g->depth]] = '\0';
    }
}

/* The scope and a name, joined; NULL only if memory is out. */
static char *
full_name(const mri_graph *g, const char *name)
{
    size_t bytes = strlen(g->scope) + strlen(name) + 2;
    char *out = mri_alloc(bytes, 1);

    if (out != NULL) {
        (void)snprintf(out, bytes, "%s%s%s", g->scope,
                       g->scope[0] != '\0' && name[0] != '\0' ? "." : "", name);
    }
    return out;
}

/* --------------------------------------------------------------- values */

static mri_val
new_value(mri_graph *g, value_kind kind, mr_dtype dtype, uint32_t rank,
          const uint64_t *shape)
{
    uint64_t bytes = mr_dtype_bytes(dtype);
    value *v;

    if (g->failed) {
        return (mri_val){0};
    }
    for (uint32_t i = 0; i < rank; i++) {
        if (shape[i] == 0 || !mri_mul(bytes, shape[i], &bytes)) {
            graph_fail(g, MRI_E_GRAPH_SHAPE,
                       "a dimension is 0, or there are too many elements");
            return (mri_val){0};
        }
    }
    if (g->value_count == g->value_room) {
        value *more =
            mri_resize(g->values, 2 * (size_t)g->value_room, sizeof *more);

        if (more == NULL) {
            graph_fail(g, MRI_E_MEMORY, "no memory for a graph");
            return (mri_val){0};
        }
        g->values = more;
        g->value_room *= 2;
    }
    v = &g->values[g->value_count];
    *v = (value){.kind = kind, .set = g->set};
    v->shape = mr_tensor_of(NULL, dtype, rank, shape);
    return (mri_val){g->value_count++};
}

static void
name_value(mri_graph *g, mri_val v, const char *name)
{
    value *it = graph_value(g, v);

    if (v.id == 0) {
        return;
    }
    for (uint32_t i = 1; i < g->value_count; i++) {
        if (g->values[i].name != NULL && i != v.id &&
            g->values[i].kind == it->kind &&
            strcmp(g->values[i].name, name) == 0) {
            graph_fail(g, MRI_E_GRAPH_NAME, "two values are called '%s'", name);
            return;
        }
    }
    mri_free(it->name);
    it->name = mri_strdup(name);
    if (it->name == NULL) {
        graph_fail(g, MRI_E_MEMORY, "no memory for a graph");
    }
}

mri_val
mri_g_input(mri_graph *g, const char *name, mr_dtype dtype, uint32_t rank,
            const uint64_t *shape)
{
    mri_val v = new_value(g, VALUE_INPUT, dtype, rank, shape);

    name_value(g, v, name);
    return v;
}

mri_val
mri_g_const(mri_graph *g, const char *name, uint32_t rank,
            const uint64_t *shape, const double *values)
{
    mri_val v = new_value(g, VALUE_CONST, g->dtype, rank, shape);
    uint64_t len = graph_len(g, v);
    double *copy = v.id != 0 ? mri_alloc((size_t)len, sizeof *copy) : NULL;

    if (v.id == 0) {
        return v;
    }
    if (copy == NULL) {
        graph_fail(g, MRI_E_MEMORY, "no memory for a constant");
        return (mri_val){0};
    }
    memcpy(copy, values, (size_t)len * sizeof *copy);
    graph_value(g, v)->fixed_values = copy;
    name_value(g, v, name);
    return v;
}

void
mri_g_set(mri_graph *g, mri_set set)
{
    g->set = set;
}

mri_val
mri_g_param(mri_graph *g, const mri_param *p)
{
    mri_val v = new_value(g, VALUE_PARAM, g->dtype, p->rank, p->shape);
    char *name = full_name(g, p->name);
    value *it = graph_value(g, v);

    if (name == NULL) {
        graph_fail(g, MRI_E_MEMORY, "no memory for a name");
    } else if (v.id != 0) {
        name_value(g, v, name);
        it->init = p->init;
        it->fan_in = p->fan_in;
        it->fixed = p->fixed;
        it->slope = g->set == MRI_SET_TRAINED && !p->fixed;
    }
    mri_free(name);
    return v;
}

void
mri_g_keep(mri_graph *g, const char *name, mri_val v)
{
    if (v.id != 0 && !g->failed) {
        name_value(g, v, name);
        graph_value(g, v)->kept = true;
    }
}

void
mri_g_sum(mri_graph *g, const char *name, mri_val v)
{
    if (v.id != 0 && !g->failed) {
        graph_value(g, v)->kind = VALUE_SUM;
        name_value(g, v, name);
    }
}

value *
graph_value(mri_graph *g, mri_val v)
{
    return &g->values[v.id < g->value_count ? v.id : 0];
}

uint64_t
graph_len(mri_graph *g, mri_val v)
{
    return mr_tensor_len(&graph_value(g, v)->shape);
}

uint64_t
graph_dim(mri_graph *g, mri_val v, uint32_t axis)
{
    const mr_tensor *t = &graph_value(g, v)->shape;

    return axis < t->rank ? t->shape[axis] : 0;
}

bool
graph_slope(mri_graph *g, mri_val v)
{
    return graph_value(g, v)->slope;
}

bool
graph_is(mri_graph *g, mri_val v, uint32_t rank)
{
    const mr_tensor *t = &graph_value(g, v)->shape;

    return v.id != 0 && t->dtype == g->dtype && t->rank == rank;
}

/* ---------------------------------------------------------------- nodes */

void *
graph_node(mri_graph *g, const op_kind *kind, double flops)
{
    node *n;

    memset(dummy, 0, sizeof dummy);
    if (g->failed) {
        return dummy;
    }
    if (g->node_count == g->node_room) {
        node *more =
            mri_resize(g->nodes, 2 * (size_t)g->node_room, sizeof *more);

        if (more == NULL) {
            graph_fail(g, MRI_E_MEMORY, "no memory for a graph");
            return dummy;
        }
        g->nodes = more;
        g->node_room *= 2;
    }
    n = &g->nodes[g->node_count];
    *n = (node){.kind = kind,
                .name = full_name(g, ""),
                .args = mri_alloc(1, kind->args_bytes),
                .flops = flops,
                .reverse = g->forward_nodes != 0};
    g->node_count++;
    if (n->name == NULL || n->args == NULL) {
        graph_fail(g, MRI_E_MEMORY, "no memory for a graph");
        return dummy;
    }
    return n->args;
}

static void
add_use(mri_graph *g, mr_tensor *slot, mri_val v, uint32_t rank,
        const uint64_t *shape, bool writes)
{
    node *n;

    if (g->failed || v.id == 0) {
        return;
    }
    n = &g->nodes[g->node_count - 1];
    *slot = mr_tensor_of(NULL, graph_value(g, v)->shape.dtype, rank, shape);
    if (n->count == GRAPH_USES || mr_tensor_len(slot) != graph_len(g, v)) {
        graph_fail(g, MRI_E_INTERNAL, "%s: a tensor that does not fit",
                   n->kind->name);
        return;
    }
    n->uses[n->count++] =
        (use){v.id, (uint32_t)((char *)slot - (char *)n->args), writes};
    if (writes) {
        graph_value(g, v)->maker = g->node_count;
    } else {
        graph_value(g, v)->readers++;
    }
}

void
graph_read(mri_graph *g, mr_tensor *slot, mri_val v, uint32_t rank,
           const uint64_t *shape)
{
    add_use(g, slot, v, rank, shape, false);
}

void
graph_write(mri_graph *g, mr_tensor *slot, mri_val v, uint32_t rank,
            const uint64_t *shape)
{
    add_use(g, slot, v, rank, shape, true);
}

mri_val
graph_make(mri_graph *g, mr_tensor *slot, bool slope, uint32_t rank,
           const uint64_t *shape)
{
    mri_val v = new_value(g, VALUE_ACTIVATION, g->dtype, rank, shape);

    graph_value(g, v)->slope = v.id != 0 && slope;
    add_use(g, slot, v, rank, shape, true);
    return v;
}

mri_val
graph_of(const mri_graph *g, uint32_t n, size_t at)
{
    const node *it = &g->nodes[n];

    for (uint32_t i = 0; i < it->count; i++) {
        if (it->uses[i].at == at) {
            return (mri_val){it->uses[i].value};
        }
    }
    return (mri_val){0};
}

/* ------------------------------------------------------------ the end */

mr_err
mri_graph_end(mri_graph *g, mr_diag *diag)
{
    mr_err err;

    if (g->failed) {
        if (diag != NULL) {
            *diag = g->diag;
        }
        return g->diag.err;
    }
    err = graph_layout(g, diag);
    g->ended = err == MR_OK;
    return err;
}

mr_dtype
mri_graph_dtype(const mri_graph *g)
{
    return g->dtype;
}

mri_costs
mri_graph_costs(const mri_graph *g)
{
    mri_costs c = {.nodes = g->node_count,
                   .grads = g->grads,
                   .activations = g->arena,
                   .unshared = g->unshared};

    memcpy(c.sets, g->sets, sizeof c.sets);
    for (uint32_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i].reverse) {
            c.reverse += g->nodes[i].flops;
        } else {
            c.forward += g->nodes[i].flops;
        }
    }
    return c;
}

size_t
mri_graph_params(const mri_graph *g)
{
    size_t n = 0;

    for (uint32_t i = 1; i < g->value_count; i++) {
        n += g->values[i].kind == VALUE_PARAM;
    }
    return n;
}

mri_slot
mri_graph_param(const mri_graph *g, size_t i)
{
    const value *v = g->values;
    mri_slot s = {0};

    do {
        v++;
    } while (v->kind != VALUE_PARAM || i-- != 0);
    s = (mri_slot){.name = v->name,
                   .set = v->set,
                   .init = v->init,
                   .fan_in = v->fan_in,
                   .fixed = v->fixed,
                   .rank = v->shape.rank,
                   .first = v->offset / mr_dtype_bytes(v->shape.dtype),
                   .len = mr_tensor_len(&v->shape)};
    memcpy(s.shape, v->shape.shape, sizeof s.shape);
    return s;
}
