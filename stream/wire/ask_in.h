/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask_in.h - the inside of the consumer's state machine.
 */
#ifndef MRI_ASK_IN_H
#define MRI_ASK_IN_H

#include <mri/ask.h>

typedef enum peer_state {
    PEER_DOWN,     /* not heard of, or gone: HELLO now and then */
    PEER_OPENING,  /* it welcomed us; OPEN is on its way */
    PEER_READY,    /* may be asked */
    PEER_DRAINING, /* finishes what it was asked, takes nothing more */
    PEER_REFUSED   /* it will never do; why is in `refusal` */
} peer_state;

typedef struct peer {
    peer_state state;
    uint64_t heard, said_hello, said_ping; /* times */
    uint64_t session;           /* a new one each time that we begin again */
    uint64_t handle;            /* of the stream, there */
    uint64_t limit;             /* bytes that it lets us ask for */
    uint64_t asked;             /* bytes on their way */
    uint64_t granted, received; /* payload bytes, since it opened */
    double rate;                /* bytes a nanosecond, of late; 0: not known */
    uint64_t rate_at, rate_received;
    mr_diag refusal;
} peer;

/* A piece is asked of one server, or of two when the first one is late. */
typedef struct copy {
    uint32_t server;
    uint64_t sent;
} copy;

typedef struct asked {
    mri_piece piece;
    uint64_t request; /* our number of it, ascending */
    uint64_t total;   /* bytes */
    uint64_t missed;  /* a bit for each server that does not have it */
    copy copies[2];
    unsigned copy_count;
    uint64_t got;    /* bytes */
    mri_act *lack;   /* what the last MISS said, or NULL */
    uint8_t *chunks; /* a flag for each MRI_WIRE_PAYLOAD that came */
} asked;

struct mri_ask {
    mri_ask_config config;
    uint64_t began, heard; /* when; by anyone */
    peer peers[MRI_ASK_SERVERS];
    asked *pieces; /* ascending by request */
    size_t piece_count, piece_room;
    uint64_t next_request;
    bool opened, failed;
    mri_wire_opened opened_as;
    mri_wire_box *opened_box;
    mri_bytes opened_copy;  /* what opened_as was read from */
    double latency, spread; /* of pieces, nanoseconds: mean and deviation */
    mri_act *acts;          /* a queue; descriptors lie in `text` */
    size_t act_first, act_count, act_room;
    mri_bytes text;
    bool no_memory;
};

/* ask.c */
void mri_ask_say(mri_ask *a, uint32_t server, const mri_wire *head,
                 const mri_bytes *descriptor);
mri_act *mri_ask_act(mri_ask *a, mri_act_kind kind);

/* ask_piece.c: pieces and who is asked for them. */
void mri_ask_assign(mri_ask *a, uint64_t now);
void mri_ask_release_peer(mri_ask *a, uint32_t server); /* its copies are off */
void mri_ask_have(mri_ask *a, uint64_t now, uint32_t server,
                  const mri_message *m);
void mri_ask_miss(mri_ask *a, uint64_t now, uint32_t server,
                  const mri_message *m);
void mri_ask_hedge(mri_ask *a, uint64_t now);  /* ask a second server */
void mri_ask_expire(mri_ask *a, uint64_t now); /* ask again: it was lost */
void mri_ask_settle(mri_ask *a);               /* give up what nobody has */
void mri_ask_pieces_free(mri_ask *a);

#endif
