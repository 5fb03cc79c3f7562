/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small network is trained over and over: whatever stops, kills or starves
 * it, the same call must end with the weights of the run left alone.
 *
 * Called with --child FOLDER it trains, to be killed.
 */
#include "config.h"

#include <millrace/checkpoint.h>
#include <millrace/train.h>

#include <mri/error.h>
#include <mri/file.h>

#include <errno.h>
#include <faulty_file.h>
#include <ftw.h>
#include <mr_test.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test_set.h"

#define STEPS 10
#define MORE 4 /* room for settings of one test */

static const char *const base[] = {
    "seed=3",
    "model.patch=8",
    "model.dim=16",
    "model.heads=2",
    "model.depth=1",
    "model.head_hidden=16",
    "model.bottleneck=8",
    "model.out_dim=12",
    "data.global_size=16",
    "data.local_size=8",
    "data.local_count=2",
    "data.threads=1",
    "train.steps=10",
    "train.batch_size=4",
    "train.checkpoint_every=4",
    "train.warmup_steps=3",
    "train.freeze_steps=1",
};

static char *dir;     /* of the test */
static set cells;     /* what is trained on, by all tests */
static char calm[17]; /* hash of the run left alone */
static char *kept[2]; /* its last and best, all bytes */
static size_t kept_bytes[2];
static char out[600]; /* the run's folder */
static const char *settings[MRI_COUNT(base) + MORE];
static mr_train_options options;
static mr_train_report report;
static mr_diag diag;

static void
begin(void)
{
    memcpy(settings, base, sizeof base);
    options = mr_train_defaults();
    options.source = cells.dir;
    options.out = out;
    options.set = settings;
    options.set_count = MRI_COUNT(base);
    mri_diag_clear(&diag);
}

/* One more --set, over those of all tests. */
static void
also(const char *setting)
{
    assert_true(options.set_count < MRI_COUNT(settings));
    settings[options.set_count++] = setting;
}

static int
setup(void **state)
{
    (void)state;
    dir = scratch_make();
    (void)snprintf(out, sizeof out, "%s/run", dir);
    begin();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static const char *
in_run(const char *name)
{
    return scratch_path(out, name);
}

static char *
read_file(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);

    assert_non_null(f);
    *bytes = fread(text, 1, (1 << 20) - 1, f);
    assert_in_range(*bytes, 1, (1 << 20) - 2);
    (void)fclose(f);
    return text;
}

static char *
read_text(const char *path)
{
    size_t bytes;

    return read_file(path, &bytes);
}

static const char *const checkpoints[] = {"checkpoints/last.safetensors",
                                          "checkpoints/best.safetensors"};

static void
change_byte(const char *path, long at)
{
    FILE *f = fopen(path, "r+b");
    int c;

    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    c = fgetc(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    (void)fputc(c ^ 0x40, f);
    assert_int_equal(fclose(f), 0);
}

static void
goes_to_the_calm_end(void)
{
    assert_ok(mr_train_run(&options, &report, &diag), &diag);
    assert_int_equal(report.steps, STEPS);
    assert_string_equal(report.hash, calm);
    for (unsigned i = 0; i < 2; i++) {
        size_t bytes;
        char *p = read_file(in_run(checkpoints[i]), &bytes);

        assert_int_equal(bytes, kept_bytes[i]);
        assert_memory_equal(p, kept[i], bytes);
        free(p);
    }
}

/* Every step stands in metrics.jsonl once, in order. */
static void
has_a_line_a_step(void)
{
    char *text = read_text(in_run("metrics.jsonl"));
    unsigned step = 0;

    for (char *p = text; *p != '\0'; p = strchr(p, '\n') + 1) {
        char head[32];

        (void)snprintf(head, sizeof head, "{\"step\":%u,", ++step);
        assert_memory_equal(p, head, strlen(head));
        assert_non_null(strchr(p, '\n'));
    }
    assert_int_equal(step, STEPS);
    free(text);
}

/* ---- stopped, killed, starved ---- */

static unsigned stop_at, seen;

static bool
stop_now(void *user)
{
    (void)user;
    return seen >= stop_at;
}

static void
count_steps(void *user, const mr_progress *now)
{
    (void)user;
    (void)now;
    seen++;
}

static void
a_stopped_run_goes_on_bit_for_bit(void **state)
{
    const mr_watch watch = {
        .stop = stop_now, .progress = count_steps, .user = NULL};
    unsigned stops = 0;

    (void)state;
    options.watch = &watch;
    for (stop_at = 3; stop_at != 0;) {
        mr_err err;

        seen = 0;
        err = mr_train_run(&options, &report, &diag);
        if (err == MR_OK) {
            break;
        }
        assert_int_equal(err, MR_ESTOP);
        assert_int_equal(seen, stop_at);
        stops++;
    }
    assert_int_equal(stops, STEPS / 3);
    assert_string_equal(report.hash, calm);
    has_a_line_a_step();
    assert_ok(mr_train_run(&options, &report, &diag), &diag);
    assert_int_equal(report.done, STEPS); /* nothing is left to do */
    assert_string_equal(report.hash, calm);
}

static pid_t
start_child(void)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        char name[] = "run_test", child[] = "--child";
        char *argv[] = {name, child, out, cells.dir, NULL};

        (void)execv("/proc/self/exe", argv);
        _exit(127);
    }
    return pid;
}

