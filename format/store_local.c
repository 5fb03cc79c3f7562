/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_local.c - a local folder as a store.
 *
 * Of the file system only what POSIX says is used: fsync of a file makes its
 * bytes and its size durable, fsync of a folder the names in it; a rename or a
 * link shows the old state or the new. So a name is given only to what is
 * synced, and every folder on the way to it is synced before.
 */
#include "lease.h"
#include "object.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/store.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LOCK_FOLDER "journal" /* settled: it is gone when nobody writes */
#define LOCK_NAME "journal/lock"

/* How often the folder of the lock may vanish under our hands: whoever was
 * done removed it between our making it and opening the lock. */
#define TRIES 8

enum { DEPTH = 512 }; /* of folders above one that are looked at */

static mr_err
fail_os(mr_diag *diag, mri_code code, const char *path, const char *what)
{
    mr_err err =
        mri_fail(diag, code, MR_NOWHERE, "%s: %s", what, strerror(errno));

    mri_diag_in(diag, path);
    return err;
}

/* root/name: on the stack, since things are also removed for want of memory. */
typedef struct place {
    char path[4096]; /* what Linux takes at most */
} place;

static mr_err
find(place *p, const mri_store *s, const char *name, mr_diag *diag)
{
    size_t root = strlen(s->root);
    bool slash = name[0] != '\0' && root != 0 && s->root[root - 1] != '/';
    int n = snprintf(p->path, sizeof p->path, "%s%s%s", s->root,
                     slash ? "/" : "", name);

    if (n < 0 || (size_t)n >= sizeof p->path) {
        errno = ENAMETOOLONG;
        return fail_os(diag, MRI_E_OPEN, s->root, name);
    }
    return MR_OK;
}

/* The folder that the last part of a path lies in. */
static void
cut_last(char *path)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    while (n > 0 && path[n - 1] != '/') {
        n--;
    }
    while (n > 1 && path[n - 1] == '/') {
        n--;
    }
    memcpy(path + n, n == 0 ? "." : "", n == 0 ? 2 : 1);
}

/* ---- the root ---- */

static mr_err
local_root(const mri_store *s, mri_root *is, mr_diag *diag)
{
    struct stat st;

    *is = MRI_ROOT_NONE;
    if (stat(s->root, &st) == 0) {
        *is = S_ISDIR(st.st_mode)   ? MRI_ROOT_FOLDER
              : S_ISREG(st.st_mode) ? MRI_ROOT_OBJECT
                                    : MRI_ROOT_OTHER;
        return MR_OK;
    }
    return errno == ENOENT || errno == ENOTDIR
               ? MR_OK
               : fail_os(diag, MRI_E_OPEN, s->root, "cannot open");
}

static bool
same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The other one is among the folders above, whatever they are called. */
static mr_err
local_lies_in(const mri_store *s, const mri_store *other, bool *inside,
              mr_diag *diag)
{
    struct stat want, now, before = {0};
    place at;
    mr_err err = find(&at, s, "", diag);
    bool go = err == MR_OK && stat(other->root, &want) == 0;

    *inside = false;
    cut_last(at.path);
    for (unsigned i = 0; go && i < DEPTH; i++) {
        size_t n = strlen(at.path);

        if (stat(at.path, &now) != 0 || same(&now, &before) ||
            n + 4 > sizeof at.path) {
            break; /* nothing there, or the root of all */
        }
        *inside = *inside || same(&now, &want);
        before = now;
        memcpy(at.path + n, "/..", 4);
    }
    return err;
}

/* A folder above that may be written but not read cannot be synced: there the
 * name of the root is as safe as the file system makes it. */
static mr_err
sync_above(const place *root, mr_diag *diag)
{
    place above = *root;
    mr_diag why = {0};
    mr_err err;

    cut_last(above.path);
    err = mri_dir_sync(above.path, &why);
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
    place root;
    mr_err err = find(&root, s, "", diag);

    *made = false;
    if (err != MR_OK) {
        return err;
    }
    *made = mri_file_now()->mkdir(root.path, 0777) == 0;
    if (!*made && errno != EEXIST) {
        return fail_os(diag, MRI_E_OPEN, root.path, "cannot create the folder");
    }
    /* Also if it was there: whoever made it may have been killed. */
    return sync_above(&root, diag);
}

static void
local_prune(const mri_store *s, const char *folder)
{
    place at;

    if (find(&at, s, folder, NULL) == MR_OK) {
        (void)mri_file_now()->rmdir(at.path);
    }
}

