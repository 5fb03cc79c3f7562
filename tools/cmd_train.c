/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_train.c - millrace train: a network from a stream. */
#include "cli.h"

#include <millrace/train.h>

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/error.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const mri_cmd_doc doc = {
    .name = "train",
    .args = "RECIPE SOURCE -o RUN",
    .summary = "train a network from a dataset or from servers",
    .examples =
        "  millrace train dino cells.mr -o run1\n"
        "      the published scDINO run: ViT-small, 101 epochs\n"
        "  millrace train dino cells.mr -o run1 --set model.arch=vit_tiny "
        "--set train.epochs=20\n"
        "      a smaller and shorter one\n"
        "  millrace train my.yaml tcp://127.0.0.1:5570,tcp://127.0.0.1:5571 -o "
        "run2\n"
        "      keys from a file, batches from two servers\n"
        "  millrace train run1/config.yaml cells.mr -o run3 --seed 1\n"
        "      the same run again with another seed\n",
    .details =
        "RECIPE is dino or a YAML file of keys; --set changes single ones; "
        "--keys lists\nthem all. SOURCE is a dataset, or servers that "
        "'millrace "
        "serve' made.\n\nThe same command again goes on where it was stopped "
        "or "
        "killed: the weights at\nthe end are bit for bit those of a run that "
        "was left alone (with an equal\nnumber of threads, or "
        "train.deterministic=true). SIGTERM, SIGUSR1 and Ctrl-C\nsave first "
        "(exit 75, 75, 130).\n\nRUN holds config.yaml, metrics.jsonl, log.txt "
        "and checkpoints/: last, best\n(the lowest mean loss between two "
        "checkpoints, after the warm-up) and step-N,\neach one a safetensors "
        "file.\n",
    .kinds = "dino",
};

/* ---- the keys, for people ---- */

static void
print_keys(void)
{
    mr_train_key k;

    for (size_t i = 0; mr_train_key_at(i, &k); i++) {
        (void)printf("%-32s %-10s %s\n", k.name, k.initial, k.help);
    }
}

static mr_err
json_keys(mr_diag *diag)
{
    mri_json j = {0};
    mr_train_key k;

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.keys.1");
    mri_json_key(&j, "keys");
    mri_json_array(&j);
    for (size_t i = 0; mr_train_key_at(i, &k); i++) {
        mri_json_object(&j);
        mri_json_put_text(&j, "name", k.name);
        mri_json_put_text(&j, "takes", k.arg);
        mri_json_key(&j, "default");
        mri_json_raw(&j, k.initial);
        mri_json_put_text(&j, "help", k.help);
        mri_json_end(&j);
    }
    mri_json_end(&j);
    mri_json_end(&j);
    return mri_cli_json(&j, diag);
}

/* ---- before the first step ---- */

static void
say_plan(void *user, const mr_train_plan *p)
{
    const mri_cli *cli = user;

    mri_cli_say(cli,
                "%s/%u on %u channels, %.2f M parameters; %s samples, %s a "
                "step, %s steps an epoch",
                p->arch, p->patch, p->channels, (double)p->params * 1e-6,
                mri_text_count(p->samples), mri_text_count(p->batch_size),
                mri_text_count(p->steps_in_epoch));
    if (p->done != 0) {
        mri_cli_say(cli, "goes on after step %s", mri_text_count(p->done));
    }
    if (p->deterministic) {
        mri_cli_say(cli,
                    "deterministic: %u parts, each on one thread: weights do "
                    "not depend on the number of threads",
                    p->parts);
    }
    mri_cli_say(cli,
                "%s steps of %.3g GFLOP and %s of memory on %s (%u threads, "
                "%.0f GFLOP/s): about %s",
                mri_text_count(p->steps - p->done), p->flops * 1e-9,
                mri_text_bytes(p->memory), p->device, p->threads,
                p->rate * 1e-9, mri_text_seconds(p->seconds));
}

/* ---- after the last ---- */

static double
images_per_s(const mr_train_report *r)
{
    return r->seconds > 0 ? (double)r->images / r->seconds : 0;
}

