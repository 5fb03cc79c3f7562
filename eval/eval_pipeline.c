/* SPDX-License-Identifier: Apache-2.0 */
/* eval_pipeline.c - a training's pipeline without what is random in it. */
#include "eval_pipeline.h"

#include <mri/alloc.h>
#include <mri/conf.h>
#include <mri/error.h>
#include <mri/json.h>
#include <mri/pipeline.h>

#include <string.h>

/* What becomes of an operation. */
typedef enum fate {
    KEEP,
    DROP,   /* nothing but random */
    RESIZE, /* a random crop: the whole picture in its place */
    CENTER  /* a crop, at the center */
} fate;

static const struct {
    const char *name;
    fate fate;
} fates[] = {
    {"select", KEEP},     {"minmax", KEEP},
    {"normalize", KEEP},  {"resize", KEEP},
    {"to", KEEP},         {"crop", CENTER},
    {"crop3d", CENTER},   {"multi_crop", RESIZE},
    {"flip", DROP},       {"random_resized_crop", RESIZE},
    {"brightness", DROP}, {"blur", DROP},
    {"solarize", DROP},
};

/* False if there is no rule for it. The name is "op@version". */
static bool
fate_of(const char *name, fate *out)
{
    size_t len = strcspn(name, "@");

    for (size_t i = 0; i < MRI_COUNT(fates); i++) {
        if (strlen(fates[i].name) == len &&
            memcmp(fates[i].name, name, len) == 0) {
            *out = fates[i].fate;
            return true;
        }
    }
    return false;
}

/* Bilinear as the original does; what shrinks is smoothed if the crops
 * were. */
static void
put_resize(mri_json *j, const mri_conf *params, uint32_t side)
{
    const mri_conf *antialias = mri_conf_get(params, "antialias");

    mri_json_object(j);
    mri_json_key(j, "resize");
    mri_json_object(j);
    mri_json_put_u64(j, "size", side);
    mri_json_put_text(j, "filter", "bilinear");
    if (antialias != NULL) {
        mri_json_key(j, "antialias");
        mri_conf_json(antialias, j);
    }
    mri_json_end(j);
    mri_json_end(j);
}

/* The operation with one parameter put otherwise. */
static void
put_center(mri_json *j, const char *name, const mri_conf *params)
{
    mri_json_object(j);
    mri_json_key(j, name);
    mri_json_object(j);
    for (size_t i = 0; i < params->count; i++) {
        mri_json_key(j, params->keys[i]);
        if (strcmp(params->keys[i], "at") == 0) {
            mri_json_text(j, "center");
        } else {
            mri_conf_json(&params->items[i], j);
        }
    }
    mri_json_end(j);
    mri_json_end(j);
}

static mr_err
put_operation(mri_json *j, const mri_conf *op, uint32_t side, mr_diag *diag)
{
    const char *name = op->keys[0]; /* canonical: a map of one */
    const mri_conf *params = &op->items[0];
    fate what;

    if (!fate_of(name, &what)) {
        return mri_fail(diag, MRI_E_EVAL_PIPELINE, MR_NOWHERE,
                        "the training's pipeline has '%.60s', and it is not "
                        "known how whole samples are shown without it",
                        name);
    }
    if (what == KEEP) {
        mri_conf_json(op, j);
    } else if (what == RESIZE) {
        put_resize(j, params, side);
    } else if (what == CENTER) {
        put_center(j, name, params);
    }
    return MR_OK;
}

static mr_err
put_all(mri_json *j, const char *canonical, uint32_t side, mr_diag *diag)
{
    mri_conf *list;
    mr_err err = mri_conf_parse(&list, canonical, strlen(canonical), diag);

    if (err != MR_OK) {
        return err;
    }
    mri_json_array(j);
    for (size_t i = 0; err == MR_OK && i < list->count; i++) {
        err = put_operation(j, &list->items[i], side, diag);
    }
    mri_json_end(j);
    mri_conf_free(list);
    return err;
}

mr_err
mri_eval_pipeline(char **out, const char *training, uint32_t side,
                  mr_diag *diag)
{
    mri_json j = {0};
    char *canonical = NULL;
    mr_err err =
        mri_pipeline_check(training, strlen(training), &canonical, diag);

    *out = NULL;
    if (err == MR_OK) {
        err = put_all(&j, canonical, side, diag);
    }
    if (err == MR_OK) {
        *out = mri_strdup(mri_json_done(&j));
        if (*out == NULL) {
            err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        }
    }
    mri_json_release(&j);
    mri_free(canonical);
    return err;
}

mr_err
eval_pipeline_in_force(char **out, const mr_stream *s, mr_diag *diag)
{
    const char *text = mr_stream_canonical(s);
    mri_conf *open;
    mri_json j = {0};
    mr_err err = mri_conf_parse(&open, text, strlen(text), diag);

    *out = NULL;
    if (err != MR_OK) {
        return err;
    }
    mri_conf_json(mri_conf_get(open, "pipeline"), &j);
    mri_conf_free(open);
    *out = mri_strdup(mri_json_done(&j));
    mri_json_release(&j);
    return *out != NULL ? MR_OK
                        : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}
