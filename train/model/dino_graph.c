/* SPDX-License-Identifier: Apache-2.0 */
/* dino_graph.c - student, teacher, heads and loss as one graph. */
#include <mri/dino.h>

#include "dino_inner.h"

#include <string.h>

static mri_val
param(mri_graph *g, const char *name, mri_init init, uint64_t rows,
      uint64_t columns)
{
    mri_param p = {.name = name,
                   .rank = columns != 0 ? 2 : 1,
                   .shape = {rows, columns},
                   .init = init};

    return mri_g_param(g, &p);
}

static mri_val
layer(mri_graph *g, unsigned number, mri_val x, uint64_t in, uint64_t out,
      mri_act act)
{
    mri_val w, b, y;

    mri_g_enter(g, "mlp.%u", number);
    w = param(g, "weight", MRI_INIT_NORMAL, out, in);
    b = param(g, "bias", MRI_INIT_ZERO, out, 0);
    y = mri_g_linear(g, x, w, b, act);
    mri_g_leave(g);
    return y;
}

/* dim -> hidden -> hidden -> bottleneck, length one, then the prototypes. */
static mri_val
head(mri_graph *g, const mri_dino_config *c, mri_val x)
{
    uint64_t hidden = c->head_hidden, narrow = c->bottleneck;
    mri_param gain = {.name = "weight_g",
                      .rank = 2,
                      .shape = {c->out_dim, 1},
                      .init = MRI_INIT_ONE,
                      .fixed = c->norm_last_layer};
    mri_param rows = {.name = "weight_v",
                      .rank = 2,
                      .shape = {c->out_dim, narrow},
                      .init = MRI_INIT_FAN_IN,
                      .fan_in = narrow};
    mri_val weight_g, weight_v;

    mri_g_enter(g, "head");
    x = layer(g, 0, x, c->vit.dim, hidden, MRI_ACT_GELU);
    x = layer(g, 2, x, hidden, hidden, MRI_ACT_GELU);
    x = layer(g, 4, x, hidden, narrow, MRI_ACT_NONE);
    x = mri_g_l2norm(g, x);
    mri_g_enter(g, "last_layer");
    weight_g = mri_g_param(g, &gain);
    weight_v = mri_g_param(g, &rows);
    x = mri_g_wlinear(g, x, weight_v, weight_g);
    mri_g_leave(g);
    mri_g_leave(g);
    return x;
}

/* Backbone over the groups of crops, then one pass of the head. */
static mri_val
network(mri_graph *g, const mri_dino_config *c, const mri_vit_group *groups,
        uint32_t count, mri_val clock)
{
    mri_val x;

    mri_g_enter(g, "backbone");
    x = mri_vit_build(g, &c->vit, groups, count, clock);
    mri_g_leave(g);
    return head(g, c, x);
}

static void
build(mri_graph *g, const mri_dino_config *c, uint32_t total)
{
    uint64_t channels = c->vit.channels, big = c->vit.image;
    uint64_t small = c->local_size, k = c->out_dim, b = c->batch;
    mr_dtype real = mri_graph_dtype(g);
    mri_param center = {.name = "center", .rank = 2, .shape = {1, k}};
    mri_g_dino_in in = {.batch = c->batch,
                        .local = c->local_count,
                        .total = total,
                        .student_temperature = c->student_temperature};
    mri_vit_group groups[2] = {
        {.count = 2 * c->batch, .views = 2, .side = c->vit.image},
        {.count = c->local_count * c->batch,
         .views = c->local_count,
         .side = c->local_size}};
    uint32_t count = c->local_count != 0 ? 2 : 1;
    mri_g_dino_out out;
    mri_val clock;

    groups[0].images = mri_g_input(
        g, "global", real, 4, (const uint64_t[]){2 * b, channels, big, big});
    if (count == 2) {
        groups[1].images = mri_g_input(
            g, "local", real, 4,
            (const uint64_t[]){c->local_count * b, channels, small, small});
    }
    clock = mri_g_input(g, "clock", MR_U32, 1, (const uint64_t[]){4});
    in.temperature =
        mri_g_input(g, "temperature", real, 1, (const uint64_t[]){1});

    mri_g_set(g, MRI_SET_SHADOW);
    mri_g_enter(g, "teacher");
    in.teacher = network(g, c, groups, 1, (mri_val){0});
    mri_g_leave(g);
    mri_g_set(g, MRI_SET_TRAINED);
    mri_g_enter(g, "student");
    in.student = network(g, c, groups, count, clock);
    mri_g_leave(g);
    mri_g_set(g, MRI_SET_STATE);
    in.center = mri_g_param(g, &center);
    mri_g_enter(g, "loss");
    out = mri_g_dino_loss(g, &in);
    mri_g_sum(g, "loss", out.loss);
    mri_g_sum(g, "teacher_sum", out.teacher_sum);
    mri_g_leave(g);
    mri_g_reverse(g, out.loss);
}

mr_err
mri_dino_build(mri_graph *g, const mri_dino_config *c, mr_diag *diag)
{
    return dino_build_part(g, c, c->total != 0 ? c->total : c->batch, diag);
}

mr_err
dino_build_part(mri_graph *g, const mri_dino_config *c, uint32_t total,
                mr_diag *diag)
{
    mr_err err = mri_dino_check(c, diag);

    if (err != MR_OK) {
        return err;
    }
    build(g, c, total);
    return mri_graph_end(g, diag);
}

mri_dino_config
mri_dino_defaults(void)
{
    mri_dino_config c = {.vit = {.channels = 5, .drop_path = 0.1},
                         .head_hidden = 2048,
                         .bottleneck = 256,
                         .out_dim = 65536,
                         .norm_last_layer = true,
                         .local_size = 96,
                         .local_count = 8,
                         .batch = 30,
                         .student_temperature = 0.1,
                         .center_keep = 0.9,
                         .adamw = mri_adamw_defaults()};

    (void)mri_vit_named(&c.vit, "vit_small");
    return c;
}

mr_err
mri_dino_check(const mri_dino_config *c, mr_diag *diag)
{
    const char *wrong = NULL;
    mr_err err = mri_vit_check(&c->vit, diag);

    if (err != MR_OK) {
        return err;
    }
    if (c->batch == 0 || c->batch > 65536 ||
        (c->total != 0 && c->total < c->batch)) {
        wrong = "the batch must be 1 to 65536, and no more than the total";
    } else if (c->local_count != 0 &&
               (c->local_size == 0 || c->local_size % c->vit.patch != 0 ||
                c->local_size / c->vit.patch > 256)) {
        wrong = "local_size must be a multiple of the patch";
    } else if (c->local_count > 64) {
        wrong = "local_count must be 0 to 64";
    } else if (c->head_hidden == 0 || c->bottleneck == 0 || c->out_dim == 0 ||
               c->head_hidden > 1 << 20 || c->bottleneck > 1 << 20 ||
               c->out_dim > 1 << 24) {
        wrong = "out_dim, the head's hidden width and its bottleneck must be "
                "at least 1";
    } else if (!(c->student_temperature > 0) ||
               !(c->center_keep >= 0 && c->center_keep <= 1)) {
        wrong = "the student's temperature must be above 0, and the share "
                "that a center keeps in [0, 1]";
    }
    return wrong == NULL ? MR_OK
                         : mri_fail(diag, MRI_E_MODEL, MR_NOWHERE, "%s", wrong);
}
