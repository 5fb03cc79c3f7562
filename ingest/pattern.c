/* SPDX-License-Identifier: Apache-2.0 */
/* pattern.c - take parts out of a file's name. */
#include "pattern.h"

#include <mri/error.h>
#include <mri/file.h>

#include <string.h>

/* Tries are bounded: a name of 255 bytes against some stars is millions of
 * steps at worst, which is a pattern nobody meant. */
#define MAX_STEPS 1000000

typedef struct match {
    const char *name; /* the name as it was given */
    size_t first, bytes;
    unsigned steps;
} match;

mr_err
mri_pattern_check(const char *pattern, const char *part, const char *option,
                  mr_diag *diag)
{
    size_t n = strlen(part);
    unsigned seen = 0;

    for (const char *p = pattern; *p != '\0'; p++) {
        if (*p != '{') {
            continue;
        }
        if (strncmp(p + 1, part, n) != 0 || p[n + 1] != '}') {
            return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                            "--%s '%s': a brace must read {%s}", option,
                            pattern, part);
        }
        seen++;
    }
    if (seen != 1) {
        return mri_fail(diag, MRI_E_VALUE, MR_NOWHERE,
                        "--%s '%s' must name {%s} once", option, pattern, part);
    }
    return MR_OK;
}

static bool
try(match *m, const char *pattern, const char *at)
{
    if (++m->steps > MAX_STEPS) {
        return false;
    }
    while (*pattern != '\0' && *pattern != '*' && *pattern != '{') {
        if (*at == '\0' || *at++ != *pattern++) {
            return false;
        }
    }
    if (*pattern == '\0') {
        return *at == '\0';
    }
    if (*pattern == '*') { /* as much as it can */
        for (size_t n = strcspn(at, "/") + 1; n-- > 0;) {
            if (try(m, pattern + 1, at + n)) {
                return true;
            }
        }
        return false;
    }
    pattern += strcspn(pattern, "}") + 1;
    for (size_t n = 1; at[n - 1] != '\0' && at[n - 1] != '/'; n++) {
        if (try(m, pattern, at + n)) {
            m->first = (size_t)(at - m->name);
            m->bytes = n;
            return true;
        }
    }
    return false;
}

bool
mri_pattern_match(const char *pattern, const char *path, size_t *first,
                  size_t *bytes)
{
    match m = {.name = path};
    const char *from =
        strchr(pattern, '/') != NULL ? path : mri_path_name(path);

    if (!try(&m, pattern, from)) {
        return false;
    }
    *first = m.first;
    *bytes = m.bytes;
    return true;
}
