/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op.h - the operations of the engine: their arguments and their table.
 *
 * One function type an operation, shared by every back end: the reference
 * (train/engine/ref: float64 inside, never fast, never wrong), the CPU's and a
 * GPU's. Arguments are views of row-major tensors of one dtype, f32 or f64,
 * unless said otherwise; a view whose dtype is MR_NONE is not there. Outputs
 * alias inputs only where it is said. An operation returns MR_OK, MR_ENOMEM
 * (no room for its scratch) or MR_EDEVICE, and then exec->diag says more;
 * shapes were checked when the graph was built, here they are asserted.
 *
 * x_back is the reverse of x: d + name is the gradient of the loss with
 * respect to that tensor. `add` says of the gradients of parameters that they
 * are added to what is there; all other outputs are overwritten.
 *
 * bound   of every operation: derived in train/engine/check
 */
#ifndef MRI_OP_H
#define MRI_OP_H

#include <millrace/tensor.h>
#include <mri/door.h>

MRI_BEGIN

typedef struct mri_exec mri_exec; /* backend.h */

static inline bool
mri_there(const mr_tensor *t)
{
    return t->dtype != MR_NONE;
}

/*
 * Sequences of several lengths packed as rows of one matrix: group 0 first,
 * sequence after sequence, token after token. So the linear layers of a
 * network see one long matrix, whatever the sizes of the pictures.
 *
 * views   sequences that one sample has in the group; sequence s of a group
 *         belongs to sample s / views and is its view s % views
 */
#define MRI_GROUPS 4
typedef struct mri_seqs {
    uint32_t groups;
    uint32_t count[MRI_GROUPS]; /* sequences */
    uint32_t tokens[MRI_GROUPS];
    uint32_t views[MRI_GROUPS];
} mri_seqs;

static inline uint64_t
mri_seqs_count(const mri_seqs *s)
{
    uint64_t n = 0;

    for (uint32_t g = 0; g < s->groups; g++) {
        n += s->count[g];
    }
    return n;
}

static inline uint64_t
mri_seqs_rows(const mri_seqs *s)
{
    uint64_t n = 0;

    for (uint32_t g = 0; g < s->groups; g++) {
        n += (uint64_t)s->count[g] * s->tokens[g];
    }
    return n;
}

/* Sequence i of all: its group, first row and number of tokens. */
typedef struct mri_seq {
    uint32_t group, in_group, tokens;
    uint64_t row;
} mri_seq;

static inline mri_seq
mri_seqs_at(const mri_seqs *s, uint64_t i)
{
    mri_seq seq = {0, 0, 0, 0};
    uint32_t g = 0;

    while (i >= s->count[g]) {
        i -= s->count[g];
        seq.row += (uint64_t)s->count[g] * s->tokens[g];
        g++;
    }
    seq.group = g;
    seq.in_group = (uint32_t)i;
    seq.tokens = s->tokens[g];
    seq.row += i * s->tokens[g];
    return seq;
}

typedef enum mri_act {
    MRI_ACT_NONE = 0,
    MRI_ACT_GELU /* x * (1 + erf(x / sqrt 2)) / 2 */
} mri_act;

/*
 * y = act(x w' + b)
 *
 * shape   x [m,k]  w [n,k]  b [n] or none  y [m,n]
 *         h [m,n] or none: x w' + b, wanted by the reverse of GELU
 */
typedef struct mri_linear_args {
    mr_tensor x, w, b, y, h;
    mri_act act;
} mri_linear_args;
typedef mr_err mri_linear_fn(mri_exec *exec, const mri_linear_args *a);

/*
 * dx = dy w, and where x was a GELU of h: dx = (dy w) gelu'(h), a = gelu(h).
 * (a is what x was; made anew here so that it need not be kept.)
 *
 * shape   dy [m,n]  w [n,k]  dx [m,k]  h [m,k] or none  a [m,k] or none
 */
typedef struct mri_linear_dx_args {
    mr_tensor dy, w, h, dx, a;
} mri_linear_dx_args;
typedef mr_err mri_linear_dx_fn(mri_exec *exec, const mri_linear_dx_args *a);

/*
 * dw = dy' x, db = sum of the rows of dy
 *
 * shape   dy [m,n]  x [m,k]  dw [n,k]  db [n] or none
 */