static int
be_child(const char *folder, const char *source)
{
    (void)snprintf(out, sizeof out, "%s", folder);
    begin();
    options.source = source;
    return mr_train_run(&options, &report, &diag) == MR_OK ? 0 : 1;
}

/* How long it takes undisturbed bounds the moments at which it is killed. */
static void
a_killed_run_ends_as_if_it_had_not_been(void **state)
{
    struct timespec begun, ended;
    uint64_t random = (uint64_t)time(NULL), seed = random, span;
    unsigned killed = 0;
    int status;

    (void)state;
    (void)clock_gettime(CLOCK_MONOTONIC, &begun);
    assert_int_equal(waitpid(start_child(), &status, 0) > 0, 1);
    (void)clock_gettime(CLOCK_MONOTONIC, &ended);
    assert_int_equal(status, 0);
    span = (uint64_t)(ended.tv_sec - begun.tv_sec) * 1000000 +
           (uint64_t)(ended.tv_nsec - begun.tv_nsec + 1000000000) / 1000 -
           1000000;
    for (unsigned i = 0; i < 10; i++) {
        pid_t pid;

        if (i % 5 == 0) {
            (void)snprintf(out, sizeof out, "%s/run%u", dir, i);
        }
        pid = start_child();
        (void)usleep((useconds_t)(scratch_random(&random) % (span + 1)));
        (void)kill(pid, SIGKILL);
        assert_true(waitpid(pid, &status, 0) > 0);
        killed += WIFSIGNALED(status) ? 1 : 0;
        if (i % 5 == 4) {
            goes_to_the_calm_end();
            has_a_line_a_step();
        }
    }
    print_message("killed %u times, moments of seed %llu\n", killed,
                  (unsigned long long)seed);
    assert_true(killed > 0);
}

/* Whatever call fails: an error with a name, a whole checkpoint or none, and
 * the next call goes on to the same end. */
static void
each_call_that_fails_leaves_a_whole_run(void **state)
{
    static const unsigned mask = FAULTY_OPEN | FAULTY_WRITE | FAULTY_SYNC |
                                 FAULTY_LINK | FAULTY_RENAME | FAULTY_UNLINK |
                                 FAULTY_MKDIR;
    unsigned failed = 0, n = 0;
    uint64_t calls;

    (void)state;
    for (;; n += n < 40 ? 1 : 11) {
        mr_checkpoint *saved = NULL;
        mr_err err;

        (void)snprintf(out, sizeof out, "%s/run%u", dir, n);
        mri_diag_clear(&diag);
        faulty_arm(mask, n, ENOSPC, n % 2 == 0);
        err = mr_train_run(&options, &report, &diag);
        calls = faulty_disarm();
        if (calls <= n) {
            break; /* there is no such call */
        }
        if (err != MR_OK) {
            failed++;
            assert_true(err == MR_EIO || err == MR_EBUSY);
            assert_true(diag.code != 0 && diag.path[0] != '\0');
        }
        if (access(in_run("checkpoints/last.safetensors"), F_OK) == 0) {
            assert_ok(mr_checkpoint_open(&saved,
                                         in_run("checkpoints/"
                                                "last.safetensors"),
                                         &diag),
                      &diag);
            mr_checkpoint_close(saved);
        }
        goes_to_the_calm_end();
        has_a_line_a_step();
    }
    print_message("%u runs ended by a call that failed\n", failed);
    assert_true(failed > 20);
}

