/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.h - batches of a dataset, decoded and augmented, in an order that is
 * a function of its arguments.
 *
 * A batch is a pure function of (dataset generation, split, pipeline, seed,
 * epoch, index): its bits do not depend on threads, CPU, retries or on which
 * batches were asked for before. Pipelines: docs/operations.md; order and
 * draws: docs/stream-order.md.
 *
 *     mr_stream_options o = mr_stream_defaults();
 *     o.source = "cells.mr";
 *     o.pipeline = "[minmax, random_resized_crop: {size: 224}]";
 *     mr_stream_open(&s, &o, &diag);
 *     while (mr_stream_next(s, &b, &diag) == MR_OK) {
 *         const mr_tensor *image = mr_batch_tensor(b, "image");
 *         ...
 *         mr_batch_unref(b);
 *     }
 *
 * Threads: one thread at a time on a mr_stream; a mr_batch may be used and
 * given back by any thread, also after the stream was closed.
 */
#ifndef MILLRACE_STREAM_H
#define MILLRACE_STREAM_H

#include <millrace/dataset.h>

MR_BEGIN

/* What happens at the end of an epoch whose samples fill no whole batch. */
typedef enum mr_tail {
    MR_TAIL_MASK = 0, /* rows of zeros, `valid` 0: every sample exactly once */
    MR_TAIL_DROP = 1, /* the last samples are left out */
    MR_TAIL_WRAP = 2  /* the first ones come again, drawn anew */
} mr_tail;

typedef enum mr_order {
    MR_ORDER_RANDOM = 0, /* another permutation each epoch */
    MR_ORDER_UID = 1     /* ascending uid */
} mr_order;

/* A record that cannot be read: damaged on disk, or no picture. */
typedef enum mr_on_damage {
    MR_DAMAGE_STOP = 0, /* the batch fails with the record's error */
    MR_DAMAGE_MASK = 1  /* its row is masked, counted, and told of */
} mr_on_damage;

/* Names and values as the command line has them; -1 for no such name. */
MR_API int mr_tail_named(const char *name);
MR_API int mr_order_named(const char *name);

/* One tensor of a row: a batch puts [rows] in front of the shape. */
typedef struct mr_stream_tensor {
    const char *name;
    mr_dtype dtype;
    uint32_t rank;
    uint64_t shape[MR_MAX_RANK];
    uint64_t bytes; /* of a row */
} mr_stream_tensor;

/* Told of a record whose row was masked; on the consumer's thread. */
typedef void mr_damaged_fn(void *user, const uint8_t uid[MR_UID_BYTES],
                           const mr_diag *why);

typedef struct mr_stream_options {
    const char *source;    /* a dataset: NAME.mr or NAME.mr@GENERATION; or
                              servers: ENDPOINT[#NAME],ENDPOINT[#NAME] */
    const char *split;     /* "train"; "all"; some: "fold0+fold2"; all but
                              some: "!fold2" (docs/splits.md) */
    const char *pipeline;  /* YAML; NULL: the fields as they are stored */
    size_t pipeline_bytes; /* 0: up to the closing zero */
    uint64_t seed;
    uint32_t batch_size; /* rows of all consumers together */
    mr_tail tail;
    mr_order order;
    uint32_t consumer, consumers; /* r of R: r < R */
    uint32_t threads;             /* 0: one for each CPU; not with servers */
    uint32_t depth;               /* batches that are made ahead */
    mr_on_damage on_damage;
    mr_damaged_fn *damaged; /* may be NULL */
    void *user;
    /* Servers. connect_ms: until one answers, 0 is 5,000. patience_ms: while
     * all are silent, 0 is 60,000 and UINT32_MAX for ever. */
    uint32_t connect_ms, patience_ms;
    /* Asked during every wait: true ends it with MR_ESTOP. May be NULL; must
     * outlive the stream. */
    const mr_watch *watch;
    bool no_mmap; /* of a dataset: mr_dataset_options */
} mr_stream_options;

/* split train, seed 0, batches of 64, mask, random, 0 of 1, depth 4, stop. */
MR_API mr_stream_options mr_stream_defaults(void);

typedef struct mr_stream mr_stream;

/*
 * owner   nothing of the options is kept
 * errors  MR_EARG      an option, or a pipeline that cannot work on these
 *                      samples; the text says which and why
 *         MR_ETIME     no server answered; MR_EVERSION, MR_EAUTH
 *         and those of mr_dataset_open
 */
MR_API MR_USE_RESULT mr_err mr_stream_open(mr_stream **out,
                                           const mr_stream_options *options,
                                           mr_diag *diag);
