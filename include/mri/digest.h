/* SPDX-License-Identifier: Apache-2.0 */
/*
 * digest.h - a batch in a line: what `millrace batch --hash` prints.
 *
 * A row's digest is XXH3-128 of its little-endian bytes, a tensor's hash
 * XXH3-128 over its rows' digests in order (settled rule 23).
 */
#ifndef MRI_DIGEST_H
#define MRI_DIGEST_H

#include <millrace/stream.h>
#include <mri/bytes.h>

MRI_BEGIN

/* "epoch index rows name:dtype[shape]=xxh128 ...\n". False: no memory. */
bool mri_batch_line(mri_bytes *out, const mr_batch *b);
/* One line a row: "epoch index row uid name:dtype[shape]=xxh128 ...\n". */
bool mri_batch_row_lines(mri_bytes *out, const mr_batch *b);
/* The hash of one tensor, canonical form. False: no memory. */
bool mri_tensor_hash(uint8_t out[16], const mr_tensor *t);

MRI_END

#endif
