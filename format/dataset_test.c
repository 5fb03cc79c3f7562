/* SPDX-License-Identifier: Apache-2.0 */
#include "dataset_read.h"
#include "world_set.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <errno.h>
#include <faulty_file.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *dir;

/* Samples `first` to `first + count` as a shard. */
static void
write_shard(unsigned first, unsigned count, mri_shard_ref *ref)
{
    const world is = world_plain(first, count);

    world_write(dir, &is, ref);
}

static mri_shard_ref refs[4];

static mr_err
commit(const mr_dataset *parent, uint32_t shards, uint64_t *generation,
       mr_diag *diag)
{
    mri_commit c = set_commit(dir, refs, shards);

    c.parent = parent;
    c.quarantined = 2;
    return mri_dataset_commit(&c, generation, diag);
}

static int
setup(void **state)
{
    mr_diag d = {0};
    uint64_t generation;

    (void)state;
    dir = scratch_make();
    for (unsigned i = 0; i < 3; i++) {
        write_shard(i * 70, 70, &refs[i]);
    }
    assert_ok(commit(NULL, 2, &generation, &d), &d);
    assert_int_equal(generation, 1);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static mr_dataset *
open_dataset(const char *suffix)
{
    char path[600];
    mr_dataset *ds;
    mr_diag d = {0};

    (void)snprintf(path, sizeof path, "%s%s", dir, suffix);
    assert_ok(mr_dataset_open(&ds, path, &d), &d);
    return ds;
}

static void
every_sample_is_found_by_rank_and_by_uid(void **state)
{
    mr_dataset *ds = open_dataset("");
    mr_scratch *scratch = mr_scratch_open();
    uint8_t last[16] = {0};
    unsigned seen[140] = {0};

    (void)state;
    assert_int_equal(mr_dataset_count(ds), 140);
    assert_int_equal(mr_dataset_classes(ds), 3);
    assert_string_equal(mr_dataset_field_name(ds, 0), "image");
    for (uint64_t rank = 0; rank < 140; rank++) {
        mr_sample s;
        mr_field f;
        mri_meta *meta;
        uint16_t got[WORLD_VALUES], want[WORLD_VALUES];
        const uint64_t shape[] = {6, 5, 2};
        mr_tensor t = mr_tensor_of(got, MR_U16, 3, shape);
        uint64_t found;
        unsigned i;
        mr_diag d = {0};

        assert_ok(mr_dataset_sample(ds, rank, &s, &d), &d);
        assert_true(memcmp(last, s.uid, 16) < 0);
        memcpy(last, s.uid, 16);
        assert_ok(mr_dataset_find(ds, s.uid, &found, &d), &d);
        assert_int_equal(found, rank);
        assert_ok(mri_dataset_meta(ds, rank, &meta, &d), &d);
        assert_int_equal(sscanf(meta->key, "cell%u", &i), 1);
        assert_int_equal(s.class_index, i % 3);
        assert_int_equal(s.group, mri_group_hash(meta->group));
        mri_meta_free(meta);
        assert_ok(mr_dataset_field(ds, rank, 0, &f, &d), &d);
        assert_string_equal(f.axes, "YXC");
        assert_int_equal(f.channels, 2);
        assert_ok(mr_dataset_read(ds, rank, 0, NULL, &t, scratch, &d), &d);
        world_values(i, want);
        assert_memory_equal(got, want, sizeof want);
        seen[i]++;
    }
    for (int i = 0; i < 140; i++) {
        assert_int_equal(seen[i], 1);
    }
    mr_scratch_close(scratch);
    mr_dataset_close(ds);
}

/* Any rank may be given, before and after shards are open. */
static void
looking_ahead_changes_nothing(void **state)
{
    enum { N = 300 };
    mr_dataset *ds = open_dataset("");
    mr_scratch *scratch = mr_scratch_open();
    uint64_t ranks[N], seed = 8;

    (void)state;
    for (int i = 0; i < N; i++) {
        ranks[i] = scratch_random(&seed) % 150;
    }
    ranks[0] = ranks[5] = UINT64_MAX;
    for (int i = 0; i < N; i++) {
        uint16_t got[WORLD_VALUES];
        const uint64_t shape[] = {6, 5, 2};
        mr_tensor t = mr_tensor_of(got, MR_U16, 3, shape);
        mr_field f;
        mr_diag d = {0};

        mri_dataset_foresee(ds, ranks + i, (size_t)(N - i));
        if (ranks[i] >= 140) {
            assert_fails(
                mr_dataset_read(ds, ranks[i], 0, NULL, &t, scratch, &d),
                MR_EARG);
            continue;
        }
        assert_ok(mr_dataset_read(ds, ranks[i], 0, NULL, &t, scratch, &d), &d);
        assert_ok(mr_dataset_field(ds, ranks[i], 0, &f, &d), &d);
        assert_true(mri_xxh3(got, sizeof got) == f.content);
    }
    mr_scratch_close(scratch);
    mr_dataset_close(ds);
}

static void
splits_partition_the_samples_by_whole_donors(void **state)
{
    mr_dataset *ds = open_dataset("");
    unsigned seen[140] = {0};
    uint32_t split_of_donor[14], split;
    uint64_t rank;
    mr_diag d = {0};

    (void)state;
    memset(split_of_donor, 0xFF, sizeof split_of_donor);
    for (uint32_t s = 0; s < mr_dataset_splits(ds); s++) {
        for (uint64_t i = 0; i < mr_dataset_split_count(ds, s); i++) {
            mri_meta *meta;
            unsigned donor;

            assert_ok(mr_dataset_split_at(ds, s, i, &rank, &d), &d);
            seen[rank]++;
            assert_ok(mri_dataset_split_of(ds, rank, &split, &d), &d);
            assert_int_equal(split, s);
            assert_ok(mri_dataset_meta(ds, rank, &meta, &d), &d);
            assert_int_equal(sscanf(meta->group, "donor%u", &donor), 1);
            mri_meta_free(meta);
            assert_true(split_of_donor[donor] == UINT32_MAX ||
                        split_of_donor[donor] == s);
            split_of_donor[donor] = s;
        }
    }
    for (int i = 0; i < 140; i++) {
        assert_int_equal(seen[i], 1);
    }
    /* 14 donors of 10: targets 112, 14, 14 */
    assert_in_range(mr_dataset_split_count(ds, 0), 107, 117);
    assert_ok(mr_dataset_split_find(ds, "all", &split, &d), &d);
    assert_int_equal(mr_dataset_split_count(ds, split), 140);
    assert_fails(mr_dataset_split_find(ds, "tset", &split, &d), MR_EARG);
    assert_non_null(strstr(d.text, "train, val, test"));
    mr_dataset_close(ds);
}

/* Against plain sums over the pixels of the split. */
static void
statistics_are_those_of_the_split(void **state)
{
    mr_dataset *ds = open_dataset("");
    mr_scratch *scratch = mr_scratch_open();

    (void)state;
    for (uint32_t s = 0; s <= 3; s++) {
        uint32_t split = s < 3 ? s : MR_ALL_SAMPLES;
        double sum[2] = {0}, squares[2] = {0}, unit[2] = {0};
        uint64_t n = 0, rank;
        mr_diag d = {0};

        assert_int_equal(mr_dataset_stats_channels(ds, split, 0), 2);
        for (uint64_t i = 0; i < mr_dataset_split_count(ds, split); i++) {
            uint16_t got[WORLD_VALUES], low[2] = {65535, 65535}, high[2] = {0};
            const uint64_t shape[] = {6, 5, 2};
            mr_tensor t = mr_tensor_of(got, MR_U16, 3, shape);

            assert_ok(mr_dataset_split_at(ds, split, i, &rank, &d), &d);
            assert_ok(mr_dataset_read(ds, rank, 0, NULL, &t, scratch, &d), &d);
            for (int k = 0; k < 60; k++) {
                low[k % 2] = got[k] < low[k % 2] ? got[k] : low[k % 2];
                high[k % 2] = got[k] > high[k % 2] ? got[k] : high[k % 2];
                sum[k % 2] += got[k];
                squares[k % 2] += (double)got[k] * got[k];
            }
            for (int k = 0; k < 60; k++) {
                unit[k % 2] +=
                    (double)(got[k] - low[k % 2]) / (high[k % 2] - low[k % 2]);
            }
            n += 30;
        }
        for (uint32_t c = 0; c < 2; c++) {
            const mr_channel_stats *st = mr_dataset_stats(ds, split, 0, c);
            double diff = mr_moments_mean(&st->unit) - unit[c] / (double)n;

            assert_int_equal(st->all.count, n);
            assert_true(st->all.sum == sum[c]);
            assert_true(st->all.sum_squares == squares[c]);
            assert_true(diff < 1e-12 && diff > -1e-12);
        }
    }
    assert_int_equal(mr_dataset_stats_channels(ds, 0, 5), 0);
    mr_scratch_close(scratch);
    mr_dataset_close(ds);
}

static void
a_generation_stays_what_it_was_when_another_is_added(void **state)
{
    mr_dataset *first = open_dataset(""), *again, *second;
    uint64_t generation, rank, other;
    uint8_t content[16];
    mr_diag d = {0};

    (void)state;
    memcpy(content, mr_dataset_content_id(first), 16);
    assert_ok(commit(first, 3, &generation, &d), &d);
    assert_int_equal(generation, 2);
    assert_int_equal(mr_dataset_count(first), 140);
    second = open_dataset("");
    assert_int_equal(mr_dataset_generation(second), 2);
    assert_int_equal(mr_dataset_count(second), 210);
    assert_memory_equal(mr_dataset_id(second), mr_dataset_id(first), 16);
    assert_true(memcmp(mr_dataset_content_id(second), content, 16) != 0);
    again = open_dataset("@1");
    assert_int_equal(mr_dataset_count(again), 140);
    assert_memory_equal(mr_dataset_content_id(again), content, 16);
    /* a group that was assigned has not moved */
    for (uint64_t i = 0; i < 140; i++) {
        uint32_t a, b;
        mr_sample s;

        assert_ok(mr_dataset_sample(first, i, &s, &d), &d);
        assert_ok(mr_dataset_find(second, s.uid, &rank, &d), &d);
        assert_ok(mri_dataset_split_of(first, i, &a, &d), &d);
        assert_ok(mri_dataset_split_of(second, rank, &b, &d), &d);
        assert_int_equal(a, b);
    }
    /* two writers: the second is refused, nothing is overwritten */
    assert_fails(commit(first, 3, &generation, &d), MR_EBUSY);
    assert_fails(mr_dataset_find(first, (const uint8_t *)"0123456789abcdef",
                                 &other, NULL),
                 MR_EARG);
    mr_dataset_close(first);
    mr_dataset_close(again);
    mr_dataset_close(second);
}

static void
the_content_id_forgets_shards(void **state)
{
    mr_dataset *ds = open_dataset("");
    uint8_t content[16];
    uint64_t generation;
    char *old = dir;
    mr_diag d = {0};

    (void)state;
    memcpy(content, mr_dataset_content_id(ds), 16);
    mr_dataset_close(ds);
    dir = scratch_make();
    write_shard(0, 33, &refs[0]); /* cut elsewhere */
    write_shard(33, 107, &refs[1]);
    assert_ok(commit(NULL, 2, &generation, &d), &d);
    ds = open_dataset("");
    assert_memory_equal(mr_dataset_content_id(ds), content, 16);
    mr_dataset_close(ds);
    scratch_remove(dir);
    dir = old;
}

static void
what_is_no_dataset_is_said_to_be_none(void **state)
{
    char *other = scratch_make();
    mr_dataset *ds;
    mr_diag d = {0};
    char path[600];

    (void)state;
    assert_fails(mr_dataset_open(&ds, scratch_path(other, "no"), &d), MR_EIO);
    mri_diag_clear(&d);
    assert_fails(mr_dataset_open(&ds, other, &d), MR_EFORMAT);
    assert_int_equal(d.code, MRI_E_NOT_DATASET);
    scratch_write(scratch_path(other, "f"), "x", 1);
    assert_fails(mr_dataset_open(&ds, scratch_path(other, "f"), &d),
                 MR_EFORMAT);
    assert_int_equal(mkdir(scratch_path(other, "journal"), 0700), 0);
    assert_fails(mr_dataset_open(&ds, other, &d), MR_EFORMAT);
    assert_int_equal(d.code, MRI_E_UNFINISHED);
    (void)snprintf(path, sizeof path, "%s@7", dir);
    mri_diag_clear(&d);
    assert_fails(mr_dataset_open(&ds, path, &d), MR_EARG);
    assert_non_null(strstr(d.text, "the latest is 1"));
    scratch_remove(other);
}

static unsigned heard;

static void
hear(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    assert_true(diag->path[0] != '\0');
    heard++;
}

static uint64_t
damages(void)
{
    mri_dataset_verified v;
    mr_diag d = {0};
    mr_err err;

    heard = 0;
    err = mri_dataset_verify(dir, 2, hear, NULL, NULL, &v, &d);
    assert_ok(err, &d);
    assert_int_equal(v.damages, heard);
    return v.damages;
}

static void
flip(const char *path, uint64_t at, int bits)
{
    FILE *f = fopen(path, "r+b");
    int c;

    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    c = fgetc(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    (void)fputc(c ^ bits, f);
    assert_int_equal(fclose(f), 0);
}

static uint64_t
size_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void
every_flipped_bit_of_manifest_and_index_is_refused(void **state)
{
    char *paths[] = {mri_manifest_path(dir, 1), mri_index_path(dir, 1)};

    (void)state;
    assert_int_equal(damages(), 0);
    for (int k = 0; k < 2; k++) {
        uint64_t size = size_of(paths[k]);

        for (uint64_t bit = 0; bit < size * 8; bit += 1 + bit % 3) {
            mr_dataset *ds;
            mr_diag d = {0};
            mr_err err;

            flip(paths[k], bit / 8, 1 << bit % 8);
            err = mr_dataset_open(&ds, dir, &d);
            if (err == MR_OK) { /* a page that is not touched by opening */
                err = mri_index_check_all(&ds->index, &d);
                mr_dataset_close(ds);
            }
            if (err == MR_OK) {
                fail_msg("bit %llu of %s", (unsigned long long)bit, paths[k]);
            }
            flip(paths[k], bit / 8, 1 << bit % 8);
        }
    }
    flip(paths[1], size_of(paths[1]) / 2, 1);
    assert_int_equal(damages(), 1);
    mri_free(paths[0]);
    mri_free(paths[1]);
}

static void
verify_finds_what_is_missing_and_what_does_not_belong(void **state)
{
    char *shard = mri_shard_path(dir, refs[1].id);
    mri_dataset_verified v;
    mr_diag d = {0};
    char moved[700];

    (void)state;
    assert_ok(mri_dataset_verify(dir, 2, hear, NULL, NULL, &v, &d), &d);
    assert_int_equal(v.damages, 0);
    assert_int_equal(v.shards.samples, 140);
    assert_int_equal(v.orphans, 1); /* the third shard is not committed */
    scratch_write(scratch_path(dir, ".part-7-index.000003.mri"), "cut", 3);
    assert_ok(mri_dataset_verify(dir, 2, hear, NULL, NULL, &v, &d), &d);
    assert_int_equal(v.damages, 0);
    assert_int_equal(v.orphans, 2);
    (void)snprintf(moved, sizeof moved, "%s.away", shard);
    assert_int_equal(rename(shard, moved), 0);
    assert_int_equal(damages(), 2); /* missing, and unknown */
    assert_int_equal(rename(moved, shard), 0);
    flip(shard, refs[1].bytes / 3, 4);
    assert_true(damages() >= 1);
    flip(shard, refs[1].bytes / 3, 4);
    scratch_write(scratch_path(dir, "thumbs.db"), "x", 1);
    assert_int_equal(damages(), 1);
    assert_int_equal(unlink(scratch_path(dir, "thumbs.db")), 0);
    assert_ok(mri_history_add(dir, "{\"a\":1}", &d), &d);
    assert_ok(mri_history_add(dir, "{\"b\":2}", &d), &d);
    assert_int_equal(damages(), 0);
    flip(scratch_path(dir, "history.jsonl"), 20, 1);
    assert_int_equal(damages(), 1);
    mri_free(shard);
}

static void
a_missing_shard_is_named_when_it_is_read(void **state)
{
    char *shard = mri_shard_path(dir, refs[0].id);
    mr_dataset *ds = open_dataset("");
    unsigned bad = 0;

    (void)state;
    assert_int_equal(unlink(shard), 0);
    for (uint64_t i = 0; i < 140; i++) {
        mr_sample s;
        mr_diag d = {0};
        mr_err err = mr_dataset_sample(ds, i, &s, &d);

        if (err != MR_OK) {
            assert_int_equal(err, MR_EIO);
            assert_int_equal(d.code, MRI_E_SHARD_GONE);
            assert_string_equal(d.path, shard);
            bad++;
        }
    }
    assert_int_equal(bad, 70);
    mr_dataset_close(ds);
    mri_free(shard);
}

static void
a_commit_that_fails_anywhere_is_no_commit(void **state)
{
    (void)state;
    for (uint64_t n = 0;; n++) {
        char *path = mri_manifest_path(dir, 2);
        mr_dataset *parent = open_dataset("");
        uint64_t generation, made;
        mr_diag d = {0};
        mr_err err;

        faulty_arm(FAULTY_ANY & ~(FAULTY_UNLINK | FAULTY_CLOSE), n, EIO, true);
        err = commit(parent, 3, &generation, &d);
        made = faulty_disarm();
        mr_dataset_close(parent);
        if (made <= n) {
            assert_int_equal(err, MR_OK);
            mri_free(path);
            break;
        }
        assert_int_equal(err, MR_EIO);
        /* Either generation 2 is not there, or it is whole (only the fsync
         * of the folder failed after its name was given). */
        if (access(path, F_OK) == 0) {
            mr_dataset *ds = open_dataset("");

            assert_int_equal(mr_dataset_count(ds), 210);
            mr_dataset_close(ds);
            assert_int_equal(unlink(path), 0);
        }
        mri_free(path);
    }
    assert_int_equal(damages(), 0);
}

static void
one_lock_has_one_holder_and_frees_itself(void **state)
{
    const char *path = scratch_path(dir, "lock");
    mri_lock lock, second;
    mr_diag d = {0};
    char me[32];
    pid_t child;
    int status;

    (void)state;
    assert_ok(mri_lock_take(&lock, path, &d), &d);
    (void)snprintf(me, sizeof me, "pid %ld on ", (long)getpid());
    assert_fails(mri_lock_take(&second, path, &d), MR_EBUSY);
    assert_non_null(strstr(d.text, me));
    mri_lock_release(&lock);
    assert_int_equal(access(path, F_OK), -1);
    child = fork();
    if (child == 0) { /* dies with the lock in its hand */
        _exit(mri_lock_take(&lock, path, NULL) == MR_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_ok(mri_lock_take(&lock, path, &d), &d);
    mri_lock_release(&lock);
}

static void *
read_all(void *arg)
{
    mr_dataset *ds = arg;
    mr_scratch *scratch = mr_scratch_open();

    for (int round = 0; round < 20; round++) {
        for (uint64_t i = 0; i < mr_dataset_count(ds); i++) {
            uint16_t got[WORLD_VALUES];
            const uint64_t shape[] = {6, 5, 2};
            mr_tensor t = mr_tensor_of(got, MR_U16, 3, shape);

            if (mr_dataset_read(ds, i, 0, NULL, &t, scratch, NULL) != MR_OK) {
                mr_scratch_close(scratch);
                return ds;
            }
        }
    }
    mr_scratch_close(scratch);
    return NULL;
}

static void
eight_threads_read_one_handle(void **state)
{
    mr_dataset *ds = open_dataset("");
    pthread_t threads[8];

    (void)state;
    for (int i = 0; i < 8; i++) {
        pthread_create(&threads[i], NULL, read_all, ds);
    }
    for (int i = 0; i < 8; i++) {
        void *bad;

        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    mr_dataset_close(ds);
}

static void
running_out_of_memory_while_opening_is_said(void **state)
{
    (void)state;
    for (int64_t n = 0;; n++) {
        mr_dataset *ds;
        mr_err err;

        (void)mri_alloc_fail_at(n);
        err = mr_dataset_open(&ds, dir, NULL);
        if (mri_alloc_fail_at(-1) <= n) {
            assert_int_equal(err, MR_OK);
            mr_dataset_close(ds);
            break;
        }
        assert_true(err != MR_OK);
        assert_null(ds);
    }
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(every_sample_is_found_by_rank_and_by_uid),
        T(looking_ahead_changes_nothing),
        T(splits_partition_the_samples_by_whole_donors),
        T(statistics_are_those_of_the_split),
        T(a_generation_stays_what_it_was_when_another_is_added),
        T(the_content_id_forgets_shards),
        T(what_is_no_dataset_is_said_to_be_none),
        T(every_flipped_bit_of_manifest_and_index_is_refused),
        T(verify_finds_what_is_missing_and_what_does_not_belong),
        T(a_missing_shard_is_named_when_it_is_read),
        T(a_commit_that_fails_anywhere_is_no_commit),
        T(one_lock_has_one_holder_and_frees_itself),
        T(eight_threads_read_one_handle),
        T(running_out_of_memory_while_opening_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
