/* SPDX-License-Identifier: Apache-2.0 */
/*
 * split.c - which samples train, validate and test.
 *
 * Units are gathered into blocs: a bloc is a group, or several that share an
 * image. A bloc's place in [0, 1) is a salted hash of its smallest group, and
 * the shares cut that range. Then, once, blocs move from the fullest split to
 * the emptiest until counts are as near their targets as whole blocs allow,
 * those first that bring the classes nearer to their shares.
 */
#include "split.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How many blocs of a class are weighed before one is moved. */
#define LOOK_AHEAD 32

typedef struct pair {
    uint64_t hash;
    uint64_t unit;
} pair;

typedef struct bloc {
    uint64_t place; /* salted hash: its order, and its split */
    uint64_t size;
    uint32_t split;
    uint32_t dominant; /* class; `classes` if it has none */
} bloc;

typedef struct work {
    mri_unit *units;
    uint64_t count;
    const mri_split_rule *rule;
    uint64_t *parent;  /* union-find over units */
    uint64_t *bloc_of; /* [count] */
    bloc *blocs;
    uint64_t bloc_count;
    /* repair */
    double *have;    /* [splits] samples */
    double *label;   /* [splits * (classes + 1)] */
    double *total;   /* [classes + 1] */
    uint64_t *order; /* blocs by place */
    uint64_t *first; /* [splits + 1] where in order each split's share begins */
} work;

static int
by_hash(const void *a, const void *b)
{
    const pair *x = a, *y = b;

    if (x->hash != y->hash) {
        return x->hash < y->hash ? -1 : 1;
    }
    return x->unit < y->unit ? -1 : x->unit > y->unit;
}

static uint64_t
root(work *w, uint64_t i)
{
    while (w->parent[i] != i) {
        w->parent[i] = w->parent[w->parent[i]];
        i = w->parent[i];
    }
    return i;
}

static bool
join(work *w, uint64_t a, uint64_t b)
{
    a = root(w, a);
    b = root(w, b);
    if (a == b) {
        return false;
    }
    if (a < b) {
        w->parent[b] = a;
    } else {
        w->parent[a] = b;
    }
    return true;
}

static uint64_t
group_of(const mri_unit *u)
{
    return u->group != 0 ? u->group : u->key;
}

static uint64_t
pixels_of(const mri_unit *u)
{
    return u->pixels;
}

/* Join all units for which `of` gives the same value (0: none). Counts runs
 * of equal values in *kinds and joins of what was apart in *joined. */
static void
join_equal(work *w, pair *pairs, uint64_t (*of)(const mri_unit *),
           uint64_t *kinds, uint64_t *joined)
{
    for (uint64_t i = 0; i < w->count; i++) {
        pairs[i] = (pair){of(&w->units[i]), i};
    }
    qsort(pairs, (size_t)w->count, sizeof *pairs, by_hash);
    for (uint64_t i = 0; i < w->count; i++) {
        bool same = i > 0 && pairs[i].hash == pairs[i - 1].hash;

        if (!same) {
            *kinds += 1;
        } else if (pairs[i].hash != 0) {
            *joined += join(w, pairs[i].unit, pairs[i - 1].unit);
        }
    }
}

static uint64_t
salted(const char *salt, uint64_t group)
{
    uint8_t raw[8];

    mri_put64(raw, group);
    return mri_xxh3_seeded(raw, sizeof raw, mri_xxh3(salt, strlen(salt)));
}

/* The split whose share of [0, 1) holds `place`. */
static uint32_t
split_at(const mri_split_rule *rule, uint64_t place)
{
    double at = (double)(place >> 11) * 0x1p-53, end = 0;

    for (uint32_t i = 0; i + 1 < rule->count; i++) {
        end += rule->shares[i];
        if (at < end) {
            return i;
        }
    }
    return rule->count - 1;
}

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* Number the blocs, in the order of their first unit (so of uid). */
static mr_err
make_blocs(work *w, mr_diag *diag)
{
    w->bloc_of = mri_alloc((size_t)w->count, sizeof *w->bloc_of);
    w->blocs = mri_alloc((size_t)w->count, sizeof *w->blocs);
    if (w->bloc_of == NULL || w->blocs == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < w->count; i++) {
        uint64_t r = root(w, i);
        uint64_t place = salted(w->rule->salt, group_of(&w->units[i]));
        bloc *b;

        if (r == i) { /* roots are smallest: seen before their members */
            w->bloc_of[i] = w->bloc_count;
            w->blocs[w->bloc_count++] =
                (bloc){.place = place, .split = MRI_SPLIT_BY_HASH};
        }
        w->bloc_of[i] = w->bloc_of[r];
        b = &w->blocs[w->bloc_of[i]];
        b->size++;
        b->place = place < b->place ? place : b->place;
    }
    return MR_OK;
}

