/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parity_test.c - operations against torch, torchvision, Pillow and NumPy, by
 * tests/golden/augment.safetensors (tests/parity/augment.py).
 *
 * Values are within [0, 1] and weights sum to 1 over at most 32 taps an axis;
 * each product and sum rounds once: |difference| <= 64 u, u = 2^-24, plus the
 * peer's own. 4e-6 holds for all but Pillow, whose weights are f32 sums too.
 */
#include "exec.h"
#include "op.h"

#include <mri/safetensors.h>

#include <math.h>
#include <mr_test.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mri_st *golden;
static mri_exec exec_now;
static const uint64_t places[] = {0, 25 * 29};

static mri_pixels
picture(void)
{
    const mri_st_item *x = mri_st_find(golden, "x");

    assert_non_null(x);
    return (mri_pixels){.data = x->data,
                        .dtype = MR_F32,
                        .channels = 2,
                        .at = places,
                        .size = {1, 25, 29},
                        .have = {1, 25, 29},
                        .step = {25 * 29, 29, 1},
                        .shrink = 1};
}

static void
compare(mri_act *acts, unsigned count, const char *name, double bound)
{
    const mri_st_item *want = mri_st_find(golden, name);
    mri_pixels from = picture();
    const float *w;
    float *got;
    mri_exec_out out = {.dtype = MR_F32};
    uint64_t n;
    double worst = 0;
    mr_diag d = {0};

    if (want == NULL) {
        fail_msg("no golden %s", name);
    }
    n = want->shape[0] * want->shape[1] * want->shape[2];
    out.data = got = malloc(n * sizeof *got);
    w = want->data;
    assert_ok(mri_exec_run(&exec_now, &from, acts, count, &out, &d), &d);
    for (uint64_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)got[i] - (double)w[i]));
    }
    free(got);
    if (!(worst <= bound)) {
        fail_msg("%s differs by %g", name, worst);
    }
}

static void
resampling_is_torch_s_and_pillow_s(void **state)
{
    static const struct {
        const char *name;
        uint64_t out[2];
    } sizes[] = {{"down", {10, 12}}, {"up", {27, 24}}, {"tiny", {4, 3}}};
    static const struct {
        const char *name;
        mri_filter filter;
        bool antialias;
        double bound;
    } kinds[] = {
        {"bicubic.antialias", MRI_FILTER_BICUBIC, true, 4e-6},
        {"bicubic.plain", MRI_FILTER_BICUBIC, false, 4e-6},
        {"bilinear.antialias", MRI_FILTER_BILINEAR, true, 4e-6},
        {"bilinear.plain", MRI_FILTER_BILINEAR, false, 4e-6},
        {"nearest.plain", MRI_FILTER_NEAREST, false, 0},
        {"pillow.antialias", MRI_FILTER_BICUBIC, true, 4e-6},
    };

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(sizes); i++) {
        for (size_t k = 0; k < MRI_COUNT(kinds); k++) {
            mri_act act = {.kind = MRI_ACT_RESAMPLE,
                           .first = {0, 3, 5},
                           .size = {1, 19, 21},
                           .filter = kinds[k].filter,
                           .antialias = kinds[k].antialias,
                           .out = {sizes[i].out[0], sizes[i].out[1]}};
            char name[64];

            (void)snprintf(name, sizeof name, "%s.%s", kinds[k].name,
                           sizes[i].name);
            compare(&act, 1, name, kinds[k].bound);
        }
    }
}

/* The acts of one operation given as YAML, which must draw nothing. */
static void
compare_op(const char *text, const char *name, double bound)
{
    static mri_pipeline p;
    static float pool[64];
    mri_act acts[MRI_ACTS_MAX];
    mri_decider how = {
        .channels = 2, .size = {1, 25, 29}, .acts = acts, .pool = pool};
    mr_diag d = {0};

    assert_ok(mri_pipeline_parse(&p, text, strlen(text), &d), &d);
    for (unsigned i = 0; i < p.count; i++) {
        p.ops[i].def->decide(&p.ops[i], &how);
    }
    compare(acts, how.count, name, bound);
    mri_pipeline_release(&p);
}

static void
operations_are_torchvision_s(void **state)
{
    (void)state;
    compare_op("[blur: {kernel: 5, sigma: [1.1, 1.1]}]", "blur.5", 1e-6);
    compare_op("[blur: {kernel: 9, sigma: [2.3, 2.3]}]", "blur.9", 1e-6);
    compare_op("[solarize]", "solarize", 0);
    compare_op("[brightness: {range: [1.2, 1.2]}]", "brightness", 1e-7);
    compare_op("[flip: {horizontal: 1}]", "hflip", 0);
    compare_op("[flip: {horizontal: 0, vertical: 1}]", "vflip", 0);
    compare_op("[normalize: {mean: [0.4, 0.5], std: [0.2, 0.3]}]", "normalize",
               1e-6);
    compare_op("[minmax]", "minmax", 2e-7);
}

/* scDINO's draws (reference: scdino 5.3): over many keys the area of crops is
 * uniform over the scale and their shape log-uniform over the ratio, as far as
 * they fit; here the picture is so large that nearly all do. */
static void
crops_are_distributed_as_they_should_be(void **state)
{
    static mri_pipeline p;
    static const char text[] =
        "[random_resized_crop: {size: 8, scale: [0.1, 0.5]}]";
    unsigned area[10] = {0}, shape[10] = {0}, n = 20000;
    double low = log(3.0 / 4), high = log(4.0 / 3);
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_pipeline_parse(&p, text, strlen(text), &d), &d);
    for (uint64_t key = 0; key < n; key++) {
        mri_act act;
        float pool[16];
        mri_decider how = {.key = key * 0x9E3779B97F4A7C15u,
                           .channels = 1,
                           .size = {1, 4000, 4000},
                           .acts = &act,
                           .pool = pool};
        double a, s;

        p.ops[0].def->decide(&p.ops[0], &how);
        a = (double)act.size[1] * (double)act.size[2] / 16e6;
        s = log((double)act.size[2] / (double)act.size[1]);
        a = (a - 0.1) / 0.4 * 10;
        s = (s - low) / (high - low) * 10;
        area[a < 0 ? 0 : a > 9 ? 9 : (int)a]++;
        shape[s < 0 ? 0 : s > 9 ? 9 : (int)s]++;
        assert_true(act.first[1] >= 0 && act.first[2] >= 0 &&
                    (uint64_t)act.first[1] + act.size[1] <= 4000 &&
                    (uint64_t)act.first[2] + act.size[2] <= 4000);
    }
    for (int i = 0; i < 10; i++) { /* 2000 each, deviation 42 */
        assert_in_range(area[i], 2000 - 5 * 43, 2000 + 5 * 43);
        assert_in_range(shape[i], 2000 - 5 * 43, 2000 + 5 * 43);
    }
    mri_pipeline_release(&p);
}

static int
setup(void **state)
{
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_st_open(&golden,
                          MR_SOURCE_DIR "/tests/golden/augment.safetensors",
                          &d),
              &d);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    mri_st_close(golden);
    mri_exec_release(&exec_now);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resampling_is_torch_s_and_pillow_s),
        cmocka_unit_test(operations_are_torchvision_s),
        cmocka_unit_test(crops_are_distributed_as_they_should_be),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
