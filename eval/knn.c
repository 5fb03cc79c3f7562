/* SPDX-License-Identifier: Apache-2.0 */
/* knn.c - what the neighbours of a row say about its class. */
#include <mri/knn.h>

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/fmath.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOP 5

/* Rows of a table that stand on one side, in its order. */
typedef struct side {
    const char *name;
    uint32_t *rows;
    uint64_t count;
    uint64_t unlabelled;
    bool chosen[MRI_NO_SPLIT + 1];
} side;

typedef struct trial {
    const mri_feature_table *t;
    const mri_knn_options *o;
    side train, test;
    uint32_t k;
    uint32_t *index; /* [test, k] into train */
    double *cosine;
    double *votes;     /* [classes] */
    uint64_t *answers; /* [test]: class << 32 | what it was called */
    uint64_t right, right5;
} trial;

mri_knn_options
mri_knn_defaults(void)
{
    return (mri_knn_options){
        .train = "train", .test = "test", .k = 20, .temperature = 0.07};
}

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for neighbours");
}

/* ------------------------------------------------------------------- sides */

static mr_err
choose_side(side *s, const mri_feature_table *t, const char *name,
            mr_diag *diag)
{
    mr_err err = mri_feature_splits(t, name, s->chosen, diag);

    if (err != MR_OK) {
        return err;
    }
    s->name = name;
    s->rows = mri_alloc((size_t)t->rows, sizeof *s->rows);
    if (s->rows == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; i < t->rows; i++) {
        if (s->chosen[t->split[i]] && t->label[i] >= 0) {
            s->rows[s->count++] = (uint32_t)i;
        }
        s->unlabelled += s->chosen[t->split[i]] && t->label[i] < 0;
    }
    if (s->count == 0) {
        return mri_fail(diag, MRI_E_EVAL_EMPTY, MR_NOWHERE, "split '%s' has %s",
                        name,
                        s->unlabelled != 0 ? "no row with a class" : "no row");
    }
    return MR_OK;
}

