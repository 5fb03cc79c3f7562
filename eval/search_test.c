/* SPDX-License-Identifier: Apache-2.0 */
/* search_test.c - neighbours beside those of a loop over all pairs. */
#include "nearest.h"

#include <mri/alloc.h>
#include <mri/cpu.h>
#include <mri/error.h>

#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct sides {
    float *train, *test;
    uint64_t n, m;
    uint32_t dim, k;
    uint32_t *index;
    double *cosine;
} sides;

static float
random_value(uint64_t *seed)
{
    return (float)((double)(scratch_random(seed) >> 11) * 0x1p-53 - 0.5);
}

static sides
make_sides(uint64_t n, uint64_t m, uint32_t dim, uint32_t k)
{
    uint64_t seed = n * 31 + m * 7 + dim;
    sides s = {.n = n, .m = m, .dim = dim, .k = k};

    s.train = malloc(n * dim * sizeof *s.train);
    s.test = malloc(m * dim * sizeof *s.test);
    s.index = malloc(m * k * sizeof *s.index);
    s.cosine = malloc(m * k * sizeof *s.cosine);
    for (uint64_t i = 0; i < n * dim; i++) {
        s.train[i] = random_value(&seed);
    }
    for (uint64_t i = 0; i < m * dim; i++) {
        s.test[i] = random_value(&seed);
    }
    return s;
}

static void
free_sides(sides *s)
{
    free(s->train);
    free(s->test);
    free(s->index);
    free(s->cosine);
}

static void
run_search(sides *s, unsigned threads)
{
    mri_search_in in = {.train = {s->train, NULL, s->n},
                        .test = {s->test, NULL, s->m},
                        .dim = s->dim,
                        .k = s->k,
                        .threads = threads};
    mr_diag d = {0};

    memset(s->index, 0xAA, s->m * s->k * sizeof *s->index);
    assert_ok(mri_search(&in, s->index, s->cosine, &d), &d);
}

static double
length_of(const float *x, uint32_t dim)
{
    double sum = 0;

    for (uint32_t i = 0; i < dim; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return fmax(sqrt(sum), 1e-12);
}

typedef struct pair {
    double cosine;
    uint32_t index;
} pair;

static int
nearer(const void *a, const void *b)
{
    const pair *x = a, *y = b;

    if (x->cosine != y->cosine) {
        return x->cosine > y->cosine ? -1 : 1;
    }
    return x->index < y->index ? -1 : 1;
}

/* Every neighbour, by another order of sums: where two cosines differ by
 * rounding alone either may come first. */
static void
check_rows(const sides *s)
{
    pair *all = malloc(s->n * sizeof *all);

    for (uint64_t r = 0; r < s->m; r++) {
        const float *x = s->test + r * s->dim;
        double length = length_of(x, s->dim);

        for (uint64_t i = 0; i < s->n; i++) {
            const float *y = s->train + i * s->dim;
            double sum = 0;

            for (uint32_t l = 0; l < s->dim; l++) {
                sum += (double)x[l] * (double)y[l];
            }
            all[i] = (pair){sum / length / length_of(y, s->dim), (uint32_t)i};
        }
        qsort(all, s->n, sizeof *all, nearer);
        for (uint32_t i = 0; i < s->k; i++) {
            uint32_t got = s->index[r * s->k + i];
            double cosine = s->cosine[r * s->k + i];

            assert_true(fabs(cosine - all[i].cosine) < 1e-13);
            if (got != all[i].index) {
                /* only if it is as near */
                uint32_t at = 0;

                while (at < s->n && all[at].index != got) {
                    at++;
                }
                assert_true(at < s->n);
                assert_true(fabs(all[at].cosine - all[i].cosine) < 1e-13);
            }
        }
    }
    free(all);
}

static void
neighbours_are_those_of_all_pairs(void **state)
{
    static const struct {
        uint64_t n, m;
        uint32_t dim, k;
    } cases[] = {
        {1, 1, 1, 1},      {2, 3, 1, 2},       {7, 5, 3, 7},
        {31, 14, 17, 5},   {32, 15, 16, 20},   {33, 13, 15, 33},
        {641, 29, 65, 1},  {700, 3, 129, 20},  {900, 40, 2, 20},
        {1500, 6, 7, 600}, {800, 30, 384, 20},
    };

    (void)state;
    for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        for (size_t i = 0; i < MRI_COUNT(cases); i++) {
            sides s =
                make_sides(cases[i].n, cases[i].m, cases[i].dim, cases[i].k);

            run_search(&s, 1 + (unsigned)i % 3);
            check_rows(&s);
            free_sides(&s);
        }
    }
    mri_cpu_force(-1);
}

