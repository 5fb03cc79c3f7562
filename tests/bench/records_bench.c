/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records_bench.c - many small records: make them, open them, read at random.
 *
 *     records_bench make DATASET COUNT BYTES
 *     records_bench read DATASET
 *
 * `make` writes COUNT samples of BYTES noisy bytes each, through the writer
 * that ingest uses, so that a race needs no million of files. `read` takes
 * orders on stdin: `open N` opens and closes N times; `time N SEED` copies N
 * random records out, `ahead N SEED` too, with mri_dataset_foresee; all answer
 * "WALL CPU COUNT". `want N SEED` asks for a window of records before it reads
 * them, as a stream does. `bytes RANK` answers the record, `memory` the KiB that
 * are resident, `drop` that the system has forgotten the files ("dropped").
 */
#include "bench.h"

#include <millrace/dataset.h>
#include <mri/dataset.h>

#include <string.h>
#include <sys/stat.h>

#define SHARD_SAMPLES 100000u /* 10 shards a million */
#define RECORD_MAX (1u << 20)
#define WINDOW 64 /* rows that a stream looks ahead */

static uint64_t
next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static const char *field_name[] = {"record"};
static mri_field_kind field_kind[] = {MRI_FIELD_IMAGE};
static const mri_schema schema = {.field_count = 1,
                                  .field_names = field_name,
                                  .field_kinds = field_kind,
                                  .config = "{}"};

static void
add_record(mri_shard_writer *w, uint32_t i, uint8_t *data, uint32_t bytes)
{
    uint64_t state = i;
    char key[16];
    mri_provenance source = {.name = "record", .bytes = bytes};
    mri_field_in f = {.encoding = MR_ENC_CHUNKS,
                      .dtype = MR_U8,
                      .ndim = 1,
                      .axes = {'X'},
                      .dims = {bytes},
                      .pixels = data,
                      .sources = &source,
                      .source_count = 1};
    mri_sample_in s = {.key = key,
                       .group = "",
                       .class_index = MR_NO_CLASS,
                       .fields = &f,
                       .field_count = 1};
    mri_encoded *e;
    mr_diag diag = {0};

    for (uint32_t k = 0; k < bytes; k++) {
        data[k] = (uint8_t)(next_random(&state) >> 32);
    }
    memcpy(source.sha256, &state, sizeof state);
    (void)snprintf(key, sizeof key, "%u", i);
    mri_uid_of(s.uid, s.key, source.sha256, 1);
    bench_must(mri_encode(&e, &s, &diag), &diag);
    bench_must(mri_shard_add(w, e, &diag), &diag);
    mri_encoded_free(e);
}

static void
commit(const char *dir, const mri_shard_ref *refs, uint32_t shards)
{
    static const char *const split[] = {"train"};
    static const double share[] = {1};
    const mri_commit c = {.dir = dir,
                          .shards = refs,
                          .shard_count = shards,
                          .schema = &schema,
                          .layout = "records",
                          .split_names = split,
                          .split_shares = share,
                          .split_count = 1};
    uint64_t generation;
    mr_diag diag = {0};

    bench_must(mri_dataset_commit(&c, &generation, &diag), &diag);
}

static int
make(const char *dir, uint32_t count, uint32_t bytes)
{
    uint32_t shards = (count + SHARD_SAMPLES - 1) / SHARD_SAMPLES;
    mri_shard_ref *refs = calloc(shards, sizeof *refs);
    uint8_t *data = malloc(bytes);
    mr_diag diag = {0};

    if (refs == NULL || data == NULL || mkdir(dir, 0777) != 0) {
        bench_die("records_bench: cannot make the dataset");
    }
    for (uint32_t i = 0; i < shards; i++) {
        uint8_t tag[16] = {(uint8_t)i, (uint8_t)(i >> 8)};
        mri_shard_writer *w;

        bench_must(mri_shard_begin(&w, dir, tag, &schema, &diag), &diag);
        for (uint32_t k = i * SHARD_SAMPLES;
             k < count && k < (i + 1) * SHARD_SAMPLES; k++) {
            add_record(w, k, data, bytes);
        }
        bench_must(mri_shard_finish(w, &refs[i], &diag), &diag);
        mri_shard_close_writer(w);
    }
    commit(dir, refs, shards);
    free(data);
    free(refs);
    return 0;
}

typedef struct reader {
    mr_dataset *ds;
    mr_scratch *scratch;
    uint64_t count, bytes;
    uint8_t data[RECORD_MAX];
} reader;

