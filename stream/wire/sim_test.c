/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_test.c - consumer and servers in a simulated world: time is a number, the
 * network delays, drops, doubles and reorders, servers crash, freeze and come
 * back. Whatever happens, every piece arrives whole, each byte once, and is
 * what any server would have said. A seed replays a run.
 *
 *     wire_sim_test [SEEDS [FIRST]]
 */
#include <mri/answer.h>
#include <mri/ask.h>

#include <mri/alloc.h>
#include <mri/error.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND ((uint64_t)1000000000)
#define MS ((uint64_t)1000000)
#define SERVERS 3
#define ROW 300000u /* bytes: a piece of some rows spans several payloads */
#define PIECES 60

typedef enum event_kind { TO_CONSUMER, TO_SERVER, COMPUTED } event_kind;

typedef struct event {
    uint64_t at, order;
    event_kind kind;
    uint32_t server, life; /* of the server: a crash begins another one */
    uint8_t header[64];
    uint8_t *descriptor, *payload;
    size_t descriptor_bytes, payload_bytes;
    uint64_t token;
    mri_wire_want want;
    uint32_t rows;
} event;

typedef struct block {
    uint64_t token;
    uint8_t *data;
} block;

typedef struct server {
    mri_answer *machine;
    bool up;
    uint32_t life;
    uint64_t frozen_until;
    block blocks[4096];
    size_t block_count;
    uint64_t handle;
    uint32_t damaged; /* rows whose position modulo this is 0; 0: none */
} server;

typedef struct fetched {
    uint8_t *data;
    uint64_t got;
    bool done, missing;
} fetched;

typedef struct world {
    uint64_t now, seed, order;
    event *heap[65536];
    size_t heap_count;
    server servers[SERVERS];
    mri_ask *consumer;
    fetched pieces[PIECES];
    unsigned wanted, finished;
    bool opened, failed;
    mr_diag why;
    uint32_t drop, twice; /* of 1000 messages */
    uint64_t window, memory, delay;
    bool crashes;
} world;

static uint64_t
roll(world *w, uint64_t n)
{
    return scratch_random(&w->seed) % n;
}

static uint32_t
rows_of(unsigned piece)
{
    return 1 + piece % 7;
}

static uint64_t
position_of(unsigned piece)
{
    return (uint64_t)piece * 7;
}

/* What any server says of a byte of a row. */
static uint8_t
truth(uint64_t position, uint64_t at)
{
    return (uint8_t)(position * 131 + at * 7 + (at >> 9));
}

/* ---- events ---- */

