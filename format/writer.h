/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer.h - hold a dataset's lock, and make a generation of those it has.
 */
#ifndef MRI_WRITER_H
#define MRI_WRITER_H

#include "dataset_read.h"

#include <mri/dataset.h>

typedef struct mri_writer {
    mr_dataset *now; /* the generation in force, or the one opened */
    mri_store store;
    mri_lock lock;
} mri_writer;

/*
 * Open `name` to be changed: only the generation in force may be. Without
 * `lock` it is only looked at.
 * errors  MR_EARG   an older generation
 *         MR_EBUSY  another writer; those of mr_dataset_open
 * Fills `w` in any case; mri_writer_close.
 */
MR_USE_RESULT mr_err mri_writer_open(mri_writer *w, const char *name, bool lock,
                                     mr_diag *diag);
void mri_writer_close(mri_writer *w);

/* What a generation is made of: all of `like`, without some samples. */
typedef struct mri_derive {
    const mr_dataset *like;
    const mri_withdrawn *withdrawn; /* ascending by uid */
    uint64_t count;
    const mri_shard_ref *shards; /* in place of those of `like`; or NULL */
    uint32_t shard_count;
    bool other_labels; /* as in mri_commit; then with these classes: */
    char **classes;    /* those of `like` first */
    uint32_t class_count;
    bool forget_withdrawn; /* as in mri_commit */
    uint64_t oldest;       /* likewise */
    const mr_watch *watch;
} mri_derive;

/* The key (or group) that is most like a name that is not there, for a
 * message; NULL: none, or no memory. mri_free. */
char *mri_nearest_name(const mr_dataset *ds, const char *name, bool group,
                       const mr_watch *watch);

/* errors  as mri_dataset_commit */
MR_USE_RESULT mr_err mri_writer_commit(const mri_writer *w,
                                       const mri_derive *how,
                                       uint64_t *generation, mr_diag *diag);

#endif
