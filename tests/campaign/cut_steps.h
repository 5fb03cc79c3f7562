/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut_steps.h - the commands whose power is cut, and what each leaves when it
 * is left alone.
 */
#ifndef CUT_STEPS_H
#define CUT_STEPS_H

#include "cut_disk.h"

#include <millrace/base.h>

#define CUT_NAME "x.mr"

/* Makes one generation of the dataset `dir` out of the one before. *reused:
 * finished shards of an interrupted run that were taken over. */
typedef struct cut_step {
    const char *what;
    mr_err (*run)(const char *dir, uint32_t *reused, mr_diag *diag);
} cut_step;

enum { CUT_STEPS = 11 };
extern const cut_step cut_steps[CUT_STEPS];
/* Two folders, a dataset beside and one on another file system; set before the first is run. */
extern const char *cut_sources[4];

/* What lies below a folder now. */
void cut_scan(cut_state *s, const char *root);
/* The first of `all` that `s` has not, or has otherwise; or NULL. History does
 * not count: it tells when and where. */
const char *cut_missing(const cut_state *s, const cut_state *all);
bool cut_is_history(const char *path);
/* Says what went wrong and ends the program if it is not true. */
void cut_must(bool ok, const char *what);

#endif
