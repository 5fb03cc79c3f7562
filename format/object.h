/* SPDX-License-Identifier: Apache-2.0 */
/*
 * object.h - one immutable file of a dataset, open for reading.
 *
 * Shards and indexes are read through here, by ranges of bytes: in a mapping,
 * or by pread where mapping is not to be trusted. The calls are those that a
 * remote store can answer too: all that is local is in object.c and behind
 * mri_store.open; path is what messages say. Names, writing and listing are
 * the store's.
 */
#ifndef MRI_OBJECT_H
#define MRI_OBJECT_H

#include <mri/bytes.h>
#include <mri/file.h>
#include <mri/mapping.h>

/* An immutable object that is open for reading. */
typedef struct mri_object {
    char *path;
    uint64_t size;
    int fd;             /* -1 when it is mapped */
    const uint8_t *map; /* NULL when it is read by pread */
    mri_mapping mapping;
    uint8_t *heap; /* where map points if it is no mapping */
} mri_object;

/*
 * With use_map it is mapped if it can be, unless MILLRACE_NO_MMAP is set in
 * the environment.
 * errors  MR_EIO, with the path; an empty file is open and not mapped
 */
MR_USE_RESULT mr_err mri_object_open(mri_object *o, const char *path,
                                     bool use_map, mr_diag *diag);
/*
 * All of it at o->map, for who walks a file from end to end. If it is not
 * mapped, that takes as much memory as the file is long.
 * errors  MR_EIO, MR_ECORRUPT, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_object_load(mri_object *o, mr_diag *diag);
void mri_object_close(mri_object *o); /* zeroed or closed: accepted */

/* errors  MR_ECORRUPT  the object has no `bytes` bytes at `at` */
MR_USE_RESULT mr_err mri_object_holds(const mri_object *o, uint64_t at,
                                      uint64_t bytes, mr_diag *diag);
/*
 * `bytes` bytes at `at`: in the mapping, or read into `room` (whose content
 * is replaced). Holds until room is used again or the object is closed.
 * errors  MR_ECORRUPT  the object ends before (nothing is read then)
 *         MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_object_view(const mri_object *o, uint64_t at,
                                     uint64_t bytes, mri_bytes *room,
                                     const uint8_t **p, mr_diag *diag);

/* The same into memory of one's own, and never from the mapping. */
MR_USE_RESULT mr_err mri_object_read(const mri_object *o, uint64_t at,
                                     size_t bytes, void *to, mr_diag *diag);

/*
 * Asked after bytes of a mapping were used: were they the file's? A file that
 * was cut short since it was opened, or that the disk cannot give, reads as
 * zeros there (mri/mapping.h).
 * errors  MR_ECORRUPT  it has become shorter
 *         MR_EIO       it could not be read
 */
MR_USE_RESULT mr_err mri_object_whole(const mri_object *o, mr_diag *diag);

/* Bytes that will be viewed soon: the system fetches them meanwhile. A hint;
 * many at once are how a disk is kept busy. */
void mri_object_want(const mri_object *o, uint64_t at, uint64_t bytes);

#endif
