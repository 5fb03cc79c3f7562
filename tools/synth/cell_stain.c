/* SPDX-License-Identifier: Apache-2.0 */
/* cell_stain.c - DNA, actin, mitochondria and the marker. */
#include "cell.h"

#include <math.h>

point
cell_pole(const cell *c, int side)
{
    double by = side * 0.55 * c->radius;

    return (point){c->centre.x + by * c->body.cos,
                   c->centre.y + by * c->body.sin};
}

/* ---- DAPI: DNA, which fills the nuclei ---- */

/* In any of the nuclei, within a share of its radius. */
static point
draw_in_nucleus(const cell *c, draws *d, double share)
{
    double angle = draw(d, 0, TAU);
    double by = share * c->na * sqrt(draw_unit(d));
    const outline *in = &c->nuclei[draw_int(d, 0, c->nuclei_count - 1)];

    return away((point){in->cx, in->cy}, by, angle);
}

/* Dark nucleoli, uneven chromatin. */
static void
texture(cell *c, draws *d)
{
    uint32_t nucleoli = draw_int(d, 2, 4);

    for (uint32_t i = 0; i < nucleoli; i++) {
        point at = draw_in_nucleus(c, d, 0.6);

        dab(&c->stain[DAPI], at.x, at.y, draw(d, 2.0, 3.2), -0.55);
    }
    for (int i = 0; i < 12; i++) {
        point at = draw_in_nucleus(c, d, 1.0);

        dab(&c->stain[DAPI], at.x, at.y, 2.5, draw(d, -0.2, 0.3));
    }
}

void
stain_dapi(cell *c)
{
    draws d = cell_draws(c, STREAM_CHANNEL + DAPI);
    plane *p = &c->stain[DAPI];

    *p = c->core;
    if (c->class != DIVIDING && c->class != APOPTOTIC) { /* not condensed */
        texture(c, &d);
    }
    mix(p, p, &c->thick, c->loose[DAPI]);
}

/* ---- actin ---- */

/* Straight bundles from end to end. */
static void
stress_fibres(cell *c, draws *d)
{
    uint32_t count = draw_int(d, 6, 8);

    for (uint32_t i = 0; i < count; i++) {
        double lane = 2.0 * (i + draw(d, 0.2, 0.8)) / count - 1.0;
        double along = c->radius * draw(d, -0.15, 0.15);
        double angle = c->angle + 0.04 * draw_normal(d);
        path way = {outline_turn(&c->body, along, 0.9 * c->body.b * lane),
                    angle, 0.0, 2.0 * c->radius, 0.97};

        lay_path(&c->stain[ACTIN], &c->body, &way, 1.0);
        way.angle = angle + PI;
        lay_path(&c->stain[ACTIN], &c->body, &way, 1.0);
    }
}

/* How far a pixel is in front of the centre, in long half axes. */
static double
front(const cell *c, int i)
{
    double dx = i % SIDE - c->centre.x, dy = i / SIDE - c->centre.y;

    return (dx * c->body.cos + dy * c->body.sin) / c->body.a;
}

/* A broad sheet in front. */
static void
lamella(cell *c)
{
    for (int i = 0; i < PIXELS; i++) {
        c->stain[ACTIN].at[i] = c->inside.at[i] *
                                smooth((front(c, i) - 0.25) / 0.5) *
                                (0.3 + smooth((c->rho.at[i] - 0.6) / 0.3));
    }
}

static void
blebs(cell *c, draws *d)
{
    uint32_t count = draw_int(d, 14, 20);

    for (uint32_t i = 0; i < count; i++) {
        double angle = draw(d, 0, TAU);
        double by = c->radius * draw(d, 0.7, 1.0);
        point at = away(c->centre, by, angle);

        spot(&c->stain[ACTIN], at.x, at.y, draw(d, 3.0, 4.5), 1.0);
    }
}

/* An uneven shell under the membrane. */
static void
cortex(cell *c, draws *d)
{
    mix(&c->stain[ACTIN], &c->edge, &c->cyto, c->loose[ACTIN]);
    for (int i = 0; i < 8; i++) {
        double angle = draw(d, 0, TAU);
        double by = c->radius * draw(d, 0.2, 1.0);
        point at = away(c->centre, by, angle);

        dab(&c->stain[ACTIN], at.x, at.y, 6.0, draw(d, -0.4, 0.6));
    }
}

void
stain_actin(cell *c)
{
    draws d = cell_draws(c, STREAM_CHANNEL + ACTIN);
    plane *p = &c->stain[ACTIN];

    *p = (plane){0};
    switch (c->class) {
    case STRETCHED:
        stress_fibres(c, &d);
        mix(p, p, &c->edge, draw(&d, 0.1, 0.4));
        break;
    case MIGRATING:
        lamella(c);
        mix(p, p, &c->edge, draw(&d, 0.1, 0.4));
        break;
    case APOPTOTIC:
        blebs(c, &d);
        break;
    default:
        cortex(c, &d);
        return;
    }
    mix(p, p, &c->cyto, c->loose[ACTIN]);
}

/* ---- mitochondria ---- */

/* What is drawn for each, whatever becomes of it. */
typedef struct mito {
    double around, out; /* where: [0, 1) each, evenly over a disc */
    double angle, turn, length, weight;
} mito;

