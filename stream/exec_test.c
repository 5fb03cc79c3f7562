/* SPDX-License-Identifier: Apache-2.0 */
#include "exec.h"

#include "op.h"

#include <mri/alloc.h>
#include <mri/cpu.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CHANNELS 4

static mri_pipeline pipe_now;
static mri_exec fast;
static float pool[MRI_ACTS_MAX * 3 * 8];

/* A sample in one of the layouts that datasets have, filled with noise. */
typedef struct sample {
    mri_pixels pixels;
    uint64_t at[MAX_CHANNELS];
    void *data;
    size_t bytes;
} sample;

static uint64_t
below(uint64_t *seed, uint64_t n)
{
    return scratch_random(seed) % n;
}

/* Any bits for integers; floats of ordinary size with a few that are not
 * finite. */
static void
fill_noise(sample *s, uint64_t *seed)
{
    mr_dtype dtype = s->pixels.dtype;
    size_t element = mr_dtype_bytes(dtype), n = s->bytes / element;
    uint8_t *p = s->data;

    for (size_t i = 0; i < n; i++, p += element) {
        uint64_t bits = scratch_random(seed);
        double v = (double)(int64_t)bits * 0x1p-60;
        float f = below(seed, 50) == 0 ? 1.0f / 0.0f : (float)v;

        if (dtype == MR_F32) {
            memcpy(p, &f, 4);
        } else if (dtype == MR_F64) {
            v = below(seed, 50) == 0 ? 1e300 : v;
            memcpy(p, &v, 8);
        } else if (dtype == MR_BF16) {
            memcpy(p, (uint8_t *)&f + 2, 2);
        } else {
            memcpy(p, &bits, element);
        }
    }
}

static void
make_sample(sample *s, uint64_t *seed, bool volume)
{
    static const mr_dtype types[] = {MR_U8,  MR_U8,   MR_U16, MR_U16, MR_I16,
                                     MR_I8,  MR_U32,  MR_I32, MR_U64, MR_I64,
                                     MR_F16, MR_BF16, MR_F32, MR_F64};
    mri_pixels *p = &s->pixels;
    uint32_t channels = (uint32_t)(1 + below(seed, MAX_CHANNELS));
    uint64_t *size = p->size;
    uint64_t n;

    memset(s, 0, sizeof *s);
    size[0] = volume ? 1 + below(seed, 12) : 1;
    size[1] = 9 + below(seed, 40);
    size[2] = 9 + below(seed, 60);
    n = size[0] * size[1] * size[2];
    p->dtype = types[below(seed, MRI_COUNT(types))];
    p->channels = channels;
    p->shrink = 1;
    p->scaled = below(seed, 4) == 0;
    p->slope = 0.37;
    p->inter = -3.25;
    memcpy(p->have, size, sizeof p->have);
    if (below(seed, 2) == 0) { /* YXC */
        p->step[2] = channels;
        for (uint32_t c = 0; c < channels; c++) {
            s->at[c] = c;
        }
    } else { /* CYX */
        p->step[2] = 1;
        for (uint32_t c = 0; c < channels; c++) {
            s->at[c] = c * n;
        }
    }
    p->step[1] = p->step[2] * size[2];
    p->step[0] = p->step[1] * size[1];
    p->at = s->at;
    s->bytes = n * channels * mr_dtype_bytes(p->dtype);
    s->data = malloc(s->bytes); /* exact: ASan sees any overread */
    assert_non_null(s->data);
    fill_noise(s, seed);
    p->data = s->data;
}

