/* SPDX-License-Identifier: Apache-2.0 */
/* inspect_file.c - a shard, a safetensors file, or a foreign image. */
#include "inspect.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/safetensors.h>
#include <mri/shard.h>
#include <mri/source.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static void
json_shape(mri_json *j, const uint64_t *shape, uint32_t rank)
{
    mri_json_key(j, "shape");
    mri_json_array(j);
    for (uint32_t i = 0; i < rank; i++) {
        mri_json_u64(j, shape[i]);
    }
    mri_json_end(j);
}

/* ---- shards ---- */

/* How the chunks are stored, a line or an object for each way. */
static mr_err
show_codings(const mri_inspect *in, const mri_shard *s, mri_json *j,
             mr_diag *diag)
{
    mri_coded coded[MRI_CODED_MOST];
    uint32_t count;
    mr_err err = mri_shard_codings(s, coded, &count, diag);

    if (err != MR_OK) {
        return err;
    }
    if (in->cli->json) {
        mri_json_key(j, "codings");
        mri_json_array(j);
    }
    for (uint32_t i = 0; i < count; i++) {
        const mri_coded *c = &coded[i];

        if (in->cli->json) {
            mri_json_object(j);
            mri_json_put_text(j, "codec", c->codec);
            mri_json_put_text(j, "filter", c->filter);
            mri_json_put_u64(j, "chunks", c->chunks);
            mri_json_put_u64(j, "raw_bytes", c->raw_bytes);
            mri_json_put_u64(j, "stored_bytes", c->stored_bytes);
            mri_json_end(j);
        } else {
            (void)printf("  %s, filter %s: %s, %s stored of %s\n", c->codec,
                         c->filter, mri_text_plural(c->chunks, "chunk"),
                         mri_text_bytes(c->stored_bytes),
                         mri_text_bytes(c->raw_bytes));
        }
    }
    if (in->cli->json) {
        mri_json_end(j);
    }
    return MR_OK;
}

static mr_err
show_shard(const mri_inspect *in, mri_json *j, mr_diag *diag)
{
    mri_shard *s;
    mr_err err = mri_shard_open(&s, in->thing, NULL, diag);

    if (err != MR_OK) {
        return err;
    }
    if (in->cli->json) {
        mri_json_object(j);
        mri_json_put_text(j, "schema", "millrace.inspect.shard.1");
        mri_inspect_version_json(j, mri_shard_version(s),
                                 mri_shard_feature_name);
        mri_json_put_text(j, "id", mri_text_hex(mri_shard_id(s), 16));
        mri_json_put_u64(j, "samples", mri_shard_samples(s));
        mri_json_put_u64(j, "bytes", mri_shard_bytes(s));
    } else {
        (void)printf("%s\n  shard %s, ", in->thing,
                     mri_text_hex(mri_shard_id(s), 16));
        mri_inspect_version_text(mri_shard_version(s), mri_shard_feature_name);
        (void)printf(", %s samples, %s\n", mri_text_count(mri_shard_samples(s)),
                     mri_text_bytes(mri_shard_bytes(s)));
    }
    err = show_codings(in, s, j, diag);
    if (in->cli->json) {
        mri_json_key(j, "keys");
        mri_json_array(j);
    }
    for (uint32_t i = 0; err == MR_OK && i < mri_shard_samples(s); i++) {
        mri_meta *meta;

        if (!in->cli->json && i == 20 && !in->cli->verbose) {
            (void)printf("  ... (-v lists all)\n");
            break;
        }
        err = mri_shard_meta(s, i, &meta, diag);
        if (err == MR_OK && in->cli->json) {
            mri_json_text(j, meta->key);
        } else if (err == MR_OK) {
            (void)printf("  %s\n", meta->key);
        }
        mri_meta_free(err == MR_OK ? meta : NULL);
    }
    if (in->cli->json) {
        mri_json_end(j);
        mri_json_end(j);
    }
    mri_shard_close(s);
    return err;
}

/* ---- safetensors ---- */

static void
tensors_json(const mri_st *st, mri_json *j)
{
    mri_json_object(j);
    mri_json_put_text(j, "schema", "millrace.inspect.tensors.1");
    mri_json_put_bool(j, "checked", mri_st_checked(st));
    mri_json_key(j, "metadata");
    mri_json_object(j);
    for (size_t i = 0; i < mri_st_meta_count(st); i++) {
        mri_st_meta m = mri_st_meta_at(st, i);

        mri_json_put_text(j, m.key, m.value);
    }
    mri_json_end(j);
    mri_json_key(j, "tensors");
    mri_json_array(j);
    for (size_t i = 0; i < mri_st_count(st); i++) {
        const mri_st_item *it = mri_st_at(st, i);

        mri_json_object(j);
        mri_json_put_text(j, "name", it->name);
        mri_json_put_text(j, "dtype", mr_dtype_name(it->dtype));
        json_shape(j, it->shape, it->rank);
        mri_json_end(j);
    }
    mri_json_end(j);
    mri_json_end(j);
}

static void
tensors_text(const mri_inspect *in, const mri_st *st)
{
    (void)printf(
        "%s\n  %s tensors, %s\n", in->thing, mri_text_count(mri_st_count(st)),
        mri_st_checked(st) ? "checksums hold" : "no checksums of ours");
    for (size_t i = 0; i < mri_st_meta_count(st); i++) {
        mri_st_meta m = mri_st_meta_at(st, i);

        (void)printf("  %s: %.400s%s\n", m.key, m.value,
                     strlen(m.value) > 400 ? " ..." : "");
    }
    for (size_t i = 0; i < mri_st_count(st); i++) {
        const mri_st_item *it = mri_st_at(st, i);

        (void)printf("  %-48s %s %s\n", it->name, mr_dtype_name(it->dtype),
                     mri_text_shape(it->shape, it->rank));
    }
}

