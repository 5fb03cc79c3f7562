/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linear_check.c - linear layers, with GELU, with normalised weights.
 *
 * Bounds. A sum of k products in f32, in whatever order, is off by at most
 * k u (1 + k u) times the sum of the products' magnitudes, where u =
 * FLT_EPSILON / 2 and every k here is below 2^12, so (k + 1) u is safe; the
 * bias and the rounding of the result make it (k + 3) u. GELU's slope is at
 * most 1.13 and its value is computed to 8 u of |h|, its slope to 8 u of 1.
 */
#include <mri/check.h>

#include <float.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#define U (FLT_EPSILON / 2.0)

MRI_CHECK_THUNK(linear)
MRI_CHECK_THUNK(linear_dx)
MRI_CHECK_THUNK(linear_dw)
MRI_CHECK_THUNK(wlinear)
MRI_CHECK_THUNK(wlinear_back)

static const mri_range sign = {-1, 1}, weight = {-0.1, 0.1}, wide = {-6, 6},
                       huge = {-1e15, 1e15}, tiny = {-1e-15, 1e-15};

typedef struct shape {
    uint64_t m, k, n;
} shape;

/* batch 1, one channel, odd and prime, below and above every tile */
static const shape shapes[] = {
    {1, 1, 1},      {1, 3, 2},      {2, 1, 5},    {7, 5, 3},     {1, 64, 65},
    {13, 17, 19},   {31, 33, 32},   {64, 64, 64}, {5, 127, 1},   {97, 16, 48},
    {128, 192, 64}, {129, 65, 131}, {257, 48, 7}, {20, 96, 512}, {300, 64, 192},
};

static void
begin(mri_check *c, const char *what, shape s)
{
    mri_check_begin(c, "%s m %llu k %llu n %llu", what, (unsigned long long)s.m,
                    (unsigned long long)s.k, (unsigned long long)s.n);
}

/* ------------------------------------------------------------- forward */

static void
forward_case(mri_check *c, shape s, mri_act act, mri_range range)
{
    mri_linear_args a = {.act = act}, size = {.act = MRI_ACT_NONE};

    begin(c, act == MRI_ACT_GELU ? "gelu" : "plain", s);
    mri_check_in(c, &a.x, range, MRI_DIMS(s.m, s.k));
    mri_check_in(c, &a.w, act == MRI_ACT_GELU ? weight : sign,
                 MRI_DIMS(s.n, s.k));
    if (s.k != 17) { /* some without */
        mri_check_in(c, &a.b, sign, MRI_DIMS(s.n));
        mri_check_abs(c, &size.b, &a.b);
    }
    mri_check_out(c, &a.y, MRI_DIMS(s.m, s.n));
    if (act == MRI_ACT_GELU && s.m % 2 == 0) {
        mri_check_out(c, &a.h, MRI_DIMS(s.m, s.n));
    }
    mri_check_run(c, run_linear, &a, sizeof a, 2.0 * (double)(s.m * s.k * s.n));

    mri_check_abs(c, &size.x, &a.x);
    mri_check_abs(c, &size.w, &a.w);
    mri_check_out(c, &size.y, MRI_DIMS(s.m, s.n));
    mri_check_ref(c, run_linear, &size);
    mri_check_near(c, &a.y, (1.13 * ((double)s.k + 3) + 8) * U, &size.y);
    if (mri_there(&a.h)) {
        mri_check_near(c, &a.h, ((double)s.k + 3) * U, &size.y);
    }
}

static void
forward_cases(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(shapes); i++) {
        forward_case(c, shapes[i], MRI_ACT_NONE, sign);
        forward_case(c, shapes[i], MRI_ACT_GELU, wide);
    }
    forward_case(c, (shape){33, 65, 17}, MRI_ACT_NONE, huge);
    forward_case(c, (shape){33, 65, 17}, MRI_ACT_GELU, huge);
    forward_case(c, (shape){33, 65, 17}, MRI_ACT_GELU, tiny);
}

/* ------------------------------------------- gradient of the input */

/* y = x w' where x = gelu(h): everything that the slope of h needs */
typedef struct chain {
    mri_check *c;
    mri_linear_args f;
    mr_tensor h, x, dy;
} chain;

static double
chain_loss(void *user)
{
    chain *t = user;
    double *x = t->x.data, *h = t->h.data;

    for (uint64_t i = 0; mri_there(&t->h) && i < mr_tensor_len(&t->h); i++) {
        x[i] = 0.5 * h[i] * (1 + erf(h[i] * sqrt(0.5)));
    }
    mri_check_ref(t->c, run_linear, &t->f);
    return mri_check_dot(&t->dy, &t->f.y);
}

