/* SPDX-License-Identifier: Apache-2.0 */
/* cell_shape.c - the donor, the outline of the cell and its nuclei. */
#include "cell.h"

#include <mri/fmath.h>

#include <math.h>

static double
clamp(double x, double low, double high)
{
    return least(most(x, low), high);
}

point
away(point p, double length, double angle)
{
    double s, c;

    mri_sincos(angle, &s, &c);
    return (point){p.x + length * c, p.y + length * s};
}

donor
donor_of(uint64_t seed, uint32_t number)
{
    draws d = draws_of(seed, STREAM_DONOR, number);
    donor out;

    for (int c = 0; c < MRI_CELL_CHANNELS; c++) {
        out.gain[c] = mri_exp(0.35 * draw_normal(&d));
    }
    for (int c = 0; c < MRI_CELL_CHANNELS; c++) {
        out.background[c] = draw(&d, 200, 400);
    }
    for (int c = 0; c < MRI_CELL_CHANNELS; c++) {
        out.blur[c] = draw(&d, 0.7, 1.0);
    }
    for (int c = 0; c < MRI_CELL_CHANNELS; c++) {
        out.tilt[c][0] = draw(&d, -0.2, 0.2);
        out.tilt[c][1] = draw(&d, -0.2, 0.2);
    }
    out.read = draw(&d, 3, 7);
    out.photon = draw(&d, 0.3, 0.8);
    out.size = mri_exp(0.06 * draw_normal(&d));
    return out;
}

static waves
draw_waves(draws *d, const double share[3])
{
    waves w;

    for (int i = 0; i < 3; i++) {
        w.p[i] = share[i] * draw_normal(d);
        w.q[i] = share[i] * draw_normal(d);
    }
    return w;
}

/* Long half axis over short one. */
static double
draw_aspect(const cell *c, draws *d)
{
    double aspect = mri_exp(fabs(0.10 * draw_normal(d)));
    double stretch = draw_unit(d);

    switch (c->class) {
    case STRETCHED:
        return aspect * (1.25 + 0.35 * stretch);
    case MIGRATING:
        return aspect * (1.1 + 0.3 * stretch);
    case DIVIDING: /* rounds up */
        return 1.0 + 0.3 * (aspect - 1.0);
    default:
        return aspect;
    }
}

static void
draw_body(cell *c, draws *d)
{
    double amplitude = c->class == DIVIDING ? 0.015 : 0.045, aspect;
    double share[3] = {amplitude * 1.0, amplitude * 0.7, amplitude * 0.5};
    waves w;

    c->radius =
        clamp(20.0 * c->donor.size * mri_exp(0.11 * draw_normal(d)), 15, 25);
    c->centre.x = MIDDLE + draw(d, -5, 5);
    c->centre.y = MIDDLE + draw(d, -5, 5);
    c->angle = draw(d, 0, TAU);
    aspect = draw_aspect(c, d);
    c->axis = sqrt(aspect);
    w = draw_waves(d, share);
    c->body = outline_of(c->centre, c->radius * c->axis, c->radius / c->axis,
                         c->angle, &w);
}

static void
paint_body(cell *c)
{
    for (int i = 0; i < PIXELS; i++) {
        double rho = outline_rho(&c->body, i % SIDE, i / SIDE);
        double in = smooth((1.0 - rho) * c->radius / 1.5 + 0.5);

        c->rho.at[i] = rho;
        c->inside.at[i] = in;
        c->thick.at[i] = in * (0.35 + 0.65 * most(1.0 - rho * rho, 0.0));
        c->edge.at[i] = in * smooth(((rho - 1.0) * c->radius + 4.5) / 3.0);
    }
}

static void
add_nucleus(cell *c, point at, double a, double b, double angle, const waves *w)
{
    c->nuclei[c->nuclei_count++] = outline_of(at, a, b, angle, w);
}

