/* SPDX-License-Identifier: Apache-2.0 */
/* geometry.c - where the voxels of a field are: lifetime. */
#include <mri/geometry.h>

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

void
mri_geometry_init(mri_geometry *g)
{
    *g = (mri_geometry){.slope = 1};
}

mr_err
mri_geometry_copy(mri_geometry *to, const mri_geometry *from, mr_diag *diag)
{
    mri_geometry g = *from;

    g.nifti = NULL;
    g.channels = NULL;
    g.channel_count = 0;
    if (from->nifti != NULL) {
        g.nifti = mri_alloc(from->nifti_bytes, 1);
        if (g.nifti == NULL) {
            goto fail;
        }
        memcpy(g.nifti, from->nifti, from->nifti_bytes);
    }
    if (from->channel_count != 0) {
        g.channels = mri_alloc(from->channel_count, sizeof *g.channels);
        if (g.channels == NULL) {
            goto fail;
        }
    }
    for (uint32_t i = 0; i < from->channel_count; i++) {
        g.channels[i] = mri_strdup(from->channels[i]);
        g.channel_count++;
        if (g.channels[i] == NULL) {
            goto fail;
        }
    }
    *to = g;
    return MR_OK;

fail:
    mri_geometry_release(&g);
    mri_geometry_init(to);
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

void
mri_geometry_release(mri_geometry *g)
{
    for (uint32_t i = 0; i < g->channel_count; i++) {
        mri_free(g->channels[i]);
    }
    mri_free(g->channels);
    mri_free(g->nifti);
    mri_geometry_init(g);
}
