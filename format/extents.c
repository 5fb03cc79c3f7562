/* SPDX-License-Identifier: Apache-2.0 */
/* extents.c - the parts of a file that a read will touch. */
#include "extents.h"

#include <sys/resource.h>

void
mri_extents_add(mri_extents *x, uint64_t at, uint64_t bytes)
{
    size_t i = x->count;

    if (i == MRI_EXTENTS || bytes == 0) {
        return;
    }
    /* Chunks come nearly in the order of the file: few are moved. */
    for (; i > 0 && x->of[i - 1].at > at; i--) {
        x->of[i] = x->of[i - 1];
    }
    x->of[i].at = at;
    x->of[i].end = at + bytes;
    x->count++;
}

void
mri_extents_join(mri_extents *x)
{
    size_t n = 0;

    for (size_t i = 1; i < x->count; i++) {
        if (x->of[i].at < x->of[n].end + MRI_EXTENT_GAP) {
            if (x->of[i].end > x->of[n].end) {
                x->of[n].end = x->of[i].end;
            }
        } else {
            x->of[++n] = x->of[i];
        }
    }
    x->count = x->count > 0 ? n + 1 : 0;
}

void
mri_extents_ask(mri_extents *x, const mri_object *o)
{
    mri_extents_join(x);
    if (o->map == NULL && x->count == 1) {
        x->count = 0; /* pread asks for all of it by itself */
    }
    for (size_t i = 0; i < x->count; i++) {
        mri_object_want(o, x->of[i].at, x->of[i].end - x->of[i].at);
    }
    x->count = 0;
}

uint64_t
mri_thread_waits(void)
{
#ifdef RUSAGE_THREAD
    struct rusage now;

    if (getrusage(RUSAGE_THREAD, &now) == 0) {
        return (uint64_t)now.ru_nvcsw;
    }
#endif
    return UINT64_MAX;
}
