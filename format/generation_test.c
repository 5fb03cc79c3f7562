/* SPDX-License-Identifier: Apache-2.0 */
#include "dataset_read.h"
#include "world_set.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/generation.h>

#include <errno.h>
#include <faulty_file.h>
#include <unistd.h>

#define SAMPLES 140u

static char *dir;

static mr_dataset *
open_at(const char *base, const char *suffix)
{
    char path[600];
    mr_dataset *ds;
    mr_diag d = {0};

    (void)snprintf(path, sizeof path, "%s%s", base, suffix);
    assert_ok(mr_dataset_open(&ds, path, &d), &d);
    return ds;
}

static mr_err
commit(const char *into, const mr_dataset *parent, const mri_shard_ref *refs,
       uint32_t count, mr_diag *diag)
{
    mri_commit c = set_commit(into, refs, count);
    uint64_t generation;

    c.parent = parent;
    c.quarantined = 2;
    return mri_dataset_commit(&c, &generation, diag);
}

static char *
make_dataset(const world *is)
{
    char *into = scratch_make();
    mri_shard_ref ref;
    mr_diag d = {0};

    world_write(into, is, &ref);
    assert_ok(commit(into, NULL, &ref, 1, &d), &d);
    return into;
}

static int
setup(void **state)
{
    const world plain = world_plain(0, SAMPLES);

    (void)state;
    dir = make_dataset(&plain);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

/* ---- differences ---- */

typedef struct heard {
    mri_difference at[300];
    unsigned count, of[MRI_CHANGES];
    mr_err answer;
} heard;

static mr_err
hear(void *user, const mri_difference *d, mr_diag *diag)
{
    heard *h = user;

    (void)diag;
    assert_true(h->count < 300);
    h->at[h->count++] = *d;
    h->of[d->change]++;
    return h->answer;
}

static void
compare(const mr_dataset *a, const mr_dataset *b, heard *h)
{
    mr_diag d = {0};

    *h = (heard){0};
    assert_ok(mri_dataset_diff(a, b, hear, h, NULL, &d), &d);
}

static void
assert_key(const mr_dataset *ds, uint64_t rank, const char *key)
{
    mri_meta *meta;
    mr_diag d = {0};

    assert_ok(mri_dataset_meta(ds, rank, &meta, &d), &d);
    assert_string_equal(meta->key, key);
    mri_meta_free(meta);
}

static void
a_dataset_does_not_differ_from_itself(void **state)
{
    mr_dataset *a = open_at(dir, ""), *b = open_at(dir, "@1");
    heard h;

    (void)state;
    compare(a, b, &h);
    assert_int_equal(h.count, 0);
    mr_dataset_close(a);
    mr_dataset_close(b);
}

/* One of each kind, and shards cut elsewhere, which is no difference. */
static void
each_kind_of_difference_is_told_once(void **state)
{
    world other = world_plain(0, SAMPLES);
    mr_dataset *a = open_at(dir, ""), *b;
    char *second;
    heard h;
    unsigned labels = 0;

    (void)state;
    other.tag = 1;
    other.count++; /* cell140 is new */
    other.left_out = 12 + 1;
    other.other_file = 33;
    other.other_values = 44;
    other.other_label = 57;
    second = make_dataset(&other);
    b = open_at(second, "");
    compare(a, b, &h);
    assert_int_equal(h.of[MRI_CHANGE_ADDED], 1);
    assert_int_equal(h.of[MRI_CHANGE_GONE], 1);
    assert_int_equal(h.of[MRI_CHANGE_CONTENT], 2);
    for (unsigned i = 0; i < h.count; i++) {
        const mri_difference *d = &h.at[i];

        if (d->change == MRI_CHANGE_ADDED) {
            assert_key(b, d->rank_b, "cell140.tif");
            assert_int_equal(d->split_a, MR_ALL_SAMPLES);
        } else if (d->change == MRI_CHANGE_GONE) {
            assert_key(a, d->rank_a, "cell12.tif");
            assert_int_equal(d->split_b, MR_ALL_SAMPLES);
        } else if (d->class_differs) {
            assert_int_equal(d->change, MRI_CHANGE_LABEL);
            assert_true(d->group_differs);
            assert_key(a, d->rank_a, "cell57.tif");
            assert_key(b, d->rank_b, "cell57.tif");
            labels++;
        } else if (d->change == MRI_CHANGE_LABEL) {
            assert_true(d->split_a != d->split_b);
        }
    }
    assert_int_equal(labels, 1);
    /* the other way round: what came has left */
    compare(b, a, &h);
    assert_int_equal(h.of[MRI_CHANGE_ADDED], 1);
    assert_int_equal(h.of[MRI_CHANGE_GONE], 1);
    assert_int_equal(h.of[MRI_CHANGE_CONTENT], 2);
    h = (heard){.answer = MR_EARG};
    assert_fails(mri_dataset_diff(a, b, hear, &h, NULL, NULL), MR_EARG);
    assert_int_equal(h.count, 1);
    mr_dataset_close(a);
    mr_dataset_close(b);
    scratch_remove(second);
}

static void
memory_that_runs_out_ends_a_comparison(void **state)
{
    world other = world_plain(0, SAMPLES);
    char *second;
    mr_dataset *a = open_at(dir, ""), *b;

    (void)state;
    other.other_file = 3;
    second = make_dataset(&other);
    b = open_at(second, "");
    for (int64_t n = 0;; n++) {
        heard h = {0};
        mr_err err;

        (void)mri_alloc_fail_at(n);
        err = mri_dataset_diff(a, b, hear, &h, NULL, NULL);
        if (mri_alloc_fail_at(-1) <= n) {
            assert_int_equal(err, MR_OK);
            break;
        }
        assert_int_equal(err, MR_ENOMEM);
    }
    mr_dataset_close(a);
    mr_dataset_close(b);
    scratch_remove(second);
}

/* ---- withdrawing ---- */

static const char *const some_keys[] = {"cell3.tif", "cell77.tif"};
static const char *const some_group[] = {"donor5"}; /* cell50 .. cell59 */

static mri_withdraw_options
some_of(const char *dataset)
{
    return (mri_withdraw_options){
        .dataset = dataset,
        .keys = {some_keys, 2},
        .groups = {some_group, 1},
        .reason = "consent was taken back",
    };
}

static void
withdraw_some(uint64_t want)
{
    mri_withdraw_options o = some_of(dir);
    mri_withdraw_report r;
    mr_diag d = {0};

    assert_ok(mri_dataset_withdraw(&o, &r, &d), &d);
    assert_int_equal(r.generation, want);
    assert_int_equal(r.count, want != 0 ? 12 : 0);
    mri_withdraw_report_release(&r);
}

static bool
has_key(const mr_dataset *ds, const char *key)
{
    uint64_t rank;

    return mri_dataset_find_key(ds, key, &rank, NULL) == MR_OK;
}

static unsigned heard_damages;

static void
hear_damage(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    print_error("%s: %s\n", diag->path, diag->text);
    heard_damages++;
}

static void
assert_sound(void)
{
    mri_dataset_verified v;
    mr_diag d = {0};

    heard_damages = 0;
    assert_ok(mri_dataset_verify(dir, 1, hear_damage, NULL, NULL, &v, &d), &d);
    assert_int_equal(heard_damages, 0);
}

static void
what_is_withdrawn_is_seen_no_more(void **state)
{
    mr_dataset *before = open_at(dir, ""), *after;
    heard h;

    (void)state;
    withdraw_some(2);
    after = open_at(dir, "");
    assert_int_equal(mr_dataset_count(after), SAMPLES - 12);
    assert_false(has_key(after, "cell3.tif"));
    assert_false(has_key(after, "cell77.tif"));
    assert_false(has_key(after, "cell50.tif"));
    assert_false(has_key(after, "cell59.tif"));
    assert_true(has_key(after, "cell60.tif"));
    /* who has it open keeps what it has */
    assert_int_equal(mr_dataset_count(before), SAMPLES);
    assert_true(has_key(before, "cell3.tif"));
    /* and nothing but these has changed: nobody moved to another split */
    compare(before, after, &h);
    assert_int_equal(h.of[MRI_CHANGE_GONE], 12);
    assert_int_equal(h.count, 12);
    assert_memory_equal(mr_dataset_id(before), mr_dataset_id(after), 16);
    assert_sound();
    mr_dataset_close(before);
    mr_dataset_close(after);
}

/* Statistics, classes and content are those of a dataset that never had it. */
static void
nothing_remembers_a_withdrawn_sample(void **state)
{
    static const char *const key[] = {"cell20.tif"};
    mri_withdraw_options o = {.dataset = dir, .keys = {key, 1}};
    mri_withdraw_report r;
    world without = world_plain(0, SAMPLES);
    char *second;
    mr_dataset *a, *b;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_dataset_withdraw(&o, &r, &d), &d);
    mri_withdraw_report_release(&r);
    without.left_out = 20 + 1;
    second = make_dataset(&without);
    a = open_at(dir, "");
    b = open_at(second, "");
    assert_int_equal(mr_dataset_count(a), mr_dataset_count(b));
    for (uint32_t c = 0; c < 2; c++) {
        assert_memory_equal(mr_dataset_stats(a, MR_ALL_SAMPLES, 0, c),
                            mr_dataset_stats(b, MR_ALL_SAMPLES, 0, c),
                            sizeof(mr_channel_stats));
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(mri_dataset_class_count(a, i),
                         mri_dataset_class_count(b, i));
    }
    assert_int_equal(a->manifest->groups, b->manifest->groups);
    assert_string_equal(a->manifest->split_recipe, b->manifest->split_recipe);
    mr_dataset_close(a);
    mr_dataset_close(b);
    scratch_remove(second);
}

