/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - the one door to files. */
#include <mri/file.h>

#include <mri/alloc.h>
#include <mri/error.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
sys_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static int
sys_rename_new(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

const mri_file_ops mri_file_system = {
    .open = sys_open,
    .close = close,
    .pread = pread,
    .pwrite = pwrite,
    .fsync = fsync,
    .link = link,
    .rename = rename,
    .rename_new = sys_rename_new,
    .unlink = unlink,
    .mkdir = mkdir,
    .rmdir = rmdir,
};

static const mri_file_ops *ops = &mri_file_system;

void
mri_file_use(const mri_file_ops *table)
{
    ops = table != NULL ? table : &mri_file_system;
}

const mri_file_ops *
mri_file_now(void)
{
    return ops;
}

/* An error of the operating system, in the user's words. */
static mr_err
fail_os(mr_diag *diag, mri_code code, const char *path, uint64_t at,
        const char *what)
{
    int os = errno;
    mr_err err = mri_fail(diag, code, at, "%s: %s", what, strerror(os));

    mri_diag_in(diag, path);
    return err;
}

mr_err
mri_file_open(int *fd, const char *path, int flags, mode_t mode, mr_diag *diag)
{
    int got;

    /* Of a pipe, open would wait for a writer. Files do not know the flag. */
    if ((flags & (O_ACCMODE | O_DIRECTORY)) == O_RDONLY) {
        flags |= O_NONBLOCK;
    }
    *fd = -1;
    do {
        got = ops->open(path, flags | O_CLOEXEC, mode);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return fail_os(diag, MRI_E_OPEN, path, MR_NOWHERE,
                       flags & O_CREAT ? "cannot create" : "cannot open");
    }
    *fd = got;
    return MR_OK;
}

mr_err
mri_file_read(int fd, const char *path, void *p, size_t bytes, uint64_t at,
              mr_diag *diag)
{
    uint8_t *to = p;

    while (bytes != 0) {
        ssize_t got = ops->pread(fd, to, bytes, (off_t)at);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return fail_os(diag, MRI_E_READ, path, at, "cannot read");
        }
        if (got == 0) {
            mr_err err =
                mri_fail(diag, MRI_E_SHORT, at,
                         "the file ends here, %zu bytes too early", bytes);
            mri_diag_in(diag, path);
            return err;
        }
        to += got;
        at += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return MR_OK;
}

mr_err
mri_file_write(int fd, const char *path, const void *p, size_t bytes,
               uint64_t at, mr_diag *diag)
{
    const uint8_t *from = p;

    while (bytes != 0) {
        ssize_t put = ops->pwrite(fd, from, bytes, (off_t)at);

        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            errno = put == 0 ? ENOSPC : errno;
            return fail_os(diag, MRI_E_WRITE, path, at, "cannot write");
        }
        from += put;
        at += (uint64_t)put;
        bytes -= (size_t)put;
    }
    return MR_OK;
}

mr_err
mri_file_sync(int fd, const char *path, mr_diag *diag)
{
    /* Never tried twice: after a failed fsync the pages are marked clean. */
    if (ops->fsync(fd) != 0) {
        return fail_os(diag, MRI_E_WRITE, path, MR_NOWHERE,
                       "cannot bring it to the disk (fsync)");
    }
    return MR_OK;
}

mr_err
mri_file_close(int *fd, const char *path, mr_diag *diag)
{
    int was = *fd;

    *fd = -1;
    if (was >= 0 && ops->close(was) != 0 && errno != EINTR) {
        return fail_os(diag, MRI_E_WRITE, path, MR_NOWHERE, "cannot close");
    }
    return MR_OK;
}

void
mri_file_drop(int *fd)
{
    if (*fd >= 0) {
        (void)ops->close(*fd);
        *fd = -1;
    }
}

