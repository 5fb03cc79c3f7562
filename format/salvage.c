/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage.c - shard after shard: what is intact into a shard of the new
 * dataset, what is not to the caller by name; then one commit.
 */
#include <mri/salvage.h>

#include "frame.h"
#include "salvage_body.h"
#include "salvage_names.h"
#include "salvage_out.h"
#include "salvage_source.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/json.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A sample whose closing frame was found, saved or not. */
typedef struct found {
    uint64_t row, end; /* where its closing frame ends */
} found;

typedef struct run {
    const mri_salvage_options *o;
    mri_salvaged *report;
    mri_salvage_source source;
    mri_salvage_out out;
    mri_salvage_names names;
    mri_rescue rescue;
    uint64_t done_bytes; /* of the shards before this one */
    uint32_t ordered;    /* shards whose order the manifest says, first */
    /* The shard at hand. */
    uint32_t at;
    mri_body body;
    mri_shard_writer *writer;
    found *found;
    size_t found_count;
    uint64_t told; /* of its samples, lost */
} run;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
look(run *r, uint64_t at, mr_diag *diag)
{
    const mr_watch *w = r->o->watch;
    mr_progress now = {.unit = "bytes",
                       .done = r->done_bytes + at,
                       .total = r->source.bytes,
                       .bad = r->report->lost,
                       .bytes = r->done_bytes + at};

    if (w != NULL && w->progress != NULL) {
        w->progress(w->user, &now);
    }
    if (w != NULL && w->stop != NULL && w->stop(w->user)) {
        return mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
    }
    return MR_OK;
}

/* ---- the lost ones ---- */

static void
tell(run *r, mri_lost *lost)
{
    lost->shard = r->source.shards[r->at].path;
    r->report->lost += lost->count;
    r->report->more_lost = r->report->more_lost || lost->count == 0;
    r->told++;
    if (r->o->tell != NULL) {
        r->o->tell(r->o->user, lost);
    }
}

/* A row of the foot, if its page holds. */
static bool
foot_row(const run *r, uint64_t row, mri_sample_row *out)
{
    const uint8_t *p;

    if (!r->body.has_foot || row >= r->body.tail.samples ||
        mri_foot_row(&r->body.foot, MRI_TABLE_SAMPLES, row, &p, NULL) !=
            MR_OK) {
        return false;
    }
    mri_sample_row_get(out, p);
    return true;
}

/* One sample of which no closing frame is there; uid NULL: ask the foot. */
static void
tell_row(run *r, uint64_t row, const uint8_t *uid, const mr_diag *why)
{
    mri_sample_row sample;
    mri_lost lost = {.uid = uid, .row = row, .count = 1, .why = why};
    mr_diag at_frame = {0};

    if (foot_row(r, row, &sample)) {
        if (mri_salvage_withdrawn(&r->source, sample.uid)) {
            return;
        }
        lost.uid = uid != NULL ? uid : sample.uid;
        (void)mri_fail(&at_frame, MRI_E_SALVAGE_LOST, sample.meta_off,
                       "its closing frame is damaged or gone");
        mri_diag_in(&at_frame, r->source.shards[r->at].path);
        lost.why = &at_frame;
    }
    tell(r, &lost);
}

/* Rows first .. end - 1 have no closing frame that holds. */
static void
tell_gap(run *r, uint64_t first, uint64_t end, const mr_diag *why)
{
    uint64_t rows = r->body.has_foot ? r->body.tail.samples : 0;

    if (r->source.has_index) {
        size_t i = mri_salvage_live_from(&r->source, r->at, first);

        for (; i < r->source.live_count && r->source.live[i].shard == r->at &&
               r->source.live[i].row < end;
             i++) {
            tell_row(r, r->source.live[i].row, r->source.live[i].uid, why);
        }
        return;
    }
    for (; first < end && first < rows; first++) {
        tell_row(r, first, NULL, why);
    }
    if (first < end) {
        tell(r, &(mri_lost){.row = first, .count = end - first, .why = why});
    }
}

