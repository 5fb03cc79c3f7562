/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attention_check.c - self-attention and its reverse.
 *
 * Bounds, u = FLT_EPSILON / 2, w the width of a head, n keys. A score is off
 * by (w + 2) u S, where S = sum |q| |k| / sqrt(w) <= sqrt(w) max|q| max|k|;
 * so is the log-sum-exp, plus (n + 8) u for its sum; and so p = exp(score -
 * lse) is off relatively by r = (2 (w + 4) S + n + 16) u. An answer is a sum
 * over p of v: r + (n + 4) u of sum p |v|. The reverse multiplies by p the
 * difference dp - dO . o, each a sum of w: r + (2 w + n + 16) u of the sums
 * of magnitudes, which the loops below make.
 */
#include <mri/check.h>

#include <float.h>
#include <math.h>

#define U (FLT_EPSILON / 2.0)

MRI_CHECK_THUNK(attention)
MRI_CHECK_THUNK(attention_back)

static const mri_range sign = {-1, 1};

typedef struct att_case {
    mri_seqs seqs;
    uint32_t heads, width;
    bool first;
    double range;
} att_case;

/* one token, prime numbers of them, one head, narrow and wide heads, scores
 * of hundreds */
static const att_case list[] = {
    {{1, {1}, {1}, {1}}, 1, 16, false, 1},
    {{1, {2}, {3}, {1}}, 1, 1, false, 1},
    {{1, {1}, {7}, {1}}, 3, 5, false, 1},
    {{1, {2}, {17}, {1}}, 2, 16, false, 1},
    {{1, {2}, {17}, {1}}, 2, 16, true, 1},
    {{2, {2, 3}, {37, 10}, {2, 3}}, 2, 32, false, 1},
    {{2, {2, 3}, {37, 10}, {2, 3}}, 2, 32, true, 1},
    {{1, {1}, {65}, {1}}, 3, 64, false, 2},
    {{1, {1}, {65}, {1}}, 1, 64, true, 2},
    {{1, {1}, {101}, {1}}, 1, 72, false, 1},
    {{3, {1, 1, 2}, {1, 26, 5}, {1, 1, 2}}, 2, 24, false, 1},
    {{1, {1}, {50}, {1}}, 1, 16, false, 12},
    {{1, {1}, {9}, {1}}, 1, 256, false, 1},
};

static double *
data(const mr_tensor *t)
{
    return t->data;
}

static void
fields(mri_check *c, mri_attention_args *a, const att_case *k)
{
    uint64_t d = (uint64_t)k->heads * k->width;
    uint64_t r = mri_seqs_rows(&k->seqs), s = mri_seqs_count(&k->seqs);
    uint64_t out = k->first ? s : r;

    mri_check_begin(c, "rows %llu tokens %u heads %u of %u%s",
                    (unsigned long long)r, k->seqs.tokens[0], k->heads,
                    k->width, k->first ? " first" : "");
    a->seqs = k->seqs;
    a->heads = k->heads;
    a->first = k->first;
    mri_check_in(c, &a->qkv, (mri_range){-k->range, k->range},
                 MRI_DIMS(r, 3 * d));
    mri_check_out(c, &a->o, MRI_DIMS(out, d));
    mri_check_out(c, &a->lse, MRI_DIMS(out, k->heads));
}

/* Arithmetic of one pass over all scores: q k', or p v. */
static double
work(const att_case *k)
{
    double sum = 0;

    for (uint32_t g = 0; g < k->seqs.groups; g++) {
        double n = k->seqs.tokens[g];

        sum += 2.0 * k->seqs.count[g] * k->heads * k->width * n *
               (k->first ? 1 : n);
    }
    return sum;
}

/* The relative error of p. */
static double
p_error(const att_case *k)
{
    double w = k->width, n = k->seqs.tokens[0];

    for (uint32_t g = 1; g < k->seqs.groups; g++) {
        n = fmax(n, k->seqs.tokens[g]);
    }
    return (2 * (w + 4) * sqrt(w) * k->range * k->range + n + 16) * U;
}

/* One head of one sequence; element (token, i) of part 0 q, 1 k, 2 v. */
typedef struct place {
    uint64_t row, out, d, w, head;
} place;

static uint64_t
at(const place *h, unsigned part, uint64_t token, uint64_t i)
{
    return (h->row + token) * 3 * h->d + part * h->d + h->head * h->w + i;
}

static double
p_of(const mri_attention_args *a, const place *h, uint64_t q, uint64_t k)
{
    double sum = 0;

    for (uint64_t i = 0; i < h->w; i++) {
        sum += data(&a->qkv)[at(h, 0, q, i)] * data(&a->qkv)[at(h, 1, k, i)];
    }
    return exp(sum / sqrt((double)h->w) -
               data(&a->lse)[(h->out + q) * a->heads + h->head]);
}

typedef void each_head(const mri_attention_args *a, const place *h,
                       uint64_t questions, uint64_t keys, void *user);

static void
over_heads(const mri_attention_args *a, each_head *fn, void *user)
{
    uint64_t d = a->o.shape[1];

    for (uint64_t s = 0; s < mri_seqs_count(&a->seqs); s++) {
        mri_seq seq = mri_seqs_at(&a->seqs, s);

        for (uint64_t n = 0; n < a->heads; n++) {
            place h = {seq.row, a->first ? s : seq.row, d, d / a->heads, n};

            fn(a, &h, a->first ? 1 : seq.tokens, seq.tokens, user);
        }
    }
}

