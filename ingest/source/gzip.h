/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip.h - gzip in memory: its first bytes, or all of it with its checksums.
 */
#ifndef SOURCE_GZIP_H
#define SOURCE_GZIP_H

#include <mri/source.h>

bool gzip_is(const uint8_t *p, size_t len);

/* The first `room` decoded bytes; returns how many there are, fewer if the
 * stream ends or is damaged. Checks nothing and cannot fail otherwise. */
size_t gzip_peek(const uint8_t *p, size_t len, uint8_t *out, size_t room);

/*
 * Decode a file of one or more members from its first byte to its last.
 *
 * out     the first `room` decoded bytes; what comes after is checked only
 * got     out: bytes that are in `out`, after an error too
 * extra   out: decoded bytes that did not fit
 * rest    out: bytes of the file after the last member
 * errors  MR_ECORRUPT  damaged, cut, or a checksum or length differs
 *         MR_ELIMIT    more than `most` bytes in all
 *         MR_ENOMEM
 */
typedef struct gzip_job {
    const uint8_t *p;
    size_t len;
    uint8_t *out;
    size_t room;
    uint64_t most;
    size_t got;
    uint64_t extra;
    uint64_t rest;
} gzip_job;

MR_USE_RESULT mr_err gzip_decode(gzip_job *job, mr_diag *diag);

#endif