typedef struct mri_linear_dw_args {
    mr_tensor dy, x, dw, db;
    bool add;
} mri_linear_dw_args;
typedef mr_err mri_linear_dw_fn(mri_exec *exec, const mri_linear_dw_args *a);

/*
 * Weight-normalised linear: y = x w', row j of w = g[j] v[j] / |v[j]|. The
 * matrix w is never made: the rows' factors are applied to y.
 *
 * shape   x [m,k]  v [n,k]  g [n,1]  y [m,n]  inv [n]: 1 / |v[j]|
 */
typedef struct mri_wlinear_args {
    mr_tensor x, v, g, y, inv;
} mri_wlinear_args;
typedef mr_err mri_wlinear_fn(mri_exec *exec, const mri_wlinear_args *a);

/*
 * Its reverse; dx, dv and dg may each be none.
 *
 * shape   as above
 */
typedef struct mri_wlinear_back_args {
    mr_tensor dy, x, v, g, inv, dx, dv, dg;
    bool add;
} mri_wlinear_back_args;
typedef mr_err mri_wlinear_back_fn(mri_exec *exec,
                                   const mri_wlinear_back_args *a);

/*
 * Residual sum and layer norm of its rows:
 * sum = x + drop z, y = (sum - mean) rstd gamma + beta.
 *
 * shape   x, z, sum, y [r,d]; z and sum none: the sum is x itself
 *         drop [sequences of seqs] or none: a factor for each sequence's rows
 *         gamma, beta [d]  mean, rstd [r]: mean and 1 / sqrt(variance + eps)
 */
typedef struct mri_norm_args {
    mr_tensor x, z, drop, gamma, beta, sum, y, mean, rstd;
    mri_seqs seqs;
    double eps;
} mri_norm_args;
typedef mr_err mri_norm_fn(mri_exec *exec, const mri_norm_args *a);

/*
 * dx = dsum + the norm's gradient; dz = drop dx.
 *
 * shape   dy, sum, dx [r,d]  dsum [r,d] or none: what arrives at sum besides
 *         dz [r,d] or none: without drop it equals dx
 *         dgamma, dbeta [d], both or none
 */
typedef struct mri_norm_back_args {
    mr_tensor dy, dsum, sum, mean, rstd, gamma, drop, dx, dz, dgamma, dbeta;
    mri_seqs seqs;
    bool add;
} mri_norm_back_args;
typedef mr_err mri_norm_back_fn(mri_exec *exec, const mri_norm_back_args *a);

/*
 * Multi-head self-attention of each sequence:
 * o = softmax(q k' / sqrt(d / heads)) v, head by head.
 *
 * shape   qkv [r, 3 d]: a row is q, k, v, each head after head
 *         o [rows,d]  lse [rows,heads]: log of the sum of exp of the scores
 *         rows is r, or with `first` the number of sequences: then only the
 *         first token of each asks
 *         d / heads <= MRI_HEAD_LIMIT
 */
#define MRI_HEAD_LIMIT 256
typedef struct mri_attention_args {
    mr_tensor qkv, o, lse;
    mri_seqs seqs;
    uint32_t heads;
    bool first;
} mri_attention_args;
typedef mr_err mri_attention_fn(mri_exec *exec, const mri_attention_args *a);

/* The scores are made anew from qkv and lse. dO [rows,d], dqkv [r, 3 d] */
typedef struct mri_attention_back_args {
    mr_tensor qkv, o, lse, dO, dqkv;
    mri_seqs seqs;
    uint32_t heads;
    bool first;
} mri_attention_back_args;
typedef mr_err mri_attention_back_fn(mri_exec *exec,
                                     const mri_attention_back_args *a);

/*
 * Pictures to rows of patches, so that an embedding is one matrix product.
 *
 * shape   image[g] [count, c, height, width], groups as in seqs, whose tokens
 *         are the patches of one picture, (height / p) (width / p) of them
 *         y [rows of seqs, c p p]: a row is c, then y, then x, as a
 *         convolution's weight has them
 */
typedef struct mri_patchify_args {
    mr_tensor image[MRI_GROUPS];
    mr_tensor y;
    mri_seqs seqs;
    uint32_t patch;
} mri_patchify_args;
typedef mr_err mri_patchify_fn(mri_exec *exec, const mri_patchify_args *a);