static bool
before(const event *a, const event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void
push(world *w, event *e)
{
    size_t i = w->heap_count++;

    assert_true(w->heap_count < MRI_COUNT(w->heap));
    e->order = w->order++;
    w->heap[i] = e;
    while (i > 0 && before(w->heap[i], w->heap[(i - 1) / 2])) {
        event *t = w->heap[i];

        w->heap[i] = w->heap[(i - 1) / 2];
        w->heap[(i - 1) / 2] = t;
        i = (i - 1) / 2;
    }
}

static event *
pop(world *w)
{
    event *top = w->heap[0];
    size_t i = 0;

    w->heap[0] = w->heap[--w->heap_count];
    for (;;) {
        size_t least = i, l = 2 * i + 1, r = l + 1;
        event *t;

        if (l < w->heap_count && before(w->heap[l], w->heap[least])) {
            least = l;
        }
        if (r < w->heap_count && before(w->heap[r], w->heap[least])) {
            least = r;
        }
        if (least == i) {
            return top;
        }
        t = w->heap[i];
        w->heap[i] = w->heap[least];
        w->heap[least] = t;
        i = least;
    }
}

static void
free_event(event *e)
{
    free(e->descriptor);
    free(e->payload);
    free(e);
}

static uint8_t *
copy(const uint8_t *p, size_t n)
{
    uint8_t *c = n != 0 ? malloc(n) : NULL;

    if (c != NULL) {
        memcpy(c, p, n);
    }
    return c;
}

typedef struct letter {
    const uint8_t *header, *descriptor, *payload;
    size_t descriptor_bytes, payload_bytes;
} letter;

static void
post(world *w, event_kind kind, uint32_t s, const letter *l)
{
    unsigned copies = roll(w, 1000) < w->drop    ? 0
                      : roll(w, 1000) < w->twice ? 2
                                                 : 1;

    while (copies-- != 0) {
        event *e = calloc(1, sizeof *e);

        e->at = w->now + 1 + roll(w, w->delay);
        e->kind = kind;
        e->server = s;
        e->life = w->servers[s].life;
        memcpy(e->header, l->header, 64);
        e->descriptor = copy(l->descriptor, l->descriptor_bytes);
        e->descriptor_bytes = l->descriptor_bytes;
        e->payload = copy(l->payload, l->payload_bytes);
        e->payload_bytes = l->payload_bytes;
        push(w, e);
    }
}

/* ---- the consumer's side ---- */

static void
take_data(world *w, const mri_act *act)
{
    fetched *f = &w->pieces[act->piece];
    uint32_t rows = rows_of((unsigned)act->piece);

    assert_false(f->done);
    assert_true(act->offset + act->bytes <= (uint64_t)rows * ROW);
    memcpy(f->data + act->offset, act->data, act->bytes);
    f->got += act->bytes;
}

static void
check_piece(const world *w, unsigned piece)
{
    const fetched *f = &w->pieces[piece];

    assert_int_equal(f->got, (uint64_t)rows_of(piece) * ROW);
    for (uint32_t r = 0; r < rows_of(piece); r++) {
        for (uint64_t i = 0; i < ROW; i += 997) {
            assert_int_equal(f->data[(uint64_t)r * ROW + i],
                             truth(position_of(piece) + r, i));
        }
    }
}

static void
want_more(world *w)
{
    while (w->opened && w->wanted < PIECES && w->wanted < w->finished + 12) {
        unsigned i = w->wanted++;
        mri_piece p = {.id = i,
                       .seed = 1,
                       .epoch = 2,
                       .position = position_of(i),
                       .rows = rows_of(i)};

        w->pieces[i].data = calloc(rows_of(i), ROW);
        assert_true(mri_ask_want(w->consumer, w->now, &p));
    }
}

static void
run_acts(world *w)
{
    mri_act act;

    for (mri_ask_next(w->consumer, &act); act.kind != MRI_ACT_NONE;
         mri_ask_next(w->consumer, &act)) {
        switch (act.kind) {
        case MRI_ACT_SEND:
            post(w, TO_SERVER, act.server,
                 &(letter){act.header, act.descriptor, NULL,
                           act.descriptor_bytes, 0});
            break;
        case MRI_ACT_OPENED:
            w->opened = true;
            break;
        case MRI_ACT_DATA:
            take_data(w, &act);
            break;
        case MRI_ACT_DONE:
            check_piece(w, (unsigned)act.piece);
            assert_false(w->pieces[act.piece].done);
            w->pieces[act.piece].done = true;
            w->finished++;
            break;
        case MRI_ACT_MISSING:
            assert_int_equal(act.diag.code, MRI_E_CHECKSUM);
            assert_false(w->pieces[act.piece].done);
            w->pieces[act.piece].done = w->pieces[act.piece].missing = true;
            w->finished++;
            break;
        case MRI_ACT_FAIL:
            w->failed = true;
            w->why = act.diag;
            break;
        default:
            break;
        }
    }
    if (!w->failed) {
        size_t before_wanted = w->wanted;

        want_more(w);
        if (w->wanted != before_wanted) {
            run_acts(w);
        }
    }
}

/* ---- the servers' side ---- */

static void
free_block(server *s, uint64_t token)
{
    for (size_t i = 0; i < s->block_count; i++) {
        if (s->blocks[i].token == token) {
            free(s->blocks[i].data);
            s->blocks[i] = s->blocks[--s->block_count];
            return;
        }
    }
    fail_msg("a token that is not there was freed");
}

static const mri_wire_opened offered = {
    .stream_id = {7},
    .samples = 1000,
    .tensors = {{.name = "image", .dtype = MR_U8, .rank = 1, .shape = {ROW}}},
    .tensor_count = 1,
    .row_bytes = ROW,
    .canonical = "{}",
};

static void
begin_compute(world *w, uint32_t i, const mri_deed *d)
{
    event *e = calloc(1, sizeof *e);

    e->at = w->now + MS + roll(w, 20 * MS);
    e->kind = COMPUTED;
    e->server = i;
    e->life = w->servers[i].life;
    e->token = d->token;
    e->want = d->want;
    e->rows = d->rows;
    push(w, e);
}

static void
run_deeds(world *w, uint32_t i)
{
    static const mri_peer_id me = {{1}, 1};
    server *s = &w->servers[i];
    mri_answer_counts counts;
    mri_deed d;

    for (mri_answer_next(s->machine, &d); d.kind != MRI_DEED_NONE;
         mri_answer_next(s->machine, &d)) {
        switch (d.kind) {
        case MRI_DEED_SEND:
            assert_memory_equal(d.peer.bytes, me.bytes, 1);
            post(w, TO_CONSUMER, i,
                 &(letter){d.header, d.descriptor, d.payload,
                           d.descriptor_bytes, d.payload_bytes});
            break;
        case MRI_DEED_OPEN:
            s->handle++;
            mri_answer_opened(s->machine, w->now, d.token, s->handle, &offered,
                              NULL);
            break;
        case MRI_DEED_COMPUTE:
            begin_compute(w, i, &d);
            break;
        case MRI_DEED_FREE:
            free_block(s, d.token);
            mri_answer_gone(s->machine, w->now, d.token);
            break;
        default:
            break;
        }
    }
    mri_answer_count(s->machine, &counts);
    assert_true(counts.held_bytes <= w->memory ||
                counts.computing + counts.ready == 1);
    assert_true(counts.held_bytes - counts.orphan_bytes <= w->window + 8 * ROW);
}

static void
boot(world *w, uint32_t i)
{
    mri_answer_config c = mri_answer_defaults();
    server *s = &w->servers[i];

    c.build = "sim";
    c.memory_bytes = w->memory;
    c.silent_ns = 15 * SECOND;
    assert_int_equal(mri_answer_open(&s->machine, &c, NULL), MR_OK);
    s->up = true;
    s->life++;
    s->handle = 100 * s->life + i;
}

static void
crash(world *w, uint32_t i)
{
    server *s = &w->servers[i];

    for (size_t k = 0; k < s->block_count; k++) {
        free(s->blocks[k].data);
    }
    s->block_count = 0;
    mri_answer_close(s->machine);
    s->machine = NULL;
    s->up = false;
}

static void
computed(world *w, const event *e)
{
    server *s = &w->servers[e->server];
    uint8_t uid[16] = {1};
    mr_diag why = {0};
    uint8_t *data;

    for (uint32_t r = 0; s->damaged != 0 && r < e->rows; r++) {
        if ((e->want.position + r) % s->damaged == 0) {
            (void)mri_fail(&why, MRI_E_CHECKSUM, MR_NOWHERE, "damaged");
            mri_answer_computed(s->machine, w->now, e->token, NULL, r, uid,
                                &why);
            return;
        }
    }
    data = malloc((size_t)e->rows * ROW);
    for (uint32_t r = 0; r < e->rows; r++) {
        for (uint64_t i = 0; i < ROW; i++) {
            data[(size_t)r * ROW + i] = truth(e->want.position + r, i);
        }
    }
    s->blocks[s->block_count++] = (block){e->token, data};
    mri_answer_computed(s->machine, w->now, e->token, data, 0, NULL, NULL);
}

/* ---- time passes ---- */

static void
deliver(world *w, event *e)
{
    server *s = &w->servers[e->server];
    mri_message m;
    static const mri_peer_id me = {{1}, 1};

    if (e->kind != TO_CONSUMER && (!s->up || s->life != e->life)) {
        free_event(e); /* it died meanwhile, and its connection with it */
        return;
    }
    if (e->kind != TO_CONSUMER && w->now < s->frozen_until) {
        e->at = s->frozen_until;
        push(w, e);
        return;
    }
    if (e->kind == COMPUTED) {
        computed(w, e);
        run_deeds(w, e->server);
        free_event(e);
        return;
    }
    assert_int_equal(mri_wire_get(&m, e->header, 64, e->descriptor,
                                  e->descriptor_bytes, e->payload,
                                  e->payload_bytes, NULL),
                     MR_OK);
    if (e->kind == TO_SERVER) {
        mri_answer_message(s->machine, w->now, &me, &m);
        run_deeds(w, e->server);
    } else {
        mri_ask_message(w->consumer, w->now, e->server, &m);
        run_acts(w);
    }
    free_event(e);
}

static void
misfortune(world *w)
{
    uint32_t i = (uint32_t)roll(w, SERVERS);
    server *s = &w->servers[i];

    if (!w->crashes || roll(w, 1000) >= 15) {
        return;
    }
    if (!s->up) {
        boot(w, i);
    } else if (roll(w, 2) == 0) {
        crash(w, i);
    } else {
        s->frozen_until = w->now + roll(w, 8 * SECOND);
    }
}

/* Run until all pieces are there, or the consumer gave up, or time is out. */
static void
run_world(world *w, uint64_t limit)
{
    uint64_t next_tick = w->now;

    while (w->finished < PIECES && !w->failed && w->now < limit) {
        while (w->heap_count != 0 && w->heap[0]->at <= next_tick) {
            event *e = pop(w);

            w->now = e->at;
            deliver(w, e);
        }
        w->now = next_tick;
        for (uint32_t i = 0; i < SERVERS; i++) {
            if (w->servers[i].up && w->now >= w->servers[i].frozen_until) {
                mri_answer_tick(w->servers[i].machine, w->now);
                run_deeds(w, i);
            }
        }
        mri_ask_tick(w->consumer, w->now);
        run_acts(w);
        misfortune(w);
        next_tick += 50 * MS;
    }
}

static world *
make_world(uint64_t seed)
{
    static const char *const names[SERVERS] = {"", "", ""};
    mri_ask_config c = mri_ask_defaults();
    world *w = calloc(1, sizeof *w);

    w->seed = seed;
    w->window = (2 + roll(w, 16)) << 20;
    w->memory = (3 + roll(w, 16)) << 20; /* the largest piece fits */
    w->delay = MS + roll(w, 100 * MS);
    w->drop = (uint32_t)roll(w, 60);
    w->twice = (uint32_t)roll(w, 60);
    w->now = 1;
    c.servers = SERVERS;
    c.names = names;
    c.hello = (mri_wire_hello){1, 1, "sim", {0}};
    c.open = (mri_wire_open){"", "train", "", "", "", false, {0}, 0};
    c.window_bytes = w->window;
    c.connect_ns = 30 * SECOND;
    c.patience_ns = 600 * SECOND;
    assert_int_equal(mri_ask_open(&w->consumer, &c, w->now, NULL), MR_OK);
    for (uint32_t i = 0; i < SERVERS; i++) {
        boot(w, i);
    }
    return w;
}

static void
end_world(world *w)
{
    while (w->heap_count != 0) {
        free_event(pop(w));
    }
    for (uint32_t i = 0; i < SERVERS; i++) {
        if (w->servers[i].up) {
            crash(w, i);
        }
    }
    for (unsigned i = 0; i < PIECES; i++) {
        free(w->pieces[i].data);
    }
    mri_ask_close(w->consumer);
    free(w);
}

static uint64_t seeds = 60, first_seed = 1;

static void
in_a_bad_world_every_piece_arrives_once_and_whole(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        world *w = make_world(seed);

        w->crashes = true;
        run_world(w, 3600 * SECOND);
        if (w->failed || w->finished != PIECES) {
            fail_msg("seed %llu: %u of %u pieces after %llu s (%s)",
                     (unsigned long long)seed, w->finished, PIECES,
                     (unsigned long long)(w->now / SECOND), w->why.text);
        }
        for (unsigned i = 0; i < PIECES; i++) {
            assert_false(w->pieces[i].missing);
        }
        end_world(w);
    }
}

