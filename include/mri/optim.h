/* SPDX-License-Identifier: Apache-2.0 */
/*
 * optim.h - AdamW over a store's trained parameters, each clipped by itself,
 * with the shadows following as a moving average.
 *
 * Weight decay is for tensors of more than one dimension that are not called
 * bias. A tensor counts its own steps, so that one which was frozen for a
 * while starts as a new one does.
 */
#ifndef MRI_OPTIM_H
#define MRI_OPTIM_H

#include <mri/lane.h>

MRI_BEGIN

typedef struct mri_optim mri_optim;

typedef struct mri_adamw_options {
    double beta1, beta2, eps;
    double clip; /* largest norm of a tensor's gradient; 0: any */
} mri_adamw_options;

/* 0.9, 0.999, 1e-8, 3 */
mri_adamw_options mri_adamw_defaults(void);

/* Store and exec must outlive it. errors  MR_ENOMEM */
MR_USE_RESULT mr_err mri_optim_open(mri_optim **out, const mri_params *store,
                                    mri_exec *exec,
                                    const mri_adamw_options *options,
                                    mr_diag *diag);
void mri_optim_close(mri_optim *o);

typedef struct mri_step_rates {
    double lr;
    double decay;       /* weight decay, before it is multiplied by lr */
    double keep;        /* share of itself that a shadow keeps */
    const char *frozen; /* tensors with this in their names are left, or NULL */
} mri_step_rates;

/*
 * One step.
 *
 * grads   device memory as mri_lane_run fills it; not changed
 */
MR_USE_RESULT mr_err mri_optim_step(mri_optim *o, const void *grads,
                                    const mri_step_rates *rates, mr_diag *diag);

/* Trained tensors; i counts these alone. `at` is its index in the store. */
size_t mri_optim_count(const mri_optim *o);
size_t mri_optim_at(const mri_optim *o, size_t i);
/* Norm of its gradient in the last step, before it was clipped. */
MR_USE_RESULT mr_err mri_optim_norms(const mri_optim *o, float *out,
                                     mr_diag *diag);

/* State, for checkpoints: mean and square of each tensor as views of device
 * memory, its number of steps. */
mr_tensor mri_optim_mean(const mri_optim *o, size_t i);
mr_tensor mri_optim_square(const mri_optim *o, size_t i);
uint64_t mri_optim_steps(const mri_optim *o, size_t i);
void mri_optim_set_steps(mri_optim *o, size_t i, uint64_t steps);
/* Bytes of device memory. */
uint64_t mri_optim_bytes(const mri_optim *o);

MRI_END

#endif
