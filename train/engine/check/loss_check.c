/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loss_check.c - DINO's loss, its center, and the optimiser.
 *
 * Bounds, u = FLT_EPSILON / 2. What enters a softmax, (x - center) / T, is off
 * by 3 u A, A the largest magnitude of it; a log-sum-exp by as much and by
 * (n + 8) u for its sum, where sums of more than 1,024 terms are made in
 * blocks: n = min(k, 1024) + k / 1024. So exp(arg - lse) is off relatively by
 * r = (8 A + n + 24) u. The loss is a mean of sum t (lse - s / T), whose
 * factors are below B = 2 A + log k: r B + (8 A + n + 24) u.
 */
#include <mri/check.h>

#include <float.h>
#include <math.h>

#define U (FLT_EPSILON / 2.0)

MRI_CHECK_THUNK(dino_loss)
MRI_CHECK_THUNK(dino_loss_back)
MRI_CHECK_THUNK(center)
MRI_CHECK_THUNK(sumsq)
MRI_CHECK_THUNK(adamw)

static const mri_range sign = {-1, 1};

static double *
data(const mr_tensor *t)
{
    return t->data;
}

static double
terms(uint64_t n)
{
    return fmin((double)n, 1024) + (double)n / 1024;
}

/* ---------------------------------------------------------------- loss */

typedef struct loss_case {
    uint32_t batch, local;
    uint64_t k;
    double range, temperature;
} loss_case;

static const loss_case losses[] = {
    {1, 0, 1, 1, 0.04},   {1, 0, 2, 1, 0.04},    {1, 8, 3, 1, 0.04},
    {2, 1, 17, 1, 0.07},  {3, 4, 64, 1, 0.04},   {1, 2, 65, 2, 0.04},
    {5, 3, 127, 1, 0.04}, {2, 8, 1500, 1, 0.04}, {2, 2, 40, 30, 0.04},
};

static void
loss_fields(mri_check *c, mri_dino_loss_args *a, const loss_case *k)
{
    uint64_t rows = (2 + (uint64_t)k->local) * k->batch, t = 2 * k->batch;
    mri_range range = {-k->range, k->range};

    mri_check_begin(c, "batch %u local %u k %llu range %g", k->batch, k->local,
                    (unsigned long long)k->k, k->range);
    *a = (mri_dino_loss_args){.batch = k->batch,
                              .local = k->local,
                              .total = k->batch + 3,
                              .student_temperature = 0.1};
    mri_check_in(c, &a->student, range, MRI_DIMS(rows, k->k));
    mri_check_in(c, &a->teacher, range, MRI_DIMS(t, k->k));
    mri_check_in(c, &a->center, sign, MRI_DIMS(k->k));
    mri_check_in(c, &a->temperature,
                 (mri_range){k->temperature, k->temperature}, MRI_DIMS(1));
    mri_check_out(c, &a->loss, MRI_DIMS(1));
    mri_check_out(c, &a->student_lse, MRI_DIMS(rows));
    mri_check_out(c, &a->teacher_lse, MRI_DIMS(t));
    mri_check_out(c, &a->teacher_sum, MRI_DIMS(k->k));
}

static double
largest_argument(const loss_case *k)
{
    return fmax((k->range + 1) / k->temperature, k->range / 0.1);
}

static void
dino_loss_case(mri_check *c, const loss_case *k)
{
    double top = largest_argument(k), b = 2 * top + log((double)k->k + 1);
    double r = (8 * top + terms(k->k) + 24) * U;
    mri_dino_loss_args a;
    mr_tensor one, lse;

    loss_fields(c, &a, k);
    mri_check_run(c, run_dino_loss, &a, sizeof a, 0);
    mri_check_out(c, &one, MRI_DIMS(1));
    data(&one)[0] = b + 1;
    mri_check_near(c, &a.loss, r, &one);
    mri_check_out(c, &lse, MRI_DIMS((2 + (uint64_t)k->local) * k->batch));
    for (uint64_t i = 0; i < mr_tensor_len(&lse); i++) {
        data(&lse)[i] = 1;
    }
    mri_check_near(c, &a.student_lse, r, &lse);
    mri_check_near(c, &a.teacher_lse, r, &lse);
    mri_check_near(c, &a.teacher_sum, (2 * k->batch + 4) * U * 2 * k->batch,
                   NULL);
}

