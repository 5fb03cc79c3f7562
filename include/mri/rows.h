/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.h - the engine behind every stream: any row of any epoch, computed into
 * memory that the caller gives.
 *
 * A server computes what it is asked for with this, and a consumer without a
 * server does the same in its own process: the bits are equal because the code
 * is. What `mri_rows_open` makes is never changed afterwards; any number of
 * threads may compute rows of it, each with a worker of its own.
 */
#ifndef MRI_ROWS_H
#define MRI_ROWS_H

#include <millrace/stream.h>
#include <mri/door.h>

MRI_BEGIN

#define MRI_ROWS_TENSORS 36 /* at most, of a row */
#define MRI_HINTS 6

typedef struct mri_rows_options {
    const mr_dataset *ds; /* must outlive the rows */
    const char *split;
    const char *pipeline; /* NULL: the fields as they are stored */
    size_t pipeline_bytes;
    mr_tail tail;
    mr_order order;
} mri_rows_options;

/* What a stream is, apart from seed, batch size and consumers. */
typedef struct mri_rows_facts {
    const char *open;          /* canonical, JSON */
    uint8_t id[16];            /* 16 B of its SHA-256 */
    uint16_t hints[MRI_HINTS]; /* of its parts: docs/stream-order.md 4 */
    uint64_t samples;
    mr_tail tail;
    const mr_stream_tensor *tensors; /* sorted by name */
    size_t tensor_count;
    /* Names: of the classes that labels count, and of the channels that come
     * out of the pipeline (none if the samples have no names for them). */
    const char *const *classes, *const *channels;
    uint32_t class_count, channel_count;
} mri_rows_facts;

typedef struct mri_rows mri_rows;

/*
 * errors  MR_EARG, MR_EVERSION  pipeline, split, or samples that do not fit
 *         and those of reading the dataset
 */
MR_USE_RESULT mr_err mri_rows_open(mri_rows **out, const mri_rows_options *o,
                                   mr_diag *diag);
void mri_rows_close(mri_rows *rows); /* NULL is accepted */
const mri_rows_facts *mri_rows_facts_of(const mri_rows *rows);

/* Memory of one thread, and where its time went. */
typedef struct mri_rows_worker mri_rows_worker;
mri_rows_worker *mri_rows_worker_open(void); /* NULL: no memory */
void mri_rows_worker_close(mri_rows_worker *w);
/* Time since the last call; then zero again. */
void mri_rows_worker_times(mri_rows_worker *w, uint64_t *read_ns,
                           uint64_t *decode_ns, uint64_t *augment_ns);

/* One row: `position` within the epoch, >= samples for the tail. */
typedef struct mri_row_name {
    uint64_t seed, epoch, position;
} mri_row_name;

/*
 * Compute a row into to[i] + row * tensors[i].bytes for each tensor. A
 * position in a masked tail gives zeros.
 *
 * uid     out: of the sample, also when it cannot be read; zero if unknown
 * errors  MR_ECORRUPT, MR_EFORMAT  this record is damaged: ask elsewhere, or
 *                                  mask the row
 *         MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_rows_compute(const mri_rows *rows, mri_rows_worker *w,
                                      const mri_row_name *name, void *const *to,
                                      uint64_t row, uint8_t uid[MR_UID_BYTES],
                                      mr_diag *diag);
/*
 * Said before the rows of positions name->position .. + n are computed by this
 * worker, in this order: their samples are then fetched ahead. A hint; the
 * worker forgets it when it is told of others.
 */
void mri_rows_foresee(const mri_rows *rows, mri_rows_worker *w,
                      const mri_row_name *first, uint64_t n);
/* A masked row: zeros. */
void mri_rows_mask(const mri_rows_facts *facts, void *const *to, uint64_t row);
/* The error is one that a policy for damaged records may mask. */
bool mri_rows_damage(mr_err err);

/* Versions of all operations and the bits of test pictures as decoded here.
 * errors  MR_ENOMEM */
MR_USE_RESULT mr_err mri_decoder_fingerprint(uint8_t out[16], mr_diag *diag);

MRI_END

#endif
