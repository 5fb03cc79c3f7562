/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage_out.h - the folder that a salvage makes: whole, or not there.
 */
#ifndef MRI_SALVAGE_OUT_H
#define MRI_SALVAGE_OUT_H

#include <mri/store.h>

typedef struct mri_salvage_out {
    mri_store store;
    bool made; /* it is ours */
    mri_lock lock;
    mri_shard_ref *refs; /* of the shards in it */
    uint32_t count;
} mri_salvage_out;

/*
 * Make the folder, which must be neither there nor inside `source`.
 * errors  MR_EFORMAT, MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_salvage_out_open(mri_salvage_out *out, const char *dir,
                                          const char *source, mr_diag *diag);
MR_USE_RESULT mr_err mri_salvage_out_add(mri_salvage_out *out,
                                         const mri_shard_ref *ref,
                                         mr_diag *diag);
/* Without a commit all that was written goes, and the folder with it. */
void mri_salvage_out_close(mri_salvage_out *out, bool committed);

#endif
