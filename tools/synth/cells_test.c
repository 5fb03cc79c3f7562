/* SPDX-License-Identifier: Apache-2.0 */
#include "cell_file.h"
#include "draw.h"

#include <mri/alloc.h>
#include <mri/crc32c.h>
#include <mri/error.h>
#include <mri/file.h>

#include <errno.h>
#include <faulty_file.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CELLS 24

static char *dir; /* of the test */
static mr_diag diag;
static mri_cells_report report;

static int
setup(void **state)
{
    (void)state;
    dir = scratch_make();
    mri_diag_clear(&diag);
    memset(&report, 0, sizeof report);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static mri_cells_options
options_for(const char *name, unsigned workers)
{
    return (mri_cells_options){.dir = scratch_path(dir, name),
                               .set = {.seed = 5, .count = CELLS, .donors = 3},
                               .workers = workers};
}

static uint32_t
crc_of_cell(mri_easel *easel, const mri_cells *set, uint32_t i)
{
    static uint16_t pixels[MRI_CELL_VALUES];
    static uint8_t file[MRI_CELL_FILE];

    mri_cell_paint(easel, set, i, pixels);
    cell_file(file, pixels);
    return mri_crc32c(0, file, sizeof file);
}

/* The file of cell i in a folder, in one of two buffers. */
static const uint8_t *
file_of(const char *folder, const mri_cells *set, uint32_t i, size_t *bytes)
{
    static mri_bytes buffers[2];
    static unsigned next;
    mri_bytes *b = &buffers[next++ % 2];
    char name[64], path[600];

    (void)mri_cell_name(set, i, name, sizeof name);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    b->len = 0;
    assert_ok(mri_file_load(path, 1 << 20, b, &diag), &diag);
    *bytes = b->len;
    return b->data;
}

/* All files of the set in `folder` are what they must be. */
static void
assert_whole(const char *folder, const mri_cells *set)
{
    mri_easel *easel = mri_easel_open();

    assert_non_null(easel);
    for (uint32_t i = 0; i < set->count; i++) {
        size_t bytes;
        const uint8_t *file = file_of(folder, set, i, &bytes);

        assert_int_equal(bytes, MRI_CELL_FILE);
        assert_int_equal(mri_crc32c(0, file, bytes),
                         crc_of_cell(easel, set, i));
    }
    mri_easel_close(easel);
}

/* Files and folders, at the top and in each class. */
static size_t
entries_in(const char *folder)
{
    size_t n = scratch_entries(folder);

    for (uint32_t k = 0; k < MRI_CELL_CLASSES; k++) {
        char class[600]; /* scratch_path has but eight buffers */

        (void)snprintf(class, sizeof class, "%s/%s", folder,
                       mri_cell_class_name(k));
        n += access(class, F_OK) == 0 ? scratch_entries(class) : 0;
    }
    return n;
}

static void
near_normal_has_mean_0_and_variance_1(void **state)
{
    double sum = 0, squares = 0;
    draws d = draws_of(1, STREAM_NOISE, 0);
    int n = 100000;

    (void)state;
    for (int i = 0; i < n; i++) {
        double z = draw_normal(&d);

        sum += z;
        squares += z * z;
    }
    assert_true(sum / n > -0.02 && sum / n < 0.02);
    assert_true(squares / n > 0.98 && squares / n < 1.02);
    /* all bytes 0, all bytes 255 */
    assert_true(near_normal(0, 0) < -4.87 && near_normal(0, 0) > -4.89);
    assert_true(near_normal(UINT32_MAX, UINT32_MAX) == -near_normal(0, 0));
}

static void
every_donor_has_as_many_cells_of_each_class(void **state)
{
    mri_cells set = {.seed = 1, .count = 8 * 7 * 3, .donors = 7};
    unsigned seen[7][MRI_CELL_CLASSES] = {{0}};
    char name[64];

    (void)state;
    for (uint32_t i = 0; i < set.count; i++) {
        seen[mri_cell_donor(&set, i)][mri_cell_class(&set, i)]++;
    }
    for (unsigned d = 0; d < 7; d++) {
        for (unsigned k = 0; k < MRI_CELL_CLASSES; k++) {
            assert_int_equal(seen[d][k], 3);
        }
    }
    assert_int_equal(mri_cell_name(&set, 29, name, sizeof name), 27);
    assert_string_equal(name, "resting/donor3_cell0029.tif");
}

/* tests/parity/synth_cells.py compares with NumPy, drawn word for word. */
static void
cells_have_the_bytes_they_always_had(void **state)
{
    static const uint32_t golden[MRI_CELL_CLASSES + 1] = {
        0x945fecfa, 0x84d8659a, 0xa184bde3, 0xdfe7191e, 0x749d22d2,
        0x0ddbb2ae, 0xd8e638d3, 0x712c7c5c, 0x29e493fd};
    mri_cells set = {.seed = 5, .count = 1000, .donors = 3};
    mri_easel *easel = mri_easel_open();

    (void)state;
    assert_non_null(easel);
    for (uint32_t i = 0; i <= MRI_CELL_CLASSES; i++) {
        uint32_t cell = i < MRI_CELL_CLASSES ? i : 803;

        assert_int_equal(crc_of_cell(easel, &set, cell), golden[i]);
    }
    mri_easel_close(easel);
}

static void
what_was_painted_before_leaves_no_trace(void **state)
{
    mri_cells set = {.seed = 5, .count = 1000, .donors = 3};
    mri_easel *used = mri_easel_open();

    (void)state;
    assert_non_null(used);
    for (uint32_t i = 16; i > 0; i--) {
        mri_easel *fresh = mri_easel_open();

        assert_non_null(fresh);
        assert_int_equal(crc_of_cell(used, &set, i),
                         crc_of_cell(fresh, &set, i));
        mri_easel_close(fresh);
    }
    mri_easel_close(used);
}

static void
seeds_cells_and_donors_differ(void **state)
{
    mri_cells set = {.seed = 5, .count = 1000, .donors = 3};
    mri_cells other_seed = {
        .seed = (uint64_t)5 << 32, .count = 1000, .donors = 3};
    mri_cells other_donors = {.seed = 5, .count = 1000, .donors = 4};
    mri_easel *easel = mri_easel_open();
    uint32_t crc;

    (void)state;
    assert_non_null(easel);
    crc = crc_of_cell(easel, &set, 24); /* donor 0 */
    assert_int_not_equal(crc, crc_of_cell(easel, &set, 32));
    assert_int_not_equal(crc, crc_of_cell(easel, &other_seed, 24));
    assert_int_not_equal(crc, crc_of_cell(easel, &other_donors, 24));
    mri_easel_close(easel);
}

static void
a_folder_is_the_same_from_any_number_of_threads(void **state)
{
    mri_cells_options o = options_for("one", 1);
    mri_cells_options three = options_for("three", 3);

    (void)state;
    assert_ok(mri_cells_write(&o, &report, &diag), &diag);
    assert_int_equal(report.written, CELLS);
    assert_int_equal(report.kept, 0);
    assert_int_equal(report.bytes, (uint64_t)CELLS * MRI_CELL_FILE);
    assert_ok(mri_cells_write(&three, &report, &diag), &diag);
    assert_whole(o.dir, &o.set);
    assert_whole(three.dir, &o.set);
    assert_int_equal(entries_in(o.dir), MRI_CELL_CLASSES + CELLS);
    assert_int_equal(entries_in(three.dir), MRI_CELL_CLASSES + CELLS);
}

static void
more_cells_join_those_that_are_there(void **state)
{
    mri_cells_options o = options_for("raw", 2);

    (void)state;
    assert_ok(mri_cells_write(&o, &report, &diag), &diag);
    o.set.count = CELLS + 8;
    assert_ok(mri_cells_write(&o, &report, &diag), &diag);
    assert_int_equal(report.kept, CELLS);
    assert_int_equal(report.written, 8);
    assert_whole(o.dir, &o.set);
}

typedef struct eye {
    uint64_t done, stop_at;
} eye;

static void
look(void *user, const mr_progress *now)
{
    eye *e = user;

    assert_int_equal(now->done, e->done + 1);
    assert_int_equal(now->total, CELLS);
    assert_int_equal(now->bytes, now->done * MRI_CELL_FILE);
    assert_string_equal(now->unit, "cells");
    e->done = now->done;
}

static bool
enough(void *user)
{
    eye *e = user;

    return e->done >= e->stop_at;
}

static void
a_stopped_run_goes_on(void **state)
{
    mri_cells_options o = options_for("raw", 2);
    eye e = {.stop_at = 10};
    mr_watch watch = {&e, look, enough};
    size_t there;

    (void)state;
    o.watch = &watch;
    assert_fails(mri_cells_write(&o, &report, &diag), MR_ESTOP);
    assert_int_equal(diag.code, MRI_E_STOPPED);
    there = entries_in(o.dir) - MRI_CELL_CLASSES;
    assert_in_range(there, 10, 12);

    e = (eye){.stop_at = UINT64_MAX};
    assert_ok(mri_cells_write(&o, &report, &diag), &diag);
    assert_int_equal(report.kept, there);
    assert_int_equal(report.written, CELLS - there);
    assert_whole(o.dir, &o.set);
}

static void
assert_foreign(const mri_cells_options *o, const char *path)
{
    size_t before = entries_in(o->dir);

    mri_diag_clear(&diag);
    assert_fails(mri_cells_write(o, &report, &diag), MR_EBUSY);
    assert_int_equal(diag.code, MRI_E_SYNTH_FOREIGN);
    assert_string_equal(diag.path, path);
    assert_int_equal(entries_in(o->dir), before);
}

static void
a_folder_with_something_else_in_it_is_refused(void **state)
{
    mri_cells_options o = options_for("raw", 2);
    const char *stray = scratch_path(o.dir, "notes.txt");

    (void)state;
    assert_ok(mri_dir_make(o.dir, &diag), &diag);
    scratch_write(stray, "x", 1);
    assert_foreign(&o, stray); /* no class's folder was made */
    assert_int_equal(entries_in(o.dir), 1);
}

static void
a_stray_file_among_the_cells_is_refused(void **state)
{
    static const char *const names[] = {
        "resting/donor9_cell0005.tif", /* that cell has another donor */
        "starved/donor0_cell0005.tif", /* ... another class */
        "resting/donor0_cell5.tif",    "resting/donor0_cell0005.tif~",
        "resting/donor0_cell0045.tif", /* of a larger set */
        "resting/.part-12-notes",      ".hidden"};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(names); i++) {
        char folder[16];
        mri_cells_options o;
        const char *stray;

        (void)snprintf(folder, sizeof folder, "raw%zu", i);
        o = options_for(folder, 1);
        assert_ok(mri_cells_write(&o, &report, &diag), &diag);
        stray = scratch_path(o.dir, names[i]);
        scratch_write(stray, "x", 1);
        assert_foreign(&o, stray);
    }
}

