/* SPDX-License-Identifier: Apache-2.0 */
/*
 * draw.h - the random words of a cell: one stream a purpose, so that another
 * draw in one channel does not move those of the next.
 *
 * Word i of a stream is word i mod 4 of the Philox block with counter
 * {i div 4, stream, index, "cell"} under the seed. Where several draws make
 * one expression, each stands in a statement of its own: C does not say in
 * which order it evaluates operands.
 */
#ifndef SYNTH_DRAW_H
#define SYNTH_DRAW_H

#include <mri/rng.h>

enum {
    STREAM_DONOR = 0, /* index: the donor; of all others: the cell */
    STREAM_SHAPE = 1,
    STREAM_CHANNEL = 2, /* and one for each channel: 2 .. 6 */
    STREAM_CAMERA = 7,
    STREAM_NOISE = 8
};

typedef struct draws {
    uint32_t key[2], stream, index;
    uint32_t next;
    uint32_t block[4];
} draws;

static inline draws
draws_of(uint64_t seed, uint32_t stream, uint32_t index)
{
    return (draws){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                   .stream = stream,
                   .index = index};
}

static inline uint32_t
draw_word(draws *d)
{
    unsigned word = d->next % 4;

    if (word == 0) {
        uint32_t counter[4] = {d->next / 4, d->stream, d->index, 0x6c6c6563};

        mri_philox(d->block, counter, d->key);
    }
    d->next++;
    return d->block[word];
}

/* [low, high) */
static inline double
draw(draws *d, double low, double high)
{
    return low + (high - low) * ((double)(draw_word(d) >> 8) * 0x1p-24);
}

static inline double
draw_unit(draws *d)
{
    return draw(d, 0, 1);
}

/* low .. high, both included */
static inline uint32_t
draw_int(draws *d, uint32_t low, uint32_t high)
{
    return low + (uint32_t)((uint64_t)draw_word(d) * (high - low + 1) >> 32);
}

/* Nearly normal without a logarithm: the sum of the 8 bytes of two words, less
 * its mean, over its standard deviation. Reaches 4.88. */
static inline double
near_normal(uint32_t a, uint32_t b)
{
    uint64_t pairs = (uint64_t)(a & 0x00ff00ff) + (a >> 8 & 0x00ff00ff) +
                     (b & 0x00ff00ff) + (b >> 8 & 0x00ff00ff);

    return ((double)((pairs & 0xffff) + (pairs >> 16)) - 1020.0) / 209.0215;
}

static inline double
draw_normal(draws *d)
{
    uint32_t a = draw_word(d);
    uint32_t b = draw_word(d);

    return near_normal(a, b);
}

#endif
