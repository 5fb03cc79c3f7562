/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dataset.h - random access to the samples of a dataset directory.
 *
 * A dataset is a folder that `millrace ingest` made: shards that never change
 * and a chain of generations that name them. A handle sees one generation for
 * as long as it is open. Bytes: docs/shard-format.md.
 *
 * Samples are numbered by rank: 0 .. count - 1 in ascending order of uid. The
 * rank of a sample is the same on every machine that holds the generation.
 *
 * Threads: any number may use one mr_dataset at once; a mr_scratch belongs to
 * one thread at a time.
 */
#ifndef MILLRACE_DATASET_H
#define MILLRACE_DATASET_H

#include <millrace/base.h>
#include <millrace/tensor.h>

MR_BEGIN

#define MR_UID_BYTES 16
#define MR_NO_CLASS UINT32_MAX
#define MR_ALL_SAMPLES UINT32_MAX /* in place of a split: no split */

typedef struct mr_dataset mr_dataset; /* opaque: open, use, close */

/* Working memory that reads reuse, so that a read allocates nothing. */
typedef struct mr_scratch mr_scratch;
/* NULL: no memory */
MR_API mr_scratch *mr_scratch_open(void);
MR_API void mr_scratch_close(mr_scratch *scratch);

typedef enum mr_encoding {
    MR_ENC_CHUNKS = 1, /* an n-d array in chunks */
    MR_ENC_JPEG = 2,   /* a JPEG file, kept verbatim */
    MR_ENC_BYTES = 3   /* bytes without structure */
} mr_encoding;

/* Sums over physical values (slope and intercept applied), finite ones only. */
typedef struct mr_moments {
    uint64_t count;
    double min, max; /* 0 if count is 0 */
    double sum, sum_squares;
} mr_moments;

MR_API double mr_moments_mean(const mr_moments *m); /* 0 if empty */
/* Population standard deviation: sqrt(E[x^2] - E[x]^2). */
MR_API double mr_moments_std(const mr_moments *m);

typedef struct mr_sample {
    uint8_t uid[MR_UID_BYTES];
    uint32_t class_index; /* in the dataset's classes, or MR_NO_CLASS */
    uint64_t group;       /* hash of the group's name; equal names are equal */
    uint64_t content;     /* hash of the decoded fields and the class */
    uint32_t fields;      /* how many it has */
    uint32_t shard, row;  /* where it stands */
} mr_sample;

typedef struct mr_field {
    uint32_t name; /* index in the dataset's fields */
    mr_encoding encoding;
    mr_dtype dtype;
    uint32_t rank;
    char axes[MR_MAX_RANK + 1]; /* "ZYX", "YXC", "TZYX" ... */
    uint64_t shape[MR_MAX_RANK];
    uint64_t chunk[MR_MAX_RANK]; /* MR_ENC_CHUNKS */
    uint64_t bytes;              /* decoded */
    uint64_t content;            /* XXH3-64 of the decoded bytes */
    uint32_t channels;           /* length of axis C, or 1 */
    uint32_t jpeg_sampling; /* MR_ENC_JPEG: a byte a component, first lowest:
                               h << 4 | v */
    bool scaled; /* slope or intercept are not 1 and 0: see the geometry */
} mr_field;

/*
 * Open the generation in force, or `path@N` for generation N.
 *
 * errors  MR_EIO       the folder cannot be read
 *         MR_EFORMAT   no dataset: no manifest there, or an ingest that was
 *                      not finished
 *         MR_EVERSION  written by a newer millrace
 *         MR_ECORRUPT  manifest or index damaged (never skipped)
 */
MR_API MR_USE_RESULT mr_err mr_dataset_open(mr_dataset **out, const char *path,
                                            mr_diag *diag);

/* Files are mapped into memory, and while any is, SIGBUS is handled: what a
 * file lost since it was opened is an error, not the end of the process. The
 * handler that was there before gets all others. */
typedef struct mr_dataset_options {
    bool no_mmap; /* read by ranges instead: for file systems on which a mapping
                     does not show what other machines wrote */
} mr_dataset_options;

/* Mapped. MILLRACE_NO_MMAP in the environment stands above it. */
MR_API mr_dataset_options mr_dataset_defaults(void);
/* errors  as mr_dataset_open */
MR_API MR_USE_RESULT mr_err
mr_dataset_open_with(mr_dataset **out, const char *path,
                     const mr_dataset_options *options, mr_diag *diag);
MR_API void mr_dataset_close(mr_dataset *ds); /* NULL is accepted */

