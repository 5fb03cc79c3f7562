/* SPDX-License-Identifier: Apache-2.0 */
/* cut_disk.c - what may be found on a disk whose power went in the middle. */
#include "cut_disk.h"

#include <mri/hash.h>

#include <scratch.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void
must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        abort();
    }
}

static void *
array(size_t count, size_t size)
{
    void *p = calloc(count + 1, size);

    must(p != NULL, "calloc");
    return p;
}

/* ---- what is open ---- */

/* After which op the inode was synced last; 0: never. */
static size_t *
last_syncs(const cut_log *log, size_t prefix)
{
    size_t *synced = array(log->inode_count, sizeof *synced);

    for (size_t i = 0; i < prefix; i++) {
        if (log->ops[i].kind == CUT_SYNC) {
            synced[log->ops[i].inode] = i + 1;
        }
    }
    return synced;
}

static void
add_write(cut_disk *d, size_t op)
{
    d->op_dials[op] = (uint32_t)d->dial_count;
    d->dials[d->dial_count++] = (cut_dial){.write = true,
                                           .index = (uint32_t)op,
                                           .ways = CUT_WAYS,
                                           .now = CUT_WHOLE};
}

/* One more inode that an entry may lead to; each once. */
static void
add_way(cut_disk *d, uint32_t entry, uint32_t inode, size_t *used)
{
    cut_dial *dial;

    if (d->entry_dials[entry] == CUT_NONE) {
        d->entry_dials[entry] = (uint32_t)d->dial_count;
        dial = &d->dials[d->dial_count++];
        *dial = (cut_dial){.index = entry, .first = (uint32_t)*used};
        /* room for all that may come: a dial's inodes lie together */
        for (size_t i = 0; i < d->prefix; i++) {
            *used += d->log->ops[i].kind == CUT_ENTRY &&
                     d->log->ops[i].entry == entry;
        }
        *used += 1;
        d->inodes[dial->first] = d->entries[entry];
        dial->ways = 1;
    }
    dial = &d->dials[d->entry_dials[entry]];
    for (uint32_t k = 0; k < dial->ways; k++) {
        if (d->inodes[dial->first + k] == inode) {
            dial->now = k;
            return;
        }
    }
    dial->now = dial->ways;
    d->inodes[dial->first + dial->ways++] = inode;
}

void
cut_disk_at(cut_disk *d, const cut_log *log, size_t prefix)
{
    size_t *synced = last_syncs(log, prefix), used = 0;

    *d = (cut_disk){.log = log, .prefix = prefix};
    d->dials = array(prefix, sizeof *d->dials);
    d->inodes = array(2 * prefix, sizeof *d->inodes);
    d->entries = array(log->entry_count, sizeof *d->entries);
    d->entry_dials = array(log->entry_count, sizeof *d->entry_dials);
    d->op_dials = array(prefix, sizeof *d->op_dials);
    for (uint32_t i = 0; i < log->entry_count; i++) {
        d->entries[i] = d->entry_dials[i] = CUT_NONE;
    }
    for (size_t i = 0; i < prefix; i++) {
        const cut_op *op = &log->ops[i];

        d->op_dials[i] = CUT_NONE;
        if (op->kind == CUT_WRITE && i >= synced[op->inode]) {
            add_write(d, i);
        } else if (op->kind == CUT_ENTRY &&
                   i < synced[log->entries[op->entry].folder]) {
            d->entries[op->entry] = op->inode;
        } else if (op->kind == CUT_ENTRY) {
            add_way(d, op->entry, op->inode, &used);
        }
    }
    free(synced);
}

void
cut_disk_release(cut_disk *d)
{
    free(d->dials);
    free(d->inodes);
    free(d->entries);
    free(d->entry_dials);
    free(d->op_dials);
    *d = (cut_disk){0};
}

uint64_t
cut_disk_states(const cut_disk *d)
{
    uint64_t n = 1;

    for (size_t i = 0; i < d->dial_count; i++) {
        if (__builtin_mul_overflow(n, d->dials[i].ways, &n)) {
            return UINT64_MAX;
        }
    }
    return n;
}

/* ---- one state ---- */

/* What is left of a write that was under way: the first sectors of it, or any
 * of its pages; the rest of its length is zeros or not there. */
