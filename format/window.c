/* SPDX-License-Identifier: Apache-2.0 */
/* window.c - a part of a file that is looked at in place. */
#include "window.h"

#include <mri/alloc.h>
#include <mri/error.h>

mr_err
mri_window_open(mri_window *w, const mri_object *o, uint64_t at, uint64_t bytes,
                mr_diag *diag)
{
    mr_err err;

    *w = (mri_window){0};
    err = mri_object_holds(o, at, bytes, diag);
    if (err != MR_OK) {
        return err;
    }
    if (o->map == NULL) { /* zeroed, so that the system need give no page yet */
        w->own = mri_alloc((size_t)bytes, 1);
        if (w->own == NULL) {
            return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                            "no memory for %llu bytes",
                            (unsigned long long)bytes);
        }
    }
    w->base = w->own != NULL ? w->own : o->map + at;
    w->o = o;
    w->at = at;
    w->bytes = bytes;
    pthread_mutex_init(&w->lock, NULL);
    return MR_OK;
}

void
mri_window_close(mri_window *w)
{
    if (w->o != NULL) {
        pthread_mutex_destroy(&w->lock);
    }
    mri_free(w->own);
    *w = (mri_window){0};
}

mr_err
mri_window_read(mri_window *w, uint64_t off, uint64_t bytes, mr_diag *diag)
{
    return mri_window_whole(w)
               ? MR_OK
               : mri_object_read(w->o, w->at + off, (size_t)bytes, w->own + off,
                                 diag);
}
