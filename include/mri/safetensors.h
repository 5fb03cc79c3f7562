/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safetensors.h - tensors with names and a map of texts, in one file that any
 * safetensors reader opens.
 *
 * We add two checksums to the metadata: `millrace.xxh3.data` over the bytes
 * after the header, `millrace.xxh3.header` over the header with its own 16
 * digits as '0'. Files without them are read, and said to be unchecked.
 * source  the safetensors format page (header u64, JSON, data; no holes)
 */
#ifndef MRI_SAFETENSORS_H
#define MRI_SAFETENSORS_H

#include <millrace/tensor.h>
#include <mri/door.h>

MRI_BEGIN

typedef struct mri_st_item {
    const char *name;
    mr_dtype dtype;
    uint32_t rank;
    uint64_t shape[MR_MAX_RANK];
    const void *data; /* row-major, bytes as the shape says */
} mri_st_item;

typedef struct mri_st_meta {
    const char *key, *value;
} mri_st_meta;

/*
 * Write all of it, atomically (mri_file_put). Tensors are laid out in the
 * order given; equal input gives equal bytes.
 */
MR_USE_RESULT mr_err mri_st_write(const char *path, const mri_st_item *items,
                                  size_t count, const mri_st_meta *meta,
                                  size_t meta_count, mr_diag *diag);

/* A file that is open: mapped, header parsed, bounds and sums checked. */
typedef struct mri_st mri_st;

/*
 * errors  MR_EIO, MR_EFORMAT (no safetensors file), MR_ECORRUPT (a hole, an
 *         overlap, a bound or a checksum), MR_ELIMIT (header over 100 MB)
 */
MR_USE_RESULT mr_err mri_st_open(mri_st **out, const char *path, mr_diag *diag);
/* The same over bytes in memory, which must outlive it. */
MR_USE_RESULT mr_err mri_st_parse(mri_st **out, const void *p, size_t bytes,
                                  mr_diag *diag);
void mri_st_close(mri_st *st);

bool mri_st_checked(const mri_st *st); /* it carried our checksums */
size_t mri_st_count(const mri_st *st);
const mri_st_item *mri_st_at(const mri_st *st, size_t i); /* by offset */
const mri_st_item *mri_st_find(const mri_st *st, const char *name);
const char *mri_st_meta_get(const mri_st *st, const char *key);
size_t mri_st_meta_count(const mri_st *st);
mri_st_meta mri_st_meta_at(const mri_st *st, size_t i);

MRI_END

#endif
