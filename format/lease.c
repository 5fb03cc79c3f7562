/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - who reads a generation holds it: a shared lock on its manifest. */
#include "lease.h"

#include <mri/error.h>
#include <mri/file.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

static bool
gone(const char *path)
{
    return access(path, F_OK) != 0 && errno == ENOENT;
}

mr_err
mri_lease_take(int *fd, const char *manifest, mr_diag *diag)
{
    mr_err err = mri_file_open(fd, manifest, O_RDONLY, 0, diag);

    if (err != MR_OK && gone(manifest)) {
        mri_diag_clear(diag);
        return MR_OK;
    }
    if (err != MR_OK) {
        return err;
    }
    if ((flock(*fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) ||
        !mri_file_named(*fd, manifest)) {
        mri_file_drop(fd);
    }
    return MR_OK;
}

bool
mri_lease_end(const char *manifest)
{
    bool ended;
    int fd;

    if (mri_file_open(&fd, manifest, O_RDONLY, 0, NULL) != MR_OK) {
        return gone(manifest);
    }
    ended = flock(fd, LOCK_EX | LOCK_NB) == 0 &&
            (mri_file_now()->unlink(manifest) == 0 || errno == ENOENT);
    mri_file_drop(&fd);
    return ended;
}
