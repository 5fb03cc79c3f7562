/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_bytes.h - what holds for every reader of our files and any bytes: it
 * ends, takes no more memory than they allow, gives it all back, and a refusal
 * has a number and a text.
 *
 * Checksums would stop every change at the door. So an input says in its first
 * byte whether they are made right before it is read.
 */
#ifndef MR_FUZZ_BYTES_H
#define MR_FUZZ_BYTES_H

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/crc32c.h>
#include <mri/error.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <warm.h>

enum {
    FUZZ_MEND = 1, /* make the checksums right */
    FUZZ_MAP = 2,  /* read through a mapping, not by pread */
    FUZZ_AGREE = 4 /* let what is said twice agree */
};

static inline void
hold(bool condition)
{
    if (!condition) {
        abort();
    }
}

static volatile uint64_t fuzz_sink; /* so that every byte is read */

static inline void
fuzz_touch(const void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        fuzz_sink += ((const uint8_t *)p)[i];
    }
}

/* MR_OK, or a refusal that says what is wrong. */
static inline bool
fuzz_ok(mr_err err, mr_diag *diag)
{
    hold(err == MR_OK || (diag->err == err && diag->text[0] != '\0'));
    mri_diag_clear(diag);
    return err == MR_OK;
}

/* A small machine for what follows; nothing of it may be left at the end. */
static inline void
fuzz_begin(void)
{
    static bool warm;

    if (!warm) {
        warm_mappings();
        warm = true;
    }
    mri_alloc_limit((int64_t)64 << 20);
}

/* All was given back, and never more than `bytes` was held. */
static inline void
fuzz_end(uint64_t bytes)
{
    int64_t most;

    hold(mri_alloc_held(&most) == 0);
    hold((uint64_t)most <= bytes);
    mri_alloc_limit(-1);
}

/* A file without a name on a disk, for readers that want a path. */
typedef struct fuzz_file {
    int fd;
    char path[32];
} fuzz_file;

static inline const char *
fuzz_put(fuzz_file *f, const void *p, size_t bytes)
{
    static const char digits[] = "0123456789";

    if (f->path[0] == '\0') {
        f->fd = memfd_create("fuzz", MFD_CLOEXEC);
        hold(f->fd >= 0 && f->fd < 100);
        memcpy(f->path, "/proc/self/fd/", 14);
        f->path[14] = digits[f->fd / 10];
        f->path[15] = digits[f->fd % 10];
        if (f->path[14] == '0') {
            f->path[14] = f->path[15];
            f->path[15] = '\0';
        }
    }
    hold(ftruncate(f->fd, 0) == 0);
    hold(pwrite(f->fd, p, bytes, 0) == (ssize_t)bytes);
    return f->path;
}

/* A copy of exactly `size` bytes: a byte too many read is seen. */
static inline uint8_t *
fuzz_exact(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size != 0 ? size : 1);

    hold(copy != NULL);
    memcpy(copy, data, size);
    return copy;
}

/* Each line that is long enough gets the checksum of the rest of it. */
static inline void
fuzz_mend_lines(uint8_t *p, size_t size)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t at = 0, end; at < size; at = end + 1) {
        const uint8_t *stop = memchr(p + at, '\n', size - at);
        uint32_t sum;

        end = stop != NULL ? (size_t)(stop - p) : size;
        if (end - at < 9) {
            continue;
        }
        sum = mri_crc32c(0, p + at + 9, end - at - 9);
        for (unsigned i = 0; i < 8; i++) {
            p[at + i] = (uint8_t)digits[sum >> (28 - 4 * i) & 15];
        }
        p[at + 8] = ' ';
    }
}

#endif