/* Damaged on one server: another one gives it. On all: told, nothing else. */
static void
a_row_is_missing_only_if_it_is_damaged_everywhere(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        world *w = make_world(seed);

        w->drop = 0;
        w->servers[0].damaged = 5;
        w->servers[1].damaged = 10;
        w->servers[2].damaged = seed % 2 == 0 ? 0 : 20;
        run_world(w, 3600 * SECOND);
        if (w->finished != PIECES) {
            fail_msg("seed %llu: %u of %u after %llu s (%s)",
                     (unsigned long long)seed, w->finished, PIECES,
                     (unsigned long long)(w->now / SECOND), w->why.text);
        }
        for (unsigned i = 0; i < PIECES; i++) {
            bool everywhere = false;

            for (uint32_t r = 0; r < rows_of(i); r++) {
                everywhere = everywhere || (position_of(i) + r) % 20 == 0;
            }
            assert_int_equal(w->pieces[i].missing, everywhere && seed % 2 == 1);
        }
        end_world(w);
    }
}

static void
nobody_at_the_address_is_said_in_time(void **state)
{
    world *w = make_world(3);

    (void)state;
    for (uint32_t i = 0; i < SERVERS; i++) {
        crash(w, i);
    }
    run_world(w, 100 * SECOND);
    assert_true(w->failed);
    assert_int_equal(w->why.err, MR_ETIME);
    assert_in_range(w->now / SECOND, 30, 31);
    end_world(w);
}

