/* SPDX-License-Identifier: Apache-2.0 */
/* salvage_test.c - a damaged dataset, and what salvage refuses. */
#include "salvage_set.h"

static void
copy_dataset(const char *to)
{
    char command[1024];

    (void)snprintf(command, sizeof command, "cp -r '%s' '%s'", dir, to);
    assert_int_equal(system(command), 0);
}

static void
write_into(const char *copy, unsigned shard, const uint8_t *p, uint64_t size)
{
    char *path = mri_shard_path(copy, refs[shard].id);

    (void)unlink(path);
    scratch_write(path, p, size);
    mri_free(path);
}

/* Salvage the copy; every sample of both shards must be saved or named. */
static void
try_dataset(trial *t, const char *copy)
{
    const char *output = in_room("whole.mr");
    mr_diag d = {0};

    assert_ok(salvage(copy, output, &t->got, &t->heard, &d), &d);
    check_output(output, t->want);
    assert_int_equal(t->got.saved, count(t->want));
}

static void
splits_stay(const char *output)
{
    mr_dataset *a, *b;
    uint64_t n, x, y;
    mr_diag d = {0};

    assert_ok(mr_dataset_open(&a, dir, &d), &d);
    assert_ok(mr_dataset_open(&b, output, &d), &d);
    n = mr_dataset_count(b);
    assert_int_equal(mr_dataset_splits(b), 2);
    assert_string_equal(mr_dataset_split_name(b, 0), "fit");
    for (y = 0; y < n; y++) {
        mr_sample s;
        uint32_t p, q;

        assert_ok(mr_dataset_sample(b, y, &s, &d), &d);
        assert_ok(mr_dataset_find(a, s.uid, &x, &d), &d);
        assert_ok(mri_dataset_split_of(a, x, &p, &d), &d);
        assert_ok(mri_dataset_split_of(b, y, &q, &d), &d);
        assert_int_equal(p, q);
    }
    mr_dataset_close(a);
    mr_dataset_close(b);
}

static void
two_damaged_shards_of_a_dataset_lose_what_was_hit_and_no_more(void **state)
{
    const char *copy = in_room("hurt.mr");
    uint8_t *p = copy_of(&images[0]);
    uint64_t size = images[1].bytes.len / 3 * 2;
    trial t = {0};

    (void)state;
    copy_dataset(copy);
    memset(p, 0, MRI_HEAD_BYTES);
    memset(p + images[0].foot_off / 2, 0, 4096);
    untouched(&images[0], 0, p, images[0].bytes.len, t.want);
    untouched(&images[1], 1, images[1].bytes.data, size, t.want);
    write_into(copy, 0, p, images[0].bytes.len);
    write_into(copy, 1, images[1].bytes.data, size);
    try_dataset(&t, copy);
    assert_int_equal(t.heard.nameless, 0); /* the index knows them all */
    assert_false(t.got.more_lost);
    assert_int_equal(t.got.saved + t.got.lost, SAMPLES);
    assert_int_equal(t.got.shards_hurt, 2);
    for (unsigned i = 0; i < SAMPLES; i++) {
        assert_int_equal(t.heard.by_uid[i], !t.want[i]);
    }
    splits_stay(in_room("whole.mr"));
    remove_output(in_room("whole.mr"));
    free(p);
    remove_output(copy);
}

static void
a_shard_that_is_gone_is_named_sample_by_sample(void **state)
{
    const char *copy = in_room("gone.mr");
    char *path = mri_shard_path(copy, refs[1].id);
    trial t = {0};

    (void)state;
    copy_dataset(copy);
    assert_int_equal(unlink(path), 0);
    for (unsigned i = 0; i < PER_SHARD; i++) {
        t.want[i] = true;
    }
    try_dataset(&t, copy);
    assert_int_equal(t.got.lost, PER_SHARD);
    for (unsigned i = 0; i < SAMPLES; i++) {
        assert_int_equal(t.heard.by_uid[i], !t.want[i]);
    }
    remove_output(in_room("whole.mr"));
    remove_output(copy);
    mri_free(path);
}

static void
without_index_or_manifest_the_shards_are_found(void **state)
{
    static const char *const names[] = {"index.000001.mri",
                                        "manifest.000001.pb"};
    const char *copy = in_room("bare.mr");
    trial t = {0};

    (void)state;
    copy_dataset(copy);
    memset(t.want, 1, sizeof t.want);
    for (int i = 0; i < 2; i++) {
        scratch_write(scratch_path(copy, names[i]), "torn", 4);
        try_dataset(&t, copy);
        assert_int_equal(t.got.lost, 0);
        assert_true(t.got.no_index);
        assert_int_equal(t.got.older_manifest, i == 1);
        remove_output(in_room("whole.mr"));
    }
    remove_output(copy);
}

