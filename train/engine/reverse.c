/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reverse.c - the reverse pass, emitted as more nodes.
 *
 * Nodes are visited from the last to the first. Each reads the gradients that
 * have come in for its results and gives its own to what it read; a value
 * read twice gets an add. A parameter's gradient has one home, which the
 * first contribution writes and later ones add to.
 */
#include "graph.h"

#define SHAPE(...)                                                             \
    (uint32_t)(sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)),          \
        (const uint64_t[])                                                     \
    {                                                                          \
        __VA_ARGS__                                                            \
    }

static const mri_val none = {0};

OP_KIND(linear_dx, NULL);
OP_KIND(linear_dw, NULL);
OP_KIND(wlinear_back, NULL);
OP_KIND(norm_back, NULL);
OP_KIND(attention_back, NULL);
OP_KIND(tokens_back, NULL);
OP_KIND(mix, NULL);
OP_KIND(pick_back, NULL);
OP_KIND(l2norm_back, NULL);
OP_KIND(dino_loss_back, NULL);
OP_KIND(add, NULL);

/* ------------------------------------------------------------ gradients */

mri_val
graph_grad(mri_graph *g, mri_val v)
{
    return (mri_val){graph_value(g, v)->grad};
}

/* Read member `slot` of the last node as the tensor that it was in node n. */
static void
read_as(mri_graph *g, mr_tensor *slot, mri_val v, const mr_tensor *like)
{
    graph_read(g, slot, v, like->rank, like->shape);
}

static mri_val
make_as(mri_graph *g, mr_tensor *slot, const mr_tensor *like)
{
    return graph_make(g, slot, false, like->rank, like->shape);
}

void
graph_give(mri_graph *g, mri_val v, mri_val contribution)
{
    mri_val before = graph_grad(g, v), sum = contribution;
    uint64_t len = graph_len(g, v);

    if (before.id != 0 && before.id != contribution.id) {
        mri_add_args *a = graph_node(g, &kind_add, (double)len);

        graph_read(g, &a->a, before, SHAPE(len));
        graph_read(g, &a->b, contribution, SHAPE(len));
        sum = graph_make(g, &a->y, false, SHAPE(len));
    }
    graph_value(g, v)->grad = sum.id;
}

mri_val
graph_grad_of_param(mri_graph *g, mri_val v, bool *add)
{
    value *p = graph_value(g, v), *grad;

    *add = false;
    if (p->kind != VALUE_PARAM || !p->slope) {
        return none;
    }
    if (p->grad == 0) {
        return none; /* made for all of them by mri_g_reverse */
    }
    grad = graph_value(g, (mri_val){p->grad});
    *add = grad->written;
    grad->written = true;
    return (mri_val){p->grad};
}

/*
 * Like graph_grad_of_param for what may be a parameter or a result: where the
 * operation shall write the gradient of v. None if nobody wants it.
 */
static mri_val
home_of(mri_graph *g, mri_val v, mr_tensor *slot, const mr_tensor *like,
        bool *add)
{
    mri_val home;

    *add = false;
    if (!graph_slope(g, v)) {
        return none;
    }
    if (graph_value(g, v)->kind == VALUE_PARAM) {
        home = graph_grad_of_param(g, v, add);
        graph_write(g, slot, home, like->rank, like->shape);
        return home;
    }
    home = make_as(g, slot, like);
    return home;
}

/* One home a trained parameter, before any node writes them. */
static void
make_param_grads(mri_graph *g)
{
    uint32_t count = g->value_count;

    for (uint32_t i = 1; i < count && !g->failed; i++) {
        value *p = &g->values[i];
        mr_tensor shape = p->shape;
        mri_val grad;

        if (p->kind != VALUE_PARAM || !p->slope) {
            continue;
        }
        grad = mri_g_input(g, p->name, g->dtype, shape.rank, shape.shape);
        if (grad.id != 0) {
            graph_value(g, grad)->kind = VALUE_GRAD;
            g->values[i].grad = grad.id;
        }
    }
}

/* Something trained flows through this node. */
static bool
is_on_the_way(const mri_graph *g, const node *n)
{
    for (uint32_t u = 0; u < n->count; u++) {
        if (n->uses[u].writes && g->values[n->uses[u].value].slope) {
            return n->kind->back != NULL;
        }
    }
    return false;
}

