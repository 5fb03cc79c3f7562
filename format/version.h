/* SPDX-License-Identifier: Apache-2.0 */
/*
 * version.h - which versions of the format this program reads and writes.
 * Rules: docs/shard-format.md, "Versions".
 */
#ifndef MRI_VERSION_H
#define MRI_VERSION_H

#include <mri/shard.h>

enum { MRI_VERSION_MAJOR = 1, MRI_VERSION_MINOR = 0 };

/* Write the two numbers, 4 bytes. */
void mri_version_put(uint8_t to[4]);

/* The numbers in a head that was judged. */
mri_version mri_version_of(const uint8_t *head, size_t features);

/*
 * Judge the head of a file that holds its checksum: the two numbers at
 * `head` + 8, then the features at `head` + `features`, of which `known` can
 * be read.
 *
 * what    "shard", "index", "manifest": for the message
 * errors  MR_EVERSION  of before version 1 (MRI_E_OLD), or newer than we are
 */
MR_USE_RESULT mr_err mri_version_check(const uint8_t *head, size_t features,
                                       uint32_t known, const char *what,
                                       mr_diag *diag);

#endif
