/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint.h - what training left behind: named tensors, and what they are
 * the network of.
 *
 * A checkpoint is one safetensors file (any reader of that format opens it)
 * with our description in its metadata and two checksums, both proven when it
 * is opened. Part of the library millrace_train.
 *
 * Threads: any number may read one mr_checkpoint at once.
 */
#ifndef MILLRACE_CHECKPOINT_H
#define MILLRACE_CHECKPOINT_H

#include <millrace/tensor.h>

MR_BEGIN

typedef struct mr_checkpoint mr_checkpoint; /* opaque: open, use, close */

/*
 * Open a checkpoint file, or the newest one of a run's folder.
 *
 * errors  MR_EIO       the file cannot be read
 *         MR_EFORMAT   no safetensors file, or not one of ours
 *         MR_EVERSION  written by a newer millrace
 *         MR_ECORRUPT  a checksum or a bound does not hold
 */
MR_API MR_USE_RESULT mr_err mr_checkpoint_open(mr_checkpoint **out,
                                               const char *path, mr_diag *diag);
MR_API void mr_checkpoint_close(mr_checkpoint *c); /* NULL is accepted */

/* What follows lives as long as the checkpoint. */
MR_API const char *mr_checkpoint_arch(const mr_checkpoint *c); /* "vit_tiny" */
MR_API uint64_t mr_checkpoint_step(const mr_checkpoint *c);
/* All that it says about itself, a JSON object. */
MR_API const char *mr_checkpoint_state(const mr_checkpoint *c);

/* Tensors in the order of the file: row-major, little-endian, read-only. */
MR_API size_t mr_checkpoint_tensors(const mr_checkpoint *c);
MR_API const mr_tensor *mr_checkpoint_tensor_at(const mr_checkpoint *c,
                                                size_t i);
MR_API const char *mr_checkpoint_name_at(const mr_checkpoint *c, size_t i);
/* NULL if there is none of that name ("student.backbone.pos_embed"). */
MR_API const mr_tensor *mr_checkpoint_tensor(const mr_checkpoint *c,
                                             const char *name);

MR_END

#endif
