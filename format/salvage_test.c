/* SPDX-License-Identifier: Apache-2.0 */
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
static const char *
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

static void
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

static void
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

static void
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

static mr_err
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

static mr_err
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

static char *
shard_path(unsigned shard)
{
    return mri_shard_path(dir, refs[shard].id);
}

/* The extents of every frame, told by the foot: not by the code on trial. */
static void
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

static int
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

static int
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

static void
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

static mr_err
salvage(const char *source, const char *output, mri_salvaged *out, heard *h,
        mr_diag *diag)
{
    const mri_salvage_options o = {
        .source = source, .output = output, .tell = hear, .user = h};

    *h = (heard){0};
    return mri_salvage(&o, out, diag);
}

/* ---- a saved sample equals the one that was written ---- */

static void
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

static void
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

static void
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

static void
no_damage(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    fail_msg("%s: %s", diag->path, diag->text);
}

/* The output holds exactly the samples of `want`, each as it was, and proves
 * itself. */
static void
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

static void
remove_output(const char *output)
{
    char command[512];

    (void)snprintf(command, sizeof command, "rm -rf '%s'", output);
    assert_int_equal(system(command), 0);
}

/* ---- one damaged shard ---- */

/* Which samples have every byte of every frame, by the foot's account. */
static void
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

static uint64_t
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
static void
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

static uint8_t *
copy_of(const image *im)
{
    uint8_t *p = malloc(im->bytes.len);

    memcpy(p, im->bytes.data, im->bytes.len);
    return p;
}

/* Every sample of shard 0 came back or was told, by uid. */
static void
all_accounted(const trial *t)
{
    assert_int_equal(t->heard.nameless, 0);
    assert_false(t->got.more_lost);
    assert_int_equal(t->got.saved + t->got.lost, PER_SHARD);
    for (unsigned i = 0; i < PER_SHARD; i++) {
        assert_int_equal(t->heard.by_uid[i], !t->want[i]);
    }
}

static void
an_undamaged_shard_comes_back_byte_for_byte(void **state)
{
    const char *output = in_room("same.mr");
    char *path = shard_path(0), *again = mri_shard_path(output, refs[0].id);
    mri_salvaged got;
    mri_bytes b = {0};
    heard h;
    mr_diag d = {0};

    (void)state;
    assert_ok(salvage(path, output, &got, &h, &d), &d);
    assert_int_equal(got.saved, PER_SHARD);
    assert_int_equal(got.lost, 0);
    assert_int_equal(got.shards_hurt, 0);
    assert_int_equal(h.calls, 0);
    assert_ok(mri_file_load(again, 1 << 30, &b, &d), &d);
    assert_int_equal(b.len, images[0].bytes.len);
    assert_memory_equal(b.data, images[0].bytes.data, b.len);
    mri_bytes_release(&b);
    mri_free(path);
    mri_free(again);
    remove_output(output);
}

static void
without_its_foot_a_shard_gives_all_its_samples(void **state)
{
    trial t;

    (void)state;
    try_alone(&t, images[0].bytes.data, images[0].foot_off);
    assert_int_equal(t.got.saved, PER_SHARD);
    assert_int_equal(t.got.lost, 0);
    assert_true(t.got.more_lost && t.heard.open_end); /* nobody can know */
}

static void
around_a_hole_the_others_come_back_and_the_lost_are_named(void **state)
{
    const image *im = &images[0];
    uint8_t *p = copy_of(im);
    uint64_t third = im->foot_off / 3;
    trial t;

    (void)state;
    memset(p + third, 0, third);
    try_alone(&t, p, im->bytes.len);
    assert_true(t.got.lost > 1 && t.got.saved > 1);
    all_accounted(&t);
    free(p);
}

static void
with_the_last_third_missing_the_first_two_come_back(void **state)
{
    const image *im = &images[0];
    trial t;

    (void)state;
    try_alone(&t, im->bytes.data, im->bytes.len / 3 * 2);
    assert_true(t.got.saved > 1 && t.got.saved < PER_SHARD);
    assert_true(t.got.more_lost);
}

