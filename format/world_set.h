/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world_set.h - datasets of many tiny samples, each a function of its number,
 * and worlds in which some of them are otherwise: ten samples a group.
 */
#ifndef MRI_WORLD_SET_H
#define MRI_WORLD_SET_H

#include <mri/dataset.h>

#include <test_set.h>

enum { WORLD_VALUES = 6 * 5 * 2 };

/* How the world of a dataset departs from that of its number alone. */
typedef struct world {
    unsigned first, count;
    unsigned tag;      /* of the shard */
    int other_label;   /* this sample has another class and group */
    int other_file;    /* this one is of another file: another uid */
    int other_values;  /* same file, converted to other values */
    unsigned left_out; /* + 1: this one is not there */
} world;

static inline world
world_plain(unsigned first, unsigned count)
{
    return (world){.first = first,
                   .count = count,
                   .other_label = -1,
                   .other_file = -1,
                   .other_values = -1};
}

static inline void
world_values(uint64_t seed, uint16_t out[WORLD_VALUES])
{
    for (int k = 0; k < WORLD_VALUES; k++) {
        out[k] = (uint16_t)(scratch_random(&seed) % 4000);
    }
}

static inline mr_err
world_add(mri_shard_writer *w, const world *is, unsigned i, mr_diag *diag)
{
    bool other = (int)i == is->other_label;
    uint16_t values[WORLD_VALUES];
    char key[32], group[32];
    mri_provenance source = {"f", {(uint8_t)i}, 120, NULL};
    mri_field_in f = {.encoding = MR_ENC_CHUNKS,
                      .dtype = MR_U16,
                      .ndim = 3,
                      .axes = {'Y', 'X', 'C'},
                      .dims = {6, 5, 2},
                      .pixels = values,
                      .sources = &source,
                      .source_count = 1};
    mri_sample_in s = {.key = key,
                       .group = group,
                       .class_name = set_classes[(i + other) % 3],
                       .class_index = (i + other) % 3,
                       .fields = &f,
                       .field_count = 1};
    mri_encoded *e = NULL;
    mr_err err;

    world_values(i + ((int)i == is->other_values ? 1000 : 0), values);
    source.sha256[1] = (int)i == is->other_file;
    (void)snprintf(key, sizeof key, "cell%u.tif", i);
    (void)snprintf(group, sizeof group, "donor%u", (i + 10 * other) / 10);
    mri_uid_of(s.uid, s.key, source.sha256, 1);
    err = mri_encode(&e, &s, diag);
    if (err == MR_OK) {
        err = mri_shard_add(w, e, diag);
    }
    mri_encoded_free(e);
    return err;
}

/* One shard of it in the dataset `into`. */
static inline void
world_write(const char *into, const world *is, mri_shard_ref *ref)
{
    uint8_t tag[16] = {(uint8_t)is->first, (uint8_t)is->tag, 7};
    mri_shard_writer *w;
    mr_diag d = {0};

    assert_ok(mri_shard_begin(&w, into, tag, &set_schema, &d), &d);
    for (unsigned i = is->first; i < is->first + is->count; i++) {
        if (i + 1 != is->left_out) {
            assert_ok(world_add(w, is, i, &d), &d);
        }
    }
    assert_ok(mri_shard_finish(w, ref, &d), &d);
    mri_shard_close_writer(w);
}

#endif
