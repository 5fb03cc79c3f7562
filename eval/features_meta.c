/* SPDX-License-Identifier: Apache-2.0 */
/* features_meta.c - what stands beside the columns: names and origin. */
#include "features_own.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/opt.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA "millrace.features."
#define SCHEMA_NOW SCHEMA "1"

/* ---------------------------------------------------------------- write */

static void
put_names(mri_json *j, const char *key, const char *const *names,
          uint32_t count)
{
    mri_json_key(j, key);
    mri_json_array(j);
    for (uint32_t i = 0; i < count; i++) {
        mri_json_text(j, names[i]);
    }
    mri_json_end(j);
}

static void
put_origin(mri_json *j, const mri_feature_origin *from)
{
    char text[40];

    mri_json_key(j, "weights");
    mri_json_object(j);
    mri_json_put_text(j, "kind", from->random ? "random" : "checkpoint");
    mri_json_put_text(j, "hash", from->hash);
    /* as text: readers of JSON keep 53 or 63 bits of a number */
    (void)snprintf(text, sizeof text, "%" PRIu64, from->seed);
    mri_json_put_text(j, "seed", text);
    mri_json_put_u64(j, "step", from->step);
    mri_json_put_text(j, "branch", from->branch);
    mri_json_put_text(j, "arch", from->arch);
    mri_json_end(j);
    mri_json_key(j, "dataset");
    mri_json_object(j);
    mri_json_put_text(j, "content_id",
                      mri_hex(text, from->content_id, sizeof from->content_id));
    mri_json_put_u64(j, "generation", from->generation);
    mri_json_end(j);
    mri_json_put_text(j, "split", from->split);
}

void
features_put_meta(mri_json *j, const mri_feature_table *t)
{
    mri_json_object(j);
    mri_json_put_text(j, "schema", SCHEMA_NOW);
    put_origin(j, &t->from);
    put_names(j, "classes", t->classes, t->class_count);
    put_names(j, "splits", t->splits, t->split_count);
    mri_json_key(j, "groups");
    mri_json_object(j);
    for (uint32_t i = 0; i < t->group_count; i++) {
        char hash[17];

        (void)snprintf(hash, sizeof hash, "%016" PRIx64, t->groups[i].group);
        mri_json_put_text(j, hash, t->groups[i].name);
    }
    mri_json_end(j);
    mri_json_put_text(j, "pipeline", t->from.pipeline);
    mri_json_end(j);
}

/* ----------------------------------------------------------------- read */

static mr_err
wrong(mr_diag *diag, const char *key, const char *expected)
{
    return mri_fail(diag, MRI_E_FEATURES, MR_NOWHERE,
                    FEATURES_KEY ": %s is not %s", key, expected);
}

static mr_err
get_names(mri_features *f, const json_t *map, const char *key,
          const char *const **out, uint32_t *count, mr_diag *diag)
{
    const json_t *list = json_object_get(map, key);
    size_t n = json_array_size(list);
    const char **names;

    if (!json_is_array(list) || n > INT32_MAX) {
        return wrong(diag, key, "a list of names");
    }
    names = features_room(f, n, sizeof *names);
    if (names == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for names");
    }
    for (size_t i = 0; i < n; i++) {
        names[i] = json_string_value(json_array_get(list, i));
        if (names[i] == NULL) {
            return wrong(diag, key, "a list of names");
        }
    }
    *out = names;
    *count = (uint32_t)n;
    return MR_OK;
}

static int
by_group(const void *a, const void *b)
{
    const mri_group_name *x = a, *y = b;

    return x->group < y->group ? -1 : x->group > y->group;
}

static mr_err
get_groups(mri_features *f, const json_t *map, mr_diag *diag)
{
    json_t *groups = json_object_get(map, "groups"), *value;
    mri_group_name *names;
    const char *key;
    uint32_t n = 0;

    if (!json_is_object(groups) || json_object_size(groups) > UINT32_MAX) {
        return wrong(diag, "groups", "a map of names");
    }
    names = features_room(f, json_object_size(groups), sizeof *names);
    if (names == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for names");
    }
    json_object_foreach(groups, key, value)
    {
        uint8_t hash[8];

        if (!json_is_string(value) || !mri_unhex(hash, sizeof hash, key)) {
            return wrong(diag, "groups", "a map from 16 hex digits to names");
        }
        names[n] = (mri_group_name){0, json_string_value(value)};
        for (size_t i = 0; i < sizeof hash; i++) {
            names[n].group = names[n].group << 8 | hash[i];
        }
        n++;
    }
    qsort(names, n, sizeof *names, by_group);
    f->t.groups = names;
    f->t.group_count = n;
    return MR_OK;
}

