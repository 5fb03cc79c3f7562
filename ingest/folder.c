/* SPDX-License-Identifier: Apache-2.0 */
/* folder.c - the output folder while an ingest holds it. */
#include "folder.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <dirent.h>
#include <errno.h>
#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* What may lie in a folder that is a dataset or becomes one. */
static bool
ours(const char *name)
{
    return strcmp(name, "journal") == 0 || strcmp(name, "quarantine") == 0 ||
           strcmp(name, "shards") == 0 || strcmp(name, "history.jsonl") == 0 ||
           strncmp(name, "manifest.", 9) == 0 ||
           strncmp(name, "index.", 6) == 0 || strncmp(name, ".part-", 6) == 0;
}

static mr_err
check_content(const char *dir, mr_diag *diag)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    mr_err err = MR_OK;

    if (d == NULL) {
        err = mri_fail(diag, MRI_E_OPEN, MR_NOWHERE, "cannot open: %s",
                       strerror(errno));
        mri_diag_in(diag, dir);
        return err;
    }
    while (err == MR_OK && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            !ours(e->d_name)) {
            err = mri_fail(diag, MRI_E_OUTPUT, MR_NOWHERE,
                           "is there already and holds '%.100s', so it is no "
                           "dataset",
                           e->d_name);
            mri_diag_in(diag, dir);
        }
    }
    (void)closedir(d);
    return err;
}

mr_err
mri_folder_open(mri_folder *f, const char *dir, mr_diag *diag)
{
    char *lock;
    mr_err err;

    *f = (mri_folder){.lock = {.fd = -1}};
    f->dir = mri_strdup(dir);
    f->journal = mri_path_join(dir, "journal");
    if (f->dir == NULL || f->journal == NULL) {
        return no_memory(diag);
    }
    f->created = mri_file_now()->mkdir(dir, 0777) == 0;
    err = f->created ? MR_OK : mri_dir_make(dir, diag);
    if (err == MR_OK) {
        err = check_content(dir, diag);
    }
    if (err == MR_OK) {
        err = mri_generation_of(dir, &f->generation, diag);
    }
    if (err == MR_OK) {
        err = mri_dir_make(f->journal, diag);
    }
    lock = mri_path_join(f->journal, "lock");
    if (err == MR_OK) {
        err = lock != NULL ? mri_lock_take(&f->lock, lock, diag)
                           : no_memory(diag);
    }
    mri_free(lock);
    return err;
}

mr_err
mri_folder_sweep(const mri_folder *f, const mri_journal *journal, mr_diag *diag)
{
    uint8_t(*keep)[16] = mri_alloc(journal->count + 1, sizeof *keep);
    mri_swept swept;
    mr_err err;

    if (keep == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; i < journal->count; i++) {
        memcpy(keep[i], journal->done[i].id, 16);
    }
    mri_dir_sweep(f->journal);
    err = mri_dataset_sweep(f->dir, (const uint8_t(*)[16])keep, journal->count,
                            &swept, diag);
    mri_free(keep);
    return err;
}

/* A first ingest of which nothing came: its shards go as well. */
static void
take_back(const mri_folder *f)
{
    char *shards = mri_path_join(f->dir, "shards");
    mri_swept swept;

    if (f->generation == 0) {
        (void)!mri_dataset_sweep(f->dir, NULL, 0, &swept, NULL);
    }
    if (shards != NULL) {
        (void)mri_file_now()->rmdir(shards); /* if it is empty */
    }
    mri_free(shards);
}

void
mri_folder_close(mri_folder *f, mri_journal *journal, bool committed)
{
    bool held = f->lock.path != NULL;
    bool done = committed || journal->count == 0;

    if (held && done && journal->path != NULL) {
        (void)mri_file_now()->unlink(journal->path);
    }
    mri_journal_close(journal);
    if (held && done && !committed) {
        take_back(f);
    }
    mri_lock_release(&f->lock);
    if (held && done) {
        (void)mri_file_now()->rmdir(f->journal); /* if it is empty */
    }
    if (f->created && !committed) {
        (void)mri_file_now()->rmdir(f->journal);
        (void)mri_file_now()->rmdir(f->dir);
    }
    mri_free(f->journal);
    mri_free(f->dir);
    *f = (mri_folder){.lock = {.fd = -1}};
}
