/* SPDX-License-Identifier: Apache-2.0 */
/* work.c - one item of the plan to encoded samples. */
#include "work.h"

#include "quarantine.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/hash.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file in memory, with its hash. */
typedef struct loaded {
    mri_bytes data;
    uint8_t sha256[32];
} loaded;

typedef struct job {
    const mri_plan *plan;
    const mri_plan_item *item;
    mri_made *out;
    loaded *files; /* [item->file_count] */
    mri_provenance *sources;
    const char *stage;
    mr_diag why;
} job;

static mr_err
no_memory(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
}

static mr_err
load_files(job *j)
{
    uint64_t limit = j->plan->options->source.limits.file_bytes;

    j->stage = "read";
    for (uint32_t i = 0; i < j->item->file_count; i++) {
        const mri_plan_file *f = &j->item->files[i];
        char *path = mri_plan_path(j->plan, f);
        mr_err err = path != NULL ? mri_file_load(path, limit,
                                                  &j->files[i].data, &j->why)
                                  : no_memory(&j->why);

        mri_free(path);
        if (err != MR_OK) {
            return err;
        }
        mri_sha256_of(j->files[i].sha256, j->files[i].data.data,
                      j->files[i].data.len);
        j->sources[i] =
            (mri_provenance){.name = f->name, .bytes = j->files[i].data.len};
        memcpy(j->sources[i].sha256, j->files[i].sha256, 32);
    }
    return MR_OK;
}

static mri_source_bytes
bytes_of(const job *j, uint32_t i)
{
    return (mri_source_bytes){j->files[i].data.data, j->files[i].data.len,
                              j->item->files[i].name};
}

/* Grow a list by one; false: no memory. */
static bool
grow(void **list, uint64_t count, size_t size)
{
    void *p = mri_resize(*list, (size_t)count + 1, size);

    if (p == NULL) {
        return false;
    }
    *list = p;
    return true;
}

static mr_err
note_bad(job *j, const char *key, mr_diag *diag)
{
    void *list = j->out->bad;
    const loaded *file = &j->files[0];
    mri_bad *b;

    if (j->why.err == MR_ENOMEM) {
        if (diag != NULL) {
            *diag = j->why;
        }
        return MR_ENOMEM;
    }
    if (!grow(&list, j->out->bad_count, sizeof *j->out->bad)) {
        return no_memory(diag);
    }
    j->out->bad = list;
    b = &j->out->bad[j->out->bad_count];
    *b = (mri_bad){.key = mri_strdup(key),
                   .stage = mri_strdup(j->stage),
                   .reason = mri_strdup(j->why.text),
                   .code = j->why.code,
                   .at = j->why.at,
                   .bytes = j->item->bytes};
    if (file->data.data != NULL && strcmp(j->stage, "read") != 0) {
        memcpy(b->sha256, file->sha256, 32);
        b->hashed = true;
        if (j->plan->options->keep_bytes) {
            b->window =
                mri_bad_window(file->data.data, file->data.len, j->why.at);
        }
    }
    j->out->bad_count++;
    return b->key != NULL && b->stage != NULL && b->reason != NULL
               ? MR_OK
               : no_memory(diag);
}

static mr_err
too_large(mr_diag *diag)
{
    return mri_fail(diag, MRI_E_TOO_LARGE, MR_NOWHERE,
                    "an axis of more than 4,294,967,295 elements");
}

static mr_err
field_of(mri_field_in *f, const mri_image *image, mr_diag *diag)
{
    *f = (mri_field_in){.encoding = MR_ENC_CHUNKS,
                        .dtype = image->dtype,
                        .ndim = (uint8_t)image->rank,
                        .pixels = image->pixels,
                        .geometry = &image->geometry};
    for (uint32_t i = 0; i < image->rank; i++) {
        if (image->shape[i] > UINT32_MAX) {
            return too_large(diag);
        }
        f->axes[i] = image->axes[i];
        f->dims[i] = (uint32_t)image->shape[i];
    }
    if (image->jpeg.data != NULL) {
        f->encoding = MR_ENC_JPEG;
        f->verbatim = image->jpeg.data;
        f->verbatim_bytes = image->jpeg.bytes;
        f->jpeg[0] = image->jpeg.components;
        f->jpeg[1] = image->jpeg.subsampling;
        f->jpeg[2] = image->jpeg.restart_interval;
    }
    return MR_OK;
}

