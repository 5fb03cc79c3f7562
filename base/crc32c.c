/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c.c - folding, three interleaved streams of the crc32 instruction, or a
 * table.
 *
 * The instruction has a latency of 3 and a throughput of 1: one stream reaches
 * a third of the speed. Three streams over adjacent blocks are joined by
 * multiplying a CRC by x^(8 n) mod P, which is a table look-up for a fixed n.
 * Folding takes four times as many bytes a cycle, and leaves a few of them.
 */
#include <mri/crc32c.h>

#include "crc32c_fold.h"

#include <mri/bytes.h>
#include <mri/cpu.h>

#include <pthread.h>

#define POLY 0x82F63B78u /* 0x1EDC6F41 with its bits reversed */
#define BLOCK 1024u      /* bytes of one of the three streams */
#define SHORT_BLOCK 192u /* where less than three of those are left */
#define LINE 64u         /* of the cache */

static uint32_t slices[8][256];   /* slicing by eight, for machines without */
static uint32_t shift[2][4][256]; /* by BLOCK and by 2 * BLOCK bytes */
static uint32_t short_shift[2][4][256];
static mri_fold_keys keys;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* a * b mod P with their bits reversed, as CRCs are: the top one is x^0. */
static uint32_t
product(uint32_t a, uint32_t b)
{
    uint32_t sum = 0;

    for (; a != 0; a <<= 1) {
        sum ^= b & (0u - (a >> 31));
        b = b >> 1 ^ (POLY & (0u - (b & 1)));
    }
    return sum;
}

static uint32_t
power_of_x(unsigned n)
{
    uint32_t power = 0x80000000u; /* 1 */

    for (uint32_t square = 0x40000000u; n != 0; n >>= 1) {
        power = (n & 1) != 0 ? product(power, square) : power;
        square = product(square, square);
    }
    return power;
}

/* What a CRC becomes by so many zero bytes: a table for each byte of it. */
static void
set_shift(uint32_t table[4][256], unsigned bytes)
{
    uint32_t by = power_of_x(8 * bytes);

    for (unsigned byte = 0; byte < 4; byte++) {
        for (uint32_t i = 0; i < 256; i++) {
            table[byte][i] = product(i << 8 * byte, by);
        }
    }
}

/* The first 8 of 16 bytes have 8 further to go than the last. Reversed, a key
 * of 32 bits in 64 is x^32 too large, and a product of two is short of a bit. */
static void
set_keys(uint64_t by[2], unsigned bytes)
{
    by[0] = (uint64_t)power_of_x(8 * bytes + 32) << 1;
    by[1] = (uint64_t)power_of_x(8 * bytes - 32) << 1;
}

static void
setup(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        slices[0][i] = product(i, power_of_x(8));
    }
    for (uint32_t i = 0; i < 256; i++) {
        for (int k = 1; k < 8; k++) {
            uint32_t below = slices[k - 1][i];

            slices[k][i] = below >> 8 ^ slices[0][below & 255];
        }
    }
    for (unsigned s = 0; s < 2; s++) {
        set_shift(shift[s], (s + 1) * BLOCK);
        set_shift(short_shift[s], (s + 1) * SHORT_BLOCK);
    }
    set_keys(keys.by_32, 32);
    set_keys(keys.by_64, 64);
    set_keys(keys.by_128, 128);
    set_keys(keys.by_256, 256);
}

static uint32_t
by_table(uint32_t crc, const uint8_t *p, size_t bytes)
{
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t v = mri_get64(p) ^ crc;

        crc = slices[7][v & 255] ^ slices[6][v >> 8 & 255] ^
              slices[5][v >> 16 & 255] ^ slices[4][v >> 24 & 255] ^
              slices[3][v >> 32 & 255] ^ slices[2][v >> 40 & 255] ^
              slices[1][v >> 48 & 255] ^ slices[0][v >> 56];
    }
    for (; bytes != 0; bytes--) {
        crc = crc >> 8 ^ slices[0][(crc ^ *p++) & 255];
    }
    return crc;
}

