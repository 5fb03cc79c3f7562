/* SPDX-License-Identifier: Apache-2.0 */
/* Percentiles of what lies under labels, against the values themselves. */
#include "dataset_read.h"
#include "picture.h"
#include "prove.h"

#include <mri/dataset.h>

#include <jpeg_make.h>
#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 14, Y = 23, X = 37, N = Y * X, MOST_CHANNELS = 5 };

/* What a sample is like. */
typedef enum look {
    RANDOM,
    BARE, /* no label above zero */
    CONSTANT,
    UNLABELLED, /* no label field */
    LOOKS
} look;

typedef struct kind {
    mr_dtype dtype;
    uint32_t channels;
    bool jpeg;
    double slope, inter;
} kind;

static const kind kinds[] = {
    {MR_U8, 1, false, 1, 0},  {MR_I16, 5, false, 0.5, -1024},
    {MR_U16, 1, false, 1, 0}, {MR_U16, 5, false, 1, 0},
    {MR_F32, 1, false, 1, 0}, {MR_F32, 5, false, 2, 1},
    {MR_I8, 5, false, 1, 0},  {MR_U8, 3, true, 1, 0},
    {MR_U8, 1, true, 1, 0},
};

/* All samples of a set: physical values and labels. */
typedef struct truth {
    double value[SAMPLES][MOST_CHANNELS][N];
    uint8_t label[SAMPLES][N];
    uint8_t uid[SAMPLES][MR_UID_BYTES];
    bool live[SAMPLES];
} truth;

static truth it;
static char *dir;
static const char *field_names[] = {"image", "label"};
static mri_field_kind field_kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_LABEL};
static const mri_schema schema = {.field_count = 2,
                                  .field_names = field_names,
                                  .field_kinds = field_kinds,
                                  .config = "{}"};

static look
look_of(unsigned i)
{
    return (look)(i % 5 < LOOKS ? i % 5 : RANDOM);
}

static void
put_value(void *to, mr_dtype dtype, size_t at, uint64_t r)
{
    switch (dtype) {
    case MR_U8:
        ((uint8_t *)to)[at] = (uint8_t)r;
        break;
    case MR_I8:
        ((int8_t *)to)[at] = (int8_t)r;
        break;
    case MR_U16:
        ((uint16_t *)to)[at] = (uint16_t)(r % 5000);
        break;
    case MR_I16:
        ((int16_t *)to)[at] = (int16_t)r;
        break;
    default:
        ((float *)to)[at] =
            r % 31 == 0 ? NAN : (float)((double)(r % 99991) / 7 - 3000);
        break;
    }
}

static double
value_at(const void *from, mr_dtype dtype, size_t at)
{
    switch (dtype) {
    case MR_U8:
        return ((const uint8_t *)from)[at];
    case MR_I8:
        return ((const int8_t *)from)[at];
    case MR_U16:
        return ((const uint16_t *)from)[at];
    case MR_I16:
        return ((const int16_t *)from)[at];
    default:
        return (double)((const float *)from)[at];
    }
}

typedef struct whole {
    uint8_t *pixels;
    size_t row_bytes;
} whole;

static void
keep_rows(void *user, const uint8_t *rows, uint32_t first, uint32_t count)
{
    const whole *w = user;

    memcpy(w->pixels + first * w->row_bytes, rows, count * w->row_bytes);
}

/* Pixels of a JPEG, as picture_test proves them. */
static uint8_t *
decoded(const kind *k, const uint8_t *jpeg, size_t bytes)
{
    mri_grid_row g = {.encoding = MR_ENC_JPEG,
                      .dtype = MR_U8,
                      .ndim = k->channels == 1 ? 2 : 3,
                      .dims = {Y, X, k->channels == 1 ? 0 : k->channels}};
    uint8_t *out = malloc((size_t)N * k->channels);
    whole w = {out, (size_t)X * k->channels};
    mri_picture p = {
        .g = &g, .jpeg = jpeg, .bytes = bytes, .take = keep_rows, .user = &w};
    mri_bytes room = {0};
    mr_diag d = {0};

    assert_ok(mri_picture_read(&p, &room, &d), &d);
    mri_bytes_release(&room);
    return out;
}

