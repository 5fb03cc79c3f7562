/* SPDX-License-Identifier: Apache-2.0 */
/* cells.c - a set of cells in a folder: what is there, what is missing. */
#include "cell_file.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/thread.h>

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64 /* class/donorD_cellN.tif */

/* What a thread paints and writes with. */
typedef struct desk {
    mri_easel *easel;
    uint16_t pixels[MRI_CELL_VALUES];
    uint8_t file[MRI_CELL_FILE];
    mri_bytes old; /* what is there already */
} desk;

typedef struct job {
    const mri_cells_options *o;
    desk *desks;   /* [workers] */
    bool *present; /* [count]: a file of this name is there */
    pthread_mutex_t lock;
    mri_cells_report report; /* under the lock, and so is the watch */
} job;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory for cells");
}

static mr_err
fail_foreign(mr_diag *diag, const char *path, const char *why)
{
    mr_err err = mri_fail(diag, MRI_E_SYNTH_FOREIGN, MR_NOWHERE, "%s", why);

    mri_diag_in(diag, path);
    return err;
}

/* ---- what is in the folder ---- */

/* The number of the cell whose file in a class's folder has this name. */
static bool
cell_of_name(const mri_cells *set, const char *class, const char *name,
             uint32_t *i)
{
    const char *digits = strstr(name, "_cell");
    char whole[NAME_BYTES + 256], right[NAME_BYTES];
    unsigned long n;

    if (digits == NULL) {
        return false;
    }
    n = strtoul(digits + strlen("_cell"), NULL, 10);
    if (n >= set->count) {
        return false;
    }
    (void)mri_cell_name(set, (uint32_t)n, right, sizeof right);
    (void)snprintf(whole, sizeof whole, "%s/%s", class, name);
    *i = (uint32_t)n;
    return strcmp(whole, right) == 0;
}

/* The dot-name of a file of ours whose writer was killed. */
static bool
is_leftover(const mri_cells *set, const char *class, const char *name)
{
    const char *part = ".part-";
    uint32_t i;

    if (strncmp(name, part, strlen(part)) != 0) {
        return false;
    }
    name = strchr(name + strlen(part), '-');
    return name != NULL && cell_of_name(set, class, name + 1, &i);
}

static mr_err
take_entry(job *j, const char *dir, const char *class, const char *name,
           mr_diag *diag)
{
    char *path = mri_path_join(dir, name);
    mr_err err = MR_OK;
    uint32_t i;

    if (path == NULL) {
        return no_memory(diag);
    }
    if (cell_of_name(&j->o->set, class, name, &i)) {
        j->present[i] = true;
    } else if (is_leftover(&j->o->set, class, name)) {
        (void)mri_file_now()->unlink(path);
    } else {
        err = fail_foreign(diag, path, "is no file of this set of cells");
    }
    mri_free(path);
    return err;
}

/* Make a class's folder, or look at what is in it. */
static mr_err
take_class(job *j, const char *class, mr_diag *diag)
{
    char *dir = mri_path_join(j->o->dir, class);
    struct dirent *e;
    DIR *d = NULL;
    mr_err err;

    if (dir == NULL) {
        return no_memory(diag);
    }
    err = mri_dir_make(dir, diag);
    if (err == MR_OK && (d = opendir(dir)) == NULL) {
        err = mri_fail(diag, MRI_E_OPEN, MR_NOWHERE, "cannot open: %s",
                       strerror(errno));
        mri_diag_in(diag, dir);
    }
    while (err == MR_OK && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            err = take_entry(j, dir, class, e->d_name, diag);
        }
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    mri_free(dir);
    return err;
}

static bool
is_class(const char *name)
{
    for (uint32_t k = 0; k < MRI_CELL_CLASSES; k++) {
        if (strcmp(name, mri_cell_class_name(k)) == 0) {
            return true;
        }
    }
    return false;
}

/* Nothing but folders of classes, before any of them is made. */
static mr_err
check_top(const job *j, mr_diag *diag)
{
    DIR *d = opendir(j->o->dir);
    mr_err err = MR_OK;
    struct dirent *e;

    if (d == NULL) {
        err = mri_fail(diag, MRI_E_OPEN, MR_NOWHERE, "cannot open: %s",
                       strerror(errno));
        mri_diag_in(diag, j->o->dir);
        return err;
    }
    while (err == MR_OK && (e = readdir(d)) != NULL) {
        char path[512];

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            is_class(e->d_name)) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", j->o->dir, e->d_name);
        err = fail_foreign(diag, path, "is no folder of cells");
    }
    (void)closedir(d);
    return err;
}

