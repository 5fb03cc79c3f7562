/* SPDX-License-Identifier: Apache-2.0 */
/* make_test.c - features of small datasets beside the network's own. */
#include "eval_pipeline.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/features.h>
#include <mri/weights.h>

#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>
#include <test_set.h>

#define TRAINED                                                                \
    "[{\"minmax\":{\"per\":\"channel\"}},"                                     \
    "{\"multi_crop\":{\"global\":{\"count\":2,\"size\":16},"                   \
    "\"local\":{\"count\":2,\"size\":8},\"antialias\":true}},"                 \
    "{\"flip\":{\"horizontal\":0.5}},\"blur\",\"solarize\",\"brightness\","    \
    "{\"normalize\":{\"mean\":[0.5,0.5,0.5,0.5,0.5],"                          \
    "\"std\":[0.2,0.2,0.2,0.2,0.2]}}]"
#define SHOWN                                                                  \
    "[minmax: {per: channel}, resize: {size: 16, filter: bilinear, "           \
    "antialias: true}, normalize: {mean: [0.5, 0.5, 0.5, 0.5, 0.5], "          \
    "std: [0.2, 0.2, 0.2, 0.2, 0.2]}]"

enum { DIM = 24, SIDE = 16, SAMPLES = 37 };

static const char *const channels[] = {"DAPI", "GFP", "RFP", "ER", "BF"};
static const char *const classes[] = {"ring", "spot", "star"};
static const mri_weights_info network = {
    .vit = {.channels = 5,
            .patch = 4,
            .dim = DIM,
            .depth = 2,
            .heads = 2,
            .image = SIDE,
            .drop_path = 0.1},
    .arch = "vit",
    .channels = channels,
    .classes = classes,
    .class_count = 3,
    .pipeline = TRAINED,
    .step = 40,
    .seed = 7,
};

static mri_encoder *
open_encoder(const mri_vit *vit, uint32_t batch, const mri_backend *backend)
{
    mri_crew_options o = {.backend = backend, .threads = 1, .parts = 1};
    mri_encoder *e;
    mr_diag d = {0};

    assert_ok(mri_encoder_open(&e, vit, SIDE, batch, &o, &d), &d);
    return e;
}

/* A checkpoint with the weights of `seed` as its teacher. */
static void
write_weights(const char *path, const mri_weights_info *info, uint64_t seed,
              bool broken)
{
    mri_encoder *e = open_encoder(&network.vit, 1, &mri_backend_ref);
    mri_params *store = mri_encoder_store(e);
    size_t n = mri_params_count(store);
    mri_st_item *items = calloc(n, sizeof *items);
    mri_json j = {0};
    mri_st_meta meta = {MRI_STATE_KEY, NULL};
    mr_diag d = {0};

    mri_json_object(&j);
    mri_weights_put(&j, info);
    mri_json_end(&j);
    meta.value = mri_json_done(&j);
    assert_ok(mri_params_draw(store, seed, &d), &d);
    for (size_t i = 0; i < n; i++) {
        mr_tensor t = mri_params_tensor(store, i);

        items[i] = (mri_st_item){
            mri_params_slot(store, i)->name, t.dtype, t.rank, {0}, t.data};
        memcpy(items[i].shape, t.shape, sizeof t.shape);
        if (broken && strstr(items[i].name, "pos_embed") != NULL) {
            *(float *)t.data = NAN;
        }
    }
    assert_ok(mri_st_write(path, items, n, &meta, 1, &d), &d);
    mri_json_release(&j);
    free(items);
    mri_encoder_close(e);
}

typedef struct bed {
    set set;
    char *dir;
    char weights[600];
    mri_features_options o;
} bed;

static bed
make_bed(void)
{
    bed b = {.dir = scratch_make(), .o = mri_features_defaults()};

    set_make(&b.set, SET_CELLS, SAMPLES);
    (void)snprintf(b.weights, sizeof b.weights, "%s/c.safetensors", b.dir);
    write_weights(b.weights, &network, 5, false);
    b.o.source = b.set.dir;
    b.o.backend = &mri_backend_ref;
    b.o.threads = 1;
    return b;
}

static void
free_bed(bed *b)
{
    scratch_remove(b->dir);
    scratch_remove(b->set.dir);
}

