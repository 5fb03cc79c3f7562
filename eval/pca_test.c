/* SPDX-License-Identifier: Apache-2.0 */
/* pca_test.c - eigenvectors and principal components beside their
 * definitions. */
#include "eigen.h"

#include <mri/alloc.h>
#include <mri/cpu.h>
#include <mri/error.h>
#include <mri/plot.h>

#include <math.h>
#include <mr_test.h>
#include <scratch.h>
#include <stdlib.h>
#include <string.h>

static double
random_value(uint64_t *seed)
{
    return (double)(scratch_random(seed) >> 11) * 0x1p-52 - 1;
}

static double
product(const double *x, const double *y, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

/* |a v - value v| */
static double
residual(const double *a, size_t n, const double *v, double value)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        double off = product(a + i * n, v, n) - value * v[i];

        sum += off * off;
    }
    return sqrt(sum);
}

static void
assert_near(double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound)) {
        print_error("%.17g is not %.17g within %g\n", got, want, bound);
    }
    assert_true(fabs(got - want) <= bound);
}

/* ------------------------------------------------------------- eigenvalues */

static void
known_matrices_have_their_values(void **state)
{
    double two[] = {2, 1, 1, 2}, v2[4], x2[2];
    /* second differences: 2 - 2 cos(k pi / 4), k = 3, 2, 1 */
    double chain[] = {2, -1, 0, -1, 2, -1, 0, -1, 2}, v3[9], x3[3];
    double diagonal[] = {-5, 0, 0, 0, 7, 0, 0, 0, 1};

    (void)state;
    eigen_small(two, 2, v2, x2);
    assert_near(x2[0], 3, 1e-15);
    assert_near(x2[1], 1, 1e-15);
    assert_near(fabs(v2[0]), sqrt(0.5), 1e-15);
    assert_near(v2[0], v2[1], 1e-15);
    assert_near(v2[2], -v2[3], 1e-15);
    eigen_small(chain, 3, v3, x3);
    assert_near(x3[0], 2 + sqrt(2), 1e-14);
    assert_near(x3[1], 2, 1e-14);
    assert_near(x3[2], 2 - sqrt(2), 1e-14);
    eigen_small(diagonal, 3, v3, x3);
    assert_true(x3[0] == 7 && x3[1] == 1 && x3[2] == -5);
    assert_true(fabs(v3[1]) == 1 && fabs(v3[5]) == 1 && fabs(v3[6]) == 1);
}

/* Any symmetric matrix, values of both signs. */
static void
small_matrices_are_taken_apart(void **state)
{
    enum { MOST = 24 };
    double a[MOST * MOST], copy[MOST * MOST], v[MOST * MOST], x[MOST];
    uint64_t seed = 9;

    (void)state;
    for (size_t n = 1; n <= MOST; n++) {
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j <= i; j++) {
                a[i * n + j] = a[j * n + i] = random_value(&seed);
            }
        }
        memcpy(copy, a, sizeof a);
        eigen_small(copy, n, v, x);
        for (size_t i = 0; i < n; i++) {
            assert_true(residual(a, n, v + i * n, x[i]) < 1e-13);
            assert_true(i == 0 || x[i] <= x[i - 1]);
            for (size_t j = 0; j < n; j++) {
                assert_near(product(v + i * n, v + j * n, n), i == j, 1e-13);
            }
        }
    }
}

/* m' m of random rows: positive semidefinite, of rank `rows` at most. */
static double *
make_square(size_t rows, size_t n, uint64_t seed)
{
    double *a = calloc(n * n, sizeof *a), *m = malloc(rows * n * sizeof *m);

    for (size_t i = 0; i < rows * n; i++) {
        /* columns of unlike size, so that values spread */
        m[i] = random_value(&seed) / (1 + (double)(i % n) / 8);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n; j++) {
                a[i * n + j] += m[r * n + i] * m[r * n + j];
            }
        }
    }
    free(m);
    return a;
}

