/* SPDX-License-Identifier: Apache-2.0 */
/*
 * norm_check.c - layer norm with its residual sum, rows of length one, sums.
 *
 * Bounds, u = FLT_EPSILON / 2. Layer norm: a mean of d terms is off by d u of
 * the mean magnitude, so x - mean by (d + 1) u (|x| + mean |x|); divided by
 * the deviation this is the error of the normalised value and, by way of the
 * variance, once more times that value. So the size of element i is
 * (|x| + mean |x|) rstd (1 + |hat|) |gamma| + |beta| and the factor (d + 16) u.
 * The reverse takes hat as (x - mean) rstd, which is off by u (|x| + |mean|)
 * rstd =: u H: H stands for |hat| in its size. Sums over n terms: (n + 8) u of
 * the sum of magnitudes.
 */
#include <mri/check.h>

#include <float.h>
#include <math.h>

#define U (FLT_EPSILON / 2.0)

MRI_CHECK_THUNK(norm)
MRI_CHECK_THUNK(norm_back)
MRI_CHECK_THUNK(l2norm)
MRI_CHECK_THUNK(l2norm_back)
MRI_CHECK_THUNK(add)

static const mri_range sign = {-1, 1}, near_thousand = {999, 1001},
                       small = {-1e-6, 1e-6}, large = {-1e6, 1e6};

/* Sequences of one token, of a few, and of prime lengths. */
static const mri_seqs packs[] = {
    {.groups = 1, .count = {1}, .tokens = {1}, .views = {1}},
    {.groups = 1, .count = {3}, .tokens = {7}, .views = {1}},
    {.groups = 2, .count = {2, 5}, .tokens = {17, 5}, .views = {2, 1}},
    {.groups = 3,
     .count = {1, 2, 4},
     .tokens = {37, 1, 10},
     .views = {1, 1, 2}},
};
static const uint64_t widths[] = {1, 2, 3, 5, 7, 16, 31, 64, 65, 192, 384};

static double *
data(const mr_tensor *t)
{
    return t->data;
}

/* ---------------------------------------------------------- layer norm */

typedef struct norm_how {
    bool residual, drop, dsum;
    mri_range range;
} norm_how;

static void
norm_fields(mri_check *c, mri_norm_args *a, uint64_t d, norm_how how)
{
    uint64_t r = mri_seqs_rows(&a->seqs), s = mri_seqs_count(&a->seqs);

    mri_check_begin(c, "rows %llu d %llu%s%s", (unsigned long long)r,
                    (unsigned long long)d, how.residual ? " + z" : "",
                    how.drop ? " drop" : "");
    a->eps = 1e-6;
    mri_check_in(c, &a->x, how.range, MRI_DIMS(r, d));
    if (how.residual) {
        mri_check_in(c, &a->z, sign, MRI_DIMS(r, d));
        mri_check_out(c, &a->sum, MRI_DIMS(r, d));
    }
    if (how.drop) {
        mri_check_in(c, &a->drop, (mri_range){0, 2}, MRI_DIMS(s));
        mri_check_set(c, &a->drop, 0, 0);
    }
    mri_check_in(c, &a->gamma, (mri_range){-2, 2}, MRI_DIMS(d));
    mri_check_in(c, &a->beta, sign, MRI_DIMS(d));
    mri_check_out(c, &a->y, MRI_DIMS(r, d));
    mri_check_out(c, &a->mean, MRI_DIMS(r));
    mri_check_out(c, &a->rstd, MRI_DIMS(r));
}

/* What element i of the sum was made of: factors of drop are at most 2. */
static double
magnitude(const mri_norm_args *a, uint64_t i)
{
    return fabs(data(&a->x)[i]) +
           (mri_there(&a->z) ? 2 * fabs(data(&a->z)[i]) : 0);
}

