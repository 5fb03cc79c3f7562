/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_explain.c - millrace explain: what an error code means. */
#include "cli.h"

#include <mri/error.h>

#include <stdlib.h>
#include <string.h>

static void
explain(mri_json *j, const mri_error_info *e)
{
    char code[8];

    (void)snprintf(code, sizeof code, "E%04u", e->number);
    mri_json_object(j);
    mri_json_put_text(j, "code", code);
    mri_json_put_text(j, "id", e->id);
    mri_json_put_text(j, "cause", e->cause);
    mri_json_put_text(j, "help", e->help);
    mri_json_put_u64(j, "exit", (uint64_t)mr_err_exit(e->err));
    mri_json_end(j);
}

static const mri_error_info *
find(const char *text)
{
    const char *digits = text[0] == 'E' || text[0] == 'e' ? text + 1 : text;
    uint64_t number;

    if (!mri_parse_u64(digits, &number) || number > UINT16_MAX) {
        return NULL;
    }
    return mri_error_find((uint16_t)number);
}

static int
explain_one(mri_cli *cli, const char *text)
{
    const mri_error_info *e = find(text);
    mri_json j = {0};
    mr_diag diag = {0};
    mr_err err;

    if (e == NULL) {
        err = mri_fail(&diag, MRI_E_VALUE, MR_NOWHERE, "there is no error '%s'",
                       text);
        return mri_cli_done(cli, err, &diag);
    }
    if (cli->json) {
        explain(&j, e);
        err = mri_cli_json(&j, &diag);
        return mri_cli_done(cli, err, &diag);
    }
    (void)printf("E%04u %s\n\n%s\n\nWhat to do: %s.\nThe program ends with "
                 "exit code %d.\n",
                 e->number, e->id, e->cause, e->help, mr_err_exit(e->err));
    return 0;
}

static int
list_all(mri_cli *cli)
{
    size_t count;
    const mri_error_info *table = mri_error_table(&count);
    mri_json j = {0};
    mr_diag diag = {0};
    mr_err err = MR_OK;

    if (cli->json) {
        mri_json_array(&j);
    }
    for (size_t i = 0; i < count; i++) {
        if (cli->json) {
            explain(&j, &table[i]);
        } else {
            (void)printf("E%04u  %s\n", table[i].number, table[i].cause);
        }
    }
    if (cli->json) {
        mri_json_end(&j);
        err = mri_cli_json(&j, &diag);
    }
    return mri_cli_done(cli, err, &diag);
}

int
mri_cmd_explain(int argc, char **argv)
{
    static const mri_cmd_doc doc = {
        .name = "explain",
        .args = "[CODE]",
        .summary = "what an error code means, and what to do",
        .examples = "  millrace explain E0312\n"
                    "      more about error[E0312]\n"
                    "  millrace explain\n"
                    "      all errors, a line each\n",
    };
    const mri_opt opts[] = {{MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false}};
    mri_cli cli;
    int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
    mr_diag diag = {0};
    mr_err err;

    if (rc >= 0) {
        return mri_cli_end(&cli, rc);
    }
    err = mri_cli_args(&cli, 0, 1, &diag);
    if (err != MR_OK) {
        rc = mri_cli_done(&cli, err, &diag);
    } else {
        rc = cli.rest.count == 0 ? list_all(&cli)
                                 : explain_one(&cli, cli.rest.at[0]);
    }
    return mri_cli_end(&cli, rc);
}
