/* SPDX-License-Identifier: Apache-2.0 */
/* weights.c - open a checkpoint, prove it, and take its tensors. */
#include <mri/weights.h>

#include "state.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <stdio.h>
#include <string.h>

struct mri_weights {
    char *path;
    mri_st *st;
    state state;
};

/* A run's folder stands for its newest checkpoint. */
static char *
file_of(const char *path)
{
    struct stat s;

    return stat(path, &s) == 0 && S_ISDIR(s.st_mode)
               ? mri_path_join(path, MRI_LAST_CHECKPOINT)
               : mri_strdup(path);
}

static mr_err
open_file(mri_weights *w, mr_diag *diag)
{
    const char *text;
    mr_err err = mri_st_open(&w->st, w->path, diag);

    if (err != MR_OK) {
        return err;
    }
    text = mri_st_meta_get(w->st, MRI_STATE_KEY);
    if (text == NULL) {
        return mri_fail(diag, MRI_E_NOT_WEIGHTS, MR_NOWHERE,
                        "holds tensors, but no " MRI_STATE_KEY
                        " that says of which network");
    }
    if (!mri_st_checked(w->st)) {
        return mri_fail(diag, MRI_E_WEIGHTS_STATE, MR_NOWHERE,
                        "has lost its checksums");
    }
    return state_parse(&w->state, text, diag);
}

mr_err
mri_weights_open(mri_weights **out, const char *path, mr_diag *diag)
{
    mri_weights *w = mri_alloc(1, sizeof *w);
    mr_err err;

    *out = NULL;
    if (w != NULL) {
        w->path = file_of(path);
    }
    if (w == NULL || w->path == NULL) {
        mri_weights_close(w);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a checkpoint");
    }
    err = open_file(w, diag);
    if (err != MR_OK) {
        mri_diag_in(diag, w->path);
        mri_weights_close(w);
        return err;
    }
    *out = w;
    return MR_OK;
}

void
mri_weights_close(mri_weights *w)
{
    if (w == NULL) {
        return;
    }
    state_release(&w->state);
    mri_st_close(w->st);
    mri_free(w->path);
    mri_free(w);
}

const char *
mri_weights_path(const mri_weights *w)
{
    return w->path;
}

const mri_weights_info *
mri_weights_info_of(const mri_weights *w)
{
    return &w->state.info;
}

const char *
mri_weights_state(const mri_weights *w)
{
    return mri_st_meta_get(w->st, MRI_STATE_KEY);
}

const char *
mri_weights_hash(const mri_weights *w)
{
    return mri_st_meta_get(w->st, "millrace.xxh3.data");
}

const mri_st *
mri_weights_tensors(const mri_weights *w)
{
    return w->st;
}

/* "[64, 5, 8, 8]" */
static void
shape_text(char *out, size_t bytes, uint32_t rank, const uint64_t *shape)
{
    size_t n = (size_t)snprintf(out, bytes, "[");

    for (uint32_t i = 0; i < rank && n < bytes; i++) {
        n += (size_t)snprintf(out + n, bytes - n, "%s%llu", i != 0 ? ", " : "",
                              (unsigned long long)shape[i]);
    }
    if (n < bytes) {
        (void)snprintf(out + n, bytes - n, "]");
    }
}

static mr_err
other_shape(const mri_st_item *it, uint32_t rank, const uint64_t *shape,
            mr_diag *diag)
{
    char has[128], needs[128];

    shape_text(has, sizeof has, it->rank, it->shape);
    shape_text(needs, sizeof needs, rank, shape);
    return mri_fail(diag, MRI_E_WEIGHTS_TENSOR, MR_NOWHERE,
                    "tensor '%.100s' is %s %s, the network needs f32 %s",
                    it->name, mr_dtype_name(it->dtype), has, needs);
}

mr_err
mri_weights_find(const mri_weights *w, const char *name, uint32_t rank,
                 const uint64_t *shape, const float **data, mr_diag *diag)
{
    const mri_st_item *it = mri_st_find(w->st, name);
    mr_err err = MR_OK;

    if (it == NULL) {
        err = mri_fail(diag, MRI_E_WEIGHTS_TENSOR, MR_NOWHERE,
                       "there is no tensor '%.100s'", name);
    } else if (it->dtype != MR_F32 || it->rank != rank ||
               memcmp(it->shape, shape, rank * sizeof *shape) != 0) {
        err = other_shape(it, rank, shape, diag);
    } else {
        *data = it->data;
    }
    mri_diag_in(err != MR_OK ? diag : NULL, w->path);
    return err;
}

mr_err
mri_weights_load(const mri_weights *w, mri_params *store, const char *branch,
                 mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < mri_params_count(store); i++) {
        const mri_slot *slot = mri_params_slot(store, i);
        const char *dot = strchr(slot->name, '.');
        const float *data = NULL;
        char name[512];

        if (branch == NULL || dot == NULL) {
            (void)snprintf(name, sizeof name, "%s", slot->name);
        } else {
            (void)snprintf(name, sizeof name, "%s%s", branch, dot);
        }
        err = mri_weights_find(w, name, slot->rank, slot->shape, &data, diag);
        if (err == MR_OK) {
            err =
                mri_params_put(store, i, data, slot->len * sizeof *data, diag);
        }
    }
    return err;
}