static void
dino_loss_cases(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(losses); i++) {
        dino_loss_case(c, &losses[i]);
    }
}

typedef struct loss_chain {
    mri_check *c;
    mri_dino_loss_args f;
} loss_chain;

static double
loss_of(void *user)
{
    loss_chain *t = user;

    mri_check_ref(t->c, run_dino_loss, &t->f);
    return data(&t->f.loss)[0];
}

/* An element is a sum of at most four probabilities, over 0.1 pairs total. */
static void
dino_loss_back_case(mri_check *c, const loss_case *k)
{
    double r = (8 * largest_argument(k) + terms(k->k) + 24) * U;
    double pairs = 2.0 * (2 + k->local) - 2;
    loss_chain t = {.c = c};
    mri_dino_loss_back_args a = {0};
    mr_tensor size;

    loss_fields(c, &t.f, k);
    mri_check_run(c, run_dino_loss, &t.f, sizeof t.f, 0);
    a.batch = t.f.batch;
    a.local = t.f.local;
    a.total = t.f.total;
    a.student_temperature = t.f.student_temperature;
    mri_check_same(c, &a.student, &t.f.student);
    mri_check_same(c, &a.teacher, &t.f.teacher);
    mri_check_same(c, &a.center, &t.f.center);
    mri_check_same(c, &a.temperature, &t.f.temperature);
    mri_check_same(c, &a.student_lse, &t.f.student_lse);
    mri_check_same(c, &a.teacher_lse, &t.f.teacher_lse);
    mri_check_out(c, &a.dstudent, MRI_DIMS(a.student.shape[0], k->k));
    mri_check_run(c, run_dino_loss_back, &a, sizeof a, 0);
    mri_check_slope(c, &t.f.student, &a.dstudent, loss_of, &t);
    mri_check_out(c, &size, MRI_DIMS(a.student.shape[0], k->k));
    for (uint64_t i = 0; i < mr_tensor_len(&size); i++) {
        data(&size)[i] = 4 / 0.1 / pairs / a.total;
    }
    mri_check_near(c, &a.dstudent, r, &size);
}

static void
dino_loss_back_cases(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(losses); i++) {
        dino_loss_back_case(c, &losses[i]);
    }
}

static void
center_cases(mri_check *c)
{
    static const uint64_t lengths[] = {1, 7, 64, 1001};

    for (size_t i = 0; i < MRI_COUNT(lengths); i++) {
        mri_center_args a = {.keep = 0.9, .rows = 6};

        mri_check_begin(c, "%llu", (unsigned long long)lengths[i]);
        mri_check_both(c, &a.center, sign, MRI_DIMS(lengths[i]));
        mri_check_in(c, &a.sum, (mri_range){-50, 50}, MRI_DIMS(lengths[i]));
        mri_check_run(c, run_center, &a, sizeof a, 0);
        mri_check_near(c, &a.center, 6 * U, NULL);
    }
}

/* ----------------------------------------------------------- optimiser */

/* Tensors of one element, of odd and of long lengths, with gaps between. */
static const uint64_t spans[][2] = {{0, 1},     {16, 7},       {32, 64},
                                    {96, 1000}, {1104, 70001}, {71120, 33}};
#define ARENA 71200

