/* SPDX-License-Identifier: Apache-2.0 */
/*
 * graph.h - a network as a list of operations, built once and run many times.
 *
 * Functions add operations and return handles of their results; shapes are
 * checked at once. mri_g_reverse emits the reverse pass as more operations of
 * the same kind. mri_graph_end lays the values out: parameters, their
 * gradients, and one arena of activations in which values whose lives do not
 * meet share memory. Then a graph is read-only; lanes (lane.h) run it.
 *
 * The first error sticks: later calls do nothing and return no value, and
 * mri_graph_end reports it. So a model reads without a check on every line.
 *
 * Threads: built by one; used by any number once it has ended.
 */
#ifndef MRI_GRAPH_H
#define MRI_GRAPH_H

#include <mri/backend.h>

MRI_BEGIN

typedef struct mri_graph mri_graph;

/* A value of the graph. Zero it for "none". */
typedef struct mri_val {
    uint32_t id;
} mri_val;

/* dtype: MR_F32, or MR_F64 for gradient checks on the reference. */
MR_USE_RESULT mr_err mri_graph_open(mri_graph **out, mr_dtype dtype,
                                    mr_diag *diag);
void mri_graph_close(mri_graph *g);

/* Names of what follows begin with this, then a dot. */
void mri_g_enter(mri_graph *g, const char *fmt, ...) MRI_PRINTF(2, 3);
void mri_g_leave(mri_graph *g);

/* An error of the model's own, reported as those of operations are. */
void mri_g_fail(mri_graph *g, mri_code code, const char *text);

/* --------------------------------------------------------------- values */

/* Set before each run, by name. */
mri_val mri_g_input(mri_graph *g, const char *name, mr_dtype dtype,
                    uint32_t rank, const uint64_t *shape);
/* Fixed; `values` are copied. */
mri_val mri_g_const(mri_graph *g, const char *name, uint32_t rank,
                    const uint64_t *shape, const double *values);

typedef enum mri_init {
    MRI_INIT_ZERO,
    MRI_INIT_ONE,
    MRI_INIT_NORMAL, /* mean 0, deviation 0.02, redrawn outside +-2 */
    MRI_INIT_FAN_IN  /* uniform within 1 / sqrt(fan_in) */
} mri_init;

/* What outlives a step lives in one of three arenas. */
typedef enum mri_set {
    MRI_SET_TRAINED, /* has gradients and optimiser state */
    MRI_SET_SHADOW,  /* follows the trained ones, laid out alike: a teacher */
    MRI_SET_STATE    /* neither: a center */
} mri_set;
#define MRI_SETS 3

typedef struct mri_param {
    const char *name; /* the original's, within the current scope */
    uint32_t rank;
    uint64_t shape[MR_MAX_RANK]; /* as the original's checkpoint has it */
    mri_init init;
    uint64_t fan_in;
    bool fixed; /* never trained, though its set is */
} mri_param;

/* Which set the parameters that follow belong to; TRAINED at the start. */
void mri_g_set(mri_graph *g, mri_set set);
mri_val mri_g_param(mri_graph *g, const mri_param *p);

/* Keep a result until the next run, to be read by name. */
void mri_g_keep(mri_graph *g, const char *name, mri_val v);
/* The same, and over the parts of a cut batch it is summed. */
void mri_g_sum(mri_graph *g, const char *name, mri_val v);

/* ----------------------------------------------------------- operations */
/* What they compute, and shapes: op.h. A parameter may have any shape of the
 * right length: [d, c, p, p] is a matrix [d, c p p]. */

mri_val mri_g_linear(mri_graph *g, mri_val x, mri_val w, mri_val b,
                     mri_act act);
mri_val mri_g_wlinear(mri_graph *g, mri_val x, mri_val v, mri_val gain);

typedef struct mri_g_normed {
    mri_val sum, y;
} mri_g_normed;
/* z, drop: none for a norm without a residual sum. */
typedef struct mri_g_norm_in {
    mri_val x, z, drop, gamma, beta;
    mri_seqs seqs;
    double eps;
} mri_g_norm_in;
mri_g_normed mri_g_norm(mri_graph *g, const mri_g_norm_in *in);

mri_val mri_g_attention(mri_graph *g, mri_val qkv, const mri_seqs *seqs,
                        uint32_t heads, bool first);
/* images: one a group of seqs, whose tokens are patches */
mri_val mri_g_patchify(mri_graph *g, const mri_val *images,
                       const mri_seqs *seqs, uint32_t patch);
/* pos: one a group of seqs, whose tokens count the class token */
mri_val mri_g_tokens(mri_graph *g, mri_val x, mri_val cls, const mri_val *pos,
                     const mri_seqs *seqs);
/* m [a,b] times x, which has b rows */
mri_val mri_g_mix(mri_graph *g, mri_val m, mri_val x);
mri_val mri_g_pick(mri_graph *g, mri_val x, const mri_seqs *seqs);
mri_val mri_g_l2norm(mri_graph *g, mri_val x);
/* clock: an input u32 [4]; the draws are keyed by the scope's name */
mri_val mri_g_drop(mri_graph *g, mri_val clock, const mri_seqs *seqs,
                   double rate);

typedef struct mri_g_dino_in {
    mri_val student, teacher, center, temperature;
    uint32_t batch, local, total;
    double student_temperature;
} mri_g_dino_in;
typedef struct mri_g_dino_out {
    mri_val loss, teacher_sum;
} mri_g_dino_out;
mri_g_dino_out mri_g_dino_loss(mri_graph *g, const mri_g_dino_in *in);

/* ------------------------------------------------------------- the end */

/* Emit the reverse pass of `loss`; once. */
void mri_g_reverse(mri_graph *g, mri_val loss);

/*
 * No more operations: check, and lay everything out.
 *
 * errors  the first that happened: MR_EARG naming scope, operation and the
 *         shapes it was given; MR_ENOMEM
 */
MR_USE_RESULT mr_err mri_graph_end(mri_graph *g, mr_diag *diag);

mr_dtype mri_graph_dtype(const mri_graph *g);

/* Bytes and floating-point operations of one run, for a budget. */
typedef struct mri_costs {
    uint64_t nodes;
    uint64_t sets[MRI_SETS]; /* bytes of parameters */
    uint64_t grads;          /* of gradients and summed results */
    uint64_t activations;    /* of the arena, inputs and constants included */
    uint64_t unshared;       /* what it were if no memory were shared */
    double forward, reverse; /* floating-point operations */
} mri_costs;
mri_costs mri_graph_costs(const mri_graph *g);

/* A parameter as the graph lays it out. */
typedef struct mri_slot {
    const char *name;
    mri_set set;
    mri_init init;
    uint64_t fan_in;
    bool fixed;
    uint32_t rank;
    uint64_t shape[MR_MAX_RANK];
    uint64_t first, len; /* in the arena of its set, elements */
} mri_slot;
size_t mri_graph_params(const mri_graph *g);
mri_slot mri_graph_param(const mri_graph *g, size_t i); /* 0 .. params - 1 */

MRI_END

#endif
