/* SPDX-License-Identifier: Apache-2.0 */
/* graph_ops.c - the operations as a model adds them: shapes in, shapes out. */
#include "graph.h"

#include <mri/crc32c.h>

#include <string.h>

#define SHAPE(...)                                                             \
    (uint32_t)(sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)),          \
        (const uint64_t[])                                                     \
    {                                                                          \
        __VA_ARGS__                                                            \
    }
#define GOT(...)                                                               \
    (const mri_val[]){__VA_ARGS__},                                            \
        sizeof((const mri_val[]){__VA_ARGS__}) / sizeof(mri_val)

static const mri_val none = {0};

OP_KIND(linear, back_linear);
OP_KIND(wlinear, back_wlinear);
OP_KIND(norm, back_norm);
OP_KIND(attention, back_attention);
OP_KIND(patchify, NULL); /* pictures are never trained */
OP_KIND(tokens, back_tokens);
OP_KIND(mix, back_mix);
OP_KIND(pick, back_pick);
OP_KIND(l2norm, back_l2norm);
OP_KIND(drop, NULL);
OP_KIND(dino_loss, back_dino_loss);

mri_val
mri_g_linear(mri_graph *g, mri_val x, mri_val w, mri_val b, mri_act act)
{
    uint64_t m = graph_dim(g, x, 0), k = graph_dim(g, x, 1);
    uint64_t n = graph_dim(g, w, 0);
    bool slope = graph_slope(g, x) || graph_slope(g, w) || graph_slope(g, b);
    mri_linear_args *a;

    if (!graph_is(g, x, 2) || w.id == 0 || graph_len(g, w) != n * k ||
        (b.id != 0 && graph_len(g, b) != n)) {
        graph_refuse(g, "linear takes x [m,k], w [n,k], b [n]", GOT(x, w, b));
        return none;
    }
    a = graph_node(g, &kind_linear, 2.0 * (double)(m * n * k));
    a->act = act;
    graph_read(g, &a->x, x, SHAPE(m, k));
    graph_read(g, &a->w, w, SHAPE(n, k));
    graph_read(g, &a->b, b, SHAPE(n));
    if (act == MRI_ACT_GELU && slope) {
        (void)graph_make(g, &a->h, true, SHAPE(m, n));
    }
    return graph_make(g, &a->y, slope, SHAPE(m, n));
}

mri_val
mri_g_wlinear(mri_graph *g, mri_val x, mri_val v, mri_val gain)
{
    uint64_t m = graph_dim(g, x, 0), k = graph_dim(g, x, 1);
    uint64_t n = graph_dim(g, v, 0);
    bool slope = graph_slope(g, x) || graph_slope(g, v) || graph_slope(g, gain);
    mri_wlinear_args *a;

    if (!graph_is(g, x, 2) || v.id == 0 || graph_len(g, v) != n * k ||
        graph_len(g, gain) != n) {
        graph_refuse(g, "wlinear takes x [m,k], v [n,k], g [n,1]",
                     GOT(x, v, gain));
        return none;
    }
    a = graph_node(g, &kind_wlinear, 2.0 * (double)(m * n * k));
    graph_read(g, &a->x, x, SHAPE(m, k));
    graph_read(g, &a->v, v, SHAPE(n, k));
    graph_read(g, &a->g, gain, SHAPE(n, 1));
    (void)graph_make(g, &a->inv, slope, SHAPE(n));
    return graph_make(g, &a->y, slope, SHAPE(m, n));
}

mri_g_normed
mri_g_norm(mri_graph *g, const mri_g_norm_in *in)
{
    uint64_t r = graph_dim(g, in->x, 0), d = graph_dim(g, in->x, 1);
    bool through = graph_slope(g, in->x) || graph_slope(g, in->z);
    bool slope = through || graph_slope(g, in->gamma);
    mri_g_normed out = {in->x, none};
    mri_norm_args *a;

    if (!graph_is(g, in->x, 2) || graph_len(g, in->gamma) != d ||
        graph_len(g, in->beta) != d ||
        (in->z.id != 0 && graph_len(g, in->z) != r * d) ||
        (in->drop.id != 0 &&
         (in->z.id == 0 || mri_seqs_rows(&in->seqs) != r ||
          graph_len(g, in->drop) != mri_seqs_count(&in->seqs)))) {
        graph_refuse(g,
                     "norm takes x, z [r,d], drop [sequences], gamma, beta [d]",
                     GOT(in->x, in->z, in->drop, in->gamma, in->beta));
        return out;
    }
    a = graph_node(g, &kind_norm, 8.0 * (double)(r * d));
    a->seqs = in->seqs;
    a->eps = in->eps;
    graph_read(g, &a->x, in->x, SHAPE(r, d));
    graph_read(g, &a->z, in->z, SHAPE(r, d));
    graph_read(g, &a->drop, in->drop, SHAPE(mri_seqs_count(&in->seqs)));
    graph_read(g, &a->gamma, in->gamma, SHAPE(d));
    graph_read(g, &a->beta, in->beta, SHAPE(d));
    if (in->z.id != 0) {
        out.sum = graph_make(g, &a->sum, through, SHAPE(r, d));
    }
    out.y = graph_make(g, &a->y, slope, SHAPE(r, d));
    (void)graph_make(g, &a->mean, slope, SHAPE(r));
    (void)graph_make(g, &a->rstd, slope, SHAPE(r));
    return out;
}