static mr_err
print_json(const mr_train_options *o, const mr_train_report *r, mr_diag *diag)
{
    mri_json j = {0};

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.train.1");
    mri_json_put_text(&j, "run", o->out);
    mri_json_put_u64(&j, "steps", r->steps);
    mri_json_put_u64(&j, "resumed_at", r->done);
    mri_json_put_u64(&j, "images", r->images);
    mri_json_put_u64(&j, "damaged", r->damaged);
    mri_json_put_f64(&j, "first_loss", r->first_loss);
    mri_json_put_f64(&j, "last_loss", r->last_loss);
    mri_json_put_f64(&j, "seconds", r->seconds);
    mri_json_put_f64(&j, "wait_seconds", r->wait_seconds);
    mri_json_put_f64(&j, "images_per_s", images_per_s(r));
    mri_json_put_text(&j, "checkpoint", r->checkpoint);
    mri_json_put_text(&j, "xxh3", r->hash);
    mri_json_end(&j);
    return mri_cli_json(&j, diag);
}

static void
print_text(const mr_train_options *o, const mr_train_report *r)
{
    if (r->done == r->steps) {
        (void)printf("%s: finished before, at step %s; %s, data %s\n", o->out,
                     mri_text_count(r->steps), r->checkpoint, r->hash);
        return;
    }
    (void)printf("%s: %s steps, loss %.4f -> %.4f, %.0f images/s (%.0f %% of "
                 "the time without data), in %s; %s, data %s\n",
                 o->out, mri_text_count(r->steps), r->first_loss, r->last_loss,
                 images_per_s(r),
                 r->seconds > 0 ? 100 * r->wait_seconds / r->seconds : 0,
                 mri_text_seconds(r->seconds), r->checkpoint, r->hash);
    if (r->damaged != 0) {
        (void)printf("%s: %s could not be read and were replaced: their uids "
                     "are in metrics.jsonl\n",
                     o->out, mri_text_plural(r->damaged, "row"));
    }
}

static mr_err
run_train(mri_cli *cli, const mr_train_options *o, mr_diag *diag)
{
    mr_train_report report;
    mr_err err = mr_train_run(o, &report, diag);

    mri_progress_clear(&cli->line);
    if (err == MR_ESTOP) {
        mri_cli_say(cli, "saved; the same command goes on");
    }
    if (err != MR_OK) {
        return err;
    }
    if (cli->json) {
        return print_json(o, &report, diag);
    }
    print_text(o, &report);
    return MR_OK;
}

/* --set and, as one more of them, --seed. mri_free the result. */
static const char **
gather_set(const mri_texts *set, const char *seed, size_t *count)
{
    const char **all = mri_alloc(set->count + 1, sizeof *all);

    *count = 0;
    for (size_t i = 0; all != NULL && i < set->count; i++) {
        all[(*count)++] = set->at[i];
    }
    if (all != NULL && seed != NULL) {
        all[(*count)++] = seed;
    }
    return all;
}

int
mri_cmd_train(int argc, char **argv)
{
    mr_train_options o = mr_train_defaults();
    mri_texts set = {0};
    uint64_t seed = 0;
    double connect = 5;
    bool keys = false;
    const mri_opt opts[] = {
        {MRI_OPT_TEXT, 'o', "output", &o.out, "RUN",
         "the run's folder: made, or gone on with", false},
        {MRI_OPT_LIST, 0, "set", &set, "KEY=VALUE",
         "change a key of the recipe; may be given often", false},
        {MRI_OPT_U64, 0, "seed", &seed, "N", "short for --set seed=N", false},
        {MRI_OPT_F64, 0, "connect-timeout", &connect, "SECONDS",
         "until one of the servers answers (5)", false},
        {MRI_OPT_FLAG, 0, "keys", &keys, NULL,
         "list all keys with their defaults, and end", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    char seed_text[40], lib[512];
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    if (keys) {
        err = MR_OK;
        if (cli.json) {
            err = json_keys(&diag);
        } else {
            print_keys();
        }
        return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
    }
    err = mri_cli_args(&cli, 2, 2, &diag);
    if (err == MR_OK && o.out == NULL) {
        err = mri_fail(&diag, MRI_E_USAGE, MR_NOWHERE, "train needs -o RUN");
    }
    if (err == MR_OK) {
        err = mri_cli_ms("connect-timeout", connect, &o.connect_ms, &diag);
    }
    (void)snprintf(seed_text, sizeof seed_text, "seed=%" PRIu64, seed);
    o.set = gather_set(&set, mri_cli_seen(&cli, "seed") ? seed_text : NULL,
                       &o.set_count);
    if (err == MR_OK && o.set == NULL) {
        err = mri_fail(&diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    if (err == MR_OK) {
        o.recipe = cli.rest.at[0];
        o.source = cli.rest.at[1];
        o.lib = mri_cli_modules(lib, sizeof lib);
        o.watch = &cli.watch;
        o.plan = say_plan;
        o.user = &cli;
        err = run_train(&cli, &o, &diag);
    }
    mri_free((void *)(uintptr_t)o.set);
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
