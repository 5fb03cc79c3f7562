/* SPDX-License-Identifier: Apache-2.0 */
/* millrace.c - a table of verbs, and the way to each. */
#include "cli.h"

#include <mri/cpu.h>
#include <mri/error.h>
#include <mri/log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

typedef struct verb {
    const char *name;
    mri_verb_fn *run;
    const char *summary;
} verb;

static const verb verbs[] = {
    {"ingest", mri_cmd_ingest,
     "foreign images and volumes in, one dataset out"},
    {"inspect", mri_cmd_inspect, "what is in a dataset, a shard or a file"},
    {"verify", mri_cmd_verify, "read every byte of a dataset and prove it"},
    {"withdraw", mri_cmd_withdraw,
     "take samples or whole groups out of a dataset"},
    {"relabel", mri_cmd_relabel, "give samples another class or group"},
    {"compact", mri_cmd_compact,
     "take the bytes of what was withdrawn out of the shards"},
    {"rollback", mri_cmd_rollback, "bring an older generation's content back"},
    {"salvage", mri_cmd_salvage,
     "what is intact in damaged shards, as a new dataset"},
    {"export", mri_cmd_export, "bring a dataset back to ordinary files"},
    {"batch", mri_cmd_batch,
     "compute batches: shapes, hashes, pictures, tensors"},
    {"serve", mri_cmd_serve,
     "decode and augment for trainers, here or elsewhere"},
    {"train", mri_cmd_train, "train a network from a dataset or servers"},
    {"eval", mri_cmd_eval,
     "what a network has learned: features, neighbours, a picture"},
    {"synth", mri_cmd_synth,
     "inputs for trials, made from a seed, with the truth known"},
    {"completion", mri_cmd_completion,
     "what bash, zsh or fish need to complete a command line"},
    {"explain", mri_cmd_explain, "what an error code means, and what to do"},
};

static void
usage(FILE *out)
{
    (void)fprintf(out,
                  "millrace %s - streams of biomedical images for training\n\n"
                  "usage: millrace VERB [options] ARGUMENTS\n\n",
                  mr_version());
    for (size_t i = 0; i < MRI_COUNT(verbs); i++) {
        (void)fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
    }
    (void)fprintf(out, "\n'millrace VERB --help' tells more, with examples.\n");
}

static void
log_line(void *user, mr_log_level level, const char *id, const char *text)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};

    (void)user;
    (void)fprintf(stderr, "millrace: %s: %s [%s]\n", names[level], text, id);
}

/* MILLRACE_LOG=error|warn|info|debug; warnings by default. */
static void
set_log(void)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    const char *want = getenv("MILLRACE_LOG");
    mr_log_level level = MR_LOG_WARN;

    for (unsigned i = 0; want != NULL && i < MRI_COUNT(names); i++) {
        if (strcmp(want, names[i]) == 0) {
            level = (mr_log_level)i;
        }
    }
    mr_log_set(log_line, NULL, level);
}

static int
unknown_verb(const char *name)
{
    const char *names[MRI_COUNT(verbs)], *near;

    for (size_t i = 0; i < MRI_COUNT(verbs); i++) {
        names[i] = verbs[i].name;
    }
    near = mri_nearest(name, names, MRI_COUNT(verbs));
    (void)fprintf(stderr, "millrace: error[E%04u]: no verb '%s'%s%s%s\n",
                  (unsigned)MRI_E_VERB, name,
                  near != NULL ? "; did you mean '" : "",
                  near != NULL ? near : "", near != NULL ? "'?" : "");
    (void)fprintf(stderr, "  help: %s\n", mr_code_help(MRI_E_VERB));
    return 2;
}

/*
 * A standard stream that the caller closed leaves its number to the next file
 * that is opened, and what is meant for people would be written into a
 * dataset. What holds it fails as the closed one would.
 */
static void
hold_standard_streams(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
        }
    }
}

static int
run_verb(const char *name, int argc, char **argv)
{
    for (size_t i = 0; i < MRI_COUNT(verbs); i++) {
        if (strcmp(name, verbs[i].name) == 0) {
            return verbs[i].run(argc, argv);
        }
    }
    return unknown_verb(name);
}

int
main(int argc, char **argv)
{
    hold_standard_streams();
    set_log();
    if (!mri_cpu_env_ok()) {
        (void)fprintf(stderr,
                      "millrace: error[E%04u]: MILLRACE_SIMD=%s: no such "
                      "level, or this CPU lacks it\n  help: use scalar, sse2, "
                      "avx2 or avx512, or leave it unset\n",
                      (unsigned)MRI_E_VALUE, getenv("MILLRACE_SIMD"));
        return 2;
    }
    if (argc < 2) {
        usage(stderr);
        return 2;
    }
    if (argc == 3 && strcmp(argv[1], "help") == 0) {
        static char flag[] = "--help";
        char *as_flag[] = {argv[2], flag, NULL};

        return run_verb(argv[2], 2, as_flag);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        usage(stdout);
        return fflush(stdout) == 0 ? 0 : 5;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("millrace %s\n", mr_version());
        return fflush(stdout) == 0 ? 0 : 5;
    }
    if (strcmp(argv[1], "--verbs") == 0) { /* for the man pages */
        for (size_t i = 0; i < MRI_COUNT(verbs); i++) {
            (void)printf("%s\t%s\n", verbs[i].name, verbs[i].summary);
        }
        return fflush(stdout) == 0 ? 0 : 5;
    }
    return run_verb(argv[1], argc - 1, argv + 1);
}
