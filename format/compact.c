/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compact.c - a generation of the same content without dead rows.
 *
 * A shard with dead rows is written anew; all others stay. The commit is the
 * same as any, and proves by the content id that nothing else has changed.
 * What goes afterwards is the sweep's matter, which the manifest steers: so a
 * kill at any moment leaves the old generation or the new one, and litter.
 */
#include "purge.h"
#include "rewrite.h"
#include "writer.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/generation.h>
#include <mri/thread.h>

#include <stdlib.h>
#include <string.h>

typedef struct compact {
    const mri_compact_options *o;
    mri_compact_report *r;
    mri_writer w;
    mri_row_set live;
    uint32_t *jobs; /* shards that are written anew */
    uint32_t job_count;
    mri_shard_ref *refs;  /* [shards] of the new generation; no samples: gone */
    bool stale;           /* an older generation needs more than is kept */
    uint64_t older;       /* generations that are there */
    uint64_t leaving;     /* that somebody still reads, and no one else */
    uint64_t total, done; /* bytes of the jobs */
    pthread_mutex_t lock; /* around done and the watch */
} compact;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static uint32_t
shard_count(const compact *c)
{
    return (uint32_t)c->w.now->manifest->n_shards;
}

/* Which shards stay, which are written anew, which go. */
static mr_err
plan_shards(compact *c, mr_diag *diag)
{
    const Mri__PbManifest *m = c->w.now->manifest;
    mr_err err = mri_row_set_live(&c->live, c->w.now, diag);

    c->jobs = mri_alloc(m->n_shards, sizeof *c->jobs);
    c->refs = mri_alloc(m->n_shards, sizeof *c->refs);
    if (err == MR_OK && (c->jobs == NULL || c->refs == NULL)) {
        err = no_memory(diag);
    }
    for (uint32_t i = 0; err == MR_OK && i < m->n_shards; i++) {
        uint64_t dead = m->shards[i]->samples - c->live.count[i];

        c->r->bytes += m->shards[i]->bytes;
        c->r->dead += dead;
        if (dead == 0) {
            mri_dataset_shard_ref(m, i, &c->refs[i]);
        } else if (c->live.count[i] == 0) {
            c->r->dropped++;
        } else {
            c->jobs[c->job_count++] = i;
            c->total += m->shards[i]->bytes;
        }
    }
    c->r->shards = shard_count(c);
    c->r->rewritten = c->job_count;
    c->r->withdrawn = m->withdrawn.len / MRI_WITHDRAWN_BYTES;
    return err;
}

/* ---- what the older generations need, and what then goes ---- */

typedef struct file {
    uint8_t id[16];
    uint64_t bytes;
} file;

typedef struct file_list {
    file *at;
    size_t count;
} file_list;

static int
by_id(const void *a, const void *b)
{
    return memcmp(((const file *)a)->id, ((const file *)b)->id, 16);
}

static bool
stays(const compact *c, const uint8_t id[16])
{
    for (uint32_t i = 0; i < shard_count(c); i++) {
        if (c->refs[i].samples != 0 && memcmp(c->refs[i].id, id, 16) == 0) {
            return true;
        }
    }
    return false;
}

static mr_err
add_files(compact *c, file_list *list, const Mri__PbManifest *m, mr_diag *diag)
{
    file *grown =
        mri_resize(list->at, list->count + m->n_shards, sizeof *grown);

    if (grown == NULL) {
        return no_memory(diag);
    }
    list->at = grown;
    for (size_t i = 0; i < m->n_shards; i++) {
        if (!stays(c, m->shards[i]->id.data)) {
            memcpy(grown[list->count].id, m->shards[i]->id.data, 16);
            grown[list->count++].bytes = m->shards[i]->bytes;
            c->stale |= m->generation != c->r->before;
        }
    }
    return MR_OK;
}

/* One that cannot be read stands in the way of nothing: it goes. */
static mr_err
add_generation(compact *c, file_list *list, uint64_t generation, mr_diag *diag)
{
    Mri__PbManifest *m;
    mr_err err = mri_manifest_load(&m, &c->w.now->store, generation, diag);

    if (err == MR_OK) {
        c->older += generation != c->r->before;
        err = add_files(c, list, m, diag);
        mri_manifest_free(m);
    } else if (err != MR_ENOMEM) {
        mri_diag_clear(diag);
        err = MR_OK;
    }
    return err;
}

static mr_err
plan_older(compact *c, mr_diag *diag)
{
    file_list list = {0};
    uint64_t first;
    mr_err err = mri_generation_first(&c->w.now->store, &first, diag);

    for (uint64_t g = first; err == MR_OK && g <= c->r->before; g++) {
        if (g < c->w.now->manifest->oldest) {
            c->leaving++;
        } else {
            err = add_generation(c, &list, g, diag);
        }
    }
    if (list.count != 0) {
        qsort(list.at, list.count, sizeof *list.at, by_id);
    }
    for (size_t i = 0; i < list.count; i++) {
        if (i == 0 || by_id(&list.at[i - 1], &list.at[i]) != 0) {
            c->r->gone_shards++;
            c->r->gone_bytes += list.at[i].bytes;
        }
    }
    mri_free(list.at);
    return err;
}

/* Is there a reason for another generation? */
static bool
needed(const compact *c)
{
    return c->r->dead != 0 || (!c->o->keep_old && c->stale) ||
           (c->o->purge && (c->r->withdrawn != 0 || c->older != 0));
}

static mr_err
plan(compact *c, mr_diag *diag)
{
    mr_err err = plan_shards(c, diag);

    if (err == MR_OK) {
        err = plan_older(c, diag);
    }
    if (err == MR_OK && c->o->keep_old) {
        c->r->gone_shards = 0;
        c->r->gone_bytes = 0;
    } else if (needed(c)) {
        c->r->generations = c->older + 1;
    }
    return err;
}

