/* SPDX-License-Identifier: Apache-2.0 */
/* encoder.c - pictures to features, batch after batch. */
#include <mri/vit.h>

#include "encode.h"

#include <mri/alloc.h>

#include <string.h>

struct mri_encoder {
    features f;
    mri_crew *crew;
    mri_params *store;
};

mr_err
features_build(mri_graph **out, const mri_vit *v, uint32_t side, uint32_t batch,
               mr_diag *diag)
{
    const uint64_t shape[] = {batch, v->channels, side, side};
    mri_vit_group group = {.count = batch, .views = 1, .side = side};
    mri_graph *g;
    mr_err err = mri_graph_open(&g, MR_F32, diag);

    *out = NULL;
    if (err != MR_OK) {
        return err;
    }
    mri_g_set(g, MRI_SET_SHADOW);
    group.images = mri_g_input(g, "images", MR_F32, 4, shape);
    mri_g_enter(g, "teacher.backbone");
    mri_g_keep(g, "features", mri_vit_build(g, v, &group, 1, (mri_val){0}));
    mri_g_leave(g);
    err = mri_graph_end(g, diag);
    if (err != MR_OK) {
        mri_graph_close(g);
        return err;
    }
    *out = g;
    return MR_OK;
}

mr_err
features_open(features *f, const mri_vit *v, uint32_t side, uint32_t batch,
              mr_diag *diag)
{
    uint64_t picture = (uint64_t)v->channels * side * side * sizeof(float);

    *f = (features){.batch = batch,
                    .picture_bytes = picture,
                    .row_bytes = v->dim * sizeof(float)};
    f->room = mri_alloc((size_t)batch, (size_t)(picture + f->row_bytes));
    if (f->room == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for %u pictures", batch);
    }
    return features_build(&f->graph, v, side, batch, diag);
}

void
features_release(features *f)
{
    mri_lane_close(f->lane);
    mri_graph_close(f->graph);
    mri_free(f->room);
    *f = (features){0};
}

/* A batch that is not full is filled up with what was there before: its rows
 * are computed alone, and those beyond are not looked at. */
static mr_err
run_batch(features *f, const char *images, uint64_t count, char *out,
          mr_diag *diag)
{
    char *rows = f->room + f->batch * f->picture_bytes;
    mr_err err;

    memcpy(f->room, images, (size_t)(count * f->picture_bytes));
    err = mri_lane_put(f->lane, "images", f->room, f->batch * f->picture_bytes,
                       diag);
    if (err == MR_OK) {
        err = mri_lane_run(f->lane, NULL, diag);
    }
    if (err == MR_OK) {
        err = mri_lane_get(f->lane, "features", rows, f->batch * f->row_bytes,
                           diag);
    }
    if (err == MR_OK) {
        memcpy(out, rows, (size_t)(count * f->row_bytes));
    }
    return err;
}

mr_err
features_run(features *f, const float *images, uint64_t count, float *out,
             mr_diag *diag)
{
    const char *from = (const char *)images;
    char *to = (char *)out;
    mr_err err = MR_OK;

    for (uint64_t i = 0; err == MR_OK && i < count; i += f->batch) {
        uint64_t some = count - i < f->batch ? count - i : f->batch;

        err = run_batch(f, from + i * f->picture_bytes, some,
                        to + i * f->row_bytes, diag);
    }
    return err;
}

mr_err
mri_encoder_open(mri_encoder **out, const mri_vit *v, uint32_t side,
                 uint32_t batch, const mri_crew_options *options, mr_diag *diag)
{
    mri_crew_options together = *options;
    mri_encoder *e;
    mr_err err = mri_vit_check(v, diag);

    *out = NULL;
    if (err == MR_OK && (batch == 0 || side == 0 || side % v->patch != 0)) {
        err = mri_fail(diag, MRI_E_MODEL, MR_NOWHERE,
                       "pictures of %u pixels are no multiple of the patch, "
                       "%u, or the batch is 0",
                       side, v->patch);
    }
    if (err != MR_OK) {
        return err;
    }
    e = mri_alloc(1, sizeof *e);
    if (e == NULL) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE,
                        "no memory for an encoder");
    }
    together.parts = 1;
    together.apart = false;
    err = mri_crew_open(&e->crew, &together, diag);
    if (err == MR_OK) {
        err = features_open(&e->f, v, side, batch, diag);
    }
    if (err == MR_OK) {
        err = mri_params_open(&e->store, e->f.graph, mri_crew_exec(e->crew),
                              diag);
    }
    if (err == MR_OK) {
        err = mri_lane_open(&e->f.lane, e->f.graph, e->store,
                            mri_crew_exec(e->crew), diag);
    }
    if (err != MR_OK) {
        mri_encoder_close(e);
        return err;
    }
    *out = e;
    return MR_OK;
}

void
mri_encoder_close(mri_encoder *e)
{
    if (e == NULL) {
        return;
    }
    features_release(&e->f);
    mri_params_close(e->store);
    mri_crew_close(e->crew);
    mri_free(e);
}

mri_params *
mri_encoder_store(mri_encoder *e)
{
    return e->store;
}

mr_err
mri_encoder_run(mri_encoder *e, const float *images, uint64_t count, float *out,
                mr_diag *diag)
{
    return features_run(&e->f, images, count, out, diag);
}
