/* SPDX-License-Identifier: Apache-2.0 */
/* dino_inner.h - what dino.c and dino_graph.c share. */
#ifndef MODEL_DINO_INNER_H
#define MODEL_DINO_INNER_H

#include <mri/dino.h>

/* The graph of c->batch samples of a step that has `total` of them. */
MR_USE_RESULT mr_err dino_build_part(mri_graph *g, const mri_dino_config *c,
                                     uint32_t total, mr_diag *diag);

#endif
