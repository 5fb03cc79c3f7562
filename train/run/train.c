/* SPDX-License-Identifier: Apache-2.0 */
/* train.c - open a run's folder, go on where it was, and turn the wheel. */
#include "run.h"

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/clock.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/json.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOSSES 20 /* steps whose mean is the first and the last loss */

mr_train_options
mr_train_defaults(void)
{
    return (mr_train_options){.recipe = "dino"};
}

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

/* ---- the folder ---- */

static bool
is_there(const char *dir, const char *name)
{
    char *path = mri_path_join(dir, name);
    bool there = path != NULL && access(path, F_OK) == 0;

    mri_free(path);
    return there;
}

/* Nothing but what a run's first moments leave behind. */
static bool
is_empty(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    bool empty = true;

    while (d != NULL && empty && (e = readdir(d)) != NULL) {
        empty = e->d_name[0] == '.' || strcmp(e->d_name, "checkpoints") == 0;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return empty;
}

/* Said before anything costs time. */
static mr_err
check_folder(const run *r, mr_diag *diag)
{
    const char *out = r->options->out;
    mr_err err;

    if (is_there(out, "config.yaml") || is_empty(out)) {
        return MR_OK;
    }
    err = mri_fail(diag, MRI_E_RUN_FOLDER, MR_NOWHERE,
                   "holds other things, and no config.yaml of a run");
    mri_diag_in(diag, out);
    return err;
}

static mr_err
open_folder(run *r, mr_diag *diag)
{
    const char *out = r->options->out;
    char *lock = mri_path_join(out, ".lock");
    char *checkpoints = mri_path_join(out, "checkpoints");
    mr_err err = lock != NULL && checkpoints != NULL ? MR_OK : no_memory(diag);

    if (err == MR_OK) {
        err = mri_dir_make(out, diag);
    }
    if (err == MR_OK) {
        err = mri_lock_take(&r->lock, lock, diag);
    }
    if (err == MR_OK) {
        err = mri_dir_make(checkpoints, diag);
    }
    if (err == MR_OK) {
        mri_dir_sweep(out);
        mri_dir_sweep(checkpoints);
    }
    mri_free(lock);
    mri_free(checkpoints);
    return err;
}

static mr_err
write_config(const run *r, mr_diag *diag)
{
    char *path = mri_path_join(r->options->out, "config.yaml");
    mri_bytes text = {0};
    char hex[33];
    bool ok = path != NULL &&
              mri_bytes_text(&text,
                             "# A run of millrace %s, and a recipe for "
                             "another.\n# stream %s\n",
                             mr_version(),
                             mri_hex(hex, mr_stream_id(r->stream), 16)) &&
              run_config_yaml(&r->config, &text);
    mr_err err =
        ok ? mri_file_put(path, text.data, text.len, MRI_PUT_REPLACE, diag)
           : no_memory(diag);

    mri_bytes_release(&text);
    mri_free(path);
    return err;
}

/* ---- one step ---- */

/* Another row of the batch in place of each that nobody could read. */
static mr_err
replace_masked(mr_batch *b, uint64_t *replaced, mr_diag *diag)
{
    static const char *const names[] = {"global", "local"};
    const uint8_t *valid = mr_batch_tensor(b, "valid")->data;
    uint64_t rows = mr_batch_rows(b);

    *replaced = rows - mr_batch_valid_rows(b);
    if (*replaced == rows) {
        return mri_fail(diag, MRI_E_SHARD_DAMAGED, MR_NOWHERE,
                        "not one record of a batch can be read");
    }
    for (uint64_t i = 0; *replaced != 0 && i < rows; i++) {
        uint64_t from = i;

        while (valid[from] == 0) {
            from = (from + 1) % rows;
        }
        for (size_t t = 0; from != i && t < MRI_COUNT(names); t++) {
            const mr_tensor *all = mr_batch_tensor(b, names[t]);
            uint64_t bytes = all != NULL ? mr_tensor_bytes(all) / rows : 0;

            if (all != NULL) {
                memcpy((char *)all->data + i * bytes,
                       (const char *)all->data + from * bytes, bytes);
            }
        }
    }
    return MR_OK;
}

/* uids of the rows that were replaced, or of all, as a JSON array. */
static void
put_uids(mri_json *j, const mr_batch *b, bool all)
{
    const uint8_t *valid = mr_batch_tensor(b, "valid")->data;
    const uint8_t *uid = mr_batch_tensor(b, "uid")->data;
    char hex[2 * MR_UID_BYTES + 1];

    mri_json_array(j);
    for (uint64_t i = 0; i < mr_batch_rows(b); i++) {
        if (all || valid[i] == 0) {
            mri_json_text(j,
                          mri_hex(hex, uid + i * MR_UID_BYTES, MR_UID_BYTES));
        }
    }
    mri_json_end(j);
}

static void
measure_gradients(const run *r, run_metrics *m)
{
    double sum = 0, clip = r->config.clip;

    for (size_t i = 0; i < mri_dino_trained(r->dino); i++) {
        double n = (double)r->norms[i];

        sum += n * n;
        m->clipped += clip > 0 && n > clip;
    }
    m->grad_norm = sqrt(sum);
}

/* The loss is no number: say of which samples. */
static void
blame(run *r, const mr_batch *b, const mr_diag *why)
{
    mri_json j = {0};
    const char *text;

    put_uids(&j, b, true);
    text = mri_json_done(&j);
    run_log(&r->record, "step %" PRIu64 ": %s", r->step + 1, why->text);
    if (text != NULL) {
        run_log(&r->record, "its samples: %s", text);
    }
    mri_json_release(&j);
}

static mr_err
record_step(run *r, const mr_batch *b, run_metrics *m, uint64_t replaced,
            mr_diag *diag)
{
    mri_json j = {0};
    mr_err err;

    if (replaced != 0) {
        put_uids(&j, b, false);
        m->damaged = mri_json_done(&j);
    }
    err = run_record_step(&r->record, m, diag);
    mri_json_release(&j);
    return err;
}

static mr_err
train_on(run *r, mr_batch *b, run_metrics *m, mr_diag *diag)
{
    const mr_tensor *local = mr_batch_tensor(b, "local");
    const mri_dino_batch in = {.global = mr_batch_tensor(b, "global")->data,
                               .local = local != NULL ? local->data : NULL,
                               .seed = r->config.seed,
                               .step = r->step};
    mr_err err;

    m->rates = mri_dino_rates_at(&r->schedule, r->step);
    err = mri_dino_step(r->dino, &in, &m->rates, &m->loss, r->norms, diag);
    if (err == MR_ECORRUPT && diag != NULL) {
        blame(r, b, diag);
    }
    return err;
}

static mr_err
make_step(run *r, run_metrics *m, mr_diag *diag)
{
    uint64_t start = mri_now_ns(), replaced = 0;
    mr_batch *b;
    mr_err err = mr_stream_next(r->stream, &b, diag);

    if (err != MR_OK) {
        return err;
    }
    *m = (run_metrics){.step = r->step + 1,
                       .epoch = mr_batch_epoch(b),
                       .batch = mr_batch_rows(b),
                       .wait = (double)(mri_now_ns() - start) * 1e-9};
    err = replace_masked(b, &replaced, diag);
    if (err == MR_OK) {
        err = train_on(r, b, m, diag);
    }
    if (err == MR_OK) {
        m->total = (double)(mri_now_ns() - start) * 1e-9;
        measure_gradients(r, m);
        err = record_step(r, b, m, replaced, diag);
    }
    mr_batch_unref(b);
    if (err == MR_OK) {
        r->step++;
        r->sum += m->loss;
        r->summed++;
        r->damaged += replaced;
    }
    return err;
}

/* ---- the wheel ---- */

/* Losses for people: the mean of the first steps, and of the latest. */
typedef struct tally {
    double first, ring[LOSSES];
    uint64_t count;
} tally;

static void
count_loss(tally *t, double loss)
{
    if (t->count < LOSSES) {
        t->first += (loss - t->first) / (double)(t->count + 1);
    }
    t->ring[t->count++ % LOSSES] = loss;
}

static double
latest(const tally *t)
{
    uint64_t n = t->count < LOSSES ? t->count : LOSSES;
    double sum = 0;

    for (uint64_t i = 0; i < n; i++) {
        sum += t->ring[i];
    }
    return n != 0 ? sum / (double)n : 0;
}

static void
show(const run *r, const tally *t, const run_metrics *m)
{
    const mr_watch *w = r->options->watch;
    char note[80];
    mr_progress now = {.unit = "steps",
                       .done = r->step,
                       .total = r->schedule.steps,
                       .bad = r->damaged,
                       .note = note};

    if (w == NULL || w->progress == NULL) {
        return;
    }
    (void)snprintf(note, sizeof note, "loss %.4f, %.0f images/s%s", latest(t),
                   (double)m->batch / m->total,
                   m->wait > 0.2 * m->total ? ", waiting for data" : "");
    w->progress(w->user, &now);
}

static bool
told_to_stop(const run *r)
{
    const mr_watch *w = r->options->watch;

    return w != NULL && w->stop != NULL && w->stop(w->user);
}

static bool
is_due(const run *r)
{
    uint64_t every = r->config.checkpoint_every != 0
                         ? r->config.checkpoint_every
                         : r->schedule.epoch;

    return r->step % every == 0 || r->step == r->schedule.steps;
}

static mr_err
turn(run *r, mr_train_report *report, mr_diag *diag)
{
    tally t = {0};
    run_metrics m = {0};
    mr_err err = MR_OK;

    while (err == MR_OK && r->step < r->schedule.steps) {
        if (told_to_stop(r)) {
            err = mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE, "stopped");
            break;
        }
        err = make_step(r, &m, diag);
        if (err == MR_OK) {
            count_loss(&t, m.loss);
            report->images += m.batch;
            report->wait_seconds += m.wait;
            show(r, &t, &m);
            if (is_due(r)) {
                err = run_save(r, true, report, diag);
            }
        }
    }
    report->first_loss = t.first;
    report->last_loss = latest(&t);
    return err;
}

