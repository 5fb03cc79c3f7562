/* SPDX-License-Identifier: Apache-2.0 */
/*
 * survey.h - statistics of a field, chunk after chunk, while a chunk is in the
 * cache: its moments by channel, and the rows of the chunk statistics.
 */
#ifndef MRI_SURVEY_H
#define MRI_SURVEY_H

#include "moments.h"

#include <mri/bytes.h>

/* A label array that lies over an image: where a value above zero stands,
 * there is foreground. */
typedef struct mri_cover {
    const mri_grid_row *grid;
    const uint8_t *pixels; /* row-major; NULL: there is none */
} mri_cover;

/*
 * Is `l` a label and `g` none, and does it lie over it? Along Z Y X both have the same axes and
 * lengths, along C and T the label has one element or as many as the image,
 * and it has no other axis.
 */
bool mri_cover_fits(const mri_grid_row *l, const mri_grid_row *g);

/* A byte for each element of a box of `g`, 1 under a label above zero; `g` has
 * an axis. False: no memory. */
bool mri_cover_under(mri_bytes *out, const mri_cover *cover,
                     const mri_grid_row *g, const mr_box *box);

typedef struct mri_survey {
    const mri_grid_row *g;
    double slope, inter;
    mri_cover cover;
    uint32_t channels;
    mri_tally *tally;     /* [channels], then [channels] of the foreground */
    mri_bytes under;      /* of the chunk: a byte an element, 1 under cover */
    mri_label_row *label; /* table of the chunk's values, by hash */
    uint32_t label_count; /* in it */
} mri_survey;

/* False: no memory; mri_survey_release in any case. */
bool mri_survey_begin(mri_survey *s, const mri_grid_row *g, double slope,
                      double inter, const mri_cover *cover);
/* A box of the field, dense. False: no memory. */
bool mri_survey_add(mri_survey *s, const mr_box *box, const void *chunk);
/* The row of such a chunk, but first_label; its labels go after those that
 * are in `labels`, rows of the table as they are in memory. */
bool mri_survey_stat(mri_survey *s, const mr_box *box, const void *chunk,
                     mri_stat_row *row, mri_bytes *labels);
/* The moments of all boxes; grid is 0. */
void mri_survey_end(const mri_survey *s, mri_moment_row *rows);
void mri_survey_release(mri_survey *s);

#endif