static void
norm_near(mri_check *c, const mri_norm_args *a, uint64_t d)
{
    const mr_tensor *sum = mri_there(&a->z) ? &a->sum : &a->x;
    uint64_t rows = a->x.shape[0];
    mr_tensor y, by_row;

    mri_check_out(c, &y, MRI_DIMS(rows, d));
    mri_check_out(c, &by_row, MRI_DIMS(rows));
    for (uint64_t r = 0; r < rows; r++) {
        double mean = data(&a->mean)[r], rstd = data(&a->rstd)[r], abs = 0;

        for (uint64_t i = r * d; i < r * d + d; i++) {
            abs += magnitude(a, i) / (double)d;
        }
        for (uint64_t i = r * d; i < r * d + d; i++) {
            data(&y)[i] = (magnitude(a, i) + abs) * rstd *
                              (1 + fabs((data(sum)[i] - mean) * rstd)) *
                              fabs(data(&a->gamma)[i - r * d]) +
                          fabs(data(&a->beta)[i - r * d]);
        }
        data(&by_row)[r] = abs;
    }
    mri_check_near(c, &a->y, ((double)d + 16) * U, &y);
    mri_check_near(c, &a->mean, ((double)d + 4) * U, &by_row);
    for (uint64_t r = 0; r < rows; r++) {
        double rstd = data(&a->rstd)[r];

        data(&by_row)[r] = rstd * (1 + data(&by_row)[r] * rstd);
    }
    mri_check_near(c, &a->rstd, (2 * (double)d + 16) * U, &by_row);
    if (mri_there(&a->z)) {
        mri_check_near(c, &a->sum, 4 * U, NULL);
    }
}

static void
norm_case(mri_check *c, const mri_seqs *seqs, uint64_t d, norm_how how)
{
    mri_norm_args a = {.seqs = *seqs};

    norm_fields(c, &a, d, how);
    mri_check_run(c, run_norm, &a, sizeof a, 0);
    norm_near(c, &a, d);
}

static const norm_how hows[] = {
    {false, false, false, {-1, 1}},
    {true, false, true, {-1, 1}},
    {true, true, true, {-1, 1}},
};

static void
norm_cases(mri_check *c)
{
    for (size_t w = 0; w < MRI_COUNT(widths); w++) {
        for (size_t h = 0; h < MRI_COUNT(hows); h++) {
            norm_case(c, &packs[(w + h) % MRI_COUNT(packs)], widths[w],
                      hows[h]);
        }
    }
    norm_case(c, &packs[1], 48, (norm_how){.range = near_thousand});
    norm_case(c, &packs[1], 48, (norm_how){.range = small});
    norm_case(c, &packs[1], 48, (norm_how){.range = large});
    norm_case(c, &packs[1], 48, (norm_how){.range = {3, 3}}); /* constant */
}

/* --------------------------------------------------------- its reverse */

typedef struct norm_chain {
    mri_check *c;
    mri_norm_args f;
    const mri_norm_back_args *b;
} norm_chain;

static double
norm_loss(void *user)
{
    norm_chain *t = user;
    double loss;

    mri_check_ref(t->c, run_norm, &t->f);
    loss = mri_check_dot(&t->b->dy, &t->f.y);
    if (mri_there(&t->b->dsum)) {
        loss += mri_check_dot(&t->b->dsum,
                              mri_there(&t->f.z) ? &t->f.sum : &t->f.x);
    }
    return loss;
}

/* The sizes of dx, and of dgamma and dbeta, as the head of the file says. */
static void
norm_back_near(mri_check *c, const mri_norm_back_args *a)
{
    uint64_t rows = a->dy.shape[0], d = a->dy.shape[1];
    mr_tensor dx, dgamma, dbeta;

    mri_check_out(c, &dx, MRI_DIMS(rows, d));
    mri_check_out(c, &dgamma, MRI_DIMS(d));
    mri_check_out(c, &dbeta, MRI_DIMS(d));
    for (uint64_t r = 0; r < rows; r++) {
        double mean = fabs(data(&a->mean)[r]), rstd = data(&a->rstd)[r];
        double e = 0, eh = 0;

        for (uint64_t j = 0; j < d; j++) {
            double dy = fabs(data(&a->dy)[r * d + j]);
            double h = (fabs(data(&a->sum)[r * d + j]) + mean) * rstd;

            e += dy * fabs(data(&a->gamma)[j]) / (double)d;
            eh += dy * fabs(data(&a->gamma)[j]) * h / (double)d;
            data(&dgamma)[j] += dy * h + (double)a->add / (double)rows;
            data(&dbeta)[j] += dy + (double)a->add / (double)rows;
        }
        for (uint64_t j = 0; j < d; j++) {
            uint64_t i = r * d + j;
            double h = (fabs(data(&a->sum)[i]) + mean) * rstd;

            data(&dx)[i] = rstd * (fabs(data(&a->dy)[i] * data(&a->gamma)[j]) +
                                   e + h * eh);
            if (mri_there(&a->dsum)) {
                data(&dx)[i] += fabs(data(&a->dsum)[i]);
            }
        }
    }
    mri_check_near(c, &a->dx, ((double)d + 16) * U, &dx);
    mri_check_near(c, &a->dgamma, ((double)rows + 8) * U, &dgamma);
    mri_check_near(c, &a->dbeta, ((double)rows + 8) * U, &dbeta);
    for (uint64_t i = 0; i < rows * d; i++) {
        data(&dx)[i] *= 2; /* factors of drop are at most 2 */
    }
    if (mri_there(&a->dz)) {
        mri_check_near(c, &a->dz, ((double)d + 16) * U, &dx);
    }
}

