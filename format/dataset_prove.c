/* SPDX-License-Identifier: Apache-2.0 */
/* dataset_prove.c - do a manifest's statistics follow from the samples? */
#include "commit.h"
#include "commit_pieces.h"
#include "dataset_read.h"
#include "prove.h"
#include "salvage_names.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* The generation, as if it was in the making. */
typedef struct remake {
    mr_dataset *ds;
    mri_schema schema;
    mri_commit in;
    const char **names;
    bool covered; /* it has percentiles of the foreground */
    mri_making c;
} remake;

static mr_err
open_shards(remake *r, mr_diag *diag)
{
    const Mri__PbManifest *m = r->ds->manifest;
    mr_err err = MR_OK;

    r->c.shards = mri_alloc(m->n_shards, sizeof *r->c.shards);
    if (r->c.shards == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; err == MR_OK && i < m->n_shards; i++) {
        mri_shard_ref ref;

        mri_dataset_shard_ref(m, i, &ref);
        err = mri_shard_open_in(&r->c.shards[i], &r->ds->store, &ref,
                                r->ds->use_map, diag);
    }
    return err;
}

/* Samples and their splits are those of the index. */
static mr_err
list_units(remake *r, mr_diag *diag)
{
    uint64_t n = mr_dataset_count(r->ds), rank;
    mr_err err = MR_OK;

    r->c.units = mri_alloc((size_t)n, sizeof *r->c.units);
    if (r->c.units == NULL) {
        return no_memory(diag);
    }
    r->c.count = n;
    for (uint64_t i = 0; err == MR_OK && i < n; i++) {
        mri_index_entry e;

        err = mri_index_at(&r->ds->index, i, &e, diag);
        if (err == MR_OK) {
            memcpy(r->c.units[i].uid, e.uid, MR_UID_BYTES);
            r->c.units[i].shard = e.shard;
            r->c.units[i].row = e.row;
        }
    }
    for (uint32_t s = 0; s < mr_dataset_splits(r->ds); s++) {
        for (uint64_t i = 0;
             err == MR_OK && i < mr_dataset_split_count(r->ds, s); i++) {
            err = mr_dataset_split_at(r->ds, s, i, &rank, diag);
            if (err == MR_OK) {
                r->c.units[rank].split = s;
            }
        }
    }
    return err;
}

static mr_err
open_remake(remake *r, const char *dir, mr_diag *diag)
{
    uint32_t splits;
    mr_err err = mr_dataset_open(&r->ds, dir, diag);

    if (err != MR_OK) {
        return err;
    }
    splits = mr_dataset_splits(r->ds);
    r->names = mri_alloc(splits, sizeof *r->names);
    if (r->names == NULL ||
        !mri_schema_of_pb(&r->schema, r->ds->manifest->schema)) {
        return no_memory(diag);
    }
    for (uint32_t s = 0; s < splits; s++) {
        r->names[s] = mr_dataset_split_name(r->ds, s);
    }
    r->in.schema = &r->schema;
    r->in.shard_count = (uint32_t)r->ds->manifest->n_shards;
    r->in.split_names = r->names;
    r->in.split_count = splits;
    r->c.in = &r->in;
    err = open_shards(r, diag);
    return err == MR_OK ? list_units(r, diag) : err;
}

static void
close_remake(remake *r)
{
    if (r->c.in != NULL) {
        mri_making_stats_release(&r->c);
    }
    for (uint32_t i = 0; r->c.shards != NULL && i < r->in.shard_count; i++) {
        mri_shard_close(r->c.shards[i]);
    }
    mri_free(r->c.shards);
    mri_free(r->c.units);
    mri_schema_view_release(&r->schema);
    mri_free(r->names);
    mr_dataset_close(r->ds);
}

static bool
same_numbers(const double a[MR_PERCENTILES], const double b[MR_PERCENTILES])
{
    for (int i = 0; i < MR_PERCENTILES; i++) {
        if (a[i] != b[i] && (a[i] == a[i] || b[i] == b[i])) {
            return false;
        }
    }
    return true;
}

static bool
same_moments(const mr_channel_stats *a, const mr_channel_stats *b)
{
    return mri_moments_agree(&a->all, &b->all) &&
           mri_moments_agree(&a->nonzero, &b->nonzero) &&
           mri_moments_agree(&a->foreground, &b->foreground) &&
           mri_moments_agree(&a->unit, &b->unit) &&
           a->non_finite == b->non_finite;
}

static bool
same_percentiles(const remake *r, const mr_channel_stats *a,
                 const mr_channel_stats *b)
{
    return a->exact == b->exact && same_numbers(a->percentile, b->percentile) &&
           same_numbers(a->nonzero_percentile, b->nonzero_percentile) &&
           (!r->covered ||
            same_numbers(a->foreground_percentile, b->foreground_percentile));
}

/* ---- of decoded pictures, which are not decoded once more ---- */

typedef struct told_of {
    const remake *r;
    const Mri__PbStatistics *pb;
    mri_bins bins;
    uint64_t *count; /* room for them */
} told_of;

