/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_salvage.c - millrace salvage: what is intact into a new dataset. */
#include "cli.h"

#include <mri/clock.h>
#include <mri/error.h>
#include <mri/salvage.h>

#include <string.h>

typedef struct report {
    mri_cli *cli;
    mri_json j;
} report;

static void
put_code(mri_json *j, const mr_diag *why)
{
    char code[8];

    (void)snprintf(code, sizeof code, "E%04u", why->code % 10000u);
    mri_json_put_text(j, "code", code);
    mri_json_key(j, "at");
    if (why->at != MR_NOWHERE) {
        mri_json_u64(j, why->at);
    } else {
        mri_json_null(j);
    }
    mri_json_put_text(j, "text", why->text);
}

static void
tell(void *user, const mri_lost *lost)
{
    report *r = user;
    mri_json *j = &r->j;
    char line[1024], hex[2 * MR_UID_BYTES + 1];
    const char *uid =
        lost->uid != NULL ? mri_hex(hex, lost->uid, MR_UID_BYTES) : NULL;

    if (r->cli->json) {
        mri_json_object(j);
        mri_json_put_text(j, "shard", lost->shard);
        mri_json_put_u64(j, "row", lost->row);
        mri_json_put_u64(j, "count", lost->count);
        mri_json_put_text(j, "key", lost->key);
        mri_json_put_text(j, "uid", uid);
        put_code(j, lost->why);
        mri_json_end(j);
        return;
    }
    (void)mri_diag_line(lost->why, line, sizeof line);
    mri_progress_clear(&r->cli->line);
    if (lost->key != NULL || uid != NULL) {
        (void)printf("lost: %s%suid %s: %s\n",
                     lost->key != NULL ? lost->key : "",
                     lost->key != NULL ? ", " : "", uid, line);
    } else if (lost->count != 0) {
        (void)printf("lost: %s whose names nobody knows (from row %llu): %s\n",
                     mri_text_plural(lost->count, "sample"),
                     (unsigned long long)lost->row, line);
    } else {
        (void)printf("lost: perhaps more, from row %llu on: %s\n",
                     (unsigned long long)lost->row, line);
    }
}

static bool
all_back(const mri_salvaged *s)
{
    return s->lost == 0 && !s->more_lost;
}

static void
say_remarks(const mri_cli *cli, const mri_salvaged *s)
{
    if (s->older_manifest) {
        mri_cli_warn(cli, "the newest manifest cannot be read: all shards in "
                          "the folder were searched, and what was withdrawn "
                          "last may be among the saved");
    }
    if (s->no_index) {
        mri_cli_warn(cli, "no index can be read: splits are drawn anew");
    }
    if (s->two_labels != 0) {
        mri_cli_warn(cli,
                     "%s stood there with two labels, as 'relabel' leaves "
                     "them; no manifest says which is the later: compare",
                     mri_text_plural(s->two_labels, "sample"));
    }
    if (s->names_lost) {
        mri_cli_warn(cli, "no copy of a schema is left: fields are named "
                          "field0, field1, ... in their order");
    }
    if (s->unread != 0) {
        mri_cli_warn(cli, "the disk did not give %s",
                     mri_text_bytes(s->unread));
    }
}

static void
print_text(const mri_cli *cli, const char *output, const mri_salvaged *s,
           double seconds)
{
    say_remarks(cli, s);
    (void)printf("%s: %s saved, %s%s lost, from %s (%s of them damaged), %s "
                 "read in %s\n",
                 output, mri_text_plural(s->saved, "sample"),
                 s->more_lost ? "at least " : "", mri_text_count(s->lost),
                 mri_text_plural(s->shards, "shard"),
                 mri_text_count(s->shards_hurt), mri_text_bytes(s->bytes),
                 mri_text_seconds(seconds));
}