static void
asking_twice_leaves_nothing_to_do(void **state)
{
    mri_withdraw_options o = some_of(dir);
    mri_withdraw_report r;
    mr_dataset *ds;
    mr_diag d = {0};

    (void)state;
    withdraw_some(2);
    assert_ok(mri_dataset_withdraw(&o, &r, &d), &d);
    assert_int_equal(r.generation, 0);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.already, 3);
    mri_withdraw_report_release(&r);
    ds = open_at(dir, "");
    assert_int_equal(mr_dataset_generation(ds), 2);
    mr_dataset_close(ds);
}

/* The shards still hold them: a commit of all shards must not let them in. */
static void
a_withdrawn_sample_stays_out_when_more_is_added(void **state)
{
    world more = world_plain(0, SAMPLES);
    mri_shard_ref refs[2];
    mr_dataset *ds;
    mri_dataset_facts facts;
    mr_diag d = {0};

    (void)state;
    withdraw_some(2);
    more.first = SAMPLES;
    more.count = 20;
    world_write(dir, &more, &refs[1]);
    ds = open_at(dir, "");
    mri_dataset_shard(ds, 0, &refs[0]);
    assert_ok(commit(dir, ds, refs, 2, &d), &d);
    mr_dataset_close(ds);
    ds = open_at(dir, "");
    assert_int_equal(mr_dataset_generation(ds), 3);
    assert_int_equal(mr_dataset_count(ds), SAMPLES - 12 + 20);
    assert_false(has_key(ds, "cell3.tif"));
    mri_dataset_facts_of(ds, &facts);
    assert_int_equal(facts.withdrawn, 12);
    mr_dataset_close(ds);
    withdraw_some(0); /* and nothing is left to do there either */
    assert_sound();
}

