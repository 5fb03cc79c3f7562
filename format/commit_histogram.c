/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit_histogram.c - percentiles of a generation in the making.
 *
 * A sample's split is known only now, so its values are counted now: it is
 * decoded once more, most often out of the page cache. Histograms add up, so a
 * later generation takes those of the one before, counts what has come and
 * takes away what has gone; that gives the same numbers as counting all.
 */
#include "commit.h"

#include "chunk.h"
#include "commit_pieces.h"
#include "dataset_read.h"
#include "picture.h"
#include "shard_stats.h"

#include <mri/alloc.h>
#include <mri/cpu.h>
#include <mri/error.h>
#include <mri/thread.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROOM ((uint64_t)256 << 20)    /* for bins in memory */
#define PACKED_ROOM ((size_t)4 << 20) /* in a manifest: opening reads it */

enum { WORKERS = 32 };

typedef struct worker {
    mr_scratch *scratch;
    mri_bytes pixels;
    mri_stat_proof cover; /* the label over the field at hand */
    mri_bytes under;
    uint32_t *bins; /* [parts][channels][bins.count] */
    uint64_t counted;
} worker;

/* One field. */
typedef struct counting {
    mri_making *c;
    uint32_t field;
    mri_bins bins;
    mri_pieces pieces;
    mri_pool *pool;
    worker workers[WORKERS];
    unsigned worker_count;
    bool lost;   /* what was counted before cannot be used */
    bool unread; /* a sample is damaged */
    /* The pass at hand: some channels, one split, one direction. */
    uint32_t first, channels;
    uint64_t *sum, *all; /* [parts][channels][bins.count] */
    const mri_piece_of *piece;
    uint64_t done, total; /* pieces, in all passes */
    pthread_mutex_t lock;
} counting;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mri_stats *
stats_at(const mri_making *c, uint32_t split, uint32_t field)
{
    return &c->stats[(size_t)split * c->in->schema->field_count + field];
}

/* All of a field, and what lies under labels if there is such. */
static uint32_t
parts_of(const counting *x)
{
    return x->bins.covered ? 2 : 1;
}

static size_t
bins_of(const counting *x)
{
    return (size_t)parts_of(x) * x->channels * x->bins.count;
}

/* ---- counting ---- */

/* What a worker has counted goes into the sum. */
static void
hand_over(counting *x, worker *w, bool minus)
{
    size_t n = bins_of(x);

    pthread_mutex_lock(&x->lock);
    for (size_t i = 0; i < n; i++) {
        if (w->bins[i] == 0) {
            continue;
        }
        x->lost = x->lost || (minus && x->sum[i] < w->bins[i]);
        x->sum[i] += minus ? (uint64_t)0 - w->bins[i] : w->bins[i];
    }
    pthread_mutex_unlock(&x->lock);
    memset(w->bins, 0, n * sizeof *w->bins);
    w->counted = 0;
}

/* The channels of a box that are wanted now. */
static void
channels_of(const counting *x, const mri_grid_row *g, const mr_box *box,
            uint32_t *first, uint32_t *end)
{
    *first = 0;
    *end = 1;
    for (unsigned i = 0; i < g->ndim; i++) {
        if (g->axes[i] == 'C') {
            *first = (uint32_t)box->first[i];
            *end = (uint32_t)(box->first[i] + box->size[i]);
            break;
        }
    }
    *first = *first < x->first ? x->first : *first;
    *end = *end > x->first + x->channels ? x->first + x->channels : *end;
}

/* False: no memory. */
static bool
count_chunk(counting *x, worker *w, const mri_grid_row *g, const mr_box *box,
            const double scale[2])
{
    uint32_t channel, end, start = 0;

    for (unsigned i = 0; i < g->ndim; i++) {
        if (g->axes[i] == 'C') {
            start = (uint32_t)box->first[i];
            break;
        }
    }
    channels_of(x, g, box, &channel, &end);
    if (w->cover.has_cover) {
        mri_cover cover = {&w->cover.cover_grid, w->cover.cover.data};

        if (!mri_cover_under(&w->under, &cover, g, box)) {
            return false;
        }
    }
    for (; channel < end; channel++) {
        uint32_t *bins = w->bins + (size_t)(channel - x->first) * x->bins.count;
        mri_bin_run run = {
            .dtype = (mr_dtype)g->dtype,
            .pixels = w->pixels.data,
            .lanes = mri_lanes_of(g->axes, g->ndim, box->size, channel - start),
            .slope = scale[0],
            .inter = scale[1]};

        mri_bins_count(&x->bins, bins, &run);
        if (w->cover.has_cover) {
            run.under = w->under.data;
            mri_bins_count(&x->bins, bins + (size_t)x->channels * x->bins.count,
                           &run);
        }
    }
    return true;
}

