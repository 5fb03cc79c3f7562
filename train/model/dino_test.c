/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/dino.h>

#include <mri/alloc.h>
#include <mri/rng.h>
#include <mri/safetensors.h>

#include <dino_file.h>
#include <math.h>
#include <mr_test.h>
#include <stdio.h>
#include <string.h>

/* Made by tests/parity/dino.py golden: PyTorch's numbers. */
#define GOLDEN MR_GOLDEN "/dino_tiny.safetensors"

/* ------------------------------------------------------------ the tables */

static uint64_t
count_params(const char *arch, uint32_t patch, uint32_t channels)
{
    mri_vit v = {.channels = channels};
    mri_vit_group group = {.count = 1, .views = 1, .side = 224};
    uint64_t sum = 0;
    mr_diag diag = {0};
    mri_graph *g;

    assert_true(mri_vit_named(&v, arch));
    v.patch = patch;
    assert_ok(mri_graph_open(&g, MR_F32, &diag), &diag);
    group.images = mri_g_input(g, "images", MR_F32, 4,
                               (const uint64_t[]){1, channels, 224, 224});
    (void)mri_vit_build(g, &v, &group, 1, (mri_val){0});
    assert_ok(mri_graph_end(g, &diag), &diag);
    for (size_t i = 0; i < mri_graph_params(g); i++) {
        sum += mri_graph_param(g, i).len;
    }
    mri_graph_close(g);
    return sum;
}

static void
networks_have_the_published_numbers_of_parameters(void **state)
{
    static const struct {
        const char *arch;
        uint64_t p16_3, p16_5, p16_1, p8_3;
    } table[] = {
        {"vit_tiny", 5524416, 5622720, 5426112, 5526720},
        {"vit_small", 21665664, 21862272, 21469056, 21670272},
        {"vit_base", 85798656, 86191872, 85405440, 85807872},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(table); i++) {
        const char *arch = table[i].arch;

        assert_int_equal(count_params(arch, 16, 3), table[i].p16_3);
        assert_int_equal(count_params(arch, 16, 5), table[i].p16_5);
        assert_int_equal(count_params(arch, 16, 1), table[i].p16_1);
        assert_int_equal(count_params(arch, 8, 3), table[i].p8_3);
    }
}

static void
the_head_has_the_published_number_of_parameters(void **state)
{
    mri_dino_config c = mri_dino_defaults();
    uint64_t head = 0;
    mr_diag diag = {0};
    mri_graph *g;

    (void)state;
    c.batch = 1;
    assert_ok(mri_graph_open(&g, MR_F32, &diag), &diag);
    assert_ok(mri_dino_build(g, &c, &diag), &diag);
    for (size_t i = 0; i < mri_graph_params(g); i++) {
        mri_slot slot = mri_graph_param(g, i);

        if (strncmp(slot.name, "student.head.", 13) == 0) {
            head += slot.len;
        }
    }
    assert_int_equal(head, 22352128);
    mri_graph_close(g);
}

/* The means over epochs that the published run wrote into its log. */
static void
schedules_give_the_published_means(void **state)
{
    static const struct {
        uint64_t epoch;
        double lr, decay;
    } golden[] = {
        {0, 2.33810845145761e-05, 0.0400289076996001},
        {50, 2.750537869625745e-04, 0},
        {100, 1.0466405267517298e-06, 0},
    };
    mri_dino_schedule s = mri_dino_schedule_defaults(374, 240);

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(golden); i++) {
        double lr = 0, decay = 0;

        for (uint64_t k = 0; k < 374; k++) {
            mri_dino_rates r = mri_dino_rates_at(&s, golden[i].epoch * 374 + k);

            lr += r.lr / 374;
            decay += r.decay / 374;
            assert_int_equal(r.freeze, golden[i].epoch == 0);
            assert_true(r.temperature == 0.04);
        }
        assert_true(fabs(lr - golden[i].lr) < 1e-13 * golden[i].lr);
        if (golden[i].decay != 0) {
            assert_true(fabs(decay - golden[i].decay) < 1e-13);
        }
    }
}

static void
schedules_begin_and_end_where_they_should(void **state)
{
    mri_dino_schedule s = mri_dino_schedule_defaults(10, 256);
    mri_dino_rates first, last;

    (void)state;
    s.temperature_begin = 0.01;
    s.temperature_warmup = 4;
    first = mri_dino_rates_at(&s, 0);
    last = mri_dino_rates_at(&s, s.steps - 1);
    assert_true(first.lr == 0 && fabs(first.decay - 0.04) < 1e-15);
    assert_true(fabs(first.momentum - 0.996) < 1e-15);
    assert_true(first.temperature == 0.01);
    assert_true(mri_dino_rates_at(&s, 99).lr == 5e-4); /* end of warm-up */
    assert_true(fabs(mri_dino_rates_at(&s, 29).temperature - 0.03) < 1e-12);
    assert_true(mri_dino_rates_at(&s, 30).temperature == 0.04);
    assert_true(last.lr > 1e-6 && last.lr < 1.01e-6);
    assert_true(last.momentum < 1 && last.momentum > 0.99999);
    assert_false(last.freeze);
}