/* The slopes of h through y = gelu(h) w', or of x where there is no GELU. */
static void
dx_slopes(mri_check *c, const mri_linear_dx_args *a, shape s)
{
    chain t = {.c = c, .h = a->h, .dy = a->dy};

    t.f.w = a->w;
    mri_check_in(c, &t.f.x, sign, MRI_DIMS(s.m, s.k));
    mri_check_out(c, &t.f.y, MRI_DIMS(s.m, s.n));
    t.x = t.f.x;
    mri_check_slope(c, mri_there(&a->h) ? &a->h : &t.f.x, &a->dx, chain_loss,
                    &t);
}

static void
dx_case(mri_check *c, shape s, bool gelu)
{
    mri_linear_dx_args a = {0}, size = {0};

    begin(c, gelu ? "gelu" : "plain", s);
    mri_check_in(c, &a.dy, sign, MRI_DIMS(s.m, s.n));
    mri_check_in(c, &a.w, sign, MRI_DIMS(s.n, s.k));
    mri_check_out(c, &a.dx, MRI_DIMS(s.m, s.k));
    if (gelu) {
        mri_check_in(c, &a.h, wide, MRI_DIMS(s.m, s.k));
        mri_check_out(c, &a.a, MRI_DIMS(s.m, s.k));
    }
    mri_check_run(c, run_linear_dx, &a, sizeof a,
                  2.0 * (double)(s.m * s.k * s.n));

    mri_check_abs(c, &size.dy, &a.dy);
    mri_check_abs(c, &size.w, &a.w);
    mri_check_out(c, &size.dx, MRI_DIMS(s.m, s.k));
    mri_check_ref(c, run_linear_dx, &size);
    mri_check_near(c, &a.dx, (1.13 * ((double)s.n + 3) + 8) * U, &size.dx);
    if (gelu) {
        mri_check_abs(c, &size.h, &a.h);
        mri_check_near(c, &a.a, 8 * U, &size.h);
    }
    if (mri_check_exact(c)) {
        dx_slopes(c, &a, s);
    }
}

static void
dx_cases(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(shapes); i++) {
        dx_case(c, shapes[i], false);
        dx_case(c, shapes[i], true);
    }
}

/* ------------------------------------------ gradient of the weights */

typedef struct dw_chain {
    mri_check *c;
    mri_linear_args f;
    const mr_tensor *dy;
} dw_chain;

static double
dw_loss(void *user)
{
    dw_chain *t = user;

    mri_check_ref(t->c, run_linear, &t->f);
    return mri_check_dot(t->dy, &t->f.y);
}

static void
dw_slopes(mri_check *c, const mri_linear_dw_args *a, shape s)
{
    dw_chain t = {.c = c, .dy = &a->dy};

    t.f.x = a->x;
    mri_check_in(c, &t.f.w, sign, MRI_DIMS(s.n, s.k));
    mri_check_in(c, &t.f.b, sign, MRI_DIMS(s.n));
    mri_check_out(c, &t.f.y, MRI_DIMS(s.m, s.n));
    mri_check_slope(c, &t.f.w, &a->dw, dw_loss, &t);
    mri_check_slope(c, &t.f.b, &a->db, dw_loss, &t);
}

static void
dw_case(mri_check *c, shape s, bool add)
{
    mri_linear_dw_args a = {.add = add}, size = {0};

    begin(c, add ? "add" : "set", s);
    mri_check_in(c, &a.dy, sign, MRI_DIMS(s.m, s.n));
    mri_check_in(c, &a.x, sign, MRI_DIMS(s.m, s.k));
    if (add) {
        mri_check_both(c, &a.dw, sign, MRI_DIMS(s.n, s.k));
        mri_check_both(c, &a.db, sign, MRI_DIMS(s.n));
    } else {
        mri_check_out(c, &a.dw, MRI_DIMS(s.n, s.k));
        mri_check_out(c, &a.db, MRI_DIMS(s.n));
    }
    /* |what is there| <= 1 counts as one product more */
    mri_check_abs(c, &size.dy, &a.dy);
    mri_check_abs(c, &size.x, &a.x);
    mri_check_out(c, &size.dw, MRI_DIMS(s.n, s.k));
    mri_check_out(c, &size.db, MRI_DIMS(s.n));
    mri_check_ref(c, run_linear_dw, &size);
    for (uint64_t i = 0; add && i < s.n * s.k; i++) {
        ((double *)size.dw.data)[i] += 1;
    }
    for (uint64_t i = 0; add && i < s.n; i++) {
        ((double *)size.db.data)[i] += 1;
    }
    mri_check_run(c, run_linear_dw, &a, sizeof a,
                  2.0 * (double)(s.m * s.k * s.n));
    mri_check_near(c, &a.dw, ((double)s.m + 3) * U, &size.dw);
    mri_check_near(c, &a.db, ((double)s.m + 3) * U, &size.db);
    if (!add && mri_check_exact(c)) {
        dw_slopes(c, &a, s);
    }
}

