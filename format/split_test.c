/* SPDX-License-Identifier: Apache-2.0 */
#include "split.h"

#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

static const double shares[] = {0.8, 0.1, 0.1};

static mri_unit *
units_of(uint64_t n, uint64_t groups, uint32_t classes)
{
    mri_unit *u = calloc((size_t)n, sizeof *u);
    uint64_t seed = n * 31 + groups;

    for (uint64_t i = 0; i < n; i++) {
        u[i].key = scratch_random(&seed) | 1;
        u[i].pixels = scratch_random(&seed) | 1;
        u[i].group = groups != 0 ? 1000 + i % groups * 7919 : 0;
        u[i].class_index = (uint32_t)(scratch_random(&seed) % classes);
        u[i].split = MRI_SPLIT_BY_HASH;
    }
    return u;
}

static void
assign(mri_unit *u, uint64_t n, uint32_t classes, bool repair,
       mri_split_result *out)
{
    mri_split_rule rule = {"salt", shares, 3, classes, repair};
    mr_diag d = {0};

    assert_ok(mri_split_assign(u, n, &rule, out, &d), &d);
}

static void
count(const mri_unit *u, uint64_t n, uint64_t have[3])
{
    have[0] = have[1] = have[2] = 0;
    for (uint64_t i = 0; i < n; i++) {
        assert_true(u[i].split < 3);
        have[u[i].split]++;
    }
}

static void
a_group_never_parts(void **state)
{
    (void)state;
    for (uint64_t groups = 1; groups < 40; groups++) {
        mri_unit *u = units_of(500, groups, 4);
        mri_split_result r;

        assign(u, 500, 4, true, &r);
        assert_int_equal(r.groups, groups);
        assert_int_equal(r.joined, 0);
        for (uint64_t i = groups; i < 500; i++) {
            assert_int_equal(u[i].split, u[i - groups].split);
        }
        free(u);
    }
}

/* 5 folds of 40 groups that share images here and there. */
static void
folds_are_equal_and_hold_whole_groups(void **state)
{
    enum { FOLDS = 5, GROUPS = 40, N = 800 };
    static const double equal[FOLDS] = {0.2, 0.2, 0.2, 0.2, 0.2};
    const mri_split_rule rule = {"salt", equal, FOLDS, 4, true};
    mri_unit *u = units_of(N, GROUPS, 4);
    uint64_t have[FOLDS] = {0};
    mri_split_result r;
    mr_diag d = {0};

    (void)state;
    u[3].pixels = u[17].pixels; /* groups 3 and 17 */
    assert_ok(mri_split_assign(u, N, &rule, &r, &d), &d);
    assert_int_equal(r.joined, 1);
    assert_int_equal(u[3].split, u[17].split);
    for (uint64_t i = 0; i < N; i++) {
        assert_true(u[i].split < FOLDS);
        assert_int_equal(u[i].split, u[i % GROUPS].split);
        have[u[i].split]++;
    }
    for (int s = 0; s < FOLDS; s++) { /* the largest bloc has 40 */
        assert_true(have[s] >= N / FOLDS - 20 && have[s] <= N / FOLDS + 20);
    }
    free(u);
}

static void
repair_brings_counts_within_half_a_group(void **state)
{
    (void)state;
    for (uint64_t groups = 5; groups <= 50; groups += 5) {
        uint64_t n = groups * 20, have[3];
        mri_unit *u = units_of(n, groups, 8);
        mri_split_result r;

        assign(u, n, 8, true, &r);
        count(u, n, have);
        for (int s = 0; s < 3; s++) {
            assert_true(fabs((double)have[s] - shares[s] * (double)n) <=
                        10.0001);
        }
        free(u);
    }
}

/* Without groups every sample is one, and the labels come out even. */
static void
single_samples_are_stratified(void **state)
{
    enum { N = 4000 };
    mri_unit *u = units_of(N, 0, 5);
    uint64_t have[3], by_class[3][5] = {{0}}, total[5] = {0};
    mri_split_result r;

    (void)state;
    assign(u, N, 5, true, &r);
    assert_int_equal(r.groups, 0);
    count(u, N, have);
    for (uint64_t i = 0; i < N; i++) {
        by_class[u[i].split][u[i].class_index]++;
        total[u[i].class_index]++;
    }
    for (int s = 0; s < 3; s++) {
        assert_true(fabs((double)have[s] - shares[s] * N) <= 1);
    }
    /* The hash alone leaves five standard errors at most. */
    for (int k = 0; k < 5; k++) {
        double want = 0.1 * (double)total[k];

        assert_true(fabs((double)by_class[2][k] - want) <=
                    5 * sqrt(want * 0.9));
    }
    free(u);
}

static void
equal_pixels_join_groups_and_constants_do_not(void **state)
{
    mri_unit *u = units_of(300, 30, 3);
    mri_split_result r;

    (void)state;
    u[4].pixels = u[9].pixels; /* groups 4 and 9 */
    u[5].pixels = u[6].pixels = 0;
    assign(u, 300, 3, true, &r);
    assert_int_equal(r.joined, 1);
    assert_int_equal(u[4].split, u[9].split);
    free(u);
}

static void
given_splits_are_kept_and_what_they_tear_is_counted(void **state)
{
    mri_unit *u = units_of(100, 10, 2);
    mri_split_result r;

    (void)state;
    for (int i = 0; i < 100; i++) {
        u[i].split = i % 10 == 3 && i > 50 ? 2 : 0; /* tears group 3 */
    }
    assign(u, 100, 2, false, &r);
    assert_true(r.torn > 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(u[i].split, i % 10 == 3 && i > 50 ? 2 : 0);
    }
    free(u);
}

/* What was assigned stays; new members of a group follow it; new groups go by
 * the hash, whatever else is there. */
static void
later_generations_move_nothing(void **state)
{
    mri_unit *first = units_of(400, 20, 3), *more = units_of(600, 30, 3);
    mri_split_result r;

    (void)state;
    assign(first, 400, 3, true, &r);
    for (int i = 0; i < 600; i++) {
        int g = i % 30;

        more[i].split = g < 20 && i < 400 ? first[g].split : MRI_SPLIT_BY_HASH;
    }
    assign(more, 600, 3, false, &r);
    for (int i = 0; i < 600; i++) {
        int g = i % 30;

        if (g < 20) {
            assert_int_equal(more[i].split, first[g].split);
        } else {
            assert_int_equal(more[i].split, more[g].split);
        }
    }
    free(first);
    free(more);
}

static void
the_order_of_units_does_not_matter(void **state)
{
    enum { N = 700 };
    mri_unit *a = units_of(N, 35, 4), *b = malloc(N * sizeof *b);
    mri_split_result r;

    (void)state;
    for (int i = 0; i < N; i++) {
        b[N - 1 - i] = a[i];
    }
    assign(a, N, 4, true, &r);
    assign(b, N, 4, true, &r);
    for (int i = 0; i < N; i++) {
        assert_int_equal(a[i].split, b[N - 1 - i].split);
    }
    free(a);
    free(b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_never_parts),
        cmocka_unit_test(folds_are_equal_and_hold_whole_groups),
        cmocka_unit_test(repair_brings_counts_within_half_a_group),
        cmocka_unit_test(single_samples_are_stratified),
        cmocka_unit_test(equal_pixels_join_groups_and_constants_do_not),
        cmocka_unit_test(given_splits_are_kept_and_what_they_tear_is_counted),
        cmocka_unit_test(later_generations_move_nothing),
        cmocka_unit_test(the_order_of_units_does_not_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
