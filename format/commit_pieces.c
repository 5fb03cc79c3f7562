/* SPDX-License-Identifier: Apache-2.0 */
/* commit_pieces.c - which samples must be counted. */
#include "commit_pieces.h"

#include "dataset_read.h"
#include "shard_stats.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <stdlib.h>
#include <string.h>

enum { LOOK_EVERY = 4096 }; /* samples between two looks at the watch */

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
look(const mri_making *c, uint64_t i, mr_diag *diag)
{
    return i % LOOK_EVERY == 0 && mri_making_stopped(c)
               ? mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped")
               : MR_OK;
}

/* ---- bins ---- */

static mr_err
choose_by_grid(mri_bins *out, const mri_shard *s, const mri_sample_row *row,
               uint32_t i, const mri_grid_row *g, mr_diag *diag)
{
    bool decoded = out->decoded || g->encoding == MR_ENC_JPEG;
    double scale[2];
    mr_err err = MR_OK;

    if (g->encoding != MR_ENC_CHUNKS && g->encoding != MR_ENC_JPEG) {
        *out = (mri_bins){.kind = MRI_BINS_NONE, .count = 1}; /* for good */
        return MR_OK;
    }
    if (out->kind == MRI_BINS_BRAIN || !mri_bins_store((mr_dtype)g->dtype)) {
        *out = mri_bins_brain();
    } else {
        err = mri_shard_scale(s, row, i, scale, diag);
        if (err != MR_OK) {
            return err;
        }
        if (out->count == 0) {
            *out = mri_bins_stored(scale[0], scale[1]);
        } else if (out->slope != scale[0] || out->inter != scale[1]) {
            *out = mri_bins_brain();
        }
    }
    out->decoded = decoded;
    return MR_OK;
}

mr_err
mri_bins_choose(mri_bins *out, const mri_making *c, uint32_t field,
                mr_diag *diag)
{
    const char *name = c->in->schema->field_names[field];
    mr_err err = MR_OK;

    *out = (mri_bins){.kind = MRI_BINS_NONE};
    if (c->in->schema->field_kinds[field] != MRI_FIELD_IMAGE) {
        return MR_OK;
    }
    for (uint64_t k = 0; err == MR_OK && k < c->count; k++) {
        const mri_shard *s = c->shards[c->units[k].shard];
        mri_sample_row row;

        err = look(c, k, diag);
        if (err == MR_OK) {
            err = mri_shard_sample(s, c->units[k].row, &row, diag);
        }
        for (uint32_t i = 0; err == MR_OK && i < row.n_grid; i++) {
            mri_grid_row g;

            err = mri_shard_grid(s, &row, i, &g, diag);
            if (err == MR_OK &&
                strcmp(s->schema->fields[g.field]->name, name) == 0 &&
                (out->count == 0 || out->kind != MRI_BINS_NONE)) {
                err = choose_by_grid(out, s, &row, i, &g, diag);
            }
        }
    }
    return err;
}

mri_bins
mri_bins_of_pb(const Mri__PbStatistics *pb)
{
    bool decoded = pb->decoded_bins != MRI_BINS_NONE;
    uint32_t kind = decoded ? pb->decoded_bins : pb->bins;
    mri_bins b = {.kind = MRI_BINS_NONE};

    if (kind == MRI_BINS_STORED) {
        b = decoded ? mri_bins_stored(pb->decoded_slope, pb->decoded_inter)
                    : mri_bins_stored(pb->slope, pb->inter);
    } else if (kind == MRI_BINS_BRAIN) {
        b = mri_bins_brain();
    }
    b.decoded = decoded;
    return b;
}

const ProtobufCBinaryData *
mri_histogram_of_pb(const Mri__PbStatistics *pb, size_t channel)
{
    const Mri__PbChannel *ch = pb->channels[channel];

    return pb->decoded_bins != MRI_BINS_NONE ? &ch->decoded_histogram
                                             : &ch->histogram;
}

/* ---- what the generation before has counted ---- */

static bool
usable(const Mri__PbStatistics *pb, const mri_bins *bins)
{
    mri_bins old = mri_bins_of_pb(pb);

    if (pb->n_channels == 0) {
        return true; /* a split without samples */
    }
    if (old.count == 0 ||
        (bins->kind == MRI_BINS_STORED &&
         (old.kind != MRI_BINS_STORED || old.slope != bins->slope ||
          old.inter != bins->inter))) {
        return false;
    }
    for (size_t i = 0; i < pb->n_channels; i++) {
        const Mri__PbChannel *ch = pb->channels[i];

        if (ch->all != NULL && ch->all->count != 0 &&
            mri_histogram_of_pb(pb, i)->len == 0) {
            return false;
        }
        if (bins->covered && ch->foreground != NULL &&
            ch->foreground->count != 0 && ch->foreground_histogram.len == 0) {
            return false;
        }
    }
    return true;
}

static const Mri__PbStatistics *
counted_in(const mr_dataset *base, const char *split, const char *field)
{
    const Mri__PbManifest *m = base->manifest;

    for (size_t i = 0; i < m->n_statistics; i++) {
        if (strcmp(m->statistics[i]->split, split) == 0 &&
            strcmp(m->statistics[i]->field, field) == 0) {
            return m->statistics[i];
        }
    }
    return NULL;
}

