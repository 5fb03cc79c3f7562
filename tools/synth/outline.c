/* SPDX-License-Identifier: Apache-2.0 */
/* outline.c - ellipses with waves, and paths inside them. */
#include "outline.h"

#include <mri/fmath.h>

#include <math.h>

#define STEP 0.75

outline
outline_of(point centre, double a, double b, double angle, const waves *w)
{
    outline o = {.cx = centre.x, .cy = centre.y, .a = a, .b = b, .waves = *w};

    mri_sincos(angle, &o.sin, &o.cos);
    o.r = sqrt(a * b);
    return o;
}

point
outline_turn(const outline *o, double along, double across)
{
    return (point){o->cx + o->cos * along - o->sin * across,
                   o->cy + o->sin * along + o->cos * across};
}

point
outline_at(const outline *o, double rho, double phi)
{
    double s, c;

    mri_sincos(phi, &s, &c);
    return outline_turn(o, rho * o->a * c, rho * o->b * s);
}

double
outline_rho(const outline *o, double px, double py)
{
    double dx = px - o->cx, dy = py - o->cy;
    double x = (o->cos * dx + o->sin * dy) / o->a;
    double y = (o->cos * dy - o->sin * dx) / o->b;
    double r = sqrt(x * x + y * y) + 1e-9;
    double c1 = x / r, s1 = y / r, c = c1, s = s1, radius = 1;

    for (int i = 0; i < 3; i++) { /* cos, sin of 2, 3, 4 times the angle */
        double next = c * c1 - s * s1;

        s = s * c1 + c * s1;
        c = next;
        radius = radius + o->waves.p[i] * c + o->waves.q[i] * s;
    }
    return r / radius;
}

/* Pixels farther from the centre than this are outside, waves and softness
 * included. */
static double
farthest(const outline *o, double soft)
{
    double swing = 1;

    for (int i = 0; i < 3; i++) {
        swing += fabs(o->waves.p[i]) + fabs(o->waves.q[i]);
    }
    return most(o->a, o->b) * swing * (1 + soft / o->r);
}

void
outline_fill(const outline *o, double soft, plane *p)
{
    double far = farthest(o, soft);
    int x0 = (int)most(0, floor(o->cx - far));
    int x1 = (int)least(SIDE - 1, ceil(o->cx + far));
    int y0 = (int)most(0, floor(o->cy - far));
    int y1 = (int)least(SIDE - 1, ceil(o->cy + far));

    for (int y = y0; y <= y1; y++) {
        for (int x = x0; x <= x1; x++) {
            double in =
                smooth((1.0 - outline_rho(o, x, y)) * o->r / soft + 0.5);

            if (in > p->at[y * SIDE + x]) {
                p->at[y * SIDE + x] = in;
            }
        }
    }
}

void
lay_path(plane *p, const outline *cell, const path *way, double w)
{
    double x = way->from.x, y = way->from.y, angle = way->angle;

    for (int i = 0; i * STEP < way->length; i++) {
        double s, c;

        if (outline_rho(cell, x, y) >= way->limit) {
            return;
        }
        splat(p, x, y, w);
        mri_sincos(angle, &s, &c);
        x = x + STEP * c;
        y = y + STEP * s;
        angle = angle + STEP * way->bend;
    }
}
