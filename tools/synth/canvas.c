/* SPDX-License-Identifier: Apache-2.0 */
/* canvas.c - drawing with soft strokes. */
#include "canvas.h"

#include <mri/fmath.h>

#include <math.h>

#define REACH 4 /* of the blur, in pixels */
#define PADDED (SIDE + 2 * REACH)

static void
add_at(plane *p, int x, int y, double w)
{
    if (x >= 0 && x < SIDE && y >= 0 && y < SIDE) {
        p->at[y * SIDE + x] += w;
    }
}

void
splat(plane *p, double x, double y, double w)
{
    double left = floor(x), top = floor(y);
    double fx = x - left, fy = y - top;
    int i = (int)left, j = (int)top;

    add_at(p, i, j, (1 - fx) * (1 - fy) * w);
    add_at(p, i + 1, j, fx * (1 - fy) * w);
    add_at(p, i, j + 1, (1 - fx) * fy * w);
    add_at(p, i + 1, j + 1, fx * fy * w);
}

typedef struct window {
    int x0, x1, y0, y1; /* the last ones belong to it */
} window;

static window
window_around(double x, double y, double r)
{
    return (window){
        (int)most(0, ceil(x - r)), (int)least(SIDE - 1, floor(x + r)),
        (int)most(0, ceil(y - r)), (int)least(SIDE - 1, floor(y + r))};
}

/* (1 - d^2/r^2)^2 at a distance (dx, dy), 0 beyond r */
static double
bump(double dx, double dy, double r)
{
    double t = 1.0 - (dx * dx + dy * dy) / (r * r);

    return t > 0 ? t * t : 0;
}

void
spot(plane *p, double x, double y, double r, double w)
{
    window in = window_around(x, y, r);

    for (int j = in.y0; j <= in.y1; j++) {
        for (int i = in.x0; i <= in.x1; i++) {
            p->at[j * SIDE + i] += w * bump(i - x, j - y, r);
        }
    }
}

void
dab(plane *p, double x, double y, double r, double w)
{
    window in = window_around(x, y, r);

    for (int j = in.y0; j <= in.y1; j++) {
        for (int i = in.x0; i <= in.x1; i++) {
            p->at[j * SIDE + i] *= 1.0 + w * bump(i - x, j - y, r);
        }
    }
}

double
plane_sum(const plane *p)
{
    double sum = 0;

    for (int i = 0; i < PIXELS; i++) {
        sum += p->at[i];
    }
    return sum;
}

void
mix(plane *out, const plane *a, const plane *b, double share)
{
    double sum_a = plane_sum(a), sum_b = plane_sum(b);
    double wa = sum_a > 0 ? (1.0 - share) / sum_a : 0;
    double wb = sum_b > 0 ? share / sum_b : 0;

    for (int i = 0; i < PIXELS; i++) {
        out->at[i] = wa * a->at[i] + wb * b->at[i];
    }
}

static void
gauss(double taps[2 * REACH + 1], double sigma)
{
    double sum = 0;

    for (int i = 0; i <= 2 * REACH; i++) {
        double d = (i - REACH) / sigma;

        taps[i] = mri_exp(-0.5 * (d * d));
        sum += taps[i];
    }
    for (int i = 0; i <= 2 * REACH; i++) {
        taps[i] /= sum;
    }
}

static int
inside(int i)
{
    return i < 0 ? 0 : i >= SIDE ? SIDE - 1 : i;
}

void
blur(plane *p, double sigma)
{
    double taps[2 * REACH + 1], tall[PIXELS], row[PADDED];

    gauss(taps, sigma);
    for (int y = 0; y < SIDE; y++) {
        double *out = &tall[y * SIDE];

        for (int x = 0; x < SIDE; x++) {
            out[x] = 0;
        }
        for (int k = 0; k <= 2 * REACH; k++) {
            const double *in = &p->at[inside(y + k - REACH) * SIDE];

            for (int x = 0; x < SIDE; x++) {
                out[x] += taps[k] * in[x];
            }
        }
    }
    for (int y = 0; y < SIDE; y++) {
        double *out = &p->at[y * SIDE];

        for (int x = 0; x < PADDED; x++) {
            row[x] = tall[y * SIDE + inside(x - REACH)];
        }
        for (int x = 0; x < SIDE; x++) {
            out[x] = 0;
        }
        for (int k = 0; k <= 2 * REACH; k++) {
            for (int x = 0; x < SIDE; x++) {
                out[x] += taps[k] * row[x + k];
            }
        }
    }
}
