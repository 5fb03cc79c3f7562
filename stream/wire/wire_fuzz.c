/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_fuzz.c - any messages, to a server and to a consumer: both go on, and
 * the server holds no more than it may. The input is a row of messages, each
 * its type, a byte of length and a descriptor; checksums are made to hold, or
 * nothing behind them would be reached.
 */
#include <mri/answer.h>
#include <mri/ask.h>

#include <stdlib.h>
#include <string.h>

#define MEMORY ((uint64_t)1 << 24)

static const mri_wire_opened offered = {
    .stream_id = {7},
    .samples = 10,
    .tensors = {{.name = "x", .dtype = MR_U8, .rank = 1, .shape = {100}}},
    .tensor_count = 1,
    .row_bytes = 100,
    .canonical = "{}",
};

static void
run_server(mri_answer *a, uint64_t now)
{
    static uint8_t data[1 << 24];
    mri_answer_counts counts;
    mri_deed d;

    for (mri_answer_next(a, &d); d.kind != MRI_DEED_NONE;
         mri_answer_next(a, &d)) {
        if (d.kind == MRI_DEED_OPEN) {
            mri_answer_opened(a, now, d.token, d.token, &offered, NULL);
        } else if (d.kind == MRI_DEED_COMPUTE && d.bytes <= sizeof data) {
            mri_answer_computed(a, now, d.token, data, 0, NULL, NULL);
        }
    }
    mri_answer_count(a, &counts);
    if (counts.held_bytes > MEMORY) {
        abort();
    }
}

static void
run_consumer(mri_ask *a, uint64_t now)
{
    static unsigned wanted;
    mri_act act;

    for (mri_ask_next(a, &act); act.kind != MRI_ACT_NONE;
         mri_ask_next(a, &act)) {
        if (act.kind == MRI_ACT_OPENED) {
            mri_piece p = {wanted++, 1, 2, 3, 4};

            if (mri_ask_opened(a)->row_bytes < 1 << 20) {
                (void)mri_ask_want(a, now, &p);
            }
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {""};
    mri_answer_config ac = mri_answer_defaults();
    mri_ask_config cc = mri_ask_defaults();
    mri_answer *server;
    mri_ask *consumer;
    uint64_t now = 1;

    ac.build = "fuzz";
    ac.memory_bytes = MEMORY;
    ac.peers = 3;
    cc.servers = 1;
    cc.names = names;
    cc.hello = (mri_wire_hello){1, 1, "fuzz", {0}};
    if (mri_answer_open(&server, &ac, NULL) != MR_OK ||
        mri_ask_open(&consumer, &cc, now, NULL) != MR_OK) {
        return 0;
    }
    while (size >= 20) {
        mri_peer_id peer = {{data[1]}, 1};
        size_t n = data[2] < size - 20 ? data[2] : size - 20;
        uint8_t *exact = malloc(n + 1);
        uint8_t header[64];
        mri_message m = {.head = {.version = 1,
                                  .type = data[0] % 17,
                                  .stream = data[3],
                                  .request = data[4],
                                  .row_first = data[5],
                                  .row_count = data[6],
                                  .offset = (uint64_t)data[7] << data[8] % 40,
                                  .total = (uint64_t)data[9] << data[10] % 40},
                         .descriptor = exact,
                         .descriptor_bytes = n};

        memcpy(exact, data + 20, n);
        mri_wire_put(header, &m);
        if (mri_wire_get(&m, header, 64, exact, n, NULL, 0, NULL) != MR_OK) {
            abort();
        }
        mri_answer_message(server, now, &peer, &m);
        run_server(server, now);
        mri_ask_message(consumer, now, 0, &m);
        mri_ask_tick(consumer, now);
        run_consumer(consumer, now);
        mri_answer_tick(server, now);
        run_server(server, now);
        now += (uint64_t)data[11] << 26;
        free(exact);
        data += 20 + n;
        size -= 20 + n;
    }
    mri_ask_close(consumer);
    mri_answer_close(server);
    return 0;
}
