/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask.h - the consumer's half of the protocol, as a state machine.
 *
 * It has no clock, no socket and no thread: events go in with the time, actions
 * come out. Rows are asked for in pieces; each piece goes to the server that
 * should answer it first, and to another one when it does not come. Any
 * server's answer will do, as all of them are the same bytes.
 */
#ifndef MRI_ASK_H
#define MRI_ASK_H

#include <mri/wire.h>

MRI_BEGIN

#define MRI_ASK_SERVERS 64

typedef struct mri_ask_config {
    uint32_t servers;         /* 1 .. MRI_ASK_SERVERS */
    const char *const *names; /* [servers]: the dataset at each, "" if it has
                                  only one */
    mri_wire_hello hello;
    mri_wire_open open;
    bool has_stream_id; /* a resume: no other stream will do */
    uint8_t stream_id[16];
    uint64_t window_bytes; /* granted to each server; at least 2 MiB */
    uint64_t heartbeat_ns; /* a sign of life from us, and of them */
    uint64_t silent_ns;    /* after which a server is passed over */
    uint64_t connect_ns;   /* until one has answered at all */
    uint64_t patience_ns;  /* while all are silent; UINT64_MAX: for ever */
} mri_ask_config;

/* 1 s, 3 s, 5 s, 60 s, 64 MiB; the rest zero. */
mri_ask_config mri_ask_defaults(void);

/* Rows [position, position + rows) of an epoch. */
typedef struct mri_piece {
    uint64_t id; /* the caller's */
    uint64_t seed, epoch, position;
    uint32_t rows;
} mri_piece;

typedef enum mri_act_kind {
    MRI_ACT_NONE,
    MRI_ACT_SEND,    /* to server: header and descriptor */
    MRI_ACT_OPENED,  /* the stream is known; the first server of it answered */
    MRI_ACT_DATA,    /* bytes of a piece, each byte once */
    MRI_ACT_DONE,    /* all bytes of a piece were given */
    MRI_ACT_MISSING, /* a row of the piece is damaged on every server */
    MRI_ACT_WARN,    /* `diag` tells; the stream goes on */
    MRI_ACT_FAIL     /* `diag` tells; nothing more will come */
} mri_act_kind;

typedef struct mri_act {
    mri_act_kind kind;
    uint32_t server;
    uint8_t header[MRI_WIRE_HEADER];
    const uint8_t *descriptor; /* until the next action is taken */
    size_t descriptor_bytes;
    uint64_t piece;      /* its id */
    uint64_t offset;     /* DATA: of the piece's bytes */
    const uint8_t *data; /* into the message of the event */
    size_t bytes;
    uint32_t row;    /* MISSING: within the piece */
    uint8_t uid[16]; /* MISSING */
    mr_diag diag;
} mri_act;

typedef struct mri_ask mri_ask;

/* The texts of the config must outlive it. errors  MR_ENOMEM */
MR_USE_RESULT mr_err mri_ask_open(mri_ask **out, const mri_ask_config *config,
                                  uint64_t now, mr_diag *diag);
void mri_ask_close(mri_ask *ask);

/* Events. After each of them take all actions. */
void mri_ask_tick(mri_ask *ask, uint64_t now);
void mri_ask_message(mri_ask *ask, uint64_t now, uint32_t server,
                     const mri_message *m);
/* Want a piece; only after MRI_ACT_OPENED. False: no memory. */
bool mri_ask_want(mri_ask *ask, uint64_t now, const mri_piece *piece);
/* No longer wanted; an unknown id is no harm. */
void mri_ask_cancel(mri_ask *ask, uint64_t now, uint64_t id);
/* Say good-bye to all servers. */
void mri_ask_bye(mri_ask *ask);

/* The next action; MRI_ACT_NONE when there is none. */
void mri_ask_next(mri_ask *ask, mri_act *act);

/* When tick is due at the latest. */
uint64_t mri_ask_due(const mri_ask *ask, uint64_t now);
/* What was opened; after MRI_ACT_OPENED. */
const mri_wire_opened *mri_ask_opened(const mri_ask *ask);
/* Servers that answer just now. */
uint32_t mri_ask_ready(const mri_ask *ask);

MRI_END

#endif
