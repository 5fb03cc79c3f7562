/* SPDX-License-Identifier: Apache-2.0 */
/* knn_test.c - the vote of neighbours beside one that is counted by hand. */
#include <mri/knn.h>

#include <mri/alloc.h>
#include <mri/error.h>

#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 240, DIM = 12, CLASSES = 7, TRAIN = 0, TEST = 1, VAL = 2 };

static const char *const classes[CLASSES] = {"a", "b", "c", "d", "e", "f", "g"};
static const char *const splits[] = {"train", "test", "val", "empty"};
static const mri_group_name groups[] = {{7, "donor7"}, {8, "donor8"}};

typedef struct table {
    float features[ROWS * DIM];
    int32_t label[ROWS];
    uint64_t group[ROWS];
    uint8_t split[ROWS];
    mri_feature_table t;
} table;

/* Rows around a center for each class, far enough apart to be told apart now
 * and then; every ninth has no class. No group is in two splits. */
static table *
make_table(void)
{
    table *x = calloc(1, sizeof *x);
    uint64_t seed = 3;

    for (size_t i = 0; i < ROWS; i++) {
        int32_t c = (int32_t)(scratch_random(&seed) % CLASSES);

        x->label[i] = i % 9 == 8 ? -1 : c;
        x->split[i] = (uint8_t)(i % 5 == 0 ? TEST : i % 5 == 1 ? VAL : TRAIN);
        x->group[i] = 11 + i % 5 * 3 + scratch_random(&seed) % 3;
        for (size_t l = 0; l < DIM; l++) {
            double noise = (double)(scratch_random(&seed) % 2001) / 1000 - 1;
            bool own = l == (size_t)c;

            x->features[i * DIM + l] = (float)(noise + (own ? 0.9 : 0));
        }
    }
    x->t = (mri_feature_table){.rows = ROWS,
                               .dim = DIM,
                               .features = x->features,
                               .label = x->label,
                               .group = x->group,
                               .split = x->split,
                               .classes = classes,
                               .splits = splits,
                               .groups = groups,
                               .class_count = CLASSES,
                               .split_count = 4,
                               .group_count = 2};
    return x;
}

/* ------------------------------------------------------------- by hand */

typedef struct near {
    double cosine;
    size_t row;
} near;

static int
nearer(const void *a, const void *b)
{
    const near *x = a, *y = b;

    if (x->cosine != y->cosine) {
        return x->cosine > y->cosine ? -1 : 1;
    }
    return x->row < y->row ? -1 : 1;
}

static double
cosine_of(const float *x, const float *y)
{
    double xy = 0, xx = 0, yy = 0;

    for (size_t l = 0; l < DIM; l++) {
        xy += (double)x[l] * (double)y[l];
        xx += (double)x[l] * (double)x[l];
        yy += (double)y[l] * (double)y[l];
    }
    return xy / sqrt(xx) / sqrt(yy);
}

/* The classes of one row by falling votes; those without any are left out.
 * Returns how many. */
static size_t
ranked(const table *x, const near *all, size_t k, double t, uint32_t *out)
{
    double votes[CLASSES] = {0};
    size_t n = 0;

    for (size_t i = 0; i < k; i++) {
        votes[x->label[all[i].row]] += exp(all[i].cosine / t);
    }
    for (;;) {
        size_t best = CLASSES;

        for (size_t c = 0; c < CLASSES; c++) {
            if (votes[c] > 0 && (best == CLASSES || votes[c] > votes[best])) {
                best = c;
            }
        }
        if (best == CLASSES) {
            return n;
        }
        out[n++] = (uint32_t)best;
        votes[best] = 0;
    }
}

typedef struct counts {
    uint64_t test, right, right5;
    uint64_t answers[CLASSES][CLASSES];
} counts;

static counts
count_by_hand(const table *x, const mri_knn_options *o)
{
    counts out = {0};
    near all[ROWS];

    for (size_t r = 0; r < ROWS; r++) {
        uint32_t order[CLASSES];
        size_t n = 0, named;

        if (x->split[r] != TEST || x->label[r] < 0) {
            continue;
        }
        for (size_t i = 0; i < ROWS; i++) {
            if (x->split[i] == TRAIN && x->label[i] >= 0) {
                all[n++] = (near){
                    cosine_of(x->features + r * DIM, x->features + i * DIM), i};
            }
        }
        qsort(all, n, sizeof *all, nearer);
        named = ranked(x, all, o->k < n ? o->k : n, o->temperature, order);
        out.test++;
        out.answers[x->label[r]][order[0]]++;
        out.right += order[0] == (uint32_t)x->label[r];
        for (size_t i = 0; i < named && i < 5; i++) {
            out.right5 += order[i] == (uint32_t)x->label[r];
        }
    }
    return out;
}

