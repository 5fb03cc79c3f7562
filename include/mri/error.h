/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.h - one table of errors (errors.def beside this file) and how to raise one.
 */
#ifndef MRI_ERROR_H
#define MRI_ERROR_H

#include <mri/door.h>

MRI_BEGIN

typedef enum mri_code {
#define MRI_ERROR(number, name, err, id, cause, help) MRI_E_##name = number,
#include <mri/errors.def>
#undef MRI_ERROR
} mri_code;

typedef struct mri_error_info {
    uint16_t number;
    mr_err err;
    const char *id;    /* stable log id */
    const char *cause; /* what it means, for `explain` */
    const char *help;  /* what to do */
} mri_error_info;

/* The row of a code, or NULL. Rows are in ascending order of number. */
const mri_error_info *mri_error_find(uint16_t number);
const mri_error_info *mri_error_table(size_t *count);

/*
 * Fill `diag` (may be NULL) and return the mr_err that belongs to `code`, so
 * that `return mri_fail(diag, MRI_E_READ, at, "…")` reads as one thought.
 * `at` is a byte offset or MR_NOWHERE. The path is kept if it is set.
 */
mr_err mri_fail(mr_diag *diag, mri_code code, uint64_t at, const char *fmt, ...)
    MRI_PRINTF(4, 5);

/* Name the file of a diag that a parser of bytes has filled, if unnamed. */
void mri_diag_in(mr_diag *diag, const char *path);

/* A diag is clean again (a retry, an optional attempt). */
void mri_diag_clear(mr_diag *diag);

/*
 * One line, as a user sees it: "error[E0312]: path@at: text".
 * Returns what snprintf would.
 */
int mri_diag_line(const mr_diag *diag, char *out, size_t bytes);

MRI_END

#endif
