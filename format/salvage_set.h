/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage_set.h - what the tests of salvage have in common: a dataset, where
 * each of its frames lies, and what comes back of it is checked against what
 * was written.
 */
#ifndef MRI_SALVAGE_SET_H
#define MRI_SALVAGE_SET_H

#include <mri/salvage.h>

#include "dataset_read.h"
#include "frame.h"
#include "salvage_body.h"

#include <mri/alloc.h>
#include <mri/crc32c.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/hash.h>

#include <errno.h>
#include <faulty_file.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Two shards of nine samples: cells, volumes of several chunks with a
 * constant corner and a label, pictures kept verbatim, plain bytes. */
enum { PER_SHARD = 9, SHARDS = 2, SAMPLES = PER_SHARD * SHARDS };
enum { DEPTH = 48, HEIGHT = 50, WIDTH = 70, VOLUME = DEPTH * HEIGHT * WIDTH };

static char *dir;  /* the dataset */
static char *room; /* for what the tests make */
static const char *const field_names[] = {"scan", "label"};
static const char *const class_names[] = {"ring", "spot", "star"};
static mri_field_kind kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_LABEL};
static const mri_schema schema = {
    .field_count = 2,
    .field_names = (const char **)(uintptr_t)field_names,
    .field_kinds = kinds,
    .class_count = 3,
    .classes = (const char **)(uintptr_t)class_names,
    .config = "{\"layout\":\"folder\"}",
};
static mri_shard_ref refs[SHARDS];
static uint8_t uids[SAMPLES][MR_UID_BYTES];
static char keys[SAMPLES][32];

/* What a test looks at: one shard file in memory, and where its samples'
 * frames lie, as its foot says. */
typedef struct extent {
    uint64_t from, to;
} extent;
typedef struct image {
    mri_bytes bytes;
    extent frames[160]; /* of all samples, in file order */
    unsigned owner[160];
    unsigned frame_count;
    uint64_t schema_end, foot_off;
} image;
static image images[SHARDS];

/* A place in the room; the text lives as long as the program. */
static inline const char *
in_room(const char *name)
{
    static char paths[24][1024];
    static unsigned count;
    const char *path = scratch_path(room, name);

    for (unsigned i = 0; i < count; i++) {
        if (strcmp(paths[i], path) == 0) {
            return paths[i];
        }
    }
    assert_true(count < MRI_COUNT(paths));
    (void)snprintf(paths[count], sizeof paths[0], "%s", path);
    return paths[count++];
}

typedef struct inputs {
    uint16_t cell[24 * 20 * 5];
    int16_t volume[VOLUME];
    uint8_t mask[VOLUME], verbatim[3000], picture[16 * 16 * 3];
} inputs;

static inline void
fill_inputs(inputs *in, unsigned i)
{
    uint64_t seed = 77 + i;

    for (size_t k = 0; k < MRI_COUNT(in->cell); k++) {
        in->cell[k] = (uint16_t)(500 + scratch_random(&seed) % 300);
    }
    for (size_t k = 0; k < VOLUME; k++) {
        size_t x = k % WIDTH, y = k / WIDTH % HEIGHT, z = k / WIDTH / HEIGHT;

        in->volume[k] = x < 32 && y < 32 && z < 32
                            ? -1024
                            : (int16_t)(x * 3 + y + scratch_random(&seed) % 8);
        in->mask[k] = (uint8_t)(z > 20 && x > 30);
    }
    for (size_t k = 0; k < sizeof in->verbatim; k++) {
        in->verbatim[k] = (uint8_t)scratch_random(&seed);
        in->picture[k % sizeof in->picture] = in->verbatim[k];
    }
}

static inline void
fill_volume(mri_field_in *fields, inputs *in, mri_geometry *geometry)
{
    for (int k = 0; k < 2; k++) {
        fields[k].name = (uint16_t)k;
        fields[k].label = k == 1;
        fields[k].dtype = k == 0 ? MR_I16 : MR_U8;
        fields[k].ndim = 3;
        memcpy(fields[k].axes, "ZYX", 3);
        memcpy(fields[k].dims, (uint32_t[]){DEPTH, HEIGHT, WIDTH}, 12);
        fields[k].pixels = k == 0 ? (void *)in->volume : (void *)in->mask;
    }
    geometry->slope = 2;
    geometry->has_affine = true;
    geometry->affine[3] = -71.5;
    fields[0].geometry = geometry;
}

