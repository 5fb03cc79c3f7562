/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph_check.c - what the graph, the lanes and the loader refuse, and how
 * they say so; memory that is shared; parts that are added up.
 */
#include <mri/check.h>
#include <mri/crew.h>
#include <mri/optim.h>

#include <mri/alloc.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define S(...)                                                                 \
    (const uint64_t[])                                                         \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

static mri_graph *
open_graph(mri_check *c)
{
    mri_graph *g = NULL;

    mri_check_true(c, mri_graph_open(&g, MR_F32, NULL) == MR_OK, "no graph");
    return g;
}

static mri_val
weight(mri_graph *g, const char *name, uint64_t rows, uint64_t columns)
{
    mri_param p = {.name = name,
                   .rank = 2,
                   .shape = {rows, columns},
                   .init = MRI_INIT_NORMAL};

    return mri_g_param(g, &p);
}

/* The graph must fail with this code, and a text that has these words. */
static void
refuses(mri_check *c, mri_graph *g, mri_code code, const char *words)
{
    mr_diag diag = {0};

    mri_check_true(c, mri_graph_end(g, &diag) != MR_OK, "it was taken");
    mri_check_true(c, diag.code == code, "it fails by another code");
    mri_check_true(c, strstr(diag.text, words) != NULL, diag.text);
    mri_graph_close(g);
}

/* ------------------------------------------------------------- refusals */

static void
shapes_are_named(mri_check *c)
{
    mri_graph *g = open_graph(c);
    mri_val x = mri_g_input(g, "x", MR_F32, 2, S(5, 7));

    mri_check_begin(c, "shapes");
    mri_g_enter(g, "blocks.%u", 3);
    mri_g_enter(g, "attn.qkv");
    (void)mri_g_linear(g, x, weight(g, "weight", 4, 8), (mri_val){0},
                       MRI_ACT_NONE);
    mri_g_leave(g);
    mri_g_leave(g);
    /* what follows the first error is not what is reported */
    (void)mri_g_l2norm(g, (mri_val){0});
    refuses(c, g, MRI_E_GRAPH_SHAPE,
            "blocks.3.attn.qkv: linear takes x [m,k], w [n,k], b [n]; got "
            "f32[5,7] f32[4,8] none");

    g = open_graph(c);
    x = mri_g_input(g, "x", MR_F32, 2, S(5, 7));
    (void)mri_g_attention(g, x, &(mri_seqs){1, {1}, {5}, {1}}, 2, false);
    refuses(c, g, MRI_E_GRAPH_SHAPE, "attention");

    g = open_graph(c);
    (void)mri_g_input(g, "x", MR_F32, 2, S(5, 0));
    refuses(c, g, MRI_E_GRAPH_SHAPE, "dimension");

    g = open_graph(c);
    (void)mri_g_input(g, "x", MR_F32, 2, S(1ull << 40, 1ull << 40));
    refuses(c, g, MRI_E_GRAPH_SHAPE, "too many");
}

static void
names_are_unique(mri_check *c)
{
    mri_graph *g = open_graph(c);

    mri_check_begin(c, "names");
    (void)weight(g, "w", 1, 1);
    (void)weight(g, "w", 1, 1);
    refuses(c, g, MRI_E_GRAPH_NAME, "'w'");
}

static void
types_are_named(mri_check *c)
{
    mr_diag diag = {0};
    mri_graph *g;

    mri_check_begin(c, "types");
    mri_check_true(c, mri_graph_open(&g, MR_BF16, &diag) == MR_EARG, "bf16");
    mri_check_true(c, strstr(diag.text, "bf16") != NULL, diag.text);
    mri_check_true(c, g == NULL, "a graph of bf16");
}

static void
the_reverse_begins_at_a_loss(mri_check *c)
{
    mri_graph *g = open_graph(c);
    mri_val x = mri_g_input(g, "x", MR_F32, 2, S(5, 7));

    mri_check_begin(c, "reverse");
    x = mri_g_linear(g, x, weight(g, "w", 4, 7), (mri_val){0}, MRI_ACT_NONE);
    mri_g_reverse(g, x);
    refuses(c, g, MRI_E_GRAPH_REVERSE, "loss");
}

