/* SPDX-License-Identifier: Apache-2.0 */
/* eval_features.c - millrace eval features: a network's view of each sample. */
#include "eval.h"

#include <mri/alloc.h>
#include <mri/clock.h>
#include <mri/error.h>
#include <mri/file.h>

#include <string.h>

static const mri_cmd_doc doc = {
    .name = "eval features",
    .args = "WEIGHTS SOURCE -o F.mrf",
    .summary = "what a network sees in each sample of a dataset, as a table",
    .examples =
        "  millrace eval features run1 cells.mr -o trained.mrf\n"
        "      by the newest checkpoint of a run\n"
        "  millrace eval features run1/checkpoints/step-00000040.safetensors "
        "cells.mr \\\n"
        "      -o early.mrf --split test\n"
        "      by an earlier one, of one split\n"
        "  millrace eval features random:7 cells.mr --like run1 -o "
        "untrained.mrf\n"
        "      the same network as 'train --seed 7' begins with\n",
    .details =
        "WEIGHTS is a checkpoint, a run's folder (then "
        "checkpoints/last.safetensors: the\nloss of self-distillation is no "
        "measure of features, so the newest and not the\n\"best\"), or "
        "random:SEED with --like. SOURCE is a dataset: NAME.mr or\n"
        "NAME.mr@GENERATION.\n\nSamples are shown as in training, but whole "
        "and without anything random: select,\nminmax, normalize, resize and "
        "to are kept, random crops become one bilinear\nresize to the "
        "network's size, other crops are cut at the center; --pipeline says\n"
        "otherwise. Every sample is seen once; rows are in the order of "
        "uids.\n\nF.mrf is a safetensors file: features f32 [rows, dim], uid, "
        "label (-1: none),\ngroup, split (255: none), key_bytes and "
        "key_offsets; its metadata has the names\nand the pipeline in force. "
        "It does not depend on the number of threads.\n",
};

typedef struct job {
    mri_cli *cli;
    mri_features_options o;
    const char *pipeline, *device, *out;
} job;

/* "cuda:1" is device 1 of back end cuda. */
static mr_err
find_backend(job *j, mr_diag *diag)
{
    const char *colon = strchr(j->device, ':');
    char name[16], lib[600];
    uint64_t number = 0;
    size_t n = strcspn(j->device, ":");

    if (n >= sizeof name ||
        (colon != NULL &&
         (!mri_parse_u64(colon + 1, &number) || number > 1024))) {
        return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                        "--device cannot be '%s': expected cpu, ref or cuda:N",
                        j->device);
    }
    memcpy(name, j->device, n);
    name[n] = '\0';
    j->o.device = (unsigned)number;
    return mri_backend_find(&j->o.backend, name,
                            mri_cli_modules(lib, sizeof lib), diag);
}

/* A place where nothing can be written is better known before the work. */
static mr_err
try_output(const char *path, mr_diag *diag)
{
    mri_put put;
    mr_err err = mri_put_open(&put, path, diag);

    mri_put_release(&put);
    return err;
}

static mr_err
report(const job *j, const mri_feature_table *t, double seconds, mr_diag *diag)
{
    mri_json json = {0};
    double rate = seconds > 0 ? (double)t->rows / seconds : 0;

    if (!j->cli->json) {
        (void)printf("%s: %s of %u features by %s (%s), %s, %.*f images/s\n",
                     j->out, mri_text_plural(t->rows, "row"), t->dim,
                     mri_eval_origin(&t->from), t->from.branch,
                     mri_text_seconds(seconds), rate < 10 ? 1 : 0, rate);
        return MR_OK;
    }
    mri_json_object(&json);
    mri_json_put_text(&json, "schema", "millrace.eval.features.1");
    mri_json_put_text(&json, "file", j->out);
    mri_json_put_u64(&json, "rows", t->rows);
    mri_json_put_u64(&json, "dim", t->dim);
    mri_json_put_text(&json, "split", t->from.split);
    mri_json_put_bool(&json, "random", t->from.random);
    mri_json_put_text(&json, "arch", t->from.arch);
    mri_json_put_u64(&json, "step", t->from.step);
    mri_json_put_text(&json, "weights", t->from.hash);
    mri_json_put_text(&json, "pipeline", t->from.pipeline);
    mri_json_put_f64(&json, "seconds", seconds);
    mri_json_put_f64(&json, "images_per_s", rate);
    mri_json_end(&json);
    return mri_cli_json(&json, diag);
}

