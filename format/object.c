/* SPDX-License-Identifier: Apache-2.0 */
/* object.c - a file of a local folder, mapped or read by ranges. */
#include "object.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <fcntl.h>
#include <sys/mman.h>

mr_err
mri_object_open(mri_object *o, const char *path, bool use_map, mr_diag *diag)
{
    mr_err err;
    void *map;

    *o = (mri_object){.fd = -1, .path = mri_strdup(path)};
    if (o->path == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    err = mri_file_open(&o->fd, path, O_RDONLY, 0, diag);
    if (err == MR_OK) {
        err = mri_file_size(o->fd, path, &o->size, diag);
    }
    if (err != MR_OK) {
        mri_object_close(o);
        return err;
    }
    if (!use_map || o->size == 0) {
        return MR_OK;
    }
    map = mmap(NULL, (size_t)o->size, PROT_READ, MAP_SHARED, o->fd, 0);
    if (map != MAP_FAILED) { /* else pread does as well */
        (void)madvise(map, (size_t)o->size, MADV_RANDOM);
        o->map = map;
        mri_file_drop(&o->fd); /* a mapping needs no descriptor */
    }
    return MR_OK;
}

void
mri_object_close(mri_object *o)
{
    if (o->map != NULL) {
        (void)munmap((void *)(uintptr_t)o->map, (size_t)o->size);
    }
    if (o->path != NULL) {
        mri_file_drop(&o->fd);
    }
    mri_free(o->path);
    *o = (mri_object){.fd = -1};
}

mr_err
mri_object_view(const mri_object *o, uint64_t at, uint64_t bytes,
                mri_bytes *room, const uint8_t **p, mr_diag *diag)
{
    mr_err err;

    if (at > o->size || bytes > o->size - at) {
        err = mri_fail(diag, MRI_E_SHARD_SHORT, o->size,
                       "incomplete: %llu bytes are there, %llu are needed",
                       (unsigned long long)o->size,
                       (unsigned long long)(at + bytes));
        mri_diag_in(diag, o->path);
        return err;
    }
    if (o->map != NULL) {
        *p = o->map + at;
        return MR_OK;
    }
    room->len = 0;
    if (!mri_bytes_reserve(room, (size_t)bytes)) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for %llu bytes", (unsigned long long)bytes);
    }
    err = mri_file_read(o->fd, o->path, room->data, (size_t)bytes, at, diag);
    if (err == MR_OK) {
        room->len = (size_t)bytes;
        *p = room->data;
    }
    return err;
}
