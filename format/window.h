/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window.h - a part of a file that is looked at in place: tables of millions
 * of rows, of which a reader needs a few.
 *
 * In a mapping all of it is there. Where a file is read by ranges it is memory
 * of the same size, which the system gives as it is touched: a page is read
 * into it when it is first needed, so opening costs the same for any size.
 */
#ifndef MRI_WINDOW_H
#define MRI_WINDOW_H

#include "object.h"

#include <pthread.h>

typedef struct mri_window {
    const mri_object *o; /* NULL: not open */
    uint64_t at, bytes;  /* in the file */
    const uint8_t *base;
    uint8_t *own;         /* base, where the file is not mapped */
    pthread_mutex_t lock; /* of who reads a page into `own` */
} mri_window;

/*
 * owner   the object must outlive it and stay where it is, and so must the
 *         window itself
 * errors  MR_ECORRUPT  the object ends before; MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_window_open(mri_window *w, const mri_object *o,
                                     uint64_t at, uint64_t bytes,
                                     mr_diag *diag);
void mri_window_close(mri_window *w); /* zeroed or closed: accepted */

/* Nothing has to be read into it. */
static inline bool
mri_window_whole(const mri_window *w)
{
    return w == NULL || w->own == NULL;
}
/*
 * Read [off, off + bytes) of it, within its size, if that has to be. Not while
 * others look there: with the lock held, or before anybody knows of it.
 * errors  MR_EIO, MR_ECORRUPT
 */
MR_USE_RESULT mr_err mri_window_read(mri_window *w, uint64_t off,
                                     uint64_t bytes, mr_diag *diag);

#endif