static void
refusal_cases(mri_check *c)
{
    if (mri_check_exact(c)) {
        return;
    }
    shapes_are_named(c);
    names_are_unique(c);
    types_are_named(c);
    the_reverse_begins_at_a_loss(c);
}

/* ---------------------------------------------------------------- lanes */

/* y = x w' ten times over, so that arenas have something to share. */
static mri_graph *
chain(mri_check *c, const char *prefix, uint64_t width)
{
    mri_graph *g = open_graph(c);
    mri_val x = mri_g_input(g, "x", MR_F32, 2, S(3, width));

    mri_g_set(g, MRI_SET_SHADOW); /* nothing is kept for a reverse pass */
    mri_g_enter(g, "%s", prefix);
    for (unsigned i = 0; i < 10; i++) {
        mri_g_enter(g, "%u", i);
        x = mri_g_linear(g, x, weight(g, "weight", width, width), (mri_val){0},
                         MRI_ACT_GELU);
        mri_g_leave(g);
    }
    mri_g_leave(g);
    mri_g_keep(g, "y", x);
    mri_check_true(c, mri_graph_end(g, NULL) == MR_OK, "the chain");
    return g;
}

static mri_exec *
open_exec(mri_check *c)
{
    mri_exec *exec = NULL;

    mri_check_true(c,
                   mri_exec_open(&exec, mri_check_backend(c),
                                 &(mri_exec_options){.threads = 2},
                                 NULL) == MR_OK,
                   "no exec");
    return exec;
}

static void
activations_share_memory(mri_check *c)
{
    mri_graph *g = chain(c, "a", 16);
    mri_costs costs = mri_graph_costs(g);

    mri_check_begin(c, "arena");
    /* the input and the kept result always, two of the others at a time */
    mri_check_true(c, costs.unshared == 11 * 192, "the values' bytes");
    mri_check_true(c, costs.activations == 4 * 192, "the arena's bytes");
    mri_graph_close(g);
}

static void
parameters_are_found_by_name_and_shape(mri_check *c)
{
    mri_exec *exec = open_exec(c);
    mri_graph *a = chain(c, "a", 16), *b = chain(c, "b", 16);
    mri_graph *wide = chain(c, "a", 8);
    mri_params *store = NULL;
    mri_lane *lane = NULL;
    mr_diag diag = {0};
    float x[48] = {0};

    mri_check_begin(c, "parameters");
    mri_check_true(c, mri_params_open(&store, a, exec, NULL) == MR_OK, "store");
    mri_check_true(c, mri_lane_open(&lane, b, store, exec, &diag) == MR_EARG,
                   "parameters of another name");
    mri_check_true(c, strstr(diag.text, "b.0.weight") != NULL, diag.text);
    mri_check_true(c, mri_lane_open(&lane, wide, store, exec, &diag) == MR_EARG,
                   "parameters of another shape");
    mri_check_true(c, strstr(diag.text, "a.0.weight") != NULL, diag.text);
    mri_check_true(c, mri_lane_open(&lane, a, store, exec, &diag) == MR_OK,
                   "a lane");
    mri_check_true(c, mri_lane_put(lane, "z", x, 4, &diag) == MR_EARG,
                   "an input that is not there");
    mri_check_true(c, mri_lane_put(lane, "x", x, 4, &diag) == MR_EARG,
                   "an input of another size");
    mri_check_true(c, strstr(diag.text, "192") != NULL, diag.text);
    mri_lane_close(lane);
    mri_params_close(store);
    mri_graph_close(a);
    mri_graph_close(b);
    mri_graph_close(wide);
    mri_exec_close(exec);
}

