/* SPDX-License-Identifier: Apache-2.0 */
/* folder.c - the output folder while an ingest holds it. */
#include "folder.h"

#include <mri/alloc.h>
#include <mri/error.h>

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
check_name(void *user, const char *name, mr_diag *diag)
{
    const mri_store *store = user;
    mr_err err;

    if (ours(name)) {
        return MR_OK;
    }
    err = mri_fail(diag, MRI_E_OUTPUT, MR_NOWHERE,
                   "is there already and holds '%.100s', so it is no dataset",
                   name);
    mri_diag_in(diag, store->root);
    return err;
}

mr_err
mri_folder_open(mri_folder *f, const char *dir, mr_diag *diag)
{
    mr_err err;

    *f = (mri_folder){.lock = {.fd = -1}};
    err = mri_store_open(&f->store, dir, diag);
    if (err == MR_OK) {
        err = mri_store_make(&f->store, &f->created, diag);
    }
    if (err == MR_OK) {
        err = mri_store_list(&f->store, "", check_name, &f->store, diag);
    }
    if (err == MR_OK) {
        err = mri_generation_of(dir, &f->generation, diag);
    }
    if (err == MR_OK) {
        err = mri_store_lock(&f->store, &f->lock, diag);
    }
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
    err = mri_dataset_sweep(f->store.root, (const uint8_t(*)[16])keep,
                            journal->count, &swept, diag);
    mri_free(keep);
    return err;
}

/* A first ingest of which nothing came: its shards go as well. */
static void
take_back(const mri_folder *f)
{
    mri_swept swept;

    if (f->generation == 0) {
        (void)!mri_dataset_sweep(f->store.root, NULL, 0, &swept, NULL);
    }
    mri_store_prune(&f->store, "shards");
}

void
mri_folder_close(mri_folder *f, mri_journal *journal, bool committed)
{
    bool held = f->lock.path != NULL;
    bool done = committed || journal->count == 0;

    mri_journal_close(journal, held && done);
    if (held && done && !committed) {
        take_back(f);
    }
    mri_store_unlock(&f->store, &f->lock);
    if (f->created && !committed) {
        mri_store_unmake(&f->store);
    }
    mri_store_close(&f->store);
    *f = (mri_folder){.lock = {.fd = -1}};
}
