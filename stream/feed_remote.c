/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_remote.c - rows computed by servers.
 *
 * One thread owns the sockets and moves messages; the protocol is the state
 * machine of mri/ask.h. A lock stands around the machine and the requests: the
 * consumer adds and drops under it, the thread feeds messages under it, so that
 * after a drop nobody writes to that memory any more. Sockets are used by the
 * thread alone; it is woken by an eventfd.
 */
#include "remote.h"

#include <mri/alloc.h>
#include <mri/ask.h>
#include <mri/clock.h>
#include <mri/endpoint.h>
#include <mri/error.h>
#include <mri/feed.h>
#include <mri/log.h>
#include <mri/thread.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#define PIECE_BYTES (2u << 20)     /* asked for at once, or one row */
#define MESSAGES_PER_TURN 64       /* of one socket, before the others */
#define PIPELINE_BYTES (60u << 10) /* that fit into an OPEN */

/* A part of a request that was asked for as one piece. */
typedef struct part {
    uint64_t id;
    mri_request *request;
    uint64_t first; /* row of the request */
    uint32_t rows;
} part;

typedef struct remote {
    mri_feed base;
    mri_endpoint servers[MRI_ASK_SERVERS];
    const char *names[MRI_ASK_SERVERS];
    char *split, *pipeline; /* a lost server is asked again, much later */
    uint32_t count;
    mri_rows_facts facts;
    mr_stream_tensor tensors[MRI_ROWS_TENSORS];
    uint64_t window; /* bytes that may be asked for at once */

    pthread_mutex_t lock;
    pthread_cond_t news; /* a request is done, or the stream opened or failed */
    mri_ask *ask;
    part *parts;
    size_t part_count, part_room;
    uint64_t next_part;
    bool opened, failed;
    mr_diag why;

    void *context;
    void *sockets[MRI_ASK_SERVERS];
    int wake; /* eventfd */
    atomic_bool quit;
    pthread_t thread;
    bool started;
} remote;

static remote *
self(const mri_feed *feed)
{
    return (remote *)(uintptr_t)feed;
}

static void
wake(const remote *r)
{
    uint64_t one = 1;

    (void)!write(r->wake, &one, sizeof one);
}

/* ---- requests and their parts: all with the lock held ---- */

static void
settle(remote *r, mri_request *q)
{
    q->done = true;
    pthread_cond_broadcast(&r->news);
}

static void
remove_part(remote *r, size_t i)
{
    r->parts[i] = r->parts[--r->part_count];
}

/* Nothing of it is wanted any more. */
static void
cancel_request(remote *r, const mri_request *q)
{
    for (size_t i = r->part_count; i-- > 0;) {
        if (r->parts[i].request == q) {
            mri_ask_cancel(r->ask, mri_now_ns(), r->parts[i].id);
            remove_part(r, i);
        }
    }
}

static void
fail_request(remote *r, mri_request *q, const mr_diag *why)
{
    cancel_request(r, q);
    q->err = why->err;
    q->diag = *why;
    settle(r, q);
}

static bool
want_part(remote *r, mri_request *q, uint64_t first, uint32_t rows)
{
    mri_piece piece = {.seed = q->seed,
                       .epoch = q->epoch,
                       .position = q->position + first,
                       .rows = rows};

    if (rows == 0) {
        return true;
    }
    if (r->part_count == r->part_room) {
        size_t room = r->part_room != 0 ? r->part_room * 2 : 64;
        part *parts = mri_resize(r->parts, room, sizeof *parts);

        if (parts == NULL) {
            return false;
        }
        r->parts = parts;
        r->part_room = room;
    }
    piece.id = r->next_part++;
    if (!mri_ask_want(r->ask, mri_now_ns(), &piece)) {
        return false;
    }
    r->parts[r->part_count++] = (part){piece.id, q, first, rows};
    q->busy++;
    return true;
}

