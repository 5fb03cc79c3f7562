/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eigen.c - the leading eigenvectors of a symmetric matrix.
 *
 * A block of vectors is multiplied by the matrix again and again; within its
 * span the eigenvectors are found by a small problem (Rayleigh and Ritz). The
 * vectors beyond the two that are wanted make it fast: what counts is how far
 * the second value is above the first that the block does not hold.
 * source  Golub, Van Loan: Matrix Computations, 8.2 and 8.5
 */
#include "eigen.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/rng.h>

#include <math.h>
#include <string.h>

#define BLOCK 12
#define ROUNDS 2000
#define NEAR 1e-10 /* of the greatest value */
#define NOISE 1e-13
#define SWEEPS 60

/* ---------------------------------------------------------- small matrices */

static void
rotate(double *a, size_t p, size_t i, size_t j, double c, double s)
{
    for (size_t k = 0; k < p; k++) {
        double x = a[k * p + i], y = a[k * p + j];

        a[k * p + i] = c * x - s * y;
        a[k * p + j] = s * x + c * y;
    }
}

static void
rotate_rows(double *a, size_t p, size_t i, size_t j, double c, double s)
{
    for (size_t k = 0; k < p; k++) {
        double x = a[i * p + k], y = a[j * p + k];

        a[i * p + k] = c * x - s * y;
        a[j * p + k] = s * x + c * y;
    }
}

/* Make a[i][j] zero. False if it is so already, beside the diagonal. */
static bool
annihilate(double *a, size_t p, size_t i, size_t j, double *vector)
{
    double off = a[i * p + j], t, c, theta;

    if (fabs(off) <= 1e-17 * (fabs(a[i * p + i]) + fabs(a[j * p + j]))) {
        return false;
    }
    theta = (a[j * p + j] - a[i * p + i]) / (2 * off);
    t = 1 / (fabs(theta) + sqrt(theta * theta + 1));
    t = theta < 0 ? -t : t;
    c = 1 / sqrt(t * t + 1);
    rotate(a, p, i, j, c, t * c);
    rotate_rows(a, p, i, j, c, t * c);
    rotate_rows(vector, p, i, j, c, t * c);
    return true;
}

static void
swap_rows(double *v, size_t p, size_t i, size_t j)
{
    for (size_t k = 0; k < p; k++) {
        double x = v[i * p + k];

        v[i * p + k] = v[j * p + k];
        v[j * p + k] = x;
    }
}

static void
sort_down(double *value, double *vector, size_t p)
{
    for (size_t i = 0; i < p; i++) {
        size_t best = i;
        double x;

        for (size_t j = i + 1; j < p; j++) {
            best = value[j] > value[best] ? j : best;
        }
        x = value[i];
        value[i] = value[best];
        value[best] = x;
        swap_rows(vector, p, i, best);
    }
}

void
eigen_small(double *a, size_t p, double *vector, double *value)
{
    bool turned = true;

    memset(vector, 0, p * p * sizeof *vector);
    for (size_t i = 0; i < p; i++) {
        vector[i * p + i] = 1;
    }
    for (int sweep = 0; turned && sweep < SWEEPS; sweep++) {
        turned = false;
        for (size_t i = 0; i < p; i++) {
            for (size_t j = i + 1; j < p; j++) {
                turned = annihilate(a, p, i, j, vector) || turned;
            }
        }
    }
    for (size_t i = 0; i < p; i++) {
        value[i] = a[i * p + i];
    }
    sort_down(value, vector, p);
}

/* ------------------------------------------------------------- large ones */

/* q: an orthonormal block; z = q a. Both [p, n], rows. */
typedef struct span {
    const double *a;
    size_t n, p;
    double *q, *z;
    double ritz[BLOCK * BLOCK], value[BLOCK];
} span;

static double
dot(const double *x, const double *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

static void
add(double *x, double factor, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] += factor * y[i];
    }
}

static void
scale(double *x, double factor, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] *= factor;
    }
}

/* Gram and Schmidt, twice over; a row that lies in the span of those before
 * it, up to rounding, becomes zeros. */