static void
silence_of_all_ends_after_patience(void **state)
{
    world *w = make_world(4);
    uint64_t start;

    (void)state;
    w->drop = 0;
    run_world(w, SECOND / 2);
    assert_true(w->opened);
    for (uint32_t i = 0; i < SERVERS; i++) {
        crash(w, i);
    }
    start = w->now;
    while (w->heap_count != 0) { /* what was under way is lost */
        free_event(pop(w));
    }
    run_world(w, 2000 * SECOND);
    assert_true(w->failed);
    assert_int_equal(w->why.code, MRI_E_SERVERS_SILENT);
    assert_in_range((w->now - start) / SECOND, 599, 605);
    end_world(w);
}

static void
a_draining_server_finishes_and_hands_over(void **state)
{
    world *w = make_world(8);
    unsigned had;

    (void)state;
    w->drop = 0;
    run_world(w, SECOND / 2);
    had = w->finished;
    mri_answer_drain(w->servers[0].machine, w->now);
    run_deeds(w, 0);
    mri_answer_drain(w->servers[1].machine, w->now);
    run_deeds(w, 1);
    run_world(w, 600 * SECOND);
    assert_true(w->finished == PIECES && had < PIECES);
    assert_int_equal(mri_ask_ready(w->consumer), 1);
    end_world(w);
}

