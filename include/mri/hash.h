/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash.h - XXH3 for content, SHA-256 for names.
 */
#ifndef MRI_HASH_H
#define MRI_HASH_H

#include <mri/door.h>

MRI_BEGIN

uint64_t mri_xxh3(const void *p, size_t bytes);
uint64_t mri_xxh3_seeded(const void *p, size_t bytes, uint64_t seed);
/* Of `a`, then `b`, as if they were in one place. */
uint64_t mri_xxh3_two(const void *a, size_t a_bytes, const void *b,
                      size_t b_bytes);

/* In canonical big-endian form: print the 16 bytes in order. */
void mri_xxh3_128(uint8_t out[16], const void *p, size_t bytes);

/* XXH3-64 in pieces, for what is not in one place. */
typedef struct mri_xxh3_state mri_xxh3_state;
mri_xxh3_state *mri_xxh3_begin(void); /* NULL: no memory */
void mri_xxh3_add(mri_xxh3_state *s, const void *p, size_t bytes);
uint64_t mri_xxh3_end(const mri_xxh3_state *s);
void mri_xxh3_free(mri_xxh3_state *s);

/* SHA-256 in pieces. "16 B of SHA-256" means the first 16 of out. */
typedef struct mri_sha256 mri_sha256;
mri_sha256 *mri_sha256_begin(void); /* NULL: no memory */
void mri_sha256_add(mri_sha256 *s, const void *p, size_t bytes);
void mri_sha256_u64(mri_sha256 *s, uint64_t v); /* little-endian */
void mri_sha256_end(mri_sha256 *s, uint8_t out[32]);
void mri_sha256_free(mri_sha256 *s);
void mri_sha256_of(uint8_t out[32], const void *p, size_t bytes);

MRI_END

#endif
