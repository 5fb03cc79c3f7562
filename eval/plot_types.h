/* SPDX-License-Identifier: Apache-2.0 */
/* plot_types.h - a plot, computed, and how it is drawn. */
#ifndef EVAL_PLOT_TYPES_H
#define EVAL_PLOT_TYPES_H

#include <mri/bytes.h>
#include <mri/plot.h>

#define PLOT_KINDS 24 /* entries of the legend, "others" beside them */

/* What has one colour and one shape. */
typedef struct plot_kind {
    char name[64]; /* cut, at a character's end */
    uint64_t count;
    bool grey; /* no value, or what the legend has no room for */
} plot_kind;

struct mri_plot {
    const mri_feature_table *t;
    uint32_t *rows; /* [count] of the table */
    uint64_t count;
    mri_pca pca;
    const char *legend; /* "class" */
    plot_kind kinds[PLOT_KINDS + 1];
    uint32_t kind_count;
    uint8_t *kind; /* [count]: which one a row is */
    char title[160], subtitle[200];
};

/* owner  out: mri_bytes_release. errors  MR_ENOMEM */
MR_USE_RESULT mr_err plot_draw_png(const mri_plot *p, mri_bytes *out,
                                   mr_diag *diag);
MR_USE_RESULT mr_err plot_draw_svg(const mri_plot *p, mri_bytes *out,
                                   mr_diag *diag);

/* Distances between ticks, 1, 2 or 5 times a power of ten, so that there are
 * 4 to 10 in a span; span > 0. */
double plot_step(double span);

#endif