/* ---- the work ---- */

static mr_err
watch(compact *c, uint64_t bytes, mr_diag *diag)
{
    const mr_watch *w = c->o->watch;
    bool stop;

    pthread_mutex_lock(&c->lock);
    c->done += bytes;
    if (w != NULL && w->progress != NULL && bytes != 0) {
        mr_progress now = {.unit = "bytes",
                           .done = c->done,
                           .total = c->total,
                           .bytes = c->done};

        w->progress(w->user, &now);
    }
    stop = w != NULL && w->stop != NULL && w->stop(w->user);
    pthread_mutex_unlock(&c->lock);
    return stop ? mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped") : MR_OK;
}

static mr_err
do_job(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    compact *c = arg;
    uint32_t shard = c->jobs[task];
    const mri_rewrite how = {.ds = c->w.now, .rows = &c->live};
    mr_err err = watch(c, 0, diag);

    (void)worker;
    if (err == MR_OK) {
        err = mri_rewrite_shards(&how, shard, shard + 1, &c->refs[shard], diag);
    }
    return err == MR_OK
               ? watch(c, c->w.now->manifest->shards[shard]->bytes, diag)
               : err;
}

static mr_err
rewrite(compact *c, mr_diag *diag)
{
    unsigned workers = c->o->workers != 0 ? c->o->workers : 1;
    mri_pool *pool;
    mr_err err = mri_pool_open(&pool, workers, diag);

    if (err == MR_OK) {
        err = mri_pool_run(pool, c->job_count, do_job, c, diag);
        mri_pool_close(pool);
    }
    return err;
}

static mr_err
commit(compact *c, mr_diag *diag)
{
    mri_derive how = {.like = c->w.now,
                      .shards = c->refs,
                      .forget_withdrawn = c->o->purge,
                      .oldest = c->o->keep_old ? 0 : MRI_OLDEST_NEW,
                      .watch = c->o->watch};
    mri_json j = {0};
    mr_err err;

    for (uint32_t i = 0; i < shard_count(c); i++) { /* close the gaps */
        if (c->refs[i].samples != 0) {
            c->r->bytes_after += c->refs[i].bytes;
            c->refs[how.shard_count++] = c->refs[i];
        }
    }
    err = mri_writer_commit(&c->w, &how, &c->r->generation, diag);
    if (err == MR_OK) {
        mri_history_begin(&j, "compact", c->r->generation, c->o->command);
        mri_json_put_u64(&j, "dead", c->r->dead);
        mri_json_put_bool(&j, "purge", c->o->purge);
        mri_json_put_text(&j, "reason", c->o->reason);
        err = mri_history_end(&j, c->w.now->dir, diag);
    }
    return err;
}

/* A purge is to leave nothing; what somebody reads it must leave. */
static mr_err
check_held(const compact *c, mr_diag *diag)
{
    mr_err err;

    if (!c->o->purge || c->r->held == 0) {
        return MR_OK;
    }
    err = mri_fail(diag, MRI_E_STILL_READ, MR_NOWHERE,
                   "%llu older generations are still read by somebody: their "
                   "files stay",
                   (unsigned long long)c->r->held);
    mri_diag_in(diag, c->o->dataset);
    return err;
}

/* We read the old generation no more; does anybody else? */
static mr_err
clear_away(compact *c, mr_diag *diag)
{
    mri_swept swept;
    char *dir = mri_strdup(c->w.now->dir);
    mr_err err = dir != NULL ? MR_OK : no_memory(diag);

    if (err == MR_OK) {
        mr_dataset_close(c->w.now);
        c->w.now = NULL;
        err = mri_dataset_sweep(dir, NULL, 0, &swept, diag);
        c->r->held = err == MR_OK ? swept.held : 0;
    }
    mri_free(dir);
    return err == MR_OK ? check_held(c, diag) : err;
}

static mr_err
work(compact *c, mr_diag *diag)
{
    const mri_compact_options *o = c->o;
    mr_err err = plan(c, diag);

    if (err == MR_OK && !needed(c)) {
        c->r->held = c->leaving;
        return o->dry_run ? MR_OK : check_held(c, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    /* Before the commit: after it, nobody knows any more whom to look for. */
    if (o->purge) {
        err = mri_purge_names(c->w.now, o->dry_run, &c->r->lines,
                              &c->r->unfinished, diag);
    }
    if (err != MR_OK || o->dry_run) {
        return err;
    }
    err = rewrite(c, diag);
    if (err == MR_OK) {
        err = commit(c, diag);
    } else { /* what other threads have finished is of no use */
        mri_swept swept;

        (void)!mri_dataset_sweep(c->w.now->dir, NULL, 0, &swept, NULL);
    }
    return err == MR_OK && !o->keep_old ? clear_away(c, diag) : err;
}

mr_err
mri_dataset_compact(const mri_compact_options *o, mri_compact_report *r,
                    mr_diag *diag)
{
    compact c = {.o = o, .r = r};
    mr_err err;

    *r = (mri_compact_report){0};
    if (o->purge && o->keep_old) {
        return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                        "a purge cannot keep the older generations, which "
                        "show what it is to destroy");
    }
    pthread_mutex_init(&c.lock, NULL);
    err = mri_writer_open(&c.w, o->dataset, !o->dry_run, diag);
    if (err == MR_OK) {
        r->before = mr_dataset_generation(c.w.now);
        err = work(&c, diag);
    }
    mri_writer_close(&c.w);
    mri_row_set_release(&c.live);
    mri_free(c.jobs);
    mri_free(c.refs);
    pthread_mutex_destroy(&c.lock);
    return err;
}
