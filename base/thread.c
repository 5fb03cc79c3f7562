/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c - a pool that runs numbered tasks, a queue, timed waits. */
#include <mri/thread.h>

#include <mri/alloc.h>
#include <mri/error.h>

#include <pthread.h>
#include <string.h>
#include <time.h>

#define SECOND 1000000000u

struct mri_pool {
    pthread_mutex_t lock;
    pthread_cond_t work, idle;
    unsigned workers; /* the caller counts */
    unsigned started; /* threads that run */
    pthread_t *threads;
    bool quit;

    /* the run in progress */
    uint64_t run; /* its number; a thread joins a run once */
    mri_task_fn *fn;
    void *arg;
    size_t count, next;
    unsigned busy;
    size_t failed; /* lowest task that failed, or SIZE_MAX */
    mr_err err;
    mr_diag diag;
};

typedef struct seat {
    mri_pool *pool;
    unsigned worker;
} seat;

static void
note_failure(mri_pool *pool, size_t task, mr_err err, const mr_diag *diag)
{
    if (task < pool->failed) {
        pool->failed = task;
        pool->err = err;
        pool->diag = *diag;
    }
}

void
mri_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t how;

    pthread_condattr_init(&how);
    pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &how);
    pthread_condattr_destroy(&how);
}

bool
mri_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until)
{
    struct timespec at = {(time_t)(until / SECOND), (long)(until % SECOND)};

    if (until == UINT64_MAX) {
        return pthread_cond_wait(cond, lock) == 0;
    }
    return pthread_cond_timedwait(cond, lock, &at) == 0;
}

/* Take tasks until there are none; called with the lock held. */
static void
work_off(mri_pool *pool, unsigned worker)
{
    while (pool->next < pool->count && pool->failed == SIZE_MAX) {
        size_t task = pool->next++;
        mr_diag diag = {0};
        mr_err err;

        pthread_mutex_unlock(&pool->lock);
        err = pool->fn(pool->arg, task, worker, &diag);
        pthread_mutex_lock(&pool->lock);
        if (err != MR_OK) {
            note_failure(pool, task, err, &diag);
        }
    }
}

static void *
thread_main(void *arg)
{
    seat at = *(seat *)arg;
    mri_pool *pool = at.pool;
    uint64_t last = 0;

    mri_free(arg);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->quit && pool->run == last) {
            pthread_cond_wait(&pool->work, &pool->lock);
        }
        if (pool->quit) {
            break;
        }
        last = pool->run;
        pool->busy++;
        work_off(pool, at.worker);
        if (--pool->busy == 0) {
            pthread_cond_signal(&pool->idle);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

mr_err
mri_pool_open(mri_pool **out, unsigned workers, mr_diag *diag)
{
    mri_pool *pool;

    *out = NULL;
    workers = workers < 1 ? 1 : workers;
    pool = mri_alloc(1, sizeof *pool);
    if (pool == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for a pool");
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->idle, NULL);
    pool->workers = workers;
    pool->failed = SIZE_MAX;
    pool->threads = mri_alloc(workers, sizeof *pool->threads);
    for (unsigned i = 1; pool->threads != NULL && i < workers; i++) {
        seat *at = mri_alloc(1, sizeof *at);

        if (at == NULL) {
            break;
        }
        *at = (seat){pool, i};
        if (pthread_create(&pool->threads[i], NULL, thread_main, at) != 0) {
            mri_free(at);
            break;
        }
        pool->started++;
    }
    if (pool->threads == NULL || pool->started + 1 != workers) {
        mri_pool_close(pool);
        return mri_fail(diag, MRI_E_THREAD, MR_NOWHERE,
                        "cannot start %u threads", workers - 1);
    }
    *out = pool;
    return MR_OK;
}

void
mri_pool_close(mri_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->quit = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 1; i <= pool->started; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    mri_free(pool->threads);
    mri_free(pool);
}

unsigned
mri_pool_workers(const mri_pool *pool)
{
    return pool->workers;
}

mr_err
mri_pool_run(mri_pool *pool, size_t count, mri_task_fn *fn, void *arg,
             mr_diag *diag)
{
    mr_err err;

    pthread_mutex_lock(&pool->lock);
    pool->fn = fn;
    pool->arg = arg;
    pool->count = count;
    pool->next = 0;
    pool->failed = SIZE_MAX;
    pool->err = MR_OK;
    pool->run++;
    if (count > 1 && pool->started != 0) {
        pthread_cond_broadcast(&pool->work);
    }
    work_off(pool, 0);
    while (pool->busy != 0) {
        pthread_cond_wait(&pool->idle, &pool->lock);
    }
    /* A thread that wakes up late must find nothing to do. */
    pool->count = 0;
    err = pool->err;
    if (err != MR_OK && diag != NULL) {
        *diag = pool->diag;
    }
    pthread_mutex_unlock(&pool->lock);
    return err;
}

struct mri_queue {
    pthread_mutex_t lock;
    pthread_cond_t some, space;
    size_t room, first, count;
    bool stopped;
    void **items; /* [room], a ring */
};

mr_err
mri_queue_open(mri_queue **out, size_t room, mr_diag *diag)
{
    mri_queue *q = mri_alloc(1, sizeof *q);

    *out = NULL;
    if (q != NULL) {
        q->items = mri_alloc(room, sizeof *q->items);
    }
    if (q == NULL || q->items == NULL) {
        mri_free(q);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a queue of %zu", room);
    }
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->some, NULL);
    pthread_cond_init(&q->space, NULL);
    q->room = room;
    *out = q;
    return MR_OK;
}

void
mri_queue_close(mri_queue *q)
{
    if (q == NULL) {
        return;
    }
    pthread_cond_destroy(&q->space);
    pthread_cond_destroy(&q->some);
    pthread_mutex_destroy(&q->lock);
    mri_free(q->items);
    mri_free(q);
}

mr_err
mri_queue_put(mri_queue *q, void *item)
{
    mr_err err = MR_OK;

    pthread_mutex_lock(&q->lock);
    while (!q->stopped && q->count == q->room) {
        pthread_cond_wait(&q->space, &q->lock);
    }
    if (q->stopped) {
        err = MR_ECLOSED;
    } else {
        q->items[(q->first + q->count++) % q->room] = item;
        pthread_cond_signal(&q->some);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

static mr_err
get_locked(mri_queue *q, void **item)
{
    if (q->count == 0) {
        return q->stopped ? MR_FINISHED : MR_AGAIN;
    }
    *item = q->items[q->first];
    q->first = (q->first + 1) % q->room;
    q->count--;
    pthread_cond_signal(&q->space);
    return MR_OK;
}

mr_err
mri_queue_get(mri_queue *q, void **item)
{
    mr_err err;

    pthread_mutex_lock(&q->lock);
    while ((err = get_locked(q, item)) == MR_AGAIN) {
        pthread_cond_wait(&q->some, &q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return err;
}

mr_err
mri_queue_try(mri_queue *q, void **item)
{
    mr_err err;

    pthread_mutex_lock(&q->lock);
    err = get_locked(q, item);
    pthread_mutex_unlock(&q->lock);
    return err;
}

void
mri_queue_stop(mri_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->stopped = true;
    pthread_cond_broadcast(&q->some);
    pthread_cond_broadcast(&q->space);
    pthread_mutex_unlock(&q->lock);
}
