/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server_turn.c - the thread that owns the socket and the machine: messages
 * in, deeds out, results of workers in between.
 */
#include "server_in.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/clock.h>
#include <mri/log.h>

#include <string.h>
#include <unistd.h>
#include <zmq.h>

#define MAX_STREAMS 64
#define POLL_MS 50
#define MESSAGES_PER_TURN 256

/* ---- streams and blocks ---- */

/* Of the streams that nobody uses the oldest goes, when there are many. */
static void
make_room(mri_server *s)
{
    for (size_t i = 0; s->stream_count >= MAX_STREAMS && i < s->stream_count;
         i++) {
        stream *st = s->streams[i];

        if (st->users == 0 && st->jobs == 0) {
            mri_server_free_stream(st);
            s->stream_count--;
            memmove(&s->streams[i], &s->streams[i + 1],
                    (s->stream_count - i) * sizeof *s->streams);
            return;
        }
    }
}

/* A stream that is open already is shared; then `made` is not needed. */
static stream *
keep_stream(mri_server *s, stream *made)
{
    stream **grown;

    for (size_t i = 0; i < s->stream_count; i++) {
        if (memcmp(s->streams[i]->opened.stream_id, made->opened.stream_id,
                   16) == 0) {
            mri_server_free_stream(made);
            s->streams[i]->users++;
            return s->streams[i];
        }
    }
    make_room(s);
    grown = s->stream_count < MAX_STREAMS
                ? mri_resize(s->streams, s->stream_count + 1, sizeof *grown)
                : NULL;
    if (grown == NULL) {
        mri_server_free_stream(made);
        return NULL;
    }
    s->streams = grown;
    grown[s->stream_count++] = made;
    made->handle = s->next_handle++;
    made->users = 1;
    return made;
}

static stream *
find_stream(const mri_server *s, uint64_t handle)
{
    for (size_t i = 0; i < s->stream_count; i++) {
        if (s->streams[i]->handle == handle) {
            return s->streams[i];
        }
    }
    return NULL;
}

/* A stream stays open when its last user leaves: the next one of the same
 * kind, a resume mostly, finds it warm. */
static void
leave_stream(mri_server *s, uint64_t handle)
{
    stream *st = find_stream(s, handle);

    if (st != NULL && st->users > 0) {
        st->users--;
    }
}

static bool
add_block(mri_server *s, block *b)
{
    block **grown = mri_resize(s->blocks, s->block_count + 1, sizeof *grown);

    if (grown == NULL) {
        return false;
    }
    s->blocks = grown;
    grown[s->block_count++] = b;
    return true;
}

static block *
find_block(const mri_server *s, uint64_t token, size_t *at)
{
    for (size_t i = 0; i < s->block_count; i++) {
        if (s->blocks[i]->token == token) {
            *at = i;
            return s->blocks[i];
        }
    }
    return NULL;
}

static void
free_block(mri_server *s, uint64_t token)
{
    size_t i;
    block *b = find_block(s, token, &i);

    if (b != NULL) {
        s->blocks[i] = s->blocks[--s->block_count];
        mri_server_unref(NULL, b);
    }
}

/* ---- deeds ---- */

static void
send_deed(mri_server *s, const mri_deed *d)
{
    zmq_msg_t payload;
    int flags = ZMQ_DONTWAIT | ZMQ_SNDMORE;

    if (zmq_send(s->socket, d->peer.bytes, d->peer.len, flags) < 0 ||
        zmq_send(s->socket, d->header, MRI_WIRE_HEADER, flags) < 0 ||
        zmq_send(s->socket, d->descriptor, d->descriptor_bytes,
                 d->payload != NULL ? flags : ZMQ_DONTWAIT) < 0) {
        return; /* it has gone: it will be forgotten when it stays silent */
    }
    if (d->payload != NULL) {
        size_t at;
        block *b = find_block(s, d->token, &at);

        atomic_fetch_add(&b->refs, 1);
        if (zmq_msg_init_data(&payload, (void *)(uintptr_t)d->payload,
                              d->payload_bytes, mri_server_unref, b) != 0) {
            mri_server_unref(NULL, b);
            return;
        }
        if (zmq_msg_send(&payload, s->socket, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&payload);
        }
    }
}

