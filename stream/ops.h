/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ops.h - what op_table.c names of op_fit.c and op_decide.c.
 */
#ifndef MRI_STREAM_OPS_H
#define MRI_STREAM_OPS_H

#include "op.h"

mri_fit_fn mri_fit_any, mri_fit_select, mri_fit_crop, mri_fit_rrc,
    mri_fit_multi, mri_fit_resize, mri_fit_blur, mri_fit_normalize,
    mri_fit_crop3d, mri_fit_to;
mri_decide_fn mri_decide_select, mri_decide_minmax, mri_decide_crop,
    mri_decide_rrc, mri_decide_multi, mri_decide_resize, mri_decide_flip,
    mri_decide_brightness, mri_decide_blur, mri_decide_solarize,
    mri_decide_normalize, mri_decide_crop3d, mri_decide_to;

#endif