/*
 * oneDNN may use its workspace as a stack, where a handler's frame would break
 * the heap. So handlers must run on the caller's own stack.
 */
static uintptr_t home;
static volatile sig_atomic_t ticks, elsewhere;

static void
on_tick(int number)
{
    uintptr_t at = (uintptr_t)__builtin_frame_address(0);

    (void)number;
    ticks = 1;
    if ((at > home ? at - home : home - at) > ((uintptr_t)1 << 22)) {
        elsewhere = 1;
    }
}

/* A signal every so many microseconds; 0: no more. */
static void
tick(int us)
{
    struct sigaction a = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, us}, {0, us}};

    home = (uintptr_t)__builtin_frame_address(0);
    (void)sigaction(SIGALRM, &a, NULL);
    (void)setitimer(ITIMER_REAL, &every, NULL);
}

static void
dw_under_signals(mri_check *c)
{
    if (strcmp(mri_check_backend(c)->name, "cpu") != 0) {
        return; /* threads of a driver are its own business */
    }
    tick(100);
    for (int i = 0; i < 10; i++) {
        dw_case(c, (shape){700, 96, 288}, i % 2);
    }
    tick(0);
    mri_check_true(c, ticks != 0 && elsewhere == 0,
                   "signals come, on the caller's stack only");
}

static void
dw_cases(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(shapes); i++) {
        dw_case(c, shapes[i], false);
        dw_case(c, shapes[i], true);
    }
    dw_case(c, (shape){2500, 12, 20}, false); /* a long, thin reduction */
    dw_case(c, (shape){2500, 12, 20}, true);
    dw_under_signals(c);
}

/* ------------------------------------------ weight-normalised linear */

typedef struct w_chain {
    mri_check *c;
    mri_wlinear_args f;
    const mr_tensor *dy;
} w_chain;

static double
w_loss(void *user)
{
    w_chain *t = user;

    mri_check_ref(t->c, run_wlinear, &t->f);
    return mri_check_dot(t->dy, &t->f.y);
}

static void
wlinear_fields(mri_check *c, mri_wlinear_args *f, shape s)
{
    mri_check_in(c, &f->x, sign, MRI_DIMS(s.m, s.k));
    mri_check_in(c, &f->v, sign, MRI_DIMS(s.n, s.k));
    mri_check_in(c, &f->g, (mri_range){0.5, 2}, MRI_DIMS(s.n, 1));
    mri_check_out(c, &f->y, MRI_DIMS(s.m, s.n));
    mri_check_out(c, &f->inv, MRI_DIMS(s.n));
}

/* |x . v| g / |v| is at most |x| g: k products for x v, k for |v| (halved by
 * the root), and a few roundings. */
static void
wlinear_case(mri_check *c, shape s)
{
    mri_wlinear_args f = {0}, size = {0};

    begin(c, "", s);
    wlinear_fields(c, &f, s);
    mri_check_run(c, run_wlinear, &f, sizeof f,
                  2.0 * (double)(s.m * s.k * s.n));
    mri_check_abs(c, &size.x, &f.x);
    mri_check_abs(c, &size.v, &f.v);
    mri_check_abs(c, &size.g, &f.g);
    mri_check_out(c, &size.y, MRI_DIMS(s.m, s.n));
    mri_check_out(c, &size.inv, MRI_DIMS(s.n));
    mri_check_ref(c, run_wlinear, &size);
    mri_check_near(c, &f.y, (1.5 * (double)s.k + 6) * U, &size.y);
    mri_check_near(c, &f.inv, (0.5 * (double)s.k + 4) * U, NULL);
}

/*
 * With s = g inv: dx sums n products of three factors; dv = s (dw - v (dw . v)
 * inv^2) and dg = inv (dw . v) contain dw, a sum of m, and a sum of k. The
 * sizes are those sums without signs, of which nothing cancels.
 */
