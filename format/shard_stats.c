/* SPDX-License-Identifier: Apache-2.0 */
/* shard_stats.c - rows of statistics: read them, and prove them. */
#include "shard_stats.h"

#include "chunk.h"

#include <mri/alloc.h>
#include <mri/error.h>

#include <string.h>

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

mr_err
mri_shard_stat(const mri_shard *s, const mri_grid_row *g, uint64_t chunk,
               mri_stat_row *out, mr_diag *diag)
{
    uint64_t rows = mri_foot_rows(&s->foot, MRI_TABLE_LABELS);
    const uint8_t *p;
    mr_err err = mri_foot_row(&s->foot, MRI_TABLE_STATS, g->first_chunk + chunk,
                              &p, diag);

    if (err == MR_OK) {
        mri_stat_row_get(out, p);
        if (out->first_label > rows || out->labels > rows - out->first_label ||
            out->labels > MRI_LABELS_MAX) {
            err = mri_fail(diag, MRI_E_SHARD_DAMAGED, s->foot.off,
                           "the labels of a chunk leave their table");
        }
    }
    mri_diag_in(err != MR_OK ? diag : NULL, s->file.path);
    return err;
}

mr_err
mri_shard_label(const mri_shard *s, const mri_stat_row *row, uint32_t i,
                mri_label_row *out, mr_diag *diag)
{
    const uint8_t *p;
    mr_err err = mri_foot_row(&s->foot, MRI_TABLE_LABELS, row->first_label + i,
                              &p, diag);

    if (err == MR_OK) {
        mri_label_row_get(out, p);
    }
    mri_diag_in(err != MR_OK ? diag : NULL, s->file.path);
    return err;
}

mr_err
mri_shard_scale(const mri_shard *s, const mri_sample_row *sample, uint32_t i,
                double scale[2], mr_diag *diag)
{
    mri_grid_row g;
    Mri__PbMeta *pb;
    mr_err err = mri_shard_grid(s, sample, i, &g, diag);

    scale[0] = 1;
    scale[1] = 0;
    if (err != MR_OK || (g.flags & MRI_GRID_SCALED) == 0) {
        return err;
    }
    err = mri_shard_meta_pb(s, sample, &pb, diag);
    if (err == MR_OK) {
        if (i < pb->n_fields && pb->fields[i]->geometry != NULL) {
            scale[0] = pb->fields[i]->geometry->slope;
            scale[1] = pb->fields[i]->geometry->inter;
        }
        mri_meta_unpacked_free(pb);
    }
    return err;
}

/* ---- proof ---- */

static mr_err
lies(const mri_shard *s, const char *what, uint64_t row, mr_diag *diag)
{
    mr_err err = mri_fail(diag, MRI_E_STATISTICS, s->foot.off,
                          "%s %llu does not tell what the values are", what,
                          (unsigned long long)row);

    mri_diag_in(diag, s->file.path);
    return err;
}

static mr_err
prove_moments(const mri_shard *s, const mri_sample_row *sample, uint32_t i,
              const mri_survey *survey, mr_diag *diag)
{
    mri_moment_row *want = mri_alloc(survey->channels, sizeof *want);
    mri_moment_row got;
    mr_err err = want != NULL ? MR_OK : no_memory(diag);

    if (err == MR_OK) {
        mri_survey_end(survey, want);
    }
    for (uint32_t c = 0; err == MR_OK && c < survey->channels; c++) {
        err = mri_shard_moments(s, sample, i, c, &got, diag);
        if (err == MR_OK &&
            (got.non_finite != want[c].non_finite ||
             !mri_moments_agree(&got.all, &want[c].all) ||
             !mri_moments_agree(&got.nonzero, &want[c].nonzero) ||
             !mri_moments_agree(&got.foreground, &want[c].foreground))) {
            err = lies(s, "the moment row of channel", c, diag);
        }
    }
    mri_free(want);
    return err;
}

