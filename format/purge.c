/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purge.c - the names of the withdrawn, out of what lies beside the shards.
 *
 * The list of the withdrawn holds hashes. Names are found in the closing
 * frames of their rows, in any shard of any generation that is there; for
 * those whose rows are gone already, a word that has one of the hashes.
 */
#include "purge.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/hash.h>
#include <mri/store.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define HISTORY "history.jsonl"
#define QUARANTINE "quarantine/quarantine.jsonl"
#define JOURNAL "journal/shards.jsonl"
#define LIMIT ((uint64_t)1 << 32)
#define APART " \t\n\"'=,;" /* what parts words in a command line */

typedef struct purge {
    const mr_dataset *ds;
    mri_store store;
    uint64_t *left; /* groups with a sample that stays, ascending */
    uint64_t left_count;
    char **names;
    size_t count;
    uint8_t (*seen)[16]; /* shards that were looked through */
    size_t seen_count;
    uint64_t lines;
} purge;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static int
by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static mr_err
list_left(purge *p, mr_diag *diag)
{
    uint64_t n = p->ds->index.count;
    mr_err err = MR_OK;

    p->left = mri_alloc((size_t)n, sizeof *p->left);
    if (p->left == NULL) {
        return no_memory(diag);
    }
    for (uint64_t i = 0; err == MR_OK && i < n; i++) {
        const mri_shard *s;
        mri_index_entry at;
        mri_sample_row row;

        err = mri_dataset_locate(p->ds, i, &s, &at, &row, diag);
        p->left[i] = err == MR_OK ? row.group : 0;
    }
    p->left_count = n;
    if (n != 0) {
        qsort(p->left, (size_t)n, sizeof *p->left, by_value);
    }
    return err;
}

static bool
stays(const purge *p, uint64_t group)
{
    return group == 0 || (p->left_count != 0 &&
                          bsearch(&group, p->left, (size_t)p->left_count,
                                  sizeof *p->left, by_value) != NULL);
}

static bool
on_list(const purge *p, const uint8_t uid[MR_UID_BYTES])
{
    const ProtobufCBinaryData *list = &p->ds->manifest->withdrawn;
    size_t low = 0, high = list->len / MRI_WITHDRAWN_BYTES;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(list->data + middle * MRI_WITHDRAWN_BYTES, uid,
                           MR_UID_BYTES);

        if (order == 0) {
            return true;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    return false;
}

static bool
add_name(purge *p, const char *name)
{
    char **grown, *copy;

    if (name[0] == '\0') {
        return true;
    }
    grown = mri_resize(p->names, p->count + 1, sizeof *grown);
    p->names = grown != NULL ? grown : p->names;
    copy = grown != NULL ? mri_strdup(name) : NULL;
    if (copy == NULL) {
        return false;
    }
    p->names[p->count++] = copy;
    return true;
}

/* All that a line could call the sample. */
static mr_err
add_names(purge *p, const mri_shard *s, const mri_sample_row *row,
          mr_diag *diag)
{
    char uid[33];
    Mri__PbMeta *pb;
    mr_err err = mri_shard_meta_pb(s, row, &pb, diag);
    bool ok;

    if (err != MR_OK) {
        return err;
    }
    ok = add_name(p, mri_hex(uid, row->uid, MR_UID_BYTES)) &&
         add_name(p, pb->key) &&
         (stays(p, row->group) || add_name(p, pb->group));
    for (size_t i = 0; ok && i < pb->n_fields; i++) {
        for (size_t k = 0; ok && k < pb->fields[i]->n_sources; k++) {
            ok = add_name(p, pb->fields[i]->sources[k]->name);
        }
    }
    mri_meta_unpacked_free(pb);
    return ok ? MR_OK : no_memory(diag);
}

static mr_err
look_through(purge *p, const mri_shard *s, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint32_t i = 0; err == MR_OK && i < mri_shard_samples(s); i++) {
        mri_sample_row row;

        err = mri_shard_sample(s, i, &row, diag);
        if (err == MR_OK && on_list(p, row.uid)) {
            err = add_names(p, s, &row, diag);
        }
    }
    return err;
}

