/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask_piece.c - pieces, and which server is asked for them.
 *
 * Nothing here can change a byte of a batch: it decides who is asked, and
 * every server gives the same answer.
 */
#include "ask_in.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

#define SECOND ((uint64_t)1000000000)
#define HEDGE_AT_LEAST (SECOND / 2)

static uint64_t
chunk_count(const asked *q)
{
    return (q->total + MRI_WIRE_PAYLOAD - 1) / MRI_WIRE_PAYLOAD;
}

static void
free_piece(asked *q)
{
    mri_free(q->chunks);
    mri_free(q->lack);
    *q = (asked){0};
}

void
mri_ask_pieces_free(mri_ask *a)
{
    for (size_t i = 0; i < a->piece_count; i++) {
        free_piece(&a->pieces[i]);
    }
    mri_free(a->pieces);
    a->pieces = NULL;
    a->piece_count = a->piece_room = 0;
}

bool
mri_ask_want(mri_ask *a, uint64_t now, const mri_piece *piece)
{
    asked q = {.piece = *piece, .total = a->opened_as.row_bytes * piece->rows};

    if (a->piece_count == a->piece_room) {
        size_t room = a->piece_room != 0 ? a->piece_room * 2 : 64;
        asked *pieces = mri_resize(a->pieces, room, sizeof *pieces);

        if (pieces == NULL) {
            return false;
        }
        a->pieces = pieces;
        a->piece_room = room;
    }
    q.chunks = mri_alloc((size_t)chunk_count(&q), 1);
    if (q.chunks == NULL) {
        return false;
    }
    q.request = a->next_request++;
    a->pieces[a->piece_count++] = q;
    mri_ask_assign(a, now);
    return true;
}