/* A bloc goes where a unit of it already is; else where its hash falls.
 * Returns how many units stand apart from their bloc. */
static uint64_t
assign_blocs(work *w)
{
    uint64_t torn = 0;

    for (uint64_t i = 0; i < w->count; i++) {
        bloc *b = &w->blocs[w->bloc_of[i]];

        if (w->units[i].split == MRI_SPLIT_BY_HASH) {
            continue;
        }
        if (b->split == MRI_SPLIT_BY_HASH) {
            b->split = w->units[i].split;
        }
        torn += b->split != w->units[i].split;
    }
    for (uint64_t i = 0; i < w->bloc_count; i++) {
        if (w->blocs[i].split == MRI_SPLIT_BY_HASH) {
            w->blocs[i].split = split_at(w->rule, w->blocs[i].place);
        }
    }
    return torn;
}

static uint32_t
class_of(const work *w, const mri_unit *u)
{
    return u->class_index < w->rule->classes ? u->class_index
                                             : w->rule->classes;
}

/* The class that most of a bloc's units have: a bloc of mixed classes is told
 * by it, which is exact for blocs of one class. */
static mr_err
find_dominant(work *w, mr_diag *diag)
{
    uint32_t kinds = w->rule->classes + 1;
    pair *pairs = mri_alloc((size_t)w->count, sizeof *pairs);
    uint64_t run = 0, best = 0;

    if (pairs == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < w->count; i++) {
        pairs[i] = (pair){w->bloc_of[i] * kinds + class_of(w, &w->units[i]), i};
    }
    qsort(pairs, (size_t)w->count, sizeof *pairs, by_hash);
    for (uint64_t i = 0; i < w->count; i++) {
        bool new_bloc =
            i == 0 || pairs[i].hash / kinds != pairs[i - 1].hash / kinds;

        run = i > 0 && pairs[i].hash == pairs[i - 1].hash ? run + 1 : 1;
        if (new_bloc || run > best) {
            best = run;
            w->blocs[pairs[i].hash / kinds].dominant =
                (uint32_t)(pairs[i].hash % kinds);
        }
    }
    mri_free(pairs);
    return MR_OK;
}

static _Thread_local const work *sorted_work; /* qsort passes no context */

static int
by_place(const void *a, const void *b)
{
    const bloc *x = &sorted_work->blocs[*(const uint64_t *)a];
    const bloc *y = &sorted_work->blocs[*(const uint64_t *)b];

    return x->place < y->place ? -1 : x->place > y->place;
}

static double
excess(const work *w, uint32_t split)
{
    return w->have[split] - w->rule->shares[split] * (double)w->count;
}

/* How far the classes of a split are from their shares, squared. */
static double
label_cost(const work *w, uint32_t split, uint32_t kind, double change)
{
    double want = w->rule->shares[split] * w->total[kind];
    double have = w->label[split * (w->rule->classes + 1) + kind] + change;

    return (have - want) * (have - want);
}

/* What moving a bloc would change: negative is better. */
static double
gain(const work *w, const bloc *b, uint32_t to)
{
    double n = (double)b->size, from = excess(w, b->split),
           there = excess(w, to);
    double counts = (from - n) * (from - n) - from * from +
                    (there + n) * (there + n) - there * there;
    double labels = label_cost(w, b->split, b->dominant, -n) -
                    label_cost(w, b->split, b->dominant, 0) +
                    label_cost(w, to, b->dominant, n) -
                    label_cost(w, to, b->dominant, 0);

    return counts >= 0 ? counts : counts + labels;
}

/* The best of the first few blocs of each class in split `from`. */
static bloc *
choose(const work *w, uint32_t from, uint32_t to, unsigned *looked)
{
    bloc *best = NULL;
    double least = 0;
    uint32_t kinds = w->rule->classes + 1, done = 0;

    memset(looked, 0, kinds * sizeof *looked);
    for (uint64_t i = w->first[from]; i < w->first[from + 1] && done < kinds;
         i++) {
        bloc *b = &w->blocs[w->order[i]];
        double g;

        if (b->split != from || looked[b->dominant] >= LOOK_AHEAD) {
            continue;
        }
        done += ++looked[b->dominant] == LOOK_AHEAD;
        g = gain(w, b, to);
        if (g < least) {
            least = g;
            best = b;
        }
    }
    return best;
}

