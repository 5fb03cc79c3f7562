/* SPDX-License-Identifier: Apache-2.0 */
/* conf_value.c - ask a config tree for typed values. */
#include <mri/conf.h>

#include <mri/error.h>
#include <mri/opt.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const mri_conf *
mri_conf_get(const mri_conf *map, const char *key)
{
    if (map == NULL || map->kind != MRI_CONF_MAP) {
        return NULL;
    }
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->keys[i], key) == 0) {
            return &map->items[i];
        }
    }
    return NULL;
}

const mri_conf *
mri_conf_path(const mri_conf *map, const char *dotted)
{
    char key[128];

    while (map != NULL) {
        size_t n = strcspn(dotted, ".");

        if (n >= sizeof key) {
            return NULL;
        }
        memcpy(key, dotted, n);
        key[n] = '\0';
        map = mri_conf_get(map, key);
        if (dotted[n] == '\0') {
            return map;
        }
        dotted += n + 1;
    }
    return NULL;
}

/* A number as written, `1/255` too, or a truth value: no quotes needed. */
static bool
may_be_bare(const mri_conf *c)
{
    if (c->quoted) {
        return false;
    }
    return strcmp(c->text, "true") == 0 || strcmp(c->text, "false") == 0 ||
           (strspn(c->text, "0123456789+-./eE") == strlen(c->text) &&
            strpbrk(c->text, "0123456789") != NULL);
}

void
mri_conf_json(const mri_conf *c, mri_json *j)
{
    switch (c->kind) {
    case MRI_CONF_NULL:
        mri_json_null(j);
        break;
    case MRI_CONF_TEXT:
        if (may_be_bare(c)) {
            mri_json_raw(j, c->text);
        } else {
            mri_json_text(j, c->text);
        }
        break;
    case MRI_CONF_LIST:
        mri_json_array(j);
        for (size_t i = 0; i < c->count; i++) {
            mri_conf_json(&c->items[i], j);
        }
        mri_json_end(j);
        break;
    case MRI_CONF_MAP:
        mri_json_object(j);
        for (size_t i = 0; i < c->count; i++) {
            mri_json_key(j, c->keys[i]);
            mri_conf_json(&c->items[i], j);
        }
        mri_json_end(j);
        break;
    }
}

mr_err
mri_conf_fail(const mri_conf *c, mr_diag *diag, const char *fmt, ...)
{
    char text[400];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (c == NULL || c->line == 0) {
        return mri_fail(diag, MRI_E_CONFIG_VALUE, MR_NOWHERE, "%s", text);
    }
    return mri_fail(diag, MRI_E_CONFIG_VALUE, MR_NOWHERE,
                    "line %u, column %u: %s", c->line, c->column, text);
}

static mr_err
expected(const mri_conf *c, const char *key, const char *what, mr_diag *diag)
{
    static const char *const kinds[] = {"nothing", "", "a list", "a map"};

    if (c == NULL) {
        return mri_conf_fail(c, diag, "%s is missing: expected %s", key, what);
    }
    if (c->kind == MRI_CONF_TEXT) {
        return mri_conf_fail(c, diag, "%s is '%.80s': expected %s", key,
                             c->text, what);
    }
    return mri_conf_fail(c, diag, "%s is %s: expected %s", key, kinds[c->kind],
                         what);
}

static bool
plain(const mri_conf *c)
{
    return c != NULL && c->kind == MRI_CONF_TEXT && !c->quoted;
}

mr_err
mri_conf_bool(const mri_conf *c, const char *key, bool *out, mr_diag *diag)
{
    if (plain(c) && strcmp(c->text, "true") == 0) {
        *out = true;
        return MR_OK;
    }
    if (plain(c) && strcmp(c->text, "false") == 0) {
        *out = false;
        return MR_OK;
    }
    return expected(c, key, "true or false", diag);
}

mr_err
mri_conf_u64(const mri_conf *c, const char *key, uint64_t *out, mr_diag *diag)
{
    if (plain(c) && mri_parse_u64(c->text, out)) {
        return MR_OK;
    }
    return expected(c, key, "a whole number", diag);
}

mr_err
mri_conf_f64(const mri_conf *c, const char *key, double *out, mr_diag *diag)
{
    if (plain(c) && mri_parse_f64(c->text, out)) {
        return MR_OK;
    }
    return expected(c, key, "a number", diag);
}

mr_err
mri_conf_text(const mri_conf *c, const char *key, const char **out,
              mr_diag *diag)
{
    if (c != NULL && c->kind == MRI_CONF_TEXT) {
        *out = c->text;
        return MR_OK;
    }
    return expected(c, key, "a text", diag);
}

mr_err
mri_conf_known(const mri_conf *map, const char *const *known, size_t count,
               mr_diag *diag)
{
    for (size_t i = 0; map->kind == MRI_CONF_MAP && i < map->count; i++) {
        const char *near;
        size_t k = 0;

        while (k < count && strcmp(known[k], map->keys[i]) != 0) {
            k++;
        }
        if (k < count) {
            continue;
        }
        near = mri_nearest(map->keys[i], known, count);
        return mri_fail(diag, MRI_E_CONFIG_KEY, MR_NOWHERE,
                        "line %u: unknown key '%.80s'%s%s%s",
                        map->items[i].line, map->keys[i],
                        near != NULL ? "; did you mean '" : "",
                        near != NULL ? near : "", near != NULL ? "'?" : "");
    }
    return MR_OK;
}