static int
by_row(const void *a, const void *b)
{
    const found *x = a, *y = b;

    return x->row < y->row ? -1 : x->row > y->row;
}

/* What lies between the samples found, and after the last of them. */
static void
tell_missing(run *r)
{
    const mri_salvage_shard *shard = &r->source.shards[r->at];
    uint64_t next = 0, at = MRI_ALIGN;
    mr_diag why = {0};

    if (r->found_count != 0) {
        qsort(r->found, r->found_count, sizeof *r->found, by_row);
    }
    mri_diag_in(&why, shard->path);
    for (size_t i = 0; i < r->found_count; i++) {
        (void)mri_fail(&why, MRI_E_SALVAGE_LOST, at,
                       "no closing frame is intact from here on");
        if (r->found[i].row >= next) {
            tell_gap(r, next, r->found[i].row, &why);
            next = r->found[i].row + 1;
            at = r->found[i].end;
        }
    }
    (void)mri_fail(&why, MRI_E_SALVAGE_LOST, at,
                   "no closing frame is intact from here on");
    if (r->source.has_index) {
        tell_gap(r, next, UINT64_MAX, &why);
    } else if (shard->has_ref) {
        tell_gap(r, next, shard->ref.samples, &why);
    } else if (r->body.has_foot) {
        tell_gap(r, next, r->body.tail.samples, &why);
    } else {
        (void)mri_fail(&why, MRI_E_SALVAGE_LOST, at,
                       "the shard's end is missing: nobody knows what stood "
                       "from here on");
        tell(r, &(mri_lost){.row = next, .why = &why});
    }
}

/* ---- the saved ones ---- */

static mr_err
begin_shard(run *r, mr_diag *diag)
{
    mri_schema schema;
    mr_err err;

    if (!mri_schema_of_pb(&schema, r->body.schema)) {
        return no_memory(diag);
    }
    err = mri_shard_begin(&r->writer, r->out.store.root, r->body.plan_tag,
                          &schema, diag);
    mri_schema_view_release(&schema);
    if (err == MR_OK && !mri_salvage_names_add(&r->names, r->body.schema)) {
        err = no_memory(diag);
    }
    return err;
}

static mr_err
save(run *r, mri_encoded *e, uint32_t split, mr_diag *diag)
{
    bool known, other;
    mr_err err = MR_OK;

    if (!mri_salvage_names_new(&r->names, &e->row, &known, &other)) {
        return no_memory(diag);
    }
    if (known) { /* it came back from another place already */
        r->report->two_labels += other && r->at >= r->ordered;
        return MR_OK;
    }
    if (r->writer == NULL) {
        err = begin_shard(r, diag);
    }
    if (err == MR_OK) {
        err = mri_shard_add(r->writer, e, diag);
    }
    if (err == MR_OK && r->source.has_index &&
        !mri_salvage_names_split(&r->names, e->row.key, split)) {
        err = no_memory(diag);
    }
    r->report->saved += err == MR_OK;
    return err;
}

/* Manifest and index, where there are any, do not say that it was
 * withdrawn. */
static bool
live(const run *r, const Mri__PbMeta *pb, uint32_t *split)
{
    size_t i;

    *split = MRI_SPLIT_BY_HASH;
    if (mri_salvage_withdrawn(&r->source, pb->uid.data)) {
        return false;
    }
    if (!r->source.has_index) {
        return true;
    }
    i = mri_salvage_live_from(&r->source, r->at, pb->row);
    if (i >= r->source.live_count || r->source.live[i].shard != r->at ||
        r->source.live[i].row != pb->row ||
        memcmp(r->source.live[i].uid, pb->uid.data, MR_UID_BYTES) != 0) {
        return false;
    }
    *split = r->source.live[i].split;
    return true;
}

