/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump_source.c - what ingest reads of a foreign file, for scripts to compare.
 *
 *     dump_source [--label] [--lenient] [--keep-text] [--look]
 *                 [--pages depth|channel|sample] [--pair IMG] FILE [DIR]
 *
 * One line of JSON a sample; with DIR also its pixels as DIR/<index>.npy and a
 * JPEG's stored form as DIR/<index>.jpg. A refusal is one line too, and exit 3.
 */
#include <mri/source.h>

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/json.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct request {
    mri_source_options options;
    bool look;
    const char *file, *pair, *dir;
} request;

static int
usage(void)
{
    (void)fprintf(stderr,
                  "usage: dump_source [--label] [--lenient] [--keep-text] "
                  "[--look] [--pages WHAT] [--pair IMG] FILE [DIR]\n");
    return 2;
}

static bool
take_pages(request *r, const char *what)
{
    static const char *const names[] = {"auto", "depth", "channel", "sample"};

    for (size_t i = 0; what != NULL && i < MRI_COUNT(names); i++) {
        if (strcmp(what, names[i]) == 0) {
            r->options.pages = (mri_pages)i;
            return true;
        }
    }
    return false;
}

static bool
parse(request *r, char **argv)
{
    r->options = mri_source_defaults();
    for (argv++; *argv != NULL; argv++) {
        if (strcmp(*argv, "--label") == 0) {
            r->options.label = true;
        } else if (strcmp(*argv, "--lenient") == 0) {
            r->options.lenient = true;
        } else if (strcmp(*argv, "--keep-text") == 0) {
            r->options.keep_text = true;
        } else if (strcmp(*argv, "--look") == 0) {
            r->look = true;
        } else if (strcmp(*argv, "--pages") == 0) {
            if (!take_pages(r, *++argv)) {
                return false;
            }
        } else if (strcmp(*argv, "--pair") == 0) {
            r->pair = *++argv;
        } else if (r->file == NULL) {
            r->file = *argv;
        } else {
            r->dir = *argv;
        }
        if (*argv == NULL) {
            break;
        }
    }
    return r->file != NULL;
}

static void
put_numbers(mri_json *j, const char *key, const double *v, size_t n)
{
    mri_json_key(j, key);
    mri_json_array(j);
    for (size_t i = 0; i < n; i++) {
        mri_json_f64(j, v[i]);
    }
    mri_json_end(j);
}

static void
put_geometry(mri_json *j, const mri_image *image)
{
    const mri_geometry *g = &image->geometry;

    mri_json_put_f64(j, "slope", g->slope);
    mri_json_put_f64(j, "inter", g->inter);
    mri_json_put_u64(j, "orientation", g->orientation);
    mri_json_put_u64(j, "nifti_bytes", g->nifti_bytes);
    put_numbers(j, "spacing", g->spacing, image->rank);
    if (g->has_affine) {
        put_numbers(j, "affine", g->affine, 12);
    }
    mri_json_key(j, "channels");
    mri_json_array(j);
    for (uint32_t i = 0; i < g->channel_count; i++) {
        mri_json_text(j, g->channels[i]);
    }
    mri_json_end(j);
}

static void
put_jpeg(mri_json *j, const mri_jpeg *jpeg)
{
    mri_json_key(j, "jpeg");
    mri_json_object(j);
    mri_json_put_u64(j, "bytes", jpeg->bytes);
    mri_json_put_u64(j, "width", jpeg->width);
    mri_json_put_u64(j, "height", jpeg->height);
    mri_json_put_u64(j, "components", jpeg->components);
    mri_json_put_u64(j, "subsampling", jpeg->subsampling);
    mri_json_put_u64(j, "restart_interval", jpeg->restart_interval);
    mri_json_put_bool(j, "progressive", jpeg->progressive);
    mri_json_end(j);
}

static void
print_image(uint64_t index, mri_source_kind kind, const mri_image *image)
{
    mri_json j = {0};
    char dropped[256];

    (void)mri_image_dropped(image, dropped, sizeof dropped);
    mri_json_object(&j);
    mri_json_put_u64(&j, "index", index);
    mri_json_put_text(&j, "kind", mri_source_kind_name(kind));
    mri_json_put_text(&j, "dtype", mr_dtype_name(image->dtype));
    mri_json_put_text(&j, "axes", image->axes);
    mri_json_key(&j, "shape");
    mri_json_array(&j);
    for (uint32_t i = 0; i < image->rank; i++) {
        mri_json_u64(&j, image->shape[i]);
    }
    mri_json_end(&j);
    put_geometry(&j, image);
    mri_json_put_text(&j, "dropped", dropped);
    mri_json_put_u64(&j, "repaired", image->repaired);
    mri_json_put_text(&j, "text", image->text);
    if (kind == MRI_SOURCE_JPEG) {
        put_jpeg(&j, &image->jpeg);
    }
    mri_json_end(&j);
    (void)puts(mri_json_done(&j));
    mri_json_release(&j);
}

