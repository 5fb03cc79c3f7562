/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch.h - a folder for one test, gone afterwards.
 */
#ifndef MR_SCRATCH_H
#define MR_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new folder; the name lives until scratch_remove. Aborts if it cannot. */
char *scratch_make(void);
/* Remove the folder and all in it, and free the name. */
void scratch_remove(char *dir);
/* dir/name in one of eight rotating buffers. */
const char *scratch_path(const char *dir, const char *name);
/* Write a file; aborts if it cannot. */
void scratch_write(const char *path, const void *p, size_t bytes);
/* Entries of a folder, dot-names included, "." and ".." not. */
size_t scratch_entries(const char *dir);
/* A small deterministic source of test values (splitmix64). */
uint64_t scratch_random(uint64_t *state);

#endif