static void
assert_leading(const double *a, size_t n, const double *v, const double *x)
{
    assert_true(x[0] >= x[1] && x[1] >= 0);
    assert_near(product(v, v + n, n), 0, 1e-9);
    for (size_t k = 0; k < 2; k++) {
        const double *w = v + k * n;
        size_t best = 0;

        assert_near(product(w, w, n), x[k] > 0, 1e-12);
        assert_true(residual(a, n, w, x[k]) <= 1e-9 * x[0]);
        for (size_t i = 1; i < n; i++) {
            best = fabs(w[i]) > fabs(w[best]) ? i : best;
        }
        assert_true(w[best] >= 0);
    }
}

static void
the_two_greatest_are_found(void **state)
{
    static const size_t sizes[] = {1, 2, 3, 11, 12, 13, 40, 130};
    mr_diag d = {0};

    (void)state;
    for (size_t s = 0; s < MRI_COUNT(sizes); s++) {
        size_t n = sizes[s];
        double *a = make_square(2 * n, n, s + 1), x[2];
        double *v = malloc(2 * n * sizeof *v), *all = malloc(n * n * sizeof *v);
        double *copy = malloc(n * n * sizeof *v);
        double *values = malloc(n * sizeof *v);

        assert_ok(eigen_leading(a, n, v, x, &d), &d);
        assert_leading(a, n, v, x);
        /* no other is greater */
        memcpy(copy, a, n * n * sizeof *a);
        eigen_small(copy, n, all, values);
        assert_near(x[0], values[0], 1e-9 * values[0]);
        assert_near(x[1], n > 1 ? values[1] : 0, 1e-9 * values[0]);
        free(a);
        free(v);
        free(all);
        free(copy);
        free(values);
    }
}

static void
a_rank_that_is_missing_is_zeros(void **state)
{
    enum { N = 30 };
    double v[2 * N], x[2];
    double *one = make_square(1, N, 4), *none = calloc(N * N, sizeof *none);
    mr_diag d = {0};

    (void)state;
    assert_ok(eigen_leading(one, N, v, x, &d), &d);
    assert_leading(one, N, v, x);
    assert_true(x[0] > 0 && x[1] == 0);
    assert_true(product(v + N, v + N, N) == 0);
    assert_ok(eigen_leading(none, N, v, x, &d), &d);
    assert_true(x[0] == 0 && x[1] == 0);
    assert_true(product(v, v, 2 * N) == 0);
    free(one);
    free(none);
}

/* Values that crowd: any vector of their space will do. */
static void
equal_values_still_give_vectors(void **state)
{
    enum { N = 50 };
    double v[2 * N], x[2], *a = calloc(N * N, sizeof *a);
    mr_diag d = {0};

    (void)state;
    for (size_t i = 0; i < N; i++) {
        a[i * N + i] = i < 20 ? 3 : 1;
    }
    assert_ok(eigen_leading(a, N, v, x, &d), &d);
    assert_leading(a, N, v, x);
    assert_near(x[0], 3, 1e-9);
    assert_near(x[1], 3, 1e-9);
    for (size_t i = 0; i < N; i++) { /* all alike */
        a[i * N + i] = 2;
    }
    assert_ok(eigen_leading(a, N, v, x, &d), &d);
    assert_leading(a, N, v, x);
    assert_near(x[1], 2, 1e-12);
    free(a);
}

/* -------------------------------------------------------------- components */

static float *
make_rows(size_t n, size_t dim)
{
    float *x = malloc(n * dim * sizeof *x);
    uint64_t seed = n + dim;

    for (size_t i = 0; i < n * dim; i++) {
        x[i] = (float)(random_value(&seed) + 0.3) / (float)(1 + i % dim);
    }
    return x;
}