static mito
draw_mito(draws *d)
{
    mito m;

    m.around = draw_unit(d);
    m.out = sqrt(draw_unit(d));
    m.angle = draw(d, 0, TAU);
    m.turn = draw_normal(d);
    m.length = draw(d, 5, 10);
    m.weight = draw(d, 0.6, 1.4);
    return m;
}

static void
lay_mito(cell *c, point from, double angle, double length, const mito *m)
{
    path way = {from, angle, 0.10 * m->turn, length, 0.92};

    lay_path(&c->stain[MITO], &c->body, &way, m->weight);
}

/* Tubules all over the cytoplasm. */
static void
tubule(cell *c, const mito *m)
{
    point from = outline_at(&c->body, 0.38 + 0.52 * m->out, TAU * m->around);
    double angle = m->angle;

    if (c->class == STRETCHED) {
        angle = c->angle + 0.2 * m->turn + (m->angle > PI ? PI : 0.0);
    }
    lay_mito(c, from, angle, m->length, m);
}

/* Round pieces. */
static void
piece(cell *c, const mito *m)
{
    double rho =
        c->class == DIVIDING ? 0.62 + 0.28 * m->out : 0.42 + 0.46 * m->out;
    point at = outline_at(&c->body, rho, TAU * m->around);

    spot(&c->stain[MITO], at.x, at.y, 1.9, m->weight);
}

/* Gathered on one side of the nucleus. */
static void
gathered(cell *c, double side, const mito *m)
{
    double spread = c->class == STARVED     ? 0.45
                    : c->class == APOPTOTIC ? 0.35
                                            : 0.5;
    double angle = side + (TAU * m->around - PI) * spread;
    point from = away(c->nucleus, c->na * (1.0 + 0.75 * m->out), angle);

    lay_mito(c, from, m->angle, 0.5 * m->length, m);
}

static void
lay_mitos(cell *c, draws *d)
{
    double side = draw(d, 0, TAU);
    uint32_t count = draw_int(d, 16, 44);

    if (c->class == MIGRATING) {
        side = c->angle + PI;
    }
    for (uint32_t i = 0; i < count; i++) {
        mito m = draw_mito(d);

        switch (c->class) {
        case RESTING:
        case BINUCLEATE:
        case STRETCHED:
            tubule(c, &m);
            break;
        case ACTIVATED:
        case DIVIDING:
            piece(c, &m);
            break;
        default:
            gathered(c, side, &m);
        }
    }
}

void
stain_mito(cell *c)
{
    draws d = cell_draws(c, STREAM_CHANNEL + MITO);
    plane *p = &c->stain[MITO];

    *p = (plane){0};
    lay_mitos(c, &d);
    if (c->class != APOPTOTIC) { /* the nucleus keeps them out */
        for (int i = 0; i < PIXELS; i++) {
            p->at[i] *= 1.0 - 0.8 * c->core.at[i];
        }
    }
    mix(p, p, &c->cyto, c->loose[MITO]);
}

/* ---- the marker: a protein that moves ---- */

static void
denser_inwards(cell *c)
{
    for (int i = 0; i < PIXELS; i++) {
        c->stain[MARKER].at[i] = c->cyto.at[i] * most(1.0 - c->rho.at[i], 0.0);
    }
}

static void
leading_edge(cell *c)
{
    for (int i = 0; i < PIXELS; i++) {
        c->stain[MARKER].at[i] = c->edge.at[i] * smooth(front(c, i) / 0.5);
    }
}

/* Adhesions at the rim, or vesicles. */
static void
spots(cell *c, draws *d)
{
    uint32_t count =
        c->class == APOPTOTIC ? draw_int(d, 6, 16) : draw_int(d, 10, 30);

    for (uint32_t i = 0; i < count; i++) {
        double phi = draw(d, 0, TAU);
        double u = draw_unit(d);
        double s = draw_unit(d);
        double w = draw(d, 0.6, 1.4);
        bool rim = c->class == STRETCHED;
        point at = outline_at(
            &c->body, rim ? 0.78 + 0.15 * u : 0.40 + 0.5 * sqrt(u), phi);

        spot(&c->stain[MARKER], at.x, at.y, 1.6 + (rim ? 0.8 : 1.0) * s, w);
    }
}

static void
poles(cell *c)
{
    for (int side = 1; side >= -1; side -= 2) {
        point at = cell_pole(c, side);

        spot(&c->stain[MARKER], at.x, at.y, 4.0, 1.0);
    }
}

void
stain_marker(cell *c)
{
    draws d = cell_draws(c, STREAM_CHANNEL + MARKER);
    plane *p = &c->stain[MARKER];

    *p = (plane){0};
    switch (c->class) {
    case ACTIVATED:
        *p = c->core;
        break;
    case RESTING:
        denser_inwards(c);
        break;
    case DIVIDING:
        poles(c);
        mix(p, p, &c->thick, 0.5 + 0.5 * c->loose[MARKER]);
        return;
    case MIGRATING:
        leading_edge(c);
        break;
    default:
        spots(c, &d);
    }
    mix(p, p, &c->cyto, c->loose[MARKER]);
}
