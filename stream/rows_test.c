/* SPDX-License-Identifier: Apache-2.0 */
#include "rows_types.h"

#include <mri/alloc.h>
#include <mri/cpu.h>

#include "test_set.h"

#include <math.h>

static set cells, jpegs, volumes, floats;
static mr_dataset *ds_of[4];

static const set *const sets[] = {&cells, &jpegs, &volumes, &floats};

static mri_rows *
open_rows(const set *s, const char *pipeline, mr_diag *d)
{
    mri_rows_options o = {
        .ds = ds_of[s->kind], .split = "all", .pipeline = pipeline};
    mri_rows *r = NULL;

    if (mri_rows_open(&r, &o, d) != MR_OK) {
        return NULL;
    }
    return r;
}

/* Memory for one row of every tensor. */
typedef struct one_row {
    void *to[MRI_ROWS_TENSORS];
    size_t count;
} one_row;

static one_row
row_memory(const mri_rows *r)
{
    const mri_rows_facts *f = mri_rows_facts_of(r);
    one_row m = {.count = f->tensor_count};

    for (size_t i = 0; i < f->tensor_count; i++) {
        m.to[i] = malloc(f->tensors[i].bytes);
        assert_non_null(m.to[i]);
        memset(m.to[i], 0xEE, f->tensors[i].bytes);
    }
    return m;
}

static void
free_row(one_row *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->to[i]);
    }
}

static size_t
tensor_named(const mri_rows *r, const char *name)
{
    const mri_rows_facts *f = mri_rows_facts_of(r);

    for (size_t i = 0; i < f->tensor_count; i++) {
        if (strcmp(f->tensors[i].name, name) == 0) {
            return i;
        }
    }
    fail_msg("no tensor %s", name);
    return 0;
}

static void
shapes_are_known_when_it_is_open(void **state)
{
    mr_diag d = {0};
    mri_rows *r = open_rows(&cells,
                            "[select: {channels: [RFP, DAPI]}, multi_crop: "
                            "{global: {size: 32}, local: {count: 3, size: "
                            "[16, 20]}}]",
                            &d);
    const mri_rows_facts *f = mri_rows_facts_of(r);
    const uint64_t global[] = {2, 2, 32, 32}, local[] = {3, 2, 16, 20};

    (void)state;
    assert_int_equal(f->tensor_count, 5);
    assert_string_equal(f->tensors[0].name, "global");
    assert_string_equal(f->tensors[1].name, "label");
    assert_string_equal(f->tensors[2].name, "local");
    assert_string_equal(f->tensors[3].name, "uid");
    assert_string_equal(f->tensors[4].name, "valid");
    assert_int_equal(f->tensors[0].rank, 4);
    assert_memory_equal(f->tensors[0].shape, global, sizeof global);
    assert_memory_equal(f->tensors[2].shape, local, sizeof local);
    assert_int_equal(f->tensors[0].dtype, MR_F32);
    assert_int_equal(f->tensors[1].dtype, MR_I32);
    /* names have become indices */
    assert_non_null(strstr(f->open, "{\"select@1\":{\"channels\":[2,0]}}"));
    mri_rows_close(r);
    r = open_rows(&jpegs, "[crop: {size: 64}, to: {dtype: u8}]", &d);
    f = mri_rows_facts_of(r);
    assert_string_equal(f->tensors[0].name, "image");
    assert_int_equal(f->tensors[0].bytes, 3 * 64 * 64);
    mri_rows_close(r);
}

static const struct {
    set_kind kind;
    const char *pipeline;
    mri_code code;
    const char *says;
} refused[] = {
    {SET_JPEGS, NULL, MRI_E_STREAM_SHAPES, "a pipeline is needed"},
    {SET_JPEGS, "[flip]", MRI_E_STREAM_SHAPES, "of one is [3, "},
    {SET_JPEGS, "[crop: {size: 100}]", MRI_E_PIPE_FIT, "does not fit"},
    {SET_CELLS, "[select: {channels: [DAPY]}]", MRI_E_PIPE_CHANNEL,
     "DAPI, GFP, RFP, ER, BF"},
    {SET_CELLS, "[select: {channels: [5]}]", MRI_E_PIPE_CHANNEL,
     "no channel 5; there are 5"},
    {SET_CELLS, "[normalize: {mean: [1, 2], std: 1}]", MRI_E_PIPE_FIT,
     "mean has 2 numbers for 5 channels"},
    {SET_CELLS, "[minmax: {per: sample}, normalize: {from: dataset}]",
     MRI_E_PIPE_STATISTICS, "minmax per sample"},
    {SET_CELLS, "[crop3d: {size: 8}]", MRI_E_PIPE_FIT, "use crop"},
    {SET_VOLUMES, "[random_resized_crop: {size: 8}]", MRI_E_PIPE_FIT,
     "use crop3d"},
    {SET_VOLUMES, "[blur]", MRI_E_PIPE_FIT, "use crop3d"},
    {SET_CELLS, "[to: {dtype: u8}, flip]", MRI_E_PIPE_FIT, "last thing"},
    {SET_CELLS, "[flpi]", MRI_E_PIPE_OP, "did you mean 'flip'"},
};