static void
assert_answers(const mri_knn_report *r, const counts *want)
{
    uint64_t at = 0;

    for (uint32_t is = 0; is < CLASSES; is++) {
        uint64_t test = 0, called = 0;

        for (uint32_t c = 0; c < CLASSES; c++) {
            test += want->answers[is][c];
            called += want->answers[c][is];
            if (want->answers[is][c] != 0) {
                assert_true(at < r->answer_count);
                assert_int_equal(r->answers[at].is, is);
                assert_int_equal(r->answers[at].called, c);
                assert_int_equal(r->answers[at++].count, want->answers[is][c]);
            }
        }
        assert_int_equal(r->classes[is].test, test);
        assert_int_equal(r->classes[is].called, called);
        assert_int_equal(r->classes[is].right, want->answers[is][is]);
        assert_string_equal(r->classes[is].name, classes[is]);
    }
    assert_int_equal(r->answer_count, at);
}

static void
votes_are_those_counted_by_hand(void **state)
{
    static const struct {
        uint32_t k;
        double temperature;
    } cases[] = {{1, 0.07},   {2, 0.07}, {20, 0.07},  {20, 1},
                 {20, 0.003}, {133, 5},  {1000, 0.07}};
    table *x = make_table();
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        mri_knn_options o = mri_knn_defaults();
        mri_knn_report r;
        counts want;

        o.k = cases[i].k;
        o.temperature = cases[i].temperature;
        o.threads = 1 + (unsigned)i % 3;
        want = count_by_hand(x, &o);
        assert_ok(mri_knn(&r, &x->t, &o, &d), &d);
        assert_int_equal(r.test, want.test);
        assert_true(r.top1 == (double)want.right / (double)want.test);
        assert_true(r.top5 == (double)want.right5 / (double)want.test);
        assert_answers(&r, &want);
        assert_int_equal(r.leak, MRI_LEAK_NONE);
        mri_knn_release(&r);
    }
    free(x);
}

static void
rows_classes_and_chance_are_counted(void **state)
{
    table *x = make_table();
    mri_knn_options o = mri_knn_defaults();
    uint64_t train = 0, without = 0, test[CLASSES] = {0}, most = 0;
    mri_knn_report r;
    double balanced = 0;
    mr_diag d = {0};

    (void)state;
    assert_int_equal(o.k, 20);
    assert_true(o.temperature == 0.07);
    o.k = 1000;
    assert_ok(mri_knn(&r, &x->t, &o, &d), &d);
    for (size_t i = 0; i < ROWS; i++) {
        train += x->split[i] == TRAIN && x->label[i] >= 0;
        without += x->split[i] != VAL && x->label[i] < 0;
        if (x->split[i] == TEST && x->label[i] >= 0) {
            test[x->label[i]]++;
        }
    }
    for (size_t c = 0; c < CLASSES; c++) {
        most = test[c] > most ? test[c] : most;
        balanced +=
            (double)r.classes[c].right / (double)r.classes[c].test / CLASSES;
    }
    assert_int_equal(r.train, train);
    assert_int_equal(r.k, train); /* no more than there are */
    assert_int_equal(r.unlabelled, without);
    assert_true(r.chance == (double)most / (double)r.test);
    assert_true(fabs(r.balanced - balanced) < 1e-12);
    mri_knn_release(&r);
    free(x);
}

/* ------------------------------------------------------------ small cases */

typedef struct row {
    float x, y;
    int32_t label;
    uint8_t split;
} row;

/* What the neighbours call the one test row. */
static uint32_t
called(const row *rows, size_t n, uint32_t k, double temperature)
{
    float features[2 * 16];
    int32_t label[16];
    uint64_t group[16] = {0};
    uint8_t split[16];
    mri_feature_table t = {.rows = n,
                           .dim = 2,
                           .features = features,
                           .label = label,
                           .group = group,
                           .split = split,
                           .classes = classes,
                           .splits = splits,
                           .class_count = CLASSES,
                           .split_count = 4};
    mri_knn_options o = mri_knn_defaults();
    mri_knn_report r;
    mr_diag d = {0};
    uint32_t out;

    for (size_t i = 0; i < n; i++) {
        features[2 * i] = rows[i].x;
        features[2 * i + 1] = rows[i].y;
        label[i] = rows[i].label;
        split[i] = rows[i].split;
    }
    o.k = k;
    o.temperature = temperature;
    assert_ok(mri_knn(&r, &t, &o, &d), &d);
    assert_int_equal(r.leak, MRI_LEAK_UNKNOWN);
    assert_int_equal(r.answer_count, 1);
    out = r.answers[0].called;
    mri_knn_release(&r);
    return out;
}

