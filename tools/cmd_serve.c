/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_serve.c - millrace serve: the long-running stream server. */
#include "cli.h"

#include <mri/error.h>
#include <mri/server.h>

#include <string.h>

static void
say_ready(void *user, const char *endpoint)
{
    (void)user;
    (void)fprintf(stderr, "ready %s\n", endpoint);
}

static bool
stop(void *user)
{
    (void)user;
    return mri_signals_stop();
}

static mr_err
serve(mri_cli *cli, mri_server_options *o, mr_diag *diag)
{
    mri_answer_counts counts;
    mri_server *server;
    mr_err err;

    o->datasets = cli->rest.at;
    o->dataset_count = cli->rest.count;
    o->ready = say_ready;
    o->stop = stop;
    err = mri_server_open(&server, o, diag);
    if (err != MR_OK) {
        return err;
    }
    err = mri_server_run(server, diag);
    mri_server_counts(server, &counts);
    mri_cli_say(cli, "served %s, %s, and could not serve %s",
                mri_text_plural(counts.rows, "row"),
                mri_text_bytes(counts.sent_bytes),
                mri_text_plural(counts.misses, "row"));
    mri_server_close(server);
    return err;
}

int
mri_cmd_serve(int argc, char **argv)
{
    static const mri_cmd_doc doc = {
        .name = "serve",
        .args = "DATASET...",
        .summary = "decode and augment for trainers, here or elsewhere",
        .examples =
            "  millrace serve cells.mr\n"
            "      at an ipc socket of your own; 'ready ENDPOINT' on stderr "
            "tells where\n"
            "  millrace serve cells.mr --listen tcp://127.0.0.1:5570\n"
            "      for every user of this machine (and others by ssh -L)\n"
            "  millrace serve a.mr b.mr --listen ipc:///run/user/1000/m.sock\n"
            "      several datasets: consumers name one, ENDPOINT#a\n",
        .details = "A server keeps no state that matters: it may be stopped, "
                   "started again, or be\none of several; consumers go on. "
                   "SIGTERM finishes what was begun, then ends.\nOnly "
                   "loopback and ipc addresses are accepted: there are no "
                   "keys yet.\n",
    };
    mri_server_options o = mri_server_defaults();
    mri_texts listen = {0};
    uint64_t threads = 0;
    const mri_opt opts[] = {
        {MRI_OPT_LIST, 0, "listen", &listen, "ENDPOINT",
         "ipc:///PATH or tcp://127.0.0.1:PORT; may be repeated", false},
        {MRI_OPT_BYTES, 0, "memory", &o.memory, "BYTES",
         "computed and not yet sent, at most (1G)", false},
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
    err = mri_cli_args(&cli, 1, 0, &diag);
    if (err == MR_OK) {
        err = mri_cli_number("threads", threads, 0, MRI_CLI_THREADS, &diag);
    }
    o.threads = (uint32_t)threads;
    o.listen = listen.at;
    o.listen_count = listen.count;
    if (err == MR_OK) {
        err = serve(&cli, &o, &diag);
    }
    rc = mri_cli_done(&cli, err, &diag);
    if (err == MR_OK && mri_signals_last() == 2) {
        rc = 130;
    }
    return mri_cli_end(&cli, rc);
}
