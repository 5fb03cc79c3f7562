/* SPDX-License-Identifier: Apache-2.0 */
#include "chunk.h"
#include "survey.h"

#include <math.h>
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
        g.dims[g.ndim] = g.chunk[g.ndim] = dims[g.ndim];
    }
    return g;
}

static mri_stat_row
stat_of(const mri_grid_row *g, const void *pixels, mri_bytes *labels)
{
    mri_stat_row row;
    mri_survey s;
    mr_box box;

    mri_chunk_box(g, 0, &box);
    assert_true(mri_survey_begin(&s, g, 1, 0, NULL));
    assert_true(mri_survey_stat(&s, &box, pixels, &row, labels));
    mri_survey_release(&s);
    return row;
}

static double
as_number(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, sizeof v);
    return v;
}

static void
integers_keep_their_sign(void **state)
{
    const uint32_t dims[] = {5};
    const int8_t a[] = {-3, 0, 7, 0, -128};
    const uint64_t b[] = {UINT64_MAX, 5, 0, 9, 1};
    mri_grid_row g = grid(MR_I8, "X", dims);
    mri_stat_row row = stat_of(&g, a, NULL);

    (void)state;
    assert_true((int64_t)row.min == -128 && row.max == 7);
    assert_true(row.nonzero == 3 && row.nan == 0 && row.labels == 0);
    g.dtype = MR_U64;
    row = stat_of(&g, b, NULL);
    assert_true(row.min == 0 && row.max == UINT64_MAX && row.nonzero == 4);
}

static void
not_a_number_is_counted_and_has_no_place_in_the_range(void **state)
{
    const uint32_t dims[] = {5};
    const float a[] = {NAN, -0.0f, INFINITY, NAN, -2.5f};
    const float zeros[] = {-0.0f, -0.0f, -0.0f, 0.0f, -0.0f};
    const double none[] = {NAN, NAN, -NAN, NAN, NAN};
    mri_grid_row g = grid(MR_F32, "X", dims);
    mri_stat_row row = stat_of(&g, a, NULL);

    (void)state;
    assert_true(as_number(row.min) == -2.5 && as_number(row.max) == INFINITY);
    assert_true(row.nan == 2 && row.nonzero == 4);
    row = stat_of(&g, zeros, NULL); /* of the two zeros, the one without sign */
    assert_true(row.min == 0 && row.max == 0 && row.nonzero == 0);
    g.dtype = MR_F64;
    row = stat_of(&g, none, NULL);
    assert_true(row.min == 0x7FF8000000000000u && row.max == row.min);
    assert_true(row.nan == 5 && row.nonzero == 5);
}

static void
labels_ascend_and_count_all_elements(void **state)
{
    enum { N = 5000 };
    const uint32_t dims[] = {N};
    int16_t *a = calloc(N, sizeof *a);
    mri_grid_row g = grid(MR_I16, "X", dims);
    mri_bytes labels = {0};
    const mri_label_row *l;
    mri_stat_row row;
    uint64_t seed = 5, total = 0, count[41] = {0};

    (void)state;
    for (int i = 0; i < N; i++) {
        a[i] = (int16_t)(scratch_random(&seed) % 41) - 20;
        a[i] = i > 0 && scratch_random(&seed) % 4 != 0 ? a[i - 1] : a[i];
        count[a[i] + 20]++;
    }
    row = stat_of(&g, a, &labels);
    assert_int_equal(row.labels, 0); /* an image's values are not counted */
    g.flags = MRI_GRID_LABEL;
    row = stat_of(&g, a, &labels);
    l = (const void *)labels.data;
    assert_int_equal(row.labels, 41);
    assert_int_equal(labels.len, 41 * sizeof *l);
    for (uint32_t i = 0; i < row.labels; i++) {
        assert_int_equal((int64_t)l[i].value, (int64_t)i - 20);
        assert_int_equal(l[i].count, count[i]);
        total += l[i].count;
    }
    assert_int_equal(total, N);
    mri_bytes_release(&labels);
    free(a);
}

static void
too_many_labels_are_said_to_be_too_many(void **state)
{
    enum { N = MRI_LABELS_MAX + 1 };
    const uint32_t dims[] = {N};
    uint32_t *a = calloc(N, sizeof *a);
    mri_grid_row g = grid(MR_U32, "X", dims);
    mri_bytes labels = {0};
    mri_stat_row row;

    (void)state;
    g.flags = MRI_GRID_LABEL;
    for (uint32_t i = 0; i < N; i++) {
        a[i] = i * 977;
    }
    row = stat_of(&g, a, &labels);
    assert_true(row.labels == 0 && row.flags == MRI_STAT_MANY);
    assert_int_equal(labels.len, 0);
    a[7] = a[8];
    row = stat_of(&g, a, &labels);
    assert_true(row.labels == MRI_LABELS_MAX && row.flags == 0);
    mri_bytes_release(&labels);
    free(a);
}

/* An image of 3 channels in boxes of odd sizes under labels of each shape that
 * fits; against the obvious loop. */
