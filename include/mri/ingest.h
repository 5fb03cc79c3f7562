/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ingest.h - foreign files in, one dataset out.
 *
 * The plan is made first, from names and sizes alone: which files, their keys,
 * classes, groups and shards. Shards are then made in the order of the plan;
 * what they hold does not depend on how many threads decoded it, or on how
 * often the work was interrupted.
 */
#ifndef MRI_INGEST_H
#define MRI_INGEST_H

#include <mri/door.h>
#include <mri/record.h>
#include <mri/source.h>

MRI_BEGIN

#define MRI_FOLDS_MAX 100

typedef enum mri_layout {
    MRI_LAYOUT_AUTO,
    MRI_LAYOUT_FLAT,   /* no classes */
    MRI_LAYOUT_FOLDER, /* class = the first folder below SOURCE */
    MRI_LAYOUT_SPLIT   /* train/val/test folders, then class folders */
} mri_layout;

const char *mri_layout_name(mri_layout layout);

typedef struct mri_ingest_options {
    const char *const *sources;
    size_t source_count;
    const char *output;
    mri_layout layout;
    const char *group; /* '{group}_*', or NULL */
    const char *stack; /* '*_{channel}.*': one file a channel, or NULL */
    /* Splits fold0 .. fold(N - 1) of equal shares, 2 .. MRI_FOLDS_MAX; 0: as
     * the dataset has them, train, val and test if it is new. */
    uint32_t folds;
    mri_source_options source;
    mri_coding coding; /* of what is not kept as it is */
    bool keep_bytes;   /* quarantine keeps the bytes around the damage */
    /* Bad inputs are borne up to this share, or this count if it is not 0. */
    double max_bad_share;
    uint64_t max_bad_count;
    uint64_t shard_bytes; /* of source files that go into one shard */
    unsigned workers;
    uint64_t memory;     /* for inputs in flight */
    const char *command; /* for history.jsonl; NULL: "" */
    const mr_watch *watch;
} mri_ingest_options;

/* folder guessed, 5 % of bad inputs, 256 MiB a shard, all CPUs, 2 GiB. */
mri_ingest_options mri_ingest_defaults(void);

/* One input that could not be used. */
typedef struct mri_bad {
    char *key;    /* path below its SOURCE */
    char *stage;  /* "read", "decode", "encode" */
    char *reason; /* as the user reads it */
    uint16_t code;
    uint64_t at;    /* byte offset, or MR_NOWHERE */
    uint64_t bytes; /* size of the file */
    uint8_t sha256[32];
    bool hashed;
    char *window; /* hex of the bytes around `at`, with keep_bytes */
} mri_bad;

typedef struct mri_ingest_report {
    mri_layout layout;
    uint64_t generation; /* 0: nothing was committed */
    uint64_t inputs;     /* samples planned + quarantined */
    uint64_t samples;    /* in the dataset now */
    uint64_t added;      /* by this run */
    uint64_t merged;     /* of these, out of datasets */
    uint64_t known;      /* inputs that were there already */
    uint64_t changed;    /* of these, files of another size than then */
    uint64_t withdrawn;  /* inputs that were withdrawn: they stay out */
    uint64_t ignored;    /* files that are plainly no images */
    uint64_t unmatched;  /* names that --group did not match */
    uint64_t groups, joined, leaks; /* as mri_dataset_facts */
    uint32_t shards, reused;        /* reused: finished by an interrupted run */
    uint64_t bytes, raw_bytes;
    mri_bad *bad; /* [bad_count], by key */
    uint64_t bad_count;
    double seconds;
} mri_ingest_report;

/*
 * Ingest, or go on with an ingest that was interrupted, or add what is new.
 *
 * errors  MR_EARG     no such SOURCE pattern, clash of keys, folds where the
 *                     dataset or the SOURCE has other splits, ...
 *         MR_EIO      a SOURCE that is not there, output not writable
 *         MR_EBUSY    another ingest is writing there
 *         MR_EFORMAT  no usable sample (nothing is created then)
 *         MR_ECORRUPT more bad inputs than allowed: nothing is committed, the
 *                     finished shards are kept for the next run
 *         MR_ESTOP    watch->stop said so; run again to go on
 * owner   report is filled in any case; mri_ingest_report_release
 */
MR_USE_RESULT mr_err mri_ingest(const mri_ingest_options *options,
                                mri_ingest_report *report, mr_diag *diag);
void mri_ingest_report_release(mri_ingest_report *report);

/* What an ingest would do. */
typedef struct mri_ingest_plan {
    mri_layout layout;
    uint64_t inputs, bytes, known, changed, withdrawn, ignored, unmatched;
    uint32_t shards, classes, groups, generation; /* of the dataset now */
    char **class_names;                           /* [classes] */
    uint64_t *class_counts;
    uint32_t tried; /* inputs that were decoded to estimate */
    double seconds; /* estimate for all of them; 0: nothing was tried */
    uint64_t stored_bytes, raw_bytes; /* estimates likewise */
    mri_bad *bad;                     /* of those that were tried */
    uint64_t bad_count;
} mri_ingest_plan;
MR_USE_RESULT mr_err mri_ingest_plan_of(const mri_ingest_options *options,
                                        mri_ingest_plan *plan, mr_diag *diag);
void mri_ingest_plan_release(mri_ingest_plan *plan);

/* The quarantine of a dataset. owner: mri_bad_list_free */
MR_USE_RESULT mr_err mri_quarantine_load(const char *dataset, mri_bad **list,
                                         uint64_t *count, mr_diag *diag);
void mri_bad_list_free(mri_bad *list, uint64_t count);

MRI_END

#endif
