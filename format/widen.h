/* SPDX-License-Identifier: Apache-2.0 */
/*
 * widen.h - stored values as f32, scaled on the way.
 */
#ifndef MRI_WIDEN_H
#define MRI_WIDEN_H

#include "scale.h"
#include "shuffle.h"

#include <millrace/tensor.h>

/*
 * Row by row: to[i] = (float)(from[i] * slope + inter), in f64 and rounded
 * once; without a scale (float)from[i]. NaN stays NaN.
 *
 * shape   rows->n values in each of rows->rows; `to` is f32, `from` of dtype,
 *         both aligned to their elements; rows->plane is not used
 */
void mri_widen_rows(const mri_plane_rows *rows, mr_dtype dtype,
                    const mri_scale *scale);

#endif
