/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram.h - how often each value occurs, in bins that can be added and
 * taken away, and the percentiles that follow.
 * Bytes: docs/shard-format.md, "Histograms".
 */
#ifndef MRI_HISTOGRAM_H
#define MRI_HISTOGRAM_H

#include "moments.h"

#include <mri/bytes.h>

/* What the bins of a field are. */
typedef enum mri_bins_kind {
    MRI_BINS_NONE = 0,
    MRI_BINS_STORED = 1, /* one a stored value: all samples have up to 16 bits,
                            and one slope and intercept */
    MRI_BINS_BRAIN = 2   /* physical values as f32, cut to their upper half */
} mri_bins_kind;

enum {
    MRI_BIN_OF_ZERO = 32768, /* stored: value + this; brain: of plus zero */
    MRI_BINS_STORED_COUNT = 98304, /* -32768 .. 65535 */
    MRI_BINS_BRAIN_COUNT = 65536
};

typedef struct mri_bins {
    mri_bins_kind kind;
    uint32_t count;
    double slope, inter; /* MRI_BINS_STORED */
    bool covered;        /* those under labels are counted apart as well */
    bool decoded;        /* of JPEGs too: a manifest has a place apart */
} mri_bins;

mri_bins mri_bins_stored(double slope, double inter);
mri_bins mri_bins_brain(void);
/* Is it an integer of up to 16 bits? */
bool mri_bins_store(mr_dtype dtype);

/* The bin of a physical value, which is finite. */
uint32_t mri_bin_of(double physical);
/* The value that stands for a bin: its middle, or the value itself. */
double mri_bin_value(const mri_bins *b, uint32_t bin);

/*
 * Count one channel of an array: `bins` is [b->count]; what is not
 * finite is left out.
 * bound  the caller sees to it that no bin is reached 2^32 times
 */
typedef struct mri_bin_run {
    mr_dtype dtype;
    const uint8_t *pixels;
    mri_lanes lanes;
    double slope, inter;
    const uint8_t *under; /* a byte an element: 0 is left out; NULL: none */
} mri_bin_run;
void mri_bins_count(const mri_bins *b, uint32_t *bins, const mri_bin_run *run);

/* Add counts of other bins to these; stored values have a place in physical
 * ones, not the other way. */
void mri_bins_convert(const mri_bins *b, uint64_t *to, const mri_bins *other,
                      const uint64_t *from);

/* Occupied bins as pairs of varints. False: no memory. */
bool mri_bins_pack(mri_bytes *out, const mri_bins *b, const uint64_t *count);
/* Add what is packed. False: it does not hold, or leaves the bins. */
bool mri_bins_unpack(const mri_bins *b, uint64_t *count, const uint8_t *p,
                     size_t bytes);

/* The place of percentile mr_percent(i) among `n` ordered values, from 0. */
uint64_t mri_percentile_place(unsigned i, uint64_t n);
/*
 * out[i] is what numpy.percentile(values, mr_percent(i),
 * method='inverted_cdf') gives, each value being that of its bin; `skip` of
 * the zeros do not count. NaN if nothing counts. Within low .. high.
 */
void mri_percentiles(double out[MR_PERCENTILES], const mri_bins *b,
                     const uint64_t *count, uint64_t skip,
                     const mr_moments *range);

#endif