static mr_err
encode_image(job *j, const char *key, const mri_image *image)
{
    const mri_plan_item *item = j->item;
    uint8_t *hashes = mri_alloc(item->file_count, 32);
    mri_sample_in s = {.key = key,
                       .group = item->group,
                       .class_name = item->class_name,
                       .class_index = item->class_index,
                       .field_count = 1};
    mri_field_in field;
    mri_encoded *e = NULL;
    void *list = j->out->samples;
    mr_err err;

    j->stage = "encode";
    if (hashes == NULL) {
        return no_memory(&j->why);
    }
    for (uint32_t i = 0; i < item->file_count; i++) {
        memcpy(hashes + (size_t)i * 32, j->files[i].sha256, 32);
    }
    err = mri_uid_of(s.uid, key, hashes, item->file_count)
              ? field_of(&field, image, &j->why)
              : no_memory(&j->why);
    mri_free(hashes);
    if (err != MR_OK) {
        return err;
    }
    field.coding = j->plan->options->coding;
    field.sources = j->sources;
    field.source_count = item->file_count;
    s.fields = &field;
    err = mri_encode(&e, &s, &j->why);
    if (err != MR_OK) {
        return err;
    }
    if (!grow(&list, j->out->sample_count, sizeof *j->out->samples)) {
        mri_encoded_free(e);
        return no_memory(&j->why);
    }
    j->out->samples = list;
    j->out->samples[j->out->sample_count++] = e;
    j->out->bytes += mri_encoded_bytes(e);
    return MR_OK;
}

/* What was left behind goes with the provenance, as stable words. */
static void
name_dropped(job *j, const mri_image *image, char *words, size_t bytes)
{
    (void)mri_image_dropped(image, words, bytes);
    j->sources[0].dropped = words;
}

/* Sample `i` of a file that holds `count`. */
static mr_err
make_sample(job *j, const mri_source *source, uint64_t i, uint64_t count,
            mr_diag *diag)
{
    char *key = mri_alloc(strlen(j->item->key) + 24, 1);
    char words[256];
    mri_image image = {0};
    mr_err err;

    if (key == NULL) {
        return no_memory(diag);
    }
    (void)sprintf(key, "%s", j->item->key);
    if (count > 1) {
        (void)sprintf(key + strlen(key), "#%llu", (unsigned long long)i);
    }
    j->stage = "decode";
    err = mri_source_read(source, i, &image, &j->why);
    if (err == MR_OK) {
        name_dropped(j, &image, words, sizeof words);
        err = encode_image(j, key, &image);
    }
    if (err != MR_OK) {
        err = note_bad(j, key, diag);
        mri_diag_clear(&j->why);
    }
    mri_image_release(&image);
    mri_free(key);
    return err;
}

static mr_err
make_from_file(job *j, mr_diag *diag)
{
    mri_source_bytes file = bytes_of(j, 0), pair = {0};
    mri_source *source = NULL;
    uint64_t count;
    mr_err err;

    if (j->item->pair) {
        pair = bytes_of(j, 1);
    }
    j->stage = "decode";
    err = mri_source_open(&source, &file, j->item->pair ? &pair : NULL,
                          &j->plan->options->source, &j->why);
    if (err != MR_OK) {
        return note_bad(j, j->item->key, diag);
    }
    count = mri_source_count(source);
    for (uint64_t i = 0; err == MR_OK && i < count; i++) {
        err = make_sample(j, source, i, count, diag);
    }
    mri_source_close(source);
    return err;
}

/* ---- stacks: one file a channel ---- */

