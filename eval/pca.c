/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pca.c - the two directions in which rows vary most.
 *
 * The covariance is summed in f64, tile by tile, each over all rows in order,
 * so that its bits do not depend on who does what. Of its eigenvectors only
 * two are wanted: a small subspace is multiplied by it until they lie in it.
 */
#include "eigen.h"
#include "nearest.h"

#include <mri/alloc.h>
#include <mri/cpu.h>
#include <mri/error.h>
#include <mri/plot.h>
#include <mri/thread.h>

#include <math.h>
#include <string.h>

#define BLOCK 128 /* rows that are made f64 at once */
#define SHORTEST 1e-12
#define ALIKE 1e-28 /* variance of a row that is rounding alone */

typedef struct fit {
    const mri_vectors *rows;
    const exact_kernel *kernel;
    uint32_t dim, tiles;
    double *inverse; /* 1 / length of each row */
    double *mean;
    double *covariance; /* [dim, dim], times the rows */
    double (*slabs)[2 * BLOCK * TILE + TILE * TILE]; /* [workers] */
} fit;

static size_t
width_of(const fit *f, size_t tile)
{
    size_t left = f->dim - tile * TILE;

    return left < TILE ? left : TILE;
}

/* Columns of one tile, of rows first .. first + n - 1, of length one and
 * without the mean; columns beyond the last are 0. */
static void
widen(const fit *f, size_t tile, uint64_t first, size_t n, double *out)
{
    size_t width = width_of(f, tile);

    for (size_t r = 0; r < n; r++) {
        const float *x = vectors_at(f->rows, first + r, f->dim) + tile * TILE;
        const double *mean = f->mean + tile * TILE;
        double inverse = f->inverse[first + r];

        for (size_t i = 0; i < width; i++) {
            out[r * TILE + i] = (double)x[i] * inverse - mean[i];
        }
        for (size_t i = width; i < TILE; i++) {
            out[r * TILE + i] = 0;
        }
    }
}

/* Task: the mean of one tile of columns. The mean is 0 until it is set. */
static mr_err
mean_task(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    const fit *f = arg;
    double *slab = f->slabs[worker], sum[TILE] = {0};

    (void)diag;
    for (uint64_t at = 0; at < f->rows->count; at += BLOCK) {
        uint64_t left = f->rows->count - at;
        size_t n = left < BLOCK ? (size_t)left : BLOCK;

        widen(f, task, at, n, slab);
        for (size_t i = 0; i < n * TILE; i++) {
            sum[i % TILE] += slab[i];
        }
    }
    for (size_t i = 0; i < width_of(f, task); i++) {
        f->mean[task * TILE + i] = sum[i] / (double)f->rows->count;
    }
    return MR_OK;
}

static void
put_tile(const fit *f, const double *tile, size_t a, size_t b)
{
    for (size_t i = 0; i < width_of(f, a); i++) {
        for (size_t j = 0; j < width_of(f, b); j++) {
            size_t row = a * TILE + i, column = b * TILE + j;

            f->covariance[row * f->dim + column] = tile[i * TILE + j];
            f->covariance[column * f->dim + row] = tile[i * TILE + j];
        }
    }
}

/* Task: tile (a, b) of the covariance, b <= a, counted row after row. */
static mr_err
covariance_task(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    const fit *f = arg;
    double *x = f->slabs[worker], *y = x + BLOCK * TILE, *tile = y;
    size_t a = 0;

    (void)diag;
    while (task > a) {
        task -= ++a;
    }
    tile += BLOCK * TILE;
    memset(tile, 0, TILE * TILE * sizeof *tile);
    for (uint64_t at = 0; at < f->rows->count; at += BLOCK) {
        uint64_t left = f->rows->count - at;
        size_t n = left < BLOCK ? (size_t)left : BLOCK;

        widen(f, a, at, n, x);
        widen(f, task, at, n, y);
        f->kernel->outer(tile, x, y, n);
    }
    put_tile(f, tile, a, task);
    return MR_OK;
}

