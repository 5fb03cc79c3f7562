/* SPDX-License-Identifier: Apache-2.0 */
/* ref.c - the reference back end: one thread, float64 inside. */
#include "ref/ref.h"

#include "host.h"

#include <mri/alloc.h>

#include <stdio.h>

static mr_err
ref_open(mri_exec **out, const mri_exec_options *options, mr_diag *diag)
{
    mri_exec *exec = mri_alloc(1, sizeof *exec);

    (void)options;
    *out = NULL;
    if (exec == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a back end");
    }
    exec->backend = &mri_backend_ref;
    *out = exec;
    return MR_OK;
}

static void
ref_close(mri_exec *exec)
{
    mri_free(exec);
}

static bool
ref_computes(mr_dtype dtype)
{
    return dtype == MR_F32 || dtype == MR_F64;
}

static void
ref_info(const mri_exec *exec, mri_device_info *out)
{
    (void)exec;
    *out = (mri_device_info){.threads = 1};
    (void)snprintf(out->name, sizeof out->name, "float64 reference");
}

static const mri_ops ref_ops = {
    .linear = mri_ref_linear,
    .linear_dx = mri_ref_linear_dx,
    .linear_dw = mri_ref_linear_dw,
    .wlinear = mri_ref_wlinear,
    .wlinear_back = mri_ref_wlinear_back,
    .norm = mri_ref_norm,
    .norm_back = mri_ref_norm_back,
    .attention = mri_ref_attention,
    .attention_back = mri_ref_attention_back,
    .patchify = mri_ref_patchify,
    .tokens = mri_ref_tokens,
    .tokens_back = mri_ref_tokens_back,
    .mix = mri_ref_mix,
    .pick = mri_ref_pick,
    .pick_back = mri_ref_pick_back,
    .l2norm = mri_ref_l2norm,
    .l2norm_back = mri_ref_l2norm_back,
    .add = mri_ref_add,
    .drop = mri_ref_drop,
    .dino_loss = mri_ref_dino_loss,
    .dino_loss_back = mri_ref_dino_loss_back,
    .center = mri_ref_center,
    .sumsq = mri_ref_sumsq,
    .adamw = mri_ref_adamw,
};

const mri_backend mri_backend_ref = {
    .version = MRI_BACKEND_VERSION,
    .bytes = sizeof(mri_backend),
    .ops_bytes = sizeof(mri_ops),
    .host = true,
    .name = "ref",
    .ops = &ref_ops,
    .open = ref_open,
    .close = ref_close,
    .computes = ref_computes,
    .info = ref_info,
    .alloc = host_alloc,
    .free = host_free,
    .put = host_put,
    .get = host_get,
    .fill = host_fill,
    .sync = host_sync,
};