/* The covariance of rows of length one, by its definition, times the rows. */
static double *
covariance_of(const float *x, size_t n, size_t dim, double *mean)
{
    double *rows = malloc(n * dim * sizeof *rows);
    double *out = calloc(dim * dim, sizeof *out);

    memset(mean, 0, dim * sizeof *mean);
    for (size_t r = 0; r < n; r++) {
        double length = 0;

        for (size_t i = 0; i < dim; i++) {
            length += (double)x[r * dim + i] * (double)x[r * dim + i];
        }
        length = fmax(sqrt(length), 1e-12);
        for (size_t i = 0; i < dim; i++) {
            rows[r * dim + i] = (double)x[r * dim + i] / length;
            mean[i] += rows[r * dim + i] / (double)n;
        }
    }
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < dim; i++) {
            for (size_t j = 0; j < dim; j++) {
                out[i * dim + j] += (rows[r * dim + i] - mean[i]) *
                                    (rows[r * dim + j] - mean[j]);
            }
        }
    }
    free(rows);
    return out;
}

static void
assert_components(const float *x, size_t n, size_t dim, unsigned threads)
{
    const mri_vectors rows = {x, NULL, n};
    double *mean = malloc(dim * sizeof *mean), all = 0;
    double *a = covariance_of(x, n, dim, mean);
    mri_pca p;
    mr_diag d = {0};

    assert_ok(mri_pca_fit(&p, &rows, (uint32_t)dim, threads, &d), &d);
    for (size_t i = 0; i < dim; i++) {
        all += a[i * dim + i];
        assert_near(p.mean[i], mean[i], 1e-13);
    }
    for (size_t k = 0; k < 2; k++) {
        const double *axis = p.axis + k * dim;
        double sum = 0, square = 0;

        assert_true(residual(a, dim, axis, p.share[k] * all) <= 1e-8 * all);
        for (size_t r = 0; r < n; r++) {
            double at = p.at[2 * r + k];

            sum += at;
            square += at * at;
        }
        /* places are centered, and vary as much as the share says */
        assert_near(sum, 0, 1e-10 * (double)n);
        assert_near(square, p.share[k] * all, 1e-9 * all + 1e-20);
    }
    mri_pca_release(&p);
    free(mean);
    free(a);
}

static void
components_are_those_of_the_covariance(void **state)
{
    static const size_t sizes[][2] = {{2, 1},    {3, 2},    {5, 7},    {50, 63},
                                      {127, 64}, {129, 65}, {300, 130}};

    (void)state;
    for (size_t i = 0; i < MRI_COUNT(sizes); i++) {
        float *x = make_rows(sizes[i][0], sizes[i][1]);

        assert_components(x, sizes[i][0], sizes[i][1], 1 + (unsigned)i % 3);
        free(x);
    }
}

static void
rows_on_a_line_have_one_component(void **state)
{
    /* of length one they lie on a short arc: nearly a line */
    enum { N = 40, DIM = 6 };
    float x[N * DIM] = {0};
    const mri_vectors rows = {x, NULL, N};
    mri_pca p;
    mr_diag d = {0};

    (void)state;
    for (size_t r = 0; r < N; r++) {
        x[r * DIM] = 1;
        x[r * DIM + 3] = (float)r * 1e-4f;
    }
    assert_ok(mri_pca_fit(&p, &rows, DIM, 1, &d), &d);
    assert_true(p.share[0] > 0.9999 && p.share[0] <= 1);
    assert_true(p.axis[3] > 0.9999);
    assert_true(p.at[0] < 0 && p.at[2 * (N - 1)] > 0);
    mri_pca_release(&p);
    mri_pca_release(&p);
}