static bool
was_seen(const purge *p, const uint8_t id[16])
{
    for (size_t i = 0; i < p->seen_count; i++) {
        if (memcmp(p->seen[i], id, 16) == 0) {
            return true;
        }
    }
    return false;
}

/* A shard of any generation; one that is gone or damaged tells no names. */
static mr_err
look_into(purge *p, const mri_shard_ref *ref, mr_diag *diag)
{
    void *grown = mri_resize(p->seen, p->seen_count + 1, sizeof *p->seen);
    mri_shard *s = NULL;
    mr_err err;

    if (grown == NULL) {
        return no_memory(diag);
    }
    p->seen = grown;
    memcpy(p->seen[p->seen_count++], ref->id, 16);
    err = mri_shard_open_in(&s, &p->ds->store, ref, true, diag);
    if (err == MR_OK) {
        err = look_through(p, s, diag);
    }
    mri_shard_close(s);
    if (err != MR_OK && err != MR_ENOMEM) {
        mri_diag_clear(diag);
        err = MR_OK;
    }
    return err;
}

/* A manifest that is gone was removed before. */
static mr_err
look_at_generation(purge *p, uint64_t generation, mr_diag *diag)
{
    Mri__PbManifest *m;
    mr_err err = mri_manifest_load(&m, &p->ds->store, generation, diag);

    if (err != MR_OK) {
        if (err == MR_ENOMEM) {
            return err;
        }
        mri_diag_clear(diag);
        return MR_OK;
    }
    for (size_t i = 0; err == MR_OK && i < m->n_shards; i++) {
        mri_shard_ref ref;

        mri_dataset_shard_ref(m, i, &ref);
        if (!was_seen(p, ref.id)) {
            err = look_into(p, &ref, diag);
        }
    }
    mri_manifest_free(m);
    return err;
}

static mr_err
gather_names(purge *p, mr_diag *diag)
{
    uint64_t first = 0, last = p->ds->manifest->generation;
    mr_err err = list_left(p, diag);

    if (err == MR_OK) {
        err = mri_generation_first(&p->ds->store, &first, diag);
    }
    for (uint64_t g = first; err == MR_OK && g <= last; g++) {
        err = look_at_generation(p, g, diag);
    }
    return err;
}

/* One word has the hash of a key or group on the list. */
static bool
hash_on_list(const purge *p, const char *word, size_t bytes)
{
    const ProtobufCBinaryData *list = &p->ds->manifest->withdrawn;
    uint64_t key = mri_xxh3(word, bytes), group = 0;
    char name[512];

    if (bytes != 0 && bytes < sizeof name) {
        memcpy(name, word, bytes);
        name[bytes] = '\0';
        group = mri_group_hash(name);
    }
    for (size_t at = 0; at < list->len; at += MRI_WITHDRAWN_BYTES) {
        const uint8_t *one = list->data + at + MR_UID_BYTES;

        if (mri_get64(one) == key ||
            (mri_get64(one + 8) == group && !stays(p, group))) {
            return true;
        }
    }
    return false;
}

static bool
names_one(const purge *p, const char *text)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strstr(text, p->names[i]) != NULL) {
            return true;
        }
    }
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, APART);

        if (hash_on_list(p, at, n)) {
            return true;
        }
        at += n;
        at += strspn(at, APART);
    }
    return hash_on_list(p, text, strlen(text)); /* a key with a blank in it */
}

static bool
mentions(const purge *p, const json_t *value)
{
    const char *key;
    const json_t *one;
    size_t i;

    if (json_is_string(value)) {
        return names_one(p, json_string_value(value));
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, one)
    {
        if (mentions(p, one)) {
            return true;
        }
    }
    json_array_foreach(value, i, one)
    {
        if (mentions(p, one)) {
            return true;
        }
    }
    return false;
}

/* What a person typed, where it says whom: that goes, the deed stays. */
static bool
clean_history(const purge *p, json_t *line)
{
    static const char *const typed[] = {"command", "reason"};
    const char *what = json_string_value(json_object_get(line, "what"));
    bool named = what != NULL && strcmp(what, "withdraw") == 0;
    bool changed = false;

    for (size_t i = 0; i < MRI_COUNT(typed); i++) {
        json_t *value = json_object_get(line, typed[i]);

        if (json_is_string(value) &&
            (named || names_one(p, json_string_value(value)))) {
            (void)json_object_set_new(line, typed[i], json_null());
            changed = true;
        }
    }
    return changed;
}

