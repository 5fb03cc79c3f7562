/* SPDX-License-Identifier: Apache-2.0 */
/* measure.c - values along axes, how often each occurs, and percentiles. */
#include "measure.h"

#include "histogram.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 1024 };

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* ---- the table ---- */

static size_t
slot_of(const mri_measured *one)
{
    uint64_t bits;

    memcpy(&bits, &one->value, sizeof bits);
    bits ^= (uint64_t)one->split << 48 ^ (uint64_t)one->field << 24 ^
            (uint64_t)(unsigned char)one->axis << 8 ^ one->kind;
    bits *= 0x9E3779B97F4A7C15u;
    bits ^= bits >> 32;
    return (size_t)(bits * 0x9E3779B97F4A7C15u >> 20);
}

static bool
same_key(const mri_measured *a, const mri_measured *b)
{
    return a->value == b->value && a->split == b->split &&
           a->field == b->field && a->axis == b->axis && a->kind == b->kind;
}

/* Its slot, or the empty one where it belongs; kind 0 is empty. */
static mri_measured *
find(const mri_measures *m, const mri_measured *one)
{
    size_t i = slot_of(one) & (m->slots - 1);

    while (m->slot[i].kind != 0 && !same_key(&m->slot[i], one)) {
        i = (i + 1) & (m->slots - 1);
    }
    return &m->slot[i];
}

/* At most half of the slots are taken. */
static bool
grow(mri_measures *m)
{
    mri_measures wider = {.slots = m->slots != 0 ? m->slots * 2 : FIRST_SLOTS};

    wider.slot = mri_alloc(wider.slots, sizeof *wider.slot);
    if (wider.slot == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->slots; i++) {
        if (m->slot[i].kind != 0) {
            *find(&wider, &m->slot[i]) = m->slot[i];
        }
    }
    mri_free(m->slot);
    m->slot = wider.slot;
    m->slots = wider.slots;
    return true;
}

bool
mri_measures_add(mri_measures *m, const mri_measured *one)
{
    mri_measured *at;

    if (m->many) {
        return true;
    }
    if (m->used * 2 >= m->slots && !grow(m)) {
        return false;
    }
    at = find(m, one);
    if (at->kind != 0) {
        at->count += one->count;
        return true;
    }
    *at = *one;
    m->used++;
    m->many = m->used > MRI_MEASURED_MOST;
    return true;
}

/* ---- in order ---- */

static size_t
place_of_axis(char axis)
{
    static const char order[] = "TCZYXSRUVW";
    const char *at = axis != '\0' ? strchr(order, axis) : NULL;

    return at != NULL ? (size_t)(at - order)
                      : sizeof order + (unsigned char)axis;
}

static int
by_group(const mri_measured *x, const mri_measured *y)
{
    if (x->split != y->split) {
        return x->split < y->split ? -1 : 1;
    }
    if (x->field != y->field) {
        return x->field < y->field ? -1 : 1;
    }
    if (x->axis != y->axis) {
        return place_of_axis(x->axis) < place_of_axis(y->axis) ? -1 : 1;
    }
    return (x->kind > y->kind) - (x->kind < y->kind);
}

static int
by_value(const void *a, const void *b)
{
    const mri_measured *x = a, *y = b;
    int order = by_group(x, y);

    return order != 0 ? order : (x->value > y->value) - (x->value < y->value);
}

/* Those that are left, next to each other. False: less than none is left. */
static bool
make_dense(mri_measures *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->slots; i++) {
        if (m->slot[i].kind == 0 || m->slot[i].count == 0) {
            continue;
        }
        if (m->slot[i].count < 0) {
            return false;
        }
        m->slot[n++] = m->slot[i];
    }
    m->used = n;
    return true;
}

/* All splits are one more: the same values once more, then summed up. */
static bool
sum_up(mri_measures *m, uint32_t splits)
{
    size_t n = m->used, k = n;
    mri_measured *grown = mri_resize(m->slot, 2 * n, sizeof *grown);

    if (grown == NULL) {
        return n == 0;
    }
    m->slot = grown;
    for (size_t i = 0; i < n; i++) {
        grown[n + i] = grown[i];
        grown[n + i].split = splits;
    }
    qsort(grown, 2 * n, sizeof *grown, by_value);
    for (size_t i = n; i < 2 * n; i++) {
        if (k > n && by_value(&grown[k - 1], &grown[i]) == 0) {
            grown[k - 1].count += grown[i].count;
        } else {
            grown[k++] = grown[i];
        }
    }
    m->slots = m->used = k;
    return true;
}