static void
temperature_weighs_one_that_is_near_against_two(void **state)
{
    /* cosines 0.8, and 0.6 twice: exp(0.2 / T) against 2; T* = 0.2885 */
    static const row rows[] = {
        {4, 3, 2, TRAIN}, {3, 4, 1, TRAIN}, {3, -4, 1, TRAIN}, {1, 0, 0, TEST}};

    (void)state;
    assert_int_equal(called(rows, 4, 3, 0.07), 2);
    assert_int_equal(called(rows, 4, 3, 0.288), 2);
    assert_int_equal(called(rows, 4, 3, 0.289), 1);
    assert_int_equal(called(rows, 4, 3, 1e9), 1);
    assert_int_equal(called(rows, 4, 1, 1e9), 2);
    /* no power of e overflows or vanishes altogether */
    assert_int_equal(called(rows, 4, 3, 1e-300), 2);
    assert_int_equal(called(rows, 4, 3, 1e300), 1);
}

static void
of_equal_votes_the_lower_class_wins(void **state)
{
    static const row rows[] = {
        {2, 0, 5, TRAIN}, {1, 0, 3, TRAIN}, {4, 0, 4, TRAIN}, {1, 0, 5, TEST}};

    (void)state;
    assert_int_equal(called(rows, 4, 3, 0.07), 3);
    /* of equal neighbours the first in train counts */
    assert_int_equal(called(rows, 4, 1, 0.07), 5);
    assert_int_equal(called(rows, 4, 2, 0.07), 3);
}

static void
rows_of_zeros_have_neighbours_too(void **state)
{
    static const row rows[] = {
        {0, 0, 1, TRAIN}, {1, 0, 2, TRAIN}, {0, 1, 2, TRAIN}, {0, 0, 0, TEST}};

    (void)state;
    assert_int_equal(called(rows, 4, 1, 0.07), 1);
    assert_int_equal(called(rows, 4, 3, 0.07), 2);
}

/* Fewer than five classes get a vote: one that got none is not among the
 * first five. */
static void
a_class_that_train_lacks_is_never_right(void **state)
{
    table *x = make_table();
    mri_knn_options o = mri_knn_defaults();
    mri_knn_report r;
    counts want;
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        if (x->split[i] == TRAIN && x->label[i] > 2) {
            x->label[i] = 2;
        }
    }
    want = count_by_hand(x, &o);
    assert_ok(mri_knn(&r, &x->t, &o, &d), &d);
    assert_answers(&r, &want);
    for (size_t c = 3; c < CLASSES; c++) {
        assert_int_equal(r.classes[c].train, 0);
        assert_int_equal(r.classes[c].called, 0);
        assert_int_equal(r.classes[c].right, 0);
        assert_true(r.classes[c].test > 0);
    }
    assert_true(r.top5 == (double)want.right5 / (double)want.test);
    assert_true(r.top5 < 0.7);
    mri_knn_release(&r);
    free(x);
}

/* A class of train that nobody of test has does not count as one missed. */
static void
balanced_is_over_the_classes_of_test(void **state)
{
    static const row rows[] = {
        {1, 0, 0, TRAIN}, {0, 1, 1, TRAIN}, {1, 0, 0, TEST}};
    float features[6];
    int32_t label[3];
    uint64_t group[3] = {0};
    uint8_t split[3];
    mri_feature_table t = {.rows = 3,
                           .dim = 2,
                           .features = features,
                           .label = label,
                           .group = group,
                           .split = split,
                           .classes = classes,
                           .splits = splits,
                           .class_count = CLASSES,
                           .split_count = 4};
    mri_knn_options o = mri_knn_defaults();
    mri_knn_report r;
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        features[2 * i] = rows[i].x;
        features[2 * i + 1] = rows[i].y;
        label[i] = rows[i].label;
        split[i] = rows[i].split;
    }
    assert_ok(mri_knn(&r, &t, &o, &d), &d);
    assert_true(r.balanced == 1 && r.top1 == 1 && r.chance == 1);
    mri_knn_release(&r);
}

/* ---------------------------------------------------------------- refusals */

static void
a_group_on_both_sides_is_refused_by_name(void **state)
{
    table *x = make_table();
    mri_knn_options o = mri_knn_defaults();
    mri_knn_report r;
    mr_diag d = {0};

    (void)state;
    x->group[0] = 7; /* test */
    x->group[2] = 7; /* train */
    assert_fails(mri_knn(&r, &x->t, &o, &d), MR_EFORMAT);
    assert_int_equal(d.code, MRI_E_EVAL_LEAK);
    assert_non_null(strstr(d.text, "'donor7' on both"));
    x->group[5] = 8;
    x->group[3] = 8;
    x->group[4] = 8;
    assert_fails(mri_knn(&r, &x->t, &o, &d), MR_EFORMAT);
    assert_non_null(strstr(d.text, "'donor7', and 1 more"));
    o.allow_leak = true;
    assert_ok(mri_knn(&r, &x->t, &o, &d), &d);
    assert_int_equal(r.leak, MRI_LEAK_ALLOWED);
    mri_knn_release(&r);
    /* a row without a class is not compared, nor is its group */
    o.allow_leak = false;
    x->label[0] = x->label[3] = x->label[4] = -1;
    assert_ok(mri_knn(&r, &x->t, &o, &d), &d);
    assert_int_equal(r.leak, MRI_LEAK_NONE);
    mri_knn_release(&r);
    /* neither is one of a third split */
    x->group[1] = 8;
    assert_ok(mri_knn(&r, &x->t, &o, &d), &d);
    mri_knn_release(&r);
    free(x);
}

