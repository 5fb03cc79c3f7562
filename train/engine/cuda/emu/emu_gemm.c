/* SPDX-License-Identifier: Apache-2.0 */
/* emu_gemm.c - where cuBLASLt is not: every product by the own kernel. */
#include "cuda.h"

#include <stdio.h>

struct cuda_gemms {
    char nothing;
};

mr_err
cuda_gemms_open(cuda_gemms **out, cuda_exec *e)
{
    *out = cuda_host.alloc(1, sizeof **out);
    return *out != NULL
               ? MR_OK
               : cuda_fail(e, MRI_E_MEMORY, "no memory for a back end");
}

void
cuda_gemms_close(cuda_gemms *g)
{
    cuda_host.free(g);
}

uint64_t
cuda_gemms_bytes(const cuda_gemms *g)
{
    (void)g;
    return 0;
}

void
cuda_gemms_name(char *out, size_t bytes)
{
    (void)snprintf(out, bytes, "own products");
}

mr_err
cuda_multiply(cuda_exec *e, const cuda_product *p)
{
    return p->m == 0 || p->n == 0 ? MR_OK : cuda_multiply_own(e, p);
}
