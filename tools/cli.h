/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - what every verb shares: options that all have, help, errors, signals,
 * progress. A verb is a function of one table of options and reads:
 *
 *     mri_cli cli;
 *     int rc = mri_cli_begin(&cli, argc, argv, &doc, opts);
 *
 *     if (rc >= 0) { return mri_cli_end(&cli, rc); }  // help, or a wrong flag
 *     ...
 *     return mri_cli_end(&cli, mri_cli_done(&cli, err, &diag));
 */
#ifndef MRI_CLI_H
#define MRI_CLI_H

#include <mri/conf.h>
#include <mri/json.h>
#include <mri/opt.h>

#include <stdio.h>

#define MRI_CLI_THREADS 1024 /* of one command, at most */

typedef struct mri_progress_line {
    const char *verb;
    double began, last_shown, last_line;
    uint64_t last_done; /* for the rate of late */
    double last_at, rate;
    bool terminal, shown, quiet;
    size_t width; /* of what stands on the terminal */
} mri_progress_line;

typedef struct mri_cli {
    const char *verb;
    bool json, quiet, verbose, help, roff, names, no_mmap;
    int color; /* auto, always, never */
    const char *config;
    mri_conf *conf;
    mri_opt *opts;  /* the verb's and those of all */
    mri_texts rest; /* arguments */
    mri_progress_line line;
    mr_watch watch; /* progress on stderr, stop on a signal */
    char *command;  /* the line as it was typed */
} mri_cli;

/*
 * Parse. -1: go on; else the exit code, help or the error being printed.
 * `opts` ends with MRI_OPT_END.
 */
int mri_cli_begin(mri_cli *cli, int argc, char **argv, const mri_cmd_doc *doc,
                  const mri_opt *opts);
/* Release, and make sure that stdout took everything: a full disk must not
 * look like success. */
int mri_cli_end(mri_cli *cli, int rc);
/* The exit code of `err`, printing the diag unless it is MR_OK. A stop is
 * 130 after SIGINT and 75 after SIGTERM or SIGUSR1. */
int mri_cli_done(mri_cli *cli, mr_err err, const mr_diag *diag);
/* An option of the verb was given on the command line or in the config. */
bool mri_cli_seen(const mri_cli *cli, const char *name);
/* A mistake in a pipeline lies in its file (may be NULL), whoever found it. */
void mri_cli_blame_pipeline(mr_diag *diag, const char *file);
/* Number of arguments as it must be; MR_EARG otherwise. `most` 0: no limit. */
mr_err mri_cli_args(const mri_cli *cli, size_t least, size_t most,
                    mr_diag *diag);

/* The name of a dataset to make or to add to: NAME@N means a generation, and
 * those are never written. MR_EARG, unless a folder has that very name. */
mr_err mri_cli_new_name(const char *name, mr_diag *diag);

/* --NAME as a number from `least` to `most`; MR_EARG otherwise. */
mr_err mri_cli_number(const char *name, uint64_t value, uint64_t least,
                      uint64_t most, mr_diag *diag);

/* stderr, unless -q. */
void mri_cli_say(const mri_cli *cli, const char *fmt, ...) MRI_PRINTF(2, 3);
void mri_cli_warn(const mri_cli *cli, const char *fmt, ...) MRI_PRINTF(2, 3);
/* Seconds of an option as milliseconds; MR_EARG unless 0 < s < 1e6. */
MR_USE_RESULT mr_err mri_cli_ms(const char *name, double seconds, uint32_t *ms,
                                mr_diag *diag);
/* The folder of back ends' modules: lib/millrace beside the program's bin. */
const char *mri_cli_modules(char *out, size_t bytes);
/* Print a JSON text and a newline on stdout, and release it. */
mr_err mri_cli_json(mri_json *j, mr_diag *diag);

/* SIGINT, SIGTERM, SIGUSR1 set a flag; a second SIGINT ends at once. */
void mri_signals_catch(void);
bool mri_signals_stop(void);
int mri_signals_last(void); /* 0: none came */

/* progress.c */
void mri_progress_init(mri_progress_line *line, const char *verb, bool quiet);
void mri_progress_show(mri_progress_line *line, const mr_progress *now);
/* Take the line away: something else is to be printed. */
void mri_progress_clear(mri_progress_line *line);

/* cli_text.c: numbers as people read them, in rotating buffers of the thread. */
const char *mri_text_count(uint64_t n);                    /* 12,345 */
const char *mri_text_plural(uint64_t n, const char *word); /* 2 shards */
const char *mri_text_bytes(uint64_t n);                    /* 1.4 GB */
const char *mri_text_seconds(double s);                    /* 1:02:03, 4.2 s */
const char *mri_text_shape(const uint64_t *shape, uint32_t rank); /* [2, 3] */
const char *mri_text_hex(const uint8_t *p, size_t bytes);

/* The verbs: one function each, exit code out. */
typedef int mri_verb_fn(int argc, char **argv);
mri_verb_fn mri_cmd_batch, mri_cmd_compact, mri_cmd_completion, mri_cmd_explain,
    mri_cmd_export, mri_cmd_eval, mri_cmd_ingest, mri_cmd_inspect,
    mri_cmd_salvage, mri_cmd_serve, mri_cmd_synth, mri_cmd_relabel,
    mri_cmd_rollback, mri_cmd_train, mri_cmd_verify, mri_cmd_withdraw;

#endif
