/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <mri/error.h>

#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

static mri_measures m;

static int
teardown(void **state)
{
    (void)state;
    mri_measures_release(&m);
    return 0;
}

static void
add(uint32_t split, char axis, double value, int count)
{
    const mri_measured one = {.split = split,
                              .field = 3,
                              .axis = axis,
                              .kind = MR_MEASURE_SPACING,
                              .value = value,
                              .count = count};

    assert_true(mri_measures_add(&m, &one));
}

static int
by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* inverted_cdf: the least value that at least q of all do not exceed. */
static double
by_definition(const double *sorted, size_t n, double percent)
{
    for (size_t i = 0; i < n; i++) {
        if ((double)(i + 1) >= (double)n * (percent / 100)) {
            return sorted[i];
        }
    }
    return sorted[n - 1];
}

static void
percentiles_are_those_of_what_is_left(void **state)
{
    enum { MOST = 4000 };
    static double v[2 * MOST];
    uint64_t seed = 4;
    mr_diag d = {0};

    (void)state;
    for (size_t n = 1; n < MOST; n = n * 3 + 1) {
        size_t gone = n / 3, each[2] = {n, n - gone};
        double all[2 * MOST];

        for (size_t i = 0; i < 2 * n; i++) {
            v[i] = (double)(scratch_random(&seed) % (n + 7) + 1) / 16;
            add((uint32_t)(i / n), 'X', v[i], 1);
        }
        for (size_t i = 0; i < gone; i++) { /* of split 1 */
            add(1, 'X', v[2 * n - 1 - i], -1);
        }
        assert_ok(mri_measures_end(&m, 2, &d), &d);
        assert_int_equal(m.groups, 3);
        memcpy(all, v, (2 * n - gone) * sizeof *v);
        qsort(all, 2 * n - gone, sizeof *v, by_number);
        for (unsigned s = 0; s < 3; s++) {
            const mri_measure_group *g = &m.group[s];
            double *sorted = s < 2 ? v + s * n : all;
            size_t count = s < 2 ? each[s] : 2 * n - gone;

            qsort(sorted, count, sizeof *v, by_number);
            assert_true(g->split == s && g->field == 3 && g->m.axis == 'X');
            assert_int_equal(g->m.count, count);
            for (unsigned k = 0; k < MR_PERCENTILES; k++) {
                assert_true(g->m.percentile[k] ==
                            by_definition(sorted, count, mr_percent(k)));
            }
        }
        mri_measures_release(&m);
    }
}

static void
groups_stand_in_the_order_of_axes(void **state)
{
    static const char given[] = "XqZCYT", want[] = "TCZYXq";
    mr_diag d = {0};

    (void)state;
    for (int i = 0; i < 6; i++) {
        add(0, given[i], 1.5, 1);
    }
    assert_ok(mri_measures_end(&m, 1, &d), &d);
    assert_int_equal(m.groups, 12);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(m.group[i].m.axis, want[i % 6]);
        assert_int_equal(m.group[i].split, i / 6);
    }
}

static void
what_has_gone_leaves_nothing(void **state)
{
    mr_diag d = {0};

    (void)state;
    add(0, 'Z', 2, 1);
    add(0, 'Z', 2, -1);
    assert_ok(mri_measures_end(&m, 1, &d), &d);
    assert_int_equal(m.groups, 0);
}

static void
more_gone_than_there_were_is_refused(void **state)
{
    mr_diag d = {0};

    (void)state;
    add(0, 'Z', 2, 1);
    add(0, 'Z', 3, -1);
    assert_int_equal(mri_measures_end(&m, 1, &d), MR_ECORRUPT);
    assert_int_equal(d.code, MRI_E_STATISTICS);
}

static void
too_many_values_are_none(void **state)
{
    mr_diag d = {0};

    (void)state;
    for (int i = 0; i <= MRI_MEASURED_MOST; i++) {
        add(0, 'Z', i + 1, 1);
    }
    assert_true(m.many);
    assert_ok(mri_measures_end(&m, 1, &d), &d);
    assert_int_equal(m.groups, 0);
}

static void
kept_values_come_back_and_others_are_refused(void **state)
{
    Mri__PbMeasure pb;
    const mri_measured like = {.split = 1, .field = 2};
    char axis[] = "Y";
    double percentile[MR_PERCENTILES] = {0};
    mri_bytes kept = {0};
    bool holds;
    mr_diag d = {0};

    (void)state;
    mri__pb_measure__init(&pb);
    add(0, 'Y', 0.5, 7);
    add(0, 'Y', 0.75, 1);
    assert_ok(mri_measures_end(&m, 1, &d), &d);
    assert_true(mri_measures_pack(&kept, &m, &m.group[0]));
    assert_int_equal(kept.len, 2 * MRI_MEASURED_BYTES);
    pb.axis = axis;
    pb.kind = MR_MEASURE_SPACING;
    pb.n_percentiles = MR_PERCENTILES;
    pb.percentiles = percentile;
    for (int i = 0; i < 8; i++) {
        mri_measures_release(&m);
        pb.kind = i == 1 ? 3 : MR_MEASURE_SPACING;
        pb.n_percentiles = i == 2 ? 6 : MR_PERCENTILES;
        axis[0] = i == 3 ? '\0' : 'Y';
        pb.values.data = kept.data;
        pb.values.len = kept.len - (i == 4 ? 1 : 0);
        kept.data[15] ^= i == 5 ? 0x80 : 0; /* a count of 2^63 */
        kept.data[23] ^= i == 6 ? 0x80 : 0; /* below zero */
        kept.data[22] ^= i == 7 ? 0x20 : 0; /* below the one before */
        assert_ok(mri_measures_unpack(&m, &pb, &like, &holds, &d), &d);
        assert_true(holds == (i == 0));
        if (i == 0) {
            assert_ok(mri_measures_end(&m, 2, &d), &d);
            assert_true(m.groups == 2 && m.group[0].split == 1 &&
                        m.group[0].field == 2 && m.group[0].m.count == 8);
        }
        kept.data[15] &= 0x7F;
        kept.data[23] &= 0x7F;
    }
    mri_bytes_release(&kept);
}

int
main(void)
{
#define T(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        T(percentiles_are_those_of_what_is_left),
        T(groups_stand_in_the_order_of_axes),
        T(what_has_gone_leaves_nothing),
        T(more_gone_than_there_were_is_refused),
        T(too_many_values_are_none),
        T(kept_values_come_back_and_others_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