void
mri_g_reverse(mri_graph *g, mri_val loss)
{
    uint32_t count = g->node_count;
    value *v = graph_value(g, loss);

    if (g->failed) {
        return;
    }
    if (g->forward_nodes != 0 || v->maker == 0 ||
        g->nodes[v->maker - 1].kind->back != back_dino_loss) {
        graph_fail(g, MRI_E_GRAPH_REVERSE,
                   "the reverse pass begins once, at a loss");
        return;
    }
    g->forward_nodes = count;
    make_param_grads(g);
    for (uint32_t n = count; n-- > 0 && !g->failed;) {
        if (is_on_the_way(g, &g->nodes[n])) {
            char *scope = g->nodes[n].name;

            /* errors and timings name the node that is being reversed */
            mri_g_enter(g, "%s", scope);
            g->nodes[n].kind->back(g, n);
            mri_g_leave(g);
        }
    }
}

/* --------------------------------------------------------------- linear */

/* The h of the linear layer whose GELU made v, or none. */
static mri_val
before_gelu(mri_graph *g, mri_val v)
{
    const value *it = graph_value(g, v);
    mri_val h;

    if (it->maker == 0) {
        return none;
    }
    h = GRAPH_OF(g, it->maker - 1, mri_linear_args, h);
    if (g->nodes[it->maker - 1].kind->back != back_linear || h.id == 0) {
        return none;
    }
    if (it->readers != 1) {
        graph_fail(g, MRI_E_GRAPH_REVERSE,
                   "a GELU's result goes into one linear layer, no more");
    }
    return h;
}

/*
 * The gradient of x. Where x = gelu(h) it is that of h at once, and x itself,
 * which was not kept, is made anew; the result is what x may be read from.
 */
static mri_val
linear_dx(mri_graph *g, mri_val dy, mri_val x, mri_val w,
          const mri_linear_args *f)
{
    mri_val h = before_gelu(g, x), dx, again = x;
    double flops = 2.0 * (double)(mr_tensor_len(&f->w) * f->x.shape[0]);
    mri_linear_dx_args *a;

    if (!graph_slope(g, x)) {
        return x;
    }
    a = graph_node(g, &kind_linear_dx, flops);
    read_as(g, &a->dy, dy, &f->y);
    read_as(g, &a->w, w, &f->w);
    dx = make_as(g, &a->dx, &f->x);
    if (h.id != 0) {
        read_as(g, &a->h, h, &f->x);
        again = make_as(g, &a->a, &f->x);
    }
    graph_give(g, h.id != 0 ? h : x, dx);
    return again;
}

void
back_linear(mri_graph *g, uint32_t n)
{
    mri_linear_args f = *(const mri_linear_args *)g->nodes[n].args;
    mri_val x = GRAPH_OF(g, n, mri_linear_args, x);
    mri_val w = GRAPH_OF(g, n, mri_linear_args, w);
    mri_val b = GRAPH_OF(g, n, mri_linear_args, b);
    mri_val h = GRAPH_OF(g, n, mri_linear_args, h);
    mri_val y = GRAPH_OF(g, n, mri_linear_args, y);
    mri_val dy = graph_grad(g, h.id != 0 ? h : y), again;
    mri_linear_dw_args *a;
    bool ignored;

    if (h.id != 0 && graph_grad(g, y).id != 0) {
        graph_fail(g, MRI_E_GRAPH_REVERSE,
                   "a GELU's result goes into one linear layer, no more");
    }
    if (dy.id == 0) {
        return;
    }
    again = linear_dx(g, dy, x, w, &f);
    if (!graph_slope(g, w)) {
        return;
    }
    a = graph_node(g, &kind_linear_dw,
                   2.0 * (double)(mr_tensor_len(&f.w) * f.x.shape[0]));
    read_as(g, &a->dy, dy, &f.y);
    read_as(g, &a->x, again, &f.x);
    (void)home_of(g, w, &a->dw, &f.w, &a->add);
    if (graph_slope(g, b)) {
        (void)home_of(g, b, &a->db, &f.b, &ignored);
    }
}

void
back_wlinear(mri_graph *g, uint32_t n)
{
    mri_wlinear_args f = *(const mri_wlinear_args *)g->nodes[n].args;
    mri_val x = GRAPH_OF(g, n, mri_wlinear_args, x);
    mri_val v = GRAPH_OF(g, n, mri_wlinear_args, v);
    mri_val gain = GRAPH_OF(g, n, mri_wlinear_args, g);
    mri_val dy = graph_grad(g, GRAPH_OF(g, n, mri_wlinear_args, y)), dx = none;
    mri_wlinear_back_args *a;
    bool ignored;

    if (dy.id == 0) {
        return;
    }
    a = graph_node(g, &kind_wlinear_back,
                   4.0 * (double)(mr_tensor_len(&f.v) * f.x.shape[0]));
    read_as(g, &a->dy, dy, &f.y);
    read_as(g, &a->x, x, &f.x);
    read_as(g, &a->v, v, &f.v);
    read_as(g, &a->g, gain, &f.g);
    read_as(g, &a->inv, GRAPH_OF(g, n, mri_wlinear_args, inv), &f.inv);
    if (graph_slope(g, x)) {
        dx = make_as(g, &a->dx, &f.x);
    }
    (void)home_of(g, v, &a->dv, &f.v, &a->add);
    (void)home_of(g, gain, &a->dg, &f.g, &ignored);
    if (dx.id != 0) {
        graph_give(g, x, dx);
    }
}

