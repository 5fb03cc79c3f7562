/* SPDX-License-Identifier: Apache-2.0 */
#include "dataset_read.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/generation.h>

#include <errno.h>
#include <faulty_file.h>
#include <pthread.h>
#include <sys/wait.h>
#include <test_set.h>
#include <unistd.h>

enum { SAMPLES = 48, SHARD = 12 };

static set made;

/* Four shards of twelve samples; groups of four. */
static mri_shard_ref
write_one(unsigned first, int left_out)
{
    const uint8_t tag[16] = {(uint8_t)first, 9};

    return set_write(&made, tag, first, SHARD, left_out);
}

static void
commit(const mri_shard_ref *refs, uint32_t count)
{
    const mri_commit c = set_commit(made.dir, refs, count);
    uint64_t generation;
    mr_diag d = {0};

    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
}

static int
setup(void **state)
{
    mri_shard_ref refs[SAMPLES / SHARD];

    (void)state;
    made = (set){.dir = scratch_make(), .kind = SET_CELLS, .count = SAMPLES};
    for (unsigned i = 0; i < SAMPLES / SHARD; i++) {
        refs[i] = write_one(i * SHARD, -1);
    }
    commit(refs, SAMPLES / SHARD);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(made.dir);
    return 0;
}

static mr_dataset *
open_at(const char *suffix)
{
    char path[600];
    mr_dataset *ds;
    mr_diag d = {0};

    (void)snprintf(path, sizeof path, "%s%s", made.dir, suffix);
    assert_ok(mr_dataset_open(&ds, path, &d), &d);
    return ds;
}

/* sample5 of the first shard, and donor3: all of the second but eight. */
static void
withdraw_some(void)
{
    static const char *const keys[] = {"sample5"};
    static const char *const groups[] = {"donor3"};
    mri_withdraw_options o = {.dataset = made.dir,
                              .keys = {keys, 1},
                              .groups = {groups, 1},
                              .reason = "donor3 asked"};
    mri_withdraw_report r;
    mr_diag d = {0};

    assert_ok(mri_dataset_withdraw(&o, &r, &d), &d);
    assert_int_equal(r.count, 5);
    mri_withdraw_report_release(&r);
}

static mri_compact_report
compact_with(mri_compact_options o)
{
    mri_compact_report r;
    mr_diag d = {0};

    o.dataset = made.dir;
    assert_ok(mri_dataset_compact(&o, &r, &d), &d);
    return r;
}

static unsigned damages;
static uint64_t orphans;

static void
hear_damage(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    print_error("%s: %s\n", diag->path, diag->text);
    damages++;
}

static void
assert_sound(void)
{
    mri_dataset_verified v;
    mr_diag d = {0};

    damages = 0;
    assert_ok(mri_dataset_verify(made.dir, 1, hear_damage, NULL, NULL, &v, &d),
              &d);
    assert_int_equal(damages, 0);
    orphans = v.orphans;
}

/* Every value of every sample, by its hash; and who it is. */
static void
assert_same(const mr_dataset *a, const mr_dataset *b)
{
    assert_memory_equal(mr_dataset_content_id(a), mr_dataset_content_id(b), 16);
    assert_int_equal(mr_dataset_count(a), mr_dataset_count(b));
    for (uint32_t s = 0; s < 3; s++) {
        for (uint32_t c = 0; c < 5; c++) {
            assert_memory_equal(mr_dataset_stats(a, s, 0, c),
                                mr_dataset_stats(b, s, 0, c),
                                sizeof(mr_channel_stats));
        }
    }
    for (uint64_t i = 0; i < mr_dataset_count(a); i++) {
        mr_sample x, y;
        mri_meta *m, *n;
        mr_diag d = {0};

        assert_ok(mr_dataset_sample(a, i, &x, &d), &d);
        assert_ok(mr_dataset_sample(b, i, &y, &d), &d);
        assert_memory_equal(x.uid, y.uid, sizeof x.uid);
        assert_int_equal(x.content, y.content);
        assert_int_equal(x.group, y.group);
        assert_ok(mri_dataset_meta(a, i, &m, &d), &d);
        assert_ok(mri_dataset_meta(b, i, &n, &d), &d);
        assert_string_equal(m->key, n->key);
        assert_string_equal(m->geometry[0].channels[4],
                            n->geometry[0].channels[4]);
        mri_meta_free(m);
        mri_meta_free(n);
    }
}

