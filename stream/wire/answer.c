/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - the server's state machine: what comes in. */
#include "answer_in.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

#define SECOND ((uint64_t)1000000000)
#define PIECES_PER_PEER 8192 /* asked for and not answered */
#define ROWS_PER_PIECE 65536

mri_answer_config
mri_answer_defaults(void)
{
    return (mri_answer_config){.memory_bytes = (uint64_t)1 << 30,
                               .peer_bytes = 64u << 20,
                               .silent_ns = 15 * SECOND,
                               .peers = 256};
}

/* ---- life ---- */

mr_err
mri_answer_open(mri_answer **out, const mri_answer_config *config,
                mr_diag *diag)
{
    mri_answer *a = mri_alloc(1, sizeof *a);

    *out = NULL;
    if (a != NULL) {
        a->guests = mri_alloc(config->peers, sizeof *a->guests);
    }
    if (a == NULL || a->guests == NULL) {
        mri_free(a);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    a->config = *config;
    a->next_token = 1;
    *out = a;
    return MR_OK;
}

static void
free_list(job *j)
{
    while (j != NULL) {
        job *next = j->next;

        mri_free(j);
        j = next;
    }
}

void
mri_answer_close(mri_answer *a)
{
    if (a == NULL) {
        return;
    }
    for (uint32_t i = 0; i < a->config.peers; i++) {
        free_list(a->guests[i].first);
    }
    free_list(a->orphans);
    free_list(a->away);
    mri_answer_let_boxes_go(a);
    mri_free(a->boxes);
    mri_free(a->guests);
    mri_free(a->deeds);
    mri_bytes_release(&a->text);
    mri_free(a);
}

void
mri_answer_count(const mri_answer *a, mri_answer_counts *out)
{
    *out = a->counts;
    out->held_bytes = a->held;
    out->afloat_bytes = a->afloat;
    for (uint32_t i = 0; i < a->config.peers; i++) {
        const guest *g = &a->guests[i];

        out->peers += g->used;
        for (const job *j = g->first; j != NULL; j = j->next) {
            out->queued += j->state == JOB_QUEUED;
            out->computing += j->state == JOB_COMPUTING;
            out->ready += j->state == JOB_READY;
        }
    }
    for (const job *j = a->orphans; j != NULL; j = j->next) {
        out->computing++;
        out->orphan_bytes += j->bytes;
    }
}

/* ---- messages ---- */

static void
on_hello(mri_answer *a, uint64_t now, const mri_peer_id *id,
         const mri_message *m)
{
    guest *g = mri_answer_find(a, id);
    mri_wire_hello hello;
    mri_wire_welcome w = {.version = MRI_WIRE_HIGH,
                          .build = a->config.build,
                          .limit_bytes = a->config.peer_bytes,
                          .datasets = a->config.datasets,
                          .dataset_count = a->config.dataset_count};
    mri_wire_box *box;
    mri_bytes d = {0};
    mr_diag why = {0};

    if (mri_wire_get_hello(&hello, &box, m, &why) != MR_OK) {
        mri_answer_say_error(a, id, &why);
        return;
    }
    if (hello.version_low > MRI_WIRE_HIGH ||
        hello.version_high < MRI_WIRE_LOW) {
        (void)mri_fail(&why, MRI_E_WIRE_VERSION, MR_NOWHERE,
                       "the consumer speaks protocol versions %u to %u, this "
                       "server %d to %d",
                       hello.version_low, hello.version_high, MRI_WIRE_LOW,
                       MRI_WIRE_HIGH);
        mri_wire_box_free(box);
        mri_answer_say_error(a, id, &why);
        return;
    }
    mri_wire_box_free(box);
    if (a->draining) {
        mri_answer_say_plain(a, id, MRI_WIRE_DRAIN);
        return;
    }
    if (g == NULL) {
        g = mri_answer_admit(a, id);
    } else if (g->session != m->head.request) {
        mri_answer_close_stream(a, g); /* it has lost us and begins again */
    }
    if (g == NULL) {
        (void)mri_fail(&why, MRI_E_SERVER_LIMIT, MR_NOWHERE,
                       "%u consumers are here already", a->config.peers);
        mri_answer_say_error(a, id, &why);
        return;
    }
    g->heard = now;
    g->session = m->head.request;
    memcpy(w.fingerprint, a->config.fingerprint, 16);
    if (mri_wire_put_welcome(&d, &w)) {
        (void)mri_answer_say(
            a, id, &(mri_wire){.type = MRI_WIRE_WELCOME, .request = g->session},
            &d, NULL, 0);
    }
    mri_bytes_release(&d);
}

static void
on_open(mri_answer *a, guest *g, const mri_message *m)
{
    mri_wire_box **boxes;
    mri_wire_box *box;
    mri_wire_open open;
    mr_diag why = {0};
    mri_deed *d;

    if (g->opening != 0) {
        return;
    }
    if (mri_wire_get_open(&open, &box, m, &why) != MR_OK) {
        mri_answer_say_error(a, &g->id, &why);
        return;
    }
    boxes = mri_resize(a->boxes, a->box_count + 1, sizeof *boxes);
    d = boxes != NULL ? mri_answer_do(a, MRI_DEED_OPEN) : NULL;
    a->boxes = boxes != NULL ? boxes : a->boxes;
    if (d == NULL) {
        mri_wire_box_free(box);
        return;
    }
    a->boxes[a->box_count++] = box; /* its texts live until it is taken */
    mri_answer_close_stream(a, g);
    g->opening = a->next_token++;
    d->token = g->opening;
    d->peer = g->id;
    d->open = open;
}

void
mri_answer_opened(mri_answer *a, uint64_t now, uint64_t token, uint64_t handle,
                  const mri_wire_opened *opened, const mr_diag *why)
{
    mri_bytes d = {0};

    (void)now;
    for (uint32_t i = 0; i < a->config.peers; i++) {
        guest *g = &a->guests[i];

        if (!g->used || g->opening != token) {
            continue;
        }
        g->opening = 0;
        if (opened == NULL) {
            mri_answer_say_error(a, &g->id, why);
            return;
        }
        g->handle = handle;
        g->row_bytes = opened->row_bytes;
        if (mri_wire_put_opened(&d, opened)) {
            (void)mri_answer_say(
                a, &g->id,
                &(mri_wire){.type = MRI_WIRE_OPENED, .stream = handle}, &d,
                NULL, 0);
        }
        mri_bytes_release(&d);
        return;
    }
    if (opened != NULL) { /* whoever asked has gone */
        mri_deed *deed = mri_answer_do(a, MRI_DEED_CLOSE);

        if (deed != NULL) {
            deed->handle = handle;
        }
    }
}

static void
refuse_want(mri_answer *a, guest *g, const char *text)
{
    mr_diag why = {0};

    (void)mri_fail(&why, MRI_E_SERVER_LIMIT, MR_NOWHERE, "%s", text);
    mri_answer_say_error(a, &g->id, &why);
}

static void
on_want(mri_answer *a, guest *g, const mri_message *m)
{
    uint64_t bytes;
    mri_wire_want want;
    job *j;

    if (g->handle == 0 || m->head.stream != g->handle) {
        mri_answer_begin_again(a, &g->id, m->head.stream);
        return;
    }
    if (m->head.row_count == 0 || m->head.row_count > ROWS_PER_PIECE ||
        !mri_mul(g->row_bytes, m->head.row_count, &bytes) ||
        bytes != m->head.total || mri_wire_get_want(&want, m, NULL) != MR_OK) {
        refuse_want(a, g, "rows of another size than the stream has");
        return;
    }
    if (bytes > a->config.memory_bytes || g->jobs >= PIECES_PER_PEER) {
        refuse_want(a, g, "more is asked for than this server may hold");
        return;
    }
    for (j = g->first; j != NULL; j = j->next) {
        if (j->request == m->head.request) {
            return; /* asked for already */
        }
    }
    j = mri_alloc(1, sizeof *j);
    if (j == NULL) {
        return;
    }
    *j = (job){.token = a->next_token++,
               .request = m->head.request,
               .bytes = bytes,
               .want = want,
               .rows = m->head.row_count};
    if (g->last != NULL) {
        g->last->next = j;
    } else {
        g->first = j;
    }
    g->last = j;
    g->jobs++;
}

static void
on_cancel(mri_answer *a, guest *g, const mri_message *m)
{
    for (job *j = g->first; j != NULL; j = j->next) {
        if (j->request == m->head.request) {
            mri_answer_drop(a, g, j);
            return;
        }
    }
}

void
mri_answer_message(mri_answer *a, uint64_t now, const mri_peer_id *id,
                   const mri_message *m)
{
    guest *g = mri_answer_find(a, id);

    if (m->head.type == MRI_WIRE_HELLO) {
        on_hello(a, now, id, m);
        mri_answer_serve(a);
        return;
    }
    if (g == NULL) {
        if (m->head.type != MRI_WIRE_BYE) {
            mri_answer_begin_again(a, id, m->head.stream);
        }
        return;
    }
    g->heard = now;
    switch ((mri_wire_type)m->head.type) {
    case MRI_WIRE_OPEN:
        on_open(a, g, m);
        break;
    case MRI_WIRE_WANT:
        if (!a->draining) {
            on_want(a, g, m);
        }
        break;
    case MRI_WIRE_CANCEL:
        on_cancel(a, g, m);
        break;
    case MRI_WIRE_CREDIT:
        g->granted = m->head.offset > g->granted ? m->head.offset : g->granted;
        break;
    case MRI_WIRE_PING:
        if (m->head.stream != 0 && m->head.stream != g->handle) {
            mri_answer_begin_again(a, id, m->head.stream);
        } else {
            mri_answer_say_plain(a, id, MRI_WIRE_PONG);
        }
        break;
    case MRI_WIRE_BYE:
        mri_answer_forget(a, g);
        break;
    default:
        break;
    }
    mri_answer_serve(a);
}

static job *
take_job(job **list, uint64_t token)
{
    for (job **at = list; *at != NULL; at = &(*at)->next) {
        if ((*at)->token == token) {
            job *j = *at;

            *at = j->next;
            return j;
        }
    }
    return NULL;
}

/* A row of it is damaged here: others may have it. */
static void
miss(mri_answer *a, guest *g, job *j, uint32_t row, const uint8_t uid[16],
     const mr_diag *why)
{
    mri_bytes d = {0};

    a->counts.misses++;
    if (mri_wire_put_miss(&d, uid, why)) {
        (void)mri_answer_say(a, &g->id,
                             &(mri_wire){.type = MRI_WIRE_MISS,
                                         .stream = g->handle,
                                         .request = j->request,
                                         .row_first = row,
                                         .row_count = 1},
                             &d, NULL, 0);
    }
    mri_bytes_release(&d);
}

void
mri_answer_computed(mri_answer *a, uint64_t now, uint64_t token,
                    const uint8_t *data, uint32_t row, const uint8_t uid[16],
                    const mr_diag *why)
{
    job *orphan = take_job(&a->orphans, token);

    (void)now;
    if (orphan != NULL) {
        mri_deed *d = data != NULL ? mri_answer_do(a, MRI_DEED_FREE) : NULL;

        if (d != NULL) {
            d->token = token;
        }
        a->held -= orphan->bytes;
        mri_free(orphan);
        mri_answer_serve(a);
        return;
    }
    for (uint32_t i = 0; i < a->config.peers; i++) {
        guest *g = &a->guests[i];

        for (job *j = g->first; g->used && j != NULL; j = j->next) {
            if (j->token != token) {
                continue;
            }
            if (data != NULL) {
                j->state = JOB_READY;
                j->data = data;
            } else {
                miss(a, g, j, row, uid, why);
                g->held -= j->bytes;
                a->held -= j->bytes;
                j->state = JOB_QUEUED; /* nothing to be freed */
                mri_answer_drop(a, g, j);
            }
            mri_answer_serve(a);
            return;
        }
    }
}

void
mri_answer_gone(mri_answer *a, uint64_t now, uint64_t token)
{
    job *j = take_job(&a->away, token);
    guest *g = j != NULL ? mri_answer_find(a, &j->peer) : NULL;

    (void)now;
    if (j == NULL) {
        return; /* computed for nobody, and never sent */
    }
    a->afloat -= j->bytes;
    if (g != NULL) {
        g->afloat -= j->bytes;
    }
    mri_free(j);
    mri_answer_serve(a);
}

void
mri_answer_tick(mri_answer *a, uint64_t now)
{
    for (uint32_t i = 0; i < a->config.peers; i++) {
        guest *g = &a->guests[i];

        if (g->used && now - g->heard > a->config.silent_ns) {
            mri_answer_forget(a, g);
        }
    }
    mri_answer_serve(a);
}

void
mri_answer_drain(mri_answer *a, uint64_t now)
{
    (void)now;
    if (a->draining) {
        return;
    }
    a->draining = true;
    for (uint32_t i = 0; i < a->config.peers; i++) {
        guest *g = &a->guests[i];
        job *j = g->first;

        if (!g->used) {
            continue;
        }
        mri_answer_say_plain(a, &g->id, MRI_WIRE_DRAIN);
        while (j != NULL) { /* what is not begun is asked of others */
            job *next = j->next;

            if (j->state == JOB_QUEUED) {
                mri_answer_drop(a, g, j);
            }
            j = next;
        }
    }
    mri_answer_serve(a);
}
