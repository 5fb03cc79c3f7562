/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_ingest.c - millrace ingest: foreign files in, one dataset out. */
#include "cli.h"

#include <mri/error.h>
#include <mri/ingest.h>

#include <stdlib.h>
#include <string.h>

#define SHOWN_BAD 10 /* reasons on the terminal; the quarantine has all */

static const mri_cmd_doc doc = {
    .name = "ingest",
    .args = "SOURCE... -o DATASET",
    .summary = "foreign images and volumes in, one dataset out",
    .examples =
        "  millrace ingest raw/ -o cells.mr\n"
        "      a folder of images; sub-folders are classes\n"
        "  millrace ingest raw/ -o cells.mr --group '{group}_*'\n"
        "      donor3_cell42.tif belongs to group donor3: never in two splits\n"
        "  millrace ingest fields/ -o f.mr --stack '*_{channel}.TIF'\n"
        "      one file a channel: 01_D.TIF and 01_F.TIF become one sample\n"
        "  millrace ingest a.mr b.mr@3 more/ -o both.mr\n"
        "      two datasets by reference (their shards are linked), and "
        "files\n"
        "  millrace ingest raw/ -o cells.mr --group '{group}_*' --folds 5\n"
        "      fold0 .. fold4 of whole groups, for cross-validation\n"
        "  millrace ingest raw/ --plan\n"
        "      what would happen, how long, how large; nothing is written\n"
        "  millrace ingest scans/ -o keep.mr --codec zstd\n"
        "      smaller, but slower to read than what is chosen by itself\n",
    .details =
        "Reads JPEG (kept as it is), PNG, TIFF and NIfTI-1/2, each known by "
        "its\ncontent. Running the same command again goes on where it "
        "stopped, or adds\nwhat is new. What cannot be used is set aside with "
        "the reason: see\n'millrace inspect DATASET --quarantine'. More than "
        "--max-bad of it, and\nnothing is committed (exit 3); mend it and run "
        "again.\n\nLayouts: flat (no classes), folder (class = first folder "
        "below SOURCE),\nsplit (train/val/test folders, then classes). "
        "Otherwise samples are split\n0.8/0.1/0.1 by whole groups, or with "
        "--folds K into K equal folds, which the\ndataset keeps: train with "
        "--set data.split='!fold0', judge with\n'eval knn --train '!fold0' "
        "--test fold0'. Datasets and dot-names below SOURCE\nare passed "
        "over.\n",
};

/* "5%" is a share, "12" a count. */
static mr_err
parse_max_bad(const char *text, mri_ingest_options *o, mr_diag *diag)
{
    size_t n = strlen(text);
    char number[32];
    double share;

    if (n != 0 && text[n - 1] == '%' && n < sizeof number) {
        memcpy(number, text, n - 1);
        number[n - 1] = '\0';
        if (mri_parse_f64(number, &share) && share >= 0 && share <= 100) {
            o->max_bad_share = share / 100;
            return MR_OK;
        }
    }
    if (mri_parse_u64(text, &o->max_bad_count)) {
        if (o->max_bad_count == 0) { /* none at all */
            o->max_bad_share = 0;
        }
        return MR_OK;
    }
    return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                    "--max-bad cannot be '%s': expected a share such as 5%% "
                    "or a count",
                    text);
}

static void
put_bad(mri_json *j, const mri_bad *bad, uint64_t count)
{
    mri_json_key(j, "quarantine");
    mri_json_array(j);
    for (uint64_t i = 0; i < count; i++) {
        char code[8];

        (void)snprintf(code, sizeof code, "E%04u", bad[i].code);
        mri_json_object(j);
        mri_json_put_text(j, "key", bad[i].key);
        mri_json_put_text(j, "stage", bad[i].stage);
        mri_json_put_text(j, "code", code);
        mri_json_put_text(j, "reason", bad[i].reason);
        mri_json_key(j, "at");
        if (bad[i].at != MR_NOWHERE) {
            mri_json_u64(j, bad[i].at);
        } else {
            mri_json_null(j);
        }
        mri_json_end(j);
    }
    mri_json_end(j);
}

