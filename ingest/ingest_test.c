/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/generation.h>
#include <mri/ingest.h>

#include <dirent.h>
#include <errno.h>
#include <faulty_file.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *dir; /* of the test */
static char in[600], out[600];
static mri_ingest_options options;
static mri_ingest_report report;
static mr_diag diag;

static int
setup(void **state)
{
    (void)state;
    dir = scratch_make();
    (void)snprintf(in, sizeof in, "%s/in", dir);
    (void)snprintf(out, sizeof out, "%s/out.mr", dir);
    assert_int_equal(mkdir(in, 0755), 0);
    mri_diag_clear(&diag);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    mri_ingest_report_release(&report);
    scratch_remove(dir);
    return 0;
}

static void
make_folders(const char *path)
{
    char copy[1024];

    (void)snprintf(copy, sizeof copy, "%s", path);
    for (char *p = copy + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(copy, 0755);
        *p = '/';
    }
}

/* A NIfTI-1 of side^3 i16 voxels that follow from `seed`. */
static void
write_nifti(const char *name, unsigned side, uint64_t seed)
{
    size_t voxels = (size_t)side * side * side;
    uint8_t *raw = calloc(1, 352 + voxels * 2);
    char path[1024];

    mri_put32(raw, 348);
    mri_put16(raw + 40, 3);
    for (int i = 1; i <= 7; i++) {
        mri_put16(raw + 40 + 2 * i, i <= 3 ? (uint16_t)side : 1);
    }
    mri_put16(raw + 70, 4); /* i16 */
    mri_put16(raw + 72, 16);
    for (int i = 0; i < 8; i++) {
        mri_put32(raw + 76 + 4 * i, 0x3F800000); /* pixdim 1.0f */
    }
    mri_put32(raw + 108, 0x43B00000); /* vox_offset 352.0f */
    memcpy(raw + 344, "n+1", 4);
    for (size_t i = 0; i < voxels; i++) {
        mri_put16(raw + 352 + 2 * i, (uint16_t)(scratch_random(&seed) % 999));
    }
    (void)snprintf(path, sizeof path, "%s/%s", in, name);
    make_folders(path);
    scratch_write(path, raw, 352 + voxels * 2);
    free(raw);
}

static void
write_text(const char *name, const char *text)
{
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/%s", in, name);
    make_folders(path);
    scratch_write(path, text, strlen(text));
}

/* Three classes of four donors; `count` cells each. */
static void
write_cells(unsigned count)
{
    static const char *const classes[] = {"ring", "spot", "star"};

    for (unsigned i = 0; i < count * 3; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "%s/donor%u_cell%03u.nii",
                       classes[i % 3], i % 4, i);
        write_nifti(name, 4 + i % 3, i);
    }
}

static mr_err
ingest_with(const mri_ingest_options *o)
{
    mri_ingest_report_release(&report);
    mri_diag_clear(&diag);
    return mri_ingest(o, &report, &diag);
}

static mri_ingest_options
defaults(void)
{
    static const char *sources[1];

    sources[0] = in;
    options = mri_ingest_defaults();
    options.sources = sources;
    options.source_count = 1;
    options.output = out;
    options.workers = 2;
    options.shard_bytes = 2000;
    return options;
}

static mr_dataset *
open_out(void)
{
    mr_dataset *ds;

    assert_ok(mr_dataset_open(&ds, out, &diag), &diag);
    return ds;
}

static void
hear(void *user, const char *sample, const mr_diag *d)
{
    (void)user;
    print_error("damage: %s %s: %s\n", sample != NULL ? sample : "", d->path,
                d->text);
}

static void
expect_sound(void)
{
    mri_dataset_verified v;

    assert_ok(mri_dataset_verify(out, 1, hear, NULL, NULL, &v, &diag), &diag);
    assert_int_equal(v.damages, 0);
    assert_int_equal(v.orphans, 0);
}