/* The header of version 1.0 of numpy's format: 64-byte aligned. */
static bool
npy_header(mri_bytes *out, const mri_image *image)
{
    static const char *const codes[] = {"",    "|u1", "|i1", "<u2", "<i2",
                                        "<u4", "<i4", "<u8", "<i8", "<f2",
                                        "",    "<f4", "<f8"};
    bool ok = mri_bytes_add(out, "\x93NUMPY\x01\x00\x00\x00", 10) &&
              mri_bytes_text(out,
                             "{'descr': '%s', 'fortran_order': False, "
                             "'shape': (",
                             codes[image->dtype]);

    for (uint32_t i = 0; ok && i < image->rank; i++) {
        ok = mri_bytes_text(out, "%llu,", (unsigned long long)image->shape[i]);
    }
    ok = ok && mri_bytes_text(out, "), }");
    while (ok && out->len % 64 != 63) {
        ok = mri_bytes_add(out, " ", 1);
    }
    ok = ok && mri_bytes_add(out, "\n", 1);
    if (ok) {
        mri_put16(out->data + 8, (uint16_t)(out->len - 10));
    }
    return ok;
}

static mr_err
write_npy(const char *path, const mri_image *image, mr_diag *diag)
{
    mri_bytes header = {0};
    mri_put put = {.fd = -1};
    mr_err err;

    if (!npy_header(&header, image)) {
        return mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    }
    err = mri_put_open(&put, path, diag);
    if (err == MR_OK) {
        err = mri_file_write(put.fd, path, header.data, header.len, 0, diag);
    }
    if (err == MR_OK) {
        err = mri_file_write(put.fd, path, image->pixels, image->bytes,
                             header.len, diag);
    }
    if (err == MR_OK) {
        err = mri_put_commit(&put, MRI_PUT_REPLACE, diag);
    }
    mri_put_release(&put);
    mri_bytes_release(&header);
    return err;
}

static mr_err
write_files(const request *r, uint64_t i, const mri_image *image, mr_diag *diag)
{
    char path[4096];
    mr_err err;

    if (r->dir == NULL || r->look) {
        return MR_OK;
    }
    (void)snprintf(path, sizeof path, "%s/%llu.npy", r->dir,
                   (unsigned long long)i);
    err = write_npy(path, image, diag);
    if (err == MR_OK && image->jpeg.data != NULL) {
        (void)snprintf(path, sizeof path, "%s/%llu.jpg", r->dir,
                       (unsigned long long)i);
        err = mri_file_put(path, image->jpeg.data, image->jpeg.bytes,
                           MRI_PUT_REPLACE, diag);
    }
    return err;
}

static mr_err
dump(const request *r, const mri_source *s, mr_diag *diag)
{
    for (uint64_t i = 0; i < mri_source_count(s); i++) {
        mri_image image;
        mr_err err = r->look ? mri_source_look(s, i, &image, diag)
                             : mri_source_read(s, i, &image, diag);

        if (err == MR_OK) {
            print_image(i, mri_source_kind_of(s), &image);
            err = write_files(r, i, &image, diag);
        }
        mri_image_release(&image);
        if (err != MR_OK) {
            return err;
        }
    }
    return MR_OK;
}

static mr_err
run(const request *r, mri_bytes *file, mri_bytes *pair, mr_diag *diag)
{
    mri_source_bytes bytes = {.name = r->file}, voxels = {.name = r->pair};
    mri_source *s = NULL;
    mr_err err = mri_file_load(r->file, UINT64_MAX, file, diag);

    if (err == MR_OK && r->pair != NULL) {
        err = mri_file_load(r->pair, UINT64_MAX, pair, diag);
    }
    if (err != MR_OK) {
        return err;
    }
    bytes.data = file->data;
    bytes.len = file->len;
    voxels.data = pair->data;
    voxels.len = pair->len;
    err = mri_source_open(&s, &bytes, r->pair != NULL ? &voxels : NULL,
                          &r->options, diag);
    if (err == MR_OK) {
        err = dump(r, s, diag);
    }
    mri_source_close(s);
    return err;
}

int
main(int argc, char **argv)
{
    request r = {0};
    mri_bytes file = {0}, pair = {0};
    mr_diag diag = {0};
    mr_err err;

    (void)argc;
    if (!parse(&r, argv)) {
        return usage();
    }
    err = run(&r, &file, &pair, &diag);
    if (err != MR_OK) {
        mri_json j = {0};

        mri_json_object(&j);
        mri_json_put_u64(&j, "error", diag.code);
        mri_json_put_text(&j, "path", diag.path);
        mri_json_put_u64(&j, "at", diag.at);
        mri_json_put_text(&j, "text", diag.text);
        mri_json_end(&j);
        (void)puts(mri_json_done(&j));
        mri_json_release(&j);
    }
    mri_bytes_release(&file);
    mri_bytes_release(&pair);
    return err == MR_OK ? 0 : mr_err_exit(err);
}