/* Of datasets alone no layout was looked for. */
static const char *
layout_of(const mri_ingest_report *r)
{
    return r->layout == MRI_LAYOUT_AUTO ? "merged" : mri_layout_name(r->layout);
}

static mr_err
print_json(const mri_ingest_options *o, const mri_ingest_report *r,
           mr_diag *diag)
{
    mri_json j = {0};

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.ingest.1");
    mri_json_put_text(&j, "dataset", o->output);
    mri_json_put_u64(&j, "generation", r->generation);
    mri_json_put_text(&j, "layout", layout_of(r));
    mri_json_put_u64(&j, "inputs", r->inputs);
    mri_json_put_u64(&j, "samples", r->samples);
    mri_json_put_u64(&j, "added", r->added);
    mri_json_put_u64(&j, "merged", r->merged);
    mri_json_put_u64(&j, "known", r->known);
    mri_json_put_u64(&j, "changed", r->changed);
    mri_json_put_u64(&j, "withdrawn", r->withdrawn);
    mri_json_put_u64(&j, "ignored", r->ignored);
    mri_json_put_u64(&j, "unmatched", r->unmatched);
    mri_json_put_u64(&j, "quarantined", r->bad_count);
    mri_json_put_u64(&j, "groups", r->groups);
    mri_json_put_u64(&j, "joined", r->joined);
    mri_json_put_u64(&j, "leaks", r->leaks);
    mri_json_put_u64(&j, "shards", r->shards);
    mri_json_put_u64(&j, "bytes", r->bytes);
    mri_json_put_u64(&j, "raw_bytes", r->raw_bytes);
    mri_json_put_f64(&j, "seconds", r->seconds);
    put_bad(&j, r->bad, r->bad_count);
    mri_json_end(&j);
    return mri_cli_json(&j, diag);
}

static void
say_bad(const mri_cli *cli, const mri_bad *bad, uint64_t count)
{
    for (uint64_t i = 0; i < count && i < SHOWN_BAD; i++) {
        char at[32] = "";

        if (bad[i].at != MR_NOWHERE) {
            (void)snprintf(at, sizeof at, "@%llu",
                           (unsigned long long)bad[i].at);
        }
        mri_cli_say(cli, "  set aside [E%04u] %s%s: %s", bad[i].code,
                    bad[i].key, at, bad[i].reason);
    }
    if (count > SHOWN_BAD) {
        mri_cli_say(cli, "  and %s more", mri_text_count(count - SHOWN_BAD));
    }
}

static void
say_remarks(const mri_cli *cli, const mri_ingest_report *r)
{
    if (r->ignored != 0) {
        mri_cli_say(cli, "passed over: %s of no kind that is read",
                    mri_text_plural(r->ignored, "file"));
    }
    if (r->unmatched != 0) {
        mri_cli_warn(cli, "the pattern given does not fit %s",
                     mri_text_plural(r->unmatched, "name"));
    }
    if (r->changed != 0) {
        mri_cli_warn(cli,
                     "of another size than when ingested: %s; the dataset "
                     "keeps what it has",
                     mri_text_plural(r->changed, "file"));
    }
    if (r->withdrawn != 0) {
        mri_cli_say(cli, "withdrawn before, and left out: %s",
                    mri_text_plural(r->withdrawn, "input"));
    }
    if (r->joined != 0) {
        mri_cli_say(cli, "with the pixels of another, and so in its split: %s",
                    mri_text_plural(r->joined, "group"));
    }
    if (r->leaks != 0) {
        mri_cli_warn(cli,
                     "%s in another split than the group or the pixels they "
                     "belong to: the source's splits leak",
                     mri_text_plural(r->leaks, "sample"));
    }
}