/*
 * Patch embeddings to sequences: the class token first, then the patches,
 * positions added to all.
 *
 * shape   x [rows of seqs - sequences, d]  cls [d]  pos[g] [tokens of g, d]
 *         y [rows of seqs, d]
 */
typedef struct mri_tokens_args {
    mr_tensor x, cls;
    mr_tensor pos[MRI_GROUPS];
    mr_tensor y;
    mri_seqs seqs;
} mri_tokens_args;
typedef mr_err mri_tokens_fn(mri_exec *exec, const mri_tokens_args *a);

/* dcls and each dpos may be none; add is dcls', add_pos each dpos'. */
typedef struct mri_tokens_back_args {
    mr_tensor dy, dx, dcls;
    mr_tensor dpos[MRI_GROUPS];
    mri_seqs seqs;
    bool add, add_pos[MRI_GROUPS];
} mri_tokens_back_args;
typedef mr_err mri_tokens_back_fn(mri_exec *exec,
                                  const mri_tokens_back_args *a);

/*
 * A small constant matrix times x: y = m x, or y = m' x with `transposed`;
 * its own reverse. Positions for another size of picture are made with it.
 *
 * shape   m [a,b]  x [b,d]  y [a,d], or x [a,d]  y [b,d] when transposed
 */
typedef struct mri_mix_args {
    mr_tensor m, x, y;
    bool transposed, add;
} mri_mix_args;
typedef mr_err mri_mix_fn(mri_exec *exec, const mri_mix_args *a);

/*
 * The first row of each sequence; the reverse puts zeros into the others.
 *
 * shape   x [rows of seqs, d]  y [sequences, d]
 */
typedef struct mri_pick_args {
    mr_tensor x, y;
    mri_seqs seqs;
} mri_pick_args;
typedef mr_err mri_pick_fn(mri_exec *exec, const mri_pick_args *a);

/* dy [sequences, d]  dx [rows of seqs, d] */
typedef struct mri_pick_back_args {
    mr_tensor dy, dx;
    mri_seqs seqs;
} mri_pick_back_args;
typedef mr_err mri_pick_back_fn(mri_exec *exec, const mri_pick_back_args *a);

/*
 * Rows of length one: y = x inv, inv = 1 / max(|x|, 1e-12)
 *
 * shape   x, y [r,d]  inv [r]
 */
typedef struct mri_l2norm_args {
    mr_tensor x, y, inv;
} mri_l2norm_args;
typedef mr_err mri_l2norm_fn(mri_exec *exec, const mri_l2norm_args *a);

typedef struct mri_l2norm_back_args {
    mr_tensor dy, y, inv, dx;
} mri_l2norm_back_args;
typedef mr_err mri_l2norm_back_fn(mri_exec *exec,
                                  const mri_l2norm_back_args *a);

/* y = a + b; y may be a. All of one shape. */
typedef struct mri_add_args {
    mr_tensor a, b, y;
} mri_add_args;
typedef mr_err mri_add_fn(mri_exec *exec, const mri_add_args *a);

/*
 * Drop-path factors: 1 / (1 - rate) with probability 1 - rate, else 0. A draw
 * is a function of seed, step, `key`, sample and view, and so the same however
 * a batch is cut.
 *
 * shape   clock u32 [4]: seed (low, high), step, first sample of this batch
 *         y [sequences]
 * source  Philox4x32-10 (rng.h): key = seed; counter = {step, sample, key,
 *         view}, views counted through the groups; unit = (word 0 >> 8) 2^-24
 */
typedef struct mri_drop_args {
    mr_tensor clock, y;
    mri_seqs seqs;
    uint32_t key;
    double rate; /* 0 <= rate < 1 */
} mri_drop_args;
typedef mr_err mri_drop_fn(mri_exec *exec, const mri_drop_args *a);

/*
 * DINO's loss: t = softmax((teacher - center) / temperature), s = log softmax
 * (student / 0.1); the mean over samples and over all pairs of a teacher's and
 * another student's view of -sum t s.
 *
 * shape   teacher [2 batch, k]: views of a sample side by side
 *         student [(2 + local) batch, k]: the same for the two global views,
 *         then the local ones, again sample after sample
 *         center [k]  temperature [1]: the teacher's
 *         loss [1]: this batch's share: divided by `total`, not by batch
 *         student_lse [rows of student], teacher_lse [2 batch]: log sum exp
 *         of what enters the softmax
 *         teacher_sum [k]: sum of the teacher's rows, for the center
 * units   total: samples of the whole step, of which this may be a part
 */