mr_err
mri_file_size(int fd, const char *path, uint64_t *size, mr_diag *diag)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        return fail_os(diag, MRI_E_READ, path, MR_NOWHERE, "cannot stat");
    }
    if (S_ISDIR(st.st_mode)) { /* the disk is not to blame */
        errno = EISDIR;
        return fail_os(diag, MRI_E_OPEN, path, MR_NOWHERE, "cannot open");
    }
    if (S_ISFIFO(st.st_mode)) { /* it has no size, which would be 0 here */
        mr_err err =
            mri_fail(diag, MRI_E_OPEN, MR_NOWHERE, "a pipe, not a file");

        mri_diag_in(diag, path);
        return err;
    }
    *size = (uint64_t)st.st_size;
    return MR_OK;
}

bool
mri_file_named(int fd, const char *path)
{
    struct stat mine, there;

    return fstat(fd, &mine) == 0 && stat(path, &there) == 0 &&
           mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

mr_err
mri_dir_sync(const char *dir, mr_diag *diag)
{
    int fd;
    mr_err err = mri_file_open(&fd, dir, O_RDONLY | O_DIRECTORY, 0, diag);

    if (err != MR_OK) {
        return err;
    }
    err = mri_file_sync(fd, dir, diag);
    mri_file_drop(&fd);
    return err;
}

mr_err
mri_dir_make(const char *dir, mr_diag *diag)
{
    if (ops->mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return fail_os(diag, MRI_E_OPEN, dir, MR_NOWHERE,
                       "cannot create the folder");
    }
    return MR_OK;
}

#define PART ".part-" /* what a name begins with until the file is whole */

void
mri_dir_sweep(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        if (strncmp(e->d_name, PART, strlen(PART)) == 0) {
            char *path = mri_path_join(dir, e->d_name);

            if (path != NULL) {
                (void)ops->unlink(path);
            }
            mri_free(path);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

mr_err
mri_file_load(const char *path, uint64_t limit, mri_bytes *out, mr_diag *diag)
{
    int fd;
    uint64_t size = 0;
    mr_err err = mri_file_open(&fd, path, O_RDONLY, 0, diag);

    if (err != MR_OK) {
        return err;
    }
    err = mri_file_size(fd, path, &size, diag);
    if (err == MR_OK && size > limit) {
        err = mri_fail(diag, MRI_E_TOO_BIG, MR_NOWHERE,
                       "%llu bytes, more than the limit of %llu",
                       (unsigned long long)size, (unsigned long long)limit);
    }
    if (err == MR_OK && !mri_bytes_reserve(out, (size_t)size)) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                       "no memory for %llu bytes", (unsigned long long)size);
    }
    if (err == MR_OK) {
        err = mri_file_read(fd, path, out->data + out->len, (size_t)size, 0,
                            diag);
    }
    if (err == MR_OK) {
        out->len += (size_t)size;
    }
    mri_diag_in(err != MR_OK ? diag : NULL, path);
    mri_file_drop(&fd);
    return err;
}

char *
mri_path_join(const char *dir, const char *name)
{
    size_t a = strlen(dir), b = strlen(name);
    char *path = mri_alloc(a + b + 2, 1);

    if (path == NULL) {
        return NULL;
    }
    memcpy(path, dir, a);
    if (a != 0 && dir[a - 1] != '/') {
        path[a++] = '/';
    }
    memcpy(path + a, name, b + 1);
    return path;
}

const char *
mri_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

char *
mri_path_dir(const char *path)
{
    size_t n = (size_t)(mri_path_name(path) - path);
    char *dir;

    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    if (n == 0) {
        return mri_strdup(".");
    }
    dir = mri_alloc(n + 1, 1);
    if (dir != NULL) {
        memcpy(dir, path, n);
    }
    return dir;
}

mr_err
mri_put_open(mri_put *put, const char *path, mr_diag *diag)
{
    static atomic_uint number;
    char *dir = mri_path_dir(path);
    char name[96];
    mr_err err;

    *put = (mri_put){.fd = -1};
    /* The pid keeps two processes apart, the number two threads. */
    (void)snprintf(name, sizeof name, PART "%ld-%u-%.40s", (long)getpid(),
                   atomic_fetch_add(&number, 1), mri_path_name(path));
    put->path = mri_strdup(path);
    put->temp = dir != NULL ? mri_path_join(dir, name) : NULL;
    mri_free(dir);
    if (put->path == NULL || put->temp == NULL) {
        mri_put_release(put);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    err = mri_file_open(&put->fd, put->temp, O_RDWR | O_CREAT | O_TRUNC, 0666,
                        diag);
    if (err != MR_OK) {
        /* The user asked for `path` and has never heard of the dot-name. */
        if (diag != NULL) {
            diag->path[0] = '\0';
            mri_diag_in(diag, path);
        }
        mri_put_release(put);
    }
    return err;
}

mr_err
mri_put_commit(mri_put *put, mri_put_how how, mr_diag *diag)
{
    return mri_put_commit_as(put, put->path, how, diag);
}

/* A name that is not taken, with errno as link(2) says it. Where a file has one
 * name only (exFAT, some network shares) it is moved instead, which is as
 * exclusive; where that is not known either, link's reason counts. */
static bool
take_name(const char *temp, const char *path)
{
    int why;

    if (ops->link(temp, path) == 0) {
        (void)ops->unlink(temp);
        return true;
    }
    why = errno;
    if (why != EPERM && why != EOPNOTSUPP && why != ENOSYS && why != EMLINK) {
        return false;
    }
    if (ops->rename_new(temp, path) == 0) {
        return true;
    }
    errno = errno == EINVAL || errno == ENOSYS ? why : errno;
    return false;
}

/* Give the finished dot-file its name. */
static mr_err
name_it(mri_put *put, const char *path, mri_put_how how, mr_diag *diag)
{
    if (how == MRI_PUT_REPLACE) {
        if (ops->rename(put->temp, path) != 0) {
            return fail_os(diag, MRI_E_WRITE, path, MR_NOWHERE,
                           "cannot rename into place");
        }
        return MR_OK;
    }
    if (take_name(put->temp, path)) {
        return MR_OK;
    }
    if (errno == EEXIST) {
        mr_err err =
            mri_fail(diag, MRI_E_EXISTS, MR_NOWHERE, "is there already");
        mri_diag_in(diag, path);
        return err;
    }
    return fail_os(diag, MRI_E_WRITE, path, MR_NOWHERE,
                   "cannot link into place");
}

mr_err
mri_put_commit_as(mri_put *put, const char *path, mri_put_how how,
                  mr_diag *diag)
{
    char *dir = mri_path_dir(path);
    mr_err err;

    if (dir == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    err = mri_file_sync(put->fd, path, diag);
    if (err == MR_OK) {
        err = mri_file_close(&put->fd, path, diag);
    }
    if (err == MR_OK) {
        err = name_it(put, path, how, diag);
    }
    if (err == MR_OK) {
        mri_free(put->temp); /* it is gone: nothing to remove any more */
        put->temp = NULL;
        err = mri_dir_sync(dir, diag);
    }
    mri_free(dir);
    return err;
}

void
mri_put_release(mri_put *put)
{
    if (put->temp != NULL) {
        mri_file_drop(&put->fd);
        (void)ops->unlink(put->temp);
    }
    mri_free(put->temp);
    mri_free(put->path);
    *put = (mri_put){.fd = -1};
}

mr_err
mri_file_put(const char *path, const void *p, size_t bytes, mri_put_how how,
             mr_diag *diag)
{
    mri_put put;
    mr_err err = mri_put_open(&put, path, diag);

    if (err != MR_OK) {
        return err;
    }
    err = mri_file_write(put.fd, path, p, bytes, 0, diag);
    if (err == MR_OK) {
        err = mri_put_commit(&put, how, diag);
    }
    mri_put_release(&put);
    return err;
}
