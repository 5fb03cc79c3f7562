/* SPDX-License-Identifier: Apache-2.0 */
/*
 * team.c - threads that share one operation.
 *
 * `gate` is the number of threads inside the current run, with OPEN set while
 * more may come in. The caller opens it, works, closes it, and waits for the
 * count to fall to zero; a thread that comes too late finds it closed and
 * never sees a run whose fields are being changed. So nobody has to wait for
 * a thread that is still asleep.
 *
 * No signal is handled inside a run. Products that oneDNN generates (seen in
 * 2.6) use their workspace as a stack: a handler's frame, of 2 KB and more,
 * would be written over whatever lies before it in the heap.
 */
#include "cpu/team.h"

#include <mri/alloc.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#define OPEN 0x80000000u
#define SPINS 4000 /* some 50 us: longer than between two operations */
#define LINE 64

struct team {
    unsigned size, started;
    pthread_t *threads;

    /* the run */
    team_fn *fn;
    void *arg;
    size_t tasks;
    _Alignas(LINE) atomic_size_t next;
    _Alignas(LINE) atomic_uint gate;
    _Alignas(LINE) atomic_uint run; /* counts runs, wakes the spinning */
    atomic_uint sleepers;
    atomic_bool quit;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

typedef struct seat {
    team *t;
    unsigned worker;
} seat;

static void
relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Block what may come at any time; not what a fault of this thread raises. */
static void
hold_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS,  SIGILL,
                                 SIGFPE,  SIGTRAP, SIGABRT};
    sigset_t all;

    (void)sigfillset(&all);
    for (size_t i = 0; i < MRI_COUNT(faults); i++) {
        (void)sigdelset(&all, faults[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &all, before);
}

static void
work_off(team *t, unsigned worker)
{
    for (;;) {
        size_t task = atomic_fetch_add(&t->next, 1);

        if (task >= t->tasks) {
            return;
        }
        t->fn(t->arg, task, worker);
    }
}

static bool
enter(team *t)
{
    unsigned gate = atomic_load(&t->gate);

    while ((gate & OPEN) != 0) {
        if (atomic_compare_exchange_weak(&t->gate, &gate, gate + 1)) {
            return true;
        }
    }
    return false;
}

/* Wait for a run other than `last`; spin first, then sleep. */
static unsigned
wait_for_run(team *t, unsigned last)
{
    unsigned run = atomic_load(&t->run);

    for (int i = 0; i < SPINS && run == last; i++) {
        relax();
        run = atomic_load(&t->run);
    }
    if (run != last) {
        return run;
    }
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->sleepers, 1);
    while ((run = atomic_load(&t->run)) == last) {
        pthread_cond_wait(&t->wake, &t->lock);
    }
    atomic_fetch_sub(&t->sleepers, 1);
    pthread_mutex_unlock(&t->lock);
    return run;
}

static void *
thread_main(void *arg)
{
    seat at = *(seat *)arg;
    team *t = at.t;
    unsigned run = 0;

    mri_free(arg);
    hold_signals(NULL);
    for (;;) {
        run = wait_for_run(t, run);
        if (atomic_load(&t->quit)) {
            return NULL;
        }
        if (enter(t)) {
            work_off(t, at.worker);
            atomic_fetch_sub(&t->gate, 1);
        }
    }
}

/* Show the next run to those who spin, and wake those who sleep. */
static void
announce(team *t)
{
    atomic_fetch_add(&t->run, 1);
    if (atomic_load(&t->sleepers) != 0) {
        pthread_mutex_lock(&t->lock);
        pthread_cond_broadcast(&t->wake);
        pthread_mutex_unlock(&t->lock);
    }
}

mr_err
team_open(team **out, unsigned size, mr_diag *diag)
{
    team *t = mri_alloc_pixels(1, sizeof *t);

    *out = NULL;
    if (t == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for a team");
    }
    *t = (team){.size = size < 1 ? 1 : size};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    t->threads = mri_alloc(t->size, sizeof *t->threads);
    for (unsigned i = 1; t->threads != NULL && i < t->size; i++) {
        seat *at = mri_alloc(1, sizeof *at);

        if (at == NULL) {
            break;
        }
        *at = (seat){t, i};
        if (pthread_create(&t->threads[i], NULL, thread_main, at) != 0) {
            mri_free(at);
            break;
        }
        t->started++;
    }
    if (t->threads == NULL || t->started + 1 != t->size) {
        team_close(t);
        return mri_fail(diag, MRI_E_THREAD, MR_NOWHERE,
                        "cannot start %u threads", size - 1);
    }
    *out = t;
    return MR_OK;
}

void
team_close(team *t)
{
    if (t == NULL) {
        return;
    }
    atomic_store(&t->quit, true);
    announce(t);
    for (unsigned i = 1; i <= t->started; i++) {
        pthread_join(t->threads[i], NULL);
    }
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    mri_free(t->threads);
    mri_free(t);
}

unsigned
team_size(const team *t)
{
    return t->size;
}

static void
share_out(team *t, size_t tasks, team_fn *fn, void *arg)
{
    if (t->started == 0 || tasks <= 1) {
        for (size_t i = 0; i < tasks; i++) {
            fn(arg, i, 0);
        }
        return;
    }
    t->fn = fn;
    t->arg = arg;
    t->tasks = tasks;
    atomic_store(&t->next, 0);
    atomic_store(&t->gate, OPEN);
    announce(t);
    work_off(t, 0);
    atomic_fetch_and(&t->gate, ~OPEN);
    for (unsigned i = 0; atomic_load(&t->gate) != 0; i++) {
        if (i < SPINS) {
            relax();
        } else {
            (void)sched_yield(); /* the last one may want this very CPU */
        }
    }
}

void
team_run(team *t, size_t tasks, team_fn *fn, void *arg)
{
    sigset_t before;

    hold_signals(&before);
    share_out(t, tasks, fn, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}
