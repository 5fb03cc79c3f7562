/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - recipe files and --set into one struct, and back to YAML. */
#include "keys.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/json.h>
#include <mri/pipeline.h>

#include <stdio.h>
#include <string.h>

#define PIPELINE_LIMIT ((uint64_t)1 << 20)

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mri_opt *
find_key(const run_config *c, const char *name)
{
    for (mri_opt *o = c->keys; o->kind != MRI_OPT_END; o++) {
        if (strcmp(o->long_name, name) == 0) {
            return o;
        }
    }
    return NULL;
}

/* " 'x'; did you mean 'y'?" */
static mr_err
no_such_key(const run_config *c, const char *name, mr_diag *diag)
{
    const char *names[80];
    const char *near;
    size_t n = 0;

    for (const mri_opt *o = c->keys;
         o->kind != MRI_OPT_END && n < MRI_COUNT(names); o++) {
        names[n++] = o->long_name;
    }
    near = mri_nearest(name, names, n);
    return mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE, "no key '%.80s'%s%s%s",
                    name, near != NULL ? "; did you mean '" : "",
                    near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* A copy that lives as long as the config. */
static const char *
keep_text(run_config *c, const char *text, size_t bytes)
{
    char *copy = mri_alloc(bytes + 1, 1);

    if (copy == NULL || !mri_texts_add(&c->owned, copy)) {
        mri_free(copy);
        return NULL;
    }
    memcpy(copy, text, bytes);
    return copy;
}

static mr_err
set_key(run_config *c, mri_opt *key, const char *text, mr_diag *diag)
{
    mr_err err = mri_opt_set(c->keys, key->long_name, text, diag);

    if (err == MR_EARG &&
        diag != NULL) { /* it says --key; here it is no flag */
        err = mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                       "%s cannot be '%.80s': expected %s", key->long_name,
                       text, key->arg);
    }
    return err;
}

/* The items of a list; a later list takes the place of an earlier one. */
static mr_err
set_list(run_config *c, mri_opt *key, const char *text, mr_diag *diag)
{
    mr_err err = MR_OK;

    mri_texts_release(key->value);
    *(mri_texts *)key->value = (mri_texts){0};
    while (err == MR_OK && text[0] != '\0') {
        size_t n = strcspn(text, ",");
        const char *item = keep_text(c, text, n);

        err = item != NULL ? set_key(c, key, item, diag) : no_memory(diag);
        text += n + (text[n] == ',');
    }
    return err;
}

/* ---- a recipe's file ---- */

static mr_err
apply_list(run_config *c, mri_opt *key, const mri_conf *node, mr_diag *diag)
{
    mr_err err = MR_OK;

    mri_texts_release(key->value);
    *(mri_texts *)key->value = (mri_texts){0};
    for (size_t i = 0; err == MR_OK && i < node->count; i++) {
        err = node->items[i].kind == MRI_CONF_TEXT
                  ? set_key(c, key, node->items[i].text, diag)
                  : mri_conf_fail(&node->items[i], diag,
                                  "%s is a list of single values",
                                  key->long_name);
    }
    return err;
}

/* A pipeline may stand in the recipe itself. */
static mr_err
apply_pipeline(run_config *c, mri_opt *key, const mri_conf *node, mr_diag *diag)
{
    mri_json j = {0};
    const char *text;

    mri_conf_json(node, &j);
    text = mri_json_done(&j);
    text = text != NULL ? keep_text(c, text, strlen(text)) : NULL;
    mri_json_release(&j);
    if (text == NULL) {
        return no_memory(diag);
    }
    return set_key(c, key, text, diag);
}