/* Channels first; of a JPEG last. malloc. */
static void *
make_pixels(const kind *k, unsigned i, mri_field_in *f)
{
    uint64_t seed = i * 31 + 1, r = 5;
    const jpeg_made how = {X, Y, k->channels, 80, 1, 1, i % 2 == 0};
    size_t n = (size_t)N * k->channels, bytes;
    void *pixels;

    if (k->jpeg) {
        f->verbatim = jpeg_make(&how, i, &bytes);
        f->verbatim_bytes = bytes;
        return decoded(k, f->verbatim, bytes);
    }
    pixels = malloc(n * mr_dtype_bytes(k->dtype));
    for (size_t at = 0; at < n; at++) {
        r = look_of(i) == CONSTANT ? r : scratch_random(&seed);
        put_value(pixels, k->dtype, at, r);
    }
    return pixels;
}

static void
remember(const kind *k, unsigned i, const void *pixels)
{
    for (uint32_t c = 0; c < k->channels; c++) {
        for (size_t at = 0; at < N; at++) {
            size_t from = k->jpeg ? at * k->channels + c : c * (size_t)N + at;

            it.value[i][c][at] =
                value_at(pixels, k->dtype, from) * k->slope + k->inter;
        }
    }
}

static void
make_labels(unsigned i)
{
    uint64_t seed = i + 77;

    for (size_t at = 0; at < N; at++) {
        uint64_t r = scratch_random(&seed);

        it.label[i][at] = look_of(i) == BARE ? 0 : (uint8_t)(r % 4 * (r >> 9));
    }
}

static void
lay_out(const kind *k, mri_field_in *f)
{
    static const char *const axes[] = {"YX", "CYX", "YXC"};
    const char *have = axes[k->channels == 1 ? 0 : k->jpeg ? 2 : 1];

    f->encoding = k->jpeg ? MR_ENC_JPEG : MR_ENC_CHUNKS;
    f->dtype = k->dtype;
    f->ndim = (uint8_t)strlen(have);
    memcpy(f->axes, have, f->ndim);
    for (unsigned i = 0; i < f->ndim; i++) {
        f->dims[i] = have[i] == 'Y' ? Y : have[i] == 'X' ? X : k->channels;
    }
}

static void
add_sample(mri_shard_writer *w, const kind *k, unsigned i)
{
    mri_provenance source = {"f", {(uint8_t)i}, 120, NULL};
    mri_geometry g;
    mri_field_in f[2] = {{.sources = &source, .source_count = 1}};
    char key[32];
    mri_sample_in s = {.key = key,
                       .group = "",
                       .class_index = MR_NO_CLASS,
                       .fields = f,
                       .field_count = look_of(i) == UNLABELLED ? 1 : 2};
    mri_encoded *e;
    mr_diag d = {0};

    mri_geometry_init(&g);
    g.slope = k->slope;
    g.inter = k->inter;
    f[0].geometry = &g;
    lay_out(k, &f[0]);
    f[0].pixels = make_pixels(k, i, &f[0]);
    remember(k, i, f[0].pixels);
    make_labels(i);
    f[1] = (mri_field_in){.name = 1,
                          .label = true,
                          .encoding = MR_ENC_CHUNKS,
                          .dtype = MR_U8,
                          .ndim = 2,
                          .axes = {'Y', 'X'},
                          .dims = {Y, X},
                          .pixels = it.label[i]};
    if (look_of(i) == UNLABELLED) {
        memset(it.label[i], 0, N);
    }
    (void)snprintf(key, sizeof key, "s%u", i);
    mri_uid_of(s.uid, key, source.sha256, 1);
    memcpy(it.uid[i], s.uid, MR_UID_BYTES);
    assert_ok(mri_encode(&e, &s, &d), &d);
    assert_ok(mri_shard_add(w, e, &d), &d);
    mri_encoded_free(e);
    it.live[i] = true;
    free((void *)(uintptr_t)f[0].pixels);
    free((void *)(uintptr_t)f[0].verbatim);
}

