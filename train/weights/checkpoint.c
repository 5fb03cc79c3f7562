/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint.c - the public view of a checkpoint. */
#include <millrace/checkpoint.h>

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/weights.h>

#include <string.h>

struct mr_checkpoint {
    mri_weights *weights;
    mr_tensor *tensors;
    size_t count;
};

static mr_err
view_tensors(mr_checkpoint *c, mr_diag *diag)
{
    const mri_st *st = mri_weights_tensors(c->weights);

    c->count = mri_st_count(st);
    c->tensors = mri_alloc(c->count, sizeof *c->tensors);
    if (c->tensors == NULL && c->count != 0) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for %zu tensors", c->count);
    }
    for (size_t i = 0; i < c->count; i++) {
        const mri_st_item *it = mri_st_at(st, i);

        /* A view promises not to be written through: the header says so. */
        c->tensors[i] = mr_tensor_of((void *)(uintptr_t)it->data, it->dtype,
                                     it->rank, it->shape);
    }
    return MR_OK;
}

mr_err
mr_checkpoint_open(mr_checkpoint **out, const char *path, mr_diag *diag)
{
    mr_checkpoint *c;
    mr_err err;

    *out = NULL;
    c = mri_alloc(1, sizeof *c);
    if (c == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for a checkpoint");
    }
    err = mri_weights_open(&c->weights, path, diag);
    if (err == MR_OK) {
        err = view_tensors(c, diag);
    }
    if (err != MR_OK) {
        mr_checkpoint_close(c);
        return err;
    }
    *out = c;
    return MR_OK;
}

void
mr_checkpoint_close(mr_checkpoint *c)
{
    if (c == NULL) {
        return;
    }
    mri_weights_close(c->weights);
    mri_free(c->tensors);
    mri_free(c);
}

const char *
mr_checkpoint_arch(const mr_checkpoint *c)
{
    return mri_weights_info_of(c->weights)->arch;
}

uint64_t
mr_checkpoint_step(const mr_checkpoint *c)
{
    return mri_weights_info_of(c->weights)->step;
}

const char *
mr_checkpoint_state(const mr_checkpoint *c)
{
    return mri_weights_state(c->weights);
}

size_t
mr_checkpoint_tensors(const mr_checkpoint *c)
{
    return c->count;
}

const mr_tensor *
mr_checkpoint_tensor_at(const mr_checkpoint *c, size_t i)
{
    return i < c->count ? &c->tensors[i] : NULL;
}

const char *
mr_checkpoint_name_at(const mr_checkpoint *c, size_t i)
{
    return i < c->count ? mri_st_at(mri_weights_tensors(c->weights), i)->name
                        : NULL;
}

const mr_tensor *
mr_checkpoint_tensor(const mr_checkpoint *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++) {
        if (strcmp(mr_checkpoint_name_at(c, i), name) == 0) {
            return &c->tensors[i];
        }
    }
    return NULL;
}