static void
norm_back_fields(mri_check *c, const mri_norm_args *f, mri_norm_back_args *a,
                 norm_how how)
{
    uint64_t rows = f->x.shape[0], d = f->x.shape[1];

    mri_check_in(c, &a->dy, sign, MRI_DIMS(rows, d));
    if (how.dsum) {
        mri_check_in(c, &a->dsum, sign, MRI_DIMS(rows, d));
    }
    mri_check_same(c, &a->sum, how.residual ? &f->sum : &f->x);
    mri_check_same(c, &a->mean, &f->mean);
    mri_check_same(c, &a->rstd, &f->rstd);
    mri_check_same(c, &a->gamma, &f->gamma);
    if (how.drop) {
        mri_check_same(c, &a->drop, &f->drop);
        mri_check_out(c, &a->dz, MRI_DIMS(rows, d));
    }
    mri_check_out(c, &a->dx, MRI_DIMS(rows, d));
    if (a->add) {
        mri_check_both(c, &a->dgamma, sign, MRI_DIMS(d));
        mri_check_both(c, &a->dbeta, sign, MRI_DIMS(d));
    } else {
        mri_check_out(c, &a->dgamma, MRI_DIMS(d));
        mri_check_out(c, &a->dbeta, MRI_DIMS(d));
    }
}

static void
norm_back_case(mri_check *c, const mri_seqs *seqs, uint64_t d, norm_how how,
               bool add)
{
    mri_norm_args f = {.seqs = *seqs};
    mri_norm_back_args a = {.seqs = *seqs, .add = add};
    norm_chain t = {.c = c, .b = &a};

    norm_fields(c, &f, d, how);
    mri_check_run(c, run_norm, &f, sizeof f, 0);
    norm_back_fields(c, &f, &a, how);
    mri_check_run(c, run_norm_back, &a, sizeof a, 0);
    if (!mri_check_exact(c)) {
        norm_back_near(c, &a);
        return;
    }
    t.f = f;
    mri_check_slope(c, &f.x, &a.dx, norm_loss, &t);
    if (how.residual) {
        mri_check_slope(c, &f.z, how.drop ? &a.dz : &a.dx, norm_loss, &t);
    }
    if (!add) {
        mri_check_slope(c, &f.gamma, &a.dgamma, norm_loss, &t);
        mri_check_slope(c, &f.beta, &a.dbeta, norm_loss, &t);
    }
}

static void
norm_back_cases(mri_check *c)
{
    /* one column is always its own mean: the slope is that of rounding */
    for (size_t w = 1; w < MRI_COUNT(widths); w++) {
        for (size_t h = 0; h < MRI_COUNT(hows); h++) {
            norm_back_case(c, &packs[(w + h) % MRI_COUNT(packs)], widths[w],
                           hows[h], w % 3 == 0);
        }
    }
    norm_back_case(c, &packs[3], 48, (norm_how){.range = near_thousand}, false);
}

/* --------------------------------------------------- rows of length one */

static void
l2norm_fields(mri_check *c, mri_l2norm_args *f, uint64_t r, uint64_t d,
              mri_range range)
{
    mri_check_begin(c, "rows %llu d %llu", (unsigned long long)r,
                    (unsigned long long)d);
    mri_check_in(c, &f->x, range, MRI_DIMS(r, d));
    mri_check_out(c, &f->y, MRI_DIMS(r, d));
    mri_check_out(c, &f->inv, MRI_DIMS(r));
}

