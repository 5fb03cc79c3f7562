/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knn.h - the nearest neighbours of rows by cosine, exactly, and what they
 * say about the rows' classes.
 */
#ifndef MRI_KNN_H
#define MRI_KNN_H

#include <mri/features.h>

MRI_BEGIN

/* ---------------------------------------------------------------- search */

/* Some rows of a matrix. shape  at [.., dim]; rows [count], NULL: 0 .. count */
typedef struct mri_vectors {
    const float *at;
    const uint32_t *rows;
    uint64_t count;
} mri_vectors;

typedef struct mri_search_in {
    mri_vectors train, test; /* finite; count < 2^32 */
    uint32_t dim;
    uint32_t k;       /* 1 <= k <= train.count */
    unsigned threads; /* 0: all there are */
    const mr_watch *watch;
} mri_search_in;

/*
 * The k nearest of train for each of test: those with the greatest cosine
 *
 *     x y / (max(|x|, 1e-12) max(|y|, 1e-12))
 *
 * computed in f64, the nearest first, of equals the one that comes first in
 * train. A row of zeros has the cosine 0 to all. The result does not depend on
 * threads or instructions. Memory: both matrices once more, and some 400
 * candidates for each row in work.
 *
 * shape   index [test.count, k]: into train; cosine [test.count, k]
 * errors  MR_ENOMEM, MR_ESTOP
 * bound   exact: products are screened in f32 with a proven bound of its
 *         error, and what could be among the k is computed in f64
 */
MR_USE_RESULT mr_err mri_search(const mri_search_in *in, uint32_t *index,
                                double *cosine, mr_diag *diag);

/* ---------------------------------------------------------------- verdict */

typedef struct mri_knn_options {
    const char *train, *test; /* names of splits */
    uint32_t k;               /* at most all of train */
    double temperature;       /* > 0 */
    bool allow_leak;          /* a group may be on both sides */
    unsigned threads;
    const mr_watch *watch;
} mri_knn_options;

/* train, test, 20, 0.07, no, all. */
mri_knn_options mri_knn_defaults(void);

typedef struct mri_knn_class {
    const char *name;     /* the table's */
    uint64_t train, test; /* rows */
    uint64_t called;      /* test rows that were said to be of it */
    uint64_t right;       /* of those, as many are */
} mri_knn_class;

/* Test rows of one class that were said to be of one. */
typedef struct mri_knn_answer {
    uint32_t is, called; /* classes; equal: right */
    uint64_t count;      /* above 0 */
} mri_knn_answer;

typedef enum mri_leak {
    MRI_LEAK_NONE,    /* no group is on both sides */
    MRI_LEAK_UNKNOWN, /* rows without a group: it cannot be told */
    MRI_LEAK_ALLOWED  /* there are, and they were allowed */
} mri_leak;

typedef struct mri_knn_report {
    double top1, top5; /* shares of the test rows, 0 .. 1 */
    double balanced;   /* mean over classes of their own top1 */
    double chance;     /* share of the commonest class among the test rows:
                          no constant answer is right more often */
    uint32_t k;        /* as used */
    uint64_t train, test;
    uint64_t unlabelled; /* rows of both that have no class, left out */
    mri_leak leak;
    uint32_t class_count;
    mri_knn_class *classes;  /* [class_count] */
    uint64_t answer_count;   /* at most the test rows, however many classes */
    mri_knn_answer *answers; /* the confusion: by `is`, then `called` */
} mri_knn_report;

/*
 * Classes of the test rows by a vote of their neighbours, each with the weight
 * exp(cosine / temperature); of equal votes the lower class wins, and a class
 * without a vote is never named. top5 counts a row whose class is among the
 * first five.
 *
 * owner   report->classes, answers: mri_knn_release
 * errors  MR_EARG     no such split, one split as both sides, k 0, a
 *                     temperature that is not above 0
 *         MR_EFORMAT  a side without labelled rows; a group on both sides
 *         and those of mri_search
 * source  facebookresearch/dino, eval_knn.py
 */
MR_USE_RESULT mr_err mri_knn(mri_knn_report *report,
                             const mri_feature_table *table,
                             const mri_knn_options *options, mr_diag *diag);
void mri_knn_release(mri_knn_report *report);

MRI_END

#endif
