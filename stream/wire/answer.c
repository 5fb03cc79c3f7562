/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - the server's state machine. */
#include <mri/answer.h>

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

#define SECOND ((uint64_t)1000000000)
#define PIECES_PER_PEER 8192 /* asked for and not answered */
#define ROWS_PER_PIECE 65536

typedef enum job_state { JOB_QUEUED, JOB_COMPUTING, JOB_READY } job_state;

/* One WANT. */
typedef struct job {
    struct job *next;
    uint64_t token, request, bytes, sent;
    mri_wire_want want;
    uint32_t rows;
    job_state state;
    bool orphan; /* computing for nobody */
    const uint8_t *data;
    mri_peer_id peer; /* afloat: whose it is */
} job;

typedef struct guest {
    mri_peer_id id;
    bool used;
    uint64_t heard;
    uint64_t session; /* the consumer's: another one means it begins again */
    uint64_t opening; /* token of an OPEN on its way, or 0 */
    uint64_t handle;  /* of its stream, or 0 */
    uint64_t row_bytes;
    uint64_t granted, sent; /* payload bytes */
    uint64_t held;          /* bytes of jobs computing or ready */
    uint64_t afloat;        /* bytes freed here, still with the transport */
    job *first, *last;      /* in the order in which they were asked for */
    uint32_t jobs;
} guest;

struct mri_answer {
    mri_answer_config config;
    guest *guests; /* [config.peers] */
    uint32_t turn; /* who is served first next time */
    job *orphans;  /* computing for peers that are gone */
    job *away;     /* afloat */
    uint64_t next_token;
    uint64_t held, afloat;
    bool draining, drained;
    mri_deed *deeds;
    size_t first, count, room;
    mri_bytes text;       /* descriptors of deeds */
    mri_wire_box **boxes; /* of OPEN deeds that were handed out */
    size_t box_count;
    mri_answer_counts counts;
};

mri_answer_config
mri_answer_defaults(void)
{
    return (mri_answer_config){.memory_bytes = (uint64_t)1 << 30,
                               .peer_bytes = 64u << 20,
                               .silent_ns = 15 * SECOND,
                               .peers = 256};
}

/* ---- deeds ---- */

static mri_deed *
do_next(mri_answer *a, mri_deed_kind kind)
{
    mri_deed *d;

    if (a->first + a->count == a->room) {
        size_t room = a->room != 0 ? a->room * 2 : 64;
        mri_deed *deeds = mri_resize(a->deeds, room, sizeof *deeds);

        if (deeds == NULL) {
            return NULL; /* the message is lost: it will be asked again */
        }
        a->deeds = deeds;
        a->room = room;
    }
    d = &a->deeds[a->first + a->count++];
    *d = (mri_deed){.kind = kind};
    return d;
}

static void
release_boxes(mri_answer *a)
{
    for (size_t i = 0; i < a->box_count; i++) {
        mri_wire_box_free(a->boxes[i]);
    }
    a->box_count = 0;
}

void
mri_answer_next(mri_answer *a, mri_deed *deed)
{
    if (a->count == 0) {
        a->first = 0;
        a->text.len = 0;
        release_boxes(a);
        *deed = (mri_deed){0};
        return;
    }
    *deed = a->deeds[a->first++];
    a->count--;
    if (deed->kind == MRI_DEED_SEND) { /* the text moves as it grows */
        deed->descriptor = a->text.data + deed->text_at;
    }
}

static mri_deed *
say(mri_answer *a, const mri_peer_id *peer, const mri_wire *head,
    const mri_bytes *descriptor, const uint8_t *payload, size_t bytes)
{
    mri_message m = {.head = *head, .payload = payload, .payload_bytes = bytes};
    size_t at = a->text.len;
    mri_deed *d;

    m.head.version = MRI_WIRE_LOW;
    if (descriptor != NULL) {
        m.descriptor = descriptor->data;
        m.descriptor_bytes = descriptor->len;
    }
    if (!mri_bytes_add(&a->text, m.descriptor, m.descriptor_bytes)) {
        return NULL;
    }
    d = do_next(a, MRI_DEED_SEND);
    if (d != NULL) {
        d->peer = *peer;
        d->descriptor_bytes = m.descriptor_bytes;
        d->text_at = at;
        d->payload = payload;
        d->payload_bytes = bytes;
        mri_wire_put(d->header, &m);
    }
    return d;
}

