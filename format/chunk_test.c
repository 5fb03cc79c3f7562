/* SPDX-License-Identifier: Apache-2.0 */
#include "chunk.h"
#include "shuffle.h"

#include <mri/alloc.h>
#include <mri/cpu.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

static mri_grid_row
grid(mr_dtype dtype, const char *axes, const uint32_t *dims)
{
    mri_grid_row g = {.encoding = MR_ENC_CHUNKS, .dtype = (uint8_t)dtype};

    for (; axes[g.ndim] != '\0'; g.ndim++) {
        g.axes[g.ndim] = axes[g.ndim];
        g.dims[g.ndim] = dims[g.ndim];
    }
    return g;
}

static void
expect_chunk(mr_dtype dtype, const char *axes, const uint32_t *dims,
             const double *spacing, const uint32_t *want)
{
    mri_grid_row g = grid(dtype, axes, dims);

    mri_chunk_shape(&g, spacing);
    for (unsigned i = 0; i < g.ndim; i++) {
        if (g.chunk[i] != want[i]) {
            fail_msg("%s: axis %c has chunks of %u, not %u", axes, axes[i],
                     g.chunk[i], want[i]);
        }
    }
}

static void
chunk_shapes_follow_size_axes_and_spacing(void **state)
{
    const double flat[] = {5, 1, 1}, deep[] = {1, 8, 8};

    (void)state;
#define SHAPE(...) ((const uint32_t[]){__VA_ARGS__})
    expect_chunk(MR_U16, "YXC", SHAPE(72, 72, 5), NULL, SHAPE(72, 72, 5));
    expect_chunk(MR_U16, "ZYX", SHAPE(512, 512, 512), NULL, SHAPE(32, 32, 32));
    expect_chunk(MR_U16, "ZYX", SHAPE(40, 512, 512), flat, SHAPE(8, 64, 64));
    expect_chunk(MR_U16, "ZYX", SHAPE(512, 64, 64), deep, SHAPE(128, 16, 16));
    expect_chunk(MR_I16, "TZYX", SHAPE(20, 64, 64, 64), NULL,
                 SHAPE(1, 32, 32, 32));
    expect_chunk(MR_U8, "YXC", SHAPE(2000, 3000, 3), NULL, SHAPE(256, 256, 3));
    expect_chunk(MR_U16, "YXC", SHAPE(2000, 3000, 5), NULL, SHAPE(256, 256, 1));
    expect_chunk(MR_U16, "CYX", SHAPE(3, 100, 4000), NULL, SHAPE(1, 100, 256));
    expect_chunk(MR_F32, "ZYXR", SHAPE(64, 64, 64, 2), NULL,
                 SHAPE(32, 32, 32, 2));
}

static void
shuffle_undoes_itself_at_every_level_length_and_alignment(void **state)
{
    uint8_t in[2100], mixed[2100], out[2100];
    uint64_t seed = 6;

    (void)state;
    for (size_t i = 0; i < sizeof in; i++) {
        in[i] = (uint8_t)scratch_random(&seed);
    }
    for (int level = 0; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        for (unsigned element = 1; element <= 8; element *= 2) {
            for (size_t n = 0; n * element < 2000; n += 1 + n / 3) {
                for (size_t shift = 0; shift < 3; shift++) {
                    mri_shuffle(mixed, in + shift, n, element);
                    for (size_t i = 0; i < n * element; i++) {
                        assert_int_equal(mixed[i % element * n + i / element],
                                         in[shift + i]);
                    }
                    mri_unshuffle(out + shift, mixed, n, element);
                    assert_memory_equal(out + shift, in + shift, n * element);
                }
            }
        }
    }
    mri_cpu_force(-1);
}

static void
packing_is_undone_and_constants_cost_nothing(void **state)
{
    uint16_t raw[4096], back[4096];
    mri_bytes work = {0}, scratch = {0};
    mr_diag d = {0};

    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        uint64_t seed = 7;
        mri_packed p;
        mri_chunk_row row;

        for (size_t i = 0; i < 4096; i++) {
            raw[i] = kind == 0   ? 777
                     : kind == 1 ? (uint16_t)(1000 + i / 16)
                                 : (uint16_t)scratch_random(&seed);
        }
        assert_true(mri_chunk_pack(&p,
                                   &(mri_chunk_in){.raw = (uint8_t *)raw,
                                                   .raw_len = sizeof raw,
                                                   .element = 2,
                                                   .coding = MRI_CODING_LZ4},
                                   &work));
        assert_int_equal(p.flags, kind == 0 ? MRI_CHUNK_CONSTANT : 0);
        assert_int_equal(p.codec, kind == 1 ? MRI_CODEC_LZ4 : MRI_CODEC_RAW);
        assert_true(kind != 0 || (p.stored_len == 0 && p.value == 777));
        assert_true(kind != 1 || p.stored_len < sizeof raw / 4);
        row = (mri_chunk_row){.file_off = p.value,
                              .stored_len = p.stored_len,
                              .raw_len = p.raw_len,
                              .codec = p.codec,
                              .filter = p.filter,
                              .flags = p.flags};
        memset(back, 0xAA, sizeof back);
        assert_ok(
            mri_chunk_unpack((uint8_t *)back, &row, p.stored, 2, &scratch, &d),
            &d);
        assert_memory_equal(back, raw, sizeof raw);
    }
    mri_bytes_release(&work);
    mri_bytes_release(&scratch);
}

