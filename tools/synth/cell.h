/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cell.h - one cell while it is painted: its donor, its shape, five planes of
 * stain.
 *
 * The classes are states of a cell that differ in where things lie. How much
 * stain a channel holds depends on the donor, the cell and its size, never on
 * the class: every channel is a mixture of sum 1 that the camera scales.
 */
#ifndef SYNTH_CELL_H
#define SYNTH_CELL_H

#include "draw.h"
#include "outline.h"

typedef enum cell_class {
    ACTIVATED,
    APOPTOTIC,
    BINUCLEATE,
    DIVIDING,
    MIGRATING,
    RESTING,
    STARVED,
    STRETCHED
} cell_class;

typedef enum cell_channel { DAPI, TUBULIN, ACTIN, MITO, MARKER } cell_channel;

/* What all cells of a donor have in common: preparation and microscope. */
typedef struct donor {
    double gain[MRI_CELL_CHANNELS];       /* of the stain, about 1 */
    double background[MRI_CELL_CHANNELS]; /* counts */
    double blur[MRI_CELL_CHANNELS];       /* sigma, pixels */
    double tilt[MRI_CELL_CHANNELS][2];    /* of the lamp, along x and y */
    double read;                          /* counts of noise in the dark */
    double photon;                        /* counts a photon makes */
    double size;                          /* of the cells, about 1 */
} donor;

#define NUCLEI 10

typedef struct cell {
    uint64_t seed;
    uint32_t index;
    cell_class class;
    donor donor;

    point centre;
    double radius; /* of a circle as large, pixels */
    double angle;  /* of the long axis, which is where it migrates to */
    double axis;   /* half the long axis / radius */
    outline body;
    double na;     /* radius of the nucleus, pixels */
    point nucleus; /* its centre */
    outline nuclei[NUCLEI];
    uint32_t nuclei_count;
    double loose[MRI_CELL_CHANNELS]; /* share of stain that bound nowhere */

    plane rho;                      /* outline_rho of the body */
    plane inside;                   /* 1 in the cell, 0 outside */
    plane thick;                    /* its thickness */
    plane edge;                     /* its rim */
    plane core;                     /* 1 in the nuclei */
    plane cyto;                     /* thickness without the nuclei */
    plane stain[MRI_CELL_CHANNELS]; /* of any sum */
} cell;

/* The words of one purpose for this cell: STREAM_x of draw.h. */
static inline draws
cell_draws(const cell *c, uint32_t stream)
{
    return draws_of(c->seed, stream, c->index);
}

/* p + length in the direction of angle */
point away(point p, double length, double angle);

donor donor_of(uint64_t seed, uint32_t number);

/* cell_shape.c: everything but the stains. */
void cell_shape(cell *c);

/* cell_stain.c, cell_tubulin.c: fill stain[channel]. */
void stain_dapi(cell *c);
void stain_tubulin(cell *c);
void stain_actin(cell *c);
void stain_mito(cell *c);
void stain_marker(cell *c);

/* Where the spindle ends when it divides; side: 1 or -1. */
point cell_pole(const cell *c, int side);

/* camera.c: what a microscope makes of the stains. */
void cell_photograph(cell *c, uint16_t out[MRI_CELL_VALUES]);

#endif
