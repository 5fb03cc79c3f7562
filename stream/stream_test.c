/* SPDX-License-Identifier: Apache-2.0 */
#include <millrace/stream.h>

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/cpu.h>
#include <mri/crc32c.h>
#include <mri/digest.h>
#include <mri/error.h>
#include <mri/feed.h>
#include <mri/hash.h>

#include "test_set.h"

#include <math.h>
#include <pthread.h>

static set cells, jpegs, volumes;
static const char dino[] =
    "- select: {channels: [DAPI, GFP, BF]}\n"
    "- minmax\n"
    "- multi_crop: {global: {size: 32}, local: {count: 2, size: 16}}\n"
    "- flip: {horizontal: 0.5, vertical: 0.5}\n"
    "- brightness: {p: 0.8}\n"
    "- blur: {p: {global: [1.0, 0.1], local: 0.5}}\n"
    "- solarize: {p: {global: [0, 0.2], local: 0}}\n"
    "- normalize: {from: dataset}\n";
static const char photo[] =
    "- random_resized_crop: {size: 48}\n"
    "- flip\n"
    "- normalize: {mean: [123.7, 116.3, 103.5], std: [58.4, 57.1, 57.4]}\n";
static const char patch[] = "- crop3d: {size: [12, 16, 20]}\n"
                            "- flip: {vertical: 0.5, depth: 0.5}\n"
                            "- normalize: {from: dataset}\n";

static mr_stream_options
options(const set *s, const char *pipeline)
{
    mr_stream_options o = mr_stream_defaults();

    o.source = s->dir;
    o.split = "all";
    o.pipeline = pipeline;
    o.batch_size = 7;
    o.seed = 42;
    o.threads = 2;
    return o;
}

static mr_stream *
open_stream(const mr_stream_options *o)
{
    mr_stream *s;
    mr_diag d = {0};

    assert_ok(mr_stream_open(&s, o, &d), &d);
    return s;
}

/* The --hash lines of the next n batches; free. */
static char *
lines_of(const mr_stream_options *o, unsigned n, bool rows)
{
    mr_stream *s = open_stream(o);
    mri_bytes out = {0};
    mr_diag d = {0};

    for (unsigned i = 0; i < n; i++) {
        mr_batch *b;

        assert_ok(mr_stream_next(s, &b, &d), &d);
        assert_true(rows ? mri_batch_row_lines(&out, b)
                         : mri_batch_line(&out, b));
        mr_batch_unref(b);
    }
    mr_stream_close(s);
    assert_true(mri_bytes_add(&out, "", 1));
    return (char *)out.data;
}

static uint64_t
hash_of(const char *lines)
{
    return mri_xxh3(lines, strlen(lines));
}

/* The bits of today, under gcc and clang, at every level: a change of any
 * of them needs a new version of an operation, of order or of draws. */
static const struct {
    const set *from;
    const char *pipeline;
    uint64_t hash;
} golden[] = {
    {&cells, dino, 0x66e9c266469d04d8},
    {&jpegs, photo, 0xc86686afe64dc7a8},
    {&volumes, patch, 0x9df596787d42ce43},
    {&cells, NULL, 0x9a5ac2188b829db3},
};

static void
hashes_are_those_of_every_other_machine(void **state)
{
    (void)state;
    for (size_t k = 0; k < MRI_COUNT(golden); k++) {
        for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
            mr_stream_options o = options(golden[k].from, golden[k].pipeline);
            char *lines;

            mri_cpu_force(level);
            lines = lines_of(&o, 6, false);
            mri_cpu_force(-1);
            if (hash_of(lines) != golden[k].hash) {
                fail_msg("golden[%zu] at level %d is 0x%016llx:\n%.400s", k,
                         level, (unsigned long long)hash_of(lines), lines);
            }
            mri_free(lines);
        }
    }
}

static void
threads_and_depth_change_nothing(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        mr_stream_options o = options(golden[k].from, golden[k].pipeline);
        char *want;

        o.threads = 1;
        o.depth = 1;
        want = lines_of(&o, 9, true);
        for (uint32_t threads = 1; threads <= 8; threads++) {
            char *got;

            o.threads = threads;
            o.depth = 1 + threads % 5;
            got = lines_of(&o, 9, true);
            assert_string_equal(want, got);
            mri_free(got);
        }
        mri_free(want);
    }
}

