/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - the service: sockets and threads around the server's machine.
 *
 * One thread, the caller's, owns the socket and the machine and never touches
 * a pixel. Workers open streams and compute rows; their results come back by a
 * list and an eventfd. A computed block is sent without being copied: ZeroMQ
 * holds a reference until it is on its way.
 */
#include "server_in.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/clock.h>
#include <mri/cpu.h>
#include <mri/file.h>
#include <mri/log.h>

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

mri_server_options
mri_server_defaults(void)
{
    return (mri_server_options){.memory = (uint64_t)1 << 30};
}

/* ---- opening ---- */

/* "cells" for "data/cells.mr". */
static char *
short_name(const char *path)
{
    size_t n = strlen(path);
    char *copy = mri_strdup(path), *name, *dot;

    if (copy == NULL) {
        return NULL;
    }
    while (n > 1 && copy[n - 1] == '/') {
        copy[--n] = '\0';
    }
    dot = strrchr(copy, '.');
    if (dot != NULL && strcmp(dot, ".mr") == 0) {
        *dot = '\0';
    }
    name = mri_strdup(mri_path_name(copy));
    mri_free(copy);
    return name;
}

static mr_err
open_datasets(mri_server *s, mr_diag *diag)
{
    const mri_server_options *o = &s->options;

    s->datasets = mri_alloc(o->dataset_count, sizeof *s->datasets);
    s->offers = mri_alloc(o->dataset_count, sizeof *s->offers);
    if (s->datasets == NULL || s->offers == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; i < o->dataset_count; i++) {
        dataset *d = &s->datasets[i];
        mri_dataset_facts facts;
        mr_err err = mr_dataset_open(&d->ds, o->datasets[i], diag);

        if (err != MR_OK) {
            return err;
        }
        s->dataset_count++;
        mri_dataset_facts_of(d->ds, &facts);
        d->path = mri_strdup(facts.dir);
        d->name = d->path != NULL ? short_name(d->path) : NULL;
        if (d->path == NULL || d->name == NULL) {
            return no_memory(diag);
        }
        s->offers[i] =
            (mri_wire_dataset){.name = d->name,
                               .generation = mr_dataset_generation(d->ds),
                               .samples = mr_dataset_count(d->ds)};
        memcpy(s->offers[i].dataset_id, mr_dataset_id(d->ds), 16);
        memcpy(s->offers[i].content_id, mr_dataset_content_id(d->ds), 16);
    }
    return MR_OK;
}

/* A consumer says which by its name alone. */
static mr_err
check_names(const mri_server *s, mr_diag *diag)
{
    for (size_t i = 1; i < s->dataset_count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (strcmp(s->datasets[i].name, s->datasets[k].name) == 0) {
                return mri_fail(diag, MRI_E_SERVER_NAMES, MR_NOWHERE,
                                "%s and %s would both be called '%s'",
                                s->options.datasets[k], s->options.datasets[i],
                                s->datasets[i].name);
            }
        }
    }
    return MR_OK;
}

static mr_err
list_endpoints(mri_server *s, size_t *count, mr_diag *diag)
{
    const mri_server_options *o = &s->options;
    mr_err err = MR_OK;

    *count = o->listen_count;
    if (o->listen_count > MAX_LISTEN) {
        return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                        "more than %d addresses", MAX_LISTEN);
    }
    if (o->listen_count == 0) {
        *count = 1;
        return mri_endpoint_default(&s->endpoints[0], diag);
    }
    for (size_t i = 0; err == MR_OK && i < o->listen_count; i++) {
        err = mri_endpoint_parse(&s->endpoints[i], o->listen[i],
                                 strlen(o->listen[i]), diag);
        if (err == MR_OK && s->endpoints[i].name[0] != '\0') {
            err = mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                           "'%s': a server listens at an address, without "
                           "#NAME",
                           o->listen[i]);
        }
    }
    return err;
}

static mr_err
open_socket(mri_server *s, mr_diag *diag)
{
    static const struct {
        int name, value;
    } options[] = {
        {ZMQ_LINGER, 500}, {ZMQ_ROUTER_MANDATORY, 1}, {ZMQ_HANDSHAKE_IVL, 3000},
        {ZMQ_SNDHWM, 0},   {ZMQ_RCVHWM, 10000},       {ZMQ_BACKLOG, 256},
    };
    int64_t most = MRI_WIRE_DESCRIPTOR;

    s->context = zmq_ctx_new();
    s->socket = s->context != NULL ? zmq_socket(s->context, ZMQ_ROUTER) : NULL;
    for (size_t i = 0; s->socket != NULL && i < MRI_COUNT(options); i++) {
        (void)zmq_setsockopt(s->socket, options[i].name, &options[i].value,
                             sizeof options[i].value);
    }
    if (s->socket == NULL ||
        zmq_setsockopt(s->socket, ZMQ_MAXMSGSIZE, &most, sizeof most) != 0) {
        return no_memory(diag);
    }
    return MR_OK;
}