/* All pixels of a sample; MR_OK if they are there and proven. */
static mr_err
read_pixels(const mr_dataset *ds, uint64_t rank, mr_diag *diag)
{
    static _Thread_local uint16_t room[40 * 44 * 5];
    mr_scratch *scratch = mr_scratch_open();
    const mr_box box = {.size = {40, 44, 5}};
    const mr_tensor t = {.data = room,
                         .dtype = MR_U16,
                         .rank = 3,
                         .shape = {40, 44, 5},
                         .stride = {44 * 5, 5, 1}};
    mr_err err = mr_dataset_read(ds, rank, 0, &box, &t, scratch, diag);

    mr_scratch_close(scratch);
    return err;
}

static void
only_shards_with_dead_rows_are_written_anew(void **state)
{
    mr_dataset *before, *after;
    mri_compact_report r;
    mri_shard_ref a, b;

    (void)state;
    withdraw_some();
    before = open_at("");
    r = compact_with((mri_compact_options){.workers = 2});
    assert_int_equal(r.generation, 3);
    assert_int_equal(r.shards, 4);
    assert_int_equal(r.rewritten, 2);
    assert_int_equal(r.dropped, 0);
    assert_int_equal(r.dead, 5);
    assert_int_equal(r.generations, 2);
    assert_int_equal(r.gone_shards, 2);
    assert_int_equal(r.held, 1); /* by `before` */
    after = open_at("");
    assert_same(before, after);
    for (uint32_t i = 0; i < 4; i++) {
        mri_dataset_shard(before, i, &a);
        mri_dataset_shard(after, i, &b);
        assert_int_equal(memcmp(a.id, b.id, 16) == 0, i >= 2);
    }
    assert_sound();
    assert_int_equal(orphans, 4); /* manifest, index, two shards */
    mr_dataset_close(before);
    mr_dataset_close(after);
}

static mri_shard_ref
first_shard_without(const char *const *keys, size_t count)
{
    mri_withdraw_options o = {.dataset = made.dir, .keys = {keys, count}};
    mri_withdraw_report r;
    mri_shard_ref ref;
    mr_dataset *ds;
    mr_diag d = {0};

    assert_ok(mri_dataset_withdraw(&o, &r, &d), &d);
    mri_withdraw_report_release(&r);
    (void)compact_with((mri_compact_options){.workers = 1});
    ds = open_at("");
    mri_dataset_shard(ds, 0, &ref);
    mr_dataset_close(ds);
    return ref;
}

/* A pure function of what is left: from what it was made cannot be told. */
static void
a_compacted_shard_does_not_know_what_else_there_was(void **state)
{
    static const char *const keys[] = {"sample4", "sample5"};
    char *first = made.dir;
    mri_shard_ref with, without, whole;

    (void)state;
    with = first_shard_without(keys, 2);
    made.dir = scratch_make();
    whole = write_one(0, 5);
    commit(&whole, 1);
    without = first_shard_without(keys, 1);
    assert_memory_equal(with.id, without.id, 16);
    assert_memory_equal(with.plan_tag, without.plan_tag, 16);
    scratch_remove(made.dir);
    made.dir = first;
}

static void
older_generations_go_and_say_so(void **state)
{
    char name[600];
    mr_dataset *ds;
    mr_diag d = {0};

    (void)state;
    withdraw_some();
    (void)compact_with((mri_compact_options){.workers = 1});
    (void)snprintf(name, sizeof name, "%s@1", made.dir);
    assert_fails(mr_dataset_open(&ds, name, &d), MR_EARG);
    assert_int_equal(d.code, MRI_E_GENERATION);
    assert_sound();
    assert_int_equal(orphans, 0);
}

