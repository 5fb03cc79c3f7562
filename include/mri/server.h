/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the long-running service that computes rows for consumers.
 */
#ifndef MRI_SERVER_H
#define MRI_SERVER_H

#include <mri/answer.h>
#include <mri/endpoint.h>

MRI_BEGIN

typedef struct mri_server_options {
    const char *const *datasets; /* NAME.mr[@GENERATION] */
    size_t dataset_count;
    const char *const *listen; /* endpoints; none: the user's own */
    size_t listen_count;
    uint64_t memory;  /* computed and not yet sent */
    uint32_t threads; /* 0: one for each CPU */
    /* Told once each address answers; on the caller's thread. */
    void (*ready)(void *user, const char *endpoint);
    void *user;
    bool (*stop)(void *user); /* polled: true begins the drain */
} mri_server_options;

mri_server_options mri_server_defaults(void);

typedef struct mri_server mri_server;

/*
 * Open the datasets, bind the addresses, start the threads.
 * errors  MR_EAUTH, MR_EARG, MR_EBUSY, MR_EIO (addresses) and those of
 *         mr_dataset_open
 */
MR_USE_RESULT mr_err mri_server_open(mri_server **out,
                                     const mri_server_options *options,
                                     mr_diag *diag);
/* Serve until stop says so, then finish what was begun. */
MR_USE_RESULT mr_err mri_server_run(mri_server *server, mr_diag *diag);
void mri_server_counts(const mri_server *server, mri_answer_counts *out);
void mri_server_close(mri_server *server); /* NULL is accepted */

MRI_END

#endif