/* A graph run in a shared arena gives what single operations give. */
static void
a_chain_is_its_links(mri_check *c)
{
    mri_exec *exec = open_exec(c);
    mri_graph *g = chain(c, "a", 16);
    mri_params *store = NULL;
    mri_lane *lane = NULL;
    float x[48], y[48], w[256];
    double off = 0;

    mri_check_begin(c, "chain");
    mri_check_true(c,
                   mri_params_open(&store, g, exec, NULL) == MR_OK &&
                       mri_params_draw(store, 1, NULL) == MR_OK &&
                       mri_lane_open(&lane, g, store, exec, NULL) == MR_OK,
                   "a lane");
    for (size_t i = 0; i < MRI_COUNT(x); i++) {
        x[i] = (float)i * 10 - 100;
    }
    mri_check_true(c,
                   mri_lane_put(lane, "x", x, sizeof x, NULL) == MR_OK &&
                       mri_lane_run(lane, NULL, NULL) == MR_OK &&
                       mri_lane_get(lane, "y", y, sizeof y, NULL) == MR_OK,
                   "a run");
    for (size_t i = 0; i < 10; i++) {
        float next[48];
        mri_linear_args a = {.act = MRI_ACT_GELU};

        mri_check_true(c, mri_params_get(store, i, w, sizeof w, NULL) == MR_OK,
                       "weights");
        a.x = mr_tensor_of(x, MR_F32, 2, S(3, 16));
        a.w = mr_tensor_of(w, MR_F32, 2, S(16, 16));
        a.y = mr_tensor_of(next, MR_F32, 2, S(3, 16));
        mri_check_true(c, mri_backend_ref.ops->linear(NULL, &a) == MR_OK,
                       "linear");
        memcpy(x, next, sizeof x);
    }
    for (size_t i = 0; i < MRI_COUNT(x); i++) {
        off = fmax(off, fabs((double)x[i] - (double)y[i]));
    }
    mri_check_within(c, off, 1e-6, "the chain");
    mri_lane_close(lane);
    mri_params_close(store);
    mri_graph_close(g);
    mri_exec_close(exec);
}

/* Draws are functions of seed and name: golden values, moments, bounds. */
static void
parameters_are_drawn_by_name(mri_check *c)
{
    /* 0.02 times SciPy's ndtri of the words of Philox, seed 1, to 1e-7 */
    static const float golden[4] = {-0.001121777f, -0.018324202f, 0.023808293f,
                                    -0.013054487f};
    static float w[300 * 301];
    mri_exec *exec = open_exec(c);
    mri_graph *g = open_graph(c);
    mri_param flat = {.name = "flat",
                      .rank = 1,
                      .shape = {1001},
                      .init = MRI_INIT_FAN_IN,
                      .fan_in = 16};
    mri_params *store = NULL;
    double mean = 0, square = 0, top = 0;
    bool same = true;

    mri_check_begin(c, "draws");
    mri_g_enter(g, "student");
    (void)weight(g, "w", 300, 301);
    (void)mri_g_param(g, &flat);
    mri_g_leave(g);
    mri_check_true(c,
                   mri_graph_end(g, NULL) == MR_OK &&
                       mri_params_open(&store, g, exec, NULL) == MR_OK &&
                       mri_params_draw(store, 1, NULL) == MR_OK &&
                       mri_params_get(store, 0, w, sizeof w, NULL) == MR_OK,
                   "a store");
    for (size_t i = 0; i < MRI_COUNT(w); i++) {
        mean += (double)w[i] / MRI_COUNT(w);
        square += (double)w[i] * (double)w[i] / MRI_COUNT(w);
    }
    for (size_t i = 0; i < MRI_COUNT(golden); i++) {
        same = same && fabs((double)w[i] - (double)golden[i]) < 1e-8;
    }

    mri_check_true(c, same, "other numbers are drawn than before");
    mri_check_within(c, fabs(mean), 0.02 * 4 / 300, "the mean");
    mri_check_within(c, fabs(sqrt(square) - 0.02), 0.02 * 4 / 424, "deviation");
    mri_check_true(c,
                   mri_params_get(store, 1, w, 1001 * sizeof *w, NULL) == MR_OK,
                   "flat");
    for (size_t i = 0; i < 1001; i++) {
        top = fmax(top, fabs((double)w[i]));
    }
    mri_check_true(c, top <= 0.25 && top > 0.249, "uniform within a quarter");
    mri_params_close(store);
    mri_graph_close(g);
    mri_exec_close(exec);
}

