/* SPDX-License-Identifier: Apache-2.0 */
/* resample.c - weights of a resampling, in f64, rounded once to f32. */
#include "resample.h"

#include <math.h>

#define FIXED_TAPS 4 /* without antialias */

static double
cubic(double x, double a)
{
    x = fabs(x);
    if (x < 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    if (x < 2) {
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    }
    return 0;
}

static double
triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double
weigh(mri_filter filter, double x)
{
    return filter == MRI_FILTER_BICUBIC ? cubic(x, -0.5) : triangle(x);
}

/* Room for the three arrays in one block. */
static mr_err
make_room(mri_taps *t, uint64_t n, uint64_t stride, mr_diag *diag)
{
    uint64_t each =
        sizeof(uint64_t) + sizeof(uint32_t) + stride * sizeof(float);
    uint8_t *p = stride < (1u << 28) ? mri_room_take(&t->room, n, each) : NULL;

    if (p == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    t->n = n;
    t->stride = (uint32_t)stride;
    t->first = (uint64_t *)(void *)p;
    t->count = (uint32_t *)(void *)(p + n * sizeof(uint64_t));
    t->weight = (float *)(void *)(t->count + n);
    return MR_OK;
}

/* floor(x), within low .. high */
static uint64_t
clamped(double x, uint64_t low, uint64_t high)
{
    x = floor(x);
    if (x < (double)low) {
        return low;
    }
    return x > (double)high ? high : (uint64_t)x;
}

/* The filter's window around each centre, cut at the ends, summing to 1. */
static void
windows(mri_taps *t, const mri_span *s, mri_filter filter, double support)
{
    double *raw = t->raw.p;
    double scale = s->length / (double)s->n;
    double wide = scale > 1 ? scale : 1;

    for (uint64_t i = 0; i < s->n; i++) {
        double centre = s->start + ((double)i + 0.5) * scale, sum = 0;
        uint64_t from = clamped(centre - support + 0.5, s->low, s->high - 1);
        uint64_t to = clamped(centre + support + 0.5, from + 1, s->high);
        float *w = t->weight + i * t->stride;
        uint32_t n = (uint32_t)(to - from);

        n = n < t->stride ? n : t->stride;
        for (uint32_t k = 0; k < n; k++) {
            raw[k] = weigh(filter, ((double)(from + k) + 0.5 - centre) / wide);
            sum += raw[k];
        }
        for (uint32_t k = 0; k < n; k++) {
            w[k] = (float)(sum != 0 ? raw[k] / sum : k == 0);
        }
        t->first[i] = from;
        t->count[i] = n;
    }
}

/* Up to four neighbours; the weight of one beyond an end goes to the end. */
static void
neighbours(mri_taps *t, const mri_span *s, mri_filter filter)
{
    double scale = s->length / (double)s->n;

    for (uint64_t i = 0; i < s->n; i++) {
        double at = s->start + ((double)i + 0.5) * scale - 0.5;
        double whole = floor(at), part = at - whole;
        double raw[FIXED_TAPS] = {0, 1 - part, part, 0}, w[FIXED_TAPS] = {0};
        uint64_t from, last = s->high - 1;

        if (filter == MRI_FILTER_BICUBIC) {
            for (int k = 0; k < FIXED_TAPS; k++) {
                raw[k] = cubic(part + 1 - k, -0.75);
            }
        }
        from = clamped(whole - 1, s->low, last);
        for (int k = 0; k < FIXED_TAPS; k++) {
            w[clamped(whole - 1 + k, s->low, last) - from] += raw[k];
        }
        t->first[i] = from;
        t->count[i] = (uint32_t)(clamped(whole + 2, s->low, last) - from + 1);
        for (int k = 0; k < FIXED_TAPS; k++) {
            t->weight[i * t->stride + (uint64_t)k] = (float)w[k];
        }
    }
}

static void
nearest(mri_taps *t, const mri_span *s)
{
    double scale = s->length / (double)s->n;

    for (uint64_t i = 0; i < s->n; i++) {
        t->first[i] =
            clamped(s->start + ((double)i + 0.5) * scale, s->low, s->high - 1);
        t->count[i] = 1;
        t->weight[i] = 1;
    }
}

mr_err
mri_taps_make(mri_taps *t, const mri_span *s, mri_filter filter, bool antialias,
              mr_diag *diag)
{
    double scale = s->length / (double)s->n;
    double reach = filter == MRI_FILTER_BICUBIC ? 2 : 1;
    double support = reach * (scale > 1 ? scale : 1);
    mr_err err;

    if (filter == MRI_FILTER_NEAREST) {
        err = make_room(t, s->n, 1, diag);
        if (err == MR_OK) {
            nearest(t, s);
        }
        return err;
    }
    if (antialias) {
        err = make_room(t, s->n, (uint64_t)ceil(support) * 2 + 1, diag);
        if (err == MR_OK &&
            mri_room_take(&t->raw, t->stride, sizeof(double)) == NULL) {
            err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
        }
        if (err == MR_OK) {
            windows(t, s, filter, support);
        }
        return err;
    }
    err = make_room(t, s->n, FIXED_TAPS, diag);
    if (err == MR_OK) {
        neighbours(t, s, filter);
    }
    return err;
}

void
mri_taps_release(mri_taps *t)
{
    mri_room_release(&t->room);
    mri_room_release(&t->raw);
    *t = (mri_taps){0};
}
