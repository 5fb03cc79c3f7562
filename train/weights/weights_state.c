/* SPDX-License-Identifier: Apache-2.0 */
/* weights_state.c - the network of a checkpoint, to JSON and back. */
#include "state.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/opt.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define SCHEMA "millrace.checkpoint."
#define SCHEMA_NOW SCHEMA "1"

/* ---------------------------------------------------------------- write */

static void
put_names(mri_json *j, const char *key, const char *const *names,
          uint32_t count)
{
    mri_json_key(j, key);
    if (names == NULL && count != 0) {
        mri_json_null(j);
        return;
    }
    mri_json_array(j);
    for (uint32_t i = 0; i < count; i++) {
        mri_json_text(j, names[i]);
    }
    mri_json_end(j);
}

/* As a text: readers of JSON keep 53 or 63 bits of a number. */
static void
put_seed(mri_json *j, uint64_t seed)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, seed);
    mri_json_put_text(j, "seed", text);
}

void
mri_weights_put(mri_json *j, const mri_weights_info *info)
{
    const mri_vit *v = &info->vit;

    mri_json_put_text(j, "schema", SCHEMA_NOW);
    mri_json_put_u64(j, "step", info->step);
    put_seed(j, info->seed);
    mri_json_key(j, "model");
    mri_json_object(j);
    mri_json_put_text(j, "arch", info->arch);
    mri_json_put_u64(j, "channels", v->channels);
    mri_json_put_u64(j, "patch", v->patch);
    mri_json_put_u64(j, "dim", v->dim);
    mri_json_put_u64(j, "depth", v->depth);
    mri_json_put_u64(j, "heads", v->heads);
    mri_json_put_u64(j, "image", v->image);
    mri_json_put_f64(j, "drop_path", v->drop_path);
    mri_json_end(j);
    put_names(j, "channel_names", info->channels, v->channels);
    put_names(j, "classes", info->classes, info->class_count);
    mri_json_put_text(j, "pipeline", info->pipeline);
}

/* ----------------------------------------------------------------- read */

static mr_err
wrong(mr_diag *diag, const char *key, const char *expected)
{
    return mri_fail(diag, MRI_E_WEIGHTS_STATE, MR_NOWHERE,
                    MRI_STATE_KEY ": %s is not %s", key, expected);
}

static mr_err
get_u64(const json_t *map, const char *key, uint64_t *out, mr_diag *diag)
{
    const json_t *v = json_object_get(map, key);

    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return wrong(diag, key, "a whole number");
    }
    *out = (uint64_t)json_integer_value(v);
    return MR_OK;
}

static mr_err
get_u32(const json_t *map, const char *key, uint32_t *out, mr_diag *diag)
{
    uint64_t v = 0;
    mr_err err = get_u64(map, key, &v, diag);

    if (err == MR_OK && v > UINT32_MAX) {
        return wrong(diag, key, "a number below 2^32");
    }
    *out = (uint32_t)v;
    return err;
}

/* A text, or null where there need be none. */
static mr_err
get_text(const json_t *map, const char *key, bool needed, const char **out,
         mr_diag *diag)
{
    const json_t *v = json_object_get(map, key);

    if (!json_is_string(v) && (needed || !json_is_null(v))) {
        return wrong(diag, key, needed ? "a text" : "a text or null");
    }
    *out = json_string_value(v);
    return MR_OK;
}

static mr_err
get_seed(const json_t *map, uint64_t *out, mr_diag *diag)
{
    const char *text;
    mr_err err = get_text(map, "seed", true, &text, diag);

    return err == MR_OK && !mri_parse_u64(text, out)
               ? wrong(diag, "seed", "a whole number as text")
               : err;
}