/* Everything in a dataset but its history, as one text of names and hashes. */
static void
digest(const char *path, const char *rel, mri_bytes *text)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);

    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        char inner[2048], name[1024];
        struct stat st;
        mri_bytes b = {0};

        (void)snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        (void)snprintf(name, sizeof name, "%s/%s", rel, entries[i]->d_name);
        if (strcmp(entries[i]->d_name, ".") != 0 &&
            strcmp(entries[i]->d_name, "..") != 0 &&
            strcmp(entries[i]->d_name, "history.jsonl") != 0) {
            assert_int_equal(stat(inner, &st), 0);
            if (S_ISDIR(st.st_mode)) {
                assert_true(mri_bytes_text(text, "%s/\n", name));
                digest(inner, name, text);
            } else {
                uint64_t sum = 14695981039346656037u;

                assert_ok(mri_file_load(inner, 1u << 30, &b, &diag), &diag);
                for (size_t k = 0; k < b.len; k++) {
                    sum = (sum ^ b.data[k]) * 1099511628211u;
                }
                assert_true(mri_bytes_text(text, "%s %zu %llx\n", name, b.len,
                                           (unsigned long long)sum));
                mri_bytes_release(&b);
            }
        }
        free(entries[i]);
    }
    free(entries);
}

static char *
digest_out(void)
{
    mri_bytes text = {0};

    digest(out, "", &text);
    assert_true(mri_bytes_add(&text, "", 1));
    return (char *)text.data;
}

static void
a_folder_of_classes_becomes_a_dataset(void **state)
{
    mri_ingest_options o = defaults();
    mr_dataset *ds;
    uint64_t rank;
    mri_meta *meta;
    mr_sample s;

    (void)state;
    write_cells(10);
    write_text("README.md", "not an image");
    o.group = "{group}_*";
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(report.generation, 1);
    assert_int_equal(report.layout, MRI_LAYOUT_FOLDER);
    assert_int_equal(report.inputs, 30);
    assert_int_equal(report.samples, 30);
    assert_int_equal(report.ignored, 1);
    assert_int_equal(report.groups, 4);
    assert_true(report.shards > 2);
    ds = open_out();
    assert_int_equal(mr_dataset_classes(ds), 3);
    assert_string_equal(mr_dataset_class_name(ds, 2), "star");
    assert_ok(mri_dataset_find_key(ds, "spot/donor1_cell001.nii", &rank, &diag),
              &diag);
    assert_ok(mr_dataset_sample(ds, rank, &s, &diag), &diag);
    assert_int_equal(s.class_index, 1);
    assert_ok(mri_dataset_meta(ds, rank, &meta, &diag), &diag);
    assert_string_equal(meta->group, "donor1");
    assert_string_equal(meta->sources[0][0].name, "spot/donor1_cell001.nii");
    mri_meta_free(meta);
    mr_dataset_close(ds);
    expect_sound();
    assert_int_equal(access(scratch_path(out, "journal"), F_OK), -1);
}

static void
any_number_of_threads_gives_the_same_bytes(void **state)
{
    char *want = NULL;

    (void)state;
    write_cells(12);
    for (unsigned workers = 1; workers <= 8; workers *= 2) {
        mri_ingest_options o = defaults();
        char *got;

        (void)snprintf(out, sizeof out, "%s/out%u.mr", dir, workers);
        o.workers = workers;
        assert_ok(ingest_with(&o), &diag);
        got = digest_out();
        if (want == NULL) {
            want = got;
        } else {
            assert_string_equal(got, want);
            mri_free(got);
        }
    }
    mri_free(want);
}

