/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline.c - a YAML list to operations.
 *
 * A default is a piece of YAML in the table and is read like any other value,
 * so there is one way in.
 */
#include "ops.h"
#include "order.h"

#include <mri/alloc.h>
#include <mri/opt.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Where a value is being read. */
typedef struct place {
    const mri_op *op;
    const mri_param *param;
    mr_diag *diag;
} place;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
expected(const place *at, const mri_conf *c, const char *what)
{
    return mri_fail(at->diag, MRI_E_PIPE_VALUE, MR_NOWHERE,
                    "line %u, column %u: %s of %s is %s%.60s%s: expected %s",
                    c->line, c->column, at->param->name, at->op->def->name,
                    c->kind == MRI_CONF_TEXT ? "'" : "",
                    c->kind == MRI_CONF_TEXT   ? c->text
                    : c->kind == MRI_CONF_LIST ? "a list"
                    : c->kind == MRI_CONF_MAP  ? "a map"
                                               : "nothing",
                    c->kind == MRI_CONF_TEXT ? "'" : "", what);
}

/* "0.5", "1/255" */
static bool
number_of(const char *text, double *out)
{
    const char *slash = strchr(text, '/');
    char over[64];
    double low;

    if (slash == NULL) {
        return mri_parse_f64(text, out);
    }
    if ((size_t)(slash - text) >= sizeof over) {
        return false;
    }
    memcpy(over, text, (size_t)(slash - text));
    over[slash - text] = '\0';
    if (!mri_parse_f64(over, out) || !mri_parse_f64(slash + 1, &low) ||
        low == 0) {
        return false;
    }
    *out /= low;
    return true;
}

static mr_err
read_number(const place *at, const mri_conf *c, double *out)
{
    bool whole = at->param->kind == MRI_PARAM_WHOLE ||
                 at->param->kind == MRI_PARAM_SIZE2 ||
                 at->param->kind == MRI_PARAM_SIZE3;
    char what[120];

    if (c->kind == MRI_CONF_TEXT && !c->quoted && number_of(c->text, out) &&
        *out >= at->param->low && *out <= at->param->high &&
        (!whole || *out == floor(*out))) {
        return MR_OK;
    }
    (void)snprintf(what, sizeof what, "a %snumber from %g to %g",
                   whole ? "whole " : "", at->param->low, at->param->high);
    return expected(at, c, what);
}

/* n for all of them, or a list of exactly `count`. */
static mr_err
read_tuple(const place *at, const mri_conf *c, double *out, size_t count)
{
    char what[80];

    if (c->kind == MRI_CONF_TEXT && at->param->kind != MRI_PARAM_PAIR) {
        mr_err err = read_number(at, c, out);

        for (size_t i = 1; i < count; i++) {
            out[i] = out[0];
        }
        return err;
    }
    if (c->kind != MRI_CONF_LIST || c->count != count) {
        (void)snprintf(what, sizeof what, "%s[%zu numbers]",
                       at->param->kind != MRI_PARAM_PAIR ? "a number or " : "",
                       count);
        return expected(at, c, what);
    }
    for (size_t i = 0; i < count; i++) {
        mr_err err = read_number(at, &c->items[i], &out[i]);

        if (err != MR_OK) {
            return err;
        }
    }
    if (at->param->kind == MRI_PARAM_PAIR && out[0] > out[1]) {
        return expected(at, c, "the smaller number first");
    }
    return MR_OK;
}

/* One number or a list of them, at the end of v->list. */
static mr_err
append_numbers(const place *at, const mri_conf *c, mri_value *v,
               uint32_t *count)
{
    size_t n = c->kind == MRI_CONF_LIST ? c->count : 1;
    double *grown =
        mri_resize(v->list, v->count + v->locals + n, sizeof *grown);

    if (grown == NULL) {
        return no_memory(at->diag);
    }
    v->list = grown;
    if (n == 0 || n > UINT16_MAX) {
        return expected(at, c, "a number, or a list of some");
    }
    for (size_t i = 0; i < n; i++) {
        const mri_conf *item = c->kind == MRI_CONF_LIST ? &c->items[i] : c;
        mr_err err = read_number(at, item, &grown[v->count + v->locals]);

        if (err != MR_OK) {
            return err;
        }
        ++*count;
    }
    return MR_OK;
}

