/* SPDX-License-Identifier: Apache-2.0 */
/* faulty_file.c - a file table whose n-th call goes wrong. */
#include "faulty_file.h"

#include <mri/file.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

static unsigned watch;
static uint64_t fail_at;
static int fail_with;
static bool fail_on;
static atomic_ullong calls;
static const char *no_links; /* into what, or NULL */
static int no_links_error;

/* True if this call has to go wrong. */
static bool
hit(unsigned kind)
{
    uint64_t n;

    if ((watch & kind) == 0) {
        return false;
    }
    n = atomic_fetch_add(&calls, 1);
    if (n == fail_at && fail_with == FAULTY_DIES) {
        (void)raise(SIGKILL);
    }
    if (n == fail_at || (fail_on && n > fail_at)) {
        errno = fail_with;
        return true;
    }
    return false;
}

static int
faulty_open(const char *path, int flags, mode_t mode)
{
    return hit(FAULTY_OPEN) ? -1 : mri_file_system.open(path, flags, mode);
}

static int
faulty_close(int fd)
{
    /* As the kernel does: the descriptor is gone, whatever close says. */
    bool bad = hit(FAULTY_CLOSE);
    int rc = mri_file_system.close(fd);

    if (bad) {
        errno = fail_with;
    }
    return bad ? -1 : rc;
}

static ssize_t
faulty_pread(int fd, void *p, size_t bytes, off_t at)
{
    if (hit(FAULTY_READ)) {
        return fail_with != 0 ? -1 : mri_file_system.pread(fd, p, 1, at);
    }
    return mri_file_system.pread(fd, p, bytes, at);
}

static ssize_t
faulty_pwrite(int fd, const void *p, size_t bytes, off_t at)
{
    if (hit(FAULTY_WRITE)) {
        return fail_with != 0 ? -1 : mri_file_system.pwrite(fd, p, 1, at);
    }
    return mri_file_system.pwrite(fd, p, bytes, at);
}

static int
faulty_fsync(int fd)
{
    return hit(FAULTY_SYNC) ? -1 : mri_file_system.fsync(fd);
}

static int
faulty_link(const char *from, const char *to)
{
    if (hit(FAULTY_LINK)) {
        return -1;
    }
    if (no_links != NULL && strstr(to, no_links) != NULL) {
        errno = no_links_error;
        return -1;
    }
    return mri_file_system.link(from, to);
}

static int
faulty_rename(const char *from, const char *to)
{
    return hit(FAULTY_RENAME) ? -1 : mri_file_system.rename(from, to);
}

static int
faulty_rename_new(const char *from, const char *to)
{
    return hit(FAULTY_RENAME) ? -1 : mri_file_system.rename_new(from, to);
}

static int
faulty_unlink(const char *path)
{
    return hit(FAULTY_UNLINK) ? -1 : mri_file_system.unlink(path);
}

static int
faulty_mkdir(const char *path, mode_t mode)
{
    return hit(FAULTY_MKDIR) ? -1 : mri_file_system.mkdir(path, mode);
}

static int
faulty_rmdir(const char *path)
{
    return mri_file_system.rmdir(path);
}

static const mri_file_ops faulty = {
    .open = faulty_open,
    .close = faulty_close,
    .pread = faulty_pread,
    .pwrite = faulty_pwrite,
    .fsync = faulty_fsync,
    .link = faulty_link,
    .rename = faulty_rename,
    .rename_new = faulty_rename_new,
    .unlink = faulty_unlink,
    .mkdir = faulty_mkdir,
    .rmdir = faulty_rmdir,
};

void
faulty_arm(unsigned mask, uint64_t n, int error, bool stays)
{
    watch = mask;
    fail_at = n;
    fail_with = error;
    fail_on = stays;
    atomic_store(&calls, 0);
    mri_file_use(&faulty);
}

void
faulty_no_links(const char *folder, int error)
{
    no_links = folder;
    no_links_error = error;
    mri_file_use(&faulty);
}

uint64_t
faulty_disarm(void)
{
    no_links = NULL;
    watch = 0;
    mri_file_use(NULL);
    return atomic_load(&calls);
}
