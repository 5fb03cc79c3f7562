/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rollback.c - a new generation with the content of an older one.
 *
 * History only grows: what is taken back can be brought forth again by the
 * same means.
 */
#include "writer.h"

#include <mri/error.h>
#include <mri/generation.h>

#include <string.h>

/* The same samples, labels and splits, and the same ones withdrawn. */
static bool
same_content(const mr_dataset *a, const mr_dataset *b)
{
    const ProtobufCBinaryData *x = &a->manifest->withdrawn;
    const ProtobufCBinaryData *y = &b->manifest->withdrawn;

    return memcmp(mr_dataset_content_id(a), mr_dataset_content_id(b), 16) ==
               0 &&
           x->len == y->len &&
           (x->len == 0 || memcmp(x->data, y->data, x->len) == 0);
}

static mr_err
roll_back(const mri_rollback_options *o, const mr_dataset *like,
          mri_rollback_report *r, mr_diag *diag)
{
    const mri_derive how = {.like = like, .watch = o->watch};
    mri_json j = {0};
    mri_writer w;
    mr_err err = mri_writer_open(&w, like->dir, !o->dry_run, diag);

    if (err == MR_OK) {
        r->before = mr_dataset_generation(w.now);
        r->same = same_content(w.now, like);
    }
    if (err == MR_OK && !o->dry_run && !r->same) {
        err = mri_writer_commit(&w, &how, &r->generation, diag);
        if (err == MR_OK) {
            mri_history_begin(&j, "rollback", r->generation, o->command);
            mri_json_put_u64(&j, "to", r->target);
            mri_json_put_text(&j, "reason", o->reason);
            err = mri_history_end(&j, like->dir, diag);
        }
    }
    mri_writer_close(&w);
    return err;
}

mr_err
mri_dataset_rollback(const mri_rollback_options *o, mri_rollback_report *r,
                     mr_diag *diag)
{
    mr_dataset *like;
    mr_err err = mr_dataset_open(&like, o->thing, diag);

    *r = (mri_rollback_report){0};
    if (err != MR_OK) {
        return err;
    }
    r->target = mr_dataset_generation(like);
    if (strcmp(like->dir, o->thing) == 0) {
        err = mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                       "name the generation to go back to, as in %s@%llu",
                       o->thing,
                       (unsigned long long)(r->target > 1 ? r->target - 1 : 1));
    } else {
        err = roll_back(o, like, r, diag);
    }
    mr_dataset_close(like);
    return err;
}
