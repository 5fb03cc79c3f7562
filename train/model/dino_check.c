/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dino_check.c - whole networks on every back end.
 *
 * In float64 on the reference: every kind of parameter's gradient against
 * central differences, through patches, resized positions, drop-path, both
 * crops' sizes, head and loss. In f32: loss and gradients of a back end
 * against the reference's; the same bits from run to run, with any number of
 * threads; parts of a batch add up to the whole.
 */
#include <mri/check.h>
#include <mri/dino.h>

#include <mri/alloc.h>
#include <mri/rng.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPS 1e-6

static void
must(mr_err err, const mr_diag *diag)
{
    if (err != MR_OK) {
        (void)fprintf(stderr, "dino_check: %s: %s\n", mr_err_name(err),
                      diag->text);
        exit(1);
    }
}

static void *
room(size_t count, size_t size)
{
    void *p = mri_alloc(count, size);

    if (p == NULL) {
        exit(1);
    }
    return p;
}

/* Small, yet with everything in it: two blocks, so that one is the last and
 * one is not; local crops of another size; a gain that is trained. */
static mri_dino_config
tiny(void)
{
    mri_dino_config c = mri_dino_defaults();

    c.vit = (mri_vit){.channels = 3,
                      .patch = 4,
                      .dim = 12,
                      .depth = 2,
                      .heads = 2,
                      .image = 12,
                      .drop_path = 0.3};
    c.head_hidden = 10;
    c.bottleneck = 6;
    c.out_dim = 14;
    c.norm_last_layer = false;
    c.local_size = 8;
    c.local_count = 2;
    c.batch = 4;
    return c;
}

/* Like the demo's: widths that are whole vectors and some that are not. */
static mri_dino_config
small(void)
{
    mri_dino_config c = tiny();

    c.vit = (mri_vit){.channels = 5,
                      .patch = 8,
                      .dim = 48,
                      .depth = 3,
                      .heads = 3,
                      .image = 40,
                      .drop_path = 0.1};
    c.head_hidden = 96;
    c.bottleneck = 32;
    c.out_dim = 200;
    c.norm_last_layer = true;
    c.local_size = 24;
    c.local_count = 3;
    c.batch = 8;
    return c;
}

static uint64_t
pixels(const mri_dino_config *c, uint32_t side, uint32_t views)
{
    return (uint64_t)c->batch * views * c->vit.channels * side * side;
}

/* ------------------------------------------------ float64 on the reference */

typedef struct exact {
    mri_exec *exec;
    mri_graph *g;
    mri_params *store;
    mri_lane *lane;
    char *grads;
    uint64_t grad_bytes;
} exact;

static void
put_uniform(exact *x, const char *name, uint64_t len, uint64_t key, double low,
            double high)
{
    mri_draws d = mri_draws_of(key, 1, 2);
    double *v = room((size_t)len, sizeof *v);
    mr_diag diag = {0};

    for (uint64_t i = 0; i < len; i++) {
        v[i] = mri_draw_range(&d, low, high);
    }
    must(mri_lane_put(x->lane, name, v, len * sizeof *v, &diag), &diag);
    mri_free(v);
}

/* All parameters of one size, so that no gradient hides behind another. */
static void
stir_params(exact *x)
{
    mr_diag diag = {0};

    for (size_t i = 0; i < mri_params_count(x->store); i++) {
        const mri_slot *slot = mri_params_slot(x->store, i);
        mri_draws d = mri_draws_of(100 + i, 0, 0);
        double *v = room((size_t)slot->len, sizeof *v);

        for (uint64_t k = 0; k < slot->len; k++) {
            v[k] = mri_draw_range(&d, -0.5, 0.5);
        }
        must(mri_params_put(x->store, i, v, slot->len * sizeof *v, &diag),
             &diag);
        mri_free(v);
    }
}

static exact
open_exact(const mri_dino_config *c)
{
    const uint32_t clock[4] = {11, 0, 3, 0};
    const double heat = 0.2;
    mr_diag diag = {0};
    exact x = {0};

    must(
        mri_exec_open(&x.exec, &mri_backend_ref, &(mri_exec_options){0}, &diag),
        &diag);
    must(mri_graph_open(&x.g, MR_F64, &diag), &diag);
    must(mri_dino_build(x.g, c, &diag), &diag);
    must(mri_params_open(&x.store, x.g, x.exec, &diag), &diag);
    must(mri_lane_open(&x.lane, x.g, x.store, x.exec, &diag), &diag);
    x.grad_bytes = mri_graph_costs(x.g).grads;
    x.grads = room((size_t)x.grad_bytes, 1);
    stir_params(&x);
    put_uniform(&x, "global", pixels(c, c->vit.image, 2), 1, -2, 2);
    if (c->local_count != 0) {
        put_uniform(&x, "local", pixels(c, c->local_size, c->local_count), 2,
                    -2, 2);
    }
    must(mri_lane_put(x.lane, "clock", clock, sizeof clock, &diag), &diag);
    must(mri_lane_put(x.lane, "temperature", &heat, sizeof heat, &diag), &diag);
    return x;
}

