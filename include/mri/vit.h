/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vit.h - the vision transformer of DINO, and an encoder made of it.
 *
 * A patch embedding, a class token, learned positions (bicubically resized
 * for pictures of another size), pre-norm blocks of attention and MLP, a last
 * norm; the features are the class token's. Parameters are called as in the
 * original's state dict.
 * source  facebookresearch/dino; docs/design.md says what is done otherwise:
 *         the last block's MLP is computed for the class token alone
 */
#ifndef MRI_VIT_H
#define MRI_VIT_H

#include <mri/crew.h>

MRI_BEGIN

typedef struct mri_vit {
    uint32_t channels, patch;
    uint32_t dim, depth, heads;
    uint32_t image;   /* side for which positions are learned, pixels */
    double drop_path; /* of the last block; from 0 at the first, linearly */
} mri_vit;

/* vit_tiny, vit_small or vit_base: sets dim, depth, heads, patch 16, image
 * 224. False if there is no such name. */
bool mri_vit_named(mri_vit *v, const char *name);
/* errors  MR_EARG  naming the member that cannot be */
MR_USE_RESULT mr_err mri_vit_check(const mri_vit *v, mr_diag *diag);

/* Pictures of one size. shape  images [count, channels, side, side] */
typedef struct mri_vit_group {
    mri_val images;
    uint32_t count, views, side;
} mri_vit_group;

/*
 * Add the network to a graph, its parameters under the current scope.
 *
 * shape   result [pictures of all groups, dim]
 * owner   clock: an input as mri_g_drop takes it, or none: no drop-path
 */
mri_val mri_vit_build(mri_graph *g, const mri_vit *v,
                      const mri_vit_group *groups, uint32_t count,
                      mri_val clock);

/*
 * The matrix that turns learned positions [1 + from^2] into [1 + to^2]: the
 * first, the class token's, is kept; the others are resized bicubically (a =
 * -0.75, half-pixel centres, no antialias) with the scale (to + 0.1) / from,
 * as the original does.
 *
 * shape   out [1 + to^2, 1 + from^2]
 */
void mri_vit_positions(double *out, uint32_t from, uint32_t to);

/* ------------------------------------------------------------- encoder */

typedef struct mri_encoder mri_encoder;

/*
 * A network for features alone: pictures in, class tokens out. Its parameters
 * are called teacher.backbone.*, as in a checkpoint; they are zero until drawn
 * or put.
 *
 * units   side: of the pictures, a multiple of the patch; batch: how many it
 *         takes at once
 * errors  MR_EARG, MR_ENOMEM, MR_EDEVICE
 */
MR_USE_RESULT mr_err mri_encoder_open(mri_encoder **out, const mri_vit *v,
                                      uint32_t side, uint32_t batch,
                                      const mri_crew_options *options,
                                      mr_diag *diag);
void mri_encoder_close(mri_encoder *e);
/* Its parameters: names, shapes, values. */
mri_params *mri_encoder_store(mri_encoder *e);

/*
 * shape   images [count, channels, side, side], any count
 *         out [count, dim]
 */
MR_USE_RESULT mr_err mri_encoder_run(mri_encoder *e, const float *images,
                                     uint64_t count, float *out, mr_diag *diag);

MRI_END

#endif
