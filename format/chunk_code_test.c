/* SPDX-License-Identifier: Apache-2.0 */
/* Codecs and filters against plain loops that follow docs/shard-format.md. */
#include "bitpack.h"
#include "chunk.h"
#include "delta.h"

#include <mri/alloc.h>
#include <mri/cpu.h>

#include <lz4.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { MOST = 5000, KINDS = 7, GUARD = 64 };

static uint8_t raw[MOST * 8], back[MOST * 8 + GUARD], mid[2][MOST * 8];

static void
put(uint8_t *to, uint64_t v, unsigned element)
{
    for (unsigned b = 0; b < element; b++) {
        to[b] = (uint8_t)(v >> 8 * b);
    }
}

static uint64_t
get(const uint8_t *from, unsigned element)
{
    uint64_t v = 0;

    for (unsigned b = 0; b < element; b++) {
        v |= (uint64_t)from[b] << 8 * b;
    }
    return v;
}

/* Noise, a camera's noise, steps about zero, few values far apart, long runs,
 * values beside the sign bit, 200 values far apart. */
static void
fill(unsigned kind, size_t n, unsigned element)
{
    static const uint64_t far[] = {3, 0xFFF1, 0x1234567, 77, 0x8000, 12345};
    uint64_t seed = kind + 9;

    for (size_t i = 0; i < n; i++) {
        uint64_t r = scratch_random(&seed), v = r;

        v = kind == 1   ? 1000 + i / 100 + r % 13
            : kind == 2 ? i % 100 / 7 - 6 + r % 3
            : kind == 3 ? far[r % 6]
            : kind == 4 ? i / 600 * 999
            : kind == 5 ? ((uint64_t)1 << (8 * element - 1)) - 4 + r % 9
            : kind == 6 ? (i / 60 + r % 3) % 200 * 331 + 5
                        : r;
        put(raw + i * element, v, element);
    }
}

static mri_chunk_row
row_of(const mri_packed *p)
{
    return (mri_chunk_row){.file_off = p->value,
                           .stored_len = p->stored_len,
                           .raw_len = p->raw_len,
                           .codec = p->codec,
                           .filter = p->filter,
                           .flags = p->flags};
}

static mri_chunk_in
chunk_in(size_t n, unsigned element, mri_coding coding)
{
    return (mri_chunk_in){.raw = raw,
                          .raw_len = (uint32_t)(n * element),
                          .element = element,
                          .row = 20,
                          .plane = 300,
                          .coding = coding};
}

static void
expect_back(const mri_packed *p, unsigned element, mri_bytes *work)
{
    mri_chunk_row row = row_of(p);
    uint8_t *exact = malloc(p->stored_len > 0 ? p->stored_len : 1);
    mr_diag d = {0};

    assert_non_null(exact); /* the sanitizer sees what is read beyond it */
    memcpy(exact, p->stored, p->stored_len);
    memset(back, 0xA5, sizeof back);
    assert_ok(mri_chunk_unpack(back, &row, exact, element, work, &d), &d);
    assert_memory_equal(back, raw, p->raw_len);
    for (size_t i = 0; i < GUARD; i++) {
        assert_int_equal(back[p->raw_len + i], 0xA5);
    }
    free(exact);
}

/* One chunk at every level: the same bytes, and back again. */
static void
expect_round(const mri_chunk_in *in, unsigned *codecs)
{
    mri_bytes first = {0}, held = {0}, work = {0};
    mri_packed p, q;

    mri_cpu_force(MRI_SCALAR);
    assert_true(mri_chunk_pack(&p, in, &first));
    *codecs |= 1U << p.codec;
    for (int level = 0; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        assert_true(mri_chunk_pack(&q, in, &held));
        assert_int_equal(q.stored_len, p.stored_len);
        assert_int_equal(q.codec, p.codec);
        assert_memory_equal(q.stored, p.stored, p.stored_len);
        expect_back(&q, in->element, &work);
    }
    mri_cpu_force(-1);
    mri_bytes_release(&first);
    mri_bytes_release(&held);
    mri_bytes_release(&work);
}

