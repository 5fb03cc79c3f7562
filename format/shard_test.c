/* SPDX-License-Identifier: Apache-2.0 */
#include "shard_read.h"

#include "frame.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <errno.h>
#include <faulty_file.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *dir;
static const char *const field_names[] = {"image", "label"};
static const char *const class_names[] = {"ring", "spot"};
static mri_field_kind kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_LABEL};
static const mri_schema schema = {
    .field_count = 2,
    .field_names = (const char **)(uintptr_t)field_names,
    .field_kinds = kinds,
    .class_count = 2,
    .classes = (const char **)(uintptr_t)class_names,
    .config = "{\"layout\":\"folder\"}",
};
static const uint8_t plan_tag[16] = {1, 2, 3};

/* A small cell, a volume of several chunks with a constant corner, and a
 * picture kept verbatim. */
enum { DEPTH = 48, VOLUME = DEPTH * 50 * 60 };
static uint16_t cell[24 * 20 * 5];
static int16_t volume[VOLUME];
static uint8_t mask[VOLUME];
static uint8_t jpeg[3000], jpeg_pixels[16 * 16 * 3];

static void
fill_inputs(void)
{
    uint64_t seed = 77;

    for (size_t i = 0; i < MRI_COUNT(cell); i++) {
        cell[i] = (uint16_t)(500 + scratch_random(&seed) % 300);
    }
    for (size_t i = 0; i < VOLUME; i++) {
        size_t x = i % 60, y = i / 60 % 50, z = i / 3000;

        volume[i] = x < 32 && y < 32 && z < 32
                        ? -1024
                        : (int16_t)(x * 3 + y + scratch_random(&seed) % 8);
        mask[i] = (uint8_t)(z > 20 && x > 30);
    }
    for (size_t i = 0; i < sizeof jpeg; i++) {
        jpeg[i] = (uint8_t)scratch_random(&seed);
    }
}

static mri_sample_in
sample_of(unsigned i, mri_field_in fields[2], mri_geometry *geometry)
{
    static const mri_provenance source = {"a/b.tif", {9}, 1234, NULL};
    static char key[3][32];
    mri_sample_in s = {.key = key[i % 3],
                       .group = i % 3 == 0 ? "donor1" : "",
                       .class_name = i % 3 == 0 ? "spot" : NULL,
                       .class_index = i % 3 == 0 ? 1 : MR_NO_CLASS,
                       .fields = fields,
                       .field_count = i % 3 == 1 ? 2 : 1};

    (void)snprintf(key[i % 3], sizeof key[0], "sample %u", i);
    memset(fields, 0, 2 * sizeof *fields);
    mri_geometry_init(geometry);
    fields[0].sources = fields[1].sources = &source;
    fields[0].source_count = fields[1].source_count = 1;
    fields[0].encoding = fields[1].encoding = MR_ENC_CHUNKS;
    if (i % 3 == 0) {
        fields[0].dtype = MR_U16;
        fields[0].ndim = 3;
        memcpy(fields[0].axes, "YXC", 3);
        memcpy(fields[0].dims, (uint32_t[]){24, 20, 5}, 12);
        fields[0].pixels = cell;
    } else if (i % 3 == 1) {
        for (int k = 0; k < 2; k++) {
            fields[k].name = (uint16_t)k;
            fields[k].label = k == 1;
            fields[k].dtype = k == 0 ? MR_I16 : MR_U8;
            fields[k].ndim = 3;
            memcpy(fields[k].axes, "ZYX", 3);
            memcpy(fields[k].dims, (uint32_t[]){DEPTH, 50, 60}, 12);
            fields[k].pixels = k == 0 ? (void *)volume : (void *)mask;
        }
        geometry->slope = 2;
        geometry->has_affine = true;
        geometry->affine[3] = -71.5;
        fields[0].geometry = geometry;
    } else {
        fields[0].encoding = MR_ENC_JPEG;
        fields[0].dtype = MR_U8;
        fields[0].ndim = 3;
        memcpy(fields[0].axes, "YXC", 3);
        memcpy(fields[0].dims, (uint32_t[]){16, 16, 3}, 12);
        fields[0].pixels = jpeg_pixels;
        fields[0].verbatim = jpeg;
        fields[0].verbatim_bytes = sizeof jpeg;
        fields[0].jpeg[0] = 3;
        fields[0].jpeg[1] = 0x22;
    }
    mri_uid_of(s.uid, s.key, source.sha256, 1);
    return s;
}

