/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nifti_fuzz.c - any bytes: a NIfTI is refused or read; as it is, as the two
 * halves of a pair, and packed by gzip as a fuzzer would never find it.
 */
#include "fuzzing.h"

#include <math.h>
#include <zlib.h>

static void
geometry_is_finite(const mri_image *image)
{
    const mri_geometry *g = &image->geometry;

    hold(g->has_affine && isfinite(g->slope) && isfinite(g->inter));
    for (int i = 0; i < 12; i++) {
        hold(isfinite(g->affine[i]));
    }
    hold(g->nifti != NULL && g->nifti_bytes >= 348);
}

static void
packed(const uint8_t *data, size_t size)
{
    z_stream z = {0};
    size_t room = size + size / 8 + 256;
    uint8_t *out = malloc(room);

    if (out == NULL || deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, 0) != Z_OK) {
        free(out);
        return;
    }
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    hold(deflate(&z, Z_FINISH) == Z_STREAM_END);
    (void)fuzz_source(out, z.total_out, MRI_SOURCE_NIFTI, geometry_is_finite);
    (void)deflateEnd(&z);
    free(out);
}

static void
as_a_pair(const uint8_t *data, size_t size)
{
    mri_source_kind kind;
    mri_source_bytes hdr = {data, size < 400 ? size : 400, "a.hdr"};
    mri_source_bytes img = {data + hdr.len, size - hdr.len, "a.img"};
    bool pair = false;

    if (mri_source_recognise(&kind, &pair, data, size, NULL) == MR_OK && pair) {
        fuzz_file(&hdr, &img, false, geometry_is_finite);
        fuzz_file(&hdr, &img, true, geometry_is_finite);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1u << 16) {
        packed(data, size);
        as_a_pair(data, size);
    }
    return fuzz_source(data, size, MRI_SOURCE_NIFTI, geometry_is_finite);
}
