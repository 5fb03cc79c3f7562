/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.c - a buffer that grows, hex, and a test for zeros. */
#include <mri/bytes.h>

#include <mri/alloc.h>

#include <stdarg.h>
#include <stdio.h>

bool
mri_all_zero(const void *p, size_t bytes)
{
    const uint8_t *b = p;

    /* Zero at the front, and the rest equals itself shifted by one. */
    return bytes == 0 || (b[0] == 0 && memcmp(b, b + 1, bytes - 1) == 0);
}

char *
mri_hex(char *out, const void *p, size_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;

    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * bytes] = '\0';
    return out;
}

static int
digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
mri_unhex(void *out, size_t bytes, const char *hex)
{
    uint8_t *b = out;

    for (size_t i = 0; i < bytes; i++) {
        int high = digit(hex[2 * i]);
        int low = high < 0 ? -1 : digit(hex[2 * i + 1]);

        if (low < 0) {
            return false;
        }
        b[i] = (uint8_t)(high << 4 | low);
    }
    return hex[2 * bytes] == '\0';
}

bool
mri_bytes_reserve(mri_bytes *b, size_t more)
{
    size_t room = b->room;
    uint8_t *data;

    if (b->data != NULL && more <= b->room - b->len) {
        return true;
    }
    if (more > SIZE_MAX / 2 - b->len) {
        return false;
    }
    while (room == 0 || room - b->len < more) {
        room = room < 256 ? 256 : room + room / 2;
    }
    data = mri_resize(b->data, room, 1);
    if (data == NULL) {
        return false;
    }
    b->data = data;
    b->room = room;
    return true;
}

bool
mri_bytes_add(mri_bytes *b, const void *p, size_t bytes)
{
    if (!mri_bytes_reserve(b, bytes)) {
        return false;
    }
    if (bytes != 0) {
        memcpy(b->data + b->len, p, bytes);
        b->len += bytes;
    }
    return true;
}

bool
mri_bytes_zero(mri_bytes *b, size_t bytes)
{
    if (!mri_bytes_reserve(b, bytes)) {
        return false;
    }
    if (bytes != 0) {
        memset(b->data + b->len, 0, bytes);
        b->len += bytes;
    }
    return true;
}

bool
mri_bytes_u32(mri_bytes *b, uint32_t v)
{
    uint8_t raw[4];

    mri_put32(raw, v);
    return mri_bytes_add(b, raw, sizeof raw);
}

bool
mri_bytes_u64(mri_bytes *b, uint64_t v)
{
    uint8_t raw[8];

    mri_put64(raw, v);
    return mri_bytes_add(b, raw, sizeof raw);
}

bool
mri_bytes_text(mri_bytes *b, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !mri_bytes_reserve(b, (size_t)n + 1)) {
        return false;
    }
    va_start(args, fmt);
    (void)vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, args);
    va_end(args);
    b->len += (size_t)n; /* the closing zero stays beyond len */
    return true;
}

void
mri_bytes_release(mri_bytes *b)
{
    mri_free(b->data);
    *b = (mri_bytes){0};
}
