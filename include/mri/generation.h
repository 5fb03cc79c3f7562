/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generation.h - generations after the first: what differs between two,
 * samples withdrawn, an older one brought back. Nothing is ever deleted.
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

typedef struct mri_names {
    const char *const *at;
    size_t count;
} mri_names;

typedef struct mri_withdraw_options {
    const char *dataset;
    mri_names keys, uids, groups; /* uids: 32 hex digits */
    bool dry_run;
    const char *reason, *command; /* for history.jsonl; may be NULL */
    const mr_watch *watch;
} mri_withdraw_options;

typedef struct mri_withdraw_report {
    uint64_t before;     /* the generation that was in force */
    uint64_t generation; /* that was made; 0: none */
    uint64_t *ranks;     /* [count] in `before`, ascending: what goes */
    uint64_t count;
    uint64_t already; /* names given that were withdrawn before */
} mri_withdraw_report;

/*
 * Make a generation without some samples: those of a key, of a uid, of a
 * group. Shards stay as they are; the samples stay out when their source is
 * ingested again. What was withdrawn before is no error; with nothing else
 * asked, no generation is made.
 *
 * errors  MR_EARG    a name that is not known (the nearest one is said), not
 *                    the generation in force, all samples: nothing changes
 *         MR_EBUSY   another writer holds the dataset
 *         MR_EIO, MR_ECORRUPT, MR_ENOMEM, MR_ESTOP
 * owner   report is filled in any case; mri_withdraw_report_release
 */
MR_USE_RESULT mr_err mri_dataset_withdraw(const mri_withdraw_options *options,
                                          mri_withdraw_report *report,
                                          mr_diag *diag);
void mri_withdraw_report_release(mri_withdraw_report *report);

typedef struct mri_rollback_options {
    const char *thing; /* NAME.mr@N */
    bool dry_run;
    const char *reason, *command; /* for history.jsonl; may be NULL */
    const mr_watch *watch;
} mri_rollback_options;

typedef struct mri_rollback_report {
    uint64_t before, target;
    bool same;           /* what is in force has that content already */
    uint64_t generation; /* that was made; 0: none */
} mri_rollback_report;

/*
 * Make a generation whose content is that of an older one: same samples,
 * labels and splits, same content_id; samples withdrawn since are back.
 *
 * errors  MR_EARG      no generation is named, or there is none of it
 *         MR_ECORRUPT  its shards do not give its content any more
 *         MR_EBUSY, MR_EIO, MR_ENOMEM, MR_ESTOP
 */
MR_USE_RESULT mr_err mri_dataset_rollback(const mri_rollback_options *options,
                                          mri_rollback_report *report,
                                          mr_diag *diag);

MRI_END

#endif
