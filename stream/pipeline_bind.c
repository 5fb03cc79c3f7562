/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline_bind.c - what a pipeline takes from the dataset: indices of
 * channels, and numbers for `from: dataset`.
 */
#include "op.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/opt.h>

#include <stdio.h>
#include <string.h>

#define NAME_PROBES 16 /* samples whose channel names are compared */

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* Geometry of the image field of the i-th sample of a split; *meta is the
 * caller's to free, also if there is no such field. */
static mr_err
geometry_at(const mri_selection *split, uint32_t field, uint64_t i,
            mri_meta **meta, const mri_geometry **out, mr_diag *diag)
{
    const mr_dataset *ds = split->ds;
    uint64_t rank;
    mr_sample s;
    mr_err err = mri_selection_at(split, i, &rank, diag);

    *meta = NULL;
    *out = NULL;
    if (err == MR_OK) {
        err = mr_dataset_sample(ds, rank, &s, diag);
    }
    if (err == MR_OK) {
        err = mri_dataset_meta(ds, rank, meta, diag);
    }
    for (uint32_t k = 0; err == MR_OK && k < s.fields; k++) {
        mr_field f;

        err = mr_dataset_field(ds, rank, k, &f, diag);
        if (err == MR_OK && f.name == field && k < (*meta)->field_count) {
            *out = &(*meta)->geometry[k];
        }
    }
    return err;
}

static mr_err
no_channel(const mri_op *op, const char *name, const mri_geometry *g,
           mr_diag *diag)
{
    char known[240] = "none have names";
    size_t used = 0;

    for (uint32_t i = 0; i < g->channel_count && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                 i > 0 ? ", " : "", g->channels[i]);
    }
    return mri_op_fail(op, MRI_E_PIPE_CHANNEL, diag,
                       "no channel '%.60s'; the samples' channels: %s", name,
                       known);
}

static mr_err
find_channel(const mri_op *op, const char *name, const mri_geometry *g,
             double *index, mr_diag *diag)
{
    uint64_t number;

    for (uint32_t i = 0; i < g->channel_count; i++) {
        if (strcmp(g->channels[i], name) == 0) {
            *index = i;
            return MR_OK;
        }
    }
    if (mri_parse_u64(name, &number) && number <= UINT32_MAX) {
        *index = (double)number;
        return MR_OK;
    }
    return no_channel(op, name, g, diag);
}

/* The indices of op's names in one sample. */
static mr_err
indices_in(const mri_op *op, const mri_geometry *g, double *out, mr_diag *diag)
{
    const mri_value *v = &op->v[SELECT_CHANNELS];
    mri_geometry unnamed = {0};

    for (uint32_t i = 0; i < v->count; i++) {
        mr_err err = find_channel(op, v->names[i], g != NULL ? g : &unnamed,
                                  &out[i], diag);

        if (err != MR_OK) {
            return err;
        }
    }
    return MR_OK;
}

