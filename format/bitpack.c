/* SPDX-License-Identifier: Apache-2.0 */
/* bitpack.c - choose how a chunk is packed; check what is unpacked. */
#include "bitpack.h"

#include "bitpack_simd.h"

#include <mri/bytes.h>
#include <mri/cpu.h>

#include <string.h>

/*
 * Header: size of a number, 0, entries of the palette u16, distance u32. Then
 * palette, widths, bases, packed blocks, and the numbers after the last whole
 * block as they are.
 */
enum { HEADER = 8, PALETTE = 256, LEAST_DISTANCE = 16, SETS = 1024 };

static void
scan(const mri_blocks *b)
{
    static mri_blocks_fn *const at_level[] = MRI_LEVELS(mri_blocks_scan);

    at_level[mri_cpu()](b);
}

static void
pack(const mri_blocks *b)
{
    static mri_blocks_fn *const at_level[] = MRI_LEVELS(mri_blocks_pack);

    at_level[mri_cpu()](b);
}

static void
unpack(const mri_blocks *b)
{
    static mri_blocks_fn *const at_level[] = MRI_LEVELS(mri_blocks_unpack);

    at_level[mri_cpu()](b);
}

static void
look_up(uint8_t *to, const uint8_t *from, size_t n, const uint16_t *table)
{
    static mri_look_up_fn *const at_level[] = MRI_LEVELS(mri_look_up);

    at_level[mri_cpu()](to, from, n, table);
}

/* Bytes of all packed blocks. */
static size_t
packed_bytes(const uint8_t *widths, size_t count)
{
    size_t bits = 0;

    for (size_t i = 0; i < count; i++) {
        bits += widths[i] & MRI_BLOCK_WIDTH;
    }
    return bits * MRI_BLOCK_BIT;
}

/* A block is predicted only where that is narrower. */
static void
take_narrower(const mri_blocks *plain, mri_blocks *b)
{
    for (size_t i = 0; i < b->count; i++) {
        if (i * MRI_BLOCK_LEN < b->distance ||
            b->widths[i] >= plain->widths[i]) {
            b->widths[i] = plain->widths[i];
            memcpy(b->bases + i * b->size, plain->bases + i * b->size, b->size);
        } else {
            b->widths[i] |= MRI_BLOCK_PREDICTED;
        }
    }
}

/* Every block as it stands, or predicted by the row or the plane before;
 * `tables` holds widths and bases of each of the three. */
static mri_blocks
best_of(const mri_blocks *blocks, const mri_bitpack_in *in, uint8_t *tables)
{
    const size_t distance[2] = {in->row, in->plane};
    size_t table = blocks->count * (1 + blocks->size), least;
    mri_blocks plain = *blocks, best;

    plain.distance = 0;
    plain.widths = tables;
    plain.bases = tables + plain.count;
    scan(&plain);
    best = plain;
    least = packed_bytes(plain.widths, plain.count);
    for (unsigned k = 0; k < 2; k++) {
        mri_blocks b = plain;
        size_t bytes;

        b.distance = distance[k];
        if (b.distance < LEAST_DISTANCE || b.distance >= in->n) {
            continue;
        }
        b.widths = tables + (k + 1) * table;
        b.bases = b.widths + b.count;
        scan(&b);
        take_narrower(&plain, &b);
        bytes = packed_bytes(b.widths, b.count);
        if (bytes < least) {
            least = bytes;
            best = b;
        }
    }
    return best;
}

/* The values that occur, ascending; 0 if they are more than 256. */
static unsigned
palette_of(uint64_t seen[SETS], uint16_t *values, const mri_bitpack_in *in)
{
    unsigned count = 0;

    memset(seen, 0, SETS * sizeof *seen);
    for (size_t i = 0; i < in->n; i++) {
        uint16_t v = mri_get16(in->raw + 2 * i);
        uint64_t bit = (uint64_t)1 << (v & 63);

        if ((seen[v >> 6] & bit) == 0) {
            seen[v >> 6] |= bit;
            if (++count > PALETTE) {
                return 0;
            }
        }
    }
    count = 0;
    for (unsigned k = 0; k < SETS; k++) {
        for (uint64_t left = seen[k]; left != 0; left &= left - 1) {
            values[count++] =
                (uint16_t)(k * 64 + (unsigned)__builtin_ctzll(left));
        }
    }
    return count;
}

/* Each element's place in the palette; of `rank` only what is read is set. */
static void
index_all(uint8_t *to, const mri_bitpack_in *in, const mri_bitpack_plan *plan,
          uint8_t rank[UINT16_MAX + 1])
{
    for (unsigned i = 0; i < plan->entries; i++) {
        rank[plan->palette[i]] = (uint8_t)i;
    }
    for (size_t i = 0; i < in->n; i++) {
        to[i] = rank[mri_get16(in->raw + 2 * i)];
    }
}

static size_t
plan_bytes(const mri_bitpack_plan *plan)
{
    const mri_blocks *b = &plan->blocks;

    return HEADER + (size_t)plan->entries * 2 + b->count * (1 + b->size) +
           packed_bytes(b->widths, b->count) +
           plan->n % MRI_BLOCK_LEN * b->size;
}

size_t
mri_bitpack_work(size_t n)
{
    /* Indices, their ranks, and tables of widths and bases twice. */
    return n + UINT16_MAX + 1 + n / MRI_BLOCK_LEN * 3 * (3 + 2);
}

