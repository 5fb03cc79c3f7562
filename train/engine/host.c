/* SPDX-License-Identifier: Apache-2.0 */
/* host.c - memory of back ends whose device is the host itself. */
#include "host.h"

#include <mri/alloc.h>

#include <inttypes.h>
#include <string.h>

mr_err
host_alloc(mri_exec *exec, void **out, uint64_t bytes)
{
    *out = bytes <= SIZE_MAX ? mri_alloc_pixels((size_t)bytes, 1) : NULL;
    if (*out == NULL) {
        return mri_exec_fail(exec, MRI_E_MEMORY,
                             "no memory for %" PRIu64 " bytes", bytes);
    }
    return MR_OK;
}

void
host_free(mri_exec *exec, void *p)
{
    (void)exec;
    mri_free(p);
}

mr_err
host_put(mri_exec *exec, void *to, const void *host, uint64_t bytes)
{
    (void)exec;
    memmove(to, host, (size_t)bytes);
    return MR_OK;
}

mr_err
host_get(mri_exec *exec, void *host, const void *from, uint64_t bytes)
{
    (void)exec;
    memmove(host, from, (size_t)bytes);
    return MR_OK;
}

mr_err
host_fill(mri_exec *exec, void *to, int byte, uint64_t bytes)
{
    (void)exec;
    memset(to, byte, (size_t)bytes);
    return MR_OK;
}

mr_err
host_sync(mri_exec *exec)
{
    (void)exec;
    return MR_OK;
}