/* Batches that are still held stay valid. NULL is accepted. */
MR_API void mr_stream_close(mr_stream *s);

MR_API uint64_t mr_stream_samples(const mr_stream *s); /* of the split */
MR_API uint64_t mr_stream_batches(const mr_stream *s); /* of an epoch */
/* Rows that this consumer gets of each batch. */
MR_API uint64_t mr_stream_rows(const mr_stream *s);
/* Tensors of a row, sorted by name. */
MR_API size_t mr_stream_tensors(const mr_stream *s);
MR_API const mr_stream_tensor *mr_stream_tensor_at(const mr_stream *s,
                                                   size_t i);
/* Names of the classes that `label` counts. NULL beyond the last. */
MR_API uint32_t mr_stream_classes(const mr_stream *s);
MR_API const char *mr_stream_class_name(const mr_stream *s, uint32_t i);
/* Names of the channels of its pictures; 0 if the samples have none. */
MR_API uint32_t mr_stream_channels(const mr_stream *s);
MR_API const char *mr_stream_channel_name(const mr_stream *s, uint32_t i);
/* What the stream is, as canonical JSON, and its 16-byte id. */
MR_API const char *mr_stream_canonical(const mr_stream *s);
MR_API const uint8_t *mr_stream_id(const mr_stream *s);

/* One batch, shared by counting references. */
typedef struct mr_batch mr_batch;

/*
 * The next batch; after the last of an epoch the first of the next one.
 *
 * owner   *out is the caller's: mr_batch_unref
 * errors  MR_ECORRUPT, MR_EIO  a record; the same batch is tried again by the
 *                              next call
 *         MR_ETIME             all servers are silent
 *         MR_ESTOP             watch->stop said so; the same holds
 *         MR_ENOMEM
 */
MR_API MR_USE_RESULT mr_err mr_stream_next(mr_stream *s, mr_batch **out,
                                           mr_diag *diag);
/*
 * Any batch; does not move what mr_stream_next gives.
 * errors  MR_EARG  index >= mr_stream_batches(), and those of next
 */
MR_API MR_USE_RESULT mr_err mr_stream_get(mr_stream *s, uint64_t epoch,
                                          uint64_t index, mr_batch **out,
                                          mr_diag *diag);

#define MR_CURSOR_BYTES 64

/* The position behind the last batch of mr_stream_next. */
MR_API void mr_stream_cursor(const mr_stream *s,
                             uint8_t cursor[MR_CURSOR_BYTES]);
/*
 * Go on from there. Batch size, consumers and threads may have changed.
 * errors  MR_ECORRUPT  no cursor, or damaged
 *         MR_EARG      of another stream; the text names what differs
 */
MR_API MR_USE_RESULT mr_err mr_stream_seek(
    mr_stream *s, const uint8_t cursor[MR_CURSOR_BYTES], mr_diag *diag);

/* Where the time went. */
typedef struct mr_stream_counters {
    uint64_t batches, rows; /* handed out; rows without masked ones */
    uint64_t damaged;       /* rows masked because of damage */
    uint64_t wait_ns;       /* the consumer's, in next and get */
    uint64_t total_ns;      /* since the first of them began */
    /* CPU time of all threads together */
    uint64_t read_ns, decode_ns, augment_ns;
} mr_stream_counters;
MR_API void mr_stream_count(const mr_stream *s, mr_stream_counters *out);
/* What bounds it: "storage", "decode", "augment" or "consumer". */
MR_API const char *mr_stream_verdict(const mr_stream_counters *c);

MR_API mr_batch *mr_batch_ref(mr_batch *b);
MR_API void mr_batch_unref(mr_batch *b); /* NULL is accepted */
MR_API uint64_t mr_batch_epoch(const mr_batch *b);
MR_API uint64_t mr_batch_index(const mr_batch *b);
/* Rows here, and the place of the first of them in the whole batch. */
MR_API uint64_t mr_batch_rows(const mr_batch *b);
MR_API uint64_t mr_batch_first_row(const mr_batch *b);
MR_API uint64_t mr_batch_valid_rows(const mr_batch *b); /* unmasked */
MR_API size_t mr_batch_tensors(const mr_batch *b);
/* Sorted by name; row-major, [rows] in front. Valid as long as the batch. */
MR_API const mr_tensor *mr_batch_tensor_at(const mr_batch *b, size_t i);
MR_API const char *mr_batch_name_at(const mr_batch *b, size_t i);
/* NULL if there is none of that name. */
MR_API const mr_tensor *mr_batch_tensor(const mr_batch *b, const char *name);

MR_END

#endif
