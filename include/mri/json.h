/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.h - write JSON into a buffer, one token after the other.
 *
 * Commas and escapes are the writer's business. Numbers are written so that
 * they read back to the same value; NaN and infinities become null, as JSON
 * has none. Out of memory is remembered: ask once, at the end.
 */
#ifndef MRI_JSON_H
#define MRI_JSON_H

#include <mri/bytes.h>
#include <mri/door.h>

MRI_BEGIN

#define MRI_JSON_DEPTH 32

typedef struct mri_json {
    mri_bytes out;
    unsigned depth;
    bool some[MRI_JSON_DEPTH];  /* the container has an item already */
    bool array[MRI_JSON_DEPTH]; /* it is an array */
    bool key;                   /* a key was just written */
    bool failed;                /* memory was out */
    bool pretty;                /* set it before the first token */
} mri_json;

void mri_json_object(mri_json *j); /* { */
void mri_json_array(mri_json *j);  /* [ */
void mri_json_end(mri_json *j);    /* } or ], whichever is open */
void mri_json_key(mri_json *j, const char *key);
void mri_json_text(mri_json *j, const char *text); /* NULL: null */
/* Bytes that need not be UTF-8: what is not becomes U+FFFD. */
void mri_json_bytes(mri_json *j, const char *text, size_t bytes);
void mri_json_u64(mri_json *j, uint64_t v);
void mri_json_i64(mri_json *j, int64_t v);
void mri_json_f64(mri_json *j, double v); /* shortest form that reads back */
void mri_json_bool(mri_json *j, bool v);
void mri_json_null(mri_json *j);
void mri_json_raw(mri_json *j, const char *json); /* a value made elsewhere */

/* key and value in one */
void mri_json_put_text(mri_json *j, const char *key, const char *text);
void mri_json_put_u64(mri_json *j, const char *key, uint64_t v);
void mri_json_put_f64(mri_json *j, const char *key, double v);
void mri_json_put_bool(mri_json *j, const char *key, bool v);

/* NUL-terminated text, or NULL if memory was out. Stays the writer's. */
const char *mri_json_done(mri_json *j);
void mri_json_release(mri_json *j);

MRI_END

#endif
