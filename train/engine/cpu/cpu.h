/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.h - the CPU's back end from inside: context, scratch, work by tasks.
 *
 * Every operation cuts its work into tasks by its shapes alone, never by the
 * number of threads, and makes sums of partial sums in task order. So results
 * do not depend on who did what.
 */
#ifndef ENGINE_CPU_H
#define ENGINE_CPU_H

#include "cpu/kernels.h"
#include "cpu/team.h"

#include <mri/backend.h>

#define CPU_SHARED 4 /* buffers that one operation may use at a time */

typedef struct gemm_cache gemm_cache;

typedef struct cpu_exec {
    mri_exec head;
    team *team;
    cpu_kernels k;
    gemm_cache *gemms;
    float **own;      /* [team size] scratch of each thread */
    size_t own_bytes; /* of each */
    float *shared[CPU_SHARED];
    size_t shared_bytes[CPU_SHARED];
} cpu_exec;

extern const mri_backend mri_backend_cpu;

static inline cpu_exec *
cpu_of(mri_exec *exec)
{
    return (cpu_exec *)exec;
}

static inline float *
cpu_f32(const mr_tensor *t)
{
    return t->data;
}

/* Scratch for `floats` elements; contents are lost when it grows. It is asked
 * for before the tasks start, so that they cannot run out of memory. */
MR_USE_RESULT mr_err cpu_own(cpu_exec *e, size_t floats);
MR_USE_RESULT mr_err cpu_share(cpu_exec *e, unsigned which, size_t floats);
uint64_t cpu_scratch_bytes(const cpu_exec *e);

/* ceil(a / b) */
static inline size_t
cpu_parts(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

mri_linear_fn cpu_linear;
mri_linear_dx_fn cpu_linear_dx;
mri_linear_dw_fn cpu_linear_dw;
mri_wlinear_fn cpu_wlinear;
mri_wlinear_back_fn cpu_wlinear_back;
mri_norm_fn cpu_norm;
mri_norm_back_fn cpu_norm_back;
mri_attention_fn cpu_attention;
mri_attention_back_fn cpu_attention_back;
mri_patchify_fn cpu_patchify;
mri_tokens_fn cpu_tokens;
mri_tokens_back_fn cpu_tokens_back;
mri_mix_fn cpu_mix;
mri_pick_fn cpu_pick;
mri_pick_back_fn cpu_pick_back;
mri_l2norm_fn cpu_l2norm;
mri_l2norm_back_fn cpu_l2norm_back;
mri_add_fn cpu_add;
mri_dino_loss_fn cpu_dino_loss;
mri_dino_loss_back_fn cpu_dino_loss_back;
mri_center_fn cpu_center;
mri_sumsq_fn cpu_sumsq;
mri_adamw_fn cpu_adamw_step;

#endif