static inline void
fill_verbatim(mri_field_in *f, inputs *in, bool jpeg)
{
    f->encoding = jpeg ? MR_ENC_JPEG : MR_ENC_BYTES;
    f->dtype = MR_U8;
    f->ndim = jpeg ? 3 : 1;
    memset(f->axes, 0, sizeof f->axes);
    memcpy(f->axes, jpeg ? "YXC" : "X", jpeg ? 3 : 1);
    memcpy(f->dims, (uint32_t[]){16, 16, 3}, 12);
    if (!jpeg) {
        f->dims[0] = sizeof in->verbatim;
        f->dims[1] = f->dims[2] = 0;
    }
    f->pixels = jpeg ? in->picture : NULL;
    f->verbatim = in->verbatim;
    f->verbatim_bytes = sizeof in->verbatim;
    f->jpeg[0] = jpeg ? 3 : 0;
}

static inline mr_err
add_sample(mri_shard_writer *w, unsigned i, mr_diag *diag)
{
    static inputs in;
    mri_provenance source = {"a/b.tif", {(uint8_t)i}, 1234 + i, NULL};
    mri_geometry geometry;
    mri_field_in fields[2] = {{0}};
    char group[32];
    mri_sample_in s = {.key = keys[i],
                       .group = group,
                       .class_name = i % 4 == 3 ? NULL : class_names[i % 3],
                       .class_index = i % 4 == 3 ? MR_NO_CLASS : i % 3,
                       .fields = fields,
                       .field_count = i % 4 == 1 || i % 4 == 3 ? 2 : 1};
    mri_encoded *e = NULL;
    mr_err err;

    fill_inputs(&in, i);
    mri_geometry_init(&geometry);
    (void)snprintf(group, sizeof group, "donor%u", i / 3);
    fields[0].sources = fields[1].sources = &source;
    fields[0].source_count = fields[1].source_count = 1;
    fields[0].encoding = fields[1].encoding = MR_ENC_CHUNKS;
    fields[0].dtype = MR_U16;
    fields[0].ndim = 3;
    memcpy(fields[0].axes, "YXC", 3);
    memcpy(fields[0].dims, (uint32_t[]){24, 20, 5}, 12);
    fields[0].pixels = in.cell;
    if (i % 4 == 1) {
        fill_volume(fields, &in, &geometry);
    } else if (i % 4 == 2) {
        fill_verbatim(&fields[0], &in, true);
    } else if (i % 4 == 3) { /* bytes first: they have no statistics */
        fields[1] = fields[0];
        fields[1].name = 1;
        fields[1].label = true;
        fill_verbatim(&fields[0], &in, false);
    }
    mri_uid_of(s.uid, s.key, source.sha256, 1);
    memcpy(uids[i], s.uid, MR_UID_BYTES);
    err = mri_encode(&e, &s, diag);
    if (err == MR_OK) {
        err = mri_shard_add(w, e, diag);
    }
    mri_encoded_free(e);
    return err;
}

static inline mr_err
write_shard(unsigned shard, mr_diag *diag)
{
    const uint8_t tag[16] = {1, 2, 3, (uint8_t)shard};
    mri_shard_writer *w;
    mr_err err = mri_shard_begin(&w, dir, tag, &schema, diag);

    for (unsigned k = 0; err == MR_OK && k < PER_SHARD; k++) {
        unsigned i = shard * PER_SHARD + k;

        (void)snprintf(keys[i], sizeof keys[i], "cell %u.tif", i);
        err = add_sample(w, i, diag);
    }
    if (err == MR_OK) {
        err = mri_shard_finish(w, &refs[shard], diag);
    }
    mri_shard_close_writer(w);
    return err;
}

static inline char *
shard_path(unsigned shard)
{
    return mri_shard_path(dir, refs[shard].id);
}

