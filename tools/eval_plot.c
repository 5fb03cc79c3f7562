/* SPDX-License-Identifier: Apache-2.0 */
/* eval_plot.c - millrace eval plot: a feature table as a picture. */
#include "eval.h"

#include <mri/error.h>
#include <mri/plot.h>

#include <string.h>

static const mri_cmd_doc doc = {
    .name = "eval plot",
    .args = "F.mrf -o X.png",
    .summary = "a feature table as a picture: its two principal components",
    .examples =
        "  millrace eval plot trained.mrf -o map.png\n"
        "      every row a mark, coloured by class\n"
        "  millrace eval plot trained.mrf -o map.png -o map.svg --split test\n"
        "      one split, as pixels and as vectors\n"
        "  millrace eval plot trained.mrf -o donors.svg --by group\n"
        "      do the donors lie apart?\n",
    .details =
        "Rows are brought to length one, as eval knn compares them; the axes "
        "are the two\ndirections in which they vary most, and say how much of "
        "the variance that is.\nColours: Paul Tol's muted scheme, which stays "
        "apart for the colour-blind; beyond\nnine the shapes change, beyond "
        "24 the rarest are grey. Equal tables give equal\nbytes with one "
        "version of cairo and its fonts.\n",
};

static mr_err
write_all(const mri_plot *plot, const mri_texts *out, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < out->count; i++) {
        err = mri_plot_write(plot, out->at[i], diag);
    }
    return err;
}

static mr_err
print_json(const mri_plot *plot, const mri_texts *out, mr_diag *diag)
{
    const mri_pca *pca = mri_plot_pca(plot);
    mri_json j = {0};

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.eval.plot.1");
    mri_json_put_u64(&j, "rows", mri_plot_rows(plot));
    mri_json_key(&j, "variance");
    mri_json_array(&j);
    mri_json_f64(&j, pca->share[0]);
    mri_json_f64(&j, pca->share[1]);
    mri_json_end(&j);
    mri_json_key(&j, "files");
    mri_json_array(&j);
    for (size_t i = 0; i < out->count; i++) {
        mri_json_text(&j, out->at[i]);
    }
    mri_json_end(&j);
    mri_json_end(&j);
    return mri_cli_json(&j, diag);
}

static mr_err
print(const mri_cli *cli, const mri_plot *plot, const mri_texts *out,
      mr_diag *diag)
{
    const mri_pca *pca = mri_plot_pca(plot);

    if (cli->json) {
        return print_json(plot, out, diag);
    }
    for (size_t i = 0; i < out->count; i++) {
        (void)printf("%s: %s, %.1f %% of the variance\n", out->at[i],
                     mri_text_plural(mri_plot_rows(plot), "row"),
                     100 * (pca->share[0] + pca->share[1]));
    }
    return MR_OK;
}

static mr_err
draw(const mri_cli *cli, const mri_plot_options *o, const mri_texts *out,
     mr_diag *diag)
{
    mri_features *f = NULL;
    mri_plot *plot = NULL;
    mr_err err = mri_features_open(&f, cli->rest.at[0], diag);

    if (err == MR_OK) {
        err = mri_plot_open(&plot, mri_features_table(f), o, diag);
        mri_diag_in(err != MR_OK ? diag : NULL, cli->rest.at[0]);
    }
    if (err == MR_OK) {
        err = write_all(plot, out, diag);
    }
    if (err == MR_OK) {
        err = print(cli, plot, out, diag);
    }
    mri_plot_close(plot);
    mri_features_close(f);
    return err;
}

static mr_err
check_arguments(const mri_cli *cli, const mri_texts *out, mr_diag *diag)
{
    mr_err err = mri_cli_args(cli, 1, 1, diag);

    if (err == MR_OK && out->count == 0) {
        err = mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                       "eval plot needs -o X.png or -o X.svg");
    }
    for (size_t i = 0; err == MR_OK && i < out->count; i++) {
        if (!mri_plot_can(out->at[i])) {
            err = mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                           "-o cannot be '%s': expected a name that ends in "
                           ".png or .svg",
                           out->at[i]);
        }
    }
    return err;
}

int
mri_eval_plot(int argc, char **argv)
{
    mri_plot_options o = {.split = "all"};
    mri_texts out = {0};
    uint64_t threads = 0;
    int color = 0;
    const mri_opt opts[] = {
        {MRI_OPT_LIST, 'o', "output", &out, "FILE",
         "X.png or X.svg (needed); may be repeated", false},
        {MRI_OPT_TEXT, 0, "split", &o.split, "NAME",
         "all, or train, val, test, or fold0+fold1, '!fold2' (all)", false},
        {MRI_OPT_CHOICE, 0, "by", &color, "class|group|split",
         "what the colours mean", false},
        {MRI_OPT_U64, 'j', "threads", &threads, "N",
         "threads that compute (all CPUs)", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    err = check_arguments(&cli, &out, &diag);
    if (err == MR_OK) {
        err = mri_cli_number("threads", threads, 0, MRI_CLI_THREADS, &diag);
    }
    if (err == MR_OK) {
        o.color = (mri_plot_color)color;
        o.threads = (unsigned)threads;
        err = draw(&cli, &o, &out, &diag);
    }
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
