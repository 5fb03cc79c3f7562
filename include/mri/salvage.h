/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage.h - every intact sample of a damaged shard or dataset into a new
 * dataset, and the names of those that are lost.
 *
 * Nothing but the body of a shard is needed: the closing frame of a sample
 * repeats all that the foot says of it. Foot, index and manifest, where they
 * are intact, serve to name what is lost.
 */
#ifndef MRI_SALVAGE_H
#define MRI_SALVAGE_H

#include <mri/shard.h>

MRI_BEGIN

/* One sample that does not come back, or several of which nothing is known
 * but their number. */
typedef struct mri_lost {
    const char *shard;  /* path */
    const char *key;    /* NULL: not known */
    const uint8_t *uid; /* NULL: not known */
    uint64_t row;       /* its place in the shard */
    uint64_t count;     /* rows from there on; 0: nobody knows how many */
    const mr_diag *why; /* why->at: where in the shard */
} mri_lost;

typedef void mri_lost_fn(void *user, const mri_lost *lost);

typedef struct mri_salvage_options {
    const char *source;  /* a shard file, or a dataset folder: never changed */
    const char *output;  /* must not be there */
    const char *command; /* for the history, or NULL */
    mri_lost_fn *tell;
    void *user;
    const mr_watch *watch;
} mri_salvage_options;

typedef struct mri_salvaged {
    uint64_t saved;
    uint64_t lost;       /* as far as they could be counted */
    bool more_lost;      /* a shard's end is missing and nothing counts it */
    bool names_lost;     /* no copy of a schema is left: fields are "field0" */
    bool older_manifest; /* the newest cannot be read: what was withdrawn in
                            it may be among the saved */
    bool no_index;       /* of a dataset: splits are drawn anew */
    uint64_t two_labels; /* samples that stood there with two labels, of which
                            nobody knows which is the later */
    uint64_t unread;     /* bytes that the disk did not give */
    uint64_t shards, shards_hurt;
    uint64_t bytes; /* read */
    uint64_t generation;
} mri_salvaged;

/*
 * Take out what is intact. A sample is, if the checksums of all its frames
 * hold and every array in it decodes to the values that were written.
 *
 * owner   out->... nothing to free; `tell` gets pointers for the call only
 * errors  MR_OK also if samples are lost (they were told, and counted)
 *         MR_EFORMAT   output is there already or lies in the source, or the
 *                      source is neither shard nor dataset
 *         MR_ECORRUPT  not one sample is intact: nothing is created
 *         MR_EVERSION  written by another major version
 *         MR_ESTOP     the watch asked for it: nothing is left behind
 *         MR_EIO, MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_salvage(const mri_salvage_options *options,
                                 mri_salvaged *out, mr_diag *diag);

MRI_END

#endif
