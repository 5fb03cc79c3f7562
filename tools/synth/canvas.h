/* SPDX-License-Identifier: Apache-2.0 */
/*
 * canvas.h - drawing with soft strokes on a small plane of real numbers.
 *
 * Positions are real; the centre of pixel (x, y) is at (x, y). What falls off
 * the plane is lost. Every sum has a fixed order, so that the bits of a
 * picture do not depend on the compiler.
 */
#ifndef SYNTH_CANVAS_H
#define SYNTH_CANVAS_H

#include <mri/synth.h>

#define SIDE MRI_CELL_SIDE
#define PIXELS (SIDE * SIDE)
#define MIDDLE ((SIDE - 1) / 2.0)
#define PI 3.141592653589793
#define TAU 6.283185307179586

typedef struct plane {
    double at[PIXELS]; /* [y][x] */
} plane;

/* As fmin and fmax for numbers, without a call into libm. */
static inline double
least(double a, double b)
{
    return a < b ? a : b;
}

static inline double
most(double a, double b)
{
    return a > b ? a : b;
}

/* 0 below 0, 1 above 1, and no corner between. */
static inline double
smooth(double t)
{
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return t * t * (3.0 - 2.0 * t);
}

/* Add w at a position, shared among the four pixels around it. */
void splat(plane *p, double x, double y, double w);
/* Add a soft spot of radius r and height w: w (1 - d^2/r^2)^2. */
void spot(plane *p, double x, double y, double r, double w);
/* Multiply by 1 + such a spot. */
void dab(plane *p, double x, double y, double r, double w);

double plane_sum(const plane *p);
/* Both scaled to sum 1, then (1 - share) a + share b. An empty plane gives
 * nothing. `out` may be a or b. */
void mix(plane *out, const plane *a, const plane *b, double share);
/* Gaussian of 9 taps a side, down then across; edge pixels are repeated. */
void blur(plane *p, double sigma);

#endif
