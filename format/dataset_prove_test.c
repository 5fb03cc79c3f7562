/* SPDX-License-Identifier: Apache-2.0 */
#include "dataset_read.h"
#include "histogram.h"
#include "prove.h"

#include <mri/alloc.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>

#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <test_set.h>

enum { SAMPLES = 40, Z = 3, Y = 11, X = 13, N = Z * Y * X };

static char *dir;
static const char *field_names[] = {"image", "label"};
static mri_field_kind kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_LABEL};
static const mri_schema schema = {.field_count = 2,
                                  .field_names = field_names,
                                  .field_kinds = kinds,
                                  .config = "{}"};
static const char *const split_names[] = {"train", "val", "test"};
static const double shares[] = {0.6, 0.2, 0.2};

/* Samples from `wide` on are f32: no bins of stored values for those. */
typedef struct part {
    unsigned first, end, wide;
} part;

static void
fill(unsigned i, void *pixels, uint8_t *label, bool wide)
{
    uint64_t seed = i + 1;

    for (int k = 0; k < N; k++) {
        int v = (int)(scratch_random(&seed) % 700);

        v = scratch_random(&seed) % 3 == 0 ? 0 : v;
        if (wide) {
            ((float *)pixels)[k] = (float)v / 7.0f - 9.0f;
        } else {
            ((uint16_t *)pixels)[k] = (uint16_t)v;
        }
        label[k] = (uint8_t)(scratch_random(&seed) % 4);
    }
}

static void
add_sample(mri_shard_writer *w, unsigned i, bool wide)
{
    mri_provenance source = {"f", {(uint8_t)i}, 120, NULL};
    mri_field_in f[2] = {{.encoding = MR_ENC_CHUNKS,
                          .dtype = wide ? MR_F32 : MR_U16,
                          .ndim = 3,
                          .axes = {'Z', 'Y', 'X'},
                          .dims = {Z, Y, X},
                          .sources = &source,
                          .source_count = 1}};
    char key[32];
    mri_sample_in s = {.key = key,
                       .group = "",
                       .class_index = MR_NO_CLASS,
                       .fields = f,
                       .field_count = 2};
    float *pixels = calloc(N, sizeof *pixels);
    uint8_t label[N];
    mri_encoded *e;
    mr_diag d = {0};

    fill(i, pixels, label, wide);
    f[1] = f[0];
    f[1].name = 1;
    f[1].label = true;
    f[1].dtype = MR_U8;
    f[0].pixels = pixels;
    f[1].pixels = label;
    (void)snprintf(key, sizeof key, "cell%u.tif", i);
    mri_uid_of(s.uid, s.key, source.sha256, 1);
    assert_ok(mri_encode(&e, &s, &d), &d);
    assert_ok(mri_shard_add(w, e, &d), &d);
    mri_encoded_free(e);
    free(pixels);
}

static void
write_part(const part *p, mri_shard_ref *ref)
{
    uint8_t tag[16] = {(uint8_t)p->first, (uint8_t)p->end, 3};
    mri_shard_writer *w;
    mr_diag d = {0};

    assert_ok(mri_shard_begin(&w, dir, tag, &schema, &d), &d);
    for (unsigned i = p->first; i < p->end; i++) {
        add_sample(w, i, i >= p->wide);
    }
    assert_ok(mri_shard_finish(w, ref, &d), &d);
    mri_shard_close_writer(w);
}

static void
commit(const mri_shard_ref *refs, uint32_t count, const mr_dataset *parent,
       const mri_withdrawn *gone, uint64_t gone_count)
{
    const mri_commit c = {.dir = dir,
                          .parent = parent,
                          .withdrawn = gone,
                          .withdrawn_count = gone_count,
                          .shards = refs,
                          .shard_count = count,
                          .schema = &schema,
                          .layout = "flat",
                          .split_names = split_names,
                          .split_shares = shares,
                          .split_count = 3,
                          .workers = 1 + count};
    uint64_t generation;
    mr_diag d = {0};

    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
}

static mr_dataset *
open_now(void)
{
    mr_dataset *ds;
    mr_diag d = {0};

    assert_ok(mr_dataset_open(&ds, dir, &d), &d);
    return ds;
}

typedef struct heard {
    unsigned count;
    uint16_t code;
} heard;

