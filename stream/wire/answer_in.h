/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer_in.h - the server's state machine from inside: what its three files
 * share. answer.c takes messages in, answer_job.c keeps what was asked for and
 * says whose turn it is, answer_say.c queues what is to be done.
 */
#ifndef MRI_WIRE_ANSWER_IN_H
#define MRI_WIRE_ANSWER_IN_H

#include <mri/answer.h>

typedef enum job_state { JOB_QUEUED, JOB_COMPUTING, JOB_READY } job_state;

/* One WANT. */
typedef struct job {
    struct job *next;
    uint64_t token, request, bytes, sent;
    mri_wire_want want;
    uint32_t rows;
    job_state state;
    bool orphan; /* computing for nobody */
    const uint8_t *data;
    mri_peer_id peer; /* afloat: whose it is */
} job;

typedef struct guest {
    mri_peer_id id;
    bool used;
    uint64_t heard;
    uint64_t session; /* the consumer's: another one means it begins again */
    uint64_t opening; /* token of an OPEN on its way, or 0 */
    uint64_t handle;  /* of its stream, or 0 */
    uint64_t row_bytes;
    uint64_t granted, sent; /* payload bytes */
    uint64_t held;          /* bytes of jobs computing or ready */
    uint64_t afloat;        /* bytes freed here, still with the transport */
    job *first, *last;      /* in the order in which they were asked for */
    uint32_t jobs;
} guest;

struct mri_answer {
    mri_answer_config config;
    guest *guests; /* [config.peers] */
    uint32_t turn; /* who is served first next time */
    job *orphans;  /* computing for peers that are gone */
    job *away;     /* afloat */
    uint64_t next_token;
    uint64_t held, afloat;
    bool draining, drained;
    mri_deed *deeds;
    size_t first, count, room;
    mri_bytes text;       /* descriptors of deeds */
    mri_wire_box **boxes; /* of OPEN deeds that were handed out */
    size_t box_count;
    mri_answer_counts counts;
};

/* ---- answer_say.c: each is lost where there is no memory; what is missed is
 * asked for again ---- */

/* The next deed, to be filled in; NULL: no memory. */
mri_deed *mri_answer_do(mri_answer *a, mri_deed_kind kind);
/* Send a message; `payload` must live until the deed was done. */
mri_deed *mri_answer_say(mri_answer *a, const mri_peer_id *peer,
                         const mri_wire *head, const mri_bytes *descriptor,
                         const uint8_t *payload, size_t bytes);
void mri_answer_say_plain(mri_answer *a, const mri_peer_id *peer,
                          mri_wire_type type);
void mri_answer_say_error(mri_answer *a, const mri_peer_id *peer,
                          const mr_diag *why);
void mri_answer_begin_again(mri_answer *a, const mri_peer_id *peer,
                            uint64_t stream);
void mri_answer_let_boxes_go(mri_answer *a);

/* ---- answer_job.c ---- */

guest *mri_answer_find(mri_answer *a, const mri_peer_id *id);
guest *mri_answer_admit(mri_answer *a, const mri_peer_id *id); /* NULL: full */
void mri_answer_forget(mri_answer *a, guest *g);
void mri_answer_close_stream(mri_answer *a, guest *g);
void mri_answer_drop(mri_answer *a, guest *g, job *j);
/* Send what is ready, have computed what may be: after every event. */
void mri_answer_serve(mri_answer *a);

#endif
