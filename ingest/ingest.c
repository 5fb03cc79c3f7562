/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest.c - plan, make what is not made yet, commit.
 *
 * The folder is locked for the time of it. Nothing that a reader can see
 * changes before the manifest is created at the end; until then finished
 * shards stand in the journal, and a second run begins behind them.
 */
#include "folder.h"
#include "folds.h"
#include "journal.h"
#include "known.h"
#include "line.h"
#include "merge.h"
#include "quarantine.h"

#include <mri/alloc.h>
#include <mri/clock.h>
#include <mri/cpu.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/hash.h>
#include <mri/json.h>
#include <mri/log.h>

#include <stdlib.h>
#include <string.h>

typedef struct run {
    const mri_ingest_options *options;
    mri_ingest_report *report;
    mri_plan plan;
    mri_folder folder;
    mri_journal journal;
    mr_dataset *dataset; /* the generation in force, or NULL */
    mri_shard_ref *refs; /* [plan.shards] */
    uint64_t *todo;      /* items of the shards that are not finished */
    uint64_t todo_count;
    uint64_t done; /* items that were placed */
    uint32_t folds;
    /* while shards are made */
    mri_shard_writer *writer;
    uint32_t shard;
    bool shard_has_bad;
} run;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

mri_ingest_options
mri_ingest_defaults(void)
{
    return (mri_ingest_options){.source = mri_source_defaults(),
                                .max_bad_share = 0.05,
                                .shard_bytes = 256u << 20,
                                .workers = mri_cpu_count(),
                                .memory = (uint64_t)2 << 30};
}

void
mri_ingest_report_release(mri_ingest_report *report)
{
    mri_bad_list_free(report->bad, report->bad_count);
    *report = (mri_ingest_report){0};
}

/* ---- making shards ---- */

static const char *const field_names[] = {"image"};
static mri_field_kind field_kinds[] = {MRI_FIELD_IMAGE};

static mri_schema
schema_of(const mri_plan *plan)
{
    return (mri_schema){.field_count = 1,
                        .field_names = (const char **)(uintptr_t)field_names,
                        .field_kinds = field_kinds,
                        .class_count = plan->class_count,
                        .classes = plan->classes,
                        .config = plan->config};
}

static mr_err
begin_shard(run *r, mr_diag *diag)
{
    mri_schema schema = schema_of(&r->plan);
    uint8_t tag[16];

    r->shard_has_bad = false;
    if (!mri_plan_tag(&r->plan, r->shard, tag)) {
        return no_memory(diag);
    }
    return mri_shard_begin(&r->writer, r->options->output, tag, &schema, diag);
}

static mr_err
finish_shard(run *r, mr_diag *diag)
{
    mri_shard_ref *ref = &r->refs[r->shard];
    mr_err err = mri_shard_finish(r->writer, ref, diag);

    mri_shard_close_writer(r->writer);
    r->writer = NULL;
    /* With bad inputs it is made again by the next run: they may be mended. */
    if (err == MR_OK && !r->shard_has_bad) {
        err = mri_journal_add(&r->journal, ref, diag);
    }
    return err;
}

static mr_err
take_bad(run *r, mri_made *made, mr_diag *diag)
{
    mri_ingest_report *report = r->report;
    mri_bad *grown;

    if (made->bad_count == 0) {
        return MR_OK;
    }
    grown =
        mri_resize(report->bad, (size_t)(report->bad_count + made->bad_count),
                   sizeof *grown);
    if (grown == NULL) {
        return no_memory(diag);
    }
    report->bad = grown;
    memcpy(grown + report->bad_count, made->bad,
           (size_t)made->bad_count * sizeof *grown);
    report->bad_count += made->bad_count;
    mri_free(made->bad); /* the list; its records have moved */
    made->bad = NULL;
    made->bad_count = 0;
    r->shard_has_bad = true;
    return MR_OK;
}

static void
tell_progress(run *r)
{
    const mr_watch *w = r->options->watch;
    mr_progress now = {.unit = "files",
                       .done = r->done,
                       .total = r->plan.count,
                       .bad = r->report->bad_count,
                       .bytes = r->report->bytes};

    if (w != NULL && w->progress != NULL) {
        w->progress(w->user, &now);
    }
}