static void
what_was_withdrawn_stays_away(void **state)
{
    const char *copy = in_room("less.mr");
    const uint8_t *gone = uids[4];
    mri_withdrawn one = {.group = 0};
    mri_commit c = {.dir = copy,
                    .shards = refs,
                    .shard_count = SHARDS,
                    .schema = &schema,
                    .layout = "folder",
                    .withdrawn = &one,
                    .withdrawn_count = 1};
    uint64_t generation;
    mr_dataset *ds;
    trial t = {0};
    mri_dataset_facts facts;
    mr_diag d = {0};

    (void)state;
    copy_dataset(copy);
    memcpy(one.uid, gone, MR_UID_BYTES);
    assert_ok(mr_dataset_open(&ds, copy, &d), &d);
    c.parent = c.like = ds;
    c.split_count = 2;
    c.split_names = (const char *[]){"fit", "check"};
    c.split_shares = (const double[]){0.7, 0.3};
    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
    mr_dataset_close(ds);
    memset(t.want, 1, sizeof t.want);
    t.want[4] = false;
    for (int i = 0; i < 2; i++) {
        try_dataset(&t, copy);
        assert_int_equal(t.got.lost, 0);
        assert_ok(mr_dataset_open(&ds, in_room("whole.mr"), &d), &d);
        mri_dataset_facts_of(ds, &facts);
        assert_int_equal(facts.withdrawn, 1); /* nor by the next ingest */
        mr_dataset_close(ds);
        remove_output(in_room("whole.mr"));
        scratch_write(scratch_path(copy, "index.000002.mri"), "torn", 4);
    }
    remove_output(copy);
}

static void
manifest_names_stand_in_for_a_lost_schema(void **state)
{
    const char *copy = in_room("schema.mr");
    uint8_t *p = copy_of(&images[0]);
    mr_dataset *ds;
    trial t = {0};
    mr_diag d = {0};

    (void)state;
    copy_dataset(copy);
    memset(t.want, 1, sizeof t.want);
    memset(p, 0, images[0].schema_end); /* and the head with its tag */
    write_into(copy, 0, p, images[0].foot_off);
    try_dataset(&t, copy);
    assert_false(t.got.names_lost || t.got.more_lost);
    assert_ok(mr_dataset_open(&ds, in_room("whole.mr"), &d), &d);
    assert_int_equal(mr_dataset_fields(ds), 2);
    mr_dataset_close(ds);
    remove_output(in_room("whole.mr"));
    remove_output(copy);
    free(p);
}

/* ---- never in the way ---- */

static void
the_output_must_be_new_and_outside_the_source(void **state)
{
    char inside[512];
    mri_salvaged got;
    heard h;
    mr_diag d = {0};

    (void)state;
    assert_fails(salvage(dir, room, &got, &h, &d), MR_EFORMAT);
    assert_int_equal(d.code, MRI_E_SALVAGE_OUTPUT);
    (void)snprintf(inside, sizeof inside, "%s/shards/x.mr", dir);
    assert_fails(salvage(dir, inside, &got, &h, &d), MR_EFORMAT);
    assert_int_equal(d.code, MRI_E_SALVAGE_OUTPUT);
    assert_int_not_equal(access(inside, F_OK), 0);
    assert_fails(salvage(in_room("none"), in_room("x.mr"), &got, &h, &d),
                 MR_EIO);
    assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
}

static void
what_is_no_shard_gives_nothing_and_leaves_nothing(void **state)
{
    static const uint8_t junk[10000] = {1};
    mri_salvaged got;
    heard h;
    mr_diag d = {0};

    (void)state;
    for (size_t size = 0; size <= sizeof junk; size += 2500) {
        scratch_write(in_room("junk"), junk, size);
        assert_fails(salvage(in_room("junk"), in_room("x.mr"), &got, &h, &d),
                     MR_ECORRUPT);
        assert_int_equal(d.code, MRI_E_SALVAGE_EMPTY);
        assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
    }
}

static void
another_major_version_is_refused(void **state)
{
    uint8_t *p = copy_of(&images[0]);
    mri_salvaged got;
    heard h;
    mr_diag d = {0};

    (void)state;
    mri_put16(p + 8, 9);
    mri_put32(p + 60, mri_crc32c(0, p, 60));
    scratch_write(in_room("v9.mrs"), p, images[0].bytes.len);
    assert_fails(salvage(in_room("v9.mrs"), in_room("x.mr"), &got, &h, &d),
                 MR_EVERSION);
    assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
    free(p);
}

static bool
stop_at_once(void *user)
{
    return (*(int *)user)-- <= 0;
}

