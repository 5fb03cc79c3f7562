/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_relabel.c - millrace relabel: other classes and groups. */
#include "cli.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/generation.h>

#include <string.h>

#define LIMIT ((uint64_t)1 << 30) /* of a table */

/* A table of labels: the rows point into its text. */
typedef struct table {
    mri_bytes text;
    mri_relabel_row *rows;
    size_t count;
    int key, uid, class_name, group; /* columns; -1: not there */
} table;

enum { COLUMNS = 64 };

/*
 * Cut the line at `*at` into fields, in place: parted by commas, in quotes
 * where they hold one, quotes doubled in quotes. Ends behind the line. False:
 * quotes that do not close, or too many fields.
 */
static bool
cut_line(char **at, char *fields[COLUMNS], int *count)
{
    char *from = *at, *to;

    for (*count = 0; *count < COLUMNS;) {
        bool quoted = *from == '"';

        from += quoted;
        fields[(*count)++] = to = from;
        while (quoted ? *from != '\0' : strchr(",\r\n", *from) == NULL) {
            if (quoted && *from == '"' && *++from != '"') {
                quoted = false;
                break;
            }
            *to++ = *from++;
        }
        if (quoted || strchr(",\r\n", *from) == NULL) {
            return false;
        }
        if (*from != ',') {
            from += *from == '\r';
            *at = from + (*from == '\n');
            *to = '\0';
            return true;
        }
        from++;
        *to = '\0';
    }
    return false;
}

static mr_err
bad_line(const char *path, size_t line, const char *what, mr_diag *diag)
{
    mr_err err =
        mri_fail(diag, MRI_E_VALUE, MR_NOWHERE, "line %zu: %s", line, what);

    mri_diag_in(diag, path);
    return err;
}

static mr_err
read_header(table *t, const char *path, char *fields[], int count,
            mr_diag *diag)
{
    struct {
        const char *name;
        int *column;
    } known[] = {{"key", &t->key},
                 {"uid", &t->uid},
                 {"class", &t->class_name},
                 {"group", &t->group}};

    t->key = t->uid = t->class_name = t->group = -1;
    for (int i = 0; i < count; i++) {
        for (size_t k = 0; k < MRI_COUNT(known); k++) {
            if (strcmp(fields[i], known[k].name) == 0) {
                *known[k].column = i;
            }
        }
    }
    if ((t->key < 0) == (t->uid < 0)) {
        return bad_line(path, 1, "one column must be called key or uid", diag);
    }
    if (t->class_name < 0 && t->group < 0) {
        return bad_line(path, 1, "no column is called class or group", diag);
    }
    return MR_OK;
}

static const char *
at_column(char *fields[], int column)
{
    return column >= 0 ? fields[column] : NULL;
}

static mr_err
add_row(table *t, const mri_relabel_row *row, mr_diag *diag)
{
    mri_relabel_row *grown = mri_resize(t->rows, t->count + 1, sizeof *grown);

    if (grown == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    t->rows = grown;
    grown[t->count++] = *row;
    return MR_OK;
}

static mr_err
read_lines(table *t, const char *path, mr_diag *diag)
{
    char *at = (char *)t->text.data, *fields[COLUMNS];
    int count, columns = 0;
    mr_err err = MR_OK;

    if (strncmp(at, "\xef\xbb\xbf", 3) == 0) {
        at += 3; /* as some programs begin UTF-8 */
    }
    for (size_t line = 1; err == MR_OK && *at != '\0'; line++) {
        if (!cut_line(&at, fields, &count)) {
            err = bad_line(path, line, "quotes that do not close", diag);
        } else if (line == 1) {
            columns = count;
            err = read_header(t, path, fields, count, diag);
        } else if (count == 1 && fields[0][0] == '\0') {
            continue; /* an empty line */
        } else if (count != columns) {
            err = bad_line(path, line, "another number of columns", diag);
        } else {
            const mri_relabel_row row = {.key = at_column(fields, t->key),
                                         .uid = at_column(fields, t->uid),
                                         .class_name =
                                             at_column(fields, t->class_name),
                                         .group = at_column(fields, t->group)};

            err = add_row(t, &row, diag);
        }
    }
    return err;
}

static mr_err
read_table(table *t, const char *path, mr_diag *diag)
{
    mr_err err = mri_file_load(path, LIMIT, &t->text, diag);

    if (err == MR_OK && memchr(t->text.data, '\0', t->text.len) != NULL) {
        err = bad_line(path, 1, "this is no text", diag);
    }
    if (err == MR_OK && !mri_bytes_add(&t->text, "", 1)) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    return err == MR_OK ? read_lines(t, path, diag) : err;
}

static mr_err
rows_of_keys(table *t, const mri_cli *cli, const char *class_name,
             const char *group, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 1; err == MR_OK && i < cli->rest.count; i++) {
        err = add_row(t,
                      &(mri_relabel_row){.key = cli->rest.at[i],
                                         .class_name = class_name,
                                         .group = group},
                      diag);
    }
    return err;
}

