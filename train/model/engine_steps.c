/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_steps.c - training steps on synthetic batches: how fast, and right?
 *
 *     engine_steps [--backend B] [--seconds S] [--report FILE.md] NETWORK...
 *
 * Of each network: the losses of some steps beside those of another back end;
 * the same steps twice, whose whole state must be equal bit for bit; steps
 * against the clock. Each is a line on stdout and a row of the report, written
 * at once, so that a run that is cut short leaves what it found. Needs the
 * engine alone. Exit 77: the back end is not there.
 */
#include <mri/dino.h>

#include <mri/alloc.h>
#include <mri/clock.h>
#include <mri/crc32c.h>
#include <mri/opt.h>
#include <mri/rng.h>

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS 5         /* that are compared, at most */
#define LOSS_BOUND 1e-4 /* relative, in each of them */
#define TIMES_LEAST 3
#define TIMES_MOST 200

typedef struct network {
    const char *name, *what;
    mri_dino_config config;
    uint32_t batch; /* for comparisons: what a CPU does in seconds */
    int steps;      /* at most STEPS */
    bool heavy;     /* too much for `ref` even so */
} network;

static struct {
    const mri_backend *backend;
    const char *lib;
    unsigned threads;
    double seconds;
    FILE *report;
    bool failed;
} now;

/* ------------------------------------------------------------- networks */

static network
mini(void)
{
    network n = {"mini",
                 "ViT of 2 blocks of 12, 3 channels, 2 + 2 crops",
                 mri_dino_defaults(),
                 4,
                 3,
                 false};
    mri_dino_config *c = &n.config;

    c->vit = (mri_vit){.channels = 3,
                       .patch = 4,
                       .dim = 12,
                       .depth = 2,
                       .heads = 2,
                       .image = 12,
                       .drop_path = 0.3};
    c->head_hidden = 10;
    c->bottleneck = 6;
    c->out_dim = 14;
    c->local_size = 8;
    c->local_count = 2;
    c->batch = 4;
    return n;
}

/* That of docs/recipes/cells.yaml. */
static network
demo(void)
{
    network n = {"demo",
                 "ViT of 2 blocks of 96, 5 channels, 2x40 + 4x24",
                 mri_dino_defaults(),
                 4,
                 STEPS,
                 false};
    mri_dino_config *c = &n.config;

    c->vit = (mri_vit){.channels = 5,
                       .patch = 8,
                       .dim = 96,
                       .depth = 2,
                       .heads = 3,
                       .image = 40};
    c->head_hidden = 256;
    c->bottleneck = 64;
    c->out_dim = 64;
    c->local_size = 24;
    c->local_count = 4;
    c->batch = 32;
    return n;
}

/* The published network and its crops, on five channels. */
static network
small(void)
{
    network n = {"small",
                 "ViT-S/16, 5 channels, 2x224 + 8x96, 65,536 outputs",
                 mri_dino_defaults(),
                 1,
                 STEPS,
                 true};

    n.config.batch = 32;
    return n;
}

/* Two blocks of it and a shorter head: its widths, in what `ref` can do. */
static network
slice(void)
{
    network n = {"slice",
                 "2 blocks of ViT-S/16, 5 channels, 2x224 + 1x96",
                 mri_dino_defaults(),
                 1,
                 2,
                 false};

    n.config.vit.depth = 2;
    n.config.head_hidden = 512;
    n.config.out_dim = 2048;
    n.config.local_count = 1;
    n.config.batch = 32;
    return n;
}

