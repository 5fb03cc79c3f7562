/* SPDX-License-Identifier: Apache-2.0 */
/* kernels.c - choose the loops for this CPU. */
#include "kernels.h"

#include <mri/cpu.h>

#if defined(__x86_64__)
#define AT_LEVEL(name)                                                         \
    {                                                                          \
        &name##_scalar, &name##_sse2, &name##_avx2, &name##_avx512             \
    }
#else
#define AT_LEVEL(name)                                                         \
    {                                                                          \
        &name##_scalar, &name##_scalar, &name##_scalar, &name##_scalar         \
    }
#endif

const screen_kernel *
screen_kernel_now(void)
{
    static const screen_kernel *const at_level[] = AT_LEVEL(eval_screen);

    return at_level[mri_cpu()];
}

const exact_kernel *
exact_kernel_now(void)
{
    static const exact_kernel *const at_level[] = AT_LEVEL(eval_exact);

    return at_level[mri_cpu()];
}
