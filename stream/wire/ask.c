/* SPDX-License-Identifier: Apache-2.0 */
/* ask.c - the consumer's state machine: servers, one by one. */
#include "ask_in.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

#define SECOND ((uint64_t)1000000000)
#define HELLO_EVERY (SECOND / 4)

mri_ask_config
mri_ask_defaults(void)
{
    return (mri_ask_config){.window_bytes = 64u << 20,
                            .heartbeat_ns = SECOND,
                            .silent_ns = 3 * SECOND,
                            .connect_ns = 5 * SECOND,
                            .patience_ns = 60 * SECOND};
}

/* ---- actions ---- */

mri_act *
mri_ask_act(mri_ask *a, mri_act_kind kind)
{
    mri_act *act;

    if (a->act_first + a->act_count == a->act_room) {
        size_t room = a->act_room != 0 ? a->act_room * 2 : 64;
        mri_act *acts = mri_resize(a->acts, room, sizeof *acts);

        if (acts == NULL) {
            a->no_memory = true; /* the next tick fails the stream */
            return NULL;
        }
        a->acts = acts;
        a->act_room = room;
    }
    act = &a->acts[a->act_first + a->act_count++];
    *act = (mri_act){.kind = kind};
    return act;
}

void
mri_ask_say(mri_ask *a, uint32_t server, const mri_wire *head,
            const mri_bytes *descriptor)
{
    mri_message m = {.head = *head};
    mri_act *act = mri_ask_act(a, MRI_ACT_SEND);
    size_t at = a->text.len;

    m.head.version = MRI_WIRE_LOW;
    if (descriptor != NULL) {
        m.descriptor = descriptor->data;
        m.descriptor_bytes = descriptor->len;
    }
    if (act == NULL ||
        !mri_bytes_add(&a->text, m.descriptor, m.descriptor_bytes)) {
        a->no_memory = true;
        return;
    }
    act->server = server;
    act->descriptor_bytes = m.descriptor_bytes;
    act->offset = at; /* the text may move; `next` makes a pointer of it */
    mri_wire_put(act->header, &m);
}

void
mri_ask_next(mri_ask *a, mri_act *act)
{
    if (a->act_count == 0) {
        a->act_first = 0;
        a->text.len = 0;
        *act = (mri_act){0};
        return;
    }
    *act = a->acts[a->act_first++];
    a->act_count--;
    if (act->kind == MRI_ACT_SEND) {
        act->descriptor = a->text.data + act->offset;
        act->offset = 0;
    }
}

static void
warn(mri_ask *a, uint32_t server, const mr_diag *why)
{
    mri_act *act = mri_ask_act(a, MRI_ACT_WARN);

    if (act != NULL) {
        act->server = server;
        act->diag = *why;
    }
}

static void
fail(mri_ask *a, const mr_diag *why)
{
    mri_act *act = a->failed ? NULL : mri_ask_act(a, MRI_ACT_FAIL);

    if (act != NULL) {
        act->diag = *why;
        a->failed = true;
    }
}

/* ---- life ---- */

mr_err
mri_ask_open(mri_ask **out, const mri_ask_config *config, uint64_t now,
             mr_diag *diag)
{
    mri_ask *a = mri_alloc(1, sizeof *a);

    *out = NULL;
    if (a == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    a->config = *config;
    if (a->config.window_bytes < 2 * MRI_WIRE_PAYLOAD) {
        a->config.window_bytes = 2 * MRI_WIRE_PAYLOAD;
    }
    a->began = a->heard = now;
    a->next_request = 1;
    *out = a;
    return MR_OK;
}

void
mri_ask_close(mri_ask *a)
{
    if (a == NULL) {
        return;
    }
    mri_ask_pieces_free(a);
    mri_wire_box_free(a->opened_box);
    mri_bytes_release(&a->opened_copy);
    mri_bytes_release(&a->text);
    mri_free(a->acts);
    mri_free(a);
}

const mri_wire_opened *
mri_ask_opened(const mri_ask *a)
{
    return a->opened ? &a->opened_as : NULL;
}

uint32_t
mri_ask_ready(const mri_ask *a)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < a->config.servers; i++) {
        n += a->peers[i].state == PEER_READY;
    }
    return n;
}

static void
say_hello(mri_ask *a, uint64_t now, uint32_t server)
{
    mri_bytes d = {0};

    if (mri_wire_put_hello(&d, &a->config.hello)) {
        mri_ask_say(a, server,
                    &(mri_wire){.type = MRI_WIRE_HELLO,
                                .request = a->peers[server].session},
                    &d);
    } else {
        a->no_memory = true;
    }
    a->peers[server].said_hello = now;
    mri_bytes_release(&d);
}

