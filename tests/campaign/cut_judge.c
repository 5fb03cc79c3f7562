/* SPDX-License-Identifier: Apache-2.0 */
/* cut_judge.c - is a state of the disk one that nobody has lost anything in? */
#include "cut_judge.h"

#include <mri/dataset.h>

#include <scratch.h>

#include <stdio.h>
#include <string.h>

cut_state cut_calm[CUT_STEPS + 1];
char cut_why[1024];

static unsigned
latest_of(const cut_state *s)
{
    unsigned latest = 0, g;

    for (size_t i = 0; i < s->count; i++) {
        if (sscanf(s->nodes[i].path, CUT_NAME "/manifest.%u.pb", &g) == 1) {
            latest = g > latest ? g : latest;
        }
    }
    return latest;
}

static unsigned
history_lines(const cut_state *s)
{
    const cut_node *h = cut_state_find(s, CUT_NAME "/history.jsonl");
    unsigned n = 0;

    for (size_t i = 0; h != NULL && i < h->bytes; i++) {
        n += h->data[i] == '\n';
    }
    return n;
}

static void
hear(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    (void)snprintf(cut_why, sizeof cut_why, "verify: %.500s: %.400s",
                   diag->path, diag->text);
}

/* Nothing that can be opened is half of something. */
static bool
sound(const char *root, unsigned latest)
{
    const char *dir = scratch_path(root, CUT_NAME);
    mri_dataset_verified v;
    mr_diag diag = {0};
    mr_dataset *ds;
    mr_err err = mr_dataset_open(&ds, dir, &diag);

    if (latest == 0) {
        mr_dataset_close(ds);
        (void)snprintf(cut_why, sizeof cut_why, "opens without a generation");
        return err != MR_OK;
    }
    (void)snprintf(cut_why, sizeof cut_why, "does not open: %.800s", diag.text);
    mr_dataset_close(ds);
    if (err != MR_OK) {
        return false;
    }
    err = mri_dataset_verify(dir, 1, hear, NULL, NULL, &v, &diag);
    if (err != MR_OK) {
        (void)snprintf(cut_why, sizeof cut_why, "verify: %.800s", diag.text);
    }
    return err == MR_OK && v.damages == 0;
}

/* What a purge took away does not come back, and stays in no old file. */
static bool
clean(const cut_state *s)
{
    for (size_t i = 0; i < s->count; i++) {
        const char *path = s->nodes[i].path;

        if (strncmp(path, CUT_NAME "/journal", strlen(CUT_NAME "/journal")) !=
                0 &&
            !cut_is_history(path) && !s->nodes[i].folder &&
            cut_state_find(&cut_calm[CUT_STEPS], path) == NULL) {
            (void)snprintf(cut_why, sizeof cut_why,
                           "%s is back after the purge", path);
            return false;
        }
    }
    return true;
}

bool
cut_judge(const cut_state *s, const char *root, const cut_moment *m)
{
    unsigned latest = latest_of(s), lines = history_lines(s);
    const char *bad;

    if (latest != m->acked && (latest != m->acked + 1 || latest > CUT_STEPS)) {
        (void)snprintf(cut_why, sizeof cut_why,
                       "%u was acknowledged, %u is in force", m->acked, latest);
        return false;
    }
    bad = cut_missing(s, &cut_calm[latest]);
    if (bad != NULL) {
        (void)snprintf(cut_why, sizeof cut_why,
                       "%s of generation %u is not there as it was", bad,
                       latest);
        return false;
    }
    if (lines < m->told) {
        (void)snprintf(cut_why, sizeof cut_why, "%u lines of history, not %u",
                       lines, m->told);
        return false;
    }
    return sound(root, latest) && (m->acked < CUT_STEPS || clean(s));
}

bool
cut_go_on(const cut_state *s, const char *root, const cut_moment *m)
{
    unsigned next = m->acked < CUT_STEPS ? m->acked : CUT_STEPS - 1;
    uint32_t reused = 0;
    cut_state after = {0};
    mr_diag diag = {0};
    const char *bad;
    mr_err err =
        cut_steps[next].run(scratch_path(root, CUT_NAME), &reused, &diag);

    if (err != MR_OK) {
        (void)snprintf(cut_why, sizeof cut_why,
                       "%s does not go on: %.400s: %.400s",
                       cut_steps[next].what, diag.path, diag.text);
        return false;
    }
    if (latest_of(s) == m->acked && reused < m->lines) {
        (void)snprintf(cut_why, sizeof cut_why,
                       "%u finished shards taken over, not %u", reused,
                       m->lines);
        return false;
    }
    next = m->acked < CUT_STEPS ? m->acked + 1 : CUT_STEPS;
    cut_scan(&after, root);
    bad = cut_missing(&after, &cut_calm[next]);
    (void)snprintf(cut_why, sizeof cut_why, "%s: gone on, %s is not as it was",
                   CUT_NAME, bad != NULL ? bad : "");
    if (bad == NULL) {
        bad = cut_missing(&cut_calm[next], &after);
        (void)snprintf(cut_why, sizeof cut_why, "gone on, %s was left behind",
                       bad != NULL ? bad : "");
    }
    cut_state_release(&after);
    return bad == NULL;
}