static void
hear(void *user, const char *sample, const mr_diag *diag)
{
    heard *h = user;

    (void)sample;
    h->count++;
    h->code = diag->code;
}

static heard
verify(void)
{
    mri_dataset_verified v;
    heard h = {0};
    mr_diag d = {0};

    assert_ok(mri_dataset_verify(dir, 2, hear, &h, NULL, &v, &d), &d);
    return h;
}

static int
setup(void **state)
{
    (void)state;
    dir = scratch_make();
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    scratch_remove(dir);
    return 0;
}

static void
add_generation(mri_shard_ref *refs, uint32_t *count, const part *p)
{
    mr_dataset *parent = *count != 0 ? open_now() : NULL;

    write_part(p, &refs[*count]);
    (*count)++;
    commit(refs, *count, parent, NULL, 0);
    mr_dataset_close(parent);
}

/* A generation without the first `most` samples of a type. */
static void
withdraw(const mri_shard_ref *refs, uint32_t count, mr_dtype dtype,
         uint64_t most)
{
    mr_dataset *ds = open_now();
    mri_withdrawn gone[8];
    uint64_t n = 0;
    mr_diag d = {0};

    for (uint64_t rank = 0; n < most && rank < mr_dataset_count(ds); rank++) {
        mr_field f;
        mr_sample s;

        assert_ok(mr_dataset_field(ds, rank, 0, &f, &d), &d);
        if (f.dtype == dtype) {
            assert_ok(mr_dataset_sample(ds, rank, &s, &d), &d);
            memcpy(gone[n].uid, s.uid, MR_UID_BYTES);
            gone[n].group = 0;
            assert_ok(mri_dataset_key_hash(ds, rank, &gone[n++].key, &d), &d);
        }
    }
    assert_int_equal(n, most);
    commit(refs, count, ds, gone, n);
    mr_dataset_close(ds);
}

/* verify counts all samples afresh, whatever the generation began with. */
static void
carried_histograms_are_those_of_a_fresh_count(void **state)
{
    const part parts[] = {{0, 20, 99}, {20, 30, 99}, {30, SAMPLES, 35}};
    mri_shard_ref refs[3];
    uint32_t count = 0;
    mr_dataset *ds;

    (void)state;
    for (int i = 0; i < 3; i++) {
        add_generation(refs, &count, &parts[i]);
        assert_int_equal(verify().count, 0);
        ds = open_now();
        assert_true(mr_dataset_stats(ds, 0, 0, 0)->exact == (i < 2));
        mr_dataset_close(ds);
        withdraw(refs, count, MR_U16, 2);
        assert_int_equal(verify().count, 0);
    }
    /* without all of f32, bins are of stored values again */
    withdraw(refs, count, MR_F32, 5);
    assert_int_equal(verify().count, 0);
    ds = open_now();
    assert_true(mr_dataset_stats(ds, 0, 0, 0)->exact);
    mr_dataset_close(ds);
}

static void
foreground_of_all_is_what_the_labels_cover(void **state)
{
    const part p = {0, 10, 5};
    mri_shard_ref ref;
    uint32_t count = 0;
    const mr_channel_stats *st;
    mr_dataset *ds;
    double sum = 0, squares = 0;
    uint64_t n = 0;

    (void)state;
    add_generation(&ref, &count, &p);
    for (unsigned i = p.first; i < p.end; i++) {
        float *pixels = calloc(N, sizeof *pixels);
        uint8_t label[N];

        fill(i, pixels, label, i >= p.wide);
        for (int k = 0; k < N; k++) {
            double v = i >= p.wide ? (double)pixels[k]
                                   : (double)((uint16_t *)(void *)pixels)[k];

            if (label[k] > 0) {
                n++;
                sum += v;
                squares += v * v;
            }
        }
        free(pixels);
    }
    ds = open_now();
    st = mr_dataset_stats(ds, MR_ALL_SAMPLES, 0, 0);
    assert_int_equal(st->foreground.count, n);
    assert_true(fabs(st->foreground.sum - sum) < 1e-9 * sum);
    assert_true(fabs(st->foreground.sum_squares - squares) < 1e-9 * squares);
    st = mr_dataset_stats(ds, MR_ALL_SAMPLES, 1, 0); /* a label has none */
    assert_true(st->foreground.count == 0 && isnan(st->percentile[3]));
    mr_dataset_close(ds);
}