static void
sumsq_cases(mri_check *c)
{
    mri_sumsq_args a = {0};

    mri_check_begin(c, "%zu tensors", MRI_COUNT(spans));
    mri_check_in(c, &a.x, sign, MRI_DIMS(ARENA));
    mri_check_raw(c, &a.spans, MR_U64, spans, MRI_DIMS(MRI_COUNT(spans), 2));
    mri_check_out(c, &a.y, MRI_DIMS(MRI_COUNT(spans)));
    mri_check_run(c, run_sumsq, &a, sizeof a, 0);
    mri_check_near(c, &a.y, (terms(70001) + 8) * U, &a.y);
}

typedef struct adamw_how {
    bool ema;
    double clip, step;
} adamw_how;

/*
 * m: two products and a sum; v the same, of a square. The step is lr fix1 m /
 * (sqrt(v) fix2 + eps): m's error, which may be large beside m where its two
 * terms cancel, is that of the sum of their magnitudes. Twelve roundings in
 * all, and the clip's factor has six before.
 */
static void
adamw_near(mri_check *c, const mri_adamw_args *a, const double *g,
           const double *m)
{
    mr_tensor p, mm, v;

    mri_check_out(c, &p, MRI_DIMS(ARENA));
    mri_check_out(c, &mm, MRI_DIMS(ARENA));
    mri_check_out(c, &v, MRI_DIMS(ARENA));
    for (uint64_t t = 0; t < MRI_COUNT(spans); t++) {
        const double *rate = data(&a->rates) + 4 * t;

        for (uint64_t i = spans[t][0]; i < spans[t][0] + spans[t][1]; i++) {
            double size = 0.9 * fabs(m[i]) + 0.1 * fabs(g[i]);

            data(&mm)[i] = size;
            data(&v)[i] = data(&a->v)[i];
            data(&p)[i] = fabs(data(&a->p)[i]) +
                          rate[0] * rate[2] * size /
                              (sqrt(data(&a->v)[i]) * rate[3] + a->eps);
        }
    }
    mri_check_near(c, &a->m, 12 * U, &mm);
    mri_check_near(c, &a->v, 24 * U, &v);
    mri_check_near(c, &a->p, 24 * U, &p);
    for (uint64_t i = 0; i < ARENA; i++) {
        data(&p)[i] += 1; /* the average began within 1 */
    }
    if (mri_there(&a->ema)) {
        mri_check_near(c, &a->ema, 24 * U, &p);
    }
}

static void
adamw_rates(mri_check *c, mri_adamw_args *a, double step)
{
    mri_check_in(c, &a->rates, sign, MRI_DIMS(MRI_COUNT(spans), 4));
    for (uint64_t t = 0; t < MRI_COUNT(spans); t++) {
        mri_check_set(c, &a->rates, 4 * t, 1e-3);
        mri_check_set(c, &a->rates, 4 * t + 1, t % 2 == 0 ? 4e-5 : 0);
        mri_check_set(c, &a->rates, 4 * t + 2,
                      t == 2 ? 0 : 1 / (1 - pow(0.9, step)));
        mri_check_set(c, &a->rates, 4 * t + 3, 1 / sqrt(1 - pow(0.999, step)));
    }
}

static void
adamw_case(mri_check *c, adamw_how how)
{
    static double m0[ARENA];
    mri_adamw_args a = {
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = how.clip};

    mri_check_begin(c, "clip %g step %g%s", how.clip, how.step,
                    how.ema ? " ema" : "");
    mri_check_both(c, &a.p, sign, MRI_DIMS(ARENA));
    mri_check_in(c, &a.g, sign, MRI_DIMS(ARENA));
    mri_check_both(c, &a.m, sign, MRI_DIMS(ARENA));
    mri_check_both(c, &a.v, (mri_range){0, 1}, MRI_DIMS(ARENA));
    if (how.ema) {
        mri_check_both(c, &a.ema, sign, MRI_DIMS(ARENA));
        mri_check_in(c, &a.keep, (mri_range){0.996, 0.996}, MRI_DIMS(2));
        mri_check_set(c, &a.keep, 1, 0.004);
    }
    mri_check_raw(c, &a.spans, MR_U64, spans, MRI_DIMS(MRI_COUNT(spans), 2));
    mri_check_in(c, &a.sumsq, (mri_range){0, 300}, MRI_DIMS(MRI_COUNT(spans)));
    mri_check_set(c, &a.sumsq, 0, 0);
    adamw_rates(c, &a, how.step);
    for (uint64_t i = 0; i < ARENA; i++) {
        m0[i] = data(&a.m)[i];
    }
    mri_check_run(c, run_adamw, &a, sizeof a, 0);
    adamw_near(c, &a, data(&a.g), m0);
}