static void
every_coding_is_undone_at_every_size_length_and_level(void **state)
{
    static const size_t lengths[] = {1,   2,   15,  16,  127,  128,
                                     129, 383, 512, 999, 4096, 4999};
    static const unsigned may[] = {
        /* codecs that the kinds above bring out */
        [MRI_CODING_AUTO] = 1 << MRI_CODEC_BITPACK | 1 << MRI_CODEC_LZ4,
        [MRI_CODING_LZ4] = 1 << MRI_CODEC_LZ4,
        [MRI_CODING_LZ4HC] = 1 << MRI_CODEC_LZ4,
        [MRI_CODING_BITPACK] = 1 << MRI_CODEC_BITPACK,
        [MRI_CODING_ZSTD] = 1 << MRI_CODEC_ZSTD,
        [MRI_CODING_RAW] = 0,
    };

    (void)state;
    for (unsigned element = 1; element <= 8; element *= 2) {
        for (unsigned coding = 0; coding <= MRI_CODING_RAW; coding++) {
            unsigned codecs = 0;

            for (size_t k = 0; k < MRI_COUNT(lengths) * KINDS * 2; k++) {
                size_t n = lengths[k / (KINDS * 2)];
                mri_chunk_in in = chunk_in(n, element, (mri_coding)coding);

                in.real = k % 2 != 0;
                fill((unsigned)(k / 2 % KINDS), n, element);
                expect_round(&in, &codecs);
            }
            if (element <= 2) {
                assert_int_equal(codecs & may[coding], may[coding]);
            }
            assert_int_equal(codecs >> (MRI_CODEC_BITPACK + 1), 0);
        }
    }
}

/* ---- bit packing, a bit at a time ---- */

static unsigned
bit_at(const uint8_t *block, unsigned i, unsigned bit, unsigned width,
       unsigned size)
{
    unsigned lanes = 16 / size, lane = i % lanes;
    unsigned at = i / lanes * width + bit; /* within the lane */
    unsigned word = at / (8 * size), in_word = at % (8 * size);

    return block[word * 16 + lane * size + in_word / 8] >> in_word % 8 & 1;
}

static void
unpack_plainly(uint8_t *to, size_t n, unsigned element, const uint8_t *p)
{
    unsigned size = p[0], entries = p[2] | (unsigned)p[3] << 8;
    size_t count = n / 128, distance = get(p + 4, 4);
    const uint8_t *palette = p + 8, *widths = palette + (size_t)entries * 2;
    const uint8_t *bases = widths + count, *block = bases + count * size;

    for (size_t i = 0; i < n; i++) {
        unsigned width = i / 128 < count ? widths[i / 128] & 31 : 0;
        uint64_t v = 0;

        if (i / 128 == count) {
            v = get(block + i % 128 * size, size);
        } else {
            for (unsigned bit = 0; bit < width; bit++) {
                v |= (uint64_t)bit_at(block, i % 128, bit, width, size) << bit;
            }
            v += get(bases + i / 128 * size, size);
            v += widths[i / 128] & 128
                     ? get(mid[0] + (i - distance) * size, size)
                     : 0;
        }
        put(mid[0] + i * size, v, size);
        block += i % 128 == 127 ? 16 * width : 0;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t v = get(mid[0] + i * size, size);

        put(to + i * element, entries > 0 ? get(palette + 2 * v, 2) : v,
            element);
    }
}

static void
bit_packing_is_what_the_page_says(void **state)
{
    unsigned predicted = 0, palettes = 0;
    mri_bytes work = {0};
    mri_packed p;

    (void)state;
    for (unsigned k = 0; k < KINDS * 2 * 9; k++) {
        unsigned element = 1 + k % 2;
        size_t n = 300 + k / (KINDS * 2) * 555;
        mri_chunk_in in = chunk_in(n, element, MRI_CODING_BITPACK);

        fill(k / 2 % KINDS, n, element);
        assert_true(mri_chunk_pack(&p, &in, &work));
        if (p.codec != MRI_CODEC_BITPACK) {
            continue;
        }
        palettes += p.stored[2] != 0;
        predicted += p.stored[4] != 0;
        unpack_plainly(back, n, element, p.stored);
        assert_memory_equal(back, raw, in.raw_len);
    }
    assert_true(predicted > 0 && palettes > 0);
    mri_bytes_release(&work);
}

/* ---- filters by their definitions, with every codec below them ---- */

static void
delta_plainly(uint8_t *to, const uint8_t *from, size_t n, unsigned element)
{
    unsigned top = 8 * element - 1;
    uint64_t last = 0, mask = ~(uint64_t)0 >> (63 - top);

    for (size_t i = 0; i < n; i++) {
        uint64_t v = get(from + i * element, element), d = (v - last) & mask;

        put(to + i * element, d >> top ? ~(2 * d) : 2 * d, element);
        last = v;
    }
}

