/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - messages between consumers and servers of a stream.
 *
 * Every message stands alone: a header of 64 bytes, a descriptor, at most one
 * payload of 1 MiB. A batch is several of them, in any order. Bytes and rules:
 * docs/wire-protocol.md.
 */
#ifndef MRI_WIRE_H
#define MRI_WIRE_H

#include <millrace/tensor.h>
#include <mri/bytes.h>
#include <mri/door.h>

MRI_BEGIN

enum {
    MRI_WIRE_HEADER = 64,
    MRI_WIRE_LOW = 1, /* versions that we speak */
    MRI_WIRE_HIGH = 1,
    MRI_WIRE_PAYLOAD = 1 << 20,
    MRI_WIRE_DESCRIPTOR = 64 << 10,
    MRI_WIRE_TENSORS = 64,
    MRI_WIRE_HINTS = 6
};

typedef enum mri_wire_type {
    MRI_WIRE_HELLO = 1, /* consumer: who I am, versions */
    MRI_WIRE_WELCOME,   /* server: version chosen, datasets, limit */
    MRI_WIRE_OPEN,      /* consumer: a stream, please */
    MRI_WIRE_OPENED,    /* server: its id, tensors, handle (in `stream`) */
    MRI_WIRE_WANT,      /* consumer: rows */
    MRI_WIRE_HAVE,      /* server: a part of them */
    MRI_WIRE_MISS,      /* server: a row that is damaged here */
    MRI_WIRE_CANCEL,    /* consumer: no longer wanted */
    MRI_WIRE_CREDIT,    /* consumer: so many payload bytes in all (`offset`) */
    MRI_WIRE_PING,
    MRI_WIRE_PONG,
    MRI_WIRE_DRAIN, /* server: going away, ask others */
    MRI_WIRE_BYE,   /* either: forget me */
    MRI_WIRE_ERROR, /* server: an OPEN or a peer that is refused */
    MRI_WIRE_STAT   /* reserved: counters of a server */
} mri_wire_type;

/* flags of an ERROR: the server does not know the consumer, or the stream that
 * `stream` names: HELLO is due. Without it the refusal is for good. */
enum { MRI_WIRE_BEGIN_AGAIN = 1 };

/*
 * The fields of a header; which of them a type uses is in the document.
 * offset, total: bytes of the answer to one WANT: the tensors in order of
 * name, each with its rows one after the other.
 */
typedef struct mri_wire {
    uint16_t version, type;
    uint32_t flags;
    uint64_t stream;
    uint64_t
        request; /* header field "batch": the consumer's number of a WANT */
    uint32_t row_first, row_count;
    uint64_t offset, total;
} mri_wire;

/* A message in pieces, as ZeroMQ carries it. */
typedef struct mri_message {
    mri_wire head;
    const uint8_t *descriptor;
    size_t descriptor_bytes;
    const uint8_t *payload; /* NULL: none */
    size_t payload_bytes;
} mri_message;

/* Write a header over descriptor and payload. */
void mri_wire_put(uint8_t to[MRI_WIRE_HEADER], const mri_message *m);

/*
 * Check a header with its parts; the message points into them.
 * errors  MR_EFORMAT   no header of ours
 *         MR_ECORRUPT  a checksum, or a size over its bound
 *         MR_EVERSION  a version that we do not speak (head is filled)
 */
MR_USE_RESULT mr_err mri_wire_get(mri_message *m, const uint8_t *header,
                                  size_t header_bytes,
                                  const uint8_t *descriptor,
                                  size_t descriptor_bytes,
                                  const uint8_t *payload, size_t payload_bytes,
                                  mr_diag *diag);

/* ---- descriptors: plain values; texts point into the message or the box ---- */

typedef struct mri_wire_dataset {
    const char *name;
    uint8_t dataset_id[16], content_id[16];
    uint64_t generation, samples;
} mri_wire_dataset;

typedef struct mri_wire_welcome {
    uint32_t version;
    const char *build;
    uint8_t fingerprint[16];
    uint64_t limit_bytes;
    const mri_wire_dataset *datasets;
    uint32_t dataset_count;
} mri_wire_welcome;

typedef struct mri_wire_open {
    const char *dataset, *split, *pipeline, *order, *tail;
    bool has_content_id;
    uint8_t content_id[16];
    uint64_t generation;
} mri_wire_open;

typedef struct mri_wire_tensor {
    const char *name;
    mr_dtype dtype;
    uint32_t rank;
    uint64_t shape[MR_MAX_RANK];
    uint64_t row_bytes;
} mri_wire_tensor;

typedef struct mri_wire_opened {
    uint8_t stream_id[16];
    uint64_t samples;
    mri_wire_tensor tensors[MRI_WIRE_TENSORS];
    uint32_t tensor_count;
    uint64_t row_bytes; /* of all tensors */
    const char *canonical;
    const char **classes;
    const char **channels;
    uint32_t class_count, channel_count;
    uint16_t hints[MRI_WIRE_HINTS]; /* docs/stream-order.md, 4 */
} mri_wire_opened;

typedef struct mri_wire_want {
    uint64_t seed, epoch, position;
} mri_wire_want;

typedef struct mri_wire_hello {
    uint32_t version_low, version_high;
    const char *build;
    uint8_t fingerprint[16];
} mri_wire_hello;

/* A descriptor that was taken apart; texts live as long as it does. */
typedef struct mri_wire_box mri_wire_box;
void mri_wire_box_free(mri_wire_box *box);

/* Append a packed descriptor; false: no memory. */
bool mri_wire_put_hello(mri_bytes *out, const mri_wire_hello *d);
bool mri_wire_put_welcome(mri_bytes *out, const mri_wire_welcome *d);
bool mri_wire_put_open(mri_bytes *out, const mri_wire_open *d);
bool mri_wire_put_opened(mri_bytes *out, const mri_wire_opened *d);
bool mri_wire_put_want(mri_bytes *out, const mri_wire_want *d);
bool mri_wire_put_miss(mri_bytes *out, const uint8_t uid[16],
                       const mr_diag *why);
bool mri_wire_put_error(mri_bytes *out, const mr_diag *why);

/* errors  MR_ECORRUPT (nonsense in it), MR_ENOMEM; then *box is NULL */
MR_USE_RESULT mr_err mri_wire_get_hello(mri_wire_hello *d, mri_wire_box **box,
                                        const mri_message *m, mr_diag *diag);
MR_USE_RESULT mr_err mri_wire_get_welcome(mri_wire_welcome *d,
                                          mri_wire_box **box,
                                          const mri_message *m, mr_diag *diag);
MR_USE_RESULT mr_err mri_wire_get_open(mri_wire_open *d, mri_wire_box **box,
                                       const mri_message *m, mr_diag *diag);
MR_USE_RESULT mr_err mri_wire_get_opened(mri_wire_opened *d, mri_wire_box **box,
                                         const mri_message *m, mr_diag *diag);
MR_USE_RESULT mr_err mri_wire_get_want(mri_wire_want *d, const mri_message *m,
                                       mr_diag *diag);
MR_USE_RESULT mr_err mri_wire_get_miss(uint8_t uid[16], mr_diag *why,
                                       const mri_message *m, mr_diag *diag);
/* What the server said, as an error of our own. */
MR_USE_RESULT mr_err mri_wire_get_error(mr_diag *why, uint32_t *version_low,
                                        uint32_t *version_high,
                                        const mri_message *m, mr_diag *diag);

MRI_END

#endif
