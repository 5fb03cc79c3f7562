/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dino_bench.c - how long a training step takes, and on what.
 *
 *     dino_bench [--preset small|tiny|demo] [--steps N] [--threads N]
 *                [--parts N] [--apart] [--backend B] [--nodes]
 *
 * Steps are timed whole; then some more operation by operation, which costs a
 * little itself and is printed by kind of operation (--nodes: each one).
 */
#include <mri/dino.h>

#include <mri/alloc.h>
#include <mri/clock.h>
#include <mri/opt.h>
#include <mri/rng.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
must(mr_err err, const mr_diag *diag)
{
    if (err != MR_OK) {
        (void)fprintf(stderr, "dino_bench: %s\n", diag->text);
        exit(1);
    }
}

/* ViT-S/16 on five channels; ViT-tiny; the demo's. */
static bool
preset(mri_dino_config *c, const char *name)
{
    *c = mri_dino_defaults();
    c->batch = 2;
    if (strcmp(name, "small") == 0) {
        return true;
    }
    if (strcmp(name, "tiny") == 0) {
        c->batch = 8;
        return mri_vit_named(&c->vit, "vit_tiny");
    }
    c->vit = (mri_vit){.channels = 5,
                       .patch = 8,
                       .dim = 64,
                       .depth = 3,
                       .heads = 2,
                       .image = 40};
    c->head_hidden = 256;
    c->bottleneck = 64;
    c->out_dim = 256;
    c->local_size = 24;
    c->local_count = 4;
    c->batch = 64;
    return strcmp(name, "demo") == 0;
}

static float *
uniform(uint64_t len)
{
    float *v = mri_alloc((size_t)len, sizeof *v);
    mri_draws d = mri_draws_of(1, 0, 0);

    if (v == NULL) {
        exit(1);
    }
    for (uint64_t i = 0; i < len; i++) {
        v[i] = (float)mri_draw_range(&d, -2, 2);
    }
    return v;
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double
time_step(mri_dino *d, const mri_dino_batch *b, double *loss)
{
    const mri_dino_rates r = {
        .lr = 1e-4, .decay = 0.04, .momentum = 0.996, .temperature = 0.04};
    double begin = mri_now_s();
    mr_diag diag = {0};

    must(mri_dino_step(d, b, &r, loss, NULL, &diag), &diag);
    return mri_now_s() - begin;
}

/* Not getrusage's: that remembers the process which started this one. */
static double
peak_mib(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[128];
    double kib = 0;

    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "VmHWM: %lf", &kib) == 1) {
            break;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return kib / 1024;
}

static void
say_steps(mri_dino *d, const mri_dino_batch *b, uint64_t steps)
{
    double *t = mri_alloc((size_t)steps, sizeof *t), first, loss;
    mri_dino_costs costs = mri_dino_costs_of(d);

    if (t == NULL) {
        exit(1);
    }
    first = time_step(d, b, &loss);
    for (uint64_t i = 0; i < steps; i++) {
        t[i] = time_step(d, b, &loss);
    }
    qsort(t, (size_t)steps, sizeof *t, by_value);
    (void)printf("%.2f GFLOP a step, %.1f M parameters; MiB: weights %.0f, "
                 "optimiser %.0f, gradients %.0f, activations %.0f, resident "
                 "at most %.0f\n",
                 costs.flops * 1e-9, (double)costs.params * 1e-6,
                 (double)costs.weights / (1 << 20),
                 (double)costs.optimiser / (1 << 20),
                 (double)costs.gradients / (1 << 20),
                 (double)costs.activations / (1 << 20), peak_mib());
    (void)printf("first step %.1f ms; then median %.1f ms, least %.1f, most "
                 "%.1f of %llu: %.1f GFLOP/s\n",
                 first * 1e3, t[steps / 2] * 1e3, t[0] * 1e3,
                 t[steps - 1] * 1e3, (unsigned long long)steps,
                 costs.flops / t[steps / 2] * 1e-9);
    mri_free(t);
}

