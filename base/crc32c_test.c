/* SPDX-License-Identifier: Apache-2.0 */
#include <mri/cpu.h>
#include <mri/crc32c.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

/* RFC 3720 B.4 */
static void
the_published_vectors_hold_with_and_without_the_instruction(void **state)
{
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32];

    (void)state;
    for (unsigned i = 0; i < 32; i++) {
        ones[i] = 0xFF;
        up[i] = (uint8_t)i;
        down[i] = (uint8_t)(31 - i);
    }
    for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        assert_int_equal(mri_crc32c(0, zeros, 32), 0x8A9136AA);
        assert_int_equal(mri_crc32c(0, ones, 32), 0x62A8AB43);
        assert_int_equal(mri_crc32c(0, up, 32), 0x46DD794E);
        assert_int_equal(mri_crc32c(0, down, 32), 0x113FDB5C);
        assert_int_equal(mri_crc32c(0, "123456789", 9), 0xE3069283);
        assert_int_equal(mri_crc32c(0, "", 0), 0);
    }
    mri_cpu_force(-1);
}

static void
pieces_give_the_same_as_the_whole_at_every_length(void **state)
{
    enum { N = 10000 };
    uint8_t *data = malloc(N);
    uint64_t seed = 5;

    (void)state;
    for (unsigned i = 0; i < N; i++) {
        data[i] = (uint8_t)scratch_random(&seed);
    }
    for (size_t n = 0; n < N; n += 1 + n / 97) {
        size_t cut = n == 0 ? 0 : scratch_random(&seed) % n;
        uint32_t whole, parts;

        mri_cpu_force(MRI_SCALAR);
        whole = mri_crc32c(0, data, n);
        mri_cpu_force(-1);
        parts = mri_crc32c(mri_crc32c(0, data, cut), data + cut, n - cut);
        assert_int_equal(whole, parts);
        assert_int_equal(whole, mri_crc32c(0, data, n));
    }
    free(data);
}

/* By definition: a bit at a time, 0x1EDC6F41 reversed. */
static uint32_t
bitwise(uint32_t reg, uint8_t byte)
{
    reg ^= byte;
    for (int bit = 0; bit < 8; bit++) {
        reg = (reg & 1) != 0 ? reg >> 1 ^ 0x82F63B78u : reg >> 1;
    }
    return reg;
}

static void
levels_agree_up_to(size_t most, const uint8_t *p, uint32_t start)
{
    uint32_t reg = ~start;

    for (size_t n = 0; n <= most; n++) {
        for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
            mri_cpu_force(level);
            assert_int_equal(mri_crc32c(start, p, n), ~reg);
        }
        reg = bitwise(reg, p[n]);
    }
    mri_cpu_force(-1);
}

static void
each_level_agrees_with_the_definition_at_any_length_and_place(void **state)
{
    enum { MOST = 1200, PLACES = 64 };
    uint64_t seed = 11;

    (void)state;
    for (size_t place = 0; place < PLACES; place++) {
        uint8_t *block = malloc(place + MOST + 1); /* its end is the data's */
        uint32_t start = (uint32_t)scratch_random(&seed);

        for (size_t i = 0; i < place + MOST + 1; i++) {
            block[i] = (uint8_t)scratch_random(&seed);
        }
        levels_agree_up_to(MOST, block + place, place == 0 ? 0 : start);
        free(block);
    }
}

static void
a_long_run_of_ones_keeps_every_bit(void **state)
{
    enum { N = 70000 };
    uint8_t *ones = malloc(N);
    uint32_t reg = ~0u;

    (void)state;
    memset(ones, 0xFF, N);
    for (size_t i = 0; i < N; i++) {
        reg = bitwise(reg, 0xFF);
    }
    for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        assert_int_equal(mri_crc32c(0, ones, N), ~reg);
    }
    mri_cpu_force(-1);
    free(ones);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_published_vectors_hold_with_and_without_the_instruction),
        cmocka_unit_test(pieces_give_the_same_as_the_whole_at_every_length),
        cmocka_unit_test(
            each_level_agrees_with_the_definition_at_any_length_and_place),
        cmocka_unit_test(a_long_run_of_ones_keeps_every_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
