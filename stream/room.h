/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room.h - memory that is kept from one sample to the next, so that steady
 * work allocates nothing.
 */
#ifndef MRI_STREAM_ROOM_H
#define MRI_STREAM_ROOM_H

#include <mri/error.h>

typedef struct mri_room {
    void *p;
    size_t bytes;
} mri_room;

/* At least `count` * `size` bytes, 64-byte aligned; what stood there is gone.
 * NULL: no memory, or the product overflows. */
void *mri_room_take(mri_room *room, uint64_t count, size_t size);
void mri_room_release(mri_room *room);

#endif
