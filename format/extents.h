/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extents.h - the parts of a file that a read will touch, asked for together.
 *
 * A disk answers thirty requests in about the time of one, if it has them all
 * at once. So a read first says where its chunks lie, and those that are near
 * each other become one request: what lies between costs less than asking
 * twice. The system fetches them into its cache while the first are decoded;
 * of the ways to have many requests under way (threads, io_uring) this was as
 * fast as any, and it works wherever files do.
 */
#ifndef MRI_EXTENTS_H
#define MRI_EXTENTS_H

#include "object.h"

enum {
    MRI_EXTENTS = 256,     /* chunks that are planned at once */
    MRI_EXTENT_GAP = 65536 /* bytes that are read rather than left out */
};

typedef struct mri_extents {
    struct {
        uint64_t at, end;
    } of[MRI_EXTENTS];
    size_t count;
} mri_extents;

/* At most MRI_EXTENTS; more are not noted. */
void mri_extents_add(mri_extents *x, uint64_t at, uint64_t bytes);
/* Ascending, and those nearer than MRI_EXTENT_GAP joined. */
void mri_extents_join(mri_extents *x);
/* Join, ask the object for them, and start again. */
void mri_extents_ask(mri_extents *x, const mri_object *o);

/*
 * How often this thread has waited for something so far. A read during which
 * it rises went to the disk: the next one had better ask ahead. UINT64_MAX
 * where the system does not count: then every read asks.
 */
uint64_t mri_thread_waits(void);

#endif