static void
say_plain(mri_answer *a, const mri_peer_id *peer, mri_wire_type type)
{
    (void)say(a, peer, &(mri_wire){.type = (uint16_t)type}, NULL, NULL, 0);
}

static void
say_error(mri_answer *a, const mri_peer_id *peer, const mr_diag *why)
{
    mri_bytes d = {0};

    a->counts.refused++;
    if (mri_wire_put_error(&d, why)) {
        (void)say(a, peer, &(mri_wire){.type = MRI_WIRE_ERROR}, &d, NULL, 0);
    }
    mri_bytes_release(&d);
}

/* We do not know the consumer, or that stream of it: after a restart, or when
 * it was silent too long. */
static void
say_begin_again(mri_answer *a, const mri_peer_id *peer, uint64_t stream)
{
    mri_wire head = {.type = MRI_WIRE_ERROR,
                     .flags = MRI_WIRE_BEGIN_AGAIN,
                     .stream = stream};
    mri_bytes d = {0};
    mr_diag why = {0};

    (void)mri_fail(&why, MRI_E_WIRE_FOREIGN, MR_NOWHERE,
                   "this server does not know the consumer: HELLO is due");
    if (mri_wire_put_error(&d, &why)) {
        (void)say(a, peer, &head, &d, NULL, 0);
    }
    mri_bytes_release(&d);
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
    release_boxes(a);
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

/* ---- jobs ---- */

/* Parts of it may be on their way: the memory counts until it is gone. */
static void
set_afloat(mri_answer *a, guest *g, job *j)
{
    mri_deed *d = do_next(a, MRI_DEED_FREE);

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
static void
drop_job(mri_answer *a, guest *g, job *j)
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

static void
close_stream(mri_answer *a, guest *g)
{
    while (g->first != NULL) {
        drop_job(a, g, g->first);
    }
    if (g->handle != 0) {
        mri_deed *d = do_next(a, MRI_DEED_CLOSE);

        if (d != NULL) {
            d->handle = g->handle;
        }
    }
    g->handle = g->opening = 0;
    g->granted = g->sent = 0;
}

static void
forget(mri_answer *a, guest *g)
{
    close_stream(a, g);
    *g = (guest){0};
}

static bool
same_peer(const mri_peer_id *one, const mri_peer_id *other)
{
    return one->len == other->len &&
           memcmp(one->bytes, other->bytes, one->len) == 0;
}

static guest *
find_guest(mri_answer *a, const mri_peer_id *id)
{
    for (uint32_t i = 0; i < a->config.peers; i++) {
        guest *g = &a->guests[i];

        if (g->used && same_peer(&g->id, id)) {
            return g;
        }
    }
    return NULL;
}

static guest *
new_guest(mri_answer *a, const mri_peer_id *id)
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
            d = say(a, &g->id,
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
            drop_job(a, g, j);
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
        d = do_next(a, MRI_DEED_COMPUTE);
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
static void
serve(mri_answer *a)
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
                say_plain(a, &a->guests[i].id, MRI_WIRE_BYE);
            }
        }
        a->drained = do_next(a, MRI_DEED_DRAINED) != NULL;
    }
}

/* ---- messages ---- */

