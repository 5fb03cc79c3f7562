/* SPDX-License-Identifier: Apache-2.0 */
/*
 * st_types.h - the names that safetensors gives to element types.
 */
#ifndef MRI_ST_TYPES_H
#define MRI_ST_TYPES_H

#include <millrace/tensor.h>

/* "F32", or NULL for a type that has no name there. */
const char *mri_st_type_name(mr_dtype dtype);
/* MR_NONE for a name that is not ours (BOOL, F8_E4M3 ...). */
mr_dtype mri_st_type_named(const char *name);

#endif
