/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - inside of the harness. */
#ifndef ENGINE_CHECK_H
#define ENGINE_CHECK_H

#include <mri/check.h>

#include <stdio.h>

#define CHECK_FIELDS 64

typedef enum check_role { CHECK_IN, CHECK_OUT, CHECK_BOTH } check_role;

typedef struct check_field {
    mr_tensor *slot; /* in the caller's arguments */
    check_role role;
    bool raw;   /* integers */
    bool owner; /* of device */
    bool ran;   /* device holds what a run left */
    uint64_t len, bytes;
    double *want; /* the reference's */
    float *got;   /* the back end's */
    void *device; /* guard, data, guard */
} check_field;

struct mri_check {
    const mri_backend *backend;
    mri_exec *exec, *ref;
    const char *op;
    char shape[160];
    bool exact, bench;
    bool busy; /* time by the CPU's clock */
    uint64_t seed;
    size_t count;
    check_field fields[CHECK_FIELDS];
    unsigned cases, failures, slopes;
    double ratio, error, bound;  /* of the worst element */
    double copy_rate, flop_rate; /* measured, for --bench: per second */
    FILE *report;
};

void check_fatal(const char *what, const mr_diag *diag);
void check_complain(mri_check *c, const char *fmt, ...) MRI_PRINTF(2, 3);
void check_time(mri_check *c, mri_check_fn *fn, const void *args,
                size_t args_bytes, const void *device, double flops);
void check_rates(mri_check *c); /* what this device can do at best */

#endif
