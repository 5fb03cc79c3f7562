/* SPDX-License-Identifier: Apache-2.0 */
/* room.c - memory that is kept. */
#include "room.h"

#include <mri/alloc.h>

void *
mri_room_take(mri_room *room, uint64_t count, size_t size)
{
    uint64_t bytes;

    if (!mri_mul(count, size, &bytes) || bytes > PTRDIFF_MAX / 2) {
        return NULL;
    }
    if (room->p != NULL && room->bytes >= bytes) {
        return room->p;
    }
    bytes += bytes / 4; /* crops differ in size: do not grow at each */
    mri_free(room->p);
    room->p = mri_alloc_pixels((size_t)bytes, 1);
    room->bytes = room->p != NULL ? (size_t)bytes : 0;
    return room->p;
}

void
mri_room_release(mri_room *room)
{
    mri_free(room->p);
    *room = (mri_room){0};
}
