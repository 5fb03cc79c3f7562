/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - the service: sockets and threads around the server's machine.
 *
 * One thread, the caller's, owns the socket and the machine and never touches
 * a pixel. Workers open streams and compute rows; their results come back by a
 * list and an eventfd. A computed block is sent without being copied: ZeroMQ
 * holds a reference until it is on its way.
 */
#include <mri/server.h>

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/clock.h>
#include <mri/cpu.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/log.h>
#include <mri/rows.h>
#include <mri/thread.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#define MAX_LISTEN 16
#define MAX_STREAMS 64
#define POLL_MS 50
#define MESSAGES_PER_TURN 256

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

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

mri_server_options
mri_server_defaults(void)
{
    return (mri_server_options){.memory = (uint64_t)1 << 30};
}

/* ---- workers ---- */

static void
free_stream(stream *s)
{
    if (s != NULL) {
        mri_rows_close(s->rows);
        mr_dataset_close(s->own);
        mri_free(s);
    }
}

static void
free_job(job *j)
{
    mri_free(j->name);
    mri_free(j->split);
    mri_free(j->pipeline);
    mri_free(j->order);
    mri_free(j->tail);
    mri_free(j);
}

static void
wake(const mri_server *s)
{
    uint64_t one = 1;

    (void)!write(s->wake, &one, sizeof one);
}

/* From any thread: ZeroMQ's calls it when a message has left. */
static void
unref_block(void *data, void *hint)
{
    block *b = hint;
    mri_server *s = b->server;

    (void)data;
    if (atomic_fetch_sub(&b->refs, 1) != 1) {
        return;
    }
    mri_free(b->data);
    pthread_mutex_lock(&s->lock);
    b->next = s->gone;
    s->gone = b;
    pthread_mutex_unlock(&s->lock);
    wake(s);
}

static const dataset *
find_dataset(const mri_server *s, const char *name, mr_diag *diag)
{
    char known[300] = "";
    size_t n = 0;

    for (size_t i = 0; i < s->dataset_count; i++) {
        if (strcmp(s->datasets[i].name, name) == 0 ||
            (name[0] == '\0' && s->dataset_count == 1)) {
            return &s->datasets[i];
        }
        n += n < sizeof known
                 ? (size_t)snprintf(known + n, sizeof known - n, "%s%s",
                                    i != 0 ? ", " : "", s->datasets[i].name)
                 : 0;
    }
    (void)mri_fail(diag, MRI_E_SERVER_NAME, MR_NOWHERE,
                   name[0] == '\0' ? "this server has several datasets (%s%s)"
                                   : "no dataset '%.60s' here; there is %s",
                   name[0] == '\0' ? known : name,
                   name[0] == '\0' ? "" : known);
    return NULL;
}

/* The generation that is asked for: the one that is open, or another one. */
static mr_err
choose_generation(const dataset *d, const mri_wire_open *open, stream *made,
                  const mr_dataset **out, mr_diag *diag)
{
    uint64_t latest = mr_dataset_generation(d->ds);
    char path[4096];

    *out = d->ds;
    if (open->has_content_id &&
        memcmp(open->content_id, mr_dataset_content_id(d->ds), 16) != 0) {
        for (uint64_t g = latest; g-- > 1;) {
            (void)snprintf(path, sizeof path, "%s@%llu", d->path,
                           (unsigned long long)g);
            mr_dataset_close(made->own);
            made->own = NULL;
            if (mr_dataset_open(&made->own, path, NULL) == MR_OK &&
                memcmp(open->content_id, mr_dataset_content_id(made->own),
                       16) == 0) {
                *out = made->own;
                return MR_OK;
            }
        }
        return mri_fail(diag, MRI_E_SERVER_OTHER, MR_NOWHERE,
                        "no generation of '%s' here has that content", d->name);
    }
    if (open->generation != 0 && open->generation != latest) {
        mr_err err;

        (void)snprintf(path, sizeof path, "%s@%llu", d->path,
                       (unsigned long long)open->generation);
        err = mr_dataset_open(&made->own, path, diag);
        *out = made->own;
        return err;
    }
    return MR_OK;
}

/* What was opened, as the wire says it. Texts are those of its rows. */
static void
describe(stream *made)
{
    const mri_rows_facts *f = mri_rows_facts_of(made->rows);
    mri_wire_opened *d = &made->opened;

    *d = (mri_wire_opened){.samples = f->samples,
                           .tensor_count = (uint32_t)f->tensor_count,
                           .canonical = f->open,
                           .classes = (const char **)(uintptr_t)f->classes,
                           .class_count = f->class_count,
                           .channels = (const char **)(uintptr_t)f->channels,
                           .channel_count = f->channel_count};
    memcpy(d->stream_id, f->id, 16);
    memcpy(d->hints, f->hints, sizeof f->hints);
    for (size_t i = 0; i < f->tensor_count; i++) {
        d->tensors[i].name = f->tensors[i].name;
        d->tensors[i].dtype = f->tensors[i].dtype;
        d->tensors[i].rank = f->tensors[i].rank;
        d->tensors[i].row_bytes = f->tensors[i].bytes;
        memcpy(d->tensors[i].shape, f->tensors[i].shape,
               sizeof d->tensors[i].shape);
        d->row_bytes += f->tensors[i].bytes;
    }
}

