/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cut_disk.h - what may be found on a disk whose power went in the middle.
 *
 * The file system assumed is the least that POSIX promises. fsync of a file
 * makes its bytes and its size durable, fsync of a folder its entries; nothing
 * else is, in any order. So of a log that ended after n calls
 *   - an entry of a folder leads to what it led to at the folder's last fsync,
 *     or to anything it led to since;
 *   - a write since the file's last fsync is there, or not, or left its length
 *     without its bytes, or some of its 512- or 4096-byte blocks;
 *   - each of these is independent of all the others.
 * One entry changes as a whole, and what lies in a folder that is not there is
 * not there either.
 */
#ifndef CUT_DISK_H
#define CUT_DISK_H

#include "cut_log.h"

/* One thing that is open: an entry, or a write. */
typedef struct cut_dial {
    bool write;
    uint32_t index; /* of the entry, or of the op */
    uint32_t ways;  /* 0: as at the last fsync */
    uint32_t now;   /* the way that the program sees */
    uint32_t first; /* an entry: in `inodes` */
} cut_dial;

typedef struct cut_disk {
    const cut_log *log;
    size_t prefix;
    cut_dial *dials;
    size_t dial_count;
    uint32_t *inodes;      /* what entries can lead to */
    uint32_t *entries;     /* [entry_count]: where there is no dial */
    uint32_t *entry_dials; /* [entry_count], or CUT_NONE */
    uint32_t *op_dials;    /* [prefix], or CUT_NONE */
} cut_disk;

enum { CUT_LOST, CUT_WHOLE, CUT_ZEROS, CUT_TORN, CUT_WAYS };

/* A file or a folder of a state. */
typedef struct cut_node {
    char *path; /* below the root */
    bool folder;
    uint8_t *data;
    size_t bytes;
} cut_node;

typedef struct cut_state {
    cut_node *nodes; /* a folder before what lies in it */
    size_t count;
    uint64_t hash;
} cut_state;

void cut_disk_at(cut_disk *d, const cut_log *log, size_t prefix);
void cut_disk_release(cut_disk *d);
/* Of the dials; UINT64_MAX if that is too many to count. Torn is one way. */
uint64_t cut_disk_states(const cut_disk *d);
/* The state where each dial stands at value[dial]; `seed` tears. */
void cut_state_of(cut_state *s, const cut_disk *d, const uint32_t *value,
                  uint64_t seed);
void cut_state_release(cut_state *s);
/* Write it below `root`, which is there and empty. */
void cut_state_write(const cut_state *s, const char *root);
const cut_node *cut_state_find(const cut_state *s, const char *path);

#endif
