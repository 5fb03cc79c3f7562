/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint.c - all that a run must remember, in one safetensors file.
 *
 * step-N is written first; last and best are further names of that file (or
 * copies, where a file system has no links), put in place by renaming. So at
 * every moment, whatever is killed, each name is a whole checkpoint or absent.
 */
#include "run.h"

#include <mri/alloc.h>
#include <mri/conf.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/json.h>
#include <mri/safetensors.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "checkpoints/"
#define LAST_NAME "last.safetensors"
#define STEP_NAME "step-%08" PRIu64 ".safetensors"

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* ---- what stands in the metadata ---- */

static mri_weights_info
describe(const run *r, const char **channels, const char **classes)
{
    mri_weights_info info = {.vit = r->net.vit,
                             .arch = r->config.arch,
                             .class_count = mr_stream_classes(r->stream),
                             .step = r->step,
                             .seed = r->config.seed};

    for (uint32_t i = 0; i < mr_stream_channels(r->stream); i++) {
        channels[i] = mr_stream_channel_name(r->stream, i);
    }
    for (uint32_t i = 0; i < info.class_count; i++) {
        classes[i] = mr_stream_class_name(r->stream, i);
    }
    info.classes = classes;
    info.channels =
        mr_stream_channels(r->stream) == r->net.vit.channels ? channels : NULL;
    return info;
}

/* The pipeline as the stream's canonical text has it, numbers filled in. */
static char *
canonical_pipeline(const mr_stream *s)
{
    const char *text = mr_stream_canonical(s);
    mri_conf *root;
    const mri_conf *pipeline;
    mri_json j = {0};
    char *out = NULL;

    if (mri_conf_parse(&root, text, strlen(text), NULL) != MR_OK) {
        return NULL;
    }
    pipeline = mri_conf_get(root, "pipeline");
    if (pipeline != NULL) {
        mri_conf_json(pipeline, &j);
        out = mri_strdup(mri_json_done(&j));
    }
    mri_json_release(&j);
    mri_conf_free(root);
    return out;
}

static void
put_config(const run *r, mri_json *j)
{
    mri_json_key(j, "config");
    mri_json_object(j);
    for (const mri_opt *o = r->config.keys; o->kind != MRI_OPT_END; o++) {
        mri_bytes text = {0};

        if (run_config_defines(o->long_name)) {
            j->failed = j->failed || !run_config_text(o, &text);
            mri_json_key(j, o->long_name);
            mri_json_bytes(j, (const char *)text.data, text.len);
        }
        mri_bytes_release(&text);
    }
    mri_json_end(j);
}

static void
put_progress(const run *r, mri_json *j)
{
    uint8_t cursor[MR_CURSOR_BYTES];
    char hex[2 * MR_CURSOR_BYTES + 1];
    mri_dino_counts counts = mri_dino_counts_get(r->dino);

    mr_stream_cursor(r->stream, cursor);
    mri_json_put_text(j, "cursor", mri_hex(hex, cursor, sizeof cursor));
    mri_json_key(j, "stream");
    mri_json_raw(j, mr_stream_canonical(r->stream));
    mri_json_key(j, "optimizer_steps");
    mri_json_array(j);
    mri_json_u64(j, counts.steps);
    mri_json_u64(j, counts.last_layer);
    mri_json_end(j);
    mri_json_put_u64(j, "steps", r->schedule.steps);
    mri_json_put_f64(j, "best_loss", r->best); /* null: none yet */
    mri_json_put_f64(j, "loss_sum", r->sum);
    mri_json_put_u64(j, "loss_count", r->summed);
}

/* mri_free. NULL: no memory. */
static char *
write_state(const run *r)
{
    uint32_t channel_count = mr_stream_channels(r->stream);
    uint32_t class_count = mr_stream_classes(r->stream);
    const char **names =
        mri_alloc((size_t)channel_count + class_count + 1, sizeof *names);
    char *pipeline = canonical_pipeline(r->stream);
    char *out = NULL;
    mri_json j = {0};

    if (names != NULL && pipeline != NULL) {
        mri_weights_info info = describe(r, names, names + channel_count);

        info.pipeline = pipeline;
        mri_json_object(&j);
        mri_weights_put(&j, &info);
        put_progress(r, &j);
        put_config(r, &j);
        mri_json_end(&j);
        out = mri_strdup(mri_json_done(&j));
    }
    mri_json_release(&j);
    mri_free(pipeline);
    mri_free((void *)names);
    return out;
}