static uint32_t
store(uint8_t *to, mri_codec codec, const uint8_t *from, size_t bytes)
{
    if (codec == MRI_CODEC_LZ4) {
        return (uint32_t)LZ4_compress_default((const char *)from, (char *)to,
                                              (int)bytes, 2 * MOST * 8);
    }
    if (codec == MRI_CODEC_ZSTD) {
        return (uint32_t)ZSTD_compress(to, 2 * MOST * 8, from, bytes, 1);
    }
    memcpy(to, from, bytes);
    return (uint32_t)bytes;
}

static void
every_filter_goes_with_every_codec_that_takes_one(void **state)
{
    static uint8_t stored[2 * MOST * 8];
    mri_bytes work = {0};

    (void)state;
    for (unsigned k = 0; k < 4 * 3 * 3 * KINDS; k++) {
        unsigned element = 1u << k % 4, codec = k / 4 % 3, filter = k / 12 % 3;
        size_t n = 1003;
        mri_packed p = {.codec = (uint8_t)codec,
                        .filter = (uint8_t)filter,
                        .raw_len = (uint32_t)(n * element),
                        .stored = stored};
        const uint8_t *from = raw;

        fill(k / 36, n, element);
        if (filter == MRI_FILTER_DELTA) {
            delta_plainly(mid[0], from, n, element);
            from = mid[0];
        }
        if (filter != MRI_FILTER_NONE) {
            for (size_t i = 0; i < n * element; i++) {
                mid[1][i % element * n + i / element] = from[i];
            }
            from = mid[1];
        }
        p.stored_len = store(stored, (mri_codec)codec, from, n * element);
        expect_back(&p, element, &work);
    }
    mri_bytes_release(&work);
}

static void
differences_are_those_of_the_definition(void **state)
{
    (void)state;
    for (unsigned element = 1; element <= 8; element *= 2) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            fill(kind, 700, element);
            mri_delta(mid[0], raw, 700, element);
            delta_plainly(mid[1], raw, 700, element);
            assert_memory_equal(mid[0], mid[1], 700 * element);
            mri_undelta(mid[0], 700, element);
            assert_memory_equal(mid[0], raw, 700 * element);
        }
    }
}

/* Every length around those of vectors, at every address, with nothing beside
 * it touched, at every level. */
static void
sums_are_the_same_at_every_level(void **state)
{
    const int most = (int)mri_cpu();
    const size_t longest = 700;

    (void)state;
    for (unsigned element = 1; element <= 8; element *= 2) {
        fill(0, longest, element);
        mri_delta(mid[0], raw, longest, element);
        for (int level = 0; level <= most; level++) {
            mri_cpu_force(level);
            for (size_t n = 0; n <= longest; n += n < 140 ? 1 : 280) {
                uint8_t *to = back + GUARD / 2 + n % 32;

                memset(back, 0xA5, sizeof back);
                memcpy(to, mid[0], n * element);
                mri_undelta(to, n, element);
                assert_memory_equal(to, raw, n * element);
                for (size_t k = 0; k < GUARD / 2; k++) {
                    assert_int_equal(to[n * element + k], 0xA5);
                    assert_int_equal(to[-1 - (ptrdiff_t)k], 0xA5);
                }
            }
            for (size_t at = 0; at < GUARD / 2; at++) {
                memcpy(back + at, mid[0], longest * element);
                mri_undelta(back + at, longest, element);
                assert_memory_equal(back + at, raw, longest * element);
            }
            mri_cpu_force(-1);
        }
    }
}

/* ---- hostile bytes ---- */

static void
expect_no_crash(const mri_packed *p, const uint8_t *stored, uint32_t len,
                unsigned element)
{
    mri_chunk_row row = row_of(p);
    uint8_t *exact = malloc(len > 0 ? len : 1);
    uint8_t *to = malloc(p->raw_len);
    mri_bytes work = {0};
    mri_plain plain;
    mr_err err;

    assert_true(exact != NULL && to != NULL);
    memcpy(exact, stored, len);
    row.stored_len = len;
    err = mri_chunk_unpack(to, &row, exact, element, &work, NULL);
    assert_true(err == MR_OK || err == MR_ECORRUPT);
    err = mri_chunk_decode(&plain, &(mri_stored){&row, exact, element, {0}},
                           100, &work, NULL);
    assert_true(err == MR_OK || err == MR_ECORRUPT);
    mri_bytes_release(&work);
    free(exact);
    free(to);
}

