/* SPDX-License-Identifier: Apache-2.0 */
/* server_work.c - opening streams and computing rows, off the server's thread. */
#include "server_in.h"

#include <mri/alloc.h>
#include <mri/bytes.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
mri_server_free_stream(stream *s)
{
    if (s != NULL) {
        mri_rows_close(s->rows);
        mr_dataset_close(s->own);
        mri_free(s);
    }
}

void
mri_server_free_job(job *j)
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

void
mri_server_unref(void *data, void *hint)
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
    const mri_row_name from = {j->want.seed, j->want.epoch, j->want.position};
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
    mri_rows_foresee(j->of->rows, worker, &from, j->count);
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

void *
mri_server_work(void *arg)
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