static void
a_second_time_there_is_nothing_to_do(void **state)
{
    mri_compact_report r;

    (void)state;
    r = compact_with((mri_compact_options){.workers = 1});
    assert_int_equal(r.generation, 0);
    withdraw_some();
    (void)compact_with((mri_compact_options){.workers = 1});
    r = compact_with((mri_compact_options){.workers = 1});
    assert_int_equal(r.generation, 0);
}

static void
older_generations_can_be_kept_for_a_while(void **state)
{
    mri_compact_report r;

    (void)state;
    withdraw_some();
    r = compact_with((mri_compact_options){.workers = 1, .keep_old = true});
    assert_int_equal(r.generation, 3);
    assert_int_equal(r.generations, 0);
    mr_dataset_close(open_at("@1"));
    assert_sound();
    assert_int_equal(orphans, 0);
    r = compact_with((mri_compact_options){.workers = 1, .keep_old = true});
    assert_int_equal(r.generation, 0);
    r = compact_with((mri_compact_options){.workers = 1});
    assert_int_equal(r.generation, 4);
    assert_int_equal(r.rewritten, 0);
    assert_int_equal(r.gone_shards, 2);
    assert_sound();
    assert_int_equal(orphans, 0);
}

static void
a_dry_run_says_the_same_and_writes_nothing(void **state)
{
    mri_compact_report dry, wet;

    (void)state;
    withdraw_some();
    faulty_arm(FAULTY_WRITE | FAULTY_LINK | FAULTY_RENAME | FAULTY_MKDIR |
                   FAULTY_UNLINK,
               0, EROFS, true);
    dry = compact_with((mri_compact_options){.workers = 1, .dry_run = true});
    assert_int_equal(faulty_disarm(), 0);
    wet = compact_with((mri_compact_options){.workers = 1});
    assert_int_equal(dry.generation, 0);
    assert_int_equal(dry.rewritten, wet.rewritten);
    assert_int_equal(dry.generations, wet.generations);
    assert_int_equal(dry.gone_shards, wet.gone_shards);
    assert_int_equal(dry.gone_bytes, wet.gone_bytes);
}

/* ---- readers ---- */

typedef struct reader {
    mr_dataset *ds;
    atomic_bool end;
    atomic_uint rounds;
    mr_err err;
} reader;

static void *
read_on(void *arg)
{
    reader *r = arg;
    mr_diag d = {0};

    while (r->err == MR_OK && !atomic_load(&r->end)) {
        for (uint64_t i = 0; r->err == MR_OK && i < SAMPLES; i++) {
            r->err = read_pixels(r->ds, i, &d);
        }
        atomic_fetch_add(&r->rounds, 1);
    }
    return NULL;
}

static void
readers_that_are_open_read_on(void **state)
{
    mr_dataset *late = open_at("@1"), *early = open_at("@1");
    reader r = {.ds = early};
    pthread_t thread;
    mr_diag d = {0};

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
    withdraw_some();
    (void)compact_with((mri_compact_options){.workers = 2});
    for (unsigned at = atomic_load(&r.rounds);
         atomic_load(&r.rounds) < at + 2;) {
        (void)usleep(100);
    }
    /* one that has not opened any of its shards so far */
    for (uint64_t i = 0; i < SAMPLES; i++) {
        assert_ok(read_pixels(late, i, &d), &d);
    }
    atomic_store(&r.end, true);
    (void)pthread_join(thread, NULL);
    assert_int_equal(r.err, MR_OK);
    mr_dataset_close(early);
    mr_dataset_close(late);
    /* nobody reads it any more: the next writer clears it away */
    assert_sound();
    assert_true(orphans != 0);
    (void)compact_with((mri_compact_options){.workers = 1});
    assert_sound();
    assert_int_equal(orphans, 0);
}

