/* SPDX-License-Identifier: Apache-2.0 */
/* flip_set.c - shards to be damaged, and readers that read everything. */
#include "flip_set.h"

#include <mri/alloc.h>
#include <mri/hash.h>

#include <jpeg_make.h>
#include <scratch.h>
#include <shard_read.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A volume is more than 256 KiB: chunks of 32^3, one of them of one value. */
enum { SAMPLES = 37, DEPTH = 48, HEIGHT = 56, WIDTH = 56, SIDE = 48 };

static const char *const field_names[] = {"image", "label"};
static const char *const class_names[] = {"ring", "spot", "star"};
static mri_field_kind field_kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_LABEL};
static const mri_schema schema = {
    .field_count = 2,
    .field_names = (const char **)(uintptr_t)field_names,
    .field_kinds = field_kinds,
    .class_count = 3,
    .classes = (const char **)(uintptr_t)class_names,
    .config = "{\"layout\":\"folder\"}"};

static void
must(mr_err err, const mr_diag *diag)
{
    if (err != MR_OK) {
        (void)fprintf(stderr, "flips: %s: %s: %s\n", mr_err_name(err),
                      diag->path, diag->text);
        abort();
    }
}

static void
shape(mri_field_in *f, mr_dtype dtype, const char *axes, const uint32_t *dims)
{
    f->encoding = MR_ENC_CHUNKS;
    f->dtype = dtype;
    f->ndim = (uint8_t)strlen(axes);
    memcpy(f->axes, axes, f->ndim);
    memcpy(f->dims, dims, f->ndim * sizeof *dims);
}

/* In turn; by number / 8 for floats, volumes and their masks. */
static const mri_coding of_cells[] = {MRI_CODING_AUTO,    MRI_CODING_ZSTD,
                                      MRI_CODING_LZ4HC,   MRI_CODING_RAW,
                                      MRI_CODING_BITPACK, MRI_CODING_LZ4},
                        of_floats[] = {MRI_CODING_ZSTD, MRI_CODING_LZ4,
                                       MRI_CODING_RAW, MRI_CODING_LZ4HC},
                        of_volumes[] = {MRI_CODING_AUTO, MRI_CODING_ZSTD,
                                        MRI_CODING_LZ4HC, MRI_CODING_BITPACK,
                                        MRI_CODING_LZ4},
                        of_masks[] = {MRI_CODING_LZ4, MRI_CODING_AUTO,
                                      MRI_CODING_ZSTD, MRI_CODING_AUTO,
                                      MRI_CODING_LZ4HC};

/* u16 in five channels; bytes that hardly compress. malloc. */
static void
cell(mri_field_in *f, uint64_t *seed)
{
    const size_t n = SIDE * SIDE * 5;
    uint16_t *p = malloc(n * 2);

    for (size_t i = 0; i < n; i++) {
        p[i] = (uint16_t)(300 + scratch_random(seed) % 3000);
    }
    shape(f, MR_U16, "YXC", (uint32_t[]){SIDE, SIDE, 5});
    f->pixels = p;
}

/* f32 of few bits, so that its upper bytes compress. malloc. */
static void
floats(mri_field_in *f, uint64_t *seed)
{
    const size_t n = SIDE * SIDE;
    float *p = malloc(n * 4);

    for (size_t i = 0; i < n; i++) {
        p[i] = (float)(scratch_random(seed) % 2048) / 16;
    }
    shape(f, MR_F32, "YX", (uint32_t[]){SIDE, SIDE});
    f->pixels = p;
}

/* Air of one value in a corner of whole chunks; a mask that is mostly zero, or
 * nothing else. */
static void
volume(mri_field_in f[2], uint64_t *seed, bool masked, mri_geometry *geometry)
{
    const size_t n = (size_t)DEPTH * HEIGHT * WIDTH;
    int16_t *p = malloc(n * 2);
    uint8_t *mask = malloc(n);

    for (size_t i = 0; i < n; i++) {
        size_t x = i % WIDTH, y = i / WIDTH % HEIGHT, z = i / WIDTH / HEIGHT;

        p[i] = x < 32 && y < 32 && z < 32
                   ? -1024
                   : (int16_t)(x * 3 + y + scratch_random(seed) % 8);
        mask[i] = (uint8_t)(masked && z > 34 && x > 30);
    }
    shape(&f[0], MR_I16, "ZYX", (uint32_t[]){DEPTH, HEIGHT, WIDTH});
    shape(&f[1], MR_U8, "ZYX", (uint32_t[]){DEPTH, HEIGHT, WIDTH});
    f[0].pixels = p;
    f[1].pixels = mask;
    f[1].name = 1;
    f[1].label = true;
    geometry->slope = 0.5;
    geometry->inter = -10;
    f[0].geometry = geometry;
}

