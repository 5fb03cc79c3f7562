/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.h - many small texts that live and die together.
 */
#ifndef MRI_ARENA_H
#define MRI_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct mri_arena {
    struct mri_arena_block *blocks; /* the latest first */
    char *at;
    size_t left;
} mri_arena;

/* Zeroed, aligned for anything; NULL: no memory. */
void *mri_arena_take(mri_arena *a, size_t bytes);
/* A copy with a closing zero. */
char *mri_arena_text(mri_arena *a, const char *text, size_t bytes);
/* a followed by b, with '/' between them if a is not empty. */
char *mri_arena_join(mri_arena *a, const char *dir, const char *name);
void mri_arena_release(mri_arena *a);

#endif