static void
what_cannot_work_is_refused_when_it_is_opened(void **state)
{
    (void)state;
    for (size_t i = 0; i < MRI_COUNT(refused); i++) {
        mr_diag d = {0};
        mri_rows *r = open_rows(sets[refused[i].kind], refused[i].pipeline, &d);

        if (r != NULL || d.code != refused[i].code ||
            strstr(d.text, refused[i].says) == NULL || d.path[0] == '\0') {
            fail_msg("%s: E%04u %s: %s", refused[i].pipeline, d.code, d.path,
                     d.text);
        }
    }
}

static void
without_a_pipeline_fields_are_as_they_are_stored(void **state)
{
    const set *const which[] = {&cells, &volumes, &floats};

    (void)state;
    for (int k = 0; k < 3; k++) {
        mr_diag d = {0};
        mri_rows *r = open_rows(which[k], NULL, &d);
        mri_rows_worker *w = mri_rows_worker_open();
        one_row m = row_memory(r);
        size_t image = tensor_named(r, "image");
        uint64_t bytes = mri_rows_facts_of(r)->tensors[image].bytes;

        for (uint64_t i = 0; i < which[k]->count; i++) {
            mri_row_name name = {1, 0, i};
            uint8_t uid[16];
            void *want = malloc(bytes);
            uint64_t rank;
            mr_field f;
            mr_tensor t;
            mr_sample s;

            assert_ok(mri_rows_compute(r, w, &name, m.to, 0, uid, &d), &d);
            assert_ok(mr_dataset_find(ds_of[which[k]->kind], uid, &rank, &d),
                      &d);
            assert_ok(mr_dataset_field(ds_of[which[k]->kind], rank, 0, &f, &d),
                      &d);
            t = mr_tensor_of(want, f.dtype, f.rank, f.shape);
            assert_ok(mr_dataset_read(ds_of[which[k]->kind], rank, 0, NULL, &t,
                                      NULL, &d),
                      &d);
            assert_memory_equal(m.to[image], want, bytes);
            assert_ok(mr_dataset_sample(ds_of[which[k]->kind], rank, &s, &d),
                      &d);
            assert_int_equal(*(int32_t *)m.to[tensor_named(r, "label")],
                             s.class_index);
            assert_memory_equal(m.to[tensor_named(r, "uid")], uid, 16);
            free(want);
        }
        free_row(&m);
        mri_rows_worker_close(w);
        mri_rows_close(r);
    }
}

/* 0: as the acts allow. */
static unsigned reference_shrink;

/* What the engine reads, decodes and fuses, done again act by act on whole
 * decoded samples. */