/* ----------------------------------------------------------------- norm */

void
back_norm(mri_graph *g, uint32_t n)
{
    mri_norm_args f = *(const mri_norm_args *)g->nodes[n].args;
    mri_val x = GRAPH_OF(g, n, mri_norm_args, x);
    mri_val z = GRAPH_OF(g, n, mri_norm_args, z);
    mri_val drop = GRAPH_OF(g, n, mri_norm_args, drop);
    mri_val gamma = GRAPH_OF(g, n, mri_norm_args, gamma);
    mri_val sum = z.id != 0 ? GRAPH_OF(g, n, mri_norm_args, sum) : x;
    mri_val dy = graph_grad(g, GRAPH_OF(g, n, mri_norm_args, y));
    mri_val dsum = graph_grad(g, sum), dx, dz = none;
    mri_norm_back_args *a;
    bool ignored;

    if (dy.id == 0) {
        graph_fail(g, MRI_E_GRAPH_REVERSE, "nothing reads what norm makes");
        return;
    }
    a = graph_node(g, &kind_norm_back, 12.0 * (double)mr_tensor_len(&f.x));
    a->seqs = f.seqs;
    read_as(g, &a->dy, dy, &f.y);
    read_as(g, &a->dsum, dsum, &f.x);
    read_as(g, &a->sum, sum, &f.x);
    read_as(g, &a->mean, GRAPH_OF(g, n, mri_norm_args, mean), &f.mean);
    read_as(g, &a->rstd, GRAPH_OF(g, n, mri_norm_args, rstd), &f.rstd);
    read_as(g, &a->gamma, gamma, &f.gamma);
    read_as(g, &a->drop, drop, &f.drop);
    dx = make_as(g, &a->dx, &f.x);
    if (drop.id != 0) {
        dz = make_as(g, &a->dz, &f.x);
    }
    (void)home_of(g, gamma, &a->dgamma, &f.gamma, &a->add);
    (void)home_of(g, GRAPH_OF(g, n, mri_norm_args, beta), &a->dbeta, &f.beta,
                  &ignored);
    if (z.id == 0) {
        graph_value(g, x)->grad = 0; /* dsum is in dx by now */
    }
    graph_give(g, x, dx);
    if (z.id != 0) {
        graph_give(g, z, dz.id != 0 ? dz : dx);
    }
}

void
back_l2norm(mri_graph *g, uint32_t n)
{
    mri_l2norm_args f = *(const mri_l2norm_args *)g->nodes[n].args;
    mri_val x = GRAPH_OF(g, n, mri_l2norm_args, x);
    mri_val y = GRAPH_OF(g, n, mri_l2norm_args, y);
    mri_val dy = graph_grad(g, y), dx;
    mri_l2norm_back_args *a;

    if (dy.id == 0 || !graph_slope(g, x)) {
        return;
    }
    a = graph_node(g, &kind_l2norm_back, 4.0 * (double)mr_tensor_len(&f.x));
    read_as(g, &a->dy, dy, &f.y);
    read_as(g, &a->y, y, &f.y);
    read_as(g, &a->inv, GRAPH_OF(g, n, mri_l2norm_args, inv), &f.inv);
    dx = make_as(g, &a->dx, &f.x);
    graph_give(g, x, dx);
}

/* --------------------------------------------------- sequences of tokens */

void
back_attention(mri_graph *g, uint32_t n)
{
    mri_attention_args f = *(const mri_attention_args *)g->nodes[n].args;
    mri_val qkv = GRAPH_OF(g, n, mri_attention_args, qkv);
    mri_val o = GRAPH_OF(g, n, mri_attention_args, o);
    mri_val dO = graph_grad(g, o), dqkv;
    mri_attention_back_args *a;

    if (dO.id == 0 || !graph_slope(g, qkv)) {
        return;
    }
    a = graph_node(g, &kind_attention_back, 2.5 * g->nodes[n].flops);
    a->seqs = f.seqs;
    a->heads = f.heads;
    a->first = f.first;
    read_as(g, &a->qkv, qkv, &f.qkv);
    read_as(g, &a->o, o, &f.o);
    read_as(g, &a->lse, GRAPH_OF(g, n, mri_attention_args, lse), &f.lse);
    read_as(g, &a->dO, dO, &f.o);
    dqkv = make_as(g, &a->dqkv, &f.qkv);
    graph_give(g, qkv, dqkv);
}