static mr_err
run_job(job *j, mr_diag *diag)
{
    mri_features *f;
    double began = mri_now_s(), seconds;
    mr_err err = try_output(j->out, diag);

    if (err == MR_OK) {
        err = mri_features_make(&f, &j->o, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    seconds = mri_now_s() - began;
    err = mri_features_write(j->out, mri_features_table(f), diag);
    mri_progress_clear(&j->cli->line);
    if (err == MR_OK) {
        err = report(j, mri_features_table(f), seconds, diag);
    }
    mri_features_close(f);
    return err;
}

static mr_err
check_arguments(job *j, uint64_t batch, uint64_t threads, mr_diag *diag)
{
    mr_err err = mri_cli_args(j->cli, 2, 2, diag);

    if (err == MR_OK && j->out == NULL) {
        err = mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                       "eval features needs -o F.mrf");
    }
    if (err == MR_OK) {
        err = mri_cli_number("batch-size", batch, 1, 65536, diag);
    }
    if (err == MR_OK) {
        err = mri_cli_number("threads", threads, 0, MRI_CLI_THREADS, diag);
    }
    if (err == MR_OK) {
        j->o.weights = j->cli->rest.at[0];
        j->o.source = j->cli->rest.at[1];
        j->o.batch = (uint32_t)batch;
        j->o.threads = (unsigned)threads;
        j->o.watch = &j->cli->watch;
        err = find_backend(j, diag);
    }
    return err;
}

int
mri_eval_features(int argc, char **argv)
{
    job j = {.o = mri_features_defaults(), .device = "cpu"};
    uint64_t batch = j.o.batch, threads = 0;
    const mri_opt opts[] = {
        {MRI_OPT_TEXT, 'o', "output", &j.out, "F.mrf", "the table (needed)",
         false},
        {MRI_OPT_TEXT, 0, "split", &j.o.split, "NAME",
         "all, or train, val, test, or fold0+fold1, '!fold2' (all)", false},
        {MRI_OPT_TEXT, 0, "like", &j.o.like, "RUN",
         "with random:SEED: the run or checkpoint whose network it is", false},
        {MRI_OPT_TEXT, 0, "branch", &j.o.branch, "NAME",
         "teacher or student (teacher)", false},
        {MRI_OPT_TEXT, 0, "pipeline", &j.pipeline, "FILE",
         "YAML list of operations (the training's, nothing random)", false},
        {MRI_OPT_U64, 0, "batch-size", &batch, "N", "images at once (32)",
         false},
        {MRI_OPT_TEXT, 0, "device", &j.device, "NAME",
         "cpu, ref or cuda:N (cpu)", false},
        {MRI_OPT_U64, 'j', "threads", &threads, "N",
         "threads that compute (all CPUs)", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    mri_bytes yaml = {0};
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    j.cli = &cli;
    err = check_arguments(&j, batch, threads, &diag);
    if (err == MR_OK && j.pipeline != NULL) {
        err = mri_file_load(j.pipeline, 16u << 20, &yaml, &diag);
        j.o.pipeline = yaml.len != 0 ? (const char *)yaml.data : "[]";
        j.o.pipeline_bytes = yaml.len;
    }
    if (err == MR_OK) {
        err = run_job(&j, &diag);
        mri_cli_blame_pipeline(&diag, j.pipeline);
    }
    mri_bytes_release(&yaml);
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
