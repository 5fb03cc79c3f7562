/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_verify.c - millrace verify: read every byte and prove it. */
#include "cli.h"

#include <mri/clock.h>
#include <mri/cpu.h>
#include <mri/dataset.h>
#include <mri/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct tally {
    mri_cli *cli;
    mri_json *j;
    uint64_t newer;  /* of what was told: not damaged, of another version */
    uint64_t locked; /* not damaged either, as far as we may know */
} tally;

/* The file is there, and we have no permission to read it. */
static bool
locked(const mr_diag *diag)
{
    return diag->code == MRI_E_OPEN && access(diag->path, R_OK) != 0 &&
           (errno == EACCES || errno == EPERM);
}

static void
tell(void *user, const char *sample, const mr_diag *diag)
{
    tally *t = user;
    char line[1024];

    t->newer += diag->err == MR_EVERSION;
    t->locked += locked(diag);
    if (t->cli->json) {
        char code[8];

        (void)snprintf(code, sizeof code, "E%04u", diag->code);
        mri_json_object(t->j);
        mri_json_put_text(t->j, "path", diag->path);
        mri_json_key(t->j, "at");
        if (diag->at != MR_NOWHERE) {
            mri_json_u64(t->j, diag->at);
        } else {
            mri_json_null(t->j);
        }
        mri_json_put_text(t->j, "code", code);
        mri_json_put_text(t->j, "sample", sample);
        mri_json_put_text(t->j, "text", diag->text);
        mri_json_end(t->j);
        return;
    }
    (void)mri_diag_line(diag, line, sizeof line);
    mri_progress_clear(&t->cli->line);
    if (sample != NULL) {
        (void)printf("%s (sample %s)\n", line, sample);
    } else {
        (void)printf("%s\n", line);
    }
}

/* One THING: a dataset folder or a single shard. */
static mr_err
verify_thing(mri_cli *cli, const char *thing, unsigned workers, tally *t,
             mri_dataset_verified *v, mr_diag *diag)
{
    struct stat st;

    *v = (mri_dataset_verified){0};
    if (stat(thing, &st) == 0 && S_ISREG(st.st_mode)) {
        mr_err err = mri_shard_verify(thing, NULL, tell, t, &v->shards, diag);

        v->shard_count = 1;
        v->damages = v->shards.damages;
        return err;
    }
    return mri_dataset_verify(thing, workers, tell, t, &cli->watch, v, diag);
}

/* What was told of one THING, in its last word. */
static const char *
verdict_of(uint64_t damages, uint64_t newer, uint64_t unread)
{
    if (damages == 0) {
        return "sound";
    }
    if (damages != newer + unread) {
        return "DAMAGED";
    }
    return unread != 0 ? "NOT READ, for want of permission"
                       : "OF ANOTHER VERSION";
}

static void
print_thing(const char *thing, const mri_dataset_verified *v, const tally *here,
            double seconds)
{
    double rate = seconds > 0 ? (double)v->shards.bytes / seconds : 0;

    (void)printf("%s: %s in %s, %s read in %s (%s/s): %s\n", thing,
                 mri_text_plural(v->shards.samples, "sample"),
                 mri_text_plural(v->shard_count, "shard"),
                 mri_text_bytes(v->shards.bytes), mri_text_seconds(seconds),
                 mri_text_bytes((uint64_t)rate),
                 verdict_of(v->damages, here->newer, here->locked));
    if (v->damages != 0) {
        (void)printf("  %s, listed above%s\n",
                     mri_text_plural(v->damages, "place"),
                     v->damages != here->newer + here->locked
                         ? "; 'millrace salvage' brings back "
                           "what is intact"
                         : "");
    }
    if (v->orphans != 0) {
        (void)printf("  %s that no generation names (left by an ingest that "
                     "was cut off; the next one removes what it left)\n",
                     mri_text_plural(v->orphans, "file"));
    }
}