static void
what_stands_behind_the_checkpoint_is_made_again(void **state)
{
    const mr_watch watch = {
        .stop = stop_now, .progress = count_steps, .user = NULL};
    FILE *f;

    (void)state;
    options.watch = &watch;
    stop_at = 6;
    seen = 0;
    assert_fails(mr_train_run(&options, &report, &diag), MR_ESTOP);
    f = fopen(in_run("metrics.jsonl"), "ab");
    assert_non_null(f);
    (void)fputs("{\"step\":7,\"loss\":1}\n{\"step\":8,\"lo", f);
    (void)fclose(f);
    scratch_write(in_run("checkpoints/.part-17-3"), "half", 4);
    options.watch = NULL;
    goes_to_the_calm_end();
    has_a_line_a_step();
    assert_int_not_equal(access(in_run("checkpoints/.part-17-3"), F_OK), 0);
}

/* ---- threads ---- */

static void
deterministic_weights_do_not_depend_on_threads(void **state)
{
    static const char *const threads[] = {"train.threads=1", "train.threads=2",
                                          "train.threads=3"};
    char first[17] = "";

    (void)state;
    also("train.deterministic=true");
    also("train.virtual_workers=2");
    also(NULL);
    for (unsigned i = 0; i < MRI_COUNT(threads); i++) {
        settings[options.set_count - 1] = threads[i];
        (void)snprintf(out, sizeof out, "%s/run%u", dir, i);
        assert_ok(mr_train_run(&options, &report, &diag), &diag);
        if (i == 0) {
            memcpy(first, report.hash, sizeof first);
        }
        assert_string_equal(report.hash, first);
    }
}

static void
another_seed_gives_other_weights(void **state)
{
    (void)state;
    also("seed=4");
    assert_ok(mr_train_run(&options, &report, &diag), &diag);
    assert_string_not_equal(report.hash, calm);
}

/* ---- refusals ---- */

static void
expect(mri_code code, const char *word)
{
    mri_diag_clear(&diag);
    assert_int_not_equal(mr_train_run(&options, &report, &diag), MR_OK);
    if (diag.code != (uint16_t)code || strstr(diag.text, word) == NULL) {
        print_error("E%04u: %s\n", diag.code, diag.text);
    }
    assert_int_equal(diag.code, code);
    assert_non_null(strstr(diag.text, word));
}

static void
other_keys_and_other_data_are_refused(void **state)
{
    set other = {0};

    (void)state;
    also("train.steps=4");
    assert_ok(mr_train_run(&options, &report, &diag), &diag);
    also("train.lr=0.25");
    expect(MRI_E_RUN_OTHER, "train.lr was 0.0005");
    assert_string_equal(strrchr(diag.path, '/') + 1, "last.safetensors");

    options.set_count--;
    set_make(&other, SET_CELLS, 28);
    options.source = other.dir;
    mri_diag_clear(&diag);
    assert_fails(mr_train_run(&options, &report, &diag), MR_EARG);
    scratch_remove(other.dir);

    options.source = cells.dir;
    also("train.threads=2"); /* how it is computed may change */
    assert_ok(mr_train_run(&options, &report, &diag), &diag);
}