static void
with_both_tails_gone_the_foot_is_found(void **state)
{
    const image *im = &images[0];
    uint8_t *p = copy_of(im);
    trial t;

    (void)state;
    memset(p + im->bytes.len - MRI_TAIL_SPAN, 0, MRI_TAIL_SPAN);
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD);
    all_accounted(&t);
    assert_int_equal(t.got.shards_hurt, 1);
    try_alone(&t, p, im->bytes.len - MRI_TAIL_SPAN);
    all_accounted(&t);
    /* and names what a damage in front of it took */
    memset(p + im->foot_off - 64, 0xA5, 64);
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD - 1);
    all_accounted(&t);
    assert_int_equal(t.heard.at[PER_SHARD - 1],
                     im->frames[im->frame_count - 1].from);
    free(p);
}

static void
a_damaged_head_costs_nothing(void **state)
{
    const image *im = &images[0];
    uint8_t *p = copy_of(im);
    trial t;

    (void)state;
    p[2] ^= 1; /* the tag can still be read */
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD);
    all_accounted(&t);
    memset(p, 0, MRI_HEAD_BYTES); /* it must come from the frames */
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD);
    all_accounted(&t);
    memcpy(p, images[1].bytes.data, MRI_HEAD_BYTES); /* another shard's */
    try_alone(&t, p, im->bytes.len);
    assert_int_equal(t.got.saved, PER_SHARD);
    all_accounted(&t);
    free(p);
}

static void
field_names_come_from_the_foot_or_are_made_up(void **state)
{
    const image *im = &images[0];
    const char *source = in_room("names.mrs"), *output = in_room("names.mr");
    uint8_t *p = copy_of(im);
    mri_salvaged got;
    mr_dataset *ds;
    heard h;
    mr_diag d = {0};

    (void)state;
    memset(p + MRI_HEAD_BYTES, 0, im->schema_end - MRI_HEAD_BYTES);
    scratch_write(source, p, im->bytes.len);
    assert_ok(salvage(source, output, &got, &h, &d), &d);
    assert_false(got.names_lost);
    assert_ok(mr_dataset_open(&ds, output, &d), &d);
    assert_string_equal(mr_dataset_field_name(ds, 0), "scan");
    mr_dataset_close(ds);
    remove_output(output);
    scratch_write(source, p, im->foot_off); /* the foot's copy goes too */
    assert_ok(salvage(source, output, &got, &h, &d), &d);
    assert_true(got.names_lost);
    assert_int_equal(got.saved, PER_SHARD);
    assert_ok(mr_dataset_open(&ds, output, &d), &d);
    assert_string_equal(mr_dataset_field_name(ds, 1), "field1");
    assert_int_equal(mr_dataset_classes(ds), 3);
    assert_string_equal(mr_dataset_class_name(ds, 2), "star");
    mr_dataset_close(ds);
    remove_output(output);
    free(p);
}

static void
a_lost_chunk_is_told_with_key_and_place(void **state)
{
    const image *im = &images[0];
    uint8_t *p = copy_of(im);
    trial t;

    (void)state;
    p[im->frames[0].from + 40] ^= 16; /* a chunk of the first sample */
    try_alone(&t, p, im->bytes.len);
    all_accounted(&t);
    assert_true(t.heard.by_key[0]);
    assert_int_equal(t.heard.at[0], im->frames[0].from);
    free(p);
}

static void
every_frame_border_is_a_good_place_to_be_cut(void **state)
{
    const image *im = &images[0];
    trial t;

    (void)state;
    for (unsigned i = 0; i < im->frame_count; i++) {
        try_alone(&t, im->bytes.data, im->frames[i].from);
        assert_true(t.got.more_lost);
        try_alone(&t, im->bytes.data, im->frames[i].to);
        assert_true(t.got.more_lost);
    }
}

/* Some damage of some kind. Returns the size that is left. */
static uint64_t
hurt(uint8_t *p, uint64_t size, uint64_t *seed)
{
    uint64_t n = 1 + scratch_random(seed) % 4;

    for (uint64_t k = 0; k < n; k++) {
        uint64_t at = scratch_random(seed) % size;
        uint64_t len = scratch_random(seed) % 5000;

        len = len < size - at ? len : size - at;
        switch (scratch_random(seed) % 5) {
        case 0:
            p[at] ^= (uint8_t)(1u << scratch_random(seed) % 8);
            break;
        case 1:
            memset(p + at, 0, len);
            break;
        case 2:
            for (uint64_t i = 0; i < len; i++) {
                p[at + i] = (uint8_t)scratch_random(seed);
            }
            break;
        case 3: /* a piece from elsewhere, as after a mix-up of pages */
            memmove(p + at, p + scratch_random(seed) % (size - len + 1), len);
            break;
        default:
            size = scratch_random(seed) % 4 == 0 && at > size / 2 ? at : size;
            break;
        }
    }
    return size;
}