/* The extents of every frame, told by the foot: not by the code on trial. */
static inline void
load_image(image *im, unsigned shard)
{
    char *path = shard_path(shard);
    mri_shard *s;
    mr_diag d = {0};

    assert_ok(mri_file_load(path, 1 << 30, &im->bytes, &d), &d);
    assert_ok(mri_shard_open(&s, path, &refs[shard], &d), &d);
    im->schema_end = MRI_HEAD_BYTES + MRI_FRAME_HEAD +
                     mri_get32(im->bytes.data + MRI_HEAD_BYTES + 8);
    im->foot_off = s->tail.foot_off;
    for (uint32_t row = 0; row < PER_SHARD; row++) {
        mri_sample_row sample;

        assert_ok(mri_shard_sample(s, row, &sample, &d), &d);
        for (uint32_t i = 0; i < sample.n_grid; i++) {
            mri_grid_row g;

            assert_ok(mri_shard_grid(s, &sample, i, &g, &d), &d);
            for (uint64_t c = 0; c < mri_grid_chunks(&g); c++) {
                const uint8_t *p;
                mri_chunk_row chunk;

                assert_ok(mri_foot_row(&s->foot, MRI_TABLE_CHUNKS,
                                       g.first_chunk + c, &p, &d),
                          &d);
                mri_chunk_row_get(&chunk, p);
                if ((chunk.flags & MRI_CHUNK_CONSTANT) == 0) {
                    im->owner[im->frame_count] = row;
                    im->frames[im->frame_count++] = (extent){
                        chunk.file_off,
                        chunk.file_off + MRI_FRAME_HEAD + chunk.stored_len};
                }
            }
        }
        im->owner[im->frame_count] = row;
        im->frames[im->frame_count++] =
            (extent){sample.meta_off,
                     sample.meta_off + MRI_FRAME_HEAD + sample.meta_len};
        assert_true(im->frame_count < 150);
    }
    mri_shard_close(s);
    mri_free(path);
}

static inline int
setup(void **state)
{
    static const char *const splits[] = {"fit", "check"};
    static const double shares[] = {0.7, 0.3};
    mri_commit c = {.shards = refs,
                    .shard_count = SHARDS,
                    .schema = &schema,
                    .layout = "folder",
                    .split_names = splits,
                    .split_shares = shares,
                    .split_count = 2};
    uint64_t generation;
    mr_diag d = {0};

    (void)state;
    dir = scratch_make();
    room = scratch_make();
    for (unsigned s = 0; s < SHARDS; s++) {
        assert_ok(write_shard(s, &d), &d);
        load_image(&images[s], s);
    }
    c.dir = dir;
    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
    return 0;
}

static inline int
teardown(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SHARDS; s++) {
        mri_bytes_release(&images[s].bytes);
    }
    scratch_remove(room);
    scratch_remove(dir);
    return 0;
}

/* ---- what a salvage said ---- */

typedef struct heard {
    unsigned calls;
    uint64_t nameless;    /* lost without uid */
    bool open_end;        /* count 0 */
    bool by_uid[SAMPLES]; /* told as lost */
    bool by_key[SAMPLES]; /* and with the key */
    uint64_t at[SAMPLES];
} heard;

static inline void
hear(void *user, const mri_lost *lost)
{
    heard *h = user;

    h->calls++;
    h->open_end = h->open_end || lost->count == 0;
    assert_non_null(lost->shard);
    assert_int_not_equal(lost->why->err, MR_OK);
    if (lost->uid == NULL) {
        h->nameless += lost->count;
        return;
    }
    for (unsigned i = 0; i < SAMPLES; i++) {
        if (memcmp(uids[i], lost->uid, MR_UID_BYTES) == 0) {
            assert_false(h->by_uid[i]); /* once */
            h->by_uid[i] = true;
            h->at[i] = lost->why->at;
            if (lost->key != NULL) {
                assert_string_equal(lost->key, keys[i]);
                h->by_key[i] = true;
            }
            return;
        }
    }
    fail_msg("a uid that nobody wrote");
}

