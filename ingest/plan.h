/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - which files become which samples of which shards.
 *
 * Made from names and sizes alone, so that the same folder gives the same plan
 * on every machine, and a plan of ten million files costs no decoding.
 */
#ifndef MRI_PLAN_H
#define MRI_PLAN_H

#include "arena.h"

#include <mri/ingest.h>
#include <mri/record.h>

/* A file of an item; a stack has several, a NIfTI pair two. */
typedef struct mri_plan_file {
    const char *name; /* below its SOURCE, the bytes of the file system */
    uint64_t bytes;
    uint32_t source; /* which SOURCE */
} mri_plan_file;

/* What becomes one sample (or several: the pages of one file). */
typedef struct mri_plan_item {
    const char *key; /* UTF-8, unique in the plan */
    mri_plan_file *files;
    const char **channels; /* [file_count] names, of a stack; else NULL */
    uint32_t file_count;
    bool pair;              /* files are a .hdr and its .img */
    uint32_t split;         /* 0 train, 1 val, 2 test; MRI_SPLIT_BY_HASH */
    uint32_t class_index;   /* after mri_plan_pack */
    const char *class_name; /* NULL if it has none */
    const char *group;      /* "" if it has none */
    uint64_t bytes;         /* of its files */
} mri_plan_item;

typedef struct mri_plan {
    const mri_ingest_options *options;
    mri_arena arena;
    mri_layout layout;
    mri_plan_item *items; /* by key */
    uint64_t count;
    const char **classes; /* those of the dataset first, then by name */
    uint32_t class_count;
    uint64_t *shard_first; /* [shards + 1], numbers of items */
    uint32_t shards;
    char *config; /* canonical JSON */
    uint64_t ignored, unmatched, bytes;
} mri_plan;

/*
 * Walk the sources.
 * errors  MR_EARG     two inputs with the same key, a bad pattern
 *         MR_EIO      a SOURCE or a folder in it cannot be read
 *         MR_EFORMAT  nothing there that could be an image
 *         MR_ENOMEM
 * owner   mri_plan_release, also after an error
 */
MR_USE_RESULT mr_err mri_plan_make(mri_plan *plan,
                                   const mri_ingest_options *options,
                                   mr_diag *diag);
/* Drop the items for which keep[i] is false. */
void mri_plan_filter(mri_plan *plan, const bool *keep);
/* Number classes and cut shards; after filtering. The classes that the
 * dataset has keep their numbers. */
MR_USE_RESULT mr_err mri_plan_pack(mri_plan *plan, const mr_dataset *dataset,
                                   mr_diag *diag);
void mri_plan_release(mri_plan *plan);

/* The tag that binds a shard to its inputs. False: no memory. */
bool mri_plan_tag(const mri_plan *plan, uint32_t shard, uint8_t tag[16]);
/* The file's path, as it is opened; mri_free. NULL: no memory. */
char *mri_plan_path(const mri_plan *plan, const mri_plan_file *file);

/* walk.c: every file below the sources that is not plainly something else. */
typedef struct mri_found {
    const char *name;
    uint64_t bytes;
    uint32_t source;
} mri_found;

typedef struct mri_walk {
    mri_arena *arena;
    const char *output; /* the dataset that is being made; NULL: none */
    mri_found *files;
    uint64_t count, room, ignored;
} mri_walk;

MR_USE_RESULT mr_err mri_walk_source(mri_walk *w, const char *source,
                                     uint32_t number, mr_diag *diag);

#endif
