/* SPDX-License-Identifier: Apache-2.0 */
/*
 * histogram_fuzz.c - any bytes as a packed histogram: refused, or counts that
 * pack to bytes which say the same, and percentiles that ascend.
 */
#include "fuzz_shard.h"
#include "histogram.h"

/* Bins; all of them are too slow to be tried often: one input in eight does. */
enum { FEW = 600, ALL = 14 };

static uint64_t counts[MRI_BINS_STORED_COUNT], again[MRI_BINS_STORED_COUNT];

static void
check(const mri_bins *b)
{
    const mr_moments range = {.count = 1, .min = -1e300, .max = 1e300};
    mri_bytes packed = {0};
    double p[MR_PERCENTILES];

    hold(mri_bins_pack(&packed, b, counts));
    memset(again, 0, b->count * sizeof *again);
    hold(mri_bins_unpack(b, again, packed.data, packed.len));
    hold(memcmp(again, counts, b->count * sizeof *again) == 0);
    mri_bytes_release(&packed);
    mri_percentiles(p, b, counts, 0, &range);
    for (int i = 1; i < MR_PERCENTILES; i++) {
        hold(!(p[i] < p[i - 1]));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mri_bins b;
    uint8_t *exact;

    if (size < 1) {
        return 0;
    }
    b = data[0] % 2 == 0 ? mri_bins_stored(1, 0) : mri_bins_brain();
    exact =
        malloc(size - 1 + (size == 1)); /* ASan sees what is read beyond it */
    hold(exact != NULL);
    memcpy(exact, data + 1, size - 1);
    b.count = (data[0] & ALL) == ALL ? b.count : FEW;
    memset(counts, 0, b.count * sizeof *counts);
    if (mri_bins_unpack(&b, counts, exact, size - 1)) {
        check(&b);
    }
    free(exact);
    return 0;
}
