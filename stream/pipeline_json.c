/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline_json.c - the canonical text of a pipeline. */
#include "op.h"

#include <stdio.h>
#include <string.h>

static void
put_numbers(mri_json *j, const double *list, uint32_t count)
{
    mri_json_array(j);
    for (uint32_t i = 0; i < count; i++) {
        mri_json_f64(j, list[i]);
    }
    mri_json_end(j);
}

static void
put_choice(mri_json *j, const mri_param *param, unsigned choice)
{
    const char *p = param->choices;
    size_t len = strcspn(p, "|");

    while (choice-- > 0) {
        p += len + 1;
        len = strcspn(p, "|");
    }
    mri_json_bytes(j, p, len);
}

static void
put_chance(mri_json *j, const mri_value *v)
{
    if (v->list == NULL) {
        mri_json_f64(j, v->at[0]);
        return;
    }
    mri_json_object(j);
    mri_json_key(j, "global");
    put_numbers(j, v->list, v->count);
    mri_json_key(j, "local");
    put_numbers(j, v->list + v->count, v->locals);
    mri_json_end(j);
}

static void
put_names(mri_json *j, const mri_value *v)
{
    mri_json_array(j);
    for (uint32_t i = 0; i < v->count; i++) {
        mri_json_text(j, v->names[i]);
    }
    mri_json_end(j);
}

static void
put_value(mri_json *j, const mri_param *param, const mri_value *v)
{
    if (!v->given) {
        mri_json_null(j);
        return;
    }
    switch (param->kind) {
    case MRI_PARAM_NUMBER:
    case MRI_PARAM_WHOLE:
        mri_json_f64(j, v->at[0]);
        break;
    case MRI_PARAM_FLAG:
        mri_json_bool(j, v->at[0] != 0);
        break;
    case MRI_PARAM_PAIR:
    case MRI_PARAM_SIZE2:
        put_numbers(j, v->at, 2);
        break;
    case MRI_PARAM_SIZE3:
        put_numbers(j, v->at, 3);
        break;
    case MRI_PARAM_CHOICE:
        put_choice(j, param, v->choice);
        break;
    case MRI_PARAM_CHANCE:
        put_chance(j, v);
        break;
    case MRI_PARAM_SPLIT:
        mri_json_text(j, v->names[0]);
        break;
    case MRI_PARAM_NUMBERS:
    case MRI_PARAM_CHANNELS:
        if (v->names != NULL) {
            put_names(j, v);
        } else {
            put_numbers(j, v->list, v->count);
        }
        break;
    }
}

/* Parameters "a.b", "a.c" stand side by side in the table: one map. */
static void
put_params(mri_json *j, const mri_op *op)
{
    char group[32] = "";

    mri_json_object(j);
    for (unsigned i = 0; i < op->def->count; i++) {
        const char *name = op->def->params[i].name;
        bool left_out = op->def->params[i].kind == MRI_PARAM_SPLIT &&
                        !op->v[i].given; /* it came later than streams' ids */
        const char *dot = strchr(name, '.');
        size_t n = dot != NULL ? (size_t)(dot - name) : 0;

        if (left_out) {
            continue;
        }
        if (*group != '\0' &&
            (n != strlen(group) || memcmp(group, name, n) != 0)) {
            mri_json_end(j);
            *group = '\0';
        }
        if (dot != NULL && *group == '\0') {
            (void)snprintf(group, sizeof group, "%.*s", (int)n, name);
            mri_json_key(j, group);
            mri_json_object(j);
        }
        mri_json_key(j, dot != NULL ? dot + 1 : name);
        put_value(j, &op->def->params[i], &op->v[i]);
    }
    if (*group != '\0') {
        mri_json_end(j);
    }
    mri_json_end(j);
}

void
mri_pipeline_json(const mri_pipeline *p, mri_json *j)
{
    mri_json_array(j);
    for (unsigned i = 0; i < p->count; i++) {
        char name[64];

        (void)snprintf(name, sizeof name, "%s@%u", p->ops[i].def->name,
                       p->ops[i].def->version);
        mri_json_object(j);
        mri_json_key(j, name);
        put_params(j, &p->ops[i]);
        mri_json_end(j);
    }
    mri_json_end(j);
}