/* ---- writing ---- */

/* All tensors as the host sees them. */
typedef struct snapshot {
    mri_st_item *items;
    size_t count;
    unsigned char *memory;
    char *state;
} snapshot;

static void
snapshot_release(snapshot *s)
{
    mri_free(s->items);
    mri_free(s->memory);
    mri_free(s->state);
}

static mr_err
take_snapshot(const run *r, snapshot *s, mr_diag *diag)
{
    uint64_t bytes = 0, at = 0;
    mr_err err = MR_OK;

    s->count = mri_dino_tensors(r->dino);
    s->items = mri_alloc(s->count, sizeof *s->items);
    for (size_t i = 0; i < s->count; i++) {
        bytes += mri_dino_tensor_at(r->dino, i).bytes;
    }
    s->memory = mri_alloc(bytes, 1);
    s->state = write_state(r);
    if (s->items == NULL || s->memory == NULL || s->state == NULL) {
        return no_memory(diag);
    }
    for (size_t i = 0; err == MR_OK && i < s->count; i++) {
        mri_dino_tensor t = mri_dino_tensor_at(r->dino, i);

        s->items[i] = (mri_st_item){.name = t.name,
                                    .dtype = MR_F32,
                                    .rank = t.rank,
                                    .data = s->memory + at};
        memcpy(s->items[i].shape, t.shape, sizeof t.shape);
        err = mri_dino_get(r->dino, i, s->memory + at, diag);
        at += t.bytes;
    }
    return err;
}

static mr_err
write_file(const snapshot *s, const char *path, mr_diag *diag)
{
    const mri_st_meta meta = {MRI_STATE_KEY, s->state};

    return mri_st_write(path, s->items, s->count, &meta, 1, diag);
}

/* RUN/checkpoints/NAME; mri_free. */
static char *
path_of(const run *r, const char *name)
{
    mri_bytes b = {0};

    if (!mri_bytes_text(&b, "%s/" FOLDER "%s", r->options->out, name)) {
        mri_bytes_release(&b);
    }
    return (char *)b.data;
}

/* Another name for a file, in place of what had it. */
static mr_err
give_name(const run *r, const snapshot *s, const char *from, const char *name,
          mr_diag *diag)
{
    const mri_file_ops *ops = mri_file_now();
    char *to = path_of(r, name), *temp = path_of(r, ".part-link");
    mr_err err = to != NULL && temp != NULL ? MR_OK : no_memory(diag);
    bool linked;

    if (err == MR_OK) {
        (void)ops->unlink(temp);
        linked = ops->link(from, temp) == 0 && ops->rename(temp, to) == 0;
        if (!linked) { /* no links here: a file of its own */
            (void)ops->unlink(temp);
            err = write_file(s, to, diag);
        }
    }
    mri_free(temp);
    mri_free(to);
    return err;
}

