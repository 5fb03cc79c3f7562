/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout.c - where every value lies.
 *
 * The order of nodes is fixed, so the life of an activation is known: from
 * the node that writes it to the last that reads it. Values are placed from
 * the largest to the smallest, each into the smallest gap that is free for
 * all of its life. Inputs, constants and kept results live always.
 */
#include "graph.h"

#include <mri/alloc.h>
#include <mri/bytes.h>

#include <stdlib.h>

typedef struct life {
    uint32_t value;
    uint32_t born, dies; /* nodes, both included */
    uint64_t bytes, offset;
} life;

static uint64_t
padded_bytes(const value *v)
{
    return mri_round_up(mr_tensor_bytes(&v->shape), GRAPH_ALIGN);
}

/* Parameters set after set, gradients alike, then what is summed. */
static void
place_params(mri_graph *g)
{
    for (uint32_t i = 1; i < g->value_count; i++) {
        value *v = &g->values[i];

        if (v->kind == VALUE_PARAM) {
            v->offset = g->sets[v->set];
            g->sets[v->set] += padded_bytes(v);
            if (v->grad != 0) {
                g->values[v->grad].offset = v->offset;
            }
        }
    }
    g->grads = g->sets[MRI_SET_TRAINED];
    for (uint32_t i = 1; i < g->value_count; i++) {
        value *v = &g->values[i];

        if (v->kind == VALUE_SUM) {
            v->offset = g->grads;
            g->grads += padded_bytes(v);
        }
    }
}

/* Largest first; then in order of birth, so that equal graphs get equal
 * layouts. */
static int
by_size(const void *a, const void *b)
{
    const life *x = a, *y = b;

    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? 1 : -1;
    }
    return x->value < y->value ? -1 : 1;
}

static uint32_t
gather_lives(const mri_graph *g, life *lives)
{
    uint32_t count = 0;

    for (uint32_t i = 1; i < g->value_count; i++) {
        const value *v = &g->values[i];
        bool always = v->kind == VALUE_INPUT || v->kind == VALUE_CONST;

        lives[i] = (life){.value = i, .born = UINT32_MAX};
        if (always || v->kind == VALUE_ACTIVATION) {
            lives[i].bytes = padded_bytes(v);
        }
        if (always || v->kept) {
            lives[i].born = 0;
            lives[i].dies = g->node_count;
        }
    }
    for (uint32_t n = 0; n < g->node_count; n++) {
        for (uint32_t u = 0; u < g->nodes[n].count; u++) {
            life *l = &lives[g->nodes[n].uses[u].value];

            l->born = n < l->born ? n : l->born;
            l->dies = n > l->dies ? n : l->dies;
        }
    }
    for (uint32_t i = 1; i < g->value_count; i++) {
        if (lives[i].bytes != 0 && lives[i].born != UINT32_MAX) {
            lives[count++] = lives[i];
        }
    }
    return count;
}

/* The smallest gap between those already placed, which are sorted by offset,
 * that is free while `l` lives. */
static uint64_t
best_gap(const life *placed, uint32_t count, const life *l)
{
    uint64_t end = 0, best = UINT64_MAX, best_room = UINT64_MAX;

    for (uint32_t i = 0; i < count; i++) {
        const life *p = &placed[i];

        if (p->dies < l->born || l->dies < p->born) {
            continue;
        }
        if (p->offset > end && p->offset - end >= l->bytes &&
            p->offset - end < best_room) {
            best = end;
            best_room = p->offset - end;
        }
        if (p->offset + p->bytes > end) {
            end = p->offset + p->bytes;
        }
    }
    return best != UINT64_MAX ? best : end;
}

static void
insert_by_offset(life *placed, uint32_t count, const life *l)
{
    uint32_t i = count;

    while (i > 0 && placed[i - 1].offset > l->offset) {
        placed[i] = placed[i - 1];
        i--;
    }
    placed[i] = *l;
}

mr_err
graph_layout(mri_graph *g, mr_diag *diag)
{
    life *lives = mri_alloc(g->value_count, sizeof *lives);
    life *placed = mri_alloc(g->value_count, sizeof *placed);
    mr_err err = MR_OK;
    uint32_t count;

    if (lives == NULL || placed == NULL) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for a graph");
        goto done;
    }
    place_params(g);
    count = gather_lives(g, lives);
    qsort(lives, count, sizeof *lives, by_size);
    for (uint32_t i = 0; i < count; i++) {
        life *l = &lives[i];

        l->offset = best_gap(placed, i, l);
        insert_by_offset(placed, i, l);
        g->values[l->value].offset = l->offset;
        g->unshared += l->bytes;
        if (l->offset + l->bytes > g->arena) {
            g->arena = l->offset + l->bytes;
        }
    }

done:
    mri_free(lives);
    mri_free(placed);
    return err;
}