static mr_err
queue_job(mri_server *s, job *j)
{
    mr_err err = mri_queue_put(s->queue, j);

    if (err != MR_OK) {
        mri_server_free_job(j);
    }
    return err;
}

static void
begin_open(mri_server *s, const mri_deed *d)
{
    job *j = mri_alloc(1, sizeof *j);
    mr_diag why = {0};

    if (j != NULL) {
        j->kind = JOB_OPEN;
        j->token = d->token;
        j->open = d->open;
        j->name = mri_strdup(d->open.dataset);
        j->split = mri_strdup(d->open.split);
        j->pipeline = mri_strdup(d->open.pipeline);
        j->order = mri_strdup(d->open.order);
        j->tail = mri_strdup(d->open.tail);
    }
    if (j == NULL || j->name == NULL || j->split == NULL ||
        j->pipeline == NULL || j->order == NULL || j->tail == NULL) {
        (void)no_memory(&why);
        mri_answer_opened(s->machine, mri_now_ns(), d->token, 0, NULL, &why);
        if (j != NULL) {
            mri_server_free_job(j);
        }
        return;
    }
    (void)queue_job(s, j);
}

static void
begin_compute(mri_server *s, const mri_deed *d)
{
    stream *st = find_stream(s, d->handle);
    job *j = st != NULL ? mri_alloc(1, sizeof *j) : NULL;
    static const uint8_t nobody[16];
    mr_diag why = {0};

    if (j == NULL) {
        (void)no_memory(&why);
        mri_answer_computed(s->machine, mri_now_ns(), d->token, NULL, 0, nobody,
                            &why);
        return;
    }
    *j = (job){.kind = JOB_COMPUTE,
               .token = d->token,
               .of = st,
               .want = d->want,
               .count = d->rows,
               .bytes = d->bytes};
    st->jobs++;
    (void)queue_job(s, j);
}

static void
run_deeds(mri_server *s)
{
    mri_deed d;

    for (mri_answer_next(s->machine, &d); d.kind != MRI_DEED_NONE;
         mri_answer_next(s->machine, &d)) {
        switch (d.kind) {
        case MRI_DEED_SEND:
            send_deed(s, &d);
            break;
        case MRI_DEED_OPEN:
            begin_open(s, &d);
            break;
        case MRI_DEED_COMPUTE:
            begin_compute(s, &d);
            break;
        case MRI_DEED_FREE:
            free_block(s, d.token);
            break;
        case MRI_DEED_CLOSE:
            leave_stream(s, d.handle);
            break;
        case MRI_DEED_DRAINED:
            s->drained = true;
            break;
        case MRI_DEED_NONE:
            break;
        }
    }
}

/* ---- results ---- */

static void
finish_open(mri_server *s, job *j)
{
    stream *st = NULL;

    if (j->err == MR_OK) {
        st = keep_stream(s, j->made);
        j->made = NULL;
        if (st == NULL) {
            j->err = mri_fail(&j->diag, MRI_E_SERVER_LIMIT, MR_NOWHERE,
                              "%d different streams are open here already",
                              MAX_STREAMS);
        }
    }
    mri_server_free_stream(j->made);
    mri_answer_opened(s->machine, mri_now_ns(), j->token,
                      st != NULL ? st->handle : 0,
                      st != NULL ? &st->opened : NULL, &j->diag);
}

static void
finish_compute(mri_server *s, job *j)
{
    block *b = j->result;

    j->of->jobs--;
    if (j->err == MR_OK && !add_block(s, b)) {
        j->err = no_memory(&j->diag);
    }
    if (j->err != MR_OK && b != NULL) {
        mri_server_unref(NULL, b);
    }
    if (j->err != MR_OK) {
        char hex[33];

        mri_say(MR_LOG_WARN, "ROW", "sample %s cannot be served: %s",
                mri_hex(hex, j->uid, 16), j->diag.text);
    }
    mri_answer_computed(s->machine, mri_now_ns(), j->token,
                        j->err == MR_OK ? b->data : NULL, j->bad_row, j->uid,
                        &j->diag);
}