static void
l2norm_case(mri_check *c, uint64_t r, uint64_t d, mri_range range)
{
    mri_l2norm_args f = {0};

    l2norm_fields(c, &f, r, d, range);
    mri_check_run(c, run_l2norm, &f, sizeof f, 0);
    mri_check_near(c, &f.y, (0.5 * (double)d + 6) * U, NULL);
    mri_check_near(c, &f.inv, (0.5 * (double)d + 6) * U, &f.inv);
}

static void
l2norm_cases(mri_check *c)
{
    for (size_t w = 0; w < MRI_COUNT(widths); w++) {
        l2norm_case(c, 1 + 3 * w, widths[w], sign);
    }
    l2norm_case(c, 3, 20, (mri_range){0, 0}); /* a row of zeros stays one */
    l2norm_case(c, 3, 20, large);
    l2norm_case(c, 3, 20, small);
}

typedef struct l2_chain {
    mri_check *c;
    mri_l2norm_args f;
    const mr_tensor *dy;
} l2_chain;

static double
l2_loss(void *user)
{
    l2_chain *t = user;

    mri_check_ref(t->c, run_l2norm, &t->f);
    return mri_check_dot(t->dy, &t->f.y);
}

static void
l2norm_back_case(mri_check *c, uint64_t r, uint64_t d)
{
    mri_l2norm_args f = {0};
    mri_l2norm_back_args a = {0};
    l2_chain t = {.c = c, .dy = &a.dy};
    mr_tensor size;

    l2norm_fields(c, &f, r, d, sign);
    mri_check_run(c, run_l2norm, &f, sizeof f, 0);
    mri_check_in(c, &a.dy, sign, MRI_DIMS(r, d));
    mri_check_same(c, &a.y, &f.y);
    mri_check_same(c, &a.inv, &f.inv);
    mri_check_out(c, &a.dx, MRI_DIMS(r, d));
    mri_check_run(c, run_l2norm_back, &a, sizeof a, 0);
    t.f = f;
    mri_check_slope(c, &f.x, &a.dx, l2_loss, &t);

    mri_check_out(c, &size, MRI_DIMS(r, d));
    for (uint64_t row = 0; row < r; row++) {
        double along = 0;

        for (uint64_t i = row * d; i < row * d + d; i++) {
            along += fabs(data(&a.dy)[i] * data(&a.y)[i]);
        }
        for (uint64_t i = row * d; i < row * d + d; i++) {
            data(&size)[i] = data(&a.inv)[row] * (fabs(data(&a.dy)[i]) +
                                                  fabs(data(&a.y)[i]) * along);
        }
    }
    mri_check_near(c, &a.dx, ((double)d + 6) * U, &size);
}

static void
l2norm_back_cases(mri_check *c)
{
    for (size_t w = 0; w < MRI_COUNT(widths); w++) {
        l2norm_back_case(c, 1 + 3 * w, widths[w]);
    }
}

static void
add_cases(mri_check *c)
{
    for (size_t w = 0; w < MRI_COUNT(widths); w++) {
        mri_add_args a = {0};

        mri_check_begin(c, "%llu", (unsigned long long)widths[w]);
        mri_check_in(c, &a.a, large, MRI_DIMS(widths[w] * 11));
        mri_check_in(c, &a.b, sign, MRI_DIMS(widths[w] * 11));
        mri_check_out(c, &a.y, MRI_DIMS(widths[w] * 11));
        mri_check_run(c, run_add, &a, sizeof a, 0);
        mri_check_near(c, &a.y, U, NULL);
    }
}

/* ------------------------------------------------------------- timing */

static const mri_seqs vit_small = {
    .groups = 2, .count = {4, 16}, .tokens = {197, 37}, .views = {2, 8}};

static void
norm_bench(mri_check *c)
{
    norm_case(c, &vit_small, 384, hows[2]);
}

static void
norm_back_bench(mri_check *c)
{
    norm_back_case(c, &vit_small, 384, hows[2], false);
}

int
main(int argc, char **argv)
{
    static const mri_check_op ops[] = {
        {"norm", norm_cases, norm_bench},
        {"norm_back", norm_back_cases, norm_back_bench},
        {"l2norm", l2norm_cases, NULL},
        {"l2norm_back", l2norm_back_cases, NULL},
        {"add", add_cases, NULL},
    };

    return mri_check_main(argc, argv, ops, MRI_COUNT(ops));
}