static mr_err
take_folder(job *j, mr_diag *diag)
{
    mr_err err = mri_dir_make(j->o->dir, diag);

    if (err == MR_OK) {
        err = check_top(j, diag);
    }
    for (uint32_t k = 0; k < MRI_CELL_CLASSES && err == MR_OK; k++) {
        err = take_class(j, mri_cell_class_name(k), diag);
    }
    return err;
}

/* ---- one cell ---- */

/* A file of this name must be this very cell. */
static mr_err
compare(desk *t, const char *path, mr_diag *diag)
{
    mr_err err;

    t->old.len = 0;
    err = mri_file_load(path, MRI_CELL_FILE, &t->old, diag);
    if (err != MR_OK && err != MR_ELIMIT) {
        return err;
    }
    if (err == MR_ELIMIT || t->old.len != MRI_CELL_FILE ||
        memcmp(t->old.data, t->file, MRI_CELL_FILE) != 0) {
        mri_diag_clear(diag);
        return fail_foreign(diag, path,
                            "is not the cell of this name that --seed and "
                            "--donors give");
    }
    return MR_OK;
}

/* Asks the watch, and tells it of one more file. */
static mr_err
report(job *j, bool kept, mr_diag *diag)
{
    const mr_watch *w = j->o->watch;
    mri_cells_report *r = &j->report;
    bool stop = false;

    pthread_mutex_lock(&j->lock);
    *(kept ? &r->kept : &r->written) += 1;
    r->bytes += MRI_CELL_FILE;
    if (w != NULL && w->progress != NULL) {
        mr_progress now = {.unit = "cells",
                           .done = r->kept + r->written,
                           .total = j->o->set.count,
                           .bytes = r->bytes};

        w->progress(w->user, &now);
    }
    if (w != NULL && w->stop != NULL) {
        stop = w->stop(w->user);
    }
    pthread_mutex_unlock(&j->lock);
    return stop ? mri_fail(diag, MRI_E_STOPPED, MR_NOWHERE,
                           "stopped before all cells were there")
                : MR_OK;
}

static mr_err
make_cell(void *arg, size_t task, unsigned worker, mr_diag *diag)
{
    job *j = arg;
    desk *t = &j->desks[worker];
    uint32_t i = (uint32_t)task;
    char name[NAME_BYTES], *path;
    mr_err err;

    (void)mri_cell_name(&j->o->set, i, name, sizeof name);
    path = mri_path_join(j->o->dir, name);
    if (path == NULL) {
        return no_memory(diag);
    }
    mri_cell_paint(t->easel, &j->o->set, i, t->pixels);
    cell_file(t->file, t->pixels);
    err = j->present[i] ? compare(t, path, diag)
                        : mri_file_put(path, t->file, sizeof t->file,
                                       MRI_PUT_REPLACE, diag);
    if (err == MR_OK) {
        err = report(j, j->present[i], diag);
    }
    mri_free(path);
    return err;
}

/* ---- the set ---- */

static mr_err
open_desks(job *j, mr_diag *diag)
{
    j->present = mri_alloc(j->o->set.count, sizeof *j->present);
    j->desks = mri_alloc(j->o->workers, sizeof *j->desks);
    if (j->present == NULL || j->desks == NULL) {
        return no_memory(diag);
    }
    for (unsigned i = 0; i < j->o->workers; i++) {
        j->desks[i].easel = mri_easel_open();
        if (j->desks[i].easel == NULL) {
            return no_memory(diag);
        }
    }
    return MR_OK;
}

static void
close_desks(job *j)
{
    for (unsigned i = 0; j->desks != NULL && i < j->o->workers; i++) {
        mri_easel_close(j->desks[i].easel);
        mri_bytes_release(&j->desks[i].old);
    }
    mri_free(j->desks);
    mri_free(j->present);
}

mr_err
mri_cells_write(const mri_cells_options *o, mri_cells_report *report_out,
                mr_diag *diag)
{
    job j = {.o = o};
    mri_pool *pool = NULL;
    mr_err err;

    assert(o->workers >= 1 && o->set.donors >= 1);
    pthread_mutex_init(&j.lock, NULL);
    err = open_desks(&j, diag);
    if (err == MR_OK) {
        err = take_folder(&j, diag);
    }
    if (err == MR_OK) {
        err = mri_pool_open(&pool, o->workers, diag);
    }
    if (err == MR_OK) {
        err = mri_pool_run(pool, o->set.count, make_cell, &j, diag);
        mri_pool_close(pool);
    }
    close_desks(&j);
    pthread_mutex_destroy(&j.lock);
    if (err == MR_OK) {
        *report_out = j.report;
    }
    return err;
}