static mr_err
read_chance(const place *at, const mri_conf *c, mri_value *v)
{
    const mri_conf *global = mri_conf_get(c, "global");
    const mri_conf *local = mri_conf_get(c, "local");
    mr_err err;

    if (c->kind != MRI_CONF_MAP) {
        return read_number(at, c, v->at);
    }
    if (global == NULL || local == NULL || c->count != 2) {
        return expected(at, c, "a number, or {global: ..., local: ...}");
    }
    err = append_numbers(at, global, v, &v->count);
    return err == MR_OK ? append_numbers(at, local, v, &v->locals) : err;
}

static mr_err
read_choice(const place *at, const mri_conf *c, mri_value *v)
{
    const char *p = at->param->choices;
    size_t n = c->kind == MRI_CONF_TEXT ? strlen(c->text) : 0;

    for (unsigned i = 0; n != 0 && *p != '\0'; i++) {
        size_t len = strcspn(p, "|");

        if (len == n && memcmp(p, c->text, n) == 0) {
            v->choice = i;
            return MR_OK;
        }
        p += len + (p[len] == '|');
    }
    return expected(at, c, at->param->choices);
}

static mr_err
read_flag(const place *at, const mri_conf *c, mri_value *v)
{
    bool plain = c->kind == MRI_CONF_TEXT && !c->quoted;

    if (!plain ||
        (strcmp(c->text, "true") != 0 && strcmp(c->text, "false") != 0)) {
        return expected(at, c, "true or false");
    }
    v->at[0] = strcmp(c->text, "true") == 0;
    return MR_OK;
}

/* Indices, or names; a list that mixes them is one of names. */
static mr_err
read_channels(const place *at, const mri_conf *c, mri_value *v)
{
    bool names = false;

    if (c->kind != MRI_CONF_LIST || c->count == 0 || c->count > UINT16_MAX) {
        return expected(at, c, "a list of names or indices");
    }
    for (size_t i = 0; i < c->count; i++) {
        uint64_t index;

        if (c->items[i].kind != MRI_CONF_TEXT) {
            return expected(at, &c->items[i], "a name or an index");
        }
        names = names || c->items[i].quoted ||
                !mri_parse_u64(c->items[i].text, &index);
    }
    if (!names) {
        return append_numbers(at, c, v, &v->count);
    }
    v->names = mri_alloc(c->count, sizeof *v->names);
    for (size_t i = 0; v->names != NULL && i < c->count; i++) {
        v->names[i] = mri_strdup(c->items[i].text);
        if (v->names[i] == NULL) {
            return no_memory(at->diag);
        }
        v->count++;
    }
    return v->names != NULL ? MR_OK : no_memory(at->diag);
}

static mr_err
read_split(const place *at, const mri_conf *c, mri_value *v)
{
    if (c->kind != MRI_CONF_TEXT || c->text[0] == '\0') {
        return expected(at, c, "the name of a split, or some: 'fold0+fold1'");
    }
    v->names = mri_alloc(1, sizeof *v->names);
    if (v->names == NULL) {
        return no_memory(at->diag);
    }
    v->names[0] = mri_strdup(c->text);
    v->count = 1;
    return v->names[0] != NULL ? MR_OK : no_memory(at->diag);
}

