/* SPDX-License-Identifier: Apache-2.0 */
/* host.h - memory of back ends whose device is the host itself. */
#ifndef ENGINE_HOST_H
#define ENGINE_HOST_H

#include <mri/backend.h>

mr_err host_alloc(mri_exec *exec, void **out, uint64_t bytes);
void host_free(mri_exec *exec, void *p);
mr_err host_put(mri_exec *exec, void *to, const void *host, uint64_t bytes);
mr_err host_get(mri_exec *exec, void *host, const void *from, uint64_t bytes);
mr_err host_fill(mri_exec *exec, void *to, int byte, uint64_t bytes);
mr_err host_sync(mri_exec *exec);

#endif