/* Lengths around the copies that it grows by; nothing is written beyond. */
static void
a_constant_fills_a_chunk_of_any_length(void **state)
{
    static const uint32_t counts[] = {1, 2, 3, 7, 511, 513, 1365, 5000};
    uint8_t raw[8 * 5000 + 8];
    mri_bytes work = {0};
    mr_diag d = {0};

    (void)state;
    for (unsigned element = 1; element <= 8; element *= 2) {
        for (size_t k = 0; k < MRI_COUNT(counts); k++) {
            uint32_t bytes = counts[k] * element;
            mri_chunk_row row = {.file_off = 0x1122334455667788,
                                 .raw_len = bytes,
                                 .flags = MRI_CHUNK_CONSTANT};

            memset(raw, 0xAA, sizeof raw);
            assert_ok(mri_chunk_unpack(raw, &row, NULL, element, &work, &d),
                      &d);
            for (uint32_t i = 0; i < bytes; i++) {
                assert_int_equal(raw[i], 0x88 - 0x11 * (i % element));
            }
            assert_int_equal(raw[bytes], 0xAA);
        }
    }
}

static void
an_unknown_codec_is_named_and_nonsense_refused(void **state)
{
    uint8_t stored[64] = {1, 2, 3}, raw[64];
    mri_bytes work = {0};
    mri_chunk_row row = {.stored_len = 64, .raw_len = 64, .codec = 9};

    (void)state;
    assert_fails(mri_chunk_unpack(raw, &row, stored, 1, &work, NULL),
                 MR_EVERSION);
    row.codec = MRI_CODEC_LZ4;
    assert_fails(mri_chunk_unpack(raw, &row, stored, 1, &work, NULL),
                 MR_ECORRUPT);
    row.codec = MRI_CODEC_RAW;
    row.stored_len = 63;
    assert_fails(mri_chunk_unpack(raw, &row, stored, 1, &work, NULL),
                 MR_ECORRUPT);
    mri_bytes_release(&work);
}

/* Chunks partition the field: gathered in any order they give it back. */
static void
chunks_tile_the_field_and_morton_visits_each_once(void **state)
{
    const uint32_t dims[] = {5, 7, 6};
    mri_grid_row g = grid(MR_U16, "ZYX", dims);
    uint16_t field[5 * 7 * 6];
    unsigned seen[5 * 7 * 6] = {0};
    uint64_t n, *order;

    (void)state;
    g.chunk[0] = 2;
    g.chunk[1] = 3;
    g.chunk[2] = 4;
    for (uint16_t i = 0; i < 5 * 7 * 6; i++) {
        field[i] = i;
    }
    n = mri_grid_chunks(&g);
    assert_int_equal(n, 3 * 3 * 2);
    assert_true(mri_chunk_morton(&g, &order));
    for (uint64_t k = 0; k < n; k++) {
        uint16_t chunk[24];
        mr_box box;

        mri_chunk_box(&g, order[k], &box);
        mri_chunk_gather((uint8_t *)chunk, (uint8_t *)field, &g, &box);
        for (uint64_t i = 0; i < mri_box_len(&box, 3); i++) {
            uint64_t x = i % box.size[2], y = i / box.size[2] % box.size[1],
                     z = i / box.size[2] / box.size[1];

            assert_int_equal(chunk[i],
                             ((box.first[0] + z) * 7 + box.first[1] + y) * 6 +
                                 box.first[2] + x);
            seen[chunk[i]]++;
        }
    }
    for (size_t i = 0; i < MRI_COUNT(seen); i++) {
        assert_int_equal(seen[i], 1);
    }
    mri_free(order);
}

static void
rows_that_contradict_themselves_are_not_sound(void **state)
{
    const uint32_t dims[] = {5, 7};
    mri_grid_row good = grid(MR_U16, "YX", dims), g;

    (void)state;
    mri_chunk_shape(&good, NULL);
    assert_true(mri_grid_sound(&good));
    g = good;
    g.dtype = 99;
    assert_false(mri_grid_sound(&g));
    g = good;
    g.ndim = 9;
    assert_false(mri_grid_sound(&g));
    g = good;
    g.dims[1] = 0;
    assert_false(mri_grid_sound(&g));
    g = good;
    g.chunk[0] = 0;
    assert_false(mri_grid_sound(&g));
    g = good;
    g.axes[3] = 'Q';
    assert_false(mri_grid_sound(&g));
    g = good;
    g.dims[0] = g.dims[1] = g.chunk[0] = g.chunk[1] = UINT32_MAX;
    assert_false(mri_grid_sound(&g)); /* a chunk over 4 GiB */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunk_shapes_follow_size_axes_and_spacing),
        cmocka_unit_test(
            shuffle_undoes_itself_at_every_level_length_and_alignment),
        cmocka_unit_test(packing_is_undone_and_constants_cost_nothing),
        cmocka_unit_test(a_constant_fills_a_chunk_of_any_length),
        cmocka_unit_test(an_unknown_codec_is_named_and_nonsense_refused),
        cmocka_unit_test(chunks_tile_the_field_and_morton_visits_each_once),
        cmocka_unit_test(rows_that_contradict_themselves_are_not_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