typedef struct kind {
    const char *op;
    double ms, flops;
    unsigned nodes;
} kind;

static int
by_time(const void *a, const void *b)
{
    const kind *x = a, *y = b;

    return x->ms < y->ms ? 1 : x->ms > y->ms ? -1 : 0;
}

/* The times of the first lane's nodes, summed up by kind. */
static void
say_kinds(mri_lane *lane, bool nodes)
{
    kind kinds[64] = {0};
    size_t count = 0;
    double total = 0;

    for (size_t i = 0; i < mri_lane_nodes(lane); i++) {
        mri_node_time t = mri_lane_time(lane, i);
        double ms = (double)t.ns / (double)t.runs * 1e-6;
        size_t k = 0;

        while (k < count && strcmp(kinds[k].op, t.op) != 0) {
            k++;
        }
        count = k == count ? count + 1 : count;
        kinds[k].op = t.op;
        kinds[k].ms += ms;
        kinds[k].flops += t.flops;
        kinds[k].nodes++;
        total += ms;
        if (nodes) {
            (void)printf("%9.3f ms %7.1f GFLOP/s  %s: %s\n", ms,
                         t.flops / ms * 1e-6, t.name, t.op);
        }
    }
    qsort(kinds, count, sizeof *kinds, by_time);
    for (size_t k = 0; k < count; k++) {
        (void)printf("%-16s %4u nodes %9.2f ms %5.1f%% %8.1f GFLOP/s\n",
                     kinds[k].op, kinds[k].nodes, kinds[k].ms,
                     100 * kinds[k].ms / total,
                     kinds[k].flops / kinds[k].ms * 1e-6);
    }
    (void)printf("all operations %.2f ms\n", total);
}

int
main(int argc, char **argv)
{
    const char *name = "small", *backend = "cpu";
    uint64_t steps = 5, threads = 0, parts = 1;
    bool apart = false, nodes = false;
    mri_opt opts[] = {
        {MRI_OPT_TEXT, 0, "preset", &name, "NAME", "small, tiny or demo",
         false},
        {MRI_OPT_TEXT, 0, "backend", &backend, "NAME", "cpu, ref or cuda",
         false},
        {MRI_OPT_U64, 0, "steps", &steps, "N", "steps to time", false},
        {MRI_OPT_U64, 0, "threads", &threads, "N", "0: all", false},
        {MRI_OPT_U64, 0, "parts", &parts, "N", "cut the batch", false},
        {MRI_OPT_FLAG, 0, "apart", &apart, NULL, "a thread a part", false},
        {MRI_OPT_FLAG, 0, "nodes", &nodes, NULL, "each operation", false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_crew_options o = {0};
    mri_dino_config c;
    mri_dino_batch b = {.seed = 1};
    mri_texts rest = {0};
    mr_diag diag = {0};
    mri_dino *d;
    uint64_t n;
    double loss;

    must(mri_opt_parse(argc, argv, opts, &rest, &diag), &diag);
    must(mri_backend_find(&o.backend, backend, getenv("MILLRACE_LIB"), &diag),
         &diag);
    if (!preset(&c, name) || steps == 0) {
        (void)fprintf(stderr, "dino_bench: no such preset, or no steps\n");
        return 2;
    }
    o.threads = (unsigned)threads;
    o.parts = (unsigned)parts;
    o.apart = apart;
    must(mri_dino_open(&d, &c, &o, &diag), &diag);
    must(mri_dino_init(d, 1, &diag), &diag);
    n = (uint64_t)c.batch * c.vit.channels;
    b.global = uniform(n * 2 * c.vit.image * c.vit.image);
    b.local = uniform(n * c.local_count * c.local_size * c.local_size);
    say_steps(d, &b, steps);
    must(mri_lane_clock(mri_crew_lane(mri_dino_crew(d), 0), true, &diag),
         &diag);
    for (int i = 0; i < 3; i++) {
        (void)time_step(d, &b, &loss);
    }
    say_kinds(mri_crew_lane(mri_dino_crew(d), 0), nodes);
    mri_dino_close(d);
    return 0;
}