static mr_err
bind_one(mri_server *s, size_t i, mr_diag *diag)
{
    const mri_endpoint *e = &s->endpoints[i];
    mode_t before;
    int rc;
    mr_err err;

    if (e->ipc) {
        err = mri_endpoint_claim(e, &s->locks[i], diag);
        if (err != MR_OK) {
            return err;
        }
    }
    before = umask(0177); /* a socket for us alone */
    rc = zmq_bind(s->socket, e->address);
    (void)umask(before);
    if (rc == 0) {
        s->bound++;
        if (!e->ipc) {
            mri_say(MR_LOG_WARN, "SERVE-OPEN",
                    "%s can be reached by every user of this machine",
                    e->address);
        }
        return MR_OK;
    }
    if (errno == EADDRINUSE) {
        return mri_fail(diag, MRI_E_PORT_TAKEN, MR_NOWHERE,
                        "another process listens at '%s'", e->address);
    }
    return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                    "cannot listen at '%s': %s", e->address,
                    zmq_strerror(errno));
}

static mr_err
start_workers(mri_server *s, mr_diag *diag)
{
    unsigned n = s->options.threads != 0 ? s->options.threads : mri_cpu_count();
    mr_err err = mri_queue_open(&s->queue, 1u << 16, diag);

    if (err != MR_OK) {
        return err;
    }
    s->threads = mri_alloc(n, sizeof *s->threads);
    if (s->threads == NULL) {
        return no_memory(diag);
    }
    while (s->started < n && pthread_create(&s->threads[s->started], NULL,
                                            mri_server_work, s) == 0) {
        s->started++;
    }
    return s->started == n ? MR_OK
                           : mri_fail(diag, MRI_E_THREAD, MR_NOWHERE,
                                      "cannot start %u threads", n);
}

static mr_err
open_machine(mri_server *s, mr_diag *diag)
{
    mri_answer_config c = mri_answer_defaults();
    mr_err err = mri_decoder_fingerprint(c.fingerprint, diag);

    c.build = mr_version();
    c.datasets = s->offers;
    c.dataset_count = (uint32_t)s->dataset_count;
    c.memory_bytes = s->options.memory;
    c.peer_bytes = s->options.memory / 4;
    return err == MR_OK ? mri_answer_open(&s->machine, &c, diag) : err;
}

mr_err
mri_server_open(mri_server **out, const mri_server_options *options,
                mr_diag *diag)
{
    mri_server *s = mri_alloc(1, sizeof *s);
    size_t count = 0;
    mr_err err;

    *out = NULL;
    if (s == NULL) {
        return no_memory(diag);
    }
    s->options = *options;
    s->next_handle = mri_now_ns() | 1; /* another one after a restart */
    pthread_mutex_init(&s->lock, NULL);
    for (size_t i = 0; i < MAX_LISTEN; i++) {
        s->locks[i].fd = -1;
    }
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    err = list_endpoints(s, &count, diag);
    if (err == MR_OK) {
        err = open_datasets(s, diag);
    }
    if (err == MR_OK) {
        err = check_names(s, diag);
    }
    if (err == MR_OK) {
        err = open_machine(s, diag);
    }
    if (err == MR_OK) {
        err = open_socket(s, diag);
    }
    if (err == MR_OK) {
        err = start_workers(s, diag);
    }
    for (size_t i = 0; err == MR_OK && i < count; i++) {
        err = bind_one(s, i, diag);
    }
    if (err != MR_OK) {
        mri_server_close(s);
        return err;
    }
    *out = s;
    return MR_OK;
}

/* What was asked for and is not said any more. */
static void
forget_work(mri_server *s)
{
    while (s->results != NULL) {
        job *j = s->results;

        s->results = j->next;
        mri_server_free_stream(j->made);
        if (j->result != NULL) {
            mri_server_unref(NULL, j->result);
        }
        mri_server_free_job(j);
    }
}

/* No message of ZeroMQ is left that would still point into a block. */
static void
forget_blocks(mri_server *s)
{
    while (s->block_count != 0) {
        mri_server_unref(NULL, s->blocks[--s->block_count]);
    }
    while (s->gone != NULL) {
        block *b = s->gone;

        s->gone = b->next;
        mri_free(b);
    }
}

static void
leave_endpoints(mri_server *s)
{
    for (size_t i = 0; i < MAX_LISTEN; i++) {
        if (i < s->bound && s->endpoints[i].ipc) {
            (void)unlink(mri_endpoint_path(&s->endpoints[i]));
        }
        mri_lock_release(&s->locks[i]);
    }
}

static void
close_datasets(mri_server *s)
{
    for (size_t i = 0; i < s->stream_count; i++) {
        mri_server_free_stream(s->streams[i]);
    }
    for (size_t i = 0; i < s->dataset_count; i++) {
        mr_dataset_close(s->datasets[i].ds);
        mri_free(s->datasets[i].path);
        mri_free(s->datasets[i].name);
    }
}

void
mri_server_close(mri_server *s)
{
    if (s == NULL) {
        return;
    }
    if (s->queue != NULL) {
        mri_queue_stop(s->queue);
    }
    for (unsigned i = 0; i < s->started; i++) {
        pthread_join(s->threads[i], NULL);
    }
    forget_work(s);
    if (s->socket != NULL) {
        (void)zmq_close(s->socket);
    }
    if (s->context != NULL) {
        (void)zmq_ctx_term(s->context);
    }
    forget_blocks(s);
    leave_endpoints(s);
    close_datasets(s);
    mri_answer_close(s->machine);
    mri_queue_close(s->queue);
    mri_free(s->threads);
    mri_free(s->datasets);
    mri_free(s->offers);
    mri_free(s->streams);
    mri_free(s->blocks);
    if (s->wake >= 0) {
        (void)close(s->wake);
    }
    pthread_mutex_destroy(&s->lock);
    mri_free(s);
}