static int
by_row(const void *a, const void *b)
{
    unsigned long long x[3], y[3];
    const char *s = *(char *const *)a, *t = *(char *const *)b;

    (void)sscanf(s, "%llu %llu %llu", &x[0], &x[1], &x[2]);
    (void)sscanf(t, "%llu %llu %llu", &y[0], &y[1], &y[2]);
    for (int i = 0; i < 3; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }
    return 0;
}

/* Lines of several consumers in the order of (epoch, index, row); free. */
static char *
put_together(const char *const *texts, unsigned count)
{
    char *line[2000], *copies[8], *out, *save;
    size_t n = 0, bytes = 1;

    for (unsigned i = 0; i < count; i++) {
        copies[i] = mri_strdup(texts[i]);
        bytes += strlen(texts[i]);
        for (char *p = strtok_r(copies[i], "\n", &save); p != NULL;
             p = strtok_r(NULL, "\n", &save)) {
            line[n++] = p;
        }
    }
    qsort(line, n, sizeof *line, by_row);
    out = mri_alloc(bytes, 1);
    for (size_t i = 0, at = 0; i < n; i++) {
        at += (size_t)snprintf(out + at, bytes - at, "%s\n", line[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        mri_free(copies[i]);
    }
    return out;
}

static void
consumers_put_together_are_one(void **state)
{
    (void)state;
    for (uint32_t of = 2; of <= 8; of += 3) {
        mr_stream_options o = options(&cells, dino);
        char *want = lines_of(&o, 8, true), *parts[8], *got;

        o.consumers = of;
        for (uint32_t r = 0; r < of; r++) {
            o.consumer = r;
            parts[r] = lines_of(&o, 8, true);
        }
        got = put_together((const char *const *)parts, of);
        assert_string_equal(want, got);
        for (uint32_t r = 0; r < of; r++) {
            mri_free(parts[r]);
        }
        mri_free(want);
        mri_free(got);
    }
}

static char *
line_of(mr_stream *s, uint64_t epoch, uint64_t index)
{
    mri_bytes out = {0};
    mr_batch *b;
    mr_diag d = {0};

    assert_ok(mr_stream_get(s, epoch, index, &b, &d), &d);
    assert_true(mri_batch_line(&out, b) && mri_bytes_add(&out, "", 1));
    mr_batch_unref(b);
    return (char *)out.data;
}

static void
any_batch_can_be_had_at_any_time(void **state)
{
    mr_stream_options o = options(&cells, dino);
    mr_stream *s = open_stream(&o);
    uint64_t n = mr_stream_batches(s);
    mr_diag d = {0};
    mr_batch *b;

    (void)state;
    assert_int_equal(n, (30 + 6) / 7);
    for (uint64_t i = 0; i < 2 * n; i++) {
        mri_bytes out = {0};
        char *early = line_of(s, i / n, i % n);

        assert_ok(mr_stream_next(s, &b, &d), &d);
        assert_int_equal(mr_batch_epoch(b), i / n);
        assert_int_equal(mr_batch_index(b), i % n);
        assert_true(mri_batch_line(&out, b) && mri_bytes_add(&out, "", 1));
        assert_string_equal(early, (char *)out.data);
        mr_batch_unref(b);
        mri_bytes_release(&out);
        mri_free(early);
    }
    assert_fails(mr_stream_get(s, 0, n, &b, &d), MR_EARG);
    assert_int_equal(d.code, MRI_E_STREAM_INDEX);
    mr_stream_close(s);
}

/* How often each uid comes in an epoch, and masked rows. */
static void
count_epoch(mr_tail tail, unsigned *once, unsigned *twice, unsigned *masked)
{
    mr_stream_options o = options(&cells, dino);
    mr_stream *s;
    uint8_t seen[64][16];
    unsigned times[64] = {0}, count = 0;
    mr_diag d = {0};

    o.tail = tail;
    s = open_stream(&o);
    *once = *twice = *masked = 0;
    for (uint64_t i = 0; i < mr_stream_batches(s); i++) {
        mr_batch *b;
        const uint8_t *uid, *valid, *global;
        size_t row;

        assert_ok(mr_stream_next(s, &b, &d), &d);
        uid = mr_batch_tensor(b, "uid")->data;
        valid = mr_batch_tensor(b, "valid")->data;
        global = mr_batch_tensor(b, "global")->data;
        row = mr_tensor_bytes(mr_batch_tensor(b, "global")) / 7;
        for (unsigned r = 0; r < 7; r++) {
            unsigned k = 0;

            if (!valid[r]) {
                ++*masked;
                assert_true(mri_all_zero(uid + 16 * r, 16));
                assert_true(mri_all_zero(global + row * r, row));
                continue;
            }
            while (k < count && memcmp(seen[k], uid + 16 * r, 16) != 0) {
                k++;
            }
            memcpy(seen[k], uid + 16 * r, 16);
            count += k == count;
            times[k]++;
        }
        mr_batch_unref(b);
    }
    for (unsigned k = 0; k < count; k++) {
        *once += times[k] == 1;
        *twice += times[k] == 2;
    }
    mr_stream_close(s);
}

static void
tails_mask_drop_or_wrap(void **state)
{
    unsigned once, twice, masked;

    (void)state;
    count_epoch(MR_TAIL_MASK, &once, &twice, &masked);
    assert_int_equal(once, 30);
    assert_int_equal(masked, 5);
    count_epoch(MR_TAIL_DROP, &once, &twice, &masked);
    assert_int_equal(once, 28);
    assert_int_equal(masked + twice, 0);
    count_epoch(MR_TAIL_WRAP, &once, &twice, &masked);
    assert_int_equal(once, 25);
    assert_int_equal(twice, 5);
    assert_int_equal(masked, 0);
}

static char *
resume_at(const mr_stream_options *before, const mr_stream_options *after,
          unsigned skip, unsigned n)
{
    mr_stream *s = open_stream(before);
    uint8_t cursor[MR_CURSOR_BYTES];
    mri_bytes out = {0};
    mr_diag d = {0};
    mr_batch *b;

    for (unsigned i = 0; i < skip; i++) {
        assert_ok(mr_stream_next(s, &b, &d), &d);
        mr_batch_unref(b);
    }
    mr_stream_cursor(s, cursor);
    mr_stream_close(s);
    s = open_stream(after);
    assert_ok(mr_stream_seek(s, cursor, &d), &d);
    for (unsigned i = 0; i < n; i++) {
        assert_ok(mr_stream_next(s, &b, &d), &d);
        assert_true(mri_batch_row_lines(&out, b));
        mr_batch_unref(b);
    }
    mr_stream_close(s);
    assert_true(mri_bytes_add(&out, "", 1));
    return (char *)out.data;
}

static void
a_cursor_goes_on_exactly(void **state)
{
    mr_stream_options o = options(&cells, dino), other;
    char *all = lines_of(&o, 12, true);

    (void)state;
    for (unsigned skip = 0; skip <= 9; skip++) {
        char *rest = resume_at(&o, &o, skip, 12 - skip);

        assert_string_equal(all + strlen(all) - strlen(rest), rest);
        mri_free(rest);
    }
    /* another batch size: the same rows in the same order */
    other = o;
    other.batch_size = 10;
    other.threads = 3;
    {
        char *rest = resume_at(&o, &other, 2, 1), *p = rest, *q = all;

        for (int i = 0; i < 14; i++) {
            q = strchr(q, '\n') + 1;
        }
        for (int i = 0; i < 10; i++) { /* from the uid on */
            char *a = strchr(strchr(strchr(p, ' ') + 1, ' ') + 1, ' ') + 1;
            char *b = strchr(strchr(strchr(q, ' ') + 1, ' ') + 1, ' ') + 1;

            assert_int_equal(strcspn(a, "\n"), strcspn(b, "\n"));
            assert_memory_equal(a, b, strcspn(a, "\n"));
            p = strchr(p, '\n') + 1;
            q = strchr(q, '\n') + 1;
        }
        mri_free(rest);
    }
    mri_free(all);
}

static void
a_cursor_of_another_stream_is_refused_by_name(void **state)
{
    mr_stream_options o = options(&cells, dino);
    uint8_t cursor[MR_CURSOR_BYTES], bad[MR_CURSOR_BYTES];
    mr_stream *s = open_stream(&o);
    struct {
        mr_stream_options o;
        const char *says;
    } other[5];

    (void)state;
    mr_stream_cursor(s, cursor);
    for (int i = 0; i < 64; i++) { /* any bit flipped */
        mr_diag d = {0};

        memcpy(bad, cursor, sizeof bad);
        bad[i] ^= (uint8_t)(1 << i % 8);
        assert_fails(mr_stream_seek(s, bad, &d), MR_ECORRUPT);
    }
    mr_stream_close(s);
    for (int i = 0; i < 5; i++) {
        other[i].o = o;
    }
    other[0].o.seed = 43;
    other[0].says = "the seed differs (42 there, 43 here)";
    other[1].o.split = "train";
    other[1].says = "the split differs";
    other[2].o.pipeline = "[flip, crop: {size: 9}]";
    other[2].says = "the pipeline differs";
    other[3].o.tail = MR_TAIL_WRAP;
    other[3].says = "order or tail differs";
    other[4].o.source = volumes.dir;
    other[4].o.pipeline = patch;
    other[4].says = "the dataset differs";
    for (int i = 0; i < 5; i++) {
        mr_diag d = {0};

        s = open_stream(&other[i].o);
        assert_fails(mr_stream_seek(s, cursor, &d), MR_EARG);
        assert_int_equal(d.code, MRI_E_CURSOR_OTHER);
        if (strstr(d.text, other[i].says) == NULL) {
            fail_msg("%s: %s", other[i].says, d.text);
        }
        mr_stream_close(s);
    }
}

static void
every_sample_sees_other_draws_in_other_epochs(void **state)
{
    mr_stream_options o = options(&cells, dino);
    mr_stream *s = open_stream(&o);
    char *a = line_of(s, 0, 0), *b = line_of(s, 1, 0), *c, *d;

    (void)state;
    assert_string_not_equal(strchr(a, 'g'), strchr(b, 'g'));
    mr_stream_close(s);
    o.seed = 43;
    s = open_stream(&o);
    c = line_of(s, 0, 0);
    assert_string_not_equal(strchr(a, 'g'), strchr(c, 'g'));
    mr_stream_close(s);
    /* the order by uid: the same samples, but drawn anew each epoch */
    o.order = MR_ORDER_UID;
    s = open_stream(&o);
    mri_free(b);
    b = line_of(s, 0, 1);
    d = line_of(s, 1, 1);
    assert_string_equal(strstr(b, "uid:"), strstr(d, "uid:"));
    assert_string_not_equal(strchr(b, 'g'), strchr(d, 'g'));
    mr_stream_close(s);
    mri_free(a);
    mri_free(b);
    mri_free(c);
    mri_free(d);
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

/* Whichever way a set of samples is written, the stream is the same. */
static void
a_union_of_splits_is_one_stream(void **state)
{
    static const char pipeline[] =
        "- crop: {size: 16}\n"
        "- flip\n"
        "- normalize: {from: dataset, split: 'test+train'}\n";
    static const char *const texts[][2] = {{"test+train", "!val"},
                                           {"val+test+train", "all"},
                                           {"train", "!val+test"}};

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(texts); k++) {
        mr_stream_options o[2];
        mr_stream *s[2];
        char *lines[2];

        for (int i = 0; i < 2; i++) {
            o[i] = options(&cells, pipeline);
            o[i].split = texts[k][i];
            lines[i] = lines_of(&o[i], 8, true);
            s[i] = open_stream(&o[i]);
        }
        assert_string_equal(lines[0], lines[1]);
        assert_memory_equal(mr_stream_id(s[0]), mr_stream_id(s[1]), 16);
        assert_string_equal(mr_stream_canonical(s[0]),
                            mr_stream_canonical(s[1]));
        assert_null(strstr(mr_stream_canonical(s[0]), "!"));
        for (int i = 0; i < 2; i++) {
            mr_stream_close(s[i]);
            mri_free(lines[i]);
        }
    }
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

/* 30 samples in batches of 7: the five rows that wrap around are those of
 * positions 0 to 4, drawn anew. */
static void
a_sample_met_twice_looks_different_twice(void **state)
{
    mr_stream_options o = options(&cells, dino);
    mr_stream *s;
    mr_batch *first, *last;
    const uint8_t *a, *b, *ua, *ub;
    size_t row;
    mr_diag d = {0};

    (void)state;
    o.tail = MR_TAIL_WRAP;
    s = open_stream(&o);
    assert_ok(mr_stream_get(s, 0, 0, &first, &d), &d);
    assert_ok(mr_stream_get(s, 0, 4, &last, &d), &d);
    row = mr_tensor_bytes(mr_batch_tensor(first, "global")) / 7;
    a = mr_batch_tensor(first, "global")->data;
    b = mr_batch_tensor(last, "global")->data;
    ua = mr_batch_tensor(first, "uid")->data;
    ub = mr_batch_tensor(last, "uid")->data;
    assert_memory_equal(ua, ub + 2 * 16, 5 * 16);
    for (size_t i = 0; i < 5; i++) {
        assert_memory_not_equal(a + i * row, b + (i + 2) * row, row);
    }
    mr_batch_unref(first);
    mr_batch_unref(last);
    mr_stream_close(s);
}

/* Draws, seen through what they do to a picture. */
static void
flips_happen_as_often_as_they_should(void **state)
{
    mr_stream_options o = options(&cells, "[flip: {horizontal: 0.3}]");
    mr_stream *s;
    unsigned flipped = 0, n = 0;
    mr_diag d = {0};
    static float plain[30][5 * 40 * 44];

    (void)state;
    o.order = MR_ORDER_UID;
    o.batch_size = 30;
    o.pipeline = "[]";
    s = open_stream(&o);
    {
        mr_batch *b;

        assert_ok(mr_stream_next(s, &b, &d), &d);
        memcpy(plain, mr_batch_tensor(b, "image")->data, sizeof plain);
        mr_batch_unref(b);
    }
    mr_stream_close(s);
    o.pipeline = "[flip: {horizontal: 0.3}]";
    s = open_stream(&o);
    for (int e = 0; e < 40; e++) {
        mr_batch *b;
        const float *image;

        assert_ok(mr_stream_next(s, &b, &d), &d);
        image = mr_batch_tensor(b, "image")->data;
        for (int r = 0; r < 30; r++, n++) {
            const float *p = image + r * 5 * 40 * 44;

            flipped += memcmp(p, plain[r], sizeof plain[r]) != 0;
        }
        mr_batch_unref(b);
    }
    mr_stream_close(s);
    /* 1200 at 0.3: 360, standard deviation 15.9 */
    assert_in_range(flipped, 360 - 64, 360 + 64);
    assert_int_equal(n, 1200);
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

static int
setup(void **state)
{
    (void)state;
    set_make(&cells, SET_CELLS, 30);
    set_make(&jpegs, SET_JPEGS, 30);
    set_make(&volumes, SET_VOLUMES, 12);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(cells.dir);
    scratch_remove(jpegs.dir);
    scratch_remove(volumes.dir);
    return 0;
}

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
        cmocka_unit_test(hashes_are_those_of_every_other_machine),
        cmocka_unit_test(threads_and_depth_change_nothing),
        cmocka_unit_test(consumers_put_together_are_one),
        cmocka_unit_test(any_batch_can_be_had_at_any_time),
        cmocka_unit_test(tails_mask_drop_or_wrap),
        cmocka_unit_test(a_cursor_goes_on_exactly),
        cmocka_unit_test(a_cursor_of_another_stream_is_refused_by_name),
        cmocka_unit_test(every_sample_sees_other_draws_in_other_epochs),
        cmocka_unit_test(damage_stops_or_masks_as_the_policy_says),
        cmocka_unit_test(batches_outlive_their_stream),
        cmocka_unit_test(a_union_of_splits_is_one_stream),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(operations_for_unit_range_warn_of_stored_values),
        cmocka_unit_test(a_sample_met_twice_looks_different_twice),
        cmocka_unit_test(flips_happen_as_often_as_they_should),
        cmocka_unit_test(counters_say_where_the_time_went),
        cmocka_unit_test(names_come_with_the_stream),
        cmocka_unit_test(a_wait_ends_when_the_watch_says_stop),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
