/* SPDX-License-Identifier: Apache-2.0 */
/* kernels.c - the kernels of the level that this CPU has. */
#include "cpu/kernels.h"

cpu_kernels
cpu_kernels_now(void)
{
    static const cpu_gemm_kernels *const gemm[] = MRI_LEVELS(&cpu_gemm);
    static const cpu_norm_kernels *const norm[] = MRI_LEVELS(&cpu_norm);
    static const cpu_exp_kernels *const exp[] = MRI_LEVELS(&cpu_exp);
    static const cpu_arena_kernels *const arena[] = MRI_LEVELS(&cpu_arena);
    mri_level level = mri_cpu();

    return (cpu_kernels){*gemm[level], *norm[level], *exp[level],
                         *arena[level]};
}
