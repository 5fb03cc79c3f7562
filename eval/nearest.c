/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.c - the candidates of one row for being among its k nearest. */
#include "nearest.h"

#include <math.h>
#include <stdlib.h>

/* Hoare's selection: both sides of the pivot, the middle of three, until only
 * the k-th place is left. */
double
kth_largest(double *v, size_t n, size_t k)
{
    size_t low = 0, high = n - 1;

    while (low < high) {
        double a = v[low], b = v[low + (high - low) / 2], c = v[high];
        double pivot = fmax(fmin(a, b), fmin(fmax(a, b), c));
        size_t i = low, j = high;

        for (;;) {
            while (v[i] > pivot) {
                i++;
            }
            while (v[j] < pivot) {
                j--;
            }
            if (i >= j) {
                break;
            }
            a = v[i];
            v[i++] = v[j];
            v[j--] = a;
        }
        /* low .. j are no smaller than the pivot, j + 1 .. high no larger */
        if (k - 1 <= j) {
            high = j;
        } else {
            low = j + 1;
        }
    }
    return v[k - 1];
}

static int
nearer(const void *a, const void *b)
{
    const candidate *x = a, *y = b;

    if (x->value != y->value) {
        return x->value > y->value ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Compute what was only screened, and keep the k nearest in order. */
static void
settle(nearest *q, const nearest_rule *rule)
{
    for (uint32_t i = 0; i < q->count; i++) {
        candidate *c = &q->list[i];

        if (!c->exact) {
            const float *row = vectors_at(&rule->train, c->index, rule->dim);

            c->value = rule->kernel->dot(q->row, row, rule->dim) * q->inverse *
                       rule->inverse[c->index];
            c->exact = true;
        }
    }
    qsort(q->list, q->count, sizeof *q->list, nearer);
    q->count = q->count < rule->k ? q->count : rule->k;
}

/*
 * Leave out what cannot be among the k: k others are certainly no farther.
 * Where the screen cannot tell enough of them apart, they are settled.
 */
static void
cut(nearest *q, const nearest_rule *rule, double *values)
{
    double mark; /* k of them are certainly at least as near as this */
    uint32_t kept = 0;

    for (uint32_t i = 0; i < q->count; i++) {
        const candidate *c = &q->list[i];

        values[i] = c->exact ? c->value : c->value - rule->bound;
    }
    mark = kth_largest(values, q->count, rule->k);
    for (uint32_t i = 0; i < q->count; i++) {
        const candidate *c = &q->list[i];

        if ((c->exact ? c->value : c->value + rule->bound) >= mark) {
            q->list[kept++] = *c;
        }
    }
    q->count = kept;
    if (kept > rule->k + (rule->room - rule->k) / 2) {
        settle(q, rule);
        mark = q->list[rule->k - 1].value;
    }
    q->least = (float)(mark - rule->bound);
}

void
nearest_begin(nearest *q, candidate *list, const float *row, double inverse)
{
    *q = (nearest){
        .list = list, .least = -INFINITY, .row = row, .inverse = inverse};
}

void
nearest_add(nearest *q, const nearest_rule *rule, uint32_t index, float product,
            double *values)
{
    q->list[q->count++] = (candidate){(double)product, index, false};
    if (q->count == rule->room) {
        cut(q, rule, values);
    }
}

void
nearest_end(nearest *q, const nearest_rule *rule, double *values,
            uint32_t *index, double *cosine)
{
    if (q->count > rule->k) {
        cut(q, rule, values);
    }
    settle(q, rule);
    for (uint32_t i = 0; i < rule->k; i++) {
        index[i] = q->list[i].index;
        cosine[i] = q->list[i].value;
    }
}