static void
rows_without_a_group_are_told_of(void **state)
{
    table *x = make_table();
    mri_knn_options o = mri_knn_defaults();
    mri_knn_report r;
    mr_diag d = {0};

    (void)state;
    x->group[2] = 0;
    assert_ok(mri_knn(&r, &x->t, &o, &d), &d);
    assert_int_equal(r.leak, MRI_LEAK_UNKNOWN);
    mri_knn_release(&r);
    x->group[0] = 0; /* no group is no group that both share */
    assert_ok(mri_knn(&r, &x->t, &o, &d), &d);
    assert_int_equal(r.leak, MRI_LEAK_UNKNOWN);
    mri_knn_release(&r);
    free(x);
}

static void
what_cannot_be_is_refused(void **state)
{
    static const struct {
        uint32_t k;
        double temperature;
        const char *train, *test, *says;
        mr_err err;
        mri_code code;
    } cases[] = {
        {0, 0.07, "train", "test", "k cannot", MR_EARG, MRI_E_EVAL_VALUE},
        {5, 0, "train", "test", "cannot be 0", MR_EARG, MRI_E_EVAL_VALUE},
        {5, -1, "train", "test", "cannot be -1", MR_EARG, MRI_E_EVAL_VALUE},
        {5, NAN, "train", "test", "nan", MR_EARG, MRI_E_EVAL_VALUE},
        {5, INFINITY, "train", "test", "inf", MR_EARG, MRI_E_EVAL_VALUE},
        {5, 1, "train", "train", "itself", MR_EARG, MRI_E_EVAL_VALUE},
        {5, 1, "train", "!empty", "hold split 'train'", MR_EARG,
         MRI_E_EVAL_VALUE},
        {5, 1, "train", "tast", "there are", MR_EARG, MRI_E_SPLIT},
        {5, 1, "train", "empty", "'empty' has no row", MR_EFORMAT,
         MRI_E_EVAL_EMPTY},
        {5, 1, "empty", "test", "'empty' has no row", MR_EFORMAT,
         MRI_E_EVAL_EMPTY},
        {5, 1, "train", "val", "no row with a class", MR_EFORMAT,
         MRI_E_EVAL_EMPTY},
    };
    table *x = make_table();

    (void)state;
    for (size_t i = 0; i < ROWS; i++) {
        x->label[i] = x->split[i] == VAL ? -1 : x->label[i];
    }
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        mri_knn_options o = mri_knn_defaults();
        mri_knn_report r;
        mr_diag d = {0};

        o.k = cases[i].k;
        o.temperature = cases[i].temperature;
        o.train = cases[i].train;
        o.test = cases[i].test;
        assert_fails(mri_knn(&r, &x->t, &o, &d), cases[i].err);
        assert_int_equal(d.code, cases[i].code);
        assert_non_null(strstr(d.text, cases[i].says));
    }
    free(x);
}

static void
memory_that_is_out_is_said(void **state)
{
    table *x = make_table();
    mri_knn_options o = mri_knn_defaults();
    mr_err err = MR_ENOMEM;
    mri_knn_report r;
    mr_diag d = {0};

    (void)state;
    o.threads = 1;
    for (int64_t n = 0; err != MR_OK; n++) {
        (void)mri_alloc_fail_at(n);
        err = mri_knn(&r, &x->t, &o, &d);
        (void)mri_alloc_fail_at(-1);
        assert_true(err == MR_OK || err == MR_ENOMEM);
    }
    mri_knn_release(&r);
    assert_null(r.classes);
    mri_knn_release(&r);
    free(x);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(votes_are_those_counted_by_hand),
        cmocka_unit_test(rows_classes_and_chance_are_counted),
        cmocka_unit_test(temperature_weighs_one_that_is_near_against_two),
        cmocka_unit_test(of_equal_votes_the_lower_class_wins),
        cmocka_unit_test(rows_of_zeros_have_neighbours_too),
        cmocka_unit_test(a_class_that_train_lacks_is_never_right),
        cmocka_unit_test(balanced_is_over_the_classes_of_test),
        cmocka_unit_test(a_group_on_both_sides_is_refused_by_name),
        cmocka_unit_test(rows_without_a_group_are_told_of),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(memory_that_is_out_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