static void
print_text(const mri_cli *cli, const mri_ingest_options *o,
           const mri_ingest_report *r)
{
    say_bad(cli, r->bad, r->bad_count);
    say_remarks(cli, r);
    if (r->generation == 0) {
        (void)printf("%s: nothing new; %s, %s set aside\n", o->output,
                     mri_text_plural(r->samples, "sample"),
                     mri_text_count(r->bad_count));
        return;
    }
    (void)printf("%s: generation %llu, layout %s, %s (%s new), %s, "
                 "%s stored of %s decoded, %s set aside, in %s\n",
                 o->output, (unsigned long long)r->generation, layout_of(r),
                 mri_text_plural(r->samples, "sample"),
                 mri_text_count(r->added), mri_text_plural(r->shards, "shard"),
                 mri_text_bytes(r->bytes), mri_text_bytes(r->raw_bytes),
                 mri_text_count(r->bad_count), mri_text_seconds(r->seconds));
}

static mr_err
run_ingest(mri_cli *cli, const mri_ingest_options *o, mr_diag *diag)
{
    mri_ingest_report report;
    mr_err err = mri_ingest(o, &report, diag);

    mri_progress_clear(&cli->line);
    if (err == MR_OK && cli->json) {
        err = print_json(o, &report, diag);
    } else if (err == MR_OK) {
        print_text(cli, o, &report);
    } else {
        say_bad(cli, report.bad, report.bad_count);
    }
    mri_ingest_report_release(&report);
    return err;
}

static mr_err
plan_json(const mri_ingest_plan *p, mr_diag *diag)
{
    mri_json j = {0};

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.plan.1");
    mri_json_put_text(&j, "layout", mri_layout_name(p->layout));
    mri_json_put_u64(&j, "inputs", p->inputs);
    mri_json_put_u64(&j, "bytes", p->bytes);
    mri_json_put_u64(&j, "known", p->known);
    mri_json_put_u64(&j, "changed", p->changed);
    mri_json_put_u64(&j, "withdrawn", p->withdrawn);
    mri_json_put_u64(&j, "ignored", p->ignored);
    mri_json_put_u64(&j, "unmatched", p->unmatched);
    mri_json_put_u64(&j, "groups", p->groups);
    mri_json_put_u64(&j, "shards", p->shards);
    mri_json_key(&j, "classes");
    mri_json_object(&j);
    for (uint32_t i = 0; i < p->classes; i++) {
        mri_json_put_u64(&j, p->class_names[i], p->class_counts[i]);
    }
    mri_json_end(&j);
    mri_json_put_u64(&j, "tried", p->tried);
    mri_json_put_f64(&j, "seconds", p->seconds);
    mri_json_put_u64(&j, "stored_bytes", p->stored_bytes);
    mri_json_put_u64(&j, "raw_bytes", p->raw_bytes);
    put_bad(&j, p->bad, p->bad_count);
    mri_json_end(&j);
    return mri_cli_json(&j, diag);
}

static void
plan_text(const mri_cli *cli, const mri_ingest_plan *p)
{
    (void)printf("layout %s: %s new inputs, %s, %u shards; %s are there "
                 "already, %s withdrawn, %s other files\n",
                 mri_layout_name(p->layout), mri_text_count(p->inputs),
                 mri_text_bytes(p->bytes), p->shards, mri_text_count(p->known),
                 mri_text_count(p->withdrawn), mri_text_count(p->ignored));
    for (uint32_t i = 0; i < p->classes && i < 50; i++) {
        (void)printf("  class %-24s %s\n", p->class_names[i],
                     mri_text_count(p->class_counts[i]));
    }
    if (p->groups != 0) {
        (void)printf("  %s groups\n", mri_text_count(p->groups));
    }
    if (p->tried != 0) {
        (void)printf("about %s, %s stored of %s decoded (from %u inputs "
                     "tried)\n",
                     mri_text_seconds(p->seconds),
                     mri_text_bytes(p->stored_bytes),
                     mri_text_bytes(p->raw_bytes), p->tried);
    }
    say_bad(cli, p->bad, p->bad_count);
}