MR_API uint64_t mr_dataset_count(const mr_dataset *ds);
MR_API uint64_t mr_dataset_generation(const mr_dataset *ds);
/* What a stream can see of this generation, 16 bytes. */
MR_API const uint8_t *mr_dataset_content_id(const mr_dataset *ds);
MR_API const uint8_t *mr_dataset_id(const mr_dataset *ds); /* 16 bytes */

MR_API uint32_t mr_dataset_classes(const mr_dataset *ds);
MR_API const char *mr_dataset_class_name(const mr_dataset *ds, uint32_t i);
MR_API uint32_t mr_dataset_fields(const mr_dataset *ds);
MR_API const char *mr_dataset_field_name(const mr_dataset *ds, uint32_t i);

/* Splits in the order of the manifest (train, val, test). */
MR_API uint32_t mr_dataset_splits(const mr_dataset *ds);
MR_API const char *mr_dataset_split_name(const mr_dataset *ds, uint32_t i);
/* MR_ALL_SAMPLES for "all"; MR_EARG, naming those there are, otherwise. */
MR_API MR_USE_RESULT mr_err mr_dataset_split_find(const mr_dataset *ds,
                                                  const char *name,
                                                  uint32_t *split,
                                                  mr_diag *diag);
MR_API uint64_t mr_dataset_split_count(const mr_dataset *ds, uint32_t split);
/*
 * The i-th sample of a split in ascending order of rank.
 * errors  MR_EARG      i >= mr_dataset_split_count()
 *         MR_ECORRUPT  the page of the index fails its hash
 */
MR_API MR_USE_RESULT mr_err mr_dataset_split_at(const mr_dataset *ds,
                                                uint32_t split, uint64_t i,
                                                uint64_t *rank, mr_diag *diag);

/* errors  MR_EARG  no such uid */
MR_API MR_USE_RESULT mr_err mr_dataset_find(const mr_dataset *ds,
                                            const uint8_t uid[MR_UID_BYTES],
                                            uint64_t *rank, mr_diag *diag);

/* errors  MR_EARG (rank), MR_EIO, MR_ECORRUPT: for all that follow */
MR_API MR_USE_RESULT mr_err mr_dataset_sample(const mr_dataset *ds,
                                              uint64_t rank, mr_sample *out,
                                              mr_diag *diag);
/* Field `i` of that sample, 0 .. sample.fields - 1. */
MR_API MR_USE_RESULT mr_err mr_dataset_field(const mr_dataset *ds,
                                             uint64_t rank, uint32_t i,
                                             mr_field *out, mr_diag *diag);
/* Moments of one channel of field `i`, as stored at ingest. */
MR_API MR_USE_RESULT mr_err mr_dataset_moments(const mr_dataset *ds,
                                               uint64_t rank, uint32_t i,
                                               uint32_t channel,
                                               mr_moments *out, mr_diag *diag);

/* A box within a field: [first, first + size) along each stored axis. */
typedef struct mr_box {
    uint64_t first[MR_MAX_RANK];
    uint64_t size[MR_MAX_RANK];
} mr_box;

/*
 * Decode a box of an array field, or all of it (box NULL), row-major into the
 * caller's memory. Only the chunks that it touches are read; each is checked.
 *
 * shape   out: box->size, or the field's shape
 * owner   out stays the caller's; scratch may be NULL (then memory is taken
 *         and given back within the call)
 * errors  MR_EARG      the box leaves the field, out_bytes is not its size,
 *                      or the field is no array
 *         MR_ECORRUPT  a checksum or a bound; diag->at is the chunk's offset
 */
MR_API MR_USE_RESULT mr_err mr_dataset_read(const mr_dataset *ds, uint64_t rank,
                                            uint32_t i, const mr_box *box,
                                            const mr_tensor *out,
                                            mr_scratch *scratch, mr_diag *diag);
/*
 * As mr_dataset_read, as physical values: (float)(v * slope + inter), in f64
 * and rounded once; where the field is not scaled, (float)v.
 *
 * shape   out: as there, of MR_F32
 * owner   slope and intercept of a scaled field are looked up in its sample
 *         and kept in scratch until another field is read with it: only that
 *         takes memory
 */
MR_API MR_USE_RESULT mr_err mr_dataset_read_f32(
    const mr_dataset *ds, uint64_t rank, uint32_t i, const mr_box *box,
    const mr_tensor *out, mr_scratch *scratch, mr_diag *diag);
/*
 * The verbatim bytes of a JPEG or bytes field, checked.
 * owner   *p points into the dataset or into scratch: valid until the next
 *         use of scratch (not NULL here) or mr_dataset_close
 */
