/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write_bench.c - what writing a volume costs, and what its parts cost alone.
 *
 *     write_bench FOLDER RAW DEPTH HEIGHT WIDTH
 *
 * RAW is a file of so many u16. Orders on stdin: `write` encodes the volume and
 * writes it as a shard below FOLDER, synced; `survey`, `pack`, `sum` do one part
 * of that to every chunk: statistics; filter and codec; the checksum of what is
 * stored and the hash of the field. Each answers "WALL CPU BYTES".
 */
#include "bench.h"

#include "chunk.h"
#include "survey.h"

#include <mri/alloc.h>
#include <mri/crc32c.h>
#include <mri/hash.h>
#include <mri/shard.h>

#include <string.h>

typedef struct volume {
    uint16_t *pixels;
    uint64_t bytes;
    mri_grid_row grid;
    mri_bytes chunk, work;
} volume;

static void
load(volume *v, char **argv)
{
    FILE *f = fopen(argv[2], "rb");
    uint64_t n = 1;

    v->grid = (mri_grid_row){.encoding = MR_ENC_CHUNKS,
                             .dtype = MR_U16,
                             .ndim = 3,
                             .axes = {'Z', 'Y', 'X'}};
    for (int k = 0; k < 3; k++) {
        v->grid.dims[k] = (uint32_t)strtoul(argv[3 + k], NULL, 10);
        n *= v->grid.dims[k];
    }
    v->bytes = n * sizeof *v->pixels;
    v->pixels = mri_alloc_pixels(1, v->bytes); /* as ingest does */
    if (f == NULL || v->pixels == NULL ||
        fread(v->pixels, 1, v->bytes, f) != v->bytes) {
        bench_die("write_bench: the volume cannot be read");
    }
    (void)fclose(f);
    mri_chunk_shape(&v->grid, NULL);
}

/* Its removal is no part of writing: it would be that of the next turn, which
 * writes a file of the same name. */
static void
remove_shard(const char *folder, const mri_shard_ref *ref)
{
    char *path = mri_shard_path(folder, ref->id);

    if (path == NULL || unlink(path) != 0) {
        bench_die("write_bench: the shard cannot be removed");
    }
    mri_free(path);
}

static void
time_write(const char *folder, const volume *v)
{
    static const char *name[] = {"image"};
    static mri_field_kind kind[] = {MRI_FIELD_IMAGE};
    static const uint8_t tag[16] = {1};
    const mri_schema schema = {.field_count = 1,
                               .field_names = name,
                               .field_kinds = kind,
                               .config = "{}"};
    mri_provenance source = {.name = "volume", .bytes = v->bytes};
    mri_field_in f = {.encoding = MR_ENC_CHUNKS,
                      .dtype = MR_U16,
                      .ndim = 3,
                      .axes = {'Z', 'Y', 'X'},
                      .pixels = v->pixels,
                      .sources = &source,
                      .source_count = 1};
    mri_sample_in s = {.key = "volume",
                       .group = "",
                       .class_index = MR_NO_CLASS,
                       .fields = &f,
                       .field_count = 1};
    bench_clock begin = bench_now();
    mri_shard_writer *w;
    mri_shard_ref ref;
    mri_encoded *e;
    mr_diag diag = {0};

    memcpy(f.dims, v->grid.dims, sizeof f.dims);
    bench_must(mri_shard_begin(&w, folder, tag, &schema, &diag), &diag);
    bench_must(mri_encode(&e, &s, &diag), &diag);
    bench_must(mri_shard_add(w, e, &diag), &diag);
    bench_must(mri_shard_finish(w, &ref, &diag), &diag);
    mri_encoded_free(e);
    mri_shard_close_writer(w);
    bench_say(begin, v->bytes);
    remove_shard(folder, &ref);
}

/* One part of the work for a chunk that was just cut out. */
typedef void part(volume *v, void *state, const mr_box *box, uint32_t bytes);

static void
each_chunk(volume *v, part *fn, void *state)
{
    uint64_t n = mri_grid_chunks(&v->grid);

    for (uint64_t i = 0; i < n; i++) {
        uint64_t bytes;
        mr_box box;

        mri_chunk_box(&v->grid, i, &box);
        bytes = mri_box_len(&box, 3) * sizeof *v->pixels;
        v->chunk.len = 0;
        if (!mri_bytes_reserve(&v->chunk, (size_t)bytes)) {
            bench_die("write_bench: no memory");
        }
        mri_chunk_gather(v->chunk.data, (const uint8_t *)v->pixels, &v->grid,
                         &box);
        fn(v, state, &box, (uint32_t)bytes);
    }
}

static void
survey(volume *v, void *state, const mr_box *box, uint32_t bytes)
{
    mri_stat_row row;
    mri_bytes labels = {0};

    (void)bytes;
    if (!mri_survey_add(state, box, v->chunk.data) ||
        !mri_survey_stat(state, box, v->chunk.data, &row, &labels)) {
        bench_die("write_bench: no memory");
    }
    mri_bytes_release(&labels);
}

static void
pack(volume *v, void *state, const mr_box *box, uint32_t bytes)
{
    uint64_t *stored = state;
    mri_packed packed;
    mri_chunk_in in = {.raw = v->chunk.data,
                       .raw_len = bytes,
                       .element = sizeof *v->pixels,
                       .row = box->size[2],
                       .plane = box->size[1] * box->size[2]};

    if (!mri_chunk_pack(&packed, &in, &v->work)) {
        bench_die("write_bench: no memory");
    }
    *stored += packed.stored_len;
}

static void
time_survey(volume *v)
{
    const mri_cover none = {NULL, NULL};
    bench_clock begin = bench_now();
    mri_survey s;

    if (!mri_survey_begin(&s, &v->grid, 1, 0, &none)) {
        bench_die("write_bench: no memory");
    }
    each_chunk(v, survey, &s);
    mri_survey_release(&s);
    bench_say(begin, v->bytes);
}

/* The checksum of as many bytes as were stored, and the hash of the field. */
static void
time_sum(const volume *v, uint64_t stored)
{
    bench_clock begin = bench_now();
    uint32_t crc = mri_crc32c(0, v->pixels, (size_t)stored);

    crc ^= (uint32_t)mri_xxh3(v->pixels, (size_t)v->bytes);
    *(volatile uint32_t *)&crc = crc; /* or it need not be computed */
    bench_say(begin, v->bytes);
}

int
main(int argc, char **argv)
{
    volume v = {0};
    uint64_t stored = 0;
    char order[16];

    if (argc != 6) {
        bench_die("usage: write_bench FOLDER RAW DEPTH HEIGHT WIDTH");
    }
    load(&v, argv);
    each_chunk(&v, pack, &stored);
    while (scanf("%15s", order) == 1) {
        bench_clock begin = bench_now();

        if (strcmp(order, "write") == 0) {
            time_write(argv[1], &v);
        } else if (strcmp(order, "survey") == 0) {
            time_survey(&v);
        } else if (strcmp(order, "pack") == 0) {
            each_chunk(&v, pack, &stored);
            bench_say(begin, v.bytes);
            stored /= 2; /* it was counted again */
        } else if (strcmp(order, "sum") == 0) {
            time_sum(&v, stored);
        } else {
            bench_die("write_bench: orders: write, survey, pack, sum");
        }
    }
    mri_bytes_release(&v.chunk);
    mri_bytes_release(&v.work);
    mri_free(v.pixels);
    return 0;
}