/* make_bed moved `weights`; it is set where the bed has come to rest. */
static mri_features *
make(bed *b)
{
    mri_features *f;
    mr_diag d = {0};

    b->o.weights = b->o.weights != NULL ? b->o.weights : b->weights;
    assert_ok(mri_features_make(&f, &b->o, &d), &d);
    return f;
}

static void
assert_refuses(bed *b, mr_err err, mri_code code, const char *says)
{
    mri_features *f;
    mr_diag d = {0};

    b->o.weights = b->o.weights != NULL ? b->o.weights : b->weights;
    assert_fails(mri_features_make(&f, &b->o, &d), err);
    assert_null(f);
    assert_int_equal(d.code, code);
    if (strstr(d.text, says) == NULL) {
        print_error("'%s' does not say '%s'\n", d.text, says);
    }
    assert_non_null(strstr(d.text, says));
}

/* ----------------------------------------------------------------- numbers */

/* Pictures of all samples in the order of uids, by the written pipeline, one
 * at a time through the network: out [SAMPLES, DIM]. */
static void
run_by_hand(const bed *b, uint64_t seed, const mri_backend *backend, float *out)
{
    mr_stream_options o = mr_stream_defaults();
    mri_encoder *e = open_encoder(&network.vit, 1, backend);
    mr_stream *s;
    mr_diag d = {0};

    o.source = b->set.dir;
    o.split = "all";
    o.pipeline = SHOWN;
    o.batch_size = 1;
    o.order = MR_ORDER_UID;
    assert_ok(mri_params_draw(mri_encoder_store(e), seed, &d), &d);
    assert_ok(mr_stream_open(&s, &o, &d), &d);
    assert_int_equal(mr_stream_samples(s), SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) {
        mr_batch *batch;

        assert_ok(mr_stream_next(s, &batch, &d), &d);
        assert_ok(mri_encoder_run(e, mr_batch_tensor(batch, "image")->data, 1,
                                  out + i * DIM, &d),
                  &d);
        mr_batch_unref(batch);
    }
    mr_stream_close(s);
    mri_encoder_close(e);
}

static void
features_are_the_networks(void **state)
{
    bed b = make_bed();
    float want[SAMPLES * DIM];
    mri_features *f = make(&b);
    const mri_feature_table *t = mri_features_table(f);

    (void)state;
    assert_int_equal(t->rows, SAMPLES);
    assert_int_equal(t->dim, DIM);
    run_by_hand(&b, 5, &mri_backend_ref, want);
    assert_memory_equal(t->features, want, sizeof want);
    mri_features_close(f);
    free_bed(&b);
}

static void
threads_and_batches_change_nothing(void **state)
{
    bed b = make_bed();
    mri_features *a = make(&b);

    (void)state;
    for (unsigned i = 1; i < 4; i++) {
        const mri_feature_table *x = mri_features_table(a), *y;
        mri_features *f;

        b.o.threads = i;
        b.o.batch = i == 1 ? 1 : i == 2 ? 7 : 100;
        f = make(&b);
        y = mri_features_table(f);
        assert_memory_equal(x->features, y->features, SAMPLES * DIM * 4);
        assert_memory_equal(x->uid, y->uid, SAMPLES * 16);
        assert_memory_equal(x->key_at, y->key_at, (SAMPLES + 1) * 8);
        assert_memory_equal(x->keys, y->keys, x->key_at[SAMPLES]);
        mri_features_close(f);
    }
    mri_features_close(a);
    free_bed(&b);
}

/* The fast back end: threads change nothing there either, and it is near the
 * reference. */
static void
the_fast_back_end_agrees(void **state)
{
    bed b = make_bed();
    float want[SAMPLES * DIM];
    mri_features *first = NULL;
    mr_diag d = {0};

    (void)state;
    if (mri_backend_find(&b.o.backend, "cpu", NULL, &d) != MR_OK) {
        free_bed(&b);
        print_message("skipped: no back end cpu\n");
        skip();
    }
    run_by_hand(&b, 5, &mri_backend_ref, want);
    for (unsigned threads = 1; threads < 5; threads++) {
        mri_features *f;
        const float *x;

        b.o.threads = threads;
        f = make(&b);
        x = mri_features_table(f)->features;
        for (size_t i = 0; i < SAMPLES * DIM; i++) {
            assert_true(fabsf(x[i] - want[i]) < 2e-5f);
        }
        if (first == NULL) {
            first = f;
            continue;
        }
        assert_memory_equal(x, mri_features_table(first)->features,
                            SAMPLES * DIM * 4);
        mri_features_close(f);
    }
    mri_features_close(first);
    free_bed(&b);
}

