/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module.c - the one door of the module, and its tables.
 *
 * The program opens libmillrace_cuda.so only when somebody asks for a GPU, and
 * hands it what it needs of the house (backend.h).
 */
#include "cuda.h"

mri_host cuda_host;

static bool
cuda_computes(mr_dtype dtype)
{
    return dtype == MR_F32;
}

static const mri_ops ops = {
    .linear = cuda_linear,
    .linear_dx = cuda_linear_dx,
    .linear_dw = cuda_linear_dw,
    .wlinear = cuda_wlinear,
    .wlinear_back = cuda_wlinear_back,
    .norm = cuda_norm,
    .norm_back = cuda_norm_back,
    .attention = cuda_attention,
    .attention_back = cuda_attention_back,
    .patchify = cuda_patchify,
    .tokens = cuda_tokens,
    .tokens_back = cuda_tokens_back,
    .mix = cuda_mix,
    .pick = cuda_pick,
    .pick_back = cuda_pick_back,
    .l2norm = cuda_l2norm,
    .l2norm_back = cuda_l2norm_back,
    .add = cuda_add,
    .drop = cuda_drop,
    .dino_loss = cuda_dino_loss,
    .dino_loss_back = cuda_dino_loss_back,
    .center = cuda_center,
    .sumsq = cuda_sumsq,
    .adamw = cuda_adamw,
};

const mri_backend cuda_backend = {
    .version = MRI_BACKEND_VERSION,
    .bytes = sizeof(mri_backend),
    .ops_bytes = sizeof(mri_ops),
    .host = false,
    .name = "cuda",
    .ops = &ops,
    .open = cuda_open,
    .close = cuda_close,
    .computes = cuda_computes,
    .info = cuda_info,
    .alloc = cuda_alloc,
    .free = cuda_free,
    .put = cuda_put,
    .get = cuda_get,
    .fill = cuda_fill,
    .sync = cuda_sync,
};

__attribute__((visibility("default"))) mri_backend_v1_fn mri_backend_v1;

const mri_backend *
mri_backend_v1(const mri_host *host, mr_diag *diag)
{
    if (host->version != MRI_BACKEND_VERSION || host->bytes != sizeof *host) {
        return NULL; /* its fail may not be where we think */
    }
    if (host->backend_bytes != sizeof(mri_backend) ||
        host->ops_bytes != sizeof(mri_ops)) {
        (void)host->fail(diag, MRI_E_BACKEND_VERSION, MR_NOWHERE,
                         "the CUDA module is of another version of millrace "
                         "(tables of %zu and %zu bytes; the program's have %u "
                         "and %u)",
                         sizeof(mri_backend), sizeof(mri_ops),
                         host->backend_bytes, host->ops_bytes);
        return NULL;
    }
    cuda_host = *host;
    return &cuda_backend;
}
