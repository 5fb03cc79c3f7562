/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_near.c - acts that look at neighbours: resampling and blur.
 *
 * A resampling sums down the columns for MRI_LINES rows of the result at once,
 * turns them so that the rows stand side by side, and sums along the rows with
 * all of them in one vector. Channels that are stored side by side stay so
 * until they are written.
 */
#include "exec_run.h"

#include <string.h>

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
static mri_move
part_for(const mri_run *r, const mri_act *act)
{
    mri_move m = {.size = {r->size[0]}, .high = {r->size[0]}};
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
settle_part(mri_run *r, const mri_act *act)
{
    mri_move m = part_for(r, act);
    unsigned shrink = r->now.shrink;
    uint64_t size[3];
    mr_err err;

    memcpy(size, r->size, sizeof size);
    err = mri_run_settle(r, &m);
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
widen_part(mri_run *r, const mri_act *act)
{
    mri_move m = part_for(r, act);
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
        return mri_run_no_memory(r);
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
sum_down(const mri_run *r, const frame *f, uint64_t y, unsigned count)
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
sum_along(const mri_run *r, const frame *f, uint64_t place)
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
resample_group(const mri_run *r, const frame *f, uint32_t first, uint32_t end,
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
frame_rooms(mri_run *r, frame *f)
{
    f->lines = mri_room_take(&r->x->lines, f->width * MRI_LINES, sizeof(float));
    f->turned =
        mri_room_take(&r->x->turned, f->width * MRI_LINES, sizeof(float));
    f->summed =
        mri_room_take(&r->x->summed, f->out[1] * MRI_LINES, sizeof(float));
    f->rows = mri_room_take(&r->x->rows, r->x->down.stride, sizeof *f->rows);
    if (f->lines == NULL || f->turned == NULL || f->summed == NULL ||
        f->rows == NULL) {
        return mri_run_no_memory(r);
    }
    /* The last block may have fewer lines: what is summed there is thrown
     * away, but must be a number. */
    memset(f->lines, 0, f->width * MRI_LINES * sizeof(float));
    return MR_OK;
}

static mr_err
resample_into(mri_run *r, const mri_act *act, const bool flip[3], float *to)
{
    const mri_pixels *p = &r->now;
    bool joined = side_by_side(p);
    mri_move m = part_for(r, act);
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
place_result(mri_run *r, const mri_act *after, const mri_act *end,
             const uint64_t size[3], int *which)
{
    while (after < end && after->kind == MRI_ACT_POINT) {
        after++;
    }
    if (after == end && r->out->dtype == MR_F32) {
        *which = -1;
        return r->out->data;
    }
    return mri_run_plane(r, size, which);
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

mr_err
mri_run_resample(mri_run *r, mri_act *act, mri_act *end)
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
    if (!plain || !mri_run_idle(r)) {
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
    err = to != NULL ? resample_into(r, act, flip, to) : mri_run_no_memory(r);
    if (err != MR_OK) {
        return err;
    }
    r->plane = which;
    mri_run_becomes(r, to, size);
    return MR_OK;
}

/* One plane; `line` has room for a row and what is reflected at its ends. */
static void
blur_plane(const mri_run *r, const mri_act *act, const float *from, float *to,
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

mr_err
mri_run_blur(mri_run *r, const mri_act *act, const mri_act *end)
{
    mr_err err = mri_run_settle_all(r);
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
        return mri_run_no_memory(r);
    }
    for (uint32_t c = 0; c < r->now.channels; c++) {
        blur_plane(r, act, (const float *)r->now.data + c * plane,
                   to + c * plane, line);
    }
    r->plane = which;
    mri_run_becomes(r, to, size);
    return MR_OK;
}