static void
damaged_bytes_of_any_codec_never_crash(void **state)
{
    mri_bytes work = {0};
    uint64_t seed = 3;
    mri_packed p;

    (void)state;
    for (unsigned k = 0; k < 2 * MRI_CODING_RAW * KINDS; k++) {
        unsigned element = 1 + k % 2;
        mri_chunk_in in =
            chunk_in(600, element, (mri_coding)(k / 2 % MRI_CODING_RAW));

        fill(k / (2 * MRI_CODING_RAW), 600, element);
        assert_true(mri_chunk_pack(&p, &in, &work));
        if (p.codec == MRI_CODEC_RAW) {
            continue;
        }
        memcpy(mid[0], p.stored, p.stored_len);
        for (uint32_t at = 0; at < p.stored_len; at += 1 + at / 20) {
            mid[0][at] ^= (uint8_t)(1 + scratch_random(&seed) % 255);
            expect_no_crash(&p, mid[0], p.stored_len, element);
            mid[0][at] = p.stored[at];
            expect_no_crash(&p, mid[0], at, element);
        }
    }
    mri_bytes_release(&work);
}

/* Each of them as it should be but for one thing. */
static void
bit_packing_that_contradicts_itself_is_refused(void **state)
{
    static const struct {
        unsigned at;
        uint8_t value;
    } bad[] = {
        {0, 1}, {0, 3}, {1, 1}, {2, 1}, {3, 2}, {4, 15}, {5, 4}, {8, 17},
    };
    mri_chunk_in in = chunk_in(512, 2, MRI_CODING_BITPACK);
    mri_bytes work = {0}, held = {0};
    mri_chunk_row row;
    mri_packed p;
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < 512; i++) { /* predicted by the row before */
        put(raw + 2 * i, i % 20 * 1000 + i / 20 * 3 + i * i % 3, 2);
    }
    assert_true(mri_chunk_pack(&p, &in, &held));
    row = row_of(&p);
    assert_int_equal(p.codec, MRI_CODEC_BITPACK);
    assert_int_equal(p.stored[4], 20);
    memcpy(mid[0], p.stored, p.stored_len);
    assert_ok(mri_chunk_unpack(back, &row, mid[0], 2, &work, &d), &d);
    for (size_t k = 0; k < MRI_COUNT(bad); k++) {
        mid[0][bad[k].at] = bad[k].value;
        assert_fails(mri_chunk_unpack(back, &row, mid[0], 2, &work, NULL),
                     MR_ECORRUPT);
        mid[0][bad[k].at] = p.stored[bad[k].at];
    }
    row.stored_len--;
    assert_fails(mri_chunk_unpack(back, &row, mid[0], 2, &work, NULL),
                 MR_ECORRUPT);
    mri_bytes_release(&work);
    mri_bytes_release(&held);
}

/* Two blocks of 16 bits, all lengths in agreement. */
static mr_err
unpack_by_hand(unsigned entries, unsigned distance, const uint8_t widths[2])
{
    unsigned size = entries > 0 ? 1 : 2;
    size_t len = 8 + (size_t)entries * 2 + 2 + 2 * size +
                 (size_t)16 * (widths[0] & 127u) +
                 (size_t)16 * (widths[1] & 127u);
    uint8_t *p = calloc(len, 1);
    mri_chunk_row row = {.codec = MRI_CODEC_BITPACK,
                         .raw_len = 512,
                         .stored_len = (uint32_t)len};
    mri_bytes work = {0};
    mr_err err;

    assert_non_null(p);
    p[0] = (uint8_t)size;
    put(p + 2, entries, 2);
    put(p + 4, distance, 4);
    memcpy(p + 8 + (size_t)entries * 2, widths, 2);
    err = mri_chunk_unpack(back, &row, p, 2, &work, NULL);
    mri_bytes_release(&work);
    free(p);
    return err;
}

static void
bit_packing_keeps_to_its_limits_where_all_lengths_agree(void **state)
{
    static const struct {
        unsigned entries, distance;
        uint8_t widths[2];
        mr_err want;
    } some[] = {
        {0, 0, {16, 15}, MR_OK},         {0, 0, {17, 15}, MR_ECORRUPT},
        {0, 0, {40, 1}, MR_ECORRUPT},    {256, 0, {8, 0}, MR_OK},
        {257, 0, {8, 0}, MR_ECORRUPT},   {256, 0, {9, 0}, MR_ECORRUPT},
        {0, 16, {3, 131}, MR_OK},        {0, 128, {3, 131}, MR_OK},
        {0, 129, {3, 131}, MR_ECORRUPT}, {0, 15, {3, 131}, MR_ECORRUPT},
        {0, 16, {131, 3}, MR_ECORRUPT},  {0, 0, {3, 131}, MR_ECORRUPT},
    };

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(some); k++) {
        assert_int_equal(
            unpack_by_hand(some[k].entries, some[k].distance, some[k].widths),
            some[k].want);
    }
}

