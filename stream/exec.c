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
#include "exec.h"

#include "kernels.h"

#include <string.h>

#define CHUNK 4096 /* values that go through all operations in the L1 cache */

typedef struct run {
    mri_exec *x;
    const mri_kernels *k;
    mr_diag *diag;
    const mri_exec_out *out;
    mri_pixels now;
    uint64_t *places; /* now.at */
    int plane;        /* of x->planes that holds `now`, or -1 */
    bool dense;       /* now is f32 [channels][z][y][x], whole */
    /* What waits: result i is element first + i of `now`, or backwards. */
    uint64_t first[3], size[3];
    bool flip[3];
    const mri_act *points[MRI_ACTS_MAX];
    unsigned n_points;
} run;

static mr_err
no_memory(run *r)
{
    return mri_fail(r->diag, MRI_E_MEMORY, MR_NOWHERE,
                    "no memory for a sample of %u x %llu x %llu x %llu",
                    r->now.channels, (unsigned long long)r->size[0],
                    (unsigned long long)r->size[1],
                    (unsigned long long)r->size[2]);
}

static bool
nothing_waits(const run *r)
{
    bool none = r->n_points == 0;

    for (unsigned k = 0; k < 3; k++) {
        none = none && r->first[k] == 0 && r->size[k] == r->now.size[k] &&
               !r->flip[k];
    }
    return none;
}

/* One pass: a box of what `now` is after all that waits. */
typedef struct move {
    uint64_t first[3]; /* of the box; below 0 wraps around: see padded */
    uint64_t size[3];
    uint64_t low[3], high[3]; /* results that are not padding */
    float pad;
    bool rows_join; /* rows follow one another in `now` and in the result */
} move;

static const uint8_t *
source_of(const run *r, const move *m, uint32_t c, const uint64_t i[3])
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
fill(const run *r, const uint8_t *from, float *to, uint32_t c, size_t n)
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
move_row(const run *r, const move *m, uint32_t c, uint64_t i[3], float *to)
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
give_row(const run *r, const mri_exec_out *to, uint64_t at, const float *row,
         size_t n)
{
    if (to->dtype == MR_U8) {
        r->k->to_u8((uint8_t *)to->data + at, row, n);
    } else {
        r->k->to_u16((uint16_t *)to->data + at, row, n);
    }
}

static mr_err
move_all(run *r, move *m, const mri_exec_out *to)
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
            return no_memory(r);
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
static move
whole_move(const run *r)
{
    move m = {.size = {r->size[0], r->size[1], r->size[2]},
              .high = {r->size[0], r->size[1], r->size[2]}};

    m.rows_join = r->now.step[2] == 1 && r->now.step[1] == r->size[2] &&
                  !r->flip[1] && !r->flip[2];
    return m;
}

/* Nothing waits any more: `now` is `data`, dense f32 of the size given. */
static mr_err
becomes(run *r, const void *data, const uint64_t size[3])
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
    return MR_OK;
}

/* A plane that `now` is not in. */
static float *
other_plane(run *r, const uint64_t size[3], int *which)
{
    *which = r->plane == 0 ? 1 : 0;
    return mri_room_take(&r->x->planes[*which],
                         r->now.channels * size[0] * size[1] * size[2],
                         sizeof(float));
}

/* Carry out what waits, into a plane; m says how much of it. */
static mr_err
settle(run *r, move *m)
{
    uint64_t size[3] = {m->size[0], m->size[1], m->size[2]};
    int which;
    float *to = other_plane(r, size, &which);
    mri_exec_out out = {to, MR_F32};
    mr_err err = to != NULL ? move_all(r, m, &out) : no_memory(r);

    if (err == MR_OK) {
        r->plane = which;
        err = becomes(r, to, size);
    }
    return err;
}

static mr_err
settle_all(run *r)
{
    move m = whole_move(r);

    return r->dense && nothing_waits(r) ? MR_OK : settle(r, &m);
}

/* Channels change places; what waits for them is done before. */
static mr_err
do_select(run *r, const mri_act *act)
{
    mr_err err = r->n_points != 0 ? settle_all(r) : MR_OK;
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
do_box(run *r, const mri_act *act)
{
    move m = {.pad = act->pad};
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
        return settle(r, &m);
    }
    for (unsigned k = 0; k < 3; k++) {
        uint64_t first = (uint64_t)act->first[k];

        r->first[k] += r->flip[k] ? r->size[k] - first - act->size[k] : first;
        r->size[k] = act->size[k];
    }
    return MR_OK;
}

