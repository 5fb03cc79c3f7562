/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc.h - the one door to malloc.
 */
#ifndef MRI_ALLOC_H
#define MRI_ALLOC_H

#include <mri/door.h>

MRI_BEGIN

/* Zeroed; NULL if count * size overflows or memory is out. Never NULL for
 * count 0. */
void *mri_alloc(size_t count, size_t size);
/* Not zeroed, 64-byte aligned: pixels, chunks. */
void *mri_alloc_pixels(size_t count, size_t size);
/* Grow or shrink, keeping what fits; on NULL the old block is still yours. */
void *mri_resize(void *old, size_t count, size_t size);
/* A copy with a closing zero; NULL stays NULL. */
char *mri_strdup(const char *s);
/* NULL is accepted. For all of the above. */
void mri_free(void *p);

/* False (and *out untouched) if a * b or a + b does not fit. */
bool mri_mul(uint64_t a, uint64_t b, uint64_t *out);
bool mri_add(uint64_t a, uint64_t b, uint64_t *out);

/*
 * For tests: let the n-th allocation from now (0 = the next) and all after it
 * fail; a negative n never fails. Returns how many were made since last time.
 */
int64_t mri_alloc_fail_at(int64_t n);
int64_t mri_alloc_fail_once(int64_t n); /* the n-th alone */
/*
 * For tests: count the bytes held from now on, beginning with 0, and refuse
 * what would make them more than `bytes`; negative: neither any more.
 */
void mri_alloc_limit(int64_t bytes);
/* The bytes held now; *at_most: the most that were at once. Since then. */
int64_t mri_alloc_held(int64_t *at_most);

MRI_END

#endif
