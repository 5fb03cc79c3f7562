/* SPDX-License-Identifier: Apache-2.0 */
/*
 * box_bench.c - boxes of the first sample of a dataset, for a race.
 *
 *     box_bench DATASET SIZE...
 *
 * SIZE is that of a box along each axis. Says "AXES DTYPE SHAPE CHUNK" first.
 * Orders on stdin: `time N`, `f32 N` or `bytes N`, then N lines of places. The
 * first two time reading all N boxes on one thread, as stored or as scaled f32,
 * and answer "WALL CPU BYTES"; the third answers with the boxes' bytes. `crc N`
 * times the checksum of N bytes that lie in the cache. `drop` closes the
 * dataset, lets the system forget what it holds of its files, opens it again
 * and answers "dropped".
 */
#include "bench.h"

#include <millrace/dataset.h>
#include <mri/crc32c.h>

#include <string.h>

#define BOXES_MAX 10000
#define PIECE 32768 /* bytes of a chunk, as they mostly are */

typedef struct reader {
    const char *path;
    mr_dataset *ds;
    mr_scratch *scratch;
    mr_field field;
    uint64_t size[MR_MAX_RANK], len;
    void *data;
    mr_box *boxes; /* [BOXES_MAX] */
} reader;

static void
read_one(reader *r, size_t i, bool f32)
{
    mr_tensor out = mr_tensor_of(r->data, f32 ? MR_F32 : r->field.dtype,
                                 r->field.rank, r->size);
    const mr_box *box = &r->boxes[i];
    mr_diag diag = {0};

    bench_must(
        f32 ? mr_dataset_read_f32(r->ds, 0, 0, box, &out, r->scratch, &diag)
            : mr_dataset_read(r->ds, 0, 0, box, &out, r->scratch, &diag),
        &diag);
}

static void
take_places(reader *r, size_t n)
{
    if (n > BOXES_MAX) {
        bench_die("box_bench: so many boxes at once are not foreseen");
    }
    for (size_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < r->field.rank; k++) {
            unsigned long long at;

            if (scanf("%llu", &at) != 1) {
                bench_die("box_bench: a place is a number an axis");
            }
            r->boxes[i].first[k] = at;
            r->boxes[i].size[k] = r->size[k];
        }
    }
}

static void
time_boxes(reader *r, size_t n, bool f32)
{
    bench_clock begin;

    take_places(r, n);
    begin = bench_now();
    for (size_t i = 0; i < n; i++) {
        read_one(r, i, f32);
    }
    bench_say(begin, n * r->len * (f32 ? 4 : mr_dtype_bytes(r->field.dtype)));
}

static void
give_bytes(reader *r, size_t n)
{
    take_places(r, n);
    for (size_t i = 0; i < n; i++) {
        read_one(r, i, false);
        (void)fwrite(r->data, 1, r->len * mr_dtype_bytes(r->field.dtype),
                     stdout);
    }
    (void)fflush(stdout);
}

static void
time_crc(size_t n)
{
    static uint8_t piece[PIECE];
    bench_clock begin = bench_now();
    uint32_t crc = 0;

    for (size_t done = 0; done < n; done += PIECE) {
        crc = mri_crc32c(crc, piece, PIECE);
    }
    piece[0] = (uint8_t)crc; /* or it need not be computed */
    bench_say(begin, n);
}

static void
drop(reader *r)
{
    mr_diag diag = {0};

    mr_dataset_close(r->ds);
    bench_forget(r->path);
    bench_must(mr_dataset_open(&r->ds, r->path, &diag), &diag);
    (void)printf("dropped\n");
    (void)fflush(stdout);
}

static void
say_shape(const uint64_t *shape, uint32_t rank)
{
    for (uint32_t k = 0; k < rank; k++) {
        (void)printf("%s%llu", k != 0 ? "x" : " ",
                     (unsigned long long)shape[k]);
    }
}

static void
open_reader(reader *r, int argc, char **argv)
{
    mr_diag diag = {0};

    r->path = argv[1];
    bench_must(mr_dataset_open(&r->ds, r->path, &diag), &diag);
    bench_must(mr_dataset_field(r->ds, 0, 0, &r->field, &diag), &diag);
    if (r->field.rank != (uint32_t)argc - 2) {
        bench_die("box_bench: the first sample has another rank");
    }
    r->len = 1;
    for (uint32_t k = 0; k < r->field.rank; k++) {
        r->size[k] = strtoull(argv[2 + k], NULL, 10);
        r->len *= r->size[k];
    }
    r->scratch = mr_scratch_open();
    r->data = malloc(r->len * 8);
    r->boxes = calloc(BOXES_MAX, sizeof *r->boxes);
    if (r->scratch == NULL || r->data == NULL || r->boxes == NULL) {
        bench_die("box_bench: no memory");
    }
    (void)printf("%s %s", r->field.axes, mr_dtype_name(r->field.dtype));
    say_shape(r->field.shape, r->field.rank);
    say_shape(r->field.chunk, r->field.rank);
    (void)printf("\n");
    (void)fflush(stdout);
}

int
main(int argc, char **argv)
{
    reader r = {0};
    char order[16];

    if (argc < 3) {
        bench_die("usage: box_bench DATASET SIZE...");
    }
    open_reader(&r, argc, argv);
    while (scanf("%15s", order) == 1) {
        size_t n = 0;

        if (strcmp(order, "drop") == 0) {
            drop(&r);
        } else if (scanf("%zu", &n) != 1) {
            bench_die("box_bench: an order lacks its number");
        } else if (strcmp(order, "time") == 0) {
            time_boxes(&r, n, false);
        } else if (strcmp(order, "f32") == 0) {
            time_boxes(&r, n, true);
        } else if (strcmp(order, "bytes") == 0) {
            give_bytes(&r, n);
        } else if (strcmp(order, "crc") == 0) {
            time_crc(n);
        } else {
            bench_die("box_bench: orders: time, f32, bytes, crc, drop");
        }
    }
    free(r.boxes);
    free(r.data);
    mr_scratch_close(r.scratch);
    mr_dataset_close(r.ds);
    return 0;
}
