/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.c - acts carried out with as few passes over memory as their meaning
 * allows.
 *
 * Boxes, flips and operations on single values commute with each other bit
 * for bit, so they wait until something needs neighbours (a resampling, a
 * blur, a range) or the result is due; then one pass does them all. A
 * resampling reads stored values in the layout they have.
 */
#include "exec_run.h"

#include <string.h>

#define CHUNK 4096 /* values that go through all operations in the L1 cache */

mr_err
mri_run_no_memory(mri_run *r)
{
    return mri_fail(r->diag, MRI_E_MEMORY, MR_NOWHERE,
                    "no memory for a sample of %u x %llu x %llu x %llu",
                    r->now.channels, (unsigned long long)r->size[0],
                    (unsigned long long)r->size[1],
                    (unsigned long long)r->size[2]);
}

bool
mri_run_idle(const mri_run *r)
{
    bool none = r->n_points == 0;

    for (unsigned k = 0; k < 3; k++) {
        none = none && r->first[k] == 0 && r->size[k] == r->now.size[k] &&
               !r->flip[k];
    }
    return none;
}

static const uint8_t *
source_of(const mri_run *r, const mri_move *m, uint32_t c, const uint64_t i[3])
{
    uint64_t at[3];

    for (unsigned k = 0; k < 3; k++) {
        uint64_t j = m->first[k] + i[k]; /* place in what waits */

        at[k] = r->flip[k] ? r->first[k] + r->size[k] - 1 - j : r->first[k] + j;
    }
    return mri_pixels_at(&r->now, c, at[0], at[1], at[2]);
}

/* Values i .. i + n of a row, through everything that waits. */
static void
fill(const mri_run *r, const uint8_t *from, float *to, uint32_t c, size_t n)
{
    const mri_pixels *p = &r->now;
    int64_t step = (int64_t)p->step[2];
    mri_load how = {.from = from,
                    .dtype = p->dtype,
                    .step = r->flip[2] ? -step : step,
                    .scaled = p->scaled,
                    .slope = p->slope,
                    .inter = p->inter};

    if ((const void *)from != (const void *)to) {
        r->k->load(to, &how, n);
    }
    for (unsigned i = 0; i < r->n_points; i++) {
        r->k->point(to, r->points[i], c, n);
    }
}

static void
pad(float *to, uint64_t n, float v)
{
    for (uint64_t i = 0; i < n; i++) {
        to[i] = v;
    }
}

/* A row of f32, padding included. */
static void
move_row(const mri_run *r, const mri_move *m, uint32_t c, uint64_t i[3],
         float *to)
{
    bool inside = i[0] >= m->low[0] && i[0] < m->high[0] && i[1] >= m->low[1] &&
                  i[1] < m->high[1];
    uint64_t low = inside ? m->low[2] : m->size[2], high = m->high[2];
    size_t element = mr_dtype_bytes(r->now.dtype);
    int64_t step = (int64_t)(r->now.step[2] * element);

    pad(to, low, m->pad);
    for (uint64_t x = low; inside && x < high; x += CHUNK) {
        uint64_t n = high - x < CHUNK ? high - x : CHUNK;
        uint64_t first[3] = {i[0], i[1], low};
        const uint8_t *from = source_of(r, m, c, first);

        from += (r->flip[2] ? -step : step) * (int64_t)(x - low);
        fill(r, from, to + x, c, n);
    }
    if (inside) {
        pad(to + high, m->size[2] - high, m->pad);
    }
}

/* Rows of u8 or u16 go through a row of f32. */
static void
give_row(const mri_run *r, const mri_exec_out *to, uint64_t at,
         const float *row, size_t n)
{
    if (to->dtype == MR_U8) {
        r->k->to_u8((uint8_t *)to->data + at, row, n);
    } else {
        r->k->to_u16((uint16_t *)to->data + at, row, n);
    }
}

