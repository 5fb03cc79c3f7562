/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outline.h - a closed curve: an ellipse whose radius runs in waves.
 */
#ifndef SYNTH_OUTLINE_H
#define SYNTH_OUTLINE_H

#include "canvas.h"

/* Waves of 2, 3 and 4 periods around the curve: shares of the radius. */
typedef struct waves {
    double p[3], q[3]; /* of cos and of sin */
} waves;

typedef struct outline {
    double cx, cy;   /* centre */
    double a, b;     /* half axes */
    double cos, sin; /* of the angle of the first axis */
    double r;        /* sqrt(a b) */
    waves waves;
} outline;

typedef struct point {
    double x, y;
} point;

outline outline_of(point centre, double a, double b, double angle,
                   const waves *w);
/* A position in the frame of the outline's axes, in pixels of the plane. */
point outline_turn(const outline *o, double along, double across);
/* At a share `rho` of the half axes, in the direction phi; without waves. */
point outline_at(const outline *o, double rho, double phi);
/* 0 at the centre, 1 on the curve. */
double outline_rho(const outline *o, double x, double y);
/* Raise p to 1 inside, falling to 0 over `soft` pixels. */
void outline_fill(const outline *o, double soft, plane *p);

/* A path of steps of 0.75 pixels that bends evenly. */
typedef struct path {
    point from;
    double angle, bend; /* at the beginning; per pixel */
    double length;
    double limit; /* of rho: where it leaves the cell, it ends */
} path;

/* Lay w at every step. */
void lay_path(plane *p, const outline *cell, const path *way, double w);

#endif