MR_API MR_USE_RESULT mr_err mr_dataset_bytes(const mr_dataset *ds,
                                             uint64_t rank, uint32_t i,
                                             const uint8_t **p, size_t *bytes,
                                             mr_scratch *scratch,
                                             mr_diag *diag);

/*
 * The physical value of a stored v is v * slope + inter.
 * owner   nothing is kept
 */
MR_API MR_USE_RESULT mr_err mr_dataset_scale(const mr_dataset *ds,
                                             uint64_t rank, uint32_t i,
                                             double *slope, double *inter,
                                             mr_diag *diag);

/* What a chunk of an array field holds, known without reading it. */
typedef struct mr_chunk_stats {
    mr_box box;      /* its place in the field */
    double min, max; /* of stored values but NaN; NaN if there are none */
    uint64_t count, nonzero, nan;
    uint32_t labels; /* label fields of integers: distinct values in it */
    bool uncounted;  /* labels is 0 because there are more than 4,096 */
} mr_chunk_stats;

typedef struct mr_label_count {
    int64_t label;
    uint64_t count;
} mr_label_count;

/*
 * Chunks of array field `i`, in row-major order of the grid.
 * errors  MR_EARG  no such field, or the field is no array
 */
MR_API MR_USE_RESULT mr_err mr_dataset_chunks(const mr_dataset *ds,
                                              uint64_t rank, uint32_t i,
                                              uint64_t *count, mr_diag *diag);
/*
 * errors  MR_EARG  as above, or chunk >= count
 */
MR_API MR_USE_RESULT mr_err mr_dataset_chunk_stats(const mr_dataset *ds,
                                                   uint64_t rank, uint32_t i,
                                                   uint64_t chunk,
                                                   mr_chunk_stats *out,
                                                   mr_diag *diag);
/*
 * The labels in a chunk, ascending, and how many elements have each: for a
 * sampler that wants patches with a class in them.
 *
 * shape   out: [room], room >= mr_chunk_stats.labels
 * errors  MR_EARG  as above, or room too small
 */
MR_API MR_USE_RESULT mr_err mr_dataset_chunk_labels(const mr_dataset *ds,
                                                    uint64_t rank, uint32_t i,
                                                    uint64_t chunk,
                                                    mr_label_count *out,
                                                    size_t room, mr_diag *diag);

/* Statistics over a split, merged in the order of ranks. */
enum { MR_PERCENTILES = 7 };
/* 0.5, 5, 25, 50, 75, 95, 99.5; i < MR_PERCENTILES */
MR_API double mr_percent(unsigned i);

typedef struct mr_channel_stats {
    mr_moments all, nonzero;
    mr_moments foreground; /* where a label of the sample is above zero */
    mr_moments unit;       /* after per-sample min-max to [0, 1] */
    uint64_t non_finite;
    /*
     * Of the finite values, and of the nonzero ones: what NumPy's method
     * inverted_cdf gives. Exact, or within 2^-8 of the value as f32. NaN if
     * there are none; all NaN for fields that are kept as bytes. JPEGs count
     * as they decode.
     */
    double percentile[MR_PERCENTILES], nonzero_percentile[MR_PERCENTILES];
    /* Of the foreground; NaN also if an older millrace wrote the generation. */
    double foreground_percentile[MR_PERCENTILES];
    bool exact;
} mr_channel_stats;

/* Channels that split and field have statistics of; 0: none. */
MR_API uint32_t mr_dataset_stats_channels(const mr_dataset *ds, uint32_t split,
                                          uint32_t field);
MR_API const mr_channel_stats *mr_dataset_stats(const mr_dataset *ds,
                                                uint32_t split, uint32_t field,
                                                uint32_t channel);

/* What the samples of a split measure along an axis of a field. */
typedef enum mr_measure_kind {
    MR_MEASURE_LENGTH = 1, /* elements */
    MR_MEASURE_SPACING = 2 /* of elements: mm, or the unit of that axis */
} mr_measure_kind;

typedef struct mr_measure {
    char axis; /* 'Z' */
    mr_measure_kind kind;
    uint64_t count;                    /* samples that have it */
    double percentile[MR_PERCENTILES]; /* as NumPy's inverted_cdf, exact */
} mr_measure;

/* How many there are; 0 also if an older millrace wrote the generation. In the
 * order of the axes T C Z Y X, length before spacing. */
MR_API uint32_t mr_dataset_measures(const mr_dataset *ds, uint32_t split,
                                    uint32_t field);
/* NULL: there are not so many. */
MR_API const mr_measure *mr_dataset_measure(const mr_dataset *ds,
                                            uint32_t split, uint32_t field,
                                            uint32_t i);

MR_END

#endif
