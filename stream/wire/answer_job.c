/* SPDX-License-Identifier: Apache-2.0 */
/* answer_job.c - guests, what they asked for, and whose turn it is. */
#include "answer_in.h"

#include <mri/alloc.h>

#include <string.h>

/* ---- jobs ---- */

/* Parts of it may be on their way: the memory counts until it is gone. */
static void
set_afloat(mri_answer *a, guest *g, job *j)
{
    mri_deed *d = mri_answer_do(a, MRI_DEED_FREE);

    if (d != NULL) {
        d->token = j->token;
    }
    j->peer = g->id;
    j->next = a->away;
    a->away = j;
    a->afloat += j->bytes;
    g->afloat += j->bytes;
}

static void
let_go(mri_answer *a, guest *g, job *j)
{
    if (j->state != JOB_QUEUED) {
        a->held -= j->bytes;
        g->held -= j->bytes;
    }
    if (j->state == JOB_READY) {
        set_afloat(a, g, j);
    } else {
        mri_free(j);
    }
}

/* Take a job off its guest's list. One that is computing cannot be stopped:
 * it is waited for, and its result thrown away. */
void
mri_answer_drop(mri_answer *a, guest *g, job *j)
{
    job **at = &g->first;

    while (*at != j) {
        at = &(*at)->next;
    }
    *at = j->next;
    if (g->last == j) {
        g->last = NULL;
        for (job *k = g->first; k != NULL; k = k->next) {
            g->last = k;
        }
    }
    g->jobs--;
    if (j->state != JOB_COMPUTING) {
        let_go(a, g, j);
        return;
    }
    g->held -= j->bytes;
    j->orphan = true;
    j->next = a->orphans;
    a->orphans = j;
}

void
mri_answer_close_stream(mri_answer *a, guest *g)
{
    while (g->first != NULL) {
        mri_answer_drop(a, g, g->first);
    }
    if (g->handle != 0) {
        mri_deed *d = mri_answer_do(a, MRI_DEED_CLOSE);

        if (d != NULL) {
            d->handle = g->handle;
        }
    }
    g->handle = g->opening = 0;
    g->granted = g->sent = 0;
}

void
mri_answer_forget(mri_answer *a, guest *g)
{
    mri_answer_close_stream(a, g);
    *g = (guest){0};
}

static bool
same_peer(const mri_peer_id *one, const mri_peer_id *other)
{
    return one->len == other->len &&
           memcmp(one->bytes, other->bytes, one->len) == 0;
}

guest *
mri_answer_find(mri_answer *a, const mri_peer_id *id)
{
    for (uint32_t i = 0; i < a->config.peers; i++) {
        guest *g = &a->guests[i];

        if (g->used && same_peer(&g->id, id)) {
            return g;
        }
    }
    return NULL;
}

guest *
mri_answer_admit(mri_answer *a, const mri_peer_id *id)
{
    guest *g = NULL;

    for (uint32_t i = 0; g == NULL && i < a->config.peers; i++) {
        g = a->guests[i].used ? NULL : &a->guests[i];
    }
    if (g == NULL) {
        return NULL;
    }
    *g = (guest){.id = *id, .used = true};
    for (const job *j = a->away; j != NULL; j = j->next) {
        g->afloat += same_peer(&j->peer, id) ? j->bytes : 0; /* from before */
    }
    return g;
}

/* ---- whose turn it is ---- */

/* Send what is ready, as far as the guest's credit goes. */
static void
send_ready(mri_answer *a, guest *g)
{
    job *j = g->first;

    while (j != NULL) {
        job *next = j->next;

        while (j->state == JOB_READY && j->sent < j->bytes) {
            uint64_t left = j->bytes - j->sent;
            mri_deed *d;
            size_t n =
                (size_t)(left < MRI_WIRE_PAYLOAD ? left : MRI_WIRE_PAYLOAD);

            if (g->granted < g->sent + n) {
                return;
            }
            d = mri_answer_say(a, &g->id,
                               &(mri_wire){.type = MRI_WIRE_HAVE,
                                           .stream = g->handle,
                                           .request = j->request,
                                           .row_count = j->rows,
                                           .offset = j->sent,
                                           .total = j->bytes},
                               NULL, j->data + j->sent, n);
            if (d != NULL) {
                d->token = j->token;
            }
            j->sent += n;
            g->sent += n;
            a->counts.sent_bytes += n;
        }
        if (j->state == JOB_READY) {
            a->counts.rows += j->rows;
            mri_answer_drop(a, g, j);
        }
        j = next;
    }
}

/*
 * It may be computed now: the guest may have it sent soon, reads what it was
 * sent, and there is memory. One piece alone always may, or a large one never
 * could. A consumer that grants no more than it said it would take never meets
 * the second bound.
 */
static bool
may_compute(const mri_answer *a, const guest *g, const job *j)
{
    uint64_t credit = g->granted - g->sent;

    if (g->granted <= g->sent) {
        return false;
    }
    return (g->held == 0 || g->held + j->bytes <= credit) &&
           (g->afloat == 0 ||
            g->held + g->afloat + j->bytes <= a->config.peer_bytes) &&
           ((a->held == 0 && g->afloat == 0) ||
            a->held + a->afloat + j->bytes <= a->config.memory_bytes);
}

static bool
compute_one(mri_answer *a, guest *g)
{
    for (job *j = g->first; j != NULL; j = j->next) {
        mri_deed *d;

        if (j->state != JOB_QUEUED) {
            continue;
        }
        if (!may_compute(a, g, j)) {
            return false;
        }
        d = mri_answer_do(a, MRI_DEED_COMPUTE);
        if (d == NULL) {
            return false;
        }
        j->state = JOB_COMPUTING;
        g->held += j->bytes;
        a->held += j->bytes;
        d->peer = g->id;
        d->token = j->token;
        d->handle = g->handle;
        d->want = j->want;
        d->rows = j->rows;
        d->bytes = j->bytes;
        return true;
    }
    return false;
}

static bool
idle(const mri_answer *a)
{
    for (uint32_t i = 0; i < a->config.peers; i++) {
        if (a->guests[i].used && a->guests[i].first != NULL) {
            return false;
        }
    }
    return a->orphans == NULL;
}

/* One piece for each guest in turn, until nobody may have one more. */
void
mri_answer_serve(mri_answer *a)
{
    bool any = true;

    for (uint32_t i = 0; i < a->config.peers; i++) {
        if (a->guests[i].used) {
            send_ready(a, &a->guests[i]);
        }
    }
    while (any) {
        any = false;
        for (uint32_t i = 0; i < a->config.peers; i++) {
            guest *g = &a->guests[(a->turn + i) % a->config.peers];

            if (g->used && compute_one(a, g)) {
                any = true;
                a->turn = (a->turn + i + 1) % a->config.peers;
                break;
            }
        }
    }
    if (a->draining && !a->drained && idle(a)) {
        for (uint32_t i = 0; i < a->config.peers; i++) {
            if (a->guests[i].used) {
                mri_answer_say_plain(a, &a->guests[i].id, MRI_WIRE_BYE);
            }
        }
        a->drained = mri_answer_do(a, MRI_DEED_DRAINED) != NULL;
    }
}
