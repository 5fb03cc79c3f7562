/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut_log.h - everything that a program does to the files below one folder.
 *
 * A table of file calls (mri/file.h) that hands each on to the system and
 * notes what it changed, content included, and what was asked to be durable.
 */
#ifndef CUT_LOG_H
#define CUT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CUT_NONE UINT32_MAX

typedef enum cut_kind {
    CUT_ENTRY, /* a name in a folder leads to an inode now, or to none */
    CUT_WRITE,
    CUT_SYNC, /* of a file or a folder */
    CUT_MARK  /* the caller's: cut_log_mark */
} cut_kind;

/* A rename is two of them: first the new name, then the old one is none. */
typedef struct cut_op {
    cut_kind kind;
    uint32_t entry; /* CUT_ENTRY: which */
    uint32_t inode; /* CUT_ENTRY: the new one; WRITE, SYNC: whose */
    uint64_t at;
    uint8_t *data;
    size_t bytes;
    int mark;
} cut_op;

/* A name in a folder; it stays the same one when it leads elsewhere. */
typedef struct cut_entry {
    uint32_t folder; /* inode */
    char *name;
    uint32_t now; /* inode, or CUT_NONE */
} cut_entry;

typedef struct cut_log {
    char *root; /* inode 0; only what is below it is noted */
    cut_op *ops;
    size_t count;
    cut_entry *entries;
    uint32_t entry_count;
    bool *folders; /* [inode_count]: it is one */
    uint32_t inode_count;
    uint32_t of_fd[1024]; /* inode, or CUT_NONE */
    uint64_t alive;       /* calls until the program is dead: cut_log_die */
    bool dead;
} cut_log;

/* Begin with an empty folder. Out of memory ends the program. */
void cut_log_open(cut_log *log, const char *root);
void cut_log_close(cut_log *log);
/* All file calls go through the log until stop. One log at a time. */
void cut_log_start(cut_log *log);
void cut_log_stop(void);
void cut_log_mark(cut_log *log, int mark);
/* A file or folder that is there from before, and durable. The folder it lies
 * in comes first. */
void cut_log_found(cut_log *log, const char *path, bool folder,
                   const uint8_t *data, size_t bytes);
/* After `calls` more calls that change something the program is as good as
 * killed: all others fail and do nothing, until cut_log_revive. */
void cut_log_die(cut_log *log, uint64_t calls);
void cut_log_revive(cut_log *log);

#endif
