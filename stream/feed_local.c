/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_local.c - rows computed by threads of this process.
 *
 * Requests stand in a list, oldest first; a thread takes a few rows of the
 * first that has any left. A consumer that stops costs no more than what it
 * has asked for.
 */
#include <mri/feed.h>

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/clock.h>
#include <mri/cpu.h>
#include <mri/error.h>
#include <mri/thread.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define THREADS_MAX 1024
#define PIECES 4 /* that a thread's share of a request is cut into */

typedef struct local local;

typedef struct seat {
    local *feed;
    mri_rows_worker *worker;
    pthread_t thread;
} seat;

struct local {
    mri_feed base;
    mr_dataset *ds;
    mri_rows *rows;
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    mri_request *first; /* with rows that nobody has taken */
    bool quit;
    uint64_t read_ns, decode_ns, augment_ns;
    seat *seats;
    unsigned started, count;
};

static local *
self(const mri_feed *feed)
{
    return (local *)(uintptr_t)feed;
}

static void
unlink_request(local *f, const mri_request *q)
{
    for (mri_request **p = &f->first; *p != NULL; p = &(*p)->next) {
        if (*p == q) {
            *p = q->next;
            return;
        }
    }
}

/* Nobody works on it and nobody will: with the lock held. */
static void
settle(local *f, mri_request *q)
{
    if (q->given == q->rows && q->busy == 0 && !q->done) {
        q->done = true;
        pthread_cond_broadcast(&f->done);
    }
}

/* No more rows are given out. */
static void
cut_short(local *f, mri_request *q)
{
    if (q->given < q->rows) {
        unlink_request(f, q);
        q->given = q->rows;
    }
}

static bool
note_lost(mri_request *q, uint64_t row, const uint8_t uid[MR_UID_BYTES],
          const mr_diag *why)
{
    mri_lost *grown = mri_resize(q->lost, q->lost_count + 1, sizeof *grown);

    if (grown == NULL) {
        return false;
    }
    q->lost = grown;
    grown[q->lost_count].row = row;
    memcpy(grown[q->lost_count].uid, uid, MR_UID_BYTES);
    grown[q->lost_count++].why = *why;
    return true;
}

/* The text of a record's error begins with the sample it is about. */
static void
name_sample(mr_diag *diag, const uint8_t uid[MR_UID_BYTES])
{
    char hex[2 * MR_UID_BYTES + 1], text[sizeof diag->text];

    memcpy(text, diag->text, sizeof text);
    (void)snprintf(diag->text, sizeof diag->text, "sample %s: %.460s",
                   mri_hex(hex, uid, MR_UID_BYTES), text);
}

/* A row went wrong: with the lock held. */
static void
note_failure(local *f, mri_request *q, uint64_t row, mr_err err,
             const uint8_t uid[MR_UID_BYTES], mr_diag *diag)
{
    if (mri_rows_damage(err)) {
        name_sample(diag, uid);
        if (q->on_damage == MR_DAMAGE_MASK && note_lost(q, row, uid, diag)) {
            return;
        }
    }
    if (q->err == MR_OK) {
        q->err = err;
        q->diag = *diag;
    }
    cut_short(f, q);
}

/* Rows [first, end) of a request. */
static void
compute(local *f, seat *s, mri_request *q, uint64_t first, uint64_t end)
{
    const mri_row_name from = {q->seed, q->epoch, q->position + first};

    mri_rows_foresee(f->rows, s->worker, &from, end - first);
    for (uint64_t i = first; i < end; i++) {
        mri_row_name name = {q->seed, q->epoch, q->position + i};
        uint8_t uid[MR_UID_BYTES];
        mr_diag diag = {0};
        mr_err err =
            mri_rows_compute(f->rows, s->worker, &name, q->to, i, uid, &diag);

        if (err == MR_OK) {
            continue;
        }
        mri_rows_mask(mri_rows_facts_of(f->rows), q->to, i);
        pthread_mutex_lock(&f->lock);
        note_failure(f, q, i, err, uid, &diag);
        pthread_mutex_unlock(&f->lock);
        if (!mri_rows_damage(err) || q->on_damage == MR_DAMAGE_STOP) {
            return;
        }
    }
}

static void
add_times(local *f, seat *s)
{
    uint64_t read_ns, decode_ns, augment_ns;

    mri_rows_worker_times(s->worker, &read_ns, &decode_ns, &augment_ns);
    f->read_ns += read_ns;
    f->decode_ns += decode_ns;
    f->augment_ns += augment_ns;
}