/* A warm-up as long as the run, or none: no division by zero. */
static void
schedules_of_odd_lengths_are_finite(void **state)
{
    mri_dino_schedule s = mri_dino_schedule_defaults(1, 2);

    (void)state;
    s.steps = s.warmup = 3;
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(isfinite(mri_dino_rates_at(&s, i).lr));
    }
    s.warmup = 1;
    assert_true(mri_dino_rates_at(&s, 0).lr == 0);
    s.warmup = 0;
    assert_true(mri_dino_rates_at(&s, 0).lr == 5e-4 * 2 / 256);
    s.steps = s.warmup = 100;
    s.epoch = 0;
    assert_true(isfinite(mri_dino_rates_at(&s, 50).lr));
}

/* ----------------------------------------------------------- goldens */

static float *
uniform(uint64_t len, uint64_t key)
{
    float *v = mri_alloc((size_t)len, sizeof *v);
    mri_draws d = mri_draws_of(key, 0, 0);

    assert_non_null(v);
    for (uint64_t i = 0; i < len; i++) {
        v[i] = (float)mri_draw_range(&d, -2, 2);
    }
    return v;
}

static mri_dino *
open_golden(const mri_st *st, const char *backend)
{
    mri_dino_config c = dino_file_config(st);
    mri_crew_options o = {.threads = 2, .parts = 1};
    mr_diag diag = {0};
    mri_dino *d;

    if (mri_backend_find(&o.backend, backend, NULL, &diag) != MR_OK) {
        return NULL;
    }
    assert_ok(mri_dino_open(&d, &c, &o, &diag), &diag);
    for (size_t i = 0; i < mri_dino_tensors(d); i++) {
        mri_dino_tensor t = mri_dino_tensor_at(d, i);
        const char *dot = strchr(t.name, '.');
        char name[300];
        const mri_st_item *item;

        if (dot == NULL || t.name[0] == 'a') {
            continue; /* center and optimiser begin at 0 */
        }
        (void)snprintf(name, sizeof name, "student%s", dot);
        item = mri_st_find(st, name);
        assert_non_null(item);
        assert_int_equal(item->rank, t.rank);
        assert_memory_equal(item->shape, t.shape, t.rank * sizeof *t.shape);
        assert_ok(mri_dino_put(d, i, item->data, &diag), &diag);
    }
    return d;
}

/* Each gradient of the first step, in its norm. Those that are zero but for
 * rounding, as that of the keys' bias, are left out. */
static void
compare_gradients(const mri_dino *d, const mri_st *st)
{
    mr_diag diag = {0};

    for (size_t i = 0; i < mri_dino_trained(d); i++) {
        char name[300];
        const mri_st_item *item;
        const float *want;
        float *got;
        uint64_t len = 1;
        double off = 0, size = 0;

        (void)snprintf(name, sizeof name, "grad.%s",
                       strchr(mri_dino_trained_name(d, i), '.') + 1);
        item = mri_st_find(st, name);
        assert_non_null(item);
        for (uint32_t a = 0; a < item->rank; a++) {
            len *= item->shape[a];
        }
        got = mri_alloc((size_t)len, sizeof *got);
        want = item->data;
        assert_ok(mri_dino_grad(d, i, got, len * sizeof *got, &diag), &diag);
        for (uint64_t k = 0; k < len; k++) {
            off += pow((double)got[k] - (double)want[k], 2);
            size += pow((double)want[k], 2);
        }
        if (size > 1e-14 && !(sqrt(off) <= 1e-5 * sqrt(size))) {
            fail_msg("%s is off by %g of its norm", name, sqrt(off / size));
        }
        mri_free(got);
    }
}

static void
check_steps(const char *backend)
{
    mr_diag diag = {0};
    mri_st *st;
    mri_dino *d;
    mri_dino_schedule s;
    const double *want;
    uint64_t n;

    assert_ok(mri_st_open(&st, GOLDEN, &diag), &diag);
    d = open_golden(st, backend);
    if (d == NULL) {
        mri_st_close(st);
        skip();
    }
    s = dino_file_schedule(st);
    want = mri_st_find(st, "loss")->data;
    n = (uint64_t)dino_file_whole(st, "batch") *
        dino_file_whole(st, "channels");
    for (uint64_t i = 0; i < s.steps; i++) {
        uint64_t big = dino_file_whole(st, "global_size"),
                 small = dino_file_whole(st, "local_size");
        float *global = uniform(n * 2 * big * big, 1000 + 2 * i);
        float *local =
            uniform(n * dino_file_whole(st, "local_count") * small * small,
                    1001 + 2 * i);
        mri_dino_batch b = {
            .global = global, .local = local, .seed = 1, .step = i};
        mri_dino_rates r = mri_dino_rates_at(&s, i);
        double loss;

        assert_ok(mri_dino_step(d, &b, &r, &loss, NULL, &diag), &diag);
        if (!(fabs(loss - want[i]) <= 1e-5 * fabs(want[i]))) {
            fail_msg("step %d: %.9g, PyTorch %.9g", (int)i, loss, want[i]);
        }
        if (i == 0) {
            compare_gradients(d, st);
        }
        mri_free(global);
        mri_free(local);
    }
    mri_dino_close(d);
    mri_st_close(st);
}

