/* SPDX-License-Identifier: Apache-2.0 */
/* object.c - a file of a local folder, mapped or read by ranges. */
#include "object.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <fcntl.h>
#include <stdlib.h>

/* For file systems on which a mapping does not show what others wrote. */
static bool
may_map(void)
{
    const char *no = getenv("MILLRACE_NO_MMAP");

    return no == NULL || *no == '\0';
}

mr_err
mri_object_open(mri_object *o, const char *path, bool use_map, mr_diag *diag)
{
    mr_err err;

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
    if (!use_map || !may_map() || o->size == 0) {
        return MR_OK;
    }
    if (mri_mapping_open(&o->mapping, o->fd, (size_t)o->size)) {
        o->map = o->mapping.at; /* else pread does as well */
        mri_file_drop(&o->fd);  /* a mapping needs no descriptor */
    }
    return MR_OK;
}

mr_err
mri_object_read(const mri_object *o, uint64_t at, size_t bytes, void *to,
                mr_diag *diag)
{
    return mri_file_read(o->fd, o->path, to, bytes, at, diag);
}

mr_err
mri_object_load(mri_object *o, mr_diag *diag)
{
    mr_err err;

    if (o->map != NULL || o->size == 0) {
        return MR_OK;
    }
    o->heap = mri_alloc_pixels((size_t)o->size, 1);
    if (o->heap == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a file of %llu bytes",
                        (unsigned long long)o->size);
    }
    err = mri_object_read(o, 0, (size_t)o->size, o->heap, diag);
    o->map = err == MR_OK ? o->heap : NULL;
    return err;
}

void
mri_object_close(mri_object *o)
{
    mri_mapping_close(&o->mapping);
    mri_free(o->heap);
    if (o->path != NULL) {
        mri_file_drop(&o->fd);
    }
    mri_free(o->path);
    *o = (mri_object){.fd = -1};
}

mr_err
mri_object_holds(const mri_object *o, uint64_t at, uint64_t bytes,
                 mr_diag *diag)
{
    mr_err err;

    if (at <= o->size && bytes <= o->size - at) {
        return MR_OK;
    }
    err =
        mri_fail(diag, MRI_E_SHARD_SHORT, o->size,
                 "incomplete: %llu bytes are there, %llu are needed",
                 (unsigned long long)o->size, (unsigned long long)(at + bytes));
    mri_diag_in(diag, o->path);
    return err;
}

mr_err
mri_object_view(const mri_object *o, uint64_t at, uint64_t bytes,
                mri_bytes *room, const uint8_t **p, mr_diag *diag)
{
    mr_err err = mri_object_holds(o, at, bytes, diag);

    if (err != MR_OK) {
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
    err = mri_object_read(o, at, (size_t)bytes, room->data, diag);
    if (err == MR_OK) {
        room->len = (size_t)bytes;
        *p = room->data;
    }
    return err;
}

mr_err
mri_object_whole(const mri_object *o, mr_diag *diag)
{
    uint64_t at;
    struct stat st;
    mr_err err;

    if (!mri_mapping_lost(&o->mapping, &at)) {
        return MR_OK;
    }
    if (stat(o->path, &st) == 0 && (uint64_t)st.st_size < o->size) {
        err = mri_fail(diag, MRI_E_SHORT, (uint64_t)st.st_size,
                       "the file was cut short while it was open: %llu bytes "
                       "of %llu are left",
                       (unsigned long long)st.st_size,
                       (unsigned long long)o->size);
    } else {
        err = mri_fail(diag, MRI_E_READ, at, "cannot read what is mapped here");
    }
    mri_diag_in(diag, o->path);
    return err;
}

void
mri_object_want(const mri_object *o, uint64_t at, uint64_t bytes)
{
    if (o->map != NULL) {
        mri_mapping_want(&o->mapping, at, bytes);
    } else if (o->fd >= 0 && bytes > 0) {
        (void)posix_fadvise(o->fd, (off_t)at, (off_t)bytes,
                            POSIX_FADV_WILLNEED);
    }
}
