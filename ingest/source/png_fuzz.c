/* SPDX-License-Identifier: Apache-2.0 */
/* png_fuzz.c - any bytes: a PNG is refused or read. Checksums do not count in
 * this build, so that the decoder behind them is reached. */
#include "fuzzing.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_source(data, size, MRI_SOURCE_PNG, NULL);
}
