/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.c - the CPU's back end: its context and its table. */
#include "cpu/cpu.h"

#include "cpu/gemm.h"
#include "host.h"
#include "ref/ref.h"

#include <mri/alloc.h>

#include <stdio.h>
#include <string.h>

static void
cpu_close(mri_exec *exec)
{
    cpu_exec *e = cpu_of(exec);

    if (e == NULL) {
        return;
    }
    for (unsigned i = 0; e->own != NULL && i < team_size(e->team); i++) {
        mri_free(e->own[i]);
    }
    for (unsigned i = 0; i < CPU_SHARED; i++) {
        mri_free(e->shared[i]);
    }
    mri_free(e->own);
    gemm_cache_close(e->gemms);
    team_close(e->team);
    mri_free(e);
}

static mr_err
cpu_open(mri_exec **out, const mri_exec_options *options, mr_diag *diag)
{
    unsigned threads =
        options->threads != 0 ? options->threads : mri_cpu_count();
    cpu_exec *e = mri_alloc(1, sizeof *e);
    mr_err err;

    *out = NULL;
    if (e == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a back end");
    }
    e->head.backend = &mri_backend_cpu;
    e->k = cpu_kernels_now();
    err = team_open(&e->team, threads, diag);
    if (err == MR_OK) {
        err = gemm_cache_open(&e->gemms, threads, diag);
    }
    if (err == MR_OK) {
        e->own = mri_alloc(threads, sizeof *e->own);
        if (e->own == NULL) {
            err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                           "no memory for a back end");
        }
    }
    if (err != MR_OK) {
        cpu_close(&e->head);
        return err;
    }
    *out = &e->head;
    return MR_OK;
}

static bool
cpu_computes(mr_dtype dtype)
{
    return dtype == MR_F32;
}

static void
cpu_info(const mri_exec *exec, mri_device_info *out)
{
    const cpu_exec *e = (const cpu_exec *)exec;

    *out = (mri_device_info){.threads = team_size(e->team),
                             .scratch = cpu_scratch_bytes(e)};
    (void)snprintf(out->name, sizeof out->name, "%s, %s, %s", mri_cpu_model(),
                   mri_cpu_name(mri_cpu()), gemm_library());
}

/* --------------------------------------------------------------- scratch */

/* Room for `bytes`, a little more than asked for so that it settles. */
static mr_err
grow(cpu_exec *e, float **p, size_t bytes)
{
    mri_free(*p);
    *p = mri_alloc_pixels(bytes, 1);
    if (*p == NULL) {
        return mri_exec_fail(&e->head, MRI_E_MEMORY,
                             "no memory for %zu bytes of scratch", bytes);
    }
    return MR_OK;
}

mr_err
cpu_own(cpu_exec *e, size_t floats)
{
    size_t bytes = floats * sizeof(float);
    mr_err err = MR_OK;

    if (bytes <= e->own_bytes) {
        return MR_OK;
    }
    e->own_bytes = 0;
    for (unsigned i = 0; err == MR_OK && i < team_size(e->team); i++) {
        err = grow(e, &e->own[i], bytes);
    }
    e->own_bytes = err == MR_OK ? bytes : 0;
    return err;
}

mr_err
cpu_share(cpu_exec *e, unsigned which, size_t floats)
{
    size_t bytes = floats * sizeof(float);
    mr_err err;

    if (bytes <= e->shared_bytes[which]) {
        return MR_OK;
    }
    err = grow(e, &e->shared[which], bytes);
    e->shared_bytes[which] = err == MR_OK ? bytes : 0;
    return err;
}

uint64_t
cpu_scratch_bytes(const cpu_exec *e)
{
    uint64_t sum = (uint64_t)e->own_bytes * team_size(e->team);

    for (unsigned i = 0; i < CPU_SHARED; i++) {
        sum += e->shared_bytes[i];
    }
    return sum;
}

/* ----------------------------------------------------------------- table */

/* A handful of draws a step: the reference's is fast enough. */
static const mri_ops cpu_ops = {
    .linear = cpu_linear,
    .linear_dx = cpu_linear_dx,
    .linear_dw = cpu_linear_dw,
    .wlinear = cpu_wlinear,
    .wlinear_back = cpu_wlinear_back,
    .norm = cpu_norm,
    .norm_back = cpu_norm_back,
    .attention = cpu_attention,
    .attention_back = cpu_attention_back,
    .patchify = cpu_patchify,
    .tokens = cpu_tokens,
    .tokens_back = cpu_tokens_back,
    .mix = cpu_mix,
    .pick = cpu_pick,
    .pick_back = cpu_pick_back,
    .l2norm = cpu_l2norm,
    .l2norm_back = cpu_l2norm_back,
    .add = cpu_add,
    .drop = mri_ref_drop,
    .dino_loss = cpu_dino_loss,
    .dino_loss_back = cpu_dino_loss_back,
    .center = cpu_center,
    .sumsq = cpu_sumsq,
    .adamw = cpu_adamw_step,
};

const mri_backend mri_backend_cpu = {
    .version = MRI_BACKEND_VERSION,
    .bytes = sizeof(mri_backend),
    .ops_bytes = sizeof(mri_ops),
    .host = true,
    .name = "cpu",
    .ops = &cpu_ops,
    .open = cpu_open,
    .close = cpu_close,
    .computes = cpu_computes,
    .info = cpu_info,
    .alloc = host_alloc,
    .free = host_free,
    .put = host_put,
    .get = host_get,
    .fill = host_fill,
    .sync = host_sync,
};
