/* SPDX-License-Identifier: Apache-2.0 */
/* A stream and the program that reads it: names, refusals, damage, waits. */
#include "stream_set.h"

#include <mri/feed.h>

#include <pthread.h>

static void
names_come_with_the_stream(void **state)
{
    mr_stream_options o = options(&cells, dino);
    mr_stream *s = open_stream(&o);

    (void)state;
    assert_int_equal(mr_stream_classes(s), 3);
    assert_string_equal(mr_stream_class_name(s, 2), "star");
    assert_null(mr_stream_class_name(s, 3));
    assert_int_equal(mr_stream_channels(s), 3); /* of five: select */
    assert_string_equal(mr_stream_channel_name(s, 2), "BF");
    assert_null(mr_stream_channel_name(s, 3));
    mr_stream_close(s);
    o = options(&volumes, patch);
    s = open_stream(&o);
    assert_int_equal(mr_stream_channels(s), 0);
    mr_stream_close(s);
}

static void
counters_say_where_the_time_went(void **state)
{
    mr_stream_options o = options(&jpegs, photo);
    mr_stream *s = open_stream(&o);
    mr_stream_counters c, other = {.wait_ns = 1, .total_ns = 100};
    mr_diag d = {0};
    mr_batch *b;

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_ok(mr_stream_next(s, &b, &d), &d);
        mr_batch_unref(b);
    }
    mr_stream_count(s, &c);
    assert_int_equal(c.batches, 4);
    assert_true(c.decode_ns > 0 && c.augment_ns > 0 && c.read_ns > 0);
    assert_true(c.wait_ns <= c.total_ns);
    assert_string_equal(mr_stream_verdict(&other), "consumer");
    other.wait_ns = 90;
    other.decode_ns = 7;
    assert_string_equal(mr_stream_verdict(&other), "decode");
    mr_stream_close(s);
}

static unsigned warnings;

static void
count_warnings(void *user, mr_log_level level, const char *id, const char *text)
{
    (void)user;
    (void)level;
    (void)text;
    warnings += strcmp(id, "PIPELINE-RANGE") == 0;
}

static void
operations_for_unit_range_warn_of_stored_values(void **state)
{
    static const struct {
        const char *pipeline;
        unsigned warns;
    } rows[] = {
        {"- crop: {size: 16}\n- brightness\n", 1},
        {"- flip\n- crop: {size: 16}\n- solarize\n", 1},
        {"- crop: {size: 16}\n- minmax\n- brightness\n- solarize\n", 0},
        {"- crop: {size: 16}\n- to: {scale: 1/65535}\n- brightness\n", 0},
        {"- crop: {size: 16}\n- brightness: {clamp: ~}\n", 0},
        {"- crop: {size: 16}\n- brightness: {clamp: [0, 65535]}\n", 0},
        {"- crop: {size: 16}\n", 0},
    };

    (void)state;
    mr_log_set(count_warnings, NULL, MR_LOG_WARN);
    for (size_t i = 0; i < MRI_COUNT(rows); i++) {
        mr_stream_options o = options(&cells, rows[i].pipeline);

        warnings = 0;
        mr_stream_close(open_stream(&o));
        assert_int_equal(warnings, rows[i].warns);
    }
    mr_log_set(NULL, NULL, MR_LOG_WARN);
}

static void
wrong_options_are_refused(void **state)
{
    mr_stream_options o[6];
    mr_stream *s;

    (void)state;
    for (int i = 0; i < 6; i++) {
        o[i] = options(&cells, dino);
    }
    o[0].batch_size = 0;
    o[1].consumer = 1;
    o[2].consumers = 0;
    o[3].depth = 0;
    o[4].split = "tarin";
    o[5].batch_size = 31;
    o[5].tail = MR_TAIL_DROP;
    for (int i = 0; i < 6; i++) {
        mr_diag d = {0};

        assert_fails(mr_stream_open(&s, &o[i], &d), MR_EARG);
        assert_true(d.text[0] != '\0');
    }
}

static unsigned told;
static uint8_t told_uid[16];

static void
hear(void *user, const uint8_t uid[MR_UID_BYTES], const mr_diag *why)
{
    (void)user;
    assert_int_equal(why->err, MR_ECORRUPT);
    memcpy(told_uid, uid, 16);
    told++;
}

/* A bit of the pixels of some sample is flipped on disk. */
static void
damage_shard(const set *s)
{
    char command[700];

    (void)snprintf(command, sizeof command,
                   "f=$(find '%s' -name '*.mrs'); printf '\\377\\000\\377' | "
                   "dd of=\"$f\" bs=1 seek=20000 conv=notrunc 2>/dev/null",
                   s->dir);
    assert_int_equal(system(command), 0);
}

