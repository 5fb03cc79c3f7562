/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend.h - the border between the engine and a device.
 *
 * A back end is a table: how to open an execution context, how to get memory
 * and move bytes, and the operations (op.h). `ref` is always there, `cpu` if
 * oneDNN was found, `cuda` if its module can be loaded.
 *
 * Threads: one mri_exec belongs to one thread at a time; different ones may
 * be used at once.
 */
#ifndef MRI_BACKEND_H
#define MRI_BACKEND_H

#include <mri/error.h>
#include <mri/op.h>

MRI_BEGIN

#define MRI_BACKEND_VERSION 1

typedef struct mri_exec_options {
    unsigned threads; /* host threads to compute with; 0: all there are */
    unsigned device;  /* which GPU; 0 for host back ends */
} mri_exec_options;

typedef struct mri_backend mri_backend;

/* What every back end's own context begins with. */
struct mri_exec {
    const mri_backend *backend;
    mr_diag diag; /* why the last operation failed */
};

/* Facts about an open context, for reports. */
typedef struct mri_device_info {
    char name[128];
    unsigned threads; /* host threads, or multiprocessors */
    uint64_t memory;  /* bytes on the device; 0: the host's own */
    uint64_t scratch; /* bytes that operations hold by now */
} mri_device_info;

struct mri_backend {
    uint32_t version; /* MRI_BACKEND_VERSION */
    uint32_t bytes;   /* sizeof (mri_backend) where it was compiled */
    uint32_t ops_bytes;
    bool host; /* device memory is host memory */
    const char *name;
    const mri_ops *ops;

    /* errors  MR_EDEVICE (no such device), MR_ENOMEM, MR_EARG */
    mr_err (*open)(mri_exec **out, const mri_exec_options *options,
                   mr_diag *diag);
    void (*close)(mri_exec *exec); /* NULL is accepted */
    /* True for the element types that its operations take. */
    bool (*computes)(mr_dtype dtype);
    void (*info)(const mri_exec *exec, mri_device_info *out);

    /* Memory is 64-byte aligned and not zeroed. Copies and fill are in order
     * with the operations; put and get return when the host's side is done
     * with. */
    mr_err (*alloc)(mri_exec *exec, void **out, uint64_t bytes);
    void (*free)(mri_exec *exec, void *p);
    mr_err (*put)(mri_exec *exec, void *to, const void *host, uint64_t bytes);
    mr_err (*get)(mri_exec *exec, void *host, const void *from, uint64_t bytes);
    mr_err (*fill)(mri_exec *exec, void *to, int byte, uint64_t bytes);
    mr_err (*sync)(mri_exec *exec); /* wait until all of it is done */
};

extern const mri_backend mri_backend_ref;

/* The names there may be: "ref", "cpu", "cuda"; NULL at the end. */
extern const char *const mri_backend_names[];

/*
 * The back end of that name. `lib` is the folder of modules (the build's or
 * the prefix's lib/millrace; NULL: only MILLRACE_LIB is looked at): it comes
 * from the program, never from data.
 *
 * errors  MR_EARG     no such name
 *         MR_EDEVICE  not built, or its module does not load: the text names
 *                     what is missing
 */
MR_USE_RESULT mr_err mri_backend_find(const mri_backend **out, const char *name,
                                      const char *lib, mr_diag *diag);

/* Operations in short; a failure's text is moved from exec to diag. */
MR_USE_RESULT mr_err mri_exec_open(mri_exec **out, const mri_backend *backend,
                                   const mri_exec_options *options,
                                   mr_diag *diag);
void mri_exec_close(mri_exec *exec);

/* For back ends: fill exec->diag and return the mr_err of `code`. */
mr_err mri_exec_fail(mri_exec *exec, mri_code code, const char *fmt, ...)
    MRI_PRINTF(3, 4);

/*
 * What a module gets from the program, so that it takes nothing by symbol;
 * and the one symbol that it exports. It answers NULL, and says why through
 * fail, if the versions do not fit or the device's libraries are missing.
 */
typedef struct mri_host {
    uint32_t version; /* MRI_BACKEND_VERSION */
    uint32_t bytes;   /* sizeof (mri_host) */
    uint32_t backend_bytes, ops_bytes;
    void *(*alloc)(size_t count, size_t size);
    void (*free)(void *p);
    mr_err (*fail)(mr_diag *diag, mri_code code, uint64_t at, const char *fmt,
                   ...) MRI_PRINTF(4, 5);
} mri_host;
typedef const mri_backend *mri_backend_v1_fn(const mri_host *host,
                                             mr_diag *diag);

MRI_END

#endif