static void
chunks_tell_which_labels_they_hold(void **state)
{
    const part p = {0, 1, 9};
    mri_shard_ref ref;
    uint32_t generations = 0;
    mr_label_count labels[4];
    mr_chunk_stats st;
    mr_dataset *ds;
    uint64_t chunks, want[4] = {0};
    float *pixels = calloc(N, sizeof *pixels);
    uint8_t label[N];
    mr_diag d = {0};

    (void)state;
    add_generation(&ref, &generations, &p);
    fill(0, pixels, label, false);
    for (int k = 0; k < N; k++) {
        want[label[k]]++;
    }
    free(pixels);
    ds = open_now();
    assert_ok(mr_dataset_chunks(ds, 0, 1, &chunks, &d), &d);
    assert_int_equal(chunks, 1);
    assert_ok(mr_dataset_chunk_stats(ds, 0, 1, 0, &st, &d), &d);
    assert_true(st.min == 0 && st.max == 3 && st.count == N);
    assert_true(st.labels == 4 && !st.uncounted);
    assert_int_equal(st.nonzero, N - want[0]);
    assert_int_equal(st.box.size[2], X);
    assert_ok(mr_dataset_chunk_labels(ds, 0, 1, 0, labels, 4, &d), &d);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(labels[i].label, i);
        assert_int_equal(labels[i].count, want[i]);
    }
    assert_int_equal(mr_dataset_chunk_labels(ds, 0, 1, 0, labels, 3, &d),
                     MR_EARG);
    assert_int_equal(mr_dataset_chunk_stats(ds, 0, 1, 1, &st, &d), MR_EARG);
    assert_int_equal(mr_dataset_chunks(ds, 0, 2, &chunks, &d), MR_EARG);
    mr_dataset_close(ds);
}

/* Under a checksum that holds: each number in turn. */
static void
a_manifest_that_lies_is_found(void **state)
{
    enum { LIES = 12 };
    const part p = {0, 12, 99};
    mri_shard_ref ref;
    uint32_t count = 0;
    char *path = mri_manifest_path(dir, 1);

    (void)state;
    add_generation(&ref, &count, &p);
    for (int i = 0; i < LIES; i++) {
        mr_dataset *ds = open_now();
        Mri__PbStatistics *pb = ds->manifest->statistics[0];
        Mri__PbChannel *ch = pb->channels[0];
        mri_bytes good = {0}, bad = {0};
        heard h;

        assert_true(mri_manifest_build(&good, ds->manifest));
        switch (i) {
        case 0:
            ch->all->sum *= 1 + 1e-8;
            break;
        case 1:
            ch->nonzero->count--;
            break;
        case 2:
            ch->foreground->max++;
            break;
        case 3:
            ch->percentiles[3]++;
            break;
        case 4:
            ch->nonzero_percentiles[6]--;
            break;
        case 5:
            ch->histogram.data[ch->histogram.len - 1] ^= 1;
            break;
        case 6:
            pb->slope = 2;
            break;
        case 7:
            pb->measures[1]->percentiles[6]++;
            break;
        case 8:
            pb->measures[0]->count--;
            break;
        case 9:
            pb->measures[2]->values.data[8] ^= 1;
            break;
        case 10:
            pb->measures[0]->axis[0] = 'Y';
            break;
        default:
            pb->n_measures--;
            break;
        }
        assert_true(mri_manifest_build(&bad, ds->manifest));
        pb->n_measures += i == 11; /* or it would not be freed */
        mr_dataset_close(ds);
        scratch_write(path, bad.data, bad.len);
        h = verify();
        assert_int_equal(h.count, 1);
        assert_int_equal(h.code, MRI_E_STATISTICS);
        scratch_write(path, good.data, good.len);
        assert_int_equal(verify().count, 0);
        mri_bytes_release(&good);
        mri_bytes_release(&bad);
    }
    mri_free(path);
}

