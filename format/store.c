/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - where a dataset lives: the doors in front of a store's table. */
#include <mri/store.h>

#include <mri/alloc.h>
#include <mri/error.h>

mr_err
mri_store_open(mri_store *s, const char *address, mr_diag *diag)
{
    *s = (mri_store){&mri_store_local, mri_strdup(address)};
    return s->root != NULL
               ? MR_OK
               : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

void
mri_store_close(mri_store *s)
{
    mri_free(s->root);
    *s = (mri_store){0};
}

mr_err
mri_store_open_at(mri_store *s, const char **name, const char *address,
                  mr_diag *diag)
{
    char *folder;

    *name = mri_path_name(address);
    folder = *name == address ? mri_strdup("") : mri_path_dir(address);
    *s = (mri_store){&mri_store_local, folder};
    return folder != NULL
               ? MR_OK
               : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

char *
mri_store_path(const mri_store *s, const char *name)
{
    return name[0] != '\0' ? mri_path_join(s->root, name) : mri_strdup(s->root);
}

mr_err
mri_store_root(const mri_store *s, mri_root *is, mr_diag *diag)
{
    return s->ops->root(s, is, diag);
}

mr_err
mri_store_lies_in(const mri_store *s, const mri_store *other, bool *inside,
                  mr_diag *diag)
{
    *inside = false;
    return s->ops == other->ops ? s->ops->lies_in(s, other, inside, diag)
                                : MR_OK;
}

mr_err
mri_store_make(const mri_store *s, bool *made, mr_diag *diag)
{
    return s->ops->make(s, made, diag);
}

void
mri_store_unmake(const mri_store *s)
{
    s->ops->unmake(s);
}

mr_err
mri_store_lock(const mri_store *s, mri_lock *lock, mr_diag *diag)
{
    return s->ops->lock(s, lock, diag);
}

void
mri_store_unlock(const mri_store *s, mri_lock *lock)
{
    if (lock->path != NULL) {
        s->ops->unlock(s, lock);
    }
}

mr_err
mri_store_has(const mri_store *s, const char *name, bool *has, mr_diag *diag)
{
    return s->ops->has(s, name, has, diag);
}

mr_err
mri_store_object(const mri_store *s, const char *name, bool use_map,
                 struct mri_object *object, mr_diag *diag)
{
    return s->ops->open(s, name, use_map, object, diag);
}

mr_err
mri_store_load(const mri_store *s, const char *name, uint64_t limit,
               mri_bytes *out, mr_diag *diag)
{
    return s->ops->load(s, name, limit, out, diag);
}

mr_err
mri_store_list(const mri_store *s, const char *folder, mri_store_each *fn,
               void *user, mr_diag *diag)
{
    return s->ops->list(s, folder, fn, user, diag);
}

mr_err
mri_store_hold(mri_hold *hold, const mri_store *s, const char *name, bool *held,
               mr_diag *diag)
{
    mr_err err;

    *hold = (mri_hold){.store = s, .fd = -1};
    err = s->ops->hold(hold, name, held, diag);
    if (err != MR_OK || !*held) {
        *hold = (mri_hold){.fd = -1};
    }
    return err;
}

void
mri_store_let_go(mri_hold *hold)
{
    if (hold->store != NULL) {
        hold->store->ops->let_go(hold);
    }
    *hold = (mri_hold){.fd = -1};
}

mr_err
mri_store_put(const mri_store *s, const char *name, const mri_bytes *content,
              mri_put_how how, mr_diag *diag)
{
    mri_upload u;
    mr_err err = mri_upload_begin(&u, s, mri_path_name(name), diag);

    if (err == MR_OK) {
        err = mri_upload_add(&u, content->data, content->len, diag);
    }
    if (err == MR_OK) {
        err = mri_upload_commit(&u, name, how, diag);
    }
    mri_upload_cancel(&u);
    return err;
}

mr_err
mri_upload_begin(mri_upload *u, const mri_store *s, const char *stem,
                 mr_diag *diag)
{
    *u = (mri_upload){.store = s, .file = {.fd = -1}};
    return s->ops->begin(s, stem, u, diag);
}

mr_err
mri_upload_add(mri_upload *u, const void *p, size_t bytes, mr_diag *diag)
{
    mr_err err = u->store->ops->add(u, p, bytes, diag);

    if (err == MR_OK) {
        u->size += bytes;
    }
    return err;
}

mr_err
mri_upload_commit(mri_upload *u, const char *name, mri_put_how how,
                  mr_diag *diag)
{
    return u->store->ops->commit(u, name, how, diag);
}

void
mri_upload_cancel(mri_upload *u)
{
    if (u->store != NULL) {
        u->store->ops->cancel(u);
    }
    *u = (mri_upload){.file = {.fd = -1}};
}

mr_err
mri_store_share(const mri_store *s, const mri_store *from, const char *name,
                bool *shared, mr_diag *diag)
{
    *shared = false;
    return s->ops == from->ops ? s->ops->share(s, from, name, shared, diag)
                               : MR_OK;
}

mr_err
mri_store_log_open(mri_store_log *log, const mri_store *s, const char *name,
                   mr_diag *diag)
{
    mr_err err;

    *log = (mri_store_log){.store = s, .fd = -1};
    err = s->ops->log_open(s, name, log, diag);
    if (err != MR_OK) {
        mri_store_log_close(log);
    }
    return err;
}

mr_err
mri_store_log_add(mri_store_log *log, const void *p, size_t bytes,
                  mr_diag *diag)
{
    mr_err err = log->store->ops->log_add(log, p, bytes, diag);

    if (err == MR_OK) {
        log->size += bytes;
    }
    return err;
}

void
mri_store_log_close(mri_store_log *log)
{
    if (log->store != NULL) {
        log->store->ops->log_close(log);
    }
    *log = (mri_store_log){.fd = -1};
}

mr_err
mri_store_remove(const mri_store *s, const char *name, mr_diag *diag)
{
    return s->ops->remove(s, name, diag);
}

bool
mri_store_end(const mri_store *s, const char *name)
{
    return s->ops->end(s, name);
}

void
mri_store_prune(const mri_store *s, const char *folder)
{
    s->ops->prune(s, folder);
}

mr_err
mri_store_sync(const mri_store *s, const char *folder, mr_diag *diag)
{
    return s->ops->sync(s, folder, diag);
}

void
mri_store_sweep(const mri_store *s)
{
    s->ops->sweep(s);
}
