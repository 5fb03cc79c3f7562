/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_local.c - a local folder as a store.
 *
 * Of the file system only what POSIX says is used: fsync of a file makes its
 * bytes and its size durable, fsync of a folder the names in it; a rename or a
 * link shows the old state or the new. So a name is given only to what is
 * synced, and every folder on the way to it is synced before.
 */
#include "object.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/store.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define LOCK_FOLDER "journal" /* settled: it is gone when nobody writes */
#define LOCK_NAME "journal/lock"

/* How often the folder of the lock may vanish under our hands: whoever was
 * done removed it between our making it and opening the lock. */
#define TRIES 8

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
fail_os(mr_diag *diag, mri_code code, const char *path, const char *what)
{
    mr_err err =
        mri_fail(diag, code, MR_NOWHERE, "%s: %s", what, strerror(errno));

    mri_diag_in(diag, path);
    return err;
}

/* ---- the root ---- */

/* A folder above that may be written but not read cannot be synced: there the
 * name of the root is as safe as the file system makes it. */
static mr_err
sync_above(const char *root, mr_diag *diag)
{
    char *path = mri_strdup(root), *above = NULL;
    mr_diag why = {0};
    mr_err err;

    for (size_t n = path != NULL ? strlen(path) : 0;
         n > 1 && path[n - 1] == '/'; n--) {
        path[n - 1] = '\0';
    }
    above = path != NULL ? mri_path_dir(path) : NULL;
    err = above != NULL ? mri_dir_sync(above, &why) : no_memory(&why);
    mri_free(path);
    mri_free(above);
    if (err == MR_OK || why.code == MRI_E_OPEN) {
        return MR_OK;
    }
    if (diag != NULL) {
        *diag = why;
    }
    return err;
}

static mr_err
local_make(const mri_store *s, bool *made, mr_diag *diag)
{
    mr_err err = MR_OK;

    *made = mri_file_now()->mkdir(s->root, 0777) == 0;
    if (!*made && errno != EEXIST) {
        err = fail_os(diag, MRI_E_OPEN, s->root, "cannot create the folder");
    }
    /* Also if it was there: whoever made it may have been killed. */
    return err == MR_OK ? sync_above(s->root, diag) : err;
}

static void
local_unmake(const mri_store *s)
{
    (void)mri_file_now()->rmdir(s->root);
}

static mr_err
take(mri_lock *lock, const char *folder, const char *path, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (int i = 0; err == MR_OK && i < TRIES; i++) {
        struct stat st;

        err = mri_dir_make(folder, diag);
        if (err != MR_OK) {
            break;
        }
        err = mri_lock_take(lock, path, diag);
        if (err != MR_EIO || stat(folder, &st) == 0) {
            break;
        }
        if (i + 1 < TRIES) {
            mri_diag_clear(diag);
            err = MR_OK;
        }
    }
    return err;
}

static mr_err
local_lock(const mri_store *s, mri_lock *lock, mr_diag *diag)
{
    char *folder = mri_store_path(s, LOCK_FOLDER);
    char *path = mri_store_path(s, LOCK_NAME);
    mr_err err = folder != NULL && path != NULL ? take(lock, folder, path, diag)
                                                : no_memory(diag);

    mri_free(folder);
    mri_free(path);
    return err;
}

static void
local_prune(const mri_store *s, const char *folder)
{
    char *path = mri_store_path(s, folder);

    if (path != NULL) {
        (void)mri_file_now()->rmdir(path);
    }
    mri_free(path);
}

static void
local_unlock(const mri_store *s, mri_lock *lock)
{
    mri_lock_release(lock);
    local_prune(s, LOCK_FOLDER);
}

/* ---- reading ---- */

static mr_err
local_has(const mri_store *s, const char *name, bool *has, mr_diag *diag)
{
    char *path = mri_store_path(s, name);
    struct stat st;
    mr_err err = path != NULL ? MR_OK : no_memory(diag);

    *has = err == MR_OK && stat(path, &st) == 0;
    if (err == MR_OK && !*has && errno != ENOENT && errno != ENOTDIR) {
        err = fail_os(diag, MRI_E_OPEN, path, "cannot look for it");
    }
    mri_free(path);
    return err;
}

static mr_err
local_open(const mri_store *s, const char *name, bool use_map,
           mri_object *object, mr_diag *diag)
{
    char *path = mri_store_path(s, name);
    mr_err err = path != NULL ? mri_object_open(object, path, use_map, diag)
                              : no_memory(diag);

    mri_free(path);
    return err;
}

static mr_err
local_load(const mri_store *s, const char *name, uint64_t limit, mri_bytes *out,
           mr_diag *diag)
{
    char *path = mri_store_path(s, name);
    mr_err err =
        path != NULL ? mri_file_load(path, limit, out, diag) : no_memory(diag);

    mri_free(path);
    return err;
}

