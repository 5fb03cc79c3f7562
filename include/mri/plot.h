/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plot.h - a feature table as a picture: its two principal components.
 */
#ifndef MRI_PLOT_H
#define MRI_PLOT_H

#include <mri/knn.h>

MRI_BEGIN

/*
 * The two directions in which rows of length one (zeros stay zeros) vary most.
 * Their bits do not depend on threads or instructions.
 *
 * shape   mean [dim]; axis [2, dim], of length one, the number of greatest
 *         size positive; zeros where nothing varies; at [count, 2]: where each
 *         row lies
 * units   share: of the variance of all directions, 0 .. 1
 * owner   mri_pca_release
 */
typedef struct mri_pca {
    double *mean, *axis, *at;
    double share[2];
} mri_pca;

/* errors  MR_ENOMEM; memory: 8 dim^2 bytes and some for each row */
MR_USE_RESULT mr_err mri_pca_fit(mri_pca *out, const mri_vectors *rows,
                                 uint32_t dim, unsigned threads, mr_diag *diag);
void mri_pca_release(mri_pca *pca);

/* What the colours mean. */
typedef enum mri_plot_color {
    MRI_COLOR_CLASS,
    MRI_COLOR_GROUP,
    MRI_COLOR_SPLIT
} mri_plot_color;

typedef struct mri_plot_options {
    const char *split; /* "all" */
    mri_plot_color color;
    unsigned threads;
} mri_plot_options;

typedef struct mri_plot mri_plot;

/*
 * owner   the table must outlive it
 * errors  MR_EARG  no such split; MR_EFORMAT  fewer than 2 rows; MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_plot_open(mri_plot **out, const mri_feature_table *t,
                                   const mri_plot_options *options,
                                   mr_diag *diag);
void mri_plot_close(mri_plot *plot); /* NULL is accepted */
uint64_t mri_plot_rows(const mri_plot *plot);
const mri_pca *mri_plot_pca(const mri_plot *plot);

/* False if the end of a file's name is neither .png nor .svg. */
bool mri_plot_can(const char *path);
/* Draw it into a file, whole or not at all. errors  MR_EARG  its name's end */
MR_USE_RESULT mr_err mri_plot_write(const mri_plot *plot, const char *path,
                                    mr_diag *diag);

MRI_END

#endif
