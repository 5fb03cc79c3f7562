/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generation.h - generations after the first: what differs between two,
 * samples withdrawn, an older one brought back. Only compacting deletes.
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

/* Another label for a sample, named by key or by uid (32 hex digits). */
typedef struct mri_relabel_row {
    const char *key, *uid;          /* one of them */
    const char *class_name, *group; /* NULL: as it is; "": none */
} mri_relabel_row;

typedef struct mri_relabel_options {
    const char *dataset;
    const mri_relabel_row *rows;
    size_t count;
    bool dry_run;
    const char *reason, *command; /* for history.jsonl; may be NULL */
    const mr_watch *watch;
} mri_relabel_options;

typedef struct mri_relabel_report {
    uint64_t before;     /* the generation that was in force */
    uint64_t generation; /* that was made; 0: none */
    uint64_t *ranks;     /* [count] in `before`: what changes */
    uint64_t count;
    uint64_t same;        /* named, and labelled so already */
    uint64_t regrouped;   /* of `count`, with another group */
    uint32_t new_classes; /* that the dataset did not have */
} mri_relabel_report;

/*
 * Make a generation in which some samples have another class or group. They
 * keep their uids, hence every draw. With its class alone a sample keeps its
 * split; with another group it goes to that group's, as a new sample would.
 *
 * errors  MR_EARG      a name that is not known, a sample named twice, not
 *                      the generation in force: nothing changes
 *         MR_ECORRUPT  a sample is damaged: nothing changes
 *         MR_EBUSY, MR_EIO, MR_ENOMEM, MR_ESTOP
 * owner   report is filled in any case; mri_relabel_report_release
 */
MR_USE_RESULT mr_err mri_dataset_relabel(const mri_relabel_options *options,
                                         mri_relabel_report *report,
                                         mr_diag *diag);
void mri_relabel_report_release(mri_relabel_report *report);

typedef struct mri_compact_options {
    const char *dataset;
    bool purge;    /* forget the withdrawn altogether */
    bool keep_old; /* the older generations, with the shards they need */
    bool dry_run;
    unsigned workers;
    const char *reason, *command; /* for history.jsonl; may be NULL */
    const mr_watch *watch;
} mri_compact_options;

typedef struct mri_compact_report {
    uint64_t before;             /* the generation that was in force */
    uint64_t generation;         /* that was made; 0: none */
    uint32_t shards;             /* of `before` */
    uint32_t rewritten;          /* of these, with dead rows */
    uint32_t dropped;            /* of these, with nothing else */
    uint64_t dead;               /* rows: withdrawn or superseded */
    uint64_t withdrawn;          /* names on the list, forgotten by a purge */
    uint64_t bytes, bytes_after; /* of all shards; after: 0 in a dry run */
    uint64_t generations;        /* that are not kept any more */
    uint64_t held;               /* of these, still read by somebody */
    uint32_t gone_shards;        /* that no generation names any more */
    uint64_t gone_bytes;
    uint64_t lines;  /* of history and quarantine, cleaned by a purge */
    bool unfinished; /* an interrupted ingest was there; a purge ends it */
} mri_compact_report;

/*
 * Make a generation with the same content whose shards hold no dead rows:
 * those that have some are written anew from what is stored, proven on the
 * way. Then the older generations and what only they need are removed, except
 * what somebody still reads: that goes with a later writer.
 *
 * A purge also leaves no trace of the withdrawn: the list of them, lines of
 * history and quarantine that name them, an unfinished ingest.
 *
 * errors  MR_EARG      not the generation in force
 *         MR_ECORRUPT  a sample is damaged: nothing changes
 *         MR_EBUSY     another writer holds the dataset; after a purge that
 *                      was made: somebody still reads an older generation
 *         MR_EIO, MR_ENOMEM, MR_ESTOP
 */
MR_USE_RESULT mr_err mri_dataset_compact(const mri_compact_options *options,
                                         mri_compact_report *report,
                                         mr_diag *diag);

MRI_END

#endif
