/* SPDX-License-Identifier: Apache-2.0 */
/* backend.c - the back ends there are, by name. */
#include <mri/backend.h>

#include "plugin.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef MR_HAVE_DNNL
#include "cpu/cpu.h"
#endif

const char *const mri_backend_names[] = {"ref", "cpu", "cuda", NULL};

mr_err
mri_backend_find(const mri_backend **out, const char *name, const char *lib,
                 mr_diag *diag)
{
    *out = NULL;
    if (strcmp(name, "ref") == 0) {
        *out = &mri_backend_ref;
        return MR_OK;
    }
    if (strcmp(name, "cpu") == 0) {
#ifdef MR_HAVE_DNNL
        *out = &mri_backend_cpu;
        return MR_OK;
#else
        return mri_fail(diag, MRI_E_BACKEND_ABSENT, MR_NOWHERE,
                        "back end cpu is not in this build: oneDNN "
                        "(libdnnl-dev) was not found when it was configured");
#endif
    }
    if (strcmp(name, "cuda") == 0) {
        return plugin_load(out, "cuda", lib, diag);
    }
    return mri_fail(diag, MRI_E_BACKEND_NAME, MR_NOWHERE,
                    "no back end is called '%s' (there are ref, cpu, cuda)",
                    name);
}

mr_err
mri_exec_open(mri_exec **out, const mri_backend *backend,
              const mri_exec_options *options, mr_diag *diag)
{
    *out = NULL;
    return backend->open(out, options, diag);
}

void
mri_exec_close(mri_exec *exec)
{
    if (exec != NULL) {
        exec->backend->close(exec);
    }
}

mr_err
mri_exec_fail(mri_exec *exec, mri_code code, const char *fmt, ...)
{
    char text[sizeof exec->diag.text];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return mri_fail(&exec->diag, code, MR_NOWHERE, "%s", text);
}
