/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_inspect.c - millrace inspect: what is in a thing. */
#include "inspect.h"

#include <mri/error.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* x.mr@42 is no file of that name: the dataset part says what it is. */
static mr_err
inspect(const mri_inspect *in, mr_diag *diag)
{
    struct stat st;
    mr_err err;

    if (stat(in->thing, &st) == 0 && S_ISREG(st.st_mode)) {
        if (in->samples || in->stats || in->splits || in->quarantine ||
            in->sample != NULL || in->png != NULL) {
            err = mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                           "these options are for a dataset, and this is a "
                           "file");
            mri_diag_in(diag, in->thing);
            return err;
        }
        return mri_inspect_file(in, diag);
    }
    return mri_inspect_dataset(in, diag);
}

int
mri_cmd_inspect(int argc, char **argv)
{
    static const mri_cmd_doc doc = {
        .name = "inspect",
        .args = "THING | --diff A B",
        .summary = "what is in a dataset, a shard or a file",
        .examples =
            "  millrace inspect cells.mr\n"
            "      samples, fields, classes, splits\n"
            "  millrace inspect cells.mr@1 --json\n"
            "      generation 1, for programs\n"
            "  millrace inspect cells.mr --samples\n"
            "      a line a sample: key, class, group, split, shape\n"
            "  millrace inspect ct.mr --stats\n"
            "      values of each split and channel; lengths and spacings of "
            "its samples\n"
            "  millrace inspect cells.mr --sample ring/donor1_cell7.tif\n"
            "      everything about one: geometry, sources, statistics\n"
            "  millrace inspect cells.mr --png sheet.png\n"
            "      a contact sheet\n"
            "  millrace inspect --diff cells.mr@1 cells.mr\n"
            "      samples, counts and statistics that differ\n"
            "  millrace inspect brain.nii.gz\n"
            "      a foreign image, as ingest would read it\n",
        .details = "THING is a dataset (NAME.mr or NAME.mr@GENERATION), a "
                   "shard (.mrs), a\ncheckpoint or feature table "
                   "(safetensors, .mrf), or a foreign image.\n",
    };
    mri_inspect in = {0};
    const mri_opt opts[] = {
        {MRI_OPT_FLAG, 0, "samples", &in.samples, NULL, "list all samples",
         false},
        {MRI_OPT_TEXT, 0, "sample", &in.sample, "KEY", "all about one sample",
         false},
        {MRI_OPT_FLAG, 0, "stats", &in.stats, NULL,
         "values by split and channel, lengths and spacings by axis", false},
        {MRI_OPT_FLAG, 0, "splits", &in.splits, NULL, "groups of each split",
         false},
        {MRI_OPT_FLAG, 0, "quarantine", &in.quarantine, NULL,
         "what could not be used, and why", false},
        {MRI_OPT_FLAG, 0, "diff", &in.diff, NULL,
         "compare two datasets or generations", false},
        {MRI_OPT_FLAG, 0, "all", &in.all, NULL,
         "with --diff: list every sample, not the first 20 of a kind", false},
        {MRI_OPT_TEXT, 0, "png", &in.png, "FILE", "draw a contact sheet",
         false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    in.cli = &cli;
    err = mri_cli_args(&cli, in.diff ? 2 : 1, in.diff ? 2 : 1, &diag);
    if (err == MR_OK && in.diff &&
        (in.samples || in.splits || in.quarantine || in.sample != NULL ||
         in.png != NULL)) {
        err = mri_fail(&diag, MRI_E_USAGE, MR_NOWHERE,
                       "--diff goes with --all, --stats and --json only");
    }
    if (err == MR_OK && in.all && !in.diff) {
        err = mri_fail(&diag, MRI_E_USAGE, MR_NOWHERE,
                       "--all is for --diff; --samples lists all of one "
                       "dataset");
    }
    if (err == MR_OK && in.diff) {
        err = mri_inspect_diff(&in, cli.rest.at[0], cli.rest.at[1], &diag);
    } else if (err == MR_OK) {
        in.thing = cli.rest.at[0];
        err = inspect(&in, &diag);
    }
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
