/* SPDX-License-Identifier: Apache-2.0 */
/*
 * team.h - threads that share one operation, for microseconds at a time.
 *
 * A pool (mri/thread.h) sleeps between runs; a training step has a thousand
 * runs, some of ten microseconds. So a team spins for a moment before it
 * sleeps. It is also the only thing that makes threads here: oneDNN is called
 * by each of them for itself, single-threaded.
 */
#ifndef CPU_TEAM_H
#define CPU_TEAM_H

#include <mri/error.h>

#include <stddef.h>

typedef struct team team;

/* Called for every task, once; no two at once have the same worker. */
typedef void team_fn(void *arg, size_t task, unsigned worker);

/* `size` counts the caller's thread. */
MR_USE_RESULT mr_err team_open(team **out, unsigned size, mr_diag *diag);
void team_close(team *t);
unsigned team_size(const team *t);

/* Run tasks 0 .. tasks - 1 and wait for all of them. */
void team_run(team *t, size_t tasks, team_fn *fn, void *arg);

#endif
