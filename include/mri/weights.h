/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weights.h - what a checkpoint says about its network, and its tensors.
 *
 * A checkpoint is a safetensors file with both checksums. One text of its
 * metadata, `millrace.state`, is a JSON object; the members that describe the
 * network are written and read here, whoever trains puts its own beside them:
 *
 *     {"schema": "millrace.checkpoint.1", "step": 40, "seed": "7",
 *      "model": {"arch", "channels", "patch", "dim", "depth", "heads",
 *                "image", "drop_path"},
 *      "channel_names": [..] or null, "classes": [..],
 *      "pipeline": "[{\"minmax@1\":..}]" or null, ...}
 */
#ifndef MRI_WEIGHTS_H
#define MRI_WEIGHTS_H

#include <mri/json.h>
#include <mri/safetensors.h>
#include <mri/vit.h>

MRI_BEGIN

#define MRI_STATE_KEY "millrace.state"
/* Where a run keeps its newest checkpoint, within its folder. */
#define MRI_LAST_CHECKPOINT "checkpoints/last.safetensors"

typedef struct mri_weights_info {
    mri_vit vit;
    const char *arch;            /* "vit_tiny"; as the run was configured */
    const char *const *channels; /* [vit.channels]; NULL: not known */
    const char *const *classes;  /* [class_count] */
    uint32_t class_count;
    const char *pipeline; /* of the training, canonical; NULL: none */
    uint64_t step;        /* steps that were made */
    uint64_t seed;        /* that the first weights were drawn from */
} mri_weights_info;

/* The members above, into an object that is open. */
void mri_weights_put(mri_json *j, const mri_weights_info *info);

typedef struct mri_weights mri_weights;

/*
 * Open a checkpoint, or the newest of a run's folder, and prove it.
 *
 * errors  MR_EIO, MR_EFORMAT   no such file; no safetensors file
 *         MR_EFORMAT           somebody else's: without our metadata
 *         MR_EVERSION          written by a newer millrace
 *         MR_ECORRUPT          a checksum, a bound, or a network that cannot be
 */
MR_USE_RESULT mr_err mri_weights_open(mri_weights **out, const char *path,
                                      mr_diag *diag);
void mri_weights_close(mri_weights *w); /* NULL is accepted */

/* All of these live as long as `w`. */
const char *mri_weights_path(const mri_weights *w); /* of the file itself */
const mri_weights_info *mri_weights_info_of(const mri_weights *w);
const char *mri_weights_state(const mri_weights *w); /* the whole JSON text */
const char *mri_weights_hash(const mri_weights *w);  /* of the data, 16 hex */
const mri_st *mri_weights_tensors(const mri_weights *w);

/*
 * One tensor by name, f32, of exactly this shape.
 * errors  MR_ECORRUPT  it is not there, or otherwise: both shapes are named
 */
MR_USE_RESULT mr_err mri_weights_find(const mri_weights *w, const char *name,
                                      uint32_t rank, const uint64_t *shape,
                                      const float **data, mr_diag *diag);

/*
 * Set every parameter of a store from the tensor of its name. `branch`
 * ("student") stands for the first part of the names; NULL: as they are.
 *
 * errors  those of mri_weights_find and mri_params_put
 */
MR_USE_RESULT mr_err mri_weights_load(const mri_weights *w, mri_params *store,
                                      const char *branch, mr_diag *diag);

MRI_END

#endif
