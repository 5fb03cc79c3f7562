/* SPDX-License-Identifier: Apache-2.0 */
/* eval_knn.c - millrace eval knn: classes by a vote of neighbours. */
#include "eval.h"

#include <mri/clock.h>
#include <mri/error.h>
#include <mri/knn.h>

#include <stdlib.h>
#include <string.h>

#define MISTAKES 8

static const mri_cmd_doc doc = {
    .name = "eval knn",
    .args = "F.mrf",
    .summary = "classes of the test rows by a vote of their neighbours",
    .examples =
        "  millrace eval knn trained.mrf\n"
        "      the share of test rows whose class the neighbours tell\n"
        "  millrace eval knn trained.mrf --k 10 --per-class\n"
        "      by 10 neighbours; and class by class, with the mistakes\n"
        "  millrace eval knn trained.mrf --test val\n"
        "      while numbers are still chosen: leave test for the end\n"
        "  millrace eval knn trained.mrf --json\n"
        "      for programs: top1, top5, k, train, test, chance, ...\n",
    .details =
        "The k nearest rows of split train, by cosine, vote for the class of "
        "each row of\nsplit test, with the weight exp(cosine / temperature), "
        "as DINO does. The search\nis exact; of equals the row that comes "
        "first counts. A class without a vote is\nnever named. top-5: the "
        "class is among the first five. balanced: the mean over\nclasses of "
        "their own top-1. chance: what always naming the commonest class of "
        "the\ntest rows would reach. Shares are 0 to 1 in --json.\n\nA group "
        "(donor, slide, plate) that has rows in both splits is refused with "
        "exit 3:\nits rows would find each other. --train and --test name "
        "other splits. Rows without\na class are left out.\n",
};

static const char *const leak_names[] = {"none", "unknown", "allowed"};

static void
put_answers(mri_json *j, const mri_knn_report *r)
{
    mri_json_key(j, "confusion");
    mri_json_array(j);
    for (uint64_t i = 0; i < r->answer_count; i++) {
        const mri_knn_answer *a = &r->answers[i];

        mri_json_object(j);
        mri_json_put_text(j, "class", r->classes[a->is].name);
        mri_json_put_text(j, "called", r->classes[a->called].name);
        mri_json_put_u64(j, "count", a->count);
        mri_json_end(j);
    }
    mri_json_end(j);
}

static mr_err
print_json(const mri_knn_report *r, const mri_knn_options *o, double seconds,
           mr_diag *diag)
{
    mri_json j = {0};

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.eval.knn.1");
    mri_json_put_f64(&j, "top1", r->top1);
    mri_json_put_f64(&j, "top5", r->top5);
    mri_json_put_u64(&j, "k", r->k);
    mri_json_put_u64(&j, "train", r->train);
    mri_json_put_u64(&j, "test", r->test);
    mri_json_put_f64(&j, "chance", r->chance);
    mri_json_put_f64(&j, "balanced", r->balanced);
    mri_json_put_f64(&j, "temperature", o->temperature);
    mri_json_put_u64(&j, "unlabelled", r->unlabelled);
    mri_json_put_text(&j, "leak", leak_names[r->leak]);
    mri_json_put_f64(&j, "seconds", seconds);
    mri_json_key(&j, "classes");
    mri_json_array(&j);
    for (uint32_t i = 0; i < r->class_count; i++) {
        const mri_knn_class *c = &r->classes[i];

        mri_json_object(&j);
        mri_json_put_text(&j, "name", c->name);
        mri_json_put_u64(&j, "train", c->train);
        mri_json_put_u64(&j, "test", c->test);
        mri_json_put_u64(&j, "called", c->called);
        mri_json_put_u64(&j, "right", c->right);
        mri_json_end(&j);
    }
    mri_json_end(&j);
    put_answers(&j, r);
    mri_json_end(&j);
    return mri_cli_json(&j, diag);
}

static void
print_share(uint64_t part, uint64_t whole)
{
    if (whole == 0) {
        (void)printf("%10s", "-");
    } else {
        (void)printf("%8.1f %%", 100.0 * (double)part / (double)whole);
    }
}

static void
print_classes(const mri_knn_report *r)
{
    int width = 5;

    for (uint32_t i = 0; i < r->class_count; i++) {
        int n = (int)strnlen(r->classes[i].name, 40);

        width = n > width ? n : width;
    }
    (void)printf("\n  %-*s %8s %8s    recall  precision\n", width, "class",
                 "train", "test");
    for (uint32_t i = 0; i < r->class_count; i++) {
        const mri_knn_class *c = &r->classes[i];

        (void)printf("  %-*s %8s %8s", width, c->name, mri_text_count(c->train),
                     mri_text_count(c->test));
        print_share(c->right, c->test);
        (void)printf(" ");
        print_share(c->right, c->called);
        (void)printf("\n");
    }
}

static int
by_count(const void *a, const void *b)
{
    const mri_knn_answer *x = a, *y = b;

    if (x->count != y->count) {
        return x->count > y->count ? -1 : 1;
    }
    if (x->is != y->is) {
        return x->is < y->is ? -1 : 1;
    }
    return x->called < y->called ? -1 : x->called > y->called;
}

