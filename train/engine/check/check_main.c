/* SPDX-License-Identifier: Apache-2.0 */
/* check_main.c - options, back ends, one line an operation and back end. */
#include "check.h"

#include <mri/cpu.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct check_options {
    const char *report, *lib, *only;
    const char *backends[8];
    size_t count;
    bool bench, busy;
    unsigned threads;
} check_options;

static void
usage(const char *program)
{
    (void)fprintf(stderr,
                  "usage: %s [--bench|--busy] [--threads N] [--report FILE.md] "
                  "[--lib DIR] [--only OPERATION] [ref|cpu|cuda]...\n",
                  program);
    exit(2);
}

static check_options
read_options(int argc, char **argv)
{
    check_options o = {.lib = MR_MODULE_DIR};

    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;

        if (strcmp(argv[i], "--bench") == 0) {
            o.bench = true;
        } else if (strcmp(argv[i], "--busy") == 0) {
            o.bench = o.busy = true;
            o.threads = 1;
        } else if (strcmp(argv[i], "--report") == 0 && more) {
            o.report = argv[++i];
        } else if (strcmp(argv[i], "--lib") == 0 && more) {
            o.lib = argv[++i];
        } else if (strcmp(argv[i], "--only") == 0 && more) {
            o.only = argv[++i];
        } else if (strcmp(argv[i], "--threads") == 0 && more) {
            o.threads = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (argv[i][0] != '-' && o.count < MRI_COUNT(o.backends)) {
            o.backends[o.count++] = argv[i];
        } else {
            usage(argv[0]);
        }
    }
    for (size_t i = 0; o.count == 0 && mri_backend_names[i] != NULL; i++) {
        o.backends[i] = mri_backend_names[i];
    }
    while (o.count < MRI_COUNT(o.backends) && o.backends[o.count] != NULL) {
        o.count++;
    }
    return o;
}

/* The line on stdout, and the row of the report, flushed at once so that a
 * run that is cut short leaves what it did. */
static void
say_result(mri_check *c)
{
    const char *verdict = c->failures != 0 ? "FAILED" : "ok";

    if (c->cases == 0) {
        return; /* not for this back end */
    }
    (void)printf("%-16s %-5s %4u cases %5u slopes  worst %8.2e of %8.2e  %s\n",
                 c->op, c->backend->name, c->cases, c->slopes, c->error,
                 c->bound, verdict);
    (void)fflush(stdout);
    if (c->report != NULL) {
        (void)fprintf(c->report, "| %s | %s | %u | %.2e | %.2e | %s |\n", c->op,
                      c->backend->name, c->cases, c->error, c->bound, verdict);
        (void)fflush(c->report);
    }
}

static bool
check_op(mri_check *c, const mri_check_op *op)
{
    c->op = op->name;
    c->cases = c->failures = c->slopes = 0;
    c->ratio = c->error = c->bound = 0;
    c->seed = 1;
    c->exact = false;
    if (c->bench) {
        if (op->bench != NULL) {
            op->bench(c);
            mri_check_begin(c, "end");
        }
        return true;
    }
    op->cases(c);
    mri_check_begin(c, "end");
    c->cases--;
    if (strcmp(c->backend->name, "ref") == 0) {
        unsigned cases = c->cases;

        c->exact = true;
        c->cases = 0;
        op->cases(c);
        mri_check_begin(c, "end");
        c->cases--;
        c->exact = false;
        c->cases = c->cases > cases ? c->cases : cases; /* the same ones */
    }
    say_result(c);
    return c->failures == 0;
}

/* -1: skipped; else the number of operations that failed. */
static int
check_backend(const check_options *o, const char *name, mri_check *c,
              const mri_check_op *ops, size_t count)
{
    mri_exec_options options = {.threads = o->threads};
    mr_diag diag = {0};
    int failed = 0;

    if (mri_backend_find(&c->backend, name, o->lib, &diag) != MR_OK ||
        mri_exec_open(&c->exec, c->backend, &options, &diag) != MR_OK) {
        (void)printf("%s: skipped: %s\n", name, diag.text);
        if (c->report != NULL) {
            (void)fprintf(c->report, "| all | %s | | | | skipped: %s |\n", name,
                          diag.text);
        }
        return -1;
    }
    if (c->bench) {
        check_rates(c);
    }
    for (size_t i = 0; i < count; i++) {
        if (o->only == NULL || strcmp(o->only, ops[i].name) == 0) {
            failed += !check_op(c, &ops[i]);
        }
    }
    mri_exec_close(c->exec);
    return failed;
}

int
mri_check_main(int argc, char **argv, const mri_check_op *ops, size_t count)
{
    static mri_check c;
    check_options o = read_options(argc, argv);
    mr_diag diag = {0};
    int failed = 0, ran = 0;

    if (mri_exec_open(&c.ref, &mri_backend_ref, &(mri_exec_options){0},
                      &diag) != MR_OK) {
        check_fatal("cannot open the reference", &diag);
    }
    c.bench = o.bench;
    c.busy = o.busy;
    if (o.report != NULL) {
        c.report = fopen(o.report, "a");
        if (c.report == NULL) {
            check_fatal("cannot open the report", NULL);
        }
    }
    for (size_t i = 0; i < o.count; i++) {
        int n = check_backend(&o, o.backends[i], &c, ops, count);

        ran += n >= 0;
        failed += n > 0 ? n : 0;
    }
    if (c.report != NULL) {
        failed += fclose(c.report) != 0;
    }
    mri_exec_close(c.ref);
    return failed != 0 ? 1 : ran == 0 ? 77 : 0;
}
