/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows_compute.c - one row: find its sample, draw, read what the draws need,
 * carry the acts out.
 */
#include "rows_types.h"

#include "kernels.h"

#include <mri/alloc.h>
#include <mri/clock.h>
#include <mri/dataset.h>

#include <math.h>
#include <string.h>

mri_rows_worker *
mri_rows_worker_open(void)
{
    mri_rows_worker *w = mri_alloc(1, sizeof *w);

    if (w != NULL && !mri_loader_init(&w->loader)) {
        mri_rows_worker_close(w);
        return NULL;
    }
    return w;
}

void
mri_rows_worker_close(mri_rows_worker *w)
{
    if (w == NULL) {
        return;
    }
    mri_loader_release(&w->loader);
    mri_exec_release(&w->exec);
    mri_room_release(&w->base);
    mri_room_release(&w->base_places);
    mri_room_release(&w->acts);
    mri_room_release(&w->pool);
    mri_room_release(&w->ranges);
    mri_free(w);
}

void
mri_rows_worker_times(mri_rows_worker *w, uint64_t *read_ns,
                      uint64_t *decode_ns, uint64_t *augment_ns)
{
    *read_ns = w->loader.read_ns;
    *decode_ns = w->loader.decode_ns;
    *augment_ns = w->augment_ns;
    w->loader.read_ns = w->loader.decode_ns = w->augment_ns = 0;
}

/* One row in the making. */
typedef struct making {
    const mri_rows *r;
    mri_rows_worker *w;
    uint64_t rank;
    mr_sample sample;
    uint64_t key; /* of its draws */
    void *const *to;
    uint64_t at; /* row of the memory in `to` */
    mr_diag *diag;
} making;