/* What is said of JPEGs must follow from what is said of JPEGs. */
static void
lies_about_pictures_are_found(void **state)
{
    enum { LIES = 8 };
    set s = {0};
    char *path;

    (void)state;
    set_make(&s, SET_JPEGS, 12);
    path = mri_manifest_path(s.dir, 1);
    for (int i = 0; i < LIES; i++) {
        mr_dataset *ds;
        Mri__PbStatistics *pb;
        Mri__PbChannel *ch;
        mri_bytes good = {0}, bad = {0};
        mr_diag d = {0};
        mr_err want = MR_ECORRUPT;

        assert_ok(mr_dataset_open(&ds, s.dir, &d), &d);
        pb = ds->manifest
                 ->statistics[i == 6 ? ds->manifest->n_statistics - 1 : 0];
        ch = pb->channels[1];
        assert_int_equal(pb->decoded_bins, MRI_BINS_STORED);
        assert_int_equal(ch->n_decoded_percentiles, MR_PERCENTILES);
        assert_true(mr_dataset_stats(ds, 0, 0, 1)->exact);
        assert_true(mri_manifest_build(&good, ds->manifest));
        switch (i) {
        case 0:
            ch->decoded_percentiles[3]++;
            break;
        case 1:
            ch->decoded_nonzero_percentiles[6]--;
            break;
        case 2:
            /* the count of the lowest: no percentile sees it */
            ch->decoded_histogram.data[3] ^= 1;
            break;
        case 3:
            pb->decoded_slope = 2;
            break;
        case 4:
            pb->decoded_bins = MRI_BINS_BRAIN;
            break;
        case 5:
            pb->bins = MRI_BINS_STORED;
            break;
        case 6: /* of all samples */
            ch->decoded_percentiles[0]++;
            break;
        default: /* as a writer of 1.0 left it */
            for (size_t k = 0; k < ds->manifest->n_statistics; k++) {
                ds->manifest->statistics[k]->decoded_bins = 0;
            }
            want = MR_OK;
            break;
        }
        assert_true(mri_manifest_build(&bad, ds->manifest));
        mr_dataset_close(ds);
        scratch_write(path, bad.data, bad.len);
        assert_int_equal(mri_dataset_prove_stats(s.dir, 1, NULL, &d), want);
        assert_true(want == MR_OK || d.code == MRI_E_STATISTICS);
        scratch_write(path, good.data, good.len);
        assert_ok(mri_dataset_prove_stats(s.dir, 1, NULL, &d), &d);
        mri_bytes_release(&good);
        mri_bytes_release(&bad);
    }
    mri_free(path);
    scratch_remove(s.dir);
}

/* As a writer of 1.0 left it. */
static void
a_generation_after_one_without_measures_has_them(void **state)
{
    const part parts[] = {{0, 20, 99}, {20, 24, 99}};
    mri_shard_ref refs[2];
    uint32_t count = 0;
    char *path = mri_manifest_path(dir, 1);
    mri_bytes older = {0};
    size_t had[8];
    mr_dataset *ds;

    (void)state;
    add_generation(refs, &count, &parts[0]);
    ds = open_now();
    for (size_t i = 0; i < ds->manifest->n_statistics; i++) {
        assert_true(ds->manifest->n_statistics <= 8);
        had[i] = ds->manifest->statistics[i]->n_measures;
        ds->manifest->statistics[i]->n_measures = 0;
    }
    assert_true(mri_manifest_build(&older, ds->manifest));
    for (size_t i = 0; i < ds->manifest->n_statistics; i++) {
        ds->manifest->statistics[i]->n_measures = had[i]; /* to be freed */
    }
    mr_dataset_close(ds);
    scratch_write(path, older.data, older.len);
    assert_int_equal(verify().count, 0);
    add_generation(refs, &count, &parts[1]);
    assert_int_equal(verify().count, 0);
    ds = open_now();
    assert_int_equal(mr_dataset_measures(ds, MR_ALL_SAMPLES, 0), 3);
    assert_int_equal(mr_dataset_measure(ds, MR_ALL_SAMPLES, 0, 0)->count, 24);
    mr_dataset_close(ds);
    mri_bytes_release(&older);
    mri_free(path);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(carried_histograms_are_those_of_a_fresh_count),
        T(foreground_of_all_is_what_the_labels_cover),
        T(chunks_tell_which_labels_they_hold),
        T(a_manifest_that_lies_is_found),
        T(lies_about_pictures_are_found),
        T(a_generation_after_one_without_measures_has_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