/* Without files: what scan and proof find of a damaged image. */
static void
try_in_memory(const uint8_t *p, uint64_t size)
{
    uint8_t *exact = malloc(size);
    mri_body b = {.file = {.fd = -1, .map = exact, .size = size}};
    mri_rescue rescue = {.allowance = 1 << 20};
    bool want[SAMPLES] = {false}, got[SAMPLES] = {false};
    mr_diag d = {0};

    memcpy(exact, p, size);
    untouched(&images[0], 0, p, size, want);
    assert_ok(mri_body_scan(&b, NULL, NULL, &d), &d);
    for (size_t i = 0; i < b.meta_count; i++) {
        Mri__PbMeta *pb;
        mri_encoded *e;

        if (mri_body_sample(&b, &b.metas[i], &rescue, &pb, &e, &d) == MR_OK) {
            assert_memory_equal(pb->uid.data, uids[pb->row], MR_UID_BYTES);
            got[pb->row] = true;
        }
        mri_encoded_free(e);
        mri_meta_unpacked_free(pb);
    }
    assert_memory_equal(want, got, sizeof want);
    mri_rescue_release(&rescue);
    b.file = (mri_object){.fd = -1};
    mri_body_close(&b);
    free(exact);
}

static void
after_any_damage_exactly_the_untouched_samples_come_back(void **state)
{
    const image *im = &images[0];

    (void)state;
    for (uint64_t trial_no = 0; trial_no < 600; trial_no++) {
        uint64_t seed = 1000 + trial_no, size;
        uint8_t *p = copy_of(im);

        size = hurt(p, im->bytes.len, &seed);
        try_in_memory(p, size);
        if (trial_no % 24 == 0) {
            trial t;

            try_alone(&t, p, size);
        }
        free(p);
    }
}

/* ---- a damaged dataset ---- */

static void
copy_dataset(const char *to)
{
    char command[1024];

    (void)snprintf(command, sizeof command, "cp -r '%s' '%s'", dir, to);
    assert_int_equal(system(command), 0);
}

static void
write_into(const char *copy, unsigned shard, const uint8_t *p, uint64_t size)
{
    char *path = mri_shard_path(copy, refs[shard].id);

    (void)unlink(path);
    scratch_write(path, p, size);
    mri_free(path);
}

/* Salvage the copy; every sample of both shards must be saved or named. */
static void
try_dataset(trial *t, const char *copy)
{
    const char *output = in_room("whole.mr");
    mr_diag d = {0};

    assert_ok(salvage(copy, output, &t->got, &t->heard, &d), &d);
    check_output(output, t->want);
    assert_int_equal(t->got.saved, count(t->want));
}

static void
splits_stay(const char *output)
{
    mr_dataset *a, *b;
    uint64_t n, x, y;
    mr_diag d = {0};

    assert_ok(mr_dataset_open(&a, dir, &d), &d);
    assert_ok(mr_dataset_open(&b, output, &d), &d);
    n = mr_dataset_count(b);
    assert_int_equal(mr_dataset_splits(b), 2);
    assert_string_equal(mr_dataset_split_name(b, 0), "fit");
    for (y = 0; y < n; y++) {
        mr_sample s;
        uint32_t p, q;

        assert_ok(mr_dataset_sample(b, y, &s, &d), &d);
        assert_ok(mr_dataset_find(a, s.uid, &x, &d), &d);
        assert_ok(mri_dataset_split_of(a, x, &p, &d), &d);
        assert_ok(mri_dataset_split_of(b, y, &q, &d), &d);
        assert_int_equal(p, q);
    }
    mr_dataset_close(a);
    mr_dataset_close(b);
}