static void
refused(const mri_withdraw_options *o, mr_err err, unsigned code,
        const char *words)
{
    mri_withdraw_report r;
    mr_dataset *ds;
    mr_diag d = {0};

    assert_fails(mri_dataset_withdraw(o, &r, &d), err);
    assert_int_equal(d.code, code);
    if (strstr(d.text, words) == NULL) {
        fail_msg("'%s' lacks '%s'", d.text, words);
    }
    assert_int_equal(r.generation, 0);
    mri_withdraw_report_release(&r);
    ds = open_at(dir, "");
    assert_int_equal(mr_dataset_generation(ds), 1);
    mr_dataset_close(ds);
    assert_int_equal(access(scratch_path(dir, "journal"), F_OK), -1);
}

static void
one_unknown_name_refuses_all_of_it(void **state)
{
    static const char *const keys[] = {"cell3.tif", "cel44.tif"};
    static const char *const groups[] = {"donr7"};
    static const char *const none[] = {""};
    static const char *const uids[] = {"00112233445566778899aabbccddeeff"};
    static const char *const no_uid[] = {"cell3.tif"};
    mri_withdraw_options o = {.dataset = dir, .keys = {keys, 2}};

    (void)state;
    refused(&o, MR_EARG, MRI_E_NO_SAMPLE, "'cel44.tif'; did you mean 'cell");
    o.keys.count = 0;
    o.groups = (mri_names){groups, 1};
    refused(&o, MR_EARG, MRI_E_NO_GROUP, "did you mean 'donor7'?");
    o.groups = (mri_names){none, 1}; /* not: all that have no group */
    refused(&o, MR_EARG, MRI_E_VALUE, "empty");
    o.groups.count = 0;
    o.uids = (mri_names){uids, 1};
    refused(&o, MR_EARG, MRI_E_NO_SAMPLE, uids[0]);
    o.uids = (mri_names){no_uid, 1};
    refused(&o, MR_EARG, MRI_E_VALUE, "32 hex digits");
}