static void
foreground_is_what_lies_under_a_label(void **state)
{
    enum { Z = 5, Y = 7, X = 9, C = 3, N = C * Z * Y * X };
    const uint32_t dims[] = {C, Z, Y, X};
    static const struct {
        const char *axes;
        uint32_t dims[4];
        bool per_channel;
    } covers[] = {{"ZYX", {Z, Y, X}, false},
                  {"CZYX", {1, Z, Y, X}, false},
                  {"CZYX", {C, Z, Y, X}, true}};
    mri_grid_row g = grid(MR_U16, "CZYX", dims);
    uint16_t pixels[N], chunk[N];
    int8_t label[N];
    uint64_t seed = 11;

    (void)state;
    for (int i = 0; i < N; i++) {
        pixels[i] = (uint16_t)(scratch_random(&seed) % 900);
        label[i] = (int8_t)(scratch_random(&seed) % 5) - 2;
    }
    memcpy(g.chunk, (uint32_t[]){2, 3, 4, 5}, 16);
    for (size_t k = 0; k < sizeof covers / sizeof *covers; k++) {
        mri_grid_row l = grid(MR_I8, covers[k].axes, covers[k].dims);
        mri_cover cover = {&l, (const uint8_t *)label};
        mri_moment_row rows[C];
        mri_survey s;

        assert_false(mri_cover_fits(&l, &g));
        l.flags = MRI_GRID_LABEL;
        assert_true(mri_cover_fits(&l, &g));
        assert_true(mri_survey_begin(&s, &g, 2, -100, &cover));
        for (uint64_t i = 0; i < mri_grid_chunks(&g); i++) {
            mr_box box;

            mri_chunk_box(&g, i, &box);
            mri_chunk_gather((uint8_t *)chunk, (const uint8_t *)pixels, &g,
                             &box);
            assert_true(mri_survey_add(&s, &box, chunk));
        }
        mri_survey_end(&s, rows);
        for (int c = 0; c < C; c++) {
            mr_moments want = {.min = INFINITY, .max = -INFINITY};

            for (int i = 0; i < N / C; i++) {
                double v = 2.0 * pixels[c * (N / C) + i] - 100;

                if (label[covers[k].per_channel ? c * (N / C) + i : i] > 0) {
                    want.count++;
                    want.sum += v;
                    want.sum_squares += v * v;
                    want.min = v < want.min ? v : want.min;
                    want.max = v > want.max ? v : want.max;
                }
            }
            assert_memory_equal(&rows[c].foreground, &want, sizeof want);
            assert_int_equal(rows[c].all.count, N / C);
        }
        mri_survey_release(&s);
    }
}

static void
a_label_of_another_shape_covers_nothing(void **state)
{
    mri_grid_row g = grid(MR_U16, "CZYX", (uint32_t[]){3, 5, 7, 9});
    mri_grid_row small = grid(MR_U8, "ZYX", (uint32_t[]){5, 7, 8});
    mri_grid_row flat = grid(MR_U8, "YX", (uint32_t[]){7, 9});
    mri_grid_row two = grid(MR_U8, "CZYX", (uint32_t[]){2, 5, 7, 9});
    mri_grid_row odd = grid(MR_U8, "SZYX", (uint32_t[]){1, 5, 7, 9});

    (void)state;
    small.flags = flat.flags = two.flags = odd.flags = MRI_GRID_LABEL;
    assert_false(mri_cover_fits(&small, &g));
    assert_false(mri_cover_fits(&flat, &g));
    assert_false(mri_cover_fits(&two, &g));
    assert_false(mri_cover_fits(&odd, &g));
}

/* However a field is cut, its moments are the same to the last bit as long as
 * the sums can be had exactly. */
static void
chunks_in_any_shape_give_the_same_moments(void **state)
{
    enum { SIDE = 40, N = SIDE * SIDE * SIDE };
    const uint32_t dims[] = {SIDE, SIDE, SIDE};
    static const uint32_t cuts[][3] = {{40, 40, 40}, {32, 32, 32}, {1, 7, 40}};
    int16_t *pixels = calloc(N, sizeof *pixels), *chunk = calloc(N, 2);
    mri_moment_row first, row;
    uint64_t seed = 77;

    (void)state;
    for (int i = 0; i < N; i++) {
        pixels[i] = (int16_t)scratch_random(&seed);
    }
    for (size_t k = 0; k < 3; k++) {
        mri_grid_row g = grid(MR_I16, "ZYX", dims);
        mri_survey s;

        memcpy(g.chunk, cuts[k], sizeof cuts[k]);
        assert_true(mri_survey_begin(&s, &g, 1, 0, NULL));
        for (uint64_t i = mri_grid_chunks(&g); i-- > 0;) {
            mr_box box;

            mri_chunk_box(&g, i, &box);
            mri_chunk_gather((uint8_t *)chunk, (const uint8_t *)pixels, &g,
                             &box);
            assert_true(mri_survey_add(&s, &box, chunk));
        }
        mri_survey_end(&s, k == 0 ? &first : &row);
        mri_survey_release(&s);
        if (k != 0) {
            assert_memory_equal(&row, &first, sizeof row);
        }
    }
    free(pixels);
    free(chunk);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_keep_their_sign),
        cmocka_unit_test(not_a_number_is_counted_and_has_no_place_in_the_range),
        cmocka_unit_test(labels_ascend_and_count_all_elements),
        cmocka_unit_test(too_many_labels_are_said_to_be_too_many),
        cmocka_unit_test(foreground_is_what_lies_under_a_label),
        cmocka_unit_test(a_label_of_another_shape_covers_nothing),
        cmocka_unit_test(chunks_in_any_shape_give_the_same_moments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