static void
bits_do_not_depend_on_threads_or_level(void **state)
{
    sides a = make_sides(1200, 90, 48, 20), b = make_sides(1200, 90, 48, 20);

    (void)state;
    run_search(&a, 1);
    for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        run_search(&b, 1 + (unsigned)level);
        assert_memory_equal(a.index, b.index, 90 * 20 * sizeof *a.index);
        assert_memory_equal(a.cosine, b.cosine, 90 * 20 * sizeof *a.cosine);
    }
    mri_cpu_force(-1);
    free_sides(&a);
    free_sides(&b);
}

static void
of_equals_the_first_comes_first(void **state)
{
    sides s = make_sides(1000, 20, 24, 30);

    (void)state;
    /* Every row ten times over; row 7 is the first test row itself. */
    for (uint64_t i = 10; i < s.n; i++) {
        memcpy(s.train + i * s.dim, s.train + i % 10 * s.dim,
               s.dim * sizeof *s.train);
    }
    memcpy(s.test, s.train + 7 * s.dim, s.dim * sizeof *s.test);
    run_search(&s, 2);
    for (uint32_t i = 0; i < s.k; i++) {
        assert_int_equal(s.index[i], 7 + 10 * i);
    }
    for (uint64_t r = 0; r < s.m; r++) {
        for (uint32_t i = 1; i < s.k; i++) {
            assert_int_equal(s.index[r * s.k + i], s.index[r * s.k] + 10 * i);
        }
    }
    free_sides(&s);
}

/* A network that has collapsed: all rows nearly alike, far closer together
 * than the screen can tell. */
static void
rows_that_are_nearly_alike_are_told_apart(void **state)
{
    sides s = make_sides(3000, 25, 96, 20);
    uint64_t seed = 5;

    (void)state;
    for (uint64_t i = 0; i < s.n * s.dim; i++) {
        s.train[i] = 1.0f + random_value(&seed) * 1e-4f;
    }
    for (uint64_t i = 0; i < s.m * s.dim; i++) {
        s.test[i] = 1.0f + random_value(&seed) * 1e-4f;
    }
    for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        run_search(&s, 2);
        check_rows(&s);
    }
    mri_cpu_force(-1);
    free_sides(&s);
}

static void
lengths_do_not_matter_and_zeros_are_far_from_all(void **state)
{
    sides s = make_sides(600, 12, 40, 10), t = make_sides(600, 12, 40, 10);

    (void)state;
    for (uint64_t i = 0; i < s.n; i++) {
        for (uint32_t l = 0; l < s.dim; l++) {
            t.train[i * s.dim + l] =
                ldexpf(s.train[i * s.dim + l], (int)(i % 120) - 37);
        }
    }
    run_search(&s, 1);
    run_search(&t, 1);
    assert_memory_equal(s.index, t.index, 12 * 10 * sizeof *s.index);
    /* zeros on either side */
    memset(s.test, 0, s.dim * sizeof *s.test);
    memset(s.train + 40, 0, s.dim * sizeof *s.train);
    run_search(&s, 1);
    for (uint32_t i = 0; i < s.k; i++) {
        assert_int_equal(s.index[i], i);
        assert_true(s.cosine[i] == 0);
    }
    free_sides(&s);
    free_sides(&t);
}

static void
rows_can_be_chosen(void **state)
{
    sides s = make_sides(500, 20, 33, 6), t = make_sides(500, 20, 33, 6);
    uint32_t train[250], test[10];
    mri_search_in in = {.train = {s.train, train, 250},
                        .test = {s.train, test, 10},
                        .dim = 33,
                        .k = 6,
                        .threads = 1};
    mr_diag d = {0};

    (void)state;
    for (uint32_t i = 0; i < 250; i++) {
        train[i] = 499 - 2 * i;
        memcpy(t.train + i * 33, s.train + train[i] * 33, 33 * sizeof(float));
    }
    for (uint32_t i = 0; i < 10; i++) {
        test[i] = 7 * i;
        memcpy(t.test + i * 33, s.train + test[i] * 33, 33 * sizeof(float));
    }
    assert_ok(mri_search(&in, s.index, s.cosine, &d), &d);
    t.n = 250;
    t.m = 10;
    run_search(&t, 2);
    assert_memory_equal(s.index, t.index, 10 * 6 * sizeof *s.index);
    free_sides(&s);
    free_sides(&t);
}