static void
on_hello(mri_answer *a, uint64_t now, const mri_peer_id *id,
         const mri_message *m)
{
    guest *g = find_guest(a, id);
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
        say_error(a, id, &why);
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
        say_error(a, id, &why);
        return;
    }
    mri_wire_box_free(box);
    if (a->draining) {
        say_plain(a, id, MRI_WIRE_DRAIN);
        return;
    }
    if (g == NULL) {
        g = new_guest(a, id);
    } else if (g->session != m->head.request) {
        close_stream(a, g); /* it has lost us and begins again */
    }
    if (g == NULL) {
        (void)mri_fail(&why, MRI_E_SERVER_LIMIT, MR_NOWHERE,
                       "%u consumers are here already", a->config.peers);
        say_error(a, id, &why);
        return;
    }
    g->heard = now;
    g->session = m->head.request;
    memcpy(w.fingerprint, a->config.fingerprint, 16);
    if (mri_wire_put_welcome(&d, &w)) {
        (void)say(a, id,
                  &(mri_wire){.type = MRI_WIRE_WELCOME, .request = g->session},
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
        say_error(a, &g->id, &why);
        return;
    }
    boxes = mri_resize(a->boxes, a->box_count + 1, sizeof *boxes);
    d = boxes != NULL ? do_next(a, MRI_DEED_OPEN) : NULL;
    a->boxes = boxes != NULL ? boxes : a->boxes;
    if (d == NULL) {
        mri_wire_box_free(box);
        return;
    }
    a->boxes[a->box_count++] = box; /* its texts live until it is taken */
    close_stream(a, g);
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
            say_error(a, &g->id, why);
            return;
        }
        g->handle = handle;
        g->row_bytes = opened->row_bytes;
        if (mri_wire_put_opened(&d, opened)) {
            (void)say(a, &g->id,
                      &(mri_wire){.type = MRI_WIRE_OPENED, .stream = handle},
                      &d, NULL, 0);
        }
        mri_bytes_release(&d);
        return;
    }
    if (opened != NULL) { /* whoever asked has gone */
        mri_deed *deed = do_next(a, MRI_DEED_CLOSE);

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
    say_error(a, &g->id, &why);
}

static void
on_want(mri_answer *a, guest *g, const mri_message *m)
{
    uint64_t bytes;
    mri_wire_want want;
    job *j;

    if (g->handle == 0 || m->head.stream != g->handle) {
        say_begin_again(a, &g->id, m->head.stream);
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
            drop_job(a, g, j);
            return;
        }
    }
}

void
mri_answer_message(mri_answer *a, uint64_t now, const mri_peer_id *id,
                   const mri_message *m)
{
    guest *g = find_guest(a, id);

    if (m->head.type == MRI_WIRE_HELLO) {
        on_hello(a, now, id, m);
        serve(a);
        return;
    }
    if (g == NULL) {
        if (m->head.type != MRI_WIRE_BYE) {
            say_begin_again(a, id, m->head.stream);
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
            say_begin_again(a, id, m->head.stream);
        } else {
            say_plain(a, id, MRI_WIRE_PONG);
        }
        break;
    case MRI_WIRE_BYE:
        forget(a, g);
        break;
    default:
        break;
    }
    serve(a);
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
        (void)say(a, &g->id,
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
        mri_deed *d = data != NULL ? do_next(a, MRI_DEED_FREE) : NULL;

        if (d != NULL) {
            d->token = token;
        }
        a->held -= orphan->bytes;
        mri_free(orphan);
        serve(a);
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
                drop_job(a, g, j);
            }
            serve(a);
            return;
        }
    }
}

void
mri_answer_gone(mri_answer *a, uint64_t now, uint64_t token)
{
    job *j = take_job(&a->away, token);
    guest *g = j != NULL ? find_guest(a, &j->peer) : NULL;

    (void)now;
    if (j == NULL) {
        return; /* computed for nobody, and never sent */
    }
    a->afloat -= j->bytes;
    if (g != NULL) {
        g->afloat -= j->bytes;
    }
    mri_free(j);
    serve(a);
}

void
mri_answer_tick(mri_answer *a, uint64_t now)
{
    for (uint32_t i = 0; i < a->config.peers; i++) {
        guest *g = &a->guests[i];

        if (g->used && now - g->heard > a->config.silent_ns) {
            forget(a, g);
        }
    }
    serve(a);
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
        say_plain(a, &g->id, MRI_WIRE_DRAIN);
        while (j != NULL) { /* what is not begun is asked of others */
            job *next = j->next;

            if (j->state == JOB_QUEUED) {
                drop_job(a, g, j);
            }
            j = next;
        }
    }
    serve(a);
}