static void
cells_of_another_seed_are_refused(void **state)
{
    mri_cells_options o = options_for("raw", 1);
    char first[600];

    (void)state;
    (void)snprintf(first, sizeof first, "%s/activated/donor0_cell0000.tif",
                   o.dir);
    assert_ok(mri_cells_write(&o, &report, &diag), &diag);
    o.set.seed++;
    assert_foreign(&o, first);
    o.set.seed--;
    scratch_write(first, "II*", 3); /* cut short by another hand */
    assert_foreign(&o, first);
}

static void
what_a_killed_run_left_is_removed(void **state)
{
    mri_cells_options o = options_for("raw", 1);

    (void)state;
    assert_ok(mri_cells_write(&o, &report, &diag), &diag);
    scratch_write(scratch_path(o.dir, "resting/.part-123-donor0_cell0005.tif"),
                  "x", 1);
    assert_ok(mri_cells_write(&o, &report, &diag), &diag);
    assert_int_equal(report.kept, CELLS);
    assert_int_equal(entries_in(o.dir), MRI_CELL_CLASSES + CELLS);
}

static void
a_full_disk_leaves_whole_files_only(void **state)
{
    mri_cells_options o = options_for("raw", 2);
    size_t there;

    (void)state;
    faulty_arm(FAULTY_WRITE, 12, ENOSPC, true);
    assert_fails(mri_cells_write(&o, &report, &diag), MR_EIO);
    (void)faulty_disarm();
    assert_int_equal(diag.code, MRI_E_WRITE);
    assert_non_null(strstr(diag.path, ".tif"));
    there = entries_in(o.dir) - MRI_CELL_CLASSES;
    assert_int_equal(there, 12);

    assert_ok(mri_cells_write(&o, &report, &diag), &diag);
    assert_int_equal(report.kept, there);
    assert_whole(o.dir, &o.set);
}

