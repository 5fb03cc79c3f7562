/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows_ahead.c - which samples come next, so that they can be fetched.
 *
 * A batch is a function of its index, so whoever computes rows knows what the
 * next ones will read. Cold, the files are asked for the samples of a whole
 * window at once; hot, the lines of memory of a sample that comes soon are
 * asked for while one is being copied.
 */
#include "rows_types.h"

#include <mri/dataset.h>

static mr_err
rank_at(const mri_rows *r, mri_rows_worker *w, const mri_row_name *name,
        uint64_t *rank, mr_diag *diag)
{
    uint64_t n = r->facts.samples, i;

    mri_order_init(&w->order, n, name->seed, name->epoch, r->split.name,
                   r->order == MR_ORDER_UID);
    i = mri_order_at(&w->order, name->position % n);
    return mri_selection_at(&r->split, i, rank, diag);
}

/* The window from the next position on, and a request for all of it. What
 * cannot be foreseen is found when its turn comes. */
static void
fill(const mri_rows *r, mri_rows_worker *w, const mri_row_name *from)
{
    mri_ahead *a = &w->ahead;
    mri_row_name name = *from;

    a->first = *from;
    for (a->count = 0; a->count < MRI_AHEAD && name.position < a->end;
         a->count++, name.position++) {
        if (rank_at(r, w, &name, &a->ranks[a->count], NULL) != MR_OK) {
            break;
        }
    }
    mri_dataset_want(r->ds, a->ranks, a->count, w->loader.scratch);
}

void
mri_rows_foresee(const mri_rows *r, mri_rows_worker *w,
                 const mri_row_name *first, uint64_t n)
{
    uint64_t samples = r->facts.samples, end = first->position + n;

    if (r->facts.tail != MR_TAIL_WRAP && end > samples) {
        end = samples; /* the tail reads nothing */
    }
    w->ahead = (mri_ahead){.rows = r, .end = end};
    fill(r, w, first);
}

mr_err
mri_rows_rank(const mri_rows *r, mri_rows_worker *w, const mri_row_name *name,
              uint64_t *rank, mr_diag *diag)
{
    mri_ahead *a = &w->ahead;
    uint64_t i = name->position - a->first.position;

    if (a->rows != r || name->seed != a->first.seed ||
        name->epoch != a->first.epoch) {
        return rank_at(r, w, name, rank, diag);
    }
    if (i == a->count && name->position < a->end) {
        fill(r, w, name);
        i = 0;
    }
    if (i >= a->count) {
        return rank_at(r, w, name, rank, diag);
    }
    mri_dataset_foresee(r->ds, a->ranks + i, a->count - i);
    *rank = a->ranks[i];
    return MR_OK;
}
