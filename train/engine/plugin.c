/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plugin.c - back ends that live in a module of their own.
 *
 * A program that were linked with CUDA would load it at every start, and die
 * at the start where it is missing. So it is a module, opened when somebody
 * asks for it, and given all that it needs of us as a table.
 */
#include "plugin.h"

#include <mri/alloc.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY "mri_backend_v1"

static const mri_host host = {
    .version = MRI_BACKEND_VERSION,
    .bytes = sizeof(mri_host),
    .backend_bytes = sizeof(mri_backend),
    .ops_bytes = sizeof(mri_ops),
    .alloc = mri_alloc,
    .free = mri_free,
    .fail = mri_fail,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    char path[4096];
    const mri_backend *backend;
} loaded[4];

/* ISO C has no conversion from void * to a function; POSIX promises this. */
static mri_backend_v1_fn *
entry_of(void *module)
{
    void *symbol = dlsym(module, ENTRY);
    mri_backend_v1_fn *entry;

    memcpy(&entry, &symbol, sizeof entry);
    return entry;
}

/* A module of another build may know other tables: refuse it by name. */
static mr_err
check_tables(const mri_backend *b, const char *path, mr_diag *diag)
{
    if (b->version == MRI_BACKEND_VERSION && b->bytes == sizeof(mri_backend) &&
        b->ops_bytes == sizeof(mri_ops)) {
        return MR_OK;
    }
    return mri_fail(diag, MRI_E_BACKEND_VERSION, MR_NOWHERE,
                    "module %s is of another version of millrace (tables of "
                    "version %u, %u and %u bytes; expected %u, %zu and %zu)",
                    path, b->version, b->bytes, b->ops_bytes,
                    MRI_BACKEND_VERSION, sizeof(mri_backend), sizeof(mri_ops));
}

static mr_err
open_module(const mri_backend **out, const char *path, mr_diag *diag)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const mri_backend *backend;
    mri_backend_v1_fn *entry;
    mr_err err;

    if (module == NULL) {
        /* dlerror names the file, or the library that it lacks */
        return mri_fail(diag, MRI_E_BACKEND_ABSENT, MR_NOWHERE,
                        "cannot load back end: %s", dlerror());
    }
    entry = entry_of(module);
    if (entry == NULL) {
        err = mri_fail(diag, MRI_E_BACKEND_ABSENT, MR_NOWHERE,
                       "%s has no entry %s", path, ENTRY);
        goto fail;
    }
    mri_diag_clear(diag);
    backend = entry(&host, diag);
    if (backend == NULL) {
        err = diag != NULL && diag->err != MR_OK
                  ? diag->err
                  : mri_fail(diag, MRI_E_BACKEND_ABSENT, MR_NOWHERE,
                             "%s refuses to work and says not why", path);
        goto fail;
    }
    err = check_tables(backend, path, diag);
    if (err != MR_OK) {
        goto fail;
    }
    *out = backend; /* the module stays: its code may be running */
    return MR_OK;

fail:
    (void)dlclose(module);
    return err;
}

static mr_err
load_once(const mri_backend **out, const char *path, mr_diag *diag)
{
    size_t i = 0;
    mr_err err;

    while (i < MRI_COUNT(loaded) && loaded[i].backend != NULL) {
        if (strcmp(loaded[i].path, path) == 0) {
            *out = loaded[i].backend;
            return MR_OK;
        }
        i++;
    }
    err = open_module(out, path, diag);
    if (err == MR_OK && i < MRI_COUNT(loaded)) {
        (void)snprintf(loaded[i].path, sizeof loaded[i].path, "%s", path);
        loaded[i].backend = *out;
    }
    return err;
}

mr_err
plugin_load(const mri_backend **out, const char *name, const char *lib,
            mr_diag *diag)
{
    const char *forced = getenv("MILLRACE_LIB");
    char path[4096];
    mr_err err;
    int n;

    *out = NULL;
    if (forced != NULL && *forced != '\0') {
        lib = forced;
    }
    if (lib == NULL) {
        return mri_fail(diag, MRI_E_BACKEND_ABSENT, MR_NOWHERE,
                        "back end %s: no folder of modules is known", name);
    }
    n = snprintf(path, sizeof path, "%s/libmillrace_%s.so", lib, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        return mri_fail(diag, MRI_E_BACKEND_ABSENT, MR_NOWHERE,
                        "back end %s: the folder's name is too long", name);
    }
    pthread_mutex_lock(&lock);
    err = load_once(out, path, diag);
    pthread_mutex_unlock(&lock);
    return err;
}