/* The mistakes that were made most often; puts the answers into another
 * order. */
static void
print_mistakes(mri_knn_report *r)
{
    unsigned shown = 0;

    qsort(r->answers, (size_t)r->answer_count, sizeof *r->answers, by_count);
    for (uint64_t i = 0; i < r->answer_count && shown < MISTAKES; i++) {
        const mri_knn_answer *a = &r->answers[i];

        if (a->is != a->called) {
            (void)printf("%s  %s of %s '%s' called '%s'\n",
                         shown++ == 0 ? "\n  most frequent mistakes\n" : "",
                         mri_text_count(a->count),
                         mri_text_count(r->classes[a->is].test),
                         r->classes[a->is].name, r->classes[a->called].name);
        }
    }
}

static void
print_text(const mri_knn_report *r, const mri_knn_options *o,
           const mri_feature_table *t, const char *file)
{
    static const char *const groups[] = {
        "none is on both sides",
        "some rows have none: nobody can tell whether the sides are apart",
        "SOME ARE ON BOTH SIDES: this says nothing about new groups"};

    (void)printf("%s: %s\n", file, mri_eval_origin(&t->from));
    (void)printf("  top-1     %5.1f %%\n", 100 * r->top1);
    (void)printf("  top-5     %5.1f %%\n", 100 * r->top5);
    (void)printf("  balanced  %5.1f %%\n", 100 * r->balanced);
    (void)printf("  chance    %5.1f %%\n", 100 * r->chance);
    (void)printf("  rows      %s train, %s test; k %u, temperature %g\n",
                 mri_text_count(r->train), mri_text_count(r->test), r->k,
                 o->temperature);
    (void)printf("  groups    %s\n", groups[r->leak]);
    if (r->unlabelled != 0) {
        (void)printf("  left out  %s without a class\n",
                     mri_text_plural(r->unlabelled, "row"));
    }
}

typedef struct knn_job {
    mri_cli *cli;
    mri_knn_options o;
    bool per_class;
} knn_job;

static mr_err
run_job(knn_job *job, const mri_feature_table *t, mr_diag *diag)
{
    mri_knn_report r;
    double began = mri_now_s(), seconds;
    mr_err err = mri_knn(&r, t, &job->o, diag);

    if (err != MR_OK) {
        return err;
    }
    seconds = mri_now_s() - began;
    if (r.k < job->o.k) {
        mri_cli_warn(job->cli, "split '%s' has only %s, so k is %u",
                     job->o.train, mri_text_plural(r.k, "row"), r.k);
    }
    if (job->cli->json) {
        err = print_json(&r, &job->o, seconds, diag);
    } else {
        mri_progress_clear(&job->cli->line);
        print_text(&r, &job->o, t, job->cli->rest.at[0]);
        if (job->per_class) {
            print_classes(&r);
            print_mistakes(&r);
        }
    }
    mri_knn_release(&r);
    return err;
}

int
mri_eval_knn(int argc, char **argv)
{
    knn_job job = {.o = mri_knn_defaults()};
    uint64_t k = job.o.k, threads = 0;
    const mri_opt opts[] = {
        {MRI_OPT_U64, 'k', "k", &k, "N", "neighbours that vote (20)", false},
        {MRI_OPT_F64, 0, "temperature", &job.o.temperature, "T",
         "the smaller, the more the nearest count (0.07)", false},
        {MRI_OPT_TEXT, 0, "train", &job.o.train, "NAME",
         "split whose rows vote, such as '!fold0' (train)", false},
        {MRI_OPT_TEXT, 0, "test", &job.o.test, "NAME",
         "split whose rows are judged, such as fold0 (test)", false},
        {MRI_OPT_FLAG, 0, "allow-leak", &job.o.allow_leak, NULL,
         "compute it though a group is on both sides", false},
        {MRI_OPT_FLAG, 0, "per-class", &job.per_class, NULL,
         "recall and precision of each class, and what is taken for what",
         false},
        {MRI_OPT_U64, 'j', "threads", &threads, "N",
         "threads that compute (all CPUs)", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    mri_features *f = NULL;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    job.cli = &cli;
    err = mri_cli_args(&cli, 1, 1, &diag);
    if (err == MR_OK) {
        err = mri_cli_number("k", k, 0, UINT32_MAX, &diag);
    }
    if (err == MR_OK) {
        err = mri_cli_number("threads", threads, 0, MRI_CLI_THREADS, &diag);
    }
    if (err == MR_OK) {
        err = mri_features_open(&f, cli.rest.at[0], &diag);
    }
    if (err == MR_OK) {
        job.o.k = (uint32_t)k;
        job.o.threads = (unsigned)threads;
        job.o.watch = &cli.watch;
        err = run_job(&job, mri_features_table(f), &diag);
        mri_diag_in(err != MR_OK ? &diag : NULL, cli.rest.at[0]);
    }
    mri_features_close(f);
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
