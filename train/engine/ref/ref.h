/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ref.h - what the reference operations share: elements as float64.
 *
 * Written to be read and believed, not to be fast. Each runs on f32 and on
 * f64 tensors; the latter is how gradients are checked by differences.
 */
#ifndef ENGINE_REF_H
#define ENGINE_REF_H

#include <mri/backend.h>

#include <assert.h>
#include <math.h>

static inline double
ref_get(const mr_tensor *t, uint64_t i)
{
    assert(t->dtype == MR_F32 || t->dtype == MR_F64);
    return t->dtype == MR_F32 ? (double)((const float *)t->data)[i]
                              : ((const double *)t->data)[i];
}

static inline void
ref_set(const mr_tensor *t, uint64_t i, double v)
{
    assert(t->dtype == MR_F32 || t->dtype == MR_F64);
    if (t->dtype == MR_F32) {
        ((float *)t->data)[i] = (float)v;
    } else {
        ((double *)t->data)[i] = v;
    }
}

/* For gradients of parameters: set, or add to what is there. */
static inline void
ref_give(const mr_tensor *t, uint64_t i, double v, bool add)
{
    ref_set(t, i, add ? ref_get(t, i) + v : v);
}

static inline double
ref_gelu(double x)
{
    return 0.5 * x * (1.0 + erf(x * 0.70710678118654752440));
}

/* its slope: Phi(x) + x phi(x) */
static inline double
ref_gelu_slope(double x)
{
    return 0.5 * (1.0 + erf(x * 0.70710678118654752440)) +
           x * 0.39894228040143267794 * exp(-0.5 * x * x);
}

mri_linear_fn mri_ref_linear;
mri_linear_dx_fn mri_ref_linear_dx;
mri_linear_dw_fn mri_ref_linear_dw;
mri_wlinear_fn mri_ref_wlinear;
mri_wlinear_back_fn mri_ref_wlinear_back;
mri_norm_fn mri_ref_norm;
mri_norm_back_fn mri_ref_norm_back;
mri_attention_fn mri_ref_attention;
mri_attention_back_fn mri_ref_attention_back;
mri_patchify_fn mri_ref_patchify;
mri_tokens_fn mri_ref_tokens;
mri_tokens_back_fn mri_ref_tokens_back;
mri_mix_fn mri_ref_mix;
mri_pick_fn mri_ref_pick;
mri_pick_back_fn mri_ref_pick_back;
mri_l2norm_fn mri_ref_l2norm;
mri_l2norm_back_fn mri_ref_l2norm_back;
mri_add_fn mri_ref_add;
mri_drop_fn mri_ref_drop;
mri_dino_loss_fn mri_ref_dino_loss;
mri_dino_loss_back_fn mri_ref_dino_loss_back;
mri_center_fn mri_ref_center;
mri_sumsq_fn mri_ref_sumsq;
mri_adamw_fn mri_ref_adamw;

#endif