static void
json_thing(mri_json *j, const char *thing, const mri_dataset_verified *v,
           double seconds)
{
    mri_json_put_text(j, "thing", thing);
    mri_json_put_u64(j, "samples", v->shards.samples);
    mri_json_put_u64(j, "shards", v->shard_count);
    mri_json_put_u64(j, "generations", v->generations);
    mri_json_put_u64(j, "bytes", v->shards.bytes);
    mri_json_put_u64(j, "damages", v->damages);
    mri_json_put_u64(j, "orphans", v->orphans);
    mri_json_put_f64(j, "seconds", seconds);
}

/* rc: 3 if anything is damaged, else 5 if something may not be read, else 9
 * if something is newer. */
static mr_err
verify_all(mri_cli *cli, unsigned workers, int *rc, mr_diag *diag)
{
    mri_json j = {0};
    tally all = {cli, &j, 0, 0};
    uint64_t damages = 0;
    mr_err err = MR_OK;

    if (cli->json) {
        mri_json_object(&j);
        mri_json_put_text(&j, "schema", "millrace.verify.1");
        mri_json_key(&j, "things");
        mri_json_array(&j);
    }
    for (size_t i = 0; err == MR_OK && i < cli->rest.count; i++) {
        mri_dataset_verified v;
        double start = mri_now_s(), seconds;
        tally t = {cli, &j, 0, 0};

        if (cli->json) {
            mri_json_object(&j);
            mri_json_key(&j, "found");
            mri_json_array(&j);
        }
        err = verify_thing(cli, cli->rest.at[i], workers, &t, &v, diag);
        seconds = mri_now_s() - start;
        damages += v.damages;
        all.newer += t.newer;
        all.locked += t.locked;
        mri_progress_clear(&cli->line);
        if (cli->json) {
            mri_json_end(&j);
            json_thing(&j, cli->rest.at[i], &v, seconds);
            mri_json_end(&j);
        } else if (err == MR_OK) {
            print_thing(cli->rest.at[i], &v, &t, seconds);
        }
    }
    if (cli->json && err == MR_OK) {
        mri_json_end(&j);
        mri_json_end(&j);
        err = mri_cli_json(&j, diag);
    }
    mri_json_release(&j);
    *rc = damages > all.newer + all.locked ? 3
          : all.locked != 0                ? 5
          : damages != 0                   ? 9
                                           : 0;
    return err;
}

int
mri_cmd_verify(int argc, char **argv)
{
    static const mri_cmd_doc doc = {
        .name = "verify",
        .args = "THING...",
        .summary = "read every byte of a dataset and prove it",
        .examples = "  millrace verify cells.mr\n"
                    "      exit 0: every byte is as it was written; 3: the "
                    "damage is listed\n      ('millrace salvage' brings back "
                    "what is intact); 5: no permission to read\n      it "
                    "all; 9: written by a newer millrace\n"
                    "  millrace verify cells.mr/shards/3f/3f*.mrs\n"
                    "      a single shard\n",
        .details = "Manifests and their chain, indices, every shard of every "
                   "generation (head,\neach frame, pads, tables, both tails, "
                   "every chunk decoded and hashed),\nhistory and "
                   "quarantine, and that nothing else lies in the folder.\n",
    };
    uint64_t workers = mri_cpu_count();
    int found = 0;
    const mri_opt opts[] = {
        {MRI_OPT_U64, 'j', "threads", &workers, "N",
         "threads that read shards (all CPUs)", false},
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
        err = mri_cli_number("threads", workers, 0, MRI_CLI_THREADS, &diag);
    }
    if (err == MR_OK) {
        err = verify_all(&cli, workers != 0 ? (unsigned)workers : 1, &found,
                         &diag);
    }
    rc = mri_cli_done(&cli, err, &diag);
    return mri_cli_end(&cli, rc == 0 ? found : rc);
}