static void
a_dataset_is_not_emptied(void **state)
{
    static const char *const groups[] = {
        "donor0",  "donor1",  "donor2",  "donor3", "donor4",
        "donor5",  "donor6",  "donor7",  "donor8", "donor9",
        "donor10", "donor11", "donor12", "donor13"};
    mri_withdraw_options o = {.dataset = dir, .groups = {groups, 14}};

    (void)state;
    refused(&o, MR_EARG, MRI_E_WITHDRAW_ALL, "all of its 140");
}

static void
a_dry_run_writes_nothing(void **state)
{
    mri_withdraw_options o = some_of(dir);
    mri_withdraw_report r;
    mr_diag d = {0};

    (void)state;
    o.dry_run = true;
    faulty_arm(FAULTY_WRITE | FAULTY_LINK | FAULTY_RENAME | FAULTY_MKDIR, 0,
               EROFS, true);
    assert_ok(mri_dataset_withdraw(&o, &r, &d), &d);
    assert_int_equal(faulty_disarm(), 0);
    assert_int_equal(r.count, 12);
    assert_int_equal(r.generation, 0);
    mri_withdraw_report_release(&r);
}

static void
one_uid_is_enough(void **state)
{
    mr_dataset *ds = open_at(dir, "");
    char hex[33];
    const char *uids[] = {hex, hex};
    mri_withdraw_options o = {.dataset = dir, .uids = {uids, 2}};
    mri_withdraw_report r;
    mr_sample s;
    mr_diag d = {0};

    (void)state;
    assert_ok(mr_dataset_sample(ds, 17, &s, &d), &d);
    mr_dataset_close(ds);
    (void)mri_hex(hex, s.uid, sizeof s.uid);
    assert_ok(mri_dataset_withdraw(&o, &r, &d), &d);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.ranks[0], 17);
    mri_withdraw_report_release(&r);
    ds = open_at(dir, "");
    assert_fails(mr_dataset_find(ds, s.uid, &(uint64_t){0}, NULL), MR_EARG);
    mr_dataset_close(ds);
}