static mr_err
run_plan(mri_cli *cli, const mri_ingest_options *o, mr_diag *diag)
{
    mri_ingest_plan plan;
    mr_err err = mri_ingest_plan_of(o, &plan, diag);

    if (err == MR_OK && cli->json) {
        err = plan_json(&plan, diag);
    } else if (err == MR_OK) {
        plan_text(cli, &plan);
    }
    mri_ingest_plan_release(&plan);
    return err;
}

int
mri_cmd_ingest(int argc, char **argv)
{
    mri_ingest_options o = mri_ingest_defaults();
    const char *max_bad = "5%";
    bool plan = false;
    int layout = 0, pages = 0, codec = 0;
    uint64_t workers = o.workers, folds = 0;
    const mri_opt opts[] = {
        {MRI_OPT_TEXT, 'o', "output", &o.output, "DATASET",
         "the dataset to make or to add to", false},
        {MRI_OPT_FLAG, 0, "plan", &plan, NULL,
         "say what would happen; write nothing", false},
        {MRI_OPT_CHOICE, 0, "layout", &layout, "auto|flat|folder|split",
         "what the folders mean (guessed by default)", false},
        {MRI_OPT_TEXT, 0, "group", &o.group, "PATTERN",
         "part of the name that names the donor: '{group}_*'", false},
        {MRI_OPT_U64, 0, "folds", &folds, "K",
         "splits fold0 .. of equal shares instead of train/val/test", false},
        {MRI_OPT_TEXT, 0, "stack", &o.stack, "PATTERN",
         "one file a channel: '*_{channel}.tif'", false},
        {MRI_OPT_CHOICE, 0, "pages", &pages, "auto|depth|channel|sample",
         "what the pages of a TIFF are", false},
        {MRI_OPT_CHOICE, 0, "codec", &codec, "auto|lz4|lz4hc|bitpack|zstd|raw",
         "how arrays are compressed (auto)", false},
        {MRI_OPT_TEXT, 0, "max-bad", &max_bad, "N|N%",
         "bad inputs that are borne (5%)", false},
        {MRI_OPT_BYTES, 0, "shard-size", &o.shard_bytes, "BYTES",
         "source bytes that go into one shard (256M)", false},
        {MRI_OPT_U64, 'j', "threads", &workers, "N",
         "threads that decode (all CPUs)", false},
        {MRI_OPT_BYTES, 0, "memory", &o.memory, "BYTES",
         "at most so much in flight (2G)", false},
        {MRI_OPT_FLAG, 0, "keep-text", &o.source.keep_text, NULL,
         "keep comments, EXIF, extensions: they may name people", false},
        {MRI_OPT_FLAG, 0, "keep-bytes", &o.keep_bytes, NULL,
         "quarantine keeps the bytes around the damage", false},
        {MRI_OPT_FLAG, 0, "lenient", &o.source.lenient, NULL,
         "take what can be decoded of damaged files", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    err = mri_cli_args(&cli, 1, 0, &diag);
    if (err == MR_OK && o.output == NULL && !plan) {
        err = mri_fail(&diag, MRI_E_USAGE, MR_NOWHERE,
                       "ingest needs -o DATASET (or --plan)");
    }
    if (err == MR_OK && o.output != NULL) {
        err = mri_cli_new_name(o.output, &diag);
    }
    if (err == MR_OK) {
        err = mri_cli_number("threads", workers, 1, MRI_CLI_THREADS, &diag);
    }
    if (err == MR_OK && folds != 0) {
        err = mri_cli_number("folds", folds, 2, MRI_FOLDS_MAX, &diag);
    }
    if (err == MR_OK) {
        err = parse_max_bad(max_bad, &o, &diag);
    }
    o.sources = cli.rest.at;
    o.source_count = cli.rest.count;
    o.layout = (mri_layout)layout;
    o.folds = (uint32_t)folds;
    o.source.pages = (mri_pages)pages;
    o.coding = (mri_coding)codec;
    o.workers = (unsigned)workers;
    o.command = cli.command;
    o.watch = &cli.watch;
    if (err == MR_OK) {
        err = plan ? run_plan(&cli, &o, &diag) : run_ingest(&cli, &o, &diag);
    }
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
