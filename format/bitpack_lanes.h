/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bitpack_lanes.h - the loops of bitpack_simd.c for numbers of one size. It is
 * included once for each, with NUMBER, SIGNED, VECTOR and NAME() defined.
 */
enum { NAME(BITS) = 8 * (int)sizeof(NUMBER) }; /* of a number; rows as well */

INLINE VECTOR
NAME(load)(const uint8_t *p)
{
    VECTOR v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* `before` is what predicts the block, or NULL. */
INLINE void
NAME(unpack)(uint8_t *out, const uint8_t *in, unsigned width, NUMBER base,
             const uint8_t *before)
{
    const NUMBER ones = (NUMBER)((1u << width) - 1);
    const VECTOR mask = (VECTOR){0} + ones, add = (VECTOR){0} + base;

    for (unsigned row = 0; row < NAME(BITS); row++) {
        unsigned shift = row * width % NAME(BITS);
        const uint8_t *word = in + (size_t)(row * width / NAME(BITS)) * LANES;
        VECTOR v = {0};

        if (width > 0) {
            v = NAME(load)(word) >> shift;
        }
        if (shift + width > NAME(BITS)) {
            v |= NAME(load)(word + LANES) << (NAME(BITS) - shift);
        }
        v = (v & mask) + add;
        if (before != NULL) {
            v += NAME(load)(before + (size_t)row * LANES);
        }
        memcpy(out + (size_t)row * LANES, &v, sizeof v);
    }
}

INLINE void
NAME(pack)(uint8_t *out, const uint8_t *in, unsigned width, NUMBER base,
           const uint8_t *before)
{
    const VECTOR less = (VECTOR){0} + base;
    VECTOR word = {0};

    for (unsigned row = 0; width > 0 && row < NAME(BITS); row++) {
        unsigned shift = row * width % NAME(BITS);
        VECTOR v = NAME(load)(in + (size_t)row * LANES) - less;

        if (before != NULL) {
            v -= NAME(load)(before + (size_t)row * LANES);
        }
        word |= v << shift;
        if (shift + width >= NAME(BITS)) {
            memcpy(out, &word, sizeof word);
            out += LANES;
            word = (VECTOR){0};
        }
        if (shift + width > NAME(BITS)) {
            word = v >> (NAME(BITS) - shift);
        }
    }
}

INLINE NUMBER
NAME(number)(const uint8_t *p)
{
    NUMBER v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* The least width and its base. Numbers are compared by how far they are from
 * the first (or their prediction), so that a sign does not matter. */
INLINE void
NAME(scan)(uint8_t *width, uint8_t *base, const uint8_t *in,
           const uint8_t *before)
{
    NUMBER first = before == NULL ? NAME(number)(in) : 0, least;
    SIGNED high = (SIGNED)(1u << (NAME(BITS) - 1)), low = (SIGNED)~high;

    for (size_t i = 0; i < MRI_BLOCK_LEN * sizeof first; i += sizeof first) {
        NUMBER v = (NUMBER)(NAME(number)(in + i) - first);
        SIGNED d;

        if (before != NULL) {
            v = (NUMBER)(v - NAME(number)(before + i));
        }
        d = (SIGNED)v;
        low = d < low ? d : low;
        high = d > high ? d : high;
    }
    *width = 0;
    for (unsigned range = (unsigned)(high - low); range != 0; range >>= 1) {
        ++*width;
    }
    least = (NUMBER)(first + (NUMBER)low);
    memcpy(base, &least, sizeof least);
}

#define CASE(w)                                                                \
    case w:                                                                    \
        NAME(unpack)(out, in, w, base, before);                                \
        break
#define CASES                                                                  \
    CASE(0);                                                                   \
    CASE(1);                                                                   \
    CASE(2);                                                                   \
    CASE(3);                                                                   \
    CASE(4);                                                                   \
    CASE(5);                                                                   \
    CASE(6);                                                                   \
    CASE(7);                                                                   \
    CASE(8)
#define WIDE                                                                   \
    CASE(9);                                                                   \
    CASE(10);                                                                  \
    CASE(11);                                                                  \
    CASE(12);                                                                  \
    CASE(13);                                                                  \
    CASE(14);                                                                  \
    CASE(15);                                                                  \
    CASE(16)

INLINE void
NAME(unpack_any)(uint8_t *out, const uint8_t *in, unsigned width, NUMBER base,
                 const uint8_t *before)
{
    switch (width) {
        CASES;
#if NUMBER_BITS == 16
        WIDE;
#endif
    }
}
#undef CASE
#undef CASES
#undef WIDE

static void
NAME(scan_all)(const mri_blocks *b)
{
    const size_t size = sizeof(NUMBER), back = b->distance * size;
    const uint8_t *in = b->numbers;

    for (size_t i = 0; i < b->count; i++, in += MRI_BLOCK_LEN * size) {
        uint8_t *width = b->widths + i, *base = b->bases + i * size;

        if (back == 0) {
            NAME(scan)(width, base, in, NULL);
        } else if (i * MRI_BLOCK_LEN >= b->distance) {
            NAME(scan)(width, base, in, in - back);
        }
    }
}

static void
NAME(pack_all)(const mri_blocks *b)
{
    const size_t back = b->distance * sizeof(NUMBER);
    uint8_t *in = b->numbers, *to = b->packed;

    for (size_t i = 0; i < b->count; i++) {
        unsigned width = b->widths[i] & MRI_BLOCK_WIDTH;
        NUMBER base;

        memcpy(&base, b->bases + i * sizeof base, sizeof base);
        if (b->widths[i] & MRI_BLOCK_PREDICTED) {
            NAME(pack)(to, in, width, base, in - back);
        } else {
            NAME(pack)(to, in, width, base, NULL);
        }
        in += MRI_BLOCK_LEN * sizeof base;
        to += (size_t)width * MRI_BLOCK_BIT;
    }
}

static void
NAME(unpack_all)(const mri_blocks *b)
{
    const size_t back = b->distance * sizeof(NUMBER);
    const uint8_t *in = b->packed;
    uintptr_t next = (uintptr_t)b->ahead.at;
    const size_t share = fetch_share(b);
    uint8_t *to = b->numbers;

    for (size_t i = 0; i < b->count; i++, next += share) {
        unsigned width = b->widths[i] & MRI_BLOCK_WIDTH;
        NUMBER base;

        fetch(next, share);
        memcpy(&base, b->bases + i * sizeof base, sizeof base);
        if (b->widths[i] & MRI_BLOCK_PREDICTED) {
            NAME(unpack_any)(to, in, width, base, to - back);
        } else {
            NAME(unpack_any)(to, in, width, base, NULL);
        }
        to += MRI_BLOCK_LEN * sizeof base;
        in += (size_t)width * MRI_BLOCK_BIT;
    }
}
#undef NUMBER
#undef NUMBER_BITS
#undef SIGNED
#undef VECTOR
#undef NAME