/* Multiply-adds of q k' over all sequences, twice that for p v too. */
static double
pairs(const mri_seqs *s, bool first)
{
    double sum = 0;

    for (uint32_t g = 0; g < s->groups; g++) {
        sum += (double)s->count[g] * s->tokens[g] * (first ? 1 : s->tokens[g]);
    }
    return sum;
}

mri_val
mri_g_attention(mri_graph *g, mri_val qkv, const mri_seqs *seqs, uint32_t heads,
                bool first)
{
    uint64_t r = graph_dim(g, qkv, 0), d = graph_dim(g, qkv, 1) / 3;
    uint64_t rows = first ? mri_seqs_count(seqs) : r;
    mri_attention_args *a;
    mri_val o;

    if (!graph_is(g, qkv, 2) || mri_seqs_rows(seqs) != r || d == 0 ||
        graph_dim(g, qkv, 1) % 3 != 0 || heads == 0 || d % heads != 0 ||
        d / heads > MRI_HEAD_LIMIT) {
        graph_refuse(g,
                     "attention takes qkv [rows of the sequences, 3 d], d a "
                     "multiple of the heads, each at most 256 wide",
                     GOT(qkv));
        return none;
    }
    a = graph_node(g, &kind_attention, 4.0 * pairs(seqs, first) * (double)d);
    a->seqs = *seqs;
    a->heads = heads;
    a->first = first;
    graph_read(g, &a->qkv, qkv, SHAPE(r, 3 * d));
    o = graph_make(g, &a->o, graph_slope(g, qkv), SHAPE(rows, d));
    (void)graph_make(g, &a->lse, graph_slope(g, qkv), SHAPE(rows, heads));
    return o;
}

mri_val
mri_g_patchify(mri_graph *g, const mri_val *images, const mri_seqs *seqs,
               uint32_t patch)
{
    uint64_t channels = 0, p = patch;
    mri_patchify_args *a;

    for (uint32_t i = 0; i < seqs->groups; i++) {
        mri_val v = images[i];
        uint64_t c = graph_dim(g, v, 1), h = graph_dim(g, v, 2);
        uint64_t w = graph_dim(g, v, 3);

        if (!graph_is(g, v, 4) || p == 0 || h % p != 0 || w % p != 0 ||
            h / p * (w / p) != seqs->tokens[i] ||
            graph_dim(g, v, 0) != seqs->count[i] || (i != 0 && c != channels)) {
            graph_refuse(g,
                         "patchify takes images [count, c, h, w], h and w "
                         "multiples of the patch, c alike in all",
                         images, seqs->groups);
            return none;
        }
        channels = c;
    }
    a = graph_node(g, &kind_patchify, 0);
    a->seqs = *seqs;
    a->patch = patch;
    for (uint32_t i = 0; i < seqs->groups; i++) {
        graph_read(g, &a->image[i], images[i],
                   SHAPE(seqs->count[i], channels, graph_dim(g, images[i], 2),
                         graph_dim(g, images[i], 3)));
    }
    return graph_make(g, &a->y, false,
                      SHAPE(mri_seqs_rows(seqs), channels * p * p));
}

mri_val
mri_g_tokens(mri_graph *g, mri_val x, mri_val cls, const mri_val *pos,
             const mri_seqs *seqs)
{
    uint64_t d = graph_dim(g, x, 1), r = mri_seqs_rows(seqs);
    uint64_t patches = r - mri_seqs_count(seqs);
    bool slope = graph_slope(g, x) || graph_slope(g, cls);
    mri_tokens_args *a;

    if (!graph_is(g, x, 2) || graph_dim(g, x, 0) != patches ||
        graph_len(g, cls) != d) {
        graph_refuse(g, "tokens takes x [patches, d], cls [d]", GOT(x, cls));
        return none;
    }
    for (uint32_t i = 0; i < seqs->groups; i++) {
        if (graph_len(g, pos[i]) != seqs->tokens[i] * d) {
            graph_refuse(g, "tokens takes pos [tokens, d] for each group", pos,
                         seqs->groups);
            return none;
        }
        slope = slope || graph_slope(g, pos[i]);
    }
    a = graph_node(g, &kind_tokens, (double)(r * d));
    a->seqs = *seqs;
    graph_read(g, &a->x, x, SHAPE(patches, d));
    graph_read(g, &a->cls, cls, SHAPE(d));
    for (uint32_t i = 0; i < seqs->groups; i++) {
        graph_read(g, &a->pos[i], pos[i], SHAPE(seqs->tokens[i], d));
    }
    return graph_make(g, &a->y, slope, SHAPE(r, d));
}

