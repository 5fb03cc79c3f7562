/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest_plan.c - what an ingest would do: the plan, and a few inputs decoded
 * to say how long all of them will take and how large the dataset becomes.
 */
#include "folds.h"
#include "known.h"
#include "merge.h"
#include "quarantine.h"
#include "work.h"

#include <mri/alloc.h>
#include <mri/clock.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/store.h>

#include <stdlib.h>
#include <string.h>

#define TRIES 8

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
open_existing(const char *output, mr_dataset **ds, mr_diag *diag)
{
    uint64_t generation = 0;
    mri_root is = MRI_ROOT_NONE;
    mri_store store;
    mr_err err = MR_OK;

    *ds = NULL;
    if (output != NULL) {
        err = mri_store_open(&store, output, diag);
        if (err == MR_OK) {
            err = mri_store_root(&store, &is, diag);
        }
        mri_store_close(&store);
    }
    if (err != MR_OK || is == MRI_ROOT_NONE) {
        return err;
    }
    err = mri_generation_of(output, &generation, diag);
    return err == MR_OK && generation != 0 ? mr_dataset_open(ds, output, diag)
                                           : err;
}

/* Move the bad ones over; what was encoded is only counted. */
static mr_err
count_try(mri_ingest_plan *plan, mri_made *made, mr_diag *diag)
{
    mri_bad *grown;

    for (uint64_t i = 0; i < made->sample_count; i++) {
        plan->stored_bytes += mri_encoded_bytes(made->samples[i]);
        plan->raw_bytes += mri_encoded_raw_bytes(made->samples[i]);
    }
    grown = mri_resize(plan->bad, (size_t)(plan->bad_count + made->bad_count),
                       sizeof *grown);
    if (grown == NULL) {
        return no_memory(diag);
    }
    plan->bad = grown;
    if (made->bad_count != 0) {
        memcpy(grown + plan->bad_count, made->bad,
               (size_t)made->bad_count * sizeof *grown);
        plan->bad_count += made->bad_count;
        made->bad_count = 0;
        mri_free(made->bad);
        made->bad = NULL;
    }
    return MR_OK;
}

/* A few inputs, evenly spread; the rest is taken to be like them, by bytes. */
static mr_err
try_some(const mri_plan *p, mri_ingest_plan *plan, mr_diag *diag)
{
    uint64_t tries = p->count < TRIES ? p->count : TRIES, bytes = 0;
    double start = mri_now_s(), scale;
    unsigned workers = p->options->workers != 0 ? p->options->workers : 1;

    for (uint64_t i = 0; i < tries; i++) {
        uint64_t n = (2 * i + 1) * p->count / (2 * tries);
        mri_made made;
        mr_err err = mri_make(&made, p, &p->items[n], diag);

        if (err == MR_OK) {
            err = count_try(plan, &made, diag);
            mri_made_release(&made);
        }
        if (err != MR_OK) {
            return err;
        }
        bytes += p->items[n].bytes;
        plan->tried++;
    }
    scale = bytes != 0 ? (double)p->bytes / (double)bytes : 0;
    plan->seconds = (mri_now_s() - start) * scale / workers;
    plan->stored_bytes = (uint64_t)((double)plan->stored_bytes * scale);
    plan->raw_bytes = (uint64_t)((double)plan->raw_bytes * scale);
    return MR_OK;
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static mr_err
count_groups(const mri_plan *p, mri_ingest_plan *plan, mr_diag *diag)
{
    const char **groups = mri_alloc((size_t)p->count, sizeof *groups);
    uint64_t n = 0;

    if (groups == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < p->count; i++) {
        if (p->items[i].group[0] != '\0') {
            groups[n++] = p->items[i].group;
        }
    }
    qsort(groups, (size_t)n, sizeof *groups, by_text);
    for (uint64_t i = 0; i < n; i++) {
        plan->groups += i == 0 || strcmp(groups[i], groups[i - 1]) != 0;
    }
    mri_free((void *)groups);
    return MR_OK;
}

static mr_err
copy_classes(const mri_plan *p, mri_ingest_plan *plan, mr_diag *diag)
{
    plan->class_names = mri_alloc(p->class_count, sizeof *plan->class_names);
    plan->class_counts = mri_alloc(p->class_count, sizeof *plan->class_counts);
    if (plan->class_names == NULL || plan->class_counts == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < p->class_count; i++) {
        plan->class_names[i] = mri_strdup(p->classes[i]);
        if (plan->class_names[i] == NULL) {
            return no_memory(diag);
        }
        plan->classes++;
    }
    for (uint64_t i = 0; i < p->count; i++) {
        if (p->items[i].class_index != MR_NO_CLASS) {
            plan->class_counts[p->items[i].class_index]++;
        }
    }
    return MR_OK;
}

static mr_err
no_datasets(const mri_ingest_options *o, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < o->source_count; i++) {
        bool is = false;

        err = mri_merge_is_dataset(o->sources[i], &is, diag);
        if (err == MR_OK && is) {
            err = mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                           "--plan is for files: leave out '%.200s', which is "
                           "a dataset",
                           o->sources[i]);
        }
    }
    return err;
}

mr_err
mri_ingest_plan_of(const mri_ingest_options *options, mri_ingest_plan *plan,
                   mr_diag *diag)
{
    mri_plan p = {0};
    mri_known seen = {0};
    mr_dataset *ds = NULL;
    uint32_t unused;
    mr_err err = no_datasets(options, diag);

    *plan = (mri_ingest_plan){0};
    if (err == MR_OK) {
        err = mri_plan_make(&p, options, diag);
    }
    if (err == MR_OK) {
        err = open_existing(options->output, &ds, diag);
    }
    if (err == MR_OK) {
        err = mri_folds_choose(&unused, &p, ds, diag);
    }
    if (err == MR_OK && ds != NULL) {
        plan->generation = (uint32_t)mr_dataset_generation(ds);
        err = mri_known_filter(&p, ds, &seen, diag);
    }
    if (err == MR_OK) {
        err = mri_plan_pack(&p, ds, diag);
    }
    if (err == MR_OK) {
        err = count_groups(&p, plan, diag);
    }
    if (err == MR_OK) {
        err = copy_classes(&p, plan, diag);
    }
    if (err == MR_OK) {
        err = try_some(&p, plan, diag);
    }
    plan->known = seen.known;
    plan->changed = seen.changed;
    plan->withdrawn = seen.withdrawn;
    plan->layout = p.layout;
    plan->inputs = p.count;
    plan->bytes = p.bytes;
    plan->ignored = p.ignored;
    plan->unmatched = p.unmatched;
    plan->shards = p.shards;
    mr_dataset_close(ds);
    mri_plan_release(&p);
    return err;
}

void
mri_ingest_plan_release(mri_ingest_plan *plan)
{
    for (uint32_t i = 0; i < plan->classes; i++) {
        mri_free(plan->class_names[i]);
    }
    mri_free(plan->class_names);
    mri_free(plan->class_counts);
    mri_bad_list_free(plan->bad, plan->bad_count);
    *plan = (mri_ingest_plan){0};
}
