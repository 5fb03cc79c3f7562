/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph.h - inside of the graph: values, nodes, and how operations add them.
 *
 * A node owns the arguments of its operation, with every tensor's shape filled
 * in and no memory behind it, and a list of uses: which member of the
 * arguments stands for which value. To run, memory is put behind the uses.
 */
#ifndef ENGINE_GRAPH_H
#define ENGINE_GRAPH_H

#include <mri/graph.h>

#define GRAPH_ALIGN 64 /* bytes; every value begins at a multiple */
#define GRAPH_USES 24  /* tensors that one operation can have */

typedef enum value_kind {
    VALUE_NONE,
    VALUE_ACTIVATION,
    VALUE_INPUT,
    VALUE_CONST,
    VALUE_PARAM,
    VALUE_GRAD, /* of a parameter, at its offset */
    VALUE_SUM   /* a result that is summed over parts */
} value_kind;

typedef struct value {
    value_kind kind;
    mr_tensor shape; /* data NULL */
    char *name;      /* NULL: it has none */
    bool slope;      /* depends on something trained */
    bool kept;
    bool written;   /* GRAD: has a first contribution */
    uint32_t grad;  /* its gradient so far, or 0 */
    uint32_t maker; /* node + 1; 0: it has none */
    uint32_t readers;
    uint64_t offset; /* bytes, in the arena of its kind */

    /* parameters and constants */
    mri_set set;
    mri_init init;
    uint64_t fan_in;
    bool fixed;
    double *fixed_values;
} value;

typedef struct use {
    uint32_t value;
    uint32_t at; /* offset of the mr_tensor in the arguments */
    bool writes;
} use;

typedef struct node node;

/* A kind of operation: where it is in the table, how it is called, and how
 * its reverse is emitted (NULL: nothing flows back through it). */
typedef struct op_kind {
    const char *name;
    size_t args_bytes;
    size_t entry; /* offset in mri_ops */
    mr_err (*run)(const mri_ops *ops, mri_exec *exec, const void *args);
    void (*back)(mri_graph *g, uint32_t n);
} op_kind;

struct node {
    const op_kind *kind;
    char *name; /* the scope */
    void *args;
    uint32_t count;
    use uses[GRAPH_USES];
    double flops;
    bool reverse;
};

struct mri_graph {
    mr_dtype dtype;
    mri_set set;
    bool ended, failed;
    mr_diag diag;
    char scope[256];
    size_t marks[16]; /* where the scope ended before each that was entered */
    uint32_t depth;

    value *values; /* [0] is "none" */
    uint32_t value_count, value_room;
    node *nodes;
    uint32_t node_count, node_room, forward_nodes;

    /* laid out by mri_graph_end, bytes */
    uint64_t sets[MRI_SETS], grads, arena, unshared;
};

/* Record the first error; all later calls do nothing. */
void graph_fail(mri_graph *g, mri_code code, const char *fmt, ...)
    MRI_PRINTF(3, 4);
/* "got [2,3] [4]": an operation that does not take these values. */
void graph_refuse(mri_graph *g, const char *wants, const mri_val *got,
                  size_t count);

value *graph_value(mri_graph *g, mri_val v);
uint64_t graph_len(mri_graph *g, mri_val v);
uint64_t graph_dim(mri_graph *g, mri_val v, uint32_t axis);
bool graph_slope(mri_graph *g, mri_val v);
/* It has this rank, and a dtype as the graph's. */
bool graph_is(mri_graph *g, mri_val v, uint32_t rank);

/*
 * A new node of this kind; returns its arguments, zeroed, to be filled. Never
 * NULL: after a failure they are a dummy. Uses that follow are of this node.
 */
void *graph_node(mri_graph *g, const op_kind *kind, double flops);
/* The last node reads v, as a tensor of this shape; none stays none. */
void graph_read(mri_graph *g, mr_tensor *slot, mri_val v, uint32_t rank,
                const uint64_t *shape);
/* It writes v. */
void graph_write(mri_graph *g, mr_tensor *slot, mri_val v, uint32_t rank,
                 const uint64_t *shape);
/* It writes a new value of this shape. */
mri_val graph_make(mri_graph *g, mr_tensor *slot, bool slope, uint32_t rank,
                   const uint64_t *shape);
/* The value behind the member at offset `at` of node n's arguments. */
mri_val graph_of(const mri_graph *g, uint32_t n, size_t at);
#define GRAPH_OF(g, n, type, member) graph_of(g, n, offsetof(type, member))

/* Gradients. graph_grad: what has come in for v by now, or none. */
mri_val graph_grad(mri_graph *g, mri_val v);
/* Another contribution to the gradient of v (not of a parameter). */
void graph_give(mri_graph *g, mri_val v, mri_val contribution);
/* The gradient of a parameter, to be written by the last node; *add says
 * whether it holds something already. None if it is not trained. */
mri_val graph_grad_of_param(mri_graph *g, mri_val v, bool *add);

/* How the reverse of each operation is emitted (reverse.c). */
void back_linear(mri_graph *g, uint32_t n);
void back_wlinear(mri_graph *g, uint32_t n);
void back_norm(mri_graph *g, uint32_t n);
void back_attention(mri_graph *g, uint32_t n);
void back_tokens(mri_graph *g, uint32_t n);
void back_mix(mri_graph *g, uint32_t n);
void back_pick(mri_graph *g, uint32_t n);
void back_l2norm(mri_graph *g, uint32_t n);
void back_dino_loss(mri_graph *g, uint32_t n);

/* A kind, with the call through the table in its own type. */
#define OP_KIND(op, back_fn)                                                   \
    static mr_err run_##op(const mri_ops *ops, mri_exec *exec,                 \
                           const void *args)                                   \
    {                                                                          \
        return ops->op(exec, (const mri_##op##_args *)args);                   \
    }                                                                          \
    static const op_kind kind_##op = {#op, sizeof(mri_##op##_args),            \
                                      offsetof(mri_ops, op), run_##op,         \
                                      back_fn}

/* Lay out parameters, gradients and the arena (layout.c). */
MR_USE_RESULT mr_err graph_layout(mri_graph *g, mr_diag *diag);

#endif