static void
layouts_are_guessed_and_can_be_told(void **state)
{
    mri_ingest_options o = defaults();
    mr_dataset *ds;
    uint64_t rank;
    uint32_t split;

    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        static const char *const splits[] = {"train", "val", "test"};
        char name[64];

        (void)snprintf(name, sizeof name, "%s/%s/x%02u.nii", splits[i % 3],
                       i % 2 == 0 ? "a" : "b", i);
        write_nifti(name, 4, i);
    }
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(report.layout, MRI_LAYOUT_SPLIT);
    ds = open_out();
    assert_int_equal(mr_dataset_classes(ds), 2);
    assert_ok(mri_dataset_find_key(ds, "test/b/x05.nii", &rank, &diag), &diag);
    assert_ok(mri_dataset_split_of(ds, rank, &split, &diag), &diag);
    assert_string_equal(mr_dataset_split_name(ds, split), "test");
    assert_int_equal(mr_dataset_split_count(ds, 1), 4);
    mr_dataset_close(ds);
    (void)snprintf(out, sizeof out, "%s/flat.mr", dir);
    o.layout = MRI_LAYOUT_FLAT;
    assert_ok(ingest_with(&o), &diag);
    ds = open_out();
    assert_int_equal(mr_dataset_classes(ds), 0);
    mr_dataset_close(ds);
}

static void
what_was_set_aside_is_borne_by_the_next_run_too(void **state)
{
    mri_ingest_options o = defaults();

    (void)state;
    write_cells(12);
    write_text("spot/broken.nii", "this is no NIfTI file at all");
    for (int i = 0; i < 2; i++) { /* 1 of 37 */
        assert_ok(ingest_with(&o), &diag);
        assert_int_equal(report.samples, 36);
        assert_int_equal(report.bad_count, 1);
        assert_int_equal(report.generation, i == 0 ? 1 : 0);
    }
}

static void
bad_inputs_are_set_aside_and_mended_later(void **state)
{
    mri_ingest_options o = defaults();
    mri_bad *bad;
    uint64_t count;
    struct stat st;

    (void)state;
    write_cells(12);
    write_text("spot/broken.nii", "this is no NIfTI file at all");
    write_text("star/cut.nii", "");
    assert_fails(ingest_with(&o), MR_ECORRUPT); /* 2 of 38 is over 5 % */
    assert_int_equal(diag.code, MRI_E_TOO_MANY_BAD);
    assert_int_equal(report.generation, 0);
    assert_int_equal(access(scratch_path(out, "manifest.000001.pb"), F_OK), -1);
    assert_ok(mri_quarantine_load(out, &bad, &count, &diag), &diag);
    assert_int_equal(count, 2);
    assert_string_equal(bad[0].key, "spot/broken.nii");
    assert_true(bad[0].code >= 400 && bad[0].code < 500);
    mri_bad_list_free(bad, count);

    o.max_bad_count = 2;
    assert_ok(ingest_with(&o), &diag);
    assert_true(report.reused > 0); /* finished shards were kept */
    assert_int_equal(report.samples, 36);
    assert_int_equal(report.bad_count, 2);
    expect_sound();

    write_nifti("spot/broken.nii", 5, 99); /* mended */
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(report.generation, 2);
    assert_int_equal(report.samples, 37);
    assert_int_equal(report.known, 36);
    assert_int_equal(report.bad_count, 1);
    assert_ok(mri_quarantine_load(out, &bad, &count, &diag), &diag);
    assert_int_equal(count, 1);
    assert_string_equal(bad[0].key, "star/cut.nii");
    mri_bad_list_free(bad, count);

    write_nifti("star/cut.nii", 5, 98);
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(stat(scratch_path(out, "quarantine"), &st), -1);
    assert_ok(ingest_with(&o), &diag); /* nothing new: no new generation */
    assert_int_equal(report.generation, 0);
    assert_int_equal(report.samples, 38);
    assert_int_equal(report.known, 38);
    expect_sound();
}

static void
a_file_that_changed_is_told_and_left(void **state)
{
    mri_ingest_options o = defaults();

    (void)state;
    write_cells(4);
    assert_ok(ingest_with(&o), &diag);
    write_nifti("ring/donor0_cell000.nii", 9, 5);
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(report.changed, 1);
    assert_int_equal(report.samples, 12);
}

static uint64_t stop_after;
static bool
stop_soon(void *user)
{
    (void)user;
    return stop_after == 0 || --stop_after == 0;
}