static void
photo(mri_field_in *f, uint64_t seed)
{
    const jpeg_made how = {96, 80, 3, 90, 2, 1 + (int)(seed % 2), false};
    size_t bytes;

    shape(f, MR_U8, "YXC", (uint32_t[]){80, 96, 3});
    f->encoding = MR_ENC_JPEG;
    f->jpeg[0] = 3;
    f->jpeg[1] = (uint32_t)(how.h << 4 | how.v);
    f->verbatim = jpeg_make(&how, seed, &bytes);
    f->verbatim_bytes = bytes;
    f->pixels = jpeg_picture(&how, seed);
}

/* What is left of the megabyte. */
static void
plain(mri_field_in *f, uint64_t *seed, uint32_t bytes)
{
    uint8_t *p = malloc(bytes);

    for (uint32_t i = 0; i < bytes; i++) {
        p[i] = (uint8_t)scratch_random(seed);
    }
    shape(f, MR_U8, "U", &bytes);
    f->encoding = MR_ENC_BYTES;
    f->verbatim = p;
    f->verbatim_bytes = bytes;
}

static void
add_sample(mri_shard_writer *w, const flip_how *how, unsigned i, uint32_t rest)
{
    unsigned number = how->first + i;
    uint64_t seed = number * 1000 + how->noise;
    mri_provenance source = {"f", {(uint8_t)number, how->noise}, 120, NULL};
    mri_field_in f[2] = {{.sources = &source, .source_count = 1},
                         {.sources = &source, .source_count = 1}};
    mri_geometry geometry;
    char key[32], group[32];
    mri_sample_in in = {.key = key,
                        .group = group,
                        .class_name = class_names[i % 3],
                        .class_index = i % 3,
                        .fields = f,
                        .field_count = i % 8 == 3 ? 2 : 1};
    mri_encoded *e = NULL;
    mr_diag d = {0};

    mri_geometry_init(&geometry);
    if (i == SAMPLES - 1) {
        plain(f, &seed, rest);
    } else if (i % 8 == 3) {
        volume(f, &seed, i != 11, &geometry);
        f[0].coding = of_volumes[i / 8];
        f[1].coding = of_masks[i / 8];
    } else if (i % 8 == 5) {
        floats(f, &seed);
        f[0].coding = of_floats[i / 8];
    } else if (i % 2 == 1) {
        photo(f, seed);
    } else {
        cell(f, &seed);
        f[0].coding = of_cells[i / 2 % MRI_COUNT(of_cells)];
    }
    (void)snprintf(key, sizeof key, "sample%u", number);
    (void)snprintf(group, sizeof group, "donor%u", number / 4);
    mri_uid_of(in.uid, key, source.sha256, 1);
    must(mri_encode(&e, &in, &d), &d);
    must(mri_shard_add(w, e, &d), &d);
    mri_encoded_free(e);
    for (int k = 0; k < 2; k++) {
        free((void *)(uintptr_t)f[k].pixels);
        free((void *)(uintptr_t)f[k].verbatim);
    }
}

static void
write_shard(const char *dir, const flip_how *how, uint32_t rest,
            mri_shard_ref *ref)
{
    uint8_t tag[16] = {how->plan, 1, 2};
    mri_shard_writer *w;
    mr_diag d = {0};

    must(mri_shard_begin(&w, dir, tag, &schema, &d), &d);
    for (unsigned i = 0; i < SAMPLES; i++) {
        add_sample(w, how, i, rest);
    }
    must(mri_shard_finish(w, ref, &d), &d);
    mri_shard_close_writer(w);
}

/* Every codec with every filter that it is written with. */
static void
check_codings(const char *dir, const mri_shard_ref *ref)
{
    static const char *const all[][2] = {
        {"bitpack", "none"}, {"constant", "none"}, {"file", "none"},
        {"jpeg", "none"},    {"lz4", "none"},      {"lz4", "shuffle"},
        {"raw", "none"},     {"zstd", "delta"},    {"zstd", "shuffle"}};
    mri_coded coded[MRI_CODED_MOST];
    char *path = mri_shard_path(dir, ref->id);
    uint32_t count;
    mri_shard *s;
    mr_diag d = {0};

    must(mri_shard_open(&s, path, ref, &d), &d);
    must(mri_shard_codings(s, coded, &count, &d), &d);
    for (size_t i = 0; i < MRI_COUNT(all); i++) {
        uint32_t k = 0;

        while (k < count && (strcmp(coded[k].codec, all[i][0]) != 0 ||
                             strcmp(coded[k].filter, all[i][1]) != 0)) {
            k++;
        }
        if (k == count) {
            (void)fprintf(stderr, "flips: no chunk is %s with filter %s\n",
                          all[i][0], all[i][1]);
            abort();
        }
    }
    mri_shard_close(s);
    mri_free(path);
}

