/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h - what the programs that are raced have in common: orders come line
 * by line on stdin, so that each turn is timed without the start of a process.
 */
#ifndef MILLRACE_TESTS_BENCH_H
#define MILLRACE_TESTS_BENCH_H

#include <millrace/base.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

typedef struct bench_clock {
    double wall, cpu; /* seconds; CPU time of all threads */
} bench_clock;

static inline bench_clock
bench_now(void)
{
    struct timespec t;
    struct rusage u;
    bench_clock c;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    (void)getrusage(RUSAGE_SELF, &u);
    c.wall = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    c.cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
            (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
    return c;
}

/* "WALL CPU COUNT": what a turn took, and for how much work. */
static inline void
bench_say(bench_clock begin, unsigned long long count)
{
    bench_clock end = bench_now();

    (void)printf("%.6f %.6f %llu\n", end.wall - begin.wall, end.cpu - begin.cpu,
                 count);
    (void)fflush(stdout);
}

static inline _Noreturn void
bench_die(const char *text)
{
    (void)fprintf(stderr, "%s\n", text);
    exit(1);
}

static inline void
bench_must(mr_err err, const mr_diag *diag)
{
    if (err != MR_OK) {
        bench_die(diag->text);
    }
}

static inline int
bench_forget_file(const char *path, const struct stat *st, int type,
                  struct FTW *where)
{
    int fd = type == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    (void)st;
    (void)where;
    if (fd >= 0) { /* what is not on the disk yet would be kept */
        (void)fdatasync(fd);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        (void)close(fd);
    }
    return 0;
}

/* The page cache lets go of all files under `path`, unless one is mapped. */
static inline void
bench_forget(const char *path)
{
    (void)nftw(path, bench_forget_file, 16, FTW_PHYS);
}

#endif
