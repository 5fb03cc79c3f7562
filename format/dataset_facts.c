/* SPDX-License-Identifier: Apache-2.0 */
/* dataset_facts.c - the human side of a dataset. */
#include "dataset_read.h"
#include "level.h"

#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/hash.h>

#include <string.h>

mr_err
mri_dataset_meta(const mr_dataset *ds, uint64_t rank, mri_meta **out,
                 mr_diag *diag)
{
    const mri_shard *s;
    mri_index_entry at;
    mri_sample_row row;
    mr_err err = mri_dataset_locate(ds, rank, &s, &at, &row, diag);

    *out = NULL;
    return err == MR_OK ? mri_shard_meta(s, at.row, out, diag) : err;
}

mr_err
mri_dataset_find_key(const mr_dataset *ds, const char *key, uint64_t *rank,
                     mr_diag *diag)
{
    uint64_t want = mri_xxh3(key, strlen(key));

    for (uint64_t i = 0; i < mr_dataset_count(ds); i++) {
        const mri_shard *s;
        mri_index_entry at;
        mri_sample_row row;
        mri_meta *meta;
        bool found;
        mr_err err = mri_dataset_locate(ds, i, &s, &at, &row, diag);

        if (err != MR_OK) {
            return err;
        }
        if (row.key != want) {
            continue;
        }
        err = mri_shard_meta(s, at.row, &meta, diag);
        if (err != MR_OK) {
            return err;
        }
        found = strcmp(meta->key, key) == 0;
        mri_meta_free(meta);
        if (found) {
            *rank = i;
            return MR_OK;
        }
    }
    return mri_fail(diag, MRI_E_NO_SAMPLE, MR_NOWHERE, "no sample '%.200s'",
                    key);
}

mr_err
mri_dataset_key_hash(const mr_dataset *ds, uint64_t rank, uint64_t *hash,
                     mr_diag *diag)
{
    const mri_shard *s;
    mri_index_entry at;
    mri_sample_row row;
    mr_err err = mri_dataset_locate(ds, rank, &s, &at, &row, diag);

    if (err == MR_OK) {
        *hash = row.key;
    }
    return err;
}

mr_err
mri_generation_of(const char *dir, uint64_t *generation, mr_diag *diag)
{
    mri_store store;
    mr_err err = mri_store_open(&store, dir, diag);

    if (err == MR_OK) {
        err = mri_generation_latest(&store, generation, diag);
    }
    mri_store_close(&store);
    return err;
}

mr_err
mri_dataset_split_of(const mr_dataset *ds, uint64_t rank, uint32_t *split,
                     mr_diag *diag)
{
    *split = MR_ALL_SAMPLES;
    for (uint32_t s = 0; s < mr_dataset_splits(ds); s++) {
        uint64_t low = 0, high = mr_dataset_split_count(ds, s), got;

        while (low < high) {
            uint64_t middle = low + (high - low) / 2;
            mr_err err = mr_dataset_split_at(ds, s, middle, &got, diag);

            if (err != MR_OK) {
                return err;
            }
            if (got == rank) {
                *split = s;
                return MR_OK;
            }
            if (got < rank) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
    }
    return MR_OK;
}

void
mri_dataset_facts_of(const mr_dataset *ds, mri_dataset_facts *out)
{
    const Mri__PbManifest *m = ds->manifest;

    *out =
        (mri_dataset_facts){.version = ds->version,
                            .dir = ds->dir,
                            .layout = m->layout,
                            .config = m->schema->config,
                            .split_recipe = m->split_recipe,
                            .samples = m->samples,
                            .groups = m->groups,
                            .quarantined = m->quarantined,
                            .withdrawn = m->withdrawn.len / MRI_WITHDRAWN_BYTES,
                            .superseded = m->superseded,
                            .leaks = m->leaks,
                            .joined = m->joined,
                            .shards = (uint32_t)m->n_shards};
    for (size_t i = 0; i < m->n_shards; i++) {
        out->bytes += m->shards[i]->bytes;
        out->raw_bytes += m->shards[i]->raw_bytes;
    }
}

uint64_t
mri_dataset_class_count(const mr_dataset *ds, uint32_t class_index)
{
    return class_index < ds->manifest->n_class_counts
               ? ds->manifest->class_counts[class_index]
               : 0;
}

mri_field_kind
mri_dataset_field_kind(const mr_dataset *ds, uint32_t field)
{
    return field < mr_dataset_fields(ds)
               ? (mri_field_kind)ds->manifest->schema->fields[field]->kind
               : MRI_FIELD_IMAGE;
}

void
mri_dataset_field_level(const mr_dataset *ds, uint32_t field,
                        mri_field_level *out)
{
    mri_level_of_pb(out, ds->manifest->schema->fields[field]);
}

void
mri_dataset_shard(const mr_dataset *ds, uint32_t i, mri_shard_ref *out)
{
    mri_dataset_shard_ref(ds->manifest, i, out);
}

void
mri_dataset_withdrawn(const mr_dataset *ds, uint64_t i, mri_withdrawn *out)
{
    const uint8_t *p = ds->manifest->withdrawn.data + i * MRI_WITHDRAWN_BYTES;

    memcpy(out->uid, p, MR_UID_BYTES);
    out->key = mri_get64(p + MR_UID_BYTES);
    out->group = mri_get64(p + MR_UID_BYTES + 8);
}

uint32_t
mri_dataset_variants(const mr_dataset *ds)
{
    return (uint32_t)ds->manifest->n_variants;
}

void
mri_dataset_variant(const mr_dataset *ds, uint32_t i, mri_variant *out)
{
    const Mri__PbVariant *pb = ds->manifest->variants[i];

    *out = (mri_variant){.field = pb->field,
                         .encoding = (mr_encoding)pb->encoding,
                         .dtype = (mr_dtype)pb->dtype,
                         .count = pb->count};
    for (size_t k = 0;
         k < pb->n_shape && k < MR_MAX_RANK && pb->axes[k] != '\0'; k++) {
        out->axes[k] = pb->axes[k];
        out->shape[k] = pb->shape[k];
        out->rank++;
    }
}