static void
expect_refused(const uint8_t *stored, size_t len, mr_err want)
{
    mri_chunk_row row = {
        .stored_len = (uint32_t)len, .raw_len = 1000, .codec = MRI_CODEC_ZSTD};
    mri_bytes work = {0};

    assert_fails(mri_chunk_unpack(back, &row, stored, 1, &work, NULL), want);
    mri_bytes_release(&work);
}

static void
zstd_is_one_frame_of_known_length_without_a_dictionary(void **state)
{
    uint8_t *stored = mid[0];
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t n;

    (void)state;
    fill(1, 1000, 1);
    n = ZSTD_compress(stored, sizeof mid[0], raw, 999, 3);
    expect_refused(stored, n, MR_ECORRUPT); /* another length */
    n = ZSTD_compress(stored, sizeof mid[0], raw, 1000, 3);
    expect_refused(stored, n - 1, MR_ECORRUPT);
    stored[n] = 0;
    expect_refused(stored, n + 1, MR_ECORRUPT); /* something after it */
    n += ZSTD_compress(stored + n, sizeof mid[0] - n, raw, 0, 3);
    expect_refused(stored, n, MR_ECORRUPT); /* two frames */
    memcpy(stored, "\x50\x2A\x4D\x18\x10\0\0", 8);
    expect_refused(stored, 24, MR_ECORRUPT); /* one to be skipped */
    assert_int_equal(ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0), 0);
    n = ZSTD_compress2(c, stored, sizeof mid[0], raw, 1000);
    expect_refused(stored, n, MR_ECORRUPT); /* length not said */
    n = ZSTD_compress(stored, sizeof mid[0], raw, 1000, 3);
    assert_int_equal(stored[4] & 3, 0); /* make room for an id of one byte */
    memmove(stored + 6 + (stored[4] & 32 ? 0 : 1),
            stored + 5 + (stored[4] & 32 ? 0 : 1), n);
    stored[5 + (stored[4] & 32 ? 0 : 1)] = 7;
    stored[4] |= 1;
    expect_refused(stored, n + 1, MR_ECORRUPT);
    ZSTD_freeCCtx(c);
}

static void
unknown_codecs_and_filters_are_named_and_lies_refused(void **state)
{
    static const struct {
        uint8_t codec, filter;
        uint32_t stored_len, raw_len;
        mr_err want;
    } bad[] = {
        {4, 0, 64, 64, MR_EVERSION},
        {255, 0, 64, 64, MR_EVERSION},
        {MRI_CODEC_RAW, 3, 64, 64, MR_EVERSION},
        {MRI_CODEC_BITPACK, MRI_FILTER_SHUFFLE, 64, 64, MR_EVERSION},
        {MRI_CODEC_RAW, 0, 63, 64, MR_ECORRUPT},
        {MRI_CODEC_LZ4, 0, 1, 600, MR_ECORRUPT},
        {MRI_CODEC_LZ4, 0, 64, UINT32_MAX, MR_ECORRUPT},
        {MRI_CODEC_ZSTD, 0, 64, UINT32_MAX, MR_ECORRUPT},
        {MRI_CODEC_BITPACK, 0, 64, UINT32_MAX, MR_ECORRUPT},
    };
    static const uint8_t stored[64] = {1, 2, 3};
    mri_bytes work = {0};
    mri_plain plain;

    (void)state;
    for (size_t k = 0; k < MRI_COUNT(bad); k++) {
        mri_chunk_row row = {.codec = bad[k].codec,
                             .filter = bad[k].filter,
                             .stored_len = bad[k].stored_len,
                             .raw_len = bad[k].raw_len};

        assert_fails(mri_chunk_decode(&plain,
                                      &(mri_stored){&row, stored, 1, {0}}, 64,
                                      &work, NULL),
                     bad[k].want);
    }
    assert_int_equal(work.room, 0); /* no memory was asked for */
    mri_bytes_release(&work);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_coding_is_undone_at_every_size_length_and_level),
        cmocka_unit_test(bit_packing_is_what_the_page_says),
        cmocka_unit_test(every_filter_goes_with_every_codec_that_takes_one),
        cmocka_unit_test(differences_are_those_of_the_definition),
        cmocka_unit_test(sums_are_the_same_at_every_level),
        cmocka_unit_test(damaged_bytes_of_any_codec_never_crash),
        cmocka_unit_test(bit_packing_that_contradicts_itself_is_refused),
        cmocka_unit_test(
            bit_packing_keeps_to_its_limits_where_all_lengths_agree),
        cmocka_unit_test(
            zstd_is_one_frame_of_known_length_without_a_dictionary),
        cmocka_unit_test(unknown_codecs_and_filters_are_named_and_lies_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