static void
open_reader(reader *r, const char *path)
{
    mr_field field;
    mr_diag diag = {0};

    bench_must(mr_dataset_open(&r->ds, path, &diag), &diag);
    bench_must(mr_dataset_field(r->ds, 0, 0, &field, &diag), &diag);
    r->count = mr_dataset_count(r->ds);
    r->bytes = field.bytes;
    r->scratch = mr_scratch_open();
    if (r->scratch == NULL || r->bytes > RECORD_MAX) {
        bench_die("records_bench: no memory for a record");
    }
}

static void
close_reader(reader *r)
{
    mr_scratch_close(r->scratch);
    mr_dataset_close(r->ds);
}

static void
read_record(reader *r, uint64_t rank)
{
    mr_tensor out = mr_tensor_of(r->data, MR_U8, 1, &r->bytes);
    mr_diag diag = {0};

    bench_must(mr_dataset_read(r->ds, rank, 0, NULL, &out, r->scratch, &diag),
               &diag);
}

/* Ranks are drawn ahead, as a stream draws them. */
static void
time_records(reader *r, uint64_t n, uint64_t state, char how)
{
    uint64_t *ranks = malloc(n * sizeof *ranks);
    bench_clock begin;

    if (ranks == NULL) {
        bench_die("records_bench: no memory for the ranks");
    }
    for (uint64_t i = 0; i < n; i++) {
        ranks[i] = next_random(&state) % r->count;
    }
    begin = bench_now();
    for (uint64_t i = 0; i < n; i++) {
        if (how == 'w' && i % WINDOW == 0) {
            mri_dataset_want(r->ds, ranks + i, n - i < WINDOW ? n - i : WINDOW,
                             r->scratch);
        }
        if (how != 't') {
            mri_dataset_foresee(r->ds, ranks + i, n - i);
        }
        read_record(r, ranks[i]);
    }
    bench_say(begin, n);
    free(ranks);
}

static void
time_opening(const char *path, uint64_t n)
{
    bench_clock begin = bench_now();

    for (uint64_t i = 0; i < n; i++) {
        mr_dataset *ds;
        mr_diag diag = {0};

        bench_must(mr_dataset_open(&ds, path, &diag), &diag);
        mr_dataset_close(ds);
    }
    bench_say(begin, n);
}

static void
say_memory(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[128];

    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) {
            (void)printf("%lu\n", strtoul(line + 6, NULL, 10));
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    (void)fflush(stdout);
}

/* "open N" and "memory" come first where memory is asked for: only then does
 * it hold no page of a shard. */
static int
serve(const char *path)
{
    static reader r;
    unsigned long long n, seed;
    char line[96];

    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "open %llu", &n) == 1) {
            time_opening(path, n);
        } else if (strcmp(line, "memory\n") == 0) {
            mr_diag diag = {0};

            if (r.ds == NULL) {
                bench_must(mr_dataset_open(&r.ds, path, &diag), &diag);
                say_memory();
                mr_dataset_close(r.ds);
                r.ds = NULL;
            }
        } else if (strcmp(line, "drop\n") == 0) {
            close_reader(&r);
            bench_forget(path);
            open_reader(&r, path);
            (void)printf("dropped\n");
            (void)fflush(stdout);
        } else if (sscanf(line, "time %llu %llu", &n, &seed) == 2 ||
                   sscanf(line, "ahead %llu %llu", &n, &seed) == 2 ||
                   sscanf(line, "want %llu %llu", &n, &seed) == 2 ||
                   sscanf(line, "bytes %llu", &seed) == 1) {
            if (r.ds == NULL) {
                open_reader(&r, path);
            }
            if (line[0] != 'b') {
                time_records(&r, n, seed, line[0]);
            } else {
                read_record(&r, seed);
                (void)fwrite(r.data, 1, r.bytes, stdout);
                (void)fflush(stdout);
            }
        } else {
            bench_die("records_bench: no such order");
        }
    }
    close_reader(&r);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "make") == 0) {
        return make(argv[2], (uint32_t)strtoul(argv[3], NULL, 10),
                    (uint32_t)strtoul(argv[4], NULL, 10));
    }
    if (argc == 3 && strcmp(argv[1], "read") == 0) {
        return serve(argv[2]);
    }
    bench_die("usage: records_bench make DATASET COUNT BYTES | read DATASET");
}
