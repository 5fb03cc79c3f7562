/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_rollback.c - millrace rollback: an older generation in force again. */
#include "cli.h"

#include <mri/error.h>
#include <mri/generation.h>

#include <string.h>

static void
print_text(const mri_rollback_options *o, const mri_rollback_report *r)
{
    size_t name = (size_t)(strrchr(o->thing, '@') - o->thing);

    if (r->generation != 0) {
        (void)printf("%.*s: generation %llu has the content of %llu; %llu "
                     "stays as it was\n",
                     (int)name, o->thing, (unsigned long long)r->generation,
                     (unsigned long long)r->target,
                     (unsigned long long)r->before);
    } else if (o->dry_run && !r->same) {
        (void)printf("%.*s: would make generation %llu with the content of "
                     "%llu\n",
                     (int)name, o->thing, (unsigned long long)r->before + 1,
                     (unsigned long long)r->target);
    } else {
        (void)printf("%.*s: nothing to do; generation %llu has the content of "
                     "%llu\n",
                     (int)name, o->thing, (unsigned long long)r->before,
                     (unsigned long long)r->target);
    }
}

static mr_err
print_json(const mri_rollback_options *o, const mri_rollback_report *r,
           mr_diag *diag)
{
    mri_json j = {0};

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.rollback.1");
    mri_json_put_text(&j, "thing", o->thing);
    mri_json_put_bool(&j, "dry_run", o->dry_run);
    mri_json_put_u64(&j, "before", r->before);
    mri_json_put_u64(&j, "target", r->target);
    mri_json_put_bool(&j, "same", r->same);
    mri_json_put_u64(&j, "generation", r->generation);
    mri_json_end(&j);
    return mri_cli_json(&j, diag);
}

int
mri_cmd_rollback(int argc, char **argv)
{
    static const mri_cmd_doc doc = {
        .name = "rollback",
        .args = "DATASET@N",
        .summary = "bring an older generation's content back",
        .examples = "  millrace rollback cells.mr@3\n"
                    "      a new generation with the content of generation 3\n"
                    "  millrace inspect --diff cells.mr cells.mr@3\n"
                    "      before that: what would come and go\n",
        .details =
            "Nothing is deleted: the next generation gets the samples, labels "
            "and splits\nof generation N, hence its content id, and those in "
            "between stay where they\nare. Samples that were withdrawn since "
            "N are back; those ingested since are\nleft out, and come again "
            "when their source is ingested again.\n",
    };
    mri_rollback_options o = {0};
    mri_rollback_report r;
    const mri_opt opts[] = {
        {MRI_OPT_TEXT, 0, "reason", &o.reason, "TEXT", "why, for history.jsonl",
         false},
        {MRI_OPT_FLAG, 0, "dry-run", &o.dry_run, NULL,
         "say what would happen; write nothing", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    err = mri_cli_args(&cli, 1, 1, &diag);
    if (err == MR_OK) {
        o.thing = cli.rest.at[0];
        o.command = cli.command;
        o.watch = &cli.watch;
        err = mri_dataset_rollback(&o, &r, &diag);
    }
    if (err == MR_OK && cli.json) {
        err = print_json(&o, &r, &diag);
    } else if (err == MR_OK) {
        print_text(&o, &r);
    }
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
