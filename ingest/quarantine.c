/* SPDX-License-Identifier: Apache-2.0 */
/* quarantine.c - the record of what could not be used, and why. */
#include "quarantine.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 32 /* bytes on either side of a damage */
#define FOLDER "quarantine"
#define NAME FOLDER "/quarantine.jsonl"
#define LIMIT ((uint64_t)1 << 32)

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

char *
mri_bad_window(const uint8_t *data, size_t len, uint64_t at)
{
    size_t first, last;
    char *hex;

    if (at == MR_NOWHERE || at > len) {
        return NULL;
    }
    first = at > WINDOW ? (size_t)at - WINDOW : 0;
    last = len - (size_t)at > WINDOW ? (size_t)at + WINDOW : len;
    hex = mri_alloc(2 * (last - first) + 1, 1);
    return hex != NULL ? mri_hex(hex, data + first, last - first) : NULL;
}

void
mri_bad_json(mri_json *j, const mri_bad *bad)
{
    char hex[65];

    mri_json_object(j);
    mri_json_put_text(j, "key", bad->key);
    mri_json_put_text(j, "stage", bad->stage);
    mri_json_put_u64(j, "code", bad->code);
    mri_json_put_text(j, "reason", bad->reason);
    mri_json_key(j, "at");
    if (bad->at != MR_NOWHERE) {
        mri_json_u64(j, bad->at);
    } else {
        mri_json_null(j);
    }
    mri_json_put_text(j, "help", mr_code_help(bad->code));
    mri_json_put_u64(j, "bytes", bad->bytes);
    mri_json_put_text(j, "sha256",
                      bad->hashed ? mri_hex(hex, bad->sha256, 32) : NULL);
    if (bad->window != NULL) {
        mri_json_put_text(j, "window", bad->window);
    }
    mri_json_end(j);
}

static char *
copy_text(const json_t *o, const char *key)
{
    return mri_strdup(json_string_value(json_object_get(o, key)));
}

/* A number that may be missing; false for one that nobody wrote. */
static bool
take_number(const json_t *o, const char *key, uint64_t limit, uint64_t *out)
{
    const json_t *v = json_object_get(o, key);
    json_int_t n = json_integer_value(v);

    if (v == NULL || json_is_null(v)) {
        return true;
    }
    if (!json_is_integer(v) || n < 0 || (uint64_t)n > limit) {
        return false;
    }
    *out = (uint64_t)n;
    return true;
}

mr_err
mri_bad_parse(mri_bad *bad, const char *json, mr_diag *diag)
{
    json_t *o = json_loads(json, 0, NULL);
    const char *sha = json_string_value(json_object_get(o, "sha256"));
    uint64_t code = 0;
    bool ok;

    *bad = (mri_bad){.key = copy_text(o, "key"),
                     .stage = copy_text(o, "stage"),
                     .reason = copy_text(o, "reason"),
                     .window = copy_text(o, "window"),
                     .at = MR_NOWHERE};
    ok = take_number(o, "code", UINT16_MAX, &code) &&
         take_number(o, "at", INT64_MAX, &bad->at) &&
         take_number(o, "bytes", INT64_MAX, &bad->bytes);
    bad->code = (uint16_t)code;
    bad->hashed = sha != NULL && mri_unhex(bad->sha256, 32, sha);
    if (!bad->hashed) { /* of digits that were none, the first ones came */
        memset(bad->sha256, 0, sizeof bad->sha256);
    }
    json_decref(o);
    if (!ok || bad->key == NULL || bad->stage == NULL || bad->reason == NULL) {
        mri_bad_release(bad);
        return mri_fail(diag, MRI_E_LINE, MR_NOWHERE,
                        "a record of the quarantine cannot be read");
    }
    return MR_OK;
}

void
mri_bad_release(mri_bad *bad)
{
    mri_free(bad->key);
    mri_free(bad->stage);
    mri_free(bad->reason);
    mri_free(bad->window);
    *bad = (mri_bad){0};
}

void
mri_bad_list_free(mri_bad *list, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        mri_bad_release(&list[i]);
    }
    mri_free(list);
}

static int
by_key(const void *a, const void *b)
{
    return strcmp(((const mri_bad *)a)->key, ((const mri_bad *)b)->key);
}

mr_err
mri_quarantine_store(const mri_store *store, mri_bad *list, uint64_t count,
                     mr_diag *diag)
{
    mri_bytes text = {0};
    mr_err err = MR_OK;

    if (count == 0) {
        err = mri_store_remove(store, NAME, diag);
        mri_store_prune(store, FOLDER);
        return err;
    }
    qsort(list, (size_t)count, sizeof *list, by_key);
    for (uint64_t i = 0; err == MR_OK && i < count; i++) {
        mri_json j = {0};
        const char *line;

        mri_bad_json(&j, &list[i]);
        line = mri_json_done(&j);
        if (line == NULL || !mri_crc_line_add(&text, line)) {
            err = no_memory(diag);
        }
        mri_json_release(&j);
    }
    if (err == MR_OK) {
        err = mri_store_put(store, NAME, &text, MRI_PUT_REPLACE, diag);
    }
    mri_bytes_release(&text);
    return err;
}

static mr_err
load_text(mri_bytes *b, const char *dataset, mr_diag *diag)
{
    mri_store store;
    bool there = false;
    mr_err err = mri_store_open(&store, dataset, diag);

    if (err == MR_OK) {
        err = mri_store_has(&store, NAME, &there, diag);
    }
    if (err == MR_OK && there) { /* else nothing was ever refused */
        err = mri_store_load(&store, NAME, LIMIT, b, diag);
    }
    if (err == MR_OK && !mri_bytes_add(b, "", 1)) {
        err = no_memory(diag);
    }
    mri_store_close(&store);
    return err;
}

mr_err
mri_quarantine_load(const char *dataset, mri_bad **list, uint64_t *count,
                    mr_diag *diag)
{
    mri_bytes b = {0};
    mr_err err = load_text(&b, dataset, diag);

    *list = NULL;
    *count = 0;
    for (char *line = (char *)b.data; err == MR_OK && *line != '\0';) {
        char *next = line + strcspn(line, "\n");
        mri_bad *grown = mri_resize(*list, (size_t)*count + 1, sizeof *grown);
        const char *json;

        if (grown == NULL) {
            err = no_memory(diag);
            break;
        }
        *list = grown;
        next += *next == '\n';
        json = mri_crc_line_check(line);
        err = json != NULL ? mri_bad_parse(&grown[*count], json, diag)
                           : mri_fail(diag, MRI_E_LINE,
                                      (uint64_t)(line - (char *)b.data),
                                      "a line fails its checksum");
        *count += err == MR_OK;
        line = next;
    }
    if (err != MR_OK) {
        char *path = mri_path_join(dataset, NAME);

        mri_diag_in(diag, path);
        mri_free(path);
        mri_bad_list_free(*list, *count);
        *list = NULL;
        *count = 0;
    }
    mri_bytes_release(&b);
    return err;
}
