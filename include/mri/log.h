/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - say something to the program's sink; silent without one.
 * (mri_log is the logarithm: fmath.h)
 */
#ifndef MRI_LOG_H
#define MRI_LOG_H

#include <mri/door.h>

MRI_BEGIN

/* `id` stays the same for ever; never a name of a person or a sample key. */
void mri_say(mr_log_level level, const char *id, const char *fmt, ...)
    MRI_PRINTF(3, 4);

/* True if `level` would reach the sink: for texts that cost something. */
bool mri_say_on(mr_log_level level);

MRI_END

#endif
