/* SPDX-License-Identifier: Apache-2.0 */
/* cut_steps.c - the commands whose power is cut. */
#include "cut_steps.h"

#include <mri/file.h>
#include <mri/ingest.h>

#include <acts.h>
#include <scratch.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *cut_sources[4];

void
cut_must(bool ok, const char *what)
{
    if (!ok) {
        (void)fflush(stdout); /* what was found before counts */
        (void)fprintf(stderr, "powercut: %s\n", what);
        abort();
    }
}

static mr_err
ingest(const char *dir, const char *source, uint32_t *reused, mr_diag *diag)
{
    mri_ingest_options o = mri_ingest_defaults();
    mri_ingest_report r;
    mr_err err;

    o.sources = &source;
    o.source_count = 1;
    o.output = dir;
    o.group = "{group}_*";
    o.shard_bytes = 70000;
    o.workers = 1;
    err = mri_ingest(&o, &r, diag);
    *reused = r.reused;
    mri_ingest_report_release(&r);
    return err;
}

static mr_err
first(const char *dir, uint32_t *reused, mr_diag *diag)
{
    return ingest(dir, cut_sources[0], reused, diag);
}

static mr_err
second(const char *dir, uint32_t *reused, mr_diag *diag)
{
    return ingest(dir, cut_sources[1], reused, diag);
}

static mr_err
merge(const char *dir, uint32_t *reused, mr_diag *diag)
{
    return ingest(dir, cut_sources[2], reused, diag);
}

static mr_err
merge_copy(const char *dir, uint32_t *reused, mr_diag *diag)
{
    return ingest(dir, cut_sources[3], reused, diag);
}

static mr_err
relabel(const char *dir, uint32_t *reused, mr_diag *diag)
{
    (void)reused;
    return act_relabel(dir, "ring/donor0_0.tif", "other", diag);
}

static mr_err
withdraw(const char *dir, uint32_t *reused, mr_diag *diag)
{
    (void)reused;
    return act_withdraw_group(dir, "donor1", diag);
}

static mr_err
withdraw_other(const char *dir, uint32_t *reused, mr_diag *diag)
{
    (void)reused;
    return act_withdraw_group(dir, "donor2", diag);
}

static mr_err
rollback(const char *dir, uint32_t *reused, mr_diag *diag)
{
    (void)reused;
    return act_rollback(dir, 2, diag);
}

static mr_err
compact(const char *dir, uint32_t *reused, mr_diag *diag)
{
    (void)reused;
    return act_compact(dir, false, diag);
}

static mr_err
purge(const char *dir, uint32_t *reused, mr_diag *diag)
{
    (void)reused;
    return act_compact(dir, true, diag);
}

const cut_step cut_steps[CUT_STEPS] = {
    {"ingest", first},
    {"ingest more", second},
    {"withdraw", withdraw},
    {"rollback", rollback},
    {"relabel", relabel},
    {"merge", merge},
    {"merge, copying", merge_copy},
    {"withdraw again", withdraw},
    {"compact", compact},
    {"withdraw others", withdraw_other},
    {"compact --purge", purge},
};

/* ---- folders ---- */

static void
scan_below(cut_state *s, const char *root, const char *below)
{
    DIR *d = opendir(*below != '\0' ? scratch_path(root, below) : root);
    struct dirent *e;

    cut_must(d != NULL, root);
    while ((e = readdir(d)) != NULL) {
        cut_node node = {0};
        mri_bytes b = {0};
        struct stat st;
        char path[512];

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s%s%s", below,
                       *below != '\0' ? "/" : "", e->d_name);
        cut_must(stat(scratch_path(root, path), &st) == 0, path);
        node.folder = S_ISDIR(st.st_mode);
        node.path = strdup(path);
        if (!node.folder) {
            cut_must(mri_file_load(scratch_path(root, path), UINT32_MAX, &b,
                                   NULL) == MR_OK,
                     path);
            node.data = malloc(b.len + 1);
            cut_must(node.data != NULL && node.path != NULL, "no memory");
            node.bytes = b.len;
            if (b.len != 0) {
                memcpy(node.data, b.data, b.len);
            }
            mri_bytes_release(&b);
        }
        s->nodes = realloc(s->nodes, (s->count + 1) * sizeof *s->nodes);
        cut_must(s->nodes != NULL, "no memory");
        s->nodes[s->count++] = node;
        if (node.folder) {
            scan_below(s, root, path);
        }
    }
    (void)closedir(d);
}

void
cut_scan(cut_state *s, const char *root)
{
    *s = (cut_state){0};
    scan_below(s, root, "");
}

/* History tells when and where, and only of what was acknowledged for sure. */
bool
cut_is_history(const char *path)
{
    return strcmp(path, CUT_NAME "/history.jsonl") == 0;
}

static bool
same_node(const cut_node *a, const cut_node *b)
{
    return a->folder == b->folder && a->bytes == b->bytes &&
           (a->folder || memcmp(a->data, b->data, a->bytes) == 0);
}

const char *
cut_missing(const cut_state *s, const cut_state *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const cut_node *got = cut_state_find(s, all->nodes[i].path);

        if (cut_is_history(all->nodes[i].path)) {
            continue;
        }
        if (got == NULL || !same_node(got, &all->nodes[i])) {
            return all->nodes[i].path;
        }
    }
    return NULL;
}
