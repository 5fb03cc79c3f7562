/* SPDX-License-Identifier: Apache-2.0 */
/*
 * features.h - what a network sees in each sample of a dataset, as a table:
 * a row of numbers beside key, uid, class, group and split.
 *
 * In a file (.mrf) it is a safetensors file, so that any reader of those opens
 * it; its metadata member `millrace.features` is a JSON text:
 *
 *     {"schema": "millrace.features.1",
 *      "weights": {"kind": "checkpoint" or "random", "hash", "seed", "step",
 *                  "branch", "arch"},
 *      "dataset": {"content_id", "generation"}, "split": "all",
 *      "classes": [..], "splits": [..], "groups": {"<16 hex>": name, ..},
 *      "pipeline": "[..]"}
 */
#ifndef MRI_FEATURES_H
#define MRI_FEATURES_H

#include <millrace/dataset.h>
#include <mri/backend.h>
#include <mri/door.h>

MRI_BEGIN

#define MRI_NO_SPLIT 255 /* of a row that is in no split */
#define MRI_DIM_LIMIT 65536

typedef struct mri_group_name {
    uint64_t group; /* as rows have it */
    const char *name;
} mri_group_name;

/* Where the numbers come from. */
typedef struct mri_feature_origin {
    bool random;      /* weights as drawn, never trained */
    const char *hash; /* of the checkpoint's data; random: of the one that
                          said which network; 16 hex */
    const char *arch, *branch;
    uint64_t seed, step;
    uint8_t content_id[16]; /* of the dataset */
    uint64_t generation;
    const char *split;    /* "all" */
    const char *pipeline; /* canonical */
} mri_feature_origin;

/* Values only: the memory belongs to whoever made the view. All texts are
 * UTF-8. */
typedef struct mri_feature_table {
    uint64_t rows;
    uint32_t dim;
    const float *features;  /* [rows, dim], finite */
    const uint8_t *uid;     /* [rows, 16] */
    const int32_t *label;   /* [rows]; -1: none */
    const uint64_t *group;  /* [rows]; 0: none */
    const uint8_t *split;   /* [rows] or MRI_NO_SPLIT */
    const char *keys;       /* row i: key_at[i] .. key_at[i + 1], no zeros */
    const uint64_t *key_at; /* [rows + 1] */
    const char *const *classes;
    const char *const *splits;
    const mri_group_name *groups; /* ascending */
    uint32_t class_count, split_count, group_count;
    mri_feature_origin from;
} mri_feature_table;

/* The name of a group, or NULL. */
const char *mri_group_name_of(const mri_feature_table *t, uint64_t group);
/* The splits that a name, or "all", means (mri/selection.h): chosen[split of a row]; a
 * row without a split is in "all" alone. errors  MR_EARG naming those there are */
MR_USE_RESULT mr_err mri_feature_splits(const mri_feature_table *t,
                                        const char *name,
                                        bool chosen[MRI_NO_SPLIT + 1],
                                        mr_diag *diag);

/* A table that owns its memory. */
typedef struct mri_features mri_features;
void mri_features_close(mri_features *f); /* NULL is accepted */
const mri_feature_table *mri_features_table(const mri_features *f);

/* ------------------------------------------------------------------ files */

/* Written whole or not at all; equal tables give equal bytes. */
MR_USE_RESULT mr_err mri_features_write(const char *path,
                                        const mri_feature_table *t,
                                        mr_diag *diag);
/*
 * errors  MR_EIO, MR_EFORMAT  no such file; no safetensors, no feature table
 *         MR_EVERSION         written by a newer millrace
 *         MR_ECORRUPT         a checksum, a bound, columns that do not fit
 *                             together, a number that is none (its row named)
 */
MR_USE_RESULT mr_err mri_features_open(mri_features **out, const char *path,
                                       mr_diag *diag);

/* ----------------------------------------------------------------- making */

typedef struct mri_features_options {
    const char *weights; /* a checkpoint, a run's folder, or random:SEED */
    const char *like;    /* with random: the checkpoint or run whose network */
    const char *branch;  /* "teacher" or "student" */
    const char *source;  /* NAME.mr or NAME.mr@GENERATION */
    const char *split;   /* "all", "fold0+fold1", "!fold2" */
    const char
        *pipeline; /* YAML; NULL: the training's without what is random */
    size_t pipeline_bytes;
    uint32_t batch;
    unsigned threads, device;
    const mri_backend *backend;
    const mr_watch *watch;
} mri_features_options;

/* teacher, all, batches of 32, all threads; weights, source and backend must
 * be set. */
mri_features_options mri_features_defaults(void);

/*
 * Send every sample of a split through a network, once, in the order of uids.
 * The numbers do not depend on threads.
 *
 * errors  MR_EARG      options, or weights that do not fit the samples
 *         MR_ECORRUPT  a feature that is no number: its sample is named
 *         and those of opening weights, datasets and streams; MR_ESTOP
 */
MR_USE_RESULT mr_err mri_features_make(mri_features **out,
                                       const mri_features_options *options,
                                       mr_diag *diag);

/*
 * The pipeline that shows a network whole samples as the training's showed it
 * crops: select, minmax, normalize and the like are kept, random crops become
 * a resize to `side`, other random crops are cut at the center, and what is
 * random otherwise is left out.
 *
 * owner   *out is the caller's: mri_free
 * errors  MR_EARG  it is no pipeline, or has an operation for which there is
 *                  no rule
 */
MR_USE_RESULT mr_err mri_eval_pipeline(char **out, const char *training,
                                       uint32_t side, mr_diag *diag);

MRI_END

#endif