/* A stop keeps what was done since the last checkpoint. */
static mr_err
keep_stopped(run *r, mr_train_report *report, mr_diag *diag)
{
    mr_diag why = {0};

    run_log(&r->record, "stopped at step %" PRIu64, r->step);
    if (run_save(r, false, report, &why) != MR_OK) {
        if (diag != NULL) {
            *diag = why;
        }
        return why.err;
    }
    return MR_ESTOP;
}

/* ---- a run ---- */

static mr_err
prepare(run *r, mr_train_report *report, mr_diag *diag)
{
    const mr_train_options *o = r->options;
    mr_err err =
        run_config_load(&r->config, o->recipe, o->set, o->set_count, diag);

    if (err == MR_OK) {
        err = check_folder(r, diag);
    }
    if (err == MR_OK) {
        err = run_open_stream(r, diag);
    }
    if (err == MR_OK) {
        err = run_shape_network(r, diag);
    }
    if (err == MR_OK) {
        err = run_open_network(r, diag);
    }
    if (err == MR_OK) {
        err = run_check_memory(r, diag);
    }
    if (err == MR_OK) {
        err = open_folder(r, diag);
    }
    if (err == MR_OK) {
        err = run_load(r, report, diag);
    }
    if (err == MR_OK) {
        err = write_config(r, diag);
    }
    return err == MR_OK ? run_record_open(&r->record, o->out, r->step, diag)
                        : err;
}

