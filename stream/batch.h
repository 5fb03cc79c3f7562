/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.h - a batch, and the pool that its memory comes from.
 */
#ifndef MRI_STREAM_BATCH_H
#define MRI_STREAM_BATCH_H

#include <mri/feed.h>

#include <stdatomic.h>

/* Shared by a stream and the batches that it gave out. */
typedef struct mri_batch_pool mri_batch_pool;

struct mr_batch {
    atomic_uint refs;
    mri_batch_pool *pool;
    mr_batch *next; /* while it is free */
    mri_request request;
    void *memory; /* of all tensors, in one block */
    uint64_t index, rows, first_row, valid;
    mr_tensor tensors[MRI_ROWS_TENSORS];
};

/* For batches of `rows` rows of those tensors; the facts are copied.
 * errors  MR_ENOMEM */
MR_USE_RESULT mr_err mri_batch_pool_open(mri_batch_pool **out,
                                         const mri_rows_facts *facts,
                                         uint64_t rows, mr_diag *diag);
/* The stream's own reference goes; the last batch takes the pool with it. */
void mri_batch_pool_close(mri_batch_pool *pool);

/* A batch with memory for its rows, one reference. */
MR_USE_RESULT mr_err mri_batch_take(mri_batch_pool *pool, mr_batch **out,
                                    mr_diag *diag);
/* The request is done: tensors point to where its bytes are. */
void mri_batch_finish(mr_batch *b);

#endif
