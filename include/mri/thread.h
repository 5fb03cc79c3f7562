/* SPDX-License-Identifier: Apache-2.0 */
/*
 * thread.h - a pool that runs numbered tasks, a queue, timed waits.
 */
#ifndef MRI_THREAD_H
#define MRI_THREAD_H

#include <mri/door.h>

#include <pthread.h>

MRI_BEGIN

/* A condition whose timed waits go by the clock of mri_now_ns. */
void mri_cond_init(pthread_cond_t *cond);
/* False once it is later than `until` (ns; UINT64_MAX: never). */
bool mri_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t until);

typedef struct mri_pool mri_pool;

/* `workers` >= 1 counts the caller's thread: 1 starts none. */
MR_USE_RESULT mr_err mri_pool_open(mri_pool **out, unsigned workers,
                                   mr_diag *diag);
void mri_pool_close(mri_pool *pool);
unsigned mri_pool_workers(const mri_pool *pool);

/* One task; `worker` is 0 .. workers - 1, no two at once have the same. */
typedef mr_err mri_task_fn(void *arg, size_t task, unsigned worker,
                           mr_diag *diag);

/*
 * Run tasks 0 .. count - 1, the caller's thread among the workers, and wait.
 * Which worker takes which task is not fixed. After an error no new task is
 * begun, and the error of the lowest task that failed is returned.
 */
MR_USE_RESULT mr_err mri_pool_run(mri_pool *pool, size_t count, mri_task_fn *fn,
                                  void *arg, mr_diag *diag);

/* A bounded queue of pointers, many producers, many consumers. */
typedef struct mri_queue mri_queue;
MR_USE_RESULT mr_err mri_queue_open(mri_queue **out, size_t room,
                                    mr_diag *diag);
/* Nobody may be waiting in it. NULL is accepted. */
void mri_queue_close(mri_queue *q);
/* Waits for room; MR_ECLOSED after stop. On error the item is still yours. */
MR_USE_RESULT mr_err mri_queue_put(mri_queue *q, void *item);
/* Waits for an item; MR_FINISHED once stopped and empty. */
MR_USE_RESULT mr_err mri_queue_get(mri_queue *q, void **item);
/* As get, but MR_AGAIN at once if there is none. */
MR_USE_RESULT mr_err mri_queue_try(mri_queue *q, void **item);
/* No more puts; getters drain what is there. Idempotent. */
void mri_queue_stop(mri_queue *q);

MRI_END

#endif
