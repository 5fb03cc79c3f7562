/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_fuzz.c - any bytes as a shard that is read through: every sample, its
 * meta frame, statistics, fields and boxes of them. What `verify` finds nothing
 * wrong with can be read.
 */
#include "fuzz_shard.h"
#include "shard_read.h"

#define SAMPLES 8u
#define FIELDS 4u
#define FIELD_BYTES (1u << 20)
enum { FUZZ_VERIFY = 8 };

typedef struct visit {
    const mri_shard *shard;
    mr_scratch *scratch;
    uint8_t pixels[FIELD_BYTES];
    bool failed; /* something could not be read */
} visit;

/* All of a field, then the middle of it: the same values. */
static void
read_boxes(visit *v, const mri_grid_row *g, mr_diag *diag)
{
    uint64_t shape[MR_MAX_RANK], bytes = mri_grid_bytes(g);
    mr_box box = {{0}, {0}};
    mr_tensor whole, part;
    uint8_t *middle;

    for (unsigned i = 0; i < MR_MAX_RANK; i++) {
        shape[i] = g->dims[i];
        box.first[i] = g->dims[i] / 3;
        box.size[i] = (g->dims[i] + 1) / 2;
    }
    whole = mr_tensor_of(v->pixels, (mr_dtype)g->dtype, g->ndim, shape);
    part = mr_tensor_of(NULL, (mr_dtype)g->dtype, g->ndim, box.size);
    part.data = middle = malloc((size_t)mr_tensor_bytes(&part));
    hold(middle != NULL);
    if (fuzz_ok(mri_shard_read_box(v->shard, g, NULL, &whole, v->scratch, diag),
                diag)) {
        uint64_t first = 0;

        fuzz_touch(v->pixels, (size_t)bytes);
        hold(mri_shard_read_box(v->shard, g, &box, &part, v->scratch, diag) ==
             MR_OK);
        for (unsigned i = 0; i < g->ndim; i++) {
            first = first * g->dims[i] + box.first[i];
        }
        hold(memcmp(middle, v->pixels + first * mr_dtype_bytes(whole.dtype),
                    mr_dtype_bytes(whole.dtype)) == 0);
    } else {
        v->failed = true;
        if (mri_shard_read_box(v->shard, g, &box, &part, NULL, diag) == MR_OK) {
            fuzz_touch(middle, (size_t)mr_tensor_bytes(&part));
        }
        mri_diag_clear(diag);
    }
    free(middle);
}

static void
visit_field(visit *v, const mri_sample_row *sample, uint32_t i)
{
    mri_moment_row moments;
    mr_diag diag = {0};
    const uint8_t *p;
    mri_grid_row g;
    size_t bytes;

    for (uint32_t c = 0; c < 2; c++) {
        (void)fuzz_ok(
            mri_shard_moments(v->shard, sample, i, c, &moments, &diag), &diag);
    }
    if (!fuzz_ok(mri_shard_grid(v->shard, sample, i, &g, &diag), &diag)) {
        v->failed = true;
        return;
    }
    hold(mri_grid_sound(&g));
    if (g.encoding != MR_ENC_CHUNKS) {
        if (fuzz_ok(mri_shard_read_verbatim(v->shard, &g, &p, &bytes,
                                            v->scratch, &diag),
                    &diag)) {
            fuzz_touch(p, bytes);
        } else {
            v->failed = true;
        }
    } else if (mri_grid_bytes(&g) <= FIELD_BYTES) {
        read_boxes(v, &g, &diag);
    }
}

static void
visit_sample(visit *v, uint32_t row)
{
    mri_sample_row sample;
    mr_diag diag = {0};
    mri_meta *meta;

    mri_shard_foresee_frame(v->shard, row);
    if (!fuzz_ok(mri_shard_sample(v->shard, row, &sample, &diag), &diag)) {
        v->failed = true;
        return;
    }
    if (fuzz_ok(mri_shard_meta(v->shard, row, &meta, &diag), &diag)) {
        fuzz_touch(meta->key, strlen(meta->key));
        mri_meta_free(meta);
    } else {
        v->failed = true;
    }
    for (uint32_t i = 0; i < sample.n_grid && i < FIELDS; i++) {
        visit_field(v, &sample, i);
    }
}

static void
tell(void *user, const char *sample, const mr_diag *diag)
{
    (void)user;
    (void)sample;
    hold(diag->code != 0 && diag->text[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mri_bytes file;
    static fuzz_file place;
    static visit v;
    mri_verified verified;
    mr_diag diag = {0};
    mri_shard *s = NULL;
    const char *path;

    if (!fuzz_shard(&file, data, size)) {
        return 0;
    }
    path = fuzz_put(&place, file.data, file.len);
    fuzz_begin();
    v.failed = !fuzz_ok(
        mri_shard_open_with(&s, path, NULL, (data[0] & FUZZ_MAP) != 0, &diag),
        &diag);
    v.shard = s;
    v.scratch = mr_scratch_open();
    for (uint32_t i = 0; s != NULL && i < mri_shard_samples(s) && i < SAMPLES;
         i++) {
        visit_sample(&v, i);
    }
    mr_scratch_close(v.scratch);
    mri_shard_close(s);
    if ((data[0] & FUZZ_VERIFY) != 0 &&
        fuzz_ok(mri_shard_verify(path, NULL, tell, NULL, &verified, &diag),
                &diag)) {
        hold(verified.damages != 0 || !v.failed);
    }
    fuzz_end(UINT64_MAX);
    return 0;
}