static void
say_open(mri_ask *a, uint32_t server)
{
    mri_wire_open open = a->config.open;
    mri_bytes d = {0};

    open.dataset = a->config.names[server];
    if (mri_wire_put_open(&d, &open)) {
        mri_ask_say(a, server, &(mri_wire){.type = MRI_WIRE_OPEN}, &d);
    } else {
        a->no_memory = true;
    }
    mri_bytes_release(&d);
}

void
mri_ask_bye(mri_ask *a)
{
    for (uint32_t i = 0; i < a->config.servers; i++) {
        if (a->peers[i].state != PEER_DOWN) {
            mri_ask_say(a, i, &(mri_wire){.type = MRI_WIRE_BYE}, NULL);
        }
    }
}

/* It is gone, or has forgotten us: what it was asked goes to others. */
static void
lose(mri_ask *a, uint32_t server)
{
    mri_ask_release_peer(a, server);
    a->peers[server].state = PEER_DOWN;
    a->peers[server].session++;
    a->peers[server].handle = 0;
    a->peers[server].said_hello = 0;
    a->peers[server].rate = 0;
}

/* It will never do. When none is left that might, the stream is over. */
static void
refuse(mri_ask *a, uint32_t server, const mr_diag *why)
{
    mri_ask_release_peer(a, server);
    a->peers[server].state = PEER_REFUSED;
    a->peers[server].refusal = *why;
    for (uint32_t i = 0; i < a->config.servers; i++) {
        if (a->peers[i].state != PEER_REFUSED) {
            warn(a, server, why);
            return;
        }
    }
    fail(a, &a->peers[0].refusal);
}

/* ---- time ---- */

static void
check_silence(mri_ask *a, uint64_t now, uint32_t i)
{
    peer *p = &a->peers[i];
    mr_diag why = {0};

    if (now - p->heard <= a->config.silent_ns) {
        if (now - p->said_ping >= a->config.heartbeat_ns) {
            /* the handle: so that it can say if it has forgotten us */
            mri_ask_say(a, i,
                        &(mri_wire){.type = MRI_WIRE_PING, .stream = p->handle},
                        NULL);
            p->said_ping = now;
        }
        return;
    }
    (void)mri_fail(&why, MRI_E_SERVERS_SILENT, MR_NOWHERE,
                   "server %u has been silent for %.1f s; others are asked", i,
                   (double)(now - p->heard) / (double)SECOND);
    warn(a, i, &why);
    lose(a, i);
}

static void
check_hope(mri_ask *a, uint64_t now)
{
    mr_diag why = {0};

    if (a->no_memory) {
        (void)mri_fail(&why, MRI_E_MEMORY, MR_NOWHERE,
                       "no memory for the stream's messages");
        fail(a, &why);
    } else if (!a->opened && now - a->began > a->config.connect_ns) {
        (void)mri_fail(&why, MRI_E_NO_SERVER, MR_NOWHERE,
                       "no server answered within %.1f s",
                       (double)a->config.connect_ns / (double)SECOND);
        fail(a, &why);
    } else if (a->opened && a->piece_count != 0 && mri_ask_ready(a) == 0 &&
               a->config.patience_ns != UINT64_MAX &&
               now - a->heard > a->config.patience_ns) {
        (void)mri_fail(&why, MRI_E_SERVERS_SILENT, MR_NOWHERE,
                       "all servers have been silent for %.0f s",
                       (double)(now - a->heard) / (double)SECOND);
        fail(a, &why);
    }
}

static void
measure_rate(peer *p, uint64_t now)
{
    uint64_t passed = now - p->rate_at;

    if (passed < SECOND / 5 || p->asked == 0) {
        return;
    }
    p->rate = 0.7 * p->rate +
              0.3 * (double)(p->received - p->rate_received) / (double)passed;
    p->rate_at = now;
    p->rate_received = p->received;
}

void
mri_ask_tick(mri_ask *a, uint64_t now)
{
    if (a->failed) {
        return;
    }
    for (uint32_t i = 0; i < a->config.servers; i++) {
        peer *p = &a->peers[i];

        if (p->state == PEER_DOWN &&
            (p->said_hello == 0 || now - p->said_hello >= HELLO_EVERY)) {
            say_hello(a, now, i);
        } else if (p->state != PEER_DOWN && p->state != PEER_REFUSED) {
            check_silence(a, now, i);
            measure_rate(p, now);
        }
    }
    mri_ask_settle(a);
    mri_ask_expire(a, now);
    mri_ask_hedge(a, now);
    mri_ask_assign(a, now);
    check_hope(a, now);
}

uint64_t
mri_ask_due(const mri_ask *a, uint64_t now)
{
    (void)a;
    return now + HELLO_EVERY / 5; /* 50 ms: hedges are no finer than that */
}

/* ---- messages ---- */