/* Names to indices, which must be the same in every sample that is probed. */
static mr_err
resolve_names(mri_op *op, const mri_selection *split, uint32_t field,
              mr_diag *diag)
{
    mri_value *v = &op->v[SELECT_CHANNELS];
    uint64_t n = split->count;
    uint64_t step = n / NAME_PROBES + 1;
    double *now = mri_alloc(v->count, sizeof *now);
    mr_err err = MR_OK;

    v->list = mri_alloc(v->count, sizeof *v->list);
    if (v->list == NULL || now == NULL) {
        err = no_memory(diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < n; i += step) {
        const mri_geometry *g;
        mri_meta *meta;

        err = geometry_at(split, field, i, &meta, &g, diag);
        if (err == MR_OK) {
            err = indices_in(op, g, i == 0 ? v->list : now, diag);
        }
        mri_meta_free(meta);
        if (err == MR_OK && i > 0 &&
            memcmp(now, v->list, v->count * sizeof *now) != 0) {
            err = mri_op_fail(op, MRI_E_PIPE_CHANNEL, diag,
                              "samples have these channels in different "
                              "orders: select by index");
        }
    }
    mri_free(now);
    for (uint32_t i = 0; err == MR_OK && i < v->count; i++) {
        mri_free(v->names[i]);
    }
    if (err == MR_OK) {
        mri_free(v->names);
        v->names = NULL;
    }
    return err;
}

/* What stands before a `normalize: {from: dataset}`. */
typedef struct before {
    bool unit;            /* a minmax per channel */
    const mri_op *blocks; /* what leaves no statistics to go by */
    double scale;
    const mri_value *select;
} before;

static before
look_before(const mri_pipeline *p, const mri_op *end)
{
    before b = {.scale = 1};

    for (const mri_op *op = p->ops; op < end; op++) {
        if (mri_op_is(op, "minmax")) {
            b.unit = true;
            b.blocks = op->v[MINMAX_PER].choice == PER_SAMPLE ? op : b.blocks;
        } else if (mri_op_is(op, "to")) {
            b.scale *= op->v[TO_SCALE].at[0];
        } else if (mri_op_is(op, "select")) {
            b.blocks = b.select != NULL ? op : b.blocks;
            b.select = &op->v[SELECT_CHANNELS];
        } else if (mri_op_is(op, "normalize")) {
            b.blocks = op;
        }
        if (b.unit && mri_op_is(op, "minmax")) {
            b.scale = 1;
        }
    }
    return b;
}

static mr_err
no_statistics(const mri_op *op, const char *why, mr_diag *diag)
{
    return mri_op_fail(op, MRI_E_PIPE_STATISTICS, diag, "%s", why);
}

/*
 * Whose statistics: of the split that is named, else of train. What a stream
 * of folds reads does not say it: the same numbers belong before training and
 * before its validation, which read different ones.
 */
static mr_err
open_source(mri_selection *out, const mri_op *op, const mr_dataset *ds,
            mr_diag *diag)
{
    const mri_value *named = &op->v[NORM_SPLIT];
    char why[sizeof(((mr_diag *)0)->text)];
    mr_diag inner = {0};
    mr_err err;

    if (!named->given &&
        mr_dataset_split_find(ds, "train", &(uint32_t){0}, NULL) != MR_OK) {
        *out = (mri_selection){0};
        return no_statistics(op,
                             "the dataset has no split 'train': name the one "
                             "that is trained on, {from: dataset, split: "
                             "'!fold0'}, for its validation too",
                             diag);
    }
    err = mri_selection_open(out, ds, named->given ? named->names[0] : "train",
                             &inner);
    if (err == MR_EARG) {
        (void)snprintf(why, sizeof why, "%s", inner.text);
        return mri_op_fail(op, MRI_E_PIPE_STATISTICS, diag, "%s", why);
    }
    if (err != MR_OK && diag != NULL) {
        *diag = inner;
    }
    return err;
}

/* Mean and deviation of the channels that are left. */
static mr_err
fill_numbers(mri_op *op, const before *b, const mri_selection *from,
             uint32_t field, mr_diag *diag)
{
    mri_value *mean = &op->v[NORM_MEAN], *std = &op->v[NORM_STD];
    uint32_t n = b->select != NULL ? b->select->count
                                   : mri_selection_channels(from, field);

    mean->list = mri_alloc(n, sizeof *mean->list);
    std->list = mri_alloc(n, sizeof *std->list);
    if (mean->list == NULL || std->list == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t c = b->select != NULL ? (uint32_t)b->select->list[i] : i;
        mr_moments all, unit, *m = b->unit ? &unit : &all;

        mri_selection_moments(from, field, c, &all, &unit);
        if (all.count == 0) {
            return mri_op_fail(op, MRI_E_PIPE_STATISTICS, diag,
                               "split %.80s has no statistics of a channel: is "
                               "it empty?",
                               from->name);
        }
        mean->list[i] = mr_moments_mean(m) * b->scale;
        std->list[i] = mr_moments_std(m) * b->scale;
        if (!(std->list[i] > 0)) { /* constant: leave it at 0 */
            std->list[i] = 1;
        }
    }
    if (n == 0) {
        return no_statistics(op, "the dataset holds none for this field", diag);
    }
    mean->count = std->count = n;
    mean->given = std->given = true;
    op->v[NORM_FROM].given = op->v[NORM_SPLIT].given = false;
    return MR_OK;
}

static mr_err
fill_from_dataset(const mri_pipeline *p, mri_op *op, const mr_dataset *ds,
                  uint32_t field, mr_diag *diag)
{
    before b = look_before(p, op);
    mri_selection from;
    mr_err err;

    if (b.blocks != NULL) {
        return no_statistics(op,
                             mri_op_is(b.blocks, "minmax")
                                 ? "no statistics are kept for a minmax per "
                                   "sample"
                                 : "the dataset's statistics do not hold after "
                                   "two of normalize or select",
                             diag);
    }
    err = open_source(&from, op, ds, diag);
    if (err == MR_OK) {
        err = fill_numbers(op, &b, &from, field, diag);
    }
    mri_selection_release(&from);
    return err;
}

void
mri_names_free(char **names, uint32_t count)
{
    for (uint32_t i = 0; names != NULL && i < count; i++) {
        mri_free(names[i]);
    }
    mri_free(names);
}

/* Name `at[i]` of `from` for each i, or the i-th where `at` is NULL. */
static char **
pick_names(char *const *from, const double *at, uint32_t count)
{
    char **to = mri_alloc(count + 1, sizeof *to);

    for (uint32_t i = 0; to != NULL && i < count; i++) {
        to[i] = mri_strdup(from[at != NULL ? (size_t)at[i] : i]);
        if (to[i] == NULL) {
            mri_names_free(to, i);
            return NULL;
        }
    }
    return to;
}

/* The names as every select leaves them. */
static mr_err
follow_selects(const mri_pipeline *p, char ***names, uint32_t *count,
               mr_diag *diag)
{
    for (unsigned i = 0; i < p->count; i++) {
        const mri_value *v = &p->ops[i].v[SELECT_CHANNELS];
        char **next;

        if (mri_op_is(&p->ops[i], "select")) {
            next = pick_names(*names, v->list, v->count);
            if (next == NULL) {
                return no_memory(diag);
            }
            mri_names_free(*names, *count);
            *names = next;
            *count = v->count;
        }
    }
    return MR_OK;
}

mr_err
mri_pipeline_channels(const mri_pipeline *p, const mri_selection *split,
                      uint32_t field, char ***names, uint32_t *count,
                      mr_diag *diag)
{
    const mri_geometry *g;
    mri_meta *meta;
    mr_err err = geometry_at(split, field, 0, &meta, &g, diag);

    *names = NULL;
    *count = 0;
    if (err == MR_OK && g != NULL && g->channel_count != 0) {
        *names = pick_names(g->channels, NULL, g->channel_count);
        *count = *names != NULL ? g->channel_count : 0;
        err = *names != NULL ? follow_selects(p, names, count, diag)
                             : no_memory(diag);
    }
    mri_meta_free(meta);
    return err;
}

mr_err
mri_pipeline_bind(mri_pipeline *p, const mri_selection *split, uint32_t field,
                  mr_diag *diag)
{
    for (unsigned i = 0; i < p->count; i++) {
        mri_op *op = &p->ops[i];
        mr_err err = MR_OK;

        if (mri_op_is(op, "select") && op->v[SELECT_CHANNELS].names != NULL) {
            err = resolve_names(op, split, field, diag);
        } else if (mri_op_is(op, "normalize") && op->v[NORM_FROM].given) {
            err = fill_from_dataset(p, op, split->ds, field, diag);
        }
        if (err != MR_OK) {
            return err;
        }
    }
    return MR_OK;
}
