/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value.h - one element of any type as a number, for pictures.
 */
#ifndef MRI_VALUE_H
#define MRI_VALUE_H

#include <millrace/tensor.h>
#include <mri/half.h>

static inline double
mri_value_at(mr_dtype dtype, const void *p, uint64_t i)
{
    switch (dtype) {
    case MR_U8:
        return ((const uint8_t *)p)[i];
    case MR_I8:
        return ((const int8_t *)p)[i];
    case MR_U16:
        return ((const uint16_t *)p)[i];
    case MR_I16:
        return ((const int16_t *)p)[i];
    case MR_U32:
        return ((const uint32_t *)p)[i];
    case MR_I32:
        return ((const int32_t *)p)[i];
    case MR_U64:
        return (double)((const uint64_t *)p)[i];
    case MR_I64:
        return (double)((const int64_t *)p)[i];
    case MR_F32:
        return (double)((const float *)p)[i];
    case MR_F64:
        return ((const double *)p)[i];
    case MR_F16:
        return (double)mri_f16_to_f32(((const uint16_t *)p)[i]);
    case MR_BF16:
        return (double)mri_bf16_to_f32(((const uint16_t *)p)[i]);
    default:
        return 0;
    }
}

#endif
