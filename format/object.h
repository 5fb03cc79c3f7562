/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object.h - one immutable file of a dataset, open for reading.
 *
 * Shards and indexes are read through here, by ranges of bytes: in a mapping,
 * or by pread where mapping is not to be trusted. The calls are those that a
 * remote store can answer too; names, writing and listing are the store's.
 */
#ifndef MRI_OBJECT_H
#define MRI_OBJECT_H

#include <mri/bytes.h>
#include <mri/file.h>

/* An immutable object that is open for reading. */
typedef struct mri_object {
    char *path;
    uint64_t size;
    int fd;             /* -1 when it is mapped */
    const uint8_t *map; /* NULL when it is read by pread */
} mri_object;

/*
 * errors  MR_EIO, with the path; an empty file is open and not mapped
 */
MR_USE_RESULT mr_err mri_object_open(mri_object *o, const char *path,
                                     bool use_map, mr_diag *diag);
void mri_object_close(mri_object *o); /* zeroed or closed: accepted */

/*
 * `bytes` bytes at `at`: in the mapping, or read into `room` (whose content
 * is replaced). Holds until room is used again or the object is closed.
 * errors  MR_ECORRUPT  the object ends before (nothing is read then)
 *         MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_object_view(const mri_object *o, uint64_t at,
                                     uint64_t bytes, mri_bytes *room,
                                     const uint8_t **p, mr_diag *diag);

#endif
