/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_decide.c - random draws to acts.
 *
 * Everything random about a view is decided here, in f64 and without a look
 * at pixels; what remains is arithmetic without choices.
 */
#include "ops.h"

#include <mri/fmath.h>

#include <math.h>
#include <string.h>

#define TRIES 10 /* of a crop's area and shape */

static mri_draws
draws_of(const mri_op *op, const mri_decider *d)
{
    return mri_draws_of(d->key, d->view, op->word);
}

static mri_act *
add(mri_decider *d, mri_act_kind kind)
{
    mri_act *act = &d->acts[d->count++];

    *act = (mri_act){.kind = kind, .channels = d->channels};
    return act;
}

/* Values are no longer those of the dataset. */
static void
touched(mri_decider *d)
{
    d->low = d->high = NULL;
}

static float *
take(mri_decider *d)
{
    float *p = d->pool;

    d->pool += d->channels;
    return p;
}

static float *
take_filled(mri_decider *d, float v)
{
    float *p = take(d);

    for (uint32_t c = 0; c < d->channels; c++) {
        p[c] = v;
    }
    return p;
}

/* The probability that holds for this view. */
static double
chance(const mri_op *op, unsigned which, const mri_decider *d)
{
    const mri_value *v = &op->v[which];
    uint32_t i;

    if (v->list == NULL) {
        return v->at[0];
    }
    if (d->view < op->globals) {
        return v->list[v->count == 1 ? 0 : d->view];
    }
    i = d->view - op->globals;
    return v->list[v->count + (v->locals == 1 ? 0 : i)];
}

static bool
happens(const mri_op *op, unsigned which, const mri_decider *d,
        mri_draws *draws)
{
    return (double)mri_draw_unit(draws) < chance(op, which, d);
}

void
mri_decide_select(const mri_op *op, mri_decider *d)
{
    const mri_value *v = &op->v[SELECT_CHANNELS];
    mri_act *act = add(d, MRI_ACT_SELECT);
    uint32_t *map = (uint32_t *)(void *)d->pool;
    float *low, *high;

    d->pool += v->count;
    for (uint32_t i = 0; i < v->count; i++) {
        map[i] = (uint32_t)v->list[i];
    }
    act->map = map;
    act->channels = d->channels = v->count;
    if (d->low == NULL) {
        return;
    }
    low = take(d);
    high = take(d);
    for (uint32_t i = 0; i < v->count; i++) {
        low[i] = d->low[map[i]];
        high[i] = d->high[map[i]];
    }
    d->low = low;
    d->high = high;
}

void
mri_unit_range(float *a, float *b, float low, float high)
{
    *a = low;
    *b = high - low;
    if (!(*b > 0)) {
        *b = INFINITY; /* finite / infinite is 0 */
    }
}

void
mri_decide_minmax(const mri_op *op, mri_decider *d)
{
    bool per_sample = op->v[MINMAX_PER].choice == PER_SAMPLE;
    mri_act *act = add(d, d->low != NULL ? MRI_ACT_POINT : MRI_ACT_MINMAX);
    float *a = take(d), *b = take(d), low, high;

    act->point = MRI_POINT_UNIT;
    act->per_sample = per_sample;
    act->a = a;
    act->b = b;
    if (d->low == NULL) {
        return;
    }
    low = d->low[0];
    high = d->high[0];
    for (uint32_t c = 1; c < d->channels; c++) {
        low = d->low[c] < low ? d->low[c] : low;
        high = d->high[c] > high ? d->high[c] : high;
    }
    for (uint32_t c = 0; c < d->channels; c++) {
        mri_unit_range(&a[c], &b[c], per_sample ? low : d->low[c],
                       per_sample ? high : d->high[c]);
    }
    touched(d);
}

static void
set_box(mri_act *act, const mri_decider *d)
{
    for (unsigned i = 0; i < 3; i++) {
        act->first[i] = 0;
        act->size[i] = d->size[i];
    }
}

void
mri_decide_crop(const mri_op *op, mri_decider *d)
{
    mri_draws draws = draws_of(op, d);
    mri_act *act = add(d, MRI_ACT_BOX);

    set_box(act, d);
    for (unsigned i = 1; i < 3; i++) {
        uint64_t size = (uint64_t)op->v[CROP_SIZE].at[i - 1];
        uint64_t spare = d->size[i] - size;

        act->size[i] = d->size[i] = size;
        act->first[i] =
            op->v[CROP_AT].choice == 0
                ? (int64_t)(spare / 2)
                : (int64_t)mri_draw_below(&draws, (uint32_t)spare + 1);
    }
    touched(d);
}