static void
two_damaged_shards_of_a_dataset_lose_what_was_hit_and_no_more(void **state)
{
    const char *copy = in_room("hurt.mr");
    uint8_t *p = copy_of(&images[0]);
    uint64_t size = images[1].bytes.len / 3 * 2;
    trial t = {0};

    (void)state;
    copy_dataset(copy);
    memset(p, 0, MRI_HEAD_BYTES);
    memset(p + images[0].foot_off / 2, 0, 4096);
    untouched(&images[0], 0, p, images[0].bytes.len, t.want);
    untouched(&images[1], 1, images[1].bytes.data, size, t.want);
    write_into(copy, 0, p, images[0].bytes.len);
    write_into(copy, 1, images[1].bytes.data, size);
    try_dataset(&t, copy);
    assert_int_equal(t.heard.nameless, 0); /* the index knows them all */
    assert_false(t.got.more_lost);
    assert_int_equal(t.got.saved + t.got.lost, SAMPLES);
    assert_int_equal(t.got.shards_hurt, 2);
    for (unsigned i = 0; i < SAMPLES; i++) {
        assert_int_equal(t.heard.by_uid[i], !t.want[i]);
    }
    splits_stay(in_room("whole.mr"));
    remove_output(in_room("whole.mr"));
    free(p);
    remove_output(copy);
}

static void
a_shard_that_is_gone_is_named_sample_by_sample(void **state)
{
    const char *copy = in_room("gone.mr");
    char *path = mri_shard_path(copy, refs[1].id);
    trial t = {0};

    (void)state;
    copy_dataset(copy);
    assert_int_equal(unlink(path), 0);
    for (unsigned i = 0; i < PER_SHARD; i++) {
        t.want[i] = true;
    }
    try_dataset(&t, copy);
    assert_int_equal(t.got.lost, PER_SHARD);
    for (unsigned i = 0; i < SAMPLES; i++) {
        assert_int_equal(t.heard.by_uid[i], !t.want[i]);
    }
    remove_output(in_room("whole.mr"));
    remove_output(copy);
    mri_free(path);
}

static void
without_index_or_manifest_the_shards_are_found(void **state)
{
    static const char *const names[] = {"index.000001.mri",
                                        "manifest.000001.pb"};
    const char *copy = in_room("bare.mr");
    trial t = {0};

    (void)state;
    copy_dataset(copy);
    memset(t.want, 1, sizeof t.want);
    for (int i = 0; i < 2; i++) {
        scratch_write(scratch_path(copy, names[i]), "torn", 4);
        try_dataset(&t, copy);
        assert_int_equal(t.got.lost, 0);
        assert_true(t.got.no_index);
        assert_int_equal(t.got.older_manifest, i == 1);
        remove_output(in_room("whole.mr"));
    }
    remove_output(copy);
}

static void
what_was_withdrawn_stays_away(void **state)
{
    const char *copy = in_room("less.mr");
    const uint8_t *gone = uids[4];
    mri_withdrawn one = {.group = 0};
    mri_commit c = {.dir = copy,
                    .shards = refs,
                    .shard_count = SHARDS,
                    .schema = &schema,
                    .layout = "folder",
                    .withdrawn = &one,
                    .withdrawn_count = 1};
    uint64_t generation;
    mr_dataset *ds;
    trial t = {0};
    mri_dataset_facts facts;
    mr_diag d = {0};

    (void)state;
    copy_dataset(copy);
    memcpy(one.uid, gone, MR_UID_BYTES);
    assert_ok(mr_dataset_open(&ds, copy, &d), &d);
    c.parent = c.like = ds;
    c.split_count = 2;
    c.split_names = (const char *[]){"fit", "check"};
    c.split_shares = (const double[]){0.7, 0.3};
    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
    mr_dataset_close(ds);
    memset(t.want, 1, sizeof t.want);
    t.want[4] = false;
    for (int i = 0; i < 2; i++) {
        try_dataset(&t, copy);
        assert_int_equal(t.got.lost, 0);
        assert_ok(mr_dataset_open(&ds, in_room("whole.mr"), &d), &d);
        mri_dataset_facts_of(ds, &facts);
        assert_int_equal(facts.withdrawn, 1); /* nor by the next ingest */
        mr_dataset_close(ds);
        remove_output(in_room("whole.mr"));
        scratch_write(scratch_path(copy, "index.000002.mri"), "torn", 4);
    }
    remove_output(copy);
}

