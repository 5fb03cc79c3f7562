/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zstd_frame.h - libzstd in memory that the caller lends: a frame of known
 * length, and nothing that such a frame could ask for beyond it.
 */
#ifndef MRI_ZSTD_FRAME_H
#define MRI_ZSTD_FRAME_H

#include <millrace/base.h>

/* Bytes of `work` (aligned to 8) for either direction. */
size_t mri_zstd_pack_work(void);
size_t mri_zstd_unpack_work(void);
/* Bytes written, at most `room`; 0: it does not fit. */
size_t mri_zstd_pack(uint8_t *to, size_t room, const uint8_t *from, size_t n,
                     void *work);
/*
 * Exactly `n` bytes out of exactly one frame that says so and names no
 * dictionary; else false.
 */
MR_USE_RESULT bool mri_zstd_unpack(uint8_t *to, size_t n, const uint8_t *from,
                                   size_t bytes, void *work);

#endif
