/* SPDX-License-Identifier: Apache-2.0 */
/* ref_attention.c - self-attention, one question after the other. */
#include "ref/ref.h"

/* Where one head of one sequence lies in the packed rows. */
typedef struct head {
    const mr_tensor *qkv;
    uint64_t row, out; /* its first row in qkv, and in o */
    uint64_t d, width; /* of the model, of a head */
    uint32_t tokens, head;
} head;

/* which: 0 query, 1 key, 2 value */
static uint64_t
at(const head *h, unsigned which, uint64_t token, uint64_t i)
{
    return (h->row + token) * 3 * h->d + which * h->d + h->head * h->width + i;
}

/* The score of a question for a key: q . k / sqrt(width). */
static double
score(const head *h, uint64_t q, uint64_t k)
{
    double sum = 0;

    for (uint64_t i = 0; i < h->width; i++) {
        sum +=
            ref_get(h->qkv, at(h, 0, q, i)) * ref_get(h->qkv, at(h, 1, k, i));
    }
    return sum / sqrt((double)h->width);
}

static double
log_sum_exp(const head *h, uint64_t q)
{
    double top = score(h, q, 0), sum = 0;

    for (uint64_t k = 1; k < h->tokens; k++) {
        top = fmax(top, score(h, q, k));
    }
    for (uint64_t k = 0; k < h->tokens; k++) {
        sum += exp(score(h, q, k) - top);
    }
    return top + log(sum);
}

static void
answer(const mri_attention_args *a, const head *h, uint64_t q)
{
    uint64_t row = h->out + q;
    double lse = log_sum_exp(h, q), sum[MRI_HEAD_LIMIT] = {0};

    for (uint64_t k = 0; k < h->tokens; k++) {
        double p = exp(score(h, q, k) - lse);

        for (uint64_t i = 0; i < h->width; i++) {
            sum[i] += p * ref_get(h->qkv, at(h, 2, k, i));
        }
    }
    for (uint64_t i = 0; i < h->width; i++) {
        ref_set(&a->o, row * h->d + h->head * h->width + i, sum[i]);
    }
    ref_set(&a->lse, row * a->heads + h->head, lse);
}

mr_err
mri_ref_attention(mri_exec *exec, const mri_attention_args *a)
{
    uint64_t d = a->o.shape[1];

    (void)exec;
    for (uint64_t s = 0; s < mri_seqs_count(&a->seqs); s++) {
        mri_seq seq = mri_seqs_at(&a->seqs, s);

        for (uint32_t n = 0; n < a->heads; n++) {
            head h = {.qkv = &a->qkv,
                      .row = seq.row,
                      .out = a->first ? s : seq.row,
                      .d = d,
                      .width = d / a->heads,
                      .tokens = seq.tokens,
                      .head = n};

            for (uint64_t q = 0; q < (a->first ? 1 : seq.tokens); q++) {
                answer(a, &h, q);
            }
        }
    }
    return MR_OK;
}

/* One question and one key: p = exp(score - lse), and the score's gradient
 * p (dp - sum over all keys of p dp), where dp = dO . v and so that sum is
 * dO . o. */
static void
pair(const mri_attention_back_args *a, const head *h, uint64_t q, uint64_t k,
     double *p, double *ds)
{
    uint64_t o = (h->out + q) * h->d + h->head * h->width;
    double lse = ref_get(&a->lse, (h->out + q) * a->heads + h->head);
    double dp = 0, mean = 0;

    for (uint64_t i = 0; i < h->width; i++) {
        dp += ref_get(&a->dO, o + i) * ref_get(h->qkv, at(h, 2, k, i));
        mean += ref_get(&a->dO, o + i) * ref_get(&a->o, o + i);
    }
    *p = exp(score(h, q, k) - lse);
    *ds = *p * (dp - mean) / sqrt((double)h->width);
}

static void
question_back(const mri_attention_back_args *a, const head *h, uint64_t q)
{
    double dq[MRI_HEAD_LIMIT] = {0}, p, ds;

    for (uint64_t k = 0; k < h->tokens; k++) {
        pair(a, h, q, k, &p, &ds);
        for (uint64_t i = 0; i < h->width; i++) {
            dq[i] += ds * ref_get(h->qkv, at(h, 1, k, i));
        }
    }
    for (uint64_t i = 0; i < h->width; i++) {
        ref_set(&a->dqkv, at(h, 0, q, i), dq[i]);
    }
}

static void
key_back(const mri_attention_back_args *a, const head *h, uint64_t k,
         uint64_t questions)
{
    double dk[MRI_HEAD_LIMIT] = {0}, dv[MRI_HEAD_LIMIT] = {0}, p, ds;

    for (uint64_t q = 0; q < questions; q++) {
        uint64_t o = (h->out + q) * h->d + h->head * h->width;

        pair(a, h, q, k, &p, &ds);
        for (uint64_t i = 0; i < h->width; i++) {
            dk[i] += ds * ref_get(h->qkv, at(h, 0, q, i));
            dv[i] += p * ref_get(&a->dO, o + i);
        }
    }
    for (uint64_t i = 0; i < h->width; i++) {
        ref_set(&a->dqkv, at(h, 1, k, i), dk[i]);
        ref_set(&a->dqkv, at(h, 2, k, i), dv[i]);
    }
}

mr_err
mri_ref_attention_back(mri_exec *exec, const mri_attention_back_args *a)
{
    uint64_t d = a->o.shape[1];

    (void)exec;
    for (uint64_t i = 0; i < mr_tensor_len(&a->dqkv); i++) {
        ref_set(&a->dqkv, i, 0); /* those that do not ask have no dq */
    }
    for (uint64_t s = 0; s < mri_seqs_count(&a->seqs); s++) {
        mri_seq seq = mri_seqs_at(&a->seqs, s);
        uint64_t questions = a->first ? 1 : seq.tokens;

        for (uint32_t n = 0; n < a->heads; n++) {
            head h = {.qkv = &a->qkv,
                      .row = seq.row,
                      .out = a->first ? s : seq.row,
                      .d = d,
                      .width = d / a->heads,
                      .tokens = seq.tokens,
                      .head = n};

            for (uint64_t q = 0; q < questions; q++) {
                question_back(a, &h, q);
            }
            for (uint64_t k = 0; k < seq.tokens; k++) {
                key_back(a, &h, k, questions);
            }
        }
    }
    return MR_OK;
}