static void
close_exact(exact *x)
{
    mri_lane_close(x->lane);
    mri_params_close(x->store);
    mri_graph_close(x->g);
    mri_exec_close(x->exec);
    mri_free(x->grads);
}

static double
loss_of(exact *x)
{
    mr_diag diag = {0};
    double loss;

    must(mri_lane_run(x->lane, x->grads, &diag), &diag);
    memcpy(&loss, x->grads + mri_graph_sum_at(x->g, "loss"), sizeof loss);
    return loss;
}

/* Some elements of one parameter, the first and last among them. */
static void
check_param(mri_check *c, exact *x, size_t i, const char *grads)
{
    const mri_slot *slot = mri_params_slot(x->store, i);
    mr_tensor p = mri_params_tensor(x->store, i);
    uint64_t step = slot->len > 5 ? (slot->len - 1) / 4 : 1;
    double *v = p.data; /* the reference's memory is the host's */
    char what[160];

    for (uint64_t k = 0; k < slot->len; k += step) {
        double keep = v[k], up, down, want, got;

        v[k] = keep + EPS;
        up = loss_of(x);
        v[k] = keep - EPS;
        down = loss_of(x);
        v[k] = keep;
        want = (up - down) / (2 * EPS);
        memcpy(&got, grads + (slot->first + k) * sizeof got, sizeof got);
        (void)snprintf(what, sizeof what, "gradient of %s", slot->name);
        mri_check_within(c, fabs(got - want), 1e-5 + 1e-3 * fabs(want), what);
    }
}

static void
check_slopes(mri_check *c, const mri_dino_config *config)
{
    exact x = open_exact(config);
    char *grads = room((size_t)x.grad_bytes, 1);

    (void)loss_of(&x);
    memcpy(grads, x.grads, (size_t)x.grad_bytes);
    for (size_t i = 0; i < mri_params_count(x.store); i++) {
        const mri_slot *slot = mri_params_slot(x.store, i);

        if (slot->set == MRI_SET_TRAINED && !slot->fixed) {
            check_param(c, &x, i, grads);
        }
    }
    mri_free(grads);
    close_exact(&x);
}

static void
slope_cases(mri_check *c)
{
    mri_dino_config config = tiny();

    if (!mri_check_exact(c)) {
        return;
    }
    mri_check_begin(c, "2 + 2 crops, 2 blocks, drop-path");
    check_slopes(c, &config);
    config.norm_last_layer = true;
    config.local_count = 0;
    config.vit.depth = 1;
    config.vit.drop_path = 0;
    mri_check_begin(c, "2 crops, 1 block");
    check_slopes(c, &config);
}

/* ------------------------------------------------------- f32, whole steps */

typedef struct way {
    const mri_backend *backend;
    unsigned threads, parts;
    bool apart;
} way;

typedef struct run {
    mri_dino *d;
    float *global, *local;
    mri_dino_batch batch;
} run;

static float *
uniform(uint64_t len, uint64_t key)
{
    mri_draws d = mri_draws_of(key, 0, 0);
    float *v = room((size_t)len, sizeof *v);

    for (uint64_t i = 0; i < len; i++) {
        v[i] = (float)mri_draw_range(&d, -2, 2);
    }
    return v;
}

static run
open_run(const mri_dino_config *c, way w)
{
    const mri_crew_options o = {.backend = w.backend,
                                .threads = w.threads,
                                .parts = w.parts,
                                .apart = w.apart};
    mr_diag diag = {0};
    run r = {.global = uniform(pixels(c, c->vit.image, 2), 1),
             .local = uniform(pixels(c, c->local_size, c->local_count), 2)};

    must(mri_dino_open(&r.d, c, &o, &diag), &diag);
    must(mri_dino_init(r.d, 7, &diag), &diag);
    r.batch = (mri_dino_batch){.global = r.global, .local = r.local, .seed = 5};
    return r;
}

static void
close_run(run *r)
{
    mri_dino_close(r->d);
    mri_free(r->global);
    mri_free(r->local);
}

static double
step_run(run *r, uint64_t steps)
{
    const mri_dino_rates rates = {
        .lr = 2e-3, .decay = 0.04, .momentum = 0.99, .temperature = 0.04};
    mr_diag diag = {0};
    double loss = 0;

    for (uint64_t i = 0; i < steps; i++) {
        r->batch.step = i;
        must(mri_dino_step(r->d, &r->batch, &rates, &loss, NULL, &diag), &diag);
    }
    return loss;
}

