/* SPDX-License-Identifier: Apache-2.0 */
/* vit.c - the vision transformer as a graph. */
#include <mri/vit.h>

#include <mri/alloc.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EPS 1e-6 /* of its norms */

static const struct {
    const char *name;
    uint32_t dim, heads;
} named[] = {
    {"vit_tiny", 192, 3},
    {"vit_small", 384, 6},
    {"vit_base", 768, 12},
};

bool
mri_vit_named(mri_vit *v, const char *name)
{
    for (size_t i = 0; i < MRI_COUNT(named); i++) {
        if (strcmp(named[i].name, name) == 0) {
            v->dim = named[i].dim;
            v->heads = named[i].heads;
            v->depth = 12;
            v->patch = 16;
            v->image = 224;
            return true;
        }
    }
    return false;
}

mr_err
mri_vit_check(const mri_vit *v, mr_diag *diag)
{
    const char *wrong = NULL;

    if (v->channels == 0 || v->channels > 4096) {
        wrong = "channels must be 1 to 4096";
    } else if (v->patch == 0 || v->image == 0 || v->image % v->patch != 0 ||
               v->image / v->patch > 256) {
        wrong = "the size of a picture must be a multiple of the patch, at "
                "most 256 times it";
    } else if (v->depth == 0 || v->depth > 256) {
        wrong = "depth must be 1 to 256";
    } else if (v->heads == 0 || v->dim == 0 || v->dim % v->heads != 0 ||
               v->dim / v->heads > MRI_HEAD_LIMIT || v->dim > 65536) {
        wrong = "dim must be a multiple of the heads, each at most 256 wide";
    } else if (!(v->drop_path >= 0 && v->drop_path < 1)) {
        wrong = "drop_path must be in [0, 1)";
    }
    return wrong == NULL ? MR_OK
                         : mri_fail(diag, MRI_E_MODEL, MR_NOWHERE, "%s", wrong);
}

/* ------------------------------------------------------------- positions */