static void
release(run *r)
{
    run_record_close(&r->record);
    mri_dino_close(r->dino);
    mr_stream_close(r->stream);
    mri_lock_release(&r->lock);
    mri_free(r->norms);
    run_config_release(&r->config);
}

static mr_err
check_options(const mr_train_options *o, mr_diag *diag)
{
    if (o->recipe == NULL || o->source == NULL || o->out == NULL) {
        return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                        "a run needs a recipe, a source and a folder");
    }
    return MR_OK;
}

mr_err
mr_train_run(const mr_train_options *o, mr_train_report *report, mr_diag *diag)
{
    run r = {.options = o, .best = INFINITY, .lock = {.fd = -1}};
    mr_diag own = {0};
    double start;
    mr_err err = check_options(o, diag);

    *report = (mr_train_report){0};
    diag = diag != NULL ? diag : &own;
    if (err == MR_OK) {
        err = prepare(&r, report, diag);
    }
    report->done = r.step;
    report->steps = r.schedule.steps;
    if (err == MR_OK && r.step < r.schedule.steps) {
        err = run_plan(&r, diag);
    }
    start = mri_now_s();
    if (err == MR_OK) {
        run_log(&r.record, "%s at step %" PRIu64 " of %" PRIu64,
                r.step == 0 ? "begins" : "goes on", r.step, r.schedule.steps);
        err = turn(&r, report, diag);
        if (err == MR_ESTOP) {
            err = keep_stopped(&r, report, diag);
        } else if (err != MR_OK) {
            run_log(&r.record, "failed at step %" PRIu64 ": %s", r.step + 1,
                    diag->text);
        }
    }
    report->seconds = mri_now_s() - start;
    report->damaged = r.damaged;
    release(&r);
    return err;
}
