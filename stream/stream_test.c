/* SPDX-License-Identifier: Apache-2.0 */
/* What a stream holds: its bits, its order, its epochs. */
#include "stream_set.h"

#include <mri/cpu.h>
#include <mri/hash.h>

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_are_those_of_every_other_machine),
        cmocka_unit_test(threads_and_depth_change_nothing),
        cmocka_unit_test(consumers_put_together_are_one),
        cmocka_unit_test(any_batch_can_be_had_at_any_time),
        cmocka_unit_test(tails_mask_drop_or_wrap),
        cmocka_unit_test(every_sample_sees_other_draws_in_other_epochs),
        cmocka_unit_test(a_sample_met_twice_looks_different_twice),
        cmocka_unit_test(flips_happen_as_often_as_they_should),
        cmocka_unit_test(a_union_of_splits_is_one_stream),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