static mr_err
write_shard(unsigned samples, mri_shard_ref *ref, mr_diag *diag)
{
    mri_shard_writer *w;
    mr_err err = mri_shard_begin(&w, dir, plan_tag, &schema, diag);

    for (unsigned i = 0; err == MR_OK && i < samples; i++) {
        mri_field_in fields[2];
        mri_geometry geometry;
        mri_sample_in s = sample_of(i, fields, &geometry);
        mri_encoded *e = NULL;

        err = mri_encode(&e, &s, diag);
        if (err == MR_OK) {
            err = mri_shard_add(w, e, diag);
        }
        mri_encoded_free(e);
    }
    if (err == MR_OK) {
        err = mri_shard_finish(w, ref, diag);
    }
    mri_shard_close_writer(w);
    return err;
}

static char *shard_file;
static mri_shard_ref shard_ref;

static int
setup(void **state)
{
    mr_diag d = {0};

    (void)state;
    dir = scratch_make();
    fill_inputs();
    assert_ok(write_shard(3, &shard_ref, &d), &d);
    shard_file = mri_shard_path(dir, shard_ref.id);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    mri_free(shard_file);
    scratch_remove(dir);
    return 0;
}

static mri_shard *
open_shard(bool use_map)
{
    mri_shard *s;
    mr_diag d = {0};

    assert_ok(mri_shard_open_with(&s, shard_file, &shard_ref, use_map, &d), &d);
    return s;
}

static mri_grid_row
grid_of(const mri_shard *s, uint32_t row, uint32_t field)
{
    mri_sample_row sample;
    mri_grid_row g;
    mr_diag d = {0};

    assert_ok(mri_shard_sample(s, row, &sample, &d), &d);
    assert_ok(mri_shard_grid(s, &sample, field, &g, &d), &d);
    return g;
}

static void
what_was_written_is_read_mapped_or_not(void **state)
{
    (void)state;
    for (int map = 0; map < 2; map++) {
        mri_shard *s = open_shard(map == 1);
        mri_grid_row g = grid_of(s, 0, 0);
        uint16_t got[24 * 20 * 5];
        const uint64_t shape[] = {24, 20, 5};
        mr_tensor t = mr_tensor_of(got, MR_U16, 3, shape);
        const uint8_t *p;
        size_t bytes;
        mr_scratch *scratch = mr_scratch_open();
        mr_diag d = {0};

        assert_int_equal(mri_shard_samples(s), 3);
        assert_ok(mri_shard_read_box(s, &g, NULL, &t, NULL, &d), &d);
        assert_memory_equal(got, cell, sizeof cell);
        g = grid_of(s, 2, 0);
        assert_ok(mri_shard_read_verbatim(s, &g, &p, &bytes, scratch, &d), &d);
        assert_int_equal(bytes, sizeof jpeg);
        assert_memory_equal(p, jpeg, bytes);
        assert_fails(mri_shard_read_box(s, &g, NULL, &t, scratch, NULL),
                     MR_EARG);
        mr_scratch_close(scratch);
        mri_shard_close(s);
    }
}

static void
any_box_equals_the_same_box_of_the_field(void **state)
{
    mri_shard *s = open_shard(true);
    mr_scratch *scratch = mr_scratch_open();
    mri_grid_row g = grid_of(s, 1, 0);
    const uint64_t dims[] = {DEPTH, 50, 60};
    uint64_t seed = 12;
    static int16_t got[VOLUME];

    (void)state;
    assert_int_equal(g.chunk[0], 32);
    for (int trial = 0; trial < 400; trial++) {
        mr_box box;
        mr_tensor t;
        mr_diag d = {0};
        size_t n = 0;

        for (int i = 0; i < 3; i++) {
            box.size[i] = 1 + scratch_random(&seed) % dims[i];
            box.first[i] = scratch_random(&seed) % (dims[i] - box.size[i] + 1);
        }
        memset(got, 0x55, sizeof got);
        t = mr_tensor_of(got, MR_I16, 3, box.size);
        assert_ok(mri_shard_read_box(s, &g, &box, &t, scratch, &d), &d);
        for (uint64_t z = 0; z < box.size[0]; z++) {
            for (uint64_t y = 0; y < box.size[1]; y++) {
                size_t at =
                    (size_t)(((box.first[0] + z) * 50 + box.first[1] + y) * 60 +
                             box.first[2]);

                assert_memory_equal(got + n, volume + at, box.size[2] * 2);
                n += box.size[2];
            }
        }
        assert_int_equal((uint16_t)got[n % VOLUME],
                         n == VOLUME ? (uint16_t)got[0] : 0x5555);
    }
    mr_scratch_close(scratch);
    mri_shard_close(s);
}