static mr_err
move_all(mri_run *r, mri_move *m, const mri_exec_out *to)
{
    const mri_pixels *p = &r->now;
    float *row = NULL, *f32 = to->dtype == MR_F32 ? to->data : NULL;
    uint64_t at = 0;

    if (m->rows_join) {
        m->size[2] = m->high[2] = m->size[1] * m->size[2];
        m->size[1] = m->high[1] = 1;
    }
    if (f32 == NULL) {
        row = mri_room_take(&r->x->row, m->size[2], sizeof *row);
        if (row == NULL) {
            return mri_run_no_memory(r);
        }
    }
    for (uint32_t c = 0; c < p->channels; c++) {
        for (uint64_t i[3] = {0}; i[0] < m->size[0]; i[0]++) {
            for (i[1] = 0; i[1] < m->size[1]; i[1]++) {
                move_row(r, m, c, i, f32 != NULL ? f32 + at : row);
                if (f32 == NULL) {
                    give_row(r, to, at, row, m->size[2]);
                }
                at += m->size[2];
            }
        }
    }
    return MR_OK;
}

/* All of what waits. */
static mri_move
whole_move(const mri_run *r)
{
    mri_move m = {.size = {r->size[0], r->size[1], r->size[2]},
                  .high = {r->size[0], r->size[1], r->size[2]}};

    m.rows_join = r->now.step[2] == 1 && r->now.step[1] == r->size[2] &&
                  !r->flip[1] && !r->flip[2];
    return m;
}

void
mri_run_becomes(mri_run *r, const void *data, const uint64_t size[3])
{
    uint64_t plane = size[0] * size[1] * size[2];

    for (uint32_t c = 0; c < r->now.channels; c++) {
        r->places[c] = c * plane;
    }
    r->now.data = data;
    r->now.dtype = MR_F32;
    r->now.clean = true;
    r->now.scaled = false;
    r->now.at = r->places;
    r->now.shrink = 1;
    for (unsigned k = 0; k < 3; k++) {
        r->now.size[k] = r->now.have[k] = r->size[k] = size[k];
        r->now.first[k] = r->first[k] = 0;
        r->flip[k] = false;
    }
    r->now.step[0] = size[1] * size[2];
    r->now.step[1] = size[2];
    r->now.step[2] = 1;
    r->n_points = 0;
    r->dense = true;
}

float *
mri_run_plane(mri_run *r, const uint64_t size[3], int *which)
{
    *which = r->plane == 0 ? 1 : 0;
    return mri_room_take(&r->x->planes[*which],
                         r->now.channels * size[0] * size[1] * size[2],
                         sizeof(float));
}

mr_err
mri_run_settle(mri_run *r, mri_move *m)
{
    uint64_t size[3] = {m->size[0], m->size[1], m->size[2]};
    int which;
    float *to = mri_run_plane(r, size, &which);
    mri_exec_out out = {to, MR_F32};
    mr_err err = to != NULL ? move_all(r, m, &out) : mri_run_no_memory(r);

    if (err == MR_OK) {
        r->plane = which;
        mri_run_becomes(r, to, size);
    }
    return err;
}

mr_err
mri_run_settle_all(mri_run *r)
{
    mri_move m = whole_move(r);

    return r->dense && mri_run_idle(r) ? MR_OK : mri_run_settle(r, &m);
}

/* Channels change places; what waits for them is done before. */
static mr_err
do_select(mri_run *r, const mri_act *act)
{
    mr_err err = r->n_points != 0 ? mri_run_settle_all(r) : MR_OK;
    uint64_t *old;

    if (err != MR_OK) {
        return err;
    }
    old = r->places +
          (r->now.channels > act->channels ? r->now.channels : act->channels);
    memcpy(old, r->now.at, r->now.channels * sizeof *old);
    for (uint32_t c = 0; c < act->channels; c++) {
        r->places[c] = old[act->map[c]];
    }
    r->now.at = r->places;
    r->now.channels = act->channels;
    r->dense = false;
    return MR_OK;
}

static mr_err
do_box(mri_run *r, const mri_act *act)
{
    mri_move m = {.pad = act->pad};
    bool padded = false;

    for (unsigned k = 0; k < 3; k++) {
        int64_t end = act->first[k] + (int64_t)act->size[k];

        m.first[k] = (uint64_t)act->first[k];
        m.size[k] = act->size[k];
        m.low[k] = act->first[k] < 0 ? (uint64_t)-act->first[k] : 0;
        m.high[k] = end > (int64_t)r->size[k]
                        ? (uint64_t)((int64_t)r->size[k] - act->first[k])
                        : act->size[k];
        padded = padded || m.low[k] != 0 || m.high[k] != act->size[k];
    }
    if (padded) {
        return mri_run_settle(r, &m);
    }
    for (unsigned k = 0; k < 3; k++) {
        uint64_t first = (uint64_t)act->first[k];

        r->first[k] += r->flip[k] ? r->size[k] - first - act->size[k] : first;
        r->size[k] = act->size[k];
    }
    return MR_OK;
}