static mr_err
take_sample(run *r, const mri_body_meta *meta, mr_diag *diag)
{
    Mri__PbMeta *pb;
    mri_encoded *e;
    mr_diag why = {0};
    uint32_t split;
    mr_err err = mri_body_sample(&r->body, meta, &r->rescue, &pb, &e, &why);

    if (err == MR_ENOMEM) {
        if (diag != NULL) {
            *diag = why;
        }
    } else if (pb == NULL) {
        err = MR_OK; /* a gap among the rows */
    } else {
        r->found[r->found_count++] = (found){pb->row, meta->at + meta->len};
        if (!live(r, pb, &split)) {
            err = MR_OK;
        } else if (err == MR_OK) {
            err = save(r, e, split, diag);
        } else {
            mri_diag_in(&why, r->source.shards[r->at].path);
            tell(r, &(mri_lost){.key = pb->key,
                                .uid = pb->uid.data,
                                .row = pb->row,
                                .count = 1,
                                .why = &why});
            err = MR_OK;
        }
    }
    mri_encoded_free(e);
    mri_meta_unpacked_free(pb);
    return err;
}

static mr_err
take_samples(run *r, mr_diag *diag)
{
    mri_shard_ref ref;
    mr_err err = MR_OK;

    r->found = mri_alloc(r->body.meta_count, sizeof *r->found);
    if (r->found == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; err == MR_OK && i < r->body.meta_count; i++) {
        err = look(r, r->body.metas[i].at, diag);
        if (err == MR_OK) {
            err = take_sample(r, &r->body.metas[i], diag);
        }
    }
    if (err == MR_OK && r->writer != NULL) {
        err = mri_shard_finish(r->writer, &ref, diag);
    }
    if (err == MR_OK && r->writer != NULL) {
        err = mri_salvage_out_add(&r->out, &ref, diag);
    }
    if (err == MR_OK) {
        tell_missing(r);
    }
    return err;
}

/* A shard that is not there or cannot be opened: all its samples are lost. */
static void
tell_shard_gone(run *r, const mr_diag *why)
{
    const mri_salvage_shard *shard = &r->source.shards[r->at];

    if (r->source.has_index || shard->has_ref) {
        tell_gap(r, 0, r->source.has_index ? UINT64_MAX : shard->ref.samples,
                 why);
    } else {
        tell(r, &(mri_lost){.why = why});
    }
}

static mr_err
take_shard(run *r, uint32_t i, mr_diag *diag)
{
    const mri_salvage_shard *shard = &r->source.shards[i];
    mr_diag why = {0};
    mr_err err;

    r->at = i;
    r->told = 0;
    r->found_count = 0;
    err = mri_body_load(&r->body, &r->source.store, shard->name, &why);
    if (err == MR_EIO && r->source.folder) {
        tell_shard_gone(r, &why);
        err = MR_OK;
    } else if (err == MR_OK) {
        err = mri_body_scan(
            &r->body, shard->has_ref ? &shard->ref : NULL,
            r->source.manifest != NULL ? r->source.manifest->schema : NULL,
            &why);
        r->rescue.all = (mri_inflation){.file_bytes = r->body.file.size};
        if (err == MR_OK) {
            r->report->names_lost |=
                r->body.names_lost && r->body.meta_count != 0;
            err = take_samples(r, &why);
        }
    }
    if (err != MR_OK && diag != NULL) {
        *diag = why;
    }
    r->report->shards++;
    r->report->shards_hurt += r->told != 0 || r->body.worn;
    r->report->unread += r->body.unread;
    r->report->bytes += r->body.file.size;
    r->done_bytes += r->body.file.size;
    mri_shard_close_writer(r->writer);
    r->writer = NULL;
    mri_free(r->found);
    r->found = NULL;
    mri_body_close(&r->body);
    return err;
}

/* Of a sample that stands twice the row in the later shard of the manifest's
 * list counts (relabel puts it there). The index says which one; without it the
 * last shard comes first, and a row before it fills in only where it is lost. */
static mr_err
take_shards(run *r, mr_diag *diag)
{
    mr_err err = MR_OK;

    if (r->source.manifest != NULL) {
        r->ordered = (uint32_t)r->source.manifest->n_shards;
    }
    for (uint32_t i = 0; err == MR_OK && i < r->source.count; i++) {
        bool back = i < r->ordered && !r->source.has_index;

        err = take_shard(r, back ? r->ordered - 1 - i : i, diag);
    }
    return err;
}

