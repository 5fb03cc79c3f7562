/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_records.c - write the seeds of the fuzz targets of format/ and of the
 * ingest's lines, from a small dataset that the library itself writes.
 *
 *     make_records tests/fuzz/corpus
 *
 * To be run again whenever the bytes of the format change.
 */
#include "chunk.h"
#include "fuzz_shard.h"
#include "histogram.h"
#include "index.h"
#include "manifest.h"

#include <fuzz_set.h>
#include <jpeg_make.h>
#include <sys/stat.h>

static const char *corpus;
static fuzz_set set;

/* A seed is what comes in front, and bytes. */
static void
put(const char *target, const char *name, const mri_bytes *head,
    const uint8_t *p, size_t bytes)
{
    char path[512];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", corpus, target);
    (void)mkdir(path, 0777);
    (void)snprintf(path, sizeof path, "%s/%s/%s", corpus, target, name);
    f = fopen(path, "wb");
    hold(f != NULL && fwrite(head->data, 1, head->len, f) == head->len &&
         fwrite(p, 1, bytes, f) == bytes && fclose(f) == 0);
}

static void
put_flagged(const char *target, const char *name, uint8_t flags,
            const uint8_t *p, size_t bytes)
{
    mri_bytes head = {&flags, 1, 1};

    put(target, name, &head, p, bytes);
}

static void
put_shard(const char *target, const char *name, uint8_t flags)
{
    const mri_bytes *file = &set.shard;
    uint8_t raw[FUZZ_SHARD_HEAD] = {flags};
    mri_bytes head = {raw, sizeof raw, sizeof raw};
    mri_tail tail;

    hold(mri_tail_get(&tail, file->data + file->len - MRI_TAIL_BYTES, 0,
                      NULL) == MR_OK);
    raw[1] = (uint8_t)tail.toc_rows;
    mri_put16(raw + 2, (uint16_t)(tail.foot_off / MRI_ALIGN));
    mri_put32(raw + 4, tail.samples);
    put(target, name, &head, file->data,
        (flags & FUZZ_MEND) != 0
            ? (size_t)(tail.foot_off + tail.foot_len - 8 * tail.pages)
            : file->len);
}

static void
put_shards(void)
{
    mri_tail tail;

    put_shard("open_fuzz", "whole", 0);
    put_shard("open_fuzz", "mended", FUZZ_MEND | FUZZ_AGREE);
    put_shard("open_fuzz", "mapped", FUZZ_MEND | FUZZ_MAP);
    put_shard("shard_fuzz", "whole", FUZZ_MAP | 8);
    put_shard("shard_fuzz", "mended", FUZZ_MEND | FUZZ_AGREE | FUZZ_MAP | 8);
    put_shard("shard_fuzz", "read", FUZZ_MEND | FUZZ_AGREE);
    hold(mri_tail_get(&tail, set.shard.data + set.shard.len - MRI_TAIL_BYTES, 0,
                      NULL) == MR_OK);
    put_flagged("frame_fuzz", "body", FUZZ_MEND, set.shard.data,
                (size_t)tail.foot_off);
    put_flagged("frame_fuzz", "whole", 0, set.shard.data,
                (size_t)tail.foot_off);
}

static const uint8_t *
table(const mri_tail *tail, uint32_t id, uint64_t *rows)
{
    const uint8_t *foot = set.shard.data + tail->foot_off;

    for (uint32_t i = 0; i < tail->toc_rows; i++) {
        if (mri_get32(foot + i * MRI_TOC_ROW) == id) {
            *rows = mri_get64(foot + i * MRI_TOC_ROW + 16);
            return foot + mri_get64(foot + i * MRI_TOC_ROW + 8);
        }
    }
    abort();
}