/* Layer `i` into its place of a CYX (or CZYX) array. */
static mr_err
add_layer(job *j, uint32_t i, mri_image *stack)
{
    mri_source_bytes file = bytes_of(j, i);
    mri_source *source = NULL;
    mri_image layer = {0};
    mr_err err = mri_source_open(&source, &file, NULL,
                                 &j->plan->options->source, &j->why);

    if (err == MR_OK && mri_source_count(source) != 1) {
        err = mri_fail(&j->why, MRI_E_STACK, MR_NOWHERE,
                       "%s holds several images; a file of a stack holds one",
                       file.name);
    }
    if (err == MR_OK) {
        err = mri_source_read(source, 0, &layer, &j->why);
    }
    mri_source_close(source);
    if (err != MR_OK) {
        return err;
    }
    if (strchr(layer.axes, 'C') != NULL || layer.rank + 1 > MR_MAX_RANK) {
        err =
            mri_fail(&j->why, MRI_E_STACK, MR_NOWHERE,
                     "%s has channels of its own (%s)", file.name, layer.axes);
    } else if (i == 0) {
        stack->dtype = layer.dtype;
        stack->rank = layer.rank + 1;
        stack->axes[0] = 'C';
        memcpy(stack->axes + 1, layer.axes, sizeof stack->axes - 1);
        stack->shape[0] = j->item->file_count;
        memcpy(stack->shape + 1, layer.shape,
               sizeof layer.shape - sizeof layer.shape[0]);
        stack->bytes = layer.bytes * j->item->file_count;
        stack->pixels = stack->block =
            mri_alloc_pixels(j->item->file_count, (size_t)layer.bytes);
        err =
            stack->pixels != NULL
                ? mri_geometry_copy(&stack->geometry, &layer.geometry, &j->why)
                : no_memory(&j->why);
        /* the spacing moves up with its axes */
        memmove(stack->geometry.spacing + 1, stack->geometry.spacing,
                (MR_MAX_RANK - 1) * sizeof stack->geometry.spacing[0]);
        stack->geometry.spacing[0] = 0;
    } else if (layer.dtype != stack->dtype ||
               strcmp(layer.axes, stack->axes + 1) != 0 ||
               memcmp(layer.shape, stack->shape + 1,
                      layer.rank * sizeof layer.shape[0]) != 0) {
        err = mri_fail(&j->why, MRI_E_STACK, MR_NOWHERE,
                       "%s has another type or shape than the first file",
                       file.name);
    }
    if (err == MR_OK) {
        memcpy((uint8_t *)stack->pixels + i * layer.bytes, layer.pixels,
               (size_t)layer.bytes);
    }
    mri_image_release(&layer);
    return err;
}

static mr_err
name_channels(job *j, mri_geometry *g)
{
    for (uint32_t i = 0; i < g->channel_count; i++) {
        mri_free(g->channels[i]);
    }
    mri_free(g->channels);
    g->channel_count = 0;
    g->channels = mri_alloc(j->item->file_count, sizeof *g->channels);
    for (uint32_t i = 0; g->channels != NULL && i < j->item->file_count; i++) {
        g->channels[i] = mri_strdup(j->item->channels[i]);
        if (g->channels[i] == NULL) {
            return no_memory(&j->why);
        }
        g->channel_count++;
    }
    return g->channels != NULL ? MR_OK : no_memory(&j->why);
}

static mr_err
make_from_stack(job *j, mr_diag *diag)
{
    mri_image stack = {0};
    mr_err err = MR_OK;

    mri_geometry_init(&stack.geometry);
    j->stage = "decode";
    for (uint32_t i = 0; err == MR_OK && i < j->item->file_count; i++) {
        err = add_layer(j, i, &stack);
    }
    if (err == MR_OK) {
        err = name_channels(j, &stack.geometry);
    }
    if (err == MR_OK) {
        err = encode_image(j, j->item->key, &stack);
    }
    if (err != MR_OK) {
        err = note_bad(j, j->item->key, diag);
    }
    mri_free(stack.block);
    mri_geometry_release(&stack.geometry);
    return err;
}

mr_err
mri_make(mri_made *out, const mri_plan *plan, const mri_plan_item *item,
         mr_diag *diag)
{
    job j = {.plan = plan, .item = item, .out = out};
    mr_err err;

    *out = (mri_made){0};
    j.files = mri_alloc(item->file_count, sizeof *j.files);
    j.sources = mri_alloc(item->file_count, sizeof *j.sources);
    if (j.files == NULL || j.sources == NULL) {
        err = no_memory(diag);
    } else if (load_files(&j) != MR_OK) {
        err = note_bad(&j, item->key, diag);
    } else {
        err = item->channels != NULL ? make_from_stack(&j, diag)
                                     : make_from_file(&j, diag);
    }
    for (uint32_t i = 0; j.files != NULL && i < item->file_count; i++) {
        mri_bytes_release(&j.files[i].data);
    }
    mri_free(j.files);
    mri_free(j.sources);
    if (err != MR_OK) {
        mri_made_release(out);
    }
    return err;
}

void
mri_made_release(mri_made *made)
{
    for (uint64_t i = 0; i < made->sample_count; i++) {
        mri_encoded_free(made->samples[i]);
    }
    mri_free(made->samples);
    mri_bad_list_free(made->bad, made->bad_count);
    *made = (mri_made){0};
}
