/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knn_bench.c - exact nearest neighbours, for a race.
 *
 *     knn_bench TRAIN.f32 TEST.f32 DIM K
 *
 * The files are rows of DIM floats. Orders on stdin: `time THREADS` finds the
 * K nearest of TRAIN for each row of TEST and answers "WALL CPU ROWS", all of
 * it timed, from the bare rows on; `result` answers with the last neighbours:
 * u32 [rows, K], then their cosines, f64. Unlike its neighbours this uses an
 * inner door: there is no public one yet.
 */
#include "bench.h"

#include <mri/file.h>
#include <mri/knn.h>

static mri_vectors
load_rows(const char *path, uint32_t dim)
{
    mri_bytes b = {0};
    mr_diag diag = {0};

    bench_must(mri_file_load(path, UINT64_C(1) << 40, &b, &diag), &diag);
    if (dim == 0 || b.len == 0 || b.len % (dim * sizeof(float)) != 0) {
        bench_die("knn_bench: a file is rows of DIM floats");
    }
    return (mri_vectors){(const float *)(const void *)b.data, NULL,
                         b.len / (dim * sizeof(float))};
}

static void
give_result(const mri_search_in *in, const uint32_t *index,
            const double *cosine)
{
    size_t n = (size_t)in->test.count * in->k;

    (void)fwrite(index, sizeof *index, n, stdout);
    (void)fwrite(cosine, sizeof *cosine, n, stdout);
    (void)fflush(stdout);
}

int
main(int argc, char **argv)
{
    mri_search_in in = {0};
    uint32_t *index;
    double *cosine;
    char line[96];

    if (argc != 5) {
        bench_die("usage: knn_bench TRAIN.f32 TEST.f32 DIM K");
    }
    in.dim = (uint32_t)strtoul(argv[3], NULL, 10);
    in.k = (uint32_t)strtoul(argv[4], NULL, 10);
    in.train = load_rows(argv[1], in.dim);
    in.test = load_rows(argv[2], in.dim);
    index = calloc((size_t)in.test.count * in.k, sizeof *index);
    cosine = calloc((size_t)in.test.count * in.k, sizeof *cosine);
    if (in.k == 0 || in.k > in.train.count || index == NULL || cosine == NULL) {
        bench_die("knn_bench: no memory, or no such K");
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        mr_diag diag = {0};

        if (sscanf(line, "time %u", &in.threads) == 1) {
            bench_clock begin = bench_now();

            bench_must(mri_search(&in, index, cosine, &diag), &diag);
            bench_say(begin, in.test.count);
        } else {
            give_result(&in, index, cosine);
        }
    }
    return 0;
}
