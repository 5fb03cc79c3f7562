/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dino.h - self-distillation without labels: student, teacher, one step.
 *
 * The student sees all crops of a picture, the teacher the global ones; the
 * student learns to give what the teacher gives for another crop. The teacher
 * is a moving average of the student.
 * source  facebookresearch/dino, main_dino.py; what each number means:
 *         docs/design.md
 */
#ifndef MRI_DINO_H
#define MRI_DINO_H

#include <mri/optim.h>
#include <mri/vit.h>

MRI_BEGIN

typedef struct mri_dino_config {
    mri_vit vit; /* image is the side of the global crops */
    uint32_t head_hidden, bottleneck, out_dim;
    bool norm_last_layer; /* the gain of the last layer stays 1 */
    uint32_t local_size, local_count;
    uint32_t batch; /* samples of a step on this process */
    uint32_t total; /* samples of a step on all; 0: batch */
    double student_temperature, center_keep;
    mri_adamw_options adamw;
} mri_dino_config;

/* The published run's values, vit_small, 5 channels, batch 30. */
mri_dino_config mri_dino_defaults(void);
/* errors  MR_EARG  naming the member that cannot be */
MR_USE_RESULT mr_err mri_dino_check(const mri_dino_config *c, mr_diag *diag);

/* ------------------------------------------------------------- schedules */

typedef struct mri_dino_schedule {
    double lr, min_lr; /* lr: for 256 samples a step; scaled by `total` */
    double decay, decay_end;
    double momentum; /* of the teacher; rises to 1 */
    double temperature, temperature_begin;
    uint64_t steps, epoch;       /* of the run; in an epoch */
    uint64_t warmup;             /* steps in which lr rises from 0 */
    uint64_t freeze;             /* steps without training the last layer */
    uint64_t temperature_warmup; /* epochs: it is constant in each */
    uint32_t total;              /* samples of a step on all */
} mri_dino_schedule;

/* The published run's: 101 epochs, the warm-up 10 of them. `epoch` steps. */
mri_dino_schedule mri_dino_schedule_defaults(uint64_t epoch, uint32_t total);

typedef struct mri_dino_rates {
    double lr, decay, momentum, temperature;
    bool freeze; /* the last layer is not trained yet */
} mri_dino_rates;

/* 0 <= step < steps */
mri_dino_rates mri_dino_rates_at(const mri_dino_schedule *s, uint64_t step);

/* --------------------------------------------------------------- training */

typedef struct mri_dino mri_dino;

/*
 * Build it: graphs, memory, threads. options->parts cuts the batch, of which
 * it must be a divisor. Nothing is set yet: init, or put every tensor.
 *
 * errors  MR_EARG, MR_ENOMEM, MR_EDEVICE
 */
MR_USE_RESULT mr_err mri_dino_open(mri_dino **out, const mri_dino_config *c,
                                   const mri_crew_options *options,
                                   mr_diag *diag);
void mri_dino_close(mri_dino *d);
MR_USE_RESULT mr_err mri_dino_init(mri_dino *d, uint64_t seed, mr_diag *diag);

typedef struct mri_dino_batch {
    const float *global; /* [batch, 2, channels, image, image] */
    const float *local;  /* [batch, local_count, channels, local, local] */
    uint64_t seed, step; /* what drop-path draws from */
    uint32_t first;      /* number of the first sample in the whole step */
} mri_dino_batch;

/*
 * One step: forward, reverse, AdamW, teacher, center.
 *
 * owner   loss: this process's share, the whole if batch is total
 *         norms [mri_dino_trained]: of each gradient before it was clipped;
 *         may be NULL
 * errors  MR_ECORRUPT  the loss is no number: names the operation that made
 *                      the first such value. Nothing was changed
 *         MR_EDEVICE, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_dino_step(mri_dino *d, const mri_dino_batch *batch,
                                   const mri_dino_rates *rates, double *loss,
                                   float *norms, mr_diag *diag);
/* Loss alone; nothing is changed. */
MR_USE_RESULT mr_err mri_dino_loss(mri_dino *d, const mri_dino_batch *batch,
                                   double temperature, double *loss,
                                   mr_diag *diag);

/* Features of pictures of the global crops' size, by the teacher.
 * shape  images [count, channels, image, image]  out [count, dim] */
MR_USE_RESULT mr_err mri_dino_features(mri_dino *d, const float *images,
                                       uint64_t count, float *out,
                                       mr_diag *diag);

/* ------------------------------------------------------------------ state */

/*
 * All that a step reads and changes, for checkpoints: student.*, teacher.*,
 * adam_m.*, adam_v.*, center; f32, row-major.
 */
typedef struct mri_dino_tensor {
    const char *name;
    uint32_t rank;
    uint64_t shape[MR_MAX_RANK];
    uint64_t bytes;
} mri_dino_tensor;
size_t mri_dino_tensors(const mri_dino *d);
mri_dino_tensor mri_dino_tensor_at(const mri_dino *d, size_t i);
MR_USE_RESULT mr_err mri_dino_get(const mri_dino *d, size_t i, void *host,
                                  mr_diag *diag);
MR_USE_RESULT mr_err mri_dino_put(mri_dino *d, size_t i, const void *host,
                                  mr_diag *diag);
/* Steps that the optimiser made with most tensors, and with those of the last
 * layer, which begin later. */
typedef struct mri_dino_counts {
    uint64_t steps, last_layer;
} mri_dino_counts;
mri_dino_counts mri_dino_counts_get(const mri_dino *d);
void mri_dino_counts_set(mri_dino *d, mri_dino_counts counts);

/* Trained tensors, in the order of `norms`. */
size_t mri_dino_trained(const mri_dino *d);
const char *mri_dino_trained_name(const mri_dino *d, size_t i);
/* Copy the gradient of the last step, or NULL memory before one. */
MR_USE_RESULT mr_err mri_dino_grad(const mri_dino *d, size_t i, void *host,
                                   uint64_t bytes, mr_diag *diag);

/* What a step costs. */
typedef struct mri_dino_costs {
    uint64_t params; /* of the student, elements */
    uint64_t weights, optimiser, gradients, activations; /* bytes */
    double flops;                                        /* of a step */
} mri_dino_costs;
mri_dino_costs mri_dino_costs_of(const mri_dino *d);

/* For times of single operations (lane.h). */
mri_crew *mri_dino_crew(mri_dino *d);

/*
 * The training graph of one part alone, for checks: inputs global, local,
 * clock, temperature; sums loss, teacher_sum. Ends the graph.
 */
MR_USE_RESULT mr_err mri_dino_build(mri_graph *g, const mri_dino_config *c,
                                    mr_diag *diag);

MRI_END

#endif
