/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generation.h - what differs between two generations.
 */
#ifndef MRI_GENERATION_H
#define MRI_GENERATION_H

#include <mri/dataset.h>

MRI_BEGIN

typedef enum mri_change {
    MRI_CHANGE_ADDED,   /* only in b */
    MRI_CHANGE_GONE,    /* only in a */
    MRI_CHANGE_CONTENT, /* same key, other files or other values */
    MRI_CHANGE_LABEL,   /* same uid and values; class, group or split */
    MRI_CHANGES
} mri_change;

typedef struct mri_difference {
    mri_change change;
    uint64_t rank_a, rank_b; /* that which there is */
    bool class_differs, group_differs;
    uint32_t split_a, split_b; /* MR_ALL_SAMPLES: in none, or not there */
} mri_difference;

/* Anything but MR_OK ends the comparison with that error. */
typedef mr_err mri_difference_fn(void *user, const mri_difference *d,
                                 mr_diag *diag);

/*
 * Tell each sample that differs between two datasets: first labels and values
 * of the same uid in the order of uid, then what left, then what came. A
 * sample that both have in the same row of the same shard is not even read;
 * memory grows with the differences alone. `stop` may be NULL.
 *
 * errors  MR_EIO, MR_ECORRUPT, MR_ENOMEM, MR_ESTOP, and those of `tell`
 */
MR_USE_RESULT mr_err mri_dataset_diff(const mr_dataset *a, const mr_dataset *b,
                                      mri_difference_fn *tell, void *user,
                                      const mr_watch *watch, mr_diag *diag);

MRI_END

#endif
