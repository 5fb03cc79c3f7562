/* SPDX-License-Identifier: Apache-2.0 */
/*
 * picture_fuzz.c - any bytes as a JPEG that a shard keeps: all its rows come,
 * once and in order, or it is refused.
 *
 * Input: height, width and channels that the row says, a byte each; the JPEG.
 */
#include "fuzz_shard.h"
#include "picture.h"

enum { HEAD = 3 };

typedef struct seen {
    uint32_t rows;
    size_t row_bytes;
} seen;

static void
look(void *user, const uint8_t *rows, uint32_t first, uint32_t count)
{
    seen *s = user;

    hold(first == s->rows && count > 0);
    s->rows += count;
    fuzz_touch(rows, count * s->row_bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mri_bytes room;
    mri_grid_row g = {.encoding = MR_ENC_JPEG, .dtype = MR_U8};
    seen s = {0};
    mri_picture p = {.g = &g, .take = look, .user = &s};
    mr_diag diag = {0};
    uint8_t *exact;

    if (size < HEAD) {
        return 0;
    }
    g.ndim = data[2] == 1 ? 2 : 3;
    memcpy(g.axes, "YXC", g.ndim);
    g.dims[0] = data[0];
    g.dims[1] = data[1];
    g.dims[2] = g.ndim == 3 ? data[2] : 0;
    s.row_bytes = (size_t)data[1] * data[2];
    exact = malloc(size - HEAD + (size == HEAD)); /* ASan sees its end */
    hold(exact != NULL);
    memcpy(exact, data + HEAD, size - HEAD);
    p.jpeg = exact;
    p.bytes = size - HEAD;
    if (fuzz_ok(mri_picture_read(&p, &room, &diag), &diag)) {
        hold(s.rows == data[0]);
    }
    mri_bytes_release(&room);
    free(exact);
    return 0;
}
