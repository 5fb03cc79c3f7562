/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simd_exp.c - exponentials: GELU, softmax, cross-entropy.
 *
 * exp: x = n ln 2 + r, |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 P(r), P of degree
 * 4 fitted to 3e-9; scaled by 2^n. Below -87 it is 0, so that no result is a
 * denormal number; above 88 it is exp(88).
 *
 * The normal distribution's tail: Phi(-z) = exp(-z^2 / 2) t Q(t) / 2 with
 * t = 1 / (1 + 0.31 z / sqrt 2), Q of degree 8 fitted to 3e-8. So small
 * probabilities are right to their own last places, and the exponential is
 * the one that the slope of GELU needs, too.
 */
#include "cpu/kernels.h"
#include "cpu/vec.h"

#define BLOCK 1024 /* terms that are summed in f32 */

static inline vf
vf_exp(vf x)
{
    const float magic = 12582912.0f; /* 1.5 2^23: adding it rounds */
    vf tiny = vf_set(-87.0f), n, r, p;
    vi zero = x < tiny;

    x = vf_min(vf_set(88.0f), vf_max(tiny, x)); /* so that a NaN stays one */
    n = (x * 1.44269504f + magic) - magic;
    r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    p = 0.00138146128f * r + 0.00836871006f;
    p = p * r + 0.041668389f;
    p = p * r + 0.16666522f;
    p = p * r + 0.49999994f;
    p = p * (r * r) + (r + 1.0f);
    /* the exponent is an integer in the upper bits */
    p = (vf)((vi)p + (__builtin_convertvector(n, vi) << 23));
    return vf_pick(zero, (vf){0}, p);
}

/* Phi(x), and on the way exp(-x^2 / 2). */
static inline vf
vf_normal(vf x, vf *bell)
{
    vf z = vf_max(x, -x), t = 1.0f / (0.219203103f * z + 1.0f), q, tail;

    q = -0.0796459094f * t + 0.220657676f;
    q = q * t + -0.0541918725f;
    q = q * t + 0.0939966440f;
    q = q * t + 0.178867027f;
    q = q * t + 0.114755273f;
    q = q * t + 0.177368969f;
    q = q * t + 0.173183262f;
    q = q * t + 0.175008893f;
    *bell = vf_exp(-0.5f * (x * x));
    tail = 0.5f * *bell * (t * q);
    return vf_pick(x < (vf){0}, tail, 1.0f - tail);
}

static inline vf
vf_gelu(vf x)
{
    vf bell;

    return x * vf_normal(x, &bell);
}

static void
gelu(float *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + VL <= n; i += VL) {
        vf_store(y + i, vf_gelu(vf_load(x + i)));
    }
    if (i < n) {
        vf_store_part(y + i, vf_gelu(vf_load_part(x + i, n - i, 0)), n - i);
    }
}

/* gelu' = Phi(x) + x phi(x) */
static inline vf
vf_gelu_slope(vf x, vf *y)
{
    vf bell, phi = vf_normal(x, &bell);

    *y = x * phi;
    return phi + x * bell * 0.398942280f;
}

static void
gelu_back(float *dx, float *y, const float *x, size_t n)
{
    size_t i = 0;
    vf value;

    for (; i + VL <= n; i += VL) {
        vf slope = vf_gelu_slope(vf_load(x + i), &value);

        vf_store(dx + i, vf_load(dx + i) * slope);
        vf_store(y + i, value);
    }
    if (i < n) {
        vf slope = vf_gelu_slope(vf_load_part(x + i, n - i, 0), &value);

        vf_store_part(dx + i, vf_load_part(dx + i, n - i, 0) * slope, n - i);
        vf_store_part(y + i, value, n - i);
    }
}

/* -------------------------------------------------------------- softmax */

/* a (x - c), or a x */
static inline vf
argument(const float *x, const float *c, float a, size_t i)
{
    return c != NULL ? a * (vf_load(x + i) - vf_load(c + i))
                     : a * vf_load(x + i);
}

/* The same of the last `rest` elements; a > 0, so what is not there is far
 * below all others. */
