/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - metrics.jsonl and log.txt. */
#include "record.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/json.h>
#include <mri/log.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 65536
#define STEP_KEY "{\"step\":"

/* ---- cutting off what will come again ---- */

/* How much of a metrics file stands: whole lines of steps up to `step`. */
typedef struct cut {
    uint64_t step, keep, at;
    char line[48]; /* the beginning of the line at hand */
    size_t len;
    bool done;
} cut;

static void
end_line(cut *c)
{
    unsigned long long step = 0;

    c->line[c->len < sizeof c->line ? c->len : sizeof c->line - 1] = '\0';
    if (sscanf(c->line, STEP_KEY "%llu", &step) != 1 || step > c->step) {
        c->done = true;
    } else {
        c->keep = c->at;
    }
    c->len = 0;
}

static void
take_block(cut *c, const char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes && !c->done; i++) {
        c->at++;
        if (p[i] == '\n') {
            end_line(c);
        } else if (c->len + 1 < sizeof c->line) {
            c->line[c->len++] = p[i];
        }
    }
}

static mr_err
find_end(int fd, const char *path, uint64_t bytes, uint64_t step,
         uint64_t *keep, mr_diag *diag)
{
    cut c = {.step = step};
    char block[BLOCK];
    mr_err err = MR_OK;

    for (uint64_t at = 0; err == MR_OK && at < bytes && !c.done;) {
        size_t n = bytes - at < BLOCK ? (size_t)(bytes - at) : BLOCK;

        err = mri_file_read(fd, path, block, n, at, diag);
        if (err == MR_OK) {
            take_block(&c, block, n);
        }
        at += n;
    }
    *keep = c.keep;
    return err;
}

/* The first `keep` bytes of a file in place of all of it. */
static mr_err
keep_start(int fd, const char *path, uint64_t keep, mr_diag *diag)
{
    mri_put put;
    char block[BLOCK];
    mr_err err = mri_put_open(&put, path, diag);

    for (uint64_t at = 0; err == MR_OK && at < keep;) {
        size_t n = keep - at < BLOCK ? (size_t)(keep - at) : BLOCK;

        err = mri_file_read(fd, path, block, n, at, diag);
        if (err == MR_OK) {
            err = mri_file_write(put.fd, path, block, n, at, diag);
        }
        at += n;
    }
    if (err == MR_OK) {
        err = mri_put_commit(&put, MRI_PUT_REPLACE, diag);
    }
    mri_put_release(&put);
    return err;
}

static mr_err
trim_metrics(const char *path, uint64_t step, mr_diag *diag)
{
    int fd;
    uint64_t bytes = 0, keep = 0;
    mr_err err;

    if (access(path, F_OK) != 0) {
        return MR_OK;
    }
    err = mri_file_open(&fd, path, O_RDONLY, 0, diag);
    if (err != MR_OK) {
        return err;
    }
    err = mri_file_size(fd, path, &bytes, diag);
    if (err == MR_OK) {
        err = find_end(fd, path, bytes, step, &keep, diag);
    }
    if (err == MR_OK && keep != bytes) {
        err = keep_start(fd, path, keep, diag);
    }
    mri_file_drop(&fd);
    return err;
}

/* ---- open and close ---- */

static mr_err
open_end(int *fd, const char *path, uint64_t *at, mr_diag *diag)
{
    mr_err err = mri_file_open(fd, path, O_WRONLY | O_CREAT, 0644, diag);

    return err == MR_OK ? mri_file_size(*fd, path, at, diag) : err;
}

mr_err
run_record_open(run_record *r, const char *dir, uint64_t step, mr_diag *diag)
{
    mr_err err;

    *r = (run_record){.log = -1,
                      .metrics = -1,
                      .log_path = mri_path_join(dir, "log.txt"),
                      .metrics_path = mri_path_join(dir, "metrics.jsonl")};
    if (r->log_path == NULL || r->metrics_path == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    err = trim_metrics(r->metrics_path, step, diag);
    if (err == MR_OK) {
        err = open_end(&r->metrics, r->metrics_path, &r->metrics_at, diag);
    }
    return err == MR_OK ? open_end(&r->log, r->log_path, &r->log_at, diag)
                        : err;
}

void
run_record_close(run_record *r)
{
    if (r->log_path != NULL) { /* it was opened */
        mri_file_drop(&r->log);
        mri_file_drop(&r->metrics);
    }
    mri_free(r->log_path);
    mri_free(r->metrics_path);
    *r = (run_record){.log = -1, .metrics = -1};
}

/* ---- write ---- */

void
run_log(run_record *r, const char *fmt, ...)
{
    char line[1024];
    time_t now = time(NULL);
    struct tm utc;
    size_t n;
    va_list args;
    mr_diag why = {0};

    if (r->log < 0) {
        return;
    }
    (void)gmtime_r(&now, &utc);
    n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%SZ ", &utc);
    va_start(args, fmt);
    (void)vsnprintf(line + n, sizeof line - n - 1, fmt, args);
    va_end(args);
    n = strlen(line);
    line[n++] = '\n';
    if (mri_file_write(r->log, r->log_path, line, n, r->log_at, &why) !=
        MR_OK) {
        mri_say(MR_LOG_WARN, "RUN-LOG", "no more log.txt: %s", why.text);
        mri_file_drop(&r->log);
        return;
    }
    r->log_at += n;
}

static double
wall_clock(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)(now.tv_nsec / 1000000) * 1e-3;
}

mr_err
run_record_step(run_record *r, const run_metrics *m, mr_diag *diag)
{
    mri_json j = {0};
    const char *text;
    mr_err err;

    mri_json_object(&j);
    mri_json_put_u64(&j, "step", m->step);
    mri_json_put_u64(&j, "epoch", m->epoch);
    mri_json_put_f64(&j, "loss", m->loss);
    mri_json_put_f64(&j, "lr", m->rates.lr);
    mri_json_put_f64(&j, "weight_decay", m->rates.decay);
    mri_json_put_f64(&j, "momentum", m->rates.momentum);
    mri_json_put_f64(&j, "teacher_temperature", m->rates.temperature);
    mri_json_put_f64(&j, "grad_norm", m->grad_norm);
    mri_json_put_u64(&j, "clipped", m->clipped);
    if (m->damaged != NULL) {
        mri_json_key(&j, "damaged");
        mri_json_raw(&j, m->damaged);
    }
    mri_json_put_f64(&j, "images_per_s",
                     m->total > 0 ? (double)m->batch / m->total : 0);
    mri_json_put_f64(&j, "wait_s", m->wait);
    mri_json_put_f64(&j, "step_s", m->total);
    mri_json_put_f64(&j, "time", wall_clock());
    mri_json_end(&j);
    text = mri_json_done(&j);
    if (text == NULL) {
        mri_json_release(&j);
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    j.out.data[j.out.len - 1] = '\n'; /* in place of the closing zero */
    err = mri_file_write(r->metrics, r->metrics_path, j.out.data, j.out.len,
                         r->metrics_at, diag);
    r->metrics_at += err == MR_OK ? j.out.len : 0;
    mri_json_release(&j);
    return err;
}