void
flip_shard(const char *dir, const flip_how *how, mri_shard_ref *ref)
{
    uint32_t rest = 4096;

    write_shard(dir, how, rest, ref);
    while (ref->bytes != FLIP_BYTES) {
        char *path = mri_shard_path(dir, ref->id);

        if (ref->bytes > FLIP_BYTES) {
            (void)fprintf(stderr, "flips: the samples are too large\n");
            abort();
        }
        (void)remove(path);
        mri_free(path);
        rest += (uint32_t)(FLIP_BYTES - ref->bytes);
        write_shard(dir, how, rest, ref);
    }
    check_codings(dir, ref);
}

void
flip_commit(const char *dir, const mri_shard_ref *shards, uint32_t count)
{
    static const char *const splits[] = {"train", "val", "test"};
    static const double shares[] = {0.8, 0.1, 0.1};
    mri_commit c = {.dir = dir,
                    .shards = shards,
                    .shard_count = count,
                    .schema = &schema,
                    .layout = "folder",
                    .split_names = splits,
                    .split_shares = shares,
                    .split_count = 3};
    mr_dataset *parent = NULL;
    uint64_t generation;
    mr_diag d = {0};

    must(mri_generation_of(dir, &generation, &d), &d);
    if (generation != 0) {
        must(mr_dataset_open(&parent, dir, &d), &d);
        c.parent = parent;
    }
    must(mri_dataset_commit(&c, &generation, &d), &d);
    mr_dataset_close(parent);
}

/* ---- all that can be read ---- */

typedef struct reading {
    mri_xxh3_state *sum;
    mr_scratch *scratch;
    mri_bytes pixels;
    mr_diag *diag;
} reading;

static void
begin(reading *r, mr_diag *diag)
{
    *r = (reading){
        .sum = mri_xxh3_begin(), .scratch = mr_scratch_open(), .diag = diag};
    if (r->sum == NULL || r->scratch == NULL) {
        abort();
    }
}

static uint64_t
end(reading *r)
{
    uint64_t hash = mri_xxh3_end(r->sum);

    mri_xxh3_free(r->sum);
    mr_scratch_close(r->scratch);
    mri_bytes_release(&r->pixels);
    return hash;
}

static void
add_text(reading *r, const char *text)
{
    mri_xxh3_add(r->sum, text, strlen(text) + 1);
}

static void
add_meta(reading *r, const mri_meta *m)
{
    add_text(r, m->key);
    add_text(r, m->group);
    add_text(r, m->class_name);
    for (uint32_t i = 0; i < m->field_count; i++) {
        const mri_geometry *g = &m->geometry[i];

        mri_xxh3_add(r->sum, &g->slope, sizeof g->slope);
        mri_xxh3_add(r->sum, &g->inter, sizeof g->inter);
        mri_xxh3_add(r->sum, g->affine, sizeof g->affine);
        mri_xxh3_add(r->sum, g->spacing, sizeof g->spacing);
        for (uint32_t k = 0; k < m->source_count[i]; k++) {
            add_text(r, m->sources[i][k].name);
            mri_xxh3_add(r->sum, m->sources[i][k].sha256, 32);
        }
    }
}

/* Memory for a field, as a tensor; its size is bounded by the rows' checks. */
static mr_tensor
room_for(reading *r, mr_dtype dtype, uint32_t rank, const uint64_t *dims,
         uint64_t bytes)
{
    r->pixels.len = 0;
    if (!mri_bytes_reserve(&r->pixels, (size_t)bytes)) {
        abort();
    }
    return mr_tensor_of(r->pixels.data, dtype, rank, dims);
}

static mr_err
read_grid(reading *r, const mri_shard *s, const mri_grid_row *g)
{
    uint64_t dims[MR_MAX_RANK], bytes = mri_grid_bytes(g);
    const uint8_t *p;
    size_t stored;
    mr_tensor t;
    mr_err err;

    if (g->encoding != MR_ENC_CHUNKS) {
        err = mri_shard_read_verbatim(s, g, &p, &stored, r->scratch, r->diag);
        if (err == MR_OK) {
            mri_xxh3_add(r->sum, p, stored);
        }
        return err;
    }
    for (unsigned i = 0; i < MR_MAX_RANK; i++) {
        dims[i] = g->dims[i];
    }
    t = room_for(r, (mr_dtype)g->dtype, g->ndim, dims, bytes);
    err = mri_shard_read_box(s, g, NULL, &t, r->scratch, r->diag);
    if (err == MR_OK) {
        mri_xxh3_add(r->sum, r->pixels.data, (size_t)bytes);
    }
    return err;
}

