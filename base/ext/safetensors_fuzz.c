/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_fuzz.c - any bytes: what is accepted lies within them. */
#include <mri/alloc.h>
#include <mri/safetensors.h>

#include <stdlib.h>
#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size); /* exact size: ASan sees any overread */
    volatile uint8_t sum = 0;
    mri_st *st;

    if (exact == NULL || size == 0) {
        free(exact);
        return 0;
    }
    memcpy(exact, data, size);
    if (mri_st_parse(&st, exact, size, NULL) == MR_OK) {
        for (size_t i = 0; i < mri_st_count(st); i++) {
            const mri_st_item *it = mri_st_at(st, i);
            mr_tensor t = mr_tensor_of(NULL, it->dtype, it->rank, it->shape);
            uint64_t bytes = mr_tensor_bytes(&t);

            for (uint64_t k = 0; k < bytes; k++) {
                sum = (uint8_t)(sum + ((const uint8_t *)it->data)[k]);
            }
        }
        mri_st_close(st);
    }
    free(exact);
    return 0;
}