/* Each chunk of each array; meta frames and the schema. */
static void
put_parts(void)
{
    const uint8_t *base = set.shard.data, *grids, *chunks, *samples;
    uint64_t grid_rows, rows;
    mri_tail tail;
    char name[32];

    hold(mri_tail_get(&tail, base + set.shard.len - MRI_TAIL_BYTES, 0, NULL) ==
         MR_OK);
    grids = table(&tail, MRI_TABLE_GRIDS, &grid_rows);
    chunks = table(&tail, MRI_TABLE_CHUNKS, &rows);
    for (uint64_t i = 0; i < grid_rows; i++) {
        uint8_t raw[2 + MRI_GRID_ROW + MRI_CHUNK_ROW] = {0, (uint8_t)i};
        mri_bytes head = {raw, sizeof raw, sizeof raw};
        mri_chunk_row c;
        mri_grid_row g;

        mri_grid_row_get(&g, grids + i * MRI_GRID_ROW);
        if (g.encoding != MR_ENC_CHUNKS || i > 9) {
            continue;
        }
        mri_chunk_row_get(&c, chunks + g.first_chunk * MRI_CHUNK_ROW);
        memcpy(raw + 2, grids + i * MRI_GRID_ROW, MRI_GRID_ROW);
        memcpy(raw + 2 + MRI_GRID_ROW, chunks + g.first_chunk * MRI_CHUNK_ROW,
               MRI_CHUNK_ROW);
        (void)snprintf(name, sizeof name, "chunk%u", (unsigned)i);
        put("chunk_fuzz", name, &head, base + c.file_off + MRI_FRAME_HEAD,
            (c.flags & MRI_CHUNK_CONSTANT) != 0 ? 0 : c.stored_len);
    }
    samples = table(&tail, MRI_TABLE_SAMPLES, &rows);
    for (uint64_t i = 0; i < rows && i < 3; i++) {
        const uint8_t *p = samples + i * MRI_SAMPLE_ROW;

        (void)snprintf(name, sizeof name, "meta%u", (unsigned)i);
        put_flagged("meta_fuzz", name, 0,
                    base + mri_get64(p + 16) + MRI_FRAME_HEAD,
                    mri_get32(p + 24));
    }
    chunks = table(&tail, MRI_TABLE_SCHEMA, &rows);
    put_flagged("meta_fuzz", "schema", 1, chunks, (size_t)rows);
}

/* Noise about a slope, and of 16 bits also a few values far apart. */
static void
fill_chunk(uint8_t *raw, unsigned element, bool few)
{
    for (uint32_t i = 0; i < 960; i++) {
        uint32_t r = i * 2654435761u >> 28;

        mri_put64(raw + (size_t)i * element,
                  few ? r * 3001 : 100 + i / 40 + (r & 7));
    }
}

/* A chunk of every codec, as the packer makes it. */
static void
put_coded(const char *name, mr_dtype dtype, mri_coding coding, bool few)
{
    mri_grid_row g = {.encoding = MR_ENC_CHUNKS,
                      .dtype = (uint8_t)dtype,
                      .ndim = 3,
                      .axes = "ZYX",
                      .dims = {4, 12, 20},
                      .chunk = {4, 12, 20}};
    uint8_t raw[960 * 8 + 8], front[2 + MRI_GRID_ROW + MRI_CHUNK_ROW] = {0};
    mri_bytes head = {front, sizeof front, sizeof front}, work = {0};
    unsigned element = (unsigned)mr_dtype_bytes(dtype);
    mri_chunk_in in = {.raw = raw,
                       .raw_len = 960 * element,
                       .element = element,
                       .real = dtype >= MR_F16,
                       .row = 20,
                       .plane = 240,
                       .coding = coding};
    mri_packed p;

    fill_chunk(raw, element, few);
    hold(mri_chunk_pack(&p, &in, &work) && p.codec != MRI_CODEC_RAW);
    mri_grid_row_put(front + 2, &g);
    mri_chunk_row_put(front + 2 + MRI_GRID_ROW,
                      &(mri_chunk_row){.stored_len = p.stored_len,
                                       .raw_len = p.raw_len,
                                       .codec = p.codec,
                                       .filter = p.filter,
                                       .kind = MRI_FRAME_CHUNK});
    put("chunk_fuzz", name, &head, p.stored, p.stored_len);
    mri_bytes_release(&work);
}

