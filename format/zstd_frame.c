/* SPDX-License-Identifier: Apache-2.0 */
/* zstd_frame.c - libzstd in memory that the caller lends. */
#define ZSTD_STATIC_LINKING_ONLY /* contexts in memory of ours */
#include "zstd_frame.h"

#include <zstd.h>

#define LEVEL 3

size_t
mri_zstd_pack_work(void)
{
    return ZSTD_estimateCCtxSize(LEVEL);
}

size_t
mri_zstd_unpack_work(void)
{
    return ZSTD_estimateDCtxSize();
}

size_t
mri_zstd_pack(uint8_t *to, size_t room, const uint8_t *from, size_t n,
              void *work)
{
    ZSTD_CCtx *c = ZSTD_initStaticCCtx(work, mri_zstd_pack_work());
    size_t got = c != NULL ? ZSTD_compressCCtx(c, to, room, from, n, LEVEL) : 0;

    return ZSTD_isError(got) ? 0 : got;
}

/* A frame decoded in one call needs no window beside its own output; one that
 * names a dictionary is refused by the decoder, which was given none. */
bool
mri_zstd_unpack(uint8_t *to, size_t n, const uint8_t *from, size_t bytes,
                void *work)
{
    ZSTD_DCtx *d;

    if (ZSTD_getFrameContentSize(from, bytes) != n ||
        ZSTD_findFrameCompressedSize(from, bytes) != bytes) {
        return false;
    }
    d = ZSTD_initStaticDCtx(work, mri_zstd_unpack_work());
    return d != NULL && ZSTD_decompressDCtx(d, to, n, from, bytes) == n;
}