static inline mr_err
salvage(const char *source, const char *output, mri_salvaged *out, heard *h,
        mr_diag *diag)
{
    const mri_salvage_options o = {
        .source = source, .output = output, .tell = hear, .user = h};

    *h = (heard){0};
    return mri_salvage(&o, out, diag);
}

/* ---- a saved sample equals the one that was written ---- */

static inline void
compare_field(const mr_dataset *a, uint64_t x, const mr_dataset *b, uint64_t y,
              uint32_t i)
{
    mr_scratch *sa = mr_scratch_open(), *sb = mr_scratch_open();
    mr_field f, g;
    mr_moments m, n;
    mr_diag d = {0};

    assert_ok(mr_dataset_field(a, x, i, &f, &d), &d);
    assert_ok(mr_dataset_field(b, y, i, &g, &d), &d);
    assert_memory_equal(&f, &g, sizeof f);
    if (f.encoding == MR_ENC_CHUNKS) {
        uint8_t *p = malloc(f.bytes), *q = malloc(f.bytes);
        mr_tensor t = mr_tensor_of(p, f.dtype, f.rank, f.shape);
        mr_tensor u = mr_tensor_of(q, f.dtype, f.rank, f.shape);

        assert_ok(mr_dataset_read(a, x, i, NULL, &t, sa, &d), &d);
        assert_ok(mr_dataset_read(b, y, i, NULL, &u, sb, &d), &d);
        assert_memory_equal(p, q, f.bytes);
        free(p);
        free(q);
    } else {
        const uint8_t *p, *q;
        size_t bytes, more;

        assert_ok(mr_dataset_bytes(a, x, i, &p, &bytes, sa, &d), &d);
        assert_ok(mr_dataset_bytes(b, y, i, &q, &more, sb, &d), &d);
        assert_int_equal(bytes, more);
        assert_memory_equal(p, q, bytes);
    }
    for (uint32_t c = 0; f.encoding != MR_ENC_BYTES && c < f.channels; c++) {
        assert_ok(mr_dataset_moments(a, x, i, c, &m, &d), &d);
        assert_ok(mr_dataset_moments(b, y, i, c, &n, &d), &d);
        assert_memory_equal(&m, &n, sizeof m);
    }
    mr_scratch_close(sa);
    mr_scratch_close(sb);
}

static inline void
compare_meta(const mr_dataset *a, uint64_t x, const mr_dataset *b, uint64_t y)
{
    mri_meta *m, *n;
    mr_diag d = {0};

    assert_ok(mri_dataset_meta(a, x, &m, &d), &d);
    assert_ok(mri_dataset_meta(b, y, &n, &d), &d);
    assert_string_equal(m->key, n->key);
    assert_string_equal(m->group, n->group);
    assert_string_equal(m->class_name, n->class_name);
    assert_int_equal(m->field_count, n->field_count);
    for (uint32_t i = 0; i < m->field_count; i++) {
        assert_true(m->geometry[i].slope == n->geometry[i].slope);
        assert_memory_equal(m->geometry[i].affine, n->geometry[i].affine,
                            sizeof m->geometry[i].affine);
        assert_int_equal(m->source_count[i], n->source_count[i]);
        assert_string_equal(m->sources[i][0].name, n->sources[i][0].name);
        assert_memory_equal(m->sources[i][0].sha256, n->sources[i][0].sha256,
                            32);
        assert_int_equal(m->sources[i][0].bytes, n->sources[i][0].bytes);
    }
    mri_meta_free(m);
    mri_meta_free(n);
}

static inline void
compare_sample(const mr_dataset *a, uint64_t x, const mr_dataset *b, uint64_t y)
{
    mr_sample s, t;
    mr_diag d = {0};

    assert_ok(mr_dataset_sample(a, x, &s, &d), &d);
    assert_ok(mr_dataset_sample(b, y, &t, &d), &d);
    assert_memory_equal(s.uid, t.uid, MR_UID_BYTES);
    assert_int_equal(s.group, t.group);
    assert_int_equal(s.content, t.content);
    assert_int_equal(s.fields, t.fields);
    assert_int_equal(s.class_index == MR_NO_CLASS,
                     t.class_index == MR_NO_CLASS);
    for (uint32_t i = 0; i < s.fields; i++) {
        compare_field(a, x, b, y, i);
    }
    compare_meta(a, x, b, y);
}

