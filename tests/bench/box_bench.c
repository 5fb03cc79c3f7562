/* SPDX-License-Identifier: Apache-2.0 */
/*
 * box_bench.c - boxes of the first sample of a dataset, for a race.
 *
 *     box_bench DATASET DEPTH HEIGHT WIDTH
 *
 * Says "AXES DTYPE SHAPE CHUNK" first. Orders on stdin: `time N` or `bytes N`,
 * then N lines "Z Y X". The first times reading all N boxes on one thread and
 * answers "WALL CPU BYTES"; the second answers with the boxes' bytes.
 */
#include "bench.h"

#include <millrace/dataset.h>

#include <string.h>

#define BOXES_MAX 10000

typedef struct reader {
    mr_dataset *ds;
    mr_scratch *scratch;
    mr_field field;
    uint64_t size[3], bytes;
    void *data;
    mr_box *boxes; /* [BOXES_MAX] */
} reader;

static void
read_one(reader *r, size_t i)
{
    mr_tensor out = mr_tensor_of(r->data, r->field.dtype, 3, r->size);
    mr_diag diag = {0};

    bench_must(
        mr_dataset_read(r->ds, 0, 0, &r->boxes[i], &out, r->scratch, &diag),
        &diag);
}

static void
take_places(reader *r, size_t n)
{
    char line[96];

    if (n > BOXES_MAX) {
        bench_die("box_bench: so many boxes at once are not foreseen");
    }
    for (size_t i = 0; i < n; i++) {
        unsigned long long at[3];

        if (fgets(line, sizeof line, stdin) == NULL ||
            sscanf(line, "%llu %llu %llu", &at[0], &at[1], &at[2]) != 3) {
            bench_die("box_bench: a place is three numbers");
        }
        for (int k = 0; k < 3; k++) {
            r->boxes[i].first[k] = at[k];
            r->boxes[i].size[k] = r->size[k];
        }
    }
}

static void
time_boxes(reader *r, size_t n)
{
    bench_clock begin = bench_now();

    for (size_t i = 0; i < n; i++) {
        read_one(r, i);
    }
    bench_say(begin, n * r->bytes);
}

static void
give_bytes(reader *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        read_one(r, i);
        (void)fwrite(r->data, 1, r->bytes, stdout);
    }
    (void)fflush(stdout);
}

static void
say_field(const mr_field *f)
{
    (void)printf(
        "%s %s %llux%llux%llu %llux%llux%llu\n", f->axes,
        mr_dtype_name(f->dtype), (unsigned long long)f->shape[0],
        (unsigned long long)f->shape[1], (unsigned long long)f->shape[2],
        (unsigned long long)f->chunk[0], (unsigned long long)f->chunk[1],
        (unsigned long long)f->chunk[2]);
    (void)fflush(stdout);
}

static void
open_reader(reader *r, char **argv)
{
    mr_diag diag = {0};

    bench_must(mr_dataset_open(&r->ds, argv[1], &diag), &diag);
    bench_must(mr_dataset_field(r->ds, 0, 0, &r->field, &diag), &diag);
    if (r->field.rank != 3) {
        bench_die("box_bench: the first sample is no volume");
    }
    r->bytes = mr_dtype_bytes(r->field.dtype);
    for (int k = 0; k < 3; k++) {
        r->size[k] = strtoull(argv[2 + k], NULL, 10);
        r->bytes *= r->size[k];
    }
    r->scratch = mr_scratch_open();
    r->data = malloc(r->bytes);
    r->boxes = calloc(BOXES_MAX, sizeof *r->boxes);
    if (r->scratch == NULL || r->data == NULL || r->boxes == NULL) {
        bench_die("box_bench: no memory");
    }
    say_field(&r->field);
}

int
main(int argc, char **argv)
{
    reader r = {0};
    size_t n;
    char line[96];

    if (argc != 5) {
        bench_die("usage: box_bench DATASET DEPTH HEIGHT WIDTH");
    }
    open_reader(&r, argv);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "time %zu", &n) == 1) {
            take_places(&r, n);
            time_boxes(&r, n);
        } else if (sscanf(line, "bytes %zu", &n) == 1) {
            take_places(&r, n);
            give_bytes(&r, n);
        } else {
            bench_die("box_bench: orders are: time N, bytes N");
        }
    }
    free(r.boxes);
    free(r.data);
    mr_scratch_close(r.scratch);
    mr_dataset_close(r.ds);
    return 0;
}
