/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_golden.c - write the golden datasets with the writer of this millrace.
 *
 *     make_golden SET.txt PICTURES OUT
 *
 * What version 1 wrote is committed under v1/ and never written anew; this
 * shows that today's writer still gives the same, and makes those of a later
 * version.
 */
#include "golden.h"

#include <mri/alloc.h>
#include <mri/error.h>
#include <mri/file.h>
#include <mri/generation.h>
#include <mri/hash.h>
#include <mri/source.h>

#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

typedef struct maker {
    const char *pictures, *out;
    char dir[4096];
    const char *dataset;
    mri_shard_writer *writer;
    mri_coding coding;
    mri_shard_ref shards[GOLDEN_SHARDS];
    uint32_t shard_count;
    uint64_t generation;
} maker;

static void
must(mr_err err, const mr_diag *d)
{
    if (err != MR_OK) {
        (void)fprintf(stderr, "make_golden: %s: %s@%llu\n", mr_err_name(err),
                      d->text, (unsigned long long)d->at);
        exit(1);
    }
}

/* ---- one sample ---- */

static void
decode_jpeg(mri_field_in *in, mri_image *image)
{
    const mri_source_bytes file = {in->verbatim, in->verbatim_bytes, NULL};
    mri_source *source;
    mr_diag d = {0};

    must(mri_source_open(&source, &file, NULL, NULL, &d), &d);
    must(mri_source_read(source, 0, image, &d), &d);
    mri_source_close(source);
    in->pixels = image->pixels;
    in->jpeg[0] = image->jpeg.components;
    in->jpeg[1] = image->jpeg.subsampling;
    in->jpeg[2] = image->jpeg.restart_interval;
    if (image->jpeg.bytes != in->verbatim_bytes) {
        (void)fprintf(stderr, "make_golden: a picture has texts in it\n");
        exit(1);
    }
}

static void
fill(mri_field_in *in, const golden_step *sample, const golden_field *f,
     const char *pictures)
{
    size_t bytes;

    in->name = f->name;
    in->label = golden_schema.field_kinds[f->name] == MRI_FIELD_LABEL;
    in->encoding = f->encoding;
    in->dtype = f->dtype;
    in->ndim = (uint8_t)f->ndim;
    memcpy(in->axes, f->axes, f->ndim);
    memcpy(in->dims, f->dims, sizeof in->dims);
    if (f->encoding == MR_ENC_CHUNKS) {
        in->pixels = golden_values(sample, f);
        return;
    }
    in->verbatim = golden_verbatim(f, pictures, &bytes);
    in->verbatim_bytes = bytes;
}

static void
add_sample(maker *m, const golden_step *s)
{
    uint8_t sums[GOLDEN_FIELDS][32];
    uint32_t images = golden_sources(s, m->pictures, sums), image = 0;
    mri_provenance sources[GOLDEN_FIELDS];
    mri_geometry geometry[GOLDEN_FIELDS];
    mri_image pictures[GOLDEN_FIELDS] = {0};
    mri_field_in fields[GOLDEN_FIELDS] = {0};
    mri_sample_in in = {.key = s->name,
                        .group = s->group,
                        .class_name =
                            s->class_name[0] != '\0' ? s->class_name : NULL,
                        .class_index = golden_class(s->class_name),
                        .fields = fields,
                        .field_count = s->field_count};
    mri_encoded *e;
    mr_diag d = {0};

    mri_uid_of(in.uid, s->name, sums[0], images);
    for (uint32_t i = 0; i < s->field_count; i++) {
        const golden_field *f = &s->fields[i];

        fill(&fields[i], s, f, m->pictures);
        fields[i].coding = m->coding;
        golden_geometry(&geometry[i], f);
        fields[i].geometry = &geometry[i];
        if (f->name == 0) {
            sources[i] = (mri_provenance){
                .name = s->name, .bytes = 1000 + i, .dropped = "exif:12"};
            memcpy(sources[i].sha256, sums[image++], 32);
            fields[i].sources = &sources[i];
            fields[i].source_count = 1;
        }
        if (f->encoding == MR_ENC_JPEG) {
            decode_jpeg(&fields[i], &pictures[i]);
        }
    }
    must(mri_encode(&e, &in, &d), &d);
    must(mri_shard_add(m->writer, e, &d), &d);
    mri_encoded_free(e);
    for (uint32_t i = 0; i < s->field_count; i++) {
        golden_geometry_release(&geometry[i]);
        free((void *)(uintptr_t)fields[i].verbatim);
        if (fields[i].pixels != pictures[i].pixels) {
            free((void *)(uintptr_t)fields[i].pixels);
        }
        mri_image_release(&pictures[i]);
    }
}

/* ---- shards and generations ---- */

static void
end_shard(maker *m)
{
    mr_diag d = {0};

    if (m->writer != NULL) {
        must(mri_shard_finish(m->writer, &m->shards[m->shard_count++], &d), &d);
        mri_shard_close_writer(m->writer);
        m->writer = NULL;
    }
}

