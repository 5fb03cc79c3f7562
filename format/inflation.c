/* SPDX-License-Identifier: Apache-2.0 */
/* inflation.c - count what the fields of a shard decode to. */
#include "inflation.h"

#include <mri/alloc.h>
#include <mri/error.h>

mr_err
mri_inflation_add(mri_inflation *i, const mri_grid_row *g, mr_diag *diag)
{
    uint64_t most, all;

    if (g->encoding != MR_ENC_CHUNKS) {
        return MR_OK; /* its bytes stand in the file as they are */
    }
    if (!mri_add(i->decoded, mri_grid_bytes(g), &all)) {
        all = UINT64_MAX;
    }
    if (!mri_mul(i->file_bytes, MRI_INFLATION_MAX, &most)) {
        most = UINT64_MAX;
    }
    i->decoded = all;
    if (all <= most) {
        return MR_OK;
    }
    return mri_fail(diag, MRI_E_INFLATED, MR_NOWHERE,
                    "up to here %llu bytes would come out of a file of %llu, "
                    "more than %u times as many",
                    (unsigned long long)all, (unsigned long long)i->file_bytes,
                    MRI_INFLATION_MAX);
}
