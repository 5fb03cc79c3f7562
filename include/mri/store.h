/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - where a dataset lives: named objects under one root.
 *
 * All of format/, and what ingest keeps in a dataset, lists, reads and changes
 * it through these calls. Names are relative to the root, with '/' between
 * their parts ("shards/ab/ab12.mrs"). An object is written as a whole, under a
 * name where nobody looks, and gets its own name in one step: it is there
 * entirely or not at all, and never changes. Only a log grows in place.
 *
 * What survives a power cut is said at each call. Nothing else does.
 *
 * The one store there is today is a local folder (store_local.c). The table is
 * what an object store can answer as well: get a range, list below a prefix,
 * put, put if absent, copy, delete; folders and their syncing are its own
 * matter. Locks and holds are there because only the store knows who else is
 * at it: the kernel's locks here, leases with an end elsewhere. Descriptors and
 * paths in the structs below are the local store's; nobody else touches them.
 */
#ifndef MRI_STORE_H
#define MRI_STORE_H

#include <mri/bytes.h>
#include <mri/dataset.h>
#include <mri/file.h>

MRI_BEGIN

struct mri_object; /* one that is open for reading: format/object.h */
struct mri_store_ops;

typedef struct mri_store {
    const struct mri_store_ops *ops;
    char *root;
} mri_store;

/* An object in the making. */
typedef struct mri_upload {
    const mri_store *store; /* must stay where it is */
    mri_put file;
    uint64_t size; /* of what was added */
} mri_upload;

/* An object that grows by lines. */
typedef struct mri_store_log {
    const mri_store *store;
    char *path;
    int fd;
    uint64_t size;
} mri_store_log;

/* Who reads a generation holds its manifest. store NULL: nothing is held. */
typedef struct mri_hold {
    const mri_store *store;
    int fd;
} mri_hold;

/* What there is at the address of a store. */
typedef enum mri_root {
    MRI_ROOT_NONE,
    MRI_ROOT_FOLDER, /* a store, or what can become one */
    MRI_ROOT_OBJECT, /* a single file */
    MRI_ROOT_OTHER   /* a socket, a device */
} mri_root;

/* Told of one entry of a folder: the last part of its name. Whatever but
 * MR_OK ends the listing. */
typedef mr_err mri_store_each(void *user, const char *name, mr_diag *diag);

typedef struct mri_store_ops {
    mr_err (*root)(const mri_store *s, mri_root *is, mr_diag *diag);
    mr_err (*lies_in)(const mri_store *s, const mri_store *other, bool *inside,
                      mr_diag *diag);
    mr_err (*make)(const mri_store *s, bool *made, mr_diag *diag);
    void (*unmake)(const mri_store *s);
    mr_err (*lock)(const mri_store *s, mri_lock *lock, mr_diag *diag);
    void (*unlock)(const mri_store *s, mri_lock *lock);
    mr_err (*has)(const mri_store *s, const char *name, bool *has,
                  mr_diag *diag);
    mr_err (*open)(const mri_store *s, const char *name, bool use_map,
                   struct mri_object *object, mr_diag *diag);
    mr_err (*load)(const mri_store *s, const char *name, uint64_t limit,
                   mri_bytes *out, mr_diag *diag);
    mr_err (*list)(const mri_store *s, const char *folder, mri_store_each *fn,
                   void *user, mr_diag *diag);
    mr_err (*begin)(const mri_store *s, const char *stem, mri_upload *u,
                    mr_diag *diag);
    mr_err (*add)(mri_upload *u, const void *p, size_t bytes, mr_diag *diag);
    mr_err (*commit)(mri_upload *u, const char *name, mri_put_how how,
                     mr_diag *diag);
    void (*cancel)(mri_upload *u);
    mr_err (*share)(const mri_store *s, const mri_store *from, const char *name,
                    bool *shared, mr_diag *diag);
    mr_err (*hold)(mri_hold *hold, const char *name, bool *held, mr_diag *diag);
    void (*let_go)(mri_hold *hold);
    bool (*end)(const mri_store *s, const char *name);
    mr_err (*log_open)(const mri_store *s, const char *name, mri_store_log *log,
                       mr_diag *diag);
    mr_err (*log_add)(mri_store_log *log, const void *p, size_t bytes,
                      mr_diag *diag);
    void (*log_close)(mri_store_log *log);
    mr_err (*remove)(const mri_store *s, const char *name, mr_diag *diag);
    void (*prune)(const mri_store *s, const char *folder);
    mr_err (*sync)(const mri_store *s, const char *folder, mr_diag *diag);
    void (*sweep)(const mri_store *s);
} mri_store_ops;

extern const mri_store_ops mri_store_local;

/*
 * The store at an address: today always the path of a folder, which need not
 * be there. Fills `s` in any case; mri_store_close.
 * errors  MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_store_open(mri_store *s, const char *address,
                                    mr_diag *diag);
void mri_store_close(mri_store *s); /* zeroed: accepted */
/*
 * For a single object that is named by its own address: the store of the
 * folder that it lies in; *name points into `address`.
 * errors  MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_store_open_at(mri_store *s, const char **name,
                                       const char *address, mr_diag *diag);
/* What a message calls an object; mri_free. NULL: no memory. */
char *mri_store_path(const mri_store *s, const char *name);

/* Errors of all that follow: MR_EIO with the path, MR_ENOMEM. */

/* ---- the root ---- */

MR_USE_RESULT mr_err mri_store_root(const mri_store *s, mri_root *is,
                                    mr_diag *diag);
