/* SPDX-License-Identifier: Apache-2.0 */
/* salvage_out.c - the folder that a salvage makes. */
#include "salvage_out.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <stdio.h>
#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
make_folder(mri_salvage_out *out, const char *source, mr_diag *diag)
{
    bool inside = false;
    mri_store from;
    mr_err err = mri_store_open(&from, source, diag);

    if (err == MR_OK) {
        err = mri_store_lies_in(&out->store, &from, &inside, diag);
    }
    mri_store_close(&from);
    if (err != MR_OK) {
        return err;
    }
    if (inside) {
        return mri_fail(diag, MRI_E_SALVAGE_OUTPUT, MR_NOWHERE,
                        "lies in the source, which is never changed");
    }
    err = mri_store_make(&out->store, &out->made, diag);
    if (err == MR_OK && !out->made) {
        err = mri_fail(diag, MRI_E_SALVAGE_OUTPUT, MR_NOWHERE,
                       "is there already");
    }
    return err;
}

mr_err
mri_salvage_out_open(mri_salvage_out *out, const char *dir, const char *source,
                     mr_diag *diag)
{
    mr_err err;

    *out = (mri_salvage_out){.lock = {.fd = -1}};
    err = mri_store_open(&out->store, dir, diag);
    if (err == MR_OK) {
        err = make_folder(out, source, diag);
    }
    if (err == MR_OK) {
        err = mri_store_lock(&out->store, &out->lock, diag);
    }
    if (err != MR_OK) {
        mri_diag_in(diag, dir);
    }
    return err;
}

mr_err
mri_salvage_out_add(mri_salvage_out *out, const mri_shard_ref *ref,
                    mr_diag *diag)
{
    mri_shard_ref *grown =
        mri_resize(out->refs, (size_t)out->count + 1, sizeof *grown);

    if (grown == NULL) {
        return no_memory(diag);
    }
    out->refs = grown;
    grown[out->count++] = *ref;
    return MR_OK;
}

static bool
ours(const char *name)
{
    return strcmp(name, "shards") == 0 || strcmp(name, "journal") == 0 ||
           strncmp(name, "manifest.", 9) == 0 ||
           strncmp(name, "index.", 6) == 0 || strncmp(name, ".part-", 6) == 0;
}

typedef struct removal {
    const mri_store *store;
    char folder[256];
    unsigned depth;
} removal;

static mr_err remove_one(void *user, const char *last, mr_diag *diag);

static void
remove_all(const removal *r)
{
    removal all = *r;

    if (mri_store_list(r->store, r->folder, remove_one, &all, NULL) == MR_OK &&
        r->depth > 0) {
        mri_store_prune(r->store, r->folder);
    }
}

/* What cannot be removed is a folder. */
static mr_err
remove_one(void *user, const char *last, mr_diag *diag)
{
    const removal *r = user;
    removal in = {.store = r->store, .depth = r->depth + 1};
    int n = snprintf(in.folder, sizeof in.folder, "%s%s%s", r->folder,
                     r->depth > 0 ? "/" : "", last);

    (void)diag;
    if (n < 0 || (size_t)n >= sizeof in.folder ||
        (r->depth == 0 && !ours(last))) {
        return MR_OK;
    }
    if (mri_store_remove(r->store, in.folder, NULL) != MR_OK && r->depth < 2) {
        remove_all(&in);
    }
    return MR_OK;
}

void
mri_salvage_out_close(mri_salvage_out *out, bool committed)
{
    if (out->made) {
        mri_store_unlock(&out->store, &out->lock);
        if (!committed) {
            remove_all(&(removal){.store = &out->store});
            mri_store_unmake(&out->store);
        }
    }
    mri_free(out->refs);
    mri_store_close(&out->store);
    *out = (mri_salvage_out){.lock = {.fd = -1}};
}