static void
write_part(const kind *k, unsigned first, unsigned end, mri_shard_ref *ref)
{
    uint8_t tag[16] = {(uint8_t)first, (uint8_t)end, 3};
    mri_shard_writer *w;
    mr_diag d = {0};

    assert_ok(mri_shard_begin(&w, dir, tag, &schema, &d), &d);
    for (unsigned i = first; i < end; i++) {
        add_sample(w, k, i);
    }
    assert_ok(mri_shard_finish(w, ref, &d), &d);
    mri_shard_close_writer(w);
}

static void
commit(const mri_shard_ref *refs, uint32_t count, const mri_withdrawn *gone,
       uint64_t gone_count)
{
    static const char *const names[] = {"train", "test"};
    static const double shares[] = {0.6, 0.4};
    mr_dataset *parent = NULL;
    mri_commit c = {.dir = dir,
                    .withdrawn = gone,
                    .withdrawn_count = gone_count,
                    .shards = refs,
                    .shard_count = count,
                    .schema = &schema,
                    .layout = "flat",
                    .split_names = names,
                    .split_shares = shares,
                    .split_count = 2,
                    .workers = 2};
    uint64_t generation;
    mr_diag d = {0};

    if (mr_dataset_open(&parent, dir, &d) == MR_OK) {
        c.parent = parent;
    }
    assert_ok(mri_dataset_commit(&c, &generation, &d), &d);
    mr_dataset_close(parent);
}

static int
by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* inverted_cdf: the least value that at least q of all do not exceed. */
static double
by_definition(const double *sorted, size_t n, double percent)
{
    for (size_t i = 0; i < n; i++) {
        if ((double)(i + 1) >= (double)n * (percent / 100)) {
            return sorted[i];
        }
    }
    return sorted[n - 1];
}

/* Finite values under labels, ascending. */
static size_t
gather(const mr_dataset *ds, uint32_t split, uint32_t channel, double *out)
{
    size_t n = 0;
    mr_diag d = {0};

    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t rank;
        uint32_t at;

        if (!it.live[i]) {
            continue;
        }
        assert_ok(mr_dataset_find(ds, it.uid[i], &rank, &d), &d);
        assert_ok(mri_dataset_split_of(ds, rank, &at, &d), &d);
        for (size_t k = 0; k < N; k++) {
            double v = it.value[i][channel][k];

            if ((split == MR_ALL_SAMPLES || split == at) && isfinite(v) &&
                it.label[i][k] > 0) {
                out[n++] = v;
            }
        }
    }
    qsort(out, n, sizeof *out, by_number);
    return n;
}

static void
check_split(const mr_dataset *ds, const kind *k, uint32_t split)
{
    double *sorted = malloc(sizeof *sorted * SAMPLES * N);

    for (uint32_t c = 0; c < k->channels; c++) {
        const mr_channel_stats *st = mr_dataset_stats(ds, split, 0, c);
        size_t n = gather(ds, split, c, sorted);

        assert_int_equal(st->foreground.count, n);
        for (unsigned q = 0; q < MR_PERCENTILES; q++) {
            double got = st->foreground_percentile[q], want;

            if (n == 0) {
                assert_true(isnan(got));
                continue;
            }
            want = by_definition(sorted, n, mr_percent(q));
            assert_true(st->exact == (k->dtype != MR_F32));
            assert_true(st->exact ? got == want
                                  : fabs(got - want) <= fabs(want) / 256);
        }
    }
    free(sorted);
}

static void
never(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    fail_msg("%s", diag->text);
}

static void
check(const kind *k)
{
    mri_dataset_verified v;
    mr_dataset *ds;
    mr_diag d = {0};

    assert_ok(mri_dataset_verify(dir, 2, never, NULL, NULL, &v, &d), &d);
    assert_ok(mr_dataset_open(&ds, dir, &d), &d);
    check_split(ds, k, 0);
    check_split(ds, k, 1);
    check_split(ds, k, MR_ALL_SAMPLES);
    mr_dataset_close(ds);
}