static mr_err
read_sample(reading *r, const mri_shard *s, uint32_t row)
{
    mri_sample_row sample;
    mri_grid_row g;
    mri_meta *meta;
    mr_err err = mri_shard_sample(s, row, &sample, r->diag);

    for (uint32_t i = 0; err == MR_OK && i < sample.n_grid; i++) {
        err = mri_shard_grid(s, &sample, i, &g, r->diag);
        if (err == MR_OK) {
            err = read_grid(r, s, &g);
        }
    }
    if (err == MR_OK) {
        err = mri_shard_meta(s, row, &meta, r->diag);
    }
    if (err == MR_OK) {
        add_meta(r, meta);
        mri_meta_free(meta);
    }
    return err;
}

mr_err
flip_read_shard(const char *path, const mri_shard_ref *expect, uint64_t *hash,
                mr_diag *diag)
{
    mri_shard *s;
    reading r;
    mr_err err = mri_shard_open(&s, path, expect, diag);

    if (err != MR_OK) {
        return err;
    }
    begin(&r, diag);
    for (int table = MRI_TABLE_SAMPLES; table <= MRI_TABLE_LABELS; table++) {
        const uint8_t *p;
        uint64_t bytes;

        err = mri_foot_table(&s->foot, (mri_table)table, &p, &bytes, diag);
        if (err != MR_OK) {
            break;
        }
        mri_xxh3_add(r.sum, p, (size_t)bytes);
    }
    for (uint32_t i = 0; err == MR_OK && i < mri_shard_samples(s); i++) {
        err = read_sample(&r, s, i);
    }
    *hash = end(&r);
    mri_shard_close(s);
    return err;
}

static mr_err
read_field(reading *r, const mr_dataset *ds, uint64_t rank, uint32_t i)
{
    mr_field f;
    const uint8_t *p;
    size_t bytes;
    mr_tensor t;
    mr_err err = mr_dataset_field(ds, rank, i, &f, r->diag);

    if (err != MR_OK) {
        return err;
    }
    if (f.encoding != MR_ENC_CHUNKS) {
        err = mr_dataset_bytes(ds, rank, i, &p, &bytes, r->scratch, r->diag);
        if (err == MR_OK) {
            mri_xxh3_add(r->sum, p, bytes);
        }
        return err;
    }
    t = room_for(r, f.dtype, f.rank, f.shape, f.bytes);
    err = mr_dataset_read(ds, rank, i, NULL, &t, r->scratch, r->diag);
    if (err == MR_OK) {
        mri_xxh3_add(r->sum, r->pixels.data, (size_t)f.bytes);
    }
    return err;
}

static mr_err
read_rank(reading *r, const mr_dataset *ds, uint64_t rank)
{
    mr_sample s;
    mri_meta *meta;
    mr_err err = mr_dataset_sample(ds, rank, &s, r->diag);

    if (err != MR_OK) {
        return err;
    }
    mri_xxh3_add(r->sum, s.uid, sizeof s.uid);
    mri_xxh3_add(r->sum, &s.class_index, sizeof s.class_index);
    mri_xxh3_add(r->sum, &s.group, sizeof s.group);
    for (uint32_t i = 0; err == MR_OK && i < s.fields; i++) {
        err = read_field(r, ds, rank, i);
    }
    if (err == MR_OK) {
        err = mri_dataset_meta(ds, rank, &meta, r->diag);
    }
    if (err == MR_OK) {
        add_meta(r, meta);
        mri_meta_free(meta);
    }
    return err;
}

mr_err
flip_read_dataset(const char *path, uint64_t *hash, mr_diag *diag)
{
    mr_dataset *ds;
    reading r;
    uint64_t generation;
    mr_err err = mr_dataset_open(&ds, path, diag);

    if (err != MR_OK) {
        return err;
    }
    begin(&r, diag);
    generation = mr_dataset_generation(ds);
    mri_xxh3_add(r.sum, &generation, sizeof generation);
    mri_xxh3_add(r.sum, mr_dataset_id(ds), 16);
    mri_xxh3_add(r.sum, mr_dataset_content_id(ds), 16);
    for (uint64_t i = 0; err == MR_OK && i < mr_dataset_count(ds); i++) {
        err = read_rank(&r, ds, i);
    }
    for (uint32_t k = 0; err == MR_OK && k < mr_dataset_splits(ds); k++) {
        for (uint64_t i = 0; err == MR_OK && i < mr_dataset_split_count(ds, k);
             i++) {
            uint64_t rank = 0;

            err = mr_dataset_split_at(ds, k, i, &rank, diag);
            mri_xxh3_add(r.sum, &rank, sizeof rank);
        }
    }
    *hash = end(&r);
    mr_dataset_close(ds);
    return err;
}
