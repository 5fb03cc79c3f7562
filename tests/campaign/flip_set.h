/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flip_set.h - shards of exactly 1 MiB, and all that a user can read of one,
 * as a single number.
 */
#ifndef MRI_FLIP_SET_H
#define MRI_FLIP_SET_H

#include <mri/dataset.h>

enum { FLIP_BYTES = 1 << 20 };

/* What tells one shard from another that has the same samples. */
typedef struct flip_how {
    uint8_t plan;  /* first byte of the plan tag */
    uint8_t first; /* number of the first sample */
    uint8_t noise; /* the pixels, and with them the uids */
} flip_how;

/*
 * Write shards/ab/<id>.mrs below `dir`: cells, floats, JPEGs, volumes with
 * constant chunks and a label, plain bytes; arrays in every codec with every
 * filter. Aborts if it cannot.
 */
void flip_shard(const char *dir, const flip_how *how, mri_shard_ref *ref);
/* The next generation of a dataset, of these shards. Aborts if it cannot. */
void flip_commit(const char *dir, const mri_shard_ref *shards, uint32_t count);

/*
 * Open, and read whatever can be read: rows, decoded fields, verbatim bytes,
 * meta frames, statistics, schema. `hash` is over all of it.
 * errors  those of the readers: something was noticed
 */
MR_USE_RESULT mr_err flip_read_shard(const char *path,
                                     const mri_shard_ref *expect,
                                     uint64_t *hash, mr_diag *diag);
/* The same of a generation, through the public door; `path` may end in @N. */
MR_USE_RESULT mr_err flip_read_dataset(const char *path, uint64_t *hash,
                                       mr_diag *diag);

#endif