static mr_err
local_list(const mri_store *s, const char *folder, mri_store_each *fn,
           void *user, mr_diag *diag)
{
    char *path = mri_store_path(s, folder);
    DIR *d = path != NULL ? opendir(path) : NULL;
    struct dirent *e;
    mr_err err = path != NULL ? MR_OK : no_memory(diag);

    if (err == MR_OK && d == NULL && (folder[0] == '\0' || errno != ENOENT)) {
        err = fail_os(diag, MRI_E_OPEN, path, "cannot open");
    }
    while (err == MR_OK && d != NULL && (errno = 0, e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            err = fn(user, e->d_name, diag);
        }
    }
    if (err == MR_OK && d != NULL && errno != 0) {
        err = fail_os(diag, MRI_E_READ, path, "cannot read the folder");
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    mri_free(path);
    return err;
}

/* ---- writing ---- */

/* All that is unfinished lies in the root, where sweep finds it. */
static mr_err
local_begin(const mri_store *s, const char *stem, mri_upload *u, mr_diag *diag)
{
    char *path = mri_store_path(s, stem);
    mr_err err =
        path != NULL ? mri_put_open(&u->file, path, diag) : no_memory(diag);

    mri_free(path);
    return err;
}

static mr_err
local_add(mri_upload *u, const void *p, size_t bytes, mr_diag *diag)
{
    return mri_file_write(u->file.fd, u->file.path, p, bytes, u->size, diag);
}

/* The folders on the way to `path`, below the root. Their names are synced
 * also if they were there: whoever made them may have been killed. */
static mr_err
make_folders(const mri_store *s, const char *path, mr_diag *diag)
{
    size_t root = strlen(s->root);
    char *at = mri_strdup(path);
    mr_err err = at != NULL ? MR_OK : no_memory(diag);

    for (char *slash = err == MR_OK ? strchr(at + root + 1, '/') : NULL;
         err == MR_OK && slash != NULL; slash = strchr(slash + 1, '/')) {
        char *above;

        *slash = '\0';
        err = mri_dir_make(at, diag);
        above = mri_path_dir(at);
        if (err == MR_OK) {
            err = above != NULL ? mri_dir_sync(above, diag) : no_memory(diag);
        }
        mri_free(above);
        *slash = '/';
    }
    mri_free(at);
    return err;
}

static mr_err
local_commit(mri_upload *u, const char *name, mri_put_how how, mr_diag *diag)
{
    char *path = mri_store_path(u->store, name);
    mr_err err =
        path != NULL ? make_folders(u->store, path, diag) : no_memory(diag);

    if (err == MR_OK) {
        err = mri_put_commit_as(&u->file, path, how, diag);
    }
    mri_free(path);
    return err;
}

static void
local_cancel(mri_upload *u)
{
    mri_put_release(&u->file);
}

static mr_err
local_log_open(const mri_store *s, const char *name, mri_store_log *log,
               mr_diag *diag)
{
    char *dir = NULL;
    mr_err err;

    log->path = mri_store_path(s, name);
    err =
        log->path != NULL ? make_folders(s, log->path, diag) : no_memory(diag);
    if (err == MR_OK) {
        err = mri_file_open(&log->fd, log->path, O_RDWR | O_CREAT, 0666, diag);
    }
    if (err == MR_OK) {
        err = mri_file_size(log->fd, log->path, &log->size, diag);
    }
    if (err == MR_OK) {
        dir = mri_path_dir(log->path);
        err = dir != NULL ? mri_dir_sync(dir, diag) : no_memory(diag);
    }
    mri_free(dir);
    return err;
}

static mr_err
local_log_add(mri_store_log *log, const void *p, size_t bytes, mr_diag *diag)
{
    mr_err err = mri_file_write(log->fd, log->path, p, bytes, log->size, diag);

    return err == MR_OK ? mri_file_sync(log->fd, log->path, diag) : err;
}

static void
local_log_close(mri_store_log *log)
{
    mri_file_drop(&log->fd);
    mri_free(log->path);
}

static mr_err
local_remove(const mri_store *s, const char *name, mr_diag *diag)
{
    char *path = mri_store_path(s, name);
    mr_err err = path != NULL ? MR_OK : no_memory(diag);

    if (err == MR_OK && mri_file_now()->unlink(path) != 0 && errno != ENOENT) {
        err = fail_os(diag, MRI_E_WRITE, path, "cannot remove");
    }
    mri_free(path);
    return err;
}

static mr_err
local_sync(const mri_store *s, const char *folder, mr_diag *diag)
{
    char *path = mri_store_path(s, folder);
    mr_err err = path != NULL ? mri_dir_sync(path, diag) : no_memory(diag);

    mri_free(path);
    return err;
}

static void
local_sweep(const mri_store *s)
{
    mri_dir_sweep(s->root);
}

const mri_store_ops mri_store_local = {
    .make = local_make,
    .unmake = local_unmake,
    .lock = local_lock,
    .unlock = local_unlock,
    .has = local_has,
    .open = local_open,
    .load = local_load,
    .list = local_list,
    .begin = local_begin,
    .add = local_add,
    .commit = local_commit,
    .cancel = local_cancel,
    .log_open = local_log_open,
    .log_add = local_log_add,
    .log_close = local_log_close,
    .remove = local_remove,
    .prune = local_prune,
    .sync = local_sync,
    .sweep = local_sweep,
};
