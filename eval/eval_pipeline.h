/* SPDX-License-Identifier: Apache-2.0 */
/* eval_pipeline.h - what samples go through on their way to a network. */
#ifndef EVAL_PIPELINE_H
#define EVAL_PIPELINE_H

#include <millrace/stream.h>
#include <mri/features.h>

/* The pipeline of an open stream, every number filled in, as canonical JSON.
 * owner  *out is the caller's: mri_free */
MR_USE_RESULT mr_err eval_pipeline_in_force(char **out, const mr_stream *s,
                                            mr_diag *diag);

#endif