static void
take_gone(mri_server *s)
{
    block *list;

    pthread_mutex_lock(&s->lock);
    list = s->gone;
    s->gone = NULL;
    pthread_mutex_unlock(&s->lock);
    while (list != NULL) {
        block *b = list;

        list = b->next;
        mri_answer_gone(s->machine, mri_now_ns(), b->token);
        mri_free(b);
        run_deeds(s);
    }
}

static void
take_results(mri_server *s)
{
    uint64_t count;
    job *list;

    (void)!read(s->wake, &count, sizeof count);
    take_gone(s);
    pthread_mutex_lock(&s->lock);
    list = s->results;
    s->results = NULL;
    pthread_mutex_unlock(&s->lock);
    while (list != NULL) {
        job *j = list;

        list = j->next;
        if (j->kind == JOB_OPEN) {
            finish_open(s, j);
        } else {
            finish_compute(s, j);
        }
        mri_server_free_job(j);
        run_deeds(s);
    }
}

/* ---- messages ---- */

enum { FRAMES = 4 }; /* address, header, descriptor, payload */

static bool
receive(void *socket, zmq_msg_t part[FRAMES], unsigned *count)
{
    unsigned all = 0;
    int more = 1;

    *count = 0;
    while (more) {
        zmq_msg_t extra, *to = all < FRAMES ? &part[all] : &extra;

        (void)zmq_msg_init(to);
        if (zmq_msg_recv(to, socket, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(to);
            return all != 0;
        }
        more = zmq_msg_more(to);
        if (all < FRAMES) {
            *count += 1;
        } else {
            (void)zmq_msg_close(&extra);
        }
        all++;
    }
    return true;
}

/* Whatever comes from outside and is not of this protocol is dropped. */
static void
take_message(mri_server *s, zmq_msg_t part[FRAMES], unsigned count)
{
    mri_peer_id id = {.len = 0};
    mri_message m;
    mr_err err;

    if (count != 3 || zmq_msg_size(&part[0]) > sizeof id.bytes) {
        return; /* consumers send no payload */
    }
    id.len = (uint8_t)zmq_msg_size(&part[0]);
    memcpy(id.bytes, zmq_msg_data(&part[0]), id.len);
    err = mri_wire_get(&m, zmq_msg_data(&part[1]), zmq_msg_size(&part[1]),
                       zmq_msg_data(&part[2]), zmq_msg_size(&part[2]), NULL, 0,
                       NULL);
    /* A HELLO of another version is answered: it says which ones we speak. */
    if (err == MR_OK || (err == MR_EVERSION && m.head.type == MRI_WIRE_HELLO)) {
        mri_answer_message(s->machine, mri_now_ns(), &id, &m);
        run_deeds(s);
    }
}

static void
turn(mri_server *s)
{
    zmq_pollitem_t items[2] = {{s->socket, 0, ZMQ_POLLIN, 0},
                               {NULL, s->wake, ZMQ_POLLIN, 0}};
    zmq_msg_t part[FRAMES];
    unsigned count;

    (void)zmq_poll(items, 2, POLL_MS);
    for (unsigned n = 0;
         n < MESSAGES_PER_TURN && receive(s->socket, part, &count); n++) {
        take_message(s, part, count);
        while (count != 0) {
            (void)zmq_msg_close(&part[--count]);
        }
    }
    take_results(s);
    mri_answer_tick(s->machine, mri_now_ns());
    run_deeds(s);
}

mr_err
mri_server_run(mri_server *s, mr_diag *diag)
{
    (void)diag;
    for (size_t i = 0; s->options.ready != NULL && i < s->bound; i++) {
        s->options.ready(s->options.user, s->endpoints[i].address);
    }
    while (!s->drained) {
        if (!s->draining && s->options.stop != NULL &&
            s->options.stop(s->options.user)) {
            s->draining = true;
            mri_answer_drain(s->machine, mri_now_ns());
            run_deeds(s);
        }
        turn(s);
    }
    return MR_OK;
}

void
mri_server_counts(const mri_server *s, mri_answer_counts *out)
{
    mri_answer_count(s->machine, out);
}