/* Tensor i of the state, to be freed. */
static float *
state_of(const run *r, size_t i)
{
    mri_dino_tensor t = mri_dino_tensor_at(r->d, i);
    float *v = room((size_t)t.bytes, 1);
    mr_diag diag = {0};

    must(mri_dino_get(r->d, i, v, &diag), &diag);
    return v;
}

/* |a - b| / |b|, in norms */
static double
distance(const float *a, const float *b, uint64_t len)
{
    double off = 0, size = 0;

    for (uint64_t i = 0; i < len; i++) {
        off += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return size > 0 ? sqrt(off / size) : sqrt(off);
}

static float *
gradient_of(const run *r, size_t i, uint64_t bytes)
{
    float *v = room((size_t)bytes, 1);
    mr_diag diag = {0};

    must(mri_dino_grad(r->d, i, v, bytes, &diag), &diag);
    return v;
}

static uint64_t
bytes_of_trained(const run *r, size_t i)
{
    const char *name = mri_dino_trained_name(r->d, i);

    for (size_t k = 0; k < mri_dino_tensors(r->d); k++) {
        mri_dino_tensor t = mri_dino_tensor_at(r->d, k);

        if (strcmp(t.name, name) == 0) {
            return t.bytes;
        }
    }
    return 0;
}

/* Gradients that are zero by symmetry are noise in both: a bias of keys,
 * whose gradient vanishes since a softmax does not see a common term. Such a
 * tensor is compared beside the largest gradient there is. */
static void
compare_gradients(mri_check *c, const run *got, const run *want, double bound)
{
    char what[200];

    for (size_t i = 0; i < mri_dino_trained(got->d); i++) {
        uint64_t bytes = bytes_of_trained(got, i);
        float *a = gradient_of(got, i, bytes), *b = gradient_of(want, i, bytes);
        double size = 0;

        for (uint64_t k = 0; k < bytes / sizeof *b; k++) {
            size = fmax(size, fabs((double)b[k]));
        }
        (void)snprintf(what, sizeof what, "gradient of %s",
                       mri_dino_trained_name(got->d, i));
        if (size > 1e-6) {
            mri_check_within(c, distance(a, b, bytes / sizeof *a), bound, what);
        }
        mri_free(a);
        mri_free(b);
    }
}

/* What is fixed stays as it was drawn: the gain of the last layer, 1. */
static void
check_fixed(mri_check *c, const run *r)
{
    for (size_t i = 0; i < mri_dino_tensors(r->d); i++) {
        mri_dino_tensor t = mri_dino_tensor_at(r->d, i);
        bool ones = true;
        float *v;

        if (strcmp(t.name, "student.head.last_layer.weight_g") != 0) {
            continue;
        }
        v = state_of(r, i);
        for (uint64_t k = 0; k < t.shape[0]; k++) {
            ones = ones && v[k] == 1;
        }
        mri_check_true(c, ones, "a fixed gain moved");
        mri_free(v);
    }
}

static void
compare_with_reference(mri_check *c, const mri_dino_config *config)
{
    const way mine = {mri_check_backend(c), 2, 1, false};
    const way ref = {&mri_backend_ref, 1, 1, false};
    run a = open_run(config, mine), b = open_run(config, ref);
    double la, lb;

    la = step_run(&a, 1);
    lb = step_run(&b, 1);
    mri_check_within(c, fabs(la - lb) / lb, 5e-6, "the loss");
    compare_gradients(c, &a, &b, 2e-5);
    la = step_run(&a, 3);
    lb = step_run(&b, 3);
    mri_check_within(c, fabs(la - lb) / lb, 1e-4, "the loss after steps");
    if (config->norm_last_layer) {
        check_fixed(c, &a);
    }
    close_run(&a);
    close_run(&b);
}

static void
reference_cases(mri_check *c)
{
    mri_dino_config config = tiny();

    if (mri_check_exact(c)) {
        return;
    }
    mri_check_begin(c, "tiny");
    compare_with_reference(c, &config);
}

static void
small_cases(mri_check *c)
{
    mri_dino_config config = small();

    if (mri_check_exact(c) || strcmp(mri_check_backend(c)->name, "ref") == 0) {
        return;
    }
    mri_check_begin(c, "small");
    compare_with_reference(c, &config);
}

/* --------------------------------------------------------------- bits */

static void
same_bits(mri_check *c, const run *a, const run *b, const char *what)
{
    bool same = true;

    for (size_t i = 0; i < mri_dino_tensors(a->d); i++) {
        float *x = state_of(a, i), *y = state_of(b, i);

        same = same &&
               memcmp(x, y, (size_t)mri_dino_tensor_at(a->d, i).bytes) == 0;
        mri_free(x);
        mri_free(y);
    }
    mri_check_true(c, same, what);
}

/* Two ways of running three steps that must give one state. */
static void
check_bits(mri_check *c, const mri_dino_config *config, way first, way second,
           const char *what)
{
    run a = open_run(config, first), b = open_run(config, second);

    mri_check_begin(c, "%s", what);
    (void)step_run(&a, 3);
    (void)step_run(&b, 3);
    same_bits(c, &a, &b, what);
    close_run(&a);
    close_run(&b);
}

/* A step in parts is the step of the whole, but for rounding. */
static void
check_parts(mri_check *c, const mri_dino_config *config)
{
    const mri_backend *backend = mri_check_backend(c);
    run a = open_run(config, (way){backend, 2, 1, false});
    run b = open_run(config, (way){backend, 2, 4, true});
    double la, lb;

    mri_check_begin(c, "parts and the whole");
    la = step_run(&a, 1);
    lb = step_run(&b, 1);
    mri_check_within(c, fabs(la - lb) / la, 1e-6, "the loss of the parts");
    compare_gradients(c, &b, &a, 2e-5);
    close_run(&a);
    close_run(&b);
}

static void
bit_cases(mri_check *c)
{
    const mri_backend *b = mri_check_backend(c);
    bool slow = strcmp(b->name, "ref") == 0;
    mri_dino_config config = slow ? tiny() : small();

    if (mri_check_exact(c)) {
        return;
    }
    check_bits(c, &config, (way){b, 2, 1, false}, (way){b, 2, 1, false},
               "two runs are not equal");
    check_bits(c, &config, (way){b, 1, 4, true}, (way){b, 2, 4, true},
               "parts: 1 and 2 threads are not equal");
    check_bits(c, &config, (way){b, 1, 4, true}, (way){b, 3, 4, true},
               "parts: 1 and 3 threads are not equal");
    check_bits(c, &config, (way){b, 1, 4, true}, (way){b, 2, 4, false},
               "parts: apart and together are not equal");
    check_parts(c, &config);
}

/* ---------------------------------------------------------------- failing */

/* A NaN is named, and nothing is changed by the step that met it. */
static void
nan_cases(mri_check *c)
{
    const mri_dino_rates rates = {.lr = 1e-3, .temperature = 0.04};
    mri_dino_config config = tiny();
    run r, calm;
    mr_diag diag = {0};
    double loss;

    if (mri_check_exact(c)) {
        return;
    }
    mri_check_begin(c, "a NaN in a picture");
    r = open_run(&config, (way){mri_check_backend(c), 1, 2, false});
    calm = open_run(&config, (way){mri_check_backend(c), 1, 2, false});
    r.local[pixels(&config, 8, 2) - 1] = NAN;
    mri_check_true(c,
                   mri_dino_step(r.d, &r.batch, &rates, &loss, NULL, &diag) ==
                       MR_ECORRUPT,
                   "a NaN is not noticed");
    mri_check_true(c, strstr(diag.text, "local") != NULL,
                   "the input is not named");
    same_bits(c, &r, &calm, "a step that failed changed something");
    close_run(&r);
    close_run(&calm);
}

/* ------------------------------------------------------------- features */

/* The teacher's features, alone and in another batch, are the same. */
static void
feature_cases(mri_check *c)
{
    mri_dino_config config = small();
    const mri_crew_options o = {.backend = mri_check_backend(c), .threads = 2};
    uint64_t each = (uint64_t)config.vit.channels * 40 * 40;
    float a[5 * 48], b[5 * 48];
    mri_encoder *e;
    mr_diag diag = {0};
    run r;

    if (mri_check_exact(c)) {
        return;
    }
    mri_check_begin(c, "5 pictures");
    r = open_run(&config, (way){mri_check_backend(c), 2, 1, false});
    must(mri_dino_features(r.d, r.global, 5, a, &diag), &diag);
    must(mri_encoder_open(&e, &config.vit, 40, 2, &o, &diag), &diag);
    must(mri_params_draw(mri_encoder_store(e), 7, &diag), &diag);
    must(mri_encoder_run(e, r.global, 5, b, &diag), &diag);
    mri_check_within(c, distance(a, b, 5 * 48), 1e-6, "features");
    must(mri_encoder_run(e, r.global + each, 4, b, &diag), &diag);
    mri_check_within(c, distance(b, a + 48, 4 * 48), 1e-6, "features");
    mri_encoder_close(e);
    close_run(&r);
}

int
main(int argc, char **argv)
{
    static const mri_check_op ops[] = {
        {"dino slopes", slope_cases, NULL}, {"dino", reference_cases, NULL},
        {"dino small", small_cases, NULL},  {"dino bits", bit_cases, NULL},
        {"dino nan", nan_cases, NULL},      {"features", feature_cases, NULL},
    };

    return mri_check_main(argc, argv, ops, MRI_COUNT(ops));
}