static void
adamw_cases(mri_check *c)
{
    adamw_case(c, (adamw_how){true, 3, 1});
    adamw_case(c, (adamw_how){false, 3, 10});
    adamw_case(c, (adamw_how){true, 0, 100000});
}

/* ------------------------------------------------------------- timing */

static const loss_case timed = {2, 8, 65536, 1, 0.04};

static void
dino_loss_bench(mri_check *c)
{
    dino_loss_case(c, &timed);
}

static void
dino_loss_back_bench(mri_check *c)
{
    dino_loss_back_case(c, &timed);
}

/* 44.1 M parameters in 200 tensors, as a ViT-S/16 with its head has. */
#define BIG 44040192
static uint64_t big[200][2];

static void
sumsq_bench(mri_check *c)
{
    mri_sumsq_args a = {0};

    mri_check_begin(c, "44.0 M");
    for (size_t t = 0; t < MRI_COUNT(big); t++) {
        big[t][1] = BIG / MRI_COUNT(big);
        big[t][0] = t * big[t][1];
    }
    mri_check_in(c, &a.x, sign, MRI_DIMS(BIG));
    mri_check_raw(c, &a.spans, MR_U64, big, MRI_DIMS(MRI_COUNT(big), 2));
    mri_check_out(c, &a.y, MRI_DIMS(MRI_COUNT(big)));
    mri_check_run(c, run_sumsq, &a, sizeof a, 0);
}

static void
adamw_bench(mri_check *c)
{
    mri_adamw_args a = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .clip = 3};

    mri_check_begin(c, "44.0 M");
    for (size_t t = 0; t < MRI_COUNT(big); t++) {
        big[t][1] = BIG / MRI_COUNT(big);
        big[t][0] = t * big[t][1];
    }
    mri_check_both(c, &a.p, sign, MRI_DIMS(BIG));
    mri_check_in(c, &a.g, sign, MRI_DIMS(BIG));
    mri_check_both(c, &a.m, sign, MRI_DIMS(BIG));
    mri_check_both(c, &a.v, (mri_range){0, 1}, MRI_DIMS(BIG));
    mri_check_both(c, &a.ema, sign, MRI_DIMS(BIG));
    mri_check_in(c, &a.keep, (mri_range){0.5, 0.5}, MRI_DIMS(2));
    mri_check_raw(c, &a.spans, MR_U64, big, MRI_DIMS(MRI_COUNT(big), 2));
    mri_check_in(c, &a.sumsq, sign, MRI_DIMS(MRI_COUNT(big)));
    mri_check_in(c, &a.rates, (mri_range){1e-3, 1e-3},
                 MRI_DIMS(MRI_COUNT(big), 4));
    mri_check_run(c, run_adamw, &a, sizeof a, 0);
}

int
main(int argc, char **argv)
{
    static const mri_check_op ops[] = {
        {"dino_loss", dino_loss_cases, dino_loss_bench},
        {"dino_loss_back", dino_loss_back_cases, dino_loss_back_bench},
        {"center", center_cases, NULL},
        {"sumsq", sumsq_cases, sumsq_bench},
        {"adamw", adamw_cases, adamw_bench},
    };

    return mri_check_main(argc, argv, ops, MRI_COUNT(ops));
}