/* The largest rectangle in the middle whose ratio is within bounds. */
static void
middle(uint64_t size[2], const uint64_t whole[2], const double ratio[2])
{
    double shape = (double)whole[1] / (double)whole[0];

    size[0] = whole[0];
    size[1] = whole[1];
    if (shape < ratio[0]) {
        size[0] = (uint64_t)rint((double)whole[1] / ratio[0]);
    } else if (shape > ratio[1]) {
        size[1] = (uint64_t)rint((double)whole[0] * ratio[1]);
    }
    for (unsigned i = 0; i < 2; i++) {
        size[i] = size[i] < 1 ? 1 : size[i] > whole[i] ? whole[i] : size[i];
    }
}

/* Ten tries, then the middle. whole, first, size: y, x. */
static void
choose_crop(mri_draws *draws, const uint64_t whole[2], const double scale[2],
            const double ratio[2], int64_t first[2], uint64_t size[2])
{
    double low = mri_log(ratio[0]), high = mri_log(ratio[1]);

    for (int i = 0; i < TRIES; i++) {
        double area = (double)whole[0] * (double)whole[1] *
                      mri_draw_range(draws, scale[0], scale[1]);
        double shape = mri_exp(mri_draw_range(draws, low, high));
        double w = rint(sqrt(area * shape)), h = rint(sqrt(area / shape));

        if (w >= 1 && w <= (double)whole[1] && h >= 1 &&
            h <= (double)whole[0]) {
            size[0] = (uint64_t)h;
            size[1] = (uint64_t)w;
            for (unsigned k = 0; k < 2; k++) {
                uint32_t spare = (uint32_t)(whole[k] - size[k]);

                first[k] = (int64_t)mri_draw_below(draws, spare + 1);
            }
            return;
        }
    }
    middle(size, whole, ratio);
    first[0] = (int64_t)((whole[0] - size[0]) / 2);
    first[1] = (int64_t)((whole[1] - size[1]) / 2);
}

typedef struct resample_how {
    const mri_value *size, *filter, *antialias;
} resample_how;

static mri_act *
add_resample(mri_decider *d, resample_how how)
{
    mri_act *act = add(d, MRI_ACT_RESAMPLE);

    set_box(act, d);
    act->filter = (mri_filter)how.filter->choice;
    act->antialias = how.antialias->at[0] != 0;
    for (unsigned i = 0; i < 2; i++) {
        act->out[i] = d->size[1 + i] = (uint64_t)how.size->at[i];
    }
    touched(d);
    return act;
}

void
mri_decide_rrc(const mri_op *op, mri_decider *d)
{
    mri_draws draws = draws_of(op, d);
    uint64_t whole[2] = {d->size[1], d->size[2]};
    mri_act *act =
        add_resample(d, (resample_how){&op->v[RRC_SIZE], &op->v[RRC_FILTER],
                                       &op->v[RRC_ANTIALIAS]});

    choose_crop(&draws, whole, op->v[RRC_SCALE].at, op->v[RRC_RATIO].at,
                act->first + 1, act->size + 1);
}

void
mri_decide_multi(const mri_op *op, mri_decider *d)
{
    mri_draws draws = draws_of(op, d);
    uint64_t whole[2] = {d->size[1], d->size[2]};
    bool local = d->view >= (uint32_t)op->v[MULTI_GLOBAL_COUNT].at[0];
    unsigned size = local ? MULTI_LOCAL_SIZE : MULTI_GLOBAL_SIZE;
    unsigned scale = local ? MULTI_LOCAL_SCALE : MULTI_GLOBAL_SCALE;
    mri_act *act =
        add_resample(d, (resample_how){&op->v[size], &op->v[MULTI_FILTER],
                                       &op->v[MULTI_ANTIALIAS]});

    choose_crop(&draws, whole, op->v[scale].at, op->v[MULTI_RATIO].at,
                act->first + 1, act->size + 1);
}

void
mri_decide_resize(const mri_op *op, mri_decider *d)
{
    (void)add_resample(d, (resample_how){&op->v[RESIZE_SIZE],
                                         &op->v[RESIZE_FILTER],
                                         &op->v[RESIZE_ANTIALIAS]});
}

void
mri_decide_flip(const mri_op *op, mri_decider *d)
{
    mri_draws draws = draws_of(op, d);
    bool x = happens(op, FLIP_HORIZONTAL, d, &draws);
    bool y = happens(op, FLIP_VERTICAL, d, &draws);
    bool z = happens(op, FLIP_DEPTH, d, &draws);

    if (x || y || z) {
        mri_act *act = add(d, MRI_ACT_FLIP);

        act->flip[0] = z;
        act->flip[1] = y;
        act->flip[2] = x;
    }
}