static void
manifest_names_stand_in_for_a_lost_schema(void **state)
{
    const char *copy = in_room("schema.mr");
    uint8_t *p = copy_of(&images[0]);
    mr_dataset *ds;
    trial t = {0};
    mr_diag d = {0};

    (void)state;
    copy_dataset(copy);
    memset(t.want, 1, sizeof t.want);
    memset(p, 0, images[0].schema_end); /* and the head with its tag */
    write_into(copy, 0, p, images[0].foot_off);
    try_dataset(&t, copy);
    assert_false(t.got.names_lost || t.got.more_lost);
    assert_ok(mr_dataset_open(&ds, in_room("whole.mr"), &d), &d);
    assert_int_equal(mr_dataset_fields(ds), 2);
    mr_dataset_close(ds);
    remove_output(in_room("whole.mr"));
    remove_output(copy);
    free(p);
}

/* ---- never in the way ---- */

static void
the_output_must_be_new_and_outside_the_source(void **state)
{
    char inside[512];
    mri_salvaged got;
    heard h;
    mr_diag d = {0};

    (void)state;
    assert_fails(salvage(dir, room, &got, &h, &d), MR_EFORMAT);
    assert_int_equal(d.code, MRI_E_SALVAGE_OUTPUT);
    (void)snprintf(inside, sizeof inside, "%s/shards/x.mr", dir);
    assert_fails(salvage(dir, inside, &got, &h, &d), MR_EFORMAT);
    assert_int_equal(d.code, MRI_E_SALVAGE_OUTPUT);
    assert_int_not_equal(access(inside, F_OK), 0);
    assert_fails(salvage(in_room("none"), in_room("x.mr"), &got, &h, &d),
                 MR_EIO);
    assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
}

static void
what_is_no_shard_gives_nothing_and_leaves_nothing(void **state)
{
    static const uint8_t junk[10000] = {1};
    mri_salvaged got;
    heard h;
    mr_diag d = {0};

    (void)state;
    for (size_t size = 0; size <= sizeof junk; size += 2500) {
        scratch_write(in_room("junk"), junk, size);
        assert_fails(salvage(in_room("junk"), in_room("x.mr"), &got, &h, &d),
                     MR_ECORRUPT);
        assert_int_equal(d.code, MRI_E_SALVAGE_EMPTY);
        assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
    }
}

static void
another_major_version_is_refused(void **state)
{
    uint8_t *p = copy_of(&images[0]);
    mri_salvaged got;
    heard h;
    mr_diag d = {0};

    (void)state;
    mri_put16(p + 8, 9);
    mri_put32(p + 60, mri_crc32c(0, p, 60));
    scratch_write(in_room("v9.mrs"), p, images[0].bytes.len);
    assert_fails(salvage(in_room("v9.mrs"), in_room("x.mr"), &got, &h, &d),
                 MR_EVERSION);
    assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
    free(p);
}

static bool
stop_at_once(void *user)
{
    return (*(int *)user)-- <= 0;
}

static void
a_stop_leaves_nothing_behind(void **state)
{
    int polls;
    mr_watch watch = {.user = &polls, .stop = stop_at_once};
    mri_salvage_options o = {
        .source = dir, .output = in_room("x.mr"), .watch = &watch};
    mri_salvaged got;

    (void)state;
    for (int k = 0; k < 21; k += 3) {
        polls = k;
        assert_fails(mri_salvage(&o, &got, NULL), MR_ESTOP);
        assert_true(got.saved <= (uint64_t)k); /* asked at every sample */
        assert_int_not_equal(access(o.output, F_OK), 0);
    }
}

static void
every_failing_write_leaves_nothing_behind(void **state)
{
    const unsigned mask =
        FAULTY_WRITE | FAULTY_SYNC | FAULTY_LINK | FAULTY_RENAME | FAULTY_MKDIR;
    mri_salvaged got;
    heard h;
    bool failed = true;
    uint64_t n;

    (void)state;
    for (n = 0; failed && n < 200; n++) {
        mr_err err;

        faulty_arm(mask, n, ENOSPC, false);
        err = salvage(dir, in_room("x.mr"), &got, &h, NULL);
        (void)faulty_disarm();
        failed = err != MR_OK;
        if (got.generation == 0) { /* before the commit */
            assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
        } else {
            remove_output(in_room("x.mr"));
        }
    }
    assert_true(n > 10 && n < 200);
}

