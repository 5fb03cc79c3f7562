/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_bench.c - batches of a stream on demand, for a race.
 *
 *     stream_bench DATASET PIPELINE BATCH THREADS DEPTH
 *
 * Orders on stdin: `take N` times N batches and answers "WALL CPU ROWS";
 * `look N` answers a line a picture, "NAME DTYPE ROW-SHAPE MEAN STD" over N
 * batches, and an empty line. PIPELINE is YAML text, DEPTH batches are ready.
 */
#include "bench.h"

#include <millrace/stream.h>

#include <math.h>
#include <string.h>

#define TENSORS 8

typedef struct sums {
    double sum, squares, count;
} sums;

static void
add_up(sums *s, const mr_tensor *t)
{
    uint64_t len = mr_tensor_len(t);

    for (uint64_t i = 0; i < len; i++) {
        double v = t->dtype == MR_F32  ? ((const float *)t->data)[i]
                   : t->dtype == MR_U8 ? ((const uint8_t *)t->data)[i]
                                       : ((const uint16_t *)t->data)[i];

        s->sum += v;
        s->squares += v * v;
    }
    s->count += (double)len;
}

static bool
is_picture(const mr_tensor *t)
{
    return t->rank >= 4 &&
           (t->dtype == MR_F32 || t->dtype == MR_U8 || t->dtype == MR_U16);
}

static mr_batch *
next(mr_stream *s)
{
    mr_diag diag = {0};
    mr_batch *b;

    bench_must(mr_stream_next(s, &b, &diag), &diag);
    return b;
}

static void
take(mr_stream *s, unsigned long long batches)
{
    bench_clock begin = bench_now();
    unsigned long long rows = 0;

    for (unsigned long long i = 0; i < batches; i++) {
        mr_batch *b = next(s);

        rows += mr_batch_valid_rows(b);
        mr_batch_unref(b);
    }
    bench_say(begin, rows);
}

static void
look(mr_stream *s, unsigned long long batches)
{
    sums all[TENSORS] = {{0, 0, 0}};
    size_t tensors = mr_stream_tensors(s);

    for (unsigned long long i = 0; i < batches; i++) {
        mr_batch *b = next(s);

        for (size_t k = 0; k < tensors && k < TENSORS; k++) {
            const mr_tensor *t = mr_batch_tensor_at(b, k);

            if (is_picture(t)) {
                add_up(&all[k], t);
            }
        }
        mr_batch_unref(b);
    }
    for (size_t k = 0; k < tensors && k < TENSORS; k++) {
        const mr_stream_tensor *t = mr_stream_tensor_at(s, k);
        double mean = all[k].sum / all[k].count;

        if (all[k].count == 0) {
            continue;
        }
        (void)printf("%s %s ", t->name, mr_dtype_name(t->dtype));
        for (uint32_t i = 0; i < t->rank; i++) {
            (void)printf("%s%llu", i == 0 ? "" : "x",
                         (unsigned long long)t->shape[i]);
        }
        (void)printf(" %.6f %.6f\n", mean,
                     sqrt(all[k].squares / all[k].count - mean * mean));
    }
    (void)printf("\n");
    (void)fflush(stdout);
}

int
main(int argc, char **argv)
{
    mr_stream_options o = mr_stream_defaults();
    unsigned long long n;
    mr_diag diag = {0};
    mr_stream *s;
    char line[64];

    if (argc != 6) {
        bench_die("usage: stream_bench DATASET PIPELINE BATCH THREADS DEPTH");
    }
    o.source = argv[1];
    o.pipeline = argv[2];
    o.batch_size = (uint32_t)strtoul(argv[3], NULL, 10);
    o.threads = (uint32_t)strtoul(argv[4], NULL, 10);
    o.depth = (uint32_t)strtoul(argv[5], NULL, 10);
    o.split = "all";
    o.tail = MR_TAIL_WRAP;
    bench_must(mr_stream_open(&s, &o, &diag), &diag);
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "take %llu", &n) == 1) {
            take(s, n);
        } else if (sscanf(line, "look %llu", &n) == 1) {
            look(s, n);
        } else {
            bench_die("stream_bench: orders are: take N, look N");
        }
    }
    mr_stream_close(s);
    return 0;
}