/* Samples come from the command line or from a table, each with its labels. */
static mr_err
check_sources(const mri_cli *cli, bool from_table, bool labels, mr_diag *diag)
{
    if (from_table == (cli->rest.count > 1)) {
        return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                        "relabel needs either KEY... or --csv F");
    }
    if (from_table == labels) {
        return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                        from_table
                            ? "--class and --group go with KEY..., the table "
                              "has its own"
                            : "KEY... needs --class or --group");
    }
    return MR_OK;
}

static mr_err
print_json(const mri_relabel_options *o, const mri_relabel_report *r,
           mr_diag *diag)
{
    mri_json j = {0};

    mri_json_object(&j);
    mri_json_put_text(&j, "schema", "millrace.relabel.1");
    mri_json_put_text(&j, "dataset", o->dataset);
    mri_json_put_bool(&j, "dry_run", o->dry_run);
    mri_json_put_u64(&j, "before", r->before);
    mri_json_put_u64(&j, "generation", r->generation);
    mri_json_put_u64(&j, "relabelled", r->count);
    mri_json_put_u64(&j, "same", r->same);
    mri_json_put_u64(&j, "regrouped", r->regrouped);
    mri_json_put_u64(&j, "new_classes", r->new_classes);
    mri_json_end(&j);
    return mri_cli_json(&j, diag);
}

static void
print_text(const mri_cli *cli, const mri_relabel_options *o,
           const mri_relabel_report *r)
{
    if (r->count == 0) {
        (void)printf("%s: nothing to do; all that was named has these labels\n",
                     o->dataset);
        return;
    }
    if (o->dry_run) {
        (void)printf("%s: would relabel %s\n", o->dataset,
                     mri_text_plural(r->count, "sample"));
    } else {
        (void)printf("%s: generation %llu, %s relabelled\n", o->dataset,
                     (unsigned long long)r->generation,
                     mri_text_plural(r->count, "sample"));
    }
    if (r->same != 0) {
        mri_cli_say(cli, "%s had that label already", mri_text_count(r->same));
    }
    if (r->new_classes != 0) {
        mri_cli_say(cli, "%s not there before",
                    r->new_classes == 1 ? "one class was"
                                        : "some classes were");
    }
    if (r->regrouped != 0) {
        mri_cli_say(cli,
                    "%s with another group: these go to the split of that "
                    "group",
                    mri_text_plural(r->regrouped, "sample"));
    }
}

static const mri_cmd_doc doc = {
    .name = "relabel",
    .args = "DATASET [KEY...]",
    .summary = "give samples another class or group",
    .examples =
        "  millrace relabel cells.mr ring/a1.tif ring/a2.tif --class spot\n"
        "      two samples, by their keys\n"
        "  millrace relabel cells.mr --csv labels.csv --reason 'second "
        "reading'\n"
        "      as a table says: columns key (or uid), class and/or group\n"
        "  millrace relabel cells.mr --csv labels.csv --dry-run\n"
        "      how many would change; nothing is written\n",
    .details =
        "A new generation. The samples keep their uids, so all random draws "
        "of a stream\nstay what they were, and 'rollback' brings the labels "
        "before it back. With\nanother class a sample stays in its split; "
        "with another group it goes to that\ngroup's split, or, if the group "
        "is new, to the one that its hash says. An empty\nname takes class or "
        "group away. One name that is not known refuses all of it.\nThe "
        "samples' stored bytes are copied into new shards; 'compact' removes "
        "the rows\nthat do not count any more.\n",
};

int
mri_cmd_relabel(int argc, char **argv)
{
    mri_relabel_options o = {0};
    mri_relabel_report r = {0};
    const char *csv = NULL, *class_name = NULL, *group = NULL;
    table t = {0};
    const mri_opt opts[] = {
        {MRI_OPT_TEXT, 0, "csv", &csv, "F",
         "a table with a column key or uid, and class and/or group", false},
        {MRI_OPT_TEXT, 0, "class", &class_name, "NAME", "the class of KEY...",
         false},
        {MRI_OPT_TEXT, 0, "group", &group, "NAME", "the group of KEY...",
         false},
        {MRI_OPT_TEXT, 0, "reason", &o.reason, "TEXT", "why, for history.jsonl",
         false},
        {MRI_OPT_FLAG, 0, "dry-run", &o.dry_run, NULL,
         "say what would change; write nothing", false},
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
    if (err == MR_OK) {
        err = check_sources(&cli, csv != NULL,
                            class_name != NULL || group != NULL, &diag);
    }
    if (err == MR_OK) {
        err = csv != NULL ? read_table(&t, csv, &diag)
                          : rows_of_keys(&t, &cli, class_name, group, &diag);
    }
    if (err == MR_OK) {
        o.dataset = cli.rest.at[0];
        o.rows = t.rows;
        o.count = t.count;
        o.command = cli.command;
        o.watch = &cli.watch;
        err = mri_dataset_relabel(&o, &r, &diag);
    }
    if (err == MR_OK && cli.json) {
        err = print_json(&o, &r, &diag);
    } else if (err == MR_OK) {
        print_text(&cli, &o, &r);
    }
    mri_relabel_report_release(&r);
    mri_free(t.rows);
    mri_bytes_release(&t.text);
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
