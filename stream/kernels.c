/* SPDX-License-Identifier: Apache-2.0 */
/* kernels.c - choose the loops for this CPU. */
#include "kernels.h"

#include <mri/cpu.h>

const mri_kernels *
mri_kernels_now(void)
{
#if defined(__x86_64__)
    static const mri_kernels *const at_level[] = {
        &mri_kernels_scalar, &mri_kernels_sse2, &mri_kernels_avx2,
        &mri_kernels_avx512};

    return at_level[mri_cpu()];
#else
    return &mri_kernels_scalar;
#endif
}