typedef enum fate { STAYS, CHANGED, GOES } fate;

static fate
judge(const purge *p, const char *name, json_t *line)
{
    if (strcmp(name, HISTORY) == 0) {
        fate f = clean_history(p, line) ? CHANGED : STAYS;

        return mentions(p, line) ? GOES : f;
    }
    return mentions(p, line) ? GOES : STAYS;
}

static mr_err
clean_line(purge *p, const char *name, const char *json, mri_bytes *out,
           mr_diag *diag)
{
    json_t *line = json_loads(json, 0, NULL);
    char *text = NULL;
    fate f = line != NULL ? judge(p, name, line) : GOES;
    bool ok = true;

    if (f == STAYS) {
        ok = mri_crc_line_add(out, json);
    } else if (f == CHANGED) {
        text = json_dumps(line, JSON_COMPACT);
        ok = text != NULL && mri_crc_line_add(out, text);
    }
    p->lines += f != STAYS;
    free(text); /* jansson's own */
    json_decref(line);
    return ok ? MR_OK : no_memory(diag);
}

/* A line that fails its checksum could name anybody: it goes as well. */
static mr_err
clean_lines(purge *p, const char *name, mri_bytes *in, mri_bytes *out,
            mr_diag *diag)
{
    mr_err err = mri_bytes_add(in, "", 1) ? MR_OK : no_memory(diag);

    for (char *line = (char *)in->data; err == MR_OK && *line != '\0';) {
        char *next = line + strcspn(line, "\n");
        const char *json;

        next += *next == '\n';
        json = mri_crc_line_check(line);
        if (json != NULL) {
            err = clean_line(p, name, json, out, diag);
        } else {
            p->lines++;
        }
        line = next;
    }
    return err;
}

static mr_err
clean_file(purge *p, const char *name, bool dry_run, mr_diag *diag)
{
    mri_bytes in = {0}, out = {0};
    uint64_t before = p->lines;
    bool there;
    mr_err err = mri_store_has(&p->store, name, &there, diag);

    if (err == MR_OK && there) {
        err = mri_store_load(&p->store, name, LIMIT, &in, diag);
        if (err == MR_OK) {
            err = clean_lines(p, name, &in, &out, diag);
        }
        if (err == MR_OK && p->lines != before && !dry_run) {
            err = out.len != 0 ? mri_store_put(&p->store, name, &out,
                                               MRI_PUT_REPLACE, diag)
                               : mri_store_remove(&p->store, name, diag);
        }
    }
    mri_bytes_release(&in);
    mri_bytes_release(&out);
    return err;
}

static mr_err
clean(purge *p, bool dry_run, bool *unfinished, mr_diag *diag)
{
    mr_err err = mri_store_has(&p->store, JOURNAL, unfinished, diag);

    if (err == MR_OK) {
        err = gather_names(p, diag);
    }
    if (err == MR_OK) {
        err = clean_file(p, HISTORY, dry_run, diag);
    }
    if (err == MR_OK) {
        err = clean_file(p, QUARANTINE, dry_run, diag);
    }
    if (err == MR_OK && !dry_run) {
        mri_store_prune(&p->store, "quarantine");
        err = mri_store_remove(&p->store, JOURNAL, diag);
    }
    return err;
}

mr_err
mri_purge_names(const mr_dataset *ds, bool dry_run, uint64_t *lines,
                bool *unfinished, mr_diag *diag)
{
    purge p = {.ds = ds};
    mr_err err = mri_store_open(&p.store, ds->dir, diag);

    if (err == MR_OK) {
        err = clean(&p, dry_run, unfinished, diag);
    }
    *lines = p.lines;
    for (size_t i = 0; i < p.count; i++) {
        mri_free(p.names[i]);
    }
    mri_free(p.names);
    mri_free(p.seen);
    mri_free(p.left);
    mri_store_close(&p.store);
    return err;
}
