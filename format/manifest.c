/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.c - the file that makes a generation. */
#include "manifest.h"

#include "level.h"
#include "meta.h"
#include "version.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/hash.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const uint8_t magic[8] = {0x89, 'M', 'R', 'M', '\r', '\n', 0x1A, '\n'};

static bool
sum_of(const uint8_t *head, const uint8_t *payload, size_t bytes, uint64_t *out)
{
    mri_xxh3_state *s = mri_xxh3_begin();

    if (s == NULL) {
        return false;
    }
    mri_xxh3_add(s, head, MRI_MANIFEST_HEAD - 8);
    mri_xxh3_add(s, payload, bytes);
    *out = mri_xxh3_end(s);
    mri_xxh3_free(s);
    return true;
}

/* What a reader must know of to see in this what was meant: one that passed
 * over the list of the withdrawn would bring them back at its next commit. */
static uint32_t
features_of(const Mri__PbManifest *pb)
{
    return (pb->withdrawn.len != 0 ? MRI_MANIFEST_WITHDRAWN : 0u) |
           (pb->superseded != 0 ? MRI_MANIFEST_SUPERSEDED : 0u);
}

bool
mri_manifest_build(mri_bytes *out, const Mri__PbManifest *pb)
{
    uint64_t sum;

    if (!mri_bytes_zero(out, MRI_MANIFEST_HEAD) ||
        !mri_pb_pack(out, &pb->base)) {
        return false;
    }
    memcpy(out->data, magic, 8);
    mri_version_put(out->data + 8);
    mri_put32(out->data + MRI_MANIFEST_FEATURES, features_of(pb));
    mri_put64(out->data + 16, out->len - MRI_MANIFEST_HEAD);
    if (!sum_of(out->data, out->data + MRI_MANIFEST_HEAD,
                out->len - MRI_MANIFEST_HEAD, &sum)) {
        return false;
    }
    mri_put64(out->data + 24, sum);
    return true;
}

/* Whole entries, each uid above the one before. */
static bool
withdrawn_hold(const ProtobufCBinaryData *list)
{
    if (list->len % MRI_WITHDRAWN_BYTES != 0) {
        return false;
    }
    for (size_t at = MRI_WITHDRAWN_BYTES; at < list->len;
         at += MRI_WITHDRAWN_BYTES) {
        if (memcmp(list->data + at - MRI_WITHDRAWN_BYTES, list->data + at,
                   MR_UID_BYTES) >= 0) {
            return false;
        }
    }
    return true;
}

static bool
sizes_hold(const Mri__PbManifest *pb)
{
    if (pb->schema == NULL || !mri_levels_hold(pb->schema) ||
        pb->index_hash.len != 16 || pb->content_id.len != 16 ||
        (pb->dataset_id.len != 16 && pb->dataset_id.len != 0)) {
        return false;
    }
    for (size_t i = 0; i < pb->n_shards; i++) {
        if (pb->shards[i]->id.len != 16 || pb->shards[i]->plan_tag.len != 16) {
            return false;
        }
    }
    return pb->oldest <= pb->generation && withdrawn_hold(&pb->withdrawn);
}

