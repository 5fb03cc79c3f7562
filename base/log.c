/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - a sink that the program sets; nothing is said without one. */
#include <mri/log.h>

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static mr_log_fn *log_sink;
static void *log_user;
static atomic_int log_level = -1; /* readable without the lock */

void
mr_log_set(mr_log_fn *sink, void *user, mr_log_level at_most)
{
    pthread_mutex_lock(&lock);
    log_sink = sink;
    log_user = user;
    atomic_store(&log_level, sink != NULL ? (int)at_most : -1);
    pthread_mutex_unlock(&lock);
}

bool
mri_say_on(mr_log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void
mri_say(mr_log_level level, const char *id, const char *fmt, ...)
{
    char text[1024];
    va_list args;

    if (!mri_say_on(level)) {
        return;
    }
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    pthread_mutex_lock(&lock);
    if (log_sink != NULL) {
        log_sink(log_user, level, id, text);
    }
    pthread_mutex_unlock(&lock);
}