mri_val
mri_g_mix(mri_graph *g, mri_val m, mri_val x)
{
    uint64_t a = graph_dim(g, m, 0), b = graph_dim(g, m, 1);
    uint64_t d = b != 0 ? graph_len(g, x) / b : 0;
    mri_mix_args *args;

    if (!graph_is(g, m, 2) || graph_slope(g, m) || d == 0 ||
        graph_len(g, x) != b * d) {
        graph_refuse(g, "mix takes a constant m [a,b], x [b,d]", GOT(m, x));
        return none;
    }
    args = graph_node(g, &kind_mix, 2.0 * (double)(a * b * d));
    graph_read(g, &args->m, m, SHAPE(a, b));
    graph_read(g, &args->x, x, SHAPE(b, d));
    return graph_make(g, &args->y, graph_slope(g, x), SHAPE(a, d));
}

mri_val
mri_g_pick(mri_graph *g, mri_val x, const mri_seqs *seqs)
{
    uint64_t r = mri_seqs_rows(seqs), d = graph_dim(g, x, 1);
    mri_pick_args *a;

    if (!graph_is(g, x, 2) || graph_dim(g, x, 0) != r) {
        graph_refuse(g, "pick takes x [rows of the sequences, d]", GOT(x));
        return none;
    }
    a = graph_node(g, &kind_pick, 0);
    a->seqs = *seqs;
    graph_read(g, &a->x, x, SHAPE(r, d));
    return graph_make(g, &a->y, graph_slope(g, x),
                      SHAPE(mri_seqs_count(seqs), d));
}

mri_val
mri_g_l2norm(mri_graph *g, mri_val x)
{
    uint64_t r = graph_dim(g, x, 0), d = graph_dim(g, x, 1);
    mri_l2norm_args *a;
    mri_val y;

    if (!graph_is(g, x, 2)) {
        graph_refuse(g, "l2norm takes x [r,d]", GOT(x));
        return none;
    }
    a = graph_node(g, &kind_l2norm, 3.0 * (double)(r * d));
    graph_read(g, &a->x, x, SHAPE(r, d));
    y = graph_make(g, &a->y, graph_slope(g, x), SHAPE(r, d));
    (void)graph_make(g, &a->inv, graph_slope(g, x), SHAPE(r));
    return y;
}

mri_val
mri_g_drop(mri_graph *g, mri_val clock, const mri_seqs *seqs, double rate)
{
    mri_drop_args *a;

    if (graph_value(g, clock)->shape.dtype != MR_U32 ||
        graph_len(g, clock) != 4 || !(rate >= 0 && rate < 1)) {
        graph_refuse(g, "drop takes clock u32 [4] and a rate in [0, 1)",
                     GOT(clock));
        return none;
    }
    for (uint32_t i = 0; i < seqs->groups; i++) {
        if (seqs->views[i] == 0 || seqs->count[i] % seqs->views[i] != 0) {
            graph_refuse(g, "drop takes a multiple of the views", NULL, 0);
            return none;
        }
    }
    a = graph_node(g, &kind_drop, 0);
    a->seqs = *seqs;
    a->rate = rate;
    a->key = mri_crc32c(0, g->scope, strlen(g->scope));
    graph_read(g, &a->clock, clock, SHAPE(4));
    return graph_make(g, &a->y, false, SHAPE(mri_seqs_count(seqs)));
}

mri_g_dino_out
mri_g_dino_loss(mri_graph *g, const mri_g_dino_in *in)
{
    uint64_t k = graph_dim(g, in->student, 1);
    uint64_t t = 2 * (uint64_t)in->batch;
    uint64_t s = (2 + (uint64_t)in->local) * in->batch;
    mri_g_dino_out out = {none, none};
    mri_dino_loss_args *a;

    if (!graph_is(g, in->student, 2) || !graph_is(g, in->teacher, 2) ||
        graph_dim(g, in->student, 0) != s ||
        graph_len(g, in->teacher) != t * k || graph_len(g, in->center) != k ||
        graph_len(g, in->temperature) != 1 || in->total < in->batch) {
        graph_refuse(
            g,
            "dino_loss takes student [(2 + local) batch, k], teacher "
            "[2 batch, k], center [k], temperature [1]",
            GOT(in->student, in->teacher, in->center, in->temperature));
        return out;
    }
    a = graph_node(g, &kind_dino_loss, 8.0 * (double)(s * k));
    a->batch = in->batch;
    a->local = in->local;
    a->total = in->total;
    a->student_temperature = in->student_temperature;
    graph_read(g, &a->student, in->student, SHAPE(s, k));
    graph_read(g, &a->teacher, in->teacher, SHAPE(t, k));
    graph_read(g, &a->center, in->center, SHAPE(k));
    graph_read(g, &a->temperature, in->temperature, SHAPE(1));
    out.loss = graph_make(g, &a->loss, true, SHAPE(1));
    (void)graph_make(g, &a->student_lse, true, SHAPE(s));
    (void)graph_make(g, &a->teacher_lse, false, SHAPE(t));
    out.teacher_sum = graph_make(g, &a->teacher_sum, false, SHAPE(k));
    return out;
}