static mr_err
open_stream(mri_server *s, job *j)
{
    const dataset *d = find_dataset(s, j->name, &j->diag);
    int tail = mr_tail_named(j->tail), order = mr_order_named(j->order);
    mri_rows_options o = {.split = j->split,
                          .pipeline =
                              j->pipeline[0] != '\0' ? j->pipeline : NULL};
    mr_err err;

    if (d == NULL) {
        return j->diag.err;
    }
    if (tail < 0 || order < 0) {
        return mri_fail(&j->diag, MRI_E_WIRE, MR_NOWHERE,
                        "no tail '%.20s' or order '%.20s'", j->tail, j->order);
    }
    o.tail = (mr_tail)tail;
    o.order = (mr_order)order;
    j->made = mri_alloc(1, sizeof *j->made);
    if (j->made == NULL) {
        return no_memory(&j->diag);
    }
    err = choose_generation(d, &j->open, j->made, &o.ds, &j->diag);
    if (err == MR_OK) {
        err = mri_rows_open(&j->made->rows, &o, &j->diag);
    }
    if (err == MR_OK) {
        describe(j->made);
    }
    return err;
}

static mr_err
compute(mri_server *s, job *j, mri_rows_worker *worker)
{
    const mri_rows_facts *f = mri_rows_facts_of(j->of->rows);
    void *to[MRI_ROWS_TENSORS];
    uint64_t base = 0;
    mr_err err = MR_OK;

    j->result = mri_alloc(1, sizeof *j->result);
    if (j->result == NULL) {
        return no_memory(&j->diag);
    }
    atomic_init(&j->result->refs, 1);
    j->result->server = s;
    j->result->token = j->token;
    j->result->data = mri_alloc_pixels((size_t)j->bytes, 1);
    if (j->result->data == NULL) {
        return no_memory(&j->diag);
    }
    for (size_t t = 0; t < f->tensor_count; t++) {
        to[t] = j->result->data + base;
        base += f->tensors[t].bytes * j->count;
    }
    for (uint32_t i = 0; err == MR_OK && i < j->count; i++) {
        mri_row_name name = {j->want.seed, j->want.epoch, j->want.position + i};

        j->bad_row = i;
        err = mri_rows_compute(j->of->rows, worker, &name, to, i, j->uid,
                               &j->diag);
    }
    return err;
}

static void
give_result(mri_server *s, job *j)
{
    pthread_mutex_lock(&s->lock);
    j->next = s->results;
    s->results = j;
    pthread_mutex_unlock(&s->lock);
    wake(s);
}

static void *
worker_main(void *arg)
{
    mri_server *s = arg;
    mri_rows_worker *worker = mri_rows_worker_open();
    void *item;

    while (mri_queue_get(s->queue, &item) == MR_OK) {
        job *j = item;

        if (j->kind == JOB_OPEN) {
            j->err = open_stream(s, j);
        } else {
            j->err =
                worker != NULL ? compute(s, j, worker) : no_memory(&j->diag);
        }
        give_result(s, j);
    }
    mri_rows_worker_close(worker);
    return NULL;
}

/* ---- streams and blocks ---- */

/* Of the streams that nobody uses the oldest goes, when there are many. */
static void
make_room(mri_server *s)
{
    for (size_t i = 0; s->stream_count >= MAX_STREAMS && i < s->stream_count;
         i++) {
        stream *st = s->streams[i];

        if (st->users == 0 && st->jobs == 0) {
            free_stream(st);
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
            free_stream(made);
            s->streams[i]->users++;
            return s->streams[i];
        }
    }
    make_room(s);
    grown = s->stream_count < MAX_STREAMS
                ? mri_resize(s->streams, s->stream_count + 1, sizeof *grown)
                : NULL;
    if (grown == NULL) {
        free_stream(made);
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
        unref_block(NULL, b);
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
                              d->payload_bytes, unref_block, b) != 0) {
            unref_block(NULL, b);
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
        free_job(j);
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
            free_job(j);
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
    free_stream(j->made);
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
        unref_block(NULL, b);
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
        free_job(j);
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

/* ---- opening ---- */

/* "cells" for "data/cells.mr@3". */
static char *
short_name(const char *path)
{
    size_t n = strcspn(path, "@");
    char *copy = mri_alloc(n + 1, 1), *name, *dot;

    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, path, n);
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
        d->name = short_name(o->datasets[i]);
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
    while (s->started < n &&
           pthread_create(&s->threads[s->started], NULL, worker_main, s) == 0) {
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
    while (s->results != NULL) {
        job *j = s->results;

        s->results = j->next;
        free_stream(j->made);
        if (j->result != NULL) {
            unref_block(NULL, j->result);
        }
        free_job(j);
    }
    if (s->socket != NULL) {
        (void)zmq_close(s->socket);
    }
    if (s->context != NULL) {
        (void)zmq_ctx_term(s->context);
    }
    while (s->block_count != 0) {
        unref_block(NULL, s->blocks[--s->block_count]);
    }
    while (s->gone != NULL) {
        block *b = s->gone;

        s->gone = b->next;
        mri_free(b);
    }
    for (size_t i = 0; i < s->stream_count; i++) {
        free_stream(s->streams[i]);
    }
    for (size_t i = 0; i < MAX_LISTEN; i++) {
        if (i < s->bound && s->endpoints[i].ipc) {
            (void)unlink(mri_endpoint_path(&s->endpoints[i]));
        }
        mri_lock_release(&s->locks[i]);
    }
    for (size_t i = 0; i < s->dataset_count; i++) {
        mr_dataset_close(s->datasets[i].ds);
        mri_free(s->datasets[i].path);
        mri_free(s->datasets[i].name);
    }
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
