/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bad_client.c - consumers that no server should suffer from.
 *
 *     bad_client junk ENDPOINT SEED COUNT   messages of every wrong kind
 *     bad_client deaf ENDPOINT SECONDS      asks for more and more, and reads
 *                                           nothing of what comes
 */
#include <mri/wire.h>

#include <scratch.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

typedef struct client {
    void *context, *socket;
    uint64_t stream; /* the server's handle */
    uint64_t row_bytes;
} client;

static void
die(const char *what)
{
    (void)fprintf(stderr, "bad_client: %s\n", what);
    exit(1);
}

static void
send_message(const client *c, mri_wire head, const void *descriptor,
             size_t bytes)
{
    const mri_message m = {
        .head = head, .descriptor = descriptor, .descriptor_bytes = bytes};
    uint8_t header[MRI_WIRE_HEADER];

    mri_wire_put(header, &m);
    (void)zmq_send(c->socket, header, sizeof header, ZMQ_SNDMORE);
    (void)zmq_send(c->socket, descriptor, bytes, 0);
}

/* The next message of that type; its descriptor's bytes in `to`. */
static mri_message
await_message(const client *c, mri_wire_type type, uint8_t *to, size_t room)
{
    uint8_t header[MRI_WIRE_HEADER];
    mri_message m;
    int head, bytes;

    for (;;) {
        head = zmq_recv(c->socket, header, sizeof header, 0);
        bytes = head >= 0 ? zmq_recv(c->socket, to, room, 0) : -1;
        if (bytes < 0) {
            die("the server does not answer");
        }
        if (mri_wire_get(&m, header, (size_t)head, to, (size_t)bytes, NULL, 0,
                         NULL) == MR_OK &&
            m.head.type == type) {
            return m;
        }
    }
}

static void
say_hello(client *c)
{
    mri_bytes text = {0};
    const mri_wire_hello hello = {
        .version_low = 1, .version_high = 1, .build = "bad"};
    const mri_wire_open open = {.dataset = "",
                                .split = "train",
                                .pipeline = "",
                                .order = "random",
                                .tail = "wrap"};
    static uint8_t to[MRI_WIRE_DESCRIPTOR];
    mri_wire_opened opened;
    mri_wire_box *box;
    mri_message m;

    if (!mri_wire_put_hello(&text, &hello)) {
        die("no memory");
    }
    send_message(c,
                 (mri_wire){.version = 1, .type = MRI_WIRE_HELLO, .request = 1},
                 text.data, text.len);
    (void)await_message(c, MRI_WIRE_WELCOME, to, sizeof to);
    text.len = 0;
    if (!mri_wire_put_open(&text, &open)) {
        die("no memory");
    }
    send_message(c, (mri_wire){.version = 1, .type = MRI_WIRE_OPEN}, text.data,
                 text.len);
    m = await_message(c, MRI_WIRE_OPENED, to, sizeof to);
    if (mri_wire_get_opened(&opened, &box, &m, NULL) != MR_OK) {
        die("OPENED cannot be read");
    }
    c->stream = m.head.stream;
    c->row_bytes = opened.row_bytes;
    mri_wire_box_free(box);
    mri_bytes_release(&text);
}

static void
want(const client *c, uint64_t request, uint32_t rows, uint64_t total)
{
    const mri_wire_want where = {.position = request * rows};
    mri_bytes text = {0};

    if (!mri_wire_put_want(&text, &where)) {
        die("no memory");
    }
    send_message(c,
                 (mri_wire){.version = 1,
                            .type = MRI_WIRE_WANT,
                            .stream = c->stream,
                            .request = request,
                            .row_count = rows,
                            .total = total},
                 text.data, text.len);
    mri_bytes_release(&text);
}

static void
pause_ms(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000,
                               .tv_nsec = (long)(ms % 1000) * 1000000};

    (void)nanosleep(&t, NULL);
}

/* Says that it can take everything, asks for 4 MiB a hundred times a second,
 * and never reads. */
