/* SPDX-License-Identifier: Apache-2.0 */
/* widen.c - choose the loop for this CPU. */
#include "widen.h"

#include "widen_simd.h"

#include <mri/cpu.h>

void
mri_widen_rows(const mri_plane_rows *rows, mr_dtype dtype,
               const mri_scale *scale)
{
    static mri_widen_fn *const at_level[] = MRI_LEVELS(mri_widen_at);

    at_level[mri_cpu()](rows, dtype, scale);
}