/* Positions that are a parameter get their gradient here; those that were
 * mixed from one get it by way of mix. */
void
back_tokens(mri_graph *g, uint32_t n)
{
    mri_tokens_args f = *(const mri_tokens_args *)g->nodes[n].args;
    mri_val x = GRAPH_OF(g, n, mri_tokens_args, x);
    mri_val dy = graph_grad(g, GRAPH_OF(g, n, mri_tokens_args, y)), dx;
    mri_val homes[MRI_GROUPS] = {{0}}, pos[MRI_GROUPS] = {{0}};
    mri_tokens_back_args *a;

    if (dy.id == 0) {
        return;
    }
    a = graph_node(g, &kind_tokens_back, (double)mr_tensor_len(&f.y));
    a->seqs = f.seqs;
    read_as(g, &a->dy, dy, &f.y);
    dx = make_as(g, &a->dx, &f.x);
    (void)home_of(g, GRAPH_OF(g, n, mri_tokens_args, cls), &a->dcls, &f.cls,
                  &a->add);
    for (uint32_t i = 0; i < f.seqs.groups; i++) {
        pos[i] = graph_of(g, n,
                          offsetof(mri_tokens_args, pos) + i * sizeof f.pos[0]);
        homes[i] = home_of(g, pos[i], &a->dpos[i], &f.pos[i], &a->add_pos[i]);
    }
    graph_give(g, x, dx);
    for (uint32_t i = 0; i < f.seqs.groups; i++) {
        if (homes[i].id != 0 && graph_value(g, pos[i])->kind != VALUE_PARAM) {
            graph_give(g, pos[i], homes[i]);
        }
    }
}

void
back_mix(mri_graph *g, uint32_t n)
{
    mri_mix_args f = *(const mri_mix_args *)g->nodes[n].args;
    mri_val x = GRAPH_OF(g, n, mri_mix_args, x);
    mri_val dy = graph_grad(g, GRAPH_OF(g, n, mri_mix_args, y)), home;
    mri_mix_args *a;

    if (dy.id == 0 || !graph_slope(g, x)) {
        return;
    }
    a = graph_node(g, &kind_mix, g->nodes[n].flops);
    a->transposed = true;
    read_as(g, &a->m, GRAPH_OF(g, n, mri_mix_args, m), &f.m);
    read_as(g, &a->x, dy, &f.y);
    home = home_of(g, x, &a->y, &f.x, &a->add);
    if (graph_value(g, x)->kind != VALUE_PARAM) {
        graph_give(g, x, home);
    }
}

void
back_pick(mri_graph *g, uint32_t n)
{
    mri_pick_args f = *(const mri_pick_args *)g->nodes[n].args;
    mri_val x = GRAPH_OF(g, n, mri_pick_args, x);
    mri_val dy = graph_grad(g, GRAPH_OF(g, n, mri_pick_args, y)), dx;
    mri_pick_back_args *a;

    if (dy.id == 0 || !graph_slope(g, x)) {
        return;
    }
    a = graph_node(g, &kind_pick_back, 0);
    a->seqs = f.seqs;
    read_as(g, &a->dy, dy, &f.y);
    dx = make_as(g, &a->dx, &f.x);
    graph_give(g, x, dx);
}

/* ----------------------------------------------------------------- loss */

void
back_dino_loss(mri_graph *g, uint32_t n)
{
    mri_dino_loss_args f = *(const mri_dino_loss_args *)g->nodes[n].args;
    mri_val student = GRAPH_OF(g, n, mri_dino_loss_args, student);
    mri_dino_loss_back_args *a;
    mri_val ds;

    if (!graph_slope(g, student)) {
        return;
    }
    a = graph_node(g, &kind_dino_loss_back,
                   8.0 * (double)mr_tensor_len(&f.student));
    a->batch = f.batch;
    a->local = f.local;
    a->total = f.total;
    a->student_temperature = f.student_temperature;
    read_as(g, &a->student, student, &f.student);
    read_as(g, &a->teacher, GRAPH_OF(g, n, mri_dino_loss_args, teacher),
            &f.teacher);
    read_as(g, &a->center, GRAPH_OF(g, n, mri_dino_loss_args, center),
            &f.center);
    read_as(g, &a->temperature, GRAPH_OF(g, n, mri_dino_loss_args, temperature),
            &f.temperature);
    read_as(g, &a->student_lse, GRAPH_OF(g, n, mri_dino_loss_args, student_lse),
            &f.student_lse);
    read_as(g, &a->teacher_lse, GRAPH_OF(g, n, mri_dino_loss_args, teacher_lse),
            &f.teacher_lse);
    ds = make_as(g, &a->dstudent, &f.student);
    graph_give(g, student, ds);
}