static int
down(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* Steps of all step-N, newest first; mri_free. NULL: none, or no memory. */
static uint64_t *
list_steps(const char *dir, size_t *count)
{
    DIR *d = opendir(dir);
    uint64_t *steps = NULL;
    struct dirent *e;

    *count = 0;
    while (d != NULL && (e = readdir(d)) != NULL) {
        uint64_t step, *more;
        char again[64];

        if (sscanf(e->d_name, "step-%" SCNu64, &step) != 1) {
            continue;
        }
        (void)snprintf(again, sizeof again, STEP_NAME, step);
        if (strcmp(again, e->d_name) != 0) {
            continue; /* not one of ours */
        }
        more = mri_resize(steps, *count + 1, sizeof *steps);
        if (more == NULL) {
            break;
        }
        steps = more;
        steps[(*count)++] = step;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    if (steps != NULL) {
        qsort(steps, *count, sizeof *steps, down);
    }
    return steps;
}

/* The oldest go. That one cannot is no reason to stop. */
static void
prune(run *r)
{
    char *dir = path_of(r, "");
    size_t count = 0;
    uint64_t *steps = dir != NULL ? list_steps(dir, &count) : NULL;

    for (size_t i = r->config.keep; i < count; i++) {
        char name[64];
        char *path;

        (void)snprintf(name, sizeof name, STEP_NAME, steps[i]);
        path = path_of(r, name);
        if (path != NULL && mri_file_now()->unlink(path) != 0) {
            run_log(&r->record, "cannot remove %s: %s", name, strerror(errno));
        }
        mri_free(path);
    }
    mri_free(steps);
    mri_free(dir);
}

/* True if the steps since the last checkpoint were the best so far. The loss
 * of the warm-up is no measure: it is low before anything was learned. */
static bool
is_best(run *r)
{
    double mean = r->sum / (double)r->summed;
    bool best =
        r->summed != 0 && r->step > r->schedule.warmup && !(mean >= r->best);

    r->best = best ? mean : r->best;
    r->sum = 0;
    r->summed = 0;
    return best;
}

static mr_err
save_due(run *r, const snapshot *s, bool best, mr_diag *diag)
{
    char name[64];
    char *path;
    mr_err err;

    (void)snprintf(name, sizeof name, STEP_NAME, r->step);
    path = path_of(r, name);
    err = path != NULL ? write_file(s, path, diag) : no_memory(diag);
    if (err == MR_OK) {
        err = give_name(r, s, path, LAST_NAME, diag);
    }
    if (err == MR_OK && best) {
        err = give_name(r, s, path, "best.safetensors", diag);
    }
    mri_free(path);
    return err;
}

/* Read back what was written: what lies on the disk is what gets a hash. */
static mr_err
prove(const char *path, mr_train_report *report, mr_diag *diag)
{
    mri_st *st;
    mr_err err = mri_st_open(&st, path, diag);

    if (err == MR_OK) {
        (void)snprintf(report->hash, sizeof report->hash, "%s",
                       mri_st_meta_get(st, "millrace.xxh3.data"));
        (void)snprintf(report->checkpoint, sizeof report->checkpoint, "%s",
                       path);
    }
    mri_st_close(st);
    return err;
}

mr_err
run_save(run *r, bool due, mr_train_report *report, mr_diag *diag)
{
    snapshot s = {0};
    char *last = path_of(r, LAST_NAME), *dir = path_of(r, "");
    bool best = due && is_best(r);
    mr_err err = last != NULL && dir != NULL ? take_snapshot(r, &s, diag)
                                             : no_memory(diag);

    if (err == MR_OK) {
        err = due ? save_due(r, &s, best, diag) : write_file(&s, last, diag);
    }
    if (err == MR_OK) {
        err = mri_dir_sync(dir, diag);
    }
    if (err == MR_OK) {
        err = prove(last, report, diag);
    }
    if (err == MR_OK) {
        run_log(&r->record, "step %" PRIu64 ": saved%s, data %s", r->step,
                best ? ", the best so far" : "", report->hash);
        prune(r);
    }
    snapshot_release(&s);
    mri_free(last);
    mri_free(dir);
    return err;
}

/* ---- going on ---- */

/* Values of long texts are of no use in a line. */
static int
shown(const char *text)
{
    return (int)(strlen(text) < 60 ? strlen(text) : 60);
}

/* Every key that makes the run what it is must be as it was. */
static mr_err
same_config(const run *r, const mri_conf *was, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (const mri_opt *o = r->config.keys;
         err == MR_OK && o->kind != MRI_OPT_END; o++) {
        const mri_conf *old =
            was != NULL ? mri_conf_get(was, o->long_name) : NULL;
        mri_bytes now = {0};

        if (old == NULL || old->kind != MRI_CONF_TEXT) {
            continue; /* a key that is younger than the run */
        }
        if (!run_config_text(o, &now) || !mri_bytes_add(&now, "", 1)) {
            err = no_memory(diag);
        } else if (strcmp((char *)now.data, old->text) != 0) {
            err = mri_fail(diag, MRI_E_RUN_OTHER, MR_NOWHERE,
                           "%s was %.*s when the run began and is %.*s now",
                           o->long_name, shown(old->text), old->text,
                           shown((char *)now.data), (char *)now.data);
        }
        mri_bytes_release(&now);
    }
    return err;
}

static mr_err
bad_state(const char *what, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_RUN_STATE, MR_NOWHERE,
                    "no %s in " MRI_STATE_KEY " that can be used", what);
}

static mr_err
take_counts(run *r, const mri_conf *state, mr_diag *diag)
{
    const mri_conf *pair = mri_conf_get(state, "optimizer_steps");
    mri_dino_counts counts;

    if (pair == NULL || pair->kind != MRI_CONF_LIST || pair->count != 2 ||
        pair->items[0].kind != MRI_CONF_TEXT ||
        pair->items[1].kind != MRI_CONF_TEXT ||
        !mri_parse_u64(pair->items[0].text, &counts.steps) ||
        !mri_parse_u64(pair->items[1].text, &counts.last_layer)) {
        return bad_state("optimizer_steps", diag);
    }
    mri_dino_counts_set(r->dino, counts);
    return MR_OK;
}

static mr_err
take_cursor(run *r, const mri_conf *state, mr_diag *diag)
{
    const mri_conf *text = mri_conf_get(state, "cursor");
    uint8_t cursor[MR_CURSOR_BYTES];

    if (text == NULL || text->kind != MRI_CONF_TEXT ||
        strlen(text->text) != 2 * sizeof cursor ||
        !mri_unhex(cursor, sizeof cursor, text->text)) {
        return bad_state("cursor", diag);
    }
    return mr_stream_seek(r->stream, cursor, diag);
}

static mr_err
take_losses(run *r, const mri_conf *state, mr_diag *diag)
{
    const mri_conf *best = mri_conf_get(state, "best_loss");
    mr_err err = MR_OK;

    if (best != NULL && best->kind == MRI_CONF_TEXT) {
        err = mri_conf_f64(best, "best_loss", &r->best, diag);
    }
    if (err == MR_OK && mri_conf_get(state, "loss_sum") == NULL) {
        return bad_state("loss_sum", diag);
    }
    if (err == MR_OK) {
        err = mri_conf_f64(mri_conf_get(state, "loss_sum"), "loss_sum", &r->sum,
                           diag);
    }
    if (err == MR_OK && mri_conf_get(state, "loss_count") == NULL) {
        return bad_state("loss_count", diag);
    }
    return err == MR_OK ? mri_conf_u64(mri_conf_get(state, "loss_count"),
                                       "loss_count", &r->summed, diag)
                        : err;
}

static mr_err
take_tensors(run *r, const mri_weights *w, mr_diag *diag)
{
    mr_err err = MR_OK;

    for (size_t i = 0; err == MR_OK && i < mri_dino_tensors(r->dino); i++) {
        mri_dino_tensor t = mri_dino_tensor_at(r->dino, i);
        const float *data = NULL;

        err = mri_weights_find(w, t.name, t.rank, t.shape, &data, diag);
        if (err == MR_OK) {
            err = mri_dino_put(r->dino, i, data, diag);
        }
    }
    return err;
}

static mr_err
take_state(run *r, const mri_weights *w, mr_diag *diag)
{
    const char *text = mri_weights_state(w);
    mri_conf *state;
    mr_err err = mri_conf_parse(&state, text, strlen(text), diag);

    if (err != MR_OK) {
        return err;
    }
    r->step = mri_weights_info_of(w)->step;
    err = same_config(r, mri_conf_get(state, "config"), diag);
    if (err == MR_OK) {
        err = take_cursor(r, state, diag);
    }
    if (err == MR_OK) {
        err = take_counts(r, state, diag);
    }
    if (err == MR_OK) {
        err = take_losses(r, state, diag);
    }
    mri_conf_free(state);
    return err;
}

mr_err
run_load(run *r, mr_train_report *report, mr_diag *diag)
{
    char *path = path_of(r, LAST_NAME);
    mri_weights *w;
    mr_err err;

    if (path == NULL) {
        return no_memory(diag);
    }
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        mri_free(path);
        return mri_dino_init(r->dino, r->config.seed, diag);
    }
    err = mri_weights_open(&w, path, diag);
    if (err == MR_OK) {
        err = take_state(r, w, diag);
    }
    if (err == MR_OK) {
        err = take_tensors(r, w, diag);
    }
    if (err == MR_OK) {
        (void)snprintf(report->hash, sizeof report->hash, "%s",
                       mri_weights_hash(w));
        (void)snprintf(report->checkpoint, sizeof report->checkpoint, "%s",
                       path);
    } else {
        mri_diag_in(diag, path);
    }
    mri_weights_close(w);
    mri_free(path);
    return err;
}
