/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_time.c - how long an operation takes, beside what the device could.
 *
 * The floor is what moving its bytes or doing its sums must take at the rates
 * that this device was seen to reach: a copy of 64 MiB, a product of 1024^3.
 */
#include "check.h"

#include <mri/alloc.h>
#include <mri/clock.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECONDS 0.6 /* spent on a shape, at least RUNS_MIN runs */
#define RUNS_MIN 5
#define RUNS_MAX 400

typedef struct timing {
    unsigned runs;
    double median, min, max; /* seconds */
} timing;

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* On a busy machine, with one thread: what we used, not what went by. */
static double
now(const mri_check *c)
{
    struct timespec t;

    if (!c->busy) {
        return mri_now_s();
    }
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static timing
time_it(mri_check *c, mri_check_fn *fn, const void *args)
{
    static double t[RUNS_MAX];
    double spent = 0;
    unsigned n = 0;

    for (int warm = 0; warm < 2; warm++) {
        if (fn(c->backend->ops, c->exec, args) != MR_OK) {
            check_fatal(c->op, &c->exec->diag);
        }
    }
    while (n < RUNS_MAX && (n < RUNS_MIN || spent < SECONDS)) {
        double begin;

        (void)c->backend->sync(c->exec);
        begin = now(c);
        (void)fn(c->backend->ops, c->exec, args);
        (void)c->backend->sync(c->exec);
        t[n] = now(c) - begin;
        spent += t[n++];
    }
    qsort(t, n, sizeof *t, by_value);
    return (timing){n, t[n / 2], t[0], t[n - 1]};
}

static double
bytes_of(const mri_check *c, const void *args, size_t args_bytes)
{
    double bytes = 0;

    for (size_t i = 0; i < c->count; i++) {
        const check_field *f = &c->fields[i];
        const char *slot = (const char *)f->slot, *first = args;

        if (slot >= first && slot < first + args_bytes) {
            bytes += (double)f->bytes * (f->role == CHECK_BOTH ? 2 : 1);
        }
    }
    return bytes;
}

void
check_time(mri_check *c, mri_check_fn *fn, const void *args, size_t args_bytes,
           const void *device, double flops)
{
    timing t = time_it(c, fn, device);
    double bytes = bytes_of(c, args, args_bytes);
    double floor = bytes / c->copy_rate;

    floor = fmax(floor, flops / c->flop_rate);
    (void)printf("%-16s %-4s %-44s %4u %10.1f %10.1f %10.1f %7.1f GB/s "
                 "%7.1f GFLOP/s %4.0f%%\n",
                 c->op, c->backend->name, c->shape, t.runs, t.median * 1e6,
                 t.min * 1e6, t.max * 1e6, bytes / t.median * 1e-9,
                 flops / t.median * 1e-9, 100 * floor / t.median);
    (void)fflush(stdout);
}

static mr_err
run_add(const mri_ops *ops, mri_exec *exec, const void *args)
{
    return ops->add(exec, args);
}

static mr_err
run_linear(const mri_ops *ops, mri_exec *exec, const void *args)
{
    return ops->linear(exec, args);
}

/* Zeroed tensors on the device for one timing; freed by the caller. */
static mr_tensor
blank(mri_check *c, uint64_t rows, uint64_t columns)
{
    void *p;

    if (c->backend->alloc(c->exec, &p, rows * columns * sizeof(float)) !=
            MR_OK ||
        c->backend->fill(c->exec, p, 0, rows * columns * sizeof(float)) !=
            MR_OK) {
        check_fatal("no device memory", &c->exec->diag);
    }
    return mr_tensor_of(p, MR_F32, 2, (const uint64_t[]){rows, columns});
}

void
check_rates(mri_check *c)
{
    uint64_t side = strcmp(c->backend->name, "ref") == 0 ? 64 : 1024;
    mri_add_args a = {blank(c, 16, 1 << 20), blank(c, 16, 1 << 20),
                      blank(c, 16, 1 << 20)};
    mri_linear_args l = {.x = blank(c, side, side),
                         .w = blank(c, side, side),
                         .y = blank(c, side, side)};
    void *all[] = {a.a.data, a.b.data, a.y.data, l.x.data, l.w.data, l.y.data};

    c->op = "rates";
    c->copy_rate =
        3.0 * (16 << 20) * sizeof(float) / time_it(c, run_add, &a).min;
    c->flop_rate =
        2.0 * (double)(side * side * side) / time_it(c, run_linear, &l).min;
    (void)printf("# %s: add moves %.1f GB/s, linear of %llu^3 does %.1f "
                 "GFLOP/s\n# op, back end, shape, runs, median us, min, max, "
                 "rates, share of the floor\n",
                 c->backend->name, c->copy_rate * 1e-9,
                 (unsigned long long)side, c->flop_rate * 1e-9);
    for (size_t i = 0; i < MRI_COUNT(all); i++) {
        c->backend->free(c->exec, all[i]);
    }
}
