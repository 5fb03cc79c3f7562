/* SPDX-License-Identifier: Apache-2.0 */
/* order.c - position to sample, and the keys of draws. */
#include "order.h"

#include <mri/bytes.h>
#include <mri/crc32c.h>
#include <mri/hash.h>
#include <mri/rng.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SPLIT_BYTES 256 /* of a name that is hashed in one piece */

static uint64_t
order_key(uint64_t seed, uint64_t epoch, const char *split)
{
    uint8_t raw[16 + SPLIT_BYTES];
    size_t n = strlen(split);

    mri_put64(raw, seed);
    mri_put64(raw + 8, epoch);
    if (n > SPLIT_BYTES) { /* a union of many */
        return mri_xxh3_two(raw, 16, split, n);
    }
    memcpy(raw + 16, split, n);
    return mri_xxh3(raw, 16 + n);
}

/* Fisher and Yates, from the last place to the first. */
static void
shuffle_table(mri_order *o)
{
    mri_draws d = mri_draws_of(o->key, 0, mri_crc32c(0, "order", 5));

    for (uint32_t i = 0; i < o->n; i++) {
        o->table[i] = (uint16_t)i;
    }
    for (uint32_t i = (uint32_t)o->n - 1; i > 0; i--) {
        uint32_t j = mri_draw_below(&d, i + 1);
        uint16_t kept = o->table[i];

        o->table[i] = o->table[j];
        o->table[j] = kept;
    }
}

void
mri_order_init(mri_order *o, uint64_t n, uint64_t seed, uint64_t epoch,
               const char *split, bool identity)
{
    uint64_t key = order_key(seed, epoch, split);

    assert(n >= 1);
    if (o->n == n && o->key == key && o->identity == identity) {
        return;
    }
    o->n = n;
    o->identity = identity;
    o->key = key;
    o->half = 1;
    while (o->half < 32 && (uint64_t)1 << 2 * o->half < n) {
        o->half++;
    }
    if (!identity && n <= MRI_ORDER_SMALL) {
        shuffle_table(o);
    }
}

static uint64_t
scramble(const mri_order *o, uint32_t round, uint64_t x)
{
    uint8_t raw[12];

    mri_put32(raw, round);
    mri_put64(raw + 4, x);
    return mri_xxh3_seeded(raw, sizeof raw, o->key);
}

/* A permutation of 0 .. 4^half - 1. */
static uint64_t
feistel(const mri_order *o, uint64_t x)
{
    uint64_t mask = ((uint64_t)1 << o->half) - 1;
    uint64_t left = x >> o->half, right = x & mask;

    for (uint32_t i = 0; i < MRI_ORDER_ROUNDS; i++) {
        uint64_t kept = right;

        right = left ^ (scramble(o, i, right) & mask);
        left = kept;
    }
    return left << o->half | right;
}

uint64_t
mri_order_at(const mri_order *o, uint64_t position)
{
    assert(position < o->n);
    if (o->identity) {
        return position;
    }
    if (o->n <= MRI_ORDER_SMALL) {
        return o->table[position];
    }
    /* Fewer than four steps on average: the network's domain is less than
     * four times n, and the walk comes back to where it began at the latest. */
    do {
        position = feistel(o, position);
    } while (position >= o->n);
    return position;
}

uint64_t
mri_draw_key(uint64_t seed, uint64_t epoch, const uint8_t uid[16],
             uint64_t draw)
{
    uint8_t raw[40];

    mri_put64(raw, seed);
    mri_put64(raw + 8, epoch);
    memcpy(raw + 16, uid, 16);
    mri_put64(raw + 32, draw);
    return mri_xxh3(raw, sizeof raw);
}

uint32_t
mri_draw_op(const char *name, unsigned k)
{
    char text[80];
    int n = snprintf(text, sizeof text, "%s#%u", name, k);

    return mri_crc32c(0, text, (size_t)n);
}

void
mri_order_share(uint64_t rows, uint32_t r, uint32_t of, uint64_t *first,
                uint64_t *end)
{
    *first = (uint64_t)r * rows / of;
    *end = ((uint64_t)r + 1) * rows / of;
}