static mr_err
do_minmax(run *r, mri_act *act)
{
    mr_err err = settle_all(r);
    uint32_t channels = r->now.channels;
    uint64_t n = r->size[0] * r->size[1] * r->size[2];
    float *a, low = 0, high = 0;

    if (err != MR_OK) {
        return err;
    }
    a = mri_room_take(&r->x->ranges, 2 * (uint64_t)channels, sizeof *a);
    if (a == NULL) {
        return no_memory(r);
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

/* Rows of all channels side by side can be summed as they are. */
static bool
side_by_side(const mri_pixels *p)
{
    bool yes = p->step[2] > 1;

    for (uint32_t c = 0; c < p->channels; c++) {
        yes = yes && p->at[c] < p->step[2];
    }
    return yes;
}

/* The part of `now` that a resampling reads. */
static move
part_for(const run *r, const mri_act *act)
{
    move m = {.size = {r->size[0]}, .high = {r->size[0]}};
    uint64_t shrink = r->now.shrink;

    for (unsigned k = 1; k < 3; k++) {
        uint64_t first = (uint64_t)act->first[k], end = first + act->size[k];

        end = (end + shrink - 1) / shrink;
        m.first[k] = first / shrink;
        m.size[k] = (end < r->size[k] ? end : r->size[k]) - m.first[k];
        m.high[k] = m.size[k];
    }
    return m;
}

/* What waits is done for the part that is read; `now` then holds that part,
 * and still knows how large the whole is. */
static mr_err
settle_part(run *r, const mri_act *act)
{
    move m = part_for(r, act);
    unsigned shrink = r->now.shrink;
    uint64_t size[3];
    mr_err err;

    memcpy(size, r->size, sizeof size);
    err = settle(r, &m);
    if (err != MR_OK) {
        return err;
    }
    r->now.shrink = shrink;
    for (unsigned k = 0; k < 3; k++) {
        r->now.first[k] = k > 0 ? m.first[k] : 0;
        r->now.size[k] = r->size[k] = size[k];
    }
    r->dense = false;
    return MR_OK;
}

/* The part as f32, in the layout that it has. */
static mr_err
widen_part(run *r, const mri_act *act)
{
    move m = part_for(r, act);
    mri_pixels *p = &r->now;
    bool joined = side_by_side(p);
    uint64_t each = joined ? p->step[2] : 1, n = m.size[2] * each;
    uint64_t rows = m.size[1], groups = joined ? 1 : p->channels;
    mri_load how = {.dtype = p->dtype,
                    .step = 1,
                    .scaled = p->scaled,
                    .slope = p->slope,
                    .inter = p->inter};
    float *to = mri_room_take(&r->x->widened, groups * rows * n, sizeof *to);

    if (to == NULL) {
        return no_memory(r);
    }
    for (uint64_t g = 0; g < groups; g++) {
        for (uint64_t y = 0; y < rows; y++) {
            how.from =
                mri_pixels_at(p, (uint32_t)g, 0, m.first[1] + y, m.first[2]);
            if (joined) { /* from the first of the channels stored */
                how.from = (const uint8_t *)how.from -
                           p->at[0] * mr_dtype_bytes(p->dtype);
            }
            r->k->load(to + (g * rows + y) * n, &how, n);
        }
        if (!joined) {
            r->places[g] = g * rows * n;
        }
    }
    p->data = to;
    p->dtype = MR_F32;
    p->clean = true;
    p->scaled = false;
    p->step[1] = n;
    for (unsigned k = 1; k < 3; k++) {
        p->first[k] = m.first[k];
        p->have[k] = m.size[k];
    }
    return MR_OK;
}

/* Geometry of a resampling, shared by its blocks of lines. */
typedef struct frame {
    const float *from;  /* first value of the part that is read */
    uint64_t row;       /* from one row to the next */
    uint64_t width;     /* values of a row that are read */
    uint64_t each;      /* from one x to the next */
    uint64_t top, left; /* of the part that is read */
    bool flip_y, flip_x;
    uint64_t out[2];
    float *lines, *turned, *summed;
    const float **rows; /* [taps] */
} frame;

/* Up to MRI_LINES rows of the result, before the pass along the row. */
static void
sum_down(const run *r, const frame *f, uint64_t y, unsigned count)
{
    const mri_taps *t = &r->x->down;

    for (unsigned i = 0; i < count; i++) {
        uint64_t j = f->flip_y ? f->out[0] - 1 - (y + i) : y + i;
        const float *first = f->from + (t->first[j] - f->top) * f->row;
        unsigned n = t->count[j];
        float *line = f->lines + i * f->width;

        for (unsigned k = 0; k < n; k++) {
            f->rows[k] = first + k * f->row;
        }
        r->k->sum_rows(line, f->width, f->rows, t->weight + j * t->stride, n);
    }
}

static void
sum_along(const run *r, const frame *f, uint64_t place)
{
    const mri_taps *t = &r->x->along;

    for (uint64_t i = 0; i < f->out[1]; i++) {
        uint64_t at = (t->first[i] - f->left) * f->each + place;

        r->k->sum_turned(f->summed + i * MRI_LINES, f->turned + at * MRI_LINES,
                         f->each * MRI_LINES, t->weight + i * t->stride,
                         t->count[i]);
    }
}

/* All rows of one group of channels: those that stand side by side, or one. */
static void
resample_group(const run *r, const frame *f, uint32_t first, uint32_t end,
               float *to)
{
    uint64_t plane = f->out[0] * f->out[1];

    for (uint64_t y = 0; y < f->out[0]; y += MRI_LINES) {
        unsigned count =
            f->out[0] - y < MRI_LINES ? (unsigned)(f->out[0] - y) : MRI_LINES;

        sum_down(r, f, y, count);
        r->k->turn(f->turned, f->lines, f->width, f->width);
        for (uint32_t c = first; c < end; c++) {
            sum_along(r, f, f->each > 1 ? r->now.at[c] : 0);
            r->k->turn_back(to + c * plane + y * f->out[1], f->out[1],
                            f->summed, f->out[1], count, f->flip_x);
        }
    }
}

static mr_err
frame_rooms(run *r, frame *f)
{
    f->lines = mri_room_take(&r->x->lines, f->width * MRI_LINES, sizeof(float));
    f->turned =
        mri_room_take(&r->x->turned, f->width * MRI_LINES, sizeof(float));
    f->summed =
        mri_room_take(&r->x->summed, f->out[1] * MRI_LINES, sizeof(float));
    f->rows = mri_room_take(&r->x->rows, r->x->down.stride, sizeof *f->rows);
    if (f->lines == NULL || f->turned == NULL || f->summed == NULL ||
        f->rows == NULL) {
        return no_memory(r);
    }
    /* The last block may have fewer lines: what is summed there is thrown
     * away, but must be a number. */
    memset(f->lines, 0, f->width * MRI_LINES * sizeof(float));
    return MR_OK;
}

static mr_err
resample_into(run *r, const mri_act *act, const bool flip[3], float *to)
{
    const mri_pixels *p = &r->now;
    bool joined = side_by_side(p);
    move m = part_for(r, act);
    frame f = {.row = p->step[1],
               .each = joined ? p->step[2] : 1,
               .top = p->first[1],
               .left = m.first[2],
               .flip_y = flip[1],
               .flip_x = flip[2],
               .out = {act->out[0], act->out[1]}};
    mr_err err;

    f.width = m.size[2] * f.each;
    err = frame_rooms(r, &f);
    if (err != MR_OK) {
        return err;
    }
    for (uint32_t c = 0; c < p->channels; c++) {
        f.from = (const float *)p->data + (joined ? 0 : p->at[c]) +
                 (m.first[2] - p->first[2]) * p->step[2];
        resample_group(r, &f, c, joined ? p->channels : c + 1, to);
        if (joined) {
            break;
        }
    }
    return MR_OK;
}

/* Where an act's result goes: straight out, if only operations on single
 * values follow. */
static float *
place_result(run *r, const mri_act *after, const mri_act *end,
             const uint64_t size[3], int *which)
{
    while (after < end && after->kind == MRI_ACT_POINT) {
        after++;
    }
    if (after == end && r->out->dtype == MR_F32) {
        *which = -1;
        return r->out->data;
    }
    return other_plane(r, size, which);
}

/* A flip that nothing but operations on single values separates from a
 * resampling is folded into it. The act is used up. */
static void
fold_flip(mri_act *after, const mri_act *end, bool flip[3])
{
    while (after < end && after->kind == MRI_ACT_POINT) {
        after++;
    }
    if (after < end && after->kind == MRI_ACT_FLIP) {
        memcpy(flip, after->flip, 3 * sizeof *flip);
        *after = (mri_act){.kind = MRI_ACT_FLIP};
    }
}

static bool
still(const mri_act *act)
{
    return act->kind == MRI_ACT_FLIP && !act->flip[0] && !act->flip[1] &&
           !act->flip[2];
}

static mr_err
do_resample(run *r, mri_act *act, mri_act *end)
{
    uint64_t size[3] = {1, act->out[0], act->out[1]};
    bool flip[3] = {false};
    bool plain = r->now.step[2] == 1 || side_by_side(&r->now);
    mri_act *after = act + 1;
    mr_err err = MR_OK;
    float *to;
    int which;

    fold_flip(after, end, flip);
    while (after < end && (after->kind == MRI_ACT_POINT || still(after))) {
        after++;
    }
    if (!plain || !nothing_waits(r)) {
        err = settle_part(r, act);
    } else if (!r->now.clean) {
        err = widen_part(r, act);
    }
    if (err == MR_OK) {
        err = mri_exec_taps(&r->x->down, &r->x->along, &r->now, act, r->diag);
    }
    if (err != MR_OK) {
        return err;
    }
    to = place_result(r, after, end, size, &which);
    err = to != NULL ? resample_into(r, act, flip, to) : no_memory(r);
    if (err != MR_OK) {
        return err;
    }
    r->plane = which;
    return becomes(r, to, size);
}

/* One plane; `line` has room for a row and what is reflected at its ends. */
static void
blur_plane(const run *r, const mri_act *act, const float *from, float *to,
           float *line)
{
    int64_t radius = act->taps / 2;
    uint64_t height = r->size[1], width = r->size[2];
    const float *rows[MRI_BLUR_MAX], *shifted[MRI_BLUR_MAX];

    for (unsigned k = 0; k < act->taps; k++) {
        shifted[k] = line + k;
    }
    for (uint64_t y = 0; y < height; y++) {
        float *middle = line + radius;

        for (unsigned k = 0; k < act->taps; k++) {
            rows[k] =
                from +
                mri_reflect((int64_t)y + (int64_t)k - radius, height) * width;
        }
        r->k->sum_rows(middle, width, rows, act->kernel, act->taps);
        for (int64_t i = 1; i <= radius; i++) {
            middle[-i] = middle[i];
            middle[(int64_t)width - 1 + i] = middle[(int64_t)width - 1 - i];
        }
        r->k->sum_rows(to + y * width, width, shifted, act->kernel, act->taps);
    }
}

static mr_err
do_blur(run *r, const mri_act *act, const mri_act *end)
{
    mr_err err = settle_all(r);
    uint64_t size[3], plane;
    float *to, *line;
    int which;

    if (err != MR_OK) {
        return err;
    }
    memcpy(size, r->size, sizeof size);
    plane = size[1] * size[2];
    to = place_result(r, act + 1, end, size, &which);
    line = mri_room_take(&r->x->lines, size[2] + MRI_BLUR_MAX, sizeof *line);
    if (to == NULL || line == NULL) {
        return no_memory(r);
    }
    for (uint32_t c = 0; c < r->now.channels; c++) {
        blur_plane(r, act, (const float *)r->now.data + c * plane,
                   to + c * plane, line);
    }
    r->plane = which;
    return becomes(r, to, size);
}

static mr_err
do_act(run *r, mri_act *act, mri_act *end)
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
        return do_blur(r, act, end);
    case MRI_ACT_RESAMPLE:
        break;
    }
    return do_resample(r, act, end);
}

static mr_err
begin(run *r, const mri_pixels *from, const mri_act *acts, unsigned count)
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
        return no_memory(r);
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
    run r = {
        .x = x, .k = mri_kernels_now(), .diag = diag, .out = out, .plane = -1};
    mr_err err = begin(&r, from, acts, count);
    move m;

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
