/* SPDX-License-Identifier: Apache-2.0 */
/* line.c - many threads make samples, one places them. */
#include "line.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <errno.h>
#include <pthread.h>
#include <time.h>

#define POLL_NS 100000000L /* how often a stop is noticed while waiting */
/* Decoded, encoded and source bytes of a file, as a multiple of its size. */
#define COST_FACTOR 5

typedef struct slot {
    bool ready;
    mri_made made;
    mr_err err;
    mr_diag diag;
    uint64_t cost;
} slot;

struct mri_line {
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    const mri_plan *plan;
    const uint64_t *todo;
    uint64_t count;
    uint64_t taken, placed;
    slot *slots; /* [window], by number modulo window */
    uint64_t window;
    uint64_t cost; /* of what is in flight */
    bool quit;
    pthread_t *threads;
    unsigned started;
};

static const mri_plan_item *
item_at(const mri_line *l, uint64_t n)
{
    return &l->plan->items[l->todo[n]];
}

/* There is an item to take, a slot for it, and memory (one item alone always
 * has enough). */
static bool
may_take(const mri_line *l)
{
    uint64_t cost;

    if (l->taken >= l->count || l->taken - l->placed >= l->window) {
        return false;
    }
    cost = item_at(l, l->taken)->bytes * COST_FACTOR;
    return l->cost == 0 || l->cost + cost <= l->plan->options->memory;
}

static void *
worker_main(void *arg)
{
    mri_line *l = arg;

    pthread_mutex_lock(&l->lock);
    for (;;) {
        uint64_t n;
        slot *s;
        mri_made made;
        mr_diag diag = {0};
        mr_err err;

        while (!l->quit && l->taken < l->count && !may_take(l)) {
            pthread_cond_wait(&l->work, &l->lock);
        }
        if (l->quit || l->taken >= l->count) {
            break;
        }
        n = l->taken++;
        s = &l->slots[n % l->window];
        s->cost = item_at(l, n)->bytes * COST_FACTOR;
        l->cost += s->cost;
        pthread_mutex_unlock(&l->lock);
        err = mri_make(&made, l->plan, item_at(l, n), &diag);
        pthread_mutex_lock(&l->lock);
        s->made = made;
        s->err = err;
        s->diag = diag;
        l->cost -= s->cost; /* from an estimate to what it is */
        s->cost = made.bytes;
        l->cost += s->cost;
        s->ready = true;
        pthread_cond_signal(&l->ready);
        pthread_cond_broadcast(&l->work);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

mr_err
mri_line_open(mri_line **out, const mri_plan *plan, const uint64_t *todo,
              uint64_t count, mr_diag *diag)
{
    unsigned workers = plan->options->workers;
    mri_line *l = mri_alloc(1, sizeof *l);
    pthread_condattr_t monotonic;

    *out = NULL;
    workers = workers < 1 ? 1 : workers;
    if (l != NULL) {
        l->window = (uint64_t)workers * 4 + 4;
        l->slots = mri_alloc((size_t)l->window, sizeof *l->slots);
        l->threads = mri_alloc(workers, sizeof *l->threads);
    }
    if (l == NULL || l->slots == NULL || l->threads == NULL) {
        if (l != NULL) {
            mri_free(l->slots);
            mri_free(l->threads);
        }
        mri_free(l);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->ready, &monotonic);
    pthread_condattr_destroy(&monotonic);
    l->plan = plan;
    l->todo = todo;
    l->count = count;
    for (unsigned i = 0; i < workers; i++) {
        if (pthread_create(&l->threads[i], NULL, worker_main, l) != 0) {
            break;
        }
        l->started++;
    }
    if (l->started == 0) {
        mri_line_close(l);
        return mri_fail(diag, MRI_E_THREAD, MR_NOWHERE,
                        "cannot start a thread");
    }
    *out = l;
    return MR_OK;
}

static bool
stopped(const mri_line *l)
{
    const mr_watch *w = l->plan->options->watch;

    return w != NULL && w->stop != NULL && w->stop(w->user);
}

mr_err
mri_line_next(mri_line *l, mri_made *out, mr_diag *diag)
{
    slot *s = &l->slots[l->placed % l->window];
    mr_err err;

    *out = (mri_made){0};
    if (l->placed >= l->count) {
        return MR_FINISHED;
    }
    pthread_mutex_lock(&l->lock);
    while (!s->ready && !stopped(l)) {
        struct timespec until;

        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += POLL_NS;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        (void)pthread_cond_timedwait(&l->ready, &l->lock, &until);
    }
    if (!s->ready || stopped(l)) {
        pthread_mutex_unlock(&l->lock);
        return mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped on request");
    }
    err = s->err;
    if (err != MR_OK && diag != NULL) {
        *diag = s->diag;
    }
    *out = s->made;
    l->cost -= s->cost;
    *s = (slot){0};
    l->placed++;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return err;
}

void
mri_line_close(mri_line *l)
{
    if (l == NULL) {
        return;
    }
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->started; i++) {
        pthread_join(l->threads[i], NULL);
    }
    for (uint64_t i = 0; i < l->window; i++) {
        mri_made_release(&l->slots[i].made);
    }
    pthread_cond_destroy(&l->ready);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    mri_free(l->slots);
    mri_free(l->threads);
    mri_free(l);
}