static void
wlinear_near(mri_check *c, const mri_wlinear_back_args *a, shape s)
{
    mri_wlinear_back_args size = {0};
    mri_linear_dw_args dw = {0};
    const double *inv = a->inv.data, *g = a->g.data, *v, *w;
    double terms = (double)(s.m + s.k) + 8;

    mri_check_abs(c, &size.dy, &a->dy);
    mri_check_abs(c, &size.x, &a->x);
    mri_check_abs(c, &size.v, &a->v);
    mri_check_abs(c, &size.g, &a->g);
    mri_check_abs(c, &size.inv, &a->inv);
    mri_check_out(c, &size.dx, MRI_DIMS(s.m, s.k));
    mri_check_out(c, &size.dv, MRI_DIMS(s.n, s.k));
    mri_check_out(c, &size.dg, MRI_DIMS(s.n));
    mri_check_ref(c, run_wlinear_back, &size);
    dw.dy = size.dy;
    dw.x = size.x;
    mri_check_out(c, &dw.dw, MRI_DIMS(s.n, s.k));
    mri_check_ref(c, run_linear_dw, &dw);
    v = size.v.data;
    w = dw.dw.data;
    for (uint64_t j = 0; j < s.n; j++) {
        double along = 0;

        for (uint64_t i = j * s.k; i < j * s.k + s.k; i++) {
            along += w[i] * v[i];
        }
        for (uint64_t i = j * s.k; i < j * s.k + s.k; i++) {
            ((double *)size.dv.data)[i] =
                g[j] * inv[j] * (w[i] + v[i] * along * inv[j] * inv[j]);
        }
        ((double *)size.dg.data)[j] = along * inv[j];
    }
    mri_check_near(c, &a->dx, ((double)s.n + 6) * U, &size.dx);
    mri_check_near(c, &a->dv, terms * U, &size.dv);
    if (mri_there(&a->dg)) {
        mri_check_near(c, &a->dg, terms * U, &size.dg);
    }
}

static void
wlinear_back_case(mri_check *c, shape s, bool train_g)
{
    mri_wlinear_args f = {0};
    mri_wlinear_back_args a = {0};
    w_chain t = {.c = c};

    begin(c, train_g ? "g trained" : "g fixed", s);
    wlinear_fields(c, &f, s);
    mri_check_run(c, run_wlinear, &f, sizeof f, 0);
    mri_check_in(c, &a.dy, sign, MRI_DIMS(s.m, s.n));
    mri_check_same(c, &a.x, &f.x);
    mri_check_same(c, &a.v, &f.v);
    mri_check_same(c, &a.g, &f.g);
    mri_check_same(c, &a.inv, &f.inv);
    mri_check_out(c, &a.dx, MRI_DIMS(s.m, s.k));
    mri_check_out(c, &a.dv, MRI_DIMS(s.n, s.k));
    if (train_g) {
        mri_check_out(c, &a.dg, MRI_DIMS(s.n, 1));
    }
    mri_check_run(c, run_wlinear_back, &a, sizeof a,
                  4.0 * (double)(s.m * s.k * s.n));
    if (!mri_check_exact(c)) {
        wlinear_near(c, &a, s);
        return;
    }
    t.f = f;
    t.dy = &a.dy;
    mri_check_slope(c, &f.x, &a.dx, w_loss, &t);
    mri_check_slope(c, &f.v, &a.dv, w_loss, &t);
    if (train_g) {
        mri_check_slope(c, &f.g, &a.dg, w_loss, &t);
    }
}

static void
wlinear_cases(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(shapes); i++) {
        wlinear_case(c, shapes[i]);
    }
    wlinear_case(c, (shape){6, 24, 1111});
}

static void
wlinear_back_cases(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(shapes); i++) {
        wlinear_back_case(c, shapes[i], i % 2 == 0);
    }
    wlinear_back_case(c, (shape){6, 24, 1111}, true);
}

/* ------------------------------------------------------------- timing */

/* ViT-S/16 with 2 + 8 crops of 2 samples; then the small one of the demo. */
static const shape timed[] = {
    {1380, 384, 1152}, {1380, 384, 384}, {1380, 384, 1536}, {1380, 1536, 384},
    {1360, 1280, 384}, {5888, 64, 192},  {5888, 64, 256},   {5888, 256, 64},
};
static const shape timed_head[] = {{20, 256, 65536}, {384, 64, 256}};

static void
forward_bench(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(timed); i++) {
        forward_case(c, timed[i], i == 2 || i == 6, sign);
    }
    forward_case(c, (shape){20, 2048, 2048}, MRI_ACT_GELU, sign);
}

static void
dx_bench(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(timed); i++) {
        dx_case(c, timed[i], i == 3 || i == 7);
    }
}

static void
dw_bench(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(timed); i++) {
        dw_case(c, timed[i], false);
    }
    dw_case(c, (shape){20, 2048, 2048}, false);
}

static void
wlinear_bench(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(timed_head); i++) {
        wlinear_case(c, timed_head[i]);
    }
}

static void
wlinear_back_bench(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(timed_head); i++) {
        wlinear_back_case(c, timed_head[i], false);
    }
}

int
main(int argc, char **argv)
{
    static const mri_check_op ops[] = {
        {"linear", forward_cases, forward_bench},
        {"linear_dx", dx_cases, dx_bench},
        {"linear_dw", dw_cases, dw_bench},
        {"wlinear", wlinear_cases, wlinear_bench},
        {"wlinear_back", wlinear_back_cases, wlinear_back_bench},
    };

    return mri_check_main(argc, argv, ops, MRI_COUNT(ops));
}