static void
put_codings(void)
{
    put_coded("bits8", MR_U8, MRI_CODING_BITPACK, false);
    put_coded("bits16", MR_I16, MRI_CODING_BITPACK, false);
    put_coded("palette", MR_U16, MRI_CODING_BITPACK, true);
    put_coded("zstd8", MR_U8, MRI_CODING_ZSTD, false);
    put_coded("zstd32", MR_I32, MRI_CODING_ZSTD, false);
    put_coded("zstd_real", MR_F64, MRI_CODING_ZSTD, false);
    put_coded("lz4hc", MR_U32, MRI_CODING_LZ4HC, false);
}

/* The manifest, as if its images were JPEGs, with percentiles of what is not
 * zero as those of a foreground. */
static void
put_decoded(void)
{
    Mri__PbManifest *pb = NULL;
    mri_bytes m = {0};

    hold(mri_manifest_parse(&pb, set.manifest.data, set.manifest.len, NULL) ==
         MR_OK);
    for (size_t i = 0; i < pb->n_statistics; i++) {
        Mri__PbStatistics *s = pb->statistics[i];

        s->decoded_bins = s->bins;
        s->decoded_slope = s->slope;
        s->bins = 0;
        for (size_t k = 0; k < s->n_channels; k++) {
            Mri__PbChannel *c = s->channels[k];

            c->n_decoded_percentiles = c->n_percentiles;
            c->decoded_percentiles = c->percentiles;
            c->n_percentiles = 0;
            c->percentiles = NULL;
            c->n_foreground_percentiles = c->n_nonzero_percentiles;
            c->foreground_percentiles = c->nonzero_percentiles;
            c->n_nonzero_percentiles = 0;
            c->nonzero_percentiles = NULL;
            c->decoded_histogram = c->histogram;
            c->histogram = (ProtobufCBinaryData){0, NULL};
        }
    }
    hold(mri_manifest_build(&m, pb));
    put_flagged("manifest_fuzz", "decoded", FUZZ_MEND | FUZZ_AGREE, m.data,
                m.len);
    mri_bytes_release(&m);
    mri_manifest_free(pb);
}

static void
put_generation(void)
{
    const mri_bytes *x = &set.index, *m = &set.manifest;
    size_t body = (size_t)mri_get64(x->data + 24);

    put_flagged("index_fuzz", "whole", FUZZ_MAP, x->data, x->len);
    put_flagged("index_fuzz", "mended", FUZZ_MEND | FUZZ_AGREE, x->data,
                MRI_INDEX_HEAD + body);
    put_flagged("index_fuzz", "mapped", FUZZ_MEND | FUZZ_MAP, x->data,
                MRI_INDEX_HEAD + body);
    put_flagged("manifest_fuzz", "whole", 0, m->data, m->len);
    put_flagged("manifest_fuzz", "mended", FUZZ_MEND, m->data, m->len);
    put_flagged("manifest_fuzz", "agrees", FUZZ_MEND | FUZZ_AGREE, m->data,
                m->len);
    put_decoded();
}

/* Pictures of each kind, beside the size that their row says. */
static void
put_pictures(void)
{
    static const jpeg_made kinds[] = {{19, 17, 1, 60, 1, 1, false},
                                      {21, 33, 3, 50, 2, 2, false},
                                      {24, 18, 3, 40, 2, 1, true}};
    static const char *const names[] = {"grey", "colour", "progressive"};

    for (int i = 0; i < 3; i++) {
        const jpeg_made *k = &kinds[i];
        uint8_t raw[3] = {(uint8_t)k->height, (uint8_t)k->width,
                          (uint8_t)k->channels};
        mri_bytes head = {raw, sizeof raw, sizeof raw};
        size_t bytes;
        uint8_t *jpeg = jpeg_make(k, (uint64_t)i, &bytes);

        put("picture_fuzz", names[i], &head, jpeg, bytes);
        free(jpeg);
    }
}

