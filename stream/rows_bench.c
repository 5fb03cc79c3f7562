/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows_bench.c - CPU time of a row on one thread, for three kinds of work.
 *
 *     rows_bench [rows] [cells|jpegs|patches]
 *
 * Sets are made anew in TMPDIR: what is timed needs no data of anybody's.
 */
#include <mri/clock.h>
#include <mri/cpu.h>
#include <mri/rows.h>

#include "test_set.h"

#include <time.h>

static const struct {
    const char *name;
    set_kind kind;
    uint32_t height, width;
    const char *pipeline;
} cases[] = {
    {"jpegs", SET_JPEGS, 400, 500,
     "[random_resized_crop: {size: 224}, flip, normalize: {mean: [123.7, "
     "116.3, 103.5], std: [58.4, 57.1, 57.4]}]"},
    {"jpegs-u8", SET_JPEGS, 400, 500,
     "[random_resized_crop: {size: 224}, flip, to: {dtype: u8}]"},
    {"jpegs-2000", SET_JPEGS, 1500, 2000,
     "[random_resized_crop: {size: 224}, flip, normalize: {mean: [123.7, "
     "116.3, 103.5], std: [58.4, 57.1, 57.4]}]"},
    {"cells", SET_CELLS, 72, 72,
     "[minmax, multi_crop: {global: {size: 64}, local: {count: 6, size: 32}}, "
     "flip: {horizontal: 0.5, vertical: 0.5}, normalize: {from: dataset}]"},
    {"cells-dino", SET_CELLS, 72, 72,
     "[minmax, multi_crop: {global: {size: 64}, local: {count: 6, size: 32}}, "
     "flip: {horizontal: 0.5, vertical: 0.5}, brightness: {p: 0.8}, blur: {p: "
     "{global: [1.0, 0.1], local: 0.5}}, solarize: {p: {global: [0, 0.2], "
     "local: 0}}, normalize: {from: dataset}]"},
    {"patches", SET_VOLUMES, 144, 144,
     "[crop3d: {size: 96}, flip: {horizontal: 0.5, vertical: 0.5, depth: "
     "0.5}, normalize: {from: dataset}]"},
};

static double
cpu_seconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
must(mr_err err, const mr_diag *d)
{
    if (err != MR_OK) {
        fprintf(stderr, "%s: %s\n", d->path, d->text);
        exit(1);
    }
}

static void
time_case(size_t k, uint64_t count)
{
    set s = {.height = cases[k].height, .width = cases[k].width};
    mri_rows_options o = {.split = "all", .pipeline = cases[k].pipeline};
    mr_dataset *ds;
    mri_rows *r;
    mri_rows_worker *w = mri_rows_worker_open();
    const mri_rows_facts *f;
    void *to[MRI_ROWS_TENSORS];
    uint64_t read_ns = 0, decode_ns = 0, augment_ns = 0;
    uint64_t samples = cases[k].kind == SET_VOLUMES ? 4 : 64;
    double start = 0, seconds;
    mr_diag d = {0};

    set_make(&s, cases[k].kind, (unsigned)samples);
    count = cases[k].kind == SET_VOLUMES ? count / 32 + 1 : count;
    must(mr_dataset_open(&ds, s.dir, &d), &d);
    o.ds = ds;
    must(mri_rows_open(&r, &o, &d), &d);
    f = mri_rows_facts_of(r);
    for (size_t i = 0; i < f->tensor_count; i++) {
        to[i] = malloc(f->tensors[i].bytes);
    }
    for (uint64_t i = 0; i < count + 64; i++) { /* 64 to warm up */
        mri_row_name name = {1, i / samples, i % samples};
        uint8_t uid[16];

        if (i == 64) {
            mri_rows_worker_times(w, &read_ns, &decode_ns, &augment_ns);
            start = cpu_seconds();
        }
        must(mri_rows_compute(r, w, &name, to, 0, uid, &d), &d);
    }
    seconds = cpu_seconds() - start;
    mri_rows_worker_times(w, &read_ns, &decode_ns, &augment_ns);
    printf("%-12s %8.3f ms CPU a row  (read %.3f, decode %.3f, augment %.3f)\n",
           cases[k].name, seconds * 1e3 / (double)count,
           (double)read_ns * 1e-6 / (double)count,
           (double)decode_ns * 1e-6 / (double)count,
           (double)augment_ns * 1e-6 / (double)count);
    for (size_t i = 0; i < f->tensor_count; i++) {
        free(to[i]);
    }
    mri_rows_close(r);
    mri_rows_worker_close(w);
    mr_dataset_close(ds);
    scratch_remove(s.dir);
}

int
main(int argc, char **argv)
{
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;

    printf("%s, %s\n", mri_cpu_model(), mri_cpu_name(mri_cpu()));
    for (size_t k = 0; k < MRI_COUNT(cases); k++) {
        if (argc < 3 || strcmp(argv[2], cases[k].name) == 0) {
            time_case(k, count);
        }
    }
    return 0;
}