static void
local_unmake(const mri_store *s)
{
    local_prune(s, "");
}

static void
local_unlock(const mri_store *s, mri_lock *lock)
{
    mri_lock_release(lock);
    local_prune(s, LOCK_FOLDER);
}

static mr_err
take(const mri_store *s, mri_lock *lock, mr_diag *diag)
{
    place folder, at;
    mr_err err = find(&at, s, LOCK_NAME, diag);

    *lock = (mri_lock){.fd = -1};
    folder = at;
    cut_last(folder.path);
    for (int i = 0; err == MR_OK && i < TRIES; i++) {
        struct stat st;

        err = mri_dir_make(folder.path, diag);
        if (err != MR_OK) {
            break;
        }
        err = mri_lock_take(lock, at.path, diag);
        if (err != MR_EIO || stat(folder.path, &st) == 0) {
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
    mr_err err = take(s, lock, diag);

    /* A writer that was killed may have given a manifest its name and not
     * synced it. Who finds it and has nothing to do must not lose it. */
    if (err == MR_OK) {
        err = mri_dir_sync(s->root, diag);
        if (err != MR_OK) {
            local_unlock(s, lock);
        }
    }
    return err;
}

/* ---- reading ---- */

static mr_err
local_has(const mri_store *s, const char *name, bool *has, mr_diag *diag)
{
    place at;
    struct stat st;
    mr_err err = find(&at, s, name, diag);

    *has = err == MR_OK && stat(at.path, &st) == 0;
    if (err == MR_OK && !*has && errno != ENOENT && errno != ENOTDIR) {
        err = fail_os(diag, MRI_E_OPEN, at.path, "cannot look for it");
    }
    return err;
}

static mr_err
local_open(const mri_store *s, const char *name, bool use_map,
           mri_object *object, mr_diag *diag)
{
    place at;
    mr_err err = find(&at, s, name, diag);

    return err == MR_OK ? mri_object_open(object, at.path, use_map, diag) : err;
}

static mr_err
local_load(const mri_store *s, const char *name, uint64_t limit, mri_bytes *out,
           mr_diag *diag)
{
    place at;
    mr_err err = find(&at, s, name, diag);

    return err == MR_OK ? mri_file_load(at.path, limit, out, diag) : err;
}

static mr_err
each_of(DIR *d, const char *path, mri_store_each *fn, void *user, mr_diag *diag)
{
    for (;;) {
        struct dirent *e;
        mr_err err = MR_OK;

        errno = 0;
        e = readdir(d);
        if (e == NULL && errno != 0) {
            return fail_os(diag, MRI_E_READ, path, "cannot read the folder");
        }
        if (e == NULL) {
            return MR_OK;
        }
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            err = fn(user, e->d_name, diag);
        }
        if (err != MR_OK) {
            return err;
        }
    }
}

static mr_err
local_list(const mri_store *s, const char *folder, mri_store_each *fn,
           void *user, mr_diag *diag)
{
    place at;
    DIR *d;
    mr_err err = find(&at, s, folder, diag);

    if (err != MR_OK) {
        return err;
    }
    d = opendir(at.path);
    if (d == NULL && folder[0] != '\0' && errno == ENOENT) {
        return MR_OK;
    }
    if (d == NULL) {
        return fail_os(diag, MRI_E_OPEN, at.path, "cannot open");
    }
    err = each_of(d, at.path, fn, user, diag);
    (void)closedir(d);
    return err;
}

static mr_err
local_hold(mri_hold *hold, const char *name, bool *held, mr_diag *diag)
{
    place at;
    mr_err err = find(&at, hold->store, name, diag);

    if (err == MR_OK) {
        err = mri_lease_take(&hold->fd, at.path, diag);
    }
    *held = err == MR_OK && hold->fd >= 0;
    return err;
}

static void
local_let_go(mri_hold *hold)
{
    mri_file_drop(&hold->fd);
}

/* ---- writing ---- */

/* All that is unfinished lies in the root, where sweep finds it. */
static mr_err
local_begin(const mri_store *s, const char *stem, mri_upload *u, mr_diag *diag)
{
    place at;
    mr_err err = find(&at, s, stem, diag);

    return err == MR_OK ? mri_put_open(&u->file, at.path, diag) : err;
}

static mr_err
local_add(mri_upload *u, const void *p, size_t bytes, mr_diag *diag)
{
    return mri_file_write(u->file.fd, u->file.path, p, bytes, u->size, diag);
}

/* The folders on the way to an object. Their names are synced also if they
 * were there: whoever made them may have been killed. */
static mr_err
make_folders(const mri_store *s, const char *name, mr_diag *diag)
{
    const char *slash = strchr(name, '/');
    mr_err err = MR_OK;

    while (err == MR_OK && slash != NULL) {
        place folder, above;

        err = find(&folder, s, name, diag);
        if (err == MR_OK) {
            folder.path[strlen(folder.path) - strlen(slash)] = '\0';
            err = mri_dir_make(folder.path, diag);
        }
        if (err == MR_OK) {
            above = folder;
            cut_last(above.path);
            err = mri_dir_sync(above.path, diag);
        }
        slash = strchr(slash + 1, '/');
    }
    return err;
}

static mr_err
local_commit(mri_upload *u, const char *name, mri_put_how how, mr_diag *diag)
{
    place at;
    mr_err err = make_folders(u->store, name, diag);

    if (err == MR_OK) {
        err = find(&at, u->store, name, diag);
    }
    return err == MR_OK ? mri_put_commit_as(&u->file, at.path, how, diag) : err;
}

static void
local_cancel(mri_upload *u)
{
    mri_put_release(&u->file);
}

/* Why a file that can be read may get no second name here: another file
 * system, one without hard links, one that counts no further, or one that
 * allows them to owners only. */
static bool
cannot_link(int error)
{
    return error == EXDEV || error == EPERM || error == EMLINK ||
           error == EACCES || error == ENOSYS || error == EOPNOTSUPP;
}

/* One more name for the file. Objects do not change, and one that is there has
 * its own name since it was whole. */
static mr_err
local_share(const mri_store *s, const mri_store *from, const char *name,
            bool *shared, mr_diag *diag)
{
    place there, here;
    mr_err err = find(&there, from, name, diag);

    if (err == MR_OK) {
        err = find(&here, s, name, diag);
    }
    if (err == MR_OK) {
        err = make_folders(s, name, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    if (mri_file_now()->link(there.path, here.path) != 0 && errno != EEXIST) {
        return cannot_link(errno) ? MR_OK
                                  : fail_os(diag, MRI_E_WRITE, here.path,
                                            "cannot link into place");
    }
    *shared = true;
    cut_last(here.path);
    return mri_dir_sync(here.path, diag);
}

static mr_err
local_log_open(const mri_store *s, const char *name, mri_store_log *log,
               mr_diag *diag)
{
    place at;
    mr_err err = make_folders(s, name, diag);

    if (err == MR_OK) {
        err = find(&at, s, name, diag);
    }
    if (err == MR_OK) {
        log->path = mri_strdup(at.path);
        err = log->path != NULL
                  ? MR_OK
                  : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    if (err == MR_OK) {
        err = mri_file_open(&log->fd, at.path, O_RDWR | O_CREAT, 0666, diag);
    }
    if (err == MR_OK) {
        err = mri_file_size(log->fd, at.path, &log->size, diag);
    }
    if (err == MR_OK) {
        cut_last(at.path);
        err = mri_dir_sync(at.path, diag);
    }
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
    place at;
    mr_err err = find(&at, s, name, diag);

    if (err == MR_OK && mri_file_now()->unlink(at.path) != 0 &&
        errno != ENOENT) {
        err = fail_os(diag, MRI_E_WRITE, at.path, "cannot remove");
    }
    return err;
}

static bool
local_end(const mri_store *s, const char *name)
{
    place at;

    return find(&at, s, name, NULL) == MR_OK && mri_lease_end(at.path);
}

static mr_err
local_sync(const mri_store *s, const char *folder, mr_diag *diag)
{
    place at;
    mr_err err = find(&at, s, folder, diag);

    return err == MR_OK ? mri_dir_sync(at.path, diag) : err;
}

static void
local_sweep(const mri_store *s)
{
    mri_dir_sweep(s->root);
}

const mri_store_ops mri_store_local = {
    .root = local_root,
    .lies_in = local_lies_in,
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
    .share = local_share,
    .hold = local_hold,
    .let_go = local_let_go,
    .end = local_end,
    .log_open = local_log_open,
    .log_add = local_log_add,
    .log_close = local_log_close,
    .remove = local_remove,
    .prune = local_prune,
    .sync = local_sync,
    .sweep = local_sweep,
};
