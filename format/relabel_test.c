/* SPDX-License-Identifier: Apache-2.0 */
#include "dataset_read.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/generation.h>
#include <mri/salvage.h>

#include <errno.h>
#include <faulty_file.h>
#include <test_set.h>

enum { SAMPLES = 40 }; /* groups of four, classes in turn */

static set made;

static int
setup(void **state)
{
    (void)state;
    set_make(&made, SET_CELLS, SAMPLES);
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
open_at(const char *dir, const char *suffix)
{
    char path[600];
    mr_dataset *ds;
    mr_diag d = {0};

    (void)snprintf(path, sizeof path, "%s%s", dir, suffix);
    assert_ok(mr_dataset_open(&ds, path, &d), &d);
    return ds;
}

static mr_err
relabel(const mri_relabel_row *rows, size_t count, mri_relabel_report *r,
        mr_diag *diag)
{
    const mri_relabel_options o = {
        .dataset = made.dir, .rows = rows, .count = count};

    return mri_dataset_relabel(&o, r, diag);
}

static uint64_t
relabel_ok(const mri_relabel_row *rows, size_t count, uint64_t changed)
{
    mri_relabel_report r;
    uint64_t generation;
    mr_diag d = {0};

    assert_ok(relabel(rows, count, &r, &d), &d);
    assert_int_equal(r.count, changed);
    generation = r.generation;
    mri_relabel_report_release(&r);
    return generation;
}

/* Who is `key` in a generation: sample, split, label in words. */
typedef struct who {
    uint64_t rank;
    uint32_t split;
    mr_sample sample;
    char class_name[32], group[32];
} who;

static who
who_is(const mr_dataset *ds, const char *key)
{
    who w;
    mri_meta *meta;
    mr_diag d = {0};

    assert_ok(mri_dataset_find_key(ds, key, &w.rank, &d), &d);
    assert_ok(mr_dataset_sample(ds, w.rank, &w.sample, &d), &d);
    assert_ok(mri_dataset_split_of(ds, w.rank, &w.split, &d), &d);
    assert_ok(mri_dataset_meta(ds, w.rank, &meta, &d), &d);
    (void)snprintf(w.class_name, sizeof w.class_name, "%s", meta->class_name);
    (void)snprintf(w.group, sizeof w.group, "%s", meta->group);
    mri_meta_free(meta);
    return w;
}

static void
hear_damage(void *user, const char *sample, const mr_diag *diag)
{
    (void)sample;
    print_error("%s: %s\n", diag->path, diag->text);
    ++*(unsigned *)user;
}

static void
assert_sound(void)
{
    mri_dataset_verified v;
    unsigned damages = 0;
    mr_diag d = {0};

    assert_ok(
        mri_dataset_verify(made.dir, 1, hear_damage, &damages, NULL, &v, &d),
        &d);
    assert_int_equal(damages, 0);
    assert_int_equal(v.orphans, 0);
}

static const mri_relabel_row some[] = {
    {.key = "sample4", .class_name = "star"},  /* was spot */
    {.key = "sample9", .class_name = "comet"}, /* was ring; new */
};

static void
a_sample_with_another_class_stays_who_it_is(void **state)
{
    mr_dataset *a, *b;
    who old, now;

    (void)state;
    assert_int_equal(relabel_ok(some, 2, 2), 2);
    a = open_at(made.dir, "@1");
    b = open_at(made.dir, "");
    old = who_is(a, "sample4");
    now = who_is(b, "sample4");
    assert_string_equal(old.class_name, "spot");
    assert_string_equal(now.class_name, "star");
    assert_memory_equal(old.sample.uid, now.sample.uid, MR_UID_BYTES);
    assert_int_equal(old.rank, now.rank);
    assert_int_equal(old.split, now.split);
    assert_int_equal(old.sample.group, now.sample.group);
    assert_true(old.sample.content != now.sample.content);
    assert_int_equal(mr_dataset_count(a), mr_dataset_count(b));
    assert_int_equal(mr_dataset_classes(b), 4);
    assert_string_equal(mr_dataset_class_name(b, 3), "comet");
    assert_int_equal(who_is(b, "sample9").sample.class_index, 3);
    assert_int_equal(mri_dataset_class_count(b, 3), 1);
    assert_int_equal(mri_dataset_class_count(b, 1),
                     mri_dataset_class_count(a, 1) - 1);
    assert_int_equal(b->manifest->superseded, 2);
    for (uint32_t s = 0; s < 3; s++) { /* nobody moved, no pixel changed */
        for (uint32_t c = 0; c < 5; c++) {
            assert_memory_equal(mr_dataset_stats(a, s, 0, c),
                                mr_dataset_stats(b, s, 0, c),
                                sizeof(mr_channel_stats));
        }
    }
    assert_sound();
    mr_dataset_close(a);
    mr_dataset_close(b);
}

static mr_err
count_change(void *user, const mri_difference *d, mr_diag *diag)
{
    (void)diag;
    ((unsigned *)user)[d->change]++;
    return MR_OK;
}

static void
a_comparison_shows_it_as_relabelled(void **state)
{
    unsigned of[MRI_CHANGES] = {0};
    mr_dataset *a, *b;
    mr_diag d = {0};

    (void)state;
    (void)relabel_ok(some, 2, 2);
    a = open_at(made.dir, "@1");
    b = open_at(made.dir, "");
    assert_ok(mri_dataset_diff(a, b, count_change, of, NULL, &d), &d);
    assert_int_equal(of[MRI_CHANGE_LABEL], 2);
    assert_int_equal(
        of[MRI_CHANGE_ADDED] + of[MRI_CHANGE_GONE] + of[MRI_CHANGE_CONTENT], 0);
    mr_dataset_close(a);
    mr_dataset_close(b);
}

/* It leaves its split for that of its new group; the others stay. */
static void
a_sample_with_another_group_goes_where_that_group_is(void **state)
{
    mr_dataset *a = open_at(made.dir, ""), *b;
    mri_relabel_row row = {.key = "sample0"};
    char key[32];
    who old = who_is(a, "sample0"), now, other;

    (void)state;
    for (unsigned i = 4;; i += 4) { /* one of a group of another split */
        (void)snprintf(key, sizeof key, "sample%u", i);
        other = who_is(a, key);
        if (other.split != old.split) {
            break;
        }
    }
    row.group = other.group;
    (void)relabel_ok(&row, 1, 1);
    b = open_at(made.dir, "");
    now = who_is(b, "sample0");
    assert_string_equal(now.group, other.group);
    assert_int_equal(now.split, other.split);
    assert_string_equal(now.class_name, old.class_name);
    assert_memory_equal(old.sample.uid, now.sample.uid, MR_UID_BYTES);
    assert_int_equal(who_is(b, "sample1").split, who_is(a, "sample1").split);
    assert_int_equal(b->manifest->leaks, 0);
    assert_sound();
    mr_dataset_close(a);
    mr_dataset_close(b);
}

/* There and back and there again: the shard of the first time counts again. */
static void
the_last_label_counts(void **state)
{
    static const mri_relabel_row star = {.key = "sample4",
                                         .class_name = "star"},
                                 spot = {.key = "sample4",
                                         .class_name = "spot"};
    mr_dataset *ds, *first = open_at(made.dir, "@1");

    (void)state;
    assert_int_equal(relabel_ok(&star, 1, 1), 2);
    assert_int_equal(relabel_ok(&star, 1, 0), 0); /* nothing to do */
    assert_int_equal(relabel_ok(&spot, 1, 1), 3);
    ds = open_at(made.dir, "");
    assert_memory_equal(mr_dataset_content_id(ds), mr_dataset_content_id(first),
                        16);
    mr_dataset_close(ds);
    assert_int_equal(relabel_ok(&star, 1, 1), 4);
    ds = open_at(made.dir, "");
    assert_string_equal(who_is(ds, "sample4").class_name, "star");
    assert_int_equal(ds->manifest->n_shards, 3);
    assert_int_equal(ds->manifest->superseded, 2);
    mr_dataset_close(ds);
    mr_dataset_close(first);
    assert_sound();
}

static void
compacting_leaves_the_new_labels_alone(void **state)
{
    mri_compact_options o = {.dataset = made.dir, .workers = 1};
    mri_compact_report r;
    mr_dataset *before, *after;
    mr_diag d = {0};

    (void)state;
    (void)relabel_ok(some, 2, 2);
    before = open_at(made.dir, "");
    assert_ok(mri_dataset_compact(&o, &r, &d), &d);
    assert_int_equal(r.dead, 2);
    after = open_at(made.dir, "");
    assert_memory_equal(mr_dataset_content_id(before),
                        mr_dataset_content_id(after), 16);
    assert_int_equal(after->manifest->superseded, 0);
    assert_string_equal(who_is(after, "sample9").class_name, "comet");
    mr_dataset_close(before);
    mr_dataset_close(after);
}

static void
a_label_can_be_withdrawn_and_rolled_back(void **state)
{
    static const char *const keys[] = {"sample4"};
    mri_withdraw_options w = {.dataset = made.dir, .keys = {keys, 1}};
    mri_withdraw_report r;
    mri_rollback_report back;
    char thing[600];
    mri_rollback_options o = {.thing = thing};
    mr_dataset *ds;
    mr_diag d = {0};

    (void)state;
    (void)relabel_ok(some, 2, 2);
    assert_ok(mri_dataset_withdraw(&w, &r, &d), &d);
    mri_withdraw_report_release(&r);
    ds = open_at(made.dir, ""); /* the old row does not come back */
    assert_fails(mri_dataset_find_key(ds, "sample4", &(uint64_t){0}, NULL),
                 MR_EARG);
    mr_dataset_close(ds);
    (void)snprintf(thing, sizeof thing, "%s@1", made.dir);
    assert_ok(mri_dataset_rollback(&o, &back, &d), &d);
    ds = open_at(made.dir, "");
    assert_string_equal(who_is(ds, "sample4").class_name, "spot");
    mr_dataset_close(ds);
    assert_sound();
}

static void
salvaging_brings_the_new_label_back(void **state)
{
    char out[600];
    mri_salvage_options o = {.source = made.dir, .output = out};
    mri_salvaged got;
    mr_dataset *ds;
    mr_diag d = {0};

    (void)state;
    (void)relabel_ok(some, 2, 2);
    (void)snprintf(out, sizeof out, "%s.saved", made.dir);
    assert_ok(mri_salvage(&o, &got, &d), &d);
    assert_int_equal(got.saved, SAMPLES);
    ds = open_at(out, "");
    assert_string_equal(who_is(ds, "sample9").class_name, "comet");
    mr_dataset_close(ds);
    scratch_remove(strdup(out));
}

static void
refused(const mri_relabel_row *rows, size_t count, unsigned code,
        const char *words)
{
    mri_relabel_report r;
    mr_dataset *ds;
    mr_diag d = {0};

    assert_fails(relabel(rows, count, &r, &d), MR_EARG);
    assert_int_equal(d.code, code);
    if (strstr(d.text, words) == NULL) {
        fail_msg("'%s' lacks '%s'", d.text, words);
    }
    mri_relabel_report_release(&r);
    ds = open_at(made.dir, "");
    assert_int_equal(mr_dataset_generation(ds), 1);
    mr_dataset_close(ds);
}

static void
one_name_that_is_not_known_refuses_all(void **state)
{
    mri_relabel_row rows[] = {{.key = "sample4", .class_name = "star"},
                              {.key = "sampel9", .class_name = "star"}};
    const mri_relabel_row uid = {.uid = "00112233445566778899aabbccddeeff"},
                          no_uid = {.uid = "sample4"};

    (void)state;
    refused(rows, 2, MRI_E_NO_SAMPLE, "'sampel9'; did you mean 'sample");
    rows[1].key = "sample4";
    refused(rows, 2, MRI_E_VALUE, "two labels for one sample");
    refused(&uid, 1, MRI_E_NO_SAMPLE, "00112233");
    refused(&no_uid, 1, MRI_E_VALUE, "32 hex digits");
}

static void
every_call_that_fails_leaves_the_old_or_the_new(void **state)
{
    (void)state;
    for (uint64_t n = 0;; n++) {
        mri_relabel_report r;
        mr_dataset *ds;
        uint64_t calls;
        bool whole;
        mr_err err;

        faulty_arm(FAULTY_ANY, n, ENOSPC, false);
        err = relabel(some, 2, &r, NULL);
        calls = faulty_disarm();
        mri_relabel_report_release(&r);
        ds = open_at(made.dir, "");
        whole = mr_dataset_generation(ds) == 2;
        assert_string_equal(who_is(ds, "sample4").class_name,
                            whole ? "star" : "spot");
        assert_true(err != MR_OK || whole);
        mr_dataset_close(ds);
        if (calls <= n) {
            assert_int_equal(err, MR_OK);
            break;
        }
        teardown(NULL);
        setup(NULL);
    }
    assert_sound();
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_sample_with_another_class_stays_who_it_is),
        T(a_comparison_shows_it_as_relabelled),
        T(a_sample_with_another_group_goes_where_that_group_is),
        T(the_last_label_counts),
        T(compacting_leaves_the_new_labels_alone),
        T(a_label_can_be_withdrawn_and_rolled_back),
        T(salvaging_brings_the_new_label_back),
        T(one_name_that_is_not_known_refuses_all),
        T(every_call_that_fails_leaves_the_old_or_the_new),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
