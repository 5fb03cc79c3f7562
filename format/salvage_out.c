/* SPDX-License-Identifier: Apache-2.0 */
/* salvage_out.c - the folder that a salvage makes. */
#include "salvage_out.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { DEPTH = 512 }; /* of folders above the output that are looked at */

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static bool
same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is `dir`, or a folder above it, `source`? */
static mr_err
lies_in(bool *inside, const char *dir, const char *source, mr_diag *diag)
{
    char *at = mri_path_dir(dir);
    struct stat want, now, before = {0};
    mr_err err = at != NULL ? MR_OK : no_memory(diag);
    bool go = stat(source, &want) == 0;

    *inside = false;
    for (unsigned i = 0; err == MR_OK && go && i < DEPTH; i++) {
        char *up;

        if (stat(at, &now) != 0 || same(&now, &before)) {
            break; /* nothing there, or the root */
        }
        *inside = *inside || same(&now, &want);
        before = now;
        up = mri_path_join(at, "..");
        err = up != NULL ? MR_OK : no_memory(diag);
        mri_free(at);
        at = up;
    }
    mri_free(at);
    return err;
}

static mr_err
make_folder(mri_salvage_out *out, const char *dir, const char *source,
            mr_diag *diag)
{
    bool inside;
    mr_err err = lies_in(&inside, dir, source, diag);

    if (err != MR_OK) {
        return err;
    }
    if (inside) {
        return mri_fail(diag, MRI_E_SALVAGE_OUTPUT, MR_NOWHERE,
                        "lies in the source, which is never changed");
    }
    if (mri_file_now()->mkdir(dir, 0777) == 0) {
        out->made = true;
        return mri_dir_make(out->journal, diag);
    }
    if (errno == EEXIST) {
        return mri_fail(diag, MRI_E_SALVAGE_OUTPUT, MR_NOWHERE,
                        "is there already");
    }
    return mri_fail(diag, MRI_E_WRITE, MR_NOWHERE, "cannot be made: %s",
                    strerror(errno));
}

mr_err
mri_salvage_out_open(mri_salvage_out *out, const char *dir, const char *source,
                     mr_diag *diag)
{
    char *lock = NULL;
    mr_err err;

    *out = (mri_salvage_out){.lock = {.fd = -1}};
    out->dir = mri_strdup(dir);
    out->journal = mri_path_join(dir, "journal");
    if (out->dir == NULL || out->journal == NULL) {
        return no_memory(diag);
    }
    err = make_folder(out, dir, source, diag);
    if (err != MR_OK) {
        mri_diag_in(diag, dir);
        return err;
    }
    lock = mri_path_join(out->journal, "lock");
    err =
        lock != NULL ? mri_lock_take(&out->lock, lock, diag) : no_memory(diag);
    mri_free(lock);
    return err;
}

mr_err
mri_salvage_out_add(mri_salvage_out *out, const mri_shard_ref *ref,
                    mr_diag *diag)
{
    mri_shard_ref *grown =
        mri_resize(out->refs, (size_t)out->count + 1, sizeof *grown);

    if (grown == NULL) {
        return no_memory(diag);
    }
    out->refs = grown;
    grown[out->count++] = *ref;
    return MR_OK;
}

static bool
ours(const char *name)
{
    return strcmp(name, "shards") == 0 || strcmp(name, "journal") == 0 ||
           strncmp(name, "manifest.", 9) == 0 ||
           strncmp(name, "index.", 6) == 0 || strncmp(name, ".part-", 6) == 0;
}

/* Without mri_alloc: it also runs because memory was out. */
static void
remove_tree(const char *dir, unsigned depth)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    char path[4096];

    while (d != NULL && (e = readdir(d)) != NULL) {
        int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            n < 0 || (size_t)n >= sizeof path ||
            (depth == 0 && !ours(e->d_name))) {
            continue;
        }
        if (mri_file_now()->unlink(path) != 0 && depth < 2) {
            remove_tree(path, depth + 1);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    (void)mri_file_now()->rmdir(dir);
}

void
mri_salvage_out_close(mri_salvage_out *out, bool committed)
{
    if (out->made) {
        mri_lock_release(&out->lock);
        (void)mri_file_now()->rmdir(out->journal);
        if (!committed) {
            remove_tree(out->dir, 0);
        }
    }
    mri_free(out->refs);
    mri_free(out->journal);
    mri_free(out->dir);
    *out = (mri_salvage_out){.lock = {.fd = -1}};
}
