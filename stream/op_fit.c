/* SPDX-License-Identifier: Apache-2.0 */
/* op_fit.c - what comes out of an operation, or why nothing can. */
#include "ops.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool
mri_op_is(const mri_op *op, const char *name)
{
    return strcmp(op->def->name, name) == 0;
}

mr_err
mri_op_fail(const mri_op *op, mri_code code, mr_diag *diag, const char *fmt,
            ...)
{
    char text[400];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return mri_fail(diag, code, MR_NOWHERE, "line %u, column %u: %s: %s",
                    op->line, op->column, op->def->name, text);
}

static mr_err
picture_only(const mri_op *op, const mri_form *form, mr_diag *diag)
{
    if (!form->volume) {
        return MR_OK;
    }
    return mri_op_fail(op, MRI_E_PIPE_FIT, diag,
                       "works on pictures (y, x); these samples are volumes of "
                       "%llux%llux%llu: use crop3d",
                       (unsigned long long)form->size[0],
                       (unsigned long long)form->size[1],
                       (unsigned long long)form->size[2]);
}

mr_err
mri_fit_any(const mri_op *op, mri_form *form, mr_diag *diag)
{
    (void)op;
    (void)form;
    (void)diag;
    return MR_OK;
}

mr_err
mri_fit_select(const mri_op *op, mri_form *form, mr_diag *diag)
{
    const mri_value *v = &op->v[SELECT_CHANNELS];

    for (uint32_t i = 0; i < v->count; i++) {
        if (v->list[i] >= (double)form->channels) {
            return mri_op_fail(op, MRI_E_PIPE_CHANNEL, diag,
                               "no channel %.0f; there are %u, from 0",
                               v->list[i], form->channels);
        }
    }
    form->channels = v->count;
    return MR_OK;
}

mr_err
mri_fit_crop(const mri_op *op, mri_form *form, mr_diag *diag)
{
    const mri_value *size = &op->v[CROP_SIZE];
    mr_err err = picture_only(op, form, diag);

    for (unsigned i = 0; err == MR_OK && i < 2; i++) {
        if (size->at[i] > (double)form->size[1 + i]) {
            err = mri_op_fail(op, MRI_E_PIPE_FIT, diag,
                              "%.0fx%.0f does not fit into a picture of "
                              "%llux%llu",
                              size->at[0], size->at[1],
                              (unsigned long long)form->size[1],
                              (unsigned long long)form->size[2]);
        }
    }
    if (err == MR_OK) {
        form->size[1] = (uint64_t)size->at[0];
        form->size[2] = (uint64_t)size->at[1];
    }
    return err;
}

/* To a size, whatever it was. */
static mr_err
fit_size(const mri_op *op, const mri_value *size, mri_form *form, mr_diag *diag)
{
    mr_err err = picture_only(op, form, diag);

    if (err == MR_OK) {
        form->size[1] = (uint64_t)size->at[0];
        form->size[2] = (uint64_t)size->at[1];
    }
    return err;
}

mr_err
mri_fit_rrc(const mri_op *op, mri_form *form, mr_diag *diag)
{
    return fit_size(op, &op->v[RRC_SIZE], form, diag);
}

/* The caller picks the group; here the global one. */
mr_err
mri_fit_multi(const mri_op *op, mri_form *form, mr_diag *diag)
{
    return fit_size(op, &op->v[MULTI_GLOBAL_SIZE], form, diag);
}

mr_err
mri_fit_resize(const mri_op *op, mri_form *form, mr_diag *diag)
{
    return fit_size(op, &op->v[RESIZE_SIZE], form, diag);
}

mr_err
mri_fit_blur(const mri_op *op, mri_form *form, mr_diag *diag)
{
    uint64_t radius = (uint64_t)op->v[BLUR_KERNEL].at[0] / 2;
    mr_err err = picture_only(op, form, diag);

    if (err == MR_OK && (form->size[1] <= radius || form->size[2] <= radius)) {
        err = mri_op_fail(op, MRI_E_PIPE_FIT, diag,
                          "a kernel of %.0f reflects more than a picture of "
                          "%llux%llu has",
                          op->v[BLUR_KERNEL].at[0],
                          (unsigned long long)form->size[1],
                          (unsigned long long)form->size[2]);
    }
    return err;
}

mr_err
mri_fit_normalize(const mri_op *op, mri_form *form, mr_diag *diag)
{
    for (unsigned i = NORM_MEAN; i <= NORM_STD; i++) {
        uint32_t n = op->v[i].count;

        if (n != 1 && n != form->channels) {
            return mri_op_fail(op, MRI_E_PIPE_FIT, diag,
                               "%s has %u numbers for %u channels",
                               op->def->params[i].name, n, form->channels);
        }
    }
    return MR_OK;
}

mr_err
mri_fit_crop3d(const mri_op *op, mri_form *form, mr_diag *diag)
{
    if (!form->volume) {
        return mri_op_fail(op, MRI_E_PIPE_FIT, diag,
                           "works on volumes (z, y, x); these samples are "
                           "pictures of %llux%llu: use crop",
                           (unsigned long long)form->size[1],
                           (unsigned long long)form->size[2]);
    }
    for (unsigned i = 0; i < 3; i++) {
        form->size[i] = (uint64_t)op->v[CROP3D_SIZE].at[i];
    }
    return MR_OK;
}

mr_err
mri_fit_to(const mri_op *op, mri_form *form, mr_diag *diag)
{
    static const mr_dtype types[] = {MR_F32, MR_U8, MR_U16};

    (void)diag;
    form->dtype = types[op->v[TO_DTYPE].choice];
    return MR_OK;
}

mr_err
mri_pipeline_fit(const mri_pipeline *p, mri_form *form, bool local,
                 mr_diag *diag)
{
    form->dtype = MR_F32;
    for (unsigned i = 0; i < p->count; i++) {
        const mri_op *op = &p->ops[i];
        mr_err err = op->def->fit(op, form, diag);

        if (err != MR_OK) {
            return err;
        }
        if ((int)i == p->multi && local) {
            form->size[1] = (uint64_t)op->v[MULTI_LOCAL_SIZE].at[0];
            form->size[2] = (uint64_t)op->v[MULTI_LOCAL_SIZE].at[1];
        }
        if (form->dtype != MR_F32 && i + 1 < p->count) {
            return mri_op_fail(op, MRI_E_PIPE_FIT, diag,
                               "integers can only be the last thing made");
        }
    }
    return MR_OK;
}