static mr_err
apply_value(run_config *c, const char *name, const mri_conf *node,
            mr_diag *diag)
{
    mri_opt *key = find_key(c, name);
    mr_err err;

    if (key == NULL) {
        err = no_such_key(c, name, diag);
    } else if (node->kind == MRI_CONF_NULL) {
        return MR_OK; /* as if it were not there */
    } else if (key->value == &c->pipeline && node->kind == MRI_CONF_LIST) {
        return apply_pipeline(c, key, node, diag);
    } else if (key->kind == MRI_OPT_LIST && node->kind == MRI_CONF_LIST) {
        err = apply_list(c, key, node, diag);
    } else if (node->kind != MRI_CONF_TEXT) {
        err = mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                       "%s takes one value: %s", name, key->arg);
    } else {
        err = key->kind == MRI_OPT_LIST ? set_list(c, key, node->text, diag)
                                        : set_key(c, key, node->text, diag);
    }
    if (err == MR_EARG && diag != NULL) {
        char why[sizeof diag->text];

        memcpy(why, diag->text, sizeof why);
        err = mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                       "line %u, column %u: %s", node->line, node->column, why);
    }
    return err;
}

/* {model: {arch: x}} is model.arch; so is {model.arch: x}. */
static mr_err
apply_map(run_config *c, const char *prefix, const mri_conf *map, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < map->count; i++) {
        const mri_conf *node = &map->items[i];
        char name[120];

        (void)snprintf(name, sizeof name, "%s%.80s", prefix, map->keys[i]);
        if (prefix[0] == '\0' && strcmp(name, "recipe") == 0) {
            continue; /* load_recipe has looked at it */
        }
        if (node->kind == MRI_CONF_MAP && prefix[0] == '\0' &&
            (strcmp(name, "model") == 0 || strcmp(name, "data") == 0 ||
             strcmp(name, "train") == 0)) {
            (void)snprintf(name, sizeof name, "%.80s.", map->keys[i]);
            err = apply_map(c, name, node, diag);
        } else {
            err = apply_value(c, name, node, diag);
        }
    }
    return err;
}

static mr_err
load_recipe(run_config *c, const char *recipe, mr_diag *diag)
{
    static const char *const built_in[] = {"dino"};
    const mri_conf *kind;
    mr_err err;

    if (strcmp(recipe, built_in[0]) == 0) {
        return MR_OK;
    }
    if (strchr(recipe, '.') == NULL && strchr(recipe, '/') == NULL) {
        const char *near = mri_nearest(recipe, built_in, MRI_COUNT(built_in));

        return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                        "no recipe '%.80s'%s; there is dino, or a YAML file",
                        recipe, near != NULL ? "; did you mean 'dino'?" : "");
    }
    err = mri_conf_load(&c->recipe, recipe, diag);
    if (err == MR_OK && c->recipe->kind != MRI_CONF_MAP) {
        err = mri_conf_fail(c->recipe, diag, "a recipe is a map of keys");
    }
    kind = err == MR_OK ? mri_conf_get(c->recipe, "recipe") : NULL;
    if (kind != NULL &&
        (kind->kind != MRI_CONF_TEXT || strcmp(kind->text, built_in[0]) != 0)) {
        err = mri_conf_fail(kind, diag, "recipe: only dino is known");
    }
    if (err == MR_OK) {
        err = apply_map(c, "", c->recipe, diag);
    }
    if (err != MR_OK) {
        mri_diag_in(diag, recipe);
    }
    return err;
}

/* ---- --set, and what the whole must be ---- */

static mr_err
apply_set(run_config *c, const char *text, mr_diag *diag)
{
    size_t n = strcspn(text, "=");
    const char *name = keep_text(c, text, n);
    mri_opt *key = name != NULL ? find_key(c, name) : NULL;
    mr_err err;

    if (name == NULL) {
        return no_memory(diag);
    }
    if (text[n] == '\0') {
        return mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                        "--set takes key=value, not '%.80s'", text);
    }
    if (key == NULL) {
        return no_such_key(c, name, diag);
    }
    err = key->kind == MRI_OPT_LIST ? set_list(c, key, text + n + 1, diag)
                                    : set_key(c, key, text + n + 1, diag);
    return err;
}

/* A file's name, or the list itself; then with all defaults filled in. */
static mr_err
load_pipeline(run_config *c, mr_diag *diag)
{
    const char *text = c->pipeline;
    const char *file = NULL;
    mri_bytes bytes = {0};
    mr_err err = MR_OK;

    if (text == NULL) {
        return MR_OK;
    }
    if (text[strspn(text, " \n")] != '[' && text[strspn(text, " \n")] != '-') {
        file = text;
        err = mri_file_load(file, PIPELINE_LIMIT, &bytes, diag);
    } else if (!mri_bytes_text(&bytes, "%s", text)) {
        err = no_memory(diag);
    }
    if (err == MR_OK) {
        err = mri_pipeline_check((const char *)bytes.data, bytes.len,
                                 &c->pipeline_text, diag);
        if (err != MR_OK) {
            mri_diag_in(diag, file != NULL ? file : "data.pipeline");
        }
    }
    mri_bytes_release(&bytes);
    c->pipeline = c->pipeline_text;
    return err;
}

