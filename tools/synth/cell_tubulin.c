/* SPDX-License-Identifier: Apache-2.0 */
/* cell_tubulin.c - microtubules: where they begin and which way they run. */
#include "cell.h"

#include <math.h>

#define LIMIT 0.97 /* fibres end just inside the membrane */

static void
lay(cell *c, point from, double angle, double bend, double length)
{
    path way = {from, angle, bend, length, LIMIT};

    lay_path(&c->stain[TUBULIN], &c->body, &way, 1.0);
}

/* Arcs from both poles over the plate, and asters behind the poles. */
static void
spindle(cell *c, draws *d)
{
    double length = 0.55 * c->radius * draw(d, 1.5, 2.0);

    for (int i = 0; i < 26; i++) {
        int side = i % 2 != 0 ? 1 : -1;
        double v = draw(d, -1, 1);

        lay(c, cell_pole(c, side), c->angle + (side > 0 ? PI : 0.0) + 0.75 * v,
            -1.35 * v / c->radius, length);
    }
    for (int i = 0; i < 10; i++) {
        int side = i % 2 != 0 ? 1 : -1;
        double v = draw(d, -1.3, 1.3);
        path way = {cell_pole(c, side), c->angle + (side > 0 ? 0.0 : PI) + v,
                    0.0, 0.35 * c->radius, LIMIT};

        lay_path(&c->stain[TUBULIN], &c->body, &way, 0.6);
    }
}

/* What is left of them when the cell dies. */
static void
stubs(cell *c, draws *d)
{
    for (int i = 0; i < 10; i++) {
        double t = draw(d, 0, TAU);
        double h = 0.8 * c->radius * sqrt(draw_unit(d));
        double angle = draw(d, 0, TAU);
        double length = draw(d, 2, 5);

        lay(c, away(c->centre, h, t), angle, 0.0, length);
    }
}

/* All along the cell. */
static void
parallel(cell *c, draws *d)
{
    uint32_t count = draw_int(d, 18, 34);

    for (uint32_t i = 0; i < count; i++) {
        double a = draw(d, -0.9, 0.9);
        double b = draw(d, -0.8, 0.8);
        double t = 0.10 * draw_normal(d);
        double bend = 0.010 * draw_normal(d);
        double length = c->radius * draw(d, 0.7, 1.6);
        point from = outline_turn(&c->body, 0.9 * a * c->body.a, b * c->body.b);

        lay(c, from, c->angle + t + (i % 2 != 0 ? 0.0 : PI), bend, length);
    }
}

/* Around the nucleus, as in a cell that draws itself together. */
static void
cage(cell *c, draws *d)
{
    uint32_t count = draw_int(d, 14, 28);

    for (uint32_t i = 0; i < count; i++) {
        double t = draw(d, 0, TAU);
        double h = c->na * draw(d, 1.05, 1.7);
        double turn = draw(d, 1, 2);
        double v = 0.12 * draw_normal(d);

        lay(c, away(c->nucleus, h, t), t + PI / 2 + v, 1.0 / h, turn * h);
    }
}

/* From the centrosome, which lies beside the nucleus, to all sides. */
static void
rays(cell *c, draws *d)
{
    point from = away(c->nucleus, 1.05 * c->na, draw(d, 0, TAU));
    uint32_t count = draw_int(d, 18, 34);

    for (uint32_t i = 0; i < count; i++) {
        double t = TAU * (i + draw_unit(d)) / count;
        double bend = 0.020 * draw_normal(d);
        double length = c->radius * draw(d, 0.8, 1.9);
        double start = draw(d, 0, 4);

        lay(c, away(from, start, t), t, bend, length);
    }
}

void
stain_tubulin(cell *c)
{
    draws d = cell_draws(c, STREAM_CHANNEL + TUBULIN);
    double loose = c->loose[TUBULIN];
    const plane *pool = &c->cyto;
    plane *p = &c->stain[TUBULIN];

    *p = (plane){0};
    switch (c->class) {
    case DIVIDING:
        spindle(c, &d);
        loose = 0.25 + loose;
        pool = &c->thick; /* no nucleus keeps it out */
        break;
    case APOPTOTIC:
        stubs(c, &d);
        loose = 0.6 + 0.4 * loose;
        break;
    case STRETCHED:
    case MIGRATING:
        parallel(c, &d);
        break;
    case STARVED:
        cage(c, &d);
        break;
    default:
        rays(c, &d);
    }
    mix(p, p, pool, loose);
}
