/* SPDX-License-Identifier: Apache-2.0 */
/* tiff_fuzz.c - any bytes: a TIFF is refused or read, its texts followed or
 * not. */
#include "fuzzing.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_source(data, size, MRI_SOURCE_TIFF, NULL);
}