/* A text that must be there. */
static mr_err
get_text(const json_t *map, const char *key, const char **out, mr_diag *diag)
{
    *out = json_string_value(json_object_get(map, key));
    return *out != NULL ? MR_OK : wrong(diag, key, "a text");
}

static mr_err
get_count(const json_t *map, const char *key, uint64_t *out, mr_diag *diag)
{
    const json_t *v = json_object_get(map, key);

    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return wrong(diag, key, "a whole number from 0 on");
    }
    *out = (uint64_t)json_integer_value(v);
    return MR_OK;
}

static mr_err
get_origin(mri_feature_origin *from, const json_t *map, mr_diag *diag)
{
    const json_t *weights = json_object_get(map, "weights");
    const json_t *dataset = json_object_get(map, "dataset");
    const struct {
        const json_t *map;
        const char *key;
        const char **value;
    } texts[] = {{weights, "hash", &from->hash},
                 {weights, "branch", &from->branch},
                 {weights, "arch", &from->arch},
                 {map, "split", &from->split},
                 {map, "pipeline", &from->pipeline}};
    const char *kind, *seed, *content;
    mr_err err = get_text(weights, "kind", &kind, diag);

    for (size_t i = 0; err == MR_OK && i < MRI_COUNT(texts); i++) {
        err = get_text(texts[i].map, texts[i].key, texts[i].value, diag);
    }
    if (err == MR_OK) {
        err = get_text(weights, "seed", &seed, diag);
    }
    if (err == MR_OK && !mri_parse_u64(seed, &from->seed)) {
        err = wrong(diag, "seed", "a whole number as text");
    }
    if (err == MR_OK) {
        err = get_text(dataset, "content_id", &content, diag);
    }
    if (err == MR_OK && !mri_unhex(from->content_id, 16, content)) {
        err = wrong(diag, "content_id", "32 hex digits");
    }
    if (err == MR_OK) {
        err = get_count(weights, "step", &from->step, diag);
    }
    if (err == MR_OK) {
        err = get_count(dataset, "generation", &from->generation, diag);
    }
    if (err == MR_OK) {
        from->random = strcmp(kind, "random") == 0;
        if (!from->random && strcmp(kind, "checkpoint") != 0) {
            err = wrong(diag, "kind", "'checkpoint' or 'random'");
        }
    }
    return err;
}

static mr_err
check_schema(const json_t *map, mr_diag *diag)
{
    const char *schema = json_string_value(json_object_get(map, "schema"));

    if (schema == NULL || strncmp(schema, SCHEMA, strlen(SCHEMA)) != 0) {
        return wrong(diag, "schema", "'" SCHEMA_NOW "'");
    }
    if (strcmp(schema, SCHEMA_NOW) != 0) {
        return mri_fail(diag, MRI_E_FEATURES_VERSION, MR_NOWHERE,
                        "written in '%.40s', this millrace reads '%s'", schema,
                        SCHEMA_NOW);
    }
    return MR_OK;
}

mr_err
features_get_meta(mri_features *f, const char *text, mr_diag *diag)
{
    json_error_t error;
    json_t *map = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    mr_err err;

    f->json = map;
    if (!json_is_object(map)) {
        return mri_fail(diag, MRI_E_FEATURES, MR_NOWHERE,
                        FEATURES_KEY " is no JSON object");
    }
    err = check_schema(map, diag);
    if (err == MR_OK) {
        err = get_names(f, map, "classes", &f->t.classes, &f->t.class_count,
                        diag);
    }
    if (err == MR_OK) {
        err =
            get_names(f, map, "splits", &f->t.splits, &f->t.split_count, diag);
    }
    if (err == MR_OK && f->t.split_count > MRI_NO_SPLIT) {
        err = wrong(diag, "splits", "a list of at most 255 names");
    }
    if (err == MR_OK) {
        err = get_groups(f, map, diag);
    }
    return err == MR_OK ? get_origin(&f->t.from, map, diag) : err;
}
