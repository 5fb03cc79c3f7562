/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_set.h - one small dataset a process, written through the doors of
 * format/, for fuzz targets that need a whole folder and for their seeds.
 */
#ifndef MR_FUZZ_SET_H
#define MR_FUZZ_SET_H

#include <mri/bytes.h>
#include <mri/dataset.h>
#include <mri/error.h>
#include <mri/file.h>

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FUZZ_SET_SAMPLES = 5 };

typedef struct fuzz_set {
    char dir[64];
    int fd; /* of the manifest */
    mri_bytes manifest, index, shard;
} fuzz_set;

static inline void
fuzz_set_must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fuzz_set: %s\n", what);
        abort();
    }
}

static const char *const fuzz_set_fields[] = {"image", "label", "file"};
static const char *const fuzz_set_classes[] = {"ring", "spot"};
static mri_field_kind fuzz_set_kinds[] = {MRI_FIELD_IMAGE, MRI_FIELD_LABEL,
                                          MRI_FIELD_IMAGE};
static const mri_schema fuzz_set_schema = {
    .field_count = 3,
    .field_names = (const char **)(uintptr_t)fuzz_set_fields,
    .field_kinds = fuzz_set_kinds,
    .class_count = 2,
    .classes = (const char **)(uintptr_t)fuzz_set_classes,
    .config = "{}",
};

/* Sample i: cells, a volume with a constant chunk, a file. */
static inline mr_err
fuzz_set_add(mri_shard_writer *w, unsigned i, mr_diag *diag)
{
    static const char *const names[] = {"DAPI", "GFP"};
    static const uint8_t text[] = "a file, byte for byte";
    static uint16_t cells[2 * 9 * 11];
    static int16_t volume[4 * 6 * 5];
    mri_geometry g[2];
    mri_provenance from = {"a.tif", {(uint8_t)i, 1}, 120, NULL};
    mri_field_in f[3] = {{.encoding = MR_ENC_CHUNKS,
                          .dtype = MR_U16,
                          .ndim = 3,
                          .axes = {'C', 'Y', 'X'},
                          .dims = {2, 9, 11},
                          .pixels = cells,
                          .geometry = &g[0]},
                         {.name = 1,
                          .encoding = MR_ENC_CHUNKS,
                          .dtype = MR_I16,
                          .ndim = 3,
                          .axes = {'Z', 'Y', 'X'},
                          .dims = {4, 6, 5},
                          .pixels = volume,
                          .geometry = &g[1]},
                         {.name = 2,
                          .encoding = MR_ENC_BYTES,
                          .dtype = MR_U8,
                          .ndim = 1,
                          .axes = {'X'},
                          .dims = {sizeof text},
                          .verbatim = text,
                          .verbatim_bytes = sizeof text}};
    char key[32], group[32];
    mri_sample_in in = {.key = key,
                        .group = group,
                        .class_name =
                            i % 3 != 2 ? fuzz_set_classes[i % 3] : NULL,
                        .class_index = i % 3 != 2 ? i % 3 : MR_NO_CLASS,
                        .fields = f,
                        .field_count = 3};
    mri_encoded *e = NULL;
    mr_err err;

    for (unsigned k = 0; k < 2; k++) {
        mri_geometry_init(&g[k]);
    }
    for (unsigned k = 0; k < 3; k++) {
        f[k].sources = &from;
        f[k].source_count = 1;
    }
    g[0].channels = (char **)(uintptr_t)names;
    g[0].channel_count = 2;
    g[1].slope = 0.5;
    g[1].spacing[0] = 2;
    for (size_t k = 0; k < sizeof cells / sizeof *cells; k++) {
        cells[k] = (uint16_t)(k / 20 * 13 + i);
    }
    for (size_t k = 0; k < sizeof volume / sizeof *volume; k++) {
        volume[k] = (int16_t)(i == 3 ? 7 : k * k % 61);
    }
    (void)snprintf(key, sizeof key, "sample%u", i);
    (void)snprintf(group, sizeof group, "donor%u", i / 2);
    err = mri_uid_of(in.uid, key, from.sha256, 1)
              ? mri_encode(&e, &in, diag)
              : mri_fail(diag, MRI_E_MEMORY, MR_NOWHERE, "no memory");
    if (err == MR_OK) {
        err = mri_shard_add(w, e, diag);
    }
    mri_encoded_free(e);
    return err;
}