static const char *const steps[] = {
    "select: {channels: [0]}",
    "select: {channels: [0, 0, 0]}",
    "minmax",
    "minmax: {per: sample}",
    "crop: {size: 9, at: random}",
    "crop: {size: [9, 8]}",
    "random_resized_crop: {size: [21, 17]}",
    "random_resized_crop: {size: 40, antialias: false}",
    "random_resized_crop: {size: 9, filter: bilinear, scale: [0.5, 1]}",
    "random_resized_crop: {size: 13, filter: bilinear, antialias: false}",
    "random_resized_crop: {size: 18, filter: nearest}",
    "resize: {size: [9, 30]}",
    "resize: {size: 33, filter: bicubic}",
    "flip: {vertical: 0.5}",
    "flip: {horizontal: 1}",
    "brightness: {p: 0.7}",
    "brightness: {per: sample, clamp: ~}",
    "blur: {p: 0.8}",
    "blur: {kernel: 9, sigma: [1, 3]}",
    "solarize: {p: 0.6}",
    "normalize: {mean: 0.4, std: 0.3}",
    "to: {dtype: f32, scale: 1/255}",
};
static const char *const steps3d[] = {
    "select: {channels: [0]}",
    "minmax",
    "minmax: {per: sample}",
    "crop3d: {size: [4, 9, 9]}",
    "crop3d: {size: [9, 20, 30], pad: -7.5}",
    "crop3d: {size: 16, at: center}",
    "flip: {vertical: 0.5, depth: 0.5}",
    "brightness: {p: 0.7}",
    "solarize: {p: 0.6}",
    "normalize: {mean: 0.4, std: 0.3}",
};
static const char *const lasts[] = {"", "", ", to: {dtype: u8, scale: 200}",
                                    ", to: {dtype: u16, scale: 300}"};

static void
random_text(char *text, size_t bytes, uint64_t *seed, bool volume)
{
    const char *const *from = volume ? steps3d : steps;
    size_t kinds = volume ? MRI_COUNT(steps3d) : MRI_COUNT(steps);
    uint64_t n = below(seed, 7);
    size_t at = (size_t)snprintf(text, bytes, "[");

    for (uint64_t i = 0; i < n; i++) {
        at += (size_t)snprintf(text + at, bytes - at, "%s%s", i > 0 ? ", " : "",
                               from[below(seed, kinds)]);
    }
    (void)snprintf(text + at, bytes - at, "%s]",
                   n > 0 ? lasts[below(seed, 4)] : "");
}

static unsigned
decide(const mri_pipeline *p, const mri_pixels *from, bool volume, uint64_t key,
       mri_act *acts)
{
    mri_decider d = {.key = key,
                     .channels = from->channels,
                     .size = {from->size[0], from->size[1], from->size[2]},
                     .volume = volume,
                     .acts = acts,
                     .pool = pool};

    for (unsigned i = 0; i < p->count; i++) {
        p->ops[i].def->decide(&p->ops[i], &d);
    }
    return d.count;
}

static uint64_t
form_bytes(const mri_form *f)
{
    return f->channels * f->size[0] * f->size[1] * f->size[2] *
           mr_dtype_bytes(f->dtype);
}

/* The fast executor at every level against the reference. */
static void
compare(const sample *s, const char *text, bool volume, uint64_t key)
{
    mri_form form = {s->pixels.channels,
                     {s->pixels.size[0], s->pixels.size[1], s->pixels.size[2]},
                     volume,
                     MR_F32};
    mri_act acts[MRI_ACTS_MAX];
    mri_exec_out want, got;
    mr_diag d = {0};
    unsigned count;

    assert_ok(mri_pipeline_parse(&pipe_now, text, strlen(text), &d), &d);
    if (mri_pipeline_fit(&pipe_now, &form, false, NULL) != MR_OK) {
        mri_pipeline_release(&pipe_now);
        return;
    }
    want = (mri_exec_out){malloc(form_bytes(&form)), form.dtype};
    got = (mri_exec_out){malloc(form_bytes(&form)), form.dtype};
    count = decide(&pipe_now, &s->pixels, volume, key, acts);
    assert_ok(mri_exec_reference(&s->pixels, acts, count, &want, &d), &d);
    for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        memset(got.data, 0xEE, form_bytes(&form));
        count = decide(&pipe_now, &s->pixels, volume, key, acts);
        assert_ok(mri_exec_run(&fast, &s->pixels, acts, count, &got, &d), &d);
        if (memcmp(want.data, got.data, form_bytes(&form)) != 0) {
            fail_msg("%s differ at %s (%u channels, %llux%llux%llu, %s, key "
                     "%llu)",
                     text, mri_cpu_name((mri_level)level), s->pixels.channels,
                     (unsigned long long)s->pixels.size[0],
                     (unsigned long long)s->pixels.size[1],
                     (unsigned long long)s->pixels.size[2],
                     mr_dtype_name(s->pixels.dtype), (unsigned long long)key);
        }
    }
    mri_cpu_force(-1);
    free(want.data);
    free(got.data);
    mri_pipeline_release(&pipe_now);
}