/* Add what a manifest says of a channel, in one split or in all of them.
 * False: it does not hold. *whole: nothing was left out. */
static bool
add_told(const told_of *t, size_t channel, bool under, uint64_t *count,
         bool *whole)
{
    const Mri__PbManifest *m = t->r->ds->manifest;
    const Mri__PbStatistics *of = t->pb;
    bool holds = true;

    *whole = true;
    for (size_t i = 0; holds && i < m->n_statistics; i++) {
        const Mri__PbStatistics *pb = m->statistics[i];
        const ProtobufCBinaryData *packed;
        const Mri__PbMoments *all;
        const Mri__PbChannel *ch;

        if (strcmp(pb->field, of->field) != 0 || pb->split[0] == '\0' ||
            (of->split[0] != '\0' && pb != of) || channel >= pb->n_channels) {
            continue;
        }
        ch = pb->channels[channel];
        packed = under ? &ch->foreground_histogram
                       : mri_histogram_of_pb(pb, channel);
        all = under ? ch->foreground : ch->all;
        *whole = *whole && (packed->len != 0 || all == NULL || all->count == 0);
        holds = mri_bins_unpack(&t->bins, count, packed->data, packed->len);
    }
    return holds;
}

static uint64_t
sum_of(const uint64_t *count, uint32_t n)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < n; i++) {
        sum += count[i];
    }
    return sum;
}

/* Do the percentiles follow from the histogram, and do both count what the
 * moments do? */
static bool
follows(const told_of *t, size_t channel, const mr_channel_stats *told)
{
    mr_channel_stats want = *told;
    uint64_t *count = t->count;
    bool whole;

    memset(count, 0, t->bins.count * sizeof *count);
    if (!add_told(t, channel, false, count, &whole)) {
        return false;
    }
    if (!whole) { /* the writer had no room for it */
        return true;
    }
    mri_percentiles(want.percentile, &t->bins, count, 0, &told->all);
    mri_percentiles(want.nonzero_percentile, &t->bins, count,
                    told->all.count - told->nonzero.count, &told->nonzero);
    return sum_of(count, t->bins.count) == told->all.count &&
           same_numbers(want.percentile, told->percentile) &&
           same_numbers(want.nonzero_percentile, told->nonzero_percentile);
}

/* The same of the foreground. */
static bool
follows_under(const told_of *t, size_t channel, const mr_channel_stats *told)
{
    double want[MR_PERCENTILES];
    bool whole;

    memset(t->count, 0, t->bins.count * sizeof *t->count);
    if (!add_told(t, channel, true, t->count, &whole)) {
        return false;
    }
    if (!whole) {
        return true;
    }
    mri_percentiles(want, &t->bins, t->count, 0, &told->foreground);
    return sum_of(t->count, t->bins.count) == told->foreground.count &&
           same_numbers(want, told->foreground_percentile);
}

/* What is said of decoded pixels. Nothing may be: an older writer did not
 * look into pictures. */
static mr_err
prove_decoded(const remake *r, size_t i, const mri_bins *bins, bool *holds,
              mr_diag *diag)
{
    const Mri__PbStatistics *pb = r->ds->manifest->statistics[i];
    const mri_split_stats *told = &r->ds->stats[i];
    mri_bins b = mri_bins_of_pb(pb);
    told_of t = {.r = r, .pb = pb, .bins = b};

    *holds = pb->bins == MRI_BINS_NONE;
    if (!*holds || pb->decoded_bins == MRI_BINS_NONE) {
        return MR_OK;
    }
    *holds = b.kind == bins->kind && b.slope == bins->slope &&
             b.inter == bins->inter;
    t.count = mri_alloc(b.count, sizeof *t.count);
    if (t.count == NULL) {
        return no_memory(diag);
    }
    for (uint32_t k = 0; *holds && k < told->channels; k++) {
        *holds = follows(&t, k, &told->channel[k]) &&
                 (!r->covered || follows_under(&t, k, &told->channel[k]));
    }
    mri_free(t.count);
    return MR_OK;
}

static bool
says_of_foreground(const Mri__PbManifest *m)
{
    for (size_t i = 0; i < m->n_statistics; i++) {
        for (size_t k = 0; k < m->statistics[i]->n_channels; k++) {
            const Mri__PbChannel *ch = m->statistics[i]->channels[k];

            if (ch->n_foreground_percentiles != 0 ||
                ch->foreground_histogram.len != 0) {
                return true;
            }
        }
    }
    return false; /* an older writer, or there are no labels */
}

/* ---- lengths and spacings ---- */

static bool
same_measure(const mri_measures *m, const mri_measure_group *g,
             const Mri__PbMeasure *pb, bool *holds)
{
    mr_measure told;
    mri_bytes values = {0};
    bool ok = true;

    *holds = mri_measure_known(pb);
    if (!*holds) {
        return true;
    }
    told = mri_measure_of_pb(pb);
    *holds = told.axis == g->m.axis && told.kind == g->m.kind &&
             told.count == g->m.count &&
             same_numbers(told.percentile, g->m.percentile);
    if (*holds && pb->values.len != 0) { /* they may be left out */
        ok = mri_measures_pack(&values, m, g);
        *holds = ok && values.len == pb->values.len &&
                 memcmp(values.data, pb->values.data, values.len) == 0;
    }
    mri_bytes_release(&values);
    return ok;
}