static void
the_kth_largest_is_that_of_a_sorted_list(void **state)
{
    uint64_t seed = 3;
    double v[64], sorted[64];

    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t n = 1 + (size_t)(scratch_random(&seed) % 64), k;

        for (size_t i = 0; i < n; i++) {
            v[i] = (double)(scratch_random(&seed) % (1 + (uint64_t)round % 9));
        }
        memcpy(sorted, v, n * sizeof *v);
        for (size_t i = 1; i < n; i++) {
            for (size_t j = i; j > 0 && sorted[j] > sorted[j - 1]; j--) {
                double t = sorted[j];

                sorted[j] = sorted[j - 1];
                sorted[j - 1] = t;
            }
        }
        k = 1 + (size_t)(scratch_random(&seed) % n);
        assert_true(kth_largest(v, n, k) == sorted[k - 1]);
    }
}

static bool
stop_at_once(void *user)
{
    ++*(int *)user;
    return true;
}

static void
it_can_be_stopped(void **state)
{
    sides s = make_sides(5000, 300, 64, 5);
    int asked = 0;
    mr_watch watch = {&asked, NULL, stop_at_once};
    mri_search_in in = {.train = {s.train, NULL, s.n},
                        .test = {s.test, NULL, s.m},
                        .dim = s.dim,
                        .k = s.k,
                        .threads = 1,
                        .watch = &watch};
    mr_diag d = {0};

    (void)state;
    assert_fails(mri_search(&in, s.index, s.cosine, &d), MR_ESTOP);
    assert_true(asked > 0);
    free_sides(&s);
}

static void
memory_that_is_out_is_said(void **state)
{
    sides s = make_sides(100, 20, 8, 5);
    mri_search_in in = {.train = {s.train, NULL, s.n},
                        .test = {s.test, NULL, s.m},
                        .dim = s.dim,
                        .k = s.k,
                        .threads = 2};
    mr_err err = MR_ENOMEM;
    mr_diag d = {0};

    (void)state;
    for (int64_t n = 0; err != MR_OK; n++) {
        (void)mri_alloc_fail_at(n);
        err = mri_search(&in, s.index, s.cosine, &d);
        (void)mri_alloc_fail_at(-1);
        assert_true(err == MR_OK || err == MR_ENOMEM);
    }
    free_sides(&s);
}

/* What the kernels promise by themselves, at every level. */
static void
kernels_keep_their_bounds(void **state)
{
    enum { K = 777 };
    static float a[K * SCREEN_ROWS], b[K * SCREEN_COLUMNS];
    float least[SCREEN_ROWS], scores[SCREEN_ROWS * SCREEN_COLUMNS];
    double dots[4] = {0};
    uint64_t seed = 1;

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(a); i++) {
        a[i] = random_value(&seed);
    }
    for (size_t i = 0; i < MRI_COUNT(b); i++) {
        b[i] = random_value(&seed);
    }
    for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
        const screen_kernel *s;

        mri_cpu_force(level);
        s = screen_kernel_now();
        for (unsigned r = 0; r < SCREEN_ROWS; r++) {
            least[r] = r % 2 == 0 ? -INFINITY : INFINITY;
        }
        assert_int_equal(s->block(scores, a, b, K, least),
                         0x1555 & ((1u << s->rows) - 1));
        for (unsigned r = 0; r < s->rows; r += 2) {
            for (unsigned c = 0; c < s->columns; c++) {
                double sum = 0, size = 0;

                for (size_t i = 0; i < K; i++) {
                    double p = (double)a[i * s->rows + r] *
                               (double)b[i * s->columns + c];

                    sum += p;
                    size += fabs(p);
                }
                assert_true(fabs((double)scores[r * s->columns + c] - sum) <=
                            1.01 * K * 0x1p-24 * size);
            }
        }
        dots[level] = exact_kernel_now()->dot(a, b, K);
        assert_true(dots[level] == dots[0]);
    }
    mri_cpu_force(-1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_keep_their_bounds),
        cmocka_unit_test(the_kth_largest_is_that_of_a_sorted_list),
        cmocka_unit_test(neighbours_are_those_of_all_pairs),
        cmocka_unit_test(bits_do_not_depend_on_threads_or_level),
        cmocka_unit_test(of_equals_the_first_comes_first),
        cmocka_unit_test(rows_that_are_nearly_alike_are_told_apart),
        cmocka_unit_test(lengths_do_not_matter_and_zeros_are_far_from_all),
        cmocka_unit_test(rows_can_be_chosen),
        cmocka_unit_test(it_can_be_stopped),
        cmocka_unit_test(memory_that_is_out_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