static mr_err
read_value(const place *at, const mri_conf *c, mri_value *v)
{
    v->given = c->kind != MRI_CONF_NULL;
    if (!v->given) { /* none, where the table allows it */
        bool optional =
            at->param->initial != NULL &&
            (at->param->initial[0] == '~' || at->param->choices == NULL);

        return optional && at->param->kind != MRI_PARAM_CHANCE
                   ? MR_OK
                   : expected(at, c, "a value");
    }
    switch (at->param->kind) {
    case MRI_PARAM_NUMBER:
    case MRI_PARAM_WHOLE:
        return read_number(at, c, v->at);
    case MRI_PARAM_FLAG:
        return read_flag(at, c, v);
    case MRI_PARAM_PAIR:
    case MRI_PARAM_SIZE2:
        return read_tuple(at, c, v->at, 2);
    case MRI_PARAM_SIZE3:
        return read_tuple(at, c, v->at, 3);
    case MRI_PARAM_CHOICE:
        return read_choice(at, c, v);
    case MRI_PARAM_CHANCE:
        return read_chance(at, c, v);
    case MRI_PARAM_NUMBERS:
        return append_numbers(at, c, v, &v->count);
    case MRI_PARAM_SPLIT:
        return read_split(at, c, v);
    case MRI_PARAM_CHANNELS:
        break;
    }
    return read_channels(at, c, v);
}

static mr_err
read_default(const place *at, mri_value *v)
{
    mri_conf *c;
    mr_err err;

    if (at->param->initial == NULL) {
        return mri_fail(at->diag, MRI_E_PIPE_VALUE, MR_NOWHERE,
                        "line %u, column %u: %s needs %s: %s", at->op->line,
                        at->op->column, at->op->def->name, at->param->name,
                        at->param->help);
    }
    err = mri_conf_parse(&c, at->param->initial, strlen(at->param->initial),
                         at->diag);
    if (err == MR_OK) {
        err = read_value(at, c, v);
        mri_conf_free(c);
    }
    return err;
}

/* The name of the nearest parameter, for an error about `key` in the map
 * that begins with `prefix`. */
static mr_err
no_such_param(const mri_op *op, const char *prefix, const char *key,
              const mri_conf *c, mr_diag *diag)
{
    const char *known[MRI_MAX_PARAMS], *near;
    size_t n = 0, skip = strlen(prefix);
    char list[200] = "";
    size_t used = 0;

    for (unsigned i = 0; i < op->def->count; i++) {
        const char *name = op->def->params[i].name;

        if (strncmp(name, prefix, skip) == 0) {
            known[n++] = name + skip;
            if (used < sizeof list) {
                used +=
                    (size_t)snprintf(list + used, sizeof list - used, "%s%s",
                                     n > 1 ? ", " : "", name + skip);
            }
        }
    }
    near = mri_nearest(key, known, n);
    return mri_fail(diag, MRI_E_PIPE_PARAM, MR_NOWHERE,
                    "line %u, column %u: %s has no parameter '%s%.60s'%s%s%s",
                    c->line, c->column, op->def->name, prefix, key,
                    near != NULL ? "; did you mean '" : "; it has ",
                    near != NULL ? near : list, near != NULL ? "'?" : "");
}