/* Keys' cubic kernel with a = -0.75. */
static double
cubic(double x)
{
    const double a = -0.75;

    x = fabs(x);
    if (x <= 1) {
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Weights of the old positions for new position o, along one axis. */
static void
axis_weights(double *w, uint32_t from, uint32_t to, uint32_t o)
{
    double scale = (double)from / (to + 0.1);
    double at = (o + 0.5) * scale - 0.5, base = floor(at);

    memset(w, 0, from * sizeof *w);
    for (int tap = -1; tap <= 2; tap++) {
        double place = base + tap, last = (double)from - 1;
        double in = place < 0 ? 0 : place > last ? last : place;

        w[(size_t)in] += cubic(at - place);
    }
}

void
mri_vit_positions(double *out, uint32_t from, uint32_t to)
{
    size_t columns = 1 + (size_t)from * from;
    double wy[256], wx[256];

    memset(out, 0, (1 + (size_t)to * to) * columns * sizeof *out);
    out[0] = 1;
    for (uint32_t y = 0; y < to; y++) {
        axis_weights(wy, from, to, y);
        for (uint32_t x = 0; x < to; x++) {
            double *row = out + (1 + (size_t)y * to + x) * columns + 1;

            axis_weights(wx, from, to, x);
            for (size_t i = 0; i < (size_t)from * from; i++) {
                row[i] = wy[i / from] * wx[i % from];
            }
        }
    }
}

/* ------------------------------------------------------------- parameters */

static mri_val
param(mri_graph *g, const char *name, mri_init init, uint32_t rank,
      const uint64_t *shape)
{
    mri_param p = {.name = name, .rank = rank, .init = init};

    memcpy(p.shape, shape, rank * sizeof *shape);
    return mri_g_param(g, &p);
}

static mri_val
vector(mri_graph *g, const char *name, mri_init init, uint64_t n)
{
    return param(g, name, init, 1, &n);
}

/* x w' + b, whose parameters are called name.weight and name.bias. */
static mri_val
linear(mri_graph *g, const char *name, mri_val x, uint64_t in, uint64_t out,
       mri_act act)
{
    mri_val w, b, y;

    mri_g_enter(g, "%s", name);
    w = param(g, "weight", MRI_INIT_NORMAL, 2, (const uint64_t[]){out, in});
    b = vector(g, "bias", MRI_INIT_ZERO, out);
    y = mri_g_linear(g, x, w, b, act);
    mri_g_leave(g);
    return y;
}

/* The residual stream: what was summed up by now, and the branch that is
 * still to be added, which the next norm does. */
typedef struct stream {
    mri_val x, z, drop;
    mri_seqs seqs;
} stream;

static mri_val
norm(mri_graph *g, const char *name, stream *s, uint64_t dim)
{
    mri_g_norm_in in = {
        .x = s->x, .z = s->z, .drop = s->drop, .seqs = s->seqs, .eps = EPS};
    mri_g_normed out;

    mri_g_enter(g, "%s", name);
    in.gamma = vector(g, "weight", MRI_INIT_ONE, dim);
    in.beta = vector(g, "bias", MRI_INIT_ZERO, dim);
    out = mri_g_norm(g, &in);
    mri_g_leave(g);
    s->x = out.sum;
    s->z = s->drop = (mri_val){0};
    return out.y;
}

static mri_val
drop_path(mri_graph *g, const char *name, const stream *s, double rate,
          mri_val clock)
{
    mri_val drop = {0};

    if (clock.id != 0 && rate > 0) {
        mri_g_enter(g, "%s", name);
        drop = mri_g_drop(g, clock, &s->seqs, rate);
        mri_g_leave(g);
    }
    return drop;
}

/* ----------------------------------------------------------------- blocks */

/*
 * One block. Of the last one only the class token's result is used, so from
 * its attention on, which only that token asks, the stream is picked down to
 * it.
 */
static void
block(mri_graph *g, const mri_vit *v, uint32_t i, stream *s, mri_val clock)
{
    double rate =
        v->depth > 1 ? v->drop_path * i / (v->depth - 1) : v->drop_path;
    uint64_t d = v->dim;
    bool last = i + 1 == v->depth;
    mri_val y;

    mri_g_enter(g, "blocks.%u", i);
    y = norm(g, "norm1", s, d);
    y = linear(g, "attn.qkv", y, d, 3 * d, MRI_ACT_NONE);
    mri_g_enter(g, "attn");
    y = mri_g_attention(g, y, &s->seqs, v->heads, last);
    if (last) {
        s->x = mri_g_pick(g, s->x, &s->seqs);
        for (uint32_t k = 0; k < s->seqs.groups; k++) {
            s->seqs.tokens[k] = 1;
        }
    }
    mri_g_leave(g);
    s->z = linear(g, "attn.proj", y, d, d, MRI_ACT_NONE);
    s->drop = drop_path(g, "drop1", s, rate, clock);
    y = norm(g, "norm2", s, d);
    y = linear(g, "mlp.fc1", y, d, 4 * d, MRI_ACT_GELU);
    s->z = linear(g, "mlp.fc2", y, 4 * d, d, MRI_ACT_NONE);
    s->drop = drop_path(g, "drop2", s, rate, clock);
    mri_g_leave(g);
}

/* ------------------------------------------------------------ the network */

/* Positions for pictures of `to` patches a side. */
static mri_val
positions(mri_graph *g, mri_val learned, uint32_t from, uint32_t to)
{
    uint64_t shape[2] = {1 + (uint64_t)to * to, 1 + (uint64_t)from * from};
    mri_val m, pos;
    double *matrix;
    char name[64];

    if (from == to) {
        return learned;
    }
    matrix = mri_alloc((size_t)(shape[0] * shape[1]), sizeof *matrix);
    if (matrix == NULL) {
        mri_g_fail(g, MRI_E_MEMORY, "no memory for resized positions");
        return learned;
    }
    mri_vit_positions(matrix, from, to);
    (void)snprintf(name, sizeof name, "positions %u to %u, %u", from, to,
                   learned.id);
    mri_g_enter(g, "pos_embed");
    m = mri_g_const(g, name, 2, shape, matrix);
    pos = mri_g_mix(g, m, learned);
    mri_g_leave(g);
    mri_free(matrix);
    return pos;
}

static mri_val
embed(mri_graph *g, const mri_vit *v, const mri_val *images,
      const mri_seqs *patches)
{
    uint64_t p = v->patch, c = v->channels;
    mri_param w = {.name = "weight",
                   .rank = 4,
                   .shape = {v->dim, c, p, p},
                   .init = MRI_INIT_FAN_IN,
                   .fan_in = c * p * p};
    mri_param b = {.name = "bias",
                   .rank = 1,
                   .shape = {v->dim},
                   .init = MRI_INIT_FAN_IN,
                   .fan_in = c * p * p};
    mri_val weight, bias, x;

    mri_g_enter(g, "patch_embed.proj");
    weight = mri_g_param(g, &w);
    bias = mri_g_param(g, &b);
    x = mri_g_patchify(g, images, patches, v->patch);
    x = mri_g_linear(g, x, weight, bias, MRI_ACT_NONE);
    mri_g_leave(g);
    return x;
}

mri_val
mri_vit_build(mri_graph *g, const mri_vit *v, const mri_vit_group *groups,
              uint32_t count, mri_val clock)
{
    uint32_t grid = v->image / v->patch;
    mri_seqs patches = {.groups = count};
    mri_val images[MRI_GROUPS], pos[MRI_GROUPS], cls, learned, x;
    stream s;

    cls = param(g, "cls_token", MRI_INIT_NORMAL, 3,
                (const uint64_t[]){1, 1, v->dim});
    learned = param(g, "pos_embed", MRI_INIT_NORMAL, 3,
                    (const uint64_t[]){1, 1 + (uint64_t)grid * grid, v->dim});
    for (uint32_t i = 0; i < count; i++) {
        uint32_t side = groups[i].side / v->patch;

        images[i] = groups[i].images;
        patches.count[i] = groups[i].count;
        patches.views[i] = groups[i].views;
        patches.tokens[i] = side * side;
    }
    x = embed(g, v, images, &patches);
    s = (stream){.seqs = patches};
    for (uint32_t i = 0; i < count; i++) {
        s.seqs.tokens[i]++;
        pos[i] = positions(g, learned, grid, groups[i].side / v->patch);
    }
    s.x = mri_g_tokens(g, x, cls, pos, &s.seqs);
    for (uint32_t i = 0; i < v->depth; i++) {
        block(g, v, i, &s, clock);
    }
    return norm(g, "norm", &s, v->dim);
}