static void
only_the_generation_in_force_is_changed(void **state)
{
    char old[600];
    mri_withdraw_options o;
    mri_withdraw_report r;
    mr_diag d = {0};

    (void)state;
    withdraw_some(2);
    (void)snprintf(old, sizeof old, "%s@1", dir);
    o = some_of(old);
    assert_fails(mri_dataset_withdraw(&o, &r, &d), MR_EARG);
    assert_int_equal(d.code, MRI_E_OLD_GENERATION);
    mri_withdraw_report_release(&r);
}

static void
the_second_of_two_writers_is_told_of_the_first(void **state)
{
    mri_withdraw_options o = some_of(dir);
    mri_withdraw_report r;
    char *journal = mri_path_join(dir, "journal");
    mri_lock lock;
    char me[32];
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_dir_make(journal, &d), &d);
    assert_ok(mri_lock_take(&lock, scratch_path(journal, "lock"), &d), &d);
    (void)snprintf(me, sizeof me, "pid %ld on ", (long)getpid());
    assert_fails(mri_dataset_withdraw(&o, &r, &d), MR_EBUSY);
    assert_non_null(strstr(d.text, me));
    mri_withdraw_report_release(&r);
    mri_lock_release(&lock);
    mri_free(journal);
    withdraw_some(2); /* and when that one is gone, it goes on */
}

static void
every_call_that_fails_leaves_the_old_or_the_new(void **state)
{
    (void)state;
    for (int stays = 0; stays < 2; stays++) {
        for (uint64_t n = 0;; n++) {
            char *manifest = mri_manifest_path(dir, 2);
            char *index = mri_index_path(dir, 2);
            mri_withdraw_options o = some_of(dir);
            mri_withdraw_report r;
            mr_dataset *ds;
            uint64_t made;
            bool whole;
            mr_err err;

            faulty_arm(FAULTY_ANY, n, EIO, stays != 0);
            err = mri_dataset_withdraw(&o, &r, NULL);
            made = faulty_disarm();
            mri_withdraw_report_release(&r);
            ds = open_at(dir, ""); /* opens, whichever it is */
            whole = mr_dataset_generation(ds) == 2;
            assert_int_equal(mr_dataset_count(ds),
                             whole ? SAMPLES - 12 : SAMPLES);
            assert_true(err != MR_OK || whole);
            mr_dataset_close(ds);
            (void)unlink(manifest);
            (void)unlink(index);
            mri_free(manifest);
            mri_free(index);
            if (made <= n) {
                assert_int_equal(err, MR_OK);
                break;
            }
        }
        (void)unlink(scratch_path(dir, "history.jsonl"));
    }
    withdraw_some(2); /* what they left behind is in nobody's way */
    assert_sound();
}

static void
memory_that_runs_out_changes_nothing(void **state)
{
    (void)state;
    for (int64_t n = 0;; n++) {
        mri_withdraw_options o = some_of(dir);
        mri_withdraw_report r;
        mr_dataset *ds;
        mr_err err;

        (void)mri_alloc_fail_at(n);
        err = mri_dataset_withdraw(&o, &r, NULL);
        mri_withdraw_report_release(&r);
        if (mri_alloc_fail_at(-1) <= n) {
            assert_int_equal(err, MR_OK);
            break;
        }
        ds = open_at(dir, "");
        if (mr_dataset_generation(ds) == 2) { /* only history failed */
            mr_dataset_close(ds);
            break;
        }
        assert_int_equal(err, MR_ENOMEM);
        mr_dataset_close(ds);
    }
}

