/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_synth.c - millrace synth: inputs for trials, made from a seed. */
#include "cli.h"

#include <mri/clock.h>
#include <mri/cpu.h>
#include <mri/error.h>
#include <mri/synth.h>

#include <string.h>

#define MOST_CELLS 10000000
#define MOST_DONORS 100000

static const mri_cmd_doc doc = {
    .name = "synth",
    .args = "cells OUT",
    .summary = "inputs for trials, made from a seed, with the truth known",
    .examples =
        "  millrace synth cells raw --count 1600 --donors 20\n"
        "      single cells of 8 classes as TIFF: 72 x 72 pixels, 5 channels\n"
        "  millrace synth cells more --seed 2\n"
        "      others, as different as those of another laboratory\n"
        "  millrace ingest raw -o cells.mr --group '{group}_*'\n"
        "      what comes next: classes by folder, donors held out whole\n",
    .details =
        "cells: OUT/CLASS/donorD_cellN.tif, 16 bits. Classes differ in where "
        "the stain\nlies, not in how much of it there is: "
        "docs/synthetic-cells.md. The same seed and\nnumber of donors give "
        "the same bytes on every machine, and more cells do not\nchange "
        "those that are there. Running the same command again goes on where "
        "it\nstopped.\n",
    .kinds = "cells",
};

static const char *const kinds[] = {"cells"};

static mr_err
check_kind(const mri_cli *cli, mr_diag *diag)
{
    const char *near;

    if (cli->rest.count == 0) {
        return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                        "synth needs to know what: cells");
    }
    if (strcmp(cli->rest.at[0], kinds[0]) == 0) {
        return mri_cli_args(cli, 2, 2, diag);
    }
    near = mri_nearest(cli->rest.at[0], kinds, MRI_COUNT(kinds));
    return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                    "synth has no '%s'%s%s%s: expected cells", cli->rest.at[0],
                    near != NULL ? "; did you mean '" : "",
                    near != NULL ? near : "", near != NULL ? "'?" : "");
}

static mr_err
print_json(const mri_cells_options *o, const mri_cells_report *r,
           double seconds, mr_diag *diag)
{
    mri_json j = {0};

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.synth.1");
    mri_json_put_text(&j, "kind", "cells");
    mri_json_put_text(&j, "output", o->dir);
    mri_json_put_u64(&j, "seed", o->set.seed);
    mri_json_put_u64(&j, "samples", o->set.count);
    mri_json_put_u64(&j, "donors", o->set.donors);
    mri_json_put_u64(&j, "written", r->written);
    mri_json_put_u64(&j, "kept", r->kept);
    mri_json_put_u64(&j, "bytes", r->bytes);
    mri_json_put_f64(&j, "seconds", seconds);
    mri_json_end(&j);
    return mri_cli_json(&j, diag);
}

static void
print_text(const mri_cells_options *o, const mri_cells_report *r,
           double seconds)
{
    (void)printf("%s: %s of %d classes from %s, %s, in %s", o->dir,
                 mri_text_plural(o->set.count, "cell"), MRI_CELL_CLASSES,
                 mri_text_plural(o->set.donors, "donor"),
                 mri_text_bytes(r->bytes), mri_text_seconds(seconds));
    if (r->kept != 0) {
        (void)printf("; %s were there already", mri_text_count(r->kept));
    }
    (void)printf("\n");
}

static mr_err
run_cells(mri_cli *cli, const mri_cells_options *o, mr_diag *diag)
{
    double began = mri_now_s(), seconds;
    mri_cells_report report;
    mr_err err = mri_cells_write(o, &report, diag);

    seconds = mri_now_s() - began;
    mri_progress_clear(&cli->line);
    if (err == MR_ESTOP) {
        mri_cli_say(cli, "stopped; the same command goes on");
    }
    if (err != MR_OK) {
        return err;
    }
    if (cli->json) {
        return print_json(o, &report, seconds, diag);
    }
    print_text(o, &report, seconds);
    return MR_OK;
}

int
mri_cmd_synth(int argc, char **argv)
{
    uint64_t count = 800, seed = 0, donors = 10, workers = mri_cpu_count();
    const mri_opt opts[] = {
        {MRI_OPT_U64, 0, "count", &count, "N", "how many samples (800)", false},
        {MRI_OPT_U64, 0, "seed", &seed, "N", "which ones (0)", false},
        {MRI_OPT_U64, 0, "donors", &donors, "N",
         "that they come from, in equal parts (10)", false},
        {MRI_OPT_U64, 'j', "threads", &workers, "N",
         "threads that paint (all CPUs)", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mri_cells_options o;
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    err = check_kind(&cli, &diag);
    if (err == MR_OK) {
        err = mri_cli_number("count", count, 1, MOST_CELLS, &diag);
    }
    if (err == MR_OK) {
        err = mri_cli_number("donors", donors, 1, MOST_DONORS, &diag);
    }
    if (err == MR_OK) {
        err = mri_cli_number("threads", workers, 1, MRI_CLI_THREADS, &diag);
    }
    if (err == MR_OK) {
        o = (mri_cells_options){
            .dir = cli.rest.at[1],
            .set = {seed, (uint32_t)count, (uint32_t)donors},
            .workers = (unsigned)workers,
            .watch = &cli.watch};
        err = run_cells(&cli, &o, &diag);
    }
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
