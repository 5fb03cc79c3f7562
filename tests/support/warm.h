/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warm.h - what the library keeps for the next time is taken once, so that a
 * test that counts memory does not take it for a leak.
 */
#ifndef MR_WARM_H
#define MR_WARM_H

#include <mri/mapping.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WARM_MAPPINGS = 16 }; /* open at once in any of our tests */

static inline void
warm_mappings(void)
{
    mri_mapping m[WARM_MAPPINGS] = {0};
    int fd = memfd_create("warm", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, 4096) != 0) {
        abort();
    }
    for (int i = 0; i < WARM_MAPPINGS; i++) {
        if (!mri_mapping_open(&m[i], fd, 4096)) {
            abort();
        }
    }
    for (int i = 0; i < WARM_MAPPINGS; i++) {
        mri_mapping_close(&m[i]);
    }
    (void)close(fd);
}

#endif