static mr_err
read_chunk(worker *w, const mri_shard *s, const mri_grid_row *g,
           const mr_box *box, mr_diag *diag)
{
    size_t bytes =
        (size_t)mri_box_len(box, g->ndim) * mr_dtype_bytes((mr_dtype)g->dtype);
    mr_tensor t;

    w->pixels.len = 0;
    if (!mri_bytes_reserve(&w->pixels, bytes)) {
        return no_memory(diag);
    }
    t = mr_tensor_of(w->pixels.data, (mr_dtype)g->dtype, g->ndim, box->size);
    return mri_shard_read_box(s, g, box, &t, w->scratch, diag);
}

/* Room for `n` more in the bins of a worker. */
static void
make_room(counting *x, worker *w, uint64_t n, bool minus)
{
    if (n > UINT32_MAX - w->counted) {
        hand_over(x, w, minus);
    }
    w->counted += n;
}

static mr_err
count_array(counting *x, worker *w, const mri_piece_of *p,
            const mri_grid_row *g, const double scale[2], mr_diag *diag)
{
    mr_err err = MR_OK;

    for (uint64_t k = 0; err == MR_OK && k < mri_grid_chunks(g); k++) {
        uint32_t first, end;
        mr_box box;

        mri_chunk_box(g, k, &box);
        channels_of(x, g, &box, &first, &end);
        if (first >= end) {
            continue;
        }
        make_room(x, w, mri_box_len(&box, g->ndim), p->minus);
        err = read_chunk(w, p->shard, g, &box, diag);
        if (err == MR_OK && !count_chunk(x, w, g, &box, scale)) {
            err = no_memory(diag);
        }
    }
    return err;
}

/* A picture whose rows come one after the other, into w->pixels. */
typedef struct rows_to {
    counting *x;
    worker *w;
    const mri_grid_row *g;
    const double *scale;
    bool minus;
    bool starved;
} rows_to;

static void
count_rows(void *user, const uint8_t *rows, uint32_t first, uint32_t count)
{
    rows_to *to = user;
    mr_box box = {.first = {first}, .size = {count}};

    (void)rows; /* they are in to->w->pixels */
    for (unsigned i = 1; i < to->g->ndim; i++) {
        box.size[i] = to->g->dims[i];
    }
    make_room(to->x, to->w, mri_box_len(&box, to->g->ndim), to->minus);
    if (!count_chunk(to->x, to->w, to->g, &box, to->scale)) {
        to->starved = true;
    }
}

static mr_err
count_picture(counting *x, worker *w, const mri_piece_of *p,
              const mri_grid_row *g, const double scale[2], mr_diag *diag)
{
    rows_to to = {.x = x, .w = w, .g = g, .scale = scale, .minus = p->minus};
    mri_picture picture = {.g = g, .take = count_rows, .user = &to};
    mr_err err = mri_shard_read_verbatim(p->shard, g, &picture.jpeg,
                                         &picture.bytes, w->scratch, diag);

    if (err == MR_OK) {
        err = mri_picture_read(&picture, &w->pixels, diag);
    }
    return err == MR_OK && to.starved ? no_memory(diag) : err;
}

static mr_err
count_grid(counting *x, worker *w, const mri_piece_of *p,
           const mri_sample_row *row, uint32_t i, mr_diag *diag)
{
    const char *name = x->c->in->schema->field_names[x->field];
    double scale[2];
    mri_grid_row g;
    mr_err err = mri_shard_grid(p->shard, row, i, &g, diag);

    if (err != MR_OK ||
        (g.encoding != MR_ENC_CHUNKS && g.encoding != MR_ENC_JPEG) ||
        strcmp(p->shard->schema->fields[g.field]->name, name) != 0) {
        return err;
    }
    err = mri_shard_scale(p->shard, row, i, scale, diag);
    w->cover.has_cover = false;
    if (err == MR_OK && x->bins.covered && g.ndim != 0) {
        err = mri_shard_load_cover(p->shard, row, &g, &w->cover, w->scratch,
                                   diag);
    }
    if (err != MR_OK) {
        return err;
    }
    return g.encoding == MR_ENC_JPEG ? count_picture(x, w, p, &g, scale, diag)
                                     : count_array(x, w, p, &g, scale, diag);
}

