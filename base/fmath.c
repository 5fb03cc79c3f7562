/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fmath.c - elementary functions with the same bits everywhere.
 *
 * Range reduction with constants split in two (Cody and Waite), then a Taylor
 * polynomial short enough to be exact to the last place and long enough not
 * to need tables. Every line is + - * / on f64 in a fixed order; the file is
 * compiled without contraction.
 */
#include <mri/fmath.h>

#include <math.h>
#include <string.h>

static uint64_t
bits_of(double x)
{
    uint64_t u;

    memcpy(&u, &x, sizeof u);
    return u;
}

static double
from_bits(uint64_t u)
{
    double x;

    memcpy(&x, &u, sizeof x);
    return x;
}

/* 2^n for n in -1022 .. 1023 */
static double
two_to(int n)
{
    return from_bits((uint64_t)(n + 1023) << 52);
}

double
mri_exp(double x)
{
    /* ln 2 in two parts: the first has 21 trailing zeros, so n * hi is exact */
    const double ln2_hi = 0x1.62e42feep-1, ln2_lo = 0x1.a39ef35793c76p-33;
    double n, r, sum, scale;
    int k;

    if (isnan(x)) {
        return x;
    }
    if (x > 709.782712893384) {
        return INFINITY;
    }
    if (x < -745.2) {
        return 0;
    }
    n = floor(x * 1.4426950408889634 + 0.5);
    r = x - n * ln2_hi;
    r = r - n * ln2_lo; /* |r| <= 0.347 */
    sum = 0;
    for (int i = 13; i >= 1; i--) {
        sum = r / i * (1 + sum); /* r^i/i! by Horner: r(1 + r/2(1 + r/3 ... */
    }
    k = (int)n;
    /* Two steps, so that results below 2^-1022 are rounded once. */
    scale = k < -1000 ? two_to(-1000) : 1;
    k = k < -1000 ? k + 1000 : k;
    if (k > 1023) {
        return (1 + sum) * two_to(1023) * 2;
    }
    return (1 + sum) * two_to(k) * scale;
}

double
mri_log(double x)
{
    const double ln2_hi = 0x1.62e42feep-1, ln2_lo = 0x1.a39ef35793c76p-33;
    int e = 0;
    uint64_t u;
    double m, s, z, sum;

    if (isnan(x) || x < 0) {
        return NAN;
    }
    if (x == 0) {
        return -INFINITY;
    }
    if (isinf(x)) {
        return x;
    }
    if (x < 0x1p-1022) { /* subnormal: bring it up first */
        x *= 0x1p54;
        e = -54;
    }
    u = bits_of(x);
    e += (int)(u >> 52) - 1023;
    m = from_bits((u & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u); /* [1, 2) */
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    /* log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.172 */
    s = (m - 1) / (m + 1);
    z = s * s;
    sum = 0;
    for (int i = 23; i >= 3; i -= 2) {
        sum = z * (1.0 / i + sum);
    }
    return e * ln2_hi + (2 * s + (2 * s * sum + e * ln2_lo));
}

double
mri_pow(double x, double y)
{
    if (y == 0) {
        return 1;
    }
    if (x == 0) {
        return y > 0 ? 0 : INFINITY;
    }
    return mri_exp(y * mri_log(x));
}

void
mri_sincos(double x, double *s, double *c)
{
    /* pi/2 in three parts of 33 bits: n * part is exact for |n| < 2^20 */
    const double p1 = 0x1.921fb544p+0, p2 = 0x1.0b4611a6p-34,
                 p3 = 0x1.3198a2e037073p-69;
    double n = floor(x * 0.6366197723675814 + 0.5);
    double r = ((x - n * p1) - n * p2) - n * p3; /* |r| <= 0.786 */
    double z = r * r, sine = 0, cosine = 0;

    for (int i = 19; i >= 3; i -= 2) {
        sine = -z / (i * (i - 1)) * (1 + sine);
    }
    for (int i = 20; i >= 4; i -= 2) {
        cosine = -z / (i * (i - 1)) * (1 + cosine);
    }
    sine = r + r * sine;
    cosine = 1 - (z / 2) * (1 + cosine);
    switch ((int64_t)n & 3) {
    case 0:
        *s = sine;
        *c = cosine;
        break;
    case 1:
        *s = cosine;
        *c = -sine;
        break;
    case 2:
        *s = -sine;
        *c = -cosine;
        break;
    default:
        *s = -cosine;
        *c = sine;
        break;
    }
}