/* ---- the new dataset ---- */

static mr_err
write_history(const run *r, mr_diag *diag)
{
    char host[64] = "", when[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    mri_json j = {0};
    mr_err err;

    (void)gethostname(host, sizeof host - 1);
    if (gmtime_r(&now, &utc) != NULL) {
        (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    mri_json_object(&j);
    mri_json_put_text(&j, "what", "salvage");
    mri_json_put_u64(&j, "generation", r->report->generation);
    mri_json_put_text(&j, "when", when);
    mri_json_put_text(&j, "host", host);
    mri_json_put_text(&j, "user", getenv("USER"));
    mri_json_put_text(&j, "version", mr_version());
    mri_json_put_text(&j, "command", r->o->command);
    mri_json_put_u64(&j, "added", r->report->saved);
    mri_json_put_u64(&j, "lost", r->report->lost);
    mri_json_end(&j);
    err =
        mri_json_done(&j) != NULL
            ? mri_history_add(r->out.store.root, (const char *)j.out.data, diag)
            : no_memory(diag);
    mri_json_release(&j);
    return err;
}

static mr_err
commit(run *r, mr_diag *diag)
{
    const Mri__PbManifest *m = r->source.manifest;
    mri_schema schema = mri_salvage_names_schema(&r->names);
    mri_commit c = {.dir = r->out.store.root,
                    .shards = r->out.refs,
                    .shard_count = r->out.count,
                    .schema = &schema,
                    .layout = m != NULL ? m->layout : "salvaged",
                    .withdrawn = r->source.withdrawn,
                    .withdrawn_count = r->source.withdrawn_count,
                    .watch = r->o->watch};
    mr_err err = mri_salvage_splits(&r->names, m, &c, diag);

    if (err == MR_OK && r->source.has_index) {
        c.given_split = mri_salvage_names_given;
        c.user = &r->names;
    }
    if (err == MR_OK) {
        err = mri_dataset_commit(&c, &r->report->generation, diag);
    }
    return err;
}

static mr_err
work(run *r, bool *committed, mr_diag *diag)
{
    mr_err err = mri_salvage_source_open(&r->source, r->o->source, diag);

    if (err == MR_OK) {
        err = mri_salvage_out_open(
            &r->out, r->o->output,
            r->source.folder ? r->source.store.root : r->o->source, diag);
    }
    if (err == MR_OK && r->source.manifest != NULL &&
        !mri_salvage_names_add(&r->names, r->source.manifest->schema)) {
        err = no_memory(diag);
    }
    if (err == MR_OK) {
        err = take_shards(r, diag);
    }
    r->report->older_manifest =
        r->source.folder && (r->source.older || r->source.manifest == NULL);
    r->report->no_index = r->source.folder && !r->source.has_index;
    if (err == MR_OK && r->out.count == 0) {
        err = mri_fail(diag, MRI_E_SALVAGE_EMPTY, MR_NOWHERE,
                       "not one intact sample: nothing is created");
        mri_diag_in(diag, r->o->source);
    }
    if (err == MR_OK) {
        err = commit(r, diag);
        *committed = err == MR_OK;
    }
    return err == MR_OK ? write_history(r, diag) : err;
}

mr_err
mri_salvage(const mri_salvage_options *options, mri_salvaged *out,
            mr_diag *diag)
{
    run r = {.o = options,
             .report = out,
             .out = {.lock = {.fd = -1}},
             .body = {.file = {.fd = -1}}};
    bool committed = false;
    mr_err err;

    *out = (mri_salvaged){0};
    err = work(&r, &committed, diag);
    mri_salvage_out_close(&r.out, committed);
    mri_salvage_names_release(&r.names);
    mri_salvage_source_close(&r.source);
    mri_rescue_release(&r.rescue);
    return err;
}
