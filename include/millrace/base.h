/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.h - what every public header of millrace shares: errors, diagnostics,
 * log levels, version.
 *
 * Functions return mr_err; text about an error travels in a caller's mr_diag,
 * never in a global. Libraries never exit and never print.
 */
#ifndef MILLRACE_BASE_H
#define MILLRACE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define MR_BEGIN extern "C" {
#define MR_END }
#else
#define MR_BEGIN
#define MR_END
#endif

#define MR_API __attribute__((visibility("default")))
#define MR_USE_RESULT __attribute__((warn_unused_result))

#define MR_VERSION_MAJOR 0
#define MR_VERSION_MINOR 1
#define MR_VERSION_PATCH 0

MR_BEGIN

/* Two values are not errors: MR_AGAIN and MR_FINISHED. */
typedef enum mr_err {
    MR_OK = 0,
    MR_AGAIN,    /* not an error: drain output or feed input, call again */
    MR_FINISHED, /* not an error: the sequence is finished */
    MR_EARG,     /* called or configured wrongly */
    MR_ENOMEM,   /* no memory, host or device */
    MR_EIO,      /* the operating system said no */
    MR_EFORMAT,  /* not a file of the kind that was expected */
    MR_EVERSION, /* ours, but written by a newer (or too old) millrace */
    MR_ECORRUPT, /* ours, but a checksum or a bound does not hold */
    MR_ELIMIT,   /* valid, but over a limit */
    MR_ECLOSED,  /* the other side is gone */
    MR_EDEVICE,  /* CUDA or NCCL */
    MR_EAUTH,    /* not allowed without keys */
    MR_ETIME,    /* no answer in time */
    MR_EBUSY,    /* somebody else holds it: a port, a lock */
    MR_ESTOP     /* stopped on request; start again to go on */
} mr_err;

/* "No place": mr_diag.at when an error has no byte offset. */
#define MR_NOWHERE UINT64_MAX

/*
 * What went wrong, where. Zero it before use; functions that fail fill it.
 *
 * at      byte offset in `path`, or MR_NOWHERE
 * code    number in include/mri/errors.def; `millrace explain E<code>` tells more
 */
typedef struct mr_diag {
    mr_err err;
    uint16_t code;
    uint64_t at;
    char path[256];
    char text[512];
} mr_diag;

/* Static texts, never NULL. */
MR_API const char *mr_err_name(mr_err err);
/* The program's exit code for an error (docs/man, "EXIT STATUS"). */
MR_API int mr_err_exit(mr_err err);
/* What to do about error `code`; "" if there is nothing to say. */
MR_API const char *mr_code_help(uint16_t code);

/* "0.1.0" and, if known, what it was built from. */
MR_API const char *mr_version(void);

typedef enum mr_log_level {
    MR_LOG_ERROR = 0,
    MR_LOG_WARN = 1,
    MR_LOG_INFO = 2,
    MR_LOG_DEBUG = 3
} mr_log_level;

/*
 * A library is silent until the program sets a sink. `id` is stable and can
 * be searched for; `text` carries no name of a person and no key of a sample.
 * The sink may be called from any thread.
 */
typedef void mr_log_fn(void *user, mr_log_level level, const char *id,
                       const char *text);
MR_API void mr_log_set(mr_log_fn *sink, void *user, mr_log_level at_most);

/* How far a long piece of work is. total 0: not known yet. */
typedef struct mr_progress {
    const char *unit; /* "samples", "images", "steps" */
    uint64_t done, total;
    uint64_t bad;     /* went wrong so far */
    uint64_t bytes;   /* processed so far */
    const char *note; /* what else is worth a look, or NULL */
} mr_progress;

/*
 * The caller's eye on long work; both may be NULL. `stop` is polled between
 * pieces: true makes the work save what it has and return MR_ESTOP. Either
 * may be called from any thread, but never two at once.
 */
typedef struct mr_watch {
    void *user;
    void (*progress)(void *user, const mr_progress *now);
    bool (*stop)(void *user);
} mr_watch;

MR_END

#endif