static void
move(work *w, bloc *b, uint32_t to)
{
    uint32_t kinds = w->rule->classes + 1;
    double n = (double)b->size;

    w->have[b->split] -= n;
    w->have[to] += n;
    w->label[b->split * kinds + b->dominant] -= n;
    w->label[to * kinds + b->dominant] += n;
    b->split = to;
}

static void
repair_loop(work *w, unsigned *looked)
{
    double largest = 0;

    for (uint64_t i = 0; i < w->bloc_count; i++) {
        largest = fmax(largest, (double)w->blocs[i].size);
    }
    for (;;) {
        uint32_t full = 0, empty = 0;
        bloc *b;

        for (uint32_t i = 1; i < w->rule->count; i++) {
            full = excess(w, i) > excess(w, full) ? i : full;
            empty = excess(w, i) < excess(w, empty) ? i : empty;
        }
        if (fmax(excess(w, full), -excess(w, empty)) <= largest / 2) {
            return;
        }
        b = choose(w, full, empty, looked);
        if (b == NULL) {
            return;
        }
        move(w, b, empty);
    }
}

/* Blocs in the order of their places; each split's share is a stretch of it. */
static void
sort_blocs(work *w)
{
    uint32_t split = 0;

    for (uint64_t i = 0; i < w->bloc_count; i++) {
        w->order[i] = i;
    }
    sorted_work = w;
    qsort(w->order, (size_t)w->bloc_count, sizeof *w->order, by_place);
    sorted_work = NULL;
    for (uint64_t i = 0; i < w->bloc_count; i++) {
        uint32_t here = split_at(w->rule, w->blocs[w->order[i]].place);

        while (split < here) {
            w->first[++split] = i;
        }
    }
    while (split < w->rule->count) {
        w->first[++split] = w->bloc_count;
    }
}

static mr_err
repair(work *w, mr_diag *diag)
{
    uint32_t kinds = w->rule->classes + 1;
    unsigned *looked = mri_alloc(kinds, sizeof *looked);
    mr_err err = find_dominant(w, diag);

    w->have = mri_alloc(w->rule->count, sizeof *w->have);
    w->label = mri_alloc((size_t)w->rule->count * kinds, sizeof *w->label);
    w->total = mri_alloc(kinds, sizeof *w->total);
    w->order = mri_alloc((size_t)w->bloc_count, sizeof *w->order);
    w->first = mri_alloc((size_t)w->rule->count + 1, sizeof *w->first);
    if (err == MR_OK &&
        (looked == NULL || w->have == NULL || w->label == NULL ||
         w->total == NULL || w->order == NULL || w->first == NULL)) {
        err = no_memory(diag);
    }
    if (err == MR_OK) {
        for (uint64_t i = 0; i < w->bloc_count; i++) {
            const bloc *b = &w->blocs[i];

            w->have[b->split] += (double)b->size;
            w->label[b->split * kinds + b->dominant] += (double)b->size;
            w->total[b->dominant] += (double)b->size;
        }
        sort_blocs(w);
        repair_loop(w, looked);
    }
    mri_free(looked);
    return err;
}

static mr_err
assign(work *w, mri_split_result *out, mr_diag *diag)
{
    pair *pairs = mri_alloc((size_t)w->count, sizeof *pairs);
    uint64_t kinds = 0, unused = 0;
    bool named = false;
    mr_err err;

    w->parent = mri_alloc((size_t)w->count, sizeof *w->parent);
    if (pairs == NULL || w->parent == NULL) {
        mri_free(pairs);
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < w->count; i++) {
        w->parent[i] = i;
        named = named || w->units[i].group != 0;
    }
    join_equal(w, pairs, group_of, &kinds, &unused);
    out->groups = named ? kinds : 0;
    join_equal(w, pairs, pixels_of, &unused, &out->joined);
    mri_free(pairs);
    err = make_blocs(w, diag);
    if (err != MR_OK) {
        return err;
    }
    out->torn = assign_blocs(w);
    if (w->rule->repair) {
        err = repair(w, diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < w->count; i++) {
        if (w->units[i].split == MRI_SPLIT_BY_HASH) {
            w->units[i].split = w->blocs[w->bloc_of[i]].split;
        }
    }
    return err;
}

mr_err
mri_split_assign(mri_unit *units, uint64_t count, const mri_split_rule *rule,
                 mri_split_result *out, mr_diag *diag)
{
    work w = {.units = units, .count = count, .rule = rule};
    mr_err err;

    *out = (mri_split_result){0};
    err = assign(&w, out, diag);
    mri_free(w.parent);
    mri_free(w.bloc_of);
    mri_free(w.blocs);
    mri_free(w.have);
    mri_free(w.label);
    mri_free(w.total);
    mri_free(w.order);
    mri_free(w.first);
    return err;
}