static size_t
tear(uint8_t *to, const cut_op *op, uint64_t seed)
{
    size_t block = seed % 2 == 0 ? 512 : 4096;
    size_t blocks = (op->bytes + block - 1) / block;

    if (scratch_random(&seed) % 2 == 0) {
        size_t kept = (size_t)(scratch_random(&seed) % (blocks + 1)) * block;

        kept = kept < op->bytes ? kept : op->bytes;
        memcpy(to + op->at, op->data, kept);
        return kept;
    }
    for (size_t i = 0; i < blocks; i++) {
        size_t at = i * block;
        size_t n = op->bytes - at < block ? op->bytes - at : block;

        if (scratch_random(&seed) % 2 == 0) {
            memcpy(to + op->at + at, op->data + at, n);
        }
    }
    return op->bytes;
}

static void
fill_file(cut_node *node, const cut_disk *d, uint32_t inode,
          const uint32_t *value, uint64_t seed)
{
    size_t room = 0;

    for (size_t i = 0; i < d->prefix; i++) {
        const cut_op *op = &d->log->ops[i];

        if (op->kind == CUT_WRITE && op->inode == inode &&
            op->at + op->bytes > room) {
            room = (size_t)op->at + op->bytes;
        }
    }
    node->data = array(room, 1);
    for (size_t i = 0; i < d->prefix; i++) {
        const cut_op *op = &d->log->ops[i];
        size_t kept = op->bytes;
        uint32_t how = CUT_WHOLE;

        if (op->kind != CUT_WRITE || op->inode != inode) {
            continue;
        }
        how = d->op_dials[i] != CUT_NONE ? value[d->op_dials[i]] : CUT_WHOLE;
        if (how == CUT_LOST) {
            continue;
        }
        if (how == CUT_WHOLE) {
            memcpy(node->data + op->at, op->data, op->bytes);
        } else if (how == CUT_TORN) {
            kept = tear(node->data, op, seed ^ (i * 0x9E3779B97F4A7C15u));
        }
        if (kept != 0 && op->at + kept > node->bytes) {
            node->bytes = (size_t)op->at + kept;
        }
    }
}

static void
add_folder(cut_state *s, const cut_disk *d, uint32_t folder, const char *path,
           const uint32_t *value, uint64_t seed)
{
    for (uint32_t i = 0; i < d->log->entry_count; i++) {
        const cut_entry *e = &d->log->entries[i];
        uint32_t inode = d->entries[i], dial = d->entry_dials[i];
        cut_node node = {0};
        size_t n;

        if (dial != CUT_NONE) {
            inode = d->inodes[d->dials[dial].first + value[dial]];
        }
        if (e->folder != folder || inode == CUT_NONE) {
            continue;
        }
        n = strlen(path) + strlen(e->name) + 2;
        node.path = array(n, 1);
        (void)snprintf(node.path, n, "%s%s%s", path, *path != '\0' ? "/" : "",
                       e->name);
        node.folder = d->log->folders[inode];
        if (!node.folder) {
            fill_file(&node, d, inode, value, seed);
        }
        s->nodes = realloc(s->nodes, (s->count + 1) * sizeof *s->nodes);
        must(s->nodes != NULL, "realloc");
        s->nodes[s->count++] = node;
        s->hash = s->hash * 31 + mri_xxh3(node.path, strlen(node.path)) +
                  (node.folder ? 7 : mri_xxh3(node.data, node.bytes));
        if (node.folder) {
            add_folder(s, d, inode, node.path, value, seed);
        }
    }
}

void
cut_state_of(cut_state *s, const cut_disk *d, const uint32_t *value,
             uint64_t seed)
{
    *s = (cut_state){0};
    add_folder(s, d, 0, "", value, seed);
}

void
cut_state_release(cut_state *s)
{
    for (size_t i = 0; i < s->count; i++) {
        free(s->nodes[i].path);
        free(s->nodes[i].data);
    }
    free(s->nodes);
    *s = (cut_state){0};
}

void
cut_state_write(const cut_state *s, const char *root)
{
    for (size_t i = 0; i < s->count; i++) {
        const cut_node *node = &s->nodes[i];
        const char *path = scratch_path(root, node->path);

        if (node->folder) {
            must(mkdir(path, 0777) == 0, path);
        } else {
            scratch_write(path, node->data, node->bytes);
        }
    }
}

const cut_node *
cut_state_find(const cut_state *s, const char *path)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->nodes[i].path, path) == 0) {
            return &s->nodes[i];
        }
    }
    return NULL;
}
