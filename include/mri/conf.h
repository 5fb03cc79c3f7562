/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.h - YAML (and so JSON) as a small tree with line numbers.
 *
 * Only core tags and !!python/tuple (a list) are taken; keys are unique; depth
 * and the growth by aliases are bounded; nothing is executed. Scalars are text
 * until somebody asks for a type, so `no` is a string where a string is due.
 */
#ifndef MRI_CONF_H
#define MRI_CONF_H

#include <mri/bytes.h>
#include <mri/door.h>
#include <mri/json.h>

MRI_BEGIN

typedef enum mri_conf_kind {
    MRI_CONF_NULL, /* empty, ~ or null, unquoted */
    MRI_CONF_TEXT,
    MRI_CONF_LIST,
    MRI_CONF_MAP
} mri_conf_kind;

typedef struct mri_conf mri_conf;
struct mri_conf {
    mri_conf_kind kind;
    bool quoted;       /* the scalar stood in quotes: never a number */
    uint32_t line;     /* from 1; 0 if it was not read from a text */
    uint32_t column;   /* from 1 */
    const char *text;  /* MRI_CONF_TEXT, NUL-terminated */
    size_t count;      /* LIST, MAP */
    mri_conf *items;   /* LIST: [count]; MAP: the values */
    const char **keys; /* MAP: [count] */
};

/*
 * One document. `root` belongs to the caller: mri_conf_free.
 * An empty text gives a NULL node.
 *
 * errors  MR_EARG  not YAML, a forbidden tag, a key twice, too deep; at is
 *                  the byte offset, the text names line and column
 *         MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_conf_parse(mri_conf **root, const char *text,
                                    size_t bytes, mr_diag *diag);
MR_USE_RESULT mr_err mri_conf_load(mri_conf **root, const char *path,
                                   mr_diag *diag);
void mri_conf_free(mri_conf *root);

/* The value of a key, or NULL; also NULL if `map` is no map. */
const mri_conf *mri_conf_get(const mri_conf *map, const char *key);
/* "a.b.c" through nested maps, or NULL. */
const mri_conf *mri_conf_path(const mri_conf *map, const char *dotted);

/* Typed access. errors  MR_EARG naming key, line, column, what is expected */
MR_USE_RESULT mr_err mri_conf_bool(const mri_conf *c, const char *key,
                                   bool *out, mr_diag *diag);
MR_USE_RESULT mr_err mri_conf_u64(const mri_conf *c, const char *key,
                                  uint64_t *out, mr_diag *diag);
MR_USE_RESULT mr_err mri_conf_f64(const mri_conf *c, const char *key,
                                  double *out, mr_diag *diag);
MR_USE_RESULT mr_err mri_conf_text(const mri_conf *c, const char *key,
                                   const char **out, mr_diag *diag);

/* Refuse keys of `map` that are not in `known`, naming the nearest. */
MR_USE_RESULT mr_err mri_conf_known(const mri_conf *map,
                                    const char *const *known, size_t count,
                                    mr_diag *diag);

/*
 * The node as JSON, which is YAML too: reading that text again gives the same
 * tree. Unquoted numbers, also `1/255`, `true`, `false` and null stay bare.
 */
void mri_conf_json(const mri_conf *c, mri_json *j);

/* An error at a node: "line 3, column 7: …", MRI_E_CONFIG_VALUE. */
mr_err mri_conf_fail(const mri_conf *c, mr_diag *diag, const char *fmt, ...)
    MRI_PRINTF(3, 4);

MRI_END

#endif
