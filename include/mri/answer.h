/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer.h - the server's half of the protocol, as a state machine.
 *
 * It has no clock, no socket and no thread. It keeps no state that matters:
 * rows are computed when they are asked for, by whoever asks. What it does
 * decide is whose turn it is, and that nobody makes it hold more than was
 * granted, nor all of them together more than it has. What the transport has
 * taken and not passed on counts: a consumer that does not read keeps it there.
 */
#ifndef MRI_ANSWER_H
#define MRI_ANSWER_H

#include <mri/wire.h>

MRI_BEGIN

/* A consumer's address, as the transport knows it. */
typedef struct mri_peer_id {
    uint8_t bytes[32];
    uint8_t len;
} mri_peer_id;

typedef struct mri_answer_config {
    const char *build;
    uint8_t fingerprint[16];
    const mri_wire_dataset *datasets;
    uint32_t dataset_count;
    uint64_t memory_bytes; /* computed and not yet gone, of all peers */
    uint64_t peer_bytes;   /* asked for by one peer, at most; gone neither */
    uint64_t silent_ns;    /* a peer that says nothing so long is forgotten */
    uint32_t peers;        /* at most */
} mri_answer_config;

/* 1 GiB, 64 MiB, 15 s, 256; the rest zero. */
mri_answer_config mri_answer_defaults(void);

typedef enum mri_deed_kind {
    MRI_DEED_NONE,
    MRI_DEED_SEND,    /* to peer: header, descriptor, maybe a payload */
    MRI_DEED_OPEN,    /* open a stream, then call mri_answer_opened */
    MRI_DEED_COMPUTE, /* compute rows, then call mri_answer_computed */
    MRI_DEED_FREE,    /* the memory of a token is no longer needed */
    MRI_DEED_CLOSE,   /* a peer uses stream `handle` no longer */
    MRI_DEED_DRAINED  /* after mri_answer_drain: nothing is left to do */
} mri_deed_kind;

typedef struct mri_deed {
    mri_deed_kind kind;
    mri_peer_id peer;
    uint8_t header[MRI_WIRE_HEADER];
    const uint8_t *descriptor; /* until the next deed is taken */
    size_t descriptor_bytes;
    const uint8_t *payload; /* SEND: into the memory of a token, until FREE */
    size_t payload_bytes;
    uint64_t token;     /* OPEN, COMPUTE, FREE; SEND: of the payload */
    size_t text_at;     /* private */
    mri_wire_open open; /* OPEN: texts until the next deed is taken */
    uint64_t handle;    /* COMPUTE, CLOSE */
    mri_wire_want want; /* COMPUTE */
    uint32_t rows;
    uint64_t bytes;
} mri_deed;

typedef struct mri_answer mri_answer;

MR_USE_RESULT mr_err mri_answer_open(mri_answer **out,
                                     const mri_answer_config *config,
                                     mr_diag *diag);
void mri_answer_close(mri_answer *a);

/* Events. After each of them take all deeds. */
void mri_answer_message(mri_answer *a, uint64_t now, const mri_peer_id *peer,
                        const mri_message *m);
void mri_answer_tick(mri_answer *a, uint64_t now);
/* An OPEN is done: its handle (not 0) and what it is, or why not. */
void mri_answer_opened(mri_answer *a, uint64_t now, uint64_t token,
                       uint64_t handle, const mri_wire_opened *opened,
                       const mr_diag *why);
/*
 * A COMPUTE is done: `data` of the bytes asked for, the caller's until FREE;
 * or NULL, and then row `row` of sample `uid` could not be had.
 */
void mri_answer_computed(mri_answer *a, uint64_t now, uint64_t token,
                         const uint8_t *data, uint32_t row,
                         const uint8_t uid[16], const mr_diag *why);
/* Nothing holds the memory of a token any more, some time after its FREE: the
 * transport has passed it on or thrown it away. Each FREE needs one. */
void mri_answer_gone(mri_answer *a, uint64_t now, uint64_t token);
/* Finish what was begun, take nothing new. */
void mri_answer_drain(mri_answer *a, uint64_t now);

/* The next deed; MRI_DEED_NONE when there is none. */
void mri_answer_next(mri_answer *a, mri_deed *deed);

typedef struct mri_answer_counts {
    uint32_t peers, queued, computing, ready;
    uint64_t held_bytes;   /* computing and computed */
    uint64_t orphan_bytes; /* of these: computing for peers that are gone */
    uint64_t afloat_bytes; /* freed here, and still with the transport */
    uint64_t sent_bytes, rows, misses, refused;
} mri_answer_counts;
void mri_answer_count(const mri_answer *a, mri_answer_counts *out);

MRI_END

#endif