static inline mr_err
fuzz_set_commit(const char *dir, const mr_dataset *parent,
                const mri_shard_ref *ref, mr_diag *diag)
{
    static const char *const splits[] = {"train", "val"};
    static const double shares[] = {0.6, 0.4};
    const mri_commit c = {.dir = dir,
                          .parent = parent,
                          .shards = ref,
                          .shard_count = 1,
                          .schema = &fuzz_set_schema,
                          .layout = "folder",
                          .split_names = splits,
                          .split_shares = shares,
                          .split_count = 2};
    uint64_t generation;

    return mri_dataset_commit(&c, &generation, diag);
}

static inline mr_err
fuzz_set_write(const char *dir, mri_shard_ref *ref, mr_diag *diag)
{
    const uint8_t tag[16] = {4, 2};
    mri_shard_writer *w = NULL;
    mr_err err = mri_shard_begin(&w, dir, tag, &fuzz_set_schema, diag);

    for (unsigned i = 0; err == MR_OK && i < FUZZ_SET_SAMPLES; i++) {
        err = fuzz_set_add(w, i, diag);
    }
    if (err == MR_OK) {
        err = mri_shard_finish(w, ref, diag);
    }
    mri_shard_close_writer(w);
    return err == MR_OK ? fuzz_set_commit(dir, NULL, ref, diag) : err;
}

static inline int
fuzz_set_remove_one(const char *path, const struct stat *st, int kind,
                    struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static char fuzz_set_dir[64];

static inline void
fuzz_set_remove(void)
{
    (void)nftw(fuzz_set_dir, fuzz_set_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* In memory where there is such a folder; gone when the process ends. */
static inline const char *
fuzz_set_folder(void)
{
    (void)snprintf(fuzz_set_dir, sizeof fuzz_set_dir, "%s/millrace-fuzz.XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    fuzz_set_must(mkdtemp(fuzz_set_dir) != NULL, fuzz_set_dir);
    (void)atexit(fuzz_set_remove);
    return fuzz_set_dir;
}

static inline void
fuzz_set_load(mri_bytes *out, const char *dir, const char *name)
{
    char *path = mri_path_join(dir, name);
    mr_diag diag = {0};

    fuzz_set_must(path != NULL &&
                      mri_file_load(path, UINT64_MAX, out, &diag) == MR_OK,
                  diag.text);
    free(path);
}

/* The first call makes it. */
static inline void
fuzz_set_make(fuzz_set *s)
{
    mr_diag diag = {0};
    mri_shard_ref ref;
    char path[128], hex[33];

    if (s->dir[0] != '\0') {
        return;
    }
    (void)snprintf(s->dir, sizeof s->dir, "%s", fuzz_set_folder());
    fuzz_set_must(fuzz_set_write(s->dir, &ref, &diag) == MR_OK, diag.text);
    fuzz_set_load(&s->manifest, s->dir, "manifest.000001.pb");
    fuzz_set_load(&s->index, s->dir, "index.000001.mri");
    (void)mri_hex(hex, ref.id, 16);
    (void)snprintf(path, sizeof path, "shards/%.2s/%s.mrs", hex, hex);
    fuzz_set_load(&s->shard, s->dir, path);
    (void)snprintf(path, sizeof path, "%s/manifest.000001.pb", s->dir);
    s->fd = open(path, O_RDWR | O_CLOEXEC);
    fuzz_set_must(s->fd >= 0, path);
}

static inline void
fuzz_set_manifest(const fuzz_set *s, const void *p, size_t bytes)
{
    fuzz_set_must(ftruncate(s->fd, 0) == 0 &&
                      pwrite(s->fd, p, bytes, 0) == (ssize_t)bytes,
                  "cannot write");
}

#endif