static void
reference_row(const mri_rows *r, const mri_row_name *name, uint32_t view,
              void *to, mr_dtype dtype)
{
    static mri_order order;
    static mri_loader loader;
    static mri_act acts[MRI_MAX_VIEWS][MRI_ACTS_MAX];
    static float pool[MRI_MAX_VIEWS * 64 * 8];
    mri_exec_out out = {to, dtype};
    unsigned n[MRI_MAX_VIEWS], shrink = 8;
    uint32_t views =
        r->pipeline.multi >= 0 ? r->pipeline.globals + r->pipeline.locals : 1;
    uint64_t rank, count = r->facts.samples;
    float low[8], high[8];
    mr_sample s;
    mr_field f;
    mri_axes axes;
    mri_form form;
    mri_pixels from;
    mri_load_want want = {.ds = r->ds, .f = &f, .axes = &axes};
    bool known = true;
    mr_diag d = {0};

    if (loader.scratch == NULL) {
        assert_true(mri_loader_init(&loader));
    }
    mri_order_init(&order, count, name->seed, name->epoch, "all", false);
    assert_ok(mr_dataset_split_at(r->ds, MR_ALL_SAMPLES,
                                  mri_order_at(&order, name->position % count),
                                  &rank, &d),
              &d);
    assert_ok(mr_dataset_sample(r->ds, rank, &s, &d), &d);
    assert_ok(mr_dataset_field(r->ds, rank, 0, &f, &d), &d);
    assert_ok(mri_axes_of(&axes, &f, &d), &d);
    form = mri_form_of(&axes, &f);
    for (uint32_t c = 0; c < form.channels; c++) {
        mr_moments m;

        assert_ok(mr_dataset_moments(r->ds, rank, 0, c, &m, &d), &d);
        low[c] = (float)m.min;
        high[c] = (float)m.max;
        known = known && m.count == form.size[0] * form.size[1] * form.size[2];
    }
    for (uint32_t v = 0; v < views; v++) {
        mri_decider how = {.key = mri_draw_key(name->seed, name->epoch, s.uid,
                                               name->position / count),
                           .channels = form.channels,
                           .size = {form.size[0], form.size[1], form.size[2]},
                           .volume = form.volume,
                           .low = known ? low : NULL,
                           .high = known ? high : NULL,
                           .acts = acts[v],
                           .pool = pool + v * 64 * 8};

        for (unsigned i = 0; i < r->pipeline.count; i++) {
            how.view = (int)i >= r->pipeline.multi ? v : 0;
            r->pipeline.ops[i].def->decide(&r->pipeline.ops[i], &how);
        }
        n[v] = how.count;
        if (mri_exec_shrink(acts[v], n[v]) < shrink) {
            shrink = mri_exec_shrink(acts[v], n[v]);
        }
    }
    want.rank = rank;
    shrink = reference_shrink != 0 ? reference_shrink : shrink;
    want.shrink = f.encoding == MR_ENC_JPEG ? shrink : 1;
    for (unsigned k = 0; k < 3; k++) {
        want.need[k] = mri_shrunk(form.size[k], k > 0 ? want.shrink : 1);
    }
    want.channel_end = form.channels;
    assert_ok(mri_loader_read(&loader, &want, &from, &d), &d);
    assert_ok(mri_exec_reference(&from, acts[view], n[view], &out, &d), &d);
}

static const struct {
    set_kind kind;
    const char *pipeline;
} pipelines[] = {
    {SET_CELLS, "[select: {channels: [3, 1]}, minmax, multi_crop: {global: "
                "{size: 32}, local: {count: 3, size: 16}}, flip: {vertical: "
                "0.5}, brightness: {p: 0.8}, blur: {p: {global: [1, 0.1], "
                "local: 0.5}}, solarize: {p: {global: [0, 0.2], local: 0}}, "
                "normalize: {from: dataset}]"},
    {SET_CELLS, "[minmax: {per: sample}, crop: {size: 20, at: random}, flip, "
                "to: {dtype: u8, scale: 255}]"},
    {SET_CELLS, "[flip, multi_crop: {global: {size: 16}, local: {count: 2, "
                "size: 9}}]"},
    {SET_CELLS, "[crop: {size: 30}, minmax, multi_crop: {global: {size: 16}, "
                "local: {count: 0}}]"},
    {SET_CELLS, "[]"},
    {SET_JPEGS, "[random_resized_crop: {size: 56}, flip, normalize: {mean: "
                "[120, 110, 100], std: [60, 61, 62]}]"},
    {SET_JPEGS, "[random_resized_crop: {size: 12, scale: [0.3, 1]}, flip, to: "
                "{dtype: f32, scale: 1/255}]"},
    {SET_JPEGS, "[minmax, random_resized_crop: {size: 11, scale: [0.3, 1]}]"},
    {SET_JPEGS, "[multi_crop: {global: {size: 24, scale: [0.5, 1]}, local: "
                "{count: 4, size: 10}}, flip, blur: {p: 0.5}]"},
    {SET_JPEGS, "[resize: {size: 15}, to: {dtype: u16, scale: 257}]"},
    {SET_JPEGS, "[crop: {size: [50, 60], at: random}, flip: {vertical: 0.5}]"},
    {SET_VOLUMES, "[crop3d: {size: [12, 16, 20]}, flip: {horizontal: 0.5, "
                  "vertical: 0.5, depth: 0.5}, normalize: {from: dataset}]"},
    {SET_VOLUMES, "[select: {channels: [1]}, minmax, crop3d: {size: [24, 16, "
                  "40], pad: -1}]"},
    {SET_VOLUMES, "[crop3d: {size: 18, at: center}, minmax]"},
    {SET_FLOATS, "[minmax, random_resized_crop: {size: 12}]"},
    {SET_FLOATS, "[normalize: {from: dataset}]"},
};

