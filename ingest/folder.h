/* SPDX-License-Identifier: Apache-2.0 */
/*
 * folder.h - the output folder while an ingest holds it.
 */
#ifndef MRI_FOLDER_H
#define MRI_FOLDER_H

#include "journal.h"

#include <mri/store.h>

typedef struct mri_folder {
    mri_store store;
    mri_lock lock;
    uint64_t generation; /* in force; 0 if there is none */
    bool created;        /* by us: taken away again if nothing came of it */
} mri_folder;

/*
 * Make it if it is not there, and lock it.
 * errors  MR_EIO      no parent, no permission
 *         MR_EFORMAT  it is there and holds other things than a dataset
 *         MR_EBUSY    another ingest holds it
 */
MR_USE_RESULT mr_err mri_folder_open(mri_folder *f, const char *dir,
                                     mr_diag *diag);
/* Remove what runs that were cut off have left: unfinished files, and shards
 * that neither a manifest nor the journal names. */
MR_USE_RESULT mr_err mri_folder_sweep(const mri_folder *f,
                                      const mri_journal *journal,
                                      mr_diag *diag);
/* Unlock. After a commit, or if nothing was finished, the journal goes; a
 * folder that we made and that is empty goes as well. */
void mri_folder_close(mri_folder *f, mri_journal *journal, bool committed);

#endif
