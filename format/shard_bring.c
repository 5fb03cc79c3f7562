/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_bring.c - a shard of one store in another one as well.
 *
 * What is shared is the very object, and whoever opens it checks it. Of a copy
 * the head, the tails and all of the foot are proven before it gets its name,
 * since the name says what the foot is; its frames carry checksums that each
 * reading proves.
 */
#include "shard_read.h"

#include <mri/error.h>
#include <mri/hash.h>
#include <mri/store.h>

#include <string.h>

#define PIECE ((uint64_t)1 << 20) /* bytes copied at once */

typedef struct copying {
    const mri_shard *shard;
    mri_sha256 *foot;
    mri_bytes room;
    mri_upload out;
} copying;

/* The part of these bytes, which stand at `at`, that is of the foot. */
static void
hash_foot(copying *c, const uint8_t *p, uint64_t at, uint64_t bytes)
{
    const mri_tail *tail = &c->shard->tail;
    uint64_t from = tail->foot_off > at ? tail->foot_off - at : 0;
    uint64_t to = tail->foot_off + tail->foot_len;

    to = to > at ? to - at : 0;
    to = to < bytes ? to : bytes;
    if (from < to) {
        mri_sha256_add(c->foot, p + from, (size_t)(to - from));
    }
}

static mr_err
copy_bytes(copying *c, mr_diag *diag)
{
    const mri_object *file = &c->shard->file;
    mr_err err = MR_OK;

    for (uint64_t at = 0; err == MR_OK && at < file->size; at += PIECE) {
        uint64_t left = file->size - at, n = left < PIECE ? left : PIECE;
        const uint8_t *p = NULL;

        err = mri_object_view(file, at, n, &c->room, &p, diag);
        if (err == MR_OK) {
            hash_foot(c, p, at, n);
            err = mri_upload_add(&c->out, p, (size_t)n, diag);
        }
    }
    return err;
}

static mr_err
check_foot(const copying *c, const mri_shard_ref *ref, mr_diag *diag)
{
    uint8_t digest[32];
    mr_err err;

    mri_sha256_end(c->foot, digest);
    if (memcmp(digest, ref->id, sizeof ref->id) == 0) {
        return MR_OK;
    }
    err = mri_fail(diag, MRI_E_SHARD_DAMAGED, c->shard->tail.foot_off,
                   "the foot is not what the shard is named after");
    mri_diag_in(diag, c->shard->file.path);
    return err;
}

/* By pread: a disk that cannot give a page says so. */
static mr_err
copy(const mri_store *s, const mri_store *from, const mri_shard_ref *ref,
     mr_diag *diag)
{
    copying c = {.foot = mri_sha256_begin()};
    mri_shard *shard = NULL;
    mr_err err = c.foot != NULL
                     ? MR_OK
                     : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");

    if (err == MR_OK) {
        err = mri_shard_open_in(&shard, from, ref, false, diag);
    }
    if (err == MR_OK) {
        c.shard = shard;
        err = mri_upload_begin(&c.out, s, "shard", diag);
    }
    if (err == MR_OK) {
        err = copy_bytes(&c, diag);
    }
    if (err == MR_OK) {
        err = check_foot(&c, ref, diag);
    }
    if (err == MR_OK) {
        err = mri_upload_commit(&c.out, mri_shard_name(ref->id).name,
                                MRI_PUT_REPLACE, diag);
    }
    mri_upload_cancel(&c.out);
    mri_bytes_release(&c.room);
    mri_shard_close(shard);
    mri_sha256_free(c.foot);
    return err;
}

mr_err
mri_shard_bring(const mri_store *s, const mri_store *from,
                const mri_shard_ref *ref, mr_diag *diag)
{
    bool shared;
    mr_err err =
        mri_store_share(s, from, mri_shard_name(ref->id).name, &shared, diag);

    return err != MR_OK || shared ? err : copy(s, from, ref, diag);
}