static void
stopped_anywhere_and_run_again_gives_the_same_bytes(void **state)
{
    mri_ingest_options o = defaults();
    char *want, *got;

    (void)state;
    write_cells(10);
    assert_ok(ingest_with(&o), &diag);
    want = digest_out();
    for (uint64_t n = 1; n < 200; n += 3) {
        const mr_watch watch = {.stop = stop_soon};
        unsigned stops = 0;
        mr_err err;

        (void)snprintf(out, sizeof out, "%s/out%llu.mr", dir,
                       (unsigned long long)n);
        do {
            o = defaults();
            o.watch = &watch;
            /* a longer breath each time, so that it comes to an end */
            stop_after = n + stops * 20;
            err = ingest_with(&o);
            stops += err == MR_ESTOP;
        } while (err == MR_ESTOP);
        assert_ok(err, &diag);
        got = digest_out();
        assert_string_equal(got, want);
        mri_free(got);
        expect_sound();
    }
    mri_free(want);
}

static void
a_failing_disk_loses_nothing_and_leaves_nothing(void **state)
{
    mri_ingest_options o = defaults();
    char *want, *got;
    uint64_t n = 0, made;

    (void)state;
    write_cells(4);
    assert_ok(ingest_with(&o), &diag);
    want = digest_out();
    (void)snprintf(out, sizeof out, "%s/again.mr", dir);
    for (;; n += 1 + n / 20) {
        mr_err err;

        o = defaults();
        o.workers = 1;
        faulty_arm(FAULTY_WRITE | FAULTY_SYNC | FAULTY_LINK | FAULTY_RENAME |
                       FAULTY_MKDIR,
                   n, ENOSPC, true);
        err = ingest_with(&o);
        made = faulty_disarm();
        if (made <= n) {
            assert_ok(err, &diag);
            break;
        }
        assert_int_equal(err, MR_EIO);
        assert_true(diag.path[0] != '\0');
    }
    got = digest_out();
    assert_string_equal(got, want);
    expect_sound();
    mri_free(want);
    mri_free(got);
}

static void
what_cannot_be_begun_creates_nothing(void **state)
{
    mri_ingest_options o = defaults();
    mri_lock lock;
    char other[700];

    (void)state;
    assert_fails(ingest_with(&o), MR_EFORMAT); /* an empty folder */
    assert_int_equal(diag.code, MRI_E_NO_INPUT);
    assert_int_equal(access(out, F_OK), -1);
    write_text("a.nii", "broken");
    write_text("b.png", "broken");
    assert_fails(ingest_with(&o), MR_EFORMAT); /* no usable sample */
    assert_int_equal(diag.code, MRI_E_EMPTY);
    assert_int_equal(access(out, F_OK), -1);
    write_cells(2);
    (void)snprintf(other, sizeof other, "%s/no/such/out.mr", dir);
    o.output = other;
    assert_fails(ingest_with(&o), MR_EIO);
    assert_string_equal(diag.path, other);
    o.output = in; /* holds other things */
    assert_fails(ingest_with(&o), MR_EFORMAT);
    assert_int_equal(diag.code, MRI_E_OUTPUT);
    o = defaults();
    o.max_bad_count = 5;
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(mkdir(scratch_path(out, "journal"), 0755), 0);
    assert_ok(mri_lock_take(&lock, scratch_path(out, "journal/lock"), &diag),
              &diag);
    assert_fails(ingest_with(&o), MR_EBUSY);
    assert_non_null(strstr(diag.text, "pid "));
    mri_lock_release(&lock);
    assert_ok(ingest_with(&o), &diag);
    expect_sound();
}