static bool
find_network(network *out, const char *name)
{
    network (*const all[])(void) = {mini, demo, slice, small};

    for (size_t i = 0; i < MRI_COUNT(all); i++) {
        *out = all[i]();
        if (strcmp(out->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* --------------------------------------------------------------- a trial */

static void
die(const char *what)
{
    (void)fprintf(stderr, "engine_steps: %s\n", what);
    exit(1);
}

/* A line of the finding, and a row of the report. ok NULL: a figure alone. */
static void MRI_PRINTF(4, 5) say(const char *what, const network *n,
                                 const char *ok, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)printf("%-8s %-6s %-5s %s  %s\n", what, n->name, now.backend->name,
                 text, ok != NULL ? ok : "");
    (void)fflush(stdout);
    if (now.report != NULL) {
        (void)fprintf(now.report, "| %s | %s | %s | %s |\n", what, n->what,
                      text, ok != NULL ? ok : "");
        (void)fflush(now.report);
    }
    now.failed = now.failed || (ok != NULL && strcmp(ok, "FAILED") == 0);
}

typedef struct trial {
    mri_dino *d;
    float *global, *local;
    mri_dino_batch batch;
} trial;

static float *
uniform(uint64_t len, uint32_t key)
{
    float *v = mri_alloc_pixels((size_t)len, sizeof *v);
    mri_draws d = mri_draws_of(1, key, 0);

    if (v == NULL) {
        die("no memory for a batch");
    }
    for (uint64_t i = 0; i < len; i++) {
        v[i] = (float)mri_draw_range(&d, -2, 2);
    }
    return v;
}

static void
close_trial(trial *t)
{
    mri_dino_close(t->d);
    mri_free(t->global);
    mri_free(t->local);
}

static mr_err
open_trial(trial *t, const mri_dino_config *c, const mri_backend *backend,
           mr_diag *diag)
{
    const mri_crew_options o = {.backend = backend, .threads = now.threads};
    uint64_t n = (uint64_t)c->batch * c->vit.channels;
    mr_err err;

    *t = (trial){.batch = {.seed = 1}};
    err = mri_dino_open(&t->d, c, &o, diag);
    if (err == MR_OK) {
        err = mri_dino_init(t->d, 1, diag);
    }
    if (err != MR_OK) {
        close_trial(t);
        return err;
    }
    t->global = uniform(n * 2 * c->vit.image * c->vit.image, 1);
    t->local = uniform(n * c->local_count * c->local_size * c->local_size, 2);
    t->batch.global = t->global;
    t->batch.local = t->local;
    return MR_OK;
}

static mr_err
one_step(trial *t, double *loss, mr_diag *diag)
{
    const mri_dino_rates r = {
        .lr = 5e-4, .decay = 0.04, .momentum = 0.996, .temperature = 0.04};
    mr_err err = mri_dino_step(t->d, &t->batch, &r, loss, NULL, diag);

    t->batch.step++;
    return err;
}

/* `steps` of them from the beginning; the trial stays open. */
static mr_err
first_steps(trial *t, const mri_dino_config *c, const mri_backend *backend,
            int steps, double *losses, mr_diag *diag)
{
    mr_err err = open_trial(t, c, backend, diag);

    if (err != MR_OK) {
        return err;
    }
    for (int i = 0; err == MR_OK && i < steps; i++) {
        err = one_step(t, &losses[i], diag);
    }
    if (err != MR_OK) {
        close_trial(t);
    }
    return err;
}

/* ---------------------------------------------------------------- losses */

/* Whom to believe: `cpu`, where there is one that is not what is tested. */
static const mri_backend *
find_judge(const network *n)
{
    const mri_backend *b = NULL;
    mr_diag diag = {0};

    if (strcmp(now.backend->name, "cpu") != 0 &&
        mri_backend_find(&b, "cpu", now.lib, &diag) == MR_OK) {
        return b;
    }
    return n->heavy || strcmp(now.backend->name, "ref") == 0 ? NULL
                                                             : &mri_backend_ref;
}

static void
compare_losses(const network *n)
{
    const mri_backend *judge = find_judge(n);
    mri_dino_config c = n->config;
    double mine[STEPS], theirs[STEPS], off = 0;
    mr_diag diag = {0};
    trial t;

    if (judge == NULL) {
        say("losses", n, "skipped", "no other back end here does this in time");
        return;
    }
    c.batch = n->batch;
    if (first_steps(&t, &c, now.backend, n->steps, mine, &diag) != MR_OK) {
        say("losses", n, "FAILED", "%s", diag.text);
        return;
    }
    close_trial(&t);
    if (first_steps(&t, &c, judge, n->steps, theirs, &diag) != MR_OK) {
        say("losses", n, "skipped", "%s: %s", judge->name, diag.text);
        return;
    }
    close_trial(&t);
    for (int i = 0; i < n->steps; i++) {
        double d = fabs(mine[i] - theirs[i]) / fabs(theirs[i]);

        off = d <= off ? off : d; /* a NaN stays */
    }
    say("losses", n, off <= LOSS_BOUND ? "ok" : "FAILED",
        "batch %u, %d steps: %.6f to %.6f, off from %s by %.1e at most "
        "(bound %.0e)",
        c.batch, n->steps, mine[0], mine[n->steps - 1], judge->name, off,
        LOSS_BOUND);
}

/* ------------------------------------------------------------------ bits */

/* A checksum of each tensor of the state. */
static uint32_t *
state_sums(const trial *t)
{
    size_t count = mri_dino_tensors(t->d);
    uint32_t *sums = mri_alloc(count, sizeof *sums);

    for (size_t i = 0; sums != NULL && i < count; i++) {
        mri_dino_tensor it = mri_dino_tensor_at(t->d, i);
        void *host = mri_alloc_pixels((size_t)it.bytes, 1);
        mr_diag diag = {0};

        if (host == NULL || mri_dino_get(t->d, i, host, &diag) != MR_OK) {
            die(host == NULL ? "no memory for a state" : diag.text);
        }
        sums[i] = mri_crc32c(0, host, (size_t)it.bytes);
        mri_free(host);
    }
    if (sums == NULL) {
        die("no memory for checksums");
    }
    return sums;
}

static void
compare_bits(const network *n)
{
    double losses[2][STEPS] = {{0}};
    uint32_t *sums[2] = {NULL, NULL};
    size_t count = 0, equal = 0;
    mr_diag diag = {0};
    bool same;
    trial t;

    for (int i = 0; i < 2; i++) {
        mri_dino_config c = n->config;

        c.batch = n->heavy ? n->batch : c.batch;
        if (first_steps(&t, &c, now.backend, n->steps, losses[i], &diag) !=
            MR_OK) {
            say("bits", n, "FAILED", "%s", diag.text);
            mri_free(sums[0]);
            return;
        }
        sums[i] = state_sums(&t);
        count = mri_dino_tensors(t.d);
        close_trial(&t);
    }
    for (size_t i = 0; i < count; i++) {
        equal += sums[0][i] == sums[1][i];
    }
    same = equal == count && memcmp(losses[0], losses[1], sizeof *losses) == 0;
    say("bits", n, same ? "ok" : "FAILED",
        "%d steps twice from one seed: %zu of %zu tensors are equal", n->steps,
        equal, count);
    mri_free(sums[0]);
    mri_free(sums[1]);
}

/* ----------------------------------------------------------------- speed */

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The largest batch that there is room for, halved from the network's own. */
static mr_err
open_largest(trial *t, mri_dino_config *c, mr_diag *diag)
{
    mr_err err = open_trial(t, c, now.backend, diag);

    while (err == MR_ENOMEM && c->batch > 1) {
        c->batch /= 2;
        err = open_trial(t, c, now.backend, diag);
    }
    return err;
}

static void
say_speed(const network *n, const mri_dino_config *c, const trial *t,
          double *times, size_t count)
{
    mri_dino_costs costs = mri_dino_costs_of(t->d);
    double least, most, median, first = times[0];

    qsort(times + 1, count - 1, sizeof *times, by_value);
    least = times[1];
    most = times[count - 1];
    median = times[1 + (count - 1) / 2];
    say("speed", n, NULL,
        "batch %u: %.2f ms a step (%.2f to %.2f of %zu; the first %.0f), "
        "%.1f images/s, %.0f GFLOP/s; %.1f M parameters, %.0f MiB for them, "
        "%.0f for activations",
        c->batch, median * 1e3, least * 1e3, most * 1e3, count - 1, first * 1e3,
        c->batch / median, costs.flops / median * 1e-9,
        (double)costs.params * 1e-6,
        (double)(costs.weights + costs.optimiser + costs.gradients) / (1 << 20),
        (double)costs.activations / (1 << 20));
}

/* A step ends when its loss is on the host; the copy of the batch is in it. */
static void
time_steps(const network *n)
{
    static double times[TIMES_MOST];
    mri_dino_config c = n->config;
    double spent = 0, loss;
    mr_diag diag = {0};
    mr_err err;
    size_t count = 0;
    trial t;

    err = open_largest(&t, &c, &diag);
    if (err != MR_OK) {
        say("speed", n, "FAILED", "%s", diag.text);
        return;
    }
    while (err == MR_OK && count < TIMES_MOST &&
           (count <= TIMES_LEAST || spent < now.seconds)) {
        double begin = mri_now_s();

        err = one_step(&t, &loss, &diag);
        times[count] = mri_now_s() - begin;
        spent += times[count++];
    }
    if (err != MR_OK) {
        say("speed", n, "FAILED", "%s", diag.text);
    } else {
        say_speed(n, &c, &t, times, count);
    }
    close_trial(&t);
}

/* ------------------------------------------------------------------ main */

/* False: the back end is not there, or has no device. */
static bool
say_device(void)
{
    mri_exec_options o = {.threads = now.threads};
    mri_device_info info;
    mri_exec *exec = NULL;
    mr_diag diag = {0};

    if (mri_exec_open(&exec, now.backend, &o, &diag) != MR_OK) {
        (void)printf("%s: skipped: %s\n", now.backend->name, diag.text);
        return false;
    }
    now.backend->info(exec, &info);
    (void)printf("device   %s\n", info.name);
    if (now.report != NULL) {
        (void)fprintf(now.report, "| device | | %s | |\n", info.name);
        (void)fflush(now.report);
    }
    mri_exec_close(exec);
    return true;
}

static bool
know_all(const mri_texts *names)
{
    network n;

    for (size_t i = 0; i < names->count; i++) {
        if (!find_network(&n, names->at[i])) {
            (void)fprintf(stderr,
                          "engine_steps: no network is called '%s' (there are "
                          "mini, demo, slice, small)\n",
                          names->at[i]);
            return false;
        }
    }
    return true;
}

static int
run_all(const mri_texts *names)
{
    network n;

    if (!say_device()) {
        return 77;
    }
    for (size_t i = 0; i < names->count && find_network(&n, names->at[i]);
         i++) {
        compare_losses(&n);
        compare_bits(&n);
        if (now.seconds > 0) {
            time_steps(&n);
        }
    }
    return now.failed ? 1 : 0;
}

/* The back end and the report; then the networks. Returns the status. */
static int
work(const char *backend, const char *report, const mri_texts *names)
{
    mr_diag diag = {0};
    int status;

    if (!know_all(names)) {
        return 2;
    }
    if (mri_backend_find(&now.backend, backend, now.lib, &diag) != MR_OK) {
        (void)printf("%s: skipped: %s\n", backend, diag.text);
        return diag.err == MR_EARG ? 2 : 77;
    }
    now.report = report != NULL ? fopen(report, "a") : NULL;
    if (report != NULL && now.report == NULL) {
        die("cannot open the report");
    }
    status = run_all(names);
    if (now.report != NULL && fclose(now.report) != 0) {
        die("cannot write the report");
    }
    return status;
}

int
main(int argc, char **argv)
{
    const char *backend = "cuda", *report = NULL;
    uint64_t threads = 0;
    mri_opt opts[] = {
        {MRI_OPT_TEXT, 0, "backend", &backend, "NAME", "cuda", false},
        {MRI_OPT_TEXT, 0, "lib", &now.lib, "DIR", "modules", false},
        {MRI_OPT_TEXT, 0, "report", &report, "FILE", "add rows to it", false},
        {MRI_OPT_U64, 0, "threads", &threads, "N", "0: all", false},
        {MRI_OPT_F64, 0, "seconds", &now.seconds, "S", "of timing; 0: none",
         false},
        {MRI_OPT_END, 0, NULL, NULL, NULL, NULL, false},
    };
    mri_texts names = {0};
    mr_diag diag = {0};
    int status;

    now.lib = MR_MODULE_DIR;
    now.seconds = 5;
    if (mri_opt_parse(argc, argv, opts, &names, &diag) != MR_OK) {
        (void)fprintf(stderr, "engine_steps: %s\n", diag.text);
        return 2;
    }
    now.threads = (unsigned)threads;
    status = work(backend, report, &names);
    mri_texts_release(&names);
    return status;
}