/* Whichever call fails, it is told, and the same command goes on. */
static void
any_failing_call_is_told(void **state)
{
    (void)state;
    for (unsigned kind = FAULTY_OPEN; kind <= FAULTY_CLOSE; kind *= 2) {
        char folder[16];
        mri_cells_options o;

        if (kind == FAULTY_LINK || kind == FAULTY_UNLINK ||
            kind == FAULTY_READ) { /* nothing is there to be read */
            continue;
        }
        (void)snprintf(folder, sizeof folder, "raw%u", kind);
        o = options_for(folder, 1);
        faulty_arm(kind, 4, EIO, false); /* an even one: of a file */
        assert_fails(mri_cells_write(&o, &report, &diag), MR_EIO);
        (void)faulty_disarm();
        assert_ok(mri_cells_write(&o, &report, &diag), &diag);
        assert_whole(o.dir, &o.set);
    }
}

static void
without_memory_nothing_is_lost(void **state)
{
    mri_cells_options o = options_for("raw", 1);
    mr_err err = MR_ENOMEM;
    int64_t n = 0;

    (void)state;
    for (; err == MR_ENOMEM; n++) {
        (void)mri_alloc_fail_at(n);
        err = mri_cells_write(&o, &report, &diag);
        (void)mri_alloc_fail_at(-1);
        n += n / 8; /* thousands of calls, all alike */
    }
    assert_int_equal(err, MR_OK);
    assert_true(n > 20);
    assert_whole(o.dir, &o.set);
}

