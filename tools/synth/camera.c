/* SPDX-License-Identifier: Apache-2.0 */
/* camera.c - stain, optics and sensor: from planes of stain to counts. */
#include "cell.h"

#include <mri/fmath.h>

#include <math.h>

/* Counts of a channel in all, for a donor, a cell and a size of 1. */
static const double stain_counts[MRI_CELL_CHANNELS] = {550e3, 990e3, 880e3,
                                                       770e3, 770e3};
#define HOT 0.6 /* share of channels in which one pixel is hot */

/* What is drawn for one channel of one cell. */
typedef struct shot {
    double total; /* counts */
    double hot;
    uint32_t hot_x, hot_y;
    double height; /* of the hot pixel, in ranges of the picture */
} shot;

static shot
draw_shot(const cell *c, draws *d, int channel)
{
    double size = c->radius / 20.0;
    shot s;

    s.total = stain_counts[channel] * c->donor.gain[channel] *
              mri_exp(0.25 * draw_normal(d)) * (size * size);
    s.hot = draw_unit(d);
    s.hot_x = draw_int(d, 0, SIDE - 1);
    s.hot_y = draw_int(d, 0, SIDE - 1);
    s.height = draw(d, 0.5, 2.5);
    return s;
}

/* Stain to counts, out of focus, under a lamp that does not stand straight. */
static void
expose(cell *c, int channel, double total, double focus)
{
    plane *p = &c->stain[channel];
    const double *tilt = c->donor.tilt[channel];
    double scale = total / plane_sum(p);

    for (int i = 0; i < PIXELS; i++) {
        p->at[i] *= scale;
    }
    blur(p, c->donor.blur[channel] * focus);
    for (int i = 0; i < PIXELS; i++) {
        double lamp = 1.0 + tilt[0] * (i % SIDE - MIDDLE) / 36.0 +
                      tilt[1] * (i / SIDE - MIDDLE) / 36.0;

        p->at[i] = p->at[i] * lamp + c->donor.background[channel];
    }
}

/* Of the light and of reading out. Two pixels share a block of words. */
static void
add_noise(cell *c, int channel)
{
    draws d = cell_draws(c, STREAM_NOISE);
    plane *p = &c->stain[channel];
    double dark = c->donor.read * c->donor.read;

    d.next = (uint32_t)channel * PIXELS * 2;
    for (int i = 0; i < PIXELS; i++) {
        double z = draw_normal(&d);

        p->at[i] += z * sqrt(dark + c->donor.photon * p->at[i]);
    }
}

static double
range_of(const plane *p)
{
    double low = p->at[0], high = p->at[0];

    for (int i = 1; i < PIXELS; i++) {
        low = least(low, p->at[i]);
        high = most(high, p->at[i]);
    }
    return high - low;
}

static void
digitise(const plane *p, uint16_t *out)
{
    for (int i = 0; i < PIXELS; i++) {
        double v = floor(p->at[i] + 0.5);

        out[i] = (uint16_t)(v < 0 ? 0 : v > 65535 ? 65535 : v);
    }
}

void
cell_photograph(cell *c, uint16_t out[MRI_CELL_VALUES])
{
    draws d = cell_draws(c, STREAM_CAMERA);
    double focus = mri_exp(0.10 * draw_normal(&d));

    for (int channel = 0; channel < MRI_CELL_CHANNELS; channel++) {
        shot s = draw_shot(c, &d, channel);
        plane *p = &c->stain[channel];

        expose(c, channel, s.total, focus);
        add_noise(c, channel);
        if (s.hot < HOT) {
            p->at[s.hot_y * SIDE + s.hot_x] += s.height * range_of(p);
        }
        digitise(p, out + channel * PIXELS);
    }
}