static void
a_reader_in_another_process_reads_on(void **state)
{
    int to[2], from[2], status;
    char c = 0;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    pid = fork();
    if (pid == 0) { /* opens, waits, and only then reads */
        mr_dataset *ds = open_at("@1");
        bool ok = close(to[1]) == 0; /* or it would wait for itself */

        ok = ok && write(from[1], "o", 1) == 1 && read(to[0], &c, 1) == 1;

        for (uint64_t i = 0; ok && i < SAMPLES; i++) {
            ok = read_pixels(ds, i, NULL) == MR_OK;
        }
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(read(from[0], &c, 1), 1);
    withdraw_some();
    assert_int_equal(compact_with((mri_compact_options){.workers = 1}).held, 1);
    assert_int_equal(write(to[1], "g", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    for (int i = 0; i < 2; i++) {
        (void)close(to[i]);
        (void)close(from[i]);
    }
}

/* ---- faults ---- */

/* Every third of them; the kill campaign takes each. */
static void
calls_that_fail_leave_the_old_or_the_new_generation(void **state)
{
    (void)state;
    withdraw_some();
    for (uint64_t n = 0;; n += 3) {
        mri_compact_options o = {.dataset = made.dir, .workers = 1};
        mri_compact_report r;
        mr_dataset *ds;
        uint64_t calls;
        mr_err err;
        mr_diag d = {0};

        faulty_arm(FAULTY_ANY, n, EIO, false);
        err = mri_dataset_compact(&o, &r, NULL);
        calls = faulty_disarm();
        ds = open_at("");
        assert_int_equal(mr_dataset_count(ds), SAMPLES - 5);
        for (uint64_t i = 0; i < mr_dataset_count(ds); i++) {
            assert_ok(read_pixels(ds, i, &d), &d);
        }
        mr_dataset_close(ds);
        if (calls <= n) {
            assert_int_equal(err, MR_OK);
            break;
        }
        assert_sound();
        /* again from the start: as if it was never tried */
        teardown(NULL);
        setup(NULL);
        withdraw_some();
    }
    assert_sound();
    assert_int_equal(orphans, 0);
}

static void
a_damaged_sample_refuses_all_of_it(void **state)
{
    mr_dataset *ds;
    mri_compact_options o = {.dataset = made.dir, .workers = 1};
    mri_compact_report r;
    mri_shard_ref ref;
    char *path;
    uint8_t byte;
    int fd;
    mr_diag d = {0};

    (void)state;
    withdraw_some();
    ds = open_at("");
    mri_dataset_shard(ds, 0, &ref);
    mr_dataset_close(ds);
    path = mri_shard_path(made.dir, ref.id);
    assert_ok(mri_file_open(&fd, path, 2 /* O_RDWR */, 0, &d), &d);
    assert_int_equal(pread(fd, &byte, 1, 4000), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, 4000), 1);
    mri_file_drop(&fd);
    assert_fails(mri_dataset_compact(&o, &r, &d), MR_ECORRUPT);
    assert_string_equal(d.path, path);
    mri_free(path);
    ds = open_at("");
    assert_int_equal(mr_dataset_generation(ds), 2);
    mr_dataset_close(ds);
}

/* ---- purging ---- */

/* A file under the dataset holds these bytes somewhere. */
static bool
found_in_tree(const char *dir, const void *what, size_t bytes)
{
    char command[900], path[600];
    FILE *list;
    bool found = false;

    (void)snprintf(command, sizeof command, "find '%s' -type f", dir);
    list = popen(command, "r");
    assert_non_null(list);
    while (fgets(path, sizeof path, list) != NULL) {
        mri_bytes b = {0};
        mr_diag d = {0};

        path[strcspn(path, "\n")] = '\0';
        assert_ok(mri_file_load(path, (uint64_t)1 << 30, &b, &d), &d);
        found = found || memmem(b.data, b.len, what, bytes) != NULL;
        mri_bytes_release(&b);
    }
    (void)pclose(list);
    return found;
}

/* The stored bytes of a sample's first chunk. */
static void
stored_bytes(const mr_dataset *ds, uint64_t rank, mri_bytes *out)
{
    const mri_shard *s;
    mri_index_entry at;
    mri_sample_row row;
    mri_grid_row g;
    mri_chunk_row chunk;
    const uint8_t *p;
    mr_diag d = {0};

    assert_ok(mri_dataset_locate(ds, rank, &s, &at, &row, &d), &d);
    assert_ok(mri_shard_grid(s, &row, 0, &g, &d), &d);
    assert_ok(mri_foot_row(&s->foot, MRI_TABLE_CHUNKS, g.first_chunk, &p, &d),
              &d);
    mri_chunk_row_get(&chunk, p);
    assert_true(mri_bytes_add(out, s->file.map + chunk.file_off + 32,
                              chunk.stored_len));
}

static void
a_purge_leaves_no_trace(void **state)
{
    mr_dataset *ds = open_at("");
    uint8_t uid[MR_UID_BYTES];
    char hex[33];
    mri_bytes pixels = {0};
    mri_compact_report r;
    mri_dataset_facts facts;
    uint64_t rank, group = mri_group_hash("donor3");
    mr_sample s;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_dataset_find_key(ds, "sample13", &rank, &d), &d);
    assert_ok(mr_dataset_sample(ds, rank, &s, &d), &d);
    memcpy(uid, s.uid, sizeof uid);
    (void)mri_hex(hex, uid, sizeof uid);
    stored_bytes(ds, rank, &pixels);
    mr_dataset_close(ds);
    withdraw_some();
    assert_ok(mri_history_add(made.dir,
                              "{\"what\":\"ingest\",\"command\":\"millrace "
                              "ingest raw/donor3 -o x.mr\",\"added\":4}",
                              &d),
              &d);
    assert_true(found_in_tree(made.dir, "sample13", 8));
    assert_true(found_in_tree(made.dir, uid, sizeof uid));
    assert_true(found_in_tree(made.dir, pixels.data, pixels.len));
    assert_true(found_in_tree(made.dir, "donor3", 6));
    r = compact_with((mri_compact_options){.workers = 1, .purge = true});
    assert_int_equal(r.withdrawn, 5);
    assert_int_equal(r.lines, 2);
    assert_false(found_in_tree(made.dir, "sample13", 8));
    assert_false(found_in_tree(made.dir, uid, sizeof uid));
    assert_false(found_in_tree(made.dir, hex, 32));
    assert_false(found_in_tree(made.dir, pixels.data, pixels.len));
    assert_false(found_in_tree(made.dir, "donor3", 6));
    assert_false(found_in_tree(made.dir, &group, sizeof group));
    assert_true(found_in_tree(made.dir, "\"what\":\"withdraw\"", 17));
    assert_true(found_in_tree(made.dir, "sample17", 8));
    ds = open_at("");
    mri_dataset_facts_of(ds, &facts);
    assert_int_equal(facts.withdrawn, 0);
    mr_dataset_close(ds);
    mri_bytes_release(&pixels);
    assert_sound();
    assert_int_equal(orphans, 0);
}

static void
a_purge_is_not_done_while_somebody_reads(void **state)
{
    mr_dataset *open = open_at("@1");
    mri_compact_options o = {.dataset = made.dir, .workers = 1, .purge = true};
    mri_compact_report r;
    mr_diag d = {0};

    (void)state;
    withdraw_some();
    assert_fails(mri_dataset_compact(&o, &r, &d), MR_EBUSY);
    assert_int_equal(d.code, MRI_E_STILL_READ);
    assert_int_equal(r.generation, 3);
    /* and still not, without another generation */
    assert_fails(mri_dataset_compact(&o, &r, &d), MR_EBUSY);
    assert_int_equal(r.generation, 0);
    mr_dataset_close(open);
    assert_ok(mri_dataset_compact(&o, &r, &d), &d);
    assert_false(found_in_tree(made.dir, "sample13", 8));
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(only_shards_with_dead_rows_are_written_anew),
        T(a_compacted_shard_does_not_know_what_else_there_was),
        T(older_generations_go_and_say_so),
        T(a_second_time_there_is_nothing_to_do),
        T(older_generations_can_be_kept_for_a_while),
        T(a_dry_run_says_the_same_and_writes_nothing),
        T(readers_that_are_open_read_on),
        T(a_reader_in_another_process_reads_on),
        T(calls_that_fail_leave_the_old_or_the_new_generation),
        T(a_damaged_sample_refuses_all_of_it),
        T(a_purge_leaves_no_trace),
        T(a_purge_is_not_done_while_somebody_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