void
mri_decide_brightness(const mri_op *op, mri_decider *d)
{
    mri_draws draws = draws_of(op, d);
    const double *range = op->v[BRIGHT_RANGE].at;
    const mri_value *clamp = &op->v[BRIGHT_CLAMP];
    bool apply = happens(op, BRIGHT_P, d, &draws);
    float *factor;
    mri_act *act;

    if (!apply) {
        return;
    }
    act = add(d, MRI_ACT_POINT);
    act->point = clamp->given ? MRI_POINT_GAIN : MRI_POINT_SCALE;
    act->low = (float)clamp->at[0];
    act->high = (float)clamp->at[1];
    act->a = factor = take(d);
    for (uint32_t c = 0; c < d->channels; c++) {
        if (c == 0 || op->v[BRIGHT_PER].choice == PER_CHANNEL) {
            factor[c] = (float)mri_draw_range(&draws, range[0], range[1]);
        } else {
            factor[c] = factor[0];
        }
    }
    touched(d);
}

/* exp(-x^2 / (2 sigma^2)), summing to 1. */
static void
gaussian(float *kernel, unsigned taps, double sigma)
{
    double w[MRI_BLUR_MAX], sum = 0;
    int radius = (int)taps / 2;

    for (int i = 0; i < (int)taps; i++) {
        double x = (i - radius) / sigma;

        w[i] = mri_exp(-0.5 * (x * x));
        sum += w[i];
    }
    for (unsigned i = 0; i < taps; i++) {
        kernel[i] = (float)(w[i] / sum);
    }
}

void
mri_decide_blur(const mri_op *op, mri_decider *d)
{
    mri_draws draws = draws_of(op, d);
    const double *sigma = op->v[BLUR_SIGMA].at;

    if (happens(op, BLUR_P, d, &draws)) {
        mri_act *act = add(d, MRI_ACT_BLUR);

        act->taps = (unsigned)op->v[BLUR_KERNEL].at[0];
        gaussian(act->kernel, act->taps,
                 mri_draw_range(&draws, sigma[0], sigma[1]));
        touched(d);
    }
}

void
mri_decide_solarize(const mri_op *op, mri_decider *d)
{
    mri_draws draws = draws_of(op, d);

    if (happens(op, SOLAR_P, d, &draws)) {
        mri_act *act = add(d, MRI_ACT_POINT);

        act->point = MRI_POINT_SOLAR;
        act->low = (float)op->v[SOLAR_THRESHOLD].at[0];
        touched(d);
    }
}

void
mri_decide_normalize(const mri_op *op, mri_decider *d)
{
    const mri_value *mean = &op->v[NORM_MEAN], *std = &op->v[NORM_STD];
    mri_act *act = add(d, MRI_ACT_POINT);
    float *a = take(d), *b = take(d);

    for (uint32_t c = 0; c < d->channels; c++) {
        a[c] = (float)mean->list[mean->count == 1 ? 0 : c];
        b[c] = (float)(1 / std->list[std->count == 1 ? 0 : c]);
    }
    act->point = MRI_POINT_NORM;
    act->a = a;
    act->b = b;
    touched(d);
}

void
mri_decide_crop3d(const mri_op *op, mri_decider *d)
{
    mri_draws draws = draws_of(op, d);
    mri_act *act = add(d, MRI_ACT_BOX);

    act->pad = (float)op->v[CROP3D_PAD].at[0];
    for (unsigned i = 0; i < 3; i++) {
        uint64_t size = (uint64_t)op->v[CROP3D_SIZE].at[i];
        uint64_t spare = d->size[i] > size ? d->size[i] - size : 0;
        uint32_t word = op->v[CROP3D_AT].choice == 0
                            ? mri_draw_below(&draws, (uint32_t)spare + 1)
                            : (uint32_t)(spare / 2);

        act->first[i] = d->size[i] >= size
                            ? (int64_t)word
                            : -(int64_t)((size - d->size[i]) / 2);
        act->size[i] = d->size[i] = size;
    }
    touched(d);
}

void
mri_decide_to(const mri_op *op, mri_decider *d)
{
    static const float tops[] = {0, 255, 65535};
    unsigned choice = op->v[TO_DTYPE].choice;
    double scale = op->v[TO_SCALE].at[0];
    mri_act *act;

    if (choice == 0 && scale == 1) {
        return;
    }
    act = add(d, MRI_ACT_POINT);
    act->point = choice == 0 ? MRI_POINT_SCALE : MRI_POINT_ROUND;
    act->high = tops[choice];
    act->a = take_filled(d, (float)scale);
    touched(d);
}