static void
a_list_that_cannot_be_is_refused(void **state)
{
    uint8_t list[96] = {0};
    mr_dataset *ds = open_at(dir, "");
    const ProtobufCBinaryData none = ds->manifest->withdrawn;
    const struct {
        size_t bytes;
        uint8_t second, third; /* first bytes of their uids */
        mr_err want;
    } rows[] = {{96, 1, 2, MR_OK},       {32, 0, 0, MR_OK},
                {95, 1, 2, MR_ECORRUPT}, {1, 0, 0, MR_ECORRUPT},
                {96, 1, 1, MR_ECORRUPT},  /* twice the same */
                {96, 2, 1, MR_ECORRUPT}}; /* not ascending */

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Mri__PbManifest *got;
        mri_bytes file = {0};

        list[32] = rows[i].second;
        list[64] = rows[i].third;
        ds->manifest->withdrawn = (ProtobufCBinaryData){rows[i].bytes, list};
        assert_true(mri_manifest_build(&file, ds->manifest));
        assert_int_equal(mri_manifest_parse(&got, file.data, file.len, NULL),
                         rows[i].want);
        mri_manifest_free(got);
        mri_bytes_release(&file);
    }
    ds->manifest->withdrawn = none;
    mr_dataset_close(ds);
}

/* ---- rolling back ---- */

static mr_err
roll_back(const char *suffix, uint64_t *generation, mr_diag *diag)
{
    char thing[600];
    mri_rollback_options o = {.thing = thing};
    mri_rollback_report r;
    mr_err err;

    (void)snprintf(thing, sizeof thing, "%s%s", dir, suffix);
    err = mri_dataset_rollback(&o, &r, diag);
    *generation = r.generation;
    return err;
}

static void
rolling_back_brings_the_same_content_forth(void **state)
{
    mr_dataset *first = open_at(dir, ""), *third;
    mri_dataset_facts facts;
    uint64_t generation;
    heard h;
    mr_diag d = {0};

    (void)state;
    withdraw_some(2);
    assert_ok(roll_back("@1", &generation, &d), &d);
    assert_int_equal(generation, 3);
    third = open_at(dir, "");
    assert_int_equal(mr_dataset_generation(third), 3);
    assert_memory_equal(mr_dataset_content_id(third),
                        mr_dataset_content_id(first), 16);
    mri_dataset_facts_of(third, &facts);
    assert_int_equal(facts.withdrawn, 0);
    compare(first, third, &h);
    assert_int_equal(h.count, 0);
    for (uint32_t s = 0; s < 3; s++) {
        assert_memory_equal(mr_dataset_stats(first, s, 0, 1),
                            mr_dataset_stats(third, s, 0, 1),
                            sizeof(mr_channel_stats));
    }
    mr_dataset_close(first);
    mr_dataset_close(third);
    /* again: nothing to do; and back to where they were out: they are out */
    assert_ok(roll_back("@1", &generation, &d), &d);
    assert_int_equal(generation, 0);
    assert_ok(roll_back("@2", &generation, &d), &d);
    assert_int_equal(generation, 4);
    withdraw_some(0);
    assert_sound();
}

static void
rolling_back_needs_a_generation_that_there_is(void **state)
{
    uint64_t generation;
    mr_diag d = {0};

    (void)state;
    assert_fails(roll_back("", &generation, &d), MR_EARG);
    assert_int_equal(d.code, MRI_E_USAGE);
    assert_fails(roll_back("@9", &generation, &d), MR_EARG);
    assert_int_equal(d.code, MRI_E_GENERATION);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_dataset_does_not_differ_from_itself),
        T(each_kind_of_difference_is_told_once),
        T(memory_that_runs_out_ends_a_comparison),
        T(what_is_withdrawn_is_seen_no_more),
        T(nothing_remembers_a_withdrawn_sample),
        T(asking_twice_leaves_nothing_to_do),
        T(a_withdrawn_sample_stays_out_when_more_is_added),
        T(one_unknown_name_refuses_all_of_it),
        T(a_dataset_is_not_emptied),
        T(a_dry_run_writes_nothing),
        T(one_uid_is_enough),
        T(only_the_generation_in_force_is_changed),
        T(the_second_of_two_writers_is_told_of_the_first),
        T(every_call_that_fails_leaves_the_old_or_the_new),
        T(memory_that_runs_out_changes_nothing),
        T(a_list_that_cannot_be_is_refused),
        T(rolling_back_brings_the_same_content_forth),
        T(rolling_back_needs_a_generation_that_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
