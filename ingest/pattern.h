/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pattern.h - take parts out of a file's name: '{group}_*', '*_{channel}.*'.
 *
 * A pattern matches a whole name: braces name a part (one character at least,
 * as few as it can be), '*' is any run (as much as it can), all else is itself.
 * A pattern with a '/' is matched against the path below its SOURCE, one
 * without against the last name of it; neither part ever holds a '/'.
 */
#ifndef MRI_PATTERN_H
#define MRI_PATTERN_H

#include <millrace/base.h>

/* errors  MR_EARG  a brace that is not closed, a part that is not `part`, or
 *                  none of that name */
MR_USE_RESULT mr_err mri_pattern_check(const char *pattern, const char *part,
                                       const char *option, mr_diag *diag);

/*
 * Match `path` and find the part: *first bytes into path, *bytes long.
 * False if the name does not match.
 */
bool mri_pattern_match(const char *pattern, const char *path, size_t *first,
                       size_t *bytes);

#endif