/* A consumer that stops reading costs its window and nothing else. */
static void
a_stopped_consumer_costs_its_window(void **state)
{
    world *w = make_world(5);
    mri_answer_counts counts;
    uint64_t sent;

    (void)state;
    w->drop = w->twice = 0;
    run_world(w, SECOND / 2);
    mri_answer_count(w->servers[0].machine, &counts);
    sent = counts.sent_bytes;
    /* its messages pile up unread while servers go on for ten seconds */
    for (uint64_t t = 0; t < 200; t++) {
        size_t n = w->heap_count;

        w->now += 50 * MS;
        for (size_t k = 0; k < n; k++) {
            event *e = pop(w);

            if (e->kind == TO_CONSUMER) {
                e->at = w->now + 1000 * SECOND;
                push(w, e);
            } else {
                deliver(w, e);
            }
        }
    }
    mri_answer_count(w->servers[0].machine, &counts);
    assert_true(counts.sent_bytes - sent <= w->window);
    assert_true(counts.held_bytes <= w->window + 8 * ROW);
    end_world(w);
}

/* A message of a consumer that obeys no rule. */
static void
tell(mri_answer *a, uint64_t now, mri_wire head, const mri_bytes *descriptor)
{
    static const mri_peer_id deaf = {{9}, 1};
    mri_message m = {.head = head};

    m.head.version = 1;
    if (descriptor != NULL) {
        m.descriptor = descriptor->data;
        m.descriptor_bytes = descriptor->len;
    }
    mri_answer_message(a, now, &deaf, &m);
}

/* Compute at once; keep all that was freed. What is computed, in bytes. */
static uint64_t
compute_all(mri_answer *a, uint64_t now, uint64_t freed[64], size_t *count)
{
    static uint8_t data[8 * ROW];
    static const uint8_t nobody[16];
    uint64_t bytes = 0;
    mri_deed d;

    for (mri_answer_next(a, &d); d.kind != MRI_DEED_NONE;
         mri_answer_next(a, &d)) {
        if (d.kind == MRI_DEED_OPEN) {
            mri_answer_opened(a, now, d.token, 3, &offered, NULL);
        } else if (d.kind == MRI_DEED_COMPUTE) {
            bytes += d.bytes;
            mri_answer_computed(a, now, d.token, data, 0, nobody, NULL);
        } else if (d.kind == MRI_DEED_FREE) {
            freed[(*count)++] = d.token;
        }
    }
    return bytes;
}

/* It grants without end and reads nothing: what the transport still has of it
 * is held against it. */
