/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect_stats.c - statistics by split and channel, and what samples measure
 * along their axes.
 */
#include "inspect.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <stdio.h>
#include <stdlib.h>

static void
json_moments(mri_json *j, const char *key, const mr_moments *m)
{
    mri_json_key(j, key);
    mri_json_object(j);
    mri_json_put_u64(j, "count", m->count);
    mri_json_put_f64(j, "min", m->min);
    mri_json_put_f64(j, "max", m->max);
    mri_json_put_f64(j, "mean", mr_moments_mean(m));
    mri_json_put_f64(j, "std", mr_moments_std(m));
    mri_json_end(j);
}

/* {"0.5": 12, ...}; null where nothing was counted. */
static void
json_percentiles(mri_json *j, const char *key, const double *percentile)
{
    mri_json_key(j, key);
    if (percentile[0] != percentile[0]) {
        mri_json_null(j);
        return;
    }
    mri_json_object(j);
    for (unsigned i = 0; i < MR_PERCENTILES; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "%g", mr_percent(i));
        mri_json_put_f64(j, name, percentile[i]);
    }
    mri_json_end(j);
}

static void
json_channel(mri_json *j, const mr_channel_stats *st)
{
    mri_json_put_u64(j, "count", st->all.count);
    mri_json_put_u64(j, "non_finite", st->non_finite);
    mri_json_put_f64(j, "min", st->all.min);
    mri_json_put_f64(j, "max", st->all.max);
    mri_json_put_f64(j, "mean", mr_moments_mean(&st->all));
    mri_json_put_f64(j, "std", mr_moments_std(&st->all));
    mri_json_put_f64(j, "unit_mean", mr_moments_mean(&st->unit));
    mri_json_put_f64(j, "unit_std", mr_moments_std(&st->unit));
    json_moments(j, "nonzero", &st->nonzero);
    json_moments(j, "foreground", &st->foreground);
    json_percentiles(j, "percentiles", st->percentile);
    json_percentiles(j, "nonzero_percentiles", st->nonzero_percentile);
    json_percentiles(j, "foreground_percentiles", st->foreground_percentile);
    mri_json_put_bool(j, "percentiles_exact", st->exact);
}

static void
print_percentiles(const double *percentile, bool exact)
{
    for (unsigned i = 0; i < MR_PERCENTILES; i++) {
        if (percentile[i] == percentile[i]) {
            (void)printf("  %s%.6g", exact ? "" : "~", percentile[i]);
        } else {
            (void)printf("  -");
        }
    }
}

static void
print_channel(const mr_channel_stats *st)
{
    (void)printf("  %.6g  %.6g  %.6g  %.6g  %.6g  %.6g", st->all.min,
                 st->all.max, mr_moments_mean(&st->all),
                 mr_moments_std(&st->all), mr_moments_mean(&st->unit),
                 mr_moments_std(&st->unit));
    print_percentiles(st->percentile, st->exact);
    if (st->foreground.count != 0) {
        (void)printf("  %.6g  %.6g", mr_moments_mean(&st->foreground),
                     mr_moments_std(&st->foreground));
    } else {
        (void)printf("  -  -");
    }
    print_percentiles(st->foreground_percentile, st->exact);
    (void)printf("\n");
}

static void
print_head(void)
{
    (void)printf("split  field  channel  min  max  mean  std  mean01  std01");
    for (unsigned i = 0; i < MR_PERCENTILES; i++) {
        (void)printf("  p%g", mr_percent(i));
    }
    (void)printf("  mean>0  std>0");
    for (unsigned i = 0; i < MR_PERCENTILES; i++) {
        (void)printf("  p%g>0", mr_percent(i));
    }
    (void)printf("\n");
}

/* ---- lengths and spacings ---- */

static const char *
kind_of(const mr_measure *m)
{
    return m->kind == MR_MEASURE_LENGTH ? "length" : "spacing";
}

static void
print_measure(const mr_measure *m)
{
    (void)printf(" %c     %-7s  %llu", m->axis, kind_of(m),
                 (unsigned long long)m->count);
    for (unsigned i = 0; i < MR_PERCENTILES; i++) {
        (void)printf("  %.6g", m->percentile[i]);
    }
    (void)printf("\n");
}

static void
show_measures(const mr_dataset *ds, mri_json *j, uint32_t split, uint32_t field)
{
    for (uint32_t i = 0; i < mr_dataset_measures(ds, split, field); i++) {
        const mr_measure *m = mr_dataset_measure(ds, split, field, i);
        const char axis[] = {m->axis, '\0'};

        if (j == NULL) {
            (void)printf("%-6s %-6s", mr_dataset_split_name(ds, split),
                         mr_dataset_field_name(ds, field));
            print_measure(m);
            continue;
        }
        mri_json_object(j);
        mri_json_put_text(j, "split", mr_dataset_split_name(ds, split));
        mri_json_put_text(j, "field", mr_dataset_field_name(ds, field));
        mri_json_put_text(j, "axis", axis);
        mri_json_put_text(j, "measure", kind_of(m));
        mri_json_put_u64(j, "samples", m->count);
        json_percentiles(j, "percentiles", m->percentile);
        mri_json_end(j);
    }
}

static void
print_measures_head(void)
{
    (void)printf("\nsplit  field  axis  measure  samples");
    for (unsigned i = 0; i < MR_PERCENTILES; i++) {
        (void)printf("  p%g", mr_percent(i));
    }
    (void)printf("\n");
}

static void
show_field(const mr_dataset *ds, mri_json *j, uint32_t split, uint32_t field)
{
    uint32_t n = mr_dataset_stats_channels(ds, split, field);

    for (uint32_t c = 0; c < n; c++) {
        const mr_channel_stats *st = mr_dataset_stats(ds, split, field, c);

        if (j == NULL) {
            (void)printf("%-6s %-6s %u", mr_dataset_split_name(ds, split),
                         mr_dataset_field_name(ds, field), c);
            print_channel(st);
            continue;
        }
        mri_json_object(j);
        mri_json_put_text(j, "split", mr_dataset_split_name(ds, split));
        mri_json_put_text(j, "field", mr_dataset_field_name(ds, field));
        mri_json_put_u64(j, "channel", c);
        json_channel(j, st);
        mri_json_end(j);
    }
}

/* Each field of each split, and of all samples. */
static void
for_all(const mr_dataset *ds, mri_json *j,
        void (*show)(const mr_dataset *ds, mri_json *j, uint32_t split,
                     uint32_t field))
{
    uint32_t splits = mr_dataset_splits(ds);

    for (uint32_t s = 0; s <= splits; s++) {
        for (uint32_t f = 0; f < mr_dataset_fields(ds); f++) {
            show(ds, j, s < splits ? s : MR_ALL_SAMPLES, f);
        }
    }
}

void
mri_inspect_stats(const mr_dataset *ds, mri_json *j)
{
    if (j != NULL) {
        mri_json_key(j, "stats");
        mri_json_array(j);
    } else {
        print_head();
    }
    for_all(ds, j, show_field);
    if (j != NULL) {
        mri_json_end(j);
        mri_json_key(j, "measures");
        mri_json_array(j);
    } else {
        (void)printf("mean01, std01: each sample scaled to [0, 1] first; "
                     "~: within 1/256; >0: under a label\n");
        print_measures_head();
    }
    for_all(ds, j, show_measures);
    if (j != NULL) {
        mri_json_end(j);
    }
}