/* Damage does not end a commit: it may be what is being withdrawn. */
static mr_err
forgive(counting *x, const mri_piece_of *p, mr_err err)
{
    bool lost = p->minus && (err == MR_ECORRUPT || err == MR_EIO);
    bool unread = !p->minus && err == MR_ECORRUPT;

    if (!lost && !unread) {
        return err;
    }
    pthread_mutex_lock(&x->lock);
    x->lost = x->lost || lost;
    x->unread = x->unread || unread;
    pthread_mutex_unlock(&x->lock);
    return MR_OK;
}

/* With the lock held: nobody is told twice at once. */
static void
tell(counting *x)
{
    const mr_watch *w = x->c->in->watch;
    mr_progress now = {
        .unit = "samples counted", .done = ++x->done, .total = x->total};

    if (w != NULL && w->progress != NULL) {
        w->progress(w->user, &now);
    }
}

static mr_err
count_piece(void *arg, size_t task, unsigned worker_index, mr_diag *diag)
{
    counting *x = arg;
    worker *w = &x->workers[worker_index];
    const mri_piece_of *p = &x->piece[task];
    mri_sample_row row;
    bool stop, over;
    mr_err err;

    pthread_mutex_lock(&x->lock);
    stop = mri_making_stopped(x->c);
    over = x->lost || x->unread;
    tell(x);
    pthread_mutex_unlock(&x->lock);
    if (stop) {
        return mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
    }
    if (over) {
        return MR_OK;
    }
    err = mri_shard_sample(p->shard, p->row, &row, diag);
    for (uint32_t i = 0; err == MR_OK && i < row.n_grid; i++) {
        err = count_grid(x, w, p, &row, i, diag);
    }
    return forgive(x, p, err);
}

/* All pieces of one split that come, or all that go. */
static mr_err
count_pieces(counting *x, uint32_t split, bool minus, mr_diag *diag)
{
    size_t first = 0, end;
    mr_err err;

    while (first < x->pieces.count && (x->pieces.at[first].split != split ||
                                       x->pieces.at[first].minus != minus)) {
        first++;
    }
    for (end = first;
         end < x->pieces.count && x->pieces.at[end].split == split &&
         x->pieces.at[end].minus == minus;
         end++) {
    }
    if (first == end) {
        return MR_OK;
    }
    x->piece = &x->pieces.at[first];
    err = mri_pool_run(x->pool, end - first, count_piece, x, diag);
    for (unsigned i = 0; err == MR_OK && i < x->worker_count; i++) {
        hand_over(x, &x->workers[i], minus);
    }
    return err;
}

/* ---- the results ---- */

/* Row `i` of the sum, and what is packed in other bins. */
static bool
add_packed(counting *x, uint32_t i, const mri_bins *old,
           const ProtobufCBinaryData *packed, uint64_t *room)
{
    memset(room, 0, old->count * sizeof *room);
    if (!mri_bins_unpack(old, room, packed->data, packed->len)) {
        return false;
    }
    mri_bins_convert(&x->bins, x->sum + (size_t)i * x->bins.count, old, room);
    return true;
}

/* What the generation before has counted of a split. */
static mr_err
load_counts(counting *x, uint32_t split, mr_diag *diag)
{
    const Mri__PbStatistics *pb = mri_pieces_counted(&x->pieces, split);
    mri_bins old;
    uint64_t *room;
    bool ok = true;

    if (pb == NULL) {
        return MR_OK;
    }
    old = mri_bins_of_pb(pb);
    room = mri_alloc(old.count, sizeof *room);
    if (room == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < x->channels && x->first + i < pb->n_channels;
         i++) {
        const ProtobufCBinaryData *packed =
            mri_histogram_of_pb(pb, x->first + i);

        ok = ok && add_packed(x, i, &old, packed, room);
        if (x->bins.covered) {
            packed = &pb->channels[x->first + i]->foreground_histogram;
            ok = ok && add_packed(x, x->channels + i, &old, packed, room);
        }
    }
    x->lost = x->lost || !ok;
    mri_free(room);
    return MR_OK;
}