static bool
says_of_measures(const Mri__PbManifest *m)
{
    for (size_t i = 0; i < m->n_statistics; i++) {
        if (m->statistics[i]->n_measures != 0) {
            return true;
        }
    }
    return false; /* an older writer */
}

/* The measures of one split and field, in their order. */
static mr_err
prove_measures(const remake *r, const Mri__PbStatistics *pb, uint32_t split,
               uint32_t field, bool *holds, mr_diag *diag)
{
    const mri_measures *m = &r->c.measures;
    size_t n = 0;

    *holds = true;
    if (!says_of_measures(r->ds->manifest)) {
        return MR_OK;
    }
    for (size_t i = 0; *holds && i < m->groups; i++) {
        const mri_measure_group *g = &m->group[i];

        if (g->split != split || g->field != field) {
            continue;
        }
        *holds = n < pb->n_measures;
        if (*holds && !same_measure(m, g, pb->measures[n++], holds)) {
            return no_memory(diag);
        }
    }
    *holds = *holds && n == pb->n_measures;
    return MR_OK;
}

/* ---- all of it ---- */

/* A histogram may be left out. */
static bool
same_histogram(const mri_stats *s, uint32_t part, uint32_t channel,
               const Mri__PbStatistics *pb)
{
    const Mri__PbChannel *ch = pb->channels[channel];
    const ProtobufCBinaryData *b =
        part == 0 ? &ch->histogram : &ch->foreground_histogram;
    const mri_bytes *a = s->histogram != NULL
                             ? &s->histogram[part * s->channels + channel]
                             : NULL;

    return b->len == 0 || (a != NULL && a->len == b->len &&
                           memcmp(a->data, b->data, b->len) == 0);
}

static bool
same_bins(const mri_bins *b, const Mri__PbStatistics *pb)
{
    return pb->decoded_bins == MRI_BINS_NONE && b->kind == pb->bins &&
           (pb->bins != MRI_BINS_STORED ||
            (b->slope == pb->slope && b->inter == pb->inter));
}

static mr_err
compare(const remake *r, size_t i, mr_diag *diag)
{
    const Mri__PbStatistics *pb = r->ds->manifest->statistics[i];
    const mri_split_stats *told = &r->ds->stats[i];
    uint32_t split = 0, splits = r->in.split_count;
    const mri_stats *s;
    mr_err err = MR_OK;
    bool same;

    while (split < splits && strcmp(r->names[split], pb->split) != 0) {
        split++;
    }
    same = told->field < r->schema.field_count &&
           (split < splits || pb->split[0] == '\0');
    s = same ? &r->c.stats[split * r->schema.field_count + told->field] : NULL;
    same = same && s->channels == told->channels;
    for (uint32_t k = 0; same && k < told->channels; k++) {
        same = same_moments(&s->channel[k], &told->channel[k]);
    }
    if (same && s->bins.decoded) {
        err = prove_decoded(r, i, &s->bins, &same, diag);
    } else {
        same = same && same_bins(&s->bins, pb);
        for (uint32_t k = 0; same && k < told->channels; k++) {
            same = same_percentiles(r, &s->channel[k], &told->channel[k]) &&
                   same_histogram(s, 0, k, pb) &&
                   (!r->covered || same_histogram(s, 1, k, pb));
        }
    }
    if (err == MR_OK && same) {
        err = prove_measures(r, pb, split, told->field, &same, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    return same ? MR_OK
                : mri_fail(diag, MRI_E_STATISTICS, MRI_MANIFEST_HEAD,
                           "the statistics of field '%.80s', split '%.80s', do "
                           "not follow from the samples",
                           pb->field, pb->split[0] != '\0' ? pb->split : "all");
}

mr_err
mri_dataset_prove_stats(const char *dir, unsigned workers,
                        const mr_watch *watch, mr_diag *diag)
{
    remake r = {.in = {.watch = watch, .workers = workers},
                .c = {.undecoded = true}};
    char *path = NULL;
    mr_err err = open_remake(&r, dir, diag);

    if (err == MR_OK) {
        r.covered = says_of_foreground(r.ds->manifest);
        r.c.uncovered = !r.covered;
        err = mri_making_stats(&r.c, diag);
    }
    if (err == MR_OK) {
        err = mri_making_histograms(&r.c, diag);
    }
    if (err == MR_OK && says_of_measures(r.ds->manifest)) {
        err = mri_making_measures(&r.c, diag);
    }
    for (size_t i = 0; err == MR_OK && i < r.ds->manifest->n_statistics; i++) {
        err = compare(&r, i, diag);
        if (err == MR_ECORRUPT) {
            path = mri_manifest_path(dir, mr_dataset_generation(r.ds));
            mri_diag_in(diag, path);
        }
    }
    mri_free(path);
    close_remake(&r);
    return err;
}