static void
put_text(const char *target, const char *name, const char *text)
{
    put_flagged(target, name, FUZZ_MEND, (const uint8_t *)text, strlen(text));
}

static void
put_lines(void)
{
    static const char history[] =
        "00000000 {\"what\": \"ingest\", \"generation\": 1, \"user\": \"a\"}\n";
    static const char journal[] =
        "00000000 {\"plan_tag\": \"000102030405060708090a0b0c0d0e0f\", \"id\": "
        "\"0f0e0d0c0b0a09080706050403020100\", \"foot_hash\": "
        "\"0011223344556677\", \"bytes\": 0, \"samples\": 0, \"raw_bytes\": "
        "1}\n\n00000000 {\"plan_tag\": \"10\", \"samples\": -1}\n";
    static const char bad[] =
        "00000000 {\"key\": \"a.tif\", \"stage\": \"decode\", \"code\": 201, "
        "\"reason\": \"r\", \"at\": 8, \"help\": \"h\", \"bytes\": 9, "
        "\"sha256\": "
        "\"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\", "
        "\"window\": \"00ff\"}\n"
        "00000000 {\"key\": \"b\", \"stage\": \"read\", \"code\": 1, "
        "\"reason\": \"\", \"at\": null}\n";
    static const char nobody_wrote[] =
        "00000000 {\"key\": \"a\", \"stage\": \"\", \"reason\": \"\", "
        "\"sha256\": \"00&1\"}\n"
        "00000000 {\"key\": \"a\", \"stage\": \"\", \"reason\": \"\", \"at\": "
        "-8}\n";

    put_text("quarantine_fuzz", "nobody_wrote", nobody_wrote);
    put_text("history_fuzz", "line", history);
    put_text("journal_fuzz", "lines", journal);
    put_text("quarantine_fuzz", "lines", bad);
}

/* No bin; a few of each kind, counts of one byte and of nine. From 14 on the
 * target takes all bins that the kind has. */
static void
put_histograms(void)
{
    static uint64_t counts[MRI_BINS_STORED_COUNT];
    const mri_bins kinds[] = {mri_bins_stored(1, 0), mri_bins_brain()};
    static const char *const names[] = {"stored", "brain", "all_stored",
                                        "all_brain"};

    counts[0] = 3;
    counts[200] = 1000;
    counts[201] = (uint64_t)1 << 60;
    for (uint8_t i = 0; i < 4; i++) {
        mri_bytes packed = {0};

        counts[65535] = i / 2;
        hold(mri_bins_pack(&packed, &kinds[i % 2], counts));
        put_flagged("histogram_fuzz", names[i], i < 2 ? i : 12 + i, packed.data,
                    packed.len);
        mri_bytes_release(&packed);
    }
    put_flagged("histogram_fuzz", "nothing", 1, NULL, 0);
}

/* Three spacings, and how many samples have each. */
static void
put_measures(void)
{
    static const double spacings[] = {0.5, 0.75, 3};
    mri_bytes b = {0}, none = {0};

    for (uint64_t i = 0; i < 3; i++) {
        uint64_t bits;

        memcpy(&bits, &spacings[i], sizeof bits);
        hold(mri_bytes_u64(&b, bits) && mri_bytes_u64(&b, 1 + i * 300));
    }
    put("measure_fuzz", "spacings", &none, b.data, b.len);
    mri_bytes_release(&b);
}

int
main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_records CORPUS_FOLDER\n");
        return 2;
    }
    corpus = argv[1];
    fuzz_set_make(&set);
    put_shards();
    put_parts();
    put_codings();
    put_generation();
    put_lines();
    put_histograms();
    put_pictures();
    put_measures();
    return 0;
}