static mr_err
do_minmax(mri_run *r, mri_act *act)
{
    mr_err err = mri_run_settle_all(r);
    uint32_t channels = r->now.channels;
    uint64_t n = r->size[0] * r->size[1] * r->size[2];
    float *a, low = 0, high = 0;

    if (err != MR_OK) {
        return err;
    }
    a = mri_room_take(&r->x->ranges, 2 * (uint64_t)channels, sizeof *a);
    if (a == NULL) {
        return mri_run_no_memory(r);
    }
    for (uint32_t c = 0; c < channels; c++) {
        const float *p = (const float *)r->now.data + c * n;

        if (c == 0 || !act->per_sample) {
            low = high = p[0];
        }
        r->k->range(p, n, &low, &high);
        mri_unit_range(&a[c], &a[channels + c], low, high);
    }
    for (uint32_t c = 0; act->per_sample && c + 1 < channels; c++) {
        a[c] = a[channels - 1];
        a[channels + c] = a[2 * channels - 1];
    }
    act->a = a;
    act->b = a + channels;
    r->points[r->n_points++] = act;
    return MR_OK;
}

static mr_err
do_act(mri_run *r, mri_act *act, mri_act *end)
{
    switch (act->kind) {
    case MRI_ACT_SELECT:
        return do_select(r, act);
    case MRI_ACT_POINT:
        r->points[r->n_points++] = act;
        return MR_OK;
    case MRI_ACT_MINMAX:
        return do_minmax(r, act);
    case MRI_ACT_BOX:
        return do_box(r, act);
    case MRI_ACT_FLIP:
        for (unsigned k = 0; k < 3; k++) {
            r->flip[k] ^= act->flip[k];
        }
        return MR_OK;
    case MRI_ACT_BLUR:
        return mri_run_blur(r, act, end);
    case MRI_ACT_RESAMPLE:
        break;
    }
    return mri_run_resample(r, act, end);
}

static mr_err
begin(mri_run *r, const mri_pixels *from, const mri_act *acts, unsigned count)
{
    uint32_t most = from->channels;

    for (unsigned i = 0; i < count; i++) {
        if (acts[i].kind == MRI_ACT_SELECT && acts[i].channels > most) {
            most = acts[i].channels;
        }
    }
    r->now = *from;
    memcpy(r->size, from->size, sizeof r->size);
    r->places =
        mri_room_take(&r->x->places, 2 * (uint64_t)most, sizeof *r->places);
    if (r->places == NULL) {
        return mri_run_no_memory(r);
    }
    memcpy(r->places, from->at, from->channels * sizeof *r->places);
    r->now.at = r->places;
    r->now.shrink = from->shrink == 0 ? 1 : from->shrink;
    return MR_OK;
}

mr_err
mri_exec_run(mri_exec *x, const mri_pixels *from, mri_act *acts, unsigned count,
             const mri_exec_out *out, mr_diag *diag)
{
    mri_run r = {
        .x = x, .k = mri_kernels_now(), .diag = diag, .out = out, .plane = -1};
    mr_err err = begin(&r, from, acts, count);
    mri_move m;

    for (unsigned i = 0; err == MR_OK && i < count; i++) {
        err = do_act(&r, &acts[i], acts + count);
    }
    if (err != MR_OK) {
        return err;
    }
    m = whole_move(&r);
    return move_all(&r, &m, out);
}

void
mri_exec_release(mri_exec *x)
{
    for (unsigned i = 0; i < 2; i++) {
        mri_room_release(&x->planes[i]);
    }
    mri_room_release(&x->widened);
    mri_room_release(&x->lines);
    mri_room_release(&x->turned);
    mri_room_release(&x->summed);
    mri_room_release(&x->row);
    mri_room_release(&x->rows);
    mri_room_release(&x->places);
    mri_room_release(&x->ranges);
    mri_taps_release(&x->down);
    mri_taps_release(&x->along);
}