/* False: something is missing, and all must be counted. */
static bool
take_counts(mri_pieces *p, const mri_making *c, uint32_t field,
            const mri_bins *bins)
{
    const char *name = c->in->schema->field_names[field];

    for (uint32_t s = 0; s < p->splits; s++) {
        p->counted[s] = counted_in(c->base, c->in->split_names[s], name);
        if (p->counted[s] != NULL && !usable(p->counted[s], bins)) {
            return false;
        }
        /* a split that is new here begins with nothing */
        if (p->counted[s] == NULL) {
            for (uint32_t k = 0; k < mr_dataset_splits(c->base); k++) {
                if (strcmp(mr_dataset_split_name(c->base, k),
                           c->in->split_names[s]) == 0) {
                    return false;
                }
            }
        }
    }
    return true;
}

/* ---- what has come, and what has gone ---- */

static bool
add_piece(mri_pieces *p, const mri_shard *s, uint32_t row, uint32_t split,
          bool minus)
{
    if ((p->count & (p->count - 1)) == 0) {
        size_t room = p->count == 0 ? 1 : p->count * 2;
        mri_piece_of *grown = mri_resize(p->at, room, sizeof *grown);

        if (grown == NULL) {
            return false;
        }
        p->at = grown;
    }
    p->at[p->count++] = (mri_piece_of){s, row, split, minus};
    return true;
}

static mr_err
add_unit(mri_pieces *p, const mri_making *c, const mri_unit *u, mr_diag *diag)
{
    return add_piece(p, c->shards[u->shard], u->row, u->split, false)
               ? MR_OK
               : no_memory(diag);
}

/* The split of each rank of the generation before, as splits are counted now;
 * UINT32_MAX: of a split that is no more. */
static mr_err
old_splits(uint32_t **out, const mri_making *c, mr_diag *diag)
{
    const mr_dataset *base = c->base;
    uint64_t rank;

    *out = mri_alloc((size_t)mr_dataset_count(base), sizeof **out);
    if (*out == NULL) {
        return no_memory(diag);
    }
    memset(*out, 0xFF, (size_t)mr_dataset_count(base) * sizeof **out);
    for (uint32_t k = 0; k < mr_dataset_splits(base); k++) {
        uint32_t now = 0;

        while (now < c->in->split_count &&
               strcmp(c->in->split_names[now],
                      mr_dataset_split_name(base, k)) != 0) {
            now++;
        }
        for (uint64_t i = 0;
             now < c->in->split_count && i < mr_dataset_split_count(base, k);
             i++) {
            mr_err err = mr_dataset_split_at(base, k, i, &rank, diag);

            if (err != MR_OK) {
                return err;
            }
            (*out)[rank] = now;
        }
    }
    return MR_OK;
}

/* The same values in the same fields, though perhaps in another shard. */
static mr_err
same_values(const mri_shard *a, const mri_sample_row *x, const mri_shard *b,
            const mri_sample_row *y, bool *same, mr_diag *diag)
{
    *same = x->n_grid == y->n_grid;
    for (uint32_t i = 0; *same && i < x->n_grid; i++) {
        mri_grid_row g, h;
        double k[2], l[2];
        mr_err err = mri_shard_grid(a, x, i, &g, diag);

        if (err == MR_OK) {
            err = mri_shard_grid(b, y, i, &h, diag);
        }
        if (err == MR_OK) {
            err = mri_shard_scale(a, x, i, k, diag);
        }
        if (err == MR_OK) {
            err = mri_shard_scale(b, y, i, l, diag);
        }
        if (err != MR_OK) {
            return err;
        }
        *same = strcmp(a->schema->fields[g.field]->name,
                       b->schema->fields[h.field]->name) == 0 &&
                g.content == h.content && g.dtype == h.dtype &&
                g.encoding == h.encoding &&
                memcmp(g.dims, h.dims, sizeof g.dims) == 0 &&
                memcmp(g.axes, h.axes, sizeof g.axes) == 0 && k[0] == l[0] &&
                k[1] == l[1];
    }
    return MR_OK;
}

/* A sample of both generations: does it have to be counted again? */
static mr_err
compare(mri_pieces *p, const mri_making *c, const mri_unit *u, uint64_t rank,
        uint32_t old_split, mr_diag *diag)
{
    const mri_shard *now = c->shards[u->shard], *old;
    mri_sample_row x, y;
    mri_index_entry at;
    bool same = false;
    mr_err err = mri_dataset_locate(c->base, rank, &old, &at, &y, diag);

    if (err == MR_OK && u->split == old_split && at.row == u->row &&
        memcmp(mri_shard_id(now), mri_shard_id(old), 16) == 0) {
        return MR_OK;
    }
    if (err == MR_OK) {
        err = mri_shard_sample(now, u->row, &x, diag);
    }
    if (err == MR_OK && u->split == old_split) {
        err = same_values(now, &x, old, &y, &same, diag);
    }
    if (err != MR_OK || same) {
        return err;
    }
    return add_piece(p, now, u->row, u->split, false) &&
                   (old_split == UINT32_MAX ||
                    add_piece(p, old, at.row, old_split, true))
               ? MR_OK
               : no_memory(diag);
}

