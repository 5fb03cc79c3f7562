/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit_measures.c - lengths and spacings of a generation in the making.
 *
 * Spacings stand in the meta frames, far apart from each other: so only those
 * of samples that have come or gone since the generation before are read, and
 * its counts are carried on. That gives the same numbers as reading all.
 */
#include "commit.h"

#include "commit_pieces.h"
#include "dataset_read.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/thread.h>

#include <math.h>
#include <string.h>

enum { BLOCK = 256 }; /* samples between two additions to the table */

typedef struct measuring {
    mri_making *c;
    mri_pieces pieces;
    mri_measures *sum;
    mri_bytes *room; /* [workers], of mri_measured */
    unsigned workers;
    bool lost;   /* what was measured before cannot be used */
    bool unread; /* a sample is damaged */
    pthread_mutex_t lock;
} measuring;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* ---- a sample ---- */

/* Spacing along a stored axis; 0: nobody knows. */
static double
spacing_of(const Mri__PbMeta *pb, uint32_t field, unsigned axis)
{
    const Mri__PbGeometry *g =
        field < pb->n_fields ? pb->fields[field]->geometry : NULL;
    double spacing = g != NULL && axis < g->n_spacing ? g->spacing[axis] : 0;

    return isfinite(spacing) && spacing > 0 ? spacing : 0;
}

static bool
measure_axis(mri_bytes *out, const mri_measured *like, double length,
             double spacing)
{
    mri_measured one = *like;
    bool ok;

    one.kind = MR_MEASURE_LENGTH;
    one.value = length;
    ok = mri_bytes_add(out, &one, sizeof one);
    if (spacing > 0) {
        one.kind = MR_MEASURE_SPACING;
        one.value = spacing;
        ok = ok && mri_bytes_add(out, &one, sizeof one);
    }
    return ok;
}

static mr_err
measure_piece(const measuring *x, const mri_piece_of *p, mri_bytes *out,
              mr_diag *diag)
{
    mri_measured like = {.split = p->split, .count = p->minus ? -1 : 1};
    Mri__PbMeta *pb = NULL;
    mri_sample_row row;
    mri_grid_row g;
    mr_err err = mri_shard_sample(p->shard, p->row, &row, diag);

    if (err == MR_OK) {
        err = mri_shard_meta_pb(p->shard, &row, &pb, diag);
    }
    for (uint32_t i = 0; err == MR_OK && i < row.n_grid; i++) {
        err = mri_shard_grid(p->shard, &row, i, &g, diag);
        if (err != MR_OK) {
            break;
        }
        like.field =
            mri_making_field(x->c, p->shard->schema->fields[g.field]->name);
        for (unsigned k = 0; err == MR_OK && k < g.ndim; k++) {
            like.axis = g.axes[k];
            err = measure_axis(out, &like, g.dims[k], spacing_of(pb, i, k))
                      ? MR_OK
                      : no_memory(diag);
        }
    }
    mri_meta_unpacked_free(pb);
    return err;
}

/* Damage does not end a commit: it may be what is being withdrawn. */
static mr_err
forgive(const mri_piece_of *p, mr_err err, bool *lost, bool *unread)
{
    if (p->minus && (err == MR_ECORRUPT || err == MR_EIO)) {
        *lost = true;
        return MR_OK;
    }
    if (!p->minus && err == MR_ECORRUPT) {
        *unread = true;
        return MR_OK;
    }
    return err;
}

static mr_err
measure_block(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    measuring *x = arg;
    mri_bytes *room = &x->room[worker];
    size_t first = task * BLOCK, end = first + BLOCK;
    bool lost = false, unread = false, ok = true;
    mr_err err = MR_OK;

    end = end < x->pieces.count ? end : x->pieces.count;
    room->len = 0;
    for (size_t i = first; err == MR_OK && i < end; i++) {
        err = measure_piece(x, &x->pieces.at[i], room, diag);
        err = forgive(&x->pieces.at[i], err, &lost, &unread);
    }
    if (err != MR_OK) {
        return err;
    }
    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; ok && i < room->len / sizeof(mri_measured); i++) {
        ok = mri_measures_add(x->sum, (const mri_measured *)room->data + i);
    }
    x->lost = x->lost || lost;
    x->unread = x->unread || unread;
    if (!ok) {
        err = no_memory(diag);
    } else if (mri_making_stopped(x->c)) {
        err = mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
    }
    pthread_mutex_unlock(&x->lock);
    return err;
}