static void
rows_have_the_bits_of_the_reference(void **state)
{
    mri_rows_worker *w = mri_rows_worker_open();

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(pipelines); k++) {
        mr_diag d = {0};
        mri_rows *r =
            open_rows(sets[pipelines[k].kind], pipelines[k].pipeline, &d);
        one_row m;

        if (r == NULL) {
            fail_msg("%s: %s", pipelines[k].pipeline, d.text);
        }
        m = row_memory(r);
        for (uint64_t i = 0; i < 12; i++) {
            mri_row_name name = {7, 2, i};
            uint8_t uid[16];

            mri_cpu_force((int)(i % 4));
            assert_ok(mri_rows_compute(r, w, &name, m.to, 0, uid, &d), &d);
            for (size_t t = 0; t < r->facts.tensor_count; t++) {
                const mr_stream_tensor *is = &r->facts.tensors[t];
                uint32_t views =
                    r->roles[t] == MRI_ROLE_IMAGE ? 1 : (uint32_t)is->shape[0];
                uint8_t *want;

                if (r->roles[t] > MRI_ROLE_LOCAL) {
                    continue;
                }
                want = malloc(is->bytes);
                for (uint32_t v = 0; v < views; v++) {
                    uint32_t first =
                        r->roles[t] == MRI_ROLE_LOCAL ? r->pipeline.globals : 0;

                    reference_row(r, &name, first + v,
                                  want + v * (is->bytes / views), is->dtype);
                }
                if (memcmp(want, m.to[t], is->bytes) != 0) {
                    fail_msg("%s: %s of row %u differs", pipelines[k].pipeline,
                             is->name, (unsigned)i);
                }
                free(want);
            }
        }
        mri_cpu_force(-1);
        free_row(&m);
        mri_rows_close(r);
    }
    mri_rows_worker_close(w);
}

/* Stored NaNs count as 0; statistics leave them out. */
static void
nothing_that_is_not_finite_comes_out(void **state)
{
    mr_diag d = {0};
    mri_rows *r = open_rows(&floats, "[minmax]", &d);
    mri_rows_worker *w = mri_rows_worker_open();
    one_row m = row_memory(r);
    const float *image = m.to[tensor_named(r, "image")];

    (void)state;
    for (uint64_t i = 0; i < floats.count; i++) {
        mri_row_name name = {1, 0, i};
        uint8_t uid[16];

        assert_ok(mri_rows_compute(r, w, &name, m.to, 0, uid, &d), &d);
        for (int k = 0; k < 3 * 24 * 28; k++) {
            assert_true(image[k] >= 0 && image[k] <= 1);
        }
    }
    free_row(&m);
    mri_rows_worker_close(w);
    mri_rows_close(r);
}

/* Also over the end of a window, of the epoch, and out of turn. */
static void
rows_that_were_foreseen_are_the_same_rows(void **state)
{
    mr_diag d = {0};
    mri_rows *r = open_rows(&floats, "[minmax]", &d);
    mri_rows_worker *plain = mri_rows_worker_open();
    mri_rows_worker *ahead = mri_rows_worker_open();
    uint64_t samples = r->facts.samples;

    (void)state;
    for (uint64_t from = 0; from < 2 * samples; from += samples - 1) {
        mri_row_name first = {3, 1, from};

        mri_rows_foresee(r, ahead, &first, 3 * MRI_AHEAD);
        for (uint64_t i = 0; i < 3 * MRI_AHEAD + 5; i++) {
            uint64_t place = i % 50 == 49 ? i / 2 : i;
            mri_row_name name = {3, i % 40 == 39 ? 2 : 1, from + place};
            uint64_t want, got;

            r->facts.tail = MR_TAIL_WRAP; /* or a position has no sample */
            assert_ok(mri_rows_rank(r, plain, &name, &want, &d), &d);
            assert_ok(mri_rows_rank(r, ahead, &name, &got, &d), &d);
            assert_int_equal(got, want);
        }
        assert_int_equal(plain->ahead.count, 0);
        assert_true(from != 0 || ahead->ahead.count > 0);
    }
    mri_rows_worker_close(plain);
    mri_rows_worker_close(ahead);
    mri_rows_close(r);
}