static int
by_value(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* No row may find itself. */
static mr_err
check_sides(const side *a, const side *b, const mri_feature_table *t,
            mr_diag *diag)
{
    for (unsigned i = 0; i <= MRI_NO_SPLIT; i++) {
        if (a->chosen[i] && b->chosen[i]) {
            return mri_fail(diag, MRI_E_EVAL_VALUE, MR_NOWHERE,
                            "both sides ('%.60s' and '%.60s') cannot hold "
                            "split '%.60s': every row would find itself",
                            a->name, b->name,
                            i < t->split_count ? t->splits[i] : "none");
        }
    }
    return MR_OK;
}

static uint64_t *
groups_of(const side *s, const mri_feature_table *t)
{
    uint64_t *out = mri_alloc((size_t)s->count, sizeof *out);

    for (uint64_t i = 0; out != NULL && i < s->count; i++) {
        out[i] = t->group[s->rows[i]];
    }
    if (out != NULL) {
        qsort(out, (size_t)s->count, sizeof *out, by_value);
    }
    return out;
}

static mr_err
leaks(const mri_feature_table *t, uint64_t group, uint64_t shared,
      mr_diag *diag)
{
    const char *name = mri_group_name_of(t, group);
    char more[48] = "";

    if (shared > 1) {
        (void)snprintf(more, sizeof more, ", and %llu more",
                       (unsigned long long)shared - 1);
    }
    return mri_fail(diag, MRI_E_EVAL_LEAK, MR_NOWHERE,
                    "group '%.120s'%s on both sides", name != NULL ? name : "?",
                    more);
}

/* Walk both sorted lists; 0 is no group. */
static mr_err
compare_groups(mri_leak *leak, const trial *x, const uint64_t *a,
               const uint64_t *b, mr_diag *diag)
{
    uint64_t shared = 0, first = 0, i = 0, j = 0;

    *leak = a[0] == 0 || b[0] == 0 ? MRI_LEAK_UNKNOWN : MRI_LEAK_NONE;
    while (i < x->train.count && j < x->test.count) {
        if (a[i] == b[j] && a[i] != 0 && (i == 0 || a[i] != a[i - 1])) {
            first = shared++ == 0 ? a[i] : first;
        }
        if (a[i] < b[j]) {
            i++;
        } else if (a[i] > b[j]) {
            j++;
        } else {
            i++;
        }
    }
    if (shared == 0) {
        return MR_OK;
    }
    *leak = MRI_LEAK_ALLOWED;
    return x->o->allow_leak ? MR_OK : leaks(x->t, first, shared, diag);
}

static mr_err
check_groups(mri_leak *leak, const trial *x, mr_diag *diag)
{
    uint64_t *a = groups_of(&x->train, x->t), *b = groups_of(&x->test, x->t);
    mr_err err = a != NULL && b != NULL ? compare_groups(leak, x, a, b, diag)
                                        : no_memory(diag);

    mri_free(a);
    mri_free(b);
    return err;
}

/* ------------------------------------------------------------------- votes */

/*
 * Votes of the neighbours of test row i. Weights are taken relative to the
 * nearest's, which changes no order and lets no temperature overflow.
 */
static void
vote(const trial *x, uint64_t i)
{
    const uint32_t *index = x->index + i * x->k;
    const double *cosine = x->cosine + i * x->k;

    memset(x->votes, 0, x->t->class_count * sizeof *x->votes);
    for (uint32_t n = 0; n < x->k; n++) {
        uint32_t row = x->train.rows[index[n]];

        x->votes[x->t->label[row]] +=
            mri_exp((cosine[n] - cosine[0]) / x->o->temperature);
    }
}

/* How many classes come before class `c`; SIZE_MAX if it got no vote. *first:
 * the class that comes first. */
static size_t
place_of(const trial *x, int32_t c, uint32_t *first)
{
    const double *v = x->votes;
    size_t before = 0;

    *first = 0;
    for (uint32_t i = 0; i < x->t->class_count; i++) {
        *first = v[i] > v[*first] ? i : *first;
        before += v[i] > v[c] || (v[i] == v[c] && (int64_t)i < c);
    }
    return v[c] > 0 ? before : SIZE_MAX;
}

static void
count_row(trial *x, mri_knn_report *r, uint64_t i)
{
    int32_t label = x->t->label[x->test.rows[i]];
    uint32_t first;
    size_t place;

    vote(x, i);
    place = place_of(x, label, &first);
    r->classes[label].test++;
    r->classes[first].called++;
    x->answers[i] = (uint64_t)label << 32 | first;
    r->classes[label].right += place == 0;
    x->right += place == 0;
    x->right5 += place < TOP;
}

static mr_err
list_classes(mri_knn_report *r, trial *x, mr_diag *diag)
{
    r->class_count = x->t->class_count;
    r->classes = mri_alloc(r->class_count, sizeof *r->classes);
    x->votes = mri_alloc(r->class_count, sizeof *x->votes);
    x->answers = mri_alloc((size_t)x->test.count, sizeof *x->answers);
    if (r->classes == NULL || x->votes == NULL || x->answers == NULL) {
        return no_memory(diag);
    }
    for (uint32_t c = 0; c < r->class_count; c++) {
        r->classes[c].name = x->t->classes[c];
    }
    for (uint64_t i = 0; i < x->train.count; i++) {
        r->classes[x->t->label[x->train.rows[i]]].train++;
    }
    return MR_OK;
}

/* The confusion as a list: a matrix of all classes may be far larger than the
 * table. */
static mr_err
list_answers(mri_knn_report *r, trial *x, mr_diag *diag)
{
    size_t n = (size_t)x->test.count;

    r->answers = mri_alloc(n, sizeof *r->answers);
    if (r->answers == NULL) {
        return no_memory(diag);
    }
    qsort(x->answers, n, sizeof *x->answers, by_value);
    for (size_t i = 0; i < n; i++) {
        uint64_t a = x->answers[i];

        if (i == 0 || a != x->answers[i - 1]) {
            r->answers[r->answer_count++] =
                (mri_knn_answer){(uint32_t)(a >> 32), (uint32_t)a, 0};
        }
        r->answers[r->answer_count - 1].count++;
    }
    return MR_OK;
}

static void
sum_up(mri_knn_report *r, const trial *x)
{
    double sum = 0, n = (double)x->test.count;
    uint64_t commonest = 0, present = 0;

    for (uint32_t c = 0; c < r->class_count; c++) {
        const mri_knn_class *of = &r->classes[c];

        commonest = of->test > commonest ? of->test : commonest;
        present += of->test > 0;
        sum += of->test > 0 ? (double)of->right / (double)of->test : 0;
    }
    r->k = x->k;
    r->train = x->train.count;
    r->test = x->test.count;
    r->unlabelled = x->train.unlabelled + x->test.unlabelled;
    r->top1 = (double)x->right / n;
    r->top5 = (double)x->right5 / n;
    r->balanced = sum / (double)present;
    r->chance = (double)commonest / n;
}

/* ------------------------------------------------------------------- trial */

static mr_err
check_options(const mri_knn_options *o, mr_diag *diag)
{
    if (o->k == 0) {
        return mri_fail(diag, MRI_E_EVAL_VALUE, MR_NOWHERE,
                        "k cannot be 0: nobody would vote");
    }
    if (!(o->temperature > 0 && isfinite(o->temperature))) {
        return mri_fail(diag, MRI_E_EVAL_VALUE, MR_NOWHERE,
                        "the temperature cannot be %g: it must be above 0",
                        o->temperature);
    }
    return MR_OK;
}

static mr_err
find_neighbours(trial *x, mr_diag *diag)
{
    const mri_search_in in = {
        .train = {x->t->features, x->train.rows, x->train.count},
        .test = {x->t->features, x->test.rows, x->test.count},
        .dim = x->t->dim,
        .k = x->k,
        .threads = x->o->threads,
        .watch = x->o->watch};
    size_t n = (size_t)x->test.count;

    x->index = mri_alloc(n, x->k * sizeof *x->index);
    x->cosine = mri_alloc(n, x->k * sizeof *x->cosine);
    return x->index != NULL && x->cosine != NULL
               ? mri_search(&in, x->index, x->cosine, diag)
               : no_memory(diag);
}

static mr_err
prepare(trial *x, mri_knn_report *r, mr_diag *diag)
{
    mr_err err = check_options(x->o, diag);

    if (err == MR_OK) {
        err = choose_side(&x->train, x->t, x->o->train, diag);
    }
    if (err == MR_OK) {
        err = choose_side(&x->test, x->t, x->o->test, diag);
    }
    if (err == MR_OK) {
        err = check_sides(&x->train, &x->test, x->t, diag);
    }
    if (err == MR_OK) {
        err = check_groups(&r->leak, x, diag);
    }
    if (err == MR_OK) {
        x->k = x->o->k < x->train.count ? x->o->k : (uint32_t)x->train.count;
        err = list_classes(r, x, diag);
    }
    return err;
}

mr_err
mri_knn(mri_knn_report *report, const mri_feature_table *table,
        const mri_knn_options *options, mr_diag *diag)
{
    trial x = {.t = table, .o = options};
    mri_knn_report r = {0};
    mr_err err = prepare(&x, &r, diag);

    if (err == MR_OK) {
        err = find_neighbours(&x, diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < x.test.count; i++) {
        count_row(&x, &r, i);
    }
    if (err == MR_OK) {
        err = list_answers(&r, &x, diag);
    }
    if (err == MR_OK) {
        sum_up(&r, &x);
        *report = r;
    } else {
        mri_knn_release(&r);
    }
    mri_free(x.train.rows);
    mri_free(x.test.rows);
    mri_free(x.index);
    mri_free(x.cosine);
    mri_free(x.votes);
    mri_free(x.answers);
    return err;
}

void
mri_knn_release(mri_knn_report *report)
{
    mri_free(report->classes);
    mri_free(report->answers);
    *report = (mri_knn_report){0};
}
