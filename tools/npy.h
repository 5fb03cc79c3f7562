/* SPDX-License-Identifier: Apache-2.0 */
/*
 * npy.h - an array as NumPy's .npy file, version 1.0.
 */
#ifndef MRI_NPY_H
#define MRI_NPY_H

#include <mri/bytes.h>

#include <millrace/tensor.h>

/*
 * The header; the row-major bytes of the array follow it. bf16 has no name
 * there and is written as u16 ('<u2'). False: no memory.
 */
bool mri_npy_header(mri_bytes *out, mr_dtype dtype, const uint64_t *shape,
                    uint32_t rank);

#endif
