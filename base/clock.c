/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - time that only goes forward. */
#include <mri/clock.h>

#include <errno.h>
#include <time.h>

uint64_t
mri_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double
mri_now_s(void)
{
    return (double)mri_now_ns() * 1e-9;
}

void
mri_sleep_ns(uint64_t ns)
{
    struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

    while (nanosleep(&t, &t) != 0 && errno == EINTR) {
    }
}