static void
random_weights_are_those_that_are_drawn(void **state)
{
    bed b = make_bed();
    float want[SAMPLES * DIM];
    const mri_feature_table *t;
    mri_features *f;

    (void)state;
    b.o.weights = "random:18446744073709551615";
    b.o.like = b.weights;
    f = make(&b);
    t = mri_features_table(f);
    run_by_hand(&b, UINT64_MAX, &mri_backend_ref, want);
    assert_memory_equal(t->features, want, sizeof want);
    assert_true(t->from.random);
    assert_true(t->from.seed == UINT64_MAX);
    assert_int_equal(t->from.step, 0);
    mri_features_close(f);
    free_bed(&b);
}

/* What the table says was done, done again, gives the table. */
static void
the_pipeline_in_force_gives_the_same(void **state)
{
    bed b = make_bed();
    mri_features *a = make(&b), *f;

    (void)state;
    b.o.pipeline = mri_features_table(a)->from.pipeline;
    f = make(&b);
    assert_string_equal(mri_features_table(f)->from.pipeline, b.o.pipeline);
    assert_memory_equal(mri_features_table(f)->features,
                        mri_features_table(a)->features, SAMPLES * DIM * 4);
    mri_features_close(f);
    b.o.pipeline = "[minmax: {per: sample}, resize: {size: 16}]";
    f = make(&b);
    assert_true(memcmp(mri_features_table(f)->features,
                       mri_features_table(a)->features,
                       SAMPLES * DIM * 4) != 0);
    mri_features_close(f);
    mri_features_close(a);
    free_bed(&b);
}

/* -------------------------------------------------------------------- rows */

static void
assert_row(const mri_feature_table *t, const mr_dataset *ds, uint64_t row)
{
    uint64_t len = t->key_at[row + 1] - t->key_at[row];
    char key[32] = "", group[32];
    mr_sample s;
    unsigned i;
    mr_diag d = {0};

    assert_ok(mr_dataset_sample(ds, row, &s, &d), &d);
    assert_memory_equal(t->uid + 16 * row, s.uid, 16);
    assert_true(len < sizeof key);
    memcpy(key, t->keys + t->key_at[row], len);
    assert_int_equal(sscanf(key, "sample%u", &i), 1);
    assert_int_equal(t->label[row], i % 3);
    (void)snprintf(group, sizeof group, "donor%u", i / 4);
    assert_string_equal(mri_group_name_of(t, t->group[row]), group);
}

static void
each_row_is_beside_its_key_label_group_and_split(void **state)
{
    bed b = make_bed();
    mri_features *f = make(&b);
    const mri_feature_table *t = mri_features_table(f);
    uint64_t in_split[3] = {0};
    mr_dataset *ds;
    mr_diag d = {0};

    (void)state;
    assert_ok(mr_dataset_open(&ds, b.set.dir, &d), &d);
    assert_int_equal(t->class_count, 3);
    assert_string_equal(t->classes[2], "star");
    assert_int_equal(t->split_count, 3);
    assert_int_equal(t->group_count, (SAMPLES + 3) / 4);
    for (uint64_t i = 0; i < t->rows; i++) {
        assert_row(t, ds, i);
        assert_true(t->split[i] < 3);
        in_split[t->split[i]]++;
        /* whole groups */
        for (uint64_t k = 0; k < i; k++) {
            assert_true(t->group[i] != t->group[k] ||
                        t->split[i] == t->split[k]);
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        assert_string_equal(t->splits[i], mr_dataset_split_name(ds, i));
        assert_int_equal(in_split[i], mr_dataset_split_count(ds, i));
    }
    mr_dataset_close(ds);
    mri_features_close(f);
    free_bed(&b);
}

static void
a_split_alone_has_the_same_rows(void **state)
{
    bed b = make_bed();
    mri_features *all = make(&b), *f;
    const mri_feature_table *a = mri_features_table(all), *t;
    uint64_t row = 0;

    (void)state;
    b.o.split = "train";
    f = make(&b);
    t = mri_features_table(f);
    assert_string_equal(t->from.split, "train");
    assert_true(t->rows > 0 && t->rows < SAMPLES);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        if (a->split[i] != 0) {
            continue;
        }
        assert_int_equal(t->split[row], 0);
        assert_memory_equal(t->uid + row * 16, a->uid + i * 16, 16);
        assert_memory_equal(t->features + row * DIM, a->features + i * DIM,
                            DIM * 4);
        row++;
    }
    assert_int_equal(row, t->rows);
    mri_features_close(f);
    mri_features_close(all);
    free_bed(&b);
}

