/* SPDX-License-Identifier: Apache-2.0 */
/* folder.c - the output folder while an ingest holds it. */
#include "folder.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
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

static bool
in_journal(const mri_journal *journal, const uint8_t id[16])
{
    for (size_t i = 0; i < journal->count; i++) {
        if (memcmp(journal->done[i].id, id, 16) == 0) {
            return true;
        }
    }
    return false;
}

typedef struct sweep {
    const mri_folder *folder;
    const mri_journal *journal;
    uint8_t (*named)[16]; /* of all generations */
    size_t count;
} sweep;

static mr_err
add_named(sweep *s, const mr_dataset *ds, mr_diag *diag)
{
    mri_dataset_facts facts;
    void *grown;

    mri_dataset_facts_of(ds, &facts);
    grown = mri_resize(s->named, s->count + facts.shards, sizeof *s->named);
    if (grown == NULL) {
        return no_memory(diag);
    }
    s->named = grown;
    for (uint32_t i = 0; i < facts.shards; i++) {
        mri_shard_ref ref;

        mri_dataset_shard(ds, i, &ref);
        memcpy(s->named[s->count++], ref.id, 16);
    }
    return MR_OK;
}

/* The shards of every generation: an older one may still be opened. */
static mr_err
list_named(sweep *s, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint64_t g = 1; err == MR_OK && g <= s->folder->generation; g++) {
        char name[4096];
        mr_dataset *ds;

        (void)snprintf(name, sizeof name, "%s@%llu", s->folder->dir,
                       (unsigned long long)g);
        err = mr_dataset_open(&ds, name, diag);
        if (err == MR_OK) {
            err = add_named(s, ds, diag);
            mr_dataset_close(ds);
        }
    }
    return err;
}

static void
sweep_shard(const sweep *s, const char *dir, const char *name)
{
    uint8_t id[16];
    char hex[33];
    char *path;

    if (strlen(name) != 36 || strcmp(name + 32, ".mrs") != 0) {
        return;
    }
    memcpy(hex, name, 32);
    hex[32] = '\0';
    if (!mri_unhex(id, 16, hex) || in_journal(s->journal, id)) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (memcmp(s->named[i], id, 16) == 0) {
            return;
        }
    }
    path = mri_path_join(dir, name);
    if (path != NULL) {
        (void)mri_file_now()->unlink(path);
    }
    mri_free(path);
}

static void
sweep_folder(const sweep *s, const char *dir, unsigned depth)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.') {
            continue;
        }
        if (depth == 0) {
            char *inner = mri_path_join(dir, e->d_name);

            if (inner != NULL) {
                sweep_folder(s, inner, 1);
                (void)mri_file_now()->rmdir(inner); /* if it is empty */
            }
            mri_free(inner);
        } else {
            sweep_shard(s, dir, e->d_name);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
}

mr_err
mri_folder_sweep(const mri_folder *f, const mri_journal *journal, mr_diag *diag)
{
    sweep s = {.folder = f, .journal = journal};
    char *shards = mri_path_join(f->dir, "shards");
    mr_err err = shards != NULL ? list_named(&s, diag) : no_memory(diag);

    if (err == MR_OK) {
        mri_dir_sweep(f->journal);
        mri_dir_sweep(f->dir);
        sweep_folder(&s, shards, 0);
    }
    mri_free(shards);
    mri_free(s.named);
    return err;
}

void
mri_folder_close(mri_folder *f, mri_journal *journal, bool committed)
{
    bool held = f->lock.path != NULL;
    bool done = committed || journal->count == 0;
    char *shards = f->dir != NULL ? mri_path_join(f->dir, "shards") : NULL;

    if (held && done && journal->path != NULL) {
        (void)mri_file_now()->unlink(journal->path);
    }
    mri_journal_close(journal);
    mri_lock_release(&f->lock);
    if (held && done) { /* each only if it is empty */
        (void)mri_file_now()->rmdir(f->journal);
        if (shards != NULL && !committed) {
            sweep none = {.folder = f, .journal = &(mri_journal){0}};

            if (f->generation == 0) {
                sweep_folder(&none, shards, 0);
            }
            (void)mri_file_now()->rmdir(shards);
        }
    }
    if (f->created && !committed) {
        (void)mri_file_now()->rmdir(f->journal);
        (void)mri_file_now()->rmdir(f->dir);
    }
    mri_free(shards);
    mri_free(f->journal);
    mri_free(f->dir);
    *f = (mri_folder){.lock = {.fd = -1}};
}
