/* SPDX-License-Identifier: Apache-2.0 */
/* cut_log.c - everything that a program does to the files below one folder. */
#include "cut_log.h"

#include <mri/file.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cut_log *now; /* that file calls go to */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *
grown(void *list, size_t count, size_t size)
{
    void *p = realloc(list, (count + 1) * size);

    if (p == NULL) {
        perror("cut_log");
        abort();
    }
    memset((char *)p + count * size, 0, size);
    return p;
}

static cut_op *
add_op(cut_log *log, cut_kind kind)
{
    log->ops = grown(log->ops, log->count, sizeof *log->ops);
    log->ops[log->count].kind = kind;
    return &log->ops[log->count++];
}

static uint32_t
add_inode(cut_log *log, bool folder)
{
    log->folders = grown(log->folders, log->inode_count, sizeof *log->folders);
    log->folders[log->inode_count] = folder;
    return log->inode_count++;
}

static uint32_t
entry_of(cut_log *log, uint32_t folder, const char *name, size_t bytes)
{
    cut_entry *e;

    for (uint32_t i = 0; i < log->entry_count; i++) {
        e = &log->entries[i];
        if (e->folder == folder && strlen(e->name) == bytes &&
            memcmp(e->name, name, bytes) == 0) {
            return i;
        }
    }
    log->entries = grown(log->entries, log->entry_count, sizeof *log->entries);
    e = &log->entries[log->entry_count];
    e->folder = folder;
    e->name = grown(NULL, bytes, 1);
    memcpy(e->name, name, bytes);
    e->now = CUT_NONE;
    return log->entry_count++;
}

static void
set_entry(cut_log *log, uint32_t entry, uint32_t inode)
{
    cut_op *op;

    if (log->entries[entry].now != inode) {
        log->entries[entry].now = inode;
        op = add_op(log, CUT_ENTRY);
        op->entry = entry;
        op->inode = inode;
    }
}

/* The entry that a path ends in, or CUT_NONE if it is not below the root; in
 * *inode where the path leads now. */
static uint32_t
walk(cut_log *log, const char *path, uint32_t *inode)
{
    size_t root = strlen(log->root);
    uint32_t entry = CUT_NONE;

    *inode = CUT_NONE;
    if (strncmp(path, log->root, root) != 0 ||
        (path[root] != '/' && path[root] != '\0')) {
        return CUT_NONE;
    }
    *inode = 0;
    path += root;
    for (;;) {
        size_t n;

        path += strspn(path, "/");
        n = strcspn(path, "/");
        if (n == 0 || *inode == CUT_NONE) {
            return entry;
        }
        entry = entry_of(log, *inode, path, n);
        *inode = log->entries[entry].now;
        path += n;
    }
}

/* A file that is there, to the last byte. */
static void
add_found(cut_log *log, uint32_t inode, const uint8_t *data, size_t bytes)
{
    cut_op *op;

    if (bytes != 0) {
        op = add_op(log, CUT_WRITE);
        op->inode = inode;
        op->bytes = bytes;
        op->data = grown(NULL, bytes, 1);
        memcpy(op->data, data, bytes);
        add_op(log, CUT_SYNC)->inode = inode;
    }
}

static uint32_t *
place_of(int fd)
{
    if (fd < 0 || fd >= (int)(sizeof now->of_fd / sizeof now->of_fd[0])) {
        (void)fprintf(stderr, "cut_log: descriptor %d\n", fd);
        abort();
    }
    return &now->of_fd[fd];
}

/* Nothing happens any more once the program is dead. */
static bool
dead(void)
{
    bool was;

    pthread_mutex_lock(&lock);
    was = now->alive == 0;
    now->dead = now->dead || was;
    now->alive -= !was && now->alive != UINT64_MAX;
    pthread_mutex_unlock(&lock);
    errno = was ? EIO : errno;
    return was;
}