static mr_err
show_tensors(const mri_inspect *in, mri_json *j, mr_diag *diag)
{
    mri_st *st;
    mr_err err = mri_st_open(&st, in->thing, diag);

    if (err != MR_OK) {
        return err;
    }
    if (in->cli->json) {
        tensors_json(st, j);
    } else {
        tensors_text(in, st);
    }
    mri_st_close(st);
    return MR_OK;
}

/* ---- foreign images ---- */

static void
image_json(mri_json *j, const mri_image *image)
{
    mri_json_object(j);
    mri_json_put_text(j, "dtype", mr_dtype_name(image->dtype));
    mri_json_put_text(j, "axes", image->axes);
    json_shape(j, image->shape, image->rank);
    mri_json_put_f64(j, "slope", image->geometry.slope);
    mri_json_put_f64(j, "intercept", image->geometry.inter);
    mri_json_key(j, "affine");
    if (image->geometry.has_affine) {
        mri_json_array(j);
        for (int i = 0; i < 12; i++) {
            mri_json_f64(j, image->geometry.affine[i]);
        }
        mri_json_end(j);
    } else {
        mri_json_null(j);
    }
    mri_json_end(j);
}

static mr_err
show_source(const mri_inspect *in, const mri_source *source, mri_json *j,
            mr_diag *diag)
{
    uint64_t count = mri_source_count(source);
    const char *kind = mri_source_kind_name(mri_source_kind_of(source));
    mr_err err = MR_OK;

    if (in->cli->json) {
        mri_json_object(j);
        mri_json_put_text(j, "schema", "millrace.inspect.image.1");
        mri_json_put_text(j, "format", kind);
        mri_json_key(j, "images");
        mri_json_array(j);
    } else {
        (void)printf("%s\n  %s, %s sample%s\n", in->thing, kind,
                     mri_text_count(count), count == 1 ? "" : "s");
    }
    for (uint64_t i = 0; err == MR_OK && i < count; i++) {
        mri_image image = {0};

        err = mri_source_look(source, i, &image, diag);
        if (err == MR_OK && in->cli->json) {
            image_json(j, &image);
        } else if (err == MR_OK) {
            (void)printf("  %s %s %s\n", mr_dtype_name(image.dtype), image.axes,
                         mri_text_shape(image.shape, image.rank));
        }
        mri_image_release(&image);
    }
    if (in->cli->json) {
        mri_json_end(j);
        mri_json_end(j);
    }
    return err;
}

static mr_err
show_image(const mri_inspect *in, mri_json *j, mr_diag *diag)
{
    mri_source_options options = mri_source_defaults();
    mri_bytes b = {0};
    mri_source *source = NULL;
    mr_err err = mri_file_load(in->thing, options.limits.file_bytes, &b, diag);

    if (err == MR_OK) {
        mri_source_bytes file = {b.data, b.len, in->thing};

        err = mri_source_open(&source, &file, NULL, &options, diag);
    }
    if (err == MR_OK) {
        err = show_source(in, source, j, diag);
    }
    mri_diag_in(err != MR_OK ? diag : NULL, in->thing);
    mri_source_close(source);
    mri_bytes_release(&b);
    return err;
}

/* A file that means something only beside the others of its dataset. */
static mr_err
part_of_dataset(const char *what, mr_diag *diag)
{
    return mri_fail(diag, MRI_E_USAGE, MR_NOWHERE,
                    "this is %s of a dataset; name the folder that it lies in",
                    what);
}

static mr_err
show(const mri_inspect *in, const uint8_t head[16], uint64_t size, mri_json *j,
     mr_diag *diag)
{
    if (memcmp(head + 1, "MRS", 3) == 0) {
        return show_shard(in, j, diag);
    }
    if (memcmp(head, "\x89MRM", 4) == 0) {
        return part_of_dataset("the manifest", diag);
    }
    if (memcmp(head, "\x89MRI", 4) == 0) {
        return part_of_dataset("the index", diag);
    }
    return head[8] == '{' && mri_get64(head) < size ? show_tensors(in, j, diag)
                                                    : show_image(in, j, diag);
}

/* By content: a shard's magic, a safetensors header, else an image. */
mr_err
mri_inspect_file(const mri_inspect *in, mr_diag *diag)
{
    uint8_t head[16] = {0};
    mri_json j = {0};
    uint64_t size = 0;
    int fd;
    mr_err err = mri_file_open(&fd, in->thing, O_RDONLY, 0, diag);

    if (err == MR_OK) {
        err = mri_file_size(fd, in->thing, &size, diag);
    }
    if (err == MR_OK) {
        err = mri_file_read(fd, in->thing, head,
                            size < sizeof head ? (size_t)size : sizeof head, 0,
                            diag);
    }
    mri_file_drop(&fd);
    if (err != MR_OK) {
        return err;
    }
    err = show(in, head, size, &j, diag);
    if (err == MR_OK && in->cli->json) {
        err = mri_cli_json(&j, diag);
    }
    mri_json_release(&j);
    return err;
}