typedef struct mri_dino_loss_args {
    mr_tensor student, teacher, center, temperature;
    mr_tensor loss, student_lse, teacher_lse, teacher_sum;
    uint32_t batch, local, total;
    double student_temperature;
} mri_dino_loss_args;
typedef mr_err mri_dino_loss_fn(mri_exec *exec, const mri_dino_loss_args *a);

typedef struct mri_dino_loss_back_args {
    mr_tensor student, teacher, center, temperature;
    mr_tensor student_lse, teacher_lse, dstudent;
    uint32_t batch, local, total;
    double student_temperature;
} mri_dino_loss_back_args;
typedef mr_err mri_dino_loss_back_fn(mri_exec *exec,
                                     const mri_dino_loss_back_args *a);

/*
 * center = keep center + (1 - keep) sum / rows
 *
 * shape   center, sum [k]
 */
typedef struct mri_center_args {
    mr_tensor center, sum;
    double keep;
    uint64_t rows;
} mri_center_args;
typedef mr_err mri_center_fn(mri_exec *exec, const mri_center_args *a);

/*
 * Sum of squares of each tensor in an arena.
 *
 * shape   x [len of arena]  spans u64 [t,2]: first element, elements; they
 *         do not overlap
 *         y [t]
 */
typedef struct mri_sumsq_args {
    mr_tensor x, spans, y;
} mri_sumsq_args;
typedef mr_err mri_sumsq_fn(mri_exec *exec, const mri_sumsq_args *a);

/*
 * One pass over the arenas: clip each tensor's gradient, AdamW, and the
 * moving average that follows the weights.
 *
 *     g *= min(1, clip / (sqrt(sumsq) + 1e-6))           if clip > 0
 *     p *= 1 - decay
 *     m  = beta1 m + (1 - beta1) g
 *     v  = beta2 v + (1 - beta2) g g
 *     p -= lr fix1 m / (sqrt(v) fix2 + eps)
 *     ema = keep[0] ema + keep[1] p
 *
 * shape   p, g, m, v, ema [len of arena]; ema may be none. g is not changed
 *         spans u64 [t,2]  sumsq [t]  keep [2]: the share that stays, and 1
 *         minus it, which f32 could not say where the share is near 1
 *         rates [t,4]: lr, decay (lr times weight decay), fix1 =
 *         1 / (1 - beta1^n), fix2 = 1 / sqrt(1 - beta2^n); fix1 0: the tensor
 *         is left as it is, only ema follows
 */
typedef struct mri_adamw_args {
    mr_tensor p, g, m, v, ema, spans, sumsq, rates, keep;
    double beta1, beta2, eps, clip;
} mri_adamw_args;
typedef mr_err mri_adamw_fn(mri_exec *exec, const mri_adamw_args *a);

/*
 * What a back end can do; NULL where it cannot. Only function pointers stand
 * here, and new ones are added at the end: the table crosses a module's edge.
 */
typedef struct mri_ops {
    mri_linear_fn *linear;
    mri_linear_dx_fn *linear_dx;
    mri_linear_dw_fn *linear_dw;
    mri_wlinear_fn *wlinear;
    mri_wlinear_back_fn *wlinear_back;
    mri_norm_fn *norm;
    mri_norm_back_fn *norm_back;
    mri_attention_fn *attention;
    mri_attention_back_fn *attention_back;
    mri_patchify_fn *patchify;
    mri_tokens_fn *tokens;
    mri_tokens_back_fn *tokens_back;
    mri_mix_fn *mix;
    mri_pick_fn *pick;
    mri_pick_back_fn *pick_back;
    mri_l2norm_fn *l2norm;
    mri_l2norm_back_fn *l2norm_back;
    mri_add_fn *add;
    mri_drop_fn *drop;
    mri_dino_loss_fn *dino_loss;
    mri_dino_loss_back_fn *dino_loss_back;
    mri_center_fn *center;
    mri_sumsq_fn *sumsq;
    mri_adamw_fn *adamw;
} mri_ops;

MRI_END

#endif
