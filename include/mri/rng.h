/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rng.h - counter-based random numbers: a draw is a function of its name.
 */
#ifndef MRI_RNG_H
#define MRI_RNG_H

#include <mri/door.h>

MRI_BEGIN

/*
 * Philox4x32-10.
 * source  Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
 *         1, 2, 3", SC 2011; test vectors of its Random123 distribution
 */
void mri_philox(uint32_t out[4], const uint32_t counter[4],
                const uint32_t key[2]);

/*
 * A sequence of draws: word i of it is word i mod 4 of the block with counter
 * {i div 4, view, op, 0}. Plain values; copy it to branch.
 */
typedef struct mri_draws {
    uint32_t key[2];
    uint32_t view, op;
    uint32_t next; /* i */
    uint32_t block[4];
} mri_draws;

mri_draws mri_draws_of(uint64_t key, uint32_t view, uint32_t op);
uint32_t mri_draw_u32(mri_draws *d);
/* [0, 1): (x >> 8) * 2^-24, exact in f32 */
float mri_draw_unit(mri_draws *d);
/* [low, high): low + (high - low) * unit, computed in f64 */
double mri_draw_range(mri_draws *d, double low, double high);
/* 0 .. n - 1, n >= 1, by multiply-and-shift of one word (bias < n / 2^32) */
uint32_t mri_draw_below(mri_draws *d, uint32_t n);
/* Standard normal from two words (Box-Muller with mri_log, mri_sincos). */
double mri_draw_normal(mri_draws *d);

MRI_END

#endif