static void *
thread_main(void *arg)
{
    seat *s = arg;
    local *f = s->feed;

    pthread_mutex_lock(&f->lock);
    while (!f->quit) {
        mri_request *q = f->first;
        uint64_t from, n;

        if (q == NULL) {
            pthread_cond_wait(&f->work, &f->lock);
            continue;
        }
        n = q->rows / ((uint64_t)f->count * PIECES) + 1;
        from = q->given;
        n = n < q->rows - from ? n : q->rows - from;
        q->given += n;
        q->busy++;
        if (q->given == q->rows) {
            unlink_request(f, q);
        }
        pthread_mutex_unlock(&f->lock);
        compute(f, s, q, from, from + n);
        pthread_mutex_lock(&f->lock);
        add_times(f, s);
        q->busy--;
        settle(f, q);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

static const mri_rows_facts *
local_facts(const mri_feed *feed)
{
    return mri_rows_facts_of(self(feed)->rows);
}

static void
local_ask(mri_feed *feed, mri_request *q, bool urgent)
{
    local *f = self(feed);
    mri_request **p = &f->first;

    pthread_mutex_lock(&f->lock);
    while (!urgent && *p != NULL) {
        p = &(*p)->next;
    }
    if (q->rows != 0) {
        q->next = *p;
        *p = q;
        pthread_cond_broadcast(&f->work);
    }
    settle(f, q);
    pthread_mutex_unlock(&f->lock);
}

static bool
local_wait(mri_feed *feed, mri_request *q, uint64_t ns)
{
    local *f = self(feed);
    uint64_t until = ns == UINT64_MAX ? ns : mri_now_ns() + ns;
    bool done;

    pthread_mutex_lock(&f->lock);
    while (!q->done && mri_cond_wait(&f->done, &f->lock, until)) {
    }
    done = q->done;
    pthread_mutex_unlock(&f->lock);
    return done;
}

static void
local_drop(mri_feed *feed, mri_request *q)
{
    local *f = self(feed);

    pthread_mutex_lock(&f->lock);
    cut_short(f, q);
    settle(f, q);
    pthread_mutex_unlock(&f->lock);
    (void)local_wait(feed, q, UINT64_MAX);
}

static void
local_count(const mri_feed *feed, mr_stream_counters *out)
{
    local *f = self(feed);

    pthread_mutex_lock(&f->lock);
    out->read_ns = f->read_ns;
    out->decode_ns = f->decode_ns;
    out->augment_ns = f->augment_ns;
    pthread_mutex_unlock(&f->lock);
}

static void
local_close(mri_feed *feed)
{
    local *f = self(feed);

    pthread_mutex_lock(&f->lock);
    f->quit = true;
    pthread_cond_broadcast(&f->work);
    pthread_mutex_unlock(&f->lock);
    for (unsigned i = 0; i < f->started; i++) {
        pthread_join(f->seats[i].thread, NULL);
    }
    for (unsigned i = 0; f->seats != NULL && i < f->count; i++) {
        mri_rows_worker_close(f->seats[i].worker);
    }
    pthread_cond_destroy(&f->done);
    pthread_cond_destroy(&f->work);
    pthread_mutex_destroy(&f->lock);
    mri_free(f->seats);
    mri_rows_close(f->rows);
    mr_dataset_close(f->ds);
    mri_free(f);
}

static const mri_feed_ops local_ops = {
    .facts = local_facts,
    .ask = local_ask,
    .wait = local_wait,
    .drop = local_drop,
    .count = local_count,
    .close = local_close,
};

static mr_err
start_threads(local *f, unsigned count, mr_diag *diag)
{
    count = count != 0 ? count : mri_cpu_count();
    f->count = count < THREADS_MAX ? count : THREADS_MAX;
    f->seats = mri_alloc(f->count, sizeof *f->seats);
    for (unsigned i = 0; f->seats != NULL && i < f->count; i++) {
        f->seats[i].feed = f;
        f->seats[i].worker = mri_rows_worker_open();
        if (f->seats[i].worker == NULL) {
            return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        }
        if (pthread_create(&f->seats[i].thread, NULL, thread_main,
                           &f->seats[i]) != 0) {
            return mri_fail(diag, MRI_E_THREAD, MR_NOWHERE,
                            "cannot start %u threads", f->count);
        }
        f->started++;
    }
    return f->seats != NULL
               ? MR_OK
               : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

mr_err
mri_feed_local(mri_feed **out, const mr_stream_options *o, mr_diag *diag)
{
    local *f = mri_alloc(1, sizeof *f);
    mri_rows_options rows = {.split = o->split,
                             .pipeline = o->pipeline,
                             .pipeline_bytes = o->pipeline_bytes,
                             .tail = o->tail,
                             .order = o->order};
    const mr_dataset_options how = {.no_mmap = o->no_mmap};
    mr_err err;

    *out = NULL;
    if (f == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    f->base.ops = &local_ops;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->work, NULL);
    mri_cond_init(&f->done);
    err = mr_dataset_open_with(&f->ds, o->source, &how, diag);
    if (err == MR_OK) {
        rows.ds = f->ds;
        err = mri_rows_open(&f->rows, &rows, diag);
    }
    if (err == MR_OK) {
        err = start_threads(f, o->threads, diag);
    }
    if (err != MR_OK) {
        local_close(&f->base);
        return err;
    }
    *out = &f->base;
    return MR_OK;
}