static void
keys_are_refused_by_name_before_anything_is_made(void **state)
{
    static const struct {
        const char *set;
        const char *word;
    } rows[] = {
        {"train.leaning_rate=1", "train.leaning_rate"},
        {"train.lr=fast", "train.lr"},
        {"train.lr", "train.lr"},
        {"train.batch_size=0", "train.batch_size"},
        {"train.batch_size=30000", "30000"},
        {"train.precision=bf16", "train.precision"},
        {"train.device=cuda:0", "cuda"},
        {"model.heads=3", "heads"},
        {"model.arch=vit_huge", "vit_huge"},
        {"data.channels=DAPI,NIX", "NIX"},
        {"data.split=exam", "exam"},
    };

    (void)state;
    also(NULL);
    for (size_t i = 0; i < MRI_COUNT(rows); i++) {
        mr_err err;

        settings[options.set_count - 1] = rows[i].set;
        mri_diag_clear(&diag);
        err = mr_train_run(&options, &report, &diag);
        if (err == MR_OK || strstr(diag.text, rows[i].word) == NULL) {
            print_error("%s: E%04u %s\n", rows[i].set, diag.code, diag.text);
        }
        assert_int_not_equal(err, MR_OK);
        assert_non_null(strstr(diag.text, rows[i].word));
        assert_int_not_equal(access(out, F_OK), 0);
    }
}

static void
a_folder_of_other_things_is_left_alone(void **state)
{
    (void)state;
    assert_int_equal(mkdir(out, 0755), 0);
    scratch_write(in_run("thesis.txt"), "years", 5);
    expect(MRI_E_RUN_FOLDER, "other things");
    assert_int_equal(scratch_entries(out), 1);
}

static void
a_folder_is_trained_in_by_one_process(void **state)
{
    mri_lock lock = {.fd = -1};

    (void)state;
    assert_int_equal(mkdir(out, 0755), 0);
    assert_ok(mri_lock_take(&lock, in_run(".lock"), &diag), &diag);
    assert_fails(mr_train_run(&options, &report, &diag), MR_EBUSY);
    mri_lock_release(&lock);
    goes_to_the_calm_end();
}

static void
a_damaged_checkpoint_is_named_and_an_earlier_one_serves(void **state)
{
    char from[700];

    (void)state;
    goes_to_the_calm_end();
    assert_int_equal(unlink(in_run("checkpoints/last.safetensors")), 0);
    assert_int_equal(rename(in_run("checkpoints/step-00000010.safetensors"),
                            in_run("checkpoints/last.safetensors")),
                     0);
    change_byte(in_run("checkpoints/last.safetensors"), -100);
    assert_fails(mr_train_run(&options, &report, &diag), MR_ECORRUPT);
    assert_non_null(strstr(diag.path, "last.safetensors"));

    (void)snprintf(from, sizeof from, "%s",
                   in_run("checkpoints/step-00000008.safetensors"));
    assert_int_equal(rename(from, in_run("checkpoints/last.safetensors")), 0);
    goes_to_the_calm_end();
    assert_int_equal(report.done, 8);
    has_a_line_a_step();
}

/* ---- damaged samples ---- */

static int
damage_file(const char *path, const struct stat *st, int kind,
            struct FTW *where)
{
    (void)where;
    if (kind == FTW_F && strstr(path, "/shards/") != NULL) {
        change_byte(path, st->st_size / 2); /* somewhere among the pixels */
    }
    return 0;
}

static void
a_damaged_sample_stops_or_is_replaced_and_named(void **state)
{
    set bad = {0};
    char *metrics;

    (void)state;
    set_make(&bad, SET_CELLS, 24);
    assert_int_equal(nftw(bad.dir, damage_file, 8, FTW_PHYS), 0);
    options.source = bad.dir;
    also("data.split=all");
    also("train.steps=6"); /* one epoch */
    assert_fails(mr_train_run(&options, &report, &diag), MR_ECORRUPT);

    also("data.on_damage=mask");
    (void)snprintf(out, sizeof out, "%s/masked", dir);
    assert_ok(mr_train_run(&options, &report, &diag), &diag);
    assert_int_equal(report.damaged, 1);
    metrics = read_text(in_run("metrics.jsonl"));
    assert_non_null(strstr(metrics, "\"damaged\":[\""));
    free(metrics);
    scratch_remove(bad.dir);
}

static void
a_loss_that_is_no_number_names_its_samples(void **state)
{
    char *log;

    (void)state;
    also("train.lr=1e18");
    also("train.clip=0");
    assert_fails(mr_train_run(&options, &report, &diag), MR_ECORRUPT);
    log = read_text(in_run("log.txt"));
    assert_non_null(strstr(log, "its samples: [\""));
    free(log);
}

/* ---- keys ---- */

