/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tensor.h - element types and a plain view of an n-d array.
 */
#ifndef MILLRACE_TENSOR_H
#define MILLRACE_TENSOR_H

#include <millrace/base.h>

MR_BEGIN

#define MR_MAX_RANK 8

/* These numbers stand on disk and on the wire. */
typedef enum mr_dtype {
    MR_NONE = 0,
    MR_U8 = 1,
    MR_I8 = 2,
    MR_U16 = 3,
    MR_I16 = 4,
    MR_U32 = 5,
    MR_I32 = 6,
    MR_U64 = 7,
    MR_I64 = 8,
    MR_F16 = 9,
    MR_BF16 = 10,
    MR_F32 = 11,
    MR_F64 = 12
} mr_dtype;

/* Bytes of one element; 0 for a number that is no type. */
MR_API size_t mr_dtype_bytes(mr_dtype dtype);
/* "u8" "i8" ... "f64"; "?" for a number that is no type. */
MR_API const char *mr_dtype_name(mr_dtype dtype);
/* The reverse; MR_NONE for a name that is no type. */
MR_API mr_dtype mr_dtype_named(const char *name);

/*
 * A view: values only, owns nothing. Row-major unless stride says otherwise.
 *
 * shape   [rank], elements
 * stride  [rank], elements; the last is 1 in everything that millrace returns
 * owner   data belongs to whoever made the view
 */
typedef struct mr_tensor {
    void *data;
    mr_dtype dtype;
    uint32_t rank;
    uint64_t shape[MR_MAX_RANK];
    int64_t stride[MR_MAX_RANK];
} mr_tensor;

/* A row-major view of `data`; rank <= MR_MAX_RANK. */
MR_API mr_tensor mr_tensor_of(void *data, mr_dtype dtype, uint32_t rank,
                              const uint64_t *shape);
/* Elements; 1 for rank 0. */
MR_API uint64_t mr_tensor_len(const mr_tensor *t);
/* Bytes of a row-major tensor of this shape. */
MR_API uint64_t mr_tensor_bytes(const mr_tensor *t);

MR_END

#endif