static void
a_box_that_leaves_the_field_is_refused(void **state)
{
    mri_shard *s = open_shard(true);
    mri_grid_row g = grid_of(s, 1, 0);
    static int16_t got[VOLUME];
    mr_box box = {.first = {DEPTH - 1, 0, 0}, .size = {2, 1, 1}};
    mr_tensor t = mr_tensor_of(got, MR_I16, 3, box.size);
    mr_diag d = {0};

    (void)state;
    assert_fails(mri_shard_read_box(s, &g, &box, &t, NULL, &d), MR_EARG);
    assert_non_null(strstr(d.text, "axis Z"));
    box.first[0] = UINT64_MAX;
    assert_fails(mri_shard_read_box(s, &g, &box, &t, NULL, &d), MR_EARG);
    box.first[0] = 0;
    box.size[0] = 0;
    assert_fails(mri_shard_read_box(s, &g, &box, &t, NULL, &d), MR_EARG);
    box.size[0] = 2;
    t.dtype = MR_U16;
    assert_fails(mri_shard_read_box(s, &g, &box, &t, NULL, &d), MR_EARG);
    mri_shard_close(s);
}

static void
the_meta_frame_tells_where_a_sample_came_from(void **state)
{
    mri_shard *s = open_shard(true);
    mri_meta *m;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_shard_meta(s, 1, &m, &d), &d);
    assert_string_equal(m->key, "sample 1");
    assert_int_equal(m->field_count, 2);
    assert_true(m->geometry[0].slope == 2 && m->geometry[1].slope == 1);
    assert_true(m->geometry[0].affine[3] == -71.5);
    assert_string_equal(m->sources[0][0].name, "a/b.tif");
    assert_int_equal(m->sources[0][0].bytes, 1234);
    mri_meta_free(m);
    assert_ok(mri_shard_meta(s, 0, &m, &d), &d);
    assert_string_equal(m->group, "donor1");
    assert_string_equal(m->class_name, "spot");
    mri_meta_free(m);
    mri_shard_close(s);
}

static void
constant_chunks_have_no_frames(void **state)
{
    mri_shard *s = open_shard(true);
    uint64_t chunks = mri_foot_rows(&s->foot, MRI_TABLE_CHUNKS), constant = 0;

    (void)state;
    for (uint64_t i = 0; i < chunks; i++) {
        const uint8_t *p;
        mri_chunk_row row;

        assert_int_equal(mri_foot_row(&s->foot, MRI_TABLE_CHUNKS, i, &p, NULL),
                         MR_OK);
        mri_chunk_row_get(&row, p);
        constant += row.flags & MRI_CHUNK_CONSTANT;
    }
    assert_true(constant >= 1);
    mri_shard_close(s);
}

static void
equal_samples_give_equal_bytes(void **state)
{
    mri_shard_ref again;
    mr_diag d = {0};

    (void)state;
    assert_ok(write_shard(3, &again, &d), &d);
    assert_memory_equal(&again, &shard_ref, sizeof again);
}

static void
hear(void *user, const char *sample, const mr_diag *diag)
{
    (void)sample;
    (void)diag;
    (*(unsigned *)user)++;
}

static uint64_t
damages_of(const mri_shard_ref *expect)
{
    mri_verified v;
    unsigned heard = 0;
    mr_diag d = {0};

    assert_ok(mri_shard_verify(shard_file, expect, hear, &heard, &v, &d), &d);
    assert_int_equal(v.damages, heard);
    return v.damages;
}

static void
an_intact_shard_has_no_damage(void **state)
{
    mri_verified v;
    unsigned heard = 0;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_shard_verify(shard_file, &shard_ref, hear, &heard, &v, &d),
              &d);
    assert_int_equal(v.damages, 0);
    assert_int_equal(v.samples, 3);
    assert_true(v.frames >= 6);
}

/* Read all that a user can read; true if anything at all is said to be wrong
 * or anything differs from what was written. */
