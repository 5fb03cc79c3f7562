/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - write JSON into a buffer, one token after the other. */
#include <mri/json.h>

#include <mri/opt.h>

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
put(mri_json *j, const char *text, size_t bytes)
{
    j->failed = !mri_bytes_add(&j->out, text, bytes) || j->failed;
}

static void
newline(mri_json *j)
{
    static const char blanks[] = "                                ";
    size_t n = (size_t)j->depth * 2;

    if (j->pretty) {
        put(j, "\n", 1);
        put(j, blanks, n < sizeof blanks - 1 ? n : sizeof blanks - 1);
    }
}

/* What stands before any value: a comma, a line, nothing after a key. */
static void
before(mri_json *j)
{
    if (j->key) {
        j->key = false;
        return;
    }
    if (j->depth == 0) {
        return;
    }
    if (j->some[j->depth - 1]) {
        put(j, ",", 1);
    }
    j->some[j->depth - 1] = true;
    newline(j);
}

static void
open_container(mri_json *j, bool array)
{
    before(j);
    assert(j->depth < MRI_JSON_DEPTH);
    put(j, array ? "[" : "{", 1);
    j->some[j->depth] = false;
    j->array[j->depth++] = array;
}

void
mri_json_object(mri_json *j)
{
    open_container(j, false);
}

void
mri_json_array(mri_json *j)
{
    open_container(j, true);
}

void
mri_json_end(mri_json *j)
{
    assert(j->depth > 0 && !j->key);
    j->depth--;
    if (j->some[j->depth]) {
        newline(j);
    }
    put(j, j->array[j->depth] ? "]" : "}", 1);
}

/* Length of the UTF-8 sequence at p, or 0 if it is none. */
static size_t
utf8_length(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80             ? 1
               : (p[0] & 0xE0) == 0xC0 ? 2
               : (p[0] & 0xF0) == 0xE0 ? 3
               : (p[0] & 0xF8) == 0xF0 ? 4
                                       : 0;

    if (n == 0 || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    if ((n == 2 && p[0] < 0xC2) || (n == 3 && p[0] == 0xE0 && p[1] < 0xA0) ||
        (n == 3 && p[0] == 0xED && p[1] > 0x9F) ||
        (n == 4 && p[0] == 0xF0 && p[1] < 0x90) ||
        (n == 4 && (p[0] > 0xF4 || (p[0] == 0xF4 && p[1] > 0x8F)))) {
        return 0; /* overlong, a surrogate, or beyond U+10FFFF */
    }
    return n;
}

static void
put_string(mri_json *j, const char *text, size_t bytes)
{
    const uint8_t *p = (const uint8_t *)text;
    char escape[8];

    put(j, "\"", 1);
    for (size_t i = 0; i < bytes;) {
        size_t n = utf8_length(p + i, bytes - i);

        if (n == 0) {
            put(j, "\xEF\xBF\xBD", 3);
            i++;
        } else if (p[i] == '"' || p[i] == '\\') {
            escape[0] = '\\';
            escape[1] = (char)p[i++];
            put(j, escape, 2);
        } else if (p[i] < 0x20 || p[i] == 0x7F) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", p[i++]);
            put(j, escape, 6);
        } else {
            put(j, text + i, n);
            i += n;
        }
    }
    put(j, "\"", 1);
}

void
mri_json_key(mri_json *j, const char *key)
{
    assert(j->depth > 0 && !j->array[j->depth - 1] && !j->key);
    before(j);
    put_string(j, key, strlen(key));
    put(j, j->pretty ? ": " : ":", j->pretty ? 2 : 1);
    j->key = true;
}

void
mri_json_bytes(mri_json *j, const char *text, size_t bytes)
{
    before(j);
    put_string(j, text, bytes);
}

void
mri_json_text(mri_json *j, const char *text)
{
    if (text == NULL) {
        mri_json_null(j);
        return;
    }
    mri_json_bytes(j, text, strlen(text));
}

void
mri_json_u64(mri_json *j, uint64_t v)
{
    before(j);
    j->failed = !mri_bytes_text(&j->out, "%" PRIu64, v) || j->failed;
}

void
mri_json_i64(mri_json *j, int64_t v)
{
    before(j);
    j->failed = !mri_bytes_text(&j->out, "%" PRId64, v) || j->failed;
}

void
mri_json_f64(mri_json *j, double v)
{
    char text[40];

    if (!isfinite(v)) {
        mri_json_null(j);
        return;
    }
    before(j);
    if (fabs(v) < 1e15 && v == rint(v)) { /* 40, not 4e+01 */
        (void)snprintf(text, sizeof text, "%.0f", v);
        put(j, text, strlen(text));
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, v);
        for (char *p = text; *p != '\0'; p++) {
            *p = *p == ',' ? '.' : *p; /* whatever the user's locale says */
        }
        double back;

        if (mri_parse_f64(text, &back) && back == v) {
            break;
        }
    }
    put(j, text, strlen(text));
}

void
mri_json_bool(mri_json *j, bool v)
{
    before(j);
    put(j, v ? "true" : "false", v ? 4 : 5);
}

void
mri_json_null(mri_json *j)
{
    before(j);
    put(j, "null", 4);
}

void
mri_json_raw(mri_json *j, const char *json)
{
    before(j);
    put(j, json, strlen(json));
}

void
mri_json_put_text(mri_json *j, const char *key, const char *text)
{
    mri_json_key(j, key);
    mri_json_text(j, text);
}

void
mri_json_put_u64(mri_json *j, const char *key, uint64_t v)
{
    mri_json_key(j, key);
    mri_json_u64(j, v);
}

void
mri_json_put_f64(mri_json *j, const char *key, double v)
{
    mri_json_key(j, key);
    mri_json_f64(j, v);
}

void
mri_json_put_bool(mri_json *j, const char *key, bool v)
{
    mri_json_key(j, key);
    mri_json_bool(j, v);
}

const char *
mri_json_done(mri_json *j)
{
    assert(j->depth == 0);
    put(j, "", 1); /* the closing zero */
    return j->failed ? NULL : (const char *)j->out.data;
}

void
mri_json_release(mri_json *j)
{
    mri_bytes_release(&j->out);
    *j = (mri_json){0};
}
