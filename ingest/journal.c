/* SPDX-License-Identifier: Apache-2.0 */
/* journal.c - which shards of an ingest are finished. */
#include "journal.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/json.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define FOLDER "journal"
#define NAME FOLDER "/shards.jsonl"
#define LIMIT ((uint64_t)1 << 32)

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static bool
hex_field(const json_t *o, const char *key, void *out, size_t bytes)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text != NULL && mri_unhex(out, bytes, text);
}

static bool
size_field(const json_t *o, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(o, key);

    *out = (uint64_t)json_integer_value(v);
    return json_is_integer(v) && json_integer_value(v) >= 0;
}

static bool
parse_line(mri_shard_ref *ref, const char *json)
{
    json_t *o = json_loads(json, 0, NULL);
    uint8_t hash[8];
    bool ok = hex_field(o, "id", ref->id, 16) &&
              hex_field(o, "plan_tag", ref->plan_tag, 16) &&
              hex_field(o, "foot_hash", hash, 8) &&
              size_field(o, "bytes", &ref->bytes) &&
              size_field(o, "samples", &ref->samples) &&
              size_field(o, "raw_bytes", &ref->raw_bytes);

    if (ok) {
        ref->foot_hash = mri_get64(hash);
    }
    json_decref(o);
    return ok;
}

static bool
shard_is_there(const mri_store *store, const mri_shard_ref *ref)
{
    mri_shard *s;
    bool there = mri_shard_open_in(&s, store, ref, true, NULL) == MR_OK;

    mri_shard_close(s);
    return there;
}

static bool
add_ref(mri_journal *j, const mri_shard_ref *ref)
{
    mri_shard_ref *done = mri_resize(j->done, j->count + 1, sizeof *done);

    if (done == NULL) {
        return false;
    }
    j->done = done;
    j->done[j->count++] = *ref;
    return true;
}

static mr_err
read_lines(mri_journal *j, mr_diag *diag)
{
    mri_bytes b = {0};
    mr_err err = mri_store_load(j->log.store, NAME, LIMIT, &b, diag);

    if (err == MR_OK && !mri_bytes_add(&b, "", 1)) {
        err = no_memory(diag);
    }
    for (char *line = (char *)b.data; err == MR_OK && *line != '\0';) {
        char *next = line + strcspn(line, "\n");
        mri_shard_ref ref = {0};
        const char *json;

        next += *next == '\n';
        json = mri_crc_line_check(line);
        if (json != NULL && parse_line(&ref, json) &&
            (ref.samples == 0 || shard_is_there(j->log.store, &ref)) &&
            !add_ref(j, &ref)) {
            err = no_memory(diag);
        }
        line = next;
    }
    mri_bytes_release(&b);
    return err;
}

mr_err
mri_journal_open(mri_journal *j, const mri_store *store, mr_diag *diag)
{
    mr_err err;

    *j = (mri_journal){0};
    err = mri_store_log_open(&j->log, store, NAME, diag);
    if (err == MR_OK) {
        err = read_lines(j, diag);
    }
    if (err != MR_OK) {
        mri_journal_close(j, false);
    }
    return err;
}

mr_err
mri_journal_add(mri_journal *j, const mri_shard_ref *ref, mr_diag *diag)
{
    char id[33], tag[33], hash[17];
    uint8_t raw[8];
    mri_bytes line = {0};
    mri_json json = {0};
    mr_err err;
    bool ok;

    mri_put64(raw, ref->foot_hash);
    mri_json_object(&json);
    mri_json_put_text(&json, "plan_tag", mri_hex(tag, ref->plan_tag, 16));
    mri_json_put_text(&json, "id", mri_hex(id, ref->id, 16));
    mri_json_put_text(&json, "foot_hash", mri_hex(hash, raw, 8));
    mri_json_put_u64(&json, "bytes", ref->bytes);
    mri_json_put_u64(&json, "samples", ref->samples);
    mri_json_put_u64(&json, "raw_bytes", ref->raw_bytes);
    mri_json_end(&json);
    /* A line of its own, whatever a torn one before it left. */
    ok = mri_bytes_add(&line, "\n", j->log.size != 0 ? 1 : 0) &&
         mri_json_done(&json) != NULL &&
         mri_crc_line_add(&line, (const char *)json.out.data);
    err = ok ? mri_store_log_add(&j->log, line.data, line.len, diag)
             : no_memory(diag);
    if (err == MR_OK && !add_ref(j, ref)) {
        err = no_memory(diag);
    }
    mri_bytes_release(&line);
    mri_json_release(&json);
    return err;
}

const mri_shard_ref *
mri_journal_find(const mri_journal *j, const uint8_t plan_tag[16])
{
    for (size_t i = 0; i < j->count; i++) {
        if (memcmp(j->done[i].plan_tag, plan_tag, 16) == 0) {
            return &j->done[i];
        }
    }
    return NULL;
}

void
mri_journal_close(mri_journal *j, bool remove)
{
    const mri_store *store = j->log.store;

    mri_store_log_close(&j->log);
    if (remove && store != NULL) {
        /* Synced, or after a power cut it is back, and other writers leave an
         * unfinished ingest alone. */
        mr_err err = mri_store_remove(store, NAME, NULL);

        if (err == MR_OK) {
            err = mri_store_sync(store, FOLDER, NULL);
        }
        (void)err; /* the next ingest finds nothing to do in it */
    }
    mri_free(j->done);
    *j = (mri_journal){0};
}
