/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_compact.c - millrace compact: shards without what is dead in them. */
#include "cli.h"

#include <mri/cpu.h>
#include <mri/error.h>
#include <mri/generation.h>

/* What goes, or would go. The texts are of one sentence each. */
static void
say_what_goes(const mri_cli *cli, const mri_compact_options *o,
              const mri_compact_report *r)
{
    const char *would = o->dry_run ? "would " : "";

    mri_cli_say(cli, "%swrite %s of %s anew, without %s", would,
                mri_text_count(r->rewritten),
                mri_text_plural(r->shards, "shard"),
                mri_text_plural(r->dead, "dead row"));
    if (r->dropped != 0) {
        mri_cli_say(cli, "%sdrop %s that hold nothing else", would,
                    mri_text_plural(r->dropped, "shard"));
    }
    if (r->generations != 0) {
        mri_cli_say(cli,
                    "%sremove %s before it, and %s (%s) that only they name",
                    would, mri_text_plural(r->generations, "generation"),
                    mri_text_plural(r->gone_shards, "shard"),
                    mri_text_bytes(r->gone_bytes));
    }
    if (o->purge) {
        mri_cli_say(cli, "%sforget %s, with %s of history and quarantine",
                    would, mri_text_plural(r->withdrawn, "withdrawn sample"),
                    mri_text_plural(r->lines, "line"));
    }
    if (o->purge && r->unfinished) {
        mri_cli_say(cli, "%send an ingest that was interrupted: it begins anew",
                    would);
    }
}

static void
warn(const mri_cli *cli, const mri_compact_options *o,
     const mri_compact_report *r)
{
    if (o->purge && !o->dry_run) {
        mri_cli_warn(cli, "the dataset does not know any more who was "
                          "withdrawn: ingesting a source that still holds "
                          "them brings them back");
    }
    if (r->held != 0 && !o->dry_run) {
        mri_cli_warn(cli,
                     "%s still read by somebody: the files go with the next "
                     "command that writes here",
                     r->held == 1 ? "one older generation is"
                                  : "some older generations are");
    }
}

static void
print_text(const mri_cli *cli, const mri_compact_options *o,
           const mri_compact_report *r)
{
    bool plan = r->dead != 0 || r->generations != 0;

    if (r->generation == 0 && (!o->dry_run || !plan)) {
        (void)printf("%s: nothing to do; no shard holds a dead row\n",
                     o->dataset);
        return;
    }
    say_what_goes(cli, o, r);
    if (o->dry_run) {
        (void)printf("%s: would make generation %llu of the same content\n",
                     o->dataset, (unsigned long long)r->before + 1);
    } else {
        (void)printf("%s: generation %llu, same content, %s in shards instead "
                     "of %s\n",
                     o->dataset, (unsigned long long)r->generation,
                     mri_text_bytes(r->bytes_after), mri_text_bytes(r->bytes));
    }
    warn(cli, o, r);
}

static mr_err
print_json(const mri_cli *cli, const mri_compact_options *o,
           const mri_compact_report *r, mr_diag *diag)
{
    mri_json j = {0};
    mr_err err;

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.compact.1");
    mri_json_put_text(&j, "dataset", o->dataset);
    mri_json_put_bool(&j, "dry_run", o->dry_run);
    mri_json_put_bool(&j, "purge", o->purge);
    mri_json_put_u64(&j, "before", r->before);
    mri_json_put_u64(&j, "generation", r->generation);
    mri_json_put_u64(&j, "shards", r->shards);
    mri_json_put_u64(&j, "rewritten", r->rewritten);
    mri_json_put_u64(&j, "dropped", r->dropped);
    mri_json_put_u64(&j, "dead", r->dead);
    mri_json_put_u64(&j, "withdrawn", r->withdrawn);
    mri_json_put_u64(&j, "bytes", r->bytes);
    mri_json_put_u64(&j, "bytes_after", r->bytes_after);
    mri_json_put_u64(&j, "generations_removed", r->generations);
    mri_json_put_u64(&j, "generations_held", r->held);
    mri_json_put_u64(&j, "shards_removed", r->gone_shards);
    mri_json_put_u64(&j, "bytes_removed", r->gone_bytes);
    mri_json_put_u64(&j, "lines_cleaned", r->lines);
    mri_json_put_bool(&j, "ingest_ended", r->unfinished);
    mri_json_end(&j);
    err = mri_cli_json(&j, diag);
    if (r->generation != 0) {
        warn(cli, o, r);
    }
    return err;
}

static const mri_cmd_doc doc = {
    .name = "compact",
    .args = "DATASET",
    .summary = "take the bytes of what was withdrawn out of the shards",
    .examples =
        "  millrace compact cells.mr --dry-run\n"
        "      which shards would be written anew, what would be removed\n"
        "  millrace compact cells.mr\n"
        "      the same content; older generations cannot be opened any more\n"
        "  millrace compact cells.mr --keep-old\n"
        "      as above, older generations stay until the next 'compact'\n"
        "  millrace compact cells.mr --purge\n"
        "      and no name of a withdrawn sample is left anywhere\n",
    .details =
        "A new generation with the same samples, labels, splits and batches, "
        "whose shards\nhold no dead rows: those of withdrawn samples, and old "
        "rows of relabelled ones.\nOnly shards with dead rows are written "
        "anew; each sample is proven on the way,\nand a damaged one refuses "
        "all of it. Then the generations before it are removed,\nwith the "
        "shards that only they name. A process that has one of them open "
        "reads\non to its end; those files go with the next command that "
        "writes.\n\n"
        "--purge also empties the list of withdrawn samples, cleans history "
        "and\nquarantine of lines that name them, and ends an interrupted "
        "ingest. Nothing then\nstops 'ingest' from taking them in again: "
        "remove their source files as well. Class\nnames stay as they are.\n",
};

int
mri_cmd_compact(int argc, char **argv)
{
    mri_compact_options o = {0};
    mri_compact_report r = {0};
    uint64_t workers = mri_cpu_count();
    const mri_opt opts[] = {
        {MRI_OPT_FLAG, 0, "purge", &o.purge, NULL,
         "leave no name of a withdrawn sample", false},
        {MRI_OPT_FLAG, 0, "keep-old", &o.keep_old, NULL,
         "keep the older generations and their shards", false},
        {MRI_OPT_FLAG, 0, "dry-run", &o.dry_run, NULL,
         "say what would happen; write nothing", false},
        {MRI_OPT_TEXT, 0, "reason", &o.reason, "TEXT", "why, for history.jsonl",
         false},
        {MRI_OPT_U64, 'j', "threads", &workers, "N",
         "threads that write shards (all CPUs)", false},
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
        err = mri_cli_number("threads", workers, 1, MRI_CLI_THREADS, &diag);
    }
    if (err == MR_OK) {
        o.dataset = cli.rest.at[0];
        o.workers = (unsigned)workers;
        o.command = cli.command;
        o.watch = &cli.watch;
        err = mri_dataset_compact(&o, &r, &diag);
    }
    if (err == MR_OK && cli.json) {
        err = print_json(&cli, &o, &r, &diag);
    } else if (err == MR_OK) {
        print_text(&cli, &o, &r);
    }
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
