/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit_stats.c - statistics of a generation in the making: moments of each
 * split and of all, types and shapes, from the rows of the shards.
 */
#include "commit.h"

#include "inflation.h"
#include "moments.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <stdlib.h>
#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static bool
merge_channel(mri_stats *s, const mri_moment_row *m)
{
    mr_moments unit = mri_moments_unit(&m->all);

    if (m->channel >= s->channels) {
        mr_channel_stats *grown =
            mri_resize(s->channel, m->channel + 1, sizeof *grown);

        if (grown == NULL) {
            return false;
        }
        memset(grown + s->channels, 0,
               (m->channel + 1 - s->channels) * sizeof *grown);
        s->channel = grown;
        s->channels = m->channel + 1;
    }
    mri_moments_merge(&s->channel[m->channel].all, &m->all);
    mri_moments_merge(&s->channel[m->channel].nonzero, &m->nonzero);
    mri_moments_merge(&s->channel[m->channel].foreground, &m->foreground);
    mri_moments_merge(&s->channel[m->channel].unit, &unit);
    s->channel[m->channel].non_finite += m->non_finite;
    return true;
}

uint32_t
mri_making_field(const mri_making *c, const char *name)
{
    const mri_schema *schema = c->in->schema;

    for (uint32_t i = 0; i < schema->field_count; i++) {
        if (strcmp(schema->field_names[i], name) == 0) {
            return i;
        }
    }
    return 0;
}

/* Count the field under its type and shape; the last row takes what comes
 * when all others are taken. */
static void
count_variant(mri_making *c, uint32_t field, const mri_grid_row *g)
{
    mri_variant v = {.field = field,
                     .encoding = (mr_encoding)g->encoding,
                     .dtype = (mr_dtype)g->dtype,
                     .rank = g->ndim};
    uint32_t i = 0;

    for (unsigned k = 0; k < g->ndim; k++) {
        v.axes[k] = g->axes[k];
        v.shape[k] = g->dims[k];
    }
    for (; i < c->variant_count; i++) {
        const mri_variant *w = &c->variants[i];

        if (w->field == field && w->dtype == v.dtype && w->rank == v.rank &&
            w->encoding == v.encoding && strcmp(w->axes, v.axes) == 0 &&
            memcmp(w->shape, v.shape, sizeof v.shape) == 0) {
            break;
        }
    }
    if (i == c->variant_count && i < MRI_VARIANTS - 1) {
        c->variants[c->variant_count++] = v;
    } else if (i == c->variant_count) {
        c->variants[c->variant_count++] = (mri_variant){.field = field};
    } else if (i == MRI_VARIANTS) {
        i = MRI_VARIANTS - 1;
    }
    c->variants[i].count++;
}

static int
by_count(const void *a, const void *b)
{
    const mri_variant *x = a, *y = b;

    if ((x->dtype == MR_NONE) != (y->dtype == MR_NONE)) {
        return x->dtype == MR_NONE ? 1 : -1;
    }
    if (x->field != y->field) {
        return x->field < y->field ? -1 : 1;
    }
    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }
    if (x->dtype != y->dtype) {
        return x->dtype < y->dtype ? -1 : 1;
    }
    return memcmp(x->shape, y->shape, sizeof x->shape);
}

static mr_err
add_sample_stats(mri_making *c, const mri_unit *u, mri_inflation *all,
                 mr_diag *diag)
{
    const mri_shard *s = c->shards[u->shard];
    uint32_t fields = c->in->schema->field_count;
    mri_sample_row row;
    mri_moment_row m;
    mri_grid_row g;
    mr_err err = mri_shard_sample(s, u->row, &row, diag);

    for (uint32_t i = 0; err == MR_OK && i < row.n_grid; i++) {
        uint32_t field;

        err = mri_shard_grid(s, &row, i, &g, diag);
        if (err == MR_OK) { /* its values will be counted */
            err = mri_inflation_add(all, &g, diag);
            mri_diag_in(err != MR_OK ? diag : NULL, s->file.path);
        }
        if (err != MR_OK) {
            break;
        }
        field = mri_making_field(c, s->schema->fields[g.field]->name);
        count_variant(c, field, &g);
        if (g.encoding == MR_ENC_BYTES) {
            continue;
        }
        for (uint32_t k = 0; err == MR_OK && k < mri_channels_of(&g); k++) {
            err = mri_shard_moments(s, &row, i, k, &m, diag);
            if (err == MR_OK &&
                (!merge_channel(&c->stats[u->split * fields + field], &m) ||
                 !merge_channel(&c->stats[c->in->split_count * fields + field],
                                &m))) {
                err = no_memory(diag);
            }
        }
    }
    return err;
}

mr_err
mri_making_stats(mri_making *c, mr_diag *diag)
{
    size_t n = (size_t)(c->in->split_count + 1) * c->in->schema->field_count;
    uint32_t shards = c->in->shard_count;
    mri_inflation *all = mri_alloc(shards, sizeof *all);
    mr_err err = MR_OK;

    c->stats = mri_alloc(n, sizeof *c->stats);
    c->variants = mri_alloc(MRI_VARIANTS, sizeof *c->variants);
    if (all == NULL || c->stats == NULL || c->variants == NULL) {
        mri_free(all);
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < shards; i++) {
        all[i].file_bytes = c->shards[i]->file.size;
    }
    for (uint64_t i = 0; err == MR_OK && i < c->count; i++) {
        mri_unit *u = &c->units[i];

        err = add_sample_stats(c, u, &all[u->shard], diag);
        if (err == MR_OK && i % 4096 == 0 && mri_making_stopped(c)) {
            err = mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
        }
    }
    mri_free(all);
    qsort(c->variants, c->variant_count, sizeof *c->variants, by_count);
    return err;
}

static void
release_stats(mri_stats *s)
{
    for (size_t i = 0; s->histogram != NULL && i < 2 * (size_t)s->channels;
         i++) {
        mri_bytes_release(&s->histogram[i]);
    }
    mri_free(s->histogram);
    mri_free(s->channel);
}

void
mri_making_stats_release(mri_making *c)
{
    size_t n = (size_t)(c->in->split_count + 1) * c->in->schema->field_count;

    for (size_t i = 0; c->stats != NULL && i < n; i++) {
        release_stats(&c->stats[i]);
    }
    mri_free(c->stats);
    mri_free(c->variants);
    mri_measures_release(&c->measures);
    c->stats = NULL;
    c->variants = NULL;
}