/* Where values are few, their places in a list may be narrower. */
static void
look_at_palette(mri_bitpack_plan *plan, const mri_bitpack_in *in, uint8_t *work)
{
    mri_bitpack_plan few = {.n = in->n};
    mri_blocks blocks = {.numbers = work, .count = in->n / MRI_BLOCK_LEN};
    uint64_t seen[SETS];

    few.entries = palette_of(seen, few.palette, in);
    if (few.entries == 0) {
        return;
    }
    index_all(work, in, &few, work + in->n);
    blocks.size = 1;
    few.blocks = best_of(&blocks, in, work + in->n + UINT16_MAX + 1);
    few.bytes = plan_bytes(&few);
    if (few.bytes / 9 < plan->bytes / 10) { /* a look-up takes time */
        *plan = few;
    }
}

void
mri_bitpack_look(mri_bitpack_plan *plan, const mri_bitpack_in *in,
                 uint8_t *work)
{
    mri_blocks blocks = {.numbers = (uint8_t *)(uintptr_t)in->raw,
                         .count = in->n / MRI_BLOCK_LEN,
                         .size = in->element};

    *plan = (mri_bitpack_plan){.n = in->n};
    plan->blocks = best_of(&blocks, in, work);
    plan->bytes = plan_bytes(plan);
    if (in->element == 2) {
        look_at_palette(plan, in, work + blocks.count * 3 * 3);
    }
}

void
mri_bitpack_write(uint8_t *to, mri_bitpack_plan *plan)
{
    mri_blocks *b = &plan->blocks;
    size_t whole = b->count * MRI_BLOCK_LEN;

    to[0] = (uint8_t)b->size;
    to[1] = 0;
    mri_put16(to + 2, (uint16_t)plan->entries);
    mri_put32(to + 4, (uint32_t)b->distance);
    to += HEADER;
    for (unsigned i = 0; i < plan->entries; i++, to += 2) {
        mri_put16(to, plan->palette[i]);
    }
    memcpy(to, b->widths, b->count);
    to += b->count;
    memcpy(to, b->bases, b->count * b->size);
    to += b->count * b->size;
    b->packed = to;
    pack(b);
    to += packed_bytes(b->widths, b->count);
    memcpy(to, b->numbers + whole * b->size, (plan->n - whole) * b->size);
}

/* The parts of a packed chunk, each checked to be there. */
typedef struct parts {
    unsigned entries;
    const uint8_t *palette, *tail;
    mri_blocks blocks;
} parts;

/* No block is wider than its numbers, or predicted by what is not before it. */
static bool
widths_sound(const mri_blocks *b)
{
    for (size_t i = 0; i < b->count; i++) {
        unsigned width = b->widths[i] & ~(unsigned)MRI_BLOCK_PREDICTED;

        if (width > 8 * b->size || ((b->widths[i] & MRI_BLOCK_PREDICTED) != 0 &&
                                    (b->distance < LEAST_DISTANCE ||
                                     b->distance > i * MRI_BLOCK_LEN))) {
            return false;
        }
    }
    return true;
}

static bool
take_apart(parts *p, const mri_bitpack_out *out)
{
    uint8_t *at = (uint8_t *)(uintptr_t)out->packed;
    mri_blocks *b = &p->blocks;
    size_t left = out->packed_len, tables;

    if (left < HEADER || at[1] != 0) {
        return false;
    }
    *b = (mri_blocks){.size = at[0],
                      .count = out->n / MRI_BLOCK_LEN,
                      .distance = mri_get32(at + 4)};
    p->entries = mri_get16(at + 2);
    if (p->entries > PALETTE || b->size != (p->entries ? 1 : out->element) ||
        (p->entries != 0 && out->element != 2)) {
        return false;
    }
    left -= HEADER;
    tables = (size_t)p->entries * 2 + b->count * (1 + b->size);
    if (left < tables) {
        return false;
    }
    left -= tables;
    p->palette = at + HEADER;
    b->widths = at + HEADER + (size_t)p->entries * 2;
    b->bases = b->widths + b->count;
    b->packed = b->bases + b->count * b->size;
    if (!widths_sound(b)) {
        return false;
    }
    p->tail = b->packed + packed_bytes(b->widths, b->count);
    return left ==
           packed_bytes(b->widths, b->count) + out->n % MRI_BLOCK_LEN * b->size;
}

/* Unpack what comes before `upto`. */
static void
unpack_upto(uint8_t *numbers, parts *p, const mri_bitpack_out *out)
{
    mri_blocks *b = &p->blocks;
    size_t whole = b->count * MRI_BLOCK_LEN;
    size_t wanted = (out->upto + MRI_BLOCK_LEN - 1) / MRI_BLOCK_LEN;

    b->numbers = numbers;
    b->ahead = out->ahead;
    if (out->upto > whole) {
        memcpy(numbers + whole * b->size, p->tail, (out->n - whole) * b->size);
    }
    b->count = wanted < b->count ? wanted : b->count;
    unpack(b);
}

bool
mri_bitunpack(const mri_bitpack_out *out)
{
    uint16_t table[PALETTE] = {0}; /* an index beyond it means 0 */
    parts p;

    if (!take_apart(&p, out)) {
        return false;
    }
    if (p.entries == 0) {
        unpack_upto(out->raw, &p, out);
        return true;
    }
    for (unsigned i = 0; i < p.entries; i++) {
        table[i] = mri_get16(p.palette + (size_t)i * 2);
    }
    unpack_upto(out->work, &p, out);
    look_up(out->raw, out->work, out->upto, table);
    return true;
}