static size_t
find_part(const remote *r, uint64_t id)
{
    for (size_t i = 0; i < r->part_count; i++) {
        if (r->parts[i].id == id) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* The bytes of a piece are the tensors in order, each with its rows. */
static void
take_data(remote *r, const mri_act *act)
{
    size_t i = find_part(r, act->piece);
    uint64_t base = 0, at = act->offset, end = act->offset + act->bytes;
    const part *p = &r->parts[i];

    for (size_t t = 0; i != SIZE_MAX && t < r->facts.tensor_count; t++) {
        uint64_t bytes = r->tensors[t].bytes * p->rows;
        uint64_t stop = base + bytes < end ? base + bytes : end;

        if (at < stop && at >= base) {
            uint8_t *to = (uint8_t *)p->request->to[t] +
                          p->first * r->tensors[t].bytes + (at - base);

            memcpy(to, act->data + (at - act->offset), (size_t)(stop - at));
            at = stop;
        }
        base += bytes;
    }
}

static void
part_done(remote *r, uint64_t id)
{
    size_t i = find_part(r, id);
    mri_request *q;

    if (i == SIZE_MAX) {
        return;
    }
    q = r->parts[i].request;
    remove_part(r, i);
    if (--q->busy == 0) {
        settle(r, q);
    }
}

/* No server has that row: the policy decides. The rest of the piece is asked
 * for once more, around it. */
static void
part_missing(remote *r, const mri_act *act)
{
    size_t i = find_part(r, act->piece);
    mri_request *q;
    mri_lost *lost;
    part p;

    if (i == SIZE_MAX) {
        return;
    }
    p = r->parts[i];
    q = p.request;
    remove_part(r, i);
    q->busy--;
    lost = q->on_damage == MR_DAMAGE_MASK
               ? mri_resize(q->lost, q->lost_count + 1, sizeof *lost)
               : NULL;
    if (lost == NULL) {
        fail_request(r, q, &act->diag);
        return;
    }
    q->lost = lost;
    lost[q->lost_count].row = p.first + act->row;
    memcpy(lost[q->lost_count].uid, act->uid, MR_UID_BYTES);
    lost[q->lost_count++].why = act->diag;
    mri_rows_mask(&r->facts, q->to, p.first + act->row);
    if (!want_part(r, q, p.first, act->row) ||
        !want_part(r, q, p.first + act->row + 1, p.rows - act->row - 1)) {
        mr_diag why = {0};

        (void)mri_fail(&why, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        fail_request(r, q, &why);
    } else if (q->busy == 0) {
        settle(r, q);
    }
}

static void
fail_all(remote *r, const mr_diag *why)
{
    r->failed = true;
    r->why = *why;
    while (r->part_count != 0) {
        fail_request(r, r->parts[0].request, why);
    }
    pthread_cond_broadcast(&r->news);
}

/* ---- the thread ---- */

/* Not sent is not lost: the machine asks again. */
static void
send_act(remote *r, const mri_act *act)
{
    void *socket = r->sockets[act->server];

    if (zmq_send(socket, act->header, MRI_WIRE_HEADER,
                 ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) {
        (void)zmq_send(socket, act->descriptor, act->descriptor_bytes,
                       ZMQ_DONTWAIT);
    }
}

static void
run_acts(remote *r)
{
    mri_act act;

    for (mri_ask_next(r->ask, &act); act.kind != MRI_ACT_NONE;
         mri_ask_next(r->ask, &act)) {
        switch (act.kind) {
        case MRI_ACT_SEND:
            send_act(r, &act);
            break;
        case MRI_ACT_OPENED:
            r->opened = true;
            pthread_cond_broadcast(&r->news);
            break;
        case MRI_ACT_DATA:
            take_data(r, &act);
            break;
        case MRI_ACT_DONE:
            part_done(r, act.piece);
            break;
        case MRI_ACT_MISSING:
            part_missing(r, &act);
            break;
        case MRI_ACT_WARN:
            mri_say(MR_LOG_WARN, "STREAM-SERVER", "%s: %s",
                    r->servers[act.server].address, act.diag.text);
            break;
        case MRI_ACT_FAIL:
            fail_all(r, &act.diag);
            break;
        case MRI_ACT_NONE:
            break;
        }
    }
}

/* The frames of one message; those beyond three are thrown away. */
typedef struct frames {
    zmq_msg_t part[3];
    unsigned count, all;
} frames;

static bool
receive(void *socket, frames *f)
{
    int more = 1;

    *f = (frames){.count = 0};
    while (more) {
        zmq_msg_t extra, *to = f->count < 3 ? &f->part[f->count] : &extra;

        (void)zmq_msg_init(to);
        if (zmq_msg_recv(to, socket, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(to);
            return f->count != 0;
        }
        more = zmq_msg_more(to);
        f->all++;
        if (f->count < 3) {
            f->count++;
        } else {
            (void)zmq_msg_close(&extra);
        }
    }
    return true;
}

static void
close_frames(frames *f)
{
    while (f->count != 0) {
        (void)zmq_msg_close(&f->part[--f->count]);
    }
}

static void
take_message(remote *r, uint32_t server, frames *f)
{
    mri_message m;
    mr_diag why = {0};
    mr_err err = MR_EFORMAT;

    if (f->all >= 2 && f->all <= 3) {
        bool payload = f->count == 3;

        err = mri_wire_get(&m, zmq_msg_data(&f->part[0]),
                           zmq_msg_size(&f->part[0]), zmq_msg_data(&f->part[1]),
                           zmq_msg_size(&f->part[1]),
                           payload ? zmq_msg_data(&f->part[2]) : NULL,
                           payload ? zmq_msg_size(&f->part[2]) : 0, &why);
    }
    if (err == MR_OK || err == MR_EVERSION) {
        pthread_mutex_lock(&r->lock);
        mri_ask_message(r->ask, mri_now_ns(), server, &m);
        run_acts(r);
        pthread_mutex_unlock(&r->lock);
    } else {
        mri_say(MR_LOG_WARN, "WIRE", "%s: a message was dropped: %s",
                r->servers[server].address, why.text);
    }
}

static void
turn(remote *r, zmq_pollitem_t *items)
{
    uint64_t count;

    (void)zmq_poll(items, (int)r->count + 1, 50);
    if (items[r->count].revents & ZMQ_POLLIN) {
        (void)!read(r->wake, &count, sizeof count);
    }
    for (uint32_t i = 0; i < r->count; i++) {
        frames f;

        for (unsigned n = 0;
             n < MESSAGES_PER_TURN && receive(r->sockets[i], &f); n++) {
            take_message(r, i, &f);
            close_frames(&f);
        }
    }
    pthread_mutex_lock(&r->lock);
    mri_ask_tick(r->ask, mri_now_ns());
    run_acts(r);
    pthread_mutex_unlock(&r->lock);
}

static void *
thread_main(void *arg)
{
    remote *r = arg;
    zmq_pollitem_t items[MRI_ASK_SERVERS + 1];

    memset(items, 0, sizeof items);
    for (uint32_t i = 0; i < r->count; i++) {
        items[i].socket = r->sockets[i];
        items[i].events = ZMQ_POLLIN;
    }
    items[r->count].fd = r->wake;
    items[r->count].events = ZMQ_POLLIN;
    while (!atomic_load(&r->quit)) {
        turn(r, items);
    }
    pthread_mutex_lock(&r->lock);
    mri_ask_bye(r->ask);
    run_acts(r);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- the feed ---- */

static const mri_rows_facts *
remote_facts(const mri_feed *feed)
{
    return &self(feed)->facts;
}

/* Rows beyond the last sample are masked here: no server is asked for them. */
static uint64_t
mask_tail(const remote *r, mri_request *q)
{
    uint64_t samples = r->facts.samples, have = q->rows;

    if (r->facts.tail == MR_TAIL_MASK && q->position + q->rows > samples) {
        have = q->position < samples ? samples - q->position : 0;
    }
    for (uint64_t i = have; i < q->rows; i++) {
        mri_rows_mask(&r->facts, q->to, i);
    }
    return have;
}

static uint64_t
row_bytes(const remote *r)
{
    uint64_t n = 0;

    for (size_t i = 0; i < r->facts.tensor_count; i++) {
        n += r->tensors[i].bytes;
    }
    return n;
}

static void
remote_ask(mri_feed *feed, mri_request *q, bool urgent)
{
    remote *r = self(feed);
    uint64_t have = mask_tail(r, q);
    uint64_t rows = PIECE_BYTES / row_bytes(r);
    bool ok = true;

    (void)urgent; /* the servers work on all that was asked for at once */
    rows = rows < 1 ? 1 : rows > 4096 ? 4096 : rows;
    q->busy = 0;
    q->done = false;
    pthread_mutex_lock(&r->lock);
    for (uint64_t i = 0; ok && !r->failed && i < have; i += rows) {
        ok = want_part(r, q, i, (uint32_t)(have - i < rows ? have - i : rows));
    }
    if (r->failed || !ok) {
        mr_diag why = r->why;

        if (!r->failed) {
            (void)mri_fail(&why, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        }
        fail_request(r, q, &why);
    } else if (q->busy == 0) {
        settle(r, q);
    }
    pthread_mutex_unlock(&r->lock);
    wake(r);
}

static bool
remote_wait(mri_feed *feed, mri_request *q, uint64_t ns)
{
    remote *r = self(feed);
    uint64_t until = ns == UINT64_MAX ? ns : mri_now_ns() + ns;
    bool done;

    pthread_mutex_lock(&r->lock);
    while (!q->done && mri_cond_wait(&r->news, &r->lock, until)) {
    }
    done = q->done;
    pthread_mutex_unlock(&r->lock);
    return done;
}

static void
remote_drop(mri_feed *feed, mri_request *q)
{
    remote *r = self(feed);

    pthread_mutex_lock(&r->lock);
    cancel_request(r, q);
    pthread_mutex_unlock(&r->lock);
    wake(r);
}

static void
remote_count(const mri_feed *feed, mr_stream_counters *out)
{
    (void)feed; /* the time is spent elsewhere */
    out->read_ns = out->decode_ns = out->augment_ns = 0;
}

static void
remote_close(mri_feed *feed)
{
    remote *r = self(feed);

    atomic_store(&r->quit, true);
    if (r->started) {
        wake(r);
        pthread_join(r->thread, NULL);
    }
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->sockets[i] != NULL) {
            (void)zmq_close(r->sockets[i]);
        }
    }
    if (r->context != NULL) {
        (void)zmq_ctx_term(r->context);
    }
    if (r->wake >= 0) {
        (void)close(r->wake);
    }
    mri_ask_close(r->ask);
    mri_free(r->parts);
    mri_free(r->pipeline);
    mri_free(r->split);
    pthread_cond_destroy(&r->news);
    pthread_mutex_destroy(&r->lock);
    mri_free(r);
}

static const mri_feed_ops remote_ops = {
    .facts = remote_facts,
    .ask = remote_ask,
    .wait = remote_wait,
    .drop = remote_drop,
    .count = remote_count,
    .close = remote_close,
};

/* ---- opening ---- */

static mr_err
open_sockets(remote *r, mr_diag *diag)
{
    static const struct {
        int name, value;
    } options[] = {
        {ZMQ_LINGER, 200},         {ZMQ_IMMEDIATE, 1},
        {ZMQ_RECONNECT_IVL, 100},  {ZMQ_RECONNECT_IVL_MAX, 1000},
        {ZMQ_HANDSHAKE_IVL, 3000}, {ZMQ_SNDHWM, 10000},
        {ZMQ_RCVHWM, 10000},
    };
    int64_t most = MRI_WIRE_PAYLOAD + MRI_WIRE_DESCRIPTOR;

    r->context = zmq_ctx_new();
    for (uint32_t i = 0; r->context != NULL && i < r->count; i++) {
        void *socket = r->sockets[i] = zmq_socket(r->context, ZMQ_DEALER);

        for (size_t k = 0; socket != NULL && k < MRI_COUNT(options); k++) {
            (void)zmq_setsockopt(socket, options[k].name, &options[k].value,
                                 sizeof options[k].value);
        }
        if (socket == NULL ||
            zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most) != 0 ||
            zmq_connect(socket, r->servers[i].address) != 0) {
            return mri_fail(diag, MRI_E_ENDPOINT, MR_NOWHERE,
                            "cannot connect to '%s': %s", r->servers[i].address,
                            zmq_strerror(errno));
        }
    }
    return r->context != NULL ? MR_OK
                              : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                                         "no memory for ZeroMQ");
}

/* What the first server said, as the stream's facts. */
static mr_err
take_facts(remote *r, mr_tail tail, mr_diag *diag)
{
    const mri_wire_opened *d = mri_ask_opened(r->ask);

    if (d->tensor_count > MRI_ROWS_TENSORS) {
        return mri_fail(diag, MRI_E_WIRE, MR_NOWHERE, "a stream of %u tensors",
                        d->tensor_count);
    }
    for (uint32_t i = 0; i < d->tensor_count; i++) {
        r->tensors[i] = (mr_stream_tensor){.name = d->tensors[i].name,
                                           .dtype = d->tensors[i].dtype,
                                           .rank = d->tensors[i].rank,
                                           .bytes = d->tensors[i].row_bytes};
        memcpy(r->tensors[i].shape, d->tensors[i].shape,
               sizeof r->tensors[i].shape);
    }
    r->facts = (mri_rows_facts){.open = d->canonical,
                                .samples = d->samples,
                                .tail = tail,
                                .tensors = r->tensors,
                                .tensor_count = d->tensor_count,
                                .classes = d->classes,
                                .channels = d->channels,
                                .class_count = d->class_count,
                                .channel_count = d->channel_count};
    memcpy(r->facts.id, d->stream_id, 16);
    memcpy(r->facts.hints, d->hints, sizeof r->facts.hints);
    return MR_OK;
}

static mr_err
wait_opened(remote *r, mr_diag *diag)
{
    mr_err err = MR_OK;

    pthread_mutex_lock(&r->lock);
    while (!r->opened && !r->failed) {
        (void)mri_cond_wait(&r->news, &r->lock, UINT64_MAX);
    }
    if (!r->opened) {
        err = r->why.err;
        if (diag != NULL) {
            *diag = r->why;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return err;
}

/* The caller's texts may go when the stream is open, and the pipeline need not
 * end with a zero. */
static mr_err
keep_texts(remote *r, const mr_stream_options *o, mr_diag *diag)
{
    size_t n = o->pipeline == NULL      ? 0
               : o->pipeline_bytes != 0 ? o->pipeline_bytes
                                        : strlen(o->pipeline);

    if (n > PIPELINE_BYTES || (n != 0 && memchr(o->pipeline, '\0', n))) {
        return mri_fail(diag, MRI_E_STREAM_OPTION, MR_NOWHERE,
                        "a pipeline for a server is a text of at most %u bytes",
                        PIPELINE_BYTES);
    }
    r->pipeline = mri_alloc(n + 1, 1);
    r->split = mri_strdup(o->split);
    if (r->pipeline == NULL || (r->split == NULL && o->split != NULL)) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    if (n != 0) {
        memcpy(r->pipeline, o->pipeline, n);
    }
    return MR_OK;
}

static mr_err
open_machine(remote *r, const mr_stream_options *o, mr_diag *diag)
{
    static const char *const tails[] = {"mask", "drop", "wrap"};
    static const char *const orders[] = {"random", "uid"};
    mri_ask_config c = mri_ask_defaults();
    mr_err err;

    for (uint32_t i = 0; i < r->count; i++) {
        r->names[i] = r->servers[i].name;
    }
    c.servers = r->count;
    c.names = r->names;
    c.hello = (mri_wire_hello){MRI_WIRE_LOW, MRI_WIRE_HIGH, mr_version(), {0}};
    c.open = (mri_wire_open){.split = r->split,
                             .pipeline = r->pipeline,
                             .order = orders[o->order],
                             .tail = tails[o->tail]};
    if (o->connect_ms != 0) {
        c.connect_ns = (uint64_t)o->connect_ms * 1000000;
    }
    if (o->patience_ms != 0) {
        c.patience_ns = o->patience_ms == UINT32_MAX
                            ? UINT64_MAX
                            : (uint64_t)o->patience_ms * 1000000;
    }
    err = mri_decoder_fingerprint(c.hello.fingerprint, diag);
    return err == MR_OK ? mri_ask_open(&r->ask, &c, mri_now_ns(), diag) : err;
}

mr_err
mri_feed_remote(mri_feed **out, const mr_stream_options *o, mr_diag *diag)
{
    remote *r = mri_alloc(1, sizeof *r);
    size_t count = 0;
    mr_err err;

    *out = NULL;
    if (r == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    r->base.ops = &remote_ops;
    pthread_mutex_init(&r->lock, NULL);
    mri_cond_init(&r->news);
    r->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    err =
        mri_endpoint_list(r->servers, MRI_ASK_SERVERS, &count, o->source, diag);
    r->count = (uint32_t)count;
    if (err == MR_OK) {
        err = keep_texts(r, o, diag);
    }
    if (err == MR_OK) {
        err = open_machine(r, o, diag);
    }
    if (err == MR_OK) {
        err = open_sockets(r, diag);
    }
    if (err == MR_OK && (r->wake < 0 || pthread_create(&r->thread, NULL,
                                                       thread_main, r) != 0)) {
        err = mri_fail(diag, MRI_E_THREAD, MR_NOWHERE,
                       "cannot start the thread of the stream");
    }
    r->started = err == MR_OK;
    if (err == MR_OK) {
        err = wait_opened(r, diag);
    }
    if (err == MR_OK) {
        err = take_facts(r, o->tail, diag);
    }
    if (err != MR_OK) {
        mri_diag_in(diag, o->source);
        remote_close(&r->base);
        return err;
    }
    *out = &r->base;
    return MR_OK;
}
