/* SPDX-License-Identifier: Apache-2.0 */
/* cli_text.c - numbers as people read them. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BUFFERS 32
#define ROOM 128

static char *
next_buffer(void)
{
    static _Thread_local char buffers[BUFFERS][ROOM];
    static _Thread_local unsigned next;

    return buffers[next++ % BUFFERS];
}

const char *
mri_text_count(uint64_t n)
{
    char digits[32], *out = next_buffer();
    size_t len, k = 0;

    (void)snprintf(digits, sizeof digits, "%" PRIu64, n);
    len = strlen(digits);
    for (size_t i = 0; i < len; i++) {
        if (i != 0 && (len - i) % 3 == 0) {
            out[k++] = ',';
        }
        out[k++] = digits[i];
    }
    out[k] = '\0';
    return out;
}

const char *
mri_text_plural(uint64_t n, const char *word)
{
    const char *count = mri_text_count(n);
    char *out = next_buffer();

    (void)snprintf(out, ROOM, "%s %s%s", count, word, n == 1 ? "" : "s");
    return out;
}

const char *
mri_text_bytes(uint64_t n)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    char *out = next_buffer();
    double v = (double)n;
    unsigned unit = 0;

    while (v >= 999.5 && unit + 1 < MRI_COUNT(units)) {
        v /= 1000;
        unit++;
    }
    (void)snprintf(out, ROOM, "%.*f %s", unit == 0 || v >= 99.95 ? 0 : 1, v,
                   units[unit]);
    return out;
}

const char *
mri_text_seconds(double s)
{
    char *out = next_buffer();
    uint64_t whole = s > 0 ? (uint64_t)(s + 0.5) : 0;

    if (s < 60) {
        (void)snprintf(out, ROOM, "%.1f s", s > 0 ? s : 0);
    } else if (whole < 3600) {
        (void)snprintf(out, ROOM, "%" PRIu64 ":%02" PRIu64, whole / 60,
                       whole % 60);
    } else {
        (void)snprintf(out, ROOM, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64,
                       whole / 3600, whole / 60 % 60, whole % 60);
    }
    return out;
}

const char *
mri_text_shape(const uint64_t *shape, uint32_t rank)
{
    char *out = next_buffer();
    size_t n = 0;

    out[n++] = '[';
    for (uint32_t i = 0; i < rank && n < ROOM - 24; i++) {
        n += (size_t)snprintf(out + n, ROOM - n, "%s%" PRIu64,
                              i != 0 ? ", " : "", shape[i]);
    }
    out[n++] = ']';
    out[n] = '\0';
    return out;
}

const char *
mri_text_hex(const uint8_t *p, size_t bytes)
{
    return mri_hex(next_buffer(), p, bytes < ROOM / 2 ? bytes : ROOM / 2 - 1);
}
