/* SPDX-License-Identifier: Apache-2.0 */
/* npy.c - an array as NumPy's .npy file. */
#include "npy.h"

#include <inttypes.h>

static const char *
type_name(mr_dtype dtype)
{
    static const char *const names[] = {
        [MR_U8] = "|u1",   [MR_I8] = "|i1",  [MR_U16] = "<u2",
        [MR_I16] = "<i2",  [MR_U32] = "<u4", [MR_I32] = "<i4",
        [MR_U64] = "<u8",  [MR_I64] = "<i8", [MR_F16] = "<f2",
        [MR_BF16] = "<u2", [MR_F32] = "<f4", [MR_F64] = "<f8"};

    return names[dtype];
}

bool
mri_npy_header(mri_bytes *out, mr_dtype dtype, const uint64_t *shape,
               uint32_t rank)
{
    uint8_t start[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    size_t first = out->len, length;
    bool ok = mri_bytes_add(out, start, sizeof start) &&
              mri_bytes_text(out,
                             "{'descr': '%s', 'fortran_order': False, "
                             "'shape': (",
                             type_name(dtype));

    for (uint32_t i = 0; ok && i < rank; i++) {
        ok = mri_bytes_text(out, "%" PRIu64 "%s", shape[i],
                            rank == 1 || i + 1 < rank ? ", " : "");
    }
    ok = ok && mri_bytes_text(out, "), }");
    /* The data begins at a multiple of 64, the header ends with a newline. */
    while (ok && (out->len + 1 - first) % 64 != 0) {
        ok = mri_bytes_add(out, " ", 1);
    }
    ok = ok && mri_bytes_add(out, "\n", 1);
    length = out->len - first - sizeof start;
    if (ok) {
        mri_put16(out->data + first + 8, (uint16_t)length);
    }
    return ok;
}