static int
find_param(const mri_op_def *def, const char *prefix, const char *key)
{
    size_t skip = strlen(prefix);

    for (unsigned i = 0; i < def->count; i++) {
        const char *name = def->params[i].name;

        if (strncmp(name, prefix, skip) == 0 && strcmp(name + skip, key) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static bool
is_group(const mri_op_def *def, const char *key)
{
    size_t n = strlen(key);

    for (unsigned i = 0; i < def->count; i++) {
        const char *name = def->params[i].name;

        if (strncmp(name, key, n) == 0 && name[n] == '.') {
            return true;
        }
    }
    return false;
}

/* The keys of a map, or of a map within it. */
static mr_err
read_params(mri_op *op, const char *prefix, const mri_conf *map, bool *seen,
            mr_diag *diag)
{
    for (size_t i = 0; i < map->count; i++) {
        const mri_conf *c = &map->items[i];
        int k = find_param(op->def, prefix, map->keys[i]);
        mr_err err;

        if (k >= 0) {
            place at = {op, &op->def->params[k], diag};

            seen[k] = true;
            err = read_value(&at, c, &op->v[k]);
        } else if (*prefix == '\0' && c->kind == MRI_CONF_MAP &&
                   is_group(op->def, map->keys[i])) {
            char inner[32];

            (void)snprintf(inner, sizeof inner, "%.20s.", map->keys[i]);
            err = read_params(op, inner, c, seen, diag);
        } else {
            err = no_such_param(op, prefix, map->keys[i], c, diag);
        }
        if (err != MR_OK) {
            return err;
        }
    }
    return MR_OK;
}

/* What one parameter alone cannot say. */
static mr_err
check_op(const mri_op *op, mr_diag *diag)
{
    if (mri_op_is(op, "normalize")) {
        bool from = op->v[NORM_FROM].given, mean = op->v[NORM_MEAN].given,
             std = op->v[NORM_STD].given;

        if (from ? mean || std : !mean || !std) {
            return mri_op_fail(op, MRI_E_PIPE_VALUE, diag,
                               "needs mean and std, or from: dataset");
        }
        if (op->v[NORM_SPLIT].given && !from) {
            return mri_op_fail(op, MRI_E_PIPE_VALUE, diag,
                               "split says whose mean and std: it needs from: "
                               "dataset");
        }
    }
    if (mri_op_is(op, "blur") && (unsigned)op->v[BLUR_KERNEL].at[0] % 2 == 0) {
        return mri_op_fail(op, MRI_E_PIPE_VALUE, diag, "kernel must be odd");
    }
    return MR_OK;
}

static mr_err
find_def(mri_op *op, const char *name, mr_diag *diag)
{
    size_t count, len = strcspn(name, "@");
    const mri_op_def *table = mri_op_table(&count);
    const char *known[32], *near;
    char plain[64];
    uint64_t version;

    (void)snprintf(plain, sizeof plain, "%.*s", (int)(len < 60 ? len : 60),
                   name);
    for (size_t i = 0; i < count; i++) {
        known[i] = table[i].name;
        if (strcmp(table[i].name, plain) == 0) {
            op->def = &table[i];
        }
    }
    if (op->def == NULL) {
        near = mri_nearest(plain, known, count);
        return mri_fail(diag, MRI_E_PIPE_OP, MR_NOWHERE,
                        "line %u, column %u: no operation '%s'%s%s%s", op->line,
                        op->column, plain,
                        near != NULL ? "; did you mean '" : "",
                        near != NULL ? near : "", near != NULL ? "'?" : "");
    }
    if (name[len] == '@' && (!mri_parse_u64(name + len + 1, &version) ||
                             version != op->def->version)) {
        return mri_op_fail(op, MRI_E_PIPE_VERSION, diag,
                           "version %.20s is asked for, this millrace computes "
                           "%u",
                           name + len + 1, op->def->version);
    }
    return MR_OK;
}

/* "flip", {flip: ~} or {flip: {...}} */
static mr_err
read_op(mri_op *op, const mri_conf *c, mr_diag *diag)
{
    static const mri_conf none = {.kind = MRI_CONF_NULL};
    const mri_conf *map = &none;
    bool seen[MRI_MAX_PARAMS] = {false};
    mr_err err;

    op->line = c->line;
    op->column = c->column;
    if (c->kind != MRI_CONF_TEXT &&
        (c->kind != MRI_CONF_MAP || c->count != 1)) {
        return mri_fail(diag, MRI_E_PIPE_VALUE, MR_NOWHERE,
                        "line %u, column %u: expected one operation, as in "
                        "'- flip: {horizontal: 0.5}'",
                        c->line, c->column);
    }
    err = find_def(op, c->kind == MRI_CONF_TEXT ? c->text : c->keys[0], diag);
    if (err != MR_OK) {
        return err;
    }
    if (c->kind == MRI_CONF_MAP) {
        map = &c->items[0];
    }
    if (map->kind != MRI_CONF_MAP && map->kind != MRI_CONF_NULL) {
        return mri_op_fail(op, MRI_E_PIPE_VALUE, diag,
                           "expected a map of parameters");
    }
    err = read_params(op, "", map, seen, diag);
    for (unsigned i = 0; err == MR_OK && i < op->def->count; i++) {
        place at = {op, &op->def->params[i], diag};

        err = seen[i] ? MR_OK : read_default(&at, &op->v[i]);
    }
    return err == MR_OK ? check_op(op, diag) : err;
}

/* Views, and the probabilities by view, which need them. */
static mr_err
set_views(mri_pipeline *p, mr_diag *diag)
{
    for (unsigned i = 0; i < p->count; i++) {
        mri_op *op = &p->ops[i];

        op->globals = p->globals;
        for (unsigned k = 0; k < op->def->count; k++) {
            const mri_value *v = &op->v[k];

            if (op->def->params[k].kind != MRI_PARAM_CHANCE ||
                v->list == NULL) {
                continue;
            }
            if (p->globals == 0) {
                return mri_op_fail(op, MRI_E_PIPE_VALUE, diag,
                                   "%s by view needs a multi_crop before it",
                                   op->def->params[k].name);
            }
            if ((v->count != 1 && v->count != p->globals) ||
                (v->locals != 1 && v->locals != p->locals)) {
                return mri_op_fail(op, MRI_E_PIPE_VALUE, diag,
                                   "%s has %u and %u numbers for %u global and "
                                   "%u local views",
                                   op->def->params[k].name, v->count, v->locals,
                                   p->globals, p->locals);
            }
        }
        if (!mri_op_is(op, "multi_crop")) {
            continue;
        }
        if (p->multi >= 0) {
            return mri_op_fail(op, MRI_E_PIPE_VALUE, diag,
                               "a second one in a pipeline");
        }
        p->multi = (int)i;
        p->globals = (uint32_t)op->v[MULTI_GLOBAL_COUNT].at[0];
        p->locals = (uint32_t)op->v[MULTI_LOCAL_COUNT].at[0];
    }
    return MR_OK;
}

static mr_err
read_list(mri_pipeline *p, const mri_conf *list, mr_diag *diag)
{
    if (list->kind == MRI_CONF_NULL) {
        return MR_OK;
    }
    if (list->kind != MRI_CONF_LIST) {
        return mri_fail(diag, MRI_E_PIPE_VALUE, MR_NOWHERE,
                        "line %u, column %u: a pipeline is a list of "
                        "operations, each beginning with '- '",
                        list->line, list->column);
    }
    if (list->count > MRI_MAX_OPS) {
        return mri_fail(diag, MRI_E_PIPE_VALUE, MR_NOWHERE,
                        "%zu operations; at most %d", list->count, MRI_MAX_OPS);
    }
    for (size_t i = 0; i < list->count; i++) {
        mri_op *op = &p->ops[i];
        unsigned k = 0;
        mr_err err;

        p->count = (unsigned)i + 1; /* from here on release sees it */
        err = read_op(op, &list->items[i], diag);
        if (err != MR_OK) {
            return err;
        }
        for (size_t j = 0; j < i; j++) {
            k += p->ops[j].def == op->def;
        }
        op->word = mri_draw_op(op->def->name, k);
    }
    return set_views(p, diag);
}

mr_err
mri_pipeline_parse(mri_pipeline *p, const char *text, size_t bytes,
                   mr_diag *diag)
{
    mri_conf *list;
    mr_err err;

    *p = (mri_pipeline){.multi = -1};
    err = mri_conf_parse(&list, text, bytes, diag);
    if (err != MR_OK) {
        return err;
    }
    err = read_list(p, list, diag);
    mri_conf_free(list);
    if (err != MR_OK) {
        mri_pipeline_release(p);
    }
    return err;
}

void
mri_pipeline_release(mri_pipeline *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        for (unsigned k = 0; k < MRI_MAX_PARAMS; k++) {
            mri_value *v = &p->ops[i].v[k];

            for (uint32_t n = 0; v->names != NULL && n < v->count; n++) {
                mri_free(v->names[n]);
            }
            mri_free(v->names);
            mri_free(v->list);
        }
    }
    *p = (mri_pipeline){.multi = -1};
}