#if defined(__x86_64__)
static uint32_t
shifted(uint32_t table[4][256], uint32_t crc)
{
    return table[0][crc & 255] ^ table[1][crc >> 8 & 255] ^
           table[2][crc >> 16 & 255] ^ table[3][crc >> 24];
}

/* A checksum is mostly the first to touch its bytes, and streams of 1 KiB end
 * before the CPU foresees where they go: ask for the next ones. May point
 * beyond the data; nothing is read. */
static void
fetch(const uint8_t *p, size_t ahead)
{
    __builtin_prefetch((const void *)((uintptr_t)p + ahead));
}

__attribute__((target("sse4.2"))) static uint32_t
by_instruction(uint32_t crc, const uint8_t *p, size_t bytes)
{
    uint64_t a = crc;

    for (; bytes >= (size_t)3 * BLOCK; bytes -= (size_t)3 * BLOCK) {
        uint64_t b = 0, c = 0;

        for (const uint8_t *end = p + BLOCK; p < end;) {
            fetch(p, (size_t)3 * BLOCK);
            fetch(p, (size_t)4 * BLOCK);
            fetch(p, (size_t)5 * BLOCK);
            for (const uint8_t *line = p + LINE; p < line; p += 8) {
                a = __builtin_ia32_crc32di(a, mri_get64(p));
                b = __builtin_ia32_crc32di(b, mri_get64(p + BLOCK));
                c = __builtin_ia32_crc32di(c, mri_get64(p + 2 * BLOCK));
            }
        }
        a = shifted(shift[1], (uint32_t)a) ^ shifted(shift[0], (uint32_t)b) ^ c;
        p += 2 * BLOCK;
    }
    for (; bytes >= (size_t)3 * SHORT_BLOCK; bytes -= (size_t)3 * SHORT_BLOCK) {
        uint64_t b = 0, c = 0;

        for (const uint8_t *end = p + SHORT_BLOCK; p < end; p += 8) {
            a = __builtin_ia32_crc32di(a, mri_get64(p));
            b = __builtin_ia32_crc32di(b, mri_get64(p + SHORT_BLOCK));
            c = __builtin_ia32_crc32di(c, mri_get64(p + 2 * SHORT_BLOCK));
        }
        a = shifted(short_shift[1], (uint32_t)a) ^
            shifted(short_shift[0], (uint32_t)b) ^ c;
        p += 2 * SHORT_BLOCK;
    }
    for (; bytes >= 8; bytes -= 8, p += 8) {
        a = __builtin_ia32_crc32di(a, mri_get64(p));
    }
    for (; bytes != 0; bytes--) {
        a = __builtin_ia32_crc32qi((uint32_t)a, *p++);
    }
    return (uint32_t)a;
}

static uint32_t
by_folding(uint32_t crc, const uint8_t *p, size_t bytes)
{
    bool wide = mri_cpu() == MRI_AVX512;
    uint8_t rest[MRI_FOLD_REST];
    size_t done =
        (wide ? mri_fold_avx512 : mri_fold_avx2)(rest, &keys, crc, p, bytes);

    crc = by_instruction(0, rest, wide ? MRI_FOLD_REST : MRI_FOLD_REST / 2);
    return by_instruction(crc, p + done, bytes - done);
}
#endif

uint32_t
mri_crc32c(uint32_t crc, const void *p, size_t bytes)
{
    pthread_once(&once, setup);
    crc = ~crc;
#if defined(__x86_64__)
    if (bytes >= MRI_FOLD_LEAST && mri_cpu_fold()) {
        return ~by_folding(crc, p, bytes);
    }
    if (mri_cpu_crc()) {
        return ~by_instruction(crc, p, bytes);
    }
#endif
    return ~by_table(crc, p, bytes);
}