static void
begin_shard(maker *m, mri_coding coding)
{
    char name[128];
    uint8_t digest[32];
    mr_diag d = {0};

    end_shard(m);
    m->coding = coding;
    (void)snprintf(name, sizeof name, "golden %s %u", m->dataset,
                   m->shard_count);
    mri_sha256_of(digest, name, strlen(name));
    must(mri_shard_begin(&m->writer, m->dir, digest, &golden_schema, &d), &d);
}

static void
open_now(maker *m, mr_dataset **ds)
{
    mr_diag d = {0};

    must(mr_dataset_open(ds, m->dir, &d), &d);
}

static void
commit(maker *m)
{
    static const char *const splits[] = {"train", "val", "test"};
    static const double shares[] = {0.6, 0.2, 0.2};
    mr_dataset *parent = NULL;
    mri_commit c = {.dir = m->dir,
                    .shards = m->shards,
                    .schema = &golden_schema,
                    .layout = "folder",
                    .quarantined = 2,
                    .split_names = splits,
                    .split_shares = shares,
                    .split_count = 3};
    mr_diag d = {0};

    end_shard(m);
    c.shard_count = m->shard_count;
    if (m->generation > 0) {
        open_now(m, &parent);
    }
    c.parent = parent;
    must(mri_dataset_commit(&c, &m->generation, &d), &d);
    mr_dataset_close(parent);
}

static void
withdraw(maker *m, const char *key)
{
    const mri_withdraw_options o = {.dataset = m->dir, .keys = {&key, 1}};
    mri_withdraw_report report;
    mr_diag d = {0};

    must(mri_dataset_withdraw(&o, &report, &d), &d);
    mri_withdraw_report_release(&report);
}

static void
roll_back(maker *m, unsigned generation)
{
    char thing[4200];
    const mri_rollback_options o = {.thing = thing};
    mri_rollback_report report;
    mr_diag d = {0};

    (void)snprintf(thing, sizeof thing, "%s@%u", m->dir, generation);
    must(mri_dataset_rollback(&o, &report, &d), &d);
}

static void
relabel(maker *m, const golden_step *s)
{
    const mri_relabel_row row = {
        .key = s->name, .class_name = s->class_name, .group = s->group};
    const mri_relabel_options o = {.dataset = m->dir, .rows = &row, .count = 1};
    mri_relabel_report report;
    mr_diag d = {0};

    must(mri_dataset_relabel(&o, &report, &d), &d);
    mri_relabel_report_release(&report);
}

static void
compact(maker *m)
{
    const mri_compact_options o = {.dataset = m->dir, .workers = 1};
    mri_compact_report report;
    mr_diag d = {0};

    must(mri_dataset_compact(&o, &report, &d), &d);
}

static void
begin_dataset(maker *m, const char *name)
{
    mr_diag d = {0};

    *m = (maker){.pictures = m->pictures, .out = m->out, .dataset = name};
    (void)snprintf(m->dir, sizeof m->dir, "%s/%s.mr", m->out, name);
    must(mri_dir_make(m->dir, &d), &d);
}

/* With which libraries: other versions of them may give other bytes, which
 * decode to the same values. */
static void
tell_libraries(const char *out)
{
    char path[4200];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/made_with", out);
    f = fopen(path, "w");
    if (f == NULL ||
        fprintf(f, "lz4 %s\nzstd %s\n", LZ4_versionString(),
                ZSTD_versionString()) < 0 ||
        fclose(f) != 0) {
        perror(path);
        exit(1);
    }
}

/* Who wrote it, when and where is no part of what it is. */
static void
end_dataset(maker *m)
{
    char path[4200];

    if (m->dataset != NULL) {
        (void)snprintf(path, sizeof path, "%s/history.jsonl", m->dir);
        (void)remove(path);
    }
}

static void
take_step(maker *m, const golden_step *s)
{
    switch (s->kind) {
    case GOLDEN_DATASET:
        end_dataset(m);
        begin_dataset(m, s->name);
        break;
    case GOLDEN_SHARD:
        begin_shard(m, s->coding);
        break;
    case GOLDEN_SAMPLE:
        add_sample(m, s);
        break;
    case GOLDEN_COMMIT:
        commit(m);
        break;
    case GOLDEN_WITHDRAW:
        withdraw(m, s->name);
        break;
    case GOLDEN_RELABEL:
        relabel(m, s);
        break;
    case GOLDEN_COMPACT:
        compact(m);
        break;
    case GOLDEN_ROLLBACK:
        roll_back(m, s->number);
        break;
    }
}

int
main(int argc, char **argv)
{
    maker m = {0};
    golden_set set;
    mr_diag d = {0};

    if (argc != 4) {
        (void)fprintf(stderr, "usage: make_golden SET.txt PICTURES OUT\n");
        return 2;
    }
    m.pictures = argv[2];
    m.out = argv[3];
    must(mri_dir_make(m.out, &d), &d);
    golden_load(&set, argv[1]);
    for (size_t i = 0; i < set.count; i++) {
        take_step(&m, &set.steps[i]);
    }
    end_dataset(&m);
    tell_libraries(m.out);
    golden_release(&set);
    return 0;
}
