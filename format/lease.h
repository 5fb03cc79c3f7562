/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.h - who reads a generation holds it: of a local folder, by a shared
 * lock on its manifest. Only store_local.c asks here.
 *
 * A generation that is not to be kept any more is removed only with the
 * exclusive lock in hand, so its shards are there to the end for whoever has
 * it open, also those that he has not opened yet. The locks are the kernel's:
 * they end with their process, however that ends.
 */
#ifndef MRI_LEASE_H
#define MRI_LEASE_H

#include <mri/door.h>

#include <millrace/base.h>

/*
 * Hold the generation whose manifest that is. *fd is -1 if it was gone, or is
 * being removed right now. Where the file system knows no locks the file is
 * open all the same.
 * errors  MR_EIO  it is there and cannot be opened
 */
MR_USE_RESULT mr_err mri_lease_take(int *fd, const char *manifest,
                                    mr_diag *diag);
/* Remove a manifest if nobody holds it; false: somebody does, or it cannot be
 * removed. That there is none is true. */
bool mri_lease_end(const char *manifest);

#endif