static mr_err
prove_chunk(const mri_shard *s, mri_survey *survey, uint64_t index,
            const uint8_t *pixels, mri_stat_proof *p, mr_diag *diag)
{
    const mri_grid_row *g = survey->g;
    const mri_label_row *label;
    mri_stat_row got, want;
    mri_label_row one;
    mr_box box;
    mr_err err = mri_shard_stat(s, g, index, &got, diag);

    if (err != MR_OK) {
        return err;
    }
    mri_chunk_box(g, index, &box);
    p->chunk.len = p->labels.len = 0;
    if (!mri_bytes_reserve(&p->chunk,
                           (size_t)(mri_box_len(&box, g->ndim) *
                                    mr_dtype_bytes((mr_dtype)g->dtype)))) {
        return no_memory(diag);
    }
    mri_chunk_gather(p->chunk.data, pixels, g, &box);
    if (!mri_survey_add(survey, &box, p->chunk.data) ||
        !mri_survey_stat(survey, &box, p->chunk.data, &want, &p->labels)) {
        return no_memory(diag);
    }
    if (got.min != want.min || got.max != want.max ||
        got.nonzero != want.nonzero || got.nan != want.nan ||
        got.labels != want.labels || got.flags != want.flags) {
        return lies(s, "the statistics row of chunk", g->first_chunk + index,
                    diag);
    }
    label = (const void *)p->labels.data;
    for (uint32_t i = 0; err == MR_OK && i < got.labels; i++) {
        err = mri_shard_label(s, &got, i, &one, diag);
        if (err == MR_OK &&
            (one.value != label[i].value || one.count != label[i].count)) {
            err =
                lies(s, "a label count of chunk", g->first_chunk + index, diag);
        }
    }
    return err;
}

mr_err
mri_shard_load_cover(const mri_shard *s, const mri_sample_row *sample,
                     const mri_grid_row *g, mri_stat_proof *p,
                     mr_scratch *scratch, mr_diag *diag)
{
    uint64_t shape[MR_MAX_RANK], bytes;
    mr_err err = MR_OK;

    p->has_cover = false;
    for (uint32_t i = 0; i < sample->n_grid && !p->has_cover; i++) {
        mri_grid_row *l = &p->cover_grid;

        err = mri_shard_grid(s, sample, i, l, diag);
        if (err != MR_OK) {
            return err;
        }
        p->has_cover = mri_cover_fits(l, g);
    }
    if (!p->has_cover) {
        return MR_OK;
    }
    bytes = mri_grid_bytes(&p->cover_grid);
    p->cover.len = 0;
    if (!mri_bytes_reserve(&p->cover, (size_t)bytes)) {
        return no_memory(diag);
    }
    for (unsigned i = 0; i < MR_MAX_RANK; i++) {
        shape[i] = p->cover_grid.dims[i];
    }
    mr_tensor t = mr_tensor_of(p->cover.data, (mr_dtype)p->cover_grid.dtype,
                               p->cover_grid.ndim, shape);

    return mri_shard_read_box(s, &p->cover_grid, NULL, &t, scratch, diag);
}

mr_err
mri_shard_prove_stats(const mri_shard *s, const mri_sample_row *sample,
                      uint32_t i, const uint8_t *pixels, mri_stat_proof *p,
                      mr_scratch *scratch, mr_diag *diag)
{
    mri_survey survey = {0};
    mri_grid_row g;
    double scale[2];
    mr_err err = mri_shard_grid(s, sample, i, &g, diag);

    if (err == MR_OK && /* a tally for each channel: more than are told of? */
        mri_channels_of(&g) > mri_foot_rows(&s->foot, MRI_TABLE_MOMENTS)) {
        err = lies(s, "the moment row of channel", mri_channels_of(&g), diag);
    }
    if (err == MR_OK) {
        err = mri_shard_scale(s, sample, i, scale, diag);
    }
    if (err == MR_OK) {
        err = mri_shard_load_cover(s, sample, &g, p, scratch, diag);
    }
    if (err == MR_OK) {
        mri_cover cover = {&p->cover_grid, p->has_cover ? p->cover.data : NULL};

        if (!mri_survey_begin(&survey, &g, scale[0], scale[1], &cover)) {
            err = no_memory(diag);
        }
    }
    for (uint64_t k = 0; err == MR_OK && k < mri_grid_chunks(&g); k++) {
        err = prove_chunk(s, &survey, k, pixels, p, diag);
    }
    if (err == MR_OK) {
        err = prove_moments(s, sample, i, &survey, diag);
    }
    mri_survey_release(&survey);
    return err;
}

void
mri_stat_proof_release(mri_stat_proof *p)
{
    mri_bytes_release(&p->chunk);
    mri_bytes_release(&p->labels);
    mri_bytes_release(&p->cover);
    *p = (mri_stat_proof){0};
}