static void
equal_rows_have_none(void **state)
{
    enum { N = 20, DIM = 70 };
    float x[N * DIM];
    const mri_vectors rows = {x, NULL, N};
    mr_diag d = {0};

    (void)state;
    for (int value = 0; value < 2; value++) { /* zeros stay zeros */
        mri_pca p;

        for (size_t i = 0; i < N * DIM; i++) {
            x[i] = (float)value * (float)(1 + i % DIM);
        }
        assert_ok(mri_pca_fit(&p, &rows, DIM, 2, &d), &d);
        for (size_t i = 0; i < 2 * N; i++) {
            assert_true(p.at[i] == 0);
        }
        /* not the shares of what was rounded off */
        assert_true(p.share[0] == 0 && p.share[1] == 0);
        mri_pca_release(&p);
    }
}

static void
bits_do_not_depend_on_threads_or_level(void **state)
{
    enum { N = 400, DIM = 150 };
    float *x = make_rows(N, DIM);
    const mri_vectors rows = {x, NULL, N};
    mri_pca a, b;
    mr_diag d = {0};

    (void)state;
    assert_ok(mri_pca_fit(&a, &rows, DIM, 1, &d), &d);
    for (int level = MRI_SCALAR; level <= MRI_AVX512; level++) {
        mri_cpu_force(level);
        assert_ok(mri_pca_fit(&b, &rows, DIM, 2 + (unsigned)level, &d), &d);
        assert_memory_equal(a.mean, b.mean, DIM * sizeof *a.mean);
        assert_memory_equal(a.axis, b.axis, 2 * DIM * sizeof *a.axis);
        assert_memory_equal(a.at, b.at, 2 * N * sizeof *a.at);
        assert_memory_equal(a.share, b.share, sizeof a.share);
        mri_pca_release(&b);
    }
    mri_cpu_force(-1);
    mri_pca_release(&a);
    free(x);
}

static void
rows_can_be_chosen(void **state)
{
    enum { N = 60, DIM = 9 };
    float *x = make_rows(N, DIM), *y = malloc(N / 2 * DIM * sizeof *y);
    uint32_t odd[N / 2];
    const mri_vectors of_x = {x, odd, N / 2}, of_y = {y, NULL, N / 2};
    mri_pca a, b;
    mr_diag d = {0};

    (void)state;
    for (uint32_t i = 0; i < N / 2; i++) {
        odd[i] = 2 * i + 1;
        memcpy(y + i * DIM, x + odd[i] * DIM, DIM * sizeof *y);
    }
    assert_ok(mri_pca_fit(&a, &of_x, DIM, 1, &d), &d);
    assert_ok(mri_pca_fit(&b, &of_y, DIM, 1, &d), &d);
    assert_memory_equal(a.at, b.at, N * sizeof *a.at);
    mri_pca_release(&a);
    mri_pca_release(&b);
    free(x);
    free(y);
}

static void
memory_that_is_out_is_said(void **state)
{
    float *x = make_rows(10, 8);
    const mri_vectors rows = {x, NULL, 10};
    mr_err err = MR_ENOMEM;
    mri_pca p;
    mr_diag d = {0};

    (void)state;
    for (int64_t n = 0; err != MR_OK; n++) {
        (void)mri_alloc_fail_at(n);
        err = mri_pca_fit(&p, &rows, 8, 1, &d);
        (void)mri_alloc_fail_at(-1);
        assert_true(err == MR_OK || err == MR_ENOMEM);
        assert_true(err == MR_OK || p.at == NULL);
    }
    mri_pca_release(&p);
    free(x);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_matrices_have_their_values),
        cmocka_unit_test(small_matrices_are_taken_apart),
        cmocka_unit_test(the_two_greatest_are_found),
        cmocka_unit_test(a_rank_that_is_missing_is_zeros),
        cmocka_unit_test(equal_values_still_give_vectors),
        cmocka_unit_test(components_are_those_of_the_covariance),
        cmocka_unit_test(rows_on_a_line_have_one_component),
        cmocka_unit_test(equal_rows_have_none),
        cmocka_unit_test(bits_do_not_depend_on_threads_or_level),
        cmocka_unit_test(rows_can_be_chosen),
        cmocka_unit_test(memory_that_is_out_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
