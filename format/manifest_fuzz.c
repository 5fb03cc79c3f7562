/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest_fuzz.c - any bytes as the manifest of a generation, and a folder
 * with it: the dataset opens or is refused, and all that it says can be asked.
 *
 * Input: a byte of FUZZ_* flags, the manifest. FUZZ_AGREE puts what a manifest
 * must know of the other files into it: they are those of a small dataset.
 */
#include "dataset_read.h"

#include <mri/dataset.h>
#include <mri/file.h>
#include <mri/hash.h>

#include <fuzz_bytes.h>
#include <fuzz_set.h>

static fuzz_set set;

static void
mend(mri_bytes *m)
{
    mri_xxh3_state *s;

    if (m->len < MRI_MANIFEST_HEAD) {
        return;
    }
    mri_put64(m->data + 16, m->len - MRI_MANIFEST_HEAD);
    s = mri_xxh3_begin();
    hold(s != NULL);
    mri_xxh3_add(s, m->data, MRI_MANIFEST_HEAD - 8);
    mri_xxh3_add(s, m->data + MRI_MANIFEST_HEAD, m->len - MRI_MANIFEST_HEAD);
    mri_put64(m->data + 24, mri_xxh3_end(s));
    mri_xxh3_free(s);
}

/* Index, shard and generation of the small dataset. */
static void
agree(mri_bytes *m)
{
    Mri__PbManifest *pb = NULL, *true_one = NULL;
    mri_bytes again = {0};

    if (mri_manifest_parse(&pb, m->data, m->len, NULL) != MR_OK) {
        return;
    }
    hold(mri_manifest_parse(&true_one, set.manifest.data, set.manifest.len,
                            NULL) == MR_OK);
    pb->generation = true_one->generation;
    pb->samples = true_one->samples;
    memcpy(pb->index_hash.data, true_one->index_hash.data, 16);
    for (size_t i = 0; i < pb->n_splits && i < true_one->n_splits; i++) {
        pb->splits[i]->count = true_one->splits[i]->count;
    }
    if (pb->n_shards != 0) {
        memcpy(pb->shards[0]->id.data, true_one->shards[0]->id.data, 16);
        memcpy(pb->shards[0]->plan_tag.data, true_one->shards[0]->plan_tag.data,
               16);
        pb->shards[0]->bytes = true_one->shards[0]->bytes;
        pb->shards[0]->foot_hash = true_one->shards[0]->foot_hash;
    }
    hold(mri_manifest_build(&again, pb));
    m->len = 0;
    hold(mri_bytes_add(m, again.data, again.len));
    mri_bytes_release(&again);
    mri_manifest_free(pb);
    mri_manifest_free(true_one);
}

static void
ask_facts(const mr_dataset *ds)
{
    mri_dataset_facts facts;
    mri_variant variant;
    mri_withdrawn gone;
    mri_shard_ref ref;

    mri_dataset_facts_of(ds, &facts);
    fuzz_touch(facts.layout, strlen(facts.layout));
    for (uint32_t i = 0; i < mri_dataset_variants(ds) && i < 16; i++) {
        mri_dataset_variant(ds, i, &variant);
        hold(strlen(variant.axes) <= MR_MAX_RANK);
    }
    for (uint64_t i = 0; i < facts.withdrawn && i < 16; i++) {
        mri_dataset_withdrawn(ds, i, &gone);
    }
    for (uint32_t i = 0; i < facts.shards && i < 16; i++) {
        mri_dataset_shard(ds, i, &ref);
    }
    for (uint32_t i = 0; i < mr_dataset_classes(ds) && i < 16; i++) {
        fuzz_sink += mri_dataset_class_count(ds, i);
        fuzz_touch(mr_dataset_class_name(ds, i), 1);
    }
    for (uint32_t i = 0; i < mr_dataset_fields(ds) && i < 16; i++) {
        fuzz_sink += mri_dataset_field_kind(ds, i);
        for (uint32_t s = 0; s < mr_dataset_splits(ds) && s < 4; s++) {
            uint32_t n = mr_dataset_stats_channels(ds, s, i);

            for (uint32_t c = 0; c < n && c < 8; c++) {
                hold(mr_dataset_stats(ds, s, i, c) != NULL);
            }
            n = mr_dataset_measures(ds, s, i);
            for (uint32_t c = 0; c < n && c < 8; c++) {
                hold(mr_dataset_measure(ds, s, i, c)->axis > ' ');
            }
            hold(mr_dataset_measure(ds, s, i, n) == NULL);
        }
    }
}

static void
ask_samples(const mr_dataset *ds)
{
    mr_diag diag = {0};
    mr_moments moments;
    mr_sample sample;
    mr_field field;
    uint32_t split;
    uint64_t rank;

    for (uint64_t i = 0; i < mr_dataset_count(ds) && i < 4; i++) {
        (void)fuzz_ok(mri_dataset_split_of(ds, i, &split, &diag), &diag);
        if (fuzz_ok(mr_dataset_sample(ds, i, &sample, &diag), &diag) &&
            fuzz_ok(mr_dataset_field(ds, i, 0, &field, &diag), &diag)) {
            hold(sample.class_index == MR_NO_CLASS ||
                 sample.class_index < mr_dataset_classes(ds));
            hold(field.name < mr_dataset_fields(ds));
            (void)fuzz_ok(mr_dataset_moments(ds, i, 0, 0, &moments, &diag),
                          &diag);
        }
    }
    (void)fuzz_ok(mr_dataset_split_find(ds, "train", &split, &diag), &diag);
    (void)fuzz_ok(mri_dataset_find_key(ds, "sample1", &rank, &diag), &diag);
    (void)fuzz_ok(
        mr_dataset_find(ds, (const uint8_t *)"0123456789abcdef", &rank, &diag),
        &diag);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mri_bytes m;
    Mri__PbManifest *pb = NULL;
    mr_dataset *ds = NULL;
    mr_diag diag = {0};
    uint8_t *exact;

    if (size < 1) {
        return 0;
    }
    fuzz_set_make(&set);
    m.len = 0;
    hold(mri_bytes_add(&m, data + 1, size - 1));
    if ((data[0] & FUZZ_MEND) != 0) {
        mend(&m);
    }
    exact = fuzz_exact(m.data, m.len);
    fuzz_begin();
    (void)fuzz_ok(mri_manifest_parse(&pb, exact, m.len, &diag), &diag);
    mri_manifest_free(pb);
    fuzz_end((128 << 10) + 256 * size);
    free(exact);
    if (pb == NULL) {
        return 0;
    }
    if ((data[0] & FUZZ_AGREE) != 0) {
        agree(&m);
    }
    fuzz_set_manifest(&set, m.data, m.len);
    fuzz_begin();
    if (fuzz_ok(mr_dataset_open(&ds, set.dir, &diag), &diag)) {
        ask_facts(ds);
        ask_samples(ds);
    }
    mr_dataset_close(ds);
    fuzz_end((1 << 20) + 1024 * size);
    return 0;
}