static int
log_open(const char *path, int flags, mode_t mode)
{
    int fd = (flags & O_CREAT) != 0 && dead()
                 ? -1
                 : mri_file_system.open(path, flags, mode);
    uint32_t entry, inode;

    pthread_mutex_lock(&lock);
    if (fd >= 0) {
        entry = walk(now, path, &inode);
        if (inode != CUT_NONE && (flags & O_TRUNC) != 0) {
            (void)fprintf(stderr, "cut_log: %s is truncated\n", path);
            abort(); /* nothing of ours does, so it is not in the model */
        }
        if (entry != CUT_NONE && inode == CUT_NONE && (flags & O_CREAT) != 0) {
            inode = add_inode(now, false);
            set_entry(now, entry, inode);
        }
        *place_of(fd) = inode;
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static int
log_close(int fd)
{
    pthread_mutex_lock(&lock);
    *place_of(fd) = CUT_NONE;
    pthread_mutex_unlock(&lock);
    return mri_file_system.close(fd);
}

static ssize_t
log_pwrite(int fd, const void *p, size_t bytes, off_t at)
{
    ssize_t n = dead() ? -1 : mri_file_system.pwrite(fd, p, bytes, at);

    pthread_mutex_lock(&lock);
    if (n > 0 && *place_of(fd) != CUT_NONE) {
        cut_op *op = add_op(now, CUT_WRITE);

        op->inode = *place_of(fd);
        op->at = (uint64_t)at;
        op->bytes = (size_t)n;
        op->data = grown(NULL, op->bytes, 1);
        memcpy(op->data, p, op->bytes);
    }
    pthread_mutex_unlock(&lock);
    return n;
}

/* It counts when it has come back. */
static int
log_fsync(int fd)
{
    int rc = dead() ? -1 : mri_file_system.fsync(fd);

    pthread_mutex_lock(&lock);
    if (rc == 0 && *place_of(fd) != CUT_NONE) {
        add_op(now, CUT_SYNC)->inode = *place_of(fd);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

/* A file from outside the root lay there long before. */
static int
log_link(const char *from, const char *to)
{
    int rc = dead() ? -1 : mri_file_system.link(from, to);
    uint32_t entry, inode, was;
    mri_bytes b = {0};

    if (rc == 0 && mri_file_load(from, UINT32_MAX, &b, NULL) != MR_OK) {
        (void)fprintf(stderr, "cut_log: %s cannot be read\n", from);
        abort();
    }
    pthread_mutex_lock(&lock);
    (void)walk(now, from, &inode);
    entry = walk(now, to, &was);
    if (rc == 0 && entry != CUT_NONE) {
        if (inode == CUT_NONE) {
            inode = add_inode(now, false);
            add_found(now, inode, b.data, b.len);
        }
        set_entry(now, entry, inode);
    }
    pthread_mutex_unlock(&lock);
    mri_bytes_release(&b);
    return rc;
}

static void
log_move(const char *from, const char *to, int rc)
{
    uint32_t entry, target, inode, was;

    pthread_mutex_lock(&lock);
    entry = walk(now, from, &inode);
    target = walk(now, to, &was);
    if (rc == 0 && entry != CUT_NONE && target != CUT_NONE) {
        set_entry(now, target, inode);
        set_entry(now, entry, CUT_NONE);
    }
    pthread_mutex_unlock(&lock);
}

static int
log_rename(const char *from, const char *to)
{
    int rc = dead() ? -1 : mri_file_system.rename(from, to);

    log_move(from, to, rc);
    return rc;
}

static int
log_rename_new(const char *from, const char *to)
{
    int rc = dead() ? -1 : mri_file_system.rename_new(from, to);

    log_move(from, to, rc);
    return rc;
}

static void
log_gone(const char *path, int rc)
{
    uint32_t entry, inode;

    pthread_mutex_lock(&lock);
    entry = walk(now, path, &inode);
    if (rc == 0 && entry != CUT_NONE) {
        set_entry(now, entry, CUT_NONE);
    }
    pthread_mutex_unlock(&lock);
}

static int
log_unlink(const char *path)
{
    int rc = dead() ? -1 : mri_file_system.unlink(path);

    log_gone(path, rc);
    return rc;
}

static int
log_rmdir(const char *path)
{
    int rc = dead() ? -1 : mri_file_system.rmdir(path);

    log_gone(path, rc);
    return rc;
}

static int
log_mkdir(const char *path, mode_t mode)
{
    int rc = dead() ? -1 : mri_file_system.mkdir(path, mode);
    uint32_t entry, inode;

    pthread_mutex_lock(&lock);
    entry = walk(now, path, &inode);
    if (rc == 0 && entry != CUT_NONE) {
        set_entry(now, entry, add_inode(now, true));
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

static mri_file_ops table; /* the system's, with these in front */

void
cut_log_open(cut_log *log, const char *root)
{
    *log = (cut_log){.root = grown(NULL, strlen(root), 1), .alive = UINT64_MAX};
    memcpy(log->root, root, strlen(root));
    for (size_t i = 0; i < sizeof log->of_fd / sizeof log->of_fd[0]; i++) {
        log->of_fd[i] = CUT_NONE;
    }
    (void)add_inode(log, true);
}

void
cut_log_close(cut_log *log)
{
    for (size_t i = 0; i < log->count; i++) {
        free(log->ops[i].data);
    }
    for (uint32_t i = 0; i < log->entry_count; i++) {
        free(log->entries[i].name);
    }
    free(log->ops);
    free(log->entries);
    free(log->folders);
    free(log->root);
}

void
cut_log_start(cut_log *log)
{
    now = log;
    table = mri_file_system;
    table.open = log_open;
    table.close = log_close;
    table.pwrite = log_pwrite;
    table.fsync = log_fsync;
    table.link = log_link;
    table.rename = log_rename;
    table.rename_new = log_rename_new;
    table.unlink = log_unlink;
    table.mkdir = log_mkdir;
    table.rmdir = log_rmdir;
    mri_file_use(&table);
}

void
cut_log_stop(void)
{
    mri_file_use(NULL);
}

void
cut_log_mark(cut_log *log, int mark)
{
    add_op(log, CUT_MARK)->mark = mark;
}

void
cut_log_found(cut_log *log, const char *path, bool folder, const uint8_t *data,
              size_t bytes)
{
    char *whole = grown(NULL, strlen(log->root) + strlen(path) + 1, 1);
    uint32_t entry, inode, above;

    (void)sprintf(whole, "%s/%s", log->root, path);
    entry = walk(log, whole, &inode);
    above = log->entries[entry].folder;
    inode = add_inode(log, folder);
    set_entry(log, entry, inode);
    add_found(log, inode, data, folder ? 0 : bytes);
    add_op(log, CUT_SYNC)->inode = above;
    free(whole);
}

void
cut_log_die(cut_log *log, uint64_t calls)
{
    log->alive = calls;
    log->dead = false;
}

void
cut_log_revive(cut_log *log)
{
    log->alive = UINT64_MAX;
}