static mr_err
no_memory(const making *x)
{
    return mri_fail(x->diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static void *
place(const making *x, size_t tensor)
{
    return (uint8_t *)x->to[tensor] + x->at * x->r->tensors[tensor].bytes;
}

/* The views of a sample after their draws. */
typedef struct views {
    uint32_t count, channels;
    unsigned stride; /* acts that each has room for */
    mri_act *acts;   /* [count][stride]; each begins with the prefix */
    unsigned n[MRI_MAX_VIEWS];
    unsigned prefix;   /* acts before multi_crop, the same in all views */
    uint32_t wide;     /* channels after the prefix */
    float *low, *high; /* stored ranges of the channels, or NULL */
} views;

/* Ranges as stored at ingest; *known false if they cannot stand for a look at
 * the values. */
static mr_err
stored_ranges(const making *x, uint32_t field, const mr_field *f,
              const mri_axes *axes, views *v, bool *known)
{
    uint64_t each = axes->channels != 0
                        ? f->bytes / mr_dtype_bytes(f->dtype) / axes->channels
                        : 0;

    *known = axes->others == 0 ||
             (axes->others == 1 && f->axes[axes->channel] == 'C');
    for (uint32_t c = 0; *known && c < axes->channels; c++) {
        mr_moments m;
        mr_err err = mr_dataset_moments(x->r->ds, x->rank, field, c, &m, NULL);

        if (err == MR_ECORRUPT || err == MR_EIO) {
            return mr_dataset_moments(x->r->ds, x->rank, field, c, &m, x->diag);
        }
        v->low[c] = (float)m.min;
        v->high[c] = (float)m.max;
        *known = err == MR_OK && m.count == each && isfinite(v->low[c]) &&
                 isfinite(v->high[c]);
    }
    return MR_OK;
}

static mr_err
make_views(const making *x, const mri_form *form, views *v)
{
    const mri_pipeline *p = &x->r->pipeline;
    uint32_t most = form->channels;
    uint64_t floats;

    for (unsigned i = 0; i < p->count; i++) {
        if (mri_op_is(&p->ops[i], "select") &&
            p->ops[i].v[SELECT_CHANNELS].count > most) {
            most = p->ops[i].v[SELECT_CHANNELS].count;
        }
    }
    v->count = p->multi >= 0 ? p->globals + p->locals : 1;
    v->stride = p->count + 2;
    v->channels = most;
    floats = (uint64_t)v->count * 3 * (p->count + 1) * most;
    v->acts = mri_room_take(&x->w->acts, (uint64_t)v->count * v->stride,
                            sizeof *v->acts);
    v->low = mri_room_take(&x->w->ranges, 2 * (uint64_t)most, sizeof *v->low);
    if (v->acts == NULL || v->low == NULL ||
        mri_room_take(&x->w->pool, floats, sizeof(float)) == NULL) {
        return no_memory(x);
    }
    v->high = v->low + most;
    return MR_OK;
}

/* All draws of all views: acts only, no pixels. */
static void
decide_views(const making *x, const mri_form *form, bool ranges, views *v)
{
    const mri_pipeline *p = &x->r->pipeline;
    unsigned split = p->multi >= 0 ? (unsigned)p->multi : 0;
    mri_decider before = {.key = x->key,
                          .channels = form->channels,
                          .size = {form->size[0], form->size[1], form->size[2]},
                          .volume = form->volume,
                          .low = ranges ? v->low : NULL,
                          .high = ranges ? v->high : NULL,
                          .acts = v->acts,
                          .pool = x->w->pool.p};
    float *pool;

    for (unsigned i = 0; i < split; i++) {
        p->ops[i].def->decide(&p->ops[i], &before);
    }
    v->prefix = before.count;
    v->wide = before.channels;
    pool = before.pool;
    for (uint32_t k = 0; k < v->count; k++) {
        mri_decider d = before;

        d.view = k;
        d.acts = v->acts + (size_t)k * v->stride;
        d.pool = pool;
        if (k > 0) {
            memcpy(d.acts, v->acts, v->prefix * sizeof *d.acts);
        }
        for (unsigned i = split; i < p->count; i++) {
            p->ops[i].def->decide(&p->ops[i], &d);
        }
        pool = d.pool;
        v->n[k] = d.count;
    }
}

/* What all views together need of the picture, and at which size. */
static void
plan_load(const views *v, const mri_form *form, const mr_field *f,
          mri_load_want *want)
{
    uint64_t end[3] = {0};

    want->shrink = f->encoding == MR_ENC_JPEG ? 8 : 1;
    for (unsigned k = 0; k < 3; k++) {
        want->first[k] = UINT64_MAX;
    }
    for (uint32_t i = 0; i < v->count; i++) {
        const mri_act *acts = v->acts + (size_t)i * v->stride;
        unsigned shrink = mri_exec_shrink(acts, v->n[i]);
        uint64_t first[3], need[3];

        want->shrink = shrink < want->shrink ? shrink : want->shrink;
        mri_exec_needs(acts, v->n[i], form->size, first, need);
        for (unsigned k = 0; k < 3; k++) {
            want->first[k] =
                first[k] < want->first[k] ? first[k] : want->first[k];
            end[k] = first[k] + need[k] > end[k] ? first[k] + need[k] : end[k];
        }
    }
    for (unsigned k = 0; k < 3; k++) {
        uint64_t by = k > 0 ? want->shrink : 1;

        want->first[k] /= by;
        want->need[k] = mri_shrunk(end[k], (unsigned)by) - want->first[k];
    }
}

/* Only the channels that a leading select takes have to be read. */
static void
plan_channels(const views *v, mri_load_want *want)
{
    const mri_act *select = v->acts;

    want->channel_low = 0;
    want->channel_end = want->axes->channels;
    if (v->n[0] == 0 || select->kind != MRI_ACT_SELECT) {
        return;
    }
    want->channel_low = UINT32_MAX;
    want->channel_end = 0;
    for (uint32_t c = 0; c < select->channels; c++) {
        uint32_t at = select->map[c];

        want->channel_low = at < want->channel_low ? at : want->channel_low;
        want->channel_end =
            at + 1 > want->channel_end ? at + 1 : want->channel_end;
    }
}

/* Several views of one picture: what stands before multi_crop is done once,
 * for the part that any of them needs. */
static mr_err
make_base(const making *x, const views *v, mri_pixels *from)
{
    mri_act acts[MRI_ACTS_MAX];
    uint64_t n = from->have[1] * from->have[2];
    uint64_t *at = mri_room_take(&x->w->base_places, v->wide, sizeof *at);
    float *to = mri_room_take(&x->w->base, v->wide * n, sizeof *to);
    mri_exec_out out = {to, MR_F32};
    mr_err err;

    if (at == NULL || to == NULL) {
        return no_memory(x);
    }
    memcpy(acts, v->acts, v->prefix * sizeof *acts);
    acts[v->prefix] = (mri_act){.kind = MRI_ACT_BOX, .size = {1}};
    for (unsigned k = 1; k < 3; k++) {
        acts[v->prefix].first[k] = (int64_t)from->first[k];
        acts[v->prefix].size[k] = from->have[k];
    }
    err = mri_exec_run(&x->w->exec, from, acts, v->prefix + 1, &out, x->diag);
    if (err != MR_OK) {
        return err;
    }
    for (uint32_t c = 0; c < v->wide; c++) {
        at[c] = c * n;
    }
    from->data = to;
    from->dtype = MR_F32;
    from->clean = true;
    from->scaled = false;
    from->channels = v->wide;
    from->at = at;
    from->step[1] = from->have[2];
    from->step[2] = 1;
    return MR_OK;
}

/* The prefix moves pixels: its result has a size of its own. */
static bool
prefix_moves(const views *v)
{
    for (unsigned i = 0; i < v->prefix; i++) {
        if (v->acts[i].kind != MRI_ACT_SELECT &&
            v->acts[i].kind != MRI_ACT_POINT) {
            return true;
        }
    }
    return false;
}

static mr_err
run_views(const making *x, const views *v, mri_pixels *from)
{
    unsigned skip = 0;
    mr_err err = MR_OK;

    if (v->count > 1 && !prefix_moves(v)) {
        err = make_base(x, v, from);
        skip = v->prefix;
    }
    for (size_t i = 0; err == MR_OK && i < x->r->facts.tensor_count; i++) {
        const mr_stream_tensor *t = &x->r->tensors[i];
        bool local = x->r->roles[i] == MRI_ROLE_LOCAL;
        uint32_t first = local ? x->r->pipeline.globals : 0, count = 1;

        if (x->r->roles[i] > MRI_ROLE_LOCAL) {
            continue;
        }
        if (x->r->roles[i] != MRI_ROLE_IMAGE) {
            count = (uint32_t)t->shape[0];
        }
        for (uint32_t k = 0; err == MR_OK && k < count; k++) {
            mri_exec_out out = {(uint8_t *)place(x, i) + k * (t->bytes / count),
                                t->dtype};
            mri_act *acts = v->acts + (size_t)(first + k) * v->stride;

            err = mri_exec_run(&x->w->exec, from, acts + skip,
                               v->n[first + k] - skip, &out, x->diag);
        }
    }
    return err;
}

/* Everything that a pipeline makes of a sample. */
static mr_err
compute_views(const making *x)
{
    uint64_t start;
    bool ranges = false;
    mr_field f;
    mri_axes axes;
    mri_form form;
    views v = {0};
    mri_load_want want = {.ds = x->r->ds, .rank = x->rank};
    mri_pixels from;
    mr_err err = mri_rows_field(x->r->ds, x->rank, &x->sample, x->r->field,
                                &want.field, &f, x->diag);

    if (err == MR_FINISHED) {
        return mri_fail(x->diag, MRI_E_ROW_SHAPE, MR_NOWHERE,
                        "the sample has no field '%s'",
                        mr_dataset_field_name(x->r->ds, x->r->field));
    }
    if (err == MR_OK) {
        err = mri_axes_of(&axes, &f, x->diag);
    }
    if (err != MR_OK) {
        return err;
    }
    form = mri_form_of(&axes, &f);
    if (mri_rows_fits(x->r, &form, x->diag) != MR_OK) {
        return mri_fail(x->diag, MRI_E_ROW_SHAPE, MR_NOWHERE,
                        "the sample's %u x %llu x %llu x %llu do not fit the "
                        "stream",
                        form.channels, (unsigned long long)form.size[0],
                        (unsigned long long)form.size[1],
                        (unsigned long long)form.size[2]);
    }
    err = make_views(x, &form, &v);
    if (err == MR_OK && x->r->wants_ranges) {
        err = stored_ranges(x, want.field, &f, &axes, &v, &ranges);
    }
    if (err != MR_OK) {
        return err;
    }
    decide_views(x, &form, ranges, &v);
    want.f = &f;
    want.axes = &axes;
    plan_load(&v, &form, &f, &want);
    plan_channels(&v, &want);
    err = mri_loader_read(&x->w->loader, &want, &from, x->diag);
    if (err != MR_OK) {
        return err;
    }
    start = mri_now_ns();
    err = run_views(x, &v, &from);
    x->w->augment_ns += mri_now_ns() - start;
    return err;
}

/* A field as it is stored. */
static mr_err
compute_field(const making *x, size_t tensor)
{
    const mr_stream_tensor *t = &x->r->tensors[tensor];
    uint64_t start = mri_now_ns();
    uint32_t index;
    mr_field f;
    mri_axes axes;
    mr_tensor view;
    mr_err err = mri_rows_field(x->r->ds, x->rank, &x->sample,
                                x->r->fields[tensor], &index, &f, x->diag);

    if (err == MR_FINISHED ||
        (err == MR_OK && (f.dtype != t->dtype || f.rank != t->rank ||
                          memcmp(f.shape, t->shape, sizeof f.shape) != 0))) {
        return mri_fail(x->diag, MRI_E_ROW_SHAPE, MR_NOWHERE,
                        "field '%s' has another type or shape in this sample",
                        t->name);
    }
    if (err != MR_OK) {
        return err;
    }
    if (f.encoding == MR_ENC_JPEG) {
        mri_load_want want = {.ds = x->r->ds,
                              .rank = x->rank,
                              .field = index,
                              .f = &f,
                              .axes = &axes,
                              .shrink = 1};

        err = mri_axes_of(&axes, &f, x->diag);
        return err == MR_OK ? mri_loader_jpeg(&x->w->loader, &want,
                                              place(x, tensor), x->diag)
                            : err;
    }
    view = mr_tensor_of(place(x, tensor), t->dtype, t->rank, t->shape);
    err = mr_dataset_read(x->r->ds, x->rank, index, NULL, &view,
                          x->w->loader.scratch, x->diag);
    x->w->loader.read_ns += mri_now_ns() - start;
    return err;
}

static void
put_common(const making *x, size_t tensor)
{
    uint8_t *to = place(x, tensor);
    int32_t label = x->sample.class_index == MR_NO_CLASS
                        ? -1
                        : (int32_t)x->sample.class_index;

    if (x->r->roles[tensor] == MRI_ROLE_LABEL) {
        memcpy(to, &label, sizeof label);
    } else if (x->r->roles[tensor] == MRI_ROLE_UID) {
        memcpy(to, x->sample.uid, MR_UID_BYTES);
    } else if (x->r->roles[tensor] == MRI_ROLE_VALID) {
        *to = 1;
    }
}

/* Which sample stands at the row's position, and the key of its draws. */
static mr_err
find_sample(making *x, const mri_row_name *name)
{
    const mri_rows *r = x->r;
    mr_err err = mri_rows_rank(r, x->w, name, &x->rank, x->diag);

    if (err == MR_OK) {
        err = mr_dataset_sample(r->ds, x->rank, &x->sample, x->diag);
    }
    if (err == MR_OK) {
        x->key = mri_draw_key(name->seed, name->epoch, x->sample.uid,
                              name->position / r->facts.samples);
    }
    return err;
}

mr_err
mri_rows_compute(const mri_rows *r, mri_rows_worker *w,
                 const mri_row_name *name, void *const *to, uint64_t at,
                 uint8_t uid[MR_UID_BYTES], mr_diag *diag)
{
    making x = {.r = r, .w = w, .to = to, .at = at, .diag = diag};
    mri_dataset_facts facts;
    mr_err err;

    memset(uid, 0, MR_UID_BYTES);
    if (name->position >= r->facts.samples && r->facts.tail != MR_TAIL_WRAP) {
        mri_rows_mask(&r->facts, to, at);
        return MR_OK;
    }
    err = find_sample(&x, name);
    if (err == MR_OK) {
        memcpy(uid, x.sample.uid, MR_UID_BYTES);
    }
    if (err == MR_OK && r->piped) {
        err = compute_views(&x);
    }
    for (size_t i = 0; err == MR_OK && i < r->facts.tensor_count; i++) {
        if (r->roles[i] == MRI_ROLE_FIELD) {
            err = compute_field(&x, i);
        } else {
            put_common(&x, i);
        }
    }
    if (err != MR_OK) {
        mri_dataset_facts_of(r->ds, &facts);
        mri_diag_in(diag, facts.dir);
    }
    return err;
}

void
mri_rows_mask(const mri_rows_facts *facts, void *const *to, uint64_t row)
{
    for (size_t i = 0; i < facts->tensor_count; i++) {
        uint64_t bytes = facts->tensors[i].bytes;

        memset((uint8_t *)to[i] + row * bytes, 0, bytes);
    }
}

bool
mri_rows_damage(mr_err err)
{
    return err == MR_ECORRUPT || err == MR_EFORMAT;
}