static mr_err
add_gone(mri_pieces *p, const mri_making *c, uint64_t rank, uint32_t split,
         mr_diag *diag)
{
    const mri_shard *s;
    mri_index_entry at;
    mri_sample_row row;
    mr_err err = MR_OK;

    if (split == UINT32_MAX) {
        return MR_OK;
    }
    err = mri_dataset_locate(c->base, rank, &s, &at, &row, diag);
    if (err == MR_OK && !add_piece(p, s, at.row, split, true)) {
        err = no_memory(diag);
    }
    return err;
}

/* Both lists ascend by uid. */
static mr_err
find_changes(mri_pieces *p, const mri_making *c, const uint32_t *split_of,
             mr_diag *diag)
{
    uint64_t i = 0, rank = 0, old = mr_dataset_count(c->base);
    mr_err err = MR_OK;

    while (err == MR_OK && (i < c->count || rank < old)) {
        mri_index_entry e;
        int order = -1;

        err = look(c, i, diag);
        if (err == MR_OK && rank < old) {
            err = mri_index_at(&c->base->index, rank, &e, diag);
            order = i < c->count && err == MR_OK
                        ? memcmp(c->units[i].uid, e.uid, MR_UID_BYTES)
                        : 1;
        }
        if (err != MR_OK) {
            break;
        }
        if (order < 0) {
            err = add_unit(p, c, &c->units[i], diag);
        } else if (order > 0) {
            err = add_gone(p, c, rank, split_of[rank], diag);
        } else {
            err = compare(p, c, &c->units[i], rank, split_of[rank], diag);
        }
        i += order <= 0;
        rank += order >= 0;
    }
    return err;
}

static int
by_split(const void *a, const void *b)
{
    const mri_piece_of *x = a, *y = b;

    if (x->split != y->split) {
        return x->split < y->split ? -1 : 1;
    }
    if (x->minus != y->minus) {
        return x->minus ? 1 : -1;
    }
    if (x->shard != y->shard) {
        return (uintptr_t)x->shard < (uintptr_t)y->shard ? -1 : 1;
    }
    return x->row < y->row ? -1 : x->row > y->row;
}

static void
put_in_order(mri_pieces *p)
{
    if (p->count != 0) {
        qsort(p->at, p->count, sizeof *p->at, by_split);
    }
}

mr_err
mri_pieces_all(mri_pieces *p, const mri_making *c, mr_diag *diag)
{
    mr_err err = MR_OK;

    *p = (mri_pieces){.splits = c->in->split_count};
    for (uint64_t i = 0; err == MR_OK && i < c->count; i++) {
        err = look(c, i, diag);
        if (err == MR_OK) {
            err = add_unit(p, c, &c->units[i], diag);
        }
    }
    put_in_order(p);
    return err;
}

/* *all: it would be no less work to look at every sample, or changes cannot
 * be found. */
static mr_err
list_changes(mri_pieces *p, const mri_making *c, bool *all, mr_diag *diag)
{
    uint32_t *split_of = NULL;
    mr_diag why = {0};
    mr_err err = old_splits(&split_of, c, &why);

    if (err == MR_OK) {
        err = find_changes(p, c, split_of, &why);
    }
    mri_free(split_of);
    /* What has gone may be damaged, or its shard: count the rest. */
    *all = err == MR_ECORRUPT || err == MR_EIO ||
           (err == MR_OK && p->count >= c->count);
    if (!*all && err != MR_OK && diag != NULL) {
        *diag = why;
    }
    return *all ? MR_OK : err;
}

mr_err
mri_pieces_changes(mri_pieces *p, const mri_making *c, bool *all, mr_diag *diag)
{
    mr_err err;

    *p = (mri_pieces){.splits = c->in->split_count};
    err = list_changes(p, c, all, diag);
    put_in_order(p);
    return err;
}

mr_err
mri_pieces_find(mri_pieces *p, const mri_making *c, uint32_t field,
                const mri_bins *bins, mr_diag *diag)
{
    mr_err err = MR_OK;
    bool all;

    *p = (mri_pieces){.splits = c->in->split_count};
    if (c->base != NULL) {
        p->counted = mri_alloc(p->splits, sizeof *p->counted);
        if (p->counted == NULL) {
            return no_memory(diag);
        }
    }
    all = c->base == NULL || !take_counts(p, c, field, bins);
    if (!all) {
        err = list_changes(p, c, &all, diag);
    }
    if (all) {
        mri_pieces_release(p);
        return mri_pieces_all(p, c, diag);
    }
    put_in_order(p);
    return err;
}

const Mri__PbStatistics *
mri_pieces_counted(const mri_pieces *p, uint32_t split)
{
    return p->counted != NULL ? p->counted[split] : NULL;
}

void
mri_pieces_release(mri_pieces *p)
{
    mri_free(p->at);
    mri_free(p->counted);
    *p = (mri_pieces){0};
}
