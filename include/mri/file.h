/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.h - the one door to files.
 *
 * Every call that can fail for a reason outside the program goes through a
 * table, so that a test can let the n-th one fail with a chosen errno, come
 * back short, or never happen (tests/support/faulty_file.h).
 */
#ifndef MRI_FILE_H
#define MRI_FILE_H

#include <mri/bytes.h>
#include <mri/door.h>

#include <sys/stat.h>
#include <sys/types.h>

MRI_BEGIN

typedef struct mri_file_ops {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*pread)(int fd, void *p, size_t bytes, off_t at);
    ssize_t (*pwrite)(int fd, const void *p, size_t bytes, off_t at);
    int (*fsync)(int fd);
    int (*link)(const char *from, const char *to);
    int (*rename)(const char *from, const char *to);
    int (*rename_new)(const char *from, const char *to); /* or EEXIST */
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
    int (*rmdir)(const char *path);
} mri_file_ops;

extern const mri_file_ops mri_file_system; /* the operating system's */
/* Use another table (NULL: the system's). For tests; not while files are in
 * use by other threads. */
void mri_file_use(const mri_file_ops *ops);
const mri_file_ops *mri_file_now(void);

/* Errors of all that follow: MR_EIO, with diag->path set. */

/* flags as for open(2); O_CLOEXEC is added. */
MR_USE_RESULT mr_err mri_file_open(int *fd, const char *path, int flags,
                                   mode_t mode, mr_diag *diag);
/* All of it or an error; a file that ends early is MR_ECORRUPT. */
MR_USE_RESULT mr_err mri_file_read(int fd, const char *path, void *p,
                                   size_t bytes, uint64_t at, mr_diag *diag);
MR_USE_RESULT mr_err mri_file_write(int fd, const char *path, const void *p,
                                    size_t bytes, uint64_t at, mr_diag *diag);
MR_USE_RESULT mr_err mri_file_sync(int fd, const char *path, mr_diag *diag);
/* Close for good; an error of the last write may only show here. */
MR_USE_RESULT mr_err mri_file_close(int *fd, const char *path, mr_diag *diag);
/* Close on the way out of a failure; -1 is accepted. */
void mri_file_drop(int *fd);
MR_USE_RESULT mr_err mri_file_size(int fd, const char *path, uint64_t *size,
                                   mr_diag *diag);
/* The file that is open is still the one that the name leads to. */
bool mri_file_named(int fd, const char *path);
/* fsync the folder itself, so that names in it survive a power cut. */
MR_USE_RESULT mr_err mri_dir_sync(const char *dir, mr_diag *diag);
/* mkdir, and no complaint if it is there already. */
MR_USE_RESULT mr_err mri_dir_make(const char *dir, mr_diag *diag);
/* Remove the half-written files of mri_put whose writer was killed. Only for
 * who holds the folder's lock: a living writer's go as well. */
void mri_dir_sweep(const char *dir);

/* A whole file in memory. MR_ELIMIT if it is larger than `limit`. */
MR_USE_RESULT mr_err mri_file_load(const char *path, uint64_t limit,
                                   mri_bytes *out, mr_diag *diag);

typedef enum mri_put_how {
    MRI_PUT_REPLACE, /* the name shows the old bytes or the new, never a mix */
    MRI_PUT_NEW      /* MR_EBUSY if the name is taken: compare-and-swap */
} mri_put_how;

/*
 * Write a whole file so that it is there entirely or not at all, also after a
 * power cut: a dot-name beside it, fsync, rename or link, fsync of the folder.
 * On any failure the dot-name is removed.
 */
MR_USE_RESULT mr_err mri_file_put(const char *path, const void *p, size_t bytes,
                                  mri_put_how how, mr_diag *diag);

/* One such write in pieces, for what does not fit in memory. */
typedef struct mri_put {
    int fd;
    char *path, *temp;
} mri_put;

/* Fills `put` in any case. After an error of any of these, release it. */
MR_USE_RESULT mr_err mri_put_open(mri_put *put, const char *path,
                                  mr_diag *diag);
MR_USE_RESULT mr_err mri_put_commit(mri_put *put, mri_put_how how,
                                    mr_diag *diag);
/* Commit under a name that is known only now (a content hash). */
MR_USE_RESULT mr_err mri_put_commit_as(mri_put *put, const char *path,
                                       mri_put_how how, mr_diag *diag);
/* Nothing stays behind if it was not committed. Accepts what mri_put_open
 * left behind when it failed. */
void mri_put_release(mri_put *put);

/* dir/name; the caller frees with mri_free. NULL: no memory. */
char *mri_path_join(const char *dir, const char *name);
/* The folder part ("." if there is none); mri_free. */
char *mri_path_dir(const char *path);
/* The part after the last '/', in place. A closing '/' gives "". */
const char *mri_path_name(const char *path);

MRI_END

#endif
