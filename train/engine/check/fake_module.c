/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_module.c - a back end's module as the loader meets it: for tests of the
 * loader, and the shortest example of one.
 *
 * FAKE 0: good. 1: tables of another version. 2: refuses, with a reason.
 */
#include <mri/backend.h>

static mri_host host; /* nothing else of the program is known here */

static mr_err
fake_open(mri_exec **out, const mri_exec_options *options, mr_diag *diag)
{
    (void)options;
    *out = NULL;
    return host.fail(diag, MRI_E_BACKEND_ABSENT, MR_NOWHERE,
                     "no device was found");
}

static const mri_ops ops;

static const mri_backend backend = {
    .version = MRI_BACKEND_VERSION + (FAKE == 1),
    .bytes = sizeof(mri_backend),
    .ops_bytes = sizeof(mri_ops),
    .name = "cuda",
    .ops = &ops,
    .open = fake_open,
};

__attribute__((visibility("default"))) mri_backend_v1_fn mri_backend_v1;

const mri_backend *
mri_backend_v1(const mri_host *program, mr_diag *diag)
{
    if (program->version != MRI_BACKEND_VERSION ||
        program->bytes != sizeof(mri_host)) {
        return NULL;
    }
    host = *program;
    if (FAKE == 2) {
        (void)host.fail(diag, MRI_E_BACKEND_ABSENT, MR_NOWHERE,
                        "libcublasLt.so.13 is missing");
        return NULL;
    }
    return &backend;
}
