/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - where the files of a dataset live.
 *
 * Everything that format/ reads or commits goes through here: read a range of
 * an object, put an object exclusively, sync. Today a store is a local folder,
 * mapped or read by pread; the calls are those that a remote one can answer.
 */
#ifndef MRI_STORE_H
#define MRI_STORE_H

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