/* Pieces are few, ascending by request: bisect. */
static asked *
find(mri_ask *a, uint64_t request)
{
    size_t low = 0, high = a->piece_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (a->pieces[middle].request == request) {
            return &a->pieces[middle];
        }
        if (a->pieces[middle].request < request) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static void
drop_copy(mri_ask *a, asked *q, unsigned i)
{
    peer *p = &a->peers[q->copies[i].server];

    p->asked = p->asked > q->total ? p->asked - q->total : 0;
    q->copies[i] = q->copies[--q->copy_count];
}

/* Tell whoever still works on it to leave it, and forget it. */
static void
remove_piece(mri_ask *a, asked *q)
{
    size_t at = (size_t)(q - a->pieces);

    while (q->copy_count != 0) {
        uint32_t server = q->copies[0].server;

        mri_ask_say(a, server,
                    &(mri_wire){.type = MRI_WIRE_CANCEL,
                                .stream = a->peers[server].handle,
                                .request = q->request},
                    NULL);
        drop_copy(a, q, 0);
    }
    free_piece(q);
    memmove(q, q + 1, (a->piece_count - at - 1) * sizeof *q);
    a->piece_count--;
}

void
mri_ask_cancel(mri_ask *a, uint64_t now, uint64_t id)
{
    for (size_t i = 0; i < a->piece_count; i++) {
        if (a->pieces[i].piece.id == id) {
            remove_piece(a, &a->pieces[i]);
            break;
        }
    }
    mri_ask_assign(a, now);
}

void
mri_ask_release_peer(mri_ask *a, uint32_t server)
{
    for (size_t i = 0; i < a->piece_count; i++) {
        asked *q = &a->pieces[i];

        for (unsigned k = q->copy_count; k-- > 0;) {
            if (q->copies[k].server == server) {
                drop_copy(a, q, k);
            }
        }
    }
    a->peers[server].asked = 0;
}

/* ---- who is asked ---- */

static bool
asked_of(const asked *q, uint32_t server)
{
    for (unsigned i = 0; i < q->copy_count; i++) {
        if (q->copies[i].server == server) {
            return true;
        }
    }
    return false;
}

/* It may be asked: alive, does not lack the row, and has room. One piece
 * alone always fits, or a large row could never be had. */
static bool
may_ask(const mri_ask *a, const asked *q, uint32_t server)
{
    const peer *p = &a->peers[server];
    uint64_t room =
        p->limit < a->config.window_bytes ? p->limit : a->config.window_bytes;

    return p->state == PEER_READY && (q->missed >> server & 1) == 0 &&
           !asked_of(q, server) &&
           (p->asked == 0 || p->asked + q->total <= room);
}

/* The server that should be done first, by what it has before it and how fast
 * it was of late; UINT32_MAX if none may be asked. */
static uint32_t
best_server(const mri_ask *a, const asked *q)
{
    uint32_t best = UINT32_MAX;
    double least = 0, fastest = 0;

    for (uint32_t i = 0; i < a->config.servers; i++) {
        fastest = a->peers[i].rate > fastest ? a->peers[i].rate : fastest;
    }
    for (uint32_t i = 0; i < a->config.servers; i++) {
        const peer *p = &a->peers[i];
        double rate, wait;

        if (!may_ask(a, q, i)) {
            continue;
        }
        /* one that we do not know yet is taken to be as fast as the fastest */
        rate = p->rate > 0 ? p->rate : fastest > 0 ? fastest : 1;
        wait = (double)(p->asked + q->total) / rate;
        if (best == UINT32_MAX || wait < least) {
            best = i;
            least = wait;
        }
    }
    return best;
}

static void
ask_server(mri_ask *a, uint64_t now, asked *q, uint32_t server)
{
    mri_wire_want want = {q->piece.seed, q->piece.epoch, q->piece.position};
    mri_bytes d = {0};

    if (!mri_wire_put_want(&d, &want)) {
        a->no_memory = true;
        return;
    }
    mri_ask_say(a, server,
                &(mri_wire){.type = MRI_WIRE_WANT,
                            .stream = a->peers[server].handle,
                            .request = q->request,
                            .row_count = q->piece.rows,
                            .total = q->total},
                &d);
    mri_bytes_release(&d);
    q->copies[q->copy_count++] = (copy){server, now};
    a->peers[server].asked += q->total;
}

void
mri_ask_assign(mri_ask *a, uint64_t now)
{
    for (size_t i = 0; i < a->piece_count; i++) {
        asked *q = &a->pieces[i];

        if (q->copy_count == 0) {
            uint32_t server = best_server(a, q);

            if (server != UINT32_MAX) {
                ask_server(a, now, q, server);
            }
        }
    }
}

/* When a piece is late, going by those before it. */
static uint64_t
late_after(const mri_ask *a)
{
    double usual = 2 * (a->latency + 4 * a->spread);

    return usual > (double)HEDGE_AT_LEAST ? (uint64_t)usual : HEDGE_AT_LEAST;
}

/* A question or an answer was lost on the way: ask again. It is the same
 * question, so a server that is still at it does not begin anew. */
void
mri_ask_expire(mri_ask *a, uint64_t now)
{
    uint64_t after = 8 * late_after(a);

    for (size_t i = 0; i < a->piece_count; i++) {
        asked *q = &a->pieces[i];

        for (unsigned k = q->copy_count; k-- > 0;) {
            if (now - q->copies[k].sent > after) {
                drop_copy(a, q, k);
            }
        }
    }
}

void
mri_ask_hedge(mri_ask *a, uint64_t now)
{
    uint64_t after = late_after(a);

    for (size_t i = 0; i < a->piece_count; i++) {
        asked *q = &a->pieces[i];

        if (q->copy_count == 1 && now - q->copies[0].sent > after) {
            uint32_t server = best_server(a, q);

            if (server != UINT32_MAX) {
                ask_server(a, now, q, server);
            }
        }
    }
}

/* ---- answers ---- */

static void
grant(mri_ask *a, uint32_t server)
{
    peer *p = &a->peers[server];
    uint64_t low = a->config.window_bytes / 2;

    /* Never less than one payload: the server would wait for more credit
     * before it can send the next one, and we for that one. */
    low = low > MRI_WIRE_PAYLOAD ? low : MRI_WIRE_PAYLOAD;
    if (p->granted - p->received > low) {
        return;
    }
    p->granted = p->received + a->config.window_bytes;
    mri_ask_say(a, server,
                &(mri_wire){.type = MRI_WIRE_CREDIT, .offset = p->granted},
                NULL);
}

static void
note_latency(mri_ask *a, const asked *q, uint32_t server, uint64_t now)
{
    for (unsigned i = 0; i < q->copy_count; i++) {
        if (q->copies[i].server == server) {
            double took = (double)(now - q->copies[i].sent), off;

            off = took > a->latency ? took - a->latency : a->latency - took;
            a->latency = a->latency > 0 ? 0.9 * a->latency + 0.1 * took : took;
            a->spread = 0.9 * a->spread + 0.1 * off;
        }
    }
}

static void
finish(mri_ask *a, uint64_t now, asked *q, uint32_t server)
{
    mri_act *act = mri_ask_act(a, MRI_ACT_DONE);

    note_latency(a, q, server, now);
    if (act != NULL) {
        act->piece = q->piece.id;
    }
    for (unsigned i = q->copy_count; i-- > 0;) {
        if (q->copies[i].server == server) {
            drop_copy(a, q, i); /* it is done: nothing to cancel there */
        }
    }
    remove_piece(a, q);
    mri_ask_assign(a, now);
}

/* A part is the whole of one stretch of MRI_WIRE_PAYLOAD, or the rest. */
static bool
part_fits(const asked *q, const mri_message *m)
{
    uint64_t left;

    if (m->head.total != q->total || m->head.offset >= q->total ||
        m->head.offset % MRI_WIRE_PAYLOAD != 0 || m->payload == NULL) {
        return false;
    }
    left = q->total - m->head.offset;
    return m->payload_bytes ==
           (left < MRI_WIRE_PAYLOAD ? left : MRI_WIRE_PAYLOAD);
}

void
mri_ask_have(mri_ask *a, uint64_t now, uint32_t server, const mri_message *m)
{
    asked *q = find(a, m->head.request);
    uint8_t *seen;
    mri_act *act;

    if (a->peers[server].state != PEER_READY &&
        a->peers[server].state != PEER_DRAINING) {
        return;
    }
    a->peers[server].received += m->payload_bytes;
    grant(a, server);
    if (q == NULL || m->head.stream != a->peers[server].handle ||
        !part_fits(q, m)) {
        return; /* late, or nonsense: asked for again if it does not come */
    }
    seen = &q->chunks[m->head.offset / MRI_WIRE_PAYLOAD];
    if (*seen != 0) {
        return; /* the other server was first */
    }
    act = mri_ask_act(a, MRI_ACT_DATA);
    if (act == NULL) {
        return;
    }
    *seen = 1;
    act->piece = q->piece.id;
    act->offset = m->head.offset;
    act->data = m->payload;
    act->bytes = m->payload_bytes;
    q->got += m->payload_bytes;
    if (q->got == q->total) {
        finish(a, now, q, server);
    }
}

/* All that could be asked have said that they lack it. */
static bool
nobody_has(const mri_ask *a, const asked *q)
{
    if (q->lack == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < a->config.servers; i++) {
        if ((q->missed >> i & 1) == 0 && (a->peers[i].state == PEER_READY ||
                                          a->peers[i].state == PEER_OPENING)) {
            return false;
        }
    }
    return q->copy_count == 0;
}

void
mri_ask_miss(mri_ask *a, uint64_t now, uint32_t server, const mri_message *m)
{
    asked *q = find(a, m->head.request);

    if (q == NULL || m->head.stream != a->peers[server].handle ||
        m->head.row_first >= q->piece.rows) {
        return;
    }
    if (q->lack == NULL) {
        q->lack = mri_alloc(1, sizeof *q->lack);
    }
    if (q->lack == NULL ||
        mri_wire_get_miss(q->lack->uid, &q->lack->diag, m, NULL) != MR_OK) {
        return;
    }
    q->lack->row = m->head.row_first;
    q->missed |= (uint64_t)1 << server;
    for (unsigned i = q->copy_count; i-- > 0;) {
        if (q->copies[i].server == server) {
            drop_copy(a, q, i);
        }
    }
    mri_ask_settle(a);
    mri_ask_assign(a, now);
}

void
mri_ask_settle(mri_ask *a)
{
    for (size_t i = a->piece_count; i-- > 0;) {
        asked *q = &a->pieces[i];
        mri_act *act =
            nobody_has(a, q) ? mri_ask_act(a, MRI_ACT_MISSING) : NULL;

        if (act != NULL) {
            act->piece = q->piece.id;
            act->row = q->lack->row;
            act->diag = q->lack->diag;
            memcpy(act->uid, q->lack->uid, sizeof act->uid);
            remove_piece(a, q);
        }
    }
}
