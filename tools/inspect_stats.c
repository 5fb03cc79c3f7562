/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect_stats.c - statistics by split and channel, and what samples measure
 * along their axes.
 */
#include "inspect.h"
#include "table.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <stdio.h>
#include <stdlib.h>

/* Where it goes: one of them. */
typedef struct sink {
    mri_json *json;
    mri_table *table;
} sink;

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
percentile_cells(mri_table *t, const double *percentile, bool exact)
{
    for (unsigned i = 0; i < MR_PERCENTILES; i++) {
        if (percentile[i] == percentile[i]) {
            mri_table_cell(t, "%s%.6g", exact ? "" : "~", percentile[i]);
        } else {
            mri_table_cell(t, "-");
        }
    }
}

static void
percentile_heads(mri_table *t)
{
    for (unsigned i = 0; i < MR_PERCENTILES; i++) {
        mri_table_cell(t, "p%g", mr_percent(i));
    }
    mri_table_end_row(t);
}

/* One row: all values of a channel, or those that are something. */
typedef struct values {
    const char *what;
    const mr_moments *moments, *unit; /* NULL: not known */
    const double *percentile;
} values;

static void
values_cells(mri_table *t, const values *v, bool exact)
{
    mri_table_cell(t, "%s", v->what);
    mri_table_cell(t, "%.6g", v->moments->min);
    mri_table_cell(t, "%.6g", v->moments->max);
    mri_table_cell(t, "%.6g", mr_moments_mean(v->moments));
    mri_table_cell(t, "%.6g", mr_moments_std(v->moments));
    if (v->unit != NULL) {
        mri_table_cell(t, "%.6g", mr_moments_mean(v->unit));
        mri_table_cell(t, "%.6g", mr_moments_std(v->unit));
    } else {
        mri_table_cell(t, "-");
        mri_table_cell(t, "-");
    }
    percentile_cells(t, v->percentile, exact);
    mri_table_end_row(t);
}

static void
channel_rows(mri_table *t, const char *split, const char *field, uint32_t c,
             const mr_channel_stats *st)
{
    const values rows[] = {
        {"all", &st->all, &st->unit, st->percentile},
        {"nonzero", &st->nonzero, NULL, st->nonzero_percentile},
        {"labelled", &st->foreground, NULL, st->foreground_percentile}};

    for (unsigned i = 0; i < MRI_COUNT(rows); i++) {
        uint64_t n = rows[i].moments->count;

        if (i == 0 || (n != 0 && n != st->all.count)) {
            mri_table_cell(t, "%s", split);
            mri_table_cell(t, "%s", field);
            mri_table_cell(t, "%u", c);
            values_cells(t, &rows[i], st->exact);
        }
    }
}

static void
channel_heads(mri_table *t)
{
    static const char *const heads[] = {"split",  "field", "channel", "values",
                                        "min",    "max",   "mean",    "std",
                                        "mean01", "std01"};

    for (unsigned i = 0; i < MRI_COUNT(heads); i++) {
        mri_table_cell(t, "%s", heads[i]);
    }
    percentile_heads(t);
}

/* ---- lengths and spacings ---- */

static const char *
kind_of(const mr_measure *m)
{
    return m->kind == MR_MEASURE_LENGTH ? "length" : "spacing";
}

static void
measure_row(mri_table *t, const char *split, const char *field,
            const mr_measure *m)
{
    mri_table_cell(t, "%s", split);
    mri_table_cell(t, "%s", field);
    mri_table_cell(t, "%c", m->axis);
    mri_table_cell(t, "%s", kind_of(m));
    mri_table_cell(t, "%llu", (unsigned long long)m->count);
    percentile_cells(t, m->percentile, true);
    mri_table_end_row(t);
}

static void
show_measures(const mr_dataset *ds, const sink *to, uint32_t split,
              uint32_t field)
{
    mri_json *j = to->json;

    for (uint32_t i = 0; i < mr_dataset_measures(ds, split, field); i++) {
        const mr_measure *m = mr_dataset_measure(ds, split, field, i);
        const char axis[] = {m->axis, '\0'};

        if (j == NULL) {
            measure_row(to->table, mr_dataset_split_name(ds, split),
                        mr_dataset_field_name(ds, field), m);
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
measure_heads(mri_table *t)
{
    static const char *const heads[] = {"split", "field", "axis", "measure",
                                        "samples"};

    for (unsigned i = 0; i < MRI_COUNT(heads); i++) {
        mri_table_cell(t, "%s", heads[i]);
    }
    percentile_heads(t);
}

/* ---- all of it ---- */

static void
show_field(const mr_dataset *ds, const sink *to, uint32_t split, uint32_t field)
{
    mri_json *j = to->json;
    uint32_t n = mr_dataset_stats_channels(ds, split, field);

    for (uint32_t c = 0; c < n; c++) {
        const mr_channel_stats *st = mr_dataset_stats(ds, split, field, c);

        if (j == NULL) {
            channel_rows(to->table, mr_dataset_split_name(ds, split),
                         mr_dataset_field_name(ds, field), c, st);
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
for_all(const mr_dataset *ds, const sink *to,
        void (*show)(const mr_dataset *ds, const sink *to, uint32_t split,
                     uint32_t field))
{
    uint32_t splits = mr_dataset_splits(ds);

    for (uint32_t s = 0; s <= splits; s++) {
        for (uint32_t f = 0; f < mr_dataset_fields(ds); f++) {
            show(ds, to, s < splits ? s : MR_ALL_SAMPLES, f);
        }
    }
}

static void
json_stats(const mr_dataset *ds, mri_json *j)
{
    const sink to = {.json = j};

    mri_json_key(j, "stats");
    mri_json_array(j);
    for_all(ds, &to, show_field);
    mri_json_end(j);
    mri_json_key(j, "measures");
    mri_json_array(j);
    for_all(ds, &to, show_measures);
    mri_json_end(j);
}

mr_err
mri_inspect_stats(const mr_dataset *ds, mri_json *j, mr_diag *diag)
{
    mri_table statistics = {0}, measures = {0};
    const sink first = {.table = &statistics}, second = {.table = &measures};
    bool ok;

    if (j != NULL) {
        json_stats(ds, j);
        return MR_OK;
    }
    channel_heads(&statistics);
    for_all(ds, &first, show_field);
    measure_heads(&measures);
    for_all(ds, &second, show_measures);
    ok = mri_table_print(&statistics, stdout);
    (void)printf("mean01, std01: each sample scaled to [0, 1] first; ~: within "
                 "1/256\n\n");
    ok = mri_table_print(&measures, stdout) && ok;
    mri_table_release(&statistics);
    mri_table_release(&measures);
    return ok ? MR_OK : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}
