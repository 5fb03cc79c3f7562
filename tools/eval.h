/* SPDX-License-Identifier: Apache-2.0 */
/* eval.h - the kinds of evaluation, a function each, as verbs are. */
#ifndef TOOLS_EVAL_H
#define TOOLS_EVAL_H

#include "cli.h"

#include <mri/features.h>

mri_verb_fn mri_eval_features, mri_eval_knn, mri_eval_plot;

/* "vit_tiny after 300 steps", "vit_tiny, untrained (seed 7)"; in a buffer of
 * the thread. */
const char *mri_eval_origin(const mri_feature_origin *from);

#endif