/* *out stays NULL for null. */
static mr_err
get_names(const json_t *map, const char *key, const char *const **out,
          uint32_t *count, mr_diag *diag)
{
    const json_t *list = json_object_get(map, key);
    size_t n = json_array_size(list);
    const char **names;

    if (json_is_null(list)) {
        return MR_OK;
    }
    if (!json_is_array(list) || n > UINT32_MAX) {
        return wrong(diag, key, "a list of names or null");
    }
    names = mri_alloc(n, sizeof *names);
    if (names == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for names");
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = json_string_value(json_array_get(list, i));
        if (names[i] == NULL) {
            mri_free((void *)names);
            return wrong(diag, key, "a list of names");
        }
    }
    *out = names;
    *count = (uint32_t)n;
    return MR_OK;
}

static mr_err
get_model(const json_t *map, mri_weights_info *info, mr_diag *diag)
{
    const json_t *model = json_object_get(map, "model");
    const json_t *drop = json_object_get(model, "drop_path");
    mri_vit *v = &info->vit;
    const struct {
        const char *key;
        uint32_t *value;
    } sizes[] = {{"channels", &v->channels}, {"patch", &v->patch},
                 {"dim", &v->dim},           {"depth", &v->depth},
                 {"heads", &v->heads},       {"image", &v->image}};
    mr_err err = get_text(model, "arch", true, &info->arch, diag);

    for (size_t i = 0; err == MR_OK && i < MRI_COUNT(sizes); i++) {
        err = get_u32(model, sizes[i].key, sizes[i].value, diag);
    }
    if (err == MR_OK && !json_is_number(drop)) {
        err = wrong(diag, "drop_path", "a number");
    }
    if (err != MR_OK) {
        return err;
    }
    v->drop_path = json_number_value(drop);
    if (mri_vit_check(v, diag) != MR_OK) {
        /* not the user's wish but the file's: damage */
        return wrong(diag, "model", "a network that can be built");
    }
    return MR_OK;
}

static mr_err
check_schema(const json_t *map, mr_diag *diag)
{
    const char *schema = json_string_value(json_object_get(map, "schema"));

    if (schema == NULL || strncmp(schema, SCHEMA, strlen(SCHEMA)) != 0) {
        return wrong(diag, "schema", "'" SCHEMA_NOW "'");
    }
    if (strcmp(schema, SCHEMA_NOW) != 0) {
        return mri_fail(diag, MRI_E_WEIGHTS_VERSION, MR_NOWHERE,
                        "written in '%.40s', this millrace reads '%s'", schema,
                        SCHEMA_NOW);
    }
    return MR_OK;
}

static mr_err
read_members(const json_t *map, mri_weights_info *info, mr_diag *diag)
{
    uint32_t channels = 0;
    mr_err err = check_schema(map, diag);

    if (err == MR_OK) {
        err = get_u64(map, "step", &info->step, diag);
    }
    if (err == MR_OK) {
        err = get_seed(map, &info->seed, diag);
    }
    if (err == MR_OK) {
        err = get_model(map, info, diag);
    }
    if (err == MR_OK) {
        err = get_names(map, "channel_names", &info->channels, &channels, diag);
    }
    if (err == MR_OK && info->channels != NULL &&
        channels != info->vit.channels) {
        err = wrong(diag, "channel_names", "one name a channel");
    }
    if (err == MR_OK) {
        err =
            get_names(map, "classes", &info->classes, &info->class_count, diag);
    }
    return err == MR_OK
               ? get_text(map, "pipeline", false, &info->pipeline, diag)
               : err;
}

mr_err
state_parse(state *s, const char *text, mr_diag *diag)
{
    json_error_t error;
    json_t *map = json_loads(text, JSON_REJECT_DUPLICATES, &error);

    *s = (state){.json = map};
    if (!json_is_object(map)) {
        return mri_fail(diag, MRI_E_WEIGHTS_STATE, MR_NOWHERE,
                        MRI_STATE_KEY " is no JSON object: %s",
                        map == NULL ? error.text : "it is something else");
    }
    return read_members(map, &s->info, diag);
}

void
state_release(state *s)
{
    mri_free((void *)(uintptr_t)s->info.channels);
    mri_free((void *)(uintptr_t)s->info.classes);
    json_decref(s->json);
    *s = (state){0};
}