static void
measure_rows(const fit *f)
{
    for (uint64_t i = 0; i < f->rows->count; i++) {
        const float *x = vectors_at(f->rows, i, f->dim);
        double length = sqrt(f->kernel->dot(x, x, f->dim));

        f->inverse[i] = 1 / (length > SHORTEST ? length : SHORTEST);
    }
}

static void
place_rows(const fit *f, mri_pca *out)
{
    for (uint64_t r = 0; r < f->rows->count; r++) {
        const float *x = vectors_at(f->rows, r, f->dim);

        for (int k = 0; k < 2; k++) {
            const double *axis = out->axis + (size_t)k * f->dim;
            double sum = 0;

            for (uint32_t i = 0; i < f->dim; i++) {
                sum += ((double)x[i] * f->inverse[r] - f->mean[i]) * axis[i];
            }
            out->at[2 * r + (size_t)k] = sum;
        }
    }
}

static mr_err
find_axes(const fit *f, mri_pca *out, mr_diag *diag)
{
    double value[2], all = 0;
    mr_err err = eigen_leading(f->covariance, f->dim, out->axis, value, diag);

    for (uint32_t i = 0; i < f->dim; i++) {
        all += f->covariance[(size_t)i * f->dim + i];
    }
    if (all <= ALIKE * (double)f->rows->count) { /* they are all equal */
        memset(out->axis, 0, 2 * f->dim * sizeof *out->axis);
        return err;
    }
    for (int k = 0; k < 2; k++) {
        out->share[k] = value[k] / all;
    }
    return err;
}

static mr_err
fit_rows(fit *f, mri_pca *out, unsigned workers, mr_diag *diag)
{
    mri_pool *pool;
    mr_err err = mri_pool_open(&pool, workers, diag);

    if (err != MR_OK) {
        return err;
    }
    measure_rows(f);
    err = mri_pool_run(pool, f->tiles, mean_task, f, diag);
    if (err == MR_OK) {
        size_t tasks = (size_t)f->tiles * (f->tiles + 1) / 2;

        err = mri_pool_run(pool, tasks, covariance_task, f, diag);
    }
    mri_pool_close(pool);
    if (err == MR_OK) {
        err = find_axes(f, out, diag);
    }
    if (err == MR_OK) {
        place_rows(f, out);
    }
    return err;
}

mr_err
mri_pca_fit(mri_pca *out, const mri_vectors *rows, uint32_t dim,
            unsigned threads, mr_diag *diag)
{
    unsigned workers = threads != 0 ? threads : mri_cpu_count();
    size_t n = (size_t)rows->count;
    fit f = {.rows = rows,
             .kernel = exact_kernel_now(),
             .dim = dim,
             .tiles = (dim + TILE - 1) / TILE};
    mr_err err;

    *out = (mri_pca){.mean = mri_alloc(dim, sizeof(double)),
                     .axis = mri_alloc(dim, 2 * sizeof(double)),
                     .at = mri_alloc(n, 2 * sizeof(double))};
    f.mean = out->mean;
    f.inverse = mri_alloc(n, sizeof *f.inverse);
    f.covariance = mri_alloc(dim, dim * sizeof *f.covariance);
    f.slabs = mri_alloc_pixels(workers, sizeof *f.slabs);
    if (out->mean == NULL || out->axis == NULL || out->at == NULL ||
        f.inverse == NULL || f.covariance == NULL || f.slabs == NULL) {
        err = mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                       "no memory for the covariance of %u numbers", dim);
    } else {
        err = fit_rows(&f, out, workers, diag);
    }
    mri_free(f.inverse);
    mri_free(f.covariance);
    mri_free(f.slabs);
    if (err != MR_OK) {
        mri_pca_release(out);
    }
    return err;
}

void
mri_pca_release(mri_pca *pca)
{
    mri_free(pca->mean);
    mri_free(pca->axis);
    mri_free(pca->at);
    *pca = (mri_pca){0};
}