/* A back end without an operation, or without a type, says so by name. */
static void
back_ends_lack_things(mri_check *c)
{
    mri_exec *exec = open_exec(c);
    mri_graph *g = chain(c, "a", 16);
    mri_ops ops = *exec->backend->ops;
    mri_backend poor = *exec->backend;
    const mri_backend *rich = exec->backend;
    mri_params *store = NULL;
    mri_lane *lane = NULL;
    mr_diag diag = {0};

    mri_check_begin(c, "a back end without linear");
    mri_check_true(c, mri_params_open(&store, g, exec, NULL) == MR_OK, "store");
    ops.linear = NULL;
    poor.ops = &ops;
    exec->backend = &poor;
    mri_check_true(c, mri_lane_open(&lane, g, store, exec, &diag) == MR_EDEVICE,
                   "an operation that is not there");
    mri_check_true(c, strstr(diag.text, "linear") != NULL, diag.text);
    exec->backend = rich;
    mri_params_close(store);
    mri_graph_close(g);
    mri_exec_close(exec);
}

static void
lane_cases(mri_check *c)
{
    if (mri_check_exact(c)) {
        return;
    }
    activations_share_memory(c);
    parameters_are_found_by_name_and_shape(c);
    a_chain_is_its_links(c);
    parameters_are_drawn_by_name(c);
    back_ends_lack_things(c);
}

/* --------------------------------------------------------------- loader */

static void
load(mri_check *c, const char *folder, mr_err want, const char *words)
{
    const mri_backend *b = NULL;
    mr_diag diag = {0};

    mri_check_begin(c, "%s", folder);
    mri_check_true(c, mri_backend_find(&b, "cuda", folder, &diag) == want,
                   "another result than expected");
    mri_check_true(c, strstr(diag.text, words) != NULL, diag.text);
    mri_check_true(c, (b != NULL) == (want == MR_OK), "a back end");
}

static void
loader_cases(mri_check *c)
{
    const mri_backend *b = NULL;
    mri_exec *exec = NULL;
    mr_diag diag = {0};

    if (mri_check_exact(c) || strcmp(mri_check_backend(c)->name, "ref") != 0 ||
        getenv("MILLRACE_LIB") != NULL) {
        return; /* it would be looked at instead of the folders here */
    }
    load(c, MR_FAKES "/none", MR_EDEVICE, "libmillrace_cuda.so");
    load(c, MR_FAKES "/1", MR_EVERSION, "another version");
    load(c, MR_FAKES "/2", MR_EDEVICE, "libcublasLt.so.13 is missing");
    load(c, MR_FAKES "/0", MR_OK, "");
    load(c, MR_FAKES "/0", MR_OK, ""); /* once loaded, it is there */
    mri_check_true(
        c, mri_backend_find(&b, "cuda", MR_FAKES "/0", &diag) == MR_OK, "load");
    mri_check_true(
        c, mri_exec_open(&exec, b, &(mri_exec_options){0}, &diag) == MR_EDEVICE,
        "a device that is not there");
    mri_check_true(c, strstr(diag.text, "no device") != NULL, diag.text);
    mri_check_true(c, mri_backend_find(&b, "gpu", NULL, &diag) == MR_EARG,
                   "a name that is none");
    mri_check_true(c, strstr(diag.text, "'gpu'") != NULL, diag.text);
}

int
main(int argc, char **argv)
{
    static const mri_check_op ops[] = {
        {"graph", refusal_cases, NULL},
        {"lane", lane_cases, NULL},
        {"loader", loader_cases, NULL},
    };

    return mri_check_main(argc, argv, ops, MRI_COUNT(ops));
}