/* A scaled decode against the full one, both resampled with antialias. */
static void
a_scaled_decode_is_as_good_as_a_full_one(void **state)
{
    mr_diag d = {0};
    mri_rows *r = open_rows(
        &jpegs, "[random_resized_crop: {size: 16, scale: [0.5, 1]}]", &d);
    mri_rows_worker *w = mri_rows_worker_open();
    one_row m = row_memory(r);
    const float *image = m.to[tensor_named(r, "image")];
    double sum = 0;
    unsigned n = 0;

    (void)state;
    for (uint64_t i = 0; i < jpegs.count; i++) {
        mri_row_name name = {1, 0, i};
        static float want[3 * 16 * 16];
        uint8_t uid[16];

        assert_ok(mri_rows_compute(r, w, &name, m.to, 0, uid, &d), &d);
        reference_shrink = 1;
        reference_row(r, &name, 0, want, MR_F32);
        reference_shrink = 0;
        for (int k = 0; k < 3 * 16 * 16; k++) {
            double e = (double)image[k] - (double)want[k];

            sum += e * e;
            n++;
        }
    }
    assert_true(sum / n > 0);  /* it was scaled */
    assert_true(sum / n < 33); /* 33 dB, of hard edges and noise */
    free_row(&m);
    mri_rows_worker_close(w);
    mri_rows_close(r);
}

static void
the_fingerprint_is_the_same_at_every_level(void **state)
{
    uint8_t first[16], other[16];
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_decoder_fingerprint(first, &d), &d);
    for (int level = 0; level < 4; level++) {
        mri_cpu_force(level);
        assert_ok(mri_decoder_fingerprint(other, &d), &d);
        assert_memory_equal(first, other, 16);
    }
    mri_cpu_force(-1);
}

static void
every_failed_allocation_is_an_error(void **state)
{
    mr_diag d = {0};

    (void)state;
    for (int64_t n = 0; n < 400; n++) {
        mri_rows_options o = {.ds = ds_of[SET_CELLS],
                              .split = "all",
                              .pipeline = pipelines[0].pipeline};
        mri_rows *r;
        mr_err err;

        (void)mri_alloc_fail_at(n);
        err = mri_rows_open(&r, &o, &d);
        (void)mri_alloc_fail_at(-1);
        if (err != MR_OK && err != MR_ENOMEM) {
            fail_msg("allocation %lld: %s", (long long)n, d.text);
        }
        mri_rows_close(r);
        if (err == MR_OK) {
            return;
        }
    }
    fail_msg("it never opened");
}

/* The n-th allocation of a new worker's first row fails, for all n. */
static void
a_row_without_memory_is_an_error_and_no_more(void **state)
{
    const size_t which[] = {0, 1, 5, 11}; /* of pipelines */

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(which); k++) {
        mr_diag d = {0};
        mri_rows *r = open_rows(sets[pipelines[which[k]].kind],
                                pipelines[which[k]].pipeline, &d);
        one_row m = row_memory(r);
        mr_err err = MR_ENOMEM;

        for (int64_t n = 0; n < 200 && err != MR_OK; n++) {
            mri_rows_worker *w = mri_rows_worker_open();
            mri_row_name name = {7, 2, 3};
            uint8_t uid[16];

            assert_non_null(w);
            (void)mri_alloc_fail_at(n);
            err = mri_rows_compute(r, w, &name, m.to, 0, uid, &d);
            (void)mri_alloc_fail_at(-1);
            assert_true(err == MR_OK || err == MR_ENOMEM);
            assert_ok(mri_rows_compute(r, w, &name, m.to, 0, uid, &d), &d);
            mri_rows_worker_close(w);
        }
        assert_int_equal(err, MR_OK);
        free_row(&m);
        mri_rows_close(r);
    }
}

static int
setup(void **state)
{
    mr_diag d = {0};

    (void)state;
    set_make(&cells, SET_CELLS, 24);
    set_make(&jpegs, SET_JPEGS, 24);
    set_make(&volumes, SET_VOLUMES, 12);
    set_make(&floats, SET_FLOATS, 12);
    for (int i = 0; i < 4; i++) {
        assert_ok(mr_dataset_open(&ds_of[i], sets[i]->dir, &d), &d);
    }
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        mr_dataset_close(ds_of[i]);
        scratch_remove(sets[i]->dir);
    }
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_known_when_it_is_open),
        cmocka_unit_test(what_cannot_work_is_refused_when_it_is_opened),
        cmocka_unit_test(without_a_pipeline_fields_are_as_they_are_stored),
        cmocka_unit_test(rows_have_the_bits_of_the_reference),
        cmocka_unit_test(nothing_that_is_not_finite_comes_out),
        cmocka_unit_test(rows_that_were_foreseen_are_the_same_rows),
        cmocka_unit_test(a_scaled_decode_is_as_good_as_a_full_one),
        cmocka_unit_test(the_fingerprint_is_the_same_at_every_level),
        cmocka_unit_test(every_failed_allocation_is_an_error),
        cmocka_unit_test(a_row_without_memory_is_an_error_and_no_more),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
