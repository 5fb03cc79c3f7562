/* SPDX-License-Identifier: Apache-2.0 */
/* shard_write_test.c - what the writer gives to the system, and when. */
#include "shard_read.h"

#include <mri/alloc.h>
#include <mri/file.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUN (256u << 10)

static const uint8_t plan_tag[16] = {7};
static mri_file_ops counting;
static uint64_t writes, uneven, written;

/* Every write but the last begins and ends at a whole run. */
static ssize_t
counted_write(int fd, const void *p, size_t bytes, off_t at)
{
    writes++;
    uneven += (uint64_t)at % RUN != 0 || bytes % RUN != 0;
    written += bytes;
    return mri_file_system.pwrite(fd, p, bytes, at);
}

/* Noise of so many bytes, which no codec makes shorter. */
static uint8_t *
noise(uint32_t bytes, uint64_t seed)
{
    uint8_t *p = malloc(bytes);

    for (uint32_t i = 0; i < bytes; i++) {
        p[i] = (uint8_t)scratch_random(&seed);
    }
    return p;
}

static void
add_sample(mri_shard_writer *w, unsigned i, uint32_t bytes, bool file)
{
    static const mri_provenance source = {"x", {1}, 1, NULL};
    uint8_t *p = noise(bytes, i + 1);
    char key[16];
    mri_field_in f = {.encoding = file ? MR_ENC_BYTES : MR_ENC_CHUNKS,
                      .dtype = MR_U8,
                      .ndim = 1,
                      .axes = {'X'},
                      .dims = {bytes},
                      .sources = &source,
                      .source_count = 1};
    mri_sample_in s = {.key = key,
                       .group = "",
                       .class_index = MR_NO_CLASS,
                       .fields = &f,
                       .field_count = 1};
    mri_encoded *e;
    mr_diag d = {0};

    if (file) {
        f.verbatim = p;
        f.verbatim_bytes = bytes;
    } else {
        f.pixels = p;
    }
    (void)snprintf(key, sizeof key, "%u", i);
    (void)mri_uid_of(s.uid, key, source.sha256, 1);
    assert_ok(mri_encode(&e, &s, &d), &d);
    assert_int_equal(mri_encoded_bytes(e), bytes);
    assert_ok(mri_shard_add(w, e, &d), &d);
    mri_encoded_free(e);
    free(p);
}

static void
read_sample(const mri_shard *shard, unsigned i, uint32_t bytes, bool file)
{
    uint8_t *want = noise(bytes, i + 1), *got = malloc(bytes);
    const uint8_t *p = got;
    const uint64_t shape[] = {bytes};
    mr_tensor t = mr_tensor_of(got, MR_U8, 1, shape);
    mr_scratch *scratch = mr_scratch_open();
    mri_sample_row row;
    mri_grid_row g;
    size_t n = bytes;
    mr_diag d = {0};

    assert_ok(mri_shard_sample(shard, i, &row, &d), &d);
    assert_ok(mri_shard_grid(shard, &row, 0, &g, &d), &d);
    if (file) {
        assert_ok(mri_shard_read_verbatim(shard, &g, &p, &n, scratch, &d), &d);
    } else {
        assert_ok(mri_shard_read_box(shard, &g, NULL, &t, scratch, &d), &d);
    }
    assert_int_equal(n, bytes);
    assert_memory_equal(p, want, bytes);
    mr_scratch_close(scratch);
    free(want);
    free(got);
}

static const uint32_t sizes[] = {
    2, RUN, 5, RUN + 37, 100000, RUN * 2, RUN * 3 + 9, RUN - 1, 70000, 17};

static void
write_all(const char *dir, mri_shard_ref *ref)
{
    static const char *name[] = {"image"};
    static mri_field_kind kind[] = {MRI_FIELD_IMAGE};
    const mri_schema schema = {.field_count = 1,
                               .field_names = name,
                               .field_kinds = kind,
                               .config = "{}"};
    mri_shard_writer *w;
    mr_diag d = {0};

    assert_ok(mri_shard_begin(&w, dir, plan_tag, &schema, &d), &d);
    for (unsigned i = 0; i < 2 * MRI_COUNT(sizes); i++) {
        add_sample(w, i, sizes[i / 2], i % 2 == 1);
    }
    assert_ok(mri_shard_finish(w, ref, &d), &d);
    mri_shard_close_writer(w);
}

static void
samples_of_any_size_go_out_in_whole_runs_and_come_back(void **state)
{
    char *dir = scratch_make(), *path;
    mri_shard *s;
    mri_shard_ref ref;
    mr_diag d = {0};

    (void)state;
    counting = mri_file_system;
    counting.pwrite = counted_write;
    mri_file_use(&counting);
    write_all(dir, &ref);
    mri_file_use(NULL);
    assert_int_equal(written, ref.bytes);
    assert_int_equal(uneven, 1);
    assert_true(writes <= 1 + ref.bytes / RUN);
    path = mri_shard_path(dir, ref.id);
    assert_ok(mri_shard_open(&s, path, &ref, &d), &d);
    for (unsigned i = 0; i < 2 * MRI_COUNT(sizes); i++) {
        read_sample(s, i, sizes[i / 2], i % 2 == 1);
    }
    mri_shard_close(s);
    mri_free(path);
    scratch_remove(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            samples_of_any_size_go_out_in_whole_runs_and_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