/* Where the nucleus lies, in the frame of the cell. */
static void
draw_place(cell *c, draws *d)
{
    double along = 0.12 * c->radius * draw_normal(d);
    double across = 0.12 * c->radius * draw_normal(d);

    if (c->class == MIGRATING) { /* trails behind */
        along = -c->radius * draw(d, 0.30, 0.42);
    }
    c->nucleus.x = along;
    c->nucleus.y = across;
}

static void
place_nucleus(cell *c)
{
    double along = clamp(c->nucleus.x, -0.42 * c->radius, 0.42 * c->radius);
    double across = clamp(c->nucleus.y, -0.25 * c->radius, 0.25 * c->radius);

    c->nucleus = outline_turn(&c->body, along, across);
}

static void
two_nuclei(cell *c, draws *d, double angle, const waves *w)
{
    double s = c->na * draw(d, 0.80, 0.95), sine, cosine;

    mri_sincos(angle, &sine, &cosine);
    for (int side = 1; side >= -1; side -= 2) {
        point at = {c->nucleus.x + side * s * cosine,
                    c->nucleus.y + side * s * sine};

        add_nucleus(c, at, 0.76 * c->na, 0.70 * c->na, angle + PI / 2, w);
    }
}

static void
fragments(cell *c, draws *d, const waves *w)
{
    uint32_t count = draw_int(d, 7, NUCLEI);

    for (uint32_t i = 0; i < count; i++) {
        double angle = draw(d, 0, TAU);
        double away_by = c->na * 1.25 * sqrt(draw_unit(d));
        double r = c->na * draw(d, 0.2, 0.42);

        add_nucleus(c, away(c->nucleus, away_by, angle), r, r, 0.0, w);
    }
}

/* The chromosomes in a plane between the poles. */
static void
plate(cell *c, draws *d, const waves *w)
{
    double x = c->centre.x + 0.05 * c->radius * draw_normal(d);
    double y = c->centre.y + 0.05 * c->radius * draw_normal(d);
    double a = c->na * draw(d, 1.05, 1.25);
    double b = c->na * draw(d, 0.42, 0.54);

    add_nucleus(c, (point){x, y}, a, b, c->angle + PI / 2, w);
}

static void
draw_nuclei(cell *c, draws *d)
{
    static const double share[3] = {0.03, 0.03, 0.03};
    double aspect, angle;
    waves w;

    c->na = c->radius * draw(d, 0.34, 0.44);
    aspect = sqrt(1.0 + fabs(0.15 * draw_normal(d)));
    angle = draw(d, 0, TAU);
    draw_place(c, d);
    if (c->class == STRETCHED) {
        aspect = sqrt(draw(d, 1.5, 2.0));
        angle = c->angle + 0.15 * draw_normal(d);
    }
    place_nucleus(c);
    w = draw_waves(d, share);
    switch (c->class) {
    case BINUCLEATE:
        two_nuclei(c, d, angle, &w);
        break;
    case APOPTOTIC:
        fragments(c, d, &w);
        break;
    case DIVIDING:
        plate(c, d, &w);
        break;
    default:
        add_nucleus(c, c->nucleus, c->na * aspect, c->na / aspect, angle, &w);
    }
}

static void
paint_nuclei(cell *c)
{
    c->core = (plane){0};
    for (uint32_t i = 0; i < c->nuclei_count; i++) {
        outline_fill(&c->nuclei[i], 1.2, &c->core);
    }
    for (int i = 0; i < PIXELS; i++) {
        c->cyto.at[i] = c->thick.at[i] * (1.0 - 0.85 * c->core.at[i]);
    }
}

void
cell_shape(cell *c)
{
    draws d = cell_draws(c, STREAM_SHAPE);

    c->nuclei_count = 0;
    draw_body(c, &d);
    paint_body(c);
    c->loose[DAPI] = draw(&d, 0.02, 0.10);
    for (int i = TUBULIN; i <= MARKER; i++) {
        c->loose[i] = draw(&d, 0.15, 0.35);
    }
    draw_nuclei(c, &d);
    paint_nuclei(c);
}