static void
find_percentiles(const counting *x, uint32_t split, const uint64_t *bins)
{
    mri_stats *s = stats_at(x->c, split, x->field);

    for (uint32_t i = 0; i < x->channels && x->first + i < s->channels; i++) {
        mr_channel_stats *st = &s->channel[x->first + i];
        const uint64_t *count = bins + (size_t)i * x->bins.count;

        mri_percentiles(st->percentile, &x->bins, count, 0, &st->all);
        mri_percentiles(st->nonzero_percentile, &x->bins, count,
                        st->all.count - st->nonzero.count, &st->nonzero);
        if (x->bins.covered) {
            count += (size_t)x->channels * x->bins.count;
            mri_percentiles(st->foreground_percentile, &x->bins, count, 0,
                            &st->foreground);
        }
        st->exact = x->bins.kind == MRI_BINS_STORED;
    }
}

static mr_err
keep_split(counting *x, uint32_t split, mr_diag *diag)
{
    mri_stats *s = stats_at(x->c, split, x->field);
    size_t n = bins_of(x);

    find_percentiles(x, split, x->sum);
    s->bins = x->bins;
    if (s->histogram == NULL) {
        s->histogram = mri_alloc(s->channels, 2 * sizeof *s->histogram);
    }
    if (s->histogram == NULL) {
        return no_memory(diag);
    }
    for (uint32_t i = 0; i < x->channels && x->first + i < s->channels; i++) {
        for (uint32_t part = 0; part < parts_of(x); part++) {
            mri_bytes *to = &s->histogram[part * s->channels + x->first + i];
            size_t row = (size_t)part * x->channels + i;

            to->len = 0;
            if (!mri_bins_pack(to, &x->bins, x->sum + row * x->bins.count)) {
                return no_memory(diag);
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        x->all[i] += x->sum[i];
    }
    return MR_OK;
}

/* Some channels of the field, in all splits. */
static mr_err
count_channels(counting *x, mr_diag *diag)
{
    size_t n = bins_of(x);
    uint32_t splits = x->c->in->split_count;
    mr_err err = MR_OK;

    memset(x->all, 0, n * sizeof *x->all);
    for (uint32_t s = 0; err == MR_OK && s < splits && !x->lost && !x->unread;
         s++) {
        memset(x->sum, 0, n * sizeof *x->sum);
        err = load_counts(x, s, diag);
        if (err == MR_OK) {
            err = count_pieces(x, s, false, diag);
        }
        if (err == MR_OK) {
            err = count_pieces(x, s, true, diag);
        }
        if (err == MR_OK) {
            err = keep_split(x, s, diag);
        }
    }
    if (err == MR_OK) {
        find_percentiles(x, splits, x->all);
        stats_at(x->c, splits, x->field)->bins = x->bins;
    }
    return err;
}

static void
close_counting(counting *x)
{
    mri_pool_close(x->pool);
    for (unsigned i = 0; i < x->worker_count; i++) {
        mr_scratch_close(x->workers[i].scratch);
        mri_bytes_release(&x->workers[i].pixels);
        mri_stat_proof_release(&x->workers[i].cover);
        mri_bytes_release(&x->workers[i].under);
        mri_free(x->workers[i].bins);
    }
    mri_free(x->sum);
    mri_free(x->all);
    x->pool = NULL;
    x->sum = x->all = NULL;
    memset(x->workers, 0, sizeof x->workers);
}

unsigned
mri_making_workers(const mri_making *c, size_t tasks)
{
    unsigned want = c->in->workers != 0 ? c->in->workers : mri_cpu_count();

    want = want < tasks ? want : (unsigned)tasks;
    want = want < 1 ? 1 : want;
    return want < WORKERS ? want : WORKERS;
}

/* Threads and bins: as many channels at once as there is room for. */
static mr_err
open_counting(counting *x, uint32_t channels, mr_diag *diag)
{
    uint64_t each;

    x->worker_count = mri_making_workers(x->c, x->pieces.count);
    each = (uint64_t)x->bins.count * (4 * x->worker_count + 16) * parts_of(x);
    x->channels = ROOM / each < channels ? (uint32_t)(ROOM / each) : channels;
    x->sum = mri_alloc(bins_of(x), sizeof *x->sum);
    x->all = mri_alloc(bins_of(x), sizeof *x->all);
    if (x->sum == NULL || x->all == NULL) {
        return no_memory(diag);
    }
    for (unsigned i = 0; i < x->worker_count; i++) {
        worker *w = &x->workers[i];

        w->scratch = mr_scratch_open();
        w->bins = mri_alloc(bins_of(x), sizeof *w->bins);
        if (w->scratch == NULL || w->bins == NULL) {
            return no_memory(diag);
        }
    }
    return mri_pool_open(&x->pool, x->worker_count, diag);
}

static mr_err
count_field(counting *x, mr_diag *diag)
{
    uint32_t channels =
        stats_at(x->c, x->c->in->split_count, x->field)->channels;
    mr_err err = channels != 0 ? open_counting(x, channels, diag) : MR_OK;
    uint32_t at_once = x->channels;

    x->lost = x->unread = false;
    x->done = 0;
    x->total = channels != 0 && at_once != 0
                   ? (channels + at_once - 1) / at_once * x->pieces.count
                   : 0;
    for (x->first = 0;
         err == MR_OK && x->first < channels && !x->lost && !x->unread;
         x->first += at_once) {
        x->channels =
            channels - x->first < at_once ? channels - x->first : at_once;
        err = count_channels(x, diag);
    }
    close_counting(x);
    return err;
}

static void
drop_packed(const mri_making *c, uint32_t field, uint32_t part)
{
    for (uint32_t s = 0; s < c->in->split_count; s++) {
        mri_stats *st = stats_at(c, s, field);

        for (uint32_t i = 0; st->histogram != NULL && i < st->channels; i++) {
            mri_bytes_release(&st->histogram[part * st->channels + i]);
        }
    }
}

/* Packed histograms are kept as far as they leave a manifest small. */
static void
limit_packed(const mri_making *c, uint32_t field, uint32_t part, size_t *left)
{
    size_t bytes = 0;

    for (uint32_t s = 0; s < c->in->split_count; s++) {
        const mri_stats *st = stats_at(c, s, field);

        for (uint32_t i = 0; st->histogram != NULL && i < st->channels; i++) {
            bytes += st->histogram[part * st->channels + i].len;
        }
    }
    if (bytes > *left) {
        drop_packed(c, field, part);
    } else {
        *left -= bytes;
    }
}

static void
no_percentiles(const mri_making *c, uint32_t field)
{
    for (uint32_t s = 0; s <= c->in->split_count; s++) {
        mri_stats *of = stats_at(c, s, field);

        of->bins = (mri_bins){.kind = MRI_BINS_NONE};
        for (uint32_t k = 0; k < of->channels; k++) {
            mr_channel_stats *st = &of->channel[k];

            for (int q = 0; q < MR_PERCENTILES; q++) {
                st->percentile[q] = st->nonzero_percentile[q] =
                    st->foreground_percentile[q] = (double)NAN;
            }
            st->exact = false;
        }
    }
    drop_packed(c, field, 0);
    drop_packed(c, field, 1);
}

/* Does a label of any sample cover anything? */
static bool
has_foreground(const counting *x)
{
    const mri_stats *s = stats_at(x->c, x->c->in->split_count, x->field);

    for (uint32_t i = 0; !x->c->uncovered && i < s->channels; i++) {
        if (s->channel[i].foreground.count != 0) {
            return true;
        }
    }
    return false;
}

static mr_err
do_field(counting *x, mr_diag *diag)
{
    mr_err err = mri_bins_choose(&x->bins, x->c, x->field, diag);

    if (err != MR_OK || x->bins.kind == MRI_BINS_NONE) {
        return err;
    }
    x->bins.covered = has_foreground(x);
    if (x->bins.decoded && x->c->undecoded) {
        for (uint32_t s = 0; s <= x->c->in->split_count; s++) {
            stats_at(x->c, s, x->field)->bins = x->bins;
        }
        return MR_OK;
    }
    err = mri_pieces_find(&x->pieces, x->c, x->field, &x->bins, diag);
    if (err == MR_OK) {
        err = count_field(x, diag);
    }
    if (err == MR_OK && x->lost) { /* the counts before do not hold */
        mri_pieces_release(&x->pieces);
        err = mri_pieces_all(&x->pieces, x->c, diag);
        if (err == MR_OK) {
            err = count_field(x, diag);
        }
    }
    if (err == MR_OK && x->unread) {
        no_percentiles(x->c, x->field);
    }
    mri_pieces_release(&x->pieces);
    return err;
}

mr_err
mri_making_histograms(mri_making *c, mr_diag *diag)
{
    size_t left[2] = {PACKED_ROOM, PACKED_ROOM};
    mr_err err = MR_OK;

    for (uint32_t f = 0; err == MR_OK && f < c->in->schema->field_count; f++) {
        counting x = {.c = c, .field = f};

        no_percentiles(c, f);
        pthread_mutex_init(&x.lock, NULL);
        err = do_field(&x, diag);
        pthread_mutex_destroy(&x.lock);
        limit_packed(c, f, 0, &left[0]);
        limit_packed(c, f, 1, &left[1]);
    }
    return err;
}