static inline void
no_damage(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    fail_msg("%s: %s", diag->path, diag->text);
}

/* The output holds exactly the samples of `want`, each as it was, and proves
 * itself. */
static inline void
check_output(const char *output, const bool want[SAMPLES])
{
    mr_dataset *a, *b;
    mri_dataset_verified v;
    uint64_t n = 0, x, y;
    mr_diag d = {0};

    assert_ok(mri_dataset_verify(output, 1, no_damage, NULL, NULL, &v, &d), &d);
    assert_ok(mr_dataset_open(&a, dir, &d), &d);
    assert_ok(mr_dataset_open(&b, output, &d), &d);
    for (unsigned i = 0; i < SAMPLES; i++) {
        mr_err err = mr_dataset_find(b, uids[i], &y, NULL);

        assert_int_equal(err, want[i] ? MR_OK : MR_EARG);
        if (want[i]) {
            n++;
            assert_ok(mr_dataset_find(a, uids[i], &x, &d), &d);
            compare_sample(a, x, b, y);
        }
    }
    assert_int_equal(mr_dataset_count(b), n);
    mr_dataset_close(a);
    mr_dataset_close(b);
}

static inline void
remove_output(const char *output)
{
    char command[1100];
    int n = snprintf(command, sizeof command, "rm -rf '%s'", output);

    assert_true(n > 0 && (size_t)n < sizeof command); /* never a shorter path */
    assert_int_equal(system(command), 0);
}

/* ---- one damaged shard ---- */

/* Which samples have every byte of every frame, by the foot's account. */
static inline void
untouched(const image *im, unsigned shard, const uint8_t *p, uint64_t size,
          bool want[SAMPLES])
{
    for (unsigned k = 0; k < PER_SHARD; k++) {
        want[shard * PER_SHARD + k] = true;
    }
    for (unsigned i = 0; i < im->frame_count; i++) {
        extent e = im->frames[i];

        if (e.to > size ||
            memcmp(p + e.from, im->bytes.data + e.from, e.to - e.from) != 0) {
            want[shard * PER_SHARD + im->owner[i]] = false;
        }
    }
}

static inline uint64_t
count(const bool *list)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < SAMPLES; i++) {
        n += list[i];
    }
    return n;
}

typedef struct trial {
    mri_salvaged got;
    heard heard;
    bool want[SAMPLES];
} trial;

/* Salvage `size` bytes of a damaged copy of shard 0, standing alone. */
static inline void
try_alone(trial *t, const uint8_t *p, uint64_t size)
{
    const char *source = in_room("hurt.mrs"), *output = in_room("saved.mr");
    mr_diag d = {0};
    mr_err err;

    memset(t->want, 0, sizeof t->want);
    untouched(&images[0], 0, p, size, t->want);
    scratch_write(source, p, size);
    err = salvage(source, output, &t->got, &t->heard, &d);
    if (count(t->want) == 0) {
        assert_int_equal(err, MR_ECORRUPT);
        assert_int_equal(d.code, MRI_E_SALVAGE_EMPTY);
        assert_int_not_equal(access(output, F_OK), 0);
        return;
    }
    assert_ok(err, &d);
    assert_int_equal(t->got.saved, count(t->want));
    check_output(output, t->want);
    remove_output(output);
}

static inline uint8_t *
copy_of(const image *im)
{
    uint8_t *p = malloc(im->bytes.len);

    memcpy(p, im->bytes.data, im->bytes.len);
    return p;
}

/* Every sample of shard 0 came back or was told, by uid. */
static inline void
all_accounted(const trial *t)
{
    assert_int_equal(t->heard.nameless, 0);
    assert_false(t->got.more_lost);
    assert_int_equal(t->got.saved + t->got.lost, PER_SHARD);
    for (unsigned i = 0; i < PER_SHARD; i++) {
        assert_int_equal(t->heard.by_uid[i], !t->want[i]);
    }
}

#endif