/* What shapes the built-in pipeline has no say in another. */
static bool
shapes_built_in(const mri_opt *key)
{
    static const char *const names[] = {
        "data.channels",   "data.global_size", "data.global_scale",
        "data.local_size", "data.local_count", "data.local_scale"};

    for (size_t i = 0; i < MRI_COUNT(names); i++) {
        if (strcmp(key->long_name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static mr_err
check_pipeline_keys(const run_config *c, mr_diag *diag)
{
    for (const mri_opt *o = c->keys;
         c->pipeline != NULL && o->kind != MRI_OPT_END; o++) {
        if (o->seen && shapes_built_in(o)) {
            return mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE,
                            "%s shapes the built-in pipeline, and "
                            "data.pipeline takes its place: say it there",
                            o->long_name);
        }
    }
    return MR_OK;
}

static mr_err
out_of_range(const char *name, const char *expected, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_RUN_KEY, MR_NOWHERE, "%s: expected %s", name,
                    expected);
}

typedef struct range {
    const char *name;
    double value, low, high;
    const char *expected;
} range;

static mr_err
check_ranges(const run_config *c, mr_diag *diag)
{
    const double big = 1e18;
    const range ranges[] = {
        {"train.batch_size", (double)c->batch_size, 1, 1 << 20, "1 to 1048576"},
        {"train.steps", (double)c->steps, 0, 1e12, "at most 1e12"},
        {"train.lr", c->lr, 0, big, "a rate"},
        {"train.min_lr", c->min_lr, 0, big, "a rate"},
        {"train.weight_decay", c->weight_decay, 0, big, "0 or more"},
        {"train.weight_decay_end", c->weight_decay_end, 0, big, "0 or more"},
        {"train.warmup_epochs", c->warmup_epochs, 0, 1e9, "0 or more"},
        {"train.freeze_epochs", c->freeze_epochs, 0, 1e9, "0 or more"},
        {"train.momentum", c->momentum, 0, 1, "0 to 1"},
        {"train.center_momentum", c->center_momentum, 0, 1, "0 to 1"},
        {"train.student_temperature", c->student_temperature, 1e-6, big,
         "more than 0"},
        {"train.teacher_temperature", c->teacher_temperature, 1e-6, big,
         "more than 0"},
        {"train.teacher_temperature_begin", c->teacher_temperature_begin, 1e-6,
         big, "more than 0"},
        {"train.clip", c->clip, 0, big, "0 or more"},
        {"train.beta1", c->beta1, 0, 0.999999, "0 to less than 1"},
        {"train.beta2", c->beta2, 0, 0.999999999, "0 to less than 1"},
        {"train.threads", (double)c->threads, 0, 4096, "at most 4096"},
        {"data.threads", (double)c->stream_threads, 0, 4096, "at most 4096"},
        {"train.virtual_workers", (double)c->virtual_workers, 0, 65536,
         "at most 65536"},
    };

    for (size_t i = 0; i < MRI_COUNT(ranges); i++) {
        const range *r = &ranges[i];

        if (!(r->value >= r->low && r->value <= r->high)) {
            return out_of_range(r->name, r->expected, diag);
        }
    }
    if (strcmp(c->precision, "f32") != 0) {
        return out_of_range("train.precision", "f32, the only one so far",
                            diag);
    }
    if (c->steps == 0 && c->epochs == 0) {
        return out_of_range("train.epochs", "1 or more, or train.steps", diag);
    }
    return MR_OK;
}

mr_err
run_config_load(run_config *c, const char *recipe, const char *const *set,
                size_t count, mr_diag *diag)
{
    mr_err err;

    run_config_defaults(c);
    c->keys = run_config_table(c);
    if (c->keys == NULL) {
        return no_memory(diag);
    }
    err = load_recipe(c, recipe, diag);
    for (size_t i = 0; err == MR_OK && i < count; i++) {
        err = apply_set(c, set[i], diag);
    }
    if (err == MR_OK) {
        err = load_pipeline(c, diag);
    }
    if (err == MR_OK) {
        err = check_pipeline_keys(c, diag);
    }
    return err == MR_OK ? check_ranges(c, diag) : err;
}

void
run_config_release(run_config *c)
{
    if (c->keys != NULL) {
        mri_opt_release(c->keys);
    }
    for (size_t i = 0; i < c->owned.count; i++) {
        mri_free((void *)(uintptr_t)c->owned.at[i]);
    }
    mri_texts_release(&c->owned);
    mri_conf_free(c->recipe);
    mri_free(c->pipeline_text);
    mri_free(c->keys);
    *c = (run_config){0};
}

/* ---- back to text ---- */

static void
put_list(mri_json *j, const mri_texts *list)
{
    mri_json_array(j);
    for (size_t i = 0; i < list->count; i++) {
        mri_json_text(j, list->at[i]);
    }
    mri_json_end(j);
}

static const char *
choice_name(const mri_opt *key, char *buffer, size_t bytes)
{
    const char *p = key->arg;

    for (int i = *(const int *)key->value; i > 0; i--) {
        p = strchr(p, '|') + 1;
    }
    (void)snprintf(buffer, bytes, "%.*s", (int)strcspn(p, "|"), p);
    return buffer;
}

/* As JSON, which is YAML. Unset is null. */
static void
put_value(mri_json *j, const mri_opt *key)
{
    char buffer[40];
    const char *text;

    switch (key->kind) {
    case MRI_OPT_FLAG:
        mri_json_bool(j, *(const bool *)key->value);
        break;
    case MRI_OPT_U64:
        if (*(const uint64_t *)key->value == RUN_UNSET &&
            strcmp(key->long_name, "seed") != 0) { /* which may be any */
            mri_json_null(j);
        } else {
            mri_json_u64(j, *(const uint64_t *)key->value);
        }
        break;
    case MRI_OPT_F64:
        mri_json_f64(j, *(const double *)key->value);
        break;
    case MRI_OPT_LIST:
        put_list(j, key->value);
        break;
    case MRI_OPT_CHOICE:
        mri_json_text(j, choice_name(key, buffer, sizeof buffer));
        break;
    case MRI_OPT_TEXT:
        text = *(const char *const *)key->value;
        if (strcmp(key->long_name, "data.pipeline") == 0 && text != NULL) {
            mri_json_raw(j, text);
        } else {
            mri_json_text(j, text);
        }
        break;
    case MRI_OPT_BYTES:
    case MRI_OPT_END:
        break;
    }
}

bool
run_config_text(const mri_opt *key, mri_bytes *out)
{
    mri_json j = {0};
    const char *text;
    bool ok;

    put_value(&j, key);
    text = mri_json_done(&j);
    ok = text != NULL && mri_bytes_text(out, "%s", text);
    mri_json_release(&j);
    return ok;
}

bool
run_config_yaml(const run_config *c, mri_bytes *out)
{
    const char *group = "";
    size_t group_len = 0;
    bool ok = mri_bytes_text(out, "recipe: dino\n");

    for (const mri_opt *o = c->keys; ok && o->kind != MRI_OPT_END; o++) {
        const char *dot = strchr(o->long_name, '.');
        size_t len = dot != NULL ? (size_t)(dot - o->long_name) : 0;

        if (c->pipeline != NULL && shapes_built_in(o)) {
            continue;
        }
        if (len != 0 &&
            (len != group_len || strncmp(group, o->long_name, len) != 0)) {
            group = o->long_name;
            group_len = len;
            ok = mri_bytes_text(out, "%.*s:\n", (int)len, group);
        }
        ok = ok &&
             mri_bytes_text(out, "%s%s: ", len != 0 ? "  " : "",
                            len != 0 ? dot + 1 : o->long_name) &&
             run_config_text(o, out) && mri_bytes_text(out, "\n");
    }
    return ok;
}
