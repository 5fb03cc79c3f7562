/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server_in.h - the service from inside: what its three files share. server.c
 * opens and closes, server_turn.c is the thread that owns socket and machine,
 * server_work.c is what the other threads do.
 */
#ifndef MRI_STREAM_SERVER_IN_H
#define MRI_STREAM_SERVER_IN_H

#include <mri/server.h>

#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/rows.h>
#include <mri/thread.h>

#include <pthread.h>
#include <stdatomic.h>

#define MAX_LISTEN 16

typedef struct dataset {
    mr_dataset *ds;
    char *path, *name;
} dataset;

/* A stream that consumers have open; equal ones share it. */
typedef struct stream {
    uint64_t handle;
    uint32_t users;  /* consumers */
    uint32_t jobs;   /* of workers */
    mr_dataset *own; /* an older generation, opened for it; or NULL */
    mri_rows *rows;
    mri_wire_opened opened;
} stream;

/* Rows in memory, held by the machine and by messages on their way. */
typedef struct block {
    struct block *next; /* when gone */
    struct mri_server *server;
    uint64_t token;
    atomic_uint refs;
    uint8_t *data;
} block;

typedef enum job_kind { JOB_OPEN, JOB_COMPUTE } job_kind;

/* To a worker and back. */
typedef struct job {
    struct job *next;
    job_kind kind;
    uint64_t token;
    mr_err err;
    mr_diag diag;
    /* OPEN */
    char *name, *split, *pipeline, *order, *tail;
    mri_wire_open open; /* its texts are those above */
    stream *made;
    /* COMPUTE */
    stream *of;
    mri_wire_want want;
    uint32_t count, bad_row;
    uint64_t bytes;
    block *result;
    uint8_t uid[MR_UID_BYTES];
} job;

struct mri_server {
    mri_server_options options;
    dataset *datasets;
    size_t dataset_count;
    mri_wire_dataset *offers;
    mri_endpoint endpoints[MAX_LISTEN];
    mri_lock locks[MAX_LISTEN];
    size_t bound;
    void *context, *socket;
    mri_answer *machine;
    stream **streams;
    size_t stream_count;
    uint64_t next_handle;
    block **blocks; /* of the machine's tokens */
    size_t block_count;
    mri_queue *queue;
    pthread_t *threads;
    unsigned started;
    pthread_mutex_t lock;
    job *results;
    block *gone; /* nothing holds them: the machine is to hear of it */
    int wake;
    bool draining, drained;
};

static inline mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* ---- server_work.c ---- */

/* A thread's life; `arg` is the server. */
void *mri_server_work(void *arg);
void mri_server_free_stream(stream *s); /* NULL is accepted */
void mri_server_free_job(job *j);
/* One reference less on a block (`hint`). From any thread: ZeroMQ's calls it
 * when a message has left. */
void mri_server_unref(void *data, void *hint);

#endif