static void
every_failing_allocation_is_an_error_and_no_crash(void **state)
{
    char *path = shard_path(0);
    mr_err err = MR_ENOMEM;
    mri_salvaged got;
    heard h;
    int64_t step = 1;

    (void)state;
    for (int64_t n = 0; err == MR_ENOMEM; n += step) {
        (void)mri_alloc_fail_at(n);
        err = salvage(path, in_room("x.mr"), &got, &h, NULL);
        (void)mri_alloc_fail_at(-1);
        assert_true(err == MR_OK || err == MR_ENOMEM);
        if (got.generation == 0) {
            assert_int_not_equal(access(in_room("x.mr"), F_OK), 0);
        } else {
            remove_output(in_room("x.mr"));
        }
        step = n < 200 ? 1 : 37;
    }
    mri_free(path);
}

static void
what_the_disk_refuses_to_read_is_a_hole(void **state)
{
    char *path = shard_path(0);
    mri_body b;
    mr_diag d = {0};

    (void)state;
    faulty_arm(FAULTY_READ, 0, EIO, false); /* once: the second try is good */
    assert_ok(mri_body_load(&b, path, &d), &d);
    (void)faulty_disarm();
    assert_non_null(b.heap);
    assert_int_equal(b.unread, 0);
    assert_memory_equal(b.heap, images[0].bytes.data, b.file.size);
    mri_body_close(&b);
    faulty_arm(FAULTY_READ, 0, EIO, true);
    assert_ok(mri_body_load(&b, path, &d), &d);
    (void)faulty_disarm();
    assert_int_equal(b.unread, b.file.size);
    assert_ok(mri_body_scan(&b, NULL, NULL, &d), &d);
    assert_int_equal(b.frames, 0);
    mri_body_close(&b);
    mri_free(path);
}

static void
the_source_is_as_it_was(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SHARDS; s++) {
        char *path = shard_path(s);
        mri_bytes b = {0};
        mr_diag d = {0};

        assert_ok(mri_file_load(path, 1 << 30, &b, &d), &d);
        assert_int_equal(b.len, images[s].bytes.len);
        assert_memory_equal(b.data, images[s].bytes.data, b.len);
        mri_bytes_release(&b);
        mri_free(path);
    }
    assert_int_equal(scratch_entries(dir), 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_undamaged_shard_comes_back_byte_for_byte),
        cmocka_unit_test(without_its_foot_a_shard_gives_all_its_samples),
        cmocka_unit_test(
            around_a_hole_the_others_come_back_and_the_lost_are_named),
        cmocka_unit_test(with_the_last_third_missing_the_first_two_come_back),
        cmocka_unit_test(with_both_tails_gone_the_foot_is_found),
        cmocka_unit_test(a_damaged_head_costs_nothing),
        cmocka_unit_test(field_names_come_from_the_foot_or_are_made_up),
        cmocka_unit_test(a_lost_chunk_is_told_with_key_and_place),
        cmocka_unit_test(every_frame_border_is_a_good_place_to_be_cut),
        cmocka_unit_test(
            after_any_damage_exactly_the_untouched_samples_come_back),
        cmocka_unit_test(
            two_damaged_shards_of_a_dataset_lose_what_was_hit_and_no_more),
        cmocka_unit_test(a_shard_that_is_gone_is_named_sample_by_sample),
        cmocka_unit_test(without_index_or_manifest_the_shards_are_found),
        cmocka_unit_test(what_was_withdrawn_stays_away),
        cmocka_unit_test(manifest_names_stand_in_for_a_lost_schema),
        cmocka_unit_test(the_output_must_be_new_and_outside_the_source),
        cmocka_unit_test(what_is_no_shard_gives_nothing_and_leaves_nothing),
        cmocka_unit_test(another_major_version_is_refused),
        cmocka_unit_test(a_stop_leaves_nothing_behind),
        cmocka_unit_test(every_failing_write_leaves_nothing_behind),
        cmocka_unit_test(every_failing_allocation_is_an_error_and_no_crash),
        cmocka_unit_test(what_the_disk_refuses_to_read_is_a_hole),
        cmocka_unit_test(the_source_is_as_it_was),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