static void
a_folder_needs_a_parent(void **state)
{
    mri_cells_options o = options_for("no/raw", 1);

    (void)state;
    assert_fails(mri_cells_write(&o, &report, &diag), MR_EIO);
    assert_string_equal(diag.path, o.dir);
    o = options_for("file", 1);
    scratch_write(o.dir, "x", 1);
    assert_fails(mri_cells_write(&o, &report, &diag), MR_EIO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_normal_has_mean_0_and_variance_1),
        cmocka_unit_test(every_donor_has_as_many_cells_of_each_class),
        cmocka_unit_test(cells_have_the_bytes_they_always_had),
        cmocka_unit_test(what_was_painted_before_leaves_no_trace),
        cmocka_unit_test(seeds_cells_and_donors_differ),
#define WITH_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        WITH_FOLDER(a_folder_is_the_same_from_any_number_of_threads),
        WITH_FOLDER(more_cells_join_those_that_are_there),
        WITH_FOLDER(a_stopped_run_goes_on),
        WITH_FOLDER(a_folder_with_something_else_in_it_is_refused),
        WITH_FOLDER(a_stray_file_among_the_cells_is_refused),
        WITH_FOLDER(cells_of_another_seed_are_refused),
        WITH_FOLDER(what_a_killed_run_left_is_removed),
        WITH_FOLDER(a_full_disk_leaves_whole_files_only),
        WITH_FOLDER(any_failing_call_is_told),
        WITH_FOLDER(without_memory_nothing_is_lost),
        WITH_FOLDER(a_folder_needs_a_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
