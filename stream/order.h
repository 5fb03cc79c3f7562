/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.h - which sample stands at which position of an epoch.
 *
 * A keyed permutation: no list of N numbers is shuffled or kept, so the start
 * of an epoch costs the same for any N. Bytes: docs/stream-order.md.
 */
#ifndef MRI_STREAM_ORDER_H
#define MRI_STREAM_ORDER_H

#include <mri/door.h>

#define MRI_ORDER_SMALL 4096 /* up to here the table of a real shuffle */
#define MRI_ORDER_ROUNDS 8

typedef struct mri_order {
    uint64_t n;
    uint64_t key;
    unsigned half; /* bits of each half of the network */
    bool identity; /* order: uid */
    uint16_t table[MRI_ORDER_SMALL];
} mri_order;

/*
 * The order of one epoch over `n` samples, n >= 1. `split` is the split's
 * name; `identity` leaves the samples in the order of their uids. Zeroed
 * memory before the first use; an order that is this one already stays.
 */
void mri_order_init(mri_order *o, uint64_t n, uint64_t seed, uint64_t epoch,
                    const char *split, bool identity);
/* The sample at `position`, both 0 .. n - 1. */
uint64_t mri_order_at(const mri_order *o, uint64_t position);

/* XXH3-64 of seed, epoch, uid and draw: the key of all draws of a sample. */
uint64_t mri_draw_key(uint64_t seed, uint64_t epoch, const uint8_t uid[16],
                      uint64_t draw);
/* What stands for occurrence `k` of an operation in the counter. */
uint32_t mri_draw_op(const char *name, unsigned k);

/* Rows [*first, *end) of a batch of `rows` are those of consumer r of R. */
void mri_order_share(uint64_t rows, uint32_t r, uint32_t of, uint64_t *first,
                     uint64_t *end);

#endif