static mr_err
print_json(mri_json *j, const mri_salvage_options *o, const mri_salvaged *s,
           double seconds, mr_diag *diag)
{
    mri_json_end(j);
    mri_json_put_text(j, "source", o->source);
    mri_json_put_text(j, "output", o->output);
    mri_json_put_u64(j, "generation", s->generation);
    mri_json_put_u64(j, "saved", s->saved);
    mri_json_put_u64(j, "lost_count", s->lost);
    mri_json_put_bool(j, "more_lost", s->more_lost);
    mri_json_put_bool(j, "names_lost", s->names_lost);
    mri_json_put_bool(j, "older_manifest", s->older_manifest);
    mri_json_put_bool(j, "no_index", s->no_index);
    mri_json_put_u64(j, "two_labels", s->two_labels);
    mri_json_put_u64(j, "unread_bytes", s->unread);
    mri_json_put_u64(j, "shards", s->shards);
    mri_json_put_u64(j, "shards_damaged", s->shards_hurt);
    mri_json_put_u64(j, "bytes", s->bytes);
    mri_json_put_f64(j, "seconds", seconds);
    mri_json_end(j);
    return mri_cli_json(j, diag);
}

static mr_err
run(mri_cli *cli, mri_salvage_options *o, int *rc, mr_diag *diag)
{
    report r = {.cli = cli};
    mri_salvaged s;
    double start = mri_now_s(), seconds;
    mr_err err;

    o->tell = tell;
    o->user = &r;
    if (cli->json) {
        mri_json_object(&r.j);
        mri_json_put_text(&r.j, "schema", "millrace.salvage.1");
        mri_json_key(&r.j, "lost");
        mri_json_array(&r.j);
    }
    err = mri_salvage(o, &s, diag);
    seconds = mri_now_s() - start;
    mri_progress_clear(&cli->line);
    if (err == MR_OK && cli->json) {
        err = print_json(&r.j, o, &s, seconds, diag);
    } else if (err == MR_OK) {
        print_text(cli, o->output, &s, seconds);
    }
    *rc = err == MR_OK && !all_back(&s) ? 3 : 0;
    mri_json_release(&r.j);
    return err;
}

int
mri_cmd_salvage(int argc, char **argv)
{
    static const mri_cmd_doc doc = {
        .name = "salvage",
        .args = "SOURCE -o DATASET",
        .summary = "what is intact in damaged shards, as a new dataset",
        .examples =
            "  millrace salvage cells.mr -o saved.mr\n"
            "      exit 0: every sample came back; 3: what is saved is in "
            "saved.mr, and\n      what is lost is listed\n"
            "  millrace salvage cells.mr/shards/3f/3f*.mrs -o saved.mr\n"
            "      a single shard, also without its head or its end\n",
        .details =
            "SOURCE is a dataset folder or one shard file; it is never "
            "changed. A sample\nis intact if the checksums of all its frames "
            "hold and its arrays decode to\nthe values that were written. It "
            "keeps its bytes, uid, key, group, class,\ngeometry and origin, "
            "and its split where the index is intact. Lost samples\nare named "
            "as far as foot, index or manifest know them. The end of a shard\n"
            "that is missing counts as a loss where nothing says how many "
            "samples it had.\n",
    };
    mri_salvage_options o = {0};
    int found = 0;
    const mri_opt opts[] = {
        {MRI_OPT_TEXT, 'o', "output", &o.output, "DATASET",
         "the dataset to make; must not be there", false},
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
    if (err == MR_OK && o.output == NULL) {
        err = mri_fail(&diag, MRI_E_USAGE, MR_NOWHERE,
                       "salvage needs -o DATASET");
    }
    if (err == MR_OK) {
        err = mri_cli_new_name(o.output, &diag);
    }
    if (err == MR_OK) {
        o.source = cli.rest.at[0];
        o.command = cli.command;
        o.watch = &cli.watch;
        err = run(&cli, &o, &found, &diag);
    }
    rc = mri_cli_done(&cli, err, &diag);
    return mri_cli_end(&cli, rc == 0 ? found : rc);
}
