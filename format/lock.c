/* SPDX-License-Identifier: Apache-2.0 */
/* lock.c - one writer a folder, and lines that carry their own checksum. */
#include <mri/dataset.h>

#include <mri/alloc.h>
#include <mri/crc32c.h>
#include <mri/error.h>
#include <mri/file.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* Who holds a lock, as the holder wrote it. */
static mr_err
held(const char *path, int fd, mr_diag *diag)
{
    char who[128] = "";
    ssize_t n = pread(fd, who, sizeof who - 1, 0);
    mr_err err;

    who[n > 0 ? n : 0] = '\0';
    who[strcspn(who, "\n")] = '\0';
    err = mri_fail(diag, MRI_E_LOCKED, MR_NOWHERE, "held by %s",
                   who[0] != '\0' ? who : "another process");
    mri_diag_in(diag, path);
    return err;
}

mr_err
mri_lock_take(mri_lock *lock, const char *path, mr_diag *diag)
{
    char host[64] = "", who[128], *name;
    int fd;

    *lock = (mri_lock){.fd = -1};
    name = mri_strdup(path); /* first: a lock that is taken can be removed */
    if (name == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    for (;;) {
        mr_err err = mri_file_open(&fd, path, O_RDWR | O_CREAT, 0666, diag);

        if (err == MR_OK && flock(fd, LOCK_EX | LOCK_NB) != 0) {
            err = held(path, fd, diag);
            mri_file_drop(&fd);
        }
        if (err != MR_OK) {
            mri_free(name);
            return err;
        }
        if (mri_file_named(fd, path)) {
            break;
        }
        mri_file_drop(&fd); /* its holder removed it meanwhile */
    }
    lock->path = name;
    lock->fd = fd;
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(who, sizeof who, "pid %ld on %s\n", (long)getpid(), host);
    /* The text helps, the lock is the kernel's. What a longer one before it
     * leaves stands behind the end of its line. */
    (void)!pwrite(fd, who, strlen(who), 0);
    return MR_OK;
}

void
mri_lock_release(mri_lock *lock)
{
    if (lock->path != NULL) {
        (void)mri_file_now()->unlink(lock->path);
        mri_file_drop(&lock->fd);
        mri_free(lock->path);
    }
    *lock = (mri_lock){.fd = -1};
}

bool
mri_crc_line_add(mri_bytes *out, const char *json)
{
    return mri_bytes_text(out, "%08x %s\n", mri_crc32c(0, json, strlen(json)),
                          json);
}

const char *
mri_crc_line_check(char *line)
{
    unsigned crc;
    int n = 0;

    line[strcspn(line, "\n")] = '\0';
    if (sscanf(line, "%8x %n", &crc, &n) != 1 || n != 9 ||
        crc != mri_crc32c(0, line + n, strlen(line + n))) {
        return NULL;
    }
    return line + n;
}
