/* SPDX-License-Identifier: Apache-2.0 */
/* rng.c - Philox4x32-10 and the draws made of it. */
#include <mri/rng.h>

#include <mri/fmath.h>

#include <math.h>
#include <string.h>

#define M0 0xD2511F53u
#define M1 0xCD9E8D57u
#define W0 0x9E3779B9u
#define W1 0xBB67AE85u

void
mri_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];

    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)M0 * c0;
        uint64_t p1 = (uint64_t)M1 * c2;

        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += W0;
        k1 += W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

mri_draws
mri_draws_of(uint64_t key, uint32_t view, uint32_t op)
{
    return (mri_draws){
        .key = {(uint32_t)key, (uint32_t)(key >> 32)}, .view = view, .op = op};
}

uint32_t
mri_draw_u32(mri_draws *d)
{
    unsigned word = d->next % 4;

    if (word == 0) {
        uint32_t counter[4] = {d->next / 4, d->view, d->op, 0};

        mri_philox(d->block, counter, d->key);
    }
    d->next++;
    return d->block[word];
}

float
mri_draw_unit(mri_draws *d)
{
    return (float)(mri_draw_u32(d) >> 8) * 0x1p-24f;
}

double
mri_draw_range(mri_draws *d, double low, double high)
{
    return low + (high - low) * (double)mri_draw_unit(d);
}

uint32_t
mri_draw_below(mri_draws *d, uint32_t n)
{
    return (uint32_t)((uint64_t)mri_draw_u32(d) * n >> 32);
}

double
mri_draw_normal(mri_draws *d)
{
    /* (u + 1/2) / 2^32 is never 0, so the logarithm is finite. */
    double u = ((double)mri_draw_u32(d) + 0.5) * 0x1p-32;
    double angle = 6.283185307179586477 * ((double)mri_draw_u32(d) * 0x1p-32);
    double s, c;

    mri_sincos(angle, &s, &c);
    return sqrt(-2.0 * mri_log(u)) * c;
}
