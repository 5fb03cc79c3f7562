/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_withdraw.c - millrace withdraw: samples out, in a new generation. */
#include "cli.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/generation.h>

#include <string.h>

/* So many keys are listed; --json lists all. */
#define LISTED 20

typedef struct outcome {
    const mri_cli *cli;
    const mri_withdraw_options *o;
    const mri_withdraw_report *r;
    mr_dataset *ds; /* as it was before */
    uint64_t *lost; /* [splits] samples that leave it */
    mri_json j;
} outcome;

/* NAME.mr and NAME.mr@N alike: the folder is what the dataset says it is. */
static mr_err
open_before(outcome *t, mr_diag *diag)
{
    mri_dataset_facts facts;
    mri_bytes name = {0};
    mr_dataset *now;
    mr_err err = mr_dataset_open(&now, t->o->dataset, diag);

    if (err != MR_OK) {
        return err;
    }
    mri_dataset_facts_of(now, &facts);
    err = mri_bytes_text(&name, "%s@%llu", facts.dir,
                         (unsigned long long)t->r->before)
              ? mr_dataset_open(&t->ds, (const char *)name.data, diag)
              : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    mri_bytes_release(&name);
    mr_dataset_close(now);
    return err;
}

static mr_err
count_lost(outcome *t, mr_diag *diag)
{
    uint32_t splits = mr_dataset_splits(t->ds);
    mr_err err = MR_OK;

    t->lost = mri_alloc(splits, sizeof *t->lost);
    if (t->lost == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    for (uint64_t i = 0; err == MR_OK && i < t->r->count; i++) {
        uint32_t split;

        err = mri_dataset_split_of(t->ds, t->r->ranks[i], &split, diag);
        if (err == MR_OK && split < splits) {
            t->lost[split]++;
        }
    }
    return err;
}

static mr_err
show_keys(outcome *t, mr_diag *diag)
{
    bool json = t->cli->json;
    mr_err err = MR_OK;

    for (uint64_t i = 0; err == MR_OK && i < t->r->count; i++) {
        mri_meta *meta;

        if (!json && i == LISTED) {
            (void)printf("  and %s more\n", mri_text_count(t->r->count - i));
            break;
        }
        err = mri_dataset_meta(t->ds, t->r->ranks[i], &meta, diag);
        if (err == MR_OK && json) {
            mri_json_text(&t->j, meta->key);
        } else if (err == MR_OK) {
            (void)printf("  %s\n", meta->key);
        }
        if (err == MR_OK) {
            mri_meta_free(meta);
        }
    }
    return err;
}

static void
warn_of_empty(const outcome *t)
{
    for (uint32_t i = 0; i < mr_dataset_splits(t->ds); i++) {
        uint64_t n = mr_dataset_split_count(t->ds, i);

        if (n != 0 && n == t->lost[i]) {
            mri_cli_warn(t->cli, "split %s %s empty now",
                         mr_dataset_split_name(t->ds, i),
                         t->o->dry_run ? "would be" : "is");
        }
    }
}

static mr_err
print_text(outcome *t, mr_diag *diag)
{
    const mri_withdraw_report *r = t->r;
    uint64_t left = mr_dataset_count(t->ds) - r->count;
    mr_err err;

    if (r->count == 0) {
        (void)printf("%s: nothing left to do; all that was named is withdrawn "
                     "already\n",
                     t->o->dataset);
        return MR_OK;
    }
    if (t->o->dry_run) {
        (void)printf("%s: would withdraw %s, and %s would be left:\n",
                     t->o->dataset, mri_text_plural(r->count, "sample"),
                     mri_text_count(left));
    } else {
        (void)printf("%s: generation %llu, %s withdrawn, %s left:\n",
                     t->o->dataset, (unsigned long long)r->generation,
                     mri_text_plural(r->count, "sample"), mri_text_count(left));
    }
    err = show_keys(t, diag);
    if (err == MR_OK) {
        warn_of_empty(t);
    }
    if (err == MR_OK && !t->o->dry_run) {
        mri_cli_say(t->cli,
                    "their bytes stay in the shards: generation %llu still "
                    "shows them",
                    (unsigned long long)r->before);
    }
    return err;
}

static mr_err
print_json(outcome *t, mr_diag *diag)
{
    const mri_withdraw_report *r = t->r;
    mri_json *j = &t->j;
    mr_err err;

    mri_json_object(j);
    mri_json_put_text(j, "schema", "millrace.withdraw.1");
    mri_json_put_text(j, "dataset", t->o->dataset);
    mri_json_put_bool(j, "dry_run", t->o->dry_run);
    mri_json_put_u64(j, "before", r->before);
    mri_json_put_u64(j, "generation", r->generation);
    mri_json_put_u64(j, "samples", mr_dataset_count(t->ds) - r->count);
    mri_json_put_u64(j, "withdrawn", r->count);
    mri_json_put_u64(j, "already", r->already);
    mri_json_key(j, "splits");
    mri_json_object(j);
    for (uint32_t i = 0; i < mr_dataset_splits(t->ds); i++) {
        mri_json_put_u64(j, mr_dataset_split_name(t->ds, i),
                         mr_dataset_split_count(t->ds, i) - t->lost[i]);
    }
    mri_json_end(j);
    mri_json_key(j, "keys");
    mri_json_array(j);
    err = show_keys(t, diag);
    mri_json_end(j);
    mri_json_end(j);
    if (err == MR_OK) {
        warn_of_empty(t);
        err = mri_cli_json(j, diag);
    }
    return err;
}

static mr_err
tell(const mri_cli *cli, const mri_withdraw_options *o,
     const mri_withdraw_report *r, mr_diag *diag)
{
    outcome t = {.cli = cli, .o = o, .r = r};
    mr_err err = open_before(&t, diag);

    if (err == MR_OK) {
        err = count_lost(&t, diag);
    }
    if (err == MR_OK) {
        err = cli->json ? print_json(&t, diag) : print_text(&t, diag);
    }
    mri_json_release(&t.j);
    mri_free(t.lost);
    mr_dataset_close(t.ds);
    return err;
}

/* KEY... and --key say the same. */
static mr_err
gather_keys(const mri_cli *cli, mri_texts *keys, mr_diag *diag)
{
    for (size_t i = 1; i < cli->rest.count; i++) {
        if (!mri_texts_add(keys, cli->rest.at[i])) {
            return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        }
    }
    return MR_OK;
}

static mri_names
names_of(const mri_texts *t)
{
    return (mri_names){t->at, t->count};
}

static const mri_cmd_doc doc = {
    .name = "withdraw",
    .args = "DATASET [KEY...]",
    .summary = "take samples or whole groups out of a dataset",
    .examples =
        "  millrace withdraw cells.mr ring/donor1_cell7.tif\n"
        "      one sample, by its key\n"
        "  millrace withdraw cells.mr --group donor1 --reason 'no consent'\n"
        "      all of a donor, with a line in history.jsonl\n"
        "  millrace withdraw cells.mr --group donor1 --dry-run\n"
        "      what would go; nothing is written\n",
    .details =
        "A new generation without them: index, splits, statistics and counts "
        "are made\nanew, nobody else moves to another split, and they stay "
        "out when their source\nis ingested again. Shards are not touched: "
        "the bytes are still there, and older\ngenerations (NAME.mr@N) still "
        "show them. A name that is not known refuses all\nof it.\n",
};

int
mri_cmd_withdraw(int argc, char **argv)
{
    mri_withdraw_options o = {0};
    mri_withdraw_report r = {0};
    mri_texts keys = {0}, uids = {0}, groups = {0};
    const mri_opt opts[] = {
        {MRI_OPT_LIST, 0, "key", &keys, "KEY", "a sample, as KEY...", false},
        {MRI_OPT_LIST, 0, "uid", &uids, "UID", "a sample, by its uid", false},
        {MRI_OPT_LIST, 0, "group", &groups, "GROUP", "all of a group", false},
        {MRI_OPT_TEXT, 0, "reason", &o.reason, "TEXT", "why, for history.jsonl",
         false},
        {MRI_OPT_FLAG, 0, "dry-run", &o.dry_run, NULL,
         "say what would go; write nothing", false},
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
        err = gather_keys(&cli, &keys, &diag);
    }
    if (err == MR_OK && keys.count + uids.count + groups.count == 0) {
        err = mri_fail(&diag, MRI_E_USAGE, MR_NOWHERE,
                       "withdraw needs a KEY, a --uid or a --group");
    }
    if (err == MR_OK) {
        o.dataset = cli.rest.at[0];
        o.keys = names_of(&keys);
        o.uids = names_of(&uids);
        o.groups = names_of(&groups);
        o.command = cli.command;
        o.watch = &cli.watch;
        err = mri_dataset_withdraw(&o, &r, &diag);
    }
    if (err == MR_OK) {
        err = tell(&cli, &o, &r, &diag);
    }
    mri_withdraw_report_release(&r);
    return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
}