static void
be_deaf(client *c, unsigned seconds)
{
    uint32_t rows;

    say_hello(c);
    rows = (uint32_t)((4u << 20) / c->row_bytes) + 1;
    send_message(c,
                 (mri_wire){.version = 1,
                            .type = MRI_WIRE_CREDIT,
                            .stream = c->stream,
                            .offset = UINT64_MAX / 2},
                 NULL, 0);
    for (unsigned i = 0; i < seconds * 100; i++) {
        want(c, i + 1, rows, rows * c->row_bytes);
        pause_ms(10);
    }
}

static size_t
random_bytes(uint64_t *seed, uint8_t *to, size_t room)
{
    size_t n = scratch_random(seed) % (room + 1);

    for (size_t i = 0; i < n; i++) {
        to[i] = (uint8_t)scratch_random(seed);
    }
    return n;
}

/* One to six frames of anything. */
static void
send_noise(const client *c, uint64_t *seed)
{
    uint8_t frame[300];

    for (uint64_t left = 1 + scratch_random(seed) % 6; left-- > 0;) {
        size_t n = random_bytes(seed, frame, sizeof frame);

        (void)zmq_send(c->socket, frame, n, left != 0 ? ZMQ_SNDMORE : 0);
    }
}

/* Checksum and version hold, all else is anything. */
static void
send_nonsense(const client *c, uint64_t *seed)
{
    uint8_t text[300];
    size_t n = random_bytes(seed, text, sizeof text);
    bool ours = scratch_random(seed) % 2 != 0;
    mri_wire head = {
        .version = 1,
        .type = (uint16_t)(scratch_random(seed) % 18),
        .flags = (uint32_t)scratch_random(seed) % 4,
        .stream = ours ? c->stream : scratch_random(seed),
        .request = scratch_random(seed) % 8,
        .row_first = (uint32_t)scratch_random(seed),
        .row_count =
            (uint32_t)(scratch_random(seed) >> scratch_random(seed) % 64),
        .offset = scratch_random(seed) >> scratch_random(seed) % 64,
        .total = scratch_random(seed) >> scratch_random(seed) % 64};

    send_message(c, head, text, n);
}

/* A right WANT with numbers at the edges of what they can be. */
static void
send_edge(const client *c, uint64_t *seed)
{
    static const uint32_t rows[] = {0, 1, 2, 0x7fffffff, 0xffffffff};
    uint32_t n = rows[scratch_random(seed) % 5];
    uint64_t total = n * c->row_bytes + scratch_random(seed) % 3 - 1;

    want(c, scratch_random(seed), n, total);
}

static void
send_junk(client *c, uint64_t seed, unsigned count)
{
    say_hello(c);
    for (unsigned i = 0; i < count; i++) {
        switch (scratch_random(&seed) % 3) {
        case 0:
            send_noise(c, &seed);
            break;
        case 1:
            send_nonsense(c, &seed);
            break;
        default:
            send_edge(c, &seed);
        }
        if (i % 100 == 99) {
            pause_ms(5); /* let it through */
        }
    }
}

int
main(int argc, char **argv)
{
    const int linger = 1000, patience = 20000, few = 1, small = 4096;
    client c = {.context = zmq_ctx_new()};

    if (argc < 4 || c.context == NULL) {
        die("usage: junk ENDPOINT SEED COUNT | deaf ENDPOINT SECONDS");
    }
    c.socket = zmq_socket(c.context, ZMQ_DEALER);
    (void)zmq_setsockopt(c.socket, ZMQ_LINGER, &linger, sizeof linger);
    (void)zmq_setsockopt(c.socket, ZMQ_RCVTIMEO, &patience, sizeof patience);
    (void)zmq_setsockopt(c.socket, ZMQ_RCVHWM, &few, sizeof few);
    (void)zmq_setsockopt(c.socket, ZMQ_RCVBUF, &small, sizeof small);
    if (zmq_connect(c.socket, argv[2]) != 0) {
        die("no such endpoint");
    }
    if (strcmp(argv[1], "deaf") == 0) {
        be_deaf(&c, (unsigned)strtoul(argv[3], NULL, 10));
    } else if (argc == 5) {
        send_junk(&c, strtoull(argv[3], NULL, 10),
                  (unsigned)strtoul(argv[4], NULL, 10));
    }
    (void)zmq_close(c.socket);
    (void)zmq_ctx_term(c.context);
    return 0;
}
