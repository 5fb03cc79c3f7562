/* SPDX-License-Identifier: Apache-2.0 */
/* shard_open.c - find the tail, check the chain from it down to the rows. */
#include "shard_read.h"

#include "frame.h"
#include "version.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

static mr_err
incomplete(const mri_object *file, const mri_shard_ref *expect, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_SHARD_SHORT, file->size,
                    "incomplete: %llu bytes are there, %llu were written",
                    (unsigned long long)file->size,
                    (unsigned long long)expect->bytes);
}

static mr_err
tail_at(mri_shard *s, uint64_t from_end, mri_tail *tail, mr_diag *diag)
{
    mri_bytes room = {0};
    const uint8_t *p;
    uint64_t at = s->file.size - from_end;
    mr_err err = mri_object_view(&s->file, at, MRI_TAIL_BYTES, &room, &p, diag);

    if (err == MR_OK) {
        err = mri_tail_get(tail, p, at, diag);
    }
    mri_bytes_release(&room);
    return err;
}

/* Either tail will do; `verify` says if one of them is damaged. */
static mr_err
find_tail(mri_shard *s, mr_diag *diag)
{
    mri_tail second;
    mr_err err = tail_at(s, MRI_TAIL_BYTES, &s->tail, diag);

    if (err != MR_OK && tail_at(s, MRI_TAIL_SPAN, &second, NULL) == MR_OK) {
        mri_diag_clear(diag);
        s->tail = second;
        err = MR_OK;
    }
    if (err != MR_OK) {
        return err;
    }
    if (s->tail.foot_off > s->file.size ||
        s->tail.foot_len > s->file.size - s->tail.foot_off ||
        mri_shard_file_size(s->tail.foot_off + s->tail.foot_len) !=
            s->file.size) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, s->file.size,
                        "the tail belongs to a file of another size");
    }
    return MR_OK;
}

static mr_err
check_identity(const mri_shard *s, const mri_shard_ref *expect, mr_diag *diag)
{
    if (memcmp(expect->id, s->tail.shard_id, 16) != 0 ||
        expect->foot_hash != s->tail.hash ||
        memcmp(expect->plan_tag, s->plan_tag, 16) != 0) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, 0,
                        "this is another shard than the manifest names");
    }
    return MR_OK;
}

static mr_err
read_head(mri_shard *s, mr_diag *diag)
{
    mri_bytes room = {0};
    const uint8_t *head;
    size_t bytes =
        s->file.size < MRI_HEAD_BYTES ? (size_t)s->file.size : MRI_HEAD_BYTES;
    mr_err err = mri_object_view(&s->file, 0, bytes, &room, &head, diag);

    if (err == MR_OK) {
        err = mri_head_get(head, bytes, s->plan_tag, diag);
    }
    if (err == MR_OK) {
        s->version = mri_version_of(head, MRI_HEAD_FEATURES);
    }
    mri_bytes_release(&room);
    return err;
}

/* What is checked of a foot when it is opened: its table of contents and the
 * hashes of its pages. Sizes that do not agree are refused there. */
static mr_err
open_foot(mri_shard *s, mr_diag *diag)
{
    uint64_t hashes = (uint64_t)s->tail.pages * 8, len = s->tail.foot_len;
    uint64_t toc = (uint64_t)s->tail.toc_rows * MRI_TOC_ROW;
    mri_window *w = &s->foot_window;
    mr_err err = mri_window_open(w, &s->file, s->tail.foot_off, len, diag);

    if (err == MR_OK && toc <= len) {
        err = mri_window_read(w, 0, toc, diag);
    }
    if (err == MR_OK && hashes <= len) {
        err = mri_window_read(w, len - hashes, hashes, diag);
    }
    if (err == MR_OK) {
        err = mri_foot_open(&s->foot, &s->tail, w->base, diag);
    }
    if (err == MR_OK) {
        s->foot.window = w;
    }
    return err;
}

static mr_err
open_parts(mri_shard *s, const mri_shard_ref *expect, mr_diag *diag)
{
    const uint8_t *p;
    uint64_t bytes;
    mr_err err = read_head(s, diag);

    if (err != MR_OK) {
        return err;
    }
    if (expect != NULL && expect->bytes != s->file.size) {
        return incomplete(&s->file, expect, diag);
    }
    if (s->file.size < MRI_HEAD_BYTES + MRI_TAIL_SPAN) {
        return mri_fail(diag, MRI_E_SHARD_SHORT, s->file.size,
                        "too short for a shard: its end is missing");
    }
    err = find_tail(s, diag);
    if (err == MR_OK && expect != NULL) {
        err = check_identity(s, expect, diag);
    }
    if (err == MR_OK) {
        err = open_foot(s, diag);
    }
    if (err == MR_OK) {
        err = mri_foot_table(&s->foot, MRI_TABLE_SCHEMA, &p, &bytes, diag);
    }
    if (err == MR_OK) {
        err = mri_schema_unpack(&s->schema, p, (size_t)bytes, s->tail.foot_off,
                                diag);
    }
    return err;
}

/* Takes `file` in any case. */
static mr_err
open_object(mri_shard **out, mri_object *file, const mri_shard_ref *expect,
            mr_diag *diag)
{
    mri_shard *s = mri_alloc(1, sizeof *s);
    mr_err err;

    if (s == NULL) {
        mri_object_close(file);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    s->file = *file;
    err = open_parts(s, expect, diag);
    if (err != MR_OK) {
        mri_diag_in(diag, s->file.path);
        mri_shard_close(s);
        return err;
    }
    *out = s;
    return MR_OK;
}

mr_err
mri_shard_open_in(mri_shard **out, const mri_store *store,
                  const mri_shard_ref *ref, bool use_map, mr_diag *diag)
{
    mri_object file;
    mr_err err = mri_store_object(store, mri_shard_name(ref->id).name, use_map,
                                  &file, diag);

    *out = NULL;
    return err == MR_OK ? open_object(out, &file, ref, diag) : err;
}

mr_err
mri_shard_open_with(mri_shard **out, const char *path,
                    const mri_shard_ref *expect, bool use_map, mr_diag *diag)
{
    mri_object file = {0};
    mri_store store;
    const char *name;
    mr_err err = mri_store_open_at(&store, &name, path, diag);

    if (err == MR_OK) {
        err = mri_store_object(&store, name, use_map, &file, diag);
    }
    mri_store_close(&store);
    *out = NULL;
    return err == MR_OK ? open_object(out, &file, expect, diag) : err;
}

mr_err
mri_shard_open(mri_shard **out, const char *path, const mri_shard_ref *expect,
               mr_diag *diag)
{
    return mri_shard_open_with(out, path, expect, true, diag);
}

void
mri_shard_close(mri_shard *s)
{
    if (s == NULL) {
        return;
    }
    mri_schema_unpacked_free(s->schema);
    mri_foot_release(&s->foot);
    mri_window_close(&s->foot_window);
    mri_object_close(&s->file);
    mri_free(s);
}

uint32_t
mri_shard_samples(const mri_shard *s)
{
    return s->tail.samples;
}

uint64_t
mri_shard_bytes(const mri_shard *s)
{
    return s->file.size;
}

const uint8_t *
mri_shard_id(const mri_shard *s)
{
    return s->tail.shard_id;
}

const mri_version *
mri_shard_version(const mri_shard *s)
{
    return &s->version;
}
