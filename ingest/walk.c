/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.c - every file below a SOURCE.
 *
 * Dot-names, datasets, and files whose extension says that they are no image,
 * are left out; all others are planned and judged by their content later.
 */
#include "plan.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_DEPTH 64

static const char *const no_images[] = {
    "cfg",       "conf",  "css",  "csv",  "dat",  "db",   "doc",   "docx",
    "gitignore", "h5",    "hdf5", "htm",  "html", "ini",  "ipynb", "js",
    "json",      "jsonl", "log",  "lnk",  "m",    "mat",  "md",    "npy",
    "npz",       "odt",   "ods",  "pdf",  "pkl",  "ppt",  "pptx",  "ps1",
    "pth",       "py",    "r",    "rst",  "rtf",  "sh",   "tsv",   "toml",
    "txt",       "url",   "xls",  "xlsx", "xml",  "yaml", "yml",   "zip"};

static bool
plainly_no_image(const char *name)
{
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot != NULL && i < MRI_COUNT(no_images); i++) {
        if (strcasecmp(dot + 1, no_images[i]) == 0) {
            return true;
        }
    }
    return strcasecmp(name, "license") == 0 ||
           strcasecmp(name, "readme") == 0 || strcasecmp(name, "makefile") == 0;
}

/* The folders that we are in, so that a link back to one of them ends. */
typedef struct level {
    const struct level *up;
    dev_t dev;
    ino_t ino;
    unsigned depth;
} level;

static bool
inside(const level *at, const struct stat *st)
{
    for (; at != NULL; at = at->up) {
        if (at->dev == st->st_dev && at->ino == st->st_ino) {
            return true;
        }
    }
    return false;
}

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
fail_os(const char *path, const char *what, mr_diag *diag)
{
    mr_err err =
        mri_fail(diag, MRI_E_OPEN, MR_NOWHERE, "%s: %s", what, strerror(errno));

    mri_diag_in(diag, path);
    return err;
}

static mr_err
add_file(mri_walk *w, const char *name, uint64_t bytes, uint32_t source,
         mr_diag *diag)
{
    if (w->count == w->room) {
        uint64_t room = w->room != 0 ? w->room * 2 : 1024;
        mri_found *files = mri_resize(w->files, (size_t)room, sizeof *w->files);

        if (files == NULL) {
            return no_memory(diag);
        }
        w->files = files;
        w->room = room;
    }
    w->files[w->count] = (mri_found){name, bytes, source};
    w->count++;
    return MR_OK;
}

static bool
holds_manifest(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    bool found = false;

    while (d != NULL && !found && (e = readdir(d)) != NULL) {
        const char *dot = strrchr(e->d_name, '.');

        found =
            strncmp(e->d_name, "manifest.", 9) == 0 && strcmp(dot, ".pb") == 0;
    }
    if (d != NULL) {
        (void)closedir(d);
    }
    return found;
}

/* A dataset below a SOURCE is none of its images, least of all the one that
 * is being made. */
static bool
is_dataset(const mri_walk *w, const char *path, const struct stat *here)
{
    struct stat st;
    char *shards;
    bool has;

    if (w->output != NULL && stat(w->output, &st) == 0 &&
        st.st_dev == here->st_dev && st.st_ino == here->st_ino) {
        return true;
    }
    shards = mri_path_join(path, "shards");
    has = shards != NULL && stat(shards, &st) == 0 && S_ISDIR(st.st_mode);
    mri_free(shards);
    return has && holds_manifest(path);
}

static mr_err walk_dir(mri_walk *w, const char *path, const char *rel,
                       uint32_t source, const level *up, mr_diag *diag);

static mr_err
walk_entry(mri_walk *w, const char *path, const char *rel, uint32_t source,
           const level *up, mr_diag *diag)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        if (errno == ENOENT || errno == ELOOP) {
            w->ignored++; /* a link that leads nowhere */
            return MR_OK;
        }
        return fail_os(path, "cannot stat", diag);
    }
    if (S_ISDIR(st.st_mode)) {
        const level here = {up, st.st_dev, st.st_ino,
                            up != NULL ? up->depth + 1 : 0};

        if (inside(up, &st) || here.depth > MAX_DEPTH ||
            is_dataset(w, path, &st)) {
            w->ignored++;
            return MR_OK;
        }
        return walk_dir(w, path, rel, source, &here, diag);
    }
    if (!S_ISREG(st.st_mode) || plainly_no_image(mri_path_name(rel))) {
        w->ignored++;
        return MR_OK;
    }
    return add_file(w, rel, (uint64_t)st.st_size, source, diag);
}

static mr_err
walk_dir(mri_walk *w, const char *path, const char *rel, uint32_t source,
         const level *here, mr_diag *diag)
{
    DIR *d = opendir(path);
    struct dirent *e;
    mr_err err = MR_OK;

    if (d == NULL) {
        return fail_os(path, "cannot open the folder", diag);
    }
    while (err == MR_OK && (errno = 0, e = readdir(d)) != NULL) {
        char *inner, *inner_rel;

        if (e->d_name[0] == '.') {
            continue;
        }
        inner = mri_path_join(path, e->d_name);
        inner_rel = mri_arena_join(w->arena, rel, e->d_name);
        err = inner != NULL && inner_rel != NULL
                  ? walk_entry(w, inner, inner_rel, source, here, diag)
                  : no_memory(diag);
        mri_free(inner);
    }
    if (err == MR_OK && errno != 0) {
        err = fail_os(path, "cannot read the folder", diag);
    }
    (void)closedir(d);
    return err;
}

mr_err
mri_walk_source(mri_walk *w, const char *source, uint32_t number, mr_diag *diag)
{
    struct stat st;

    if (stat(source, &st) != 0) {
        return fail_os(source, "cannot open", diag);
    }
    if (S_ISREG(st.st_mode)) {
        const char *name = mri_path_name(source);
        char *copy = mri_arena_text(w->arena, name, strlen(name));

        return copy != NULL
                   ? add_file(w, copy, (uint64_t)st.st_size, number, diag)
                   : no_memory(diag);
    }
    if (!S_ISDIR(st.st_mode)) {
        mr_err err = mri_fail(diag, MRI_E_SOURCE_KIND, MR_NOWHERE,
                              "neither a file nor a folder");
        mri_diag_in(diag, source);
        return err;
    }
    return walk_dir(w, source, "", number,
                    &(level){NULL, st.st_dev, st.st_ino, 0}, diag);
}