static void
damage_stops_or_masks_as_the_policy_says(void **state)
{
    set hurt = {0};
    mr_stream_options o;
    mr_stream_counters c;
    unsigned masked = 0, failed = 0;
    mr_stream *s;
    mr_batch *b;
    mr_diag d = {0};

    (void)state;
    set_make(&hurt, SET_CELLS, 30);
    damage_shard(&hurt);
    o = options(&hurt, "[minmax, crop: {size: 20}]");
    s = open_stream(&o);
    for (uint64_t i = 0; i < mr_stream_batches(s); i++) {
        mr_err err = mr_stream_get(s, 0, i, &b, &d);

        if (err == MR_OK) {
            mr_batch_unref(b);
        } else {
            assert_int_equal(err, MR_ECORRUPT);
            assert_non_null(strstr(d.text, "sample "));
            assert_true(d.path[0] != '\0');
            failed++;
        }
    }
    assert_int_equal(failed, 1);
    mr_stream_close(s);
    o.on_damage = MR_DAMAGE_MASK;
    o.damaged = hear;
    s = open_stream(&o);
    for (uint64_t i = 0; i < mr_stream_batches(s); i++) {
        assert_ok(mr_stream_next(s, &b, &d), &d);
        masked += 7 - (unsigned)mr_batch_valid_rows(b);
        mr_batch_unref(b);
    }
    mr_stream_count(s, &c);
    assert_int_equal(masked, 5 + 1);
    assert_int_equal(told, 1);
    assert_int_equal(c.damaged, 1);
    assert_int_equal(c.rows, 29);
    mr_stream_close(s);
    scratch_remove(hurt.dir);
}

static void *
let_go(void *arg)
{
    mr_batch_unref(arg);
    return NULL;
}

static void
batches_outlive_their_stream(void **state)
{
    mr_stream_options o = options(&cells, dino);
    mr_stream *s = open_stream(&o);
    mr_batch *b[5];
    pthread_t t[5];
    mr_diag d = {0};

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_ok(mr_stream_next(s, &b[i], &d), &d);
    }
    mr_stream_close(s); /* with batches under way */
    for (int i = 0; i < 5; i++) {
        assert_true(*(uint8_t *)mr_batch_tensor(b[i], "valid")->data == 1);
        assert_int_equal(pthread_create(&t[i], NULL, let_go, b[i]), 0);
    }
    for (int i = 0; i < 5; i++) {
        pthread_join(t[i], NULL);
    }
}

/* A feed that never gets anything done. */
typedef struct silence {
    mri_feed base;
    mri_rows_facts facts;
    mr_stream_tensor tensor;
    unsigned waits, drops;
} silence;

static const mri_rows_facts *
silent_facts(const mri_feed *feed)
{
    return &((const silence *)feed)->facts;
}

static void
silent_ask(mri_feed *feed, mri_request *q, bool urgent)
{
    (void)feed;
    (void)q;
    (void)urgent;
}

static bool
silent_wait(mri_feed *feed, mri_request *q, uint64_t ns)
{
    (void)q;
    assert_true(ns < 1000000000); /* a user who presses Ctrl-C waits so long */
    ((silence *)feed)->waits++;
    return false;
}

static void
silent_drop(mri_feed *feed, mri_request *q)
{
    (void)q;
    ((silence *)feed)->drops++;
}

static void
silent_close(mri_feed *feed)
{
    (void)feed;
}

static bool
third_time(void *user)
{
    return ((silence *)user)->waits >= 3;
}

static void
a_wait_ends_when_the_watch_says_stop(void **state)
{
    static const mri_feed_ops ops = {.facts = silent_facts,
                                     .ask = silent_ask,
                                     .wait = silent_wait,
                                     .drop = silent_drop,
                                     .close = silent_close};
    silence f = {.base = {&ops},
                 .tensor = {"image", MR_F32, 1, {4}, 16},
                 .facts = {.samples = 100, .tensor_count = 1}};
    mr_watch watch = {.user = &f, .stop = third_time};
    mr_stream_options o = mr_stream_defaults();
    mr_stream *s;
    mr_batch *b;
    mr_diag d = {0};

    (void)state;
    f.facts.tensors = &f.tensor;
    o.depth = 2;
    o.watch = &watch;
    assert_ok(mri_stream_over(&s, &f.base, &o, &d), &d);
    assert_fails(mr_stream_next(s, &b, &d), MR_ESTOP);
    assert_int_equal(f.waits, 3);
    assert_int_equal(f.drops, 2); /* nothing is written to any more */
    mr_stream_close(s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_with_the_stream),
        cmocka_unit_test(counters_say_where_the_time_went),
        cmocka_unit_test(operations_for_unit_range_warn_of_stored_values),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(damage_stops_or_masks_as_the_policy_says),
        cmocka_unit_test(batches_outlive_their_stream),
        cmocka_unit_test(a_wait_ends_when_the_watch_says_stop),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