mr_err
mri_manifest_parse(Mri__PbManifest **out, const uint8_t *p, size_t bytes,
                   mr_diag *diag)
{
    mri_pb_alloc a;
    uint64_t sum;
    mr_err err;

    *out = NULL;
    if (bytes < MRI_MANIFEST_HEAD || memcmp(p, magic, 8) != 0) {
        return mri_fail(diag, MRI_E_MANIFEST, 0,
                        "this is no manifest: the magic is missing");
    }
    if (mri_get64(p + 16) != bytes - MRI_MANIFEST_HEAD) {
        return mri_fail(
            diag, MRI_E_MANIFEST, 16,
            "incomplete: %zu bytes are there, %llu were written", bytes,
            (unsigned long long)mri_get64(p + 16) + MRI_MANIFEST_HEAD);
    }
    if (!sum_of(p, p + MRI_MANIFEST_HEAD, bytes - MRI_MANIFEST_HEAD, &sum)) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    if (sum != mri_get64(p + 24)) {
        return mri_fail(diag, MRI_E_MANIFEST, 0,
                        "the manifest fails its checksum");
    }
    err = mri_version_check(p, MRI_MANIFEST_FEATURES, MRI_MANIFEST_KNOWN,
                            "manifest", diag);
    if (err != MR_OK) {
        return err;
    }
    mri_pb_alloc_init(&a, bytes);
    *out = mri__pb_manifest__unpack(&a.base, bytes - MRI_MANIFEST_HEAD,
                                    p + MRI_MANIFEST_HEAD);
    if (*out == NULL || !sizes_hold(*out) ||
        features_of(*out) != mri_get32(p + MRI_MANIFEST_FEATURES)) {
        mri_manifest_free(*out);
        *out = NULL;
        return mri_pb_refuse(&a, MRI_E_MANIFEST, MRI_MANIFEST_HEAD,
                             "the manifest cannot be read", diag);
    }
    return MR_OK;
}

void
mri_manifest_free(Mri__PbManifest *pb)
{
    mri_pb_alloc a;

    mri_pb_alloc_init(&a, 0);
    if (pb != NULL) {
        mri__pb_manifest__free_unpacked(pb, &a.base);
    }
}

static mri_object_name
name_of(const char *stem, const char *end, uint64_t generation)
{
    mri_object_name name;

    (void)snprintf(name.at, sizeof name.at, "%s.%06" PRIu64 ".%s", stem,
                   generation, end);
    return name;
}

mri_object_name
mri_manifest_name(uint64_t generation)
{
    return name_of("manifest", "pb", generation);
}

mri_object_name
mri_index_name(uint64_t generation)
{
    return name_of("index", "mri", generation);
}

char *
mri_manifest_path(const char *dir, uint64_t generation)
{
    return mri_path_join(dir, mri_manifest_name(generation).at);
}

char *
mri_index_path(const char *dir, uint64_t generation)
{
    return mri_path_join(dir, mri_index_name(generation).at);
}

uint64_t
mri_generation_of_name(const char *name)
{
    uint64_t generation;
    int end = 0;

    /* What is not exactly as name_of writes it is somebody else's file. */
    if (sscanf(name, "manifest.%" SCNu64 ".pb%n", &generation, &end) != 1 ||
        end == 0 || name[end] != '\0' || name[9] == '-' || name[9] == '+') {
        return 0;
    }
    return generation;
}

mr_err
mri_manifest_load(Mri__PbManifest **out, const mri_store *s,
                  uint64_t generation, mr_diag *diag)
{
    const mri_object_name name = mri_manifest_name(generation);
    char *path = mri_store_path(s, name.at);
    mri_bytes b = {0};
    mr_err err = mri_store_load(s, name.at, MRI_MANIFEST_LIMIT, &b, diag);

    *out = NULL;
    if (err == MR_OK) {
        err = mri_manifest_parse(out, b.data, b.len, diag);
        mri_diag_in(err != MR_OK ? diag : NULL, path);
    }
    mri_bytes_release(&b);
    mri_free(path);
    return err;
}

/* The least and the greatest number of a manifest; 0, 0: there is none. */
typedef struct span {
    uint64_t first, last;
} span;

static mr_err
see_name(void *user, const char *name, mr_diag *diag)
{
    uint64_t g = mri_generation_of_name(name);
    span *s = user;

    (void)diag;
    s->last = g > s->last ? g : s->last;
    s->first = g != 0 && (s->first == 0 || g < s->first) ? g : s->first;
    return MR_OK;
}

mr_err
mri_generation_latest(const mri_store *s, uint64_t *out, mr_diag *diag)
{
    span all = {0};
    mr_err err = mri_store_list(s, "", see_name, &all, diag);

    *out = all.last;
    return err;
}

mr_err
mri_generation_first(const mri_store *s, uint64_t *out, mr_diag *diag)
{
    span all = {0};
    mr_err err = mri_store_list(s, "", see_name, &all, diag);

    *out = all.first;
    return err;
}