/* sum over the keys of p |v| */
static void
sizes_of_o(const mri_attention_args *a, const place *h, uint64_t questions,
           uint64_t keys, void *user)
{
    double *o = user;

    for (uint64_t q = 0; q < questions; q++) {
        for (uint64_t k = 0; k < keys; k++) {
            double p = p_of(a, h, q, k);

            for (uint64_t i = 0; i < h->w; i++) {
                o[(h->out + q) * h->d + h->head * h->w + i] +=
                    p * fabs(data(&a->qkv)[at(h, 2, k, i)]);
            }
        }
    }
}

static void
forward_case(mri_check *c, const att_case *k)
{
    mri_attention_args a = {0};
    mr_tensor size;

    fields(c, &a, k);
    mri_check_run(c, run_attention, &a, sizeof a, 2 * work(k));
    mri_check_out(c, &size, MRI_DIMS(a.o.shape[0], a.o.shape[1]));
    if (data(&a.qkv) != NULL) {
        over_heads(&a, sizes_of_o, size.data);
    }
    mri_check_near(c, &a.o, 2 * p_error(k), &size);
    for (uint64_t i = 0; i < mr_tensor_len(&a.lse); i++) {
        data(&size)[i] = 1 + fabs(data(&a.lse)[i]);
    }
    mri_check_near(c, &a.lse, 2 * p_error(k), &size);
}

static void
forward_cases(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(list); i++) {
        forward_case(c, &list[i]);
    }
}

/* ------------------------------------------------------------- reverse */

typedef struct back_sizes {
    const mri_attention_back_args *b;
    double *dqkv;
} back_sizes;

static void
sizes_of_dqkv(const mri_attention_args *a, const place *h, uint64_t questions,
              uint64_t keys, void *user)
{
    back_sizes *s = user;
    const double *qkv = data(&a->qkv), *dO = data(&s->b->dO);

    for (uint64_t q = 0; q < questions; q++) {
        uint64_t o = (h->out + q) * h->d + h->head * h->w;

        for (uint64_t k = 0; k < keys; k++) {
            double p = p_of(a, h, q, k), dp = 0;

            for (uint64_t i = 0; i < h->w; i++) {
                dp += fabs(dO[o + i]) *
                      (fabs(qkv[at(h, 2, k, i)]) + fabs(data(&a->o)[o + i]));
            }
            dp *= p / sqrt((double)h->w);
            for (uint64_t i = 0; i < h->w; i++) {
                s->dqkv[at(h, 0, q, i)] += dp * fabs(qkv[at(h, 1, k, i)]);
                s->dqkv[at(h, 1, k, i)] += dp * fabs(qkv[at(h, 0, q, i)]);
                s->dqkv[at(h, 2, k, i)] += p * fabs(dO[o + i]);
            }
        }
    }
}

typedef struct chain {
    mri_check *c;
    mri_attention_args f;
    const mr_tensor *dO;
} chain;

static double
loss(void *user)
{
    chain *t = user;

    mri_check_ref(t->c, run_attention, &t->f);
    return mri_check_dot(t->dO, &t->f.o);
}

static void
back_case(mri_check *c, const att_case *k)
{
    mri_attention_args f = {0};
    mri_attention_back_args a = {
        .seqs = k->seqs, .heads = k->heads, .first = k->first};
    back_sizes sizes = {.b = &a};
    chain t = {.c = c, .dO = &a.dO};
    mr_tensor size;

    fields(c, &f, k);
    mri_check_run(c, run_attention, &f, sizeof f, 2 * work(k));
    mri_check_same(c, &a.qkv, &f.qkv);
    mri_check_same(c, &a.o, &f.o);
    mri_check_same(c, &a.lse, &f.lse);
    mri_check_in(c, &a.dO, sign, MRI_DIMS(f.o.shape[0], f.o.shape[1]));
    mri_check_out(c, &a.dqkv, MRI_DIMS(f.qkv.shape[0], f.qkv.shape[1]));
    mri_check_run(c, run_attention_back, &a, sizeof a, 5 * work(k));
    if (mri_check_exact(c)) {
        t.f = f;
        mri_check_slope(c, &f.qkv, &a.dqkv, loss, &t);
        return;
    }
    mri_check_out(c, &size, MRI_DIMS(f.qkv.shape[0], f.qkv.shape[1]));
    sizes.dqkv = size.data;
    over_heads(&f, sizes_of_dqkv, &sizes);
    mri_check_near(c, &a.dqkv, 2 * p_error(k) + (2 * k->width + 32) * U, &size);
}

static void
back_cases(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(list); i++) {
        back_case(c, &list[i]);
    }
}

/* ------------------------------------------------------------- timing */

static const att_case timed[] = {
    {{2, {4, 16}, {197, 37}, {2, 8}}, 6, 64, false, 1},
    {{1, {4}, {197}, {2}}, 6, 64, false, 1},
    {{1, {16}, {37}, {8}}, 6, 64, false, 1},
    {{2, {128, 256}, {26, 10}, {2, 4}}, 2, 32, false, 1},
    {{2, {4, 16}, {197, 37}, {2, 8}}, 6, 64, true, 1},
};

static void
forward_bench(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(timed); i++) {
        forward_case(c, &timed[i]);
    }
}

static void
back_bench(mri_check *c)
{
    for (size_t i = 0; i < MRI_COUNT(timed); i++) {
        back_case(c, &timed[i]);
    }
}

int
main(int argc, char **argv)
{
    static const mri_check_op ops[] = {
        {"attention", forward_cases, forward_bench},
        {"attention_back", back_cases, back_bench},
    };

    return mri_check_main(argc, argv, ops, MRI_COUNT(ops));
}