static void
two_sources_keep_their_names_apart(void **state)
{
    mri_ingest_options o = defaults();
    char a[700], b[700];
    const char *sources[] = {a, b};
    mr_dataset *ds;
    uint64_t rank;

    (void)state;
    write_nifti("one/x.nii", 4, 1);
    write_nifti("two/x.nii", 4, 2);
    (void)snprintf(a, sizeof a, "%s/one", in);
    (void)snprintf(b, sizeof b, "%s/two/", in);
    o.sources = sources;
    o.source_count = 2;
    assert_ok(ingest_with(&o), &diag);
    ds = open_out();
    assert_ok(mri_dataset_find_key(ds, "two/x.nii", &rank, &diag), &diag);
    assert_int_equal(mr_dataset_classes(ds), 2); /* each source is a class */
    mr_dataset_close(ds);
    (void)snprintf(out, sizeof out, "%s/clash.mr", dir);
    o.output = out;
    sources[1] = a;
    assert_fails(ingest_with(&o), MR_EARG);
    assert_int_equal(diag.code, MRI_E_KEY_CLASH);
}

static void
names_that_are_not_utf8_are_escaped_in_keys(void **state)
{
    mri_ingest_options o = defaults();
    mr_dataset *ds;
    uint64_t rank;

    (void)state;
    write_nifti("ring/a\xff%b.nii", 4, 1);
    write_nifti("ring/\xc3\xa9.nii", 4, 2);
    assert_ok(ingest_with(&o), &diag);
    ds = open_out();
    assert_ok(mri_dataset_find_key(ds, "ring/a%FF%25b.nii", &rank, &diag),
              &diag);
    assert_ok(mri_dataset_find_key(ds, "ring/\xc3\xa9.nii", &rank, &diag),
              &diag);
    mr_dataset_close(ds);
}

static void
links_that_loop_or_lead_nowhere_are_passed_over(void **state)
{
    mri_ingest_options o = defaults();

    (void)state;
    write_cells(2);
    assert_int_equal(symlink(in, scratch_path(in, "ring/again")), 0);
    assert_int_equal(symlink("nowhere", scratch_path(in, "ring/dead")), 0);
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(report.inputs, 6);
    assert_int_equal(report.ignored, 2);
}

/* `ingest . -o cells.mr`, and again. */
static void
datasets_below_a_source_are_passed_over(void **state)
{
    mri_ingest_options o = defaults();
    char inner[700], beside[700];

    (void)state;
    write_cells(2);
    (void)snprintf(inner, sizeof inner, "%s/cells.mr", in);
    (void)snprintf(beside, sizeof beside, "%s/ring/more.mr", in);
    o.output = beside;
    assert_ok(ingest_with(&o), &diag);
    o.output = inner;
    for (int i = 0; i < 2; i++) {
        assert_ok(ingest_with(&o), &diag);
        assert_int_equal(report.samples, 6);
        assert_int_equal(report.bad_count, 0);
        assert_int_equal(report.ignored, 1 + i);
    }
}

static void
one_file_a_channel_makes_one_sample(void **state)
{
    mri_ingest_options o = defaults();
    mr_dataset *ds;
    mri_meta *meta;
    mr_field f;

    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "pos%u_%c.nii", i / 3, "DRF"[i % 3]);
        write_nifti(name, i == 8 ? 6 : 5, i); /* pos2_F does not fit */
    }
    o.stack = "*_{channel}.nii";
    o.max_bad_count = 1;
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(report.samples, 2);
    assert_int_equal(report.bad_count, 1);
    assert_int_equal(report.bad[0].code, MRI_E_STACK);
    ds = open_out();
    assert_ok(mr_dataset_field(ds, 0, 0, &f, &diag), &diag);
    assert_string_equal(f.axes, "CZYX");
    assert_int_equal(f.channels, 3);
    assert_ok(mri_dataset_meta(ds, 0, &meta, &diag), &diag);
    assert_int_equal(meta->source_count[0], 3);
    assert_int_equal(meta->geometry[0].channel_count, 3);
    assert_string_equal(meta->geometry[0].channels[1], "F");
    mri_meta_free(meta);
    mr_dataset_close(ds);
}