static void
steps_of_the_reference_are_those_of_pytorch(void **state)
{
    (void)state;
    check_steps("ref");
}

static void
steps_of_the_cpu_are_those_of_pytorch(void **state)
{
    (void)state;
    check_steps("cpu");
}

static void
positions_are_resized_as_pytorch_does(void **state)
{
    mr_diag diag = {0};
    float *old = uniform(17 * 3, 77);
    mri_st *st;

    (void)state;
    assert_ok(mri_st_open(&st, GOLDEN, &diag), &diag);
    for (uint32_t to = 3; to <= 5; to += 2) {
        char name[32];
        const float *want;
        double m[26 * 17];

        (void)snprintf(name, sizeof name, "positions.%u", to);
        want = mri_st_find(st, name)->data;
        mri_vit_positions(m, 4, to);
        for (size_t i = 0; i < (1 + (size_t)to * to) * 3; i++) {
            double sum = 0;

            for (size_t k = 0; k < 17; k++) {
                sum += m[i / 3 * 17 + k] * (double)old[k * 3 + i % 3];
            }
            assert_true(fabs(sum - (double)want[i]) < 2e-6);
        }
    }
    mri_free(old);
    mri_st_close(st);
}

/* ---------------------------------------------------------------- errors */

static void
a_configuration_that_cannot_be_is_refused(void **state)
{
    mri_crew_options o = {.backend = &mri_backend_ref, .parts = 1};
    mri_dino_config good = mri_dino_defaults(), c;
    mr_diag diag = {0};
    mri_dino *d;

    (void)state;
    c = good;
    c.vit.heads = 5;
    assert_fails(mri_dino_open(&d, &c, &o, &diag), MR_EARG);
    assert_non_null(strstr(diag.text, "heads"));
    c = good;
    c.local_size = 90;
    assert_fails(mri_dino_open(&d, &c, &o, &diag), MR_EARG);
    assert_non_null(strstr(diag.text, "local_size"));
    c = good;
    c.vit.image = 100;
    assert_fails(mri_dino_open(&d, &c, &o, &diag), MR_EARG);
    c = good;
    c.batch = 0;
    assert_fails(mri_dino_open(&d, &c, &o, &diag), MR_EARG);
    c = good;
    c.out_dim = 0;
    assert_fails(mri_dino_open(&d, &c, &o, &diag), MR_EARG);
    o.parts = 7;
    assert_fails(mri_dino_open(&d, &good, &o, &diag), MR_EARG);
    assert_non_null(strstr(diag.text, "7"));
    assert_null(d);
}

/* Whatever allocation fails, nothing is left behind (under a sanitizer). */
static void
memory_that_runs_out_is_an_error(void **state)
{
    mri_crew_options o = {.backend = &mri_backend_ref, .parts = 2};
    mri_dino_config c = mri_dino_defaults();
    int64_t failed = 0;

    (void)state;
    c.vit = (mri_vit){.channels = 1,
                      .patch = 2,
                      .dim = 4,
                      .depth = 1,
                      .heads = 1,
                      .image = 4};
    c.head_hidden = c.bottleneck = c.out_dim = 3;
    c.local_size = 2;
    c.local_count = 1;
    c.batch = 2;
    for (int64_t n = 0;; n++) {
        mr_diag diag = {0};
        mri_dino *d;
        mr_err err;

        (void)mri_alloc_fail_at(n);
        err = mri_dino_open(&d, &c, &o, &diag);
        (void)mri_alloc_fail_at(-1);
        mri_dino_close(d);
        if (err == MR_OK) {
            break;
        }
        failed++;
        assert_int_equal(err, MR_ENOMEM);
    }
    assert_true(failed > 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_have_the_published_numbers_of_parameters),
        cmocka_unit_test(the_head_has_the_published_number_of_parameters),
        cmocka_unit_test(schedules_give_the_published_means),
        cmocka_unit_test(schedules_begin_and_end_where_they_should),
        cmocka_unit_test(schedules_of_odd_lengths_are_finite),
        cmocka_unit_test(steps_of_the_reference_are_those_of_pytorch),
        cmocka_unit_test(steps_of_the_cpu_are_those_of_pytorch),
        cmocka_unit_test(positions_are_resized_as_pytorch_does),
        cmocka_unit_test(a_configuration_that_cannot_be_is_refused),
        cmocka_unit_test(memory_that_runs_out_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