static void
a_stop_leaves_nothing_behind(void **state)
{
    int polls;
    mr_watch watch = {.user = &polls, .stop = stop_at_once};
    mri_salvage_options o = {
        .source = dir, .output = in_room("x.mr"), .watch = &watch};
    mri_salvaged got;

    (void)state;
    for (int k = 0; k < 21; k += 3) {
        polls = k;
        assert_fails(mri_salvage(&o, &got, NULL), MR_ESTOP);
        assert_true(got.saved <= (uint64_t)k); /* asked at every sample */
        assert_int_not_equal(access(o.output, F_OK), 0);
    }
}

static void
every_failing_write_leaves_nothing_behind(void **state)
{
    const unsigned mask =
        FAULTY_WRITE | FAULTY_SYNC | FAULTY_LINK | FAULTY_RENAME | FAULTY_MKDIR;
    mri_salvaged got;
    heard h;
    bool failed = true;
    uint64_t n;

    (void)state;
    for (n = 0; failed && n < 200; n++) {
        mr_err err;

        faulty_arm(mask, n, ENOSPC, false);
        err = salvage(dir, in_room("x.mr"), &got, &h, NULL);
        (void)faulty_disarm();
        failed = err != MR_OK;
        if (got.generation == 0) { /* before the commit */
            assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
        } else {
            remove_output(in_room("x.mr"));
        }
    }
    assert_true(n > 10 && n < 200);
}

static void
every_failing_allocation_is_an_error_and_no_crash(void **state)
{
    char *path = shard_path(0);
    mr_err err = MR_ENOMEM;
    mri_salvaged got;
    heard h;
    int64_t step = 1;

    (void)state;
    for (int64_t n = 0; err == MR_ENOMEM; n += step) {
        (void)mri_alloc_fail_at(n);
        err = salvage(path, in_room("x.mr"), &got, &h, NULL);
        (void)mri_alloc_fail_at(-1);
        assert_true(err == MR_OK || err == MR_ENOMEM);
        if (got.generation == 0) {
            assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
        } else {
            remove_output(in_room("x.mr"));
        }
        step = n < 200 ? 1 : 37;
    }
    mri_free(path);
}

static void
what_the_disk_refuses_to_read_is_a_hole(void **state)
{
    char *path = shard_path(0);
    const char *name;
    mri_store store;
    mri_body b;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_store_open_at(&store, &name, path, &d), &d);
    faulty_arm(FAULTY_READ, 0, EIO, false); /* once: the second try is good */
    assert_ok(mri_body_load(&b, &store, name, &d), &d);
    (void)faulty_disarm();
    assert_non_null(b.heap);
    assert_int_equal(b.unread, 0);
    assert_memory_equal(b.heap, images[0].bytes.data, b.file.size);
    mri_body_close(&b);
    faulty_arm(FAULTY_READ, 0, EIO, true);
    assert_ok(mri_body_load(&b, &store, name, &d), &d);
    (void)faulty_disarm();
    assert_int_equal(b.unread, b.file.size);
    assert_ok(mri_body_scan(&b, NULL, NULL, &d), &d);
    assert_int_equal(b.frames, 0);
    mri_body_close(&b);
    mri_store_close(&store);
    mri_free(path);
}

static void
the_source_is_as_it_was(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SHARDS; s++) {
        char *path = shard_path(s);
        mri_bytes b = {0};
        mr_diag d = {0};

        assert_ok(mri_file_load(path, 1 << 30, &b, &d), &d);
        assert_int_equal(b.len, images[s].bytes.len);
        assert_memory_equal(b.data, images[s].bytes.data, b.len);
        mri_bytes_release(&b);
        mri_free(path);
    }
    assert_int_equal(scratch_entries(dir), 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            two_damaged_shards_of_a_dataset_lose_what_was_hit_and_no_more),
        cmocka_unit_test(a_shard_that_is_gone_is_named_sample_by_sample),
        cmocka_unit_test(without_index_or_manifest_the_shards_are_found),
        cmocka_unit_test(what_was_withdrawn_stays_away),
        cmocka_unit_test(manifest_names_stand_in_for_a_lost_schema),
        cmocka_unit_test(the_output_must_be_new_and_outside_the_source),
        cmocka_unit_test(what_is_no_shard_gives_nothing_and_leaves_nothing),
        cmocka_unit_test(another_major_version_is_refused),
        cmocka_unit_test(a_stop_leaves_nothing_behind),
        cmocka_unit_test(every_failing_write_leaves_nothing_behind),
        cmocka_unit_test(every_failing_allocation_is_an_error_and_no_crash),
        cmocka_unit_test(what_the_disk_refuses_to_read_is_a_hole),
        cmocka_unit_test(the_source_is_as_it_was),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
