/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c - many small texts that live and die together. */
#include "arena.h"

#include <mri/alloc.h>

#include <string.h>

#define BLOCK 65536u
#define ALIGN 16u

struct mri_arena_block {
    struct mri_arena_block *next;
    max_align_t data[];
};

void *
mri_arena_take(mri_arena *a, size_t bytes)
{
    void *p;

    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (bytes > a->left) {
        size_t room = bytes > BLOCK ? bytes : BLOCK;
        struct mri_arena_block *b = mri_alloc(1, sizeof *b + room);

        if (b == NULL) {
            return NULL;
        }
        b->next = a->blocks;
        a->blocks = b;
        a->at = (char *)b->data;
        a->left = room;
    }
    p = a->at;
    a->at += bytes;
    a->left -= bytes;
    return p;
}

char *
mri_arena_text(mri_arena *a, const char *text, size_t bytes)
{
    char *copy = mri_arena_take(a, bytes + 1);

    if (copy != NULL) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

char *
mri_arena_join(mri_arena *a, const char *dir, const char *name)
{
    size_t n = strlen(dir), m = strlen(name), slash = n != 0 ? 1 : 0;
    char *path = mri_arena_take(a, n + slash + m + 1);

    if (path != NULL) {
        memcpy(path, dir, n);
        if (slash != 0) {
            path[n] = '/';
        }
        memcpy(path + n + slash, name, m);
    }
    return path;
}

void
mri_arena_release(mri_arena *a)
{
    while (a->blocks != NULL) {
        struct mri_arena_block *next = a->blocks->next;

        mri_free(a->blocks);
        a->blocks = next;
    }
    *a = (mri_arena){0};
}