static inline vf
last_argument(const float *x, const float *c, float a, size_t i, size_t rest)
{
    vf v = vf_load_part(x + i, rest, -INFINITY);

    return c != NULL ? a * (v - vf_load_part(c + i, rest, 0)) : a * v;
}

static float
largest(const float *x, const float *c, float a, size_t n)
{
    vf top = vf_set(-INFINITY);
    size_t i = 0;

    for (; i + VL <= n; i += VL) {
        top = vf_max(argument(x, c, a, i), top);
    }
    if (i < n) {
        top = vf_max(last_argument(x, c, a, i, n - i), top);
    }
    return vf_top(top);
}

static float
log_sum_exp(const float *x, const float *c, float a, size_t n)
{
    float top = largest(x, c, a, n);
    double sum = 0;

    for (size_t first = 0; first < n; first += BLOCK) {
        size_t end = n - first < BLOCK ? n : first + BLOCK, i = first;
        vf part = {0};

        for (; i + VL <= end; i += VL) {
            part += vf_exp(argument(x, c, a, i) - top);
        }
        if (i < end) {
            part += vf_exp(last_argument(x, c, a, i, end - i) - top);
        }
        sum += (double)vf_sum(part);
    }
    return top + (float)log(sum);
}

static void
exp_of(float *x, float a, float lse, size_t n)
{
    size_t i = 0;

    for (; i + VL <= n; i += VL) {
        vf_store(x + i, vf_exp(a * vf_load(x + i) - lse));
    }
    if (i < n) {
        vf_store_part(x + i, vf_exp(a * vf_load_part(x + i, n - i, 0) - lse),
                      n - i);
    }
}

/* One exponential an element: exp(x - top), then divided by their sum. */
static float
softmax(float *x, float a, size_t n)
{
    float top = largest(x, NULL, a, n), sum, inverse;
    vf total = {0};
    size_t i = 0;

    for (; i + VL <= n; i += VL) {
        vf e = vf_exp(a * vf_load(x + i) - top);

        vf_store(x + i, e);
        total += e;
    }
    if (i < n) {
        vf e = vf_exp(last_argument(x, NULL, a, i, n - i) - top);

        vf_store_part(x + i, e, n - i);
        total += e;
    }
    sum = vf_sum(total);
    inverse = 1.0f / sum;
    for (i = 0; i + VL <= n; i += VL) {
        vf_store(x + i, vf_load(x + i) * inverse);
    }
    if (i < n) {
        vf_store_part(x + i, vf_load_part(x + i, n - i, 0) * inverse, n - i);
    }
    return top + logf(sum);
}

static void
add_exp(float *y, const float *x, const float *c, float a, float lse, size_t n)
{
    size_t i = 0;

    for (; i + VL <= n; i += VL) {
        vf_store(y + i, vf_load(y + i) + vf_exp(argument(x, c, a, i) - lse));
    }
    if (i < n) {
        vf e = vf_exp(last_argument(x, c, a, i, n - i) - lse);

        vf_store_part(y + i, vf_load_part(y + i, n - i, 0) + e, n - i);
    }
}

static double
cross(const float *t, const float *x, float a, float lse, size_t n)
{
    double sum = 0;

    for (size_t first = 0; first < n; first += BLOCK) {
        size_t end = n - first < BLOCK ? n : first + BLOCK, i = first;
        vf part = {0};

        for (; i + VL <= end; i += VL) {
            part += vf_load(t + i) * (lse - a * vf_load(x + i));
        }
        if (i < end) {
            part += vf_load_part(t + i, end - i, 0) *
                    (lse - a * vf_load_part(x + i, end - i, 0));
        }
        sum += (double)vf_sum(part);
    }
    return sum;
}

const cpu_exp_kernels MRI_AT_LEVEL(cpu_exp) = {.gelu = gelu,
                                               .gelu_back = gelu_back,
                                               .softmax = softmax,
                                               .exp_of = exp_of,
                                               .log_sum_exp = log_sum_exp,
                                               .add_exp = add_exp,
                                               .cross = cross};