static int
by_uid(const void *a, const void *b)
{
    return memcmp(a, b, MR_UID_BYTES);
}

static void
withdraw(const mri_shard_ref *refs, unsigned step)
{
    mri_withdrawn gone[SAMPLES] = {0};
    uint64_t n = 0;
    mr_diag d = {0};
    mr_dataset *ds;

    assert_ok(mr_dataset_open(&ds, dir, &d), &d);
    for (unsigned i = 0; i < SAMPLES; i += step) {
        uint64_t rank;

        if (it.live[i]) {
            it.live[i] = false;
            memcpy(gone[n].uid, it.uid[i], MR_UID_BYTES);
            assert_ok(mr_dataset_find(ds, it.uid[i], &rank, &d), &d);
            assert_ok(mri_dataset_key_hash(ds, rank, &gone[n++].key, &d), &d);
        }
    }
    mr_dataset_close(ds);
    qsort(gone, n, sizeof *gone, by_uid);
    commit(refs, 2, gone, n);
}

static void
percentiles_are_those_of_what_lies_under_labels(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        mri_shard_ref refs[2];

        memset(&it, 0, sizeof it);
        dir = scratch_make();
        write_part(&kinds[i], 0, SAMPLES - 4, &refs[0]);
        commit(refs, 1, NULL, 0);
        check(&kinds[i]);
        write_part(&kinds[i], SAMPLES - 4, SAMPLES, &refs[1]);
        commit(refs, 2, NULL, 0);
        check(&kinds[i]);
        withdraw(refs, 4);
        check(&kinds[i]);
        withdraw(refs, 3);
        check(&kinds[i]);
        scratch_remove(dir);
    }
}

/* Under a checksum that holds. */
static void
lies_about_the_foreground_are_found(void **state)
{
    enum { LIES = 3 };

    (void)state;
    for (int i = 0; i < 2 * LIES; i++) {
        const kind *k = &kinds[i < LIES ? 2 : 7]; /* an array, a JPEG */
        mri_bytes bad = {0};
        mri_shard_ref refs[2];
        Mri__PbChannel *ch;
        mr_dataset *ds;
        char path[4096];
        mr_diag d = {0};
        mr_err want = MR_ECORRUPT;

        memset(&it, 0, sizeof it);
        dir = scratch_make();
        write_part(k, 0, SAMPLES - 4, &refs[0]);
        commit(refs, 1, NULL, 0);
        assert_ok(mr_dataset_open(&ds, dir, &d), &d);
        ch = ds->manifest->statistics[0]->channels[0];
        assert_int_equal(ch->n_foreground_percentiles, MR_PERCENTILES);
        assert_true(ch->foreground_histogram.len > 100);
        if (i % LIES == 0) {
            ch->foreground_percentiles[3]++;
        } else if (i % LIES == 1) { /* the count of the lowest */
            ch->foreground_histogram.data[3] ^= 1;
        } else { /* as a writer of 1.0 left it */
            for (size_t s = 0; s < ds->manifest->n_statistics; s++) {
                Mri__PbStatistics *pb = ds->manifest->statistics[s];

                for (size_t c = 0; c < pb->n_channels; c++) {
                    pb->channels[c]->n_foreground_percentiles = 0;
                    pb->channels[c]->foreground_histogram.len = 0;
                }
            }
            want = MR_OK;
        }
        assert_true(mri_manifest_build(&bad, ds->manifest));
        (void)snprintf(path, sizeof path, "%s/manifest.000001.pb", dir);
        mr_dataset_close(ds);
        scratch_write(path, bad.data, bad.len);
        assert_int_equal(mri_dataset_prove_stats(dir, 1, NULL, &d), want);
        if (want == MR_OK) { /* the next generation says it again */
            write_part(k, SAMPLES - 4, SAMPLES, &refs[1]);
            commit(refs, 2, NULL, 0);
            check(k);
        }
        mri_bytes_release(&bad);
        scratch_remove(dir);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_those_of_what_lies_under_labels),
        cmocka_unit_test(lies_about_the_foreground_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