static void
trials(uint64_t n, bool volume)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t seed = i * 2 + volume;
        char text[1000];
        sample s;

        make_sample(&s, &seed, volume);
        random_text(text, sizeof text, &seed, volume);
        compare(&s, text, volume, seed);
        free(s.data);
    }
}

static uint64_t
trial_count(uint64_t usual)
{
    const char *more = getenv("MR_TRIALS");

    return more != NULL ? strtoull(more, NULL, 10) : usual;
}

static void
pictures_have_the_reference_s_bits(void **state)
{
    (void)state;
    trials(trial_count(300), false);
}

static void
volumes_have_the_reference_s_bits(void **state)
{
    (void)state;
    trials(trial_count(200), true);
}

static void
a_window_gives_what_the_whole_gives(void **state)
{
    const char text[] = "[minmax, random_resized_crop: {size: 20}, flip]";
    uint64_t seed = 5;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_pipeline_parse(&pipe_now, text, strlen(text), &d), &d);
    for (uint64_t key = 0; key < 100; key++) {
        static float want[MAX_CHANNELS * 400], got[MAX_CHANNELS * 400];
        float low[MAX_CHANNELS] = {0}, high[MAX_CHANNELS];
        mri_exec_out a = {want, MR_F32}, b = {got, MR_F32};
        mri_act acts[MRI_ACTS_MAX];
        uint64_t first[3], need[3];
        mri_decider how = {.key = key, .acts = acts, .pool = pool};
        sample s;
        unsigned count;

        make_sample(&s, &seed, false);
        for (int c = 0; c < MAX_CHANNELS; c++) {
            high[c] = 3;
        }
        how.low = low;
        how.high = high;
        how.channels = s.pixels.channels;
        memcpy(how.size, s.pixels.size, sizeof how.size);
        for (unsigned i = 0; i < pipe_now.count; i++) {
            pipe_now.ops[i].def->decide(&pipe_now.ops[i], &how);
        }
        count = how.count;
        mri_exec_needs(acts, count, s.pixels.size, first, need);
        assert_ok(mri_exec_reference(&s.pixels, acts, count, &a, &d), &d);
        s.pixels.data = mri_pixels_at(&s.pixels, 0, 0, first[1], first[2]);
        memcpy(s.pixels.first, first, sizeof first);
        memcpy(s.pixels.have, need, sizeof need);
        assert_ok(mri_exec_run(&fast, &s.pixels, acts, count, &b, &d), &d);
        assert_memory_equal(want, got, s.pixels.channels * 400 * sizeof *want);
        free(s.data);
    }
    mri_pipeline_release(&pipe_now);
}

static void
a_decode_is_shrunk_only_where_it_cannot_be_seen(void **state)
{
    mri_act acts[3] = {
        {.kind = MRI_ACT_POINT, .point = MRI_POINT_UNIT},
        {.kind = MRI_ACT_RESAMPLE, .antialias = true, .out = {100, 100}}};

    (void)state;
    acts[1].size[1] = acts[1].size[2] = 299;
    assert_int_equal(mri_exec_shrink(acts, 2), 1);
    acts[1].size[1] = acts[1].size[2] = 300;
    assert_int_equal(mri_exec_shrink(acts, 2), 2);
    acts[1].size[1] = 599;
    acts[1].size[2] = 1000;
    assert_int_equal(mri_exec_shrink(acts, 2), 2);
    acts[1].size[1] = 9000;
    assert_int_equal(mri_exec_shrink(acts, 2), 4);
    acts[1].size[2] = 1200;
    assert_int_equal(mri_exec_shrink(acts, 2), 8);
    acts[0].point = MRI_POINT_SOLAR;
    assert_int_equal(mri_exec_shrink(acts, 2), 1);
    acts[0].point = MRI_POINT_NORM;
    acts[1].antialias = false;
    assert_int_equal(mri_exec_shrink(acts, 2), 1);
    acts[1].kind = MRI_ACT_BLUR;
    assert_int_equal(mri_exec_shrink(acts, 2), 1);
}

static int
release(void **state)
{
    (void)state;
    mri_exec_release(&fast);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_have_the_reference_s_bits),
        cmocka_unit_test(volumes_have_the_reference_s_bits),
        cmocka_unit_test(a_window_gives_what_the_whole_gives),
        cmocka_unit_test(a_decode_is_shrunk_only_where_it_cannot_be_seen),
    };

    return cmocka_run_group_tests(tests, NULL, release);
}