static void
a_recipe_says_where_it_is_wrong(void **state)
{
    char path[600];
    static const struct {
        const char *text;
        uint64_t at; /* of the byte that is meant */
    } rows[] = {
        {"seed: 1\ntrain:\n  lrr: 2\n", 17}, {"seed: 1\ntrain: [1, 2]\n", 8},
        {"seed: 1\nseed: 2\n", 8},           {"seed: {a: 1}\n", 0},
        {"train:\n  lr: quick\n", 9},        {"- 1\n", 0},
        {"seed: 1\n\ttrain: 2\n", 8},
    };

    (void)state;
    (void)snprintf(path, sizeof path, "%s/r.yaml", dir);
    for (size_t i = 0; i < MRI_COUNT(rows); i++) {
        run_config c;

        scratch_write(path, rows[i].text, strlen(rows[i].text));
        mri_diag_clear(&diag);
        if (run_config_load(&c, path, NULL, 0, &diag) == MR_OK ||
            strcmp(diag.path, path) != 0) {
            print_error("%s -> %s: %s@%llu\n", rows[i].text, diag.path,
                        diag.text, (unsigned long long)diag.at);
            fail();
        }
        assert_non_null(strstr(diag.text, "line"));
        run_config_release(&c);
    }
}

static void
what_was_resolved_is_a_recipe_again(void **state)
{
    static const char *const keys[] = {
        "seed=18446744073709551615", "data.channels=DAPI,GFP",
        "train.lr=0.1234567890123456", "train.warmup_steps=7",
        "train.device=ref"};
    char path[600];
    mri_bytes first = {0}, again = {0};
    run_config c;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/r.yaml", dir);
    assert_ok(run_config_load(&c, "dino", keys, MRI_COUNT(keys), &diag), &diag);
    assert_true(run_config_yaml(&c, &first));
    run_config_release(&c);
    scratch_write(path, first.data, first.len);
    assert_ok(run_config_load(&c, path, NULL, 0, &diag), &diag);
    assert_true(c.seed == UINT64_MAX && c.warmup_steps == 7);
    assert_true(c.lr == 0.1234567890123456);
    assert_int_equal(c.channels.count, 2);
    assert_true(run_config_yaml(&c, &again));
    run_config_release(&c);
    assert_int_equal(first.len, again.len);
    assert_memory_equal(first.data, again.data, first.len);
    mri_bytes_release(&first);
    mri_bytes_release(&again);
}

/* ---- all ---- */

static int
train_calmly(void **state)
{
    (void)state;
    set_make(&cells, SET_CELLS, 24);
    (void)setup(NULL);
    assert_ok(mr_train_run(&options, &report, &diag), &diag);
    memcpy(calm, report.hash, sizeof calm);
    for (unsigned i = 0; i < 2; i++) {
        kept[i] = read_file(in_run(checkpoints[i]), &kept_bytes[i]);
    }
    (void)teardown(NULL);
    return 0;
}

static int
clear_away(void **state)
{
    (void)state;
    scratch_remove(cells.dir);
    free(kept[0]);
    free(kept[1]);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stopped_run_goes_on_bit_for_bit),
        TEST(a_killed_run_ends_as_if_it_had_not_been),
        TEST(each_call_that_fails_leaves_a_whole_run),
        TEST(what_stands_behind_the_checkpoint_is_made_again),
        TEST(deterministic_weights_do_not_depend_on_threads),
        TEST(another_seed_gives_other_weights),
        TEST(other_keys_and_other_data_are_refused),
        TEST(keys_are_refused_by_name_before_anything_is_made),
        TEST(a_folder_of_other_things_is_left_alone),
        TEST(a_folder_is_trained_in_by_one_process),
        TEST(a_damaged_checkpoint_is_named_and_an_earlier_one_serves),
        TEST(a_damaged_sample_stops_or_is_replaced_and_named),
        TEST(a_loss_that_is_no_number_names_its_samples),
        TEST(a_recipe_says_where_it_is_wrong),
        TEST(what_was_resolved_is_a_recipe_again),
    };

    if (argc == 4 && strcmp(argv[1], "--child") == 0) {
        return be_child(argv[2], argv[3]);
    }
    return cmocka_run_group_tests(tests, train_calmly, clear_away);
}