static void
on_welcome(mri_ask *a, uint64_t now, uint32_t server, const mri_message *m)
{
    peer *p = &a->peers[server];
    mri_wire_welcome w;
    mri_wire_box *box;
    mr_diag why = {0};

    if (p->state != PEER_DOWN || m->head.request != p->session) {
        return; /* an answer to a HELLO that we repeated, or to an old one */
    }
    if (mri_wire_get_welcome(&w, &box, m, &why) != MR_OK) {
        warn(a, server, &why);
        return;
    }
    p->limit = w.limit_bytes;
    p->state = PEER_OPENING;
    p->said_ping = now;
    mri_wire_box_free(box);
    say_open(a, server);
}

/* Keep the first OPENED: its texts are read from a copy of the message. */
static bool
keep_opened(mri_ask *a, const mri_message *m)
{
    mri_message mine = *m;

    if (!mri_bytes_add(&a->opened_copy, m->descriptor, m->descriptor_bytes)) {
        return false;
    }
    mine.descriptor = a->opened_copy.data;
    return mri_wire_get_opened(&a->opened_as, &a->opened_box, &mine, NULL) ==
           MR_OK;
}

static void
on_opened(mri_ask *a, uint64_t now, uint32_t server, const mri_message *m)
{
    peer *p = &a->peers[server];
    mri_wire_opened d;
    mri_wire_box *box;
    mr_diag why = {0};
    bool same;

    if (p->state != PEER_OPENING) {
        return;
    }
    if (mri_wire_get_opened(&d, &box, m, &why) != MR_OK) {
        refuse(a, server, &why);
        return;
    }
    if (!a->config.has_stream_id) {
        a->config.has_stream_id = true;
        memcpy(a->config.stream_id, d.stream_id, 16);
    }
    same = memcmp(a->config.stream_id, d.stream_id, 16) == 0;
    mri_wire_box_free(box);
    if (!same) {
        (void)mri_fail(&why, MRI_E_SERVER_OTHER, MR_NOWHERE,
                       "server %u has another stream than was asked for",
                       server);
        refuse(a, server, &why);
        return;
    }
    if (!a->opened) {
        if (!keep_opened(a, m)) {
            a->no_memory = true;
            return;
        }
        a->opened = true;
        (void)mri_ask_act(a, MRI_ACT_OPENED);
    }
    p->state = PEER_READY;
    p->handle = m->head.stream;
    p->received = p->rate_received = 0;
    p->rate_at = now;
    p->granted = a->config.window_bytes;
    mri_ask_say(a, server,
                &(mri_wire){.type = MRI_WIRE_CREDIT, .offset = p->granted},
                NULL);
    mri_ask_assign(a, now);
}

static void
on_error(mri_ask *a, uint32_t server, const mri_message *m)
{
    peer *p = &a->peers[server];
    uint32_t low, high;
    mr_diag why = {0}, bad = {0};

    if (mri_wire_get_error(&why, &low, &high, m, &bad) != MR_OK) {
        warn(a, server, &bad);
        return;
    }
    if (why.code == MRI_E_WIRE_VERSION) {
        (void)mri_fail(&why, MRI_E_WIRE_VERSION, MR_NOWHERE,
                       "server %u speaks protocol versions %u to %u, this "
                       "millrace %d to %d",
                       server, low, high, MRI_WIRE_LOW, MRI_WIRE_HIGH);
    }
    if ((m->head.flags & MRI_WIRE_BEGIN_AGAIN) == 0) {
        refuse(a, server, &why);
    } else if (m->head.stream == 0 || m->head.stream == p->handle) {
        lose(a, server); /* (about another stream: an answer that is late) */
    }
}

void
mri_ask_message(mri_ask *a, uint64_t now, uint32_t server, const mri_message *m)
{
    peer *p = &a->peers[server];

    if (a->failed || server >= a->config.servers || p->state == PEER_REFUSED) {
        return;
    }
    p->heard = a->heard = now;
    switch ((mri_wire_type)m->head.type) {
    case MRI_WIRE_WELCOME:
        on_welcome(a, now, server, m);
        break;
    case MRI_WIRE_OPENED:
        on_opened(a, now, server, m);
        break;
    case MRI_WIRE_HAVE:
        mri_ask_have(a, now, server, m);
        break;
    case MRI_WIRE_MISS:
        mri_ask_miss(a, now, server, m);
        break;
    case MRI_WIRE_PING:
        mri_ask_say(a, server, &(mri_wire){.type = MRI_WIRE_PONG}, NULL);
        break;
    case MRI_WIRE_DRAIN:
        if (p->state == PEER_READY) { /* what it has begun it may still send */
            p->state = PEER_DRAINING;
            mri_ask_release_peer(a, server);
            mri_ask_assign(a, now);
        }
        break;
    case MRI_WIRE_BYE:
        lose(a, server);
        mri_ask_assign(a, now);
        break;
    case MRI_WIRE_ERROR:
        on_error(a, server, m);
        mri_ask_assign(a, now);
        break;
    default: /* PONG, and what a newer server may say */
        break;
    }
}