static void
find_percentiles(mri_measure_group *g, const mri_measured *value)
{
    uint64_t below = 0;
    unsigned k = 0;

    for (size_t i = g->first; i < g->end; i++) {
        g->m.count += (uint64_t)value[i].count;
    }
    for (size_t i = g->first; i < g->end; i++) {
        below += (uint64_t)value[i].count;
        while (k < MR_PERCENTILES &&
               mri_percentile_place(k, g->m.count) < below) {
            g->m.percentile[k++] = value[i].value;
        }
    }
}

static bool
find_groups(mri_measures *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->used; i++) {
        n += i == 0 || by_group(&m->slot[i - 1], &m->slot[i]) != 0;
    }
    m->group = mri_alloc(n, sizeof *m->group);
    if (m->group == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->used; i++) {
        const mri_measured *v = &m->slot[i];

        if (i == 0 || by_group(v - 1, v) != 0) {
            m->group[m->groups++] = (mri_measure_group){
                .split = v->split,
                .field = v->field,
                .axis = {v->axis},
                .first = i,
                .m = {.axis = v->axis, .kind = (mr_measure_kind)v->kind}};
        }
        m->group[m->groups - 1].end = i + 1;
    }
    for (size_t i = 0; i < m->groups; i++) {
        find_percentiles(&m->group[i], m->slot);
    }
    return true;
}

mr_err
mri_measures_end(mri_measures *m, uint32_t splits, mr_diag *diag)
{
    if (m->many) {
        mri_measures_release(m);
        m->many = true;
        return MR_OK;
    }
    if (!make_dense(m)) {
        return mri_fail(diag, MRI_E_STATISTICS, MR_NOWHERE,
                        "more samples have gone than there were");
    }
    if (m->used == 0) {
        mri_measures_release(m);
        return MR_OK;
    }
    return sum_up(m, splits) && find_groups(m) ? MR_OK : no_memory(diag);
}

void
mri_measures_release(mri_measures *m)
{
    mri_free(m->slot);
    mri_free(m->group);
    *m = (mri_measures){0};
}

/* ---- in a manifest ---- */

bool
mri_measures_pack(mri_bytes *out, const mri_measures *m,
                  const mri_measure_group *g)
{
    bool ok = true;

    for (size_t i = g->first; ok && i < g->end; i++) {
        uint64_t bits;

        memcpy(&bits, &m->slot[i].value, sizeof bits);
        ok = mri_bytes_u64(out, bits) &&
             mri_bytes_u64(out, (uint64_t)m->slot[i].count);
    }
    return ok;
}

bool
mri_measure_known(const Mri__PbMeasure *pb)
{
    return pb->axis[0] > ' ' && pb->axis[0] <= '~' && pb->axis[1] == '\0' &&
           (pb->kind == MR_MEASURE_LENGTH || pb->kind == MR_MEASURE_SPACING) &&
           pb->n_percentiles == MR_PERCENTILES;
}

mr_measure
mri_measure_of_pb(const Mri__PbMeasure *pb)
{
    mr_measure m = {.axis = pb->axis[0],
                    .kind = (mr_measure_kind)pb->kind,
                    .count = pb->count};

    memcpy(m.percentile, pb->percentiles, sizeof m.percentile);
    return m;
}

mr_err
mri_measures_unpack(mri_measures *m, const Mri__PbMeasure *pb,
                    const mri_measured *like, bool *holds, mr_diag *diag)
{
    mri_measured one = *like;
    size_t n = pb->values.len / MRI_MEASURED_BYTES;
    double last = 0;

    *holds = mri_measure_known(pb) && n != 0 &&
             pb->values.len % MRI_MEASURED_BYTES == 0;
    for (size_t i = 0; *holds && i < n; i++) {
        const uint8_t *p = pb->values.data + i * MRI_MEASURED_BYTES;
        uint64_t bits = mri_get64(p), count = mri_get64(p + 8);

        memcpy(&one.value, &bits, sizeof bits);
        *holds = isfinite(one.value) && one.value > last && count != 0 &&
                 count <= UINT32_MAX; /* a dataset has no more samples */
        if (!*holds) {
            break;
        }
        last = one.value;
        one.axis = pb->axis[0];
        one.kind = (uint8_t)pb->kind;
        one.count = (int64_t)count;
        if (!mri_measures_add(m, &one)) {
            return no_memory(diag);
        }
    }
    return MR_OK;
}
