/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_set.h - small datasets for the tests of this room, written through the
 * doors of format/.
 */
#ifndef MR_TEST_SET_H
#define MR_TEST_SET_H

#include <mri/dataset.h>

#include <jpeg_make.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum set_kind {
    SET_CELLS,   /* u16 YXC, 5 named channels */
    SET_JPEGS,   /* colour JPEGs of different sizes */
    SET_VOLUMES, /* i16 CZYX in chunks, with slope and intercept */
    SET_FLOATS   /* f32 CYX with NaNs */
} set_kind;

/* What is the same in all sets: 3 classes, groups of 4 samples. */
typedef struct set {
    char *dir;
    set_kind kind;
    unsigned count;
    uint32_t height, width; /* 0: the kind's */
} set;

static const char *const set_fields[] = {"image"};
static const char *const set_classes[] = {"ring", "spot", "star"};
static mri_field_kind set_kinds[] = {MRI_FIELD_IMAGE};
static const mri_schema set_schema = {
    .field_count = 1,
    .field_names = (const char **)(uintptr_t)set_fields,
    .field_kinds = set_kinds,
    .class_count = 3,
    .classes = (const char **)(uintptr_t)set_classes,
    .config = "{}",
};

/* Values of sample i; malloc. */
static inline void *
set_pixels(const set *s, unsigned i, mri_field_in *f, size_t *verbatim)
{
    static const uint32_t cells[] = {40, 44, 5}, volume[] = {2, 20, 40, 36},
                          floats[] = {3, 24, 28};
    const uint32_t *dims = s->kind == SET_CELLS     ? cells
                           : s->kind == SET_VOLUMES ? volume
                                                    : floats;
    uint64_t seed = i * 77 + 5;
    size_t n = 1;
    uint16_t *p;

    *verbatim = 0;
    if (s->kind == SET_JPEGS) {
        jpeg_made how = {s->width != 0 ? s->width : 90 + i % 7 * 20,
                         s->height != 0 ? s->height : 80 + i % 5 * 30,
                         3,
                         90,
                         i % 2 + 1,
                         i % 3 == 0 ? 2 : 1,
                         false};

        f->encoding = MR_ENC_JPEG;
        f->dtype = MR_U8;
        f->ndim = 3;
        memcpy(f->axes, "YXC", 3);
        f->dims[0] = how.height;
        f->dims[1] = how.width;
        f->dims[2] = 3;
        f->jpeg[0] = 3;
        f->jpeg[1] = (uint32_t)(how.h << 4 | how.v);
        f->verbatim = jpeg_make(&how, i, verbatim);
        f->verbatim_bytes = *verbatim;
        return jpeg_picture(&how, i);
    }
    f->encoding = MR_ENC_CHUNKS;
    f->dtype = s->kind == SET_CELLS     ? MR_U16
               : s->kind == SET_VOLUMES ? MR_I16
                                        : MR_F32;
    f->ndim = s->kind == SET_VOLUMES ? 4 : 3;
    memcpy(f->axes,
           s->kind == SET_CELLS     ? "YXC"
           : s->kind == SET_VOLUMES ? "CZYX"
                                    : "CYX",
           f->ndim);
    for (unsigned k = 0; k < f->ndim; k++) {
        f->dims[k] = dims[k];
    }
    if (s->kind == SET_CELLS && s->height != 0) {
        f->dims[0] = s->height;
        f->dims[1] = s->width;
    }
    if (s->kind == SET_VOLUMES && s->height != 0) {
        f->dims[0] = 4;
        f->dims[1] = f->dims[2] = s->height;
        f->dims[3] = s->width;
    }
    for (unsigned k = 0; k < f->ndim; k++) {
        n *= f->dims[k];
    }
    p = malloc(n * mr_dtype_bytes(f->dtype));
    for (size_t k = 0; k < n; k++) {
        uint64_t r = scratch_random(&seed);

        if (s->kind == SET_FLOATS) {
            ((float *)(void *)p)[k] =
                r % 97 == 0 ? 0.0f / 0.0f : (float)(r % 4096) / 64;
        } else {
            p[k] = (uint16_t)(r % 3000 + (k / 7) % 500);
        }
    }
    return p;
}

static inline mr_err
set_add(const set *s, unsigned i, mri_shard_writer *w, mr_diag *diag)
{
    static const char *const names[] = {"DAPI", "GFP", "RFP", "ER", "BF"};
    mri_geometry g;
    mri_provenance source = {
        "f", {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)s->kind}, 120, NULL};
    mri_field_in f = {.geometry = &g, .sources = &source, .source_count = 1};
    char key[32], group[32];
    mri_sample_in in = {.key = key,
                        .group = group,
                        .class_name = set_classes[i % 3],
                        .class_index = i % 3,
                        .fields = &f,
                        .field_count = 1};
    mri_encoded *e = NULL;
    size_t verbatim;
    mr_err err;

    mri_geometry_init(&g);
    if (s->kind == SET_VOLUMES) {
        g.slope = 0.5;
        g.inter = -10;
    }
    if (s->kind == SET_CELLS) {
        g.channels = (char **)(uintptr_t)names;
        g.channel_count = 5;
    }
    f.pixels = set_pixels(s, i, &f, &verbatim);
    (void)snprintf(key, sizeof key, "sample%u", i);
    (void)snprintf(group, sizeof group, "donor%u", i / 4);
    mri_uid_of(in.uid, key, source.sha256, 1);
    err = mri_encode(&e, &in, diag);
    if (err == MR_OK) {
        err = mri_shard_add(w, e, diag);
    }
    mri_encoded_free(e);
    free((void *)(uintptr_t)f.pixels);
    free((void *)(uintptr_t)f.verbatim);
    return err;
}

/* One shard of samples `first` to `first + count`, but for `left_out` (-1:
 * none). */
static inline mri_shard_ref
set_write(const set *s, const uint8_t tag[16], unsigned first, unsigned count,
          int left_out)
{
    mri_shard_writer *w;
    mri_shard_ref ref;
    mr_diag d = {0};

    assert_ok(mri_shard_begin(&w, s->dir, tag, &set_schema, &d), &d);
    for (unsigned i = first; i < first + count; i++) {
        if ((int)i != left_out) {
            assert_ok(set_add(s, i, w, &d), &d);
        }
    }
    assert_ok(mri_shard_finish(w, &ref, &d), &d);
    mri_shard_close_writer(w);
    return ref;
}

/* What a commit of such shards needs; a test may say more. */
static inline mri_commit
set_commit(const char *dir, const mri_shard_ref *refs, uint32_t count)
{
    static const char *const splits[] = {"train", "val", "test"};
    static const double shares[] = {0.8, 0.1, 0.1};

    return (mri_commit){.dir = dir,
                        .shards = refs,
                        .shard_count = count,
                        .schema = &set_schema,
                        .layout = "folder",
                        .split_names = splits,
                        .split_shares = shares,
                        .split_count = 3};
}

static inline void
set_make(set *s, set_kind kind, unsigned count)
{
    const uint8_t tag[16] = {(uint8_t)kind, 1, 2};
    mri_shard_ref ref;
    mri_commit c;
    uint64_t generation;
    mr_diag d = {0};

    s->dir = scratch_make();
    s->kind = kind;
    s->count = count;
    ref = set_write(s, tag, 0, count, -1);
    c = set_commit(s->dir, &ref, 1);
    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
}

#endif
