/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed.h - where a mr_stream gets its rows from: this process, or servers.
 *
 * A stream asks for whole batches (its share of them) in order, up to its
 * depth ahead, and waits for them one by one. A feed fills the memory that a
 * request names, or puts memory of its own in its place. The consumer does not
 * notice which feed it is.
 */
#ifndef MRI_FEED_H
#define MRI_FEED_H

#include <mri/rows.h>

MRI_BEGIN

/* A record that could not be had; the feed has masked its row. */
typedef struct mri_lost {
    uint64_t row; /* in the request */
    uint8_t uid[MR_UID_BYTES];
    mr_diag why;
} mri_lost;

/* Rows position .. position + rows of an epoch. Zero it, then fill the first
 * part. */
typedef struct mri_request {
    uint64_t seed, epoch, position, rows;
    mr_on_damage on_damage;
    void *to[MRI_ROWS_TENSORS]; /* [tensor_count] memory, [rows] each */

    /* By the feed, when it is done. If the bytes are elsewhere than asked, to[]
     * points there and let_go(hold) gives them back; hold may be NULL. */
    mr_err err;
    mr_diag diag;
    void *hold;
    void (*let_go)(void *hold);
    mri_lost *lost; /* mri_free */
    size_t lost_count;

    /* The feed's own, while it works on it. */
    struct mri_request *next;
    uint64_t given, busy;
    bool done;
    void *work;
} mri_request;

typedef struct mri_feed mri_feed;
typedef struct mri_feed_ops {
    const mri_rows_facts *(*facts)(const mri_feed *feed);
    /* Begin; `urgent` ones come before all others. Does not wait. */
    void (*ask)(mri_feed *feed, mri_request *request, bool urgent);
    /* Until it is done, with or without success, or so much time is over;
     * then false. */
    bool (*wait)(mri_feed *feed, mri_request *request, uint64_t ns);
    /* Forget it: on return nobody writes to its memory any more. */
    void (*drop)(mri_feed *feed, mri_request *request);
    /* CPU time so far; only the three times are touched. */
    void (*count)(const mri_feed *feed, mr_stream_counters *out);
    void (*close)(mri_feed *feed);
} mri_feed_ops;

/* The first member of every feed. */
struct mri_feed {
    const mri_feed_ops *ops;
};

/* Rows computed by threads of this process. */
MR_USE_RESULT mr_err mri_feed_local(mri_feed **out,
                                    const mr_stream_options *options,
                                    mr_diag *diag);

/* A stream over any feed, which it then owns; also on error. */
MR_USE_RESULT mr_err mri_stream_over(mr_stream **out, mri_feed *feed,
                                     const mr_stream_options *options,
                                     mr_diag *diag);

MRI_END

#endif