static void
a_deaf_consumer_is_sent_no_more_than_its_share(void **state)
{
    mri_answer_config c = mri_answer_defaults();
    const mri_wire_dataset offer = {.name = "x", .samples = 1000};
    const mri_wire_hello hello = {1, 1, "x", {0}};
    const mri_wire_open open = {"",     "train", "",  "random",
                                "mask", false,   {0}, 0};
    const mri_wire_want where = {1, 2, 0};
    mri_answer_counts counts;
    mri_bytes text = {0};
    uint64_t freed[64], bytes;
    size_t count = 0, had;
    mri_answer *a;

    (void)state;
    c.datasets = &offer;
    c.dataset_count = 1;
    c.build = "x";
    c.peer_bytes = 20 * ROW;
    c.memory_bytes = 80 * ROW;
    assert_int_equal(mri_answer_open(&a, &c, NULL), MR_OK);
    assert_true(mri_wire_put_hello(&text, &hello));
    tell(a, 1, (mri_wire){.type = MRI_WIRE_HELLO, .request = 1}, &text);
    text.len = 0;
    assert_true(mri_wire_put_open(&text, &open));
    tell(a, 1, (mri_wire){.type = MRI_WIRE_OPEN}, &text);
    assert_int_equal(compute_all(a, 1, freed, &count), 0);
    tell(a, 1,
         (mri_wire){.type = MRI_WIRE_CREDIT, .stream = 3, .offset = UINT64_MAX},
         NULL);
    text.len = 0;
    assert_true(mri_wire_put_want(&text, &where));
    bytes = 0;
    for (unsigned i = 0; i < 50; i++) {
        tell(a, 2,
             (mri_wire){.type = MRI_WIRE_WANT,
                        .stream = 3,
                        .request = i,
                        .row_count = 8,
                        .total = 8 * ROW},
             &text);
        bytes += compute_all(a, 2, freed, &count);
    }
    mri_answer_count(a, &counts);
    assert_int_equal(bytes, 16 * ROW);
    assert_int_equal(counts.afloat_bytes, bytes);
    assert_int_equal(counts.held_bytes, 0);
    assert_int_equal(count, 2);

    /* It begins to read, and is served to the end. */
    for (had = 0; had < count; had++) {
        mri_answer_gone(a, 3, freed[had]);
        bytes += compute_all(a, 3, freed, &count);
    }
    mri_answer_count(a, &counts);
    assert_int_equal(bytes, 50 * 8 * ROW);
    assert_int_equal(counts.afloat_bytes, 0);
    mri_answer_close(a);
    mri_bytes_release(&text);
}

static void
a_server_with_another_stream_is_left_out(void **state)
{
    mri_ask_config c = mri_ask_defaults();
    static const char *const names[] = {"", ""};
    mri_ask *a;
    mri_act act;
    unsigned warned = 0, failed = 0;

    (void)state;
    c.servers = 2;
    c.names = names;
    c.hello = (mri_wire_hello){1, 1, "x", {0}};
    assert_int_equal(mri_ask_open(&a, &c, 1, NULL), MR_OK);
    mri_ask_tick(a, 2);
    for (uint32_t s = 0; s < 2; s++) {
        mri_wire_opened opened = offered;
        mri_wire_welcome w = {.version = 1, .build = "", .limit_bytes = 1000};
        mri_bytes d = {0};
        mri_message m = {.head = {.version = 1, .type = MRI_WIRE_WELCOME}};

        opened.stream_id[0] = (uint8_t)(7 + s);
        assert_true(mri_wire_put_welcome(&d, &w));
        m.descriptor = d.data;
        m.descriptor_bytes = d.len;
        mri_ask_message(a, 3, s, &m);
        d.len = 0;
        assert_true(mri_wire_put_opened(&d, &opened));
        m = (mri_message){
            .head = {.version = 1, .type = MRI_WIRE_OPENED, .stream = 5},
            .descriptor = d.data,
            .descriptor_bytes = d.len};
        mri_ask_message(a, 4, s, &m);
        mri_bytes_release(&d);
    }
    for (mri_ask_next(a, &act); act.kind != MRI_ACT_NONE;
         mri_ask_next(a, &act)) {
        warned +=
            act.kind == MRI_ACT_WARN && act.diag.code == MRI_E_SERVER_OTHER;
        failed += act.kind == MRI_ACT_FAIL;
    }
    assert_int_equal(warned, 1);
    assert_int_equal(failed, 0);
    assert_int_equal(mri_ask_ready(a), 1);
    mri_ask_close(a);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_a_bad_world_every_piece_arrives_once_and_whole),
        cmocka_unit_test(a_row_is_missing_only_if_it_is_damaged_everywhere),
        cmocka_unit_test(nobody_at_the_address_is_said_in_time),
        cmocka_unit_test(silence_of_all_ends_after_patience),
        cmocka_unit_test(a_draining_server_finishes_and_hands_over),
        cmocka_unit_test(a_stopped_consumer_costs_its_window),
        cmocka_unit_test(a_deaf_consumer_is_sent_no_more_than_its_share),
        cmocka_unit_test(a_server_with_another_stream_is_left_out),
    };

    seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : seeds;
    first_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : first_seed;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
