/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_eval.c - millrace eval: a kind of evaluation, and the way to it. */
#include "eval.h"

#include <mri/error.h>

#include <inttypes.h>
#include <string.h>

static const struct {
    const char *name;
    mri_verb_fn *run;
} kinds[] = {
    {"features", mri_eval_features},
    {"knn", mri_eval_knn},
    {"plot", mri_eval_plot},
};

static const mri_cmd_doc doc = {
    .name = "eval",
    .args = "WHAT ...",
    .summary = "what a network has learned: features, neighbours, a picture",
    .examples = "  millrace eval features run1 cells.mr -o trained.mrf\n"
                "      what the network sees in each sample, as a table\n"
                "  millrace eval knn trained.mrf\n"
                "      classes of the test rows by a vote of their neighbours\n"
                "  millrace eval plot trained.mrf -o map.png\n"
                "      two principal components, coloured by class\n",
    .details = "WHAT is features, knn or plot, and stands in front of all "
               "options.\n'millrace eval WHAT --help' tells more of each.\n",
    .kinds = "features knn plot",
};

const char *
mri_eval_origin(const mri_feature_origin *from)
{
    static _Thread_local char text[160];

    if (from->random) {
        (void)snprintf(text, sizeof text, "%.60s, untrained (seed %" PRIu64 ")",
                       from->arch, from->seed);
    } else {
        (void)snprintf(text, sizeof text, "%.60s after %s", from->arch,
                       mri_text_plural(from->step, "step"));
    }
    return text;
}

static mr_err
unknown_kind(const mri_cli *cli, mr_diag *diag)
{
    const char *names[MRI_COUNT(kinds)], *near;

    for (size_t i = 0; i < MRI_COUNT(kinds); i++) {
        names[i] = kinds[i].name;
    }
    if (cli->rest.count == 0) {
        return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                        "eval needs to know what: features, knn or plot");
    }
    near = mri_nearest(cli->rest.at[0], names, MRI_COUNT(kinds));
    return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                    "eval has no '%s'%s%s%s: expected features, knn or plot "
                    "in front of all options",
                    cli->rest.at[0], near != NULL ? "; did you mean '" : "",
                    near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* For completion, which knows verbs alone: the options of all kinds. */
static int
print_names(void)
{
    char names[] = "--names";

    for (size_t i = 0; i < MRI_COUNT(kinds); i++) {
        char *argv[] = {names, names, NULL};
        int rc = kinds[i].run(2, argv);

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int
mri_cmd_eval(int argc, char **argv)
{
    const mri_opt opts[] = {{MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false}};
    mri_cli cli;
    mr_diag diag = {0};
    int rc;

    for (size_t i = 0; argc > 1 && i < MRI_COUNT(kinds); i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            return kinds[i].run(argc - 1, argv + 1);
        }
    }
    if (argc == 2 && strcmp(argv[1], "--names") == 0) {
        return print_names();
    }
    rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    if (rc < 0) {
        rc = mri_cli_done(&cli, unknown_kind(&cli, &diag), &diag);
    }
    return mri_cli_end(&cli, rc);
}
