/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure_fuzz.c - any bytes as the values of a measure that a manifest keeps:
 * refused, or values that are kept as the same bytes, and percentiles that
 * ascend.
 */
#include "fuzz_shard.h"
#include "measure.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    double percentile[MR_PERCENTILES] = {0};
    char axis[] = "Z";
    Mri__PbMeasure pb;
    const mri_measured like = {.split = 0};
    mri_measures m = {0};
    mri_bytes again = {0};
    uint8_t *exact = malloc(size + (size == 0)); /* ASan sees its end */
    bool holds;
    mr_diag diag = {0};

    hold(exact != NULL);
    memcpy(exact, data, size);
    mri__pb_measure__init(&pb);
    pb.axis = axis;
    pb.kind = MR_MEASURE_SPACING;
    pb.n_percentiles = MR_PERCENTILES;
    pb.percentiles = percentile;
    pb.values = (ProtobufCBinaryData){size, exact};
    hold(mri_measures_unpack(&m, &pb, &like, &holds, &diag) == MR_OK);
    if (holds) {
        const mr_measure *of;

        hold(mri_measures_end(&m, 1, &diag) == MR_OK && m.groups == 2);
        hold(mri_measures_pack(&again, &m, &m.group[0]));
        hold(again.len == size && memcmp(again.data, exact, size) == 0);
        of = &m.group[1].m; /* all splits: there is one */
        hold(of->count == m.group[0].m.count);
        for (int i = 1; i < MR_PERCENTILES; i++) {
            hold(of->percentile[i - 1] > 0 &&
                 of->percentile[i] >= of->percentile[i - 1]);
        }
    }
    mri_bytes_release(&again);
    mri_measures_release(&m);
    free(exact);
    return 0;
}