/* Place what came of item `n` in the shard that it belongs to. */
static mr_err
place(run *r, uint64_t n, mri_made *made, mr_diag *diag)
{
    mr_err err = MR_OK;

    if (n == r->plan.shard_first[r->shard]) {
        err = begin_shard(r, diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < made->sample_count; i++) {
        err = mri_shard_add(r->writer, made->samples[i], diag);
        r->report->added += err == MR_OK;
    }
    r->report->inputs += made->sample_count + made->bad_count;
    if (err == MR_OK) {
        err = take_bad(r, made, diag);
    }
    r->report->bytes += r->plan.items[n].bytes;
    r->done++;
    if (err == MR_OK && n + 1 == r->plan.shard_first[r->shard + 1]) {
        err = finish_shard(r, diag);
    }
    tell_progress(r);
    return err;
}

static mr_err
make_shards(run *r, mr_diag *diag)
{
    mri_line *line;
    mr_err err = mri_line_open(&line, &r->plan, r->todo, r->todo_count, diag);

    for (uint64_t i = 0; err == MR_OK && i < r->todo_count; i++) {
        uint64_t n = r->todo[i];
        mri_made made;

        while (n >= r->plan.shard_first[r->shard + 1]) {
            r->shard++;
        }
        err = mri_line_next(line, &made, diag);
        if (err == MR_OK) {
            err = place(r, n, &made, diag);
        }
        mri_made_release(&made);
    }
    mri_line_close(line);
    mri_shard_close_writer(r->writer);
    r->writer = NULL;
    return err;
}

/* Which shards an interrupted run has finished, and what is left to do. */
static mr_err
find_todo(run *r, mr_diag *diag)
{
    r->refs = mri_alloc(r->plan.shards, sizeof *r->refs);
    r->todo = mri_alloc((size_t)r->plan.count, sizeof *r->todo);
    if (r->refs == NULL || r->todo == NULL) {
        return no_memory(diag);
    }
    for (uint32_t s = 0; s < r->plan.shards; s++) {
        const mri_shard_ref *done;
        uint8_t tag[16];

        if (!mri_plan_tag(&r->plan, s, tag)) {
            return no_memory(diag);
        }
        done = mri_journal_find(&r->journal, tag);
        if (done != NULL) {
            r->refs[s] = *done;
            r->report->reused++;
            r->report->added += done->samples;
            r->report->inputs += done->samples;
            r->done += r->plan.shard_first[s + 1] - r->plan.shard_first[s];
            continue;
        }
        for (uint64_t i = r->plan.shard_first[s];
             i < r->plan.shard_first[s + 1]; i++) {
            r->todo[r->todo_count++] = i;
        }
    }
    return MR_OK;
}

/* ---- commit ---- */

/* The folder that a sample came from decides its split; the plan knows it by
 * the key's hash (the '#k' of a page is not in the plan: its file decides). */
typedef struct given {
    uint64_t key;
    uint32_t split;
} given;

typedef struct given_list {
    given *at;
    uint64_t count;
} given_list;

static int
by_key_hash(const void *a, const void *b)
{
    const given *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

static uint32_t
find_given(void *user, uint64_t key)
{
    const given_list *list = user;
    const given want = {.key = key};
    const given *got = bsearch(&want, list->at, (size_t)list->count,
                               sizeof *list->at, by_key_hash);

    return got != NULL ? got->split : MRI_SPLIT_BY_HASH;
}

static mr_err
make_given(run *r, given_list *list, mr_diag *diag)
{
    list->at = mri_alloc((size_t)r->plan.count, sizeof *list->at);
    if (list->at == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < r->plan.count; i++) {
        const char *key = r->plan.items[i].key;

        list->at[list->count++] =
            (given){mri_xxh3(key, strlen(key)), r->plan.items[i].split};
    }
    qsort(list->at, (size_t)list->count, sizeof *list->at, by_key_hash);
    return MR_OK;
}

/* The shards of the dataset, then the new ones that hold anything. */
static mr_err
gather_shards(run *r, mri_shard_ref **out, uint32_t *count, mr_diag *diag)
{
    mri_dataset_facts facts = {0};
    mri_shard_ref *refs;

    if (r->dataset != NULL) {
        mri_dataset_facts_of(r->dataset, &facts);
    }
    refs = mri_alloc((size_t)facts.shards + r->plan.shards, sizeof *refs);
    if (refs == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < facts.shards; i++) {
        mri_dataset_shard(r->dataset, i, &refs[(*count)++]);
    }
    for (uint32_t i = 0; i < r->plan.shards; i++) {
        if (r->refs[i].samples != 0) {
            refs[(*count)++] = r->refs[i];
        }
    }
    *out = refs;
    return MR_OK;
}

static mr_err
write_history(run *r, mr_diag *diag)
{
    mri_json j = {0};

    mri_history_begin(&j, "ingest", r->report->generation, r->options->command);
    mri_json_put_u64(&j, "added", r->report->added);
    mri_json_put_u64(&j, "threads", r->options->workers);
    return mri_history_end(&j, r->options->output, diag);
}

/* What stands in the quarantine after this run: its own bad inputs, and those
 * of earlier runs that this one did not look at. */
static mr_err
store_quarantine(run *r, uint64_t *count, mr_diag *diag)
{
    mri_bad *old = NULL, *all;
    uint64_t old_count = 0, n = r->report->bad_count;
    mr_err err =
        mri_quarantine_load(r->options->output, &old, &old_count, diag);

    if (err != MR_OK) {
        return err;
    }
    all = mri_alloc((size_t)(n + old_count), sizeof *all);
    if (all == NULL) {
        mri_bad_list_free(old, old_count);
        return no_memory(diag);
    }
    if (n != 0) { /* without any, `bad` is NULL */
        memcpy(all, r->report->bad, (size_t)n * sizeof *all);
    }
    for (uint64_t i = 0; i < old_count; i++) {
        if (!mri_plan_has(&r->plan, old[i].key)) {
            all[n++] = old[i]; /* shallow: old still owns it */
        }
    }
    err = mri_quarantine_store(&r->folder.store, all, n, diag);
    mri_free(all);
    mri_bad_list_free(old, old_count);
    *count = n;
    return err;
}

/* All that the SOURCEs hold: what the dataset has of it counts, or the second
 * run of a command would find nothing but what is bad. */
static uint64_t
all_inputs(const run *r)
{
    return r->report->inputs + r->report->known;
}

static bool
too_many_bad(const run *r)
{
    const mri_ingest_options *o = r->options;

    if (o->max_bad_count != 0) {
        return r->report->bad_count > o->max_bad_count;
    }
    return (double)r->report->bad_count >
           o->max_bad_share * (double)all_inputs(r);
}

static mr_err
check_bad(run *r, mr_diag *diag)
{
    uint64_t unused;
    mr_err err;

    if (r->report->added == 0 && r->dataset == NULL) {
        err = mri_fail(diag, MRI_E_EMPTY, MR_NOWHERE,
                       "no usable sample among %llu inputs",
                       (unsigned long long)r->report->inputs);
        mri_diag_in(diag, r->options->output);
        return err;
    }
    if (!too_many_bad(r)) {
        return MR_OK;
    }
    err = store_quarantine(r, &unused, diag);
    if (err == MR_OK) {
        err = mri_fail(diag, MRI_E_TOO_MANY_BAD, MR_NOWHERE,
                       "%llu of %llu inputs could not be used, more than "
                       "--max-bad allows: nothing was committed",
                       (unsigned long long)r->report->bad_count,
                       (unsigned long long)all_inputs(r));
        mri_diag_in(diag, r->options->output);
    }
    return err;
}

static mr_err
commit(run *r, mr_diag *diag)
{
    mri_schema schema = schema_of(&r->plan);
    given_list list = {0};
    mri_fold_names splits;
    mri_commit c = {.dir = r->options->output,
                    .parent = r->dataset,
                    .schema = &schema,
                    .layout = mri_layout_name(r->plan.layout),
                    .watch = r->options->watch};
    mri_shard_ref *shards = NULL;
    mr_err err = gather_shards(r, &shards, &c.shard_count, diag);

    mri_folds_name(&splits, r->folds);
    c.split_names = splits.names;
    c.split_shares = splits.shares;
    c.split_count = splits.count;
    if (err == MR_OK && r->plan.layout == MRI_LAYOUT_SPLIT) {
        err = make_given(r, &list, diag);
        c.given_split = find_given;
        c.user = &list;
    }
    if (err == MR_OK) {
        err = store_quarantine(r, &c.quarantined, diag);
    }
    if (err == MR_OK) {
        c.shards = shards;
        err = mri_dataset_commit(&c, &r->report->generation, diag);
    }
    if (err == MR_OK) {
        err = write_history(r, diag);
    }
    mri_free(shards);
    mri_free(list.at);
    return err;
}

/* ---- the whole of it ---- */

static mr_err
prepare(run *r, mr_diag *diag)
{
    mr_err err = mri_plan_make(&r->plan, r->options, diag);

    if (err == MR_OK) {
        err = mri_folds_choose(&r->folds, &r->plan, NULL, diag);
    }
    if (err == MR_OK) {
        err = mri_folder_open(&r->folder, r->options->output, diag);
    }
    if (err == MR_OK && r->folder.generation != 0) {
        err = mr_dataset_open(&r->dataset, r->options->output, diag);
    }
    if (err == MR_OK && r->dataset != NULL) {
        err = mri_folds_choose(&r->folds, &r->plan, r->dataset, diag);
    }
    if (err == MR_OK && r->dataset != NULL) {
        mri_known seen = {0};

        err = mri_known_filter(&r->plan, r->dataset, &seen, diag);
        r->report->known = seen.known;
        r->report->changed = seen.changed;
        r->report->withdrawn = seen.withdrawn;
    }
    if (err == MR_OK) {
        err = mri_plan_pack(&r->plan, r->dataset, diag);
    }
    if (err == MR_OK) {
        err = mri_journal_open(&r->journal, &r->folder.store, diag);
    }
    if (err == MR_OK) {
        err = mri_folder_sweep(&r->folder, &r->journal, diag);
    }
    r->report->layout = r->plan.layout;
    r->report->ignored = r->plan.ignored;
    r->report->unmatched = r->plan.unmatched;
    return err;
}

static mr_err
fill_report(run *r, mr_diag *diag)
{
    mri_dataset_facts facts;
    mr_dataset *ds;
    mr_err err = mr_dataset_open(&ds, r->options->output, diag);

    if (err != MR_OK) {
        return err;
    }
    mri_dataset_facts_of(ds, &facts);
    r->report->samples = facts.samples;
    r->report->groups = facts.groups;
    r->report->leaks = facts.leaks;
    r->report->joined = facts.joined;
    r->report->shards = facts.shards;
    r->report->bytes = facts.bytes;
    r->report->raw_bytes = facts.raw_bytes;
    mr_dataset_close(ds);
    return MR_OK;
}

static mr_err
work(run *r, mr_diag *diag)
{
    bool anything;
    mr_err err = prepare(r, diag);

    anything = r->plan.count != 0;
    if (err == MR_OK) {
        err = find_todo(r, diag);
    }
    if (err == MR_OK && r->todo_count != 0) {
        err = make_shards(r, diag);
    }
    if (err == MR_OK && anything) {
        err = check_bad(r, diag);
    }
    /* Nothing new: the generation in force stays in force. */
    if (err == MR_OK && (r->report->added != 0 || r->dataset == NULL)) {
        err = commit(r, diag);
    } else if (err == MR_OK && anything) {
        uint64_t unused;

        err = store_quarantine(r, &unused, diag);
    }
    if (err == MR_OK) {
        err = fill_report(r, diag);
    }
    return err;
}

static mr_err
ingest_files(const mri_ingest_options *options, mri_ingest_report *report,
             mr_diag *diag)
{
    run r = {.options = options, .report = report};
    mr_err err;

    r.folder.lock.fd = r.journal.log.fd = -1;
    err = work(&r, diag);
    mr_dataset_close(r.dataset);
    mri_folder_close(&r.folder, &r.journal, err == MR_OK);
    mri_plan_release(&r.plan);
    mri_free(r.refs);
    mri_free(r.todo);
    return err;
}

/* Datasets among the sources come first, in a generation of their own. */
static mr_err
ingest_all(mri_ingest_options *o, const char **files, const char **sets,
           mri_ingest_report *report, mr_diag *diag)
{
    size_t file_count = 0, set_count = 0;
    mri_ingest_report merged = {0};
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < o->source_count; i++) {
        bool is = false;

        err = mri_merge_is_dataset(o->sources[i], &is, diag);
        if (err == MR_OK && is && o->folds != 0) {
            err = mri_fail(diag, MRI_E_FOLDS, MR_NOWHERE,
                           "'%.200s' is a dataset, which brings its splits",
                           o->sources[i]);
        }
        if (is) {
            sets[set_count++] = o->sources[i];
        } else {
            files[file_count++] = o->sources[i];
        }
    }
    if (err == MR_OK && set_count != 0) {
        err = mri_merge(sets, set_count, o, &merged, diag);
        *report = merged;
    }
    o->sources = files;
    o->source_count = file_count;
    if (err != MR_OK) {
        return err;
    }
    if (file_count == 0) {
        run r = {.options = o, .report = report};

        return fill_report(&r, diag);
    }
    *report = (mri_ingest_report){0};
    err = ingest_files(o, report, diag);
    report->added += merged.added;
    report->known += merged.known;
    report->inputs += merged.inputs;
    report->merged = merged.added;
    if (report->generation == 0) {
        report->generation = merged.generation;
    }
    return err;
}

mr_err
mri_ingest(const mri_ingest_options *options, mri_ingest_report *report,
           mr_diag *diag)
{
    mri_ingest_options o = *options;
    double start = mri_now_s();
    const char **files = mri_alloc(o.source_count, sizeof *files);
    const char **sets = mri_alloc(o.source_count, sizeof *sets);
    mr_err err;

    *report = (mri_ingest_report){0};
    err = files != NULL && sets != NULL
              ? ingest_all(&o, files, sets, report, diag)
              : no_memory(diag);
    mri_free((void *)files);
    mri_free((void *)sets);
    report->seconds = mri_now_s() - start;
    return err;
}
