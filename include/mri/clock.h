/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - time that only goes forward. Nothing in the house waits by the
 * wall clock.
 */
#ifndef MRI_CLOCK_H
#define MRI_CLOCK_H

#include <mri/door.h>

MRI_BEGIN

uint64_t mri_now_ns(void); /* CLOCK_MONOTONIC */
double mri_now_s(void);    /* the same, seconds */
void mri_sleep_ns(uint64_t ns);

MRI_END

#endif
