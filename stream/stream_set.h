/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_set.h - what the tests of streams have in common: three datasets, a
 * pipeline for each, and the lines of what comes out of them.
 */
#ifndef MRI_STREAM_SET_H
#define MRI_STREAM_SET_H

#include <millrace/stream.h>

#include <mri/alloc.h>
#include <mri/bytes.h>
#include <mri/digest.h>
#include <mri/error.h>

#include <test_set.h>

static set cells, jpegs, volumes;
static const char dino[] =
    "- select: {channels: [DAPI, GFP, BF]}\n"
    "- minmax\n"
    "- multi_crop: {global: {size: 32}, local: {count: 2, size: 16}}\n"
    "- flip: {horizontal: 0.5, vertical: 0.5}\n"
    "- brightness: {p: 0.8}\n"
    "- blur: {p: {global: [1.0, 0.1], local: 0.5}}\n"
    "- solarize: {p: {global: [0, 0.2], local: 0}}\n"
    "- normalize: {from: dataset}\n";
static const char photo[] =
    "- random_resized_crop: {size: 48}\n"
    "- flip\n"
    "- normalize: {mean: [123.7, 116.3, 103.5], std: [58.4, 57.1, 57.4]}\n";
static const char patch[] = "- crop3d: {size: [12, 16, 20]}\n"
                            "- flip: {vertical: 0.5, depth: 0.5}\n"
                            "- normalize: {from: dataset}\n";

static inline mr_stream_options
options(const set *s, const char *pipeline)
{
    mr_stream_options o = mr_stream_defaults();

    o.source = s->dir;
    o.split = "all";
    o.pipeline = pipeline;
    o.batch_size = 7;
    o.seed = 42;
    o.threads = 2;
    return o;
}

static inline mr_stream *
open_stream(const mr_stream_options *o)
{
    mr_stream *s;
    mr_diag d = {0};

    assert_ok(mr_stream_open(&s, o, &d), &d);
    return s;
}

/* The --hash lines of the next n batches; free. */
static inline char *
lines_of(const mr_stream_options *o, unsigned n, bool rows)
{
    mr_stream *s = open_stream(o);
    mri_bytes out = {0};
    mr_diag d = {0};

    for (unsigned i = 0; i < n; i++) {
        mr_batch *b;

        assert_ok(mr_stream_next(s, &b, &d), &d);
        assert_true(rows ? mri_batch_row_lines(&out, b)
                         : mri_batch_line(&out, b));
        mr_batch_unref(b);
    }
    mr_stream_close(s);
    assert_true(mri_bytes_add(&out, "", 1));
    return (char *)out.data;
}

static inline char *
line_of(mr_stream *s, uint64_t epoch, uint64_t index)
{
    mri_bytes out = {0};
    mr_batch *b;
    mr_diag d = {0};

    assert_ok(mr_stream_get(s, epoch, index, &b, &d), &d);
    assert_true(mri_batch_line(&out, b) && mri_bytes_add(&out, "", 1));
    mr_batch_unref(b);
    return (char *)out.data;
}

static inline int
setup(void **state)
{
    (void)state;
    set_make(&cells, SET_CELLS, 30);
    set_make(&jpegs, SET_JPEGS, 30);
    set_make(&volumes, SET_VOLUMES, 12);
    return 0;
}

static inline int
teardown(void **state)
{
    (void)state;
    scratch_remove(cells.dir);
    scratch_remove(jpegs.dir);
    scratch_remove(volumes.dir);
    return 0;
}

#endif