/* Would the root of `s`, which need not be there, lie in the other store? */
MR_USE_RESULT mr_err mri_store_lies_in(const mri_store *s,
                                       const mri_store *other, bool *inside,
                                       mr_diag *diag);
/* Make the root if it is not there; its name is then durable. */
MR_USE_RESULT mr_err mri_store_make(const mri_store *s, bool *made,
                                    mr_diag *diag);
/* Take the root away if nothing is in it. */
void mri_store_unmake(const mri_store *s);
/*
 * One writer at a time, who alone may change anything; it frees itself when
 * the process ends. What a writer that was killed has committed is durable when
 * the next one has the lock.
 * errors  MR_EBUSY  held; pid and host of the holder are in the text
 */
MR_USE_RESULT mr_err mri_store_lock(const mri_store *s, mri_lock *lock,
                                    mr_diag *diag);
void mri_store_unlock(const mri_store *s,
                      mri_lock *lock); /* not held: nothing */

/* ---- reading ---- */

MR_USE_RESULT mr_err mri_store_has(const mri_store *s, const char *name,
                                   bool *has, mr_diag *diag);
/* For reading ranges of it; mri_object_close, also after the store is. */
MR_USE_RESULT mr_err mri_store_object(const mri_store *s, const char *name,
                                      bool use_map, struct mri_object *object,
                                      mr_diag *diag);
/* All of it, behind what `out` holds. MR_ELIMIT if it is over `limit`. */
MR_USE_RESULT mr_err mri_store_load(const mri_store *s, const char *name,
                                    uint64_t limit, mri_bytes *out,
                                    mr_diag *diag);
/* The entries of a folder ("" for the root), in no order. One that is not
 * there is empty, but for the root. */
MR_USE_RESULT mr_err mri_store_list(const mri_store *s, const char *folder,
                                    mri_store_each *fn, void *user,
                                    mr_diag *diag);

/*
 * Hold an object, shared with others who do. `held` is false if it is gone, or
 * is being removed right now: look again what there is. A hold ends with its
 * process, however that ends. A store that cannot tell who reads says true,
 * and leaves it to its owner to keep old generations for long enough.
 */
MR_USE_RESULT mr_err mri_store_hold(mri_hold *hold, const mri_store *s,
                                    const char *name, bool *held,
                                    mr_diag *diag);
void mri_store_let_go(mri_hold *hold); /* zeroed: accepted */

/* ---- writing: by who holds the lock ---- */

/*
 * A whole object. When it returns, its bytes and its name are durable.
 * how     NEW: MR_EBUSY if the name is taken (compare-and-swap);
 *         REPLACE: the old bytes or the new, never a mix
 */
MR_USE_RESULT mr_err mri_store_put(const mri_store *s, const char *name,
                                   const mri_bytes *content, mri_put_how how,
                                   mr_diag *diag);
/* The same in pieces; `stem` tells what it will be. After an error of any of
 * these, cancel. Nothing of it can be seen, or is durable, before commit. */
MR_USE_RESULT mr_err mri_upload_begin(mri_upload *u, const mri_store *s,
                                      const char *stem, mr_diag *diag);
MR_USE_RESULT mr_err mri_upload_add(mri_upload *u, const void *p, size_t bytes,
                                    mr_diag *diag);
MR_USE_RESULT mr_err mri_upload_commit(mri_upload *u, const char *name,
                                       mri_put_how how, mr_diag *diag);
/* Nothing stays behind of what was not committed. Zeroed: accepted. */
void mri_upload_cancel(mri_upload *u);

/* The object that `from` has under that name, here too and durable, without
 * its bytes being copied. Not `shared`, and no error: these two stores cannot
 * do that, it is to be copied. */
MR_USE_RESULT mr_err mri_store_share(const mri_store *s, const mri_store *from,
                                     const char *name, bool *shared,
                                     mr_diag *diag);
/* A shard of `from` here too: shared, or else copied, and then it gets its
 * name only if head, tails and the hash of its foot are what `ref` says.
 * errors  MR_ECORRUPT as well */
MR_USE_RESULT mr_err mri_shard_bring(const mri_store *s, const mri_store *from,
                                     const mri_shard_ref *ref, mr_diag *diag);

/*
 * A log that is not there is made, and its name is then durable. What is added
 * is durable when log_add returns; a cut before that may leave any part of it,
 * so that lines carry a checksum.
 */
MR_USE_RESULT mr_err mri_store_log_open(mri_store_log *log, const mri_store *s,
                                        const char *name, mr_diag *diag);
MR_USE_RESULT mr_err mri_store_log_add(mri_store_log *log, const void *p,
                                       size_t bytes, mr_diag *diag);
void mri_store_log_close(mri_store_log *log); /* zeroed: accepted */

/* It is gone, but may be back after a power cut until its folder is synced.
 * One that is not there is no error. */
MR_USE_RESULT mr_err mri_store_remove(const mri_store *s, const char *name,
                                      mr_diag *diag);
/* Remove an object if nobody holds it; false: somebody does, or it cannot be
 * removed. That there is none is true. */
bool mri_store_end(const mri_store *s, const char *name);
/* Where folders are things of their own: away with one that is empty. */
void mri_store_prune(const mri_store *s, const char *folder);
/* What was removed from the folder ("" for the root) stays removed. */
MR_USE_RESULT mr_err mri_store_sync(const mri_store *s, const char *folder,
                                    mr_diag *diag);
/* Remove what writers that were killed had begun. */
void mri_store_sweep(const mri_store *s);

MRI_END

#endif