static mr_err
measure_pieces(measuring *x, mr_diag *diag)
{
    size_t tasks = (x->pieces.count + BLOCK - 1) / BLOCK;
    mri_pool *pool = NULL;
    mr_err err = MR_OK;

    x->workers = mri_making_workers(x->c, tasks);
    x->room = mri_alloc(x->workers, sizeof *x->room);
    if (x->room == NULL) {
        return no_memory(diag);
    }
    err = mri_pool_open(&pool, x->workers, diag);
    if (err == MR_OK) {
        err = mri_pool_run(pool, tasks, measure_block, x, diag);
    }
    mri_pool_close(pool);
    for (unsigned i = 0; i < x->workers; i++) {
        mri_bytes_release(&x->room[i]);
    }
    mri_free(x->room);
    x->room = NULL;
    return err;
}

/* ---- what the generation before has measured ---- */

static uint32_t
split_named(const mri_making *c, const char *name)
{
    uint32_t s = 0;

    while (s < c->in->split_count && strcmp(c->in->split_names[s], name) != 0) {
        s++;
    }
    return s;
}

/* Does a split of it that has samples say nothing? Then an older writer made
 * it, or it had too much to say. */
static bool
says_nothing(const mr_dataset *base, uint32_t split)
{
    const Mri__PbManifest *m = base->manifest;
    const char *name = mr_dataset_split_name(base, split);

    for (size_t i = 0; i < m->n_statistics; i++) {
        if (strcmp(m->statistics[i]->split, name) == 0 &&
            m->statistics[i]->n_measures != 0) {
            return false;
        }
    }
    return mr_dataset_split_count(base, split) != 0;
}

static mr_err
take_measured(measuring *x, const Mri__PbStatistics *pb, bool *holds,
              mr_diag *diag)
{
    mri_measured like = {.split = split_named(x->c, pb->split),
                         .field = mri_making_field(x->c, pb->field)};
    mr_err err = MR_OK;

    if (like.split == x->c->in->split_count) {
        return MR_OK; /* that of all, or one that is no more */
    }
    for (size_t i = 0; err == MR_OK && *holds && i < pb->n_measures; i++) {
        err = mri_measures_unpack(x->sum, pb->measures[i], &like, holds, diag);
    }
    return err;
}

/* What has been measured, and what has changed since; else all samples. */
static mr_err
find_pieces(measuring *x, mr_diag *diag)
{
    const mr_dataset *base = x->c->base;
    bool holds = base != NULL, all = true;
    mr_err err = MR_OK;

    for (uint32_t s = 0; holds && s < mr_dataset_splits(base); s++) {
        holds = !says_nothing(base, s);
    }
    for (size_t i = 0;
         err == MR_OK && holds && i < base->manifest->n_statistics; i++) {
        err = take_measured(x, base->manifest->statistics[i], &holds, diag);
    }
    if (err == MR_OK && holds) {
        err = mri_pieces_changes(&x->pieces, x->c, &all, diag);
    }
    if (err == MR_OK && all) {
        mri_pieces_release(&x->pieces);
        mri_measures_release(x->sum);
        err = mri_pieces_all(&x->pieces, x->c, diag);
    }
    return err;
}

static mr_err
measure_all(measuring *x, mr_diag *diag)
{
    mri_pieces_release(&x->pieces);
    mri_measures_release(x->sum);
    x->lost = false;
    mr_err err = mri_pieces_all(&x->pieces, x->c, diag);

    return err == MR_OK ? measure_pieces(x, diag) : err;
}

static mr_err
measure(measuring *x, mr_diag *diag)
{
    uint32_t splits = x->c->in->split_count;
    mr_diag why = {0};
    mr_err err = find_pieces(x, diag);

    if (err == MR_OK) {
        err = measure_pieces(x, diag);
    }
    if (err == MR_OK && !x->lost && !x->unread) {
        err = mri_measures_end(x->sum, splits, &why);
        x->lost = err == MR_ECORRUPT;
        if (err != MR_OK && !x->lost && diag != NULL) {
            *diag = why;
        }
        if (!x->lost) {
            return err;
        }
        err = MR_OK;
    }
    if (err == MR_OK && !x->unread) { /* the counts before do not hold */
        err = measure_all(x, diag);
        if (err == MR_OK && !x->unread) {
            return mri_measures_end(x->sum, splits, diag);
        }
    }
    mri_measures_release(x->sum);
    return err;
}

mr_err
mri_making_measures(mri_making *c, mr_diag *diag)
{
    measuring x = {.c = c, .sum = &c->measures};
    mr_err err;

    pthread_mutex_init(&x.lock, NULL);
    err = measure(&x, diag);
    pthread_mutex_destroy(&x.lock);
    mri_pieces_release(&x.pieces);
    return err;
}