static bool
full_read_notices(void)
{
    mri_shard *s;
    static int16_t got[VOLUME];
    static uint8_t labels[VOLUME];
    static uint16_t small[24 * 20 * 5];
    const uint64_t a[] = {24, 20, 5}, b[] = {DEPTH, 50, 60};
    mr_tensor t[3] = {mr_tensor_of(small, MR_U16, 3, a),
                      mr_tensor_of(got, MR_I16, 3, b),
                      mr_tensor_of(labels, MR_U8, 3, b)};
    mr_scratch *scratch = mr_scratch_open();
    const uint8_t *p;
    size_t bytes;
    bool bad = mri_shard_open(&s, shard_file, &shard_ref, NULL) != MR_OK;

    for (uint32_t row = 0; !bad && row < 3; row++) {
        mri_sample_row sample;
        mri_grid_row g;
        mri_meta *meta;

        bad = mri_shard_sample(s, row, &sample, NULL) != MR_OK ||
              mri_shard_grid(s, &sample, 0, &g, NULL) != MR_OK ||
              mri_shard_meta(s, row, &meta, NULL) != MR_OK;
        if (bad) {
            break;
        }
        mri_meta_free(meta);
        if (row == 2) {
            bad = mri_shard_read_verbatim(s, &g, &p, &bytes, scratch, NULL) !=
                  MR_OK;
            break;
        }
        bad = mri_shard_read_box(s, &g, NULL, &t[row], scratch, NULL) != MR_OK;
        if (!bad && row == 1) {
            bad =
                mri_shard_grid(s, &sample, 1, &g, NULL) != MR_OK ||
                mri_shard_read_box(s, &g, NULL, &t[2], scratch, NULL) != MR_OK;
        }
    }
    if (!bad) {
        bad = memcmp(small, cell, sizeof cell) != 0 ||
              memcmp(got, volume, sizeof volume) != 0 ||
              memcmp(labels, mask, sizeof mask) != 0;
        assert_false(bad); /* wrong data without an error */
    }
    mr_scratch_close(scratch);
    mri_shard_close(s);
    return bad;
}

/* Sanitizers make it twenty times slower: there a sample must do. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BYTE_STEP 37
#else
#define BYTE_STEP 1
#endif

/* Every bit of a small shard, flipped in turn. The body's frames and the foot
 * are covered by checksums, so a sample of those bits is decoded in full; the
 * others are told by verify as well. */
static void
every_flipped_bit_is_found(void **state)
{
    mri_shard_ref small;
    mr_diag d = {0};
    FILE *f;
    long size;

    (void)state;
    mri_free(shard_file);
    assert_ok(write_shard(1, &small, &d), &d);
    shard_ref = small;
    shard_file = mri_shard_path(dir, small.id);
    f = fopen(shard_file, "r+b");
    assert_non_null(f);
    setbuf(f, NULL);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    size = ftell(f);
    assert_int_equal(damages_of(&small), 0);
    for (long at = 0; at < size; at += BYTE_STEP) {
        int was;

        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        was = fgetc(f);
        for (int bit = 0; bit < 8; bit++) {
            assert_int_equal(fseek(f, at, SEEK_SET), 0);
            (void)fputc(was ^ 1 << bit, f);
            if (damages_of(&small) == 0) {
                fail_msg("bit %d of byte %ld of %ld was not found", bit, at,
                         size);
            }
        }
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        (void)fputc(was, f);
    }
    (void)fclose(f);
    assert_int_equal(damages_of(&small), 0);
}

static void
random_damage_is_never_returned_as_data(void **state)
{
    uint64_t seed = 31;
    FILE *f = fopen(shard_file, "r+b");
    unsigned noticed = 0;

    (void)state;
    assert_non_null(f);
    setbuf(f, NULL);
    for (int trial = 0; trial < 600; trial++) {
        long at = (long)(scratch_random(&seed) % shard_ref.bytes);
        int was, flip = 1 << scratch_random(&seed) % 8;

        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        was = fgetc(f);
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        (void)fputc(was ^ flip, f);
        noticed += full_read_notices();
        assert_int_equal(fseek(f, at, SEEK_SET), 0);
        (void)fputc(was, f);
    }
    assert_true(noticed > 300); /* most of the file is data */
    (void)fclose(f);
}

static void
every_truncation_is_refused(void **state)
{
    mri_bytes b = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_file_load(shard_file, 1 << 28, &b, &d), &d);
    for (uint64_t n = 0; n < b.len; n += n < 5000 ? 1 : 997) {
        mri_shard *s;
        mr_err err;

        assert_int_equal(truncate(shard_file, (off_t)n), 0);
        err = mri_shard_open(&s, shard_file, &shard_ref, &d);
        assert_true(err == MR_ECORRUPT);
        err = mri_shard_open(&s, shard_file, NULL, &d);
        assert_true(err == MR_ECORRUPT);
        assert_true(damages_of(&shard_ref) > 0);
        scratch_write(shard_file, b.data, b.len);
    }
    mri_bytes_release(&b);
}