static void
a_table_knows_where_it_comes_from(void **state)
{
    bed b = make_bed();
    mri_features *f = make(&b), *back;
    const mri_feature_origin *o = &mri_features_table(f)->from;
    const char *path = scratch_path(b.dir, "f.mrf");
    mr_dataset *ds;
    mri_weights *w;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_weights_open(&w, b.weights, &d), &d);
    assert_ok(mr_dataset_open(&ds, b.set.dir, &d), &d);
    assert_false(o->random);
    assert_string_equal(o->hash, mri_weights_hash(w));
    assert_string_equal(o->arch, "vit");
    assert_string_equal(o->branch, "teacher");
    assert_int_equal(o->seed, 7);
    assert_int_equal(o->step, 40);
    assert_int_equal(o->generation, 1);
    assert_memory_equal(o->content_id, mr_dataset_content_id(ds), 16);
    /* and so does its file */
    assert_ok(mri_features_write(path, mri_features_table(f), &d), &d);
    assert_ok(mri_features_open(&back, path, &d), &d);
    assert_string_equal(mri_features_table(back)->from.pipeline, o->pipeline);
    assert_memory_equal(mri_features_table(back)->features,
                        mri_features_table(f)->features, SAMPLES * DIM * 4);
    mri_features_close(back);
    mr_dataset_close(ds);
    mri_weights_close(w);
    mri_features_close(f);
    free_bed(&b);
}

/* --------------------------------------------------------------- refusals */

static void
weights_that_are_not_clear_are_refused(void **state)
{
    bed b = make_bed();

    (void)state;
    b.o.like = b.weights;
    assert_refuses(&b, MR_EARG, MRI_E_EVAL_WEIGHTS, "says itself");
    b.o.weights = "random:-1";
    assert_refuses(&b, MR_EARG, MRI_E_EVAL_WEIGHTS, "whole number");
    b.o.weights = "random:1";
    b.o.like = NULL;
    assert_refuses(&b, MR_EARG, MRI_E_EVAL_WEIGHTS, "which network");
    b.o.weights = NULL;
    b.o.branch = "pupil";
    assert_refuses(&b, MR_EARG, MRI_E_EVAL_WEIGHTS, "'pupil'");
    b.o.branch = "student"; /* this file has a teacher alone */
    assert_refuses(&b, MR_ECORRUPT, MRI_E_WEIGHTS_TENSOR, "student.");
    b.o.branch = "teacher";
    b.o.source = "tcp://127.0.0.1:5570";
    assert_refuses(&b, MR_EARG, MRI_E_EVAL_SOURCE, "server");
    free_bed(&b);
}

static void
pictures_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *pipeline, *says;
    } cases[] = {
        {"[minmax]", "square"}, /* 40 by 44 */
        {"[minmax, resize: {size: 18}]", "patches of 4"},
        {"[minmax, select: {channels: [GFP]}, resize: {size: 16}]",
         "have 1 channels, the network takes 5"},
        {"[minmax, select: {channels: [DAPI, RFP, GFP, ER, BF]}, "
         "resize: {size: 16}]",
         "channel 1 is 'RFP', the network was trained with 'GFP'"},
        {"[resize: {size: 16}, to: {dtype: u8, scale: 1}]", "f32"},
    };
    bed b = make_bed();

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(cases); i++) {
        b.o.pipeline = cases[i].pipeline;
        assert_refuses(&b, MR_EARG, MRI_E_EVAL_FIT, cases[i].says);
    }
    free_bed(&b);
}

