/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.c - batches in order, some of them ahead, from any feed.
 */
#include "batch.h"
#include "order.h"
#include "remote.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/clock.h>
#include <mri/crc32c.h>
#include <mri/endpoint.h>
#include <mri/error.h>
#include <mri/log.h>

#include <string.h>

#define DEPTH_MAX 1024
#define ROWS_MAX (1u << 24)
#define LOOK_NS 100000000u   /* between two questions to the watch */
#define WARN_NS 10000000000u /* a batch that is so late is told of */

struct mr_stream {
    mri_feed *feed;
    const mri_rows_facts *facts;
    mri_batch_pool *pool;
    uint64_t seed;
    uint64_t size;       /* rows of a whole batch */
    uint64_t first, end; /* of them, this consumer's */
    mr_on_damage on_damage;
    mr_damaged_fn *damaged;
    void *user;
    const mr_watch *watch;

    uint64_t epoch, position; /* of the batch that next() gives */
    /* Asked for already, in order: a ring. */
    mr_batch **ahead;
    uint32_t depth, ahead_first, ahead_count;
    uint64_t ask_epoch, ask_position;

    mr_stream_counters counters;
    uint64_t began_ns;
};

static int
named(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

int
mr_tail_named(const char *name)
{
    static const char *const names[] = {"mask", "drop", "wrap"};

    return named(name, names, 3);
}

int
mr_order_named(const char *name)
{
    static const char *const names[] = {"random", "uid"};

    return named(name, names, 2);
}

mr_stream_options
mr_stream_defaults(void)
{
    return (mr_stream_options){
        .split = "train", .batch_size = 64, .consumers = 1, .depth = 4};
}

static mr_err
check_options(const mr_stream_options *o, mr_diag *diag)
{
    if (o->batch_size == 0 || o->batch_size > ROWS_MAX) {
        return mri_fail(diag, MRI_E_STREAM_OPTION, MR_NOWHERE,
                        "a batch of %u rows: 1 to %u", o->batch_size, ROWS_MAX);
    }
    if (o->consumers == 0 || o->consumer >= o->consumers) {
        return mri_fail(diag, MRI_E_STREAM_OPTION, MR_NOWHERE,
                        "consumer %u of %u: the first is 0, the last one less "
                        "than their number",
                        o->consumer, o->consumers);
    }
    if (o->depth == 0 || o->depth > DEPTH_MAX) {
        return mri_fail(diag, MRI_E_STREAM_OPTION, MR_NOWHERE,
                        "%u batches ahead: 1 to %u", o->depth, DEPTH_MAX);
    }
    if ((unsigned)o->tail > MR_TAIL_WRAP || (unsigned)o->order > MR_ORDER_UID ||
        (unsigned)o->on_damage > MR_DAMAGE_MASK || o->split == NULL) {
        return mri_fail(diag, MRI_E_STREAM_OPTION, MR_NOWHERE,
                        "a tail, order, policy or split that does not exist");
    }
    return MR_OK;
}

/* Batches of an epoch that begins at a position. */
static uint64_t
batches_from(const mr_stream *s, uint64_t position)
{
    uint64_t left = s->facts->samples - position;

    return s->facts->tail == MR_TAIL_DROP ? left / s->size
                                          : (left + s->size - 1) / s->size;
}

static mr_err
fill_stream(mr_stream *s, const mr_stream_options *o, mr_diag *diag)
{
    s->facts = s->feed->ops->facts(s->feed);
    s->seed = o->seed;
    s->size = o->batch_size;
    mri_order_share(s->size, o->consumer, o->consumers, &s->first, &s->end);
    s->on_damage = o->on_damage;
    s->damaged = o->damaged;
    s->user = o->user;
    s->watch = o->watch;
    s->depth = o->depth;
    s->ahead = mri_alloc(s->depth, sizeof *s->ahead);
    if (s->ahead == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    if (batches_from(s, 0) == 0) {
        return mri_fail(diag, MRI_E_STREAM_EMPTY, MR_NOWHERE,
                        "%llu samples make no batch of %llu, and tail is drop",
                        (unsigned long long)s->facts->samples,
                        (unsigned long long)s->size);
    }
    return mri_batch_pool_open(&s->pool, s->facts, s->end - s->first, diag);
}

mr_err
mri_stream_over(mr_stream **out, mri_feed *feed, const mr_stream_options *o,
                mr_diag *diag)
{
    mr_stream *s = mri_alloc(1, sizeof *s);
    mr_err err;

    *out = NULL;
    if (s == NULL) {
        feed->ops->close(feed);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    s->feed = feed;
    err = check_options(o, diag);
    if (err == MR_OK) {
        err = fill_stream(s, o, diag);
    }
    if (err != MR_OK) {
        mr_stream_close(s);
        return err;
    }
    *out = s;
    return MR_OK;
}

mr_err
mr_stream_open(mr_stream **out, const mr_stream_options *o, mr_diag *diag)
{
    mri_feed *feed;
    mr_err err = check_options(o, diag);

    *out = NULL;
    if (err == MR_OK && o->source == NULL) {
        err = mri_fail(diag, MRI_E_STREAM_OPTION, MR_NOWHERE, "no source");
    }
    if (err == MR_OK) {
        err = mri_is_endpoint(o->source) ? mri_feed_remote(&feed, o, diag)
                                         : mri_feed_local(&feed, o, diag);
    }
    return err == MR_OK ? mri_stream_over(out, feed, o, diag) : err;
}

/* Forget what was asked for ahead. */
static void
drop_ahead(mr_stream *s)
{
    while (s->ahead_count > 0) {
        mr_batch *b = s->ahead[s->ahead_first];

        s->feed->ops->drop(s->feed, &b->request);
        mr_batch_unref(b);
        s->ahead_first = (s->ahead_first + 1) % s->depth;
        s->ahead_count--;
    }
    s->ask_epoch = s->epoch;
    s->ask_position = s->position;
}

void
mr_stream_close(mr_stream *s)
{
    if (s == NULL) {
        return;
    }
    drop_ahead(s);
    s->feed->ops->close(s->feed);
    mri_batch_pool_close(s->pool);
    mri_free(s->ahead);
    mri_free(s);
}

/* Begin the batch at a position. */
static mr_err
ask(mr_stream *s, uint64_t epoch, uint64_t position, bool urgent,
    mr_batch **out, mr_diag *diag)
{
    mr_batch *b;
    mr_err err = mri_batch_take(s->pool, &b, diag);

    if (err != MR_OK) {
        return err;
    }
    b->index = position / s->size;
    b->first_row = s->first;
    b->request.seed = s->seed;
    b->request.epoch = epoch;
    b->request.position = position + s->first;
    b->request.on_damage = s->on_damage;
    s->feed->ops->ask(s->feed, &b->request, urgent);
    *out = b;
    return MR_OK;
}

/* The position after a batch; beyond the last one the next epoch begins. */
static void
advance(const mr_stream *s, uint64_t *epoch, uint64_t *position)
{
    *position += s->size;
    if (*position >= s->facts->samples || batches_from(s, *position) == 0) {
        *position = 0;
        ++*epoch;
    }
}

static mr_err
fill_ahead(mr_stream *s, mr_diag *diag)
{
    while (s->ahead_count < s->depth) {
        uint32_t at = (s->ahead_first + s->ahead_count) % s->depth;
        mr_err err =
            ask(s, s->ask_epoch, s->ask_position, false, &s->ahead[at], diag);

        if (err != MR_OK) {
            return s->ahead_count > 0 ? MR_OK : err; /* fewer ahead will do */
        }
        s->ahead_count++;
        advance(s, &s->ask_epoch, &s->ask_position);
    }
    return MR_OK;
}

static void
tell_lost(mr_stream *s, const mri_request *q)
{
    for (size_t i = 0; i < q->lost_count; i++) {
        s->counters.damaged++;
        mri_say(MR_LOG_WARN, "STREAM-DAMAGED", "a row is masked: %s",
                q->lost[i].why.text);
        if (s->damaged != NULL) {
            s->damaged(s->user, q->lost[i].uid, &q->lost[i].why);
        }
    }
}

/* Until the feed is done, or the watch says stop: then false. */
static bool
wait_for(mr_stream *s, mri_request *q)
{
    uint64_t start = mri_now_ns(), warned = start;

    while (!s->feed->ops->wait(s->feed, q, LOOK_NS)) {
        uint64_t now = mri_now_ns();

        if (s->watch != NULL && s->watch->stop != NULL &&
            s->watch->stop(s->watch->user)) {
            s->feed->ops->drop(s->feed, q);
            return false;
        }
        if (now - warned >= WARN_NS) {
            warned = now;
            mri_say(MR_LOG_WARN, "STREAM-LATE",
                    "waiting for a batch for %llu s now",
                    (unsigned long long)((now - start) / 1000000000));
        }
    }
    return true;
}

/* Wait for a batch; on failure it is given back. */
static mr_err
await(mr_stream *s, mr_batch *b, mr_batch **out, mr_diag *diag)
{
    uint64_t start = mri_now_ns();
    mr_err err;

    s->began_ns = s->began_ns != 0 ? s->began_ns : start;
    if (!wait_for(s, &b->request)) {
        mr_batch_unref(b);
        return mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
    }
    s->counters.total_ns = mri_now_ns() - s->began_ns;
    s->counters.wait_ns += mri_now_ns() - start;
    tell_lost(s, &b->request);
    err = b->request.err;
    if (err != MR_OK) {
        if (diag != NULL) {
            *diag = b->request.diag;
        }
        mr_batch_unref(b);
        return err;
    }
    mri_batch_finish(b);
    s->counters.batches++;
    s->counters.rows += b->valid;
    *out = b;
    return MR_OK;
}

mr_err
mr_stream_next(mr_stream *s, mr_batch **out, mr_diag *diag)
{
    mr_batch *b;
    mr_err err;

    *out = NULL;
    err = fill_ahead(s, diag);
    if (err != MR_OK) {
        return err;
    }
    b = s->ahead[s->ahead_first];
    s->ahead_first = (s->ahead_first + 1) % s->depth;
    s->ahead_count--;
    err = await(s, b, out, diag);
    if (err != MR_OK) {
        drop_ahead(s); /* the same batch is asked for again */
        return err;
    }
    advance(s, &s->epoch, &s->position);
    return MR_OK;
}

mr_err
mr_stream_get(mr_stream *s, uint64_t epoch, uint64_t index, mr_batch **out,
              mr_diag *diag)
{
    mr_batch *b;
    mr_err err;

    *out = NULL;
    if (index >= mr_stream_batches(s)) {
        return mri_fail(diag, MRI_E_STREAM_INDEX, MR_NOWHERE,
                        "no batch %llu: the epoch has %llu, counted from 0",
                        (unsigned long long)index,
                        (unsigned long long)mr_stream_batches(s));
    }
    err = ask(s, epoch, index * s->size, true, &b, diag);
    return err == MR_OK ? await(s, b, out, diag) : err;
}

uint64_t
mr_stream_samples(const mr_stream *s)
{
    return s->facts->samples;
}

uint64_t
mr_stream_batches(const mr_stream *s)
{
    return batches_from(s, 0);
}

uint64_t
mr_stream_rows(const mr_stream *s)
{
    return s->end - s->first;
}

size_t
mr_stream_tensors(const mr_stream *s)
{
    return s->facts->tensor_count;
}

const mr_stream_tensor *
mr_stream_tensor_at(const mr_stream *s, size_t i)
{
    return i < s->facts->tensor_count ? &s->facts->tensors[i] : NULL;
}

uint32_t
mr_stream_classes(const mr_stream *s)
{
    return s->facts->class_count;
}

const char *
mr_stream_class_name(const mr_stream *s, uint32_t i)
{
    return i < s->facts->class_count ? s->facts->classes[i] : NULL;
}

uint32_t
mr_stream_channels(const mr_stream *s)
{
    return s->facts->channel_count;
}

const char *
mr_stream_channel_name(const mr_stream *s, uint32_t i)
{
    return i < s->facts->channel_count ? s->facts->channels[i] : NULL;
}

const char *
mr_stream_canonical(const mr_stream *s)
{
    return s->facts->open;
}

const uint8_t *
mr_stream_id(const mr_stream *s)
{
    return s->facts->id;
}

void
mr_stream_cursor(const mr_stream *s, uint8_t cursor[MR_CURSOR_BYTES])
{
    memcpy(cursor, "MRC1", 4);
    mri_put32(cursor + 4, 0);
    memcpy(cursor + 8, s->facts->id, 16);
    mri_put64(cursor + 24, s->seed);
    mri_put64(cursor + 32, s->epoch);
    mri_put64(cursor + 40, s->position);
    for (unsigned i = 0; i < MRI_HINTS; i++) {
        mri_put16(cursor + 48 + 2 * i, s->facts->hints[i]);
    }
    mri_put32(cursor + 60, mri_crc32c(0, cursor, 60));
}

/* Which part of the OPEN the hints say is another one. */
static const char *
what_differs(const mr_stream *s, const uint8_t *cursor)
{
    static const char *const parts[MRI_HINTS] = {
        "the dataset",
        "the split",
        "order or tail",
        "the pipeline",
        "the decoder (another millrace or libjpeg)",
        "a part"};

    for (unsigned i = 0; i < MRI_HINTS; i++) {
        if (mri_get16(cursor + 48 + 2 * i) != s->facts->hints[i]) {
            return parts[i];
        }
    }
    return parts[MRI_HINTS - 1];
}

mr_err
mr_stream_seek(mr_stream *s, const uint8_t cursor[MR_CURSOR_BYTES],
               mr_diag *diag)
{
    uint64_t seed = mri_get64(cursor + 24), position = mri_get64(cursor + 40);

    if (memcmp(cursor, "MRC1", 4) != 0 ||
        mri_get32(cursor + 60) != mri_crc32c(0, cursor, 60)) {
        return mri_fail(diag, MRI_E_CURSOR, 0, "no cursor, or a damaged one");
    }
    if (mri_get32(cursor + 4) != 0) {
        return mri_fail(diag, MRI_E_CURSOR, 4,
                        "a cursor with flags that this millrace does not know");
    }
    if (memcmp(cursor + 8, s->facts->id, 16) != 0) {
        return mri_fail(diag, MRI_E_CURSOR_OTHER, 8,
                        "the cursor is of another stream: %s differs",
                        what_differs(s, cursor));
    }
    if (seed != s->seed) {
        return mri_fail(diag, MRI_E_CURSOR_OTHER, 24,
                        "the cursor is of another stream: the seed differs "
                        "(%llu there, %llu here)",
                        (unsigned long long)seed, (unsigned long long)s->seed);
    }
    if (position >= s->facts->samples) {
        return mri_fail(diag, MRI_E_CURSOR, 40,
                        "position %llu in an epoch of %llu samples",
                        (unsigned long long)position,
                        (unsigned long long)s->facts->samples);
    }
    s->epoch = mri_get64(cursor + 32);
    s->position = position;
    if (batches_from(s, position) == 0) { /* a larger batch, tail drop */
        s->position = 0;
        s->epoch++;
    }
    drop_ahead(s);
    return MR_OK;
}

void
mr_stream_count(const mr_stream *s, mr_stream_counters *out)
{
    *out = s->counters;
    s->feed->ops->count(s->feed, out);
}

const char *
mr_stream_verdict(const mr_stream_counters *c)
{
    if (c->wait_ns < c->total_ns / 20) {
        return "consumer"; /* it waits for less than 5 % of its time */
    }
    if (c->read_ns >= c->decode_ns && c->read_ns >= c->augment_ns) {
        return "storage";
    }
    return c->decode_ns >= c->augment_ns ? "decode" : "augment";
}