static void
pages_zeroed_and_frames_swapped_are_found(void **state)
{
    mri_bytes b = {0};
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_file_load(shard_file, 1 << 28, &b, &d), &d);
    for (uint64_t at = 0; at + 4096 <= b.len; at += 4096) {
        uint8_t *copy = malloc(b.len);

        memcpy(copy, b.data, b.len);
        memset(copy + at, 0, 4096);
        if (memcmp(copy, b.data, b.len) != 0) {
            scratch_write(shard_file, copy, b.len);
            assert_true(damages_of(&shard_ref) > 0);
            (void)full_read_notices(); /* fails by itself on wrong data */
        }
        memcpy(copy, b.data, b.len);
        memmove(copy + at, copy + (at + 4096) % (b.len - 4096), 4096);
        if (memcmp(copy, b.data, b.len) != 0) {
            scratch_write(shard_file, copy, b.len);
            assert_true(damages_of(&shard_ref) > 0);
            (void)full_read_notices();
        }
        free(copy);
    }
    mri_bytes_release(&b);
}

static void
the_shard_of_another_name_is_refused(void **state)
{
    mri_shard_ref other = shard_ref;
    mri_shard *s;

    (void)state;
    other.foot_hash++;
    assert_fails(mri_shard_open(&s, shard_file, &other, NULL), MR_ECORRUPT);
    other = shard_ref;
    other.plan_tag[0]++;
    assert_fails(mri_shard_open(&s, shard_file, &other, NULL), MR_ECORRUPT);
}

static void
a_newer_version_is_told_from_damage(void **state)
{
    uint8_t head[MRI_HEAD_BYTES], tag[16];
    mr_diag d = {0};

    (void)state;
    mri_head_put(head, plan_tag);
    assert_ok(mri_head_get(head, sizeof head, tag, &d), &d);
    head[8] = 9;
    assert_fails(mri_head_get(head, sizeof head, tag, &d), MR_ECORRUPT);
    assert_fails(mri_head_get(head, 63, tag, &d), MR_ECORRUPT);
    memset(head, 'x', sizeof head);
    assert_fails(mri_head_get(head, sizeof head, tag, &d), MR_EFORMAT);
}

/* A full disk or any failing call: an error, and no file with a name. */
static void
a_write_that_fails_anywhere_leaves_nothing(void **state)
{
    char *other = dir;

    (void)state;
    dir = scratch_make();
    for (uint64_t n = 0;; n++) {
        mri_shard_ref ref;
        mr_diag d = {0};
        mr_err err;
        uint64_t made;

        /* (closing a folder that was synced cannot lose anything) */
        faulty_arm(FAULTY_ANY & ~(FAULTY_UNLINK | FAULTY_CLOSE), n, ENOSPC,
                   true);
        err = write_shard(2, &ref, &d);
        made = faulty_disarm();
        if (made <= n) {
            assert_int_equal(err, MR_OK);
            break;
        }
        assert_int_equal(err, MR_EIO);
        assert_true(d.path[0] != '\0');
    }
    /* only shards/ab/<id>.mrs of the run that came through */
    assert_int_equal(scratch_entries(dir), 1);
    scratch_remove(dir);
    dir = other;
}

static void
memory_running_out_anywhere_is_said(void **state)
{
    (void)state;
    for (int64_t n = 0;; n += 1 + n / 16) {
        mri_shard_ref ref;
        mr_err err;
        int64_t made;

        (void)mri_alloc_fail_at(n);
        err = write_shard(3, &ref, NULL);
        made = mri_alloc_fail_at(-1);
        if (made <= n) {
            assert_int_equal(err, MR_OK);
            break;
        }
        assert_true(err == MR_ENOMEM);
    }
    for (int64_t n = 0;; n++) {
        mri_shard *s;
        mr_err err;

        (void)mri_alloc_fail_at(n);
        err = mri_shard_open(&s, shard_file, &shard_ref, NULL);
        if (mri_alloc_fail_at(-1) <= n) {
            assert_int_equal(err, MR_OK);
            mri_shard_close(s);
            break;
        }
        assert_true(err != MR_OK);
    }
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_was_written_is_read_mapped_or_not),
        T(any_box_equals_the_same_box_of_the_field),
        T(a_box_that_leaves_the_field_is_refused),
        T(the_meta_frame_tells_where_a_sample_came_from),
        T(constant_chunks_have_no_frames),
        T(equal_samples_give_equal_bytes),
        T(an_intact_shard_has_no_damage),
        T(every_flipped_bit_is_found),
        T(random_damage_is_never_returned_as_data),
        T(every_truncation_is_refused),
        T(pages_zeroed_and_frames_swapped_are_found),
        T(the_shard_of_another_name_is_refused),
        T(a_newer_version_is_told_from_damage),
        T(a_write_that_fails_anywhere_leaves_nothing),
        T(memory_running_out_anywhere_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
