/* SPDX-License-Identifier: Apache-2.0 */
/* simd_norm.c - a row of layer norm, forward and reverse; sums of rows. */
#include "cpu/kernels.h"
#include "cpu/vec.h"

static float
residual_sum(const cpu_norm_row *r, size_t d)
{
    vf total = {0};
    size_t i = 0;

    for (; i + VL <= d; i += VL) {
        vf s = vf_load(r->x + i);

        if (r->z != NULL) {
            s += r->drop * vf_load(r->z + i);
            vf_store(r->sum + i, s);
        }
        total += s;
    }
    if (i < d) {
        vf s = vf_load_part(r->x + i, d - i, 0);

        if (r->z != NULL) {
            s += r->drop * vf_load_part(r->z + i, d - i, 0);
            vf_store_part(r->sum + i, s, d - i);
        }
        total += s;
    }
    return vf_sum(total);
}

static float
sum_of_squares_around(const float *x, float mean, size_t d)
{
    vf total = {0};
    size_t i = 0;

    for (; i + VL <= d; i += VL) {
        vf e = vf_load(x + i) - mean;

        total += e * e;
    }
    if (i < d) {
        vf e = vf_load_part(x + i, d - i, mean) - mean;

        total += e * e;
    }
    return vf_sum(total);
}

static void
row(cpu_norm_row *r, size_t d)
{
    const float *x = r->z != NULL ? r->sum : r->x;
    float mean, rstd;
    size_t i = 0;

    mean = residual_sum(r, d) / (float)d;
    rstd = 1.0f / sqrtf(sum_of_squares_around(x, mean, d) / (float)d + r->eps);
    for (; i + VL <= d; i += VL) {
        vf hat = (vf_load(x + i) - mean) * rstd;

        vf_store(r->y + i, hat * vf_load(r->gamma + i) + vf_load(r->beta + i));
    }
    for (; i < d; i++) {
        r->y[i] = (x[i] - mean) * rstd * r->gamma[i] + r->beta[i];
    }
    r->mean = mean;
    r->rstd = rstd;
}

/* Means of e = dy gamma and of e hat; the gradients of gamma and beta. */
static void
back_sums(const cpu_norm_row_back *r, size_t d, float *mean_e, float *mean_eh)
{
    vf e_total = {0}, eh_total = {0};
    float e_rest = 0, eh_rest = 0;
    size_t i = 0;

    for (; i + VL <= d; i += VL) {
        vf dy = vf_load(r->dy + i), e = dy * vf_load(r->gamma + i);
        vf hat = (vf_load(r->sum + i) - r->mean) * r->rstd;

        e_total += e;
        eh_total += e * hat;
        if (r->dgamma != NULL) {
            vf_store(r->dgamma + i, vf_load(r->dgamma + i) + dy * hat);
            vf_store(r->dbeta + i, vf_load(r->dbeta + i) + dy);
        }
    }
    for (; i < d; i++) {
        float e = r->dy[i] * r->gamma[i];
        float hat = (r->sum[i] - r->mean) * r->rstd;

        e_rest += e;
        eh_rest += e * hat;
        if (r->dgamma != NULL) {
            r->dgamma[i] += r->dy[i] * hat;
            r->dbeta[i] += r->dy[i];
        }
    }
    *mean_e = (vf_sum(e_total) + e_rest) / (float)d;
    *mean_eh = (vf_sum(eh_total) + eh_rest) / (float)d;
}

static void
row_back(const cpu_norm_row_back *r, size_t d)
{
    float mean_e, mean_eh;
    size_t i = 0;

    back_sums(r, d, &mean_e, &mean_eh);
    for (; i + VL <= d; i += VL) {
        vf e = vf_load(r->dy + i) * vf_load(r->gamma + i);
        vf hat = (vf_load(r->sum + i) - r->mean) * r->rstd;
        vf dx = r->rstd * (e - mean_e - hat * mean_eh);

        if (r->dsum != NULL) {
            dx += vf_load(r->dsum + i);
        }
        vf_store(r->dx + i, dx);
        if (r->dz != NULL) {
            vf_store(r->dz + i, r->drop * dx);
        }
    }
    for (; i < d; i++) {
        float e = r->dy[i] * r->gamma[i];
        float hat = (r->sum[i] - r->mean) * r->rstd;
        float dx = r->rstd * (e - mean_e - hat * mean_eh);

        dx += r->dsum != NULL ? r->dsum[i] : 0;
        r->dx[i] = dx;
        if (r->dz != NULL) {
            r->dz[i] = r->drop * dx;
        }
    }
}

static void
scale(float *y, const float *x, float a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a * x[i];
    }
}

static void
axpy(float *y, const float *x, float a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] += a * x[i];
    }
}

static void
add(float *y, const float *x, const float *z, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] + z[i];
    }
}

const cpu_norm_kernels MRI_AT_LEVEL(cpu_norm) = {
    .row = row, .row_back = row_back, .scale = scale, .axpy = axpy, .add = add};