static void
a_plan_tells_without_doing(void **state)
{
    mri_ingest_options o = defaults();
    mri_ingest_plan plan;

    (void)state;
    write_cells(10);
    write_text("spot/broken.nii", "x");
    o.group = "{group}_*";
    assert_ok(mri_ingest_plan_of(&o, &plan, &diag), &diag);
    assert_int_equal(plan.inputs, 31);
    assert_int_equal(plan.classes, 3);
    assert_int_equal(plan.groups, 4);
    assert_int_equal(plan.class_counts[1], 11);
    assert_int_equal(plan.unmatched, 1);
    assert_true(plan.tried == 8 && plan.seconds > 0);
    assert_true(plan.raw_bytes > 0 && plan.stored_bytes > 0);
    assert_int_equal(access(out, F_OK), -1);
    mri_ingest_plan_release(&plan);
}

static void
memory_running_out_ends_it_without_a_trace(void **state)
{
    (void)state;
    write_cells(2);
    for (int64_t n = 0;; n += 1 + n / 12) {
        mri_ingest_options o = defaults();
        mr_err err;

        o.workers = 1;
        (void)mri_alloc_fail_at(n);
        err = ingest_with(&o);
        if (mri_alloc_fail_at(-1) <= n) {
            assert_ok(err, &diag);
            break;
        }
        assert_true(err != MR_OK);
    }
    expect_sound();
}

static void
what_was_withdrawn_is_not_ingested_again(void **state)
{
    static const char *const keys[] = {"ring/donor0_cell000.nii"};
    static const char *const groups[] = {"donor2"};
    mri_ingest_options o = options;
    mri_withdraw_options w = {
        .dataset = out, .keys = {keys, 1}, .groups = {groups, 1}};
    mri_withdraw_report gone;
    mri_ingest_plan plan;

    (void)state;
    o.group = "{group}_*";
    write_cells(4); /* 12, three of each donor */
    assert_ok(ingest_with(&o), &diag);
    assert_ok(mri_dataset_withdraw(&w, &gone, &diag), &diag);
    assert_int_equal(gone.count, 4);
    mri_withdraw_report_release(&gone);
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(report.generation, 0); /* nothing new */
    assert_int_equal(report.samples, 8);
    assert_int_equal(report.known, 8);
    assert_int_equal(report.withdrawn, 4);
    /* also with other files beside it, and when its own is another one */
    write_nifti("ring/donor0_cell000.nii", 7, 99);
    write_nifti("ring/donor0_cell100.nii", 5, 100);
    assert_ok(mri_ingest_plan_of(&o, &plan, &diag), &diag);
    assert_int_equal(plan.withdrawn, 4);
    assert_int_equal(plan.inputs, 1);
    mri_ingest_plan_release(&plan);
    assert_ok(ingest_with(&o), &diag);
    assert_int_equal(report.generation, 3);
    assert_int_equal(report.added, 1);
    assert_int_equal(report.samples, 9);
    assert_int_equal(report.withdrawn, 4);
    expect_sound();
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_folder_of_classes_becomes_a_dataset),
        T(any_number_of_threads_gives_the_same_bytes),
        T(layouts_are_guessed_and_can_be_told),
        T(what_was_set_aside_is_borne_by_the_next_run_too),
        T(bad_inputs_are_set_aside_and_mended_later),
        T(a_file_that_changed_is_told_and_left),
        T(stopped_anywhere_and_run_again_gives_the_same_bytes),
        T(a_failing_disk_loses_nothing_and_leaves_nothing),
        T(what_cannot_be_begun_creates_nothing),
        T(two_sources_keep_their_names_apart),
        T(names_that_are_not_utf8_are_escaped_in_keys),
        T(links_that_loop_or_lead_nowhere_are_passed_over),
        T(datasets_below_a_source_are_passed_over),
        T(one_file_a_channel_makes_one_sample),
        T(a_plan_tells_without_doing),
        T(what_was_withdrawn_is_not_ingested_again),
        T(memory_running_out_ends_it_without_a_trace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