static void
make_orthonormal(double *q, size_t p, size_t n)
{
    for (size_t i = 0; i < p; i++) {
        double *x = q + i * n, before = sqrt(dot(x, x, n)), length;

        for (int twice = 0; twice < 2; twice++) {
            for (size_t j = 0; j < i; j++) {
                add(x, -dot(x, q + j * n, n), q + j * n, n);
            }
        }
        length = sqrt(dot(x, x, n));
        scale(x, length > 1e-13 * before ? 1 / length : 0, n);
    }
}

static void
multiply(span *s)
{
    memset(s->z, 0, s->p * s->n * sizeof *s->z);
    for (size_t r = 0; r < s->n; r++) {
        for (size_t i = 0; i < s->p; i++) {
            add(s->z + i * s->n, s->q[i * s->n + r], s->a + r * s->n, s->n);
        }
    }
}

/* Row i of the eigenvectors within the span: out = sum of factor j of i times
 * row j of `block`. */
static void
combine(const span *s, size_t i, const double *block, double *out)
{
    memset(out, 0, s->n * sizeof *out);
    for (size_t j = 0; j < s->p; j++) {
        add(out, s->ritz[i * s->p + j], block + j * s->n, s->n);
    }
}

static void
solve_within(span *s)
{
    double h[BLOCK * BLOCK];

    for (size_t i = 0; i < s->p; i++) {
        for (size_t j = 0; j <= i; j++) {
            double v = dot(s->q + i * s->n, s->z + j * s->n, s->n);

            h[i * s->p + j] = h[j * s->p + i] = v;
        }
    }
    eigen_small(h, s->p, s->ritz, s->value);
}

/* How far vector i is from being one; `room` holds n numbers, vector too. */
static double
residual(const span *s, size_t i, double *vector, double *room)
{
    combine(s, i, s->q, vector);
    combine(s, i, s->z, room);
    add(room, -s->value[i], vector, s->n);
    return sqrt(dot(room, room, s->n));
}

static void
fix_sign(double *x, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++) {
        best = fabs(x[i]) > fabs(x[best]) ? i : best;
    }
    if (x[best] < 0) {
        scale(x, -1, n);
    }
}

/* Until both vectors are near enough, or rounds are over. */
static void
iterate(span *s, double *vector, double *room)
{
    size_t wanted = s->p < 2 ? s->p : 2;

    for (int round = 0; round < ROUNDS; round++) {
        double off = 0;

        multiply(s);
        solve_within(s);
        for (size_t i = 0; i < wanted; i++) {
            off = fmax(off, residual(s, i, vector + i * s->n, room));
        }
        if (off <= NEAR * s->value[0]) {
            return;
        }
        memcpy(s->q, s->z, s->p * s->n * sizeof *s->q);
        make_orthonormal(s->q, s->p, s->n);
    }
}

mr_err
eigen_leading(const double *a, size_t n, double *vector, double value[2],
              mr_diag *diag)
{
    span s = {.a = a, .n = n, .p = n < BLOCK ? n : BLOCK};
    double *room = mri_alloc(n, sizeof *room);
    mri_draws d = mri_draws_of(0, 0, 0);
    mr_err err = MR_OK;

    s.q = mri_alloc(s.p, n * sizeof *s.q);
    s.z = mri_alloc(s.p, n * sizeof *s.z);
    if (room == NULL || s.q == NULL || s.z == NULL) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                       "no memory for eigenvectors of %zu numbers", n);
    } else {
        for (size_t i = 0; i < s.p * n; i++) {
            s.q[i] = mri_draw_normal(&d);
        }
        make_orthonormal(s.q, s.p, n);
        memset(vector, 0, 2 * n * sizeof *vector);
        iterate(&s, vector, room);
        for (size_t i = 0; i < 2; i++) {
            value[i] =
                i < s.p && s.value[i] > NOISE * s.value[0] ? s.value[i] : 0;
            scale(vector + i * n, value[i] > 0 ? 1 : 0, n);
            fix_sign(vector + i * n, n);
        }
    }
    mri_free(room);
    mri_free(s.q);
    mri_free(s.z);
    return err;
}