static void
a_training_that_says_nothing_needs_a_pipeline(void **state)
{
    bed b = make_bed();
    mri_weights_info info = network;
    mri_features *f;

    (void)state;
    info.pipeline = NULL;
    info.channels = NULL;
    write_weights(b.weights, &info, 5, false);
    assert_refuses(&b, MR_EARG, MRI_E_EVAL_PIPELINE, "was shown");
    b.o.pipeline = SHOWN;
    f = make(&b);
    mri_features_close(f);
    free_bed(&b);
}

static void
a_network_that_is_broken_is_told_by_sample(void **state)
{
    bed b = make_bed();

    (void)state;
    write_weights(b.weights, &network, 5, true);
    assert_refuses(&b, MR_ECORRUPT, MRI_E_FEATURE_NAN, "row 0, sample");
    free_bed(&b);
}

static bool
after_two(void *user)
{
    return ++*(int *)user > 2;
}

static void
it_can_be_stopped(void **state)
{
    bed b = make_bed();
    int asked = 0;
    const mr_watch watch = {&asked, NULL, after_two};

    (void)state;
    b.o.watch = &watch;
    b.o.batch = 1;
    assert_refuses(&b, MR_ESTOP, MRI_E_STOPPED, "stop");
    free_bed(&b);
}

/* ---------------------------------------------------------------- pipeline */

static void
assert_shown(const char *training, uint32_t side, const char *want)
{
    char *got;
    mr_diag d = {0};

    assert_ok(mri_eval_pipeline(&got, training, side, &d), &d);
    assert_string_equal(got, want);
    mri_free(got);
}

static void
what_is_random_is_left_out_of_a_pipeline(void **state)
{
    char *got;
    mr_diag d = {0};

    (void)state;
    assert_shown("[]", 8, "[]");
    assert_shown("[flip, brightness, blur, solarize]", 8, "[]");
    assert_shown("[select: {channels: [DAPI]}, multi_crop: {global: {count: 2, "
                 "size: 32}, antialias: false}, flip]",
                 48,
                 "[{\"select@1\":{\"channels\":[\"DAPI\"]}},{\"resize\":{"
                 "\"size\":48,\"filter\":\"bilinear\",\"antialias\":false}}]");
    assert_shown("[random_resized_crop: {size: 32, antialias: true}]", 32,
                 "[{\"resize\":{\"size\":32,\"filter\":\"bilinear\","
                 "\"antialias\":true}}]");
    assert_fails(mri_eval_pipeline(&got, "[nonsense]", 8, &d), MR_EARG);
    assert_null(got);
}

static void
a_random_cut_is_made_at_the_center(void **state)
{
    char *got;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_eval_pipeline(&got, "[crop: {size: 24, at: random}]", 8, &d),
              &d);
    assert_non_null(strstr(got, "\"crop@1\""));
    assert_non_null(strstr(got, "\"at\":\"center\""));
    assert_null(strstr(got, "random"));
    mri_free(got);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_the_networks),
        cmocka_unit_test(threads_and_batches_change_nothing),
        cmocka_unit_test(the_fast_back_end_agrees),
        cmocka_unit_test(random_weights_are_those_that_are_drawn),
        cmocka_unit_test(the_pipeline_in_force_gives_the_same),
        cmocka_unit_test(each_row_is_beside_its_key_label_group_and_split),
        cmocka_unit_test(a_split_alone_has_the_same_rows),
        cmocka_unit_test(a_table_knows_where_it_comes_from),
        cmocka_unit_test(weights_that_are_not_clear_are_refused),
        cmocka_unit_test(pictures_that_do_not_fit_are_refused),
        cmocka_unit_test(a_training_that_says_nothing_needs_a_pipeline),
        cmocka_unit_test(a_network_that_is_broken_is_told_by_sample),
        cmocka_unit_test(it_can_be_stopped),
        cmocka_unit_test(what_is_random_is_left_out_of_a_pipeline),
        cmocka_unit_test(a_random_cut_is_made_at_the_center),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
