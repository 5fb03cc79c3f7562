/* SPDX-License-Identifier: Apache-2.0 */
/*
 * endpoint.h - addresses of servers, and which of them are allowed.
 *
 * ipc:///PATH and tcp://HOST:PORT on loopback. Anything else is refused: without
 * keys, images would be open to whoever can reach the address.
 */
#ifndef MRI_ENDPOINT_H
#define MRI_ENDPOINT_H

#include <mri/door.h>

MRI_BEGIN

#define MRI_ENDPOINT_BYTES 256

/* One address, and the dataset that is meant there. */
typedef struct mri_endpoint {
    char address[MRI_ENDPOINT_BYTES]; /* as ZeroMQ takes it */
    char name[128];                   /* after '#'; "" if there is none */
    bool ipc;                         /* a socket with a path */
} mri_endpoint;

/* The socket's path; only if it is ipc. */
const char *mri_endpoint_path(const mri_endpoint *e);

/* True if a SOURCE names servers and not a dataset. */
bool mri_is_endpoint(const char *source);

/*
 * errors  MR_EARG  not an address
 *         MR_EAUTH an address off loopback
 */
MR_USE_RESULT mr_err mri_endpoint_parse(mri_endpoint *out, const char *text,
                                        size_t bytes, mr_diag *diag);
/* ENDPOINT[#NAME]{,ENDPOINT[#NAME]}: at most `room`; MR_EARG for more. */
MR_USE_RESULT mr_err mri_endpoint_list(mri_endpoint *out, size_t room,
                                       size_t *count, const char *source,
                                       mr_diag *diag);

/* The user's own ipc address, its folder made (mode 0700).
 * errors  MR_EIO  no such folder can be had */
MR_USE_RESULT mr_err mri_endpoint_default(mri_endpoint *out, mr_diag *diag);

/*
 * Before an ipc socket is bound: its folder belongs to us or root and cannot
 * be changed by others (unless it is sticky); a lock beside it is ours; a
 * socket that a dead server left is removed.
 * errors  MR_EBUSY  a live server; its pid and host are in the text
 *         MR_EIO    the folder
 * owner   *lock: what mri_lock_release of mri/dataset.h takes
 */
struct mri_lock;
MR_USE_RESULT mr_err mri_endpoint_claim(const mri_endpoint *e,
                                        struct mri_lock *lock, mr_diag *diag);

MRI_END

#endif
